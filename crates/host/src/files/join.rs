//! One transfer for all tasks that fetch the same blob at the same time.
//!
//! The first one decides where the bytes go; the others copy them from there. The transfer goes on for as
//! long as any task waits for it, not only the first one.
//!
//! **Invariant:** there is at most one transfer of a blob; it ends when no task waits for it any more.

use std::sync::Arc;

use potluck_base::BlobId;
use potluck_swarm::FetchError;
use tokio::sync::watch;

use super::active::{Done, Joint, WantedBlob};
use super::job::FetchProgress;
use super::{Files, FilesError};

/// Tries of a task that joined a transfer, when the task that began it fails.
const TRIES_MAX: usize = 4;

/// A task that waits for a transfer.
struct Ticket {
    files: Files,
    id: BlobId,
    number: u64,
    progress: watch::Receiver<FetchProgress>,
    result: watch::Receiver<Option<Result<Done, FilesError>>>,
    began: bool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut joints = self.files.inner.joints.lock();
        let Some(joint) = joints.get_mut(&self.id).filter(|joint| joint.number == self.number)
        else {
            return;
        };
        joint.waiting -= 1;
        if joint.waiting == 0 {
            joint.task.abort();
            joints.remove(&self.id);
        }
    }
}

impl Files {
    /// Returns one blob, and fetches it if it is not stored. Tasks that want it at the same time share the
    /// transfer. Dropping the future cancels the fetch, unless other tasks wait for it.
    pub(super) async fn fetch_blob(
        &self,
        wanted: WantedBlob,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<Done, FilesError> {
        let mut tries = 0;
        loop {
            if let Some(blob) = self.intact(wanted.id).await? {
                return Ok(Done::here(blob));
            }
            let mut ticket = self.join(&wanted);
            let result = ticket.wait(hear).await;
            tries += 1;
            match result {
                // The task that began the transfer may have chosen a target that cannot be written.
                Err(error) if !ticket.began && is_of_place(&error) && tries < TRIES_MAX => {}
                result => return result,
            }
        }
    }

    /// Joins the transfer of a blob, or begins one.
    fn join(&self, wanted: &WantedBlob) -> Ticket {
        let id = wanted.id;
        let mut joints = self.inner.joints.lock();
        let mut began = false;
        let joint = joints.entry(id).or_insert_with(|| {
            began = true;
            self.begin_joint(wanted.clone())
        });
        joint.waiting += 1;
        Ticket {
            files: self.clone(),
            id,
            number: joint.number,
            progress: joint.progress.clone(),
            result: joint.result.clone(),
            began,
        }
    }

    fn begin_joint(&self, wanted: WantedBlob) -> Joint {
        let number = self.fetch_id().0;
        let (hears, progress) = watch::channel(FetchProgress::default());
        let (tells, result) = watch::channel(None);
        let (files, id) = (self.clone(), wanted.id);
        let task = tokio::spawn(async move {
            let hear = |progress| {
                hears.send_replace(progress);
            };
            let result = files.transfer_blob(wanted, &hear).await;
            // No task joins it from now on: its result is visible in the store.
            files.inner.joints.lock().retain(|other, joint| *other != id || joint.number != number);
            tells.send_replace(Some(result));
        });
        Joint { number, waiting: 0, progress, result, task: task.abort_handle() }
    }
}

impl Ticket {
    async fn wait(
        &mut self,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<Done, FilesError> {
        let stopped = FilesError::Stopped;
        loop {
            tokio::select! {
                ended = self.result.wait_for(Option::is_some) => {
                    let result = ended.map_err(|_| stopped)?.clone();
                    return result.unwrap_or(Err(FilesError::Stopped));
                }
                Ok(()) = self.progress.changed() => hear(*self.progress.borrow_and_update()),
            }
        }
    }
}

/// Whether an error is about the target of the transfer and not about the blob.
fn is_of_place(error: &FilesError) -> bool {
    match error {
        FilesError::Exists(_) | FilesError::Store(_) | FilesError::Full(_) => true,
        FilesError::Fetch(error) => {
            matches!(error, FetchError::NoPlace | FetchError::Cancelled)
        }
        _ => false,
    }
}

/// Registers the incomplete path of a fetch while it lives.
#[derive(Debug)]
pub(super) struct Bringing {
    files: Files,
    aside: std::path::PathBuf,
}

impl Bringing {
    pub(super) fn new(files: &Files, aside: &std::path::Path) -> Arc<Self> {
        *files.inner.asides.lock().entry(aside.to_owned()).or_default() += 1;
        Arc::new(Self { files: files.clone(), aside: aside.to_owned() })
    }
}

impl Drop for Bringing {
    fn drop(&mut self) {
        let mut asides = self.files.inner.asides.lock();
        if let Some(count) = asides.get_mut(&self.aside) {
            *count -= 1;
            if *count == 0 {
                asides.remove(&self.aside);
            }
        }
    }
}
