//! Reuse of local bytes: the hash tree of a fetched blob is fetched first, without its data, and local
//! files are compared with it, chunk group by chunk group.
//!
//! Which file may hold which bytes is a guess (see [`old`](super::old)). The hash tree decides, so a wrong
//! guess costs only time. No other node learns which files are here.
//!
//! **Invariants:** only files below the places that the fetch was given are read, and no link is followed;
//! all fetches of a node together keep to one read rate (see [`pace`](super::pace)); a granule counts as
//! found only after it was synced and recorded in the journal.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use potluck_base::{Contact, GranuleSet, PublicKey};
use potluck_node::{Command, Reply};
use potluck_store::blobs::{Blob, Outline, WriteError};
use potluck_swarm::{FetchId, Input};
use potluck_wire::{FetchRequest, Run};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::active::Active;
use super::old::Old;
use super::{Files, blocking};
use crate::request::Request;
use crate::transport::FetchStream;

/// Bytes that are compared in one step on a blocking thread.
const STEP_BYTES: u64 = 4 * 1024 * 1024;
/// Found bytes after which they are synced, so that other nodes can have them.
const SYNC_BYTES: u64 = 64 * 1024 * 1024;
/// Time after which found bytes are synced.
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// Time to wait for a source that has all of the blob.
const SOURCE_WAIT: Duration = Duration::from_secs(2);
const SOURCE_LOOK: Duration = Duration::from_millis(50);
/// Silence of a source of tree nodes after which it is not asked any more.
const SILENCE: Duration = Duration::from_secs(2);

/// One run over the tree of a blob.
struct Check {
    fetch: FetchId,
    blob: Arc<Blob>,
    /// Granules that are not compared yet.
    open: GranuleSet,
    /// Compared granules that are not reported yet.
    compared: Vec<u32>,
    found: Vec<u32>,
    found_bytes: u64,
    synced: Instant,
    /// Sources that sent no nodes or invalid ones.
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

/// The next step of a check.
enum Next {
    /// There is more to compare.
    More,
    /// These nodes are needed.
    Nodes(Range<u32>),
    /// All granules that can be compared were compared.
    End,
}

impl Work {
    /// Compares the next granules, up to [`STEP_BYTES`].
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
    /// Compares local files with a fetched blob, and reports the found granules to the core.
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

    /// Whether the fetch is still under way, to the same place.
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

    /// Syncs the found granules, and reports all compared ones to the core.
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

    /// Fetches tree nodes from a source and adds them. `None` if no source sends valid ones.
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
                    tracing::warn!(code = "files.falseTree", peer = %source, "nodes of the hash tree are false");
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

    /// A source that has the whole blob and has sent no invalid nodes.
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

    /// Tree nodes from one source; `None` if it has none or falls silent.
    async fn nodes(&self, check: &Check, from: &Contact, nodes: &Range<u32>) -> Option<Bytes> {
        let run = Run { first: nodes.start, count: nodes.end - nodes.start };
        let (blob, size) = (check.blob.id(), check.blob.division().size());
        let request = FetchRequest::of_nodes(blob, size, run).to_bytes();
        let transport = self.transport()?;
        let mut stream = timeout(SILENCE, transport.fetch(from, request)).await.ok()?.ok()?;
        frame(&mut stream, Outline::bytes_of(nodes)).await
    }
}

/// The only frame of a stream, which must have this length; `None` after [`SILENCE`] without bytes of it.
async fn frame(stream: &mut FetchStream, length: usize) -> Option<Bytes> {
    let received = stream.received();
    let mut before = received.get();
    let mut tick = tokio::time::interval(SILENCE);
    tick.reset();
    let next = stream.next_of(Some(length));
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
