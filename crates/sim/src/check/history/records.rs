//! The rules for records.
//!
//! Every acknowledged write is current, a sibling, or superseded by a write that had read it, through any
//! number of steps; no deletion is undone; every value that is read was written; reads at one node never
//! return older state; a healthy node returns everything that was acknowledged before the request; at the end
//! all nodes return the same.
//!
//! During faults the network keeps answering and merges later. Freshness is therefore promised only at nodes
//! that other nodes reach in time, while at most [`RecordRules::tolerated`] nodes are not reached. Stale
//! reads at other nodes, and of writes that a cut-off node acknowledged, are counted as excused. Losses are
//! never excused.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Verdict;
use super::faults::Faults;
use super::operation::{Answer, Operation, Reading};
use super::reach::Reach;

/// An acknowledged write is current, a sibling, or superseded by a write that had read it.
pub const KEPT: &str = "an acknowledged write is kept";
/// Every value that is read was written under this key, before the read.
pub const WRITTEN: &str = "only what was written is read";
/// A write that was answered with a refusal or with siblings is not stored anywhere.
pub const REFUSED: &str = "what was refused is not there";
/// A value is not returned together with a value that had read it.
pub const APART: &str = "no value stands beside its successor";
/// A value that a deletion had read does not return.
pub const DELETED: &str = "no deletion is undone";
/// A read returns the writes acknowledged before it, or writes that supersede them.
pub const FRESH: &str = "a read shows what was acknowledged before it";
/// A value that a node returned is returned by it until it is superseded.
pub const FORWARD: &str = "reads at one node do not go back";
/// After the last fault every node returns the same.
pub const AGREE: &str = "at the end all nodes agree";

/// The conditions under which freshness is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRules {
    /// Time after a fault for which a node counts as disturbed.
    pub settle: Duration,
    /// The number of nodes that may be silent at the same time. A majority of the replicas of each key is
    /// then not silent.
    pub tolerated: usize,
}

/// The read of a key at one node after the last fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRead {
    /// The node.
    pub node: usize,
    /// The time.
    pub at: Duration,
    /// The result; `None` if the read failed.
    pub reading: Option<Reading>,
}

/// Judges all operations of a run, and the reads of every node at its end.
#[must_use]
pub fn judge(
    operations: &[Operation],
    last: &BTreeMap<String, Vec<LastRead>>,
    faults: &Faults,
    rules: &RecordRules,
) -> Verdict {
    let mut by_key: BTreeMap<&str, BTreeMap<usize, &Operation>> = BTreeMap::new();
    for (number, operation) in operations.iter().enumerate() {
        by_key.entry(&operation.key).or_default().insert(number, operation);
    }
    let mut verdict = Verdict { checked: operations.len(), ..Verdict::default() };
    let nothing = Vec::new();
    for (key, operations) in &by_key {
        let reach = Reach::new(operations);
        let mut judge = KeyJudge { key, reach, faults, rules, verdict: &mut verdict };
        judge.readings(operations);
        judge.last(last.get(*key).unwrap_or(&nothing));
    }
    verdict.violations.sort_by_key(|violation| violation.at);
    verdict
}

/// The judgement of one key.
struct KeyJudge<'a> {
    key: &'a str,
    reach: Reach<'a>,
    faults: &'a Faults,
    rules: &'a RecordRules,
    verdict: &'a mut Verdict,
}

