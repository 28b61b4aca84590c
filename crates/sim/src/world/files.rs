//! Files between simulated nodes: what each holds, and streams of granules as pipes with a rate.
//!
//! The uplink of a node sends one granule after the other, in turn over its streams, and the downlink of the
//! receiver takes them one after the other. A granule that arrived counts as verified: nothing is hashed
//! here, and the granules of a node with `false_every` count as false.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use potluck_base::{BlobId, Division, GranuleSet, Instant};
use potluck_node::Input;
use potluck_swarm::{
    Begin, FetchError, FetchId, FetchReport, Input as Told, Output as Wanted, ServeId, TransferEnd,
    TransferId,
};
use potluck_wire::Refusal;

use crate::calls::Life;
use crate::hostile::Service;
use crate::network::Endpoint;
use crate::sim_node::NodeIndex;
use crate::world::deliver::Event;
use crate::world::shard::Local;
use crate::world::{HostileIndex, World};

/// Time until a stream to a dead node fails.
const LOST: Duration = Duration::from_secs(5);
/// Interval at which a receiver is told of parts of a granule.
const MOVED: Duration = Duration::from_millis(500);
/// Most such parts of one granule.
const PARTS_MAX: u32 = 240;

/// The line of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Bytes a second that it sends.
    pub up: f64,
    /// Bytes a second that it takes.
    pub down: f64,
    /// One of this number of granules that it sends is false.
    pub false_every: Option<u64>,
    /// It accepts streams and sends nothing.
    pub mute: bool,
}

impl Default for Line {
    /// An honest node with 100 Mbit/s each way.
    fn default() -> Self {
        Self { up: 12_500_000.0, down: 12_500_000.0, false_every: None, mute: false }
    }
}

/// The end of a fetch.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchEnd {
    /// When it began and ended.
    pub times: (Instant, Instant),
    /// The error, if it failed.
    pub error: Option<FetchError>,
    /// The results.
    pub report: FetchReport,
}

/// Files of one simulated computer.
#[derive(Debug, Default)]
pub(crate) struct NodeFiles {
    line: Line,
    up_free: Instant,
    down_free: Instant,
    sent: u64,
    held: BTreeMap<BlobId, (u64, GranuleSet)>,
    fetches: BTreeMap<FetchId, (BlobId, Instant)>,
    ended: BTreeMap<BlobId, FetchEnd>,
    next: u64,
}

/// One stream.
#[derive(Debug)]
struct Pipe {
    to: Life,
    from: Life,
    transfer: TransferId,
    serve: ServeId,
    blob: BlobId,
    division: Division,
    /// Granules that were not sent yet.
    granules: VecDeque<u32>,
    /// Granules that were sent and have not arrived.
    under_way: u32,
    /// The hostile member that serves the stream, if no node does.
    hostile: Option<HostileIndex>,
}

/// All streams.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    open: BTreeMap<u64, Pipe>,
    next: u64,
}

/// An event of a stream.
#[derive(Debug)]
pub(crate) enum PipeEvent {
    /// The request arrives.
    Asked(u64),
    /// A granule has left the sender.
    Sent(u64),
    /// A granule has arrived.
    Arrived(u64, u32),
    /// A part of a granule has arrived.
    Moved(u64),
    /// A few bytes of a hostile member that never ends a granule have arrived.
    Dripped(u64),
    /// The receiver learns that the stream is over.
    Ended(u64, TransferEnd),
}

impl World {
    /// Sets the line of a node.
    pub fn set_line(&mut self, node: NodeIndex, line: Line) {
        self.shard_of(node).nodes[node].files.line = line;
    }

    /// A node shares a blob of this size.
    pub fn share(&mut self, node: NodeIndex, blob: BlobId, size: u64) {
        let Some(division) = Division::of(size) else { return };
        let full = GranuleSet::full(division.count());
        self.shard_of(node).nodes[node].files.held.insert(blob, (size, full));
        let held = Input::Swarm(Told::Held { blob, size, announce: true });
        self.at(node, |local| local.feed(node, held));
    }

