//! Imports files as a blob.
//!
//! **Invariant:** the bytes of the blob are the ones that were hashed: copied bytes are hashed while they are
//! copied, and files that stay must have the same size and times before and after. Each file is read
//! through an open descriptor, never through a path that may have changed.

use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use potluck_base::{BlobId, Division, GROUP_BYTES};

use super::entry::{DATA, unix_ms};
use super::folder::{discard_unless, new_meta, note_place};
use super::hash::{Opener, Progress, hash};
use super::index::Noted;
use super::meta::Phase;
use super::opened::{Opened, stamp_of};
use super::place::{SegmentTarget, Segments, Stamp};
use super::store::{BlobStore, Keep};
use super::{Blob, BlobError, files, places, space};
use crate::backend::Changes;

/// Most files of a small blob whose places fit in the index.
const SMALL_FILES_MAX: usize = 64;

/// What an import does with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportHow {
    /// Their bytes are copied into the store, as a reflink where the file system supports it.
    Copy,
    /// They stay where they are and are read there, until they change.
    Reference,
}

/// The result of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// The blob's id in the network.
    pub id: BlobId,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether the store had it before; then its place is unchanged.
    pub known: bool,
}

/// How to import files.
#[derive(Debug, Clone, Copy)]
pub struct ImportOptions<'a> {
    /// Whether the store copies the bytes or refers to the files.
    pub how: ImportHow,
    /// The name of the blob in the store.
    pub name: &'a str,
    /// How long the blob is kept.
    pub keep: Keep,
}

/// The metadata of a new blob with a filled folder.
struct NewBlob<'a> {
    name: &'a str,
    keep: Keep,
    /// The files outside the store that hold the bytes; `None`: the bytes are inside.
    outside: Option<Segments>,
    /// Modification time and permissions.
    marks: Option<(Option<i64>, Option<u32>)>,
}

impl<'a> NewBlob<'a> {
    /// A blob with its bytes inside the store.
    const fn inside(name: &'a str, keep: Keep) -> Self {
        Self { name, keep, outside: None, marks: None }
    }
}

impl BlobStore {
    /// Adds bytes, such as a manifest, inside the store.
    ///
    /// # Errors
    /// The disk refused, or has no room.
    pub fn add_bytes(&self, bytes: &[u8], name: &str, keep: Keep) -> Result<BlobId, BlobError> {
        let id = BlobId::of(bytes);
        if self.keep_known(id, keep)?.is_some() {
            let _one = self.changes();
            let entry = self.entry(&id)?;
            if entry.meta().outside.is_none() {
                places::add(&entry, name, None)?;
                return Ok(id);
            }
        }
        let size = bytes.len() as u64;
        space::check(self.folder(), size)?;
        let folder = self.new_folder(&mut self.changes())?;
        let added = (|| {
            let data = folder.join(DATA);
            File::create(&data)
                .and_then(|mut file| {
                    file.write_all(bytes)?;
                    file.sync_all()
                })
                .map_err(BlobError::at(&data))?;
            let source = Segments::inside(&data, size);
            let id = hash(&source, &own, &folder, None, &|_| ControlFlow::Continue(()))?;
            let imported = Imported { id, bytes: size, known: false };
            self.adopt(&folder, imported, NewBlob::inside(name, keep))
        })();
        discard_unless(added, &folder).map(|imported| imported.id)
    }

    /// Makes a blob of the concatenation of files. Links in the path of a single file, or of the folder of
    /// all files, are followed; below that folder none is. Otherwise as [`BlobStore::import_opened`].
    ///
    /// # Errors
    /// As [`BlobStore::import_opened`], and [`BlobError::NotPlain`].
    pub fn import(
        &self,
        files: &[SegmentTarget],
        how: ImportHow,
        name: &str,
        keep: Keep,
        progress: &(dyn Fn(u64) -> ControlFlow<()> + Sync),
    ) -> Result<Imported, BlobError> {
        let Some(first) = files.first() else {
            return self.import_nothing(name, keep, progress);
        };
        let typed = Segments::outside(files.iter().map(|file| (file.clone(), None)))?;
        let opened = Opened::follow(typed.base())?;
        let real = |file: &SegmentTarget| {
            let path = std::path::absolute(&file.path).map_err(BlobError::at(&file.path))?;
            let below = path.strip_prefix(typed.base()).map_err(|_| BlobError::WrongSegments)?;
            let path = opened.path().join(below);
            Ok(SegmentTarget { path, ..file.clone() })
        };
        let files = if opened.is_folder() {
            files.iter().map(real).collect::<Result<Vec<_>, BlobError>>()?
        } else {
            vec![SegmentTarget { path: opened.path().to_owned(), ..first.clone() }]
        };
        self.import_opened(&opened, &files, ImportOptions { how, name, keep }, progress)
    }

