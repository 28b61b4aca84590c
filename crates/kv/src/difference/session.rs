//! One comparison with another replica: the asker's side.
//!
//! It begins with one hash over all that both hold; equal hashes end it. If they differ, the keys that the
//! other node has changed since the last equal comparison are asked for, where it still knows them. What
//! differs then is narrowed down: the hashes of sixteen children of a range, of those that differ, and so
//! on, until a range holds so few keys that their ids are told. Of the ids that this node lacks it asks
//! for the keys and pulls the records; the keys that the other node lacks it offers.
//!
//! Of the ranges that differ the last found is compared first, so a difference of any size needs little
//! memory. **Invariants:** every list is bounded; what exceeds it is left for the next comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_base::{Instant, Key, Peer};
use potluck_record::{Fingerprint, Prefix, SessionKey, StateDigest, StorageOp, StorageReply};
use potluck_wire::difference::{LongHash, ShortHash};
use potluck_wire::{
    Changes, ChangesAfter, Compare, Compared, Level, OfferEntry, RangePart, Request, Response,
};

use super::answer::{BUCKET_KEYS_MAX, LIST_MAX};
use super::feed::holds;
use crate::core::{AskPurpose, Core, OpPurpose};
use crate::event::Delivery;

/// Ranges of one question. More would save round trips, and each answer would be larger: 13 kB.
const RANGES_AT_ONCE: usize = 128;
/// Ranges of a question whose answer fits in a datagram.
const RANGES_DATAGRAM: usize = 8;
/// Keys of a question whose answer fits in a datagram.
const KEYS_DATAGRAM: usize = 16;
/// Ranges that wait to be compared. More are left for the next comparison.
const RANGES_MAX: usize = 8192;
/// Keys found in one comparison, over both directions. More are left for the next one; until it begins,
/// those found are pulled, so that this also bounds the rate.
const FOUND_MAX: usize = 8192;
/// Questions of one comparison.
const QUESTIONS_MAX: u32 = 1024;
/// Time that one comparison may take, so that a node that answers slowly does not keep this one from
/// comparing with others.
pub(super) const TIME_MAX: Duration = Duration::from_secs(60);
/// Keys of the bucket that is hashed one by one, about.
const BUCKET_KEYS: u64 = 128;

/// A place in another node's order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) run: u64,
    pub(super) changes: u64,
}

/// What is to be compared.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// With which node.
    pub(super) peer: Peer,
    /// Over which ranges.
    pub(super) region: Vec<Prefix>,
    /// Under which key.
    pub(super) key: SessionKey,
    /// Where in the other node's changes the last equal comparison was.
    pub(super) since: Option<Place>,
}

/// How a comparison ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Both hold the same.
    Equal,
    /// What differed was found, as far as the limits allow.
    Found,
    /// The other node did not answer, or not as it should, or its answers were too many.
    Failed,
}

/// What a comparison has found.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Keys that the other node holds in a state which this one lacks.
    pub(super) wanted: Vec<(Key, StateDigest)>,
    /// Keys that this node holds in a state which the other one lacks.
    pub(super) offers: Vec<(Key, StateDigest)>,
    /// Whether more was left for the next comparison.
    pub(super) more: bool,
    /// Whether the changes were asked for.
    pub(super) fed: bool,
    /// Where the other node's order of changes was.
    pub(super) place: Option<Place>,
}

/// What is awaited.
#[derive(Debug, Clone)]
enum Stage {
    SumUp,
    ListBucket,
    Region,
    Changes,
    Parts(Vec<Prefix>),
    SumChildren(Parts),
    ListFew(Parts),
    Keys,
    /// Own digests of keys of the other node.
    Check(Vec<OfferEntry>, Option<u64>),
}

/// The answered ranges of a question.
#[derive(Debug, Clone, Default)]
struct Parts {
    children: Vec<(Prefix, [ShortHash; 16])>,
    lists: Vec<(Prefix, Vec<ShortHash>)>,
}

/// A comparison under way.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) peer: Peer,
    pub(super) began: Instant,
    key: SessionKey,
    region: Vec<Prefix>,
    /// Where in the other node's changes the last equal comparison was.
    since: Option<Place>,
    /// Identifies the operation or question that is awaited.
    awaited: u64,
    stage: Stage,
    sum: Fingerprint,
    bucket: Option<Prefix>,
    bucket_hash: LongHash,
    /// Ranges that differ, the next one last.
    ranges: Vec<Prefix>,
    questions: u32,
    pub(super) found: Found,
}

