//! Pulling records that were offered: the node that joins a replica set decides the pace.
//!
//! Replicas pull records and are never pushed to, so that no node can fill up another one.

use std::collections::{BTreeMap, VecDeque};

use potluck_base::{Instant, Key, NodeId, Peer};
use potluck_record::{CertificateHash, Envelope, MergeAs, Place, StateDigest, StorageOp};
use potluck_wire::limits::{LOAD_KEYS_DATAGRAM, OFFER_ENTRIES_MAX};
use potluck_wire::{Load, Loaded, Request};

use crate::admissible::is_admissible;
use crate::core::{AskPurpose, Core, Offered, OpPurpose};
use crate::doors;
use crate::event::Delivery;
use crate::pull_budget::{Page, PullBudgets, Sent};
use crate::serve::Wanted;

/// Keys queued for pulling, over all sources; further offers are refused as busy. A guess: it takes
/// five megabytes of memory.
const PULLS_MAX: usize = 65_536;
/// Keys queued for pulling from one source, so that one source cannot fill the queue: two full offers.
const PULLS_PER_SOURCE: usize = 2 * OFFER_ENTRIES_MAX;
/// Keys requested in one call. Raising it saves round trips while the answers still fit a call.
const KEYS_PER_CALL: usize = 64;
/// Consecutive failures after which a source is given up; another holder offers the same keys.
const FAILURES_MAX: u8 = 3;
/// Replicas that are asked for a key whose row here is damaged. One may lack it as well; more cost traffic
/// where a whole page is damaged.
const HEAL_SOURCES: usize = 2;

#[derive(Debug, Clone)]
struct Source {
    peer: Peer,
    keys: VecDeque<(Key, StateDigest)>,
    asked: usize,
    /// The last writer pulled of the first key, if its record is larger than one answer.
    after: Option<[u8; 32]>,
    by_call: bool,
    failures: u8,
    /// What it has sent of the first key.
    sent: Sent,
    /// Bytes sent since the last answer was taken that no offered digest proves.
    unproven: u64,
    /// Records that wait for certificates of their writers, which were asked for, and these.
    awaiting: Option<(Loaded, Vec<CertificateHash>)>,
}

/// All keys to be pulled, by source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulls {
    sources: BTreeMap<NodeId, Source>,
    budgets: PullBudgets,
}

impl Pulls {
    /// Whether `from` may offer keys: it has not sent too much beyond what it offered.
    pub(crate) fn may_offer(&self, now: Instant, from: &NodeId) -> bool {
        self.budgets.has_some(now, from)
    }

    /// Whether the queue has room for an offer of `keys` keys by `from`.
    pub(crate) fn has_room(&self, from: &NodeId, keys: usize) -> bool {
        let of_source = self.sources.get(from).map_or(0, |source| source.keys.len());
        of_source + keys <= PULLS_PER_SOURCE && self.waiting() + keys <= PULLS_MAX
    }

    pub(crate) fn waiting(&self) -> usize {
        self.sources.values().map(|source| source.keys.len()).sum()
    }

    /// Queues the keys of an offer.
    pub(crate) fn add(&mut self, core: &mut Core, wanted: Wanted) {
        if wanted.keys.is_empty() {
            return;
        }
        let source = self.sources.entry(wanted.from.id).or_insert_with(|| Source {
            peer: wanted.from,
            keys: VecDeque::new(),
            asked: 0,
            after: None,
            by_call: false,
            failures: 0,
            sent: Sent::default(),
            unproven: 0,
            awaiting: None,
        });
        source.keys.extend(wanted.keys);
        if source.asked == 0 {
            source.ask(core);
        }
    }

    /// Pulls a key again whose replica here is damaged, from the closest other replicas. Anti-entropy would
    /// find the damage too, an interval later.
    pub(crate) fn heal(&mut self, core: &mut Core, key: Key) {
        let me = core.me.id;
        let others = core.replica_set(&key).into_iter().filter(|peer| peer.id != me);
        for from in others.take(HEAL_SOURCES) {
            if self.has_room(&from.id, 1) {
                core.stats.heals_asked += 1;
                let keys = vec![(key, StateDigest::EMPTY)];
                self.add(core, Wanted { from, keys });
            }
        }
    }

    /// Takes the answer of a source; `None` if the request failed.
    pub(crate) fn on_loaded(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: NodeId,
        loaded: Option<Loaded>,
    ) {
        let Some(source) = self.sources.get_mut(&from) else { return };
        match (source.awaiting.take(), loaded) {
            (Some((records, asked)), answer) => {
                core.learn(&answer.unwrap_or_default().certificates, asked);
                source.take(core, now, &records);
            }
            (None, Some(records)) if source.asks_for_writers(core, &records) => return,
            (None, Some(records)) => source.take(core, now, &records),
            (None, None) => source.failures += 1,
        }
        source.asked = 0;
        let unproven = std::mem::take(&mut source.unproven);
        if !self.budgets.spend(now, from, unproven) && core.config.defences.pull_budget {
            core.stats.pull_sources_given_up += 1;
            source.failures = FAILURES_MAX;
        }
        if source.keys.is_empty() || source.failures >= FAILURES_MAX {
            self.sources.remove(&from);
        } else {
            source.ask(core);
        }
    }
}

