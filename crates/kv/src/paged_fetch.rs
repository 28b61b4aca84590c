//! Fetching states that do not fit into the answers of a lookup: page by page, once for each distinct
//! digest.
//!
//! Replicas that claim the same digest are asked one after another, not concurrently: usually the first
//! answer proves the state of all of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use potluck_base::{Key, NodeId, Peer, UnixMillis};
use potluck_record::{CertificateHash, Envelope, StateDigest};
use potluck_wire::{Load, Loaded, Request};

use crate::answer::{self, ReplicaAnswer};
use crate::command::CommandId;
use crate::core::{AskPurpose, Core};
use crate::doors;
use crate::event::Delivery;

/// Most pages of one record, far more than the writers that a replica admits can fill. It bounds what a
/// lying replica can send.
const PAGES_MAX: u8 = 32;

#[derive(Debug, Clone)]
struct PagedFetch {
    peer: Peer,
    /// The digest that it claims; `None` if it was not asked before.
    claimed: Option<StateDigest>,
    parts: Vec<Bytes>,
    last_writer: Option<[u8; 32]>,
    pages: u8,
    /// Certificates of writers that were asked for when all pages were there.
    awaiting: Vec<CertificateHash>,
}

/// The paged fetches of one operation.
#[derive(Debug, Clone)]
pub(crate) struct PagedFetches {
    command: CommandId,
    key: Key,
    active: BTreeMap<NodeId, PagedFetch>,
    /// Replicas that wait because another one with the same digest is being asked.
    same_digest: Vec<(Peer, StateDigest)>,
    /// Replicas whose claimed state could not be fetched.
    unread: BTreeSet<NodeId>,
}

/// A fetched state, and the replicas that hold it.
pub(crate) struct FetchedState {
    pub(crate) holders: Vec<Peer>,
    pub(crate) held: ReplicaAnswer<Envelope>,
}

impl PagedFetches {
    pub(crate) const fn new(command: CommandId, key: Key) -> Self {
        Self {
            command,
            key,
            active: BTreeMap::new(),
            same_digest: Vec::new(),
            unread: BTreeSet::new(),
        }
    }

