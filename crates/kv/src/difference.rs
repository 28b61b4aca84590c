//! Anti-entropy by difference: what is compared when, and what is done with what was found.
//!
//! Every anti-entropy interval a node compares itself with each node of its close group, over the ranges
//! of keys that both are replicas of ([`region`]): one hash each way if they agree ([`session`]). So a
//! comparison costs two datagrams however many records there are, and a difference costs what it is.
//! It finds what every other mechanism missed: repair acts on changes of the close group and of records,
//! and a change that was not acted upon, because both ends were cut off, full or gone, is found here.
//!
//! Sums can be made to agree by a writer that tries 2^64 envelopes; so in each comparison one small range
//! by chance is also hashed key by key under a key that the asker has just chosen.
//!
//! Where we differ from Dynamo and Cassandra, which build hash trees of whole ranges for each comparison:
//! the store keeps sums of ranges with each write ([`potluck_record::StorageOp::Fingerprints`]), after
//! Meyer, "Range-Based Set Reconciliation" (2023).

pub(crate) mod answer;
pub(crate) mod feed;
pub(crate) mod region;
mod session;

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Deadline, Instant, NodeId, Peer, Rng};
use potluck_record::{Prefix, SessionKey, StorageOp, StorageReply};
use potluck_wire::Response;
use potluck_wire::limits::REGION_PREFIXES_MAX;

use crate::core::{Core, OpPurpose};
use crate::pull::Pulls;
use crate::repair::Repair;
use crate::serve::Wanted;
use session::{Ending, Place, Plan, Session, TIME_MAX};

/// Comparisons are this far apart at random, as a fraction of the interval, so that nodes do not compare
/// at the same time.
const JITTER: f64 = 0.3;
/// Time without a change of the close group before a comparison: repair after a change fills replica sets
/// by itself, and a comparison in the middle of it would find the same keys. A guess: twice what a
/// repair of a few thousand keys takes.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Delay before a comparison that could not begin is tried again.
const HOLD: Duration = Duration::from_secs(2);
/// Delay after a comparison that left something, or that read changes, before the next one with the node.
const SOON: Duration = Duration::from_secs(5);
/// Keys waiting to be pulled over which no comparison begins: what they bring would be found again.
const PULLS_MAX: usize = 256;
/// Keys read into the index of fingerprints by one operation. More occupy the disk's thread for longer.
const INDEX_KEYS: u32 = 16_384;
/// Delay before a store that failed to make the index is asked again.
const INDEX_RETRY: Duration = Duration::from_secs(60);
/// Most times that the interval to a node doubles with which comparing leads to nothing: an hour.
const FRUITLESS_MAX: u8 = 6;

/// What brings records where a comparison found them missing.
pub(crate) struct Remedies<'a> {
    pub(crate) repair: &'a mut Repair,
    pub(crate) pulls: &'a mut Pulls,
}

/// What is known of comparisons with one node.
#[derive(Debug, Clone)]
struct Partner {
    peer: Peer,
    due: Instant,
    /// Its place at the last equal comparison.
    place: Option<Place>,
    /// A number for what the last comparison found.
    mark: u128,
    /// Comparisons in a row that found the same as the one before, or failed.
    fruitless: u8,
}

/// What is to be compared with one node.
struct Comparable {
    /// The ranges of keys that both are replicas of.
    region: Vec<Prefix>,
    /// Its place at the last equal comparison.
    place: Option<Place>,
}

/// The state of the index of fingerprints in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Index {
    /// It is asked for at this time.
    At(Instant),
    /// The store is at work.
    Making,
    Made,
}

/// All comparisons of one node.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    partners: BTreeMap<NodeId, Partner>,
    session: Option<Session>,
    index: Index,
    /// No comparison begins before this.
    hold: Instant,
    rng: Option<Rng>,
}

