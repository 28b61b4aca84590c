//! Storing an envelope at the r closest nodes: counting acknowledgements until they are a quorum, and
//! refusals until none can be reached.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Deadline, Instant, NodeId, Peer, RoundTrip, UnixMillis};
use potluck_record::{Envelope, EnvelopeId, MergeAs, Place, StorageOp, StorageReply, ValueEntry};
use potluck_wire::{Refusal, Request, Response, StoreOutcome};

use crate::command::{CommandError, CommandId, Reply, Written};
use crate::core::{AskPurpose, Core, OpPurpose, Progress};
use crate::event::{Delivery, ForeignWrite};
use crate::renewal::is_rewrite;
use crate::stamps;
use crate::storage;

/// Shortest and longest time after which a farther node is asked in place of replicas that have not
/// acknowledged. Between them the time follows the acknowledgements that this node has measured. A
/// shorter time ends more writes without the slow replica and makes more copies at farther nodes.
const HEDGE_MIN: Duration = Duration::from_millis(50);
const HEDGE_MAX: Duration = Duration::from_secs(1);
/// The time while no acknowledgement has been measured. A guess.
const HEDGE_UNKNOWN: Duration = Duration::from_millis(250);

/// When an acknowledgement is late: the usual time plus four deviations, as in RFC 6298.
fn hedge_after(usual: &RoundTrip) -> Duration {
    usual.with_deviations(4).unwrap_or(HEDGE_UNKNOWN).clamp(HEDGE_MIN, HEDGE_MAX)
}

/// The replicas that did not acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Refusals {
    /// The last reason given.
    last: Option<Refusal>,
    /// How many of them refused the envelope as future-dated.
    as_future_dated: u16,
    /// Whether one of them may still have stored the envelope, or store it later.
    unclear: bool,
    /// How many of them say that they keep an envelope of this writer that this process did not sign.
    lost: u16,
}

/// One envelope being stored.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    id: CommandId,
    /// Acknowledgements that the application asks for; `None`: the configured number.
    quorum: Option<u16>,
    envelope: Envelope,
    /// This writer's envelope before it.
    previous: Option<Envelope>,
    /// The wall clock when the envelope was signed.
    signed_at: UnixMillis,
    /// Nodes still to be asked to store, closest first; one replaces a node that cannot store.
    candidates: VecDeque<Peer>,
    wanted: u16,
    in_flight: u16,
    /// The nodes that were asked.
    asked: Vec<Peer>,
    acks: Vec<NodeId>,
    /// Nodes that were sent the writer's certificate, or a work stamp.
    certified: Vec<NodeId>,
    refusals: Refusals,
    answered: bool,
    /// Whether the envelope is a share: an error says for certain whether it can take effect.
    is_share: bool,
    /// Whether the write is given to a replica if all refuse it because there are too many writers.
    delegable: bool,
    /// Whether that is so: it was taken back, and the application was not told.
    crowded: bool,
    /// When the requests were sent.
    begun_at: Instant,
    /// When farther nodes are asked in place of those that have not acknowledged.
    hedge_at: Option<Instant>,
}

impl Round {
    pub(crate) fn new(
        id: CommandId,
        quorum: Option<u16>,
        envelope: Envelope,
        previous: Option<Envelope>,
        signed_at: UnixMillis,
    ) -> Self {
        Self {
            id,
            quorum,
            envelope,
            previous,
            signed_at,
            candidates: VecDeque::new(),
            wanted: 0,
            in_flight: 0,
            asked: Vec::new(),
            acks: Vec::new(),
            certified: Vec::new(),
            refusals: Refusals::default(),
            answered: false,
            is_share: false,
            delegable: false,
            crowded: false,
            begun_at: Instant::ZERO,
            hedge_at: None,
        }
    }

    /// The same for an operation, which is given as refused only if it certainly has no effect. If it is
    /// `delegable` and all replicas refuse it because there are too many writers, the application is
    /// not told, and [`is_crowded`](Self::is_crowded) says so.
    pub(crate) const fn of_operation(mut self, delegable: bool) -> Self {
        self.is_share = true;
        self.delegable = delegable;
        self
    }

