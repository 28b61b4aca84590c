//! Taking what is on this machine already: the hash tree of what is fetched comes first, without its data,
//! and files that lie where it is to go are compared with it, group by group.
//!
//! Which file may hold which bytes is a guess: the file of the same path at the same offset, then
//! files of the same length. The tree decides, so a wrong guess costs time only. No other node
//! learns which files are here.
//!
//! **Invariants:** only files below the places that the fetch was given are read, and no link is followed;
//! no more than [`READ_BYTES_PER_SECOND`] are read for all fetches of a node together; a granule counts
//! as found only after it was synced and noted.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use potluck_base::{Contact, GranuleSet, LruMap, PublicKey};
use potluck_node::{Command, Reply};
use potluck_store::blobs::{Blob, Guess, Opened, Outline, Part, WriteError};
use potluck_swarm::{FetchId, Input};
use potluck_wire::{FetchRequest, Run};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::fetch::Active;
use super::{Files, blocking};
use crate::request::Request;
use crate::transport::FetchStream;

/// Bytes that are read of files here in a second, so that those who are served do not starve.
pub(super) const READ_BYTES_PER_SECOND: u64 = 200_000_000;
/// Files that are looked at whether they have the length of one that is wanted.
const OLD_FILES_MAX: usize = 1 << 18;
/// Folders in each other that are looked into.
const DEPTH_MAX: usize = 64;
/// Files of one length that are looked at.
const SAME_LENGTH_MAX: usize = 256;
/// Guesses for each file.
const GUESSES: usize = 3;
/// Files held open.
const OPEN_MAX: usize = 64;
/// Bytes that are compared before others have a turn.
const STEP_BYTES: u64 = 4 * 1024 * 1024;
/// When what was found is synced, so that others can have it.
const SYNC_BYTES: u64 = 64 * 1024 * 1024;
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// Time to wait for a source that has all of the blob.
const SOURCE_WAIT: Duration = Duration::from_secs(2);
const SOURCE_LOOK: Duration = Duration::from_millis(50);
/// Silence after which a source of tree nodes is given up.
const SILENCE: Duration = Duration::from_secs(2);

/// Keeps reading to its rate.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Instant>);

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Pace {
    /// Waits until `bytes` bytes may be read.
    pub(super) async fn wait(&self, bytes: u64) {
        let until = {
            let mut free = self.0.lock();
            let begin = (*free).max(Instant::now());
            *free = begin + Duration::from_secs_f64(bytes as f64 / READ_BYTES_PER_SECOND as f64);
            begin
        };
        sleep(until.saturating_duration_since(Instant::now())).await;
    }
}

/// Where to look for what a fetch needs.
#[derive(Debug, Clone, Default)]
pub(super) struct OldPlaces {
    /// Files and folders, the likeliest first.
    pub(super) roots: Vec<PathBuf>,
    /// For each segment of the blob its path below a root; empty if the root is the file itself.
    pub(super) paths: Vec<PathBuf>,
    /// What the one file is called, if it is one.
    pub(super) name: String,
}

/// A file that is here.
#[derive(Debug, Clone)]
struct OldFile {
    root: usize,
    path: PathBuf,
    bytes: u64,
}

/// Files that are here, and in which order they are tried for each segment.
#[derive(Debug)]
pub(super) struct Old {
    roots: Vec<Opened>,
    files: Vec<OldFile>,
    guesses: Vec<Vec<u32>>,
    open: LruMap<u32, Arc<File>>,
    read_bytes: u64,
}

impl Old {
    /// Looks for files that may hold the bytes of these segments. Blocks.
    pub(super) fn find(places: &OldPlaces, lengths: &[u64]) -> Self {
        let opened = places.roots.iter().filter_map(|root| Opened::at(root).ok());
        let mut old = Self {
            roots: opened.collect(),
            files: Vec::new(),
            guesses: vec![Vec::new(); lengths.len()],
            open: LruMap::new(OPEN_MAX),
            read_bytes: 0,
        };
        for segment in 0..lengths.len() {
            old.guess_same_path(places, lengths, segment);
        }
        let fits = |old: &Self, segment: usize| {
            let first = old.guesses[segment].first();
            first.is_some_and(|file| old.files[*file as usize].bytes == lengths[segment])
        };
        let open = (0..lengths.len()).filter(|segment| lengths[*segment] > 0);
        let open: Vec<usize> = open.filter(|segment| !fits(&old, *segment)).collect();
        if !open.is_empty() {
            old.guess_same_length(places, lengths, &open);
        }
        old
    }