impl Session {
    /// Begins a comparison.
    pub(super) fn start(core: &mut Core, now: Instant, plan: Plan) -> Self {
        let mut session = Self {
            peer: plan.peer,
            began: now,
            key: plan.key,
            region: plan.region,
            since: plan.since,
            awaited: 0,
            stage: Stage::SumUp,
            sum: Fingerprint::default(),
            bucket: None,
            bucket_hash: [0; 8],
            ranges: Vec::new(),
            questions: 0,
            found: Found::default(),
        };
        let prefixes = session.region.clone();
        session.operate(core, StorageOp::Fingerprints { prefixes }, Stage::SumUp);
        session
    }

    pub(super) fn awaits(&self, number: u64) -> bool {
        self.awaited == number
    }

    fn operate(&mut self, core: &mut Core, op: StorageOp, stage: Stage) {
        self.awaited = core.fresh_id();
        self.stage = stage;
        core.storage(op, OpPurpose::Difference(self.awaited));
    }

    fn ask(&mut self, core: &mut Core, request: Request, delivery: Delivery, stage: Stage) {
        self.awaited = core.fresh_id();
        self.stage = stage;
        self.questions += 1;
        core.ask(self.peer, request, delivery, AskPurpose::Difference(self.awaited));
    }

    fn compare(&self, level: Level, prefixes: Vec<Prefix>) -> Compare {
        Compare { session: self.key, level, prefixes, ids: Vec::new(), bucket: None }
    }

    /// Takes the result of the awaited storage operation.
    pub(super) fn on_stored(&mut self, core: &mut Core, reply: StorageReply) -> Option<Ending> {
        match (std::mem::replace(&mut self.stage, Stage::SumUp), reply) {
            (Stage::SumUp, StorageReply::Fingerprints(sums)) => {
                self.sum = sums.iter().fold(Fingerprint::default(), |sum, part| sum.and(*part));
                self.choose_bucket(&sums);
                let prefixes = self.bucket.into_iter().collect();
                let op = StorageOp::Entries { prefixes, after: None, limit: BUCKET_KEYS_MAX };
                self.operate(core, op, Stage::ListBucket);
                None
            }
            (Stage::ListBucket, StorageReply::Scanned { entries, .. }) => {
                self.bucket_hash = self.key.bucket(&entries);
                let mut compare = self.compare(Level::Region, self.region.clone());
                compare.bucket = self.bucket;
                let request = Request::Fingerprints(compare);
                self.ask(core, request, Delivery::Fitting, Stage::Region);
                None
            }
            (Stage::SumChildren(parts), StorageReply::Fingerprints(sums)) => {
                self.take_children(core, &parts, &sums);
                self.list_few(core, parts)
            }
            (Stage::ListFew(parts), StorageReply::Scanned { entries, more }) => {
                self.found.more |= more;
                self.match_ids(core, &parts, &entries)
            }
            (Stage::Check(theirs, next), StorageReply::Scanned { entries, .. }) => {
                self.keep_wanted(core, theirs, &entries);
                match next {
                    Some(after) => self.ask_changes(core, after),
                    None => self.go_on(core),
                }
            }
            (_, _) => Some(Ending::Failed),
        }
    }

    /// Takes the awaited answer; `None` if there was none.
    pub(super) fn on_answer(
        &mut self,
        core: &mut Core,
        response: Option<Response>,
    ) -> Option<Ending> {
        match (std::mem::replace(&mut self.stage, Stage::SumUp), response) {
            (Stage::Region, Some(Response::Fingerprints(compared))) => {
                self.on_region(core, &compared)
            }
            (Stage::Changes, Some(Response::Changes(changes))) => self.on_changes(core, changes),
            (Stage::Parts(asked), Some(Response::Fingerprints(compared))) => {
                self.on_parts(core, asked, compared)
            }
            (Stage::Keys, Some(Response::Fingerprints(compared))) => {
                self.found.more |= compared.more;
                self.check(core, compared.entries, None)
            }
            (_, _) => Some(Ending::Failed),
        }
    }

    /// A range of about [`BUCKET_KEYS`] keys, by chance: one of the ranges of the region in proportion to
    /// its keys, and then bits from the session's key.
    fn choose_bucket(&mut self, sums: &[Fingerprint]) {
        let (place, bits) = self.key.0.split_at(8);
        let number =
            |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let mut left = number(place) % self.sum.keys.max(1);
        for (range, sum) in self.region.iter().zip(sums) {
            if left < sum.keys {
                let deeper = (sum.keys / BUCKET_KEYS).checked_ilog2().map_or(0, |bits| bits + 1);
                let chosen = range.first_bits() | (number(bits) >> range.length().min(63));
                let length = range.length().saturating_add(deeper as u8);
                self.bucket = Some(Prefix::from_bits(chosen, length));
                return;
            }
            left -= sum.keys;
        }
        self.bucket = self.region.first().copied();
    }

