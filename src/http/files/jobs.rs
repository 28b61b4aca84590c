//! The fetches requested over HTTP: those in progress and the last ones that ended. They are stored in a
//! file, so that those in progress continue when the node is started again.
//!
//! **Invariant:** there are never more than [`JOBS_MAX`]; a fetch in progress is never dropped.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use potluck::{FetchJob, FetchOptions, Fetched, FileLink, FilesError};
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::api::{FetchedFile, Job as JobView, JobState, Source};

/// Fetches that are remembered.
const JOBS_MAX: usize = 256;
/// How long an ended fetch is remembered.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// Largest size of the file.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// File names of an ended fetch that are stored.
const STORED_NAMES_MAX: usize = 100;

/// The fetches of one node.
#[derive(Debug, Default)]
pub(in crate::http) struct JobTable {
    inner: Mutex<Inner>,
    /// The file they are stored in.
    file: Option<PathBuf>,
    /// The number of the state of the table that was written last.
    written: Arc<Mutex<u64>>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    /// Counts the states of the table that were written or are about to be.
    state: u64,
    jobs: BTreeMap<u64, Job>,
}

/// One fetch.
#[derive(Debug, Clone)]
pub(super) struct Job {
    number: u64,
    order: Order,
    began_ms: u64,
    ended_ms: Arc<OnceLock<u64>>,
    cancelled: Arc<AtomicBool>,
    fetch: Fetch,
}

/// The request of a fetch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) link: FileLink,
    pub(super) to: PathBuf,
    pub(super) options: FetchOptions,
}

/// A fetch of this run, or how one of an earlier run ended.
#[derive(Debug, Clone)]
enum Fetch {
    Now(FetchJob),
    Over(Box<JobView>),
}

/// A fetch on the disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    number: u64,
    link: String,
    to: String,
    #[serde(default)]
    update: bool,
    #[serde(default)]
    force: bool,
    began_unix_ms: u64,
    ended_unix_ms: Option<u64>,
    /// How it ended, if it has.
    view: Option<JobView>,
}

impl Stored {
    fn order(&self) -> Option<Order> {
        let options = FetchOptions { update: self.update, force: self.force };
        Some(Order { link: self.link.parse().ok()?, to: PathBuf::from(&self.to), options })
    }
}

/// A fetch of an earlier run that had not ended.
#[derive(Debug)]
pub(super) struct Interrupted {
    number: u64,
    began_ms: u64,
    pub(super) order: Order,
}

impl JobTable {
    /// The fetches that are stored in `file`.
    pub(in crate::http) fn kept_in(file: PathBuf) -> Self {
        Self { file: Some(file), ..Self::default() }
    }

    /// Begins a fetch, unless the same fetch is in progress already.
    pub(super) fn begin(
        self: &Arc<Self>,
        order: Order,
        start: impl FnOnce() -> potluck::Result<FetchJob>,
    ) -> Result<Job, Problem> {
        let mut inner = self.inner.lock();
        let same = |job: &&Job| job.order == order && !job.is_over();
        if let Some(job) = inner.jobs.values().find(same) {
            return Ok(job.clone());
        }
        inner.make_room()?;
        inner.last += 1;
        let number = inner.last;
        let fetch = start()?;
        let job = Job::of(number, order, now_ms(), Fetch::Now(fetch.clone()));
        inner.jobs.insert(number, job.clone());
        drop(inner);
        self.look_after(&job, fetch);
        Ok(job)
    }

    /// Notes when a fetch ends.
    fn look_after(self: &Arc<Self>, job: &Job, mut fetch: FetchJob) {
        let (table, ended) = (Arc::clone(self), Arc::clone(&job.ended_ms));
        tokio::spawn(async move {
            // How it ended is read elsewhere.
            let _ = fetch.wait().await;
            let _ = ended.set(now_ms());
            table.save().await;
        });
    }