impl KeyJudge<'_> {
    /// Judges the answers to clients during the run.
    fn readings(&mut self, operations: &BTreeMap<usize, &Operation>) {
        let mut told: Vec<(&Operation, Duration, &Reading)> = operations
            .values()
            .filter_map(|operation| Some((*operation, operation.answered?, operation.reading()?)))
            .collect();
        told.sort_by_key(|(operation, ..)| operation.asked);
        for (operation, answered, reading) in &told {
            self.genuine(reading, *answered, operation.node);
            let excused = !self.is_promised(operation.node, operation.asked, *answered);
            self.fresh(operation, *answered, reading, excused);
            let before = told
                .iter()
                .filter(|(other, ended, _)| {
                    other.node == operation.node && *ended < operation.asked
                })
                .max_by_key(|(_, ended, _)| *ended);
            if let Some((_, _, before)) = before {
                self.forward(operation.node, *answered, before, reading, excused);
            }
        }
    }

    /// Whether a read at this node is promised to be fresh. A node with a full disk or a wrong clock can ask
    /// other nodes, so it must return the right result or an error.
    fn is_promised(&self, node: usize, asked: Duration, answered: Duration) -> bool {
        let from = asked.saturating_sub(self.rules.settle);
        let silent = self.faults.silent(from, answered);
        !silent.contains(&node) && silent.len() <= self.rules.tolerated
    }

    /// Judges the rules that hold for any reading, whatever faults there are.
    fn genuine(&mut self, reading: &Reading, at: Duration, node: usize) {
        for value in &reading.values {
            let Some(known) = self.reach.number(&value.text).map(|it| &self.reach.writes()[it])
            else {
                let what = format!("nobody wrote `{}`", value.text);
                self.note(false, WRITTEN, node, at, what);
                continue;
            };
            let asked = known.operation.asked;
            let rule = match () {
                () if asked > at => WRITTEN,
                () if known.operation.wrote_nothing() => REFUSED,
                () => continue,
            };
            let what = format!("`{}` is there, asked for at {}", value.text, seconds(asked));
            self.note(false, rule, node, at, what);
        }
        let superseded = self.reach.superseded(reading);
        for value in &reading.values {
            if self.reach.number(&value.text).is_some_and(|number| superseded.contains(&number)) {
                let what = format!("`{}` stands beside {}", value.text, shown(reading));
                self.note(false, APART, node, at, what);
            }
        }
    }

    /// Judges whether a reading contains everything that was acknowledged before the request.
    fn fresh(&mut self, operation: &Operation, at: Duration, reading: &Reading, excused: bool) {
        let explained = self.reach.explained(reading, at);
        let shown_numbers: BTreeSet<usize> =
            reading.values.iter().filter_map(|value| self.reach.number(&value.text)).collect();
        let mut found = Vec::new();
        for (number, known) in self.reach.writes().iter().enumerate() {
            let cut_off = self.is_cut_off(known.operation, operation.asked);
            let is_before = known.operation.answered.is_some_and(|ended| ended < operation.asked);
            if !known.is_acknowledged() || !is_before {
                continue;
            }
            let undone = known.certain.intersection(&shown_numbers).next();
            if known.write.value.is_none() && undone.is_some() {
                found.push((excused || cut_off, DELETED, self.story(number, reading)));
            } else if !explained[number] {
                found.push((excused || cut_off, FRESH, self.story(number, reading)));
            }
        }
        // One stale read may miss many writes. The first one without an excuse is reported.
        found.sort_by_key(|(excused, ..)| *excused);
        if let Some((excused, rule, what)) = found.into_iter().next() {
            self.note(excused, rule, operation.node, at, what);
        }
    }

    /// Whether a write went through a node that was cut off, so that a read at `asked` cannot know it.
    fn is_cut_off(&self, write: &Operation, asked: Duration) -> bool {
        let ended = write.answered.unwrap_or(write.asked);
        // A node that is reachable again needs some time to notice it.
        let from = write.asked.saturating_sub(self.rules.settle);
        let cut = self.faults.cut_until(write.node, from, ended);
        cut.is_some_and(|until| asked < until.max(ended).saturating_add(self.rules.settle))
    }

    /// Judges two consecutive readings at one node.
    fn forward(
        &mut self,
        node: usize,
        at: Duration,
        before: &Reading,
        after: &Reading,
        excused: bool,
    ) {
        let explained = self.reach.explained(after, at);
        let gone = before
            .values
            .iter()
            .find(|value| self.reach.number(&value.text).is_some_and(|it| !explained[it]));
        let superseded = self.reach.superseded(before);
        let back = after.values.iter().find(|value| {
            let Some(number) = self.reach.number(&value.text) else { return false };
            let version = self.reach.writes()[number].version;
            let had_seen = version.and_then(|version| before.covers(version)) == Some(true);
            !before.shows(&value.text) && (superseded.contains(&number) || had_seen)
        });
        if let Some(value) = gone.or(back) {
            let what = format!("`{}`: first {}, then {}", value.text, shown(before), shown(after));
            self.note(excused, FORWARD, node, at, what);
        }
    }

    /// Judges the reads of every node after the last fault.
    fn last(&mut self, last: &[LastRead]) {
        let mut said: Option<(BTreeSet<&str>, usize)> = None;
        for LastRead { node, at, reading } in last {
            let Some(reading) = reading else {
                self.note(false, AGREE, *node, *at, "it cannot be read".into());
                continue;
            };
            self.genuine(reading, *at, *node);
            self.kept(reading, *node, *at);
            let texts: BTreeSet<&str> =
                reading.values.iter().map(|value| value.text.as_str()).collect();
            match &said {
                Some((others, other)) if *others != texts => {
                    let what = format!("{}, but node {other} says {others:?}", shown(reading));
                    self.note(false, AGREE, *node, *at, what);
                }
                Some(_) => {}
                None => said = Some((texts, *node)),
            }
        }
    }

    fn kept(&mut self, reading: &Reading, node: usize, at: Duration) {
        let explained = self.reach.explained(reading, at);
        let mut found = Vec::new();
        for (number, known) in self.reach.writes().iter().enumerate() {
            if !known.is_acknowledged() {
                continue;
            }
            let is_deletion = known.write.value.is_none();
            let comes_back = reading.values.iter().find(|value| {
                self.reach.number(&value.text).is_some_and(|it| known.certain.contains(&it))
            });
            if is_deletion && comes_back.is_some() {
                found.push((DELETED, self.story(number, reading)));
            } else if !explained[number] {
                found.push((KEPT, self.story(number, reading)));
            }
        }
        for (rule, what) in found {
            self.note(false, rule, node, at, what);
        }
    }

    /// Describes a write and what was read instead of it.
    fn story(&self, number: usize, reading: &Reading) -> String {
        let known = &self.reach.writes()[number];
        let what = known
            .write
            .value
            .as_deref()
            .map_or_else(|| "a deletion".to_owned(), |value| format!("`{value}`"));
        let operation = known.operation;
        format!(
            "{what} of client {} through node {} at {}, acknowledged at {}; read: {}",
            operation.client,
            operation.node,
            seconds(operation.asked),
            operation.answered.map_or_else(|| "no time".into(), seconds),
            shown(reading)
        )
    }

    fn note(&mut self, excused: bool, rule: &'static str, node: usize, at: Duration, what: String) {
        let detail = format!("key `{}` at node {node}: {what}", self.key);
        self.verdict.note(excused, rule, at, detail);
    }
}

fn seconds(at: Duration) -> String {
    format!("{:.3} s", at.as_secs_f64())
}

fn shown(reading: &Reading) -> String {
    match &reading.values[..] {
        [] => "nothing".into(),
        values => {
            let texts: Vec<&str> = values.iter().map(|value| value.text.as_str()).collect();
            format!("{texts:?}")
        }
    }
}

/// Whether an answer contains a result. The share of these answers is the availability of a run.
#[must_use]
pub const fn is_available(answer: &Answer) -> bool {
    matches!(answer, Answer::Acknowledged(_) | Answer::Read(_) | Answer::Conflict(_))
}

#[cfg(test)]
mod tests;