    fn guess_same_path(&mut self, places: &OldPlaces, lengths: &[u64], segment: usize) {
        let Some(path) = places.paths.get(segment).filter(|_| lengths[segment] > 0) else { return };
        for (root, opened) in self.roots.iter().enumerate() {
            let single = path.as_os_str().is_empty();
            if single == opened.is_folder() {
                continue;
            }
            let there = if single { opened.path().to_owned() } else { opened.path().join(path) };
            let Ok(seen) = there.symlink_metadata() else { continue };
            if seen.is_file() && self.guesses[segment].len() < GUESSES {
                self.guesses[segment].push(self.files.len() as u32);
                self.files.push(OldFile { root, path: there, bytes: seen.len() });
            }
        }
        let files = &self.files;
        self.guesses[segment].sort_by_key(|file| files[*file as usize].bytes != lengths[segment]);
    }

    /// For files that are nowhere under their path with their length: others of this length, those with
    /// most of the path in common first.
    fn guess_same_length(&mut self, places: &OldPlaces, lengths: &[u64], open: &[usize]) {
        let wanted: HashSet<u64> = open.iter().map(|segment| lengths[*segment]).collect();
        let mut by_length: HashMap<u64, Vec<u32>> = HashMap::new();
        let mut room = OLD_FILES_MAX;
        for root in 0..self.roots.len() {
            let top = self.roots[root].path().to_owned();
            for (path, bytes) in listed(&top, &mut room) {
                let same = by_length.entry(bytes).or_default();
                if wanted.contains(&bytes) && same.len() < SAME_LENGTH_MAX {
                    same.push(self.files.len() as u32);
                    self.files.push(OldFile { root, path, bytes });
                }
            }
        }
        for segment in open {
            let Some(found) = by_length.get(&lengths[*segment]) else { continue };
            let named = Path::new(&places.name);
            let path = places.paths.get(*segment).filter(|path| !path.as_os_str().is_empty());
            let path = path.map_or(named, PathBuf::as_path);
            let mut found = found.clone();
            let common = |file: &u32| common_end(path, &self.files[*file as usize].path);
            found.sort_by_key(|file| std::cmp::Reverse(common(file)));
            // What has the right length is likelier than what has only the right path.
            let others = std::mem::take(&mut self.guesses[*segment]);
            found.truncate(GUESSES - others.len().min(GUESSES - 1));
            self.guesses[*segment] = found.into_iter().chain(others).collect();
        }
    }

    /// The granules for which there is a guess. The last one is left to others, as it proves the size,
    /// unless it is the only one.
    pub(super) fn granules(&self, blob: &Blob) -> GranuleSet {
        let have = blob.have();
        let mut granules = GranuleSet::empty(have.length());
        let last = have.length() - 1;
        for granule in have.missing().filter(|granule| *granule < last || last == 0) {
            let segments = blob.segments_of(granule);
            let guessed = |segment: &usize| {
                self.guesses.get(*segment).is_some_and(|guesses| !guesses.is_empty())
            };
            if !segments.is_empty() && segments.iter().all(guessed) {
                granules.insert(granule);
            }
        }
        granules
    }

    fn file(&mut self, number: u32) -> Option<Arc<File>> {
        if let Some(file) = self.open.get_mut(&number) {
            return Some(Arc::clone(file));
        }
        let old = &self.files[number as usize];
        let file = self.roots[old.root].segment(&old.path).ok()?;
        self.open.insert(number, Arc::clone(&file));
        Some(file)
    }
}

impl Guess for Old {
    fn guess(&mut self, number: usize, part: Part, buffer: &mut [u8]) -> bool {
        let Some(guesses) = self.guesses.get(part.segment) else { return false };
        // Files with fewer guesses than their neighbours in a group stay with their last.
        let Some(file) = guesses.get(number.min(guesses.len().saturating_sub(1))) else {
            return false;
        };
        let file = *file;
        if part.offset + buffer.len() as u64 > self.files[file as usize].bytes {
            return false;
        }
        let Some(open) = self.file(file) else { return false };
        self.read_bytes += buffer.len() as u64;
        read_at(&open, buffer, part.offset).is_ok()
    }

