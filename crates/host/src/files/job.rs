//! The handle of a fetch, its progress and its result.

use std::path::PathBuf;
use std::time::Duration;

use potluck_base::NodeId;
use potluck_swarm::FetchError;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::FilesError;

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FetchProgress {
    /// Bytes in all, once known.
    pub bytes_total: Option<u64>,
    /// Bytes that are here and verified.
    pub bytes: u64,
    /// Sources known.
    pub sources: usize,
    /// Sources that send now.
    pub active: usize,
    /// Whether it is over, well or not.
    pub finished: bool,
}

/// What a source gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchedFrom {
    /// The node.
    pub id: NodeId,
    /// Verified bytes that came from it.
    pub bytes: u64,
}

/// A fetch that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The file or folder.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// The nodes that sent it, the one that sent most first; none if it was here already.
    pub sources: Vec<FetchedFrom>,
    /// Bytes that came twice.
    pub duplicate_bytes: u64,
    /// Bytes that an earlier, interrupted fetch had brought.
    pub resumed_bytes: u64,
    /// Bytes that were on this machine already and were not fetched.
    pub reused_bytes: u64,
    /// Existing files that differ from the fetched ones and were left as they are, at most 1000:
    /// they were changed, or their origin is unknown.
    pub left: Vec<String>,
    /// Files at its place that are not part of what was fetched, at most 1000. They were not touched.
    pub kept: Vec<String>,
    /// Whether every byte was checked against the link. Always; said so that scripts can ask.
    pub verified: bool,
    /// What is not here, or not as it was shared, and why; the rest is.
    pub failed: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct JobState {
    pub(super) progress: FetchProgress,
    pub(super) result: Option<Result<Fetched, FilesError>>,
}

/// A fetch under way or over. Cheap to clone; goes on until it is over or cancelled, also when
/// all handles are dropped.
#[derive(Debug, Clone)]
pub struct FetchJob {
    pub(super) state: watch::Receiver<JobState>,
    pub(super) task: AbortHandle,
}

impl FetchJob {
    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> FetchProgress {
        self.state.borrow().progress
    }

    /// Waits for the next change of [`progress`](Self::progress); at once if it is over.
    pub async fn changed(&mut self) {
        if !self.state.borrow().progress.finished {
            // An error means that the task is gone; `result` will say so.
            let _ = self.state.changed().await;
        }
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn result(&self) -> Option<Result<Fetched, FilesError>> {
        let state = self.state.borrow();
        let gone =
            || self.task.is_finished().then_some(Err(FilesError::Fetch(FetchError::Cancelled)));
        state.result.clone().or_else(gone)
    }

    /// Waits until it is over.
    ///
    /// # Errors
    /// Why it failed. What came is kept: the same fetch again goes on from there.
    pub async fn wait(&mut self) -> Result<Fetched, FilesError> {
        let over = self.state.wait_for(|state| state.result.is_some()).await;
        let result = over.ok().and_then(|state| state.result.clone());
        result.unwrap_or(Err(FilesError::Fetch(FetchError::Cancelled)))
    }

    /// Gives it up. What came is kept.
    pub fn cancel(&self) {
        self.task.abort();
    }
}
