//! The history of a workload in the types of [`crate::check::history`].
//!
//! **Invariant:** it records the requests of clients, their answers, and the faults of the scenario. It does
//! not read nodes or disks.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Instant, Key, PublicKey};
use potluck_node::{Reply, WriteContext};
use potluck_record::{Context, Dot, Kind, Reading};

use crate::check::history::faults::{Effect, Fault, Faults};
use crate::check::history::operation::{self, Action, Answer, Basis, Operation};
use crate::check::history::records::{LastRead, RecordRules, judge};
use crate::check::history::{Verdict, operation::Version};
use crate::sim_node::NodeIndex;
use crate::workload::{Draft, WriteEnd};
use crate::world::Outcome;

/// Most recorded operations; later ones are left out.
const OPERATIONS_MAX: usize = 100_000;
/// For how long after a fault a node counts as disturbed.
const SETTLE: Duration = Duration::from_secs(30);

/// A history during its recording.
#[derive(Debug, Clone, Default)]
pub struct Tape {
    operations: Vec<Operation>,
    /// Operations whose answer had a context, by key, the newest last.
    contexts: BTreeMap<String, Vec<(Context, usize)>>,
    /// Writes of the workload by its own numbers.
    writes: BTreeMap<usize, usize>,
    writers: BTreeMap<PublicKey, u32>,
    last: BTreeMap<String, Vec<LastRead>>,
    faults: Faults,
}

