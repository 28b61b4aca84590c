//! Calls: a request of kv is sent in a datagram if it fits, else as a call over QUIC; incoming calls of
//! other nodes are decoded here.

use bytes::Bytes;
use potluck_base::{Contact, Instant, Machine as _};
use potluck_kv::{AskId, Delivery};
use potluck_link::RequestOptions;
use potluck_wire::limits::{CALL_BYTES_MAX, MESSAGE_BYTES_MAX};
use potluck_wire::{Request, Response, decode_request, decode_response, encode_request};

use super::requests::InboundRequest;
use super::{ASK_TRIES, CALLS_MAX, Node, PendingRequest, ReplyPath, SHORT_ANSWER};
use crate::input::{CallId, InboundId};

impl Node {
    pub(super) fn ask(
        &mut self,
        now: Instant,
        ask: AskId,
        to: Contact,
        request: &Request,
        delivery: Delivery,
    ) {
        if delivery == Delivery::Fitting {
            let answer_bytes_max = match request {
                Request::Load(_) => MESSAGE_BYTES_MAX,
                _ => SHORT_ANSWER,
            };
            let options =
                RequestOptions { tries: ASK_TRIES, answer_bytes_max, ..RequestOptions::default() };
            match self.link.request(now, to, request, options) {
                Ok(token) => {
                    self.requests.insert(token, PendingRequest::Kv(ask));
                    return;
                }
                Err(potluck_link::RequestError::TooLarge) => {}
                Err(_) => {
                    self.busy += 1;
                    return self.kv.handle(now, potluck_kv::Input::Failed { ask });
                }
            }
        }
        let bytes = encode_request(request);
        if self.calls.len() >= CALLS_MAX || bytes.len() > CALL_BYTES_MAX {
            self.busy += 1;
            return self.kv.handle(now, potluck_kv::Input::Failed { ask });
        }
        let id = CallId(self.fresh_id());
        self.calls.insert(id, (PendingRequest::Kv(ask), to));
        self.place_call(now, id, to, bytes);
    }

    pub(super) fn on_call_answered(&mut self, now: Instant, call: CallId, bytes: Option<&Bytes>) {
        let Some((pending, to)) = self.calls.remove(&call) else { return };
        match (bytes.map(|bytes| decode_response(bytes)), pending) {
            (Some(Ok(response)), PendingRequest::Kv(ask)) => {
                self.kv.handle(now, potluck_kv::Input::Answered { ask, response });
            }
            (Some(Ok(response)), PendingRequest::Swarm(ask)) => {
                self.on_have_answered(now, ask, response, None);
            }
            (
                Some(Ok(response)),
                PendingRequest::Members(_) | PendingRequest::Topics(_) | PendingRequest::Search(_),
            ) => {
                self.on_gossip_answered(now, pending, Some(response), None);
            }
            (
                Some(Ok(_)),
                PendingRequest::Dht(..) | PendingRequest::PathProbe(_) | PendingRequest::Ignored,
            ) => {}
            // The node is alive, but its answer cannot be decoded.
            (Some(Err(_)), PendingRequest::Kv(ask)) => {
                self.kv.handle(now, potluck_kv::Input::Failed { ask });
            }
            (Some(Err(_)) | None, pending) => self.on_failed(now, pending, &to),
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
        self.hear(now, from);
        match decode_request(bytes) {
            Ok(request) => {
                let inbound =
                    InboundRequest { from, proven: true, budget: CALL_BYTES_MAX, reply_path };
                self.on_request(now, inbound, request);
            }
            Err(_) => self.answer(now, reply_path, &Response::unsupported()),
        }
    }
}
