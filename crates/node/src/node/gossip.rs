//! The gossip part of the wiring: members, topics and search ask over the link or by calls, find the
//! members of topics through kv, and what members think of others reaches every other part.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Contact, Deadline, Identity, Instant, Machine as _, NetworkId, PublicKey, Rng};
use potluck_gossip::members::{self, Members, MembersStart, Verdict};
use potluck_gossip::message::SYSTEM_TOPIC;
use potluck_gossip::search::{self, Search};
use potluck_gossip::topics::{
    PublishId, TopicRefusal, TopicServeId, Topics, TopicsInput, TopicsOutput,
};
use potluck_kv::{CommandId, Put, WriteContext};
use potluck_link::RequestOptions;
use potluck_record::limits::PROVIDER_LIFE;
use potluck_record::{Name, Space};
use potluck_wire::limits::{CALL_BYTES_MAX, MESSAGE_BYTES_MAX};
use potluck_wire::{
    InTopic, MemberRequest, Provider, Refusal, Request, Response, SearchRequest, TopicId,
    encode_request,
};

use super::requests::InboundRequest;
use super::{CALLS_MAX, Node, PendingRequest, ReplyPath};
use crate::cached::Cached;
use crate::command::{Command, CommandError, Reply};
use crate::config::Config;
use crate::input::{CallId, Input};
use crate::output::{Event, Output};
use crate::view::GossipStats;

/// Longest answer to a question about members that is only a word or a signature.
const WORD_ANSWER: usize = 112;
/// Longest answer to a bundle of messages.
const SPREAD_ANSWER: usize = 512;
/// Longest answer that says that something was taken.
const TAKEN_ANSWER: usize = 16;
/// Tries of a search's messages: rings and walkers are many.
const SEARCH_TRIES: u8 = 2;
/// Contacts of either source given to an overlay that runs out of them.
const CANDIDATES: usize = 16;
/// How often the size of the network is looked at.
const SIZE_INTERVAL: Duration = Duration::from_secs(10);

/// The three machines and what they wait for from other parts.
#[derive(Debug)]
pub(super) struct Gossip {
    pub(super) members: Cached<Members>,
    pub(super) topics: Cached<Topics>,
    pub(super) search: Cached<Search>,
    publishes: BTreeMap<PublishId, Option<CommandId>>,
    subscribing: Option<CommandId>,
    searches: BTreeMap<u64, CommandId>,
    finds: BTreeMap<CommandId, TopicId>,
    announcing: BTreeMap<CommandId, TopicId>,
    asked: BTreeMap<u64, ReplyPath>,
    size_told: Instant,
}

/// Who a gossiping node is.
pub(super) struct Who {
    pub(super) identity: Identity,
    pub(super) network: NetworkId,
    pub(super) contact: Contact,
    pub(super) incarnation: u64,
    pub(super) labels: Vec<(String, String)>,
    pub(super) client: bool,
}

