//! The record logic: the effect of each storage operation on the rows, written once for all backends.
//!
//! **Invariant:** an operation reads everything that it needs before it changes the first row, so an
//! operation that fails has changed nothing, except that the summary of a key now describes its readable
//! envelopes ([`mend`](crate::mend)).

use bytes::Bytes;
use potluck_base::{Key, PublicKey, UnixMillis};
use potluck_record::limits::{STATE_BYTES_MAX, WRITERS_KEPT_MAX};
use potluck_record::state::{succeeds, supersedes};
use potluck_record::{
    Envelope, EnvelopeId, MergeAs, Merged, Place, Prefix, SignedHead, Space, State, StateDigest,
    StorageFailure, StorageOp, StorageReply,
};

use crate::backend::Backend;
use crate::certificates;
use crate::expiry::expire;
use crate::fingerprints::{entries, fingerprint};
use crate::ledger::Ledger;
use crate::mend::{is_damage, mend, mend_range};
use crate::names;
use crate::own::scan_own;
use crate::quota::{self, Incoming, check_room};
use crate::rows::{self, ExpiryEntry, Summary};
use crate::txn::{Fault, Txn};

/// Most entries of one scan, whatever its limit. Raising it makes replies larger and keeps the disk busy for
/// longer at a time.
const SCAN_ENTRIES_MAX: u32 = 65_536;

/// Executes one operation within a batch.
pub(crate) fn execute<B: Backend>(
    txn: &mut Txn<'_, B>,
    op: &StorageOp,
) -> Result<StorageReply, Fault> {
    match op {
        StorageOp::Merge { envelope, place: Place::Replica, how } => {
            merge_replica(txn, envelope, *how)
        }
        // An own key has one writer, so the limit of writers does not apply.
        StorageOp::Merge { envelope, place: Place::Own, how: _ } => merge_own(txn, envelope),
        StorageOp::TakeBack { key, writer, envelope, previous, place } => {
            take_back(txn, key, writer, envelope, previous.as_deref(), *place)
        }
        StorageOp::Load { key, place } => load(txn, key, *place),
        StorageOp::Scan { from, to, limit } => {
            let scanned = scan(txn, from, to, *limit);
            noticed(txn, from, to, scanned)
        }
        StorageOp::Fingerprint { from, to } => {
            let sum = fingerprint(txn, from, to);
            let reply = sum.map(|it| StorageReply::Fingerprint { keys: it.keys, sum: it.sum });
            noticed(txn, from, to, reply)
        }
        StorageOp::ScanOwn { from, limit } => scan_own(txn, from, *limit),
        StorageOp::Names { query, now } => names::page(txn, query, *now),
        StorageOp::Fingerprints { prefixes } => {
            let sums = |prefix: &Prefix| fingerprint(txn, &prefix.first(), &prefix.last());
            let sums = prefixes.iter().map(sums).collect::<Result<_, _>>();
            noticed_in(txn, prefixes, sums.map(StorageReply::Fingerprints))
        }
        StorageOp::Entries { prefixes, after, limit } => {
            let limit = (*limit).min(SCAN_ENTRIES_MAX) as usize;
            let found = entries(txn, prefixes, after.as_ref(), limit);
            noticed_in(txn, prefixes, found)
        }
        // The store executes it after the commit; it changes no row.
        StorageOp::Index { .. } => Ok(StorageReply::Indexed { more: true }),
        StorageOp::KeepCertificates { keep, drop } => Ok(certificates::keep(txn, keep, drop)),
        StorageOp::ScanCertificates { after, limit } => {
            certificates::scan(txn, after.as_ref(), *limit)
        }
        StorageOp::Drop { key, digest } => drop_copy(txn, key, digest),
        StorageOp::Expire { now, limit } => expire(txn, *now, *limit),
        StorageOp::Remove { key, place } => remove(txn, key, *place),
    }
}

/// Runs a read of a range. If it finds a damaged summary, the read fails, and the summaries are mended for
/// the next read.
fn noticed<B: Backend>(
    txn: &mut Txn<'_, B>,
    from: &Key,
    to: &Key,
    outcome: Result<StorageReply, Fault>,
) -> Result<StorageReply, Fault> {
    if outcome.as_ref().is_err_and(is_damage) {
        mend_range(txn, from, to)?;
    }
    outcome
}

/// The same for several ranges.
fn noticed_in<B: Backend>(
    txn: &mut Txn<'_, B>,
    prefixes: &[Prefix],
    outcome: Result<StorageReply, Fault>,
) -> Result<StorageReply, Fault> {
    if outcome.as_ref().is_err_and(is_damage) {
        for prefix in prefixes {
            mend_range(txn, &prefix.first(), &prefix.last())?;
        }
    }
    outcome
}