fn since_start(at: Instant) -> Duration {
    at.since(Instant::ZERO)
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl Tape {
    /// Records that these nodes are cut off from the others from now on. Returns the number of the fault.
    pub fn fault(&mut self, name: &str, nodes: &[NodeIndex], now: Instant) -> usize {
        self.faults.push(Fault {
            name: name.to_owned(),
            nodes: nodes.iter().map(|node| node.get()).collect(),
            effect: Effect::Cut,
            from: since_start(now),
            until: None,
        })
    }

    /// Ends the fault with this number.
    pub fn mended(&mut self, fault: usize, now: Instant) {
        self.faults.end(fault, since_start(now));
    }

    /// Records that the workload sent its write number `number` to a node at `now`.
    pub(crate) fn asked(
        &mut self,
        number: usize,
        node: NodeIndex,
        key: Key,
        now: Instant,
        draft: &Draft,
    ) {
        let key = format!("{key:?}");
        let basis = match &draft.context {
            WriteContext::Blind => Basis::Nothing,
            WriteContext::Read => Basis::NodeRead,
            WriteContext::Given(context) => self
                .contexts
                .get(&key)
                .and_then(|told| told.iter().rev().find(|(other, _)| other == context))
                .map_or(Basis::Nothing, |(_, from)| Basis::Read(*from)),
        };
        let value = draft.value.as_deref().map(text);
        let write = operation::Write { value, lww: draft.kind == Some(Kind::Lww), basis };
        let index = self.push(Operation {
            client: 0,
            node: node.get(),
            key,
            action: Action::Write(write),
            asked: since_start(now),
            answered: None,
            answer: Answer::Unknown,
        });
        self.writes.extend(index.map(|index| (number, index)));
    }

    fn push(&mut self, operation: Operation) -> Option<usize> {
        if self.operations.len() >= OPERATIONS_MAX {
            return None;
        }
        self.operations.push(operation);
        Some(self.operations.len() - 1)
    }

    fn version(&mut self, writer: PublicKey, dot: Dot) -> Version {
        let next = self.writers.len() as u32;
        Version { writer: *self.writers.entry(writer).or_insert(next), dot: dot.raw() }
    }

    fn reading(&mut self, reading: &Reading) -> operation::Reading {
        let values = reading
            .values
            .iter()
            .map(|value| operation::Value {
                text: text(&value.bytes),
                version: Some(self.version(value.writer, value.dot)),
            })
            .collect();
        let mut covers: BTreeMap<u32, u64> = BTreeMap::new();
        for (writer, dot) in reading.context.iter() {
            let version = self.version(*writer, dot);
            covers.insert(version.writer, version.dot);
        }
        // The floor covers every writer up to itself.
        let floor = reading.context.floor().raw();
        for writer in self.writers.values().filter(|_| floor > 0) {
            let covered = covers.entry(*writer).or_default();
            *covered = floor.max(*covered);
        }
        operation::Reading { values, covers: Some(covers.into_iter().collect()) }
    }

    /// Records that a write of the workload has ended.
    pub(crate) fn ended(
        &mut self,
        number: usize,
        writer: PublicKey,
        outcome: &Outcome,
        end: &WriteEnd,
    ) {
        let Some(index) = self.writes.get(&number).copied() else { return };
        let answer = match (end, &outcome.reply) {
            (WriteEnd::Acknowledged { version, .. }, _) => {
                Answer::Acknowledged(Some(self.version(writer, *version)))
            }
            (_, Some(Reply::Conflict(done))) => Answer::Conflict(self.told(index, &done.reading)),
            _ => Answer::Unknown,
        };
        let operation = &mut self.operations[index];
        operation.answered = outcome.reply.as_ref().map(|_| since_start(outcome.ended));
        operation.answer = answer;
    }

    fn told(&mut self, index: usize, reading: &Reading) -> operation::Reading {
        let key = self.operations[index].key.clone();
        self.contexts.entry(key).or_default().push((reading.context.clone(), index));
        self.reading(reading)
    }

    /// Records that a read has ended.
    pub(crate) fn read(&mut self, key: &Key, outcome: &Outcome) {
        let index = self.push(Operation {
            client: 0,
            node: outcome.node.get(),
            key: format!("{key:?}"),
            action: Action::Get,
            asked: since_start(outcome.asked),
            answered: Some(since_start(outcome.ended)),
            answer: Answer::Unknown,
        });
        if let (Some(index), Some(Reply::Read(done))) = (index, &outcome.reply) {
            self.operations[index].answer = Answer::Read(self.told(index, &done.reading));
        }
    }

    /// Records that a read after the last fault has ended: all nodes must return the same.
    pub(crate) fn last_read(&mut self, key: &Key, outcome: &Outcome) {
        let reading = match &outcome.reply {
            Some(Reply::Read(done)) => Some(self.reading(&done.reading)),
            _ => None,
        };
        let (node, at) = (outcome.node.get(), since_start(outcome.ended));
        self.last.entry(format!("{key:?}")).or_default().push(LastRead { node, at, reading });
    }

    /// Judges the history of a network that stores each record on `replicas` nodes.
    #[must_use]
    pub fn verdict(&self, replicas: u16) -> Verdict {
        let tolerated = usize::from(replicas - 1) / 2;
        let rules = RecordRules { settle: SETTLE, tolerated };
        judge(&self.operations, &self.last, &self.faults, &rules)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use potluck_base::{Identity, UnixMillis};
    use potluck_kv::ReadDone;
    use potluck_record::{StateDigest, Value};

    use super::*;
    use crate::check::history::records::{FORWARD, KEPT};
    use crate::workload::key;

    const NODE: NodeIndex = NodeIndex::new(1);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn writer() -> PublicKey {
        Identity::from_seed([1; 32]).public_key()
    }

    /// The violations for an acknowledged write of `a`, a read at second 5 and the last one at second 9.
    fn broken(read: &[&'static str], last: &[&'static str]) -> Vec<&'static str> {
        let dot = Dot::from_raw(7);
        let value = |text: &'static str| Value {
            bytes: Bytes::from_static(text.as_bytes()),
            writer: writer(),
            dot,
            folded: None,
            kind: Kind::Siblings,
            expires: UnixMillis(u64::MAX),
        };
        let outcome = |asked, reply| Outcome {
            node: NODE,
            asked: at(asked),
            ended: at(asked + 1),
            reply: Some(reply),
        };
        let done = |texts: &[&'static str]| {
            let values: Vec<Value> = texts.iter().map(|text| value(text)).collect();
            let context = values.iter().map(|value| (value.writer, value.dot)).collect();
            let reading = Reading { values, context };
            Reply::Read(ReadDone {
                key: key(0),
                reading,
                digest: StateDigest::EMPTY,
                answers: 3,
                older: false,
            })
        };
        let mut tape = Tape::default();
        let draft = Draft {
            kind: None,
            value: Some(Bytes::from_static(b"a")),
            context: WriteContext::Blind,
        };
        tape.asked(0, NODE, key(0), at(1), &draft);
        let end =
            WriteEnd::Acknowledged { version: dot, holders: vec![], took: Duration::from_secs(1) };
        tape.ended(0, writer(), &outcome(1, done(&[])), &end);
        tape.read(&key(0), &outcome(5, done(read)));
        tape.read(&key(0), &outcome(7, done(&["a"])));
        tape.last_read(&key(0), &outcome(9, done(last)));
        tape.verdict(5).rules_broken()
    }

    #[test]
    fn what_the_workload_was_told_is_judged() {
        assert_eq!(broken(&["a"], &["a"]), <[&str; 0]>::default());
        assert_eq!(broken(&["a"], &[]), [KEPT]);
        assert!(!broken(&[], &["a"]).is_empty());
        assert!(!broken(&["a"], &["a"]).contains(&FORWARD));
    }
}
