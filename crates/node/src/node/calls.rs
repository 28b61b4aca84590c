//! Calls: what kv asks goes out in a datagram if it fits and else as a call; calls of others come in
//! here.

use bytes::Bytes;
use potluck_base::{Contact, Instant, Machine as _};
use potluck_kv::{AskId, Delivery};
use potluck_link::RequestOptions;
use potluck_wire::limits::{CALL_BYTES_MAX, MESSAGE_BYTES_MAX};
use potluck_wire::{Request, Response, decode_request, decode_response, encode_request};

use super::requests::Came;
use super::{ASK_TRIES, CALLS_MAX, Node, Return, SHORT_ANSWER, Waiting};
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
                    self.requests.insert(token, Waiting::Kv(ask));
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
        self.calls.insert(id, (Waiting::Kv(ask), to));
        self.place_call(now, id, to, bytes);
    }

    pub(super) fn on_call_answered(&mut self, now: Instant, call: CallId, bytes: Option<&Bytes>) {
        let Some((waiting, to)) = self.calls.remove(&call) else { return };
        match (bytes.map(|bytes| decode_response(bytes)), waiting) {
            (Some(Ok(response)), Waiting::Kv(ask)) => {
                self.kv.handle(now, potluck_kv::Input::Answered { ask, response });
            }
            (Some(Ok(response)), Waiting::Swarm(ask)) => {
                self.on_have_answered(now, ask, response, None);
            }
            (Some(Ok(response)), Waiting::Members(_) | Waiting::Topics(_) | Waiting::Search(_)) => {
                self.on_gossip_answered(now, waiting, Some(response), None);
            }
            (Some(Ok(_)), Waiting::Dht(..) | Waiting::Way(_) | Waiting::Nobody) => {}
            // It lives, but what it says is nothing.
            (Some(Err(_)), Waiting::Kv(ask)) => {
                self.kv.handle(now, potluck_kv::Input::Failed { ask });
            }
            (Some(Err(_)) | None, waiting) => self.on_failed(now, waiting, &to),
        }
    }

    pub(super) fn on_called(
        &mut self,
        now: Instant,
        from: Contact,
        inbound: InboundId,
        bytes: &Bytes,
    ) {
        let way = Return::Call(inbound);
        self.hear(now, from);
        match decode_request(bytes) {
            Ok(request) => {
                let came = Came { from, proven: true, budget: CALL_BYTES_MAX, way };
                self.on_request(now, came, request);
            }
            Err(_) => self.answer(now, way, &Response::unsupported()),
        }
    }
}
