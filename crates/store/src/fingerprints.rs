//! The index of fingerprints: the number of replica keys and the sum of their digests, by ranges of keys.
//! With it the fingerprint of a range needs no pass over the rows of the range. Provider records are left
//! out.
//!
//! The leaves are prefix ranges that cover all keys. A leaf with more than [`SPLIT_AT`] keys is halved, and
//! two halves of a range are joined when they are nearly empty. The size of leaves thus follows the density
//! of the keys that this node holds. Leaves of a fixed depth would be too coarse in a large network, where
//! all keys of a node share their first bits.
//!
//! The index is in memory only, with 28 bytes per leaf (at most 1.8 MiB). After the store is opened it is
//! built in portions of rows ([`StorageOp::Index`](potluck_record::StorageOp::Index)), so opening does not
//! wait for it and nothing is written for it.
//!
//! **Invariant:** the built part changes with every commit. Answers about the other part are right too, but
//! are summed from the rows.

use std::collections::BTreeSet;

use potluck_base::Key;
use potluck_record::{Fingerprint, Prefix, StateDigest, StorageReply};

use crate::backend::Backend;
use crate::mend::is_damage;
use crate::records::summaries;
use crate::rows::Summary;
use crate::txn::{Fault, Txn};

/// Keys of a leaf above which it is halved. Raising it makes the index smaller, and a comparison reads more
/// rows.
const SPLIT_AT: usize = 256;
/// Most leaves. With ten million keys a leaf then holds 153 keys on average. Raising it takes memory, 28
/// bytes per leaf.
const LEAVES_MAX: usize = 65_536;
/// The number of values of the first 64 bits that the smallest leaf covers: prefixes of leaves have at most
/// 60 bits.
const WIDTH_MIN: u64 = 16;
/// Damaged rows that one read of a range skips. Further ones are left out of the sums.
const DAMAGED_MAX: usize = 1000;

/// The effect of a change of one key's summary on the index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyChange {
    bits: u64,
    old: Option<StateDigest>,
    new: Option<StateDigest>,
    /// The old summary could not be read, so the leaf is counted again.
    unknown: bool,
}

impl KeyChange {
    /// The change from the summary `old` to `new`.
    pub(crate) fn of(key: &Key, old: Option<&Summary>, new: Option<&Summary>) -> Self {
        let counted = |summary: Option<&Summary>| {
            summary.filter(|summary| !summary.internal).map(|summary| summary.digest)
        };
        Self { bits: bits_of(key), old: counted(old), new: counted(new), unknown: false }
    }

    /// The change of a summary whose old value could not be read.
    pub(crate) fn unknown(key: &Key) -> Self {
        Self { bits: bits_of(key), old: None, new: None, unknown: true }
    }

    /// `sum` after this change.
    fn after(&self, sum: Fingerprint) -> Fingerprint {
        let mut sum = sum;
        if let Some(old) = self.old {
            sum = Fingerprint { keys: sum.keys.saturating_sub(1), sum: sum.sum.minus(old) };
        }
        if let Some(new) = self.new {
            sum = sum.with(new);
        }
        sum
    }
}

/// The index. See the module.
#[derive(Debug, Clone)]
pub(crate) struct FingerprintIndex {
    /// The first 64 bits of each leaf's first key, ascending. A leaf ends where the next one begins.
    starts: Vec<u64>,
    sums: Vec<StateDigest>,
    counts: Vec<u32>,
    /// Keys from these first 64 bits on are not in the index yet. `None`: all are.
    built_to: Option<u64>,
    split_at: usize,
    leaves_max: usize,
}

/// The sum of the leaves that lie completely in a range.
struct Whole {
    first: u64,
    last: u64,
    sum: Fingerprint,
}

impl Default for FingerprintIndex {
    fn default() -> Self {
        Self::with(SPLIT_AT, LEAVES_MAX)
    }
}

impl FingerprintIndex {
    fn with(split_at: usize, leaves_max: usize) -> Self {
        Self {
            starts: vec![0],
            sums: vec![StateDigest::EMPTY],
            counts: vec![0],
            built_to: Some(0),
            split_at,
            leaves_max,
        }
    }

