//! A shell for one node: a store in memory, calls and datagrams to a peer that the target plays, and
//! virtual time.
//!
//! **Invariant:** after each input all outputs were fetched, and what the machine contract promises was
//! checked.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::machine::drain;
use potluck_base::statistics::Statistics as _;
use potluck_base::{Instant, Machine as _, UnixMillis};
use potluck_node::{CallId, CommandId, InboundId, Input, Node, Output};
use potluck_record::{OpId, StorageFailure, StorageReply};
use potluck_store::MemoryStore;

use crate::outcome::Seen;
use crate::samples;

/// Outputs that one input may lead to.
const OUTPUTS_MAX: usize = 20_000;
/// Calls whose answers are awaited; older ones fail.
const CALLS_MAX: usize = 64;
/// When the clocks begin.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// A node with what surrounds it.
pub(crate) struct Shell {
    pub(crate) node: Node,
    store: MemoryStore,
    pub(crate) now: Instant,
    /// Calls of the node that have no answer yet.
    pub(crate) calls: VecDeque<CallId>,
    /// Datagrams that it sent since they were last looked at.
    pub(crate) sent: Vec<(SocketAddr, Bytes)>,
    /// Calls of others, and whether they were answered.
    inbound: u64,
    pub(crate) answered: u64,
    /// Commands without a reply.
    pub(crate) open: BTreeMap<CommandId, &'static str>,
    commands: u64,
    /// Whether operations of the store fail.
    pub(crate) disk_fails: Option<StorageFailure>,
    pub(crate) replies: u64,
    /// The node's statistics when they were last looked at.
    counted: Vec<u64>,
}

impl Shell {
    /// A node that knows no other node.
    pub(crate) fn new(number: u8) -> Self {
        Self {
            node: samples::node(number),
            store: MemoryStore::in_memory(),
            now: Instant::ZERO,
            calls: VecDeque::new(),
            sent: Vec::new(),
            inbound: 0,
            answered: 0,
            open: BTreeMap::new(),
            commands: 0,
            disk_fails: None,
            replies: 0,
            counted: Vec::new(),
        }
    }

    /// One input, and the outputs that follow, until none is left.
    pub(crate) fn handle(&mut self, input: Input) {
        self.node.handle(self.now, input);
        let mut handled = 0;
        loop {
            let outputs = drain(&mut self.node);
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                handled += 1;
                assert!(handled <= OUTPUTS_MAX, "an input without an end: {output:?}");
                self.carry_out(output);
            }
        }
    }

    /// A command, whose reply is awaited.
    pub(crate) fn command(&mut self, name: &'static str, command: potluck_node::Command) {
        let id = CommandId(self.commands);
        self.commands += 1;
        self.open.insert(id, name);
        self.handle(Input::Command { id, command });
    }

    /// A call of a peer.
    pub(crate) fn called(&mut self, peer: u8, bytes: Bytes) {
        self.inbound += 1;
        let contact = samples::contact(peer);
        self.handle(Input::Called {
            from: contact.public_key,
            address: contact.address,
            inbound: InboundId(self.inbound),
            bytes,
        });
    }

    /// Marks each statistic of the node that moved since the last time, with by how much. They say which
    /// branches an input took better than any answer.
    pub(crate) fn tell_what_moved(&mut self, seen: &mut Seen) {
        let mut index = 0;
        let counted = &mut self.counted;
        self.node.stats().visit(&mut |what, number| {
            let number = number.as_u64();
            match counted.get_mut(index) {
                None => counted.push(number),
                Some(before) if *before != number => {
                    seen.count(what.name, number.abs_diff(*before));
                    *before = number;
                }
                Some(_) => {}
            }
            index += 1;
        });
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Transmit { to, bytes } => self.sent.push((to, bytes)),
            Output::Storage { id, op } => self.store(id, &op),
            Output::Call { id, .. } => {
                self.calls.push_back(id);
                if self.calls.len() > CALLS_MAX {
                    let call = self.calls.pop_front().expect("there are some");
                    self.node.handle(self.now, Input::CallFailed { call });
                }
            }
            Output::AnswerCall { .. } | Output::RefuseCall { .. } => self.answered += 1,
            Output::Reply { id, .. } => {
                self.replies += 1;
                let command = self.open.remove(&id);
                assert!(command.is_some(), "a second reply to command {}", id.0);
            }
            _ => {}
        }
    }

    fn store(&mut self, id: OpId, op: &potluck_record::StorageOp) {
        let reply = match self.disk_fails {
            Some(failure) => StorageReply::Failed(failure),
            None => {
                self.store.apply(std::slice::from_ref(op)).pop().expect("a reply for an operation")
            }
        };
        self.node.handle(self.now, Input::Stored { id, reply });
    }

    /// Lets time pass, and hands over each announced deadline when it comes.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        // A deadline that is announced for now is handled without end, so that many mean one that stays.
        let mut at_once = 0;
        while let Some(deadline) = self.node.poll_timeout().filter(|due| due.at <= end) {
            at_once = if deadline.at > self.now { 0 } else { at_once + 1 };
            assert!(at_once < 1000, "{deadline:?} comes again and again at {:?}", self.now);
            self.now = self.now.max(deadline.at);
            self.handle(Input::Timeout);
        }
        self.now = end;
        let millis = BEGIN_MS + self.now.as_micros() / 1000;
        self.handle(Input::WallClock { now: UnixMillis(millis) });
    }
}
