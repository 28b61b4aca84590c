//! Fetches with their rate, and the reason why each is not faster.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::api::{Job, JobState, Transfer};
use crate::text::count;

/// Transfers that are shown: those in progress, then the last that ended.
const SHOWN: usize = 16;
/// Seconds without a provider after which the reason is "no node found" instead of "looking for one".
const PATIENCE_SECONDS: f64 = 10.0;
/// Seconds at the start of a fetch in which its rate says nothing yet.
const BEGINNING_SECONDS: f64 = 5.0;
/// Share of the configured rate from which on the rate counts as the limit.
const CAP_SHARE: f64 = 0.85;
/// Percent of a core from which on the processor counts as the limit: hashing is done on one.
const CPU_PERCENT: f64 = 85.0;
/// Percent of the time that processes waited for a disk from which on the disk counts as the limit.
const DISK_PERCENT: f64 = 30.0;

/// The state of the machine while a transfer goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Conditions {
    /// `[files] download_rate`, in bytes a second.
    pub(super) cap: Option<u64>,
    /// Percent of a core that the process uses.
    pub(super) cpu_percent: f64,
    /// Percent of the time that processes wait for a disk, where it is known.
    pub(super) disk_percent: Option<f64>,
}

/// The bytes of each fetch when last read.
#[derive(Debug, Default)]
pub(super) struct Progress(BTreeMap<String, (Instant, u64, f64)>);

impl Progress {
    /// The transfers to show.
    pub(super) fn shown(&mut self, jobs: &[Job], around: &Conditions) -> Vec<Transfer> {
        let now = Instant::now();
        let running = |job: &&Job| job.state == JobState::Running;
        let ids: Vec<&String> = jobs.iter().filter(running).map(|job| &job.id).collect();
        self.0.retain(|id, _| ids.contains(&id));
        let ended = jobs.iter().rev().filter(|job| job.state != JobState::Running);
        let all = jobs.iter().rev().filter(running).chain(ended).take(SHOWN);
        all.map(|job| transfer(job, self.rate(now, job), around)).collect()
    }

    /// Bytes a second: half the weight on the last reading and half on those before.
    fn rate(&mut self, now: Instant, job: &Job) -> f64 {
        if job.state != JobState::Running {
            return job.bytes as f64 / job.seconds.max(0.001);
        }
        let first = (now, job.bytes, job.bytes as f64 / job.seconds.max(1.0));
        let (at, bytes, rate) = self.0.entry(job.id.clone()).or_insert(first);
        let span = now.duration_since(*at).as_secs_f64();
        if span >= 0.5 {
            let last = job.bytes.saturating_sub(*bytes) as f64 / span;
            (*at, *bytes, *rate) = (now, job.bytes, (*rate + last) / 2.0);
        }
        *rate
    }
}

fn transfer(job: &Job, rate: f64, around: &Conditions) -> Transfer {
    let (bound, why) = bound(job, rate, around);
    let left = job.bytes_total.map(|total| total.saturating_sub(job.bytes));
    let running = job.state == JobState::Running;
    let eta =
        left.filter(|_| running && rate >= 1.0).map(|left| (left as f64 / rate).ceil() as u64);
    Transfer {
        id: job.id.clone(),
        name: name_of(&job.link),
        state: match job.state {
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        }
        .to_owned(),
        bytes: job.bytes,
        bytes_total: job.bytes_total.unwrap_or(0),
        rate: rate.round(),
        sources: job.sources,
        active: job.active,
        eta_seconds: eta,
        bound: bound.to_owned(),
        why,
    }
}

/// The name that is shown: the name in its link, or the beginning of its hash.
fn name_of(link: &str) -> String {
    match link.split_once('/') {
        Some((_, name)) => name.to_owned(),
        // Not more: a private link is a secret.
        None => link.chars().take(14).collect(),
    }
}

