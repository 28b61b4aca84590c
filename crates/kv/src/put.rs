//! One write: read the current state, sign an envelope that supersedes it, make it durable here, then
//! store it at the r closest nodes.
//!
//! The read costs no extra request: the lookup's answers carry the signed heads. The writes of one node
//! to one key take turns from loading the writer's own envelope to making the next one durable, so no
//! two of them issue the same dot. Two writes that read the same state become siblings, so neither is
//! lost.

mod own_values;
mod storing;

use std::collections::VecDeque;

use potluck_base::{Deadline, Instant, Key, NodeId, Peer, UnixMillis};
use potluck_record::limits::{CLOCK_AHEAD_MAX, PROVIDER_LIFE};
use potluck_record::{
    Context, Dot, Draft, DraftError, Envelope, Kind, MergeAs, Place, SignedHead, Space,
    StorageFailure, StorageOp, StorageReply,
};
use potluck_wire::Refusal;

use crate::admissible::{is_admissible, is_future_dated};
use crate::command::{CommandError, CommandId, Put, Reply, WriteContext};
use crate::core::{Core, OpPurpose};
use crate::storage;
use crate::survey::{Event, FUTURE_DATED_QUORUM, Keep, Question, Survey};
use own_values::OwnValues;

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
    /// Remove the write: it was replied to, and none of its requests is pending.
    Done,
}

/// One write under way.
#[derive(Debug, Clone)]
pub(crate) struct PutOp {
    id: CommandId,
    put: Put,
    key: Key,
    deadline: Instant,
    survey: Survey<SignedHead>,
    has_read: bool,
    context: Context,
    envelope: Option<Envelope>,
    /// This writer's envelope before this write.
    previous: Option<Envelope>,
    /// Nodes still to be asked to store, closest first; one replaces a node that cannot store.
    candidates: VecDeque<Peer>,
    wanted: u16,
    in_flight: u16,
    acks: Vec<NodeId>,
    refused: Option<Refusal>,
    /// Whether a replica refused the envelope as future-dated.
    refused_as_future_dated: bool,
    /// Whether a node that did not acknowledge may still have stored the envelope, or store it later.
    unclear: bool,
    /// The wall clock when the envelope was signed.
    signed_at: UnixMillis,
    /// Whether a replica keeps an envelope of this writer that this process did not sign.
    lost: bool,
    answered: bool,
}

impl PutOp {
    /// Begins a write.
    pub(crate) fn start(
        core: &mut Core,
        now: Instant,
        id: CommandId,
        put: Put,
    ) -> Result<Self, CommandError> {
        if core.is_cloned() {
            return Err(CommandError::LostOwn);
        }
        if let Some(offset) = core.clock_off() {
            return Err(CommandError::ClockOff(offset));
        }
        let key = check(core, now, &put)?;
        let asked = Question {
            id,
            key,
            why: "put",
            // For replicas that cannot store; small replica sets need relatively more.
            spare: if core.replication() < 8 { 3 } else { 1 },
            places: &[Place::Replica, Place::Own],
            keep: Keep::Digests,
        };
        Ok(Self {
            id,
            put,
            key,
            deadline: now + core.config.put_deadline,
            survey: Survey::start(core, now, asked),
            has_read: false,
            context: Context::new(),
            envelope: None,
            previous: None,
            candidates: VecDeque::new(),
            wanted: 0,
            in_flight: 0,
            acks: Vec::new(),
            refused: None,
            refused_as_future_dated: false,
            unclear: false,
            signed_at: UnixMillis(0),
            lost: false,
            answered: false,
        })
    }

    pub(crate) const fn key(&self) -> Key {
        self.key
    }

    /// The deadline of the reading part, then of the whole write.
    pub(crate) fn deadline(&self) -> Deadline {
        if self.is_reading() {
            Deadline::new(self.survey.deadline(), "put reads")
        } else {
            Deadline::new(self.deadline, "put")
        }
    }

    const fn is_reading(&self) -> bool {
        !self.has_read
    }

    // --- reading ---

