//! Quotas of the store: the usage of each writer, its limits, and the choice of records that are displaced
//! when the store is full.
//!
//! The usage of a writer is a row that changes in the batch of the writer's envelopes, so it is right after
//! any crash and takes no memory. The limits of a writer and of a key apply only when the writer's node
//! stores an envelope. Repair ignores them, because replicas would never agree otherwise.
//!
//! When the store is full, a closer record displaces a farther one, and a record of a member below its fair
//! share displaces records of members above theirs. The fair share is the used bytes divided by the number of
//! writers. A record of a member above its share displaces only records of other members above theirs;
//! otherwise such a member could push out others with records that are close to this node. Only the farthest
//! keys are considered, so that writes into a full store stay fast.

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{Key, LruMap, PublicKey};
use potluck_record::{MergeAs, Place, SignedHead, StorageFailure};

use crate::backend::{Backend, Room};
use crate::config::Quotas;
use crate::ledger::Ledger;
use crate::records::{remove, summaries};
use crate::rows::{self, Summary};
use crate::txn::{Fault, Txn};

/// Keys that are considered for one record that needs room, the farthest first. Raising it finds more records
/// of members above their share, and makes writes into a full store slower.
const CANDIDATES: usize = 32;
/// The same limit for a record that this node wrote. Such writes are rarer, and may displace near records
/// too.
const OWN_CANDIDATES: usize = 256;
/// Writers of a key that are considered. A key with more writers is not displaced for being above its share.
const WRITERS_LOOKED_AT: usize = 32;

/// The limits of the store, and its position among the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most bytes of rows.
    pub(crate) disk_bytes: u64,
    /// Most envelopes held as replica.
    pub(crate) records: u64,
    /// Most envelopes of one writer held as replica.
    pub(crate) member_records: u64,
    /// Most bytes of one writer's envelopes held as replica.
    pub(crate) member_bytes: u64,
    /// Most bytes of the envelopes of one key.
    pub(crate) key_bytes: u64,
    /// The position of this node. Without it no record is displaced.
    pub(crate) center: Option<Key>,
}

impl Limits {
    /// No limits except the size of the disk.
    pub(crate) const NONE: Self = Self {
        disk_bytes: u64::MAX,
        records: u64::MAX,
        member_records: u64::MAX,
        member_bytes: u64::MAX,
        key_bytes: u64::MAX,
        center: None,
    };

    pub(crate) fn set(&mut self, quotas: &Quotas) {
        self.records = quotas.records.unwrap_or(u64::MAX);
        self.member_records = quotas.member_records.unwrap_or(u64::MAX);
        self.member_bytes = quotas.member_bytes.unwrap_or(u64::MAX);
        self.key_bytes = quotas.key_bytes.unwrap_or(u64::MAX);
    }

    /// Whether the store has a limit of its own.
    pub(crate) const fn is_bounded(&self) -> bool {
        self.disk_bytes != u64::MAX || self.records != u64::MAX
    }
}

/// The usage of some writers, which spares a read for each envelope.
pub(crate) type KnownShares = LruMap<PublicKey, Share>;

/// Writers in this cache: those whose envelopes changed last. Raising it takes about 100 bytes of memory per
/// writer.
pub(crate) const KNOWN_MAX: usize = 4096;

/// The usage of one writer as replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Share {
    pub(crate) fn encode(self) -> Bytes {
        [self.records.to_be_bytes(), self.bytes.to_be_bytes()].concat().into()
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let (records, rest) = value.split_first_chunk::<8>()?;
        let bytes = rest.try_into().ok()?;
        Some(Self { records: u64::from_be_bytes(*records), bytes: u64::from_be_bytes(bytes) })
    }

    /// The sum of two.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            records: self.records.saturating_add(other.records),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// This usage after an envelope of `old` bytes was replaced by one of `new` bytes.
    pub(crate) fn changed(mut self, old: Option<usize>, new: Option<usize>) -> Self {
        let records = |bytes: Option<usize>| u64::from(bytes.is_some());
        let bytes = |bytes: Option<usize>| bytes.unwrap_or_default() as u64;
        self.records = self.records.saturating_add(records(new)).saturating_sub(records(old));
        self.bytes = self.bytes.saturating_add(bytes(new)).saturating_sub(bytes(old));
        self
    }
}

/// Most writers that a tally counts at once.
const TALLY_MAX: usize = 10_000;

/// Counts of envelopes by writer during a pass over all envelopes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    shares: BTreeMap<PublicKey, Share>,
}

impl Tally {
    pub(crate) fn add(&mut self, writer: PublicKey, bytes: usize) {
        let share = self.shares.entry(writer).or_default();
        *share = share.changed(None, Some(bytes));
    }

