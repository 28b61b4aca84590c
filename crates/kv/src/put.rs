//! One write: read the current state, sign an envelope that supersedes it, make it durable here, then
//! store it at the r closest nodes.
//!
//! The read costs no extra request: the lookup's answers carry the signed heads. The writes of one node
//! to one key take turns from signing to durability, so no two of them issue the same dot. Two writes
//! that read the same state become siblings, so neither is lost.
//!
//! The writer's own envelope is loaded once, for the read. It changes in the turn of a write alone, or
//! when a write that ends takes its envelope back. After each of these the other writes to the key load
//! it again in their turns.

mod operate;

use potluck_base::{Deadline, Instant, Key, NodeId};
use potluck_record::{
    Envelope, MergeAs, Place, SignedHead, Space, StorageFailure, StorageOp, StorageReply, TeamId,
};
use potluck_wire::Response;

use crate::admissible::is_future_dated;
use crate::apply;
use crate::command::{Apply, CommandError, CommandId, Put, Reply, WriteContext};
use crate::core::{Core, OpPurpose, Progress};
use crate::delegate::Delegation;
use crate::own_values::OwnValues;
use crate::renewal::renewed::{name_of, renewed};
use crate::renewal::{Rewrite, Task};
use crate::round::{Round, needed};
use crate::storage;
use crate::successor::{Basis, Edit, RuledOut, Writer, check, is_unconditional, successor};
use crate::survey::{Keep, Question, Survey, SurveyEvent};
use crate::values::Values;

/// The action that a write requests of the store.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub(crate) enum Step {
    /// None: the write waits for answers.
    Wait,
    /// Queue the write for its turn among this node's writes to the key.
    Turn,
    /// End the turn of the write: the next one may begin.
    TurnOver,
    /// Read the siblings and reply with them.
    Conflict,
    /// Remove the write, and end its turn if it has it: it was replied to, and none of its requests is
    /// pending.
    Done,
}

#[derive(Debug, Clone)]
enum Stage {
    /// It reads the current state.
    Reading,
    /// It fetches the shares of other writers.
    Fetching,
    /// It waits for its turn, or for the writer's own envelope in it. An operation has no edit.
    Turn(Option<Edit>),
    /// A replica is asked to carry it out.
    Delegated(Box<Delegation>),
    /// The envelope is signed: it is made durable here, then stored at the replicas.
    Storing(Box<Round>),
}

/// This writer's own envelope of the key, as it is loaded for the read.
#[derive(Debug, Clone)]
enum OwnLoad {
    /// It is being loaded, or could not be.
    Missing,
    /// At most one envelope.
    Loaded(Vec<Envelope>),
    /// It may have changed since: the turn loads it again.
    Stale,
}

/// What a write does.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// It puts or deletes a value.
    Put(Put),
    /// It renews or republishes a record of this node.
    Rewrite {
        /// Names the record; it has no value.
        put: Put,
        /// What is to be done.
        task: Task,
    },
    /// It carries out an operation on a counter, set or map.
    Apply {
        /// The operation.
        apply: Apply,
        /// Whether a replica may be asked to carry it out, which is done once.
        may_delegate: bool,
    },
}

impl Work {
    /// The space that it writes in.
    pub(crate) const fn space(&self) -> Space {
        match self {
            Self::Put(put) | Self::Rewrite { put, .. } => put.space,
            Self::Apply { apply, .. } => apply.space,
        }
    }

    /// The team in whose space it writes. A rewrite is of a record that was let in.
    pub(crate) const fn team(&self) -> Option<TeamId> {
        let space = match self {
            Self::Put(put) => put.space,
            Self::Apply { apply, .. } => apply.space,
            Self::Rewrite { .. } => return None,
        };
        match space {
            Space::Team(team) => Some(team),
            Space::Content
            | Space::Own(_)
            | Space::Commons
            | Space::Provider
            | Space::Writers(_) => None,
        }
    }

