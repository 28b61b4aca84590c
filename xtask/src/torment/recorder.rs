//! Records the history of a run: many threads write, one judges.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use potluck_record::Context;
use potluck_sim::check::history::faults::{Effect, Fault, Faults};
use potluck_sim::check::history::members::View;
use potluck_sim::check::history::messages::{Heard, Publication, Stream};
use potluck_sim::check::history::operation::{Answer, Covered, Operation};
use potluck_sim::check::history::records::LastRead;

/// Most operations of one run; clients stop there.
const OPERATIONS_MAX: usize = 2_000_000;

/// Everything that was recorded.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) operations: Vec<Operation>,
    pub(super) published: Vec<Publication>,
    pub(super) streams: Vec<Stream>,
    pub(super) views: Vec<View>,
    pub(super) faults: Faults,
    pub(super) last: BTreeMap<String, Vec<LastRead>>,
    /// Events that must never happen: a process that ended by itself.
    pub(super) accidents: Vec<(Duration, String)>,
    writers: BTreeMap<String, u32>,
}

/// The history, shared by all threads of a run.
#[derive(Debug)]
pub(super) struct Recorder {
    began: Instant,
    seen: Mutex<Seen>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), seen: Mutex::default() }
    }

    /// How long the run has lasted.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for more operations.
    pub(super) fn has_room(&self) -> bool {
        self.seen().operations.len() < OPERATIONS_MAX
    }

    /// Records the request of a client.
    pub(super) fn ask(&self, operation: Operation) -> usize {
        let mut seen = self.seen();
        seen.operations.push(operation);
        seen.operations.len() - 1
    }

    /// Records its answer.
    pub(super) fn answer(&self, number: usize, answer: Answer) {
        let now = self.now();
        let operation = &mut self.seen().operations[number];
        operation.answered = Some(now);
        operation.answer = answer;
    }

    /// The number of a writer.
    pub(super) fn writer(&self, public_key: &str) -> u32 {
        let mut seen = self.seen();
        let next = seen.writers.len() as u32;
        *seen.writers.entry(public_key.to_owned()).or_insert(next)
    }

    /// The versions that a context covers; `None` if it cannot be read.
    pub(super) fn covered(&self, context: &str) -> Option<Covered> {
        let context: Context = context.parse().ok()?;
        let covered = context
            .iter()
            .map(|(writer, dot)| (self.writer(&writer.to_string()), dot.raw()))
            .collect();
        Some(covered)
    }

    /// Records that a fault begins.
    pub(super) fn begin(&self, name: &str, nodes: &[usize], effect: Effect) -> usize {
        let from = self.now();
        let nodes = nodes.iter().copied().collect();
        let fault = Fault { name: name.to_owned(), nodes, effect, from, until: None };
        self.seen().faults.push(fault)
    }

    /// Records that a fault ends.
    pub(super) fn end(&self, fault: usize) {
        let now = self.now();
        self.seen().faults.end(fault, now);
    }

    /// Records that a subscription is active.
    pub(super) fn open(&self, node: usize) -> usize {
        let opened = self.now();
        let mut seen = self.seen();
        seen.streams.push(Stream { node, opened, closed: Duration::MAX, heard: Vec::new() });
        seen.streams.len() - 1
    }

    /// Records an event of a subscription.
    pub(super) fn hear(&self, stream: usize, heard: Heard) {
        let now = self.now();
        self.seen().streams[stream].heard.push((now, heard));
    }

    /// Records the end of a subscription.
    pub(super) fn close(&self, stream: usize) {
        let now = self.now();
        self.seen().streams[stream].closed = now;
    }

    /// Records an event that must not happen.
    pub(super) fn accident(&self, what: String) {
        let now = self.now();
        self.seen().accidents.push((now, what));
    }
}