    /// Whether the counts must be written before more are added.
    pub(crate) fn is_full(&self) -> bool {
        self.shares.len() >= TALLY_MAX
    }

    /// Takes the counts so far, which the caller adds to the written ones.
    pub(crate) fn take(&mut self) -> BTreeMap<PublicKey, Share> {
        std::mem::take(&mut self.shares)
    }
}

/// An envelope that is about to be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) head: &'a SignedHead,
    pub(crate) how: MergeAs,
    /// Its bytes.
    pub(crate) bytes: usize,
    /// Bytes of the same writer's envelope that it replaces.
    pub(crate) old: Option<usize>,
    /// The summary of the key before and after the change.
    pub(crate) before: Option<Summary>,
    pub(crate) after: Summary,
}

impl Incoming<'_> {
    /// The counters of `ledger` after the envelope was stored.
    fn counted(&self, mut ledger: Ledger) -> Ledger {
        if let Some(before) = &self.before {
            ledger.subtract(before);
        }
        ledger.add(&self.after);
        ledger
    }

    fn grows(&self) -> bool {
        self.bytes > self.old.unwrap_or_default()
    }
}

/// Checks the limits for an envelope. If the store is full, displaces records for it.
pub(crate) fn admit<B: Backend>(
    txn: &mut Txn<'_, B>,
    incoming: &Incoming<'_>,
) -> Result<(), Fault> {
    let quota = Err(Fault::Failed(StorageFailure::Quota));
    let writer = incoming.head.writer();
    if matches!(incoming.how, MergeAs::Ingress { .. }) && incoming.grows() {
        let share = txn.share(&writer)?.changed(incoming.old, Some(incoming.bytes));
        let limits = &txn.limits;
        let more_records = incoming.old.is_none() && share.records > limits.member_records;
        if more_records
            || share.bytes > limits.member_bytes
            || incoming.after.bytes > limits.key_bytes
        {
            return quota;
        }
    }
    let after = incoming.counted(txn.ledger);
    match check_room(txn, &after) {
        Err(Fault::Failed(StorageFailure::Full)) if txn.room == Room::Plenty => {}
        checked => return checked,
    }
    let below = is_below(txn, &writer)?;
    let claim = if below { Claim::Below } else { Claim::Over };
    if displace(txn, &incoming.head.key(), claim, &|ledger| incoming.counted(ledger))? {
        return Ok(());
    }
    // The store is full because of members above their share, not because of its size.
    if below { Err(Fault::Failed(StorageFailure::Full)) } else { quota }
}

/// Checks the limits for an envelope that this node wrote. If the store is full, displaces replicas of
/// members above their share. Otherwise a member that fills every store would keep all nodes from writing.
pub(crate) fn admit_own<B: Backend>(
    txn: &mut Txn<'_, B>,
    key: &Key,
    counted: &dyn Fn(Ledger) -> Ledger,
) -> Result<(), Fault> {
    match check_room(txn, &counted(txn.ledger)) {
        Err(Fault::Failed(StorageFailure::Full)) if txn.room == Room::Plenty => {}
        checked => return checked,
    }
    if displace(txn, key, Claim::Own, counted)? {
        Ok(())
    } else {
        Err(Fault::Failed(StorageFailure::Full))
    }
}

/// Which records an envelope that needs room may displace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// The writer is not above its share: it may displace records that are farther, and records whose writers
    /// are all above their share.
    Below,
    /// The writer is above its share: it may displace records that are farther and whose writers are all
    /// above their share.
    Over,
    /// This node is the writer: it may displace records whose writers are all above their share.
    Own,
}

/// Checks that the rows may grow to the size in `after`. A change that shrinks them is allowed unless the
/// disk is full, because a tombstone is smaller than the value that it replaces, and users delete records to
/// make room.
pub(crate) fn check_room<B: Backend>(txn: &Txn<'_, B>, after: &Ledger) -> Result<(), Fault> {
    let grows = after.row_bytes() > txn.ledger.row_bytes();
    let fits = match txn.room {
        Room::Plenty => !grows || is_within(txn, after),
        Room::Scarce => !grows,
        Room::None => false,
    };
    if fits { Ok(()) } else { Err(Fault::Failed(StorageFailure::Full)) }
}

fn is_within<B: Backend>(txn: &Txn<'_, B>, after: &Ledger) -> bool {
    let more = after.envelopes > txn.ledger.envelopes;
    after.row_bytes() <= txn.limits.disk_bytes && (!more || after.envelopes <= txn.limits.records)
}

