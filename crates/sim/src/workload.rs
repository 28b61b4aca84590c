//! Writes and reads, with a history of the requests, their times and their promises.
//!
//! Every value is unique, so a read value identifies its write.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, Key, PublicKey, Rng};
use potluck_node::{Command, CommandError, CommandId, Put, Reply, WriteContext};
use potluck_record::{Dot, Kind, Name, Reading, Space};

use crate::batch::{Batch, pick};
use crate::check::Check;
use crate::sim_node::NodeIndex;
use crate::tape::Tape;
use crate::world::{Outcome, World};

/// Most difference between wall clocks if a scenario does not change them.
pub const CLOCKS_APART: Duration = Duration::from_secs(2);

/// The result of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteEnd {
    /// It has not ended.
    Pending,
    /// It was acknowledged.
    Acknowledged {
        /// Its version.
        version: Dot,
        /// The nodes that had acknowledged it when the answer was given.
        holders: Vec<NodeIndex>,
        /// How long it took.
        took: Duration,
    },
    /// It was answered with an error, or with siblings. The value may be stored or not.
    Failed(Option<CommandError>),
    /// The node died before it answered. The value may be stored or not.
    Lost,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The node that was asked.
    pub node: NodeIndex,
    /// The node's public key, which signs.
    pub writer: PublicKey,
    /// The key of the record.
    pub key: Key,
    /// The value; `None` deletes.
    pub value: Option<Bytes>,
    /// The context that it was given.
    pub context: WriteContext,
    /// The space, and the life of the value.
    pub terms: Terms,
    /// When it was asked for.
    pub asked: Instant,
    /// When it ended, if it has.
    pub ended: Option<Instant>,
    /// The result.
    pub end: WriteEnd,
}

impl Write {
    /// Its version, if it was acknowledged.
    #[must_use]
    pub const fn version(&self) -> Option<Dot> {
        match &self.end {
            WriteEnd::Acknowledged { version, .. } => Some(*version),
            _ => None,
        }
    }

    /// The nodes that had acknowledged it when it was answered.
    #[must_use]
    pub fn holders(&self) -> &[NodeIndex] {
        match &self.end {
            WriteEnd::Acknowledged { holders, .. } => holders,
            _ => &[],
        }
    }

    /// Whether its value may have expired by `now`, by a clock that is wrong by less than [`CLOCKS_APART`]. A
    /// value without a time to live does not expire within a run.
    #[must_use]
    pub fn may_have_expired(&self, now: Instant) -> bool {
        self.terms.ttl.is_some_and(|ttl| self.asked + ttl <= now + CLOCKS_APART)
    }

    /// Whether its value must have expired by `now` by every clock.
    #[must_use]
    pub fn must_have_expired(&self, now: Instant) -> bool {
        let last = self.ended.unwrap_or(now);
        self.terms.ttl.is_some_and(|ttl| last + ttl + CLOCKS_APART <= now)
    }

    /// Whether `later` may have superseded this write: it read before it wrote, or its context covers this
    /// write, and it had not ended when this write began.
    #[must_use]
    pub fn may_be_superseded_by(&self, later: &Self) -> bool {
        let knew = match (&later.context, self.version()) {
            (WriteContext::Blind, _) => false,
            (WriteContext::Read, _) => true,
            (WriteContext::Given(context), version) => {
                version.is_some_and(|version| context.covers(&self.writer, version))
            }
        };
        knew && self.key == later.key && later.ended.is_none_or(|ended| ended > self.asked)
    }
}

/// All writes of a run.
#[derive(Debug, Clone, Default)]
pub struct History {
    writes: Vec<Write>,
    by_key: BTreeMap<Key, Vec<usize>>,
}

impl History {
    /// All writes, in the order of the requests.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The keys written, ascending.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.by_key.keys().copied()
    }

    /// The keys with at least one acknowledged write, ascending.
    #[must_use]
    pub fn promised(&self) -> Vec<Key> {
        let promised = |key: &Key| self.of(key).any(|write| write.version().is_some());
        self.keys().filter(promised).collect()
    }

    /// The writes under one key.
    pub fn of(&self, key: &Key) -> impl Iterator<Item = &Write> + use<'_> {
        self.by_key.get(key).into_iter().flatten().map(|index| &self.writes[*index])
    }

    /// The acknowledged ones.
    pub fn acknowledged(&self) -> impl Iterator<Item = &Write> {
        self.writes.iter().filter(|write| write.version().is_some())
    }

    /// Whether `reading` keeps the promise of `write`: it contains the value, or its context covers the value
    /// and another write may have superseded it.
    #[must_use]
    pub fn is_kept(&self, write: &Write, reading: &Reading) -> bool {
        let Some(version) = write.version() else { return true };
        let same = |value: &potluck_record::Value| Some(&value.bytes) == write.value.as_ref();
        if reading.values.iter().any(same) {
            return true;
        }
        let covered = reading.context.covers(&write.writer, version);
        let explained = write.value.is_none()
            || self.of(&write.key).any(|other| write.may_be_superseded_by(other) && other != write);
        covered && explained
    }

    fn push(&mut self, write: Write) -> usize {
        let index = self.writes.len();
        self.by_key.entry(write.key).or_default().push(index);
        self.writes.push(write);
        index
    }
}

