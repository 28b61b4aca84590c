//! Requests of other nodes: which part of this one answers them, and how the answer goes back.

use potluck_base::{Contact, Instant, Machine as _, Peer};
use potluck_kv::ServeId;
use potluck_wire::limits::CONTACTS_MAX;
use potluck_wire::{Found, Refusal, Request, Response, Want, encode_response};

use super::gossip::GossipRequest;
use super::{Node, Return};
use crate::output::Output;

/// A contact in an answer, at its longest, and what frames it: key, salt, IPv6 address and port.
const CONTACT_BYTES: usize = 64;

/// How a request came, and what its answer may be.
pub(super) struct Came {
    pub(super) from: Contact,
    pub(super) proven: bool,
    pub(super) budget: usize,
    pub(super) way: Return,
}

/// What kv is to answer, beside these contacts.
struct Question {
    from: Peer,
    request: Request,
    contacts: Vec<Contact>,
}

impl Node {
    pub(super) fn on_request(&mut self, now: Instant, came: Came, request: Request) {
        match request {
            Request::Member(request) => {
                self.on_gossip_request(now, came, GossipRequest::Member(request));
            }
            Request::Topic(request) => {
                self.on_gossip_request(now, came, GossipRequest::Topic(request));
            }
            Request::Search(request) => {
                self.on_gossip_request(now, came, GossipRequest::Search(request));
            }
            _ if !self.serves_others => {
                self.answer(now, came.way, &Response::refused(Refusal::NotServing));
            }
            Request::Ping => self.answer(now, came.way, &Response::Pong),
            // Whoever recorded a good-bye must not be able to say it again from elsewhere.
            Request::Leave if !came.proven => {
                self.answer(now, came.way, &Response::refused(Refusal::Unproven));
            }
            Request::Leave => {
                self.dht.handle(now, potluck_dht::Input::Left(came.from.public_key));
                self.answer(now, came.way, &Response::Left);
            }
            Request::FindNode { target, count, want, .. } => {
                let room = came.budget.saturating_sub(64) / CONTACT_BYTES;
                let most = usize::from(count).min(CONTACTS_MAX).min(room);
                let from = came.from.in_network(&self.network);
                let closest = self.dht.closest(&target, most, Some(&from.id));
                let contacts = closest.iter().map(|peer| peer.contact).collect();
                if want == Want::Nothing {
                    let found = Found { contacts, ..Found::default() };
                    return self.answer(now, came.way, &Response::Found(found));
                }
                let request = Request::FindNode { target, count, want, parts: None };
                self.ask_kv(now, came, Question { from, request, contacts });
            }
            Request::Have { blob } => self.on_asked_have(now, came, blob),
            Request::Enroll(enroll) => self.on_enroll(now, came, enroll),
            request @ (Request::Store { .. } | Request::Offer { .. } | Request::Load(_)) => {
                let from = came.from.in_network(&self.network);
                self.ask_kv(now, came, Question { from, request, contacts: Vec::new() });
            }
        }
    }

    fn ask_kv(&mut self, now: Instant, came: Came, question: Question) {
        let serve = ServeId(self.fresh_id());
        let request = potluck_kv::PeerRequest {
            from: question.from,
            request: question.request,
            contacts: question.contacts,
            proven: came.proven,
            budget: came.budget,
        };
        self.serves.insert(serve, came.way);
        self.kv.handle(now, potluck_kv::Input::PeerRequest { serve, request });
    }

    pub(super) fn answer(&mut self, now: Instant, way: Return, response: &Response) {
        match way {
            Return::Datagram(reply_to) => {
                // An answer that does not fit is counted by the link; the asker tries elsewhere.
                let _ = self.link.respond(now, &reply_to, response);
            }
            Return::Call(inbound) => {
                let bytes = encode_response(response);
                self.outbox.push_back(Output::AnswerCall { inbound, bytes });
            }
        }
    }
}