impl Source {
    fn ask(&mut self, core: &mut Core) {
        let many = self.keys.len() > 2 * LOAD_KEYS_DATAGRAM;
        let call = self.by_call || self.after.is_some() || many || self.failures > 0;
        let most = if call { KEYS_PER_CALL } else { LOAD_KEYS_DATAGRAM };
        let keys: Vec<Key> = self.keys.iter().take(most).map(|(key, _)| *key).collect();
        self.asked = keys.len();
        let request = Request::Load(Load { keys, after: self.after, certificates: Vec::new() });
        let delivery = if call { Delivery::Call } else { Delivery::Fitting };
        self.by_call = call;
        core.ask(self.peer, request, delivery, AskPurpose::Pull(self.peer.id));
    }

    /// Asks the source for the certificates of writers that this node lacks; returns whether it lacks some. The
    /// records wait for them.
    fn asks_for_writers(&mut self, core: &mut Core, loaded: &Loaded) -> bool {
        let lacking = core.lacking::<Envelope>(&loaded.envelopes);
        if lacking.is_empty() {
            return false;
        }
        self.awaiting = Some((loaded.clone(), lacking.clone()));
        let purpose = AskPurpose::Pull(self.peer.id);
        core.ask(self.peer, doors::ask_for(lacking), Delivery::Call, purpose);
        true
    }

    fn take(&mut self, core: &mut Core, now: Instant, loaded: &Loaded) {
        let asked: BTreeMap<Key, StateDigest> =
            self.keys.iter().take(self.asked).copied().collect();
        let first = self.keys.front().map(|(key, _)| *key);
        let wall = core.wall(now);
        let mut last_writer = None;
        let mut page = Page::new();
        for part in &loaded.envelopes {
            let genuine = Envelope::decode(part).ok().filter(|envelope| {
                asked.contains_key(&envelope.head().key()) && core.is_genuine(envelope.head())
            });
            let Some(envelope) = genuine else {
                core.stats.answers_bad += 1;
                self.failures += 1;
                return;
            };
            let writer = *envelope.head().writer().as_bytes();
            let goes_on = Some(envelope.head().key()) == first
                && last_writer.or(self.after).is_none_or(|last| writer > last);
            if loaded.keys_done == 0 && !goes_on {
                core.stats.answers_bad += 1;
                self.failures += 1;
                return;
            }
            last_writer = Some(writer);
            page.entry(envelope.head().key()).or_default().add(envelope.head(), part.len());
            let admissible = is_admissible(&core.config, envelope.head(), wall);
            if admissible && core.takes_copy(envelope.head(), self.peer.id) {
                let key = envelope.head().key();
                let op = StorageOp::Merge { envelope, place: Place::Replica, how: MergeAs::Repair };
                let by = self.peer;
                // A key that is healed was offered by no node.
                let digest = asked.get(&key).filter(|digest| **digest != StateDigest::EMPTY);
                let offered = digest.map(|digest| Offered { by, digest: *digest });
                core.storage(op, OpPurpose::Pulled(key, offered));
            }
        }
        self.failures = 0;
        if let Some(first) = first {
            self.sent.add_page(&page.remove(&first).unwrap_or_default());
        }
        let done = (loaded.keys_done as usize).min(self.asked);
        if done > 0 {
            core.stats.keys_pulled += done as u64;
            self.end_first();
            for (key, digest) in self.keys.drain(..done - 1) {
                self.unproven += page.get(&key).map_or(0, |sent| sent.unproven(digest));
            }
            self.by_call = false;
        } else if last_writer.is_some() {
            self.after = last_writer;
            self.end_if_enough(core);
        } else if self.by_call {
            // An empty answer to a call: the source does not hold the key.
            self.end_first();
        } else {
            self.by_call = true;
        }
    }

    /// Ends the pull of the first key if all that was offered of it is here, or more than may be.
    fn end_if_enough(&mut self, core: &mut Core) {
        let Some((_, digest)) = self.keys.front().copied() else { return };
        if !core.config.defences.pull_budget {
            return;
        }
        let complete = self.sent.is_all_of(digest);
        if complete || self.sent.is_over() {
            core.stats.keys_pulled += u64::from(complete);
            core.stats.pulls_over_budget += u64::from(!complete);
            self.end_first();
        }
    }

    /// Ends the pull of the first key.
    fn end_first(&mut self) {
        if let Some((_, digest)) = self.keys.pop_front() {
            self.unproven += self.sent.unproven(digest);
        }
        self.sent = Sent::default();
        self.after = None;
    }
}
