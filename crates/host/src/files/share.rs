//! Sharing: hashing what is on disk once and telling the core that it may be given to others.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use potluck_base::BlobId;
use potluck_store::blobs::{
    BlobError, ImportHow, Imported, Keep, Opened, SegmentTarget, Walk, WalkLimits, WalkedFile, walk,
};
use potluck_swarm::{FileLink, Input, LinkKind, Manifest, ManifestFile, path};
use tokio::time::timeout;

use super::{Files, FilesError, SHARES_MAX, blocking};
use crate::folder::layout;

/// What the data of a folder is called in the store: no name of its own.
const DATA_NAME: &str = "";
/// How the names of manifests end in the store. No file name has this character.
const FOLDER_MARK: char = '/';

/// Whether a blob of this name is the data of a folder.
pub(super) fn is_data_of_folder(name: &str) -> bool {
    name == DATA_NAME
}

/// Whether a blob of this name is a manifest.
pub(super) fn is_manifest(name: &str) -> bool {
    name.ends_with(FOLDER_MARK)
}

/// What people call it.
pub(super) fn plain_name(name: &str) -> &str {
    name.trim_end_matches(FOLDER_MARK)
}

/// What a file or the manifest of a folder is called in the store.
pub(super) fn stored_name(kind: LinkKind, name: &str) -> String {
    let plain: String = name.chars().filter(|c| *c != FOLDER_MARK).collect();
    let plain = if plain.is_empty() { "unnamed".to_owned() } else { plain };
    match kind {
        LinkKind::File => plain,
        LinkKind::Folder => format!("{plain}{FOLDER_MARK}"),
    }
}

/// The name under which the data of a folder is stored.
pub(super) const fn data_name() -> &'static str {
    DATA_NAME
}

/// How long a share waits for others to end.
const WAIT: Duration = Duration::from_secs(20);

/// Hears of bytes hashed, of so many in all.
pub type ShareProgress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// How to share.
#[derive(Clone, Default)]
pub struct ShareOptions {
    /// Keep a copy in the node's folder instead of reading the files where they are.
    pub copy: bool,
    /// What to call it; `None`: as the file is called.
    pub name: Option<String>,
    /// Hears of the progress, from several threads.
    pub progress: Option<ShareProgress>,
}

impl std::fmt::Debug for ShareOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { copy, name, progress } = self;
        let hears = progress.is_some();
        f.debug_struct("ShareOptions")
            .field("copy", copy)
            .field("name", name)
            .field("progress", &hears)
            .finish()
    }
}

/// What was shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// What to hand to others.
    pub link: FileLink,
    /// Its name in the network.
    pub id: BlobId,
    /// Its bytes.
    pub bytes: u64,
    /// Files in it.
    pub files: u64,
    /// What was left out of a folder, and why.
    pub skipped: Vec<(String, String)>,
}

impl AsRef<FileLink> for Shared {
    fn as_ref(&self) -> &FileLink {
        &self.link
    }
}

/// Stops hashing when whoever waits for it has gone.
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is to be shared.
enum Source {
    /// A path, whose links are followed.
    Path(PathBuf),
    /// A file or folder.
    Opened(Arc<Opened>),
    /// The bytes of a file that only carries them here, and the files that they are of, if of a folder.
    Bytes(Arc<File>, Option<Vec<ManifestFile>>),
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

