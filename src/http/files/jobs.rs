//! The fetches that somebody asked for over HTTP: those under way and the last ones that ended.
//!
//! **Invariant:** there are never more than [`JOBS_MAX`]; one under way is never dropped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use potluck::{FetchJob, Fetched, FileLink, FilesError};

use super::Problem;
use crate::api::{FetchedFile, Job as JobView, JobState, Source};

/// Fetches that are remembered.
const JOBS_MAX: usize = 256;
/// How long one that has ended is remembered.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The fetches of one node.
#[derive(Debug, Default)]
pub(in crate::http) struct JobTable {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    jobs: BTreeMap<u64, Job>,
}

/// One fetch.
#[derive(Debug, Clone)]
pub(super) struct Job {
    number: u64,
    link: FileLink,
    to: PathBuf,
    began: Instant,
    ended: Arc<OnceLock<Instant>>,
    cancelled: Arc<AtomicBool>,
    pub(super) fetch: FetchJob,
}

impl JobTable {
    /// Begins a fetch, unless the same one is under way already.
    pub(super) fn begin(
        &self,
        link: FileLink,
        to: PathBuf,
        start: impl FnOnce() -> Result<FetchJob, FilesError>,
    ) -> Result<Job, Problem> {
        let mut inner = self.lock();
        let same = |job: &&Job| job.link == link && job.to == to && !job.is_over();
        if let Some(job) = inner.jobs.values().find(same) {
            return Ok(job.clone());
        }
        inner.make_room()?;
        inner.last += 1;
        let job = Job {
            number: inner.last,
            link,
            to,
            began: Instant::now(),
            ended: Arc::default(),
            cancelled: Arc::default(),
            fetch: start()?,
        };
        inner.jobs.insert(job.number, job.clone());
        let (mut fetch, ended) = (job.fetch.clone(), Arc::clone(&job.ended));
        tokio::spawn(async move {
            // How it ended is asked for elsewhere.
            let _ = fetch.wait().await;
            let _ = ended.set(Instant::now());
        });
        Ok(job)
    }

    /// The fetch that is called so.
    pub(super) fn find(&self, id: &str) -> Result<Job, Problem> {
        let job = id.parse().ok().and_then(|number: u64| self.lock().jobs.get(&number).cloned());
        job.ok_or_else(|| {
            Problem::absent("there is no such fetch").hint("one that ended is gone after an hour")
        })
    }

    /// All of them, oldest first.
    pub(super) fn all(&self) -> Vec<Job> {
        self.lock().jobs.values().cloned().collect()
    }

    /// All of them as they are told, oldest first.
    pub(in crate::http) fn views(&self) -> Vec<JobView> {
        self.all().iter().map(Job::view).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No panic can leave this half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Forgets what ended long ago, and more if that is not enough.
    fn make_room(&mut self) -> Result<(), Problem> {
        self.jobs.retain(|_, job| job.ended.get().is_none_or(|at| at.elapsed() < KEPT));
        if self.jobs.len() < JOBS_MAX {
            return Ok(());
        }
        let over = self.jobs.values().filter(|job| job.is_over());
        let oldest = over.min_by_key(|job| job.ended.get().copied()).map(|job| job.number);
        let oldest = oldest.ok_or_else(|| {
            Problem::unavailable("busy", "too many fetches are under way")
                .hint("wait until one has ended")
        })?;
        self.jobs.remove(&oldest);
        Ok(())
    }
}

impl Job {
    /// Whether it has ended, well or not.
    pub(super) fn is_over(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || self.fetch.result().is_some()
    }

    /// Calls it off, if it is under way.
    pub(super) fn cancel(&self) {
        if !self.is_over() {
            self.cancelled.store(true, Ordering::Relaxed);
            self.fetch.cancel();
        }
    }

    /// As it is told.
    pub(super) fn view(&self) -> JobView {
        let progress = self.fetch.progress();
        let ended = self.ended.get().copied().unwrap_or_else(Instant::now);
        let (state, result, error) = match self.fetch.result() {
            Some(Ok(fetched)) => (JobState::Done, Some(fetched_file(&fetched)), None),
            _ if self.cancelled.load(Ordering::Relaxed) => (JobState::Cancelled, None, None),
            Some(Err(error)) => (JobState::Failed, None, Some(Problem::from(error).into_body())),
            None => (JobState::Running, None, None),
        };
        JobView {
            id: self.number.to_string(),
            link: self.link.to_string(),
            to: shown(&self.to),
            state,
            bytes_total: progress.bytes_total,
            bytes: progress.bytes,
            sources: progress.sources,
            active: progress.active,
            seconds: seconds(ended.saturating_duration_since(self.began)),
            result,
            error,
        }
    }
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
        verified: fetched.verified,
        failed: super::skipped(&fetched.failed),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Seconds with the milliseconds behind the point.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}
