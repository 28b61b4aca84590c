//! The shares of other writers that an operation on a set or map needs: those that this node holds, and
//! those that it fetches from the replicas whose heads it has read.

use std::collections::VecDeque;

use potluck_base::{Key, NodeId, Peer, UnixMillis};
use potluck_record::{Envelope, SignedHead, State, StateDigest};
use potluck_wire::Loaded;

use crate::command::CommandId;
use crate::core::Core;
use crate::paged_fetch::PagedFetches;

/// The envelopes that were read whole, and the fetch of those that are missing.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    read: State<Envelope>,
    /// Replicas that can be asked, the one that holds all first.
    holders: VecDeque<(Peer, StateDigest)>,
    fetches: PagedFetches,
}

impl Values {
    pub(crate) fn new(id: CommandId, key: Key) -> Self {
        let fetches = PagedFetches::new(id, key);
        Self { read: State::new(), holders: VecDeque::new(), fetches }
    }

    /// The envelopes that were read.
    pub(crate) const fn read(&self) -> &State<Envelope> {
        &self.read
    }

    /// Takes envelopes that this node holds.
    pub(crate) fn take(&mut self, envelopes: impl IntoIterator<Item = Envelope>) {
        for envelope in envelopes {
            self.read.merge(envelope);
        }
    }

    /// Whether an envelope is missing whose head was read.
    pub(crate) fn is_missing(&self, heads: &State<SignedHead>) -> bool {
        heads.iter().any(|head| {
            self.read.of(&head.writer()).is_none_or(|read| read.head().dot() < head.dot())
        })
    }

    /// Asks the next of `holders` for what is missing; those with the digest of `heads` first. Returns
    /// whether one is asked.
    pub(crate) fn begin(
        &mut self,
        core: &mut Core,
        heads: &State<SignedHead>,
        holders: impl Iterator<Item = (Peer, StateDigest)>,
    ) -> bool {
        let all = heads.digest();
        let mut holders: Vec<_> =
            holders.filter(|(_, digest)| *digest != StateDigest::EMPTY).collect();
        holders.sort_by_key(|(_, digest)| *digest != all);
        self.holders = holders.into();
        self.ask_next(core)
    }

    fn ask_next(&mut self, core: &mut Core) -> bool {
        let Some((peer, digest)) = self.holders.pop_front() else { return false };
        self.fetches.start(core, peer, digest);
        true
    }

    /// Takes a page of a replica. Returns whether more of it, or another replica, is waited for.
    pub(crate) fn on_page(
        &mut self,
        core: &mut Core,
        wall: UnixMillis,
        heads: &State<SignedHead>,
        from: NodeId,
        page: Option<Loaded>,
    ) -> bool {
        if let Some(fetched) = self.fetches.on_loaded(core, wall, from, page) {
            self.take(fetched.held.state.iter().cloned());
        }
        self.is_missing(heads) && (self.fetches.is_waiting() || self.ask_next(core))
    }
}