    /// Shares a copy of the bytes of a file, which may go then. With `files` they are those of the
    /// files of a folder, laid end to end.
    ///
    /// # Errors
    /// As [`Files::share`]; [`FilesError::Manifest`] if the files cannot be those of a folder.
    pub async fn share_bytes(
        &self,
        file: Arc<File>,
        files: Option<Vec<ManifestFile>>,
        options: ShareOptions,
    ) -> Result<Shared, FilesError> {
        let options = ShareOptions { copy: true, ..options };
        self.share_source(Source::Bytes(file, files), options).await
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
            // Not before: whoever waits for it may have gone, and the thread is still held.
            drop(place);
            imported
        });
        let (shared, blobs) = imported.await?;
        for (blob, size) in blobs {
            let announce = blob == shared.id;
            self.tell(Input::Held { blob, size, announce }).await?;
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
                return match listed {
                    Some(files) => self.import_listed(&opened, files, name, options, stop),
                    None => self.import_file(&opened, name, options, stop),
                };
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
        let store = self.store()?;
        let imported = store.import_opened(opened, segments, how, name, Keep::Cached, &hear)?;
        store.set_shared(&imported.id, true, Some(name))?;
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
        let shared = Shared { link, id, bytes, files: 1, skipped: Vec::new() };
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
        let FolderList { files, segments, skipped } = list_folder(opened)?;
        let data = self.hash(opened, &segments, DATA_NAME, options, stop)?;
        let (shared, blobs) = self.add_manifest(&data, files, name)?;
        Ok((Shared { skipped, ..shared }, blobs))
    }

    /// The bytes of a whole folder in one file.
    fn import_listed(
        &self,
        opened: &Opened,
        files: Vec<ManifestFile>,
        name: &str,
        options: &ShareOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Shared, Blobs), FilesError> {
        let checked = Manifest::new(BlobId::from_bytes([0; 32]), files)?;
        if checked.bytes() != opened.bytes() {
            return Err(BlobError::WrongSegments.into());
        }
        let data = self.hash(opened, &[whole(opened)], DATA_NAME, options, stop)?;
        self.add_manifest(&data, checked.files().to_vec(), name)
    }

    /// Adds the list of files of a folder whose data is here.
    fn add_manifest(
        &self,
        data: &Imported,
        files: Vec<ManifestFile>,
        name: &str,
    ) -> Result<(Shared, Blobs), FilesError> {
        let manifest = Manifest::new(data.id, files)?;
        let stored = stored_name(LinkKind::Folder, name);
        let encoded = manifest.to_bytes();
        let store = self.store()?;
        let id = store.add_bytes(&encoded, &stored, Keep::Cached)?;
        store.set_owner(&data.id, &id)?;
        store.set_shared(&id, true, Some(&stored))?;
        let link = FileLink::new(LinkKind::Folder, id, name);
        let (files, bytes) = (manifest.files().len() as u64, data.bytes);
        let shared = Shared { link, id, bytes, files, skipped: Vec::new() };
        Ok((shared, vec![(data.id, bytes), (id, encoded.len() as u64)]))
    }
}

/// The files of a folder that is to be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderList {
    /// The files, in the order of their paths.
    pub files: Vec<ManifestFile>,
    /// Where each of them is.
    pub segments: Vec<SegmentTarget>,
    /// What is left out, and why.
    pub skipped: Vec<(String, String)>,
}

/// Lists the files of a folder as they are shared: links, whatever is no plain file and the data
/// folders of nodes are left out. Blocks.
///
/// # Errors
/// [`FilesError::Manifest`] if the files cannot be those of a folder on every system.
pub fn list_folder(opened: &Opened) -> Result<FolderList, FilesError> {
    let Walk { files: walked, skipped } = walk(opened.path(), WalkLimits::default())?;
    let mut skipped: Vec<(String, String)> =
        skipped.into_iter().map(|(path, reason)| (path, reason.to_string())).collect();
    let others = data_folders_in(&walked);
    for folder in &others {
        let below = folder.strip_prefix(opened.path()).unwrap_or(folder);
        let reason = "the data folder of a node".to_owned();
        skipped.push((below.to_string_lossy().into_owned(), reason));
    }
    let (mut files, mut segments) = (Vec::new(), Vec::new());
    for file in walked {
        if others.iter().any(|folder| file.path.starts_with(folder)) {
            continue;
        }
        if let Err(reason) = path::check(&file.relative) {
            skipped.push((file.relative, reason.to_string()));
            continue;
        }
        let (bytes, executable) = (file.bytes, file.executable);
        segments.push(SegmentTarget { path: file.path, bytes, executable });
        files.push(ManifestFile { path: file.relative, bytes, executable, mtime: None });
    }
    let checked = Manifest::new(BlobId::from_bytes([0; 32]), files)?;
    Ok(FolderList { files: checked.files().to_vec(), segments, skipped })
}

/// The one segment of a file.
fn whole(opened: &Opened) -> SegmentTarget {
    let (path, bytes) = (opened.path().to_owned(), opened.bytes());
    SegmentTarget { path, bytes, executable: false }
}

/// The data folders of nodes among what a walk found.
fn data_folders_in(walked: &[WalkedFile]) -> Vec<PathBuf> {
    let identities = walked.iter().filter(|file| file.path.ends_with(layout::IDENTITY));
    let folders = identities.filter_map(|file| file.path.parent());
    folders.filter(|folder| layout::is_data_folder(folder)).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_store_tell_what_a_blob_is() {
        let folder = stored_name(LinkKind::Folder, "my/weights");
        assert!(is_manifest(&folder) && !is_data_of_folder(&folder));
        assert_eq!(plain_name(&folder), "myweights");
        let file = stored_name(LinkKind::File, "/");
        assert!(!is_manifest(&file) && !is_data_of_folder(&file));
        assert!(is_data_of_folder(data_name()) && !is_manifest(data_name()));
    }
}