    /// Takes an event of the survey.
    pub(crate) fn on_event(&mut self, core: &mut Core, now: Instant, event: Event) -> Step {
        if let Some(local) = self.survey.on_event(core, now, event) {
            match local.envelopes {
                Ok(envelopes) => self.on_local(core, now, &envelopes),
                Err(failure @ StorageFailure::Stopped) => return self.fail(core, failure.into()),
                // The answers of the other replicas may do.
                Err(StorageFailure::Full | StorageFailure::Corrupt) => {}
            }
        }
        self.after_reading(core, now)
    }

    fn on_local(&mut self, core: &Core, now: Instant, envelopes: &[Envelope]) {
        let (me, wall) = (core.identity.public_key(), core.wall(now));
        let heads = envelopes.iter().map(Envelope::head);
        // An own future-dated envelope was signed while this node's clock ran ahead; see `on_own`.
        let counting = heads.filter(|head| head.writer() != me || !is_future_dated(head, wall));
        self.survey.merge(counting.cloned());
    }

    fn after_reading(&mut self, core: &mut Core, now: Instant) -> Step {
        if self.has_read || !self.survey.is_over() {
            return Step::Wait;
        }
        self.has_read = true;
        if self.survey.future_dated() >= FUTURE_DATED_QUORUM {
            return self.fail(core, CommandError::Clock);
        }
        let needed = core.read_quorum();
        let blind = self.is_unconditional() || self.put.context == WriteContext::Blind;
        // This node itself counts as one of those that answered.
        let answers = self.survey.answers().len() as u16 + u16::from(core.serves);
        let unsure = answers < needed || self.survey.unread() > 0;
        let heads = self.survey.state();
        if !blind && heads.is_empty() && unsure {
            return self.fail(core, CommandError::TooFewAnswers { answers, needed });
        }
        let live = heads.live(core.wall(now));
        let kinds = |kind: Kind| {
            live.iter()
                .filter(|live| heads.of(&live.writer).is_some_and(|head| head.kind() == kind))
                .count()
        };
        self.context = match &self.put.context {
            WriteContext::Given(context) => context.clone(),
            WriteContext::Blind => Context::new(),
            WriteContext::Read if self.is_unconditional() => Context::new(),
            WriteContext::Read => {
                let lww = kinds(Kind::Lww);
                if live.len() - lww + lww.min(1) > 1 {
                    core.stats.conflicts += 1;
                    return Step::Conflict;
                }
                if self.put.value.is_none() && live.is_empty() {
                    return self.fail(core, CommandError::Absent);
                }
                heads.context()
            }
        };
        if self.put.value.is_none()
            && self.put.context != WriteContext::Read
            && !live.iter().any(|live| self.context.covers(&live.writer, live.dot))
        {
            // The deletion would report success and change nothing.
            if live.is_empty() {
                return self.fail(core, CommandError::Absent);
            }
            core.stats.conflicts += 1;
            return Step::Conflict;
        }
        if self.put.kind.is_none() {
            self.put.kind = live
                .first()
                .and_then(|live| heads.of(&live.writer))
                .map(SignedHead::kind)
                .filter(|kind| matches!(kind, Kind::Siblings | Kind::Lww));
        }
        Step::Turn
    }

    /// Whether the write supersedes only the writer's own values: so do content and provider records.
    fn is_unconditional(&self) -> bool {
        matches!(self.put.space, Space::Content | Space::Provider)
    }

    // --- writing ---

    /// Begins the turn: loads this node's own envelope of the key.
    pub(crate) fn take_turn(&mut self, core: &mut Core) {
        let op = StorageOp::Load { key: self.key, place: Place::Own };
        core.storage(op, OpPurpose::PutTurn(self.id));
    }

