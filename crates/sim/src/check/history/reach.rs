//! The graph behind the rules of records: which write of one key may have superseded which.
//!
//! An edge leads from a write to a later one that had read it for certain, or may have. A write is explained
//! by a reading if a path leads from it to a value in that reading, or to a deletion. Cycles (two writes that
//! may each have read the other) are harmless, because only the end of the path counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::operation::{Answer, Basis, Operation, Reading, Version, Write};

/// A write of the key, and its relations.
pub(super) struct Known<'a> {
    pub(super) operation: &'a Operation,
    pub(super) write: &'a Write,
    /// The version in the acknowledgement or in a reading.
    pub(super) version: Option<Version>,
    /// Writes that it may have superseded.
    may: Vec<usize>,
    /// Writes that it has superseded if it took effect.
    pub(super) certain: BTreeSet<usize>,
}

impl Known<'_> {
    pub(super) const fn is_acknowledged(&self) -> bool {
        matches!(self.operation.answer, Answer::Acknowledged(_))
    }
}

/// All writes of one key.
pub(super) struct Reach<'a> {
    writes: Vec<Known<'a>>,
    by_value: BTreeMap<&'a str, usize>,
}

impl<'a> Reach<'a> {
    /// Builds the graph of `operations`, which all belong to one key, with their numbers in the history.
    pub(super) fn new(operations: &BTreeMap<usize, &'a Operation>) -> Self {
        let mut reach = Self { writes: Vec::new(), by_value: BTreeMap::new() };
        for operation in operations.values() {
            let Some(write) = operation.write() else { continue };
            let version = match operation.answer {
                Answer::Acknowledged(version) => version,
                _ => None,
            };
            if let Some(value) = &write.value {
                reach.by_value.insert(value, reach.writes.len());
            }
            let (may, certain) = (Vec::new(), BTreeSet::new());
            reach.writes.push(Known { operation, write, version, may, certain });
        }
        for value in operations.values().filter_map(|it| it.reading()).flat_map(|it| &it.values) {
            if let Some(known) = reach.number(&value.text).map(|number| &mut reach.writes[number]) {
                known.version = known.version.or(value.version);
            }
        }
        for number in 0..reach.writes.len() {
            reach.writes[number].may = reach.may_supersede(number, operations);
        }
        reach.close(operations);
        reach
    }

    pub(super) fn writes(&self) -> &[Known<'a>] {
        &self.writes
    }

    /// The number of the write with this value.
    pub(super) fn number(&self, value: &str) -> Option<usize> {
        self.by_value.get(value).copied()
    }

    fn shown(&self, reading: &Reading) -> BTreeSet<usize> {
        reading.values.iter().filter_map(|value| self.number(&value.text)).collect()
    }

    fn may_supersede(
        &self,
        number: usize,
        operations: &BTreeMap<usize, &'a Operation>,
    ) -> Vec<usize> {
        let later = &self.writes[number];
        let read = match later.write.basis {
            Basis::Read(from) => operations.get(&from).and_then(|it| it.reading()),
            _ => None,
        };
        let ended = later.operation.answered.filter(|_| later.is_acknowledged());
        (0..self.writes.len())
            .filter(|other| *other != number)
            .filter(|other| {
                let earlier = &self.writes[*other];
                let is_read = match later.write.basis {
                    Basis::NodeRead => ended.is_none_or(|ended| earlier.operation.asked <= ended),
                    Basis::Read(_) => earlier
                        .write
                        .value
                        .as_ref()
                        .is_some_and(|value| read.is_some_and(|read| read.shows(value))),
                    Basis::Nothing => false,
                };
                is_read || wins(later, earlier)
            })
            .collect()
    }

    /// Computes the writes that each write with a known basis has superseded, through any number of steps.
    fn close(&mut self, operations: &BTreeMap<usize, &'a Operation>) {
        // In the order of time: an operation that was read had been requested before.
        let mut order: Vec<usize> = (0..self.writes.len()).collect();
        order.sort_by_key(|number| self.writes[*number].operation.asked);
        for number in order {
            let Basis::Read(from) = self.writes[number].write.basis else { continue };
            let Some(read) = operations.get(&from).and_then(|it| it.reading()) else { continue };
            let shown = self.shown(read);
            let older: BTreeSet<usize> =
                shown.iter().flat_map(|seen| self.writes[*seen].certain.clone()).collect();
            self.writes[number].certain = shown.into_iter().chain(older).collect();
            self.writes[number].certain.remove(&number);
        }
    }

    /// Every write that the values in the reading superseded for certain.
    pub(super) fn superseded(&self, reading: &Reading) -> BTreeSet<usize> {
        self.shown(reading).iter().flat_map(|seen| self.writes[*seen].certain.clone()).collect()
    }

    /// For each write, whether `reading`, which ended at `until`, contains it or a write that may have
    /// superseded it.
    pub(super) fn explained(&self, reading: &Reading, until: Duration) -> Vec<bool> {
        let shown = self.shown(reading);
        let mut reached: Vec<bool> = self
            .writes
            .iter()
            .enumerate()
            .map(|(number, known)| {
                let is_deletion = known.write.value.is_none()
                    && known.operation.asked <= until
                    && !known.operation.wrote_nothing();
                is_deletion || shown.contains(&number)
            })
            .collect();
        let mut open: Vec<usize> =
            (0..self.writes.len()).filter(|number| reached[*number]).collect();
        while let Some(number) = open.pop() {
            for earlier in &self.writes[number].may {
                let known = &self.writes[*earlier];
                let took_place = known.operation.asked <= until && !known.operation.wrote_nothing();
                if !reached[*earlier] && took_place {
                    reached[*earlier] = true;
                    open.push(*earlier);
                }
            }
        }
        for (number, known) in self.writes.iter().enumerate() {
            let is_unseen =
                known.version.is_some_and(|version| reading.covers(version) == Some(false));
            if is_unseen && !shown.contains(&number) {
                reached[number] = false;
            }
        }
        reached
    }
}

/// Whether `later` hides `earlier` because the last one wins.
fn wins(later: &Known<'_>, earlier: &Known<'_>) -> bool {
    let is_newer = match (later.version, earlier.version) {
        (Some(later), Some(earlier)) => later.dot >= earlier.dot,
        _ => true,
    };
    later.write.lww && later.write.value.is_some() && earlier.write.lww && is_newer
}
