//! The gossip part of the wiring: the three gossip machines, requests of other nodes to them, and the
//! members machine, whose verdicts on other nodes reach every other part.

use std::time::Duration;

use potluck_base::{Contact, Deadline, Identity, Instant, Machine as _, NetworkId, PublicKey, Rng};
use potluck_gossip::members::{self, Members, MembersStart, Verdict};
use potluck_gossip::search::{self, Search};
use potluck_gossip::topics::{PublishId, TopicServeId, Topics, TopicsInput};
use potluck_gossip::{Change, MemberEvent};
use potluck_kv::CommandId;
use potluck_link::RequestOptions;
use potluck_wire::limits::MESSAGE_BYTES_MAX;
use potluck_wire::{InTopic, MemberRequest, Refusal, Request, Response, SearchRequest};

use super::Node;
use super::pending::{Asker, Delivery, Owner};
use super::requests::InboundRequest;
use crate::cached::Cached;
use crate::config::Config;
use crate::output::{Event, Output};
use crate::view::GossipStats;

/// Longest answer in bytes to a question about members that is a word or a signature.
const WORD_ANSWER: usize = 112;
/// Longest answer in bytes that says that announcements were taken.
const TAKEN_ANSWER: usize = 16;
/// Interval at which the members machine is told the estimated size of the network.
const SIZE_INTERVAL: Duration = Duration::from_secs(10);

/// The three machines and what they wait for from other parts.
#[derive(Debug)]
pub(super) struct Gossip {
    pub(super) members: Cached<Members>,
    pub(super) topics: Cached<Topics>,
    pub(super) search: Cached<Search>,
    /// The command that subscribes at the moment, until the topics accept or refuse it.
    pub(super) subscribing: Option<CommandId>,
    size_told: Instant,
}

/// The identity of this node and what it says of itself.
pub(super) struct Own {
    pub(super) identity: Identity,
    pub(super) network: NetworkId,
    pub(super) contact: Contact,
    pub(super) incarnation: u64,
    pub(super) labels: Vec<(String, String)>,
    pub(super) client: bool,
}

impl Gossip {
    pub(super) fn new(own: Own, config: &Config, rng: &mut Rng) -> Self {
        let Own { identity, network, contact, incarnation, labels, client } = own;
        let start = MembersStart {
            identity: identity.clone(),
            network,
            contact,
            incarnation,
            labels,
            client,
        };
        let members = Members::new(start, config.members.clone(), rng.fork("members"));
        let mut topics =
            Topics::new(identity, network, incarnation, contact, config.topics, rng.fork("topics"));
        topics.handle(Instant::ZERO, TopicsInput::Mode(members.mode()));
        Self {
            members: Cached::new(members),
            topics: Cached::new(topics),
            search: Cached::new(Search::new(contact.public_key, rng.fork("search"))),
            subscribing: None,
            size_told: Instant::ZERO,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        Deadline::earliest([
            self.members.poll_timeout(),
            self.topics.poll_timeout(),
            self.search.poll_timeout(),
        ])
    }

    pub(super) fn stats(&self) -> GossipStats {
        GossipStats {
            members: self.members.stats(),
            topics: self.topics.stats(),
            search: self.search.stats(),
            mode: self.members.mode(),
        }
    }
}

impl Node {
    /// Authenticated traffic of a proved address, for all who want to know who lives.
    pub(super) fn hear(&mut self, now: Instant, from: Contact) {
        self.dht.handle(now, potluck_dht::Input::Heard(from));
        self.gossip.members.handle(now, members::Input::Heard(from));
    }

    /// One output of the three machines, if there is any.
    pub(super) fn pump_gossip(&mut self, now: Instant) -> bool {
        if let Some(output) = self.gossip.members.poll_output() {
            self.on_members(now, output);
        } else if let Some(output) = self.gossip.topics.poll_output() {
            self.on_topics(now, output);
        } else if let Some(output) = self.gossip.search.poll_output() {
            self.on_search(now, output);
        } else {
            return false;
        }
        true
    }

    pub(super) fn on_gossip_timeout(&mut self, now: Instant) {
        if self.gossip.members.is_due(now) {
            self.gossip.members.handle(now, members::Input::Timeout);
            self.pump(now);
        }
        if self.gossip.topics.is_due(now) {
            self.gossip.topics.handle(now, TopicsInput::Timeout);
            self.pump(now);
        }
        if self.gossip.search.is_due(now) {
            self.gossip.search.handle(now, search::Input::Timeout);
        }
    }

    /// About once a second: whether the network has outgrown the full list.
    pub(super) fn tell_size(&mut self, now: Instant) {
        if now.since(self.gossip.size_told) >= SIZE_INTERVAL {
            self.gossip.size_told = now;
            let size = self.dht.network_size_estimate();
            self.gossip.members.handle(now, members::Input::NetworkSize(size));
        }
    }

    pub(super) fn on_slept(&mut self, now: Instant) {
        self.gossip.members.handle(now, members::Input::Resumed);
        self.gossip.topics.handle(now, TopicsInput::Resumed);
    }

    /// Good-bye to members and neighbours.
    pub(super) fn leave_gossip(&mut self, now: Instant) {
        self.gossip.members.handle(now, members::Input::Leave);
        while self.pump_gossip(now) {}
        self.gossip.topics.handle(now, TopicsInput::Leave);
        while self.pump_gossip(now) {}
    }

    // --- requests of others ---