/// Drops the replica of a key if its state has this digest.
fn drop_copy<B: Backend>(
    txn: &mut Txn<'_, B>,
    key: &Key,
    digest: &StateDigest,
) -> Result<StorageReply, Fault> {
    match txn.summary(key)? {
        Some(summary) if summary.digest == *digest => remove(txn, key, Place::Replica),
        Some(_) => Ok(StorageReply::Kept),
        None => Ok(StorageReply::Removed),
    }
}

/// The merge rule for the place of one writer in a state.
fn judge(candidate: &SignedHead, held: Option<&SignedHead>) -> Merged {
    match held {
        None => Merged::New,
        Some(held) if held.digest() == candidate.digest() => Merged::Equal,
        Some(held) if supersedes(candidate, held) => Merged::Newer,
        Some(held) => Merged::Older(held.id()),
    }
}

fn merge_replica<B: Backend>(
    txn: &mut Txn<'_, B>,
    envelope: &Envelope,
    how: MergeAs,
) -> Result<StorageReply, Fault> {
    let head = envelope.head();
    let key = head.key();
    // Bytes of the writer's row, even if they are not a valid envelope.
    let mut old = None;
    let (mut before, held) = match holding(txn, head) {
        // The readable envelopes are summarised again, and this one replaces the damaged row.
        Err(fault) if is_damage(&fault) => {
            mend(txn, &key)?;
            txn.corrupt_rows += 1;
            let held = match txn.envelope(Place::Replica, &key, &head.writer()) {
                Err(fault) if is_damage(&fault) => {
                    let row = rows::envelope_row(Place::Replica, &key, &head.writer());
                    old = txn.get(&row)?.map(|value| value.len());
                    None
                }
                held => held?,
            };
            (txn.summary(&key)?, held)
        }
        found => found?,
    };
    let mut outcome = judge(head, held.as_ref().map(|(held, _)| held.head()));
    if let MergeAs::Ingress { writers_max, .. } = how
        && outcome == Merged::New
        && let Some(writers) = before.as_ref().map(|before| before.writers)
        && writers >= writers_max
        && writers_max > 0
        && make_way(txn, head, envelope.encoded_len(), usize::from(writers - writers_max) + 1)?
    {
        before = txn.summary(&key)?;
    }
    let current = before.unwrap_or_else(|| Summary::empty(head));
    if let MergeAs::Ingress { writers_max, now } = how {
        let others = current.writers.saturating_sub(u16::from(held.is_some()));
        // A provider has one value, which its next envelope always supersedes.
        let takes_place = outcome == Merged::New || head.space() != Space::Provider;
        let many = outcome.changed() && takes_place && others >= writers_max;
        let full = outcome == Merged::New && is_full(&current);
        if many && (full || !has_place(txn, head, writers_max, now)?) {
            return Ok(StorageReply::TooManyWriters);
        }
        if let Some((held, _)) = &held {
            outcome = forked(outcome, head, held.head(), now);
        }
    }
    if !outcome.changed() {
        return Ok(StorageReply::Merged { outcome, digest: current.digest });
    }
    let bytes = envelope.encode();
    let mut after = current;
    if let Some((held, held_bytes)) = &held {
        after = after.without(held.head(), *held_bytes);
    }
    let after = after.with(head, bytes.len());

    let old = old.or(held.as_ref().map(|(_, bytes)| *bytes));
    quota::admit(txn, &Incoming { head, how, bytes: bytes.len(), old, before, after })?;

    if let Some((held, _)) = &held {
        txn.unindex(&ExpiryEntry::of(Place::Replica, held.head()));
    }
    if before.is_none() {
        names::add(txn, head);
    }
    txn.change_share(&head.writer(), old, Some(bytes.len()))?;
    txn.set_summary(&key, before.as_ref(), Some(&after));
    write(txn, Place::Replica, head, bytes);
    Ok(StorageReply::Merged { outcome, digest: after.digest })
}

/// Whether a key has the most rows, or the most bytes, that it may have beyond the limit of writers. A writer
/// with a row of the key may still merge it.
const fn is_full(summary: &Summary) -> bool {
    summary.writers >= WRITERS_KEPT_MAX || summary.bytes >= STATE_BYTES_MAX
}

/// The outcome for an envelope that its writer's node stores. A newer envelope that does not continue the
/// stored one shows that two machines write with one key.
fn forked(outcome: Merged, head: &SignedHead, held: &SignedHead, now: UnixMillis) -> Merged {
    if outcome == Merged::Newer && !succeeds(head, held, now) {
        Merged::Forked(held.id())
    } else {
        outcome
    }
}