    const fn quorum(&self) -> Option<u16> {
        match self {
            Self::Put(put) | Self::Rewrite { put, .. } => put.quorum,
            Self::Apply { apply, .. } => apply.quorum,
        }
    }

    /// Whether it is possible however little of the record was read.
    fn is_blind(&self) -> bool {
        match self {
            Self::Put(put) => is_unconditional(put) || put.context == WriteContext::Blind,
            Self::Rewrite { .. } => true,
            Self::Apply { .. } => false,
        }
    }
}

/// One write under way.
#[derive(Debug, Clone)]
pub(crate) struct PutOp {
    id: CommandId,
    key: Key,
    work: Work,
    /// The shares of a record that is changed by an operation.
    values: Values,
    /// Whether the turn was given up before the end.
    turn_over: bool,
    deadline: Instant,
    survey: Survey<SignedHead>,
    own: OwnLoad,
    stage: Stage,
}

impl PutOp {
    /// Begins a write.
    pub(crate) fn start(
        core: &mut Core,
        now: Instant,
        id: CommandId,
        work: Work,
    ) -> Result<Self, CommandError> {
        if core.is_cloned() {
            return Err(CommandError::LostOwn);
        }
        if let Some(offset) = core.clock_off() {
            return Err(CommandError::ClockOff(offset));
        }
        let me = core.identity.public_key();
        let key = match &work {
            Work::Put(put) => check(&me, &core.config, put, core.wall(now))?,
            Work::Apply { apply, .. } => apply::check(&me, apply)?,
            Work::Rewrite { .. } => return Err(CommandError::Absent),
        };
        Ok(Self::begin(core, now, id, work, key))
    }

    /// Begins a rewrite of the renewal.
    pub(crate) fn rewrite(
        core: &mut Core,
        now: Instant,
        id: CommandId,
        rewrite: &Rewrite,
    ) -> Result<Self, CommandError> {
        if core.is_cloned() {
            return Err(CommandError::LostOwn);
        }
        if let Some(offset) = core.clock_off() {
            return Err(CommandError::ClockOff(offset));
        }
        let head = &rewrite.head;
        let put = Put {
            space: head.space(),
            name: name_of(head),
            kind: Some(head.kind()),
            value: None,
            ttl: None,
            quorum: None,
            context: WriteContext::Blind,
        };
        let work = Work::Rewrite { put, task: rewrite.task };
        Ok(Self::begin(core, now, id, work, head.key()))
    }

    fn begin(core: &mut Core, now: Instant, id: CommandId, work: Work, key: Key) -> Self {
        let why = match &work {
            Work::Put(_) => "put",
            Work::Rewrite { .. } => "renew",
            Work::Apply { .. } => "apply",
        };
        let asked = Question {
            id,
            key,
            why,
            doubted: false,
            // For replicas that cannot store; small replica sets need relatively more.
            spare: if core.replication() < 8 { 3 } else { 1 },
            places: &[Place::Replica, Place::Own],
            keep: Keep::Digests,
        };
        let deadline = now + core.config.put_deadline;
        let survey = Survey::start(core, now, asked);
        let (own, stage) = (OwnLoad::Missing, Stage::Reading);
        let values = Values::new(id, key);
        Self { id, key, work, values, turn_over: false, deadline, survey, own, stage }
    }

    pub(crate) const fn key(&self) -> Key {
        self.key
    }

    /// The deadline of the reading part; then the time at which acknowledgements are late, and the
    /// deadline of the whole write.
    pub(crate) fn deadline(&self) -> Deadline {
        let end = Deadline::new(self.deadline, "put");
        match &self.stage {
            Stage::Reading => Deadline::new(self.survey.deadline(), "put reads"),
            Stage::Fetching | Stage::Turn(_) | Stage::Delegated(_) => end,
            Stage::Storing(round) => {
                round.deadline().filter(|hedge| hedge.at < end.at).unwrap_or(end)
            }
        }
    }

