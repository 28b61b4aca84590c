//! Files become a blob.
//!
//! **Invariant:** what is installed is what was hashed: copied bytes are hashed as they are copied,
//! files left where they are must look the same before and after.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use potluck_base::{BlobId, Division};

use super::entry::{self, DATA, PLACE};
use super::folder::{discard_unless, new_meta};
use super::hash::{Progress, hash};
use super::meta::Phase;
use super::place::{SegmentTarget, Segments, Stamp};
use super::store::{BlobStore, Keep};
use super::{BlobError, files, space};

/// What becomes of files that are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportHow {
    /// Their bytes are copied into the store; shared with the file where the file system can.
    Copy,
    /// They stay, and are read where they are for as long as they do not change.
    Reference,
}

/// What an import made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// The blob's name in the network.
    pub id: BlobId,
    /// Its bytes.
    pub bytes: u64,
    /// Whether the store had it before; then it is where it was.
    pub known: bool,
}

impl BlobStore {
    /// Keeps some bytes, such as a manifest, inside the store.
    ///
    /// # Errors
    /// The disk refused, or has no room.
    pub fn add_bytes(&self, bytes: &[u8], name: &str, keep: Keep) -> Result<BlobId, BlobError> {
        let id = BlobId::of(bytes);
        if self.keep_known(id, keep)? {
            return Ok(id);
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
            let id = hash(&source, &folder, None, &|_| ControlFlow::Continue(()))?;
            let imported = Imported { id, bytes: size, known: false };
            self.adopt(&folder, imported, name, keep, None)
        })();
        discard_unless(added, &folder).map(|imported| imported.id)
    }

    /// Makes a blob of files laid end to end. `progress` hears how many bytes were hashed, from
    /// several threads, and may stop it.
    ///
    /// # Errors
    /// [`BlobError::Changed`] if a file has another size than was said or changes meanwhile;
    /// [`BlobError::InUse`] if the same blob is being fetched.
    pub fn import(
        &self,
        files: &[SegmentTarget],
        how: ImportHow,
        name: &str,
        keep: Keep,
        progress: &(dyn Fn(u64) -> ControlFlow<()> + Sync),
    ) -> Result<Imported, BlobError> {
        let stamps = files.iter().map(stamp).collect::<Result<Vec<_>, _>>()?;
        let folder = self.new_folder(&mut self.changes())?;
        let imported = (|| {
            if files.is_empty() {
                let data = folder.join(DATA);
                File::create(&data).map_err(BlobError::at(&data))?;
                let none = Segments::inside(&data, 0);
                return self.adopt(
                    &folder,
                    read(&none, &folder, None, progress)?,
                    name,
                    keep,
                    None,
                );
            }
            let stamped = files.iter().cloned().zip(stamps.iter().copied().map(Some));
            let source = Segments::outside(stamped)?;
            let size = source.bytes();
            Division::of(size).ok_or(BlobError::TooLarge { size })?;
            if how == ImportHow::Copy {
                let imported = self.copy(files, &source, &folder, progress)?;
                return self.adopt(&folder, imported, name, keep, None);
            }
            let imported = read(&source, &folder, None, progress)?;
            for (file, before) in files.iter().zip(&stamps) {
                if stamp(file)? != *before {
                    return Err(BlobError::Changed(file.path.clone()));
                }
            }
            self.adopt(&folder, imported, name, keep, Some(source))
        })();
        discard_unless(imported, &folder)
    }

    fn copy(
        &self,
        files: &[SegmentTarget],
        source: &Segments,
        folder: &Path,
        progress: Progress<'_>,
    ) -> Result<Imported, BlobError> {
        let path = folder.join(DATA);
        if let [file] = files
            && reflink_copy::reflink(&file.path, &path).is_ok()
        {
            // From now on nobody else can change it.
            let copy = SegmentTarget { path: path.clone(), ..file.clone() };
            stamp(&copy).map_err(|_| BlobError::Changed(file.path.clone()))?;
            let imported = read(&Segments::inside(&path, file.bytes), folder, None, progress)?;
            File::open(&path).and_then(|copy| copy.sync_all()).map_err(BlobError::at(&path))?;
            return Ok(imported);
        }
        space::check(self.folder(), source.bytes())?;
        files::remove_if_there(&path).map_err(BlobError::at(&path))?;
        let copy = File::create_new(&path).map_err(BlobError::at(&path))?;
        let imported = read(source, folder, Some(&copy), progress)?;
        copy.sync_all().map_err(BlobError::at(&path))?;
        Ok(imported)
    }

    /// Makes a filled folder that of a new blob, unless it is known.
    fn adopt(
        &self,
        folder: &Path,
        imported: Imported,
        name: &str,
        keep: Keep,
        outside: Option<Segments>,
    ) -> Result<Imported, BlobError> {
        let mut changes = self.changes();
        if self.keep_known(imported.id, keep)? {
            std::fs::remove_dir_all(folder).map_err(BlobError::at(folder))?;
            return Ok(Imported { known: true, ..imported });
        }
        let old = self.index().get(&imported.id).cloned();
        if let Some(old) = old {
            self.take_out(&old, &mut changes)?;
        }
        self.check_count()?;
        let mut meta = new_meta(imported.id, imported.bytes, name);
        meta.pinned = keep == Keep::Pinned;
        if let Some(segments) = outside {
            meta.outside = Some((segments.base().to_owned(), segments.len() as u32));
            let path = folder.join(PLACE);
            let bytes = segments.encode().ok_or(BlobError::WrongSegments)?;
            files::write_sealed(&path, &bytes).map_err(BlobError::at(&path))?;
        }
        entry::save(folder, &meta)?;
        self.install(folder, meta)?;
        Ok(imported)
    }

    /// Whether the store has a blob and its files are, as far as can be seen, what they were; pins it
    /// if asked.
    fn keep_known(&self, id: BlobId, keep: Keep) -> Result<bool, BlobError> {
        let Ok(entry) = self.entry(&id) else { return Ok(false) };
        if entry.phase() != Phase::Complete {
            return Ok(false);
        }
        // One whose notes are damaged is replaced.
        let Ok(Some(blob)) = self.lease(&entry) else { return Ok(false) };
        if blob.check_files().is_err() {
            return Ok(false);
        }
        if keep == Keep::Pinned {
            entry.change(|meta| meta.pinned = true)?;
        }
        Ok(true)
    }
}

fn stamp(file: &SegmentTarget) -> Result<Stamp, BlobError> {
    let metadata = std::fs::metadata(&file.path).map_err(BlobError::at(&file.path))?;
    if metadata.is_file() && metadata.len() == file.bytes {
        Ok(Stamp::of(&metadata))
    } else {
        Err(BlobError::Changed(file.path.clone()))
    }
}

fn read(
    source: &Segments,
    folder: &Path,
    copy: Option<&File>,
    progress: Progress<'_>,
) -> Result<Imported, BlobError> {
    let id = hash(source, folder, copy, progress)?;
    Ok(Imported { id, bytes: source.bytes(), known: false })
}