    /// Whether the write came to nothing because there are too many writers.
    pub(crate) const fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Whether the application was told that the write is durable.
    pub(crate) const fn is_answered(&self) -> bool {
        self.answered
    }

    /// Sends the envelope, which is durable here as the writer's own, to the replicas among `nearest`, and to
    /// the nodes that belong among them and were `late` to answer the lookup.
    pub(crate) fn begin(
        &mut self,
        core: &mut Core,
        now: Instant,
        nearest: Vec<Peer>,
        late: &[Peer],
    ) -> Progress {
        let key = self.envelope.head().key();
        let replicas = core.replicas_among(&key, &nearest);
        self.wanted = replicas.len() as u16;
        let others = nearest.into_iter().filter(|peer| !replicas.contains(peer));
        self.candidates = replicas.iter().copied().chain(others).collect();
        let farthest = self.candidates.get(usize::from(self.wanted).saturating_sub(1)).copied();
        for _ in 0..self.wanted {
            self.store_at_next(core);
        }
        let closer = |peer: &&Peer| {
            farthest.is_none_or(|farthest| peer.distance(&key) < farthest.distance(&key))
        };
        for peer in late.iter().filter(closer).take(core.replication()) {
            self.store_at(core, *peer);
        }
        self.begun_at = now;
        self.hedge_at = Some(now + hedge_after(&core.store_time));
        if self.in_flight == 0 { self.conclude(core) } else { Progress::Waiting }
    }