    /// Makes a blob of the opened file, or of the concatenation of files below the opened folder. Calls
    /// `progress` from several threads with the number of hashed bytes; it may stop the import.
    ///
    /// # Errors
    /// [`BlobError::Changed`] if a file has another size than stated, or changes during the import;
    /// [`BlobError::InUse`] if the same blob is being fetched.
    pub fn import_opened(
        &self,
        opened: &Opened,
        files: &[SegmentTarget],
        options: ImportOptions<'_>,
        progress: &(dyn Fn(u64) -> ControlFlow<()> + Sync),
    ) -> Result<Imported, BlobError> {
        let ImportOptions { how, name, keep } = options;
        if files.is_empty() {
            return self.import_nothing(name, keep, progress);
        }
        if !opened.is_folder() && files.len() > 1 {
            return Err(BlobError::WrongSegments);
        }
        let open = |path: &Path| opened.segment(path);
        let stamp =
            |file: &SegmentTarget| stamp_of(&*opened.segment(&file.path)?, &file.path, file.bytes);
        let stamps = files.iter().map(stamp).collect::<Result<Vec<_>, _>>()?;
        let small = files.iter().map(|file| file.bytes).sum::<u64>() <= GROUP_BYTES;
        let folder = if small && how == ImportHow::Reference && files.len() <= SMALL_FILES_MAX {
            // All metadata fits in the index.
            self.no_folder(&mut self.changes())
        } else {
            self.new_folder(&mut self.changes())?
        };
        let imported = (|| {
            let stamped = files.iter().cloned().zip(stamps.iter().copied().map(Some));
            let source = Segments::outside(stamped)?;
            let size = source.bytes();
            Division::of(size).ok_or(BlobError::TooLarge { size })?;
            if how == ImportHow::Copy {
                let imported = self.copy(files, &source, &open, &folder, progress)?;
                let blob = NewBlob { name, keep, outside: None, marks: opened.marks() };
                return self.adopt(&folder, imported, blob);
            }
            let imported = read(&source, &open, &folder, None, progress)?;
            for (file, before) in files.iter().zip(&stamps) {
                let now = file.path.symlink_metadata().map(|seen| Stamp::of(&seen));
                if now.map_err(BlobError::at(&file.path))? != *before {
                    return Err(BlobError::Changed(file.path.clone()));
                }
            }
            let blob = NewBlob { name, keep, outside: Some(source), marks: opened.marks() };
            self.adopt(&folder, imported, blob)
        })();
        discard_unless(imported, &folder)
    }

    /// Adds small files that are shared under these names, without reading them, in one batch; for
    /// measurements with millions of files. Their content is compared with the id when it is read, as
    /// always. Files that the store has already are left out.
    ///
    /// # Errors
    /// A file does not exist or is too large, or the disk refused.
    #[doc(hidden)]
    pub fn note_unread(
        &self,
        files: impl IntoIterator<Item = (BlobId, SegmentTarget, String)>,
    ) -> Result<(), BlobError> {
        let mut new = Vec::new();
        let _changes = self.changes();
        for (id, file, name) in files {
            if file.bytes > GROUP_BYTES {
                return Err(BlobError::TooLarge { size: file.bytes });
            }
            if self.index.has(&id)? {
                continue;
            }
            let seen = file.path.symlink_metadata().map_err(BlobError::at(&file.path))?;
            let mut meta = new_meta(id, file.bytes, &name);
            let segments = Segments::outside([(file, Some(Stamp::of(&seen)))])?;
            meta.shared = true;
            meta.outside = Some((segments.base().to_owned(), 1));
            new.push((Noted { meta, used_ms: unix_ms(), number: 0 }, segments));
        }
        self.index.put_many(new)?;
        self.sync()
    }

    fn import_nothing(
        &self,
        name: &str,
        keep: Keep,
        progress: Progress<'_>,
    ) -> Result<Imported, BlobError> {
        let folder = self.new_folder(&mut self.changes())?;
        let imported = (|| {
            let data = folder.join(DATA);
            File::create(&data).map_err(BlobError::at(&data))?;
            let none = Segments::inside(&data, 0);
            let imported = read(&none, &own, &folder, None, progress)?;
            self.adopt(&folder, imported, NewBlob::inside(name, keep))
        })();
        discard_unless(imported, &folder)
    }

