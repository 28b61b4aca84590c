//! Reading: streams the bytes of a file, from this node or while they are fetched.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::BlobId;
use potluck_store::blobs::{Blob, READ_BYTES_MAX, ReadError};
use potluck_swarm::{FetchError, FetchId, Input, Manifest, ManifestError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::active::{Done, WantedBlob};
use super::{Files, FilesError, blocking, stored_name};

/// Bytes that are requested ahead of a reader.
const AHEAD_BYTES: u64 = 8 * 1024 * 1024;
/// How long a reader waits for bytes at most.
const WAIT: Duration = Duration::from_secs(60);
/// Interval at which a reader checks whether the fetch has begun.
const LOOK: Duration = Duration::from_millis(10);

/// A file to read from.
#[derive(Debug)]
pub struct Reader {
    files: Files,
    blob: Arc<Blob>,
    name: String,
    /// Where the file lies in the blob.
    range: Range<u64>,
    fetch: Option<(FetchId, watch::Receiver<u64>)>,
}

impl Files {
    /// Opens a file for reading: one that is here, that is being fetched, or that is fetched now into
    /// the node's cache. `path` names a file inside a folder.
    ///
    /// # Errors
    /// [`FilesError::IsFolder`] for a folder without a path; [`FilesError::NoSuchPath`];
    /// [`FilesError::Fetch`] if no node has it.
    pub async fn open_file(&self, id: BlobId, path: Option<&str>) -> Result<Reader, FilesError> {
        let view = self.view(&id);
        let folder = view.as_ref().is_some_and(|view| stored_name::is_manifest(&view.name));
        let Some(path) = path else {
            if folder {
                return Err(FilesError::IsFolder);
            }
            let name = view.map_or_else(String::new, |view| view.name);
            let reader =
                self.open_blob(WantedBlob::inside(id, id, stored_name::UNNAMED.to_owned())).await?;
            let name = self.view(&id).map_or(name, |view| view.name);
            let named = name != stored_name::UNNAMED && !stored_name::is_data_of_folder(&name);
            return Ok(Reader { name: if named { name } else { String::new() }, ..reader });
        };
        self.fetch_list(id).await?;
        let manifest = self.manifest_to_read(id, view.is_none()).await?;
        let range =
            manifest.range_of(path).ok_or_else(|| FilesError::NoSuchPath(path.to_owned()))?;
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        let wanted = WantedBlob::inside(manifest.data(), id, stored_name::DATA_NAME.to_owned());
        let wanted = WantedBlob { size: Some(manifest.bytes()), ..wanted };
        let reader = self.open_blob(wanted).await?;
        Ok(Reader { name, range, ..reader })
    }

    /// Opens the list of files of a folder, the bytes that its id is the hash of.
    ///
    /// # Errors
    /// The error that no node has it.
    pub async fn open_list(&self, id: BlobId) -> Result<Reader, FilesError> {
        let done = self.fetch_list(id).await?;
        Ok(self.reader(done.whole()?, None))
    }

    async fn fetch_list(&self, id: BlobId) -> Result<Done, FilesError> {
        let name = stored_name::stored_name(potluck_swarm::LinkKind::Folder, stored_name::UNNAMED);
        self.fetch_blob(WantedBlob::inside(id, id, name), &|_| {}).await
    }

    /// The manifest of a folder. Bytes that are none belong to a file, and are as the id says: nothing
    /// is wrong with them. If they came only because they were taken for a manifest, they go again,
    /// since they are kept under the name of one.
    async fn manifest_to_read(&self, id: BlobId, is_new: bool) -> Result<Manifest, FilesError> {
        let files = self.clone();
        let read = blocking(move || {
            let read = files.manifest(&id);
            // A complete blob that "misses" something is larger than any manifest.
            let is_file = match &read {
                Err(FilesError::Manifest(error)) => *error == ManifestError::Malformed,
                Err(FilesError::Read(error)) => matches!(**error, ReadError::Missing),
                _ => false,
            };
            if !is_file {
                return read;
            }
            if is_new {
                // It may already be read, and is collected later.
                let _ = files.store()?.remove(&id);
            }
            Err(FilesError::NotFolder)
        });
        read.await
    }

    /// Opens a whole blob; begins to fetch it if it is not here.
    async fn open_blob(&self, wanted: WantedBlob) -> Result<Reader, FilesError> {
        let id = wanted.id;
        if let Some(blob) = self.intact(id).await? {
            return Ok(self.reader(blob, None));
        }
        let begin = || {
            let (files, wanted) = (self.clone(), wanted.clone());
            tokio::spawn(async move {
                let done = files.fetch_blob(wanted, &|_| {}).await;
                done.map(|_| ())
            })
        };
        let mut own: Option<JoinHandle<Result<(), FilesError>>> = None;
        loop {
            if let Some(watched) = self.watched(&id) {
                // An unproven size is not reported.
                if let Some(blob) = watched.blob.filter(|blob| blob.have_bytes() > 0) {
                    return Ok(self.reader(blob, Some((watched.fetch, watched.progress))));
                }
            } else if let Some(task) = own.take_if(|task| task.is_finished()) {
                task.await.unwrap_or(Err(FilesError::Stopped))?;
                let files = self.clone();
                let blob = blocking(move || files.blob(&id)).await?;
                return Ok(self.reader(blob, None));
            } else if own.is_none() {
                // No fetch is under way, or the fetch of another task has ended: only an own fetch reports
                // the reason.
                own = Some(begin());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn reader(&self, blob: Arc<Blob>, fetch: Option<(FetchId, watch::Receiver<u64>)>) -> Reader {
        let range = 0..blob.division().size();
        Reader { files: self.clone(), blob, name: String::new(), range, fetch }
    }
}

impl Reader {
    /// The name of the file; empty if it is not known.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes in the file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Some bytes, from the beginning of `range` on, at least one and at most 256 KiB; none at the
    /// end of the file. Waits until they are here, and lets them come before others.
    ///
    /// # Errors
    /// The fetch failed or nothing came for a minute; the file changed on disk.
    pub async fn read(&mut self, range: Range<u64>) -> Result<Bytes, FilesError> {
        let begin = self.range.start.saturating_add(range.start).min(self.range.end);
        let end = self.range.start.saturating_add(range.end).min(self.range.end);
        let end = end.min(begin + READ_BYTES_MAX.min(256 * 1024));
        if begin >= end {
            return Ok(Bytes::new());
        }
        loop {
            if let Some((_, progress)) = &mut self.fetch {
                progress.mark_unchanged();
            }
            let blob = Arc::clone(&self.blob);
            let read = tokio::task::spawn_blocking(move || blob.read(begin..end)).await;
            match read {
                Ok(Err(ReadError::Missing)) => self.wait_for(begin..end).await?,
                Ok(read) => return Ok(read?),
                Err(_) => return Err(FilesError::Stopped),
            }
        }
    }

    async fn wait_for(&mut self, range: Range<u64>) -> Result<(), FilesError> {
        let gone = FilesError::Fetch(FetchError::NoSource);
        let Some((fetch, progress)) = &mut self.fetch else { return Err(gone) };
        let ahead = range.start..range.end.saturating_add(AHEAD_BYTES);
        let granules = self.blob.division().covering(&ahead);
        self.files.tell(Input::Wanted { fetch: *fetch, granules }).await?;
        match timeout(WAIT, progress.changed()).await {
            Ok(Ok(())) => Ok(()),
            // The fetch is over; if well, all of it is here now.
            Ok(Err(_)) if self.blob.is_complete() => Ok(()),
            Ok(Err(_)) | Err(_) => Err(gone),
        }
    }
}