/// Whether the usage of a writer is at most its fair share.
fn is_below<B: Backend>(txn: &Txn<'_, B>, writer: &PublicKey) -> Result<bool, Fault> {
    let share = txn.share(writer)?;
    let of_all = share.bytes.saturating_mul(txn.ledger.writers.max(1));
    Ok(of_all <= txn.ledger.record_bytes)
}

/// Displaces the farthest records until an envelope of `key` fits. If it would not fit, displaces none.
fn displace<B: Backend>(
    txn: &mut Txn<'_, B>,
    key: &Key,
    claim: Claim,
    counted: &dyn Fn(Ledger) -> Ledger,
) -> Result<bool, Fault> {
    let Some(center) = txn.limits.center else { return Ok(false) };
    let mut ledger = txn.ledger;
    let mut victims = Vec::new();
    let most = if claim == Claim::Own { OWN_CANDIDATES } else { CANDIDATES };
    for (candidate, summary) in farthest(txn, &center, most)? {
        if is_within(txn, &counted(ledger)) {
            break;
        }
        if candidate == *key {
            continue;
        }
        let farther = center.distance(&candidate) > center.distance(key);
        let gives_way = match claim {
            Claim::Below => farther || has_only_over(txn, &candidate)?,
            Claim::Over => farther && has_only_over(txn, &candidate)?,
            Claim::Own => has_only_over(txn, &candidate)?,
        };
        if gives_way {
            ledger.subtract(&summary);
            victims.push(candidate);
        }
    }
    if victims.is_empty() || !is_within(txn, &counted(ledger)) {
        return Ok(false);
    }
    for victim in victims {
        remove(txn, &victim, Place::Replica)?;
        txn.displaced += 1;
    }
    Ok(true)
}

/// Whether all writers of a key are above their share.
fn has_only_over<B: Backend>(txn: &Txn<'_, B>, key: &Key) -> Result<bool, Fault> {
    for (number, row) in txn.range(rows::envelope_rows(Place::Replica, key)).enumerate() {
        let (row, _) = row?;
        let Some(writer) = rows::envelope_writer(&row) else { return Ok(false) };
        if number == WRITERS_LOOKED_AT || is_below(txn, &writer)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The keys farthest from `center`, the farthest first.
fn farthest<B: Backend>(
    txn: &Txn<'_, B>,
    center: &Key,
    most: usize,
) -> Result<Vec<(Key, Summary)>, Fault> {
    // The farthest keys from a point are the closest to the opposite point.
    let opposite = Key::from_bytes(center.as_bytes().map(|byte| !byte));
    let mut found = Vec::new();
    descend(txn, &Subtree { of: opposite, bits: 0 }, most, &mut found)?;
    found.truncate(most);
    Ok(found)
}

/// A subtree of keys that share their first bits with a key, possibly with the last of these bits inverted.
#[derive(Debug, Clone, Copy)]
struct Subtree {
    of: Key,
    bits: usize,
}

impl Subtree {
    fn bounds(&self) -> (Key, Key) {
        let bound = |fill: u8| {
            let mut bytes = *self.of.as_bytes();
            for (index, byte) in bytes.iter_mut().enumerate() {
                let kept = self.bits.saturating_sub(8 * index).min(8) as u32;
                let mask = 0xff_u8.checked_shr(kept).unwrap_or(0);
                *byte = (*byte & !mask) | (fill & mask);
            }
            Key::from_bytes(bytes)
        };
        (bound(0), bound(0xff))
    }

    /// The half that is closer to the key, and the other half.
    fn halves(&self) -> [Self; 2] {
        let mut turned = *self.of.as_bytes();
        if let Some(byte) = turned.get_mut(self.bits / 8) {
            *byte ^= 0x80 >> (self.bits % 8);
        }
        let bits = self.bits + 1;
        [Self { of: self.of, bits }, Self { of: Key::from_bytes(turned), bits }]
    }
}

/// Adds keys of a subtree in the order of their distance, until there are `most`.
fn descend<B: Backend>(
    txn: &Txn<'_, B>,
    tree: &Subtree,
    most: usize,
    found: &mut Vec<(Key, Summary)>,
) -> Result<(), Fault> {
    let (from, to) = tree.bounds();
    let mut page = summaries(txn, &from, &to).take(most + 1).collect::<Result<Vec<_>, Fault>>()?;
    if page.len() > most && tree.bits < 8 * from.as_bytes().len() {
        for half in tree.halves() {
            if found.len() < most {
                descend(txn, &half, most, found)?;
            }
        }
        return Ok(());
    }
    // In an inverted half, the lower bits of `of` are still those of the opposite point.
    page.sort_by_key(|(key, _)| tree.of.distance(key));
    found.append(&mut page);
    Ok(())
}

#[cfg(test)]
mod tests;