    /// Whether answers are still awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.active.is_empty()
    }

    /// The number of replicas whose claimed state could not be fetched.
    pub(crate) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Abandons all pending fetches and counts them as unread.
    pub(crate) fn abandon(&mut self) {
        let claimed = self.active.values().filter(|fetch| fetch.claimed.is_some());
        self.unread.extend(claimed.map(|fetch| fetch.peer.id));
        self.unread.extend(self.same_digest.iter().map(|(peer, _)| peer.id));
        self.active.clear();
        self.same_digest.clear();
    }

    /// Fetches the state that `peer` claims to hold, or queues `peer` if another replica with the same
    /// digest is being asked.
    pub(crate) fn start(&mut self, core: &mut Core, peer: Peer, claimed: StateDigest) {
        self.unread.remove(&peer.id);
        if self.active.values().any(|fetch| fetch.claimed == Some(claimed)) {
            self.same_digest.push((peer, claimed));
            return;
        }
        self.begin(core, peer, Some(claimed));
    }

    /// Asks a node for what it holds that has said nothing of it so far.
    pub(crate) fn ask_first(&mut self, core: &mut Core, peer: Peer) {
        if !self.active.contains_key(&peer.id) {
            self.begin(core, peer, None);
        }
    }

    fn begin(&mut self, core: &mut Core, peer: Peer, claimed: Option<StateDigest>) {
        let fetch = PagedFetch {
            peer,
            claimed,
            parts: Vec::new(),
            last_writer: None,
            pages: 0,
            awaiting: Vec::new(),
        };
        self.ask(core, &fetch);
        self.active.insert(peer.id, fetch);
    }

    fn ask(&self, core: &mut Core, fetch: &PagedFetch) {
        let load =
            Load { keys: vec![self.key], after: fetch.last_writer, certificates: Vec::new() };
        let purpose = AskPurpose::Load(self.command, fetch.peer.id);
        // Most nodes that made no claim hold nothing, and say so in a datagram.
        let first = fetch.claimed.is_none() && fetch.pages == 0;
        let delivery = if first { Delivery::Fitting } else { Delivery::Call };
        core.ask(fetch.peer, Request::Load(load), delivery, purpose);
    }

    /// Takes a page from `from`; `None` if the request failed. Returns the state when it is complete.
    pub(crate) fn on_loaded(
        &mut self,
        core: &mut Core,
        wall: UnixMillis,
        from: NodeId,
        loaded: Option<Loaded>,
    ) -> Option<FetchedState> {
        let mut fetch = self.active.remove(&from)?;
        let complete = if fetch.awaiting.is_empty() {
            loaded.and_then(|page| fetch.take(&page))
        } else {
            let asked = std::mem::take(&mut fetch.awaiting);
            core.learn(&loaded.unwrap_or_default().certificates, asked);
            return self.read(core, wall, &fetch);
        };
        match complete {
            Some(false) => {
                self.ask(core, &fetch);
                self.active.insert(from, fetch);
                None
            }
            Some(true) => {
                fetch.awaiting = core.lacking::<Envelope>(&fetch.parts);
                if fetch.awaiting.is_empty() {
                    return self.read(core, wall, &fetch);
                }
                let request = doors::ask_for(fetch.awaiting.clone());
                let purpose = AskPurpose::Load(self.command, fetch.peer.id);
                core.ask(fetch.peer, request, Delivery::Call, purpose);
                self.active.insert(from, fetch);
                None
            }
            None => self.fail(core, &fetch),
        }
    }

    /// Reads the pages of a fetch, which are complete.
    fn read(
        &mut self,
        core: &mut Core,
        wall: UnixMillis,
        fetch: &PagedFetch,
    ) -> Option<FetchedState> {
        match answer::read(core, wall, &self.key, &fetch.parts) {
            Some(held) => Some(self.finish(core, fetch, held)),
            None => self.fail(core, fetch),
        }
    }

    /// Ends a fetch. If the digest was true, the replicas that claimed the same digest count as holders.
    fn finish(
        &mut self,
        core: &mut Core,
        fetch: &PagedFetch,
        held: ReplicaAnswer<Envelope>,
    ) -> FetchedState {
        let mut holders = vec![fetch.peer];
        if Some(held.digest()) == fetch.claimed {
            self.same_digest.retain(|(peer, claimed)| {
                if Some(*claimed) == fetch.claimed {
                    holders.push(*peer);
                }
                Some(*claimed) != fetch.claimed
            });
        } else {
            self.ask_same_digest(core, fetch.claimed);
        }
        FetchedState { holders, held }
    }

    fn fail(&mut self, core: &mut Core, fetch: &PagedFetch) -> Option<FetchedState> {
        if fetch.claimed.is_some() {
            self.unread.insert(fetch.peer.id);
        }
        self.ask_same_digest(core, fetch.claimed);
        None
    }

    fn ask_same_digest(&mut self, core: &mut Core, claimed: Option<StateDigest>) {
        if let Some(index) = self.same_digest.iter().position(|(_, twin)| Some(*twin) == claimed) {
            let (peer, claimed) = self.same_digest.remove(index);
            self.start(core, peer, claimed);
        }
    }
}

impl PagedFetch {
    /// Takes a page and returns whether it was the last; `None` if the source breaks the protocol.
    /// Writers must ascend from page to page.
    fn take(&mut self, page: &Loaded) -> Option<bool> {
        self.pages += 1;
        for part in &page.envelopes {
            let writer = *Envelope::decode(part).ok()?.head().writer().as_bytes();
            if self.last_writer.is_some_and(|last| writer <= last) {
                return None;
            }
            self.last_writer = Some(writer);
            self.parts.push(part.clone());
        }
        if page.keys_done > 0 {
            return Some(true);
        }
        // What does not fit into a datagram is called for.
        let goes_on = !page.envelopes.is_empty() || self.claimed.is_none() && self.pages == 1;
        (goes_on && self.pages < PAGES_MAX).then_some(false)
    }
}