/// The cause that limits a transfer, as a word and as a sentence. The causes are tested in order: each one
/// must be absent before the next can be seen.
pub(super) fn bound(job: &Job, rate: f64, around: &Conditions) -> (&'static str, String) {
    match job.state {
        JobState::Running => {}
        JobState::Done => return ("none", "done, every byte compared with the link".into()),
        JobState::Cancelled => return ("none", "cancelled; what came is kept".into()),
        JobState::Failed => {
            let error = job.error.as_ref().map_or("no reason is known", |error| &error.detail);
            return ("failed", error.to_owned());
        }
    }
    if job.sources == 0 && job.seconds < PATIENCE_SECONDS {
        return ("beginning", "looking for nodes that have it".into());
    }
    if job.seconds < BEGINNING_SECONDS {
        return ("beginning", "it has just begun".into());
    }
    if job.sources == 0 {
        let why = "no node that has it answers: start one that shares it, or have it shared again";
        return ("noSource", why.into());
    }
    if job.active == 0 {
        let known = count(job.sources as u64, "node");
        return ("waiting", format!("{known} known to have some of it, and none sends now"));
    }
    if let Some(cap) = around.cap.filter(|cap| rate >= *cap as f64 * CAP_SHARE) {
        let cap = crate::commands::table::bytes(cap);
        return ("cap", format!("[files] download_rate allows {cap} a second"));
    }
    if let Some(percent) = around.disk_percent.filter(|percent| *percent >= DISK_PERCENT) {
        return (
            "disk",
            format!("this machine's disk: processes waited for it {percent:.0} % of the time"),
        );
    }
    if around.cpu_percent >= CPU_PERCENT {
        let percent = around.cpu_percent;
        return (
            "hashing",
            format!(
                "this machine's processor, which compares every byte ({percent:.0} % of a core)"
            ),
        );
    }
    if job.active == 1 {
        let known = match job.sources {
            1 => "only one node has it".to_owned(),
            more => format!("one of {more} nodes sends"),
        };
        return (
            "oneSource",
            format!("{known}: it or the way to it sets the rate; more holders would help"),
        );
    }
    ("network", format!("what the network between here and {} nodes carries", job.active))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ProblemBody;

    fn job(sources: usize, active: usize, seconds: f64) -> Job {
        Job {
            id: "1".into(),
            link: "potluck:abc/film".into(),
            to: "/there".into(),
            state: JobState::Running,
            bytes_total: Some(1000),
            bytes: 400,
            sources,
            active,
            seconds,
            result: None,
            error: None,
        }
    }

    #[test]
    fn each_bound_is_named() {
        let word = |job: &Job, rate: f64, around: Conditions| bound(job, rate, &around).0;
        let idle = Conditions::default();
        assert_eq!(word(&job(0, 0, 9.0), 0.0, idle), "beginning");
        assert_eq!(word(&job(3, 0, 1.0), 0.0, idle), "beginning");
        assert_eq!(word(&job(0, 0, 60.0), 0.0, idle), "noSource");
        assert_eq!(word(&job(3, 0, 60.0), 0.0, idle), "waiting");
        assert_eq!(word(&job(3, 1, 60.0), 9.0, idle), "oneSource");
        assert_eq!(word(&job(3, 3, 60.0), 9.0, idle), "network");
        let capped = Conditions { cap: Some(100), ..idle };
        assert_eq!(word(&job(3, 3, 60.0), 90.0, capped), "cap");
        assert_eq!(word(&job(3, 3, 60.0), 50.0, capped), "network");
        let busy = Conditions { cpu_percent: 99.0, ..idle };
        assert_eq!(word(&job(3, 3, 60.0), 9.0, busy), "hashing");
        let slow = Conditions { disk_percent: Some(70.0), ..busy };
        assert_eq!(word(&job(3, 3, 60.0), 9.0, slow), "disk");
        let mut failed = job(0, 0, 1.0);
        failed.state = JobState::Failed;
        failed.error = Some(ProblemBody { detail: "no room".into(), ..ProblemBody::default() });
        assert_eq!(bound(&failed, 0.0, &idle), ("failed", "no room".to_owned()));
    }

    #[test]
    fn what_is_left_takes_as_long_as_the_rate_says() {
        let mut progress = Progress::default();
        let shown = progress.shown(&[job(2, 2, 4.0)], &Conditions::default());
        assert_eq!(
            (shown[0].name.as_str(), shown[0].rate, shown[0].eta_seconds),
            ("film", 100.0, Some(6))
        );
    }
}
