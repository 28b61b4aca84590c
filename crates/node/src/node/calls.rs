//! Calls over QUIC: answers to those of this node, and those of other nodes.

use bytes::Bytes;
use potluck_base::{Contact, Instant, Machine as _};
use potluck_wire::limits::CALL_BYTES_MAX;
use potluck_wire::{Response, decode_request, decode_response};

use super::Node;
use super::answers::Answer;
use super::pending::{Asker, ReplyPath};
use super::requests::InboundRequest;
use crate::input::{CallId, InboundId};
use crate::price::Ruling;

impl Node {
    /// A call was answered with `bytes`, or failed.
    pub(super) fn on_call_answered(&mut self, now: Instant, call: CallId, bytes: Option<&Bytes>) {
        let Some((asker, to)) = self.pending.take_call(call) else { return };
        match (bytes.map(|bytes| decode_response(bytes)), asker) {
            (Some(Ok(response)), asker) => {
                self.on_answered(now, asker, Answer { from: to, response, times: None });
            }
            // The node is alive, but its answer cannot be decoded.
            (Some(Err(_)), Asker::Kv(ask)) => {
                self.kv.handle(now, potluck_kv::Input::Failed { ask });
            }
            (Some(Err(_)) | None, asker) => self.on_failed(now, asker, &to),
        }
    }

    pub(super) fn on_called(
        &mut self,
        now: Instant,
        from: Contact,
        inbound: InboundId,
        bytes: &Bytes,
    ) {
        let reply_path = ReplyPath::Call(inbound);
        let ruling = self.prices.admit_call(now, &from.public_key, bytes.len());
        if ruling != Ruling::Drop {
            self.hear(now, from);
        }
        if ruling != Ruling::Serve {
            return self.turn_away(now, reply_path, ruling);
        }
        match decode_request(bytes) {
            Ok(request) => {
                let ruling = self.prices.admit_request(now, &from.public_key, &request);
                if ruling != Ruling::Serve {
                    return self.turn_away(now, reply_path, ruling);
                }
                let inbound =
                    InboundRequest { from, proven: true, budget: CALL_BYTES_MAX, reply_path };
                self.on_request(now, inbound, request);
            }
            Err(_) => self.answer(now, reply_path, &Response::unsupported()),
        }
    }
}
