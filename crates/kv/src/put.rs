//! One write: read what is there, sign an envelope that supersedes it, make it durable here, then
//! store it at the r closest.
//!
//! The read costs nothing extra: the lookup's answers carry the signed heads. Writes of one node
//! to one key take turns from loading the writer's own envelope to making the next one durable, so
//! no two of them issue the same dot; two that read at the same time become siblings, so neither
//! is lost.

use std::collections::VecDeque;

use potluck_base::{Deadline, Instant, Key, NodeId, Peer};
use potluck_record::limits::{CLOCK_AHEAD_MAX, PROVIDER_LIFE};
use potluck_record::{
    Context, Dot, Draft, DraftError, Envelope, Kind, Place, SignedHead, Space, State, StateDigest,
    StorageFailure, StorageOp, StorageReply,
};
use potluck_wire::{Load, RecordAnswer, Refusal, Request, Response, Want};

use crate::answer;
use crate::command::{CommandError, CommandId, Put, Reply, WriteContext, Written};
use crate::core::{AskFor, Core, OpFor, Way};

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
    local_waiting: u8,
    loads_waiting: u8,
    context: Context,
    envelope: Option<Envelope>,
    /// Nodes to turn to when one of the closest does not store.
    candidates: VecDeque<Peer>,
    wanted: u16,
    in_flight: u16,
    acks: Vec<NodeId>,
    refused: Option<Refusal>,
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
        let key = check(core, now, &put)?;
        for place in [Place::Replica, Place::Own] {
            core.storage(StorageOp::Load { key, place }, OpFor::CommandLoad(id));
        }
        core.lookup(id, key, Want::Heads, "put");
        Ok(Self {
            id,
            put,
            key,
            deadline: now + core.config.put_deadline,
            heads: State::new(),
            closest: None,
            local_waiting: 2,
            loads_waiting: 0,
            context: Context::new(),
            envelope: None,
            candidates: VecDeque::new(),
            wanted: 0,
            in_flight: 0,
            acks: Vec::new(),
            refused: None,
            answered: false,
        })
    }

    pub(crate) const fn key(&self) -> Key {
        self.key
    }

    pub(crate) const fn deadline(&self) -> Deadline {
        Deadline::new(self.deadline, "put")
    }

    // --- reading ---

    pub(crate) fn on_local(&mut self, core: &mut Core, now: Instant, reply: StorageReply) -> Step {
        self.local_waiting -= 1;
        match reply {
            StorageReply::Loaded { envelopes } => {
                for envelope in envelopes {
                    self.heads.merge(envelope.head().clone());
                }
            }
            StorageReply::Failed(failure @ StorageFailure::Stopped) => {
                return self.fail(core, failure.into());
            }
            _ => {}
        }
        self.after_reading(core, now)
    }

    pub(crate) fn on_found(&mut self, core: &mut Core, from: Peer, record: &RecordAnswer) {
        if record.complete {
            if let Some(held) = answer::heads(core, &self.key, &record.parts) {
                held.iter().for_each(|head| {
                    self.heads.merge(head.clone());
                });
            }
        } else if record.digest != StateDigest::EMPTY && record.digest != self.heads.digest() {
            self.loads_waiting += 1;
            let load = Load { keys: vec![self.key], after: None };
            core.ask(from, Request::Load(load), Way::Call, AskFor::Load(self.id, from));
        }
    }

    pub(crate) fn on_load(
        &mut self,
        core: &mut Core,
        now: Instant,
        envelopes: Option<&[bytes::Bytes]>,
    ) -> Step {
        self.loads_waiting -= 1;
        if let Some(held) = envelopes.and_then(|parts| answer::envelopes(core, &self.key, parts)) {
            held.iter().for_each(|envelope| {
                self.heads.merge(envelope.head().clone());
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
        if self.closest.is_none() || self.local_waiting > 0 || self.loads_waiting > 0 {
            return Step::Wait;
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
        match self.draft(core, now, own.as_ref()).and_then(|draft| {
            Envelope::sign(&core.identity, &core.network, draft).map_err(CommandError::from)
        }) {
            Ok(envelope) => {
                core.trust_own(envelope.head());
                self.envelope = Some(envelope.clone());
                let op = StorageOp::Merge { envelope, place: Place::Own, writers_max: None };
                core.storage(op, OpFor::PutOwn(self.id));
                Step::Wait
            }
            Err(error) => self.fail_in_turn(core, error),
        }
    }

    /// The envelope that this write makes of the writer's last one.
    fn draft(
        &self,
        core: &Core,
        now: Instant,
        own: Option<&Envelope>,
    ) -> Result<Draft, CommandError> {
        let wall = core.wall(now);
        let me = core.identity.public_key();
        let last = own.map(|own| own.head().dot()).unwrap_or_default();
        let dot = Dot::next(last, wall);
        let mut context: Context = self
            .context
            .iter()
            .map(|(writer, seen)| (*writer, if *writer == me { seen.min(last) } else { seen }))
            .filter(|(_, seen)| *seen > Dot::ZERO)
            .collect();
        let mut values = Vec::new();
        if let Some(own) = own
            && self.put.space != Space::Content
        {
            context.join(own.head().context());
            if self.put.space == Space::Provider {
                context.cover(me, last);
            }
            values.extend(
                own.values()
                    .filter(|(entry, _)| {
                        entry.expires() > wall && !context.covers(&me, entry.dot())
                    })
                    .map(|(entry, bytes)| (entry.dot(), entry.expires(), bytes)),
            );
        }
        let life = self.put.ttl.unwrap_or(match self.put.space {
            Space::Provider => PROVIDER_LIFE,
            _ => core.config.life_default,
        });
        let end = wall.plus(life);
        values.extend(self.put.value.clone().map(|value| (dot, end, value)));
        // What supersedes must outlive what it supersedes, or that would come back.
        let superseded = if context.is_empty() { end } else { self.heads.last_expiry().max(end) };
        let expires = values.iter().map(|value| value.1).max().unwrap_or(end).max(superseded);
        Ok(Draft {
            space: self.put.space,
            name: self.put.name.clone(),
            kind: match self.put.space {
                Space::Provider => Kind::PerWriter,
                Space::Content => Kind::Lww,
                Space::Own(_) | Space::Commons => self.put.kind.unwrap_or_default(),
            },
            values,
            dot,
            context,
            expires,
        })
    }

    /// The own envelope is durable: send it to the replicas.
    pub(crate) fn on_own_merged(&mut self, core: &mut Core, reply: &StorageReply) -> Step {
        if let StorageReply::Failed(failure) = reply {
            return self.fail_in_turn(core, (*failure).into());
        }
        let mut targets = self.closest.clone().unwrap_or_default();
        targets.extend(core.serves.then_some(core.me));
        targets.sort_by_key(|peer| peer.distance(&self.key));
        targets.dedup();
        self.candidates = targets.into();
        self.wanted = self.candidates.len().min(core.replication()) as u16;
        for _ in 0..self.wanted {
            self.store_at_next(core);
        }
        if self.in_flight == 0 {
            let _ = self.conclude(core);
        }
        Step::TurnOver
    }

    fn store_at_next(&mut self, core: &mut Core) {
        let (Some(peer), Some(envelope)) = (self.candidates.pop_front(), &self.envelope) else {
            return;
        };
        self.in_flight += 1;
        if peer.id == core.me.id {
            let op = StorageOp::Merge {
                envelope: envelope.clone(),
                place: Place::Replica,
                writers_max: Some(potluck_record::limits::WRITERS_MAX),
            };
            core.storage(op, OpFor::PutReplica(self.id));
        } else {
            let request = Request::Store { envelopes: vec![envelope.encode()] };
            core.ask(peer, request, Way::Fitting, AskFor::PutStore(self.id, peer.id));
        }
    }

    /// This node's own replica took it, or not.
    pub(crate) fn on_replica_merged(&mut self, core: &mut Core, reply: &StorageReply) -> Step {
        let me = core.me.id;
        match reply {
            StorageReply::Merged { .. } => self.on_ack(core, me),
            StorageReply::TooManyWriters => self.on_refusal(core, Some(Refusal::TooManyWriters)),
            StorageReply::Failed(StorageFailure::Full) => {
                self.on_refusal(core, Some(Refusal::Full))
            }
            _ => self.on_refusal(core, Some(Refusal::Stopped)),
        }
    }

    /// A replica answered, or did not (`None`).
    pub(crate) fn on_stored(
        &mut self,
        core: &mut Core,
        from: NodeId,
        response: Option<&Response>,
    ) -> Step {
        match response {
            Some(Response::Stored { outcomes }) => match outcomes.first() {
                Some(outcome) if outcome.digest.is_some() => self.on_ack(core, from),
                Some(outcome) => self.on_refusal(core, outcome.refused),
                None => self.on_refusal(core, None),
            },
            Some(Response::Refused { reason }) => self.on_refusal(core, Some(*reason)),
            Some(_) | None => self.on_refusal(core, None),
        }
    }

    fn on_ack(&mut self, core: &mut Core, from: NodeId) -> Step {
        self.in_flight -= 1;
        self.acks.push(from);
        self.conclude(core)
    }

    fn on_refusal(&mut self, core: &mut Core, reason: Option<Refusal>) -> Step {
        self.in_flight -= 1;
        self.refused = reason.or(self.refused);
        self.store_at_next(core);
        self.conclude(core)
    }

    fn needed(&self, core: &Core) -> u16 {
        let known = core.members.min(core.replication()) as u16;
        self.put.quorum.or(core.config.write_quorum.map(|w| w.min(known))).unwrap_or(known / 2 + 1)
    }

    /// Answers as soon as enough replicas have acknowledged; the rest goes on behind.
    fn conclude(&mut self, core: &mut Core) -> Step {
        let acks = self.acks.len() as u16;
        let needed = self.needed(core);
        if !self.answered && acks >= needed {
            self.answered = true;
            core.stats.puts_written += 1;
            let written = self.written(core);
            core.reply(self.id, Reply::Written(written));
        }
        if self.in_flight > 0 {
            return Step::Wait;
        }
        if !self.answered {
            let error = match self.refused {
                Some(reason) if acks == 0 => CommandError::Refused(reason),
                _ => self.too_few(core),
            };
            return self.fail(core, error);
        }
        Step::Done
    }

    fn written(&self, core: &Core) -> Written {
        let head = self.envelope.as_ref().map(Envelope::head);
        let value = head.and_then(|head| head.values().last());
        Written {
            key: self.key,
            version: head.map(SignedHead::dot).unwrap_or_default(),
            acks: self.acks.len() as u16,
            wanted: self.wanted,
            members: core.members,
            expires: match (value, head) {
                (Some(value), _) => value.expires(),
                (None, Some(head)) => head.expires(),
                (None, None) => potluck_base::UnixMillis(0),
            },
            replicas: self.acks.clone(),
        }
    }

    fn too_few(&self, core: &Core) -> CommandError {
        CommandError::TooFewAcks {
            acks: self.acks.len() as u16,
            needed: self.needed(core),
            wanted: self.wanted,
            members: core.members,
        }
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
        && context.highest().millis() > core.wall(now).plus(CLOCK_AHEAD_MAX)
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