    fn copy(
        &self,
        files: &[SegmentTarget],
        source: &Segments,
        open: Opener<'_>,
        folder: &Path,
        progress: Progress<'_>,
    ) -> Result<Imported, BlobError> {
        let path = folder.join(DATA);
        if let [file] = files
            && reflink(&*open(&file.path)?, &file.path, &path).is_ok()
        {
            // From now on no other program can change it.
            let copy = File::open(&path).map_err(BlobError::at(&path))?;
            stamp_of(&copy, &file.path, file.bytes)?;
            let inside = Segments::inside(&path, file.bytes);
            let imported = read(&inside, &own, folder, None, progress)?;
            copy.sync_all().map_err(BlobError::at(&path))?;
            return Ok(imported);
        }
        space::check(self.folder(), source.bytes())?;
        let size = source.bytes();
        files::remove_if_there(&path).map_err(BlobError::at(&path))?;
        let copy = File::create_new(&path).map_err(BlobError::at(&path))?;
        copy.set_len(size).map_err(BlobError::at(&path))?;
        let imported = read(source, open, folder, Some(&copy), progress)?;
        copy.sync_all().map_err(BlobError::at(&path))?;
        Ok(imported)
    }

    /// Installs a filled folder as that of a new blob, unless the store has the blob.
    fn adopt(
        &self,
        folder: &Path,
        imported: Imported,
        blob: NewBlob<'_>,
    ) -> Result<Imported, BlobError> {
        let NewBlob { name, keep, outside, marks } = blob;
        let mut changes = self.changes();
        if let Some(blob) = self.keep_known(imported.id, keep)? {
            match &outside {
                Some(segments) => places::add(&blob.entry, name, Some(segments))?,
                None => places::keep_inside(&blob, folder, name)?,
            }
            if folder.is_dir() {
                std::fs::remove_dir_all(folder).map_err(BlobError::at(folder))?;
            }
            return Ok(Imported { known: true, ..imported });
        }
        if let Some(old) = self.find(&imported.id)? {
            self.take_out(&old, &mut changes)?;
        }
        self.check_count()?;
        let mut meta = new_meta(imported.id, imported.bytes, name);
        meta.pinned = keep == Keep::Pinned;
        (meta.mtime, meta.mode) = marks.unwrap_or_default();
        let mut place = Changes::new();
        if let Some(segments) = outside {
            meta.outside = Some((segments.base().to_owned(), segments.len() as u32));
            place = note_place(folder, &imported.id, 0, &segments)?;
        }
        self.install(folder, meta, place)?;
        drop(changes);
        self.sync()?;
        Ok(imported)
    }

    /// The blob, if the store has it and its files seem unchanged. Pins it if requested.
    fn keep_known(&self, id: BlobId, keep: Keep) -> Result<Option<Arc<Blob>>, BlobError> {
        let Ok(entry) = self.entry(&id) else { return Ok(None) };
        if entry.phase() != Phase::Complete {
            return Ok(None);
        }
        // A blob with damaged metadata is replaced.
        let Ok(Some(blob)) = self.lease(&entry) else { return Ok(None) };
        if blob.check_files().is_err() {
            return Ok(None);
        }
        if keep == Keep::Pinned {
            entry.change(|meta| meta.pinned = true)?;
        }
        Ok(Some(blob))
    }
}

/// Opens a file inside the store.
fn own(path: &Path) -> Result<Arc<File>, BlobError> {
    File::open(path).map(Arc::new).map_err(BlobError::at(path))
}

/// Makes a reflink of a file, where the file system supports it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn reflink(from: &File, _path: &Path, to: &Path) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(File::create_new(to)?, from)?)
}

/// Makes a reflink of a file, where the file system supports it.
#[cfg(target_vendor = "apple")]
fn reflink(from: &File, _path: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, CloneFlags, fclonefileat};
    Ok(fclonefileat(from, CWD, to, CloneFlags::empty())?)
}

/// Makes a reflink of a file, where the file system supports it.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn reflink(_from: &File, path: &Path, to: &Path) -> io::Result<()> {
    reflink_copy::reflink(path, to)
}

fn read(
    source: &Segments,
    open: Opener<'_>,
    folder: &Path,
    copy: Option<&File>,
    progress: Progress<'_>,
) -> Result<Imported, BlobError> {
    let id = hash(source, open, folder, copy, progress)?;
    Ok(Imported { id, bytes: source.bytes(), known: false })
}