    pub(super) fn on_gossip_request(
        &mut self,
        now: Instant,
        inbound: InboundRequest,
        request: GossipRequest,
    ) {
        // What is said here has consequences: it must come from where it says.
        if !inbound.proven {
            let reason = Refusal::Unproven;
            return self.answer(now, inbound.reply_path, &Response::refused(reason));
        }
        let InboundRequest { from, budget, reply_path, .. } = inbound;
        let serve = self.pending.serve(reply_path);
        match request {
            GossipRequest::Member(request) => {
                let serve = members::ServeId(serve);
                let input = members::Input::Asked { serve, from, request, budget };
                self.gossip.members.handle(now, input);
            }
            GossipRequest::Topic(request) => {
                let serve = TopicServeId(serve);
                self.gossip.topics.handle(now, TopicsInput::Asked { serve, from, request });
            }
            GossipRequest::Search(request) => {
                let serve = search::ServeId(serve);
                self.gossip.search.handle(now, search::Input::Asked { serve, from, request });
            }
        }
    }

    // --- members ---

    fn on_members(&mut self, now: Instant, output: members::Output) {
        use members::Output as Said;
        match output {
            Said::Ask { ask, to, request, tries, patience, large } => {
                let answer_bytes_max = match request {
                    MemberRequest::Ping { .. }
                    | MemberRequest::PingReq { .. }
                    | MemberRequest::Prove { .. }
                    | MemberRequest::Suspect { .. } => WORD_ANSWER,
                    MemberRequest::Tell { .. }
                    | MemberRequest::Revoke { .. }
                    | MemberRequest::Settings { .. } => TAKEN_ANSWER,
                    MemberRequest::Compare { .. }
                    | MemberRequest::Load { .. }
                    | MemberRequest::Page { .. } => MESSAGE_BYTES_MAX,
                };
                let options = RequestOptions {
                    tries,
                    answer_bytes_max,
                    patience,
                    ..RequestOptions::default()
                };
                let delivery =
                    if large { Delivery::Call } else { Delivery::DatagramOrCall(options) };
                let request = Request::Member(request);
                if self.ask(now, Asker::Members(ask), to, &request, delivery).is_err() {
                    self.gossip.members.handle(now, members::Input::Unsent { ask });
                }
            }
            Said::Answer { serve, response } => self.answer_serve(now, serve.0, &response),
            Said::Announce(payload) => {
                let publish = PublishId(self.pending.begin(Owner::MemberAnnouncement));
                let input = TopicsInput::Broadcast { publish, payload };
                self.gossip.topics.handle(now, input);
            }
            Said::Verdict(contact, verdict) => self.on_verdict(now, contact, verdict),
            Said::Silent(key) => self.gossip.topics.handle(now, TopicsInput::Silent(key)),
            Said::Restarted(contact) => {
                let peer = contact.in_network(&self.network);
                self.kv.handle(now, potluck_kv::Input::PeerUp(peer));
            }
            Said::Event(event) => self.on_member_event(now, event),
            Said::Isolated => {
                self.dht.handle(now, potluck_dht::Input::Resumed);
                self.outbox.push_back(Output::Event(Event::Isolated));
            }
            Said::Reunited => self.outbox.push_back(Output::Event(Event::Reunited)),
            Said::Candidates(contacts) => {
                self.gossip.topics.handle(now, TopicsInput::Candidates(contacts));
            }
            Said::Bridge(contact) => {
                self.gossip.topics.handle(now, TopicsInput::Bridge(contact));
            }
            Said::Mode(mode) => self.gossip.topics.handle(now, TopicsInput::Mode(mode)),
            Said::Elsewhere(_) => self.on_elsewhere(now),
            Said::Settings(bytes) => {
                // Settings that the authority did not sign change nothing.
                let _ = self.take_settings(now, &bytes, false);
            }
            Said::Revocations { from, revocations } => {
                self.take_revocations(now, from, &revocations);
            }
        }
    }

    fn on_member_event(&mut self, now: Instant, event: MemberEvent) {
        if matches!(event.change, Change::Joined | Change::Returned) {
            self.tell_of_writer(now, &event.peer.contact.public_key);
            self.kv.handle(now, potluck_kv::Input::PeerUp(event.peer));
        }
        self.outbox.push_back(Output::Event(Event::Member(event)));
    }

    /// What this node thinks of a member now: each part acts on it at once, instead of finding out
    /// by its own timeouts.
    fn on_verdict(&mut self, now: Instant, contact: Contact, verdict: Verdict) {
        let key = contact.public_key;
        match verdict {
            Verdict::Alive => {
                self.gossip.topics.handle(now, TopicsInput::Candidates(vec![contact]));
            }
            Verdict::Suspect => {
                let id = contact.in_network(&self.network).id;
                self.dht.handle(now, potluck_dht::Input::Suspected(id));
                self.gossip.topics.handle(now, TopicsInput::Unreachable(key));
            }
            Verdict::Dead => {
                self.gossip.topics.handle(now, TopicsInput::Unreachable(key));
                self.drop_peer(now, key);
            }
            Verdict::Left => {
                self.gossip.topics.handle(now, TopicsInput::Left(key));
                self.drop_peer(now, key);
            }
        }
    }

    /// A node is gone: its contact, its part in lookups, what it was asked and what it was sending.
    pub(super) fn drop_peer(&mut self, now: Instant, key: PublicKey) {
        self.dht.handle(now, potluck_dht::Input::Left(key));
        self.link.give_up(now, &key);
        self.link.handle_timeout(now);
        for call in self.pending.calls_to(&key) {
            self.on_call_answered(now, call, None);
        }
        self.swarm.handle(now, potluck_swarm::Input::PeerGone(key));
        let id = key.node_id(&self.network);
        self.kv.handle(now, potluck_kv::Input::PeerDown(id));
    }
}

/// A request for one of the three machines.
pub(super) enum GossipRequest {
    Member(MemberRequest),
    Topic(InTopic),
    Search(SearchRequest),
}
