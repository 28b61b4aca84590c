//! Sharing: hashes files once, and tells the core that other nodes may have them.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use potluck_base::BlobId;
use potluck_store::blobs::{
    BlobError, ImportHow, ImportOptions, Imported, Keep, Opened, SegmentTarget,
};
use potluck_swarm::{FileLink, Input, LinkKind, Manifest, ManifestFile};
use tokio::time::timeout;

use super::list::{FolderList, list_folder};
use super::stored_name::{DATA_NAME, hint_of, stored_name};
use super::{Files, FilesError, SHARES_MAX, blocking};
use crate::folder::layout;

/// Time for which a share waits for other shares to end.
const WAIT: Duration = Duration::from_secs(20);

/// Called with the bytes hashed and the total.
pub type ShareProgress = Arc<dyn Fn(u64, u64) + Send + Sync>;
/// Times that a folder is read again without the files that changed in the meantime.
const READS_MAX: usize = 8;

/// How to share.
#[derive(Clone, Default)]
pub struct ShareOptions {
    /// Keep a copy in the node's folder instead of reading the files where they are.
    pub copy: bool,
    /// Its name; `None`: the name of the file.
    pub name: Option<String>,
    /// For uploaded bytes: the modification time in seconds since 1970, and the Unix permissions.
    pub marks: (Option<i64>, Option<u32>),
    /// Called with the progress, from several threads.
    pub progress: Option<ShareProgress>,
}

impl std::fmt::Debug for ShareOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { copy, name, marks, progress } = self;
        let hears = progress.is_some();
        f.debug_struct("ShareOptions")
            .field("copy", copy)
            .field("name", name)
            .field("marks", marks)
            .field("progress", &hears)
            .finish()
    }
}

/// The result of a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The link to give to other nodes.
    pub link: FileLink,
    /// Its name in the network.
    pub id: BlobId,
    /// Its size in bytes.
    pub bytes: u64,
    /// Files in it.
    pub files: u64,
    /// Entries of a folder that cannot be shared, such as links, each with the reason.
    pub skipped: Vec<(String, String)>,
    /// Files that are missing from a folder although they should be in it, each with the reason.
    pub failed: Vec<(String, String)>,
}

impl AsRef<FileLink> for Shared {
    fn as_ref(&self) -> &FileLink {
        &self.link
    }
}

/// Stops hashing when the waiting task is gone.
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The source of a share.
enum Source {
    /// A path, whose links are followed.
    Path(PathBuf),
    /// A file or folder.
    Opened(Arc<Opened>),
    /// The bytes of a file that only carries them here, and what they are of, if of a folder.
    Bytes(Arc<File>, Option<Listed>),
}

/// The files of a folder whose bytes come laid end to end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// The files, in the order of their paths.
    pub files: Vec<ManifestFile>,
    /// The folders that have no file in them.
    pub empty_folders: Vec<String>,
}

/// Blobs that the core is told of, with their sizes.
type Blobs = Vec<(BlobId, u64)>;

impl Files {
    /// Shares a file or a folder. Files are read where they are, also later, unless a copy is asked
    /// for; one that changes is withdrawn. If the future is dropped, nothing is shared.
    ///
    /// # Errors
    /// [`FilesError::NotShareable`], [`FilesError::OwnFolder`], or the store says why not.
    pub async fn share(&self, path: PathBuf, options: ShareOptions) -> Result<Shared, FilesError> {
        self.share_source(Source::Path(path), options).await
    }

    /// Shares a file or folder that was opened, whatever its path leads to by now.
    ///
    /// # Errors
    /// As [`Files::share`].
    pub async fn share_opened(
        &self,
        opened: Arc<Opened>,
        options: ShareOptions,
    ) -> Result<Shared, FilesError> {
        self.share_source(Source::Opened(opened), options).await
    }

    /// Shares a copy of the bytes of a file, which may go then. With `listed` they are those of the
    /// files of a folder, laid end to end.
    ///
    /// # Errors
    /// As [`Files::share`]; [`FilesError::Manifest`] if the files cannot be those of a folder.
    pub async fn share_bytes(
        &self,
        file: Arc<File>,
        listed: Option<Listed>,
        options: ShareOptions,
    ) -> Result<Shared, FilesError> {
        let options = ShareOptions { copy: true, ..options };
        self.share_source(Source::Bytes(file, listed), options).await
    }

    async fn share_source(
        &self,
        source: Source,
        options: ShareOptions,
    ) -> Result<Shared, FilesError> {
        let stop = Arc::new(AtomicBool::new(false));
        let _abandoned = Abandoned(Arc::clone(&stop));
        let place = timeout(WAIT, Arc::clone(&self.inner.sharing).acquire_owned()).await;
        let place = place.map_err(|_| FilesError::Busy(SHARES_MAX))?;
        let place = place.map_err(|_| FilesError::Stopped)?;
        let files = self.clone();
        let imported = blocking(move || {
            let imported = files.import(source, &options, &stop);
            // Only now: the waiting task may be gone while the thread is still in use.
            drop(place);
            imported
        });
        let (shared, blobs) = imported.await?;
        for (blob, size) in blobs {
            let announce = blob == shared.id;
            self.tell(Input::Held { blob, size, announce }).await?;
            if announce && let Some(view) = self.view(&blob) {
                self.tell(Input::Named { blob, hint: hint_of(&view) }).await?;
            }
        }
        self.names_changed();
        Ok(shared)
    }

