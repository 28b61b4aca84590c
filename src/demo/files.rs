//! The file of a demo: one node shares it, others fetch it, and it outlives the node that shared it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::node::DemoNode;
use super::plan::Plan;
use super::printer::Printer;
use super::processes::Processes;
use crate::api::{FetchRequest, FetchedFile, Job, JobState, ShareRequest, SharedFile};
use crate::commands::table::{bytes, mib};
use crate::failure::{Exit, Failure};
use crate::text::count;

/// Upload limit of each node in bytes a second. It is low so that more sources are visibly faster.
pub(super) const UPLOAD_RATE: u64 = 25_000_000;
/// Share of the file's bytes that a node must have sent to count as a source.
const SHARE_MIN: f64 = 0.1;
/// Pause between two polls of a fetch job; raising it makes the measured time coarser.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The file that the demo shared, and the first fetch of it.
#[derive(Debug)]
pub(super) struct SharedCopy {
    path: PathBuf,
    shared: SharedFile,
    hash: blake3::Hash,
    first: FetchedFile,
}

/// The figures of the last fetch, beside those of the first.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct FileFigures {
    pub(super) bytes: u64,
    /// Seconds of the last fetch, from several sources.
    pub(super) seconds: f64,
    /// Nodes that sent at least a tenth of it.
    pub(super) sources: usize,
    /// Nodes that had the file when the last fetch began.
    pub(super) holders: usize,
    /// Seconds of the first fetch, from one source.
    pub(super) first_seconds: f64,
    /// Whether the copy equals the original byte for byte.
    pub(super) verified: bool,
}

/// The folder into which a node fetches.
fn fetch_folder(processes: &Processes, node: &DemoNode) -> PathBuf {
    processes.data_dir(node.number).join(potluck::layout::FILES)
}

/// Shares the file by one node and fetches it by others: the first by itself, the rest at once.
pub(super) fn share_and_fetch(
    plan: &Plan,
    processes: &Processes,
    printer: &Printer,
    sharer: &DemoNode,
    fetchers: &[DemoNode],
) -> Result<SharedCopy, Failure> {
    let path = &plan.file;
    printer.step(
        format!(
            "share a file by one node; no node sends more than {} MiB/s",
            mib(UPLOAD_RATE as f64)
        ),
        format!("potluck share {} --node {}", path.display(), sharer.client.base()),
    );
    let hash = hash(path)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    let shared = share(sharer, path)?;
    printer.result(format!("{} ({})", shared.link, bytes(shared.bytes)));
    let (head, rest) =
        fetchers.split_first().ok_or_else(|| Failure::failed("there is no node that fetches"))?;
    printer.step("fetch it by a second node, from the only one that has it", to(head, &shared));
    let first = fetch(processes, head, &shared)?;
    printer.result(summary(&first));
    if !rest.is_empty() {
        printer.step(
            format!("fetch it by {} more at once, which also fetch from each other", rest.len()),
            to(&rest[0], &shared),
        );
        for fetched in fetch_all(processes, rest, &shared)? {
            printer.result(summary(&fetched));
        }
    }
    Ok(SharedCopy { path: path.clone(), shared, hash, first })
}

/// Fetches the file by one more node, after the node that shared it is dead.
pub(super) fn fetch_from_survivors(
    processes: &Processes,
    printer: &Printer,
    shared_copy: &SharedCopy,
    holders: usize,
    late: &DemoNode,
) -> Result<FileFigures, Failure> {
    let SharedCopy { path, shared, hash: original, first } = shared_copy;
    printer.step(
        format!("fetch the file from the {holders} that have it; the one that shared it is dead"),
        to(late, shared),
    );
    let fetched = fetch(processes, late, shared)?;
    let enough = shared.bytes as f64 * SHARE_MIN;
    let sources = fetched.sources.iter().filter(|source| source.bytes as f64 >= enough).count();
    // `verified` is the program's own claim: hash the copy independently.
    let copy = hash(Path::new(&fetched.path)).map_err(|error| {
        Failure::failed(format!("cannot read the file that was fetched: {error}"))
    })?;
    let verified = fetched.verified && copy == *original;
    printer.result(format!(
        "{} from {}, where the first fetch had {} from one",
        rate(&fetched),
        count(sources as u64, "node"),
        rate(first)
    ));
    let same = if verified { "the same as" } else { "NOT the same as" };
    printer.result(format!("byte for byte {same} {}", path.display()));
    Ok(FileFigures {
        bytes: shared.bytes,
        seconds: fetched.seconds,
        sources,
        holders,
        first_seconds: first.seconds,
        verified,
    })
}

/// The shell command equivalent to a fetch.
fn to(node: &DemoNode, shared: &SharedFile) -> String {
    format!("potluck fetch {} -o DIR --node {}", shared.link, node.client.base())
}

fn summary(fetched: &FetchedFile) -> String {
    let sources = fetched.sources.len();
    let nodes = count(sources as u64, "node");
    format!("{:.1} s, {} from {nodes}", fetched.seconds, rate(fetched))
}

fn rate(fetched: &FetchedFile) -> String {
    format!("{} MiB/s", mib(fetched.bytes as f64 / fetched.seconds.max(0.001)))
}

fn share(node: &DemoNode, path: &Path) -> Result<SharedFile, Failure> {
    let path = path.to_string_lossy().into_owned();
    let request = ShareRequest { path, ..ShareRequest::default() };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    node.client.post_patiently("/v1/shares", &body)?.good()?.json()
}

fn fetch(
    processes: &Processes,
    node: &DemoNode,
    shared: &SharedFile,
) -> Result<FetchedFile, Failure> {
    let to = fetch_folder(processes, node).to_string_lossy().into_owned();
    let request = FetchRequest { link: shared.link.clone(), to, update: false, force: false };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    // One source may have to send the file to several fetchers: five times the time of one upload.
    let seconds = 30 + shared.bytes / UPLOAD_RATE * 5;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut job: Job = node.client.post("/v1/fetches", Some(&body))?.json()?;
    loop {
        match (job.state, job.result.take(), job.error.take()) {
            (JobState::Done, Some(result), _) => return Ok(result),
            (JobState::Running, ..) if Instant::now() < deadline => {}
            (JobState::Running, ..) => {
                let message = format!("a fetch was not done after {seconds} s");
                return Err(Failure::new(Exit::Unavailable, "timeout", message)
                    .hint("the machine may be too busy for this number of nodes"));
            }
            (_, _, Some(problem)) => return Err(problem.into()),
            _ => return Err(Failure::failed("a fetch ended without a result")),
        }
        thread::sleep(POLL_INTERVAL);
        job = node.client.get_json(&format!("/v1/fetches/{}", job.id))?;
    }
}

fn fetch_all(
    processes: &Processes,
    nodes: &[DemoNode],
    shared: &SharedFile,
) -> Result<Vec<FetchedFile>, Failure> {
    thread::scope(|scope| {
        let fetches: Vec<_> =
            nodes.iter().map(|node| scope.spawn(|| fetch(processes, node, shared))).collect();
        fetches
            .into_iter()
            .map(|fetch| match fetch.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// The hash of a file as it lies on the disk.
fn hash(path: &Path) -> io::Result<blake3::Hash> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            read => hasher.update(&buffer[..read]),
        };
    }
}
