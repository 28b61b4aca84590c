//! Answering another node's comparison. Nothing is kept between two questions of one.

use std::collections::BTreeSet;

use potluck_base::Key;
use potluck_record::{Fingerprint, Prefix, StateDigest, StorageOp, StorageReply};
use potluck_wire::difference::{LongHash, ShortHash};
use potluck_wire::limits::{IDS_MAX, OFFER_ENTRIES_MAX};
use potluck_wire::{
    Compare, Compared, Level, OfferEntry, RangePart, Refusal, RegionHash, Response,
};

use crate::core::{Core, OpPurpose};
use crate::event::ServeId;

/// Keys of a range up to which their ids are told instead of the hashes of its children. Sixteen hashes
/// take as much as sixteen ids; the ids save a question.
pub(super) const LIST_MAX: u64 = 32;
/// Keys of the bucket that is hashed one by one. More are left out.
pub(super) const BUCKET_KEYS_MAX: u32 = 1024;
/// Keys read for one answer. It bounds memory and the time that the disk takes.
const KEYS_READ_MAX: u32 = 16_384;
/// Encoded bytes of one entry of an answer.
const ENTRY_BYTES: usize = 54;
/// Bytes kept for the framing of an answer.
const FRAME_BYTES: usize = 64;

/// An answer under way.
#[derive(Debug, Clone)]
pub(crate) struct Answering {
    asked: Compare,
    room: usize,
    /// Of the region: its sum, and the hash of its bucket.
    sum: Option<Fingerprint>,
    bucket: Option<LongHash>,
    /// Of the children of each range: their sums.
    sums: Vec<Fingerprint>,
}

impl Answering {
    /// Begins an answer of at most `budget` bytes.
    pub(crate) fn start(core: &mut Core, id: ServeId, asked: Compare, budget: usize) -> Self {
        match asked.level {
            Level::Region => {
                let prefixes = asked.prefixes.clone();
                core.storage(StorageOp::Fingerprints { prefixes }, OpPurpose::Serve(id, 0));
                let bucket = asked.bucket.into_iter().collect();
                list(core, id, 1, bucket, BUCKET_KEYS_MAX);
            }
            Level::Children => {
                let prefixes = asked.prefixes.iter().flat_map(|range| range.children()).collect();
                core.storage(StorageOp::Fingerprints { prefixes }, OpPurpose::Serve(id, 0));
            }
            Level::Ids | Level::Keys => {
                list(core, id, 1, asked.prefixes.clone(), KEYS_READ_MAX);
            }
        }
        let room = budget.saturating_sub(FRAME_BYTES);
        Self { asked, room, sum: None, bucket: None, sums: Vec::new() }
    }

    /// Takes the result of operation `index`; the answer, once it is complete.
    pub(crate) fn on_stored(
        &mut self,
        core: &mut Core,
        id: ServeId,
        index: usize,
        reply: StorageReply,
    ) -> Option<Response> {
        match (index, reply) {
            (0, StorageReply::Fingerprints(sums)) if self.asked.level == Level::Region => {
                self.sum = Some(sums.into_iter().fold(Fingerprint::default(), Fingerprint::and));
                self.region(core)
            }
            (0, StorageReply::Fingerprints(sums)) => {
                self.sums = sums;
                let few = self.few();
                let limit = (few.len() as u64 * LIST_MAX) as u32;
                list(core, id, 1, few, limit);
                None
            }
            (_, StorageReply::Scanned { entries, more }) => match self.asked.level {
                Level::Region => {
                    self.bucket = Some(self.asked.session.bucket(&entries));
                    self.region(core)
                }
                Level::Children | Level::Ids => Some(self.parts(&entries, more)),
                Level::Keys => Some(self.keys(&entries, more)),
            },
            (_, _) => Some(Response::refused(Refusal::Stopped)),
        }
    }

    fn region(&self, core: &mut Core) -> Option<Response> {
        let (sum, bucket) = (self.sum?, self.bucket?);
        let (run, changes) = core.local.feed.place(core.last_wall());
        let region = RegionHash { region: self.asked.session.long(&sum), bucket, run, changes };
        Some(Response::Fingerprints(Compared { region: Some(region), ..Compared::default() }))
    }

    /// The ranges whose keys are listed.
    fn few(&self) -> Vec<Prefix> {
        let mut rest = self.sums.as_slice();
        let mut few = Vec::new();
        for range in &self.asked.prefixes {
            let (of_range, others) = rest.split_at(range.children().count().min(rest.len()));
            rest = others;
            let keys: u64 = of_range.iter().map(|sum| sum.keys).sum();
            if of_range.is_empty() || keys <= LIST_MAX {
                few.push(*range);
            }
        }
        few
    }

    /// Hashes of children and ids of keys for the first ranges, as many as there is room for.
    fn parts(&self, entries: &[(Key, StateDigest)], more: bool) -> Response {
        let (few, mut sums, mut entries) = (self.few(), self.sums.as_slice(), entries);
        let mut compared = Compared::default();
        let mut room = self.room;
        for range in &self.asked.prefixes {
            let count =
                if self.asked.level == Level::Children { range.children().count() } else { 0 };
            let (of_range, others) = sums.split_at(count.min(sums.len()));
            sums = others;
            let part = if let Ok(children) = <[Fingerprint; 16]>::try_from(of_range)
                && few.binary_search(range).is_err()
            {
                RangePart::Children(children.map(|sum| self.asked.session.short(&sum)))
            } else {
                let last = range.last();
                let here = entries.partition_point(|(key, _)| *key <= last);
                // A list that was cut is told only if it is the first: then the cut is far behind.
                if more && here == entries.len() && !compared.parts.is_empty() {
                    break;
                }
                let (listed, behind) = entries.split_at(here);
                entries = behind;
                let hash =
                    |(key, digest): &(Key, StateDigest)| self.asked.session.entry(key, digest);
                RangePart::Ids(listed.iter().take(IDS_MAX).map(hash).collect())
            };
            let bytes = match &part {
                RangePart::Children(hashes) => size_of_val(hashes) + 5,
                RangePart::Ids(ids) => size_of_val(ids.as_slice()) + 7,
            };
            if bytes > room {
                break;
            }
            room -= bytes;
            compared.parts.push(part);
        }
        Response::Fingerprints(compared)
    }

    fn keys(&self, entries: &[(Key, StateDigest)], more: bool) -> Response {
        let wanted: BTreeSet<&ShortHash> = self.asked.ids.iter().collect();
        let most = (self.room / ENTRY_BYTES).min(OFFER_ENTRIES_MAX);
        let mut compared = Compared { more, ..Compared::default() };
        for (key, digest) in entries {
            if !wanted.is_empty() && !wanted.contains(&self.asked.session.entry(key, digest)) {
                continue;
            }
            if compared.entries.len() == most {
                compared.more = true;
                break;
            }
            compared.entries.push(OfferEntry { key: *key, digest: *digest });
        }
        Response::Fingerprints(compared)
    }
}

fn list(core: &mut Core, id: ServeId, index: usize, prefixes: Vec<Prefix>, limit: u32) {
    let op = StorageOp::Entries { prefixes, after: None, limit };
    core.storage(op, OpPurpose::Serve(id, index));
}
