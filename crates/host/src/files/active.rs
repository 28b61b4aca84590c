//! The state of fetches that are under way, and what the core orders for them.

use std::path::PathBuf;
use std::sync::Arc;

use potluck_base::{BlobId, Contact};
use potluck_store::blobs::{Blob, Place, SegmentTarget};
use potluck_swarm::{FetchId, FetchReport, TransferId};
use potluck_wire::Hint;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::FilesError;
use super::job::FetchProgress;
use super::old::OldPlaces;

/// The place that a fetch writes the bytes of a blob to.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// The data folder of the node.
    Inside,
    /// One file.
    File(PathBuf),
    /// Many files.
    Files(Vec<SegmentTarget>),
}

impl Target {
    pub(super) fn place(self, size: u64, hint: Option<&Hint>) -> Place {
        match self {
            Self::Inside => Place::Inside,
            Self::File(path) => {
                let executable = hint.and_then(|hint| hint.mode).is_some_and(is_executable);
                let mtime = hint.and_then(|hint| hint.mtime);
                Place::Segments(vec![SegmentTarget { path, bytes: size, executable, mtime }])
            }
            Self::Files(segments) => Place::Segments(segments),
        }
    }
}

/// Whether the owner of a file of these permissions may execute it.
pub(super) const fn is_executable(mode: u32) -> bool {
    mode & 0o100 != 0
}

/// A blob to fetch. `root` is the blob that the user asked for: the manifest, if this is the data of a
/// folder.
#[derive(Debug, Clone)]
pub(super) struct WantedBlob {
    pub(super) id: BlobId,
    pub(super) root: BlobId,
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) sources: Vec<Contact>,
    /// The size, if a manifest states it.
    pub(super) size: Option<u64>,
    /// Local files that may hold some of its bytes.
    pub(super) old: Option<OldPlaces>,
}

impl WantedBlob {
    /// A blob that goes into the data folder, from sources that the core has to find.
    pub(super) fn inside(id: BlobId, root: BlobId, name: String) -> Self {
        let (target, sources) = (Target::Inside, Vec::new());
        Self { id, root, name, target, sources, size: None, old: None }
    }
}

/// The result of a fetch.
#[derive(Debug, Clone)]
pub(super) struct Done {
    /// The blob; `None` if only some of its files were saved.
    pub(super) blob: Option<Arc<Blob>>,
    /// Bytes of the blob that are stored.
    pub(super) bytes: u64,
    pub(super) report: FetchReport,
    /// Bytes that an earlier fetch had stored.
    pub(super) resumed: u64,
    /// Bytes that were found in other files of this machine.
    pub(super) reused: u64,
    /// Name, time and permissions as a source stated them.
    pub(super) hint: Option<Hint>,
}

impl Done {
    /// The result for a blob that was complete already.
    pub(super) fn here(blob: Arc<Blob>) -> Self {
        let bytes = blob.division().size();
        let blob = Some(blob);
        Self { blob, bytes, report: FetchReport::default(), resumed: 0, reused: 0, hint: None }
    }

    pub(super) fn whole(&self) -> Result<Arc<Blob>, FilesError> {
        self.blob.clone().ok_or(FilesError::Unknown)
    }

    /// The name that a source stated.
    pub(super) fn called(&self) -> Option<String> {
        self.hint.as_ref().and_then(|hint| hint.name.clone())
    }
}

/// A fetch that the core knows of.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) id: BlobId,
    pub(super) root: BlobId,
    pub(super) name: String,
    pub(super) target: Target,
    /// Local files that may hold some of its bytes.
    pub(super) old: Option<OldPlaces>,
    /// Whether a manifest states the size, not only the sources.
    pub(super) sized: bool,
    /// Whether its disk space was reserved.
    pub(super) has_room: bool,
    /// The open blob; `None` until the place is open.
    pub(super) blob: Option<Arc<Blob>>,
    /// Bytes that an earlier fetch had stored.
    pub(super) resumed: u64,
    /// Bytes that were found in other files of this machine.
    pub(super) reused: u64,
    /// Name, time and permissions as a source stated them.
    pub(super) hint: Option<Hint>,
    /// An error of the shell, which takes precedence over the one of the core.
    pub(super) error: Option<FilesError>,
    pub(super) done: Option<oneshot::Sender<Result<Done, FilesError>>>,
    /// The number of changes so far.
    pub(super) progress: watch::Sender<u64>,
}

impl Active {
    pub(super) fn blob(&self) -> Option<Arc<Blob>> {
        self.blob.clone()
    }

    /// The path for messages: that of the first file, or empty for the data folder.
    pub(super) fn path(&self) -> PathBuf {
        match &self.target {
            Target::Inside => PathBuf::new(),
            Target::File(path) => path.clone(),
            Target::Files(files) => files.first().map(|file| file.path.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn end(mut self, result: Result<Done, FilesError>) {
        if let Some(done) = self.done.take() {
            // The receiver may be gone.
            let _ = done.send(result);
        }
    }
}

/// The view of an active fetch that a reader waits on.
pub(super) struct Watched {
    pub(super) fetch: FetchId,
    pub(super) blob: Option<Arc<Blob>>,
    pub(super) progress: watch::Receiver<u64>,
}

/// The fetch of one blob, shared by all tasks that want it.
#[derive(Debug)]
pub(super) struct Joint {
    /// Tells it from an earlier fetch of the same blob.
    pub(super) number: u64,
    /// The number of tasks that wait for it.
    pub(super) waiting: usize,
    pub(super) progress: watch::Receiver<FetchProgress>,
    pub(super) result: watch::Receiver<Option<Result<Done, FilesError>>>,
    pub(super) task: AbortHandle,
}

/// A stream of granules that the core requests from one source.
pub(super) struct WantedTransfer {
    pub(super) transfer: TransferId,
    pub(super) fetch: FetchId,
    pub(super) from: Contact,
    pub(super) blob: BlobId,
    pub(super) size: u64,
    pub(super) granules: Vec<u32>,
}