    fn on_region(&mut self, core: &mut Core, compared: &Compared) -> Option<Ending> {
        let Some(theirs) = compared.region else { return Some(Ending::Failed) };
        let place = Place { run: theirs.run, changes: theirs.changes };
        self.found.place = Some(place);
        let same = theirs.region == self.key.long(&self.sum);
        if same && theirs.bucket == self.bucket_hash {
            return Some(Ending::Equal);
        }
        if same {
            // The sums agree and the keys do not: they are listed without any sum.
            let bucket: Vec<Prefix> = self.bucket.into_iter().collect();
            let request = Request::Fingerprints(self.compare(Level::Ids, bucket.clone()));
            self.ask(core, request, Delivery::Call, Stage::Parts(bucket));
            return None;
        }
        let changed =
            self.since.filter(|since| since.run == place.run && since.changes < place.changes);
        if let Some(since) = changed {
            self.found.fed = true;
            return self.ask_changes(core, since.changes);
        }
        self.ranges = self.region.clone();
        self.ranges.reverse();
        self.go_on(core)
    }

    fn ask_changes(&mut self, core: &mut Core, after: u64) -> Option<Ending> {
        let Some(since) = self.since else { return Some(Ending::Failed) };
        if self.is_over() {
            self.found.more = true;
            return Some(Ending::Found);
        }
        let asked = ChangesAfter { run: since.run, after, prefixes: self.region.clone() };
        self.ask(core, Request::Changes(asked), Delivery::Call, Stage::Changes);
        None
    }

    fn on_changes(&mut self, core: &mut Core, changes: Changes) -> Option<Ending> {
        if changes.lost {
            core.stats.feeds_lost += 1;
            self.since = None;
            self.found.fed = false;
            self.ranges = self.region.clone();
            self.ranges.reverse();
            return self.go_on(core);
        }
        core.stats.changes_read += changes.entries.len() as u64;
        let place = Place { run: changes.run, changes: changes.next };
        self.found.place = Some(place);
        self.check(core, changes.entries, changes.more.then_some(changes.next))
    }

    /// Looks up what this node holds of keys that the other one names.
    fn check(
        &mut self,
        core: &mut Core,
        mut theirs: Vec<OfferEntry>,
        next: Option<u64>,
    ) -> Option<Ending> {
        theirs.retain(|entry| holds(&self.region, &entry.key) && core.is_near(&entry.key));
        let mut prefixes: Vec<Prefix> =
            theirs.iter().map(|entry| Prefix::of(&entry.key, Prefix::LENGTH_MAX)).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let limit = 2 * prefixes.len() as u32;
        let op = StorageOp::Entries { prefixes, after: None, limit };
        self.operate(core, op, Stage::Check(theirs, next));
        None
    }

    fn keep_wanted(
        &mut self,
        core: &mut Core,
        theirs: Vec<OfferEntry>,
        held: &[(Key, StateDigest)],
    ) {
        let held: BTreeMap<&Key, &StateDigest> =
            held.iter().map(|(key, digest)| (key, digest)).collect();
        for OfferEntry { key, digest } in theirs {
            if held.get(&key) == Some(&&digest) {
                continue;
            }
            if self.found.wanted.len() >= FOUND_MAX {
                self.found.more = true;
                return;
            }
            core.stats.differences_found += 1;
            self.found.wanted.push((key, digest));
        }
    }

    /// Whether the limits of one comparison are reached.
    fn is_over(&self) -> bool {
        self.questions >= QUESTIONS_MAX
            || self.found.wanted.len() + self.found.offers.len() >= FOUND_MAX
    }

    /// Asks about the next ranges, or ends.
    fn go_on(&mut self, core: &mut Core) -> Option<Ending> {
        if self.is_over() {
            self.found.more |= !self.ranges.is_empty();
            return Some(Ending::Found);
        }
        let mut asked = self.ranges.split_off(self.ranges.len().saturating_sub(RANGES_AT_ONCE));
        if asked.is_empty() {
            return Some(Ending::Found);
        }
        asked.sort_unstable();
        let delivery =
            if asked.len() <= RANGES_DATAGRAM { Delivery::Fitting } else { Delivery::Call };
        let request = Request::Fingerprints(self.compare(Level::Children, asked.clone()));
        self.ask(core, request, delivery, Stage::Parts(asked));
        None
    }