    /// A node begins to fetch a blob.
    ///
    /// # Panics
    /// In a world of more than one shard: a stream changes the lines of both its ends at once.
    pub fn fetch(&mut self, node: NodeIndex, blob: BlobId) {
        assert_eq!(self.shards.len(), 1, "streams of files are in worlds of one shard only");
        let now = self.now;
        let files = &mut self.shard_of(node).nodes[node].files;
        files.next += 1;
        let fetch = FetchId(files.next);
        files.fetches.insert(fetch, (blob, now));
        let begin = Begin { fetch, blob, root: blob, sources: Vec::new(), size: None };
        self.at(node, |local| local.feed(node, Input::Swarm(Told::Begin(begin))));
    }

    /// The end of a node's fetch of a blob, if it has ended.
    #[must_use]
    pub fn fetched(&self, node: NodeIndex, blob: &BlobId) -> Option<&FetchEnd> {
        self.node(node).files.ended.get(blob)
    }

    /// Bytes of a blob that a node holds.
    #[must_use]
    pub fn held_bytes(&self, node: NodeIndex, blob: &BlobId) -> u64 {
        let held = self.node(node).files.held.get(blob);
        held.and_then(|(size, set)| Some(Division::of(*size)?.bytes_in(set))).unwrap_or(0)
    }
}

