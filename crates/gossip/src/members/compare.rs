//! Comparisons of member lists, and the pages that newcomers read: see `anti_entropy`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::{MemberRecord, MemberRequest, MemberResponse, RecordVersion, Response};

use super::Members;
use super::anti_entropy::{BUCKETS, DIGEST_BYTES, bucket_of, fingerprint};
use super::outbox::{AskOptions, Purpose};
use super::rates::BAD_RECORD;
use super::table::{LocalState, short_id};
use crate::view::Mode;

/// Rounds with one partner before the next pause.
const ROUNDS: u8 = 4;
/// While lists are equal, each pause is twice the last one, up to this many doublings: two minutes
/// by default.
const EQUAL_DOUBLINGS_MAX: u32 = 2;
/// Pages of one list that a newcomer reads: more than the longest list of a fleet has with the
/// longest records. Members beyond are found by later comparisons.
const PAGES_MAX: u32 = 512;
/// Records in one push: two of the longest fit in a datagram, more are sent in a call.
const RECORDS_PER_PUSH: usize = 256;

impl Members {
    /// Starts a comparison if it is due.
    pub(super) fn compare_due(&mut self, now: Instant) {
        if now < self.anti_entropy.at {
            return;
        }
        let pause = self.config.compare_interval
            * (1 << self.anti_entropy.equal_in_row.min(EQUAL_DOUBLINGS_MAX));
        self.anti_entropy.at = now + self.rng.jitter(pause, 0.2);
        self.anti_entropy.rounds = 0;
        if self.mode == Mode::Fleet && !self.anti_entropy.busy {
            let with = self.anti_entropy.with.take().or_else(|| self.random_member());
            if let Some(with) = with {
                self.compare(with, false);
            }
        }
    }

    /// Starts to read pages if requested: a new member cannot wait for its turn.
    pub(super) fn begin_paging(&mut self) {
        if self.anti_entropy.busy || self.mode == Mode::Open {
            return;
        }
        if let Some(from) = self.anti_entropy.page_from.take() {
            self.anti_entropy.pages = 0;
            self.page(from, PublicKey::from_bytes([0; 32]), false);
        }
    }

    fn random_member(&mut self) -> Option<Contact> {
        let here: Vec<Contact> = self
            .table
            .iter()
            .filter(|member| member.state == LocalState::Alive)
            .map(|member| member.peer.contact)
            .collect();
        let count = here.len() as u64;
        (count > 0).then(|| here[self.rng.below(count) as usize])
    }

    fn compare(&mut self, with: Contact, whole: bool) {
        let digests = self.digests().iter().flat_map(|digest| digest.to_be_bytes()).collect();
        let options = AskOptions { large: whole, ..AskOptions::tries(3) };
        let request = MemberRequest::Compare { digests };
        let purpose = Purpose::Compare { with, whole };
        self.anti_entropy.busy = self.ask(with, request, purpose, options).is_some();
        self.stats.comparisons += 1;
    }

    fn page(&mut self, from: Contact, after: PublicKey, large: bool) {
        let options = AskOptions { large, ..AskOptions::tries(3) };
        let request = MemberRequest::Page { after };
        self.anti_entropy.pages += 1;
        self.anti_entropy.busy =
            self.ask(from, request, Purpose::Page(from, after), options).is_some();
    }