    fn on_parts(
        &mut self,
        core: &mut Core,
        mut asked: Vec<Prefix>,
        compared: Compared,
    ) -> Option<Ending> {
        if compared.parts.is_empty() || compared.parts.len() > asked.len() {
            return Some(Ending::Failed);
        }
        self.wait(asked.split_off(compared.parts.len()));
        let mut parts = Parts::default();
        for (range, part) in asked.into_iter().zip(compared.parts) {
            match part {
                RangePart::Children(hashes) => parts.children.push((range, hashes)),
                RangePart::Ids(ids) => parts.lists.push((range, ids)),
            }
        }
        if parts.children.is_empty() {
            return self.list_few(core, parts);
        }
        let prefixes = parts.children.iter().flat_map(|(range, _)| range.children()).collect();
        self.operate(core, StorageOp::Fingerprints { prefixes }, Stage::SumChildren(parts));
        None
    }

    fn wait(&mut self, ranges: Vec<Prefix>) {
        let room = RANGES_MAX.saturating_sub(self.ranges.len());
        self.found.more |= ranges.len() > room;
        self.ranges.extend(ranges.into_iter().take(room));
    }

    /// Keeps the children whose hashes differ from those of this node.
    fn take_children(&mut self, core: &mut Core, parts: &Parts, sums: &[Fingerprint]) {
        let children = parts
            .children
            .iter()
            .flat_map(|(range, hashes)| range.children().zip(hashes.iter().copied()));
        let mut differ = Vec::new();
        for ((child, theirs), mine) in children.zip(sums) {
            core.stats.fingerprints_compared += 1;
            if self.key.short(mine) != theirs {
                differ.push(child);
            }
        }
        self.wait(differ);
    }

    fn list_few(&mut self, core: &mut Core, parts: Parts) -> Option<Ending> {
        if parts.lists.is_empty() {
            return self.go_on(core);
        }
        let prefixes: Vec<Prefix> = parts.lists.iter().map(|(range, _)| *range).collect();
        // Where the other node has few keys this one may have any number.
        let limit = FOUND_MAX as u32 + prefixes.len() as u32 * LIST_MAX as u32;
        let op = StorageOp::Entries { prefixes, after: None, limit };
        self.operate(core, op, Stage::ListFew(parts));
        None
    }

    /// Compares ids with those of this node's keys.
    fn match_ids(
        &mut self,
        core: &mut Core,
        parts: &Parts,
        entries: &[(Key, StateDigest)],
    ) -> Option<Ending> {
        let mut theirs: BTreeSet<ShortHash> =
            parts.lists.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        for (key, digest) in entries {
            if !theirs.remove(&self.key.entry(key, digest)) {
                if self.found.offers.len() >= FOUND_MAX {
                    self.found.more = true;
                    break;
                }
                core.stats.differences_found += 1;
                self.found.offers.push((*key, *digest));
            }
        }
        if theirs.is_empty() {
            return self.go_on(core);
        }
        let prefixes = parts
            .lists
            .iter()
            .filter(|(_, ids)| ids.iter().any(|id| theirs.contains(id)))
            .map(|(range, _)| *range)
            .collect();
        let delivery =
            if theirs.len() <= KEYS_DATAGRAM { Delivery::Fitting } else { Delivery::Call };
        let mut compare = self.compare(Level::Keys, prefixes);
        compare.ids = theirs.into_iter().collect();
        self.ask(core, Request::Fingerprints(compare), delivery, Stage::Keys);
        None
    }
}

impl Found {
    /// The keys to offer that the other node does not hold in another state: of those the record is pulled
    /// first, and offered back if this node then holds more.
    pub(super) fn only_here(&self) -> Vec<(Key, StateDigest)> {
        let pulled: BTreeSet<&Key> = self.wanted.iter().map(|(key, _)| key).collect();
        self.offers.iter().filter(|(key, _)| !pulled.contains(key)).copied().collect()
    }

    /// A number for what was found, by which the same difference is known again.
    pub(super) fn mark(&self) -> u128 {
        let all = self.wanted.iter().chain(&self.offers);
        all.fold(0, |sum, (_, digest)| sum.wrapping_add(u128::from_be_bytes(digest.to_bytes())))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.offers.is_empty()
    }
}