/// Whether the writer of `head` may become one of the writers of the key.
fn has_place<B: Backend>(
    txn: &mut Txn<'_, B>,
    head: &SignedHead,
    writers_max: u16,
    now: UnixMillis,
) -> Result<bool, Fault> {
    let StorageReply::Loaded { envelopes } = load(txn, &head.key(), Place::Replica)? else {
        return Ok(false);
    };
    let held: State<SignedHead> = envelopes.iter().map(|it| it.head().clone()).collect();
    Ok(held.has_place_for(head, usize::from(writers_max), now))
}

/// Drops the `count` provider records of the key of `head` that expire first, if all of them expire before
/// `head` does. Live providers renew their records, so records of dead providers cannot displace them.
/// Returns whether the records were dropped.
fn make_way<B: Backend>(
    txn: &mut Txn<'_, B>,
    head: &SignedHead,
    bytes: usize,
    count: usize,
) -> Result<bool, Fault> {
    if head.space() != Space::Provider {
        return Ok(false);
    }
    let key = head.key();
    let StorageReply::Loaded { envelopes } = load(txn, &key, Place::Replica)? else {
        return Ok(false);
    };
    let mut held: Vec<&SignedHead> = envelopes.iter().map(Envelope::head).collect();
    held.sort_by_key(|held| (held.expires(), held.writer()));
    held.truncate(count);
    if held.len() < count || held.iter().any(|held| held.expires() >= head.expires()) {
        return Ok(false);
    }
    // No record is dropped if `head` would not fit even then.
    let mut ledger = txn.ledger;
    ledger.add(&Summary::empty(head).with(head, bytes));
    check_room(txn, &ledger)?;
    for held in held {
        take_back(txn, &key, &held.writer(), &held.id(), None, Place::Replica)?;
    }
    Ok(true)
}

/// The stored envelopes of the key of `head`, and the one of its writer.
#[expect(clippy::type_complexity, reason = "two things that are read together, once")]
fn holding<B: Backend>(
    txn: &Txn<'_, B>,
    head: &SignedHead,
) -> Result<(Option<Summary>, Option<(Envelope, usize)>), Fault> {
    let before = txn.summary(&head.key())?;
    let held = match before {
        Some(_) => txn.envelope(Place::Replica, &head.key(), &head.writer())?,
        None => None,
    };
    Ok((before, held))
}

fn merge_own<B: Backend>(txn: &mut Txn<'_, B>, envelope: &Envelope) -> Result<StorageReply, Fault> {
    let head = envelope.head();
    let held = txn.envelope(Place::Own, &head.key(), &head.writer())?;
    let outcome = judge(head, held.as_ref().map(|(held, _)| held.head()));
    if !outcome.changed() {
        let held = held.as_ref().map_or(head, |(held, _)| held.head());
        return Ok(StorageReply::Merged { outcome, digest: StateDigest::EMPTY.with(held) });
    }
    let bytes = envelope.encode();
    let counted = |mut ledger: Ledger| {
        if let Some((_, held_bytes)) = &held {
            ledger.subtract_own(*held_bytes);
        }
        ledger.add_own(bytes.len());
        ledger
    };
    quota::admit_own(txn, &head.key(), &counted)?;
    txn.ledger = counted(txn.ledger);
    if let Some((held, _)) = &held {
        txn.unindex(&ExpiryEntry::of(Place::Own, held.head()));
    }
    write(txn, Place::Own, head, bytes);
    Ok(StorageReply::Merged { outcome, digest: StateDigest::EMPTY.with(head) })
}

fn take_back<B: Backend>(
    txn: &mut Txn<'_, B>,
    key: &Key,
    writer: &PublicKey,
    envelope: &EnvelopeId,
    previous: Option<&Envelope>,
    place: Place,
) -> Result<StorageReply, Fault> {
    let held = txn.envelope(place, key, writer)?;
    let Some((held, held_bytes)) = held.filter(|(held, _)| held.head().id() == *envelope) else {
        return Ok(StorageReply::Removed);
    };
    let previous = previous.map(|previous| (previous.head(), previous.encode()));
    match place {
        Place::Replica => {
            let before = txn.summary(key)?;
            let after = before.map(|summary| {
                let rest = summary.without(held.head(), held_bytes);
                match &previous {
                    Some((head, bytes)) => rest.with(head, bytes.len()),
                    None => rest,
                }
            });
            let after = after.filter(|after| after.writers > 0);
            if after.is_none() {
                names::remove(txn, held.head());
            }
            txn.set_summary(key, before.as_ref(), after.as_ref());
            let new = previous.as_ref().map(|(_, bytes)| bytes.len());
            txn.change_share(writer, Some(held_bytes), new)?;
        }
        Place::Own => {
            txn.ledger.subtract_own(held_bytes);
            if let Some((_, bytes)) = &previous {
                txn.ledger.add_own(bytes.len());
            }
        }
    }
    txn.unindex(&ExpiryEntry::of(place, held.head()));
    match previous {
        Some((head, bytes)) => write(txn, place, head, bytes),
        None => txn.delete(rows::envelope_row(place, key, writer)),
    }
    Ok(StorageReply::Removed)
}