impl Difference {
    pub(crate) fn new(core: &Core) -> Self {
        let index = Index::At(Instant::ZERO + core.config.anti_entropy_interval / 4);
        Self { partners: BTreeMap::new(), session: None, index, hold: Instant::ZERO, rng: None }
    }

    /// Comparisons under way.
    pub(crate) fn active(&self) -> usize {
        usize::from(self.session.is_some())
    }

    /// The source of session keys. Its seed is a signature, which no other node can make, and the time.
    fn rng(&mut self, core: &Core) -> &mut Rng {
        self.rng.get_or_insert_with(|| {
            let mut text = b"potluck keys of comparisons ".to_vec();
            text.extend(core.last_wall().0.to_be_bytes());
            let signature = core.identity.sign(&text);
            let mut seed = [0; 32];
            seed.copy_from_slice(&signature.as_bytes()[..32]);
            Rng::from_seed(seed)
        })
    }

    /// The key of a new comparison.
    pub(crate) fn session_key(&mut self, core: &Core) -> SessionKey {
        SessionKey(self.rng(core).bytes())
    }

    /// The close group changed.
    pub(crate) fn on_close_group(&mut self, core: &Core, now: Instant) {
        if !core.serves {
            return;
        }
        self.hold = now + SETTLED_AFTER;
        self.partners.retain(|id, _| core.close_group.contains(id));
        let others: Vec<Peer> = core.close_group.others(&core.me.id).copied().collect();
        for peer in others {
            let interval = core.config.anti_entropy_interval;
            let due = now + interval.mul_f64(self.rng(core).fraction());
            let place = None;
            let fresh = Partner { peer, due, place, mark: 0, fruitless: 0 };
            self.partners.entry(peer.id).or_insert(fresh).peer = peer;
        }
    }