impl Local<'_> {
    fn tell(&mut self, life: Life, told: Told) {
        if self.is_life(life) {
            self.shard.trace(life.0, b"file", format!("{told:?}").as_bytes());
            self.feed(life.0, Input::Swarm(told));
        }
    }

    pub(crate) fn on_files(&mut self, life: Life, wanted: Wanted) {
        match wanted {
            Wanted::Open { fetch, blob, size, .. } => {
                let Some(division) = Division::of(size) else {
                    return self.tell(life, Told::NoPlace { fetch });
                };
                let held = &mut self.shard.nodes[life.0].files.held;
                let empty = (size, GranuleSet::empty(division.count()));
                let entry = held.entry(blob).or_insert_with(|| empty.clone());
                if entry.0 != size {
                    *entry = empty;
                }
                let have = entry.1.clone();
                self.tell(life, Told::Opened { fetch, have });
            }
            Wanted::Transfer { transfer, from, blob, size, granules, .. } => {
                let Some(division) = Division::of(size) else { return };
                self.open_pipe(life, from.address, transfer, blob, division, granules.into());
            }
            Wanted::CancelTransfer { transfer } => {
                let open = &self.shard.pipes.open;
                let id = open.iter().find(|(_, pipe)| pipe.to == life && pipe.transfer == transfer);
                if let Some(id) = id.map(|(id, _)| *id) {
                    self.close_pipe(id);
                }
            }
            Wanted::Serve { serve } => {
                if let Some(id) = self.pipe_served(life, serve) {
                    self.send_next(id);
                }
            }
            Wanted::Refuse { serve, reason } => {
                let end =
                    if reason == Refusal::Busy { TransferEnd::Busy } else { TransferEnd::NotHeld };
                if let Some(id) = self.pipe_served(life, serve) {
                    self.end_pipe(id, end);
                }
            }
            Wanted::Completed { fetch, report } => self.end_fetch(life, fetch, None, report),
            Wanted::Failed { fetch, error, report } => {
                self.end_fetch(life, fetch, Some(error), report);
            }
            // A node of the world reports all shared blobs to its core.
            Wanted::MoreRoots { .. } => {
                self.tell(life, Told::Roots { roots: Vec::new(), over: true });
            }
            Wanted::Check { blob } => self.tell(life, Told::Checked { blob, size: None }),
            Wanted::FindProviders { .. }
            | Wanted::Announce { .. }
            | Wanted::AskHave { .. }
            | Wanted::Holding { .. } => {
                self.shard.violated(life.0, "a question of files left its node".into());
            }
        }
    }

    fn end_fetch(
        &mut self,
        life: Life,
        fetch: FetchId,
        error: Option<FetchError>,
        report: FetchReport,
    ) {
        let now = self.shard.now;
        let files = &mut self.shard.nodes[life.0].files;
        if let Some((blob, began)) = files.fetches.remove(&fetch) {
            files.ended.insert(blob, FetchEnd { times: (began, now), error, report });
        }
    }

    fn pipe_served(&self, from: Life, serve: ServeId) -> Option<u64> {
        let mut open = self.shard.pipes.open.iter();
        open.find(|(_, pipe)| pipe.from == from && pipe.serve == serve).map(|(id, _)| *id)
    }

    fn open_pipe(
        &mut self,
        to: Life,
        address: std::net::SocketAddr,
        transfer: TransferId,
        blob: BlobId,
        division: Division,
        granules: VecDeque<u32>,
    ) {
        let node = self.dialed(to.0, address);
        let from = node.map_or((to.0, u32::MAX), |node| (node, self.shard.nodes[node].life));
        let hostile = self.shared.hostiles.get(&address).copied().filter(|_| node.is_none());
        self.shard.pipes.next += 1;
        let id = self.shard.pipes.next;
        let serve = ServeId(id);
        let pipe =
            Pipe { to, from, transfer, serve, blob, division, granules, under_way: 0, hostile };
        self.shard.pipes.open.insert(id, pipe);
        let one_way = self.one_way(id);
        self.plan_pipe(id, self.shard.now + one_way, PipeEvent::Asked(id));
    }

    /// Plans an event of an open stream.
    fn plan_pipe(&mut self, id: u64, at: Instant, event: PipeEvent) {
        if let Some(pipe) = self.shard.pipes.open.get(&id) {
            let receiver = pipe.to.0;
            self.shard.plan(receiver, at, Event::Pipe(event));
        }
    }

    fn one_way(&self, id: u64) -> Duration {
        let Some(pipe) = self.shard.pipes.open.get(&id) else { return Duration::ZERO };
        let ends = (Endpoint::Node(pipe.from.0), Endpoint::Node(pipe.to.0));
        self.shared.network.rtt(ends.0, ends.1) / 2
    }

    fn is_cut(&self, pipe: &Pipe) -> bool {
        let ends = (Endpoint::Node(pipe.from.0), Endpoint::Node(pipe.to.0));
        !self.is_life(pipe.from)
            || self.shared.network.is_blocked(ends.0, ends.1)
            || self.shared.network.is_blocked(ends.1, ends.0)
    }

    pub(crate) fn on_pipe(&mut self, event: PipeEvent) {
        match event {
            PipeEvent::Asked(id) => {
                let Some(pipe) = self.shard.pipes.open.get(&id) else { return };
                if let Some(hostile) = pipe.hostile {
                    let blob = pipe.blob;
                    return self.serve_hostile(id, hostile, &blob);
                }
                if self.is_cut(pipe) {
                    let lost = PipeEvent::Ended(id, TransferEnd::Lost);
                    return self.plan_pipe(id, self.shard.now + LOST, lost);
                }
                let (server, serve, blob) = (pipe.from, pipe.serve, pipe.blob);
                let from = self.shard.nodes[pipe.to.0].peer.contact.public_key;
                self.tell(server, Told::AskedFetch { serve, from, blob });
            }
            PipeEvent::Sent(id) => self.on_sent(id),
            PipeEvent::Arrived(id, granule) => self.on_arrived(id, granule),
            PipeEvent::Moved(id) => {
                let receiver = self.shard.pipes.open.get(&id).map(|pipe| (pipe.to, pipe.transfer));
                if let Some((to, transfer)) = receiver {
                    self.tell(to, Told::Moved { transfer });
                }
            }
            PipeEvent::Dripped(id) => {
                if self.shard.pipes.open.contains_key(&id) {
                    self.on_pipe(PipeEvent::Moved(id));
                    self.plan_pipe(id, self.shard.now + MOVED, PipeEvent::Dripped(id));
                }
            }
            PipeEvent::Ended(id, end) => {
                let receiver = self.shard.pipes.open.get(&id).map(|pipe| (pipe.to, pipe.transfer));
                self.close_pipe(id);
                if let Some((to, transfer)) = receiver {
                    self.tell(to, Told::Ended { transfer, end });
                }
            }
        }
    }

    /// A hostile member serves a stream by its manners.
    fn serve_hostile(&mut self, id: u64, hostile: HostileIndex, blob: &BlobId) {
        match self.hostile_serves(hostile, blob) {
            Service::Refuse => self.end_pipe(id, TransferEnd::NotHeld),
            Service::Mute => {}
            Service::Drip => self.plan_pipe(id, self.shard.now + MOVED, PipeEvent::Dripped(id)),
            Service::Corrupt => self.end_pipe(id, TransferEnd::Corrupt),
        }
    }

    /// The next granule of a stream uses the uplink.
    fn send_next(&mut self, id: u64) {
        let Some(pipe) = self.shard.pipes.open.get(&id) else { return };
        let files = &mut self.shard.nodes[pipe.from.0].files;
        let Some(granule) = pipe.granules.front().copied().filter(|_| !files.line.mute) else {
            return;
        };
        let has = files.held.get(&pipe.blob).is_some_and(|(_, set)| set.contains(granule));
        if !has {
            return self.end_pipe(id, TransferEnd::NotHeld);
        }
        let bytes = pipe.division.bytes(granule);
        let took = Duration::from_secs_f64((bytes.end - bytes.start) as f64 / files.line.up);
        let begins = files.up_free.max(self.shard.now);
        files.up_free = begins + took;
        self.plan_pipe(id, begins + took, PipeEvent::Sent(id));
        let parts = (took.as_micros() / MOVED.as_micros()) as u32;
        for part in 1..=parts.min(PARTS_MAX) {
            self.plan_pipe(id, begins + MOVED * part, PipeEvent::Moved(id));
        }
    }

    fn on_sent(&mut self, id: u64) {
        let one_way = self.one_way(id);
        let Some(pipe) = self.shard.pipes.open.get(&id) else { return };
        if self.is_cut(pipe) {
            let lost = PipeEvent::Ended(id, TransferEnd::Lost);
            return self.plan_pipe(id, self.shard.now + 2 * LOST, lost);
        }
        let (now, to) = (self.shard.now, pipe.to.0);
        let Some(pipe) = self.shard.pipes.open.get_mut(&id) else { return };
        let Some(granule) = pipe.granules.pop_front() else { return };
        pipe.under_way += 1;
        let bytes = pipe.division.bytes(granule);
        let files = &mut self.shard.nodes[to].files;
        let took = Duration::from_secs_f64((bytes.end - bytes.start) as f64 / files.line.down);
        files.down_free = files.down_free.max(now) + took;
        let arrives = (now + one_way).max(files.down_free);
        self.plan_pipe(id, arrives, PipeEvent::Arrived(id, granule));
        self.send_next(id);
    }

    fn on_arrived(&mut self, id: u64, granule: u32) {
        let Some(pipe) = self.shard.pipes.open.get_mut(&id) else { return };
        pipe.under_way -= 1;
        let (to, transfer, blob) = (pipe.to, pipe.transfer, pipe.blob);
        let over = pipe.granules.is_empty() && pipe.under_way == 0;
        let server = &mut self.shard.nodes[pipe.from.0].files;
        server.sent += 1;
        if server.line.false_every.is_some_and(|every| server.sent.is_multiple_of(every)) {
            return self.on_pipe(PipeEvent::Ended(id, TransferEnd::Corrupt));
        }
        if let Some((_, set)) = self.shard.nodes[to.0].files.held.get_mut(&blob) {
            set.insert(granule);
        }
        self.tell(to, Told::Granule { transfer, granule });
        if over {
            self.on_pipe(PipeEvent::Ended(id, TransferEnd::Done));
        }
    }

    /// The server ends a stream; the receiver learns it later.
    fn end_pipe(&mut self, id: u64, end: TransferEnd) {
        let one_way = self.one_way(id);
        self.plan_pipe(id, self.shard.now + one_way, PipeEvent::Ended(id, end));
    }

    fn close_pipe(&mut self, id: u64) {
        if let Some(pipe) = self.shard.pipes.open.remove(&id) {
            self.tell(pipe.from, Told::Served { serve: pipe.serve });
        }
    }
}