fn write<B: Backend>(txn: &mut Txn<'_, B>, place: Place, head: &SignedHead, bytes: Bytes) {
    txn.index(&ExpiryEntry::of(place, head));
    txn.put(rows::envelope_row(place, &head.key(), &head.writer()), bytes);
}

pub(crate) fn load<B: Backend>(
    txn: &mut Txn<'_, B>,
    key: &Key,
    place: Place,
) -> Result<StorageReply, Fault> {
    // Most requested keys are not stored. Reading the summary shows this with one read.
    let summary = (place == Place::Replica).then(|| txn.summary(key));
    if matches!(summary, Some(Ok(None))) {
        return Ok(StorageReply::Loaded { envelopes: Vec::new() });
    }
    let (mut envelopes, mut damaged) = (Vec::new(), matches!(summary, Some(Err(_))));
    for row in txn.range(rows::envelope_rows(place, key)) {
        let (row, value) = row?;
        match decode(&row, place, key, &value) {
            Some(envelope) => envelopes.push(envelope),
            None => damaged = true,
        }
    }
    // Damage that was found now is an error, because the remaining envelopes must not be taken for the
    // complete state. For later reads they are the state of this node, and other nodes repair it.
    if damaged && (place == Place::Own || mend(txn, key)?) {
        return Err(Fault::Failed(StorageFailure::Corrupt));
    }
    Ok(StorageReply::Loaded { envelopes })
}

fn decode(row: &[u8], place: Place, key: &Key, value: &Bytes) -> Option<Envelope> {
    rows::decode_envelope(row, place, value).filter(|envelope| envelope.head().key() == *key)
}

fn scan<B: Backend>(
    txn: &Txn<'_, B>,
    from: &Key,
    to: &Key,
    limit: u32,
) -> Result<StorageReply, Fault> {
    let limit = limit.min(SCAN_ENTRIES_MAX) as usize;
    let mut entries = Vec::new();
    for entry in summaries(txn, from, to) {
        let (key, summary) = entry?;
        if entries.len() == limit {
            return Ok(StorageReply::Scanned { entries, more: true });
        }
        entries.push((key, summary.digest));
    }
    Ok(StorageReply::Scanned { entries, more: false })
}

/// The summaries of `from..=to`. Empty if `from` is greater than `to`.
pub(crate) fn summaries<'a, B: Backend>(
    txn: &'a Txn<'_, B>,
    from: &Key,
    to: &Key,
) -> impl Iterator<Item = Result<(Key, Summary), Fault>> + 'a {
    let bounds = rows::summary_row(from)..=rows::summary_row(to);
    (from <= to).then(|| txn.range(bounds)).into_iter().flatten().map(|row| {
        let (row, value) = row?;
        let key = rows::summary_key(&row);
        key.zip(Summary::decode(&value)).ok_or(Fault::Failed(StorageFailure::Corrupt))
    })
}

/// Removes all envelopes of a key, including damaged rows.
pub(crate) fn remove<B: Backend>(
    txn: &mut Txn<'_, B>,
    key: &Key,
    place: Place,
) -> Result<StorageReply, Fault> {
    let found: Vec<(Bytes, Bytes)> =
        txn.range(rows::envelope_rows(place, key)).collect::<Result<_, _>>()?;
    if place == Place::Replica {
        match txn.summary(key) {
            Ok(None) => {}
            Ok(summary) => txn.set_summary(key, summary.as_ref(), None),
            Err(Fault::Failed(StorageFailure::Corrupt)) => {
                txn.lost_summary(key);
                txn.set_summary(key, None, None);
            }
            Err(broken) => return Err(broken),
        }
    }
    for (row, value) in found {
        match (place, rows::envelope_writer(&row)) {
            (Place::Own, _) => txn.ledger.subtract_own(value.len()),
            (Place::Replica, Some(writer)) => {
                txn.change_share(&writer, Some(value.len()), None)?;
            }
            (Place::Replica, None) => {}
        }
        match decode(&row, place, key, &value) {
            Some(envelope) => {
                txn.unindex(&ExpiryEntry::of(place, envelope.head()));
                if place == Place::Replica {
                    names::remove(txn, envelope.head());
                }
            }
            // Its entry in the expiry index is unknown. Expiry will find an entry without a row.
            None => txn.corrupt_rows += 1,
        }
        txn.delete(row.to_vec());
    }
    Ok(StorageReply::Removed)
}
