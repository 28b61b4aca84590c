//! One write: read what is there, sign an envelope that supersedes it, make it durable here, then
//! store it at the r closest.
//!
//! The read costs nothing extra: the lookup's answers carry the signed heads. Writes of one node
//! to one key take turns from loading the writer's own envelope to making the next one durable, so
//! no two of them issue the same dot; two that read at the same time become siblings, so neither
//! is lost.

mod own_values;
mod storing;

use std::collections::VecDeque;

use potluck_base::{Deadline, Instant, Key, NodeId, Peer, UnixMillis};
use potluck_record::limits::{CLOCK_AHEAD_MAX, PROVIDER_LIFE};
use potluck_record::{
    Context, Dot, Draft, DraftError, Envelope, Kind, MergeAs, Place, SignedHead, Space, State,
    StorageFailure, StorageOp, StorageReply,
};
use potluck_wire::{Loaded, RecordAnswer, Refusal, Want};

use crate::answer::{self, Held};
use crate::command::{CommandError, CommandId, Put, Reply, WriteContext};
use crate::core::{Core, OpFor};
use crate::gather::{Gathering, heads_of};
use crate::get::CLOCK_WITNESSES;
use crate::serve::{is_admissible, is_ahead};
use own_values::OwnValues;

/// What a write wants its keeper to do.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub(crate) enum Step {
    /// Nothing: it waits.
    Wait,
    /// Give it its turn among this node's writes to the key.
    Turn,
    /// Its turn is over: the next one may begin.
    TurnOver,
    /// Read the siblings and answer with them.
    Conflict,
    /// It has been answered and nothing is under way any more.
    Done,
}

/// One write under way.
#[derive(Debug, Clone)]
pub(crate) struct PutOp {
    id: CommandId,
    put: Put,
    key: Key,
    deadline: Instant,
    heads: State<SignedHead>,
    closest: Option<Vec<Peer>>,
    has_read: bool,
    local_waiting: u8,
    gathering: Gathering,
    /// Nodes that said what they hold, this one included.
    answers: u16,
    /// Nodes that hold something dated ahead of this node's clock.
    ahead: u16,
    /// Whether others hold something of this node's own that is dated ahead of its clock.
    own_ahead: bool,
    /// When reading has taken long enough.
    read_by: Instant,
    context: Context,
    envelope: Option<Envelope>,
    /// This writer's envelope before it.
    previous: Option<Envelope>,
    /// Nodes to turn to when one of the closest does not store.
    candidates: VecDeque<Peer>,
    wanted: u16,
    in_flight: u16,
    acks: Vec<NodeId>,
    refused: Option<Refusal>,
    /// Whether a replica refused it as dated ahead.
    refused_as_ahead: bool,
    /// Whether a node that did not acknowledge may have it all the same, or take it later.
    unclear: bool,
    /// When it was signed.
    signed_at: UnixMillis,
    /// Whether a replica keeps an envelope of this writer that this process did not sign.
    lost: bool,
    answered: bool,
}