/// The name of record number `number`.
///
/// # Panics
/// Never: such a name keeps every rule.
#[must_use]
pub fn name(number: usize) -> Name {
    Name::new(format!("record {number}")).expect("a short name without control characters")
}

/// The key of record number `number`.
///
/// # Panics
/// Never: only the space `content` has no key for a name.
#[must_use]
pub fn key(number: usize) -> Key {
    Space::Commons.key(&name(number)).expect("commons makes keys of names")
}

/// Makes writes and reads, and records the history.
#[derive(Debug)]
pub struct Workload {
    /// The writes.
    pub history: History,
    /// The requests and answers of all clients, if they are recorded.
    pub tape: Option<Tape>,
    rng: Rng,
    value_bytes: usize,
    pending: BTreeMap<CommandId, usize>,
}

impl Workload {
    /// A workload whose values have this many bytes (at least 16).
    #[must_use]
    pub const fn new(rng: Rng, value_bytes: usize) -> Self {
        Self {
            history: History { writes: Vec::new(), by_key: BTreeMap::new() },
            tape: None,
            rng,
            value_bytes,
            pending: BTreeMap::new(),
        }
    }

    /// The same, which records all requests and answers of clients from now on.
    #[must_use]
    pub fn recorded(self) -> Self {
        Self { tape: Some(Tape::default()), ..self }
    }

    /// A unique value.
    pub fn fresh_value(&mut self) -> Bytes {
        let mut value = vec![0x2e; self.value_bytes.max(16)];
        value[..8].copy_from_slice(&(self.history.writes.len() as u64).to_be_bytes());
        value[8..16].copy_from_slice(&self.rng.bytes::<8>());
        value.into()
    }

    /// Asks a node to write a fresh value to record number `number`.
    pub fn put(
        &mut self,
        world: &mut World,
        node: NodeIndex,
        number: usize,
        context: WriteContext,
    ) -> usize {
        let value = Some(self.fresh_value());
        self.write(world, node, number, Draft { kind: None, value, context })
    }

    /// Asks a node to delete record number `number` in its current state.
    pub fn delete(&mut self, world: &mut World, node: NodeIndex, number: usize) -> usize {
        let draft = Draft { kind: None, value: None, context: WriteContext::Read };
        self.write(world, node, number, draft)
    }

    /// Asks a node to write to the commons.
    pub fn write(
        &mut self,
        world: &mut World,
        node: NodeIndex,
        number: usize,
        draft: Draft,
    ) -> usize {
        self.write_on(world, node, number, Terms::default(), draft)
    }

    /// Asks a node to write with these terms. In `content` the value alone determines the key.
    ///
    /// # Panics
    /// If content is to be written without a value.
    pub fn write_on(
        &mut self,
        world: &mut World,
        node: NodeIndex,
        number: usize,
        terms: Terms,
        draft: Draft,
    ) -> usize {
        let writer = world.node(node).peer().contact.public_key;
        let (space, name) = match terms.place {
            PutPlace::Commons => (Space::Commons, Some(name(number))),
            PutPlace::Own => (Space::Own(writer), Some(name(number))),
            PutPlace::Content => (Space::Content, None),
        };
        let key = match (&name, &draft.value) {
            (Some(name), _) => space.key(name),
            (None, value) => value.as_ref().map(|value| Space::content_key(value)),
        };
        let key = key.expect("content has a value, all else a name");
        let put = Put {
            space,
            name,
            kind: draft.kind,
            value: draft.value.clone(),
            ttl: terms.ttl,
            quorum: None,
            context: draft.context.clone(),
        };
        if let Some(tape) = &mut self.tape {
            tape.asked(self.history.writes.len(), node, key, world.now(), &draft);
        }
        let index = self.history.push(Write {
            node,
            writer,
            key,
            value: draft.value,
            context: draft.context,
            terms,
            asked: world.now(),
            ended: None,
            end: WriteEnd::Pending,
        });
        let id = world.command(node, Command::Put(put));
        self.pending.insert(id, index);
        index
    }

    /// Records the writes that ended since the last call.
    pub fn collect(&mut self, world: &mut World) {
        let (history, tape) = (&mut self.history, &mut self.tape);
        self.pending.retain(|id, index| {
            let Some(outcome) = world.outcome(*id) else { return true };
            let write = &mut history.writes[*index];
            write.ended = Some(outcome.ended);
            write.end = end_of(world, &outcome);
            if let Some(tape) = tape {
                tape.ended(*index, write.writer, &outcome, &write.end);
            }
            false
        });
    }