    /// Takes the writer's current own envelope and signs the next one.
    pub(crate) fn on_own(&mut self, core: &mut Core, now: Instant, reply: StorageReply) -> Step {
        let own = match storage::envelopes(reply) {
            Ok(envelopes) => envelopes.into_iter().next(),
            Err(failure) => return self.fail_in_turn(core, failure.into()),
        };
        let wall = core.wall(now);
        if let Some(told) = self.survey.state().of(&core.identity.public_key()) {
            core.watch_own(wall, told, own.as_ref().map(Envelope::head));
        }
        if core.is_cloned() {
            return self.fail_in_turn(core, CommandError::LostOwn);
        }
        // An envelope that was signed while this node's clock ran ahead, and that no other node stored,
        // is taken back: this write continues from the state before it.
        let early = own
            .as_ref()
            .filter(|own| is_future_dated(own.head(), wall) && !self.survey.own_future_dated());
        if let Some(early) = early {
            core.take_back(early.head(), None);
        }
        let own_values = OwnValues::of(own.as_ref(), early.is_some());
        if early.is_none() {
            self.previous.clone_from(&own);
        }
        let signed = self
            .draft(core, now, &own_values)
            .and_then(|draft| Ok(Envelope::sign(&core.identity, &core.network, draft)?));
        match signed {
            // An envelope that every replica would refuse must not become this writer's own state.
            Ok(envelope) if !is_admissible(&core.config, envelope.head(), core.wall(now)) => {
                self.fail_in_turn(core, CommandError::Clock)
            }
            Ok(envelope) => {
                core.trust_own(envelope.head());
                self.signed_at = wall;
                self.envelope = Some(envelope.clone());
                let op = StorageOp::Merge { envelope, place: Place::Own, how: MergeAs::Repair };
                core.storage(op, OpPurpose::PutOwn(self.id));
                Step::Wait
            }
            Err(error) => self.fail_in_turn(core, error),
        }
    }

    /// The successor of the writer's last envelope.
    fn draft(&self, core: &Core, now: Instant, own: &OwnValues) -> Result<Draft, CommandError> {
        let wall = core.wall(now);
        let me = core.identity.public_key();
        // Replicas may hold newer dots of this writer than its own store, whose envelope expired.
        let told = self.survey.state().of(&me).map(SignedHead::dot).unwrap_or_default();
        let seen = self.survey.state().context().dot_of(&me);
        let last = own.last_dot().max(told).max(seen);
        let mut dot = Dot::next(last, wall);
        let mut context = self.superseded(core, wall, last);
        let mut values = Vec::new();
        if let Some(envelope) = own.envelope.as_ref()
            && self.put.space != Space::Content
        {
            context.join(&own.context(&me, wall));
            if self.put.space == Space::Provider {
                context.cover(me, last);
            }
            let asked_away = |dot| own.taken_back && self.context.covers(&me, dot);
            let kept = envelope.values().filter(|(entry, _)| {
                let covered = context.covers(&me, entry.dot()) || asked_away(entry.dot());
                entry.expires() > wall && !covered
            });
            for (entry, bytes) in kept {
                if own.taken_back {
                    let end = entry.expires().min(wall.plus(core.config.life_max));
                    values.push((dot, end, bytes));
                    dot = Dot::next(dot, wall);
                } else {
                    values.push((entry.dot(), entry.expires(), bytes));
                }
            }
        }
        let kind = self.kind();
        let changes_kind = own.envelope.as_ref().is_some_and(|own| own.head().kind() != kind);
        if changes_kind && !values.is_empty() {
            let rule = "one writer's unmerged values are of one kind; merge them first";
            return Err(DraftError::Rule(rule).into());
        }
        let life = self.put.ttl.unwrap_or(match self.put.space {
            Space::Provider => PROVIDER_LIFE,
            Space::Content | Space::Own(_) | Space::Commons => core.config.life_default,
        });
        let end = wall.plus(life);
        values.extend(self.put.value.clone().map(|value| (dot, end, value)));
        let expires = values
            .iter()
            .map(|value| value.1)
            .chain([end, self.superseded_until(core, wall, &context)])
            .chain(own.expires().filter(|_| !self.is_unconditional()))
            .max()
            .unwrap_or(end);
        let (space, name) = (self.put.space, self.put.name.clone());
        let certificate = core.certificate;
        context.fit_to(core.config.context_entries_max);
        Ok(Draft { space, name, kind, values, dot, context, expires, certificate })
    }