    pub(crate) fn deadline(&self, core: &Core) -> Option<Deadline> {
        if !core.serves {
            return None;
        }
        let index = match self.index {
            Index::At(at) => Some(at),
            Index::Making | Index::Made => None,
        };
        let session = self.session.as_ref().map(|session| session.began + TIME_MAX);
        let next = self.partners.values().map(|partner| partner.due).min();
        let next = next
            .filter(|_| self.session.is_none() && self.index == Index::Made)
            .map(|due| due.max(self.hold));
        Deadline::earliest([
            index.map(|at| Deadline::new(at, "index of fingerprints")),
            session.map(|at| Deadline::new(at, "comparison")),
            next.map(|at| Deadline::new(at, "anti-entropy")),
        ])
    }

    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant, mut remedies: Remedies<'_>) {
        if !core.serves {
            return;
        }
        if let Index::At(at) = self.index
            && at <= now
        {
            self.index = Index::Making;
            core.storage(StorageOp::Index { limit: INDEX_KEYS }, OpPurpose::Index);
        }
        if self.session.as_ref().is_some_and(|session| session.began + TIME_MAX <= now) {
            let Remedies { repair, pulls } = &mut remedies;
            self.end(core, now, Ending::Failed, Remedies { repair, pulls });
        }
        let Remedies { repair, pulls } = remedies;
        while self.index == Index::Made && self.session.is_none() && self.hold <= now {
            let due = self.partners.values().filter(|partner| partner.due <= now);
            let Some(next) = due.min_by_key(|partner| partner.due) else { return };
            if repair.is_repairing() || pulls.waiting() > PULLS_MAX || repair.is_crowded() {
                self.hold = now + HOLD;
                return;
            }
            let (peer, place) = (next.peer, next.place);
            // A node that pauses keeps its place: what it holds is not copied to the next closest.
            let group = repair.expected(core, now);
            let region = region::shared(core, &group, &peer.id, REGION_PREFIXES_MAX);
            self.start(core, now, peer, Comparable { region, place });
        }
    }

    fn start(&mut self, core: &mut Core, now: Instant, peer: Peer, comparable: Comparable) {
        let Comparable { region, place } = comparable;
        self.put_off(core, now, &peer.id);
        if region.is_empty() {
            return;
        }
        core.stats.comparisons += 1;
        let key = self.session_key(core);
        let plan = Plan { peer, region, key, since: place };
        self.session = Some(Session::start(core, now, plan));
    }

    /// Plans the next comparison with a node.
    fn put_off(&mut self, core: &Core, now: Instant, id: &NodeId) {
        let interval = core.config.anti_entropy_interval;
        let pause = self.rng(core).jitter(interval, JITTER);
        if let Some(partner) = self.partners.get_mut(id) {
            partner.due = now + pause * (1 << partner.fruitless.min(FRUITLESS_MAX));
        }
    }

    /// The store has read keys into its index.
    pub(crate) fn on_indexed(&mut self, core: &mut Core, now: Instant, reply: &StorageReply) {
        let StorageReply::Indexed { more } = reply else {
            // The store failed.
            self.index = Index::At(now + INDEX_RETRY);
            return;
        };
        if *more {
            core.storage(StorageOp::Index { limit: INDEX_KEYS }, OpPurpose::Index);
        } else {
            self.index = Index::Made;
            core.local.indexed = true;
        }
    }

    /// Passes on the result of a storage operation of a comparison.
    pub(crate) fn on_stored(
        &mut self,
        core: &mut Core,
        now: Instant,
        number: u64,
        reply: StorageReply,
        remedies: Remedies<'_>,
    ) {
        let session = self.session.as_mut().filter(|session| session.awaits(number));
        if let Some(ending) = session.and_then(|session| session.on_stored(core, reply)) {
            self.end(core, now, ending, remedies);
        }
    }

    /// Passes on an answer to a comparison.
    pub(crate) fn on_answer(
        &mut self,
        core: &mut Core,
        now: Instant,
        number: u64,
        response: Option<Response>,
        remedies: Remedies<'_>,
    ) {
        let session = self.session.as_mut().filter(|session| session.awaits(number));
        if let Some(ending) = session.and_then(|session| session.on_answer(core, response)) {
            self.end(core, now, ending, remedies);
        }
    }

    /// A comparison is over: pulls and offers what it found, and plans the next one.
    fn end(
        &mut self,
        core: &mut Core,
        now: Instant,
        ending: Ending,
        Remedies { repair, pulls }: Remedies<'_>,
    ) {
        let Some(Session { peer, found, .. }) = self.session.take() else { return };
        match ending {
            Ending::Equal => core.stats.comparisons_equal += 1,
            Ending::Found => core.stats.comparisons_differing += 1,
            Ending::Failed => core.stats.comparisons_failed += 1,
        }
        let Some(partner) = self.partners.get_mut(&peer.id) else { return };
        let same = !found.is_empty() && found.mark() == partner.mark;
        if ending == Ending::Failed || same {
            partner.fruitless = partner.fruitless.saturating_add(1).min(FRUITLESS_MAX);
        } else {
            partner.fruitless = 0;
        }
        partner.mark = found.mark();
        match ending {
            Ending::Equal => partner.place = found.place,
            // After changes were read the next comparison shows whether they were all.
            Ending::Found => partner.place = None,
            Ending::Failed => {}
        }
        let fruitless = partner.fruitless;
        self.put_off(core, now, &peer.id);
        if fruitless == 0
            && (found.more || found.fed)
            && let Some(partner) = self.partners.get_mut(&peer.id)
        {
            partner.due = now + SOON;
        }
        for (key, digest) in found.only_here() {
            if repair.is_crowded() {
                break;
            }
            repair.offer_found(peer, key, digest, now);
        }
        let mut keys = found.wanted;
        while !keys.is_empty() && !pulls.has_room(&peer.id, keys.len()) {
            keys.truncate(keys.len() / 2);
        }
        pulls.add(core, Wanted { from: peer, keys });
    }
}
