//! The budgets of peers: requests that are turned away, and peers that are ignored.

use std::time::Duration;

use potluck_base::{Instant, Machine as _, PublicKey};
use potluck_gossip::TopicsInput;
use potluck_wire::{Refusal, Response, encode_response};

use super::Node;
use super::pending::ReplyPath;
use crate::output::Output;
use crate::price::{IGNORED_FOR, Ruling, SIGNATURE};

impl Node {
    /// Refuses a request that is over the budget of its sender. A call of an ignored peer is answered
    /// too, since its stream would wait; its connection is closed soon.
    pub(super) fn turn_away(&mut self, now: Instant, reply_path: ReplyPath, ruling: Ruling) {
        let after = match ruling {
            Ruling::Busy(after) => after,
            Ruling::Serve | Ruling::Drop => Duration::ZERO,
        };
        let busy = Response::refused(Refusal::Busy);
        match reply_path {
            ReplyPath::Call(inbound) => {
                let bytes = encode_response(&busy);
                self.outbox.push_back(Output::RefuseCall { inbound, bytes, after });
            }
            ReplyPath::Datagram(_) => self.answer(now, reply_path, &busy),
        }
    }

    /// Signatures were checked for messages that `peer` published or pushed.
    pub(super) fn on_message_checked(
        &mut self,
        now: Instant,
        peer: PublicKey,
        signatures: u32,
        bad: bool,
    ) {
        self.on_checked(now, peer, signatures, bad);
        if let Some(until) = self.prices.owes_until(now, &peer) {
            let input = TopicsInput::OverBudget { publisher: peer, until };
            self.gossip.topics.handle(now, input);
        }
    }

    /// Signatures were checked for a request of `peer`.
    pub(super) fn on_checked(&mut self, now: Instant, peer: PublicKey, signatures: u32, bad: bool) {
        self.prices.charge(now, &peer, signatures.saturating_mul(SIGNATURE));
        if bad && self.prices.strike(now, &peer) {
            self.link.ignore(&peer, now + IGNORED_FOR);
            let time = IGNORED_FOR;
            self.outbox.push_back(Output::Ignore { public_key: peer, time });
        }
    }
}