    /// The context that this write supersedes. Its entry for this writer is limited to dots that exist.
    /// Entries too old to cover any unexpired value are dropped.
    fn superseded(&self, core: &Core, wall: UnixMillis, last: Dot) -> Context {
        let me = core.identity.public_key();
        let forgotten = core.config.life_max + CLOCK_AHEAD_MAX * 2;
        let mut context: Context = self
            .context
            .iter()
            .map(|(writer, seen)| (*writer, if *writer == me { seen.min(last) } else { seen }))
            .filter(|(_, seen)| *seen > Dot::ZERO && seen.millis().plus(forgotten) > wall)
            .collect();
        if self.context.floor().millis().plus(forgotten) > wall {
            context.raise_floor(self.context.floor());
        }
        context
    }

    /// The latest expiry of a superseded value. The new envelope must live as long, or the superseded
    /// value would reappear.
    fn superseded_until(&self, core: &Core, wall: UnixMillis, context: &Context) -> UnixMillis {
        if context.is_empty() {
            return UnixMillis(0);
        }
        let all_read = context.iter().all(|(writer, dot)| {
            self.survey.state().of(writer).is_some_and(|head| dot <= head.dot())
                || self.survey.state().context().covers(writer, dot)
        });
        let read = self.survey.state().last_expiry();
        if all_read { read } else { read.max(wall.plus(core.config.life_max)) }
    }

    fn kind(&self) -> Kind {
        match self.put.space {
            Space::Provider => Kind::PerWriter,
            Space::Content => Kind::Lww,
            Space::Own(_) | Space::Commons => self.put.kind.unwrap_or_default(),
        }
    }

    /// Whether the deadline of the reading part is over, but not that of the whole write.
    pub(crate) fn only_reads_too_long(&self, now: Instant) -> bool {
        self.is_reading() && self.survey.deadline() <= now && now < self.deadline
    }

    /// The deadline of the write is over. Pending requests are not cancelled.
    pub(crate) fn on_deadline(&mut self, core: &mut Core) {
        if !self.answered {
            let error = self.too_few(core);
            let _ = self.fail(core, error);
        }
    }

    fn fail(&mut self, core: &mut Core, error: CommandError) -> Step {
        core.stop_lookup(self.id);
        if !std::mem::replace(&mut self.answered, true) {
            core.reply(self.id, Reply::Failed(error));
        }
        Step::Done
    }

    /// Fails the write while it holds the turn.
    fn fail_in_turn(&mut self, core: &mut Core, error: CommandError) -> Step {
        let _ = self.fail(core, error);
        Step::TurnOver
    }

    /// Whether the write was replied to and none of its store requests is pending.
    pub(crate) const fn is_over(&self) -> bool {
        self.answered && self.in_flight == 0
    }
}

/// Whether a context names versions of other writers that lie in the future. Own versions do not
/// count: a node that wrote while its clock ran ahead reads such versions of its own.
fn names_future_versions(core: &Core, now: Instant, context: &Context) -> bool {
    let me = core.identity.public_key();
    let latest = core.wall(now).plus(CLOCK_AHEAD_MAX);
    let others = context.iter().filter(|(writer, _)| **writer != me).map(|(_, dot)| dot);
    others.chain([context.floor()]).any(|dot| dot.millis() > latest)
}

/// Checks a write before any request is sent, and returns its key.
fn check(core: &Core, now: Instant, put: &Put) -> Result<Key, CommandError> {
    if let Some(value) = &put.value
        && value.len() > core.config.value_bytes_max
    {
        return Err(DraftError::ValueTooLarge(value.len()).into());
    }
    if let Some(ttl) = put.ttl
        && ttl > core.config.life_max
    {
        return Err(CommandError::TooLong(core.config.life_max));
    }
    if let WriteContext::Given(context) = &put.context
        && names_future_versions(core, now, context)
    {
        return Err(CommandError::BadContext);
    }
    if !put.space.admits(&core.identity.public_key()) {
        return Err(DraftError::Rule("only its owner writes to an own space").into());
    }
    match (&put.name, &put.value) {
        (Some(name), _) => put.space.key(name),
        (None, Some(value)) if put.space == Space::Content => Some(Space::content_key(value)),
        (None, _) => None,
    }
    .ok_or_else(|| DraftError::Rule("content has a value and no name, all else a name").into())
}