impl Gossip {
    pub(super) fn new(who: Who, config: &Config, rng: &mut Rng) -> Self {
        let Who { identity, network, contact, incarnation, labels, client } = who;
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
            publishes: BTreeMap::new(),
            subscribing: None,
            searches: BTreeMap::new(),
            finds: BTreeMap::new(),
            announcing: BTreeMap::new(),
            asked: BTreeMap::new(),
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

/// The name under which members of a topic are recorded.
fn rendezvous_name(topic: TopicId) -> Name {
    let hex: String = topic.0.iter().map(|byte| format!("{byte:02x}")).collect();
    Name::new(format!("topic/{hex}")).expect("38 plain characters are a name")
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

    // --- questions ---

    /// Asks in a datagram if it fits, in a call if not or if the answer may be long.
    fn gossip_ask(
        &mut self,
        now: Instant,
        pending: PendingRequest,
        to: Contact,
        request: &Request,
        how: Asking,
    ) -> bool {
        if !how.large {
            match self.link.request(now, to, request, how.options) {
                Ok(token) => {
                    self.requests.insert(token, pending);
                    return true;
                }
                Err(potluck_link::RequestError::TooLarge) => {}
                Err(_) => {
                    self.busy += 1;
                    return false;
                }
            }
        }
        let bytes = encode_request(request);
        if self.calls.len() >= CALLS_MAX || bytes.len() > CALL_BYTES_MAX {
            self.busy += 1;
            return false;
        }
        let id = CallId(self.fresh_id());
        self.calls.insert(id, (pending, to));
        self.place_call(now, id, to, bytes);
        true
    }

    /// An answer to one of the three; `None` if there was none.
    pub(super) fn on_gossip_answered(
        &mut self,
        now: Instant,
        pending: PendingRequest,
        response: Option<Response>,
        rtt: Option<Duration>,
    ) {
        match (pending, response) {
            (PendingRequest::Members(ask), Some(response)) => {
                let input = members::Input::Answered { ask, response, rtt };
                self.gossip.members.handle(now, input);
            }
            (PendingRequest::Members(ask), None) => {
                self.gossip.members.handle(now, members::Input::Failed { ask });
            }
            (PendingRequest::Topics(ask), Some(Response::Topic(answer))) => {
                let rtt = rtt.unwrap_or(Duration::from_millis(100));
                self.gossip.topics.handle(now, TopicsInput::Answered { ask, answer, rtt });
            }
            (
                PendingRequest::Topics(ask),
                Some(Response::Refused { reason: Refusal::Busy, .. }),
            ) => {
                self.gossip.topics.handle(now, TopicsInput::Unsent(ask));
            }
            (PendingRequest::Topics(ask), _) => {
                self.gossip.topics.handle(now, TopicsInput::Failed(ask));
            }
            (PendingRequest::Search(ask), Some(Response::Taken)) => {
                self.gossip.search.handle(now, search::Input::Answered { ask });
            }
            (PendingRequest::Search(ask), _) => {
                self.gossip.search.handle(now, search::Input::Failed { ask });
            }
            _ => {}
        }
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
        let serve = self.fresh_id();
        self.gossip.asked.insert(serve, reply_path);
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

    fn gossip_answer(&mut self, now: Instant, serve: u64, response: &Response) {
        if let Some(reply_path) = self.gossip.asked.remove(&serve) {
            self.answer(now, reply_path, response);
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
                    MemberRequest::Tell { .. } | MemberRequest::Revoke { .. } => TAKEN_ANSWER,
                    MemberRequest::Compare { .. }
                    | MemberRequest::Load { .. }
                    | MemberRequest::Page { .. } => MESSAGE_BYTES_MAX,
                };
                let options = RequestOptions { tries, answer_bytes_max, patience };
                let how = Asking { options, large };
                let request = Request::Member(request);
                if !self.gossip_ask(now, PendingRequest::Members(ask), to, &request, how) {
                    self.gossip.members.handle(now, members::Input::Unsent { ask });
                }
            }
            Said::Answer { serve, response } => self.gossip_answer(now, serve.0, &response),
            Said::Announce(payload) => {
                let publish = PublishId(self.fresh_id());
                self.gossip.publishes.insert(publish, None);
                let input = TopicsInput::Broadcast { publish, payload };
                self.gossip.topics.handle(now, input);
            }
            Said::Verdict(contact, verdict) => self.on_verdict(now, contact, verdict),
            Said::Silent(key) => self.gossip.topics.handle(now, TopicsInput::Silent(key)),
            Said::Event(event) => self.outbox.push_back(Output::Event(Event::Member(event))),
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
            Said::Revocations(revocations) => {
                for bytes in revocations {
                    // Bad ones are counted by the gatekeeper.
                    let _ = self.take_revocation(now, &bytes, false);
                }
            }
        }
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
        let calls: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, (_, to))| to.public_key == key)
            .map(|(id, _)| *id)
            .collect();
        for call in calls {
            self.on_call_answered(now, call, None);
        }
        self.swarm.handle(now, potluck_swarm::Input::PeerGone(key));
    }

    // --- topics ---

    fn on_topics(&mut self, now: Instant, output: TopicsOutput) {
        match output {
            TopicsOutput::Ask { ask, to, request, tries } => {
                let answer_bytes_max = SPREAD_ANSWER;
                let options = RequestOptions { tries, answer_bytes_max, patience: Duration::ZERO };
                let how = Asking { options, large: false };
                let request = Request::Topic(request);
                if !self.gossip_ask(now, PendingRequest::Topics(ask), to, &request, how) {
                    self.gossip.topics.handle(now, TopicsInput::Unsent(ask));
                }
            }
            TopicsOutput::Answer { serve, answer } => {
                self.gossip_answer(now, serve.0, &Response::Topic(answer));
            }
            TopicsOutput::Deliver(message) if message.topic.as_str() == SYSTEM_TOPIC => {
                let input = members::Input::Announced {
                    from: message.id.publisher,
                    payload: message.payload,
                };
                self.gossip.members.handle(now, input);
            }
            TopicsOutput::Deliver(message) => self.outbox.push_back(Output::Message(message)),
            TopicsOutput::Missed { topic, .. } if topic.as_str() == SYSTEM_TOPIC => {}
            TopicsOutput::Missed { topic, missed } => {
                self.outbox.push_back(Output::Missed { topic, missed });
            }
            TopicsOutput::Acknowledged { publish, message, neighbours } => {
                if let Some(Some(id)) = self.gossip.publishes.remove(&publish) {
                    self.reply(id, Reply::Taken { message, neighbours });
                }
            }
            TopicsOutput::Published { publish, message } => {
                if let Some(Some(id)) = self.gossip.publishes.remove(&publish) {
                    self.reply(id, Reply::Published(message));
                }
            }
            TopicsOutput::PublishRefused { publish, why } => {
                if let Some(Some(id)) = self.gossip.publishes.remove(&publish) {
                    self.reply(id, Reply::TopicRefused(why));
                }
            }
            TopicsOutput::SubscribeRefused { why, .. } => {
                if let Some(id) = self.gossip.subscribing.take() {
                    self.reply(id, Reply::TopicRefused(why));
                }
            }
            TopicsOutput::Announce { topic } => self.announce_topic(now, topic),
            TopicsOutput::Find { topic } => self.find_topic(now, topic),
            TopicsOutput::NeighbourUp(contact) => {
                let peer = contact.in_network(&self.network);
                self.outbox.push_back(Output::Event(Event::NeighbourUp(peer)));
                self.on_neighbours(now);
            }
            TopicsOutput::NeighbourDown(contact, cause) => {
                let peer = contact.in_network(&self.network);
                self.outbox.push_back(Output::Event(Event::NeighbourDown(peer, cause)));
                self.on_neighbours(now);
            }
        }
    }

    fn on_neighbours(&mut self, now: Instant) {
        let neighbours = self.gossip.topics.neighbours();
        self.gossip.search.handle(now, search::Input::Neighbours(neighbours.clone()));
        self.gossip.members.handle(now, members::Input::Neighbours(neighbours));
    }

    fn announce_topic(&mut self, now: Instant, topic: TopicId) {
        if !self.can_look(now) {
            return;
        }
        let id = self.own_command();
        self.gossip.announcing.insert(id, topic);
        let put = Put {
            space: Space::Provider,
            name: Some(rendezvous_name(topic)),
            kind: None,
            value: Some(Provider { node: self.own_node(), complete: true }.to_bytes()),
            ttl: Some(PROVIDER_LIFE),
            quorum: None,
            context: WriteContext::Blind,
        };
        let command = potluck_kv::Command::Put(put);
        self.kv.handle(now, potluck_kv::Input::Command { id, command });
    }

    fn find_topic(&mut self, now: Instant, topic: TopicId) {
        if topic == self.gossip.topics.system() {
            let closest = self.dht.closest(&self.dht.me().id.into(), CANDIDATES, None);
            let mut contacts = self.gossip.members.sample(CANDIDATES);
            contacts.extend(closest.into_iter().map(|peer| peer.contact));
            return self.gossip.topics.handle(now, TopicsInput::Candidates(contacts));
        }
        if self.gossip.topics.is_alone(&topic) {
            // A near node may be in the topic too, and is asked at once.
            let suggested =
                TopicsInput::Suggested { topic, contacts: self.gossip.topics.neighbours() };
            self.gossip.topics.handle(now, suggested);
        }
        if !self.can_look(now) {
            let found = TopicsInput::Found { topic, contacts: Vec::new() };
            return self.gossip.topics.handle(now, found);
        }
        let name = rendezvous_name(topic);
        let key = Space::Provider.key(&name).expect("only content has no key of its name");
        let id = self.own_command();
        self.gossip.finds.insert(id, topic);
        let command = potluck_kv::Command::Get { key, quorum: None };
        self.kv.handle(now, potluck_kv::Input::Command { id, command });
    }

    /// Whether a reply of kv is to topics; then it has been passed on.
    pub(super) fn on_topic_reply(
        &mut self,
        now: Instant,
        id: CommandId,
        reply: &potluck_kv::Reply,
    ) -> bool {
        if self.gossip.announcing.remove(&id).is_some() {
            return true;
        }
        let Some(topic) = self.gossip.finds.remove(&id) else { return false };
        let mut contacts = match reply {
            potluck_kv::Reply::Read(done) => self.providers(now, &done.reading),
            _ => Vec::new(),
        };
        contacts.retain(|contact| contact.public_key != self.dht.me().contact.public_key);
        self.gossip.topics.handle(now, TopicsInput::Found { topic, contacts });
        true
    }

    // --- search ---

    /// What is shared under which names.
    pub(super) fn on_names(&mut self, now: Instant, input: Input) {
        let input = match input {
            Input::SharedNames(names) => search::Input::Names(names),
            Input::SharedNamesElsewhere(count) => search::Input::NamesElsewhere(count),
            Input::NamesFound { query, files } => search::Input::Looked { query, files },
            _ => return,
        };
        self.gossip.search.handle(now, input);
    }

    fn on_search(&mut self, now: Instant, output: search::Output) {
        match output {
            search::Output::Ask { ask, to, request } => {
                let options = RequestOptions {
                    tries: SEARCH_TRIES,
                    answer_bytes_max: TAKEN_ANSWER,
                    patience: Duration::ZERO,
                };
                let how = Asking { options, large: false };
                let request = Request::Search(request);
                if !self.gossip_ask(now, PendingRequest::Search(ask), to, &request, how) {
                    self.gossip.search.handle(now, search::Input::Failed { ask });
                }
            }
            search::Output::Look { query, words, max } => {
                self.outbox.push_back(Output::LookForNames { query, words, max });
            }
            search::Output::Answer { serve, taken } => {
                let busy = Response::refused(Refusal::Busy);
                let response = if taken { Response::Taken } else { busy };
                self.gossip_answer(now, serve.0, &response);
            }
            search::Output::Found { id, files, rings } => {
                if let Some(command) = self.gossip.searches.remove(&id) {
                    self.reply(command, Reply::Found { files, rings });
                }
            }
            search::Output::Refused { id, error } => {
                if let Some(command) = self.gossip.searches.remove(&id) {
                    self.reply(command, Reply::SearchRefused(error));
                }
            }
        }
    }

    // --- commands ---

    pub(super) fn on_gossip_command(&mut self, now: Instant, id: CommandId, command: Command) {
        match command {
            Command::Members => {
                let view = Box::new(self.gossip.members.view());
                self.reply(id, Reply::Members(view));
            }
            Command::Publish { .. } | Command::PublishCounted { .. } if self.elsewhere => {
                self.reply(id, Reply::TopicRefused(TopicRefusal::Elsewhere));
            }
            Command::Publish { .. } | Command::PublishCounted { .. } if self.clock_off => {
                self.reply(id, Reply::TopicRefused(TopicRefusal::Clock));
            }
            Command::Publish { topic, payload } => {
                let publish = PublishId(self.fresh_id());
                self.gossip.publishes.insert(publish, Some(id));
                let input = TopicsInput::Publish { publish, topic, payload };
                self.gossip.topics.handle(now, input);
            }
            Command::PublishCounted { topic, payload } => {
                let publish = PublishId(self.fresh_id());
                self.gossip.publishes.insert(publish, Some(id));
                let input = TopicsInput::PublishCounted { publish, topic, payload };
                self.gossip.topics.handle(now, input);
            }
            Command::Subscribe { topic, after } => {
                self.gossip.subscribing = Some(id);
                self.gossip.topics.handle(now, TopicsInput::Subscribe(topic.clone()));
                while self.pump_gossip(now) {}
                if self.gossip.subscribing.take().is_some() {
                    let (backlog, complete) = self.gossip.topics.backlog(&topic, after);
                    // Of a node that began anew the reader still learns how many of that publisher's it
                    // missed.
                    if let Some(after) = after.filter(|_| !complete && backlog.is_empty()) {
                        self.gossip.topics.expect_after(&topic, after);
                    }
                    self.reply(id, Reply::Subscribed { backlog, complete });
                }
            }
            Command::Unsubscribe { topic } => {
                self.gossip.topics.handle(now, TopicsInput::Unsubscribe(topic));
                self.reply(id, Reply::Unsubscribed);
            }
            Command::Search { words } => {
                let search = self.fresh_id();
                self.gossip.searches.insert(search, id);
                self.gossip.search.handle(now, search::Input::Search { id: search, words });
            }
            _ => self.reply(id, Reply::Failed(CommandError::Busy)),
        }
    }
}

/// A request for one of the three machines.
pub(super) enum GossipRequest {
    Member(MemberRequest),
    Topic(InTopic),
    Search(SearchRequest),
}

/// How to ask.
struct Asking {
    options: RequestOptions,
    large: bool,
}
