//! Answers of other nodes, and requests that got none: to the part that asked.

use std::time::Duration;

use potluck_base::{Contact, Instant, Machine as _};
use potluck_gossip::topics::{TopicAskId, TopicsInput};
use potluck_gossip::{members, search};
use potluck_link::RequestToken;
use potluck_wire::{Refusal, Request, Response};

use super::Node;
use super::files::holding;
use super::pending::{Asker, ReplyPath};
use super::requests::InboundRequest;
use crate::output::Output;
use crate::price::Ruling;

/// Round-trip time that topics assume for an answer over a call, which is not measured. A guess.
const CALL_ROUND_TRIP: Duration = Duration::from_millis(100);

/// An answer, and its time where it came in a datagram.
pub(super) struct Answer {
    pub(super) from: Contact,
    pub(super) response: Response,
    pub(super) times: Option<AnswerTimes>,
}

/// The times of an answer in a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerTimes {
    /// From the transmission that was answered to the answer.
    pub(super) round_trip: Duration,
    /// From the first transmission to the answer.
    pub(super) since_first: Duration,
}

impl Asker {
    /// Whether an answer in a datagram proves to all parts that the peer lives at its address. The DHT
    /// takes note of its answers itself, and the others are sent to nodes that are no members yet or
    /// any more.
    const fn hears_peer(self) -> bool {
        match self {
            Self::Kv(_)
            | Self::Swarm(_)
            | Self::Members(_)
            | Self::Topics(_)
            | Self::Search(_)
            | Self::PathProbe(_) => true,
            Self::Dht { .. }
            | Self::Introduction { .. }
            | Self::Renewal
            | Self::Notice
            | Self::Pause => false,
        }
    }
}

impl Node {
    pub(super) fn on_link(&mut self, now: Instant, output: potluck_link::Output) {
        use potluck_link::Output as Link;
        match output {
            Link::Transmit { to, bytes } => self.outbox.push_back(Output::Transmit { to, bytes }),
            Link::Incoming { from, reply_to, request, proven, budget } => {
                // A forged address proves nothing, so only proven senders have an account.
                let ruling = match proven {
                    true => self.prices.admit_datagram(now, &from.public_key, &request),
                    false => Ruling::Serve,
                };
                // What is ignored is no sign of life either.
                if ruling == Ruling::Drop {
                    return;
                }
                // A node that enrolls is no member yet.
                if proven && !matches!(request, Request::Enroll(_)) {
                    self.hear(now, from);
                }
                let reply_path = ReplyPath::Datagram(reply_to);
                if ruling != Ruling::Serve {
                    return self.turn_away(now, reply_path, ruling);
                }
                let inbound = InboundRequest { from, proven, budget, reply_path };
                self.on_request(now, inbound, request);
            }
            Link::Answered { token, from, response, rtt, seen_at: _ } => {
                let Some(sent) = self.pending.take_request(token) else { return };
                if sent.asker.hears_peer() {
                    self.hear(now, from);
                }
                let times = AnswerTimes { round_trip: rtt, since_first: sent.age(now) };
                let answer = Answer { from, response, times: Some(times) };
                self.on_answered(now, sent.asker, answer);
            }
            Link::Failed { token, to } => self.on_request_failed(now, token, &to),
            Link::Greeted { address, contact } => {
                self.dht.handle(now, potluck_dht::Input::Greeted { address, contact });
            }
            Link::NoWelcome { .. } => {}
            Link::Admitted { contact, until, ticket } => {
                let member = contact.public_key;
                self.kv.handle(now, potluck_kv::Input::Shown { member, ticket });
                self.on_admitted(contact, until);
            }
        }
    }

    fn on_request_failed(&mut self, now: Instant, token: RequestToken, to: &Contact) {
        if let Some(sent) = self.pending.take_request(token) {
            self.on_failed(now, sent.asker, to);
        }
    }

    /// A request was answered.
    pub(super) fn on_answered(&mut self, now: Instant, asker: Asker, answer: Answer) {
        let Answer { from, response, times } = answer;
        let rtt = times.map(|times| times.round_trip);
        match asker {
            Asker::Dht { query, lookup } => {
                let rtt = rtt.unwrap_or_default();
                self.on_found(now, super::routing::Found { query, lookup, from, response, rtt });
            }
            Asker::Kv(ask) => {
                self.kv.handle(now, potluck_kv::Input::Answered { ask, response });
            }
            Asker::Swarm(ask) => {
                let round_trip = times.map(|times| times.since_first);
                let holding = holding(response);
                let input = potluck_swarm::Input::Holds { ask, holding, round_trip };
                self.swarm.handle(now, input);
            }
            Asker::Members(ask) => {
                let input = members::Input::Answered { ask, response, rtt };
                self.gossip.members.handle(now, input);
            }
            Asker::Topics(ask) => self.on_topic_answered(now, ask, response, rtt),
            Asker::Search(ask) => {
                let taken = response == Response::Taken;
                let answered = search::Input::Answered { ask };
                let input = if taken { answered } else { search::Input::Failed { ask } };
                self.gossip.search.handle(now, input);
            }
            Asker::PathProbe(call) => self.on_path_probe(call, Some(from)),
            Asker::Introduction { id, rounds } => {
                self.on_introduction_answered(now, id, from, rounds);
            }
            Asker::Renewal => self.on_renewal_answered(response),
            Asker::Notice => {}
            Asker::Pause => self.on_pause_told(),
        }
    }

    fn on_topic_answered(
        &mut self,
        now: Instant,
        ask: TopicAskId,
        response: Response,
        rtt: Option<Duration>,
    ) {
        let input = if response.refusal() == Some(Refusal::Busy) {
            TopicsInput::Unsent(ask)
        } else if let Response::Topic(answer) = response {
            TopicsInput::Answered { ask, answer, rtt: rtt.unwrap_or(CALL_ROUND_TRIP) }
        } else {
            TopicsInput::Failed(ask)
        };
        self.gossip.topics.handle(now, input);
    }

    /// A request got no answer, or one that cannot be read.
    pub(super) fn on_failed(&mut self, now: Instant, asker: Asker, to: &Contact) {
        match asker {
            Asker::Dht { query, .. } => {
                self.dht.handle(now, potluck_dht::Input::Failed(query));
            }
            Asker::Kv(ask) => {
                self.on_silent(now, to);
                self.kv.handle(now, potluck_kv::Input::Failed { ask });
            }
            Asker::Swarm(ask) => {
                self.on_silent(now, to);
                self.swarm.handle(now, potluck_swarm::Input::AskFailed { ask });
            }
            Asker::Topics(ask) => {
                self.gossip.members.handle(now, members::Input::Unanswered(to.public_key));
                self.gossip.topics.handle(now, TopicsInput::Failed(ask));
            }
            Asker::Members(ask) => self.gossip.members.handle(now, members::Input::Failed { ask }),
            Asker::Search(ask) => self.gossip.search.handle(now, search::Input::Failed { ask }),
            Asker::PathProbe(call) => self.on_path_probe(call, None),
            Asker::Introduction { id, .. } => self.end_introduction(id, false),
            Asker::Renewal | Asker::Notice => {}
            Asker::Pause => self.on_pause_told(),
        }
    }

    /// A node did not answer record keeping or the swarm: the DHT and the failure detector take note.
    fn on_silent(&mut self, now: Instant, to: &Contact) {
        let id = to.in_network(&self.network).id;
        self.dht.handle(now, potluck_dht::Input::Unanswered(id));
        self.gossip.members.handle(now, members::Input::Unanswered(to.public_key));
    }
}
