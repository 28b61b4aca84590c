//! Asking a replica to carry out an operation, because the record has no room for a further writer.
//!
//! A replica that answered with a refusal has not begun, so the next one is asked. One that gave no
//! answer may have carried the operation out: only that one is asked again, with the same number, and if
//! it stays silent the outcome is unknown.

use std::collections::VecDeque;

use potluck_base::{NodeId, Peer, UnixMillis};
use potluck_record::{Dot, Kind};
use potluck_wire::{Applied, Refusal, Request, Response};

use crate::command::{Apply, CommandError, CommandId, Written};
use crate::core::{AskPurpose, Core};
use crate::event::Delivery;

/// Times that one replica is asked while it gives no answer. Each has the tries of a request, so raising
/// it has an effect only until the deadline of the write.
const TRIES: u8 = 8;

/// What became of the request to a replica.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Delegated {
    /// A replica is asked.
    Waiting,
    /// A replica has carried the operation out.
    Done(Written),
    /// It failed, or its outcome is unknown.
    Failed(CommandError),
    /// No replica was found that could do it. Nothing changed.
    NoReplica(Option<Refusal>),
}

/// An operation that a replica is asked to carry out.
#[derive(Debug, Clone)]
pub(crate) struct Delegation {
    id: CommandId,
    apply: Apply,
    number: u64,
    asked: Option<Peer>,
    tries: u8,
    /// Replicas that can be asked while none may have begun, closest first.
    candidates: VecDeque<Peer>,
    last: Option<Refusal>,
}

impl Delegation {
    /// An operation that the first of `nearest` is asked to carry out.
    pub(crate) fn new(
        core: &mut Core,
        wall: UnixMillis,
        id: CommandId,
        apply: Apply,
        nearest: Vec<Peer>,
    ) -> Self {
        let number = core.next_number(wall);
        let others = nearest.into_iter().take(core.replication());
        let candidates = others.filter(|peer| peer.id != core.me.id).collect();
        core.stats.operations_delegated += 1;
        Self { id, apply, number, asked: None, tries: 0, candidates, last: None }
    }

    /// Asks the next replica.
    pub(crate) fn ask_next(&mut self, core: &mut Core) -> Delegated {
        self.asked = self.candidates.pop_front();
        self.tries = 0;
        if self.asked.is_none() {
            return Delegated::NoReplica(self.last);
        }
        self.ask(core);
        Delegated::Waiting
    }

    fn ask(&mut self, core: &mut Core) {
        let Some(peer) = self.asked else { return };
        let request = Request::Apply(potluck_wire::Apply {
            number: self.number,
            again: self.tries > 0,
            name: self.apply.name.as_str().to_owned(),
            operation: self.apply.operation.encode(),
        });
        self.tries += 1;
        core.ask(peer, request, Delivery::Fitting, AskPurpose::Apply(self.id, peer.id));
    }

    /// Takes a replica's answer; `None` if there was none.
    pub(crate) fn on_answer(
        &mut self,
        core: &mut Core,
        from: NodeId,
        response: Option<&Response>,
    ) -> Delegated {
        if self.asked.is_none_or(|asked| asked.id != from) {
            return Delegated::Waiting;
        }
        match response {
            Some(Response::Applied(applied)) => self.on_applied(core, *applied),
            Some(Response::Refused { reason, .. }) if self.tries == 1 => {
                self.last = Some(*reason);
                self.ask_next(core)
            }
            // An earlier request may have been carried out although a later one is refused.
            Some(_) | None if self.tries >= TRIES => Delegated::Failed(CommandError::Unknown),
            Some(_) | None => {
                self.ask(core);
                Delegated::Waiting
            }
        }
    }

    fn on_applied(&self, core: &Core, applied: Applied) -> Delegated {
        match applied {
            Applied::Done { version, acks, wanted, expires_ms } => Delegated::Done(Written {
                key: self.apply.space.key(&self.apply.name).unwrap_or(core.me.id.into()),
                version: Dot::from_raw(version),
                acks,
                wanted,
                members: core.members,
                expires: UnixMillis(expires_ms),
                replicas: Vec::new(),
            }),
            Applied::Absent => Delegated::Failed(CommandError::Absent),
            Applied::OtherKind { kind } => {
                let (there, asked) = (Kind::from_number(kind), self.apply.operation.kind());
                Delegated::Failed(CommandError::OtherKind { there, asked })
            }
            Applied::Unclear => Delegated::Failed(CommandError::Unknown),
        }
    }
}
