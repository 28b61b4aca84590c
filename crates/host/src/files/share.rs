//! Sharing: hashing what is on disk once and telling the core that it may be given to others.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use potluck_base::BlobId;
use potluck_store::blobs::{
    BlobError, ImportHow, Imported, Keep, SegmentTarget, Walk, WalkLimits, walk,
};
use potluck_swarm::{FileLink, Input, LinkKind, Manifest, ManifestFile, path};

use super::{Files, FilesError, blocking};

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

impl Files {
    /// Shares a file or a folder. Files are read where they are, also later, unless a copy is asked
    /// for; one that changes is withdrawn. If the future is dropped, nothing is shared.
    ///
    /// # Errors
    /// [`FilesError::NotShareable`], or the store says why not.
    pub async fn share(&self, path: PathBuf, options: ShareOptions) -> Result<Shared, FilesError> {
        let stop = Arc::new(AtomicBool::new(false));
        let _abandoned = Abandoned(Arc::clone(&stop));
        let files = self.clone();
        let (shared, blobs) = blocking(move || files.import(&path, &options, &stop)).await?;
        for (blob, size) in blobs {
            let announce = blob == shared.id;
            self.tell(Input::Held { blob, size, announce }).await?;
        }
        self.names_changed();
        Ok(shared)
    }

    fn import(
        &self,
        path: &Path,
        options: &ShareOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Shared, Vec<(BlobId, u64)>), FilesError> {
        let metadata = std::fs::metadata(path)
            .map_err(|source| BlobError::Io { path: path.to_owned(), source })?;
        let name = options.name.clone().unwrap_or_else(|| {
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        });
        if metadata.is_file() {
            self.import_file(path, metadata.len(), &name, options, stop)
        } else if metadata.is_dir() {
            self.import_folder(path, &name, options, stop)
        } else {
            Err(FilesError::NotShareable(path.to_owned()))
        }
    }

    fn hash(
        &self,
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
        let imported = store.import(segments, how, name, Keep::Cached, &hear)?;
        store.set_shared(&imported.id, true, Some(name))?;
        Ok(imported)
    }

    fn import_file(
        &self,
        path: &Path,
        bytes: u64,
        name: &str,
        options: &ShareOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Shared, Vec<(BlobId, u64)>), FilesError> {
        let segment = SegmentTarget { path: absolute(path)?, bytes, executable: false };
        let stored = stored_name(LinkKind::File, name);
        let Imported { id, bytes, .. } = self.hash(&[segment], &stored, options, stop)?;
        let link = FileLink::new(LinkKind::File, id, name);
        let shared = Shared { link, id, bytes, files: 1, skipped: Vec::new() };
        Ok((shared, vec![(id, bytes)]))
    }

    fn import_folder(
        &self,
        path: &Path,
        name: &str,
        options: &ShareOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Shared, Vec<(BlobId, u64)>), FilesError> {
        let Walk { files: walked, skipped } = walk(&absolute(path)?, WalkLimits::default())?;
        let mut skipped: Vec<(String, String)> =
            skipped.into_iter().map(|(path, reason)| (path, reason.to_string())).collect();
        let (mut files, mut segments) = (Vec::new(), Vec::new());
        for file in walked {
            if let Err(reason) = path::check(&file.relative) {
                skipped.push((file.relative, reason.to_string()));
                continue;
            }
            let (bytes, executable) = (file.bytes, file.executable);
            segments.push(SegmentTarget { path: file.path, bytes, executable });
            files.push(ManifestFile { path: file.relative, bytes, executable, mtime: None });
        }
        // The list is checked before the bytes are read.
        let checked = Manifest::new(BlobId::from_bytes([0; 32]), files)?;
        let Imported { id: data, bytes, .. } = self.hash(&segments, DATA_NAME, options, stop)?;
        let manifest = Manifest::new(data, checked.files().to_vec())?;
        let stored = stored_name(LinkKind::Folder, name);
        let encoded = manifest.to_bytes();
        let store = self.store()?;
        let id = store.add_bytes(&encoded, &stored, Keep::Cached)?;
        store.set_shared(&id, true, Some(&stored))?;
        let link = FileLink::new(LinkKind::Folder, id, name);
        let files = manifest.files().len() as u64;
        let shared = Shared { link, id, bytes, files, skipped };
        Ok((shared, vec![(data, bytes), (id, encoded.len() as u64)]))
    }
}

fn absolute(path: &Path) -> Result<PathBuf, FilesError> {
    Ok(std::path::absolute(path)
        .map_err(|source| BlobError::Io { path: path.to_owned(), source })?)
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