    /// Reads the fetches that earlier runs stored; returns those that had not ended. Blocks.
    pub(super) fn restore(&self) -> Vec<Interrupted> {
        let Some(file) = &self.file else { return Vec::new() };
        let stored = match read(file) {
            Ok(stored) => stored,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::warn!(code = "fetches.read", %error, "the fetches of the last run cannot be read");
                return Vec::new();
            }
        };
        let mut inner = self.inner.lock();
        let mut interrupted = Vec::new();
        for one in stored.into_iter().take(JOBS_MAX) {
            inner.last = inner.last.max(one.number);
            let (Some(order), number, began_ms) = (one.order(), one.number, one.began_unix_ms)
            else {
                continue;
            };
            match (one.ended_unix_ms, one.view) {
                (Some(ended), Some(view)) => {
                    let job = Job::of(number, order, began_ms, Fetch::Over(Box::new(view)));
                    let _ = job.ended_ms.set(ended);
                    inner.jobs.insert(number, job);
                }
                _ => interrupted.push(Interrupted { number, began_ms, order }),
            }
        }
        interrupted
    }

    /// Continues a fetch of an earlier run under its number, or records why it cannot continue.
    pub(super) fn go_on(
        self: &Arc<Self>,
        interrupted: Interrupted,
        started: Result<FetchJob, Problem>,
    ) {
        let Interrupted { number, began_ms, order } = interrupted;
        let (fetch, running) = match started {
            Ok(fetch) => (Fetch::Now(fetch.clone()), Some(fetch)),
            Err(problem) => {
                let view = JobView {
                    id: number.to_string(),
                    link: order.link.to_string(),
                    to: shown(&order.to),
                    state: JobState::Failed,
                    bytes_total: None,
                    bytes: 0,
                    sources: 0,
                    active: 0,
                    seconds: 0.0,
                    result: None,
                    error: Some(problem.into_body()),
                };
                (Fetch::Over(Box::new(view)), None)
            }
        };
        let job = Job::of(number, order, began_ms, fetch);
        match running {
            Some(fetch) => self.look_after(&job, fetch),
            None => drop(job.ended_ms.set(now_ms())),
        }
        self.inner.lock().jobs.insert(number, job);
    }

    /// Stores the fetches.
    pub(super) async fn save(&self) {
        let Some(file) = self.file.clone() else { return };
        let (state, stored) = {
            let mut inner = self.inner.lock();
            inner.state += 1;
            let stored: Vec<Stored> = inner.jobs.values().filter_map(Job::stored).collect();
            (inner.state, stored)
        };
        let written = Arc::clone(&self.written);
        let saved = tokio::task::spawn_blocking(move || {
            let mut written = written.lock();
            if *written >= state {
                return Ok(());
            }
            *written = state;
            write(&file, &stored)
        });
        if let Ok(Err(error)) = saved.await {
            tracing::warn!(code = "fetches.write", %error, "the fetches of this node cannot be written down");
        }
    }

    /// The fetch with this id.
    pub(super) fn find(&self, id: &str) -> Result<Job, Problem> {
        let job =
            id.parse().ok().and_then(|number: u64| self.inner.lock().jobs.get(&number).cloned());
        job.ok_or_else(|| {
            Problem::absent("there is no such fetch").hint("one that ended is gone after an hour")
        })
    }

    /// All of them, oldest first.
    pub(super) fn all(&self) -> Vec<Job> {
        self.inner.lock().jobs.values().cloned().collect()
    }

    /// The views of all fetches, oldest first.
    pub(in crate::http) fn views(&self) -> Vec<JobView> {
        self.all().iter().map(Job::view).collect()
    }
}

impl Inner {
    /// Forgets the fetches that ended long ago, and further ended ones if that is not enough.
    fn make_room(&mut self) -> Result<(), Problem> {
        let now = now_ms();
        let kept = KEPT.as_millis() as u64;
        self.jobs
            .retain(|_, job| job.ended_ms.get().is_none_or(|at| now.saturating_sub(*at) < kept));
        if self.jobs.len() < JOBS_MAX {
            return Ok(());
        }
        let over = self.jobs.values().filter(|job| job.is_over());
        let oldest = over.min_by_key(|job| job.ended_ms.get().copied()).map(|job| job.number);
        let oldest = oldest.ok_or_else(|| {
            Problem::unavailable("busy", "too many fetches are under way")
                .hint("wait until one has ended")
        })?;
        self.jobs.remove(&oldest);
        Ok(())
    }
}

impl Job {
    fn of(number: u64, order: Order, began_ms: u64, fetch: Fetch) -> Self {
        let (ended_ms, cancelled) = (Arc::default(), Arc::default());
        Self { number, order, began_ms, ended_ms, cancelled, fetch }
    }

    /// The fetch itself, if it is one of this run.
    pub(super) fn running(&self) -> Option<FetchJob> {
        match &self.fetch {
            Fetch::Now(fetch) => Some(fetch.clone()),
            Fetch::Over(_) => None,
        }
    }

    /// Whether it has ended, well or not.
    pub(super) fn is_over(&self) -> bool {
        match &self.fetch {
            Fetch::Now(fetch) => self.cancelled.load(Ordering::Relaxed) || fetch.result().is_some(),
            Fetch::Over(_) => true,
        }
    }

    /// Cancels the fetch, if it is in progress.
    pub(super) fn cancel(&self) {
        if let Fetch::Now(fetch) = &self.fetch
            && !self.is_over()
        {
            self.cancelled.store(true, Ordering::Relaxed);
            fetch.cancel();
        }
    }