    fn import(
        &self,
        source: Source,
        options: &ShareOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Shared, Blobs), FilesError> {
        let opened = match source {
            Source::Path(path) => Arc::new(Opened::follow(&path)?),
            Source::Opened(opened) => opened,
            Source::Bytes(file, listed) => {
                let opened = Opened::of(file, PathBuf::from("the upload"))?;
                let name = options.name.as_deref().unwrap_or_default();
                let Some(listed) = listed else {
                    let imported = self.import_file(&opened, name, options, stop)?;
                    let (mtime, mode) = options.marks;
                    self.store()?.set_marks(&imported.0.id, mtime, mode)?;
                    return Ok(imported);
                };
                return self.import_listed(&opened, listed, name, options, stop);
            }
        };
        self.refuse_own(opened.path())?;
        let name = options.name.clone().unwrap_or_else(|| {
            let name = opened.path().file_name();
            name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        });
        if opened.is_folder() {
            self.import_folder(&opened, &name, options, stop)
        } else {
            self.import_file(&opened, &name, options, stop)
        }
    }

    /// Refuses what is in a data folder, and what this node's is in.
    fn refuse_own(&self, path: &Path) -> Result<(), FilesError> {
        let own = self.store()?.data_folder().canonicalize();
        let own = own.map_err(|source| BlobError::Io { path: path.to_owned(), source })?;
        let owner = layout::owner_of(path, Some(&own));
        match owner.or_else(|| own.starts_with(path).then_some(own)) {
            Some(folder) => Err(FilesError::OwnFolder { path: path.to_owned(), folder }),
            None => Ok(()),
        }
    }

    fn hash(
        &self,
        opened: &Opened,
        segments: &[SegmentTarget],
        name: &str,
        options: &ShareOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<Imported, FilesError> {
        let total = segments.iter().map(|segment| segment.bytes).sum();
        let hear = |bytes| {
            if let Some(progress) = &options.progress {
                progress(bytes, total);
            }
            if stop.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let how = if options.copy { ImportHow::Copy } else { ImportHow::Reference };
        let import = ImportOptions { how, name, keep: Keep::Cached };
        let store = self.store()?;
        let imported = store.import_opened(opened, segments, import, &hear)?;
        store.set_shared(&imported.id, true, None)?;
        Ok(imported)
    }

    fn import_file(
        &self,
        opened: &Opened,
        name: &str,
        options: &ShareOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Shared, Blobs), FilesError> {
        let stored = stored_name(LinkKind::File, name);
        let Imported { id, bytes, .. } =
            self.hash(opened, &[whole(opened)], &stored, options, stop)?;
        let link = FileLink::new(LinkKind::File, id, name);
        let (skipped, failed) = (Vec::new(), Vec::new());
        let shared = Shared { link, id, bytes, files: 1, skipped, failed };
        Ok((shared, vec![(id, bytes)]))
    }

    fn import_folder(
        &self,
        opened: &Opened,
        name: &str,
        options: &ShareOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Shared, Blobs), FilesError> {
        // The list is checked before the bytes are read.
        let mut list = list_folder(opened)?;
        let mut reads = 1;
        let data = loop {
            match self.hash(opened, &list.segments, DATA_NAME, options, stop) {
                Ok(data) => break data,
                Err(error) if reads >= READS_MAX || !list.leave_out(&error) => return Err(error),
                Err(_) => reads += 1,
            }
        };
        let FolderList { files, empty_folders, skipped, failed, .. } = list;
        let (shared, blobs) = self.add_manifest(&data, Listed { files, empty_folders }, name)?;
        Ok((Shared { skipped, failed, ..shared }, blobs))
    }

    /// The bytes of a whole folder in one file.
    fn import_listed(
        &self,
        opened: &Opened,
        listed: Listed,
        name: &str,
        options: &ShareOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Shared, Blobs), FilesError> {
        let Listed { files, empty_folders } = listed;
        let nothing = BlobId::from_bytes([0; 32]);
        let checked = Manifest::with_folders(nothing, files, empty_folders)?;
        if checked.bytes() != opened.bytes() {
            return Err(BlobError::WrongSegments.into());
        }
        let data = self.hash(opened, &[whole(opened)], DATA_NAME, options, stop)?;
        let (files, empty_folders) = (checked.files().to_vec(), checked.empty_folders().to_vec());
        self.add_manifest(&data, Listed { files, empty_folders }, name)
    }

    /// Adds the list of files of a folder whose data is here.
    fn add_manifest(
        &self,
        data: &Imported,
        listed: Listed,
        name: &str,
    ) -> Result<(Shared, Blobs), FilesError> {
        let manifest = Manifest::with_folders(data.id, listed.files, listed.empty_folders)?;
        let stored = stored_name(LinkKind::Folder, name);
        let encoded = manifest.to_bytes();
        let store = self.store()?;
        let id = store.add_bytes(&encoded, &stored, Keep::Cached)?;
        store.set_owner(&data.id, &id)?;
        store.set_shared(&id, true, None)?;
        let link = FileLink::new(LinkKind::Folder, id, name);
        let (files, bytes) = (manifest.files().len() as u64, data.bytes);
        let (skipped, failed) = (Vec::new(), Vec::new());
        let shared = Shared { link, id, bytes, files, skipped, failed };
        Ok((shared, vec![(data.id, bytes), (id, encoded.len() as u64)]))
    }
}

/// The one segment of a file.
fn whole(opened: &Opened) -> SegmentTarget {
    let (path, bytes) = (opened.path().to_owned(), opened.bytes());
    SegmentTarget { path, bytes, executable: false, mtime: None }
}