impl PutOp {
    /// Begins a write, or says why not.
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
        for place in [Place::Replica, Place::Own] {
            core.storage(StorageOp::Load { key, place }, OpFor::CommandLoad(id));
        }
        // Stand-ins for replicas that cannot store; small sets need relatively more.
        let spare = if core.replication() < 8 { 3 } else { 1 };
        core.lookup_wider(id, key, Want::Heads, "put", spare);
        Ok(Self {
            id,
            put,
            key,
            deadline: now + core.config.put_deadline,
            heads: State::new(),
            closest: None,
            has_read: false,
            local_waiting: 2,
            gathering: Gathering::new(id, key),
            answers: u16::from(core.serves),
            ahead: 0,
            own_ahead: false,
            read_by: now + core.read_patience(),
            context: Context::new(),
            envelope: None,
            previous: None,
            candidates: VecDeque::new(),
            wanted: 0,
            in_flight: 0,
            acks: Vec::new(),
            refused: None,
            refused_as_ahead: false,
            unclear: false,
            signed_at: UnixMillis(0),
            lost: false,
            answered: false,
        })
    }

    pub(crate) const fn key(&self) -> Key {
        self.key
    }

    /// When it needs a look: its reading, or all of it, has taken long enough.
    pub(crate) fn deadline(&self) -> Deadline {
        if self.is_reading() {
            Deadline::new(self.read_by, "put reads")
        } else {
            Deadline::new(self.deadline, "put")
        }
    }

    const fn is_reading(&self) -> bool {
        !self.has_read
    }

    // --- reading ---

    pub(crate) fn on_local(&mut self, core: &mut Core, now: Instant, reply: StorageReply) -> Step {
        self.local_waiting = self.local_waiting.saturating_sub(1);
        match reply {
            StorageReply::Loaded { envelopes } => {
                let (held, wall) = (Held::local(envelopes), core.wall(now));
                let me = core.identity.public_key();
                heads_of(&held.state)
                    // Signed when this node's clock ran ahead; see `on_own`.
                    .filter(|head| head.writer() != me || !is_ahead(head, wall))
                    .for_each(|head| {
                        self.heads.merge(head);
                    });
            }
            StorageReply::Failed(failure @ StorageFailure::Stopped) => {
                return self.fail(core, failure.into());
            }
            _ => {}
        }
        self.after_reading(core, now)
    }

    pub(crate) fn on_found(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: Peer,
        record: &RecordAnswer,
    ) {
        if record.complete {
            let wall = core.wall(now);
            if let Some(held) = answer::heads(core, wall, &self.key, &record.parts) {
                self.answers += 1;
                self.ahead += u16::from(held.ahead);
                self.own_ahead |= held.own_ahead;
                held.state.iter().for_each(|head| {
                    self.heads.merge(head.clone());
                });
            }
        } else if record.digest == self.heads.digest() {
            self.answers += 1;
        } else {
            self.gathering.start(core, from, record.digest);
        }
    }

    pub(crate) fn on_load(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: NodeId,
        loaded: Option<Loaded>,
    ) -> Step {
        let wall = core.wall(now);
        if let Some(gathered) = self.gathering.on_loaded(core, wall, from, loaded) {
            self.answers += gathered.holders.len() as u16;
            self.ahead += u16::from(gathered.held.ahead) * gathered.holders.len() as u16;
            self.own_ahead |= gathered.held.own_ahead;
            heads_of(&gathered.held.state).for_each(|head| {
                self.heads.merge(head);
            });
        }
        self.after_reading(core, now)
    }

    pub(crate) fn on_lookup_done(
        &mut self,
        core: &mut Core,
        now: Instant,
        closest: Vec<Peer>,
    ) -> Step {
        self.closest = Some(closest);
        self.after_reading(core, now)
    }

    fn after_reading(&mut self, core: &mut Core, now: Instant) -> Step {
        let waiting = self.local_waiting > 0 || self.gathering.is_waiting();
        if self.has_read || self.closest.is_none() || waiting {
            return Step::Wait;
        }
        self.has_read = true;
        if self.ahead >= CLOCK_WITNESSES {
            return self.fail(core, CommandError::Clock);
        }
        let needed = core.read_quorum();
        let blind = self.is_unconditional() || self.put.context == WriteContext::Blind;
        let unsure = self.answers < needed || self.gathering.unread() > 0;
        if !blind && self.heads.is_empty() && unsure {
            let answers = self.answers;
            return self.fail(core, CommandError::TooFewAnswers { answers, needed });
        }
        let live = self.heads.live(core.wall(now));
        let kinds = |kind: Kind| {
            live.iter()
                .filter(|live| self.heads.of(&live.writer).is_some_and(|head| head.kind() == kind))
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
                self.heads.context()
            }
        };
        if self.put.value.is_none()
            && self.put.context != WriteContext::Read
            && !live.iter().any(|live| self.context.covers(&live.writer, live.dot))
        {
            // It would say that it is done, and everything would be as before.
            if live.is_empty() {
                return self.fail(core, CommandError::Absent);
            }
            core.stats.conflicts += 1;
            return Step::Conflict;
        }
        if self.put.kind.is_none() {
            self.put.kind = live
                .first()
                .and_then(|live| self.heads.of(&live.writer))
                .map(SignedHead::kind)
                .filter(|kind| matches!(kind, Kind::Siblings | Kind::Lww));
        }
        Step::Turn
    }

    /// Content and provider records supersede nothing but the writer's own.
    fn is_unconditional(&self) -> bool {
        matches!(self.put.space, Space::Content | Space::Provider)
    }

    // --- writing ---

    /// It is this write's turn: load what this node wrote last under the key.
    pub(crate) fn take_turn(&mut self, core: &mut Core) {
        let op = StorageOp::Load { key: self.key, place: Place::Own };
        core.storage(op, OpFor::PutTurn(self.id));
    }

    /// The writer's own envelope as it is now: sign the next one.
    pub(crate) fn on_own(&mut self, core: &mut Core, now: Instant, reply: StorageReply) -> Step {
        let own = match reply {
            StorageReply::Loaded { envelopes } => envelopes.into_iter().next(),
            StorageReply::Failed(failure) => {
                return self.fail_in_turn(core, failure.into());
            }
            _ => None,
        };
        let wall = core.wall(now);
        if let Some(told) = self.heads.of(&core.identity.public_key()) {
            core.watch_own(wall, told, own.as_ref().map(Envelope::head));
        }
        if core.is_cloned() {
            return self.fail_in_turn(core, CommandError::LostOwn);
        }
        // What was signed when this node's clock ran ahead, and nobody else took, is taken back:
        // this write goes on from before it.
        let early = own.as_ref().filter(|own| is_ahead(own.head(), wall) && !self.own_ahead);
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
            // What every replica would refuse must not become this writer's own state.
            Ok(envelope) if !is_admissible(core, envelope.head(), core.wall(now)) => {
                self.fail_in_turn(core, CommandError::Clock)
            }
            Ok(envelope) => {
                core.trust_own(envelope.head());
                self.signed_at = wall;
                self.envelope = Some(envelope.clone());
                let op = StorageOp::Merge { envelope, place: Place::Own, how: MergeAs::Repair };
                core.storage(op, OpFor::PutOwn(self.id));
                Step::Wait
            }
            Err(error) => self.fail_in_turn(core, error),
        }
    }

    /// The envelope that this write makes of the writer's last one.
    fn draft(&self, core: &Core, now: Instant, own: &OwnValues) -> Result<Draft, CommandError> {
        let wall = core.wall(now);
        let me = core.identity.public_key();
        // Replicas may remember more of this writer than its own store: an own envelope expired.
        let told = self.heads.of(&me).map(SignedHead::dot).unwrap_or_default();
        let seen = self.heads.context().dot_of(&me);
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
            _ => core.config.life_default,
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

    /// What this write supersedes, cut to dots of this writer that exist and to what can still be
    /// alive anywhere: an older entry covers nothing any more.
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

    /// Until when something superseded may live: as long its successor must, or it would come back.
    fn superseded_until(&self, core: &Core, wall: UnixMillis, context: &Context) -> UnixMillis {
        if context.is_empty() {
            return UnixMillis(0);
        }
        let all_read = context.iter().all(|(writer, dot)| {
            self.heads.of(writer).is_some_and(|head| dot <= head.dot())
                || self.heads.context().covers(writer, dot)
        });
        let read = self.heads.last_expiry();
        if all_read { read } else { read.max(wall.plus(core.config.life_max)) }
    }

    fn kind(&self) -> Kind {
        match self.put.space {
            Space::Provider => Kind::PerWriter,
            Space::Content => Kind::Lww,
            Space::Own(_) | Space::Commons => self.put.kind.unwrap_or_default(),
        }
    }

    /// Reading has taken long enough: go on with what has come.
    pub(crate) fn on_read_deadline(&mut self, core: &mut Core, now: Instant) -> Step {
        core.stop_lookup(self.id);
        self.gathering.abandon();
        self.local_waiting = 0;
        self.closest.get_or_insert_default();
        self.after_reading(core, now)
    }

    /// Whether it is the reading that has taken long enough, and not the whole.
    pub(crate) fn only_reads_too_long(&self, now: Instant) -> bool {
        self.is_reading() && self.read_by <= now && now < self.deadline
    }

    /// Its time is over. Whatever is still under way is left to itself.
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

    /// Fails while holding the turn.
    fn fail_in_turn(&mut self, core: &mut Core, error: CommandError) -> Step {
        let _ = self.fail(core, error);
        Step::TurnOver
    }

    /// Whether it has been answered and nothing is under way.
    pub(crate) const fn is_over(&self) -> bool {
        self.answered && self.in_flight == 0
    }
}

/// Whether a context names versions of others that no clock has reached. A node that wrote while its
/// own clock ran ahead reads such versions of its own.
fn is_from_ahead(core: &Core, now: Instant, context: &Context) -> bool {
    let me = core.identity.public_key();
    let latest = core.wall(now).plus(CLOCK_AHEAD_MAX);
    let others = context.iter().filter(|(writer, _)| **writer != me).map(|(_, dot)| dot);
    others.chain([context.floor()]).any(|dot| dot.millis() > latest)
}

/// Checks a write before anything is sent, and gives its key.
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
        && is_from_ahead(core, now, context)
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