    /// The stored form. A fetch that ended because the node stops continues in the next run.
    fn stored(&self) -> Option<Stored> {
        let Order { link, to, options } = &self.order;
        let stopped = matches!(&self.fetch, Fetch::Now(fetch)
            if matches!(fetch.result(), Some(Err(FilesError::Stopped))));
        let over = self.is_over() && !stopped;
        let mut view = over.then(|| self.view());
        if let Some(result) = view.as_mut().and_then(|view| view.result.as_mut()) {
            result.left.truncate(STORED_NAMES_MAX);
            result.kept.truncate(STORED_NAMES_MAX);
        }
        Some(Stored {
            number: self.number,
            link: link.to_string(),
            to: to.to_str()?.to_owned(),
            update: options.update,
            force: options.force,
            began_unix_ms: self.began_ms,
            ended_unix_ms: over.then(|| self.ended_ms.get().copied().unwrap_or_else(now_ms)),
            view,
        })
    }

    /// The view that the API shows.
    pub(super) fn view(&self) -> JobView {
        let fetch = match &self.fetch {
            Fetch::Now(fetch) => fetch,
            Fetch::Over(view) => return (**view).clone(),
        };
        let progress = fetch.progress();
        let ended = self.ended_ms.get().copied().unwrap_or_else(now_ms);
        let (state, result, error) = match fetch.result() {
            Some(Ok(fetched)) => (JobState::Done, Some(fetched_file(&fetched)), None),
            _ if self.cancelled.load(Ordering::Relaxed) => (JobState::Cancelled, None, None),
            Some(Err(error)) => (JobState::Failed, None, Some(Problem::from(error).into_body())),
            None => (JobState::Running, None, None),
        };
        JobView {
            id: self.number.to_string(),
            link: self.order.link.to_string(),
            to: shown(&self.order.to),
            state,
            bytes_total: progress.bytes_total,
            bytes: progress.bytes,
            sources: progress.sources,
            active: progress.active,
            seconds: seconds(Duration::from_millis(ended.saturating_sub(self.began_ms))),
            result,
            error,
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn read(file: &Path) -> io::Result<Vec<Stored>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Replaces the file as a whole.
fn write(file: &Path, stored: &[Stored]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut aside = tempfile::NamedTempFile::new_in(folder)?;
    aside.write_all(&serde_json::to_vec(stored)?)?;
    aside.as_file().sync_all()?;
    aside.persist(file)?;
    Ok(())
}

fn fetched_file(fetched: &Fetched) -> FetchedFile {
    let source =
        |from: &potluck::FetchedFrom| Source { id: from.id.to_string(), bytes: from.bytes };
    FetchedFile {
        path: shown(&fetched.path),
        bytes: fetched.bytes,
        seconds: seconds(fetched.took),
        sources: fetched.sources.iter().map(source).collect(),
        duplicate_bytes: fetched.duplicate_bytes,
        resumed_bytes: fetched.resumed_bytes,
        reused_bytes: fetched.reused_bytes,
        left: fetched.left.clone(),
        kept: fetched.kept.clone(),
        verified: fetched.verified,
        failed: super::skipped(&fetched.failed),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Seconds with three decimals.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(number: u64, ended_unix_ms: Option<u64>) -> Stored {
        let link = FileLink::new(potluck::LinkKind::File, potluck::BlobId::of(b"dish"), "dish");
        let view = ended_unix_ms.map(|_| JobView {
            id: number.to_string(),
            link: link.to_string(),
            to: "/there".to_owned(),
            state: JobState::Cancelled,
            bytes_total: Some(7),
            bytes: 3,
            sources: 1,
            active: 0,
            seconds: 1.5,
            result: None,
            error: None,
        });
        Stored {
            number,
            link: link.to_string(),
            to: "/there".to_owned(),
            update: true,
            force: false,
            began_unix_ms: 1,
            ended_unix_ms,
            view,
        }
    }

    #[tokio::test]
    async fn fetches_survive_on_the_disk_and_those_that_ended_age_out() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("fetches");
        let now = now_ms();
        write(&file, &[stored(3, Some(1)), stored(5, Some(now)), stored(9, None)]).expect("kept");
        let table = Arc::new(JobTable::kept_in(file.clone()));
        let mut interrupted = table.restore();
        assert_eq!(table.views().len(), 2);
        let one = interrupted.pop().expect("one had not ended");
        assert!(interrupted.is_empty() && one.order.options.update && one.number == 9);
        let to = one.order.to.clone();
        assert_eq!(to, Path::new("/there"));
        // The folder is no longer allowed.
        table.go_on(one, Err(Problem::forbidden("outsidePaths", "outside of [files] paths")));
        let view = table.find("9").expect("known").view();
        assert!(view.state == JobState::Failed && view.error.is_some());
        table.inner.lock().make_room().expect("room");
        assert!(table.find("3").is_err(), "it ended long ago");
        assert_eq!(table.find("5").expect("known").view().bytes_total, Some(7));
        table.save().await;
        let again = JobTable::kept_in(file.clone());
        assert!(again.restore().is_empty());
        assert_eq!(again.views().len(), 2);
        std::fs::write(&file, "nonsense").expect("written");
        assert!(JobTable::kept_in(file).restore().is_empty());
    }
}