    /// When [`on_hedge`](Self::on_hedge) is due; `None` if there is nothing left to do then.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let useful = !self.answered && !self.candidates.is_empty();
        self.hedge_at.filter(|_| useful).map(|at| Deadline::new(at, "put hedge"))
    }

    /// Asks farther nodes, one for each acknowledgement that the write still needs, if acknowledgements
    /// are late. A replica that is slow or has just died does not delay the write by its whole timeout.
    pub(crate) fn on_hedge(&mut self, core: &mut Core, now: Instant) {
        if self.deadline().is_none_or(|due| due.at > now) {
            return;
        }
        let waited = now.since(self.begun_at);
        self.hedge_at = Some(now + waited);
        let missing = needed(core, self.quorum).saturating_sub(self.acks.len() as u16);
        for _ in 0..usize::from(missing).min(self.candidates.len()) {
            core.stats.stores_hedged += 1;
            self.store_at_next(core);
        }
    }

    fn store_at_next(&mut self, core: &mut Core) {
        if let Some(peer) = self.candidates.pop_front() {
            self.store_at(core, peer);
        }
    }

    fn store_at(&mut self, core: &mut Core, peer: Peer) {
        self.in_flight += 1;
        self.asked.push(peer);
        if peer.id == core.me.id {
            let writers_max = core.writers_for(self.envelope.head());
            let op = StorageOp::Merge {
                envelope: self.envelope.clone(),
                place: Place::Replica,
                how: MergeAs::Ingress { writers_max, now: self.signed_at },
            };
            core.storage(op, OpPurpose::PutReplica(self.id));
        } else {
            self.send(core, peer, Vec::new());
        }
    }

    fn send(&self, core: &mut Core, peer: Peer, certificates: Vec<Bytes>) {
        let request = Request::Store { envelopes: vec![self.envelope.encode()], certificates };
        core.ask(peer, request, Delivery::Fitting, AskPurpose::PutStore(self.id, peer.id));
    }

    /// Sends the envelope again, with the writer's certificate, to a node that does not know the certificate.
    /// Most nodes know it from the member's record, so it is not sent before. Returns whether it was sent.
    fn certify(&mut self, core: &mut Core, to: NodeId) -> bool {
        let Some(peer) = self.asked.iter().find(|peer| peer.id == to).copied() else {
            return false;
        };
        let certificates = core.certificates_of([&self.envelope]);
        if certificates.is_empty() || self.certified.contains(&to) {
            return false;
        }
        self.certified.push(to);
        self.send(core, peer, certificates);
        true
    }

    /// Sends the envelope again with a work stamp, to a node that demands one. Once a node; not if this node
    /// made many a moment ago. Returns whether it was sent.
    fn stamp(&mut self, core: &mut Core, now: Instant, to: NodeId) -> bool {
        let Some(peer) = self.asked.iter().find(|peer| peer.id == to).copied() else {
            return false;
        };
        // There are no certificates where there are stamps, so one list serves for both.
        if self.certified.contains(&to) {
            return false;
        }
        let Some(stamp) = stamps::make(core, now, to, &self.envelope) else { return false };
        self.certified.push(to);
        self.send(core, peer, vec![stamp]);
        true
    }

    /// Takes the result of the merge into this node's own replica.
    pub(crate) fn on_replica_merged(&mut self, core: &mut Core, reply: &StorageReply) -> Progress {
        self.on_outcome(core, core.me.id, storage::outcome(reply))
    }

    /// Takes a replica's answer; `None` if the request failed.
    pub(crate) fn on_stored(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: NodeId,
        response: Option<&Response>,
    ) -> Progress {
        if response.is_some() {
            core.store_time.sample(now.since(self.begun_at));
        }
        match response {
            Some(Response::Stored { outcomes }) => match outcomes.first() {
                Some(outcome) => self.on_outcome(core, from, *outcome),
                None => self.on_refusal(core, None),
            },
            Some(Response::Refused { reason: Refusal::StampNeeded, .. })
                if self.stamp(core, now, from) =>
            {
                Progress::Waiting
            }
            Some(Response::Refused { reason, .. }) => self.on_refusal(core, Some(*reason)),
            Some(_) | None => self.on_refusal(core, None),
        }
    }

    fn on_outcome(&mut self, core: &mut Core, from: NodeId, outcome: StoreOutcome) -> Progress {
        match outcome {
            StoreOutcome::Stored(_) => self.on_ack(core, from),
            StoreOutcome::Older { held, .. } => self.on_older(core, from, held),
            StoreOutcome::Refused(Refusal::CertificateNeeded) if self.certify(core, from) => {
                Progress::Waiting
            }
            StoreOutcome::Refused(reason) => self.on_refusal(core, Some(reason)),
        }
    }

    /// A replica holds a newer envelope of this writer. It counts as an acknowledgement only if this
    /// process signed that envelope, because then it carries or supersedes this write.
    fn on_older(&mut self, core: &mut Core, from: NodeId, held: EnvelopeId) -> Progress {
        if core.has_signed(&held) {
            return self.on_ack(core, from);
        }
        self.in_flight -= 1;
        self.refusals.lost += 1;
        let key = self.envelope.head().key();
        // An answer proves nothing, and this node would write nothing any more: what one or two say, a read
        // of the key has to show.
        if from == core.me.id || self.refusals.lost >= self.believed_from(core) {
            core.meet_foreign(ForeignWrite { key, held });
        } else {
            self.refusals.unclear = true;
            core.doubt_own(key);
        }
        self.conclude(core)
    }

    fn on_ack(&mut self, core: &mut Core, from: NodeId) -> Progress {
        self.in_flight -= 1;
        self.acks.push(from);
        self.conclude(core)
    }

    fn on_refusal(&mut self, core: &mut Core, reason: Option<Refusal>) -> Progress {
        self.in_flight -= 1;
        self.refusals.last = reason.or(self.refusals.last);
        self.refusals.as_future_dated += u16::from(reason == Some(Refusal::Ahead));
        self.refusals.unclear |= !reason.is_some_and(is_for_good);
        // A late node that fails was asked besides the replicas, and is not replaced.
        let short = self.acks.len() + usize::from(self.in_flight) < usize::from(self.wanted);
        if short && reason.is_none_or(is_of_the_node) {
            self.store_at_next(core);
        }
        self.conclude(core)
    }

    /// Replies as soon as enough replicas have acknowledged; the other requests continue.
    fn conclude(&mut self, core: &mut Core) -> Progress {
        let acks = self.acks.len() as u16;
        if !self.answered && acks >= needed(core, self.quorum) {
            self.answered = true;
            core.stats.puts_written += u64::from(!is_rewrite(self.id));
            let written = self.written(core);
            core.reply(self.id, Reply::Written(written));
        }
        if self.in_flight > 0 {
            return Progress::Waiting;
        }
        if !self.answered {
            let error = self.why_not(core);
            self.crowded =
                self.delegable && error == CommandError::Refused(Refusal::TooManyWriters);
            if self.crowded {
                return Progress::Done;
            }
            core.reply(self.id, Reply::Failed(error));
        }
        Progress::Done
    }

    /// Replicas that must say something before it is believed.
    fn believed_from(&self, core: &Core) -> u16 {
        let others = self.asked.iter().filter(|peer| peer.id != core.me.id);
        core.believed_from(others.count(), 1)
    }

    /// The error for too few acknowledgements. An envelope that no other replica can have is taken
    /// back, so that a refused value does not appear later.
    fn why_not(&self, core: &mut Core) -> CommandError {
        let Refusals { last, as_future_dated, unclear, lost } = self.refusals;
        let believed_from = self.believed_from(core);
        if lost >= believed_from {
            return CommandError::LostOwn;
        }
        let others = self.acks.iter().filter(|id| **id != core.me.id).count();
        let nowhere = last.is_some() && others == 0 && !unclear;
        if nowhere {
            core.take_back(self.envelope.head(), self.previous.as_ref());
        }
        if as_future_dated >= believed_from {
            return CommandError::ClockAhead;
        }
        match last {
            Some(reason)
                if nowhere || !self.is_share && (self.acks.is_empty() || is_about_room(reason)) =>
            {
                CommandError::Refused(reason)
            }
            Some(_) | None => self.too_few(core),
        }
    }

    fn written(&self, core: &Core) -> Written {
        let head = self.envelope.head();
        Written {
            key: head.key(),
            version: head.dot(),
            acks: self.acks.len() as u16,
            wanted: self.wanted,
            members: core.members,
            expires: head.values().last().map_or(head.expires(), ValueEntry::expires),
            replicas: self.acks.clone(),
        }
    }

    pub(crate) fn too_few(&self, core: &Core) -> CommandError {
        CommandError::TooFewAcks {
            acks: self.acks.len() as u16,
            needed: needed(core, self.quorum),
            wanted: self.wanted,
            members: core.members,
        }
    }
}

