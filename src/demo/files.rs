//! The file of a demo: one node shares it, others fetch it, and it outlives the one who shared it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::guest::Guest;
use super::kitchen::Kitchen;
use super::plan::Plan;
use super::stage::Stage;
use crate::api::{FetchRequest, FetchedFile, Job, JobState, ShareRequest, SharedFile};
use crate::commands::table::{bytes, mib};
use crate::failure::{Exit, Failure};
use crate::text::count;

/// Bytes a second that a node of the demo sends at most, so that more sources are visibly faster.
pub(super) const UPLOAD_RATE: u64 = 25_000_000;
/// Who gave less of the file than this share of it does not count as a source.
const SHARE_MIN: f64 = 0.1;
/// How often a fetch is asked how far it is.
const PAUSE: Duration = Duration::from_millis(50);

/// A file under way through the network.
#[derive(Debug)]
pub(super) struct Parcel {
    path: PathBuf,
    shared: SharedFile,
    hash: blake3::Hash,
    first: FetchedFile,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Delivery {
    pub(super) bytes: u64,
    /// How long the last one took, from several sources.
    pub(super) seconds: f64,
    /// Nodes that gave at least a tenth of it.
    pub(super) sources: usize,
    /// Nodes that had it by then.
    pub(super) holders: usize,
    /// How long the first one took, from one source.
    pub(super) first_seconds: f64,
    /// Whether it is the same, byte for byte.
    pub(super) verified: bool,
}

/// Where a guest puts what it fetches.
fn larder(kitchen: &Kitchen, guest: &Guest) -> PathBuf {
    kitchen.data_dir(guest.number).join(potluck::layout::FILES)
}

/// Shares the file by one node and fetches it by others: the first by itself, the rest at once.
pub(super) fn share_and_fetch(
    plan: &Plan,
    kitchen: &Kitchen,
    stage: &Stage,
    sharer: &Guest,
    fetchers: &[Guest],
) -> Result<Parcel, Failure> {
    let path = &plan.file;
    stage.step(
        format!(
            "share a file by one node; nobody sends more than {} MiB/s",
            mib(UPLOAD_RATE as f64)
        ),
        format!("potluck share {} --node {}", path.display(), sharer.client.base()),
    );
    let hash = hash(path)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    let shared = share(sharer, path)?;
    stage.result(format!("{} ({})", shared.link, bytes(shared.bytes)));
    let (head, rest) = fetchers.split_first().ok_or_else(|| Failure::failed("nobody fetches"))?;
    stage.step("fetch it by a second node, from the only one that has it", to(head, &shared));
    let first = fetch(kitchen, head, &shared)?;
    stage.result(told(&first));
    if !rest.is_empty() {
        stage.step(
            format!("fetch it by {} more at once, who also fetch from each other", rest.len()),
            to(&rest[0], &shared),
        );
        for fetched in fetch_all(kitchen, rest, &shared)? {
            stage.result(told(&fetched));
        }
    }
    Ok(Parcel { path: path.clone(), shared, hash, first })
}

/// Fetches the file by one more node, after whoever shared it is dead.
pub(super) fn fetch_from_survivors(
    kitchen: &Kitchen,
    stage: &Stage,
    parcel: &Parcel,
    holders: usize,
    late: &Guest,
) -> Result<Delivery, Failure> {
    let Parcel { path, shared, hash: original, first } = parcel;
    stage.step(
        format!("fetch the file from the {holders} that have it; the one that shared it is dead"),
        to(late, shared),
    );
    let fetched = fetch(kitchen, late, shared)?;
    let enough = shared.bytes as f64 * SHARE_MIN;
    let sources = fetched.sources.iter().filter(|source| source.bytes as f64 >= enough).count();
    // What the program says of itself is not enough here.
    let copy = hash(Path::new(&fetched.path)).map_err(|error| {
        Failure::failed(format!("cannot read the file that was fetched: {error}"))
    })?;
    let verified = fetched.verified && copy == *original;
    stage.result(format!(
        "{} from {}, where the first fetch had {} from one",
        rate(&fetched),
        count(sources as u64, "node"),
        rate(first)
    ));
    let same = if verified { "the same as" } else { "NOT the same as" };
    stage.result(format!("byte for byte {same} {}", path.display()));
    Ok(Delivery {
        bytes: shared.bytes,
        seconds: fetched.seconds,
        sources,
        holders,
        first_seconds: first.seconds,
        verified,
    })
}

/// The command that a fetch stands for.
fn to(guest: &Guest, shared: &SharedFile) -> String {
    format!("potluck fetch {} -o DIR --node {}", shared.link, guest.client.base())
}

fn told(fetched: &FetchedFile) -> String {
    let sources = fetched.sources.len();
    let nodes = count(sources as u64, "node");
    format!("{:.1} s, {} from {nodes}", fetched.seconds, rate(fetched))
}

fn rate(fetched: &FetchedFile) -> String {
    format!("{} MiB/s", mib(fetched.bytes as f64 / fetched.seconds.max(0.001)))
}

fn share(guest: &Guest, path: &Path) -> Result<SharedFile, Failure> {
    let path = path.to_string_lossy().into_owned();
    let request = ShareRequest { path, ..ShareRequest::default() };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    guest.client.post_patiently("/v1/shares", &body)?.good()?.json()
}

fn fetch(kitchen: &Kitchen, guest: &Guest, shared: &SharedFile) -> Result<FetchedFile, Failure> {
    let to = larder(kitchen, guest).to_string_lossy().into_owned();
    let request = FetchRequest { link: shared.link.clone(), to, update: false, force: false };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    // One source may have to send it to several, each of them several times over.
    let seconds = 30 + shared.bytes / UPLOAD_RATE * 5;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut job: Job = guest.client.post("/v1/fetches", Some(&body))?.json()?;
    loop {
        match (job.state, job.result.take(), job.error.take()) {
            (JobState::Done, Some(result), _) => return Ok(result),
            (JobState::Running, ..) if Instant::now() < deadline => {}
            (JobState::Running, ..) => {
                let message = format!("a fetch was not done after {seconds} s");
                return Err(Failure::new(Exit::Unavailable, "timeout", message)
                    .hint("the machine may be too busy for so many nodes"));
            }
            (_, _, Some(problem)) => return Err(problem.into()),
            _ => return Err(Failure::failed("a fetch ended without a result")),
        }
        thread::sleep(PAUSE);
        job = guest.client.get_json(&format!("/v1/fetches/{}", job.id))?;
    }
}

fn fetch_all(
    kitchen: &Kitchen,
    guests: &[Guest],
    shared: &SharedFile,
) -> Result<Vec<FetchedFile>, Failure> {
    thread::scope(|scope| {
        let fetches: Vec<_> =
            guests.iter().map(|guest| scope.spawn(|| fetch(kitchen, guest, shared))).collect();
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