    /// The leaf that contains these first bits.
    fn leaf(&self, bits: u64) -> usize {
        self.starts.partition_point(|start| *start <= bits).saturating_sub(1)
    }

    fn end(&self, leaf: usize) -> u64 {
        self.starts.get(leaf + 1).map_or(u64::MAX, |next| next - 1)
    }

    fn is_built(&self, bits: u64) -> bool {
        self.built_to.is_none_or(|to| bits < to)
    }

    fn halves(&self, leaf: usize) -> Option<u64> {
        let (start, end) = (self.starts[leaf], self.end(leaf));
        let roomy = self.starts.len() < self.leaves_max && end - start >= WIDTH_MIN;
        roomy.then(|| start + (end - start) / 2 + 1)
    }

    /// Halves a leaf. `lower` is the fingerprint of its first half.
    fn split(&mut self, leaf: usize, middle: u64, lower: Fingerprint) {
        let count = u32::try_from(lower.keys).unwrap_or(u32::MAX);
        let rest = (self.sums[leaf].minus(lower.sum), self.counts[leaf].saturating_sub(count));
        (self.sums[leaf], self.counts[leaf]) = (lower.sum, count);
        self.starts.insert(leaf + 1, middle);
        self.sums.insert(leaf + 1, rest.0);
        self.counts.insert(leaf + 1, rest.1);
    }

    fn set(&mut self, leaf: usize, sum: Fingerprint) {
        self.sums[leaf] = sum.sum;
        self.counts[leaf] = u32::try_from(sum.keys).unwrap_or(u32::MAX);
    }

    fn of_leaf(&self, leaf: usize) -> Fingerprint {
        Fingerprint { keys: u64::from(self.counts[leaf]), sum: self.sums[leaf] }
    }

    /// The built leaves that lie completely in `from..=to`.
    fn whole(&self, from: &Key, to: &Key) -> Option<Whole> {
        let (from_bits, to_bits) = (bits_of(from), bits_of(to));
        let at_start = *from == first_key(from_bits);
        let first = self
            .starts
            .partition_point(|start| *start < from_bits || (*start == from_bits && !at_start));
        let at_end = *to == last_key(to_bits);
        let fits = |leaf: usize| {
            let end = self.end(leaf);
            (end < to_bits || (end == to_bits && at_end)) && self.is_built(end)
        };
        // The ends are in ascending order, like the starts.
        let count = self.starts.len();
        let (mut low, mut high) = (first, count);
        while low < high {
            let middle = usize::midpoint(low, high);
            if fits(middle) { low = middle + 1 } else { high = middle }
        }
        let last = low.checked_sub(1).filter(|last| *last >= first && first < count)?;
        let mut sum = Fingerprint::default();
        for leaf in first..=last {
            sum = sum.and(self.of_leaf(leaf));
        }
        Some(Whole { first: self.starts[first], last: self.end(last), sum })
    }