    /// Whether the deadline of the whole write is over.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline <= now
    }

    const fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Reading)
    }

    /// Takes an event of the survey.
    pub(crate) fn on_event(&mut self, core: &mut Core, now: Instant, event: SurveyEvent) -> Step {
        if let (Stage::Fetching, SurveyEvent::Page(from, page)) = (&self.stage, &event) {
            return self.on_page(core, now, *from, page.clone());
        }
        let local = self.survey.on_event(core, now, event);
        match local.map(|local| (local.place, local.envelopes)) {
            Some((place, Ok(envelopes))) => self.on_local(core, now, place, envelopes),
            Some((_, Err(failure @ StorageFailure::Stopped))) if self.is_reading() => {
                return self.fail(core, failure.into());
            }
            // The answers of the other replicas may do.
            Some((
                _,
                Err(
                    StorageFailure::Full
                    | StorageFailure::Stopped
                    | StorageFailure::Corrupt
                    | StorageFailure::Healing
                    | StorageFailure::Quota,
                ),
            ))
            | None => {}
        }
        if self.is_reading() && self.survey.is_over() {
            let nearest = self.survey.nearest(core);
            if let Some(doubt) = core.doubts_place(&self.key, &nearest)
                && self.survey.widen(core, doubt)
            {
                return Step::Wait;
            }
            self.after_reading(core, now)
        } else {
            Step::Wait
        }
    }

    fn on_local(&mut self, core: &Core, now: Instant, place: Place, envelopes: Vec<Envelope>) {
        let (me, wall) = (core.identity.public_key(), core.wall(now));
        let heads = envelopes.iter().map(Envelope::head);
        // An own future-dated envelope was signed while this node's clock ran ahead; see `sign`.
        let counting = heads.filter(|head| head.writer() != me || !is_future_dated(head, wall));
        self.survey.merge(counting.cloned());
        if let Work::Apply { .. } = self.work {
            self.values.take(envelopes.iter().cloned());
        }
        if place == Place::Own && matches!(self.own, OwnLoad::Missing) {
            self.own = OwnLoad::Loaded(envelopes);
        }
    }

    fn after_reading(&mut self, core: &mut Core, now: Instant) -> Step {
        if self.survey.shows_clock_behind(core) {
            return self.fail(core, CommandError::Clock);
        }
        if let Work::Rewrite { task, .. } = self.work {
            return self.after_reading_for(core, task);
        }
        let needed = core.read_quorum();
        let heads = &*self.survey.believed(core);
        // This node itself counts as one of those that answered.
        let answers = self.survey.answers().len() as u16 + u16::from(core.serves);
        let unsure = answers < needed || self.survey.is_unread(core, answers);
        if !self.work.is_blind() && heads.is_empty() && unsure {
            return self.fail(core, CommandError::TooFewAnswers { answers, needed });
        }
        let put = match &self.work {
            Work::Put(put) | Work::Rewrite { put, .. } => put,
            Work::Apply { apply, .. } => {
                return match apply::ruled_out(apply, heads, core.wall(now)) {
                    Some(error) => self.fail(core, error),
                    None => self.after_reading_for_operation(core, now),
                };
            }
        };
        match Edit::of(put, &core.local.teams.readable(heads), core.wall(now)) {
            Ok(edit) => {
                self.stage = Stage::Turn(Some(edit));
                Step::Turn
            }
            Err(RuledOut::Kind(there)) => {
                let asked = put.kind.unwrap_or_default();
                self.fail(core, CommandError::OtherKind { there, asked })
            }
            Err(RuledOut::Conflict) => {
                core.stats.conflicts += 1;
                Step::Conflict
            }
            Err(RuledOut::Absent) => self.fail(core, CommandError::Absent),
        }
    }

    /// The heads are read for a rewrite. To sign again what an acknowledged delete covers would bring it
    /// back, so as many replicas must have answered as acknowledge a write.
    fn after_reading_for(&mut self, core: &mut Core, task: Task) -> Step {
        let needed = needed(core, None);
        let answers = self.survey.answers().len() as u16 + u16::from(core.serves);
        if task == Task::Renew && (answers < needed || self.survey.is_unread(core, answers)) {
            return self.fail(core, CommandError::TooFewAnswers { answers, needed });
        }
        self.stage = Stage::Turn(None);
        Step::Turn
    }

    /// Another write of this node may have changed the own envelope of the key: the one that was loaded,
    /// or is being loaded, is not used.
    pub(crate) fn forget_own(&mut self) {
        self.own = OwnLoad::Stale;
    }

    /// Begins the turn: signs the next envelope, after loading this node's own one if it is missing or
    /// stale.
    pub(crate) fn take_turn(&mut self, core: &mut Core, now: Instant) -> Step {
        match std::mem::replace(&mut self.own, OwnLoad::Stale) {
            OwnLoad::Loaded(own) => self.sign(core, now, own),
            OwnLoad::Missing | OwnLoad::Stale => {
                let op = StorageOp::Load { key: self.key, place: Place::Own };
                core.storage(op, OpPurpose::PutTurn(self.id));
                Step::Wait
            }
        }
    }

    /// Takes this node's own envelope, loaded in its turn.
    pub(crate) fn on_own(&mut self, core: &mut Core, now: Instant, reply: StorageReply) -> Step {
        match storage::envelopes(reply) {
            Ok(own) => self.sign(core, now, own),
            Err(failure) => self.fail(core, failure.into()),
        }
    }

    /// Signs the envelope that follows this writer's own one, and makes it durable here.
    fn sign(&mut self, core: &mut Core, now: Instant, own: Vec<Envelope>) -> Step {
        let Stage::Turn(edit) = &self.stage else { return Step::Wait };
        let edit = edit.clone();
        let own = own.into_iter().next();
        let (heads, wall) = (self.survey.believed(core), core.wall(now));
        if let Some(told) = heads.of(&core.identity.public_key()) {
            core.watch_own(wall, told, own.as_ref().map(Envelope::head));
        }
        if core.is_cloned() {
            return self.fail(core, CommandError::LostOwn);
        }
        // An envelope that was signed while this node's clock ran ahead, and that no other node stored,
        // is taken back: this write continues from the state before it.
        let early =
            own.as_ref().filter(|own| is_future_dated(own.head(), wall)).map(Envelope::head);
        let early = early.filter(|_| !self.survey.own_future_dated());
        if let Some(early) = early {
            core.take_back(early, None);
        }
        let taken_back = early.is_some();
        let basis = Basis { heads: &heads, own: OwnValues { envelope: own.as_ref(), taken_back } };
        let writer = Writer {
            identity: &core.identity,
            network: &core.network,
            certificate: core.membership.own(),
            config: &core.config,
        };
        let signed = match (&self.work, &edit) {
            (Work::Put(put), Some(edit)) => successor(&writer, &basis, put, edit, wall),
            (Work::Rewrite { task: Task::Renew, .. }, _) => renewed(&writer, &basis, wall),
            (Work::Rewrite { task: Task::Republish, .. }, _) => {
                return self.republish(core, now, own);
            }
            (Work::Apply { apply, .. }, _) => {
                apply::next_share(&writer, &basis, apply, self.values.read(), wall)
            }
            (Work::Put(_), None) => return Step::Wait,
        };
        match signed {
            Ok(envelope) => {
                core.trust_own(envelope.head());
                let (place, how) = (Place::Own, MergeAs::Repair);
                let op = StorageOp::Merge { envelope: envelope.clone(), place, how };
                core.storage(op, OpPurpose::PutOwn(self.id));
                let previous = own.filter(|_| !taken_back);
                let round = Round::new(self.id, self.work.quorum(), envelope, previous, wall);
                let round = match &self.work {
                    Work::Put(_) | Work::Rewrite { .. } => round,
                    Work::Apply { .. } => round.of_operation(self.may_delegate()),
                };
                self.stage = Stage::Storing(Box::new(round));
                Step::Wait
            }
            Err(error) => self.fail(core, error),
        }
    }

    /// Stores this node's own envelope at the replicas again, as it is.
    fn republish(&mut self, core: &mut Core, now: Instant, own: Option<Envelope>) -> Step {
        let Some(own) = own else { return self.fail(core, CommandError::Absent) };
        core.trust_own(own.head());
        // Refused everywhere, it becomes what it was before: itself.
        let mut round = Round::new(self.id, None, own.clone(), Some(own), core.wall(now));
        let progress = round.begin(core, now, self.survey.nearest(core), self.survey.late());
        self.stage = Stage::Storing(Box::new(round));
        self.after_round(core, now, progress)
    }

    /// The own envelope is durable: sends it to the replicas.
    pub(crate) fn on_own_merged(
        &mut self,
        core: &mut Core,
        now: Instant,
        reply: &StorageReply,
    ) -> Step {
        if let StorageReply::Failed(failure) = reply {
            return self.fail(core, (*failure).into());
        }
        let Stage::Storing(round) = &mut self.stage else { return Step::Wait };
        let progress = round.begin(core, now, self.survey.nearest(core), self.survey.late());
        self.after_round(core, now, progress)
    }

    /// What follows from the progress of the round. A put gives its turn up as soon as its envelope is
    /// durable here. An operation keeps it until it is acknowledged: if it is refused, its share is taken
    /// back, and no later share may contain it.
    fn after_round(&mut self, core: &mut Core, now: Instant, progress: Progress) -> Step {
        let Stage::Storing(round) = &self.stage else { return Step::Wait };
        if progress == Progress::Done {
            return if round.is_crowded() { self.delegate(core, now) } else { Step::Done };
        }
        let over = !matches!(self.work, Work::Apply { .. }) || round.is_answered();
        if over && !std::mem::replace(&mut self.turn_over, true) {
            return Step::TurnOver;
        }
        Step::Wait
    }

    /// Takes the result of the merge into this node's own replica.
    pub(crate) fn on_replica_merged(
        &mut self,
        core: &mut Core,
        now: Instant,
        reply: &StorageReply,
    ) -> Step {
        let Stage::Storing(round) = &mut self.stage else { return Step::Wait };
        let progress = round.on_replica_merged(core, reply);
        self.after_round(core, now, progress)
    }

    /// Takes a replica's answer; `None` if the request failed.
    pub(crate) fn on_stored(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: NodeId,
        response: Option<&Response>,
    ) -> Step {
        let Stage::Storing(round) = &mut self.stage else { return Step::Wait };
        let progress = round.on_stored(core, now, from, response);
        self.after_round(core, now, progress)
    }

    /// Time has passed: acknowledgements may be late.
    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant) {
        if let Stage::Storing(round) = &mut self.stage {
            round.on_hedge(core, now);
        }
    }

    /// Whether the deadline of the reading part is over, but not that of the whole write.
    pub(crate) fn only_reads_too_long(&self, now: Instant) -> bool {
        self.is_reading() && self.survey.deadline() <= now && now < self.deadline
    }

    /// The deadline of the write is over. Pending requests are not cancelled.
    pub(crate) fn on_deadline(&self, core: &mut Core) {
        let error = match &self.stage {
            Stage::Storing(round) if round.is_answered() => return,
            Stage::Storing(round) => round.too_few(core),
            Stage::Delegated(_) => CommandError::Unknown,
            Stage::Fetching => self.too_few_values(core),
            // Nothing was signed for it, so it can be repeated.
            Stage::Turn(None) => CommandError::Busy,
            Stage::Reading | Stage::Turn(Some(_)) => CommandError::TooFewAcks {
                acks: 0,
                needed: needed(core, self.work.quorum()),
                wanted: 0,
                members: core.members,
            },
        };
        let _ = self.fail(core, error);
    }

    /// Fails the write, which was not replied to.
    fn fail(&self, core: &mut Core, error: CommandError) -> Step {
        self.survey.stop(core);
        core.reply(self.id, Reply::Failed(error));
        Step::Done
    }
}
