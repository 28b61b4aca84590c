//! The second half of a write: storing the envelope at the r closest nodes and counting
//! acknowledgements and refusals.

use potluck_base::{NodeId, UnixMillis};
use potluck_record::{Envelope, EnvelopeId, MergeAs, Place, SignedHead, StorageOp, StorageReply};
use potluck_wire::{Refusal, Request, Response, StoreOutcome};

use crate::command::{CommandError, Reply, Written};
use crate::core::{AskPurpose, Core, OpPurpose};
use crate::event::{Delivery, ForeignWrite};
use crate::storage;

use super::{PutOp, Step};

impl PutOp {
    /// The own envelope is durable: sends it to the replicas.
    pub(crate) fn on_own_merged(&mut self, core: &mut Core, reply: &StorageReply) -> Step {
        if let StorageReply::Failed(failure) = reply {
            return self.fail_in_turn(core, (*failure).into());
        }
        self.candidates = self.survey.nearest(core).into();
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
            let writers_max = core.config.writers_of(envelope.head().space());
            let op = StorageOp::Merge {
                envelope: envelope.clone(),
                place: Place::Replica,
                how: MergeAs::Ingress { writers_max, now: self.signed_at },
            };
            core.storage(op, OpPurpose::PutReplica(self.id));
        } else {
            let (envelopes, certificates) = (vec![envelope.encode()], Vec::new());
            let request = Request::Store { envelopes, certificates };
            core.ask(peer, request, Delivery::Fitting, AskPurpose::PutStore(self.id, peer.id));
        }
    }

    /// Takes the result of the merge into this node's own replica.
    pub(crate) fn on_replica_merged(&mut self, core: &mut Core, reply: &StorageReply) -> Step {
        self.on_outcome(core, core.me.id, storage::outcome(reply))
    }

    /// Takes a replica's answer; `None` if the request failed.
    pub(crate) fn on_stored(
        &mut self,
        core: &mut Core,
        from: NodeId,
        response: Option<&Response>,
    ) -> Step {
        match response {
            Some(Response::Stored { outcomes }) => match outcomes.first() {
                Some(outcome) => self.on_outcome(core, from, *outcome),
                None => self.on_refusal(core, None),
            },
            Some(Response::Refused { reason, .. }) => self.on_refusal(core, Some(*reason)),
            Some(_) | None => self.on_refusal(core, None),
        }
    }

    fn on_outcome(&mut self, core: &mut Core, from: NodeId, outcome: StoreOutcome) -> Step {
        match outcome {
            StoreOutcome::Stored(_) => self.on_ack(core, from),
            StoreOutcome::Older { held, .. } => self.on_older(core, from, held),
            StoreOutcome::Refused(reason) => self.on_refusal(core, Some(reason)),
        }
    }

    /// A replica holds a newer envelope of this writer. It counts as an acknowledgement only if this
    /// process signed that envelope, because then it carries or supersedes this write.
    fn on_older(&mut self, core: &mut Core, from: NodeId, held: EnvelopeId) -> Step {
        if core.has_signed(&held) {
            return self.on_ack(core, from);
        }
        core.meet_foreign(ForeignWrite { key: self.key, held });
        self.in_flight -= 1;
        self.lost = true;
        self.conclude(core)
    }

    fn on_ack(&mut self, core: &mut Core, from: NodeId) -> Step {
        self.in_flight -= 1;
        self.acks.push(from);
        self.conclude(core)
    }

    fn on_refusal(&mut self, core: &mut Core, reason: Option<Refusal>) -> Step {
        self.in_flight -= 1;
        self.refused = reason.or(self.refused);
        self.refused_as_future_dated |= reason == Some(Refusal::Ahead);
        self.unclear |= !reason.is_some_and(is_for_good);
        // A node that cannot store is replaced by the next closest one. A node that rejected the
        // envelope itself is not: farther nodes may know less about the key, and readers do not ask
        // them.
        let cannot = match reason {
            None => true,
            Some(reason) => matches!(
                reason,
                Refusal::Busy
                    | Refusal::Stopped
                    | Refusal::Full
                    | Refusal::NotServing
                    | Refusal::Unproven
            ),
        };
        if cannot {
            self.store_at_next(core);
        }
        self.conclude(core)
    }

    fn needed(&self, core: &Core) -> u16 {
        let known = core.members.min(core.replication()) as u16;
        self.put.quorum.or(core.config.write_quorum.map(|w| w.min(known))).unwrap_or(known / 2 + 1)
    }

    /// Replies as soon as enough replicas have acknowledged; the other requests continue.
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
            let error = self.why_not(core, acks);
            return self.fail(core, error);
        }
        Step::Done
    }

    /// The error for too few acknowledgements. An envelope that no other replica can have is taken
    /// back, so that a refused value does not appear later.
    fn why_not(&self, core: &mut Core, acks: u16) -> CommandError {
        let others = self.acks.iter().filter(|id| **id != core.me.id).count();
        if self.lost {
            return CommandError::LostOwn;
        }
        let nowhere = self.refused.is_some() && others == 0 && !self.unclear;
        if let Some(envelope) = self.envelope.as_ref().filter(|_| nowhere) {
            core.take_back(envelope.head(), self.previous.as_ref());
        }
        if self.refused_as_future_dated {
            return CommandError::ClockAhead;
        }
        match self.refused {
            Some(reason) if nowhere || acks == 0 || reason == Refusal::Full => {
                CommandError::Refused(reason)
            }
            _ => self.too_few(core),
        }
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
                (None, None) => UnixMillis(0),
            },
            replicas: self.acks.clone(),
        }
    }

    pub(super) fn too_few(&self, core: &Core) -> CommandError {
        CommandError::TooFewAcks {
            acks: self.acks.len() as u16,
            needed: self.needed(core),
            wanted: self.wanted,
            members: core.members,
        }
    }
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
    )
}
