//! Fetching what replicas hold when it does not fit their answers: page by page, once for each
//! distinct state.
//!
//! Replicas that claim the same digest are asked one after another, not all at once: as a rule the
//! first answer settles it for all of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{Key, NodeId, Peer, UnixMillis};
use potluck_record::{Envelope, SignedHead, State, StateDigest};
use potluck_wire::{Load, Loaded, Request};

use crate::answer::{self, Held};
use crate::command::CommandId;
use crate::core::{AskFor, Core, Way};

/// Pages of one record: far more than the writers that ingress lets in can fill.
const PAGES_MAX: u8 = 32;

#[derive(Debug, Clone)]
struct Fetch {
    peer: Peer,
    claimed: StateDigest,
    parts: Vec<Bytes>,
    last_writer: Option<[u8; 32]>,
    pages: u8,
}

/// All fetches of one operation.
#[derive(Debug, Clone)]
pub(crate) struct Gathering {
    command: CommandId,
    key: Key,
    active: BTreeMap<NodeId, Fetch>,
    /// Claimed the same as somebody who is being asked.
    twins: Vec<(Peer, StateDigest)>,
    /// Claimed to hold something that could not be fetched.
    unread: usize,
}

/// What a completed fetch showed: who holds it, and what.
pub(crate) struct Gathered {
    pub(crate) holders: Vec<Peer>,
    pub(crate) held: Held<Envelope>,
}

impl Gathering {
    pub(crate) const fn new(command: CommandId, key: Key) -> Self {
        Self { command, key, active: BTreeMap::new(), twins: Vec::new(), unread: 0 }
    }

    /// Whether answers are still awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.active.is_empty()
    }

    /// Replicas that claimed to hold something that could not be fetched.
    pub(crate) const fn unread(&self) -> usize {
        self.unread
    }

    /// Gives up on everything that has not come: the reading has taken long enough.
    pub(crate) fn abandon(&mut self) {
        self.unread += self.active.len() + self.twins.len();
        self.active.clear();
        self.twins.clear();
    }

    /// Fetches what `peer` claims to hold, unless somebody with the same claim is being asked.
    pub(crate) fn start(&mut self, core: &mut Core, peer: Peer, claimed: StateDigest) {
        if self.active.values().any(|fetch| fetch.claimed == claimed) {
            self.twins.push((peer, claimed));
            return;
        }
        let fetch = Fetch { peer, claimed, parts: Vec::new(), last_writer: None, pages: 0 };
        self.ask(core, &fetch);
        self.active.insert(peer.id, fetch);
    }

    fn ask(&self, core: &mut Core, fetch: &Fetch) {
        let load =
            Load { keys: vec![self.key], after: fetch.last_writer, certificates: Vec::new() };
        let purpose = AskFor::Load(self.command, fetch.peer.id);
        core.ask(fetch.peer, Request::Load(load), Way::Call, purpose);
    }

    /// A page came from `from`, or nothing (`None`).
    pub(crate) fn on_loaded(
        &mut self,
        core: &mut Core,
        wall: UnixMillis,
        from: NodeId,
        loaded: Option<Loaded>,
    ) -> Option<Gathered> {
        let mut fetch = self.active.remove(&from)?;
        let complete = loaded.and_then(|page| fetch.take(&page));
        match complete {
            Some(false) => {
                self.ask(core, &fetch);
                self.active.insert(from, fetch);
                None
            }
            Some(true) => match answer::envelopes(core, wall, &self.key, &fetch.parts) {
                Some(held) => Some(self.finish(core, &fetch, held)),
                None => self.fail(core, &fetch),
            },
            None => self.fail(core, &fetch),
        }
    }

    /// Whoever claimed the same holds the same, if the claim was true.
    fn finish(&mut self, core: &mut Core, fetch: &Fetch, held: Held<Envelope>) -> Gathered {
        let mut holders = vec![fetch.peer];
        if held.state.digest() == fetch.claimed {
            self.twins.retain(|(peer, claimed)| {
                if *claimed == fetch.claimed {
                    holders.push(*peer);
                }
                *claimed != fetch.claimed
            });
        } else {
            self.ask_twin(core, fetch.claimed);
        }
        Gathered { holders, held }
    }

    fn fail(&mut self, core: &mut Core, fetch: &Fetch) -> Option<Gathered> {
        self.unread += 1;
        self.ask_twin(core, fetch.claimed);
        None
    }

    fn ask_twin(&mut self, core: &mut Core, claimed: StateDigest) {
        if let Some(index) = self.twins.iter().position(|(_, twin)| *twin == claimed) {
            let (peer, claimed) = self.twins.remove(index);
            self.start(core, peer, claimed);
        }
    }
}

impl Fetch {
    /// Takes a page: whether it was the last, or `None` if the source does not keep to the rules:
    /// writers ascend from page to page.
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
        (!page.envelopes.is_empty() && self.pages < PAGES_MAX).then_some(false)
    }
}

/// The heads of a state.
pub(crate) fn heads_of(state: &State<Envelope>) -> impl Iterator<Item = SignedHead> {
    state.iter().map(|envelope| envelope.head().clone())
}
