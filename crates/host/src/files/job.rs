//! The handle of a fetch, its progress and its result.

use std::path::PathBuf;
use std::time::Duration;

use potluck_base::NodeId;
use potluck_swarm::FetchError;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::FilesError;

/// The progress of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FetchProgress {
    /// Bytes in all, once known.
    pub bytes_total: Option<u64>,
    /// Bytes that are stored and verified.
    pub bytes: u64,
    /// Sources known.
    pub sources: usize,
    /// Sources that send now.
    pub active: usize,
    /// Whether it has ended, with or without success.
    pub finished: bool,
}

/// The share of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchedFrom {
    /// The node.
    pub id: NodeId,
    /// Verified bytes that came from it.
    pub bytes: u64,
}

/// The result of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The file or folder.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// The sources, the one that sent most first; none if nothing was fetched.
    pub sources: Vec<FetchedFrom>,
    /// Bytes that arrived twice.
    pub duplicate_bytes: u64,
    /// Bytes that an earlier, interrupted fetch had stored.
    pub resumed_bytes: u64,
    /// Bytes that were on this machine already and were not fetched.
    pub reused_bytes: u64,
    /// Existing files that differ from the fetched ones and were left as they are, at most 1000:
    /// they were changed, or their origin is unknown.
    pub left: Vec<String>,
    /// Files at its place that are not part of what was fetched, at most 1000. They were not touched.
    pub kept: Vec<String>,
    /// Whether every byte was verified against the link. Always true; for scripts.
    pub verified: bool,
    /// Files that are missing or differ from the shared ones, each with the reason.
    pub failed: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct JobState {
    pub(super) progress: FetchProgress,
    pub(super) result: Option<Result<Fetched, FilesError>>,
}

/// The handle of a fetch. Cheap to clone. The fetch goes on until it ends or is cancelled, also when all
/// handles are dropped.
#[derive(Debug, Clone)]
pub struct FetchJob {
    pub(super) state: watch::Receiver<JobState>,
    pub(super) task: AbortHandle,
}

impl FetchJob {
    /// The progress.
    #[must_use]
    pub fn progress(&self) -> FetchProgress {
        self.state.borrow().progress
    }

    /// Waits for the next change of [`progress`](Self::progress). Returns at once after the end.
    pub async fn changed(&mut self) {
        if !self.state.borrow().progress.finished {
            // An error means that the task has ended; `result` reports it.
            let _ = self.state.changed().await;
        }
    }

    /// The result, if it has ended.
    #[must_use]
    pub fn result(&self) -> Option<Result<Fetched, FilesError>> {
        let state = self.state.borrow();
        let gone =
            || self.task.is_finished().then_some(Err(FilesError::Fetch(FetchError::Cancelled)));
        state.result.clone().or_else(gone)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Why it failed. The fetched bytes are kept: the same fetch continues from there.
    pub async fn wait(&mut self) -> Result<Fetched, FilesError> {
        let over = self.state.wait_for(|state| state.result.is_some()).await;
        let result = over.ok().and_then(|state| state.result.clone());
        result.unwrap_or(Err(FilesError::Fetch(FetchError::Cancelled)))
    }

    /// Cancels it. The fetched bytes are kept.
    pub fn cancel(&self) {
        self.task.abort();
    }
}