    fn guesses(&self, part: Part) -> usize {
        self.guesses.get(part.segment).map_or(0, Vec::len)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    use std::io::{Read as _, Seek as _};
    file.seek(std::io::SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}

/// The plain files below a folder, or the one file; no more than there is `room` for.
pub(super) fn listed(top: &Path, room: &mut usize) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut open = vec![(top.to_owned(), 0)];
    while let Some((path, depth)) = open.pop() {
        let Ok(seen) = path.symlink_metadata() else { continue };
        if seen.is_file() {
            if *room == 0 {
                break;
            }
            *room -= 1;
            found.push((path, seen.len()));
        } else if seen.is_dir() && depth < DEPTH_MAX {
            let Ok(entries) = std::fs::read_dir(&path) else { continue };
            let mut below: Vec<PathBuf> =
                entries.filter_map(|entry| Some(entry.ok()?.path())).take(*room).collect();
            below.sort_unstable_by(|a, b| b.cmp(a));
            open.extend(below.into_iter().map(|path| (path, depth + 1)));
        }
    }
    found
}

/// How many names two paths have in common, counted from their end.
fn common_end(one: &Path, other: &Path) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// One run over the tree of a blob.
struct Check {
    fetch: FetchId,
    blob: Arc<Blob>,
    /// Not compared yet.
    open: GranuleSet,
    /// Compared and not told of yet.
    compared: Vec<u32>,
    found: Vec<u32>,
    found_bytes: u64,
    synced: Instant,
    /// Sources that gave nothing, or something false.
    bad: HashSet<PublicKey>,
}

/// The parts of a check that a blocking thread works with.
struct Work {
    outline: Outline,
    old: Old,
    wanted: Arc<GranuleSet>,
    found: Vec<u32>,
    compared: Vec<u32>,
    read_bytes: u64,
}

/// What comes next.
enum Next {
    /// There is more to compare.
    More,
    /// These nodes are needed.
    Nodes(Range<u32>),
    /// All that can be compared is.
    End,
}

impl Work {
    /// Compares some of what can be compared.
    fn step(&mut self, blob: &Blob) -> Result<Next, WriteError> {
        let (division, wanted) = (blob.division(), Arc::clone(&self.wanted));
        let wants = |bytes: &Range<u64>| {
            let bytes = bytes.start..bytes.end.min(division.size());
            division.covering(&bytes).any(|granule| wanted.contains(granule))
        };
        let before = self.old.read_bytes;
        let next = self.outline.next(&wants);
        while let Some((granule, hashes)) = self.outline.granule() {
            self.compared.push(granule);
            if blob.reuse(granule, &hashes, &mut self.old)? {
                self.found.push(granule);
            }
            self.read_bytes = self.old.read_bytes - before;
            if self.read_bytes >= STEP_BYTES {
                return Ok(Next::More);
            }
        }
        Ok(next.map_or(Next::End, Next::Nodes))
    }

    fn take(&mut self, blob: &Blob, first: u32, nodes: &[u8]) -> Result<(), WriteError> {
        let (division, wanted) = (blob.division(), Arc::clone(&self.wanted));
        let wants = |bytes: &Range<u64>| {
            let bytes = bytes.start..bytes.end.min(division.size());
            division.covering(&bytes).any(|granule| wanted.contains(granule))
        };
        self.outline.take(first, nodes, &wants)
    }
}

impl Files {
    /// Compares what is here with what is fetched, and tells the core what was found.
    pub(super) async fn reuse(
        &self,
        fetch: FetchId,
        blob: Arc<Blob>,
        old: Old,
        granules: GranuleSet,
    ) {
        let mut check = Check {
            fetch,
            blob: Arc::clone(&blob),
            open: granules.clone(),
            compared: Vec::new(),
            found: Vec::new(),
            found_bytes: 0,
            synced: Instant::now(),
            bad: HashSet::new(),
        };
        let mut work = Some(Work {
            outline: Outline::new(Arc::clone(&blob)),
            old,
            wanted: Arc::new(granules),
            found: Vec::new(),
            compared: Vec::new(),
            read_bytes: 0,
        });
        while let Some(now) = work.take().filter(|_| self.is_fetched_to(fetch, &blob)) {
            work = self.step(&mut check, now).await;
        }
        if self.is_fetched_to(fetch, &blob) {
            check.compared.extend(check.open.iter());
            self.tell_checked(&mut check).await;
        }
    }

    /// Whether a fetch is under way still, and to this place.
    fn is_fetched_to(&self, fetch: FetchId, blob: &Arc<Blob>) -> bool {
        let active = self.inner.active.lock();
        let there = active.get(&fetch).and_then(Active::blob);
        there.is_some_and(|there| Arc::ptr_eq(&there, blob))
    }

