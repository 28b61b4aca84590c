//! The part of a write that only operations have: fetching the shares of other writers, and asking a
//! replica to carry the operation out.

use potluck_base::{Instant, NodeId, UnixMillis};
use potluck_record::{Operation, Space};
use potluck_wire::{Loaded, Refusal, Response};

use super::{PutOp, Stage, Step, Work};
use crate::command::{CommandError, Reply};
use crate::core::Core;
use crate::delegate::{Delegated, Delegation};

/// The part of the writers' places that is left to writers which read the record at the same time as
/// this one: an eighth. A writer that finds fewer free asks a replica, so that the replicas do not let
/// different writers in.
const SPARE_PART: u16 = 8;

impl PutOp {
    /// Whether a replica may be asked to carry the operation out.
    pub(super) const fn may_delegate(&self) -> bool {
        match &self.work {
            Work::Apply { apply, may_delegate } => {
                *may_delegate && matches!(apply.space, Space::Commons)
            }
            Work::Put(_) | Work::Rewrite { .. } => false,
        }
    }

    /// Takes the increment of another write of this node into this one, which waits for its turn. Returns
    /// whether it did: the reply to this write is then that to the other.
    pub(crate) fn absorb(&mut self, other: &Self) -> bool {
        let (
            Work::Apply { apply, may_delegate },
            Work::Apply { apply: more, may_delegate: may_too },
        ) = (&mut self.work, &other.work)
        else {
            return false;
        };
        let (Operation::Count(by), Operation::Count(further)) =
            (&mut apply.operation, &more.operation)
        else {
            return false;
        };
        let alike = apply.quorum == more.quorum && *may_delegate == *may_too;
        let Some(sum) = by.checked_add(*further).filter(|_| alike) else { return false };
        *by = sum;
        true
    }

    /// The record was read: asks a replica if there is no room for a further writer, and fetches the
    /// shares that the operation needs.
    pub(super) fn after_reading_for_operation(&mut self, core: &mut Core, now: Instant) -> Step {
        if self.may_delegate() && self.is_crowded(core) {
            return self.delegate(core, now);
        }
        self.prepare(core)
    }

    /// Whether the number of writers that were read leaves no certain place for this one, if it is new.
    fn is_crowded(&self, core: &Core) -> bool {
        let Work::Apply { apply, .. } = &self.work else { return false };
        let (heads, me) = (self.survey.state(), core.identity.public_key());
        let most = core.writers_of(apply.space, apply.operation.kind(), &self.key, &me);
        let room = most - most / SPARE_PART;
        heads.of(&me).is_none() && heads.len() >= usize::from(room)
    }

    fn prepare(&mut self, core: &mut Core) -> Step {
        let Work::Apply { apply, .. } = &self.work else { return Step::Wait };
        let heads = self.survey.state();
        if !apply.operation.reads_others() || !self.values.is_missing(heads) {
            self.stage = Stage::Turn(None);
            return Step::Turn;
        }
        let holders = self.survey.answers().values();
        let holders = holders.map(|answer| (answer.peer, answer.digest));
        if self.values.begin(core, heads, holders) {
            self.stage = Stage::Fetching;
            return Step::Wait;
        }
        let error = self.too_few_values(core);
        self.fail(core, error)
    }

    /// Takes a page of the shares that are being fetched.
    pub(super) fn on_page(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: NodeId,
        page: Option<Loaded>,
    ) -> Step {
        let (wall, heads) = (core.wall(now), self.survey.state());
        if self.values.on_page(core, wall, heads, from, page) {
            return Step::Wait;
        }
        if self.values.is_missing(heads) {
            let error = self.too_few_values(core);
            return self.fail(core, error);
        }
        self.stage = Stage::Turn(None);
        Step::Turn
    }

    /// The shares of which the heads were read could not be read.
    pub(super) fn too_few_values(&self, core: &Core) -> CommandError {
        CommandError::TooFewAnswers { answers: 0, needed: core.read_quorum() }
    }

    /// Asks a replica to carry the operation out. The turn, if it had it, is over.
    pub(super) fn delegate(&mut self, core: &mut Core, now: Instant) -> Step {
        let Work::Apply { apply, may_delegate } = &mut self.work else { return Step::Wait };
        *may_delegate = false;
        let nearest = self.survey.nearest(core);
        let wall: UnixMillis = core.wall(now);
        let mut delegation = Delegation::new(core, wall, self.id, apply.clone(), nearest);
        // The replica has as long as a write of its own has.
        self.deadline = now + core.config.put_deadline;
        let delegated = delegation.ask_next(core);
        let was_refused = matches!(self.stage, Stage::Storing(_));
        self.stage = Stage::Delegated(Box::new(delegation));
        let step = self.after_delegation(core, delegated, was_refused);
        if was_refused && step == Step::Wait { Step::TurnOver } else { step }
    }

    /// Takes the answer of the replica that was asked to carry the operation out.
    pub(crate) fn on_applied(
        &mut self,
        core: &mut Core,
        from: NodeId,
        response: Option<&Response>,
    ) -> Step {
        let Stage::Delegated(delegation) = &mut self.stage else { return Step::Wait };
        let delegated = delegation.on_answer(core, from, response);
        self.after_delegation(core, delegated, self.turn_over)
    }

    fn after_delegation(
        &mut self,
        core: &mut Core,
        delegated: Delegated,
        was_refused: bool,
    ) -> Step {
        self.turn_over |= was_refused;
        match delegated {
            Delegated::Waiting => Step::Wait,
            Delegated::Done(written) => {
                core.stats.puts_written += 1;
                core.reply(self.id, Reply::Written(written));
                Step::Done
            }
            Delegated::Failed(error) => self.fail(core, error),
            Delegated::NoReplica(last) if was_refused => {
                let reason = last.unwrap_or(Refusal::TooManyWriters);
                self.fail(core, CommandError::Refused(reason))
            }
            // The places may suffice after all.
            Delegated::NoReplica(_) => self.prepare(core),
        }
    }
}