    /// Applies the changes of a batch that was committed. `rows` reads the committed rows.
    pub(crate) fn commit<B: Backend>(&mut self, changes: &[KeyChange], rows: &Txn<'_, B>) {
        let (mut touched, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        for change in changes {
            if !self.is_built(change.bits) {
                continue;
            }
            let leaf = self.leaf(change.bits);
            touched.insert(self.starts[leaf]);
            if change.unknown {
                unknown.insert(self.starts[leaf]);
            }
            let sum = change.after(self.of_leaf(leaf));
            self.set(leaf, sum);
        }
        if self.tend(&touched, &unknown, rows).is_err() {
            // The rows cannot be read at all. Later sums are read from the rows and report the error.
            self.reset();
        }
    }

    fn reset(&mut self) {
        *self = Self::with(self.split_at, self.leaves_max);
    }

    /// Counts leaves with unknown changes again, and splits or joins the leaves that changed.
    fn tend<B: Backend>(
        &mut self,
        touched: &BTreeSet<u64>,
        unknown: &BTreeSet<u64>,
        rows: &Txn<'_, B>,
    ) -> Result<(), Fault> {
        for start in unknown {
            let leaf = self.leaf(*start);
            // A leaf that is built in part is counted up to the built position.
            let end = self.end(leaf).min(self.built_to.map_or(u64::MAX, |to| to.saturating_sub(1)));
            let sum = add_up(&digests(rows, *start, end, usize::MAX)?);
            self.set(leaf, sum);
        }
        for start in touched {
            let mut waiting = vec![*start];
            while let Some(start) = waiting.pop() {
                let leaf = self.leaf(start);
                let full = self.counts[leaf] as usize > self.split_at;
                let Some(middle) = self.halves(leaf).filter(|_| full) else { continue };
                if !self.is_built(self.end(leaf)) {
                    continue;
                }
                let lower = add_up(&digests(rows, self.starts[leaf], middle - 1, usize::MAX)?);
                self.split(leaf, middle, lower);
                waiting.extend([middle, start]);
            }
            self.join(*start);
        }
        Ok(())
    }

    /// Joins the leaf of these bits with the other half of its range, as long as both are nearly empty.
    fn join(&mut self, bits: u64) {
        loop {
            let leaf = self.leaf(bits);
            let (start, end) = (self.starts[leaf], self.end(leaf));
            let Some(width) = (end - start).checked_add(1) else { return };
            let lower = if start & width == 0 { leaf } else { leaf - 1 };
            let upper = lower + 1;
            let halves = upper < self.starts.len()
                && self.starts[lower] == start & !width
                && self.end(lower) - self.starts[lower] == width - 1
                && self.end(upper) - self.starts[upper] == width - 1;
            let empty = halves
                && (self.counts[lower] as usize + self.counts[upper] as usize) * 4 <= self.split_at
                && self.is_built(self.end(upper));
            if !empty {
                return;
            }
            let sum = self.of_leaf(lower).and(self.of_leaf(upper));
            self.set(lower, sum);
            self.starts.remove(upper);
            self.sums.remove(upper);
            self.counts.remove(upper);
        }
    }

    /// Adds the next keys of `rows` to the index.
    pub(crate) fn build<B: Backend>(&mut self, rows: &Txn<'_, B>, limit: u32) -> StorageReply {
        let Some(from) = self.built_to else { return StorageReply::Indexed { more: false } };
        let portion = (limit as usize).max(2 * self.split_at + 1);
        match digests(rows, from, u64::MAX, portion) {
            Ok(entries) if entries.len() < portion => {
                self.place(&entries, true);
                self.built_to = None;
            }
            Ok(entries) => self.built_to = Some(self.place(&entries, false)),
            Err(Fault::Failed(failure)) => return StorageReply::Failed(failure),
            Err(Fault::Broken(_)) => {
                return StorageReply::Failed(potluck_record::StorageFailure::Stopped);
            }
        }
        StorageReply::Indexed { more: self.built_to.is_some() }
    }

    /// Adds entries, which follow those in the index, to leaves. If more entries follow, the last leaf is
    /// left empty, so that the next portion begins at the start of a leaf. Returns the position of the next
    /// portion.
    fn place(&mut self, entries: &[(u64, StateDigest)], all: bool) -> u64 {
        let mut rest = entries;
        while let Some((bits, _)) = rest.first() {
            let leaf = self.leaf(*bits);
            let end = self.end(leaf);
            let count = rest.partition_point(|(bits, _)| *bits <= end);
            let (here, others) = rest.split_at(count);
            if let Some(middle) = self.halves(leaf).filter(|_| here.len() > self.split_at)
                && self.counts[leaf] == 0
            {
                self.split(leaf, middle, Fingerprint::default());
                continue;
            }
            let last = others.is_empty() && !all;
            let behind = here.last().map_or(end, |(bits, _)| *bits);
            let begun = self.built_to.is_some_and(|to| self.starts[leaf] < to);
            if last && here.len() <= self.split_at && !begun {
                return self.starts[leaf];
            }
            // A leaf with more keys than a portion is counted up to its last key of this portion, without
            // that key.
            let kept = if last { here.partition_point(|(bits, _)| *bits < behind) } else { count };
            let sum = self.of_leaf(leaf).and(add_up(&here[..kept]));
            self.set(leaf, sum);
            if last {
                return behind;
            }
            rest = others;
        }
        self.built_to.unwrap_or(u64::MAX)
    }
}

/// The fingerprint of `from..=to`, with the changes of this batch.
pub(crate) fn fingerprint<B: Backend>(
    txn: &Txn<'_, B>,
    from: &Key,
    to: &Key,
) -> Result<Fingerprint, Fault> {
    if from > to {
        return Ok(Fingerprint::default());
    }
    let readable = !txn.key_changes.iter().any(|change| change.unknown);
    let Some(whole) = txn.index.whole(from, to).filter(|_| readable) else {
        return scanned(txn, from, to);
    };
    let mut sum = whole.sum;
    for change in &txn.key_changes {
        if (whole.first..=whole.last).contains(&change.bits) {
            sum = change.after(sum);
        }
    }
    if *from < first_key(whole.first) {
        sum = sum.and(scanned(txn, from, &last_key(whole.first.saturating_sub(1)))?);
    }
    if *to > last_key(whole.last) {
        sum = sum.and(scanned(txn, &first_key(whole.last.saturating_add(1)), to)?);
    }
    Ok(sum)
}

/// The fingerprint of `from..=to`, computed from the rows.
fn scanned<B: Backend>(txn: &Txn<'_, B>, from: &Key, to: &Key) -> Result<Fingerprint, Fault> {
    let mut sum = Fingerprint::default();
    for entry in summaries(txn, from, to) {
        let (_, summary) = entry?;
        if !summary.internal {
            sum = sum.with(summary.digest);
        }
    }
    Ok(sum)
}

/// Keys and digests in these ranges after the key `after`, at most `limit`.
pub(crate) fn entries<B: Backend>(
    txn: &Txn<'_, B>,
    prefixes: &[Prefix],
    after: Option<&Key>,
    limit: usize,
) -> Result<StorageReply, Fault> {
    let mut entries = Vec::new();
    for prefix in prefixes {
        let (first, last) = (prefix.first(), prefix.last());
        if after.is_some_and(|after| *after >= last) {
            continue;
        }
        let from = after.copied().filter(|after| *after > first).unwrap_or(first);
        for entry in summaries(txn, &from, &last) {
            let (key, summary) = entry?;
            if summary.internal || Some(&key) == after {
                continue;
            }
            if entries.len() == limit {
                return Ok(StorageReply::Scanned { entries, more: true });
            }
            entries.push((key, summary.digest));
        }
    }
    Ok(StorageReply::Scanned { entries, more: false })
}

/// First bits and digests of the keys between two first bits, at most `limit`. Damaged rows are skipped;
/// other nodes find their records missing and repair them.
fn digests<B: Backend>(
    rows: &Txn<'_, B>,
    from: u64,
    to: u64,
    limit: usize,
) -> Result<Vec<(u64, StateDigest)>, Fault> {
    let (mut found, mut damaged) = (Vec::new(), 0);
    for entry in summaries(rows, &first_key(from), &last_key(to)) {
        match entry {
            Ok((_, summary)) if summary.internal => {}
            Ok((key, summary)) => {
                found.push((bits_of(&key), summary.digest));
                if found.len() == limit {
                    break;
                }
            }
            Err(fault) if is_damage(&fault) && damaged < DAMAGED_MAX => damaged += 1,
            Err(fault) => return Err(fault),
        }
    }
    Ok(found)
}

fn add_up(entries: &[(u64, StateDigest)]) -> Fingerprint {
    entries.iter().fold(Fingerprint::default(), |sum, (_, digest)| sum.with(*digest))
}

fn bits_of(key: &Key) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&key.as_bytes()[..8]);
    u64::from_be_bytes(first)
}

fn first_key(bits: u64) -> Key {
    filled(bits, 0)
}

fn last_key(bits: u64) -> Key {
    filled(bits, 0xff)
}

fn filled(bits: u64, fill: u8) -> Key {
    let mut bytes = [fill; 32];
    bytes[..8].copy_from_slice(&bits.to_be_bytes());
    Key::from_bytes(bytes)
}

#[cfg(test)]
mod tests;