    /// Writes in flight.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Runs until all writes have ended, at most for `bound`. Returns whether they have.
    pub fn finish(&mut self, world: &mut World, bound: Duration) -> bool {
        world.run_until(bound, |world| {
            self.collect(world);
            self.pending.is_empty()
        })
    }

    /// Writes each of the records `numbers` once through random live nodes, `in_flight` at once.
    pub fn fill(&mut self, world: &mut World, numbers: std::ops::Range<usize>, in_flight: usize) {
        let live = world.live();
        for number in numbers {
            let node = pick(&mut self.rng, &live);
            self.put(world, node, number, WriteContext::Read);
            while self.pending.len() >= in_flight {
                world.run_for(Duration::from_millis(10));
                self.collect(world);
            }
        }
        self.finish(world, Duration::from_secs(60));
    }

    /// Reads each key once through random live nodes, `in_flight` at once.
    pub fn read(
        &mut self,
        world: &mut World,
        keys: &[Key],
        in_flight: usize,
    ) -> Vec<Option<Outcome>> {
        let live = world.live();
        self.read_through(world, keys, &live, in_flight)
    }

    /// Reads each key once through one of these nodes.
    pub fn read_through(
        &mut self,
        world: &mut World,
        keys: &[Key],
        nodes: &[NodeIndex],
        in_flight: usize,
    ) -> Vec<Option<Outcome>> {
        let bound = Duration::from_secs(30) + Duration::from_millis(100) * keys.len() as u32;
        let rng = &mut self.rng;
        let outcomes = Batch { in_flight, bound }.run(world, keys.len(), |_, index| {
            (pick(rng, nodes), Command::Get { key: keys[index], quorum: None })
        });
        if let Some(tape) = &mut self.tape {
            for (key, outcome) in keys.iter().zip(&outcomes) {
                outcome.iter().for_each(|outcome| tape.read(key, outcome));
            }
        }
        outcomes
    }

    /// Reads every written key through each of these nodes, and judges the whole history of a network that
    /// stores each record on `replicas` nodes.
    pub fn judge(&mut self, world: &mut World, nodes: &[NodeIndex], replicas: u16) -> Check {
        let keys: Vec<Key> = self.history.keys().collect();
        let bound = Duration::from_secs(60) + Duration::from_millis(100) * keys.len() as u32;
        for node in nodes {
            let outcomes = Batch { in_flight: 50, bound }.run(world, keys.len(), |_, index| {
                (*node, Command::Get { key: keys[index], quorum: None })
            });
            if let Some(tape) = &mut self.tape {
                for (key, outcome) in keys.iter().zip(&outcomes) {
                    outcome.iter().for_each(|outcome| tape.last_read(key, outcome));
                }
            }
        }
        let verdict = self.tape.as_ref().map(|tape| tape.verdict(replicas)).unwrap_or_default();
        verdict.check("the history of all clients keeps the rules of records")
    }

    /// The duration of each acknowledged write.
    #[must_use]
    pub fn put_times(&self) -> Vec<Duration> {
        let took = |write: &Write| match &write.end {
            WriteEnd::Acknowledged { took, .. } => Some(*took),
            _ => None,
        };
        self.history.writes.iter().filter_map(took).collect()
    }
}

/// The contents of a write.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The rule by which readers fold it.
    pub kind: Option<Kind>,
    /// The value; `None` deletes.
    pub value: Option<Bytes>,
    /// The context: what it supersedes.
    pub context: WriteContext,
}

/// The space of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PutPlace {
    /// All members may write.
    #[default]
    Commons,
    /// Only the asked node may write.
    Own,
    /// The value determines the key.
    Content,
}

/// The space and the life of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// The space.
    pub place: PutPlace,
    /// The life of the value; `None`: the longest.
    pub ttl: Option<Duration>,
}

fn end_of(world: &World, outcome: &Outcome) -> WriteEnd {
    match &outcome.reply {
        None => WriteEnd::Lost,
        Some(Reply::Written(written)) => WriteEnd::Acknowledged {
            version: written.version,
            holders: written.replicas.iter().filter_map(|id| world.find(id)).collect(),
            took: outcome.took(),
        },
        Some(Reply::Failed(error)) => WriteEnd::Failed(Some(error.clone())),
        Some(_) => WriteEnd::Failed(None),
    }
}

/// The reading in the outcome of a read, if there is one.
#[must_use]
pub fn reading(outcome: Option<&Outcome>) -> Option<&Reading> {
    match outcome?.reply.as_ref()? {
        Reply::Read(done) => Some(&done.reading),
        _ => None,
    }
}