/// Acknowledgements that make a write durable; `None`: no number was asked for.
pub(crate) fn needed(core: &Core, quorum: Option<u16>) -> u16 {
    let known = core.members.min(core.replication()) as u16;
    quorum.or(core.config.write_quorum.map(|w| w.min(known))).unwrap_or(known / 2 + 1)
}

/// Whether a replica that refused for this reason certainly does not have the envelope and will not
/// store it later.
const fn is_for_good(reason: Refusal) -> bool {
    matches!(
        reason,
        Refusal::BadEnvelope
            | Refusal::Ahead
            | Refusal::Life
            | Refusal::TooManyWriters
            | Refusal::Full
            | Refusal::Quota
            | Refusal::NotWriter
            | Refusal::NotResponsible
            | Refusal::NotMember
            | Refusal::CertificateNeeded
            | Refusal::NoCommons
            | Refusal::StampNeeded
    )
}

/// Whether a replica that refused for this reason has no room for the envelope.
const fn is_about_room(reason: Refusal) -> bool {
    matches!(reason, Refusal::Full | Refusal::Quota)
}

/// Whether a replica that refused for this reason cannot store, so that the next closest node replaces
/// it. A node that rejected the envelope itself is not replaced: farther nodes may know less about the
/// key, and readers do not ask them.
const fn is_of_the_node(reason: Refusal) -> bool {
    matches!(
        reason,
        Refusal::Busy
            | Refusal::Stopped
            | Refusal::Full
            | Refusal::Quota
            | Refusal::NotServing
            | Refusal::NotResponsible
            | Refusal::Unproven
            | Refusal::StampNeeded
    )
}
