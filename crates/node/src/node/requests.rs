//! Requests of other nodes: dispatched to the part that answers them; the answer takes the reply path.

use std::time::Duration;

use potluck_base::{Contact, Instant, Key, Machine as _, Peer};
use potluck_kv::ServeId;
use potluck_wire::limits::{CONTACTS_MAX, SECOND_PART};
use potluck_wire::{Found, Part, Refusal, Request, Response, Want, WatchRequest, encode_response};

use super::Node;
use super::gossip::GossipRequest;
use super::pending::ReplyPath;
use crate::output::Output;

/// Largest encoded contact with its framing, in bytes: key, salt, IPv6 address and port.
const CONTACT_BYTES: usize = 64;

/// The sender of a request, and the limits and path of its answer.
pub(super) struct InboundRequest {
    pub(super) from: Contact,
    pub(super) proven: bool,
    pub(super) budget: usize,
    pub(super) reply_path: ReplyPath,
}

/// A request for kv, with the contacts of the answer.
struct Question {
    from: Peer,
    request: Request,
    contacts: Vec<Contact>,
}

impl Node {
    pub(super) fn on_request(&mut self, now: Instant, inbound: InboundRequest, request: Request) {
        match request {
            Request::Member(request) => {
                self.on_gossip_request(now, inbound, GossipRequest::Member(request));
            }
            Request::Topic(request) => {
                self.on_gossip_request(now, inbound, GossipRequest::Topic(request));
            }
            Request::Search(request) => {
                self.on_gossip_request(now, inbound, GossipRequest::Search(request));
            }
            // A node that serves nothing may watch what others keep.
            request @ Request::Watch(WatchRequest::Changed(_)) => {
                let from = inbound.from.in_network(&self.network);
                self.ask_kv(now, inbound, Question { from, request, contacts: Vec::new() });
            }
            _ if !self.serves_others => {
                self.answer(now, inbound.reply_path, &Response::refused(Refusal::NotServing));
            }
            Request::Ping => self.answer(now, inbound.reply_path, &Response::Pong),
            // A recorded leave message must not be replayed from another address.
            Request::Leave { .. } if !inbound.proven => {
                self.answer(now, inbound.reply_path, &Response::refused(Refusal::Unproven));
            }
            Request::Leave { back_in } => {
                if let Some(seconds) = back_in {
                    let node = inbound.from.in_network(&self.network).id;
                    let time = Duration::from_secs(u64::from(seconds));
                    self.kv.handle(now, potluck_kv::Input::Pauses { node, time });
                }
                self.dht.handle(now, potluck_dht::Input::Left(inbound.from.public_key));
                self.answer(now, inbound.reply_path, &Response::Left);
            }
            Request::FindNode { target, count, want, parts } => {
                let room = inbound.budget.saturating_sub(64) / CONTACT_BYTES;
                let most = usize::from(count).min(CONTACTS_MAX).min(room);
                let from = inbound.from.in_network(&self.network);
                if parts == Some(SECOND_PART) {
                    return self.answer_second_part(now, inbound, &target, most);
                }
                let closest = self.dht.named(now, &target, most, &from.id);
                let contacts = closest.iter().map(|peer| peer.contact).collect();
                if want == Want::Nothing {
                    let found = Found { contacts, ..Found::default() };
                    return self.answer(now, inbound.reply_path, &Response::Found(found));
                }
                let request = Request::FindNode { target, count, want, parts: None };
                self.ask_kv(now, inbound, Question { from, request, contacts });
            }
            Request::Have { blob } => self.on_asked_have(now, inbound, blob),
            Request::Enroll(enroll) => self.on_enroll(now, inbound, enroll),
            request @ (Request::Store { .. }
            | Request::Offer { .. }
            | Request::Load(_)
            | Request::Names(_)
            | Request::Apply(_)
            | Request::Watch(WatchRequest::Lease { .. })
            | Request::Fingerprints(_)
            | Request::Changes(_)) => {
                let from = inbound.from.in_network(&self.network);
                self.ask_kv(now, inbound, Question { from, request, contacts: Vec::new() });
            }
        }
    }

    /// Answers with the contacts behind those of the first part, which was asked for before. They are asked
    /// for and not sent along, so that one request is never answered with two datagrams.
    fn answer_second_part(
        &mut self,
        now: Instant,
        inbound: InboundRequest,
        target: &Key,
        most: usize,
    ) {
        let from = inbound.from.in_network(&self.network);
        let closest = self.dht.named(now, target, 2 * most, &from.id);
        let contacts = closest.iter().skip(most).map(|peer| peer.contact).collect();
        let part = Some(Part { index: SECOND_PART - 1, of: SECOND_PART });
        let found = Found { contacts, part, record: None };
        self.answer(now, inbound.reply_path, &Response::Found(found));
    }

    fn ask_kv(&mut self, now: Instant, inbound: InboundRequest, question: Question) {
        let request = potluck_kv::PeerRequest {
            from: question.from,
            request: question.request,
            contacts: question.contacts,
            proven: inbound.proven,
            budget: inbound.budget,
        };
        let serve = ServeId(self.pending.serve(inbound.reply_path));
        self.kv.handle(now, potluck_kv::Input::PeerRequest { serve, request });
    }

    /// Answers the request of another node that this node keeps under `number`.
    pub(super) fn answer_serve(&mut self, now: Instant, number: u64, response: &Response) {
        if let Some(reply_path) = self.pending.take_serve(number) {
            self.answer(now, reply_path, response);
        }
    }

    pub(super) fn answer(&mut self, now: Instant, reply_path: ReplyPath, response: &Response) {
        match reply_path {
            ReplyPath::Datagram(reply_to) => {
                // An answer that does not fit is counted by the link; the requester tries another node.
                let _ = self.link.respond(now, &reply_to, response);
            }
            ReplyPath::Call(inbound) => {
                let bytes = encode_response(response);
                self.outbox.push_back(Output::AnswerCall { inbound, bytes });
            }
        }
    }
}