    /// The compared members: all living ones, and this node.
    fn compared(&self) -> impl Iterator<Item = (PublicKey, RecordVersion)> + '_ {
        let me = (!self.own.is_client()).then_some((self.own.key(), self.own.version()));
        let others =
            self.table.iter().filter(|member| member.is_here() && !member.record.is_empty());
        me.into_iter().chain(others.map(|member| (member.peer.contact.public_key, member.version)))
    }

    fn digests(&self) -> [u64; BUCKETS] {
        let mut digests = [0; BUCKETS];
        for (key, version) in self.compared() {
            digests[bucket_of(short_id(&key))] ^= fingerprint(&key, version);
        }
        digests
    }

    /// The entries in which another list differs from this one, as many as fit.
    pub(super) fn differing(&self, theirs: &[u8], budget: usize) -> Option<Response> {
        if theirs.len() != BUCKETS * DIGEST_BYTES {
            return None;
        }
        let mine = self.digests();
        let mut per_bucket: BTreeMap<usize, Vec<(u64, u32)>> = BTreeMap::new();
        for (bucket, (mine, theirs)) in mine.iter().zip(theirs.chunks(DIGEST_BYTES)).enumerate() {
            if mine.to_be_bytes() != theirs {
                per_bucket.insert(bucket, Vec::new());
            }
        }
        for (key, version) in self.compared() {
            let short = short_id(&key);
            if let Some(entries) = per_bucket.get_mut(&bucket_of(short)) {
                entries.push((short, fingerprint(&key, version) as u32));
            }
        }
        let room = (budget.saturating_sub(32) / 16).min(potluck_wire::limits::RECORDS_MAX);
        let (mut entries, mut buckets) = (Vec::new(), 0u64);
        for (bucket, of_bucket) in per_bucket {
            if entries.len() + of_bucket.len() <= room {
                entries.extend(of_bucket);
                buckets |= 1 << bucket;
            }
        }
        Some(Response::Member(MemberResponse::Differing { entries, buckets }))
    }

    /// The partner reported where the lists differ: records go both ways.
    pub(super) fn on_compared(
        &mut self,
        now: Instant,
        with: Contact,
        whole: bool,
        response: Response,
    ) {
        self.anti_entropy.ended();
        let Response::Member(MemberResponse::Differing { entries, buckets }) = response else {
            return;
        };
        let mut theirs: BTreeMap<u64, u32> = entries.into_iter().collect();
        let mut told = Vec::new();
        let mut wanted = Vec::new();
        for (key, version) in self.compared() {
            let short = short_id(&key);
            if buckets & (1 << bucket_of(short)) == 0 {
                continue;
            }
            let same = Some(fingerprint(&key, version) as u32);
            let other = theirs.remove(&short);
            if other == same {
                continue;
            }
            if other.is_some() {
                wanted.push(short);
            }
            told.push(key);
        }
        let mut doubtful = Vec::new();
        for (short, other) in theirs {
            match self.table.with_short_id(short) {
                // Dead or left here, and alive for the partner, with the same version.
                Some(gone) => {
                    let key = gone.peer.contact.public_key;
                    if fingerprint(&key, gone.version) as u32 == other {
                        if gone.state == LocalState::Dead {
                            doubtful.push(key);
                        } else if gone.state == LocalState::Left {
                            told.push(key);
                        }
                    } else {
                        wanted.push(short);
                    }
                }
                None => wanted.push(short),
            }
        }
        for key in doubtful {
            self.schedule_priority_probe(now, &key, Duration::ZERO);
        }
        self.exchange(with, &told, wanted);
        let differs = buckets != 0;
        self.anti_entropy.equal_in_row =
            if differs { 0 } else { self.anti_entropy.equal_in_row + 1 };
        if differs && self.anti_entropy.rounds < ROUNDS {
            self.anti_entropy.rounds += 1;
            self.anti_entropy.soon_with(now, with);
            // From the second round on in calls: there is more than fits in a datagram.
            if whole || self.anti_entropy.rounds > 1 {
                self.compare(with, true);
            }
        }
    }

    fn exchange(&mut self, with: Contact, told: &[PublicKey], wanted: Vec<u64>) {
        let records: Vec<Bytes> = told
            .iter()
            .take(RECORDS_PER_PUSH)
            .filter_map(|key| {
                if *key == self.own.key() {
                    return Some(self.own.signed.clone());
                }
                self.table.get(key).map(|member| member.record.clone())
            })
            .filter(|record| !record.is_empty())
            .collect();
        if !records.is_empty() {
            let request = MemberRequest::Tell { records };
            self.ask(with, request, Purpose::Notify, AskOptions::tries(3));
        }
        if !wanted.is_empty() {
            let large = wanted.len() > 4;
            let members = wanted.into_iter().take(potluck_wire::limits::RECORDS_MAX).collect();
            let options = AskOptions { large, ..AskOptions::tries(3) };
            self.ask(with, MemberRequest::Load { members }, Purpose::Load(with), options);
        }
    }

    /// A page of another node's list, with the keys after `after`. A bad record is charged to its
    /// sender, as everywhere. Each page must end after `after` and the number of pages is limited,
    /// so that reading ends. Members that the list lacks are found by comparisons.
    pub(super) fn on_page(
        &mut self,
        now: Instant,
        with: Contact,
        after: PublicKey,
        response: Response,
    ) {
        self.anti_entropy.ended();
        let Response::Member(MemberResponse::Records { records, more }) = response else { return };
        let (from, own) = (with.public_key, self.own.key());
        let (mut last, mut honest) = (after, true);
        for record in &records {
            honest =
                self.take_record(now, record, false) || self.rates.charge(now, &from, BAD_RECORD);
            if !honest {
                break;
            }
            let subject = MemberRecord::read(record).map(|read| read.contact.public_key);
            // The partner names itself first, whatever its place in the order of keys.
            let behind = |key: &PublicKey| *key != from && *key != own;
            last = subject.ok().filter(behind).map_or(last, |key| last.max(key));
        }
        // A datagram may have room for no record but the partner's own.
        let leads_on = last > after;
        if !more {
            self.anti_entropy.soon_with(now, with);
        } else if honest
            && (leads_on || self.anti_entropy.pages == 1)
            && self.anti_entropy.pages < PAGES_MAX
        {
            self.page(with, last, true);
        } else {
            self.stats.pages_refused += 1;
            // With another partner.
            self.anti_entropy.soon(now);
        }
    }

    /// Requested records arrived.
    pub(super) fn on_loaded(&mut self, now: Instant, from: &PublicKey, response: Response) {
        if let Response::Member(MemberResponse::Records { records, .. }) = response {
            for record in &records {
                let good = self.take_record(now, record, true);
                if !good && !self.rates.charge(now, from, BAD_RECORD) {
                    break;
                }
            }
        }
    }

    /// The records with these short ids, as many as fit.
    pub(super) fn load(&self, wanted: &[u64], budget: usize) -> Response {
        let mine = short_id(&self.own.key());
        let records = wanted.iter().filter_map(|short| {
            if *short == mine && !self.own.is_client() {
                return Some(&self.own.signed);
            }
            self.table.with_short_id(*short).map(|member| &member.record)
        });
        fit(records, budget)
    }

    /// The records after a key, as many as fit; this node's own comes first of all.
    pub(super) fn page_behind(&self, after: &PublicKey, budget: usize) -> Response {
        let first = *after == PublicKey::from_bytes([0; 32]);
        let mine = self.own.listed().filter(|_| first);
        let others = self.table.behind(after).filter(|member| member.is_here());
        fit(mine.into_iter().chain(others.map(|member| &member.record)), budget)
    }
}

/// Records up to `budget` bytes, at least the first.
fn fit<'a>(records: impl Iterator<Item = &'a Bytes>, budget: usize) -> Response {
    let mut room = budget.saturating_sub(32);
    let (mut fitting, mut more) = (Vec::new(), false);
    for record in records.filter(|record| !record.is_empty()) {
        let needed = record.len() + 3;
        if needed > room || fitting.len() >= potluck_wire::limits::RECORDS_MAX {
            more = true;
            break;
        }
        room -= needed;
        fitting.push(record.clone());
    }
    Response::Member(MemberResponse::Records { records: fitting, more })
}