    async fn step(&self, check: &mut Check, mut work: Work) -> Option<Work> {
        let blob = Arc::clone(&check.blob);
        let stepped = blocking(move || {
            let next = work.step(&blob);
            Ok((work, next))
        });
        let (mut work, next) = stepped.await.ok()?;
        let read_bytes = std::mem::take(&mut work.read_bytes);
        for granule in work.compared.drain(..) {
            check.open.remove(granule);
            check.compared.push(granule);
        }
        let division = check.blob.division();
        for granule in work.found.drain(..) {
            let bytes = division.bytes(granule);
            check.found_bytes += bytes.end - bytes.start;
            check.found.push(granule);
        }
        if check.found_bytes >= SYNC_BYTES || check.synced.elapsed() >= SYNC_EVERY {
            self.tell_checked(check).await;
        }
        self.inner.pace.wait(read_bytes).await;
        match next {
            Ok(Next::More) => Some(work),
            Ok(Next::End) => None,
            Ok(Next::Nodes(nodes)) => self.take_nodes(check, work, nodes).await,
            Err(error) => {
                self.give_up(check.fetch, error).await;
                None
            }
        }
    }

    /// Syncs what was found, and tells the core of all that was compared.
    async fn tell_checked(&self, check: &mut Check) {
        check.synced = Instant::now();
        if check.compared.is_empty() {
            return;
        }
        let granules = std::mem::take(&mut check.compared);
        let found = std::mem::take(&mut check.found);
        let bytes = std::mem::take(&mut check.found_bytes);
        if !found.is_empty() {
            let blob = Arc::clone(&check.blob);
            if let Err(error) = blocking(move || Ok(blob.commit()?)).await {
                return self.end_with(check.fetch, error).await;
            }
            if let Some(active) = self.inner.active.lock().get_mut(&check.fetch) {
                active.reused += bytes;
            }
        }
        let fetch = check.fetch;
        // Fails only when the node stops.
        let _ = self.tell(Input::Compared { fetch, granules, found }).await;
        self.note_progress(fetch);
    }

    /// Gets nodes from a source and takes them in. `None` if no source sends valid ones.
    async fn take_nodes(
        &self,
        check: &mut Check,
        mut work: Work,
        nodes: Range<u32>,
    ) -> Option<Work> {
        loop {
            let source = self.full_source(check).await?;
            let Some(frame) = self.nodes(check, &source, &nodes).await else {
                tracing::debug!(peer = %source, "no nodes of the hash tree");
                check.bad.insert(source.public_key);
                continue;
            };
            let (blob, first) = (Arc::clone(&check.blob), nodes.start);
            let taken = blocking(move || {
                let taken = work.take(&blob, first, &frame);
                Ok((work, taken))
            });
            let (back, taken) = taken.await.ok()?;
            match taken {
                Ok(()) => return Some(back),
                Err(WriteError::Corrupt) => {
                    tracing::warn!(peer = %source, "nodes of the hash tree are false");
                    check.bad.insert(source.public_key);
                    return Some(back);
                }
                Err(error) => {
                    self.give_up(check.fetch, error).await;
                    return None;
                }
            }
        }
    }

    /// A node that has all of it and gave nothing false so far.
    async fn full_source(&self, check: &Check) -> Option<Contact> {
        let end = Instant::now() + SOURCE_WAIT;
        loop {
            let (reply, answer) = oneshot::channel();
            let request = Request::Command { command: Command::Fetch(check.fetch), reply };
            self.inner.requests.send(request).await.ok()?;
            let Reply::Fetch(view) = answer.await.ok()? else { return None };
            let mut full = view?.full.into_iter();
            if let Some(source) = full.find(|source| !check.bad.contains(&source.public_key)) {
                return Some(source);
            }
            if Instant::now() >= end {
                return None;
            }
            sleep(SOURCE_LOOK).await;
        }
    }

    /// Nodes from one source; `None` if it has none to give or falls silent.
    async fn nodes(&self, check: &Check, from: &Contact, nodes: &Range<u32>) -> Option<Bytes> {
        let run = Run { first: nodes.start, count: nodes.end - nodes.start };
        let (blob, size) = (check.blob.id(), check.blob.division().size());
        let request = FetchRequest::of_nodes(blob, size, run).to_bytes();
        let transport = self.transport()?;
        let mut stream = timeout(SILENCE, transport.fetch(from, request)).await.ok()?.ok()?;
        frame(&mut stream).await
    }
}

/// The one frame of a stream, for as long as bytes of it come.
async fn frame(stream: &mut FetchStream) -> Option<Bytes> {
    let received = stream.received();
    let mut before = received.get();
    let mut tick = tokio::time::interval(SILENCE);
    tick.reset();
    let next = stream.next();
    tokio::pin!(next);
    loop {
        tokio::select! {
            frame = &mut next => return frame.ok()?,
            _ = tick.tick() => {
                let now = received.get();
                if now == before {
                    return None;
                }
                before = now;
            }
        }
    }
}
