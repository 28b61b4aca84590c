//! The topics part of the wiring: messages go out over the link, members of a topic are found through
//! provider records, and messages of the system topic are announcements of members.

use bytes::Bytes;
use potluck_base::{Instant, Machine as _};
use potluck_gossip::message::SYSTEM_TOPIC;
use potluck_gossip::topics::{PublishId, TopicRefusal, TopicsInput, TopicsOutput};
use potluck_gossip::{Message, MessageId, TopicName, members, search};
use potluck_kv::CommandId;
use potluck_link::RequestOptions;
use potluck_wire::{Request, Response, TopicId};

use super::Node;
use super::pending::{Asker, Delivery, Owner};
use super::providers::topic_name;
use crate::command::Reply;
use crate::output::{Event, Output};

/// Longest answer in bytes to a bundle of messages.
const SPREAD_ANSWER: usize = 512;
/// Contacts of either source given to an overlay that runs out of them.
const CANDIDATES: usize = 16;

/// A message that the host publishes.
pub(super) struct Publish {
    pub(super) topic: TopicName,
    pub(super) payload: Bytes,
    /// Whether the reply says how many neighbours have the message.
    pub(super) counted: bool,
}

impl Node {
    pub(super) fn on_topics(&mut self, now: Instant, output: TopicsOutput) {
        match output {
            TopicsOutput::Ask { ask, to, request, tries } => {
                let answer_bytes_max = SPREAD_ANSWER;
                let options =
                    RequestOptions { tries, answer_bytes_max, ..RequestOptions::default() };
                let request = Request::Topic(request);
                let delivery = Delivery::DatagramOrCall(options);
                if self.ask(now, Asker::Topics(ask), to, &request, delivery).is_err() {
                    self.gossip.topics.handle(now, TopicsInput::Unsent(ask));
                }
            }
            TopicsOutput::Answer { serve, answer } => {
                self.answer_serve(now, serve.0, &Response::Topic(answer));
            }
            TopicsOutput::Checked { peer, signatures, bad } => {
                self.on_message_checked(now, peer, signatures, bad);
            }
            TopicsOutput::Deliver(message) => self.on_message(now, message),
            TopicsOutput::Missed { topic, missed } => {
                if topic.as_str() != SYSTEM_TOPIC {
                    self.outbox.push_back(Output::Missed { topic, missed });
                }
            }
            TopicsOutput::Acknowledged { publish, message, neighbours } => {
                if let Some(id) = self.pending.finish_for_host(publish.0) {
                    self.reply(id, Reply::Taken { message, neighbours });
                }
            }
            TopicsOutput::Published { publish, message } => {
                if let Some(id) = self.pending.finish_for_host(publish.0) {
                    self.reply(id, Reply::Published(message));
                }
            }
            TopicsOutput::PublishRefused { publish, why } => {
                if let Some(id) = self.pending.finish_for_host(publish.0) {
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

    fn on_message(&mut self, now: Instant, message: Message) {
        if message.topic.as_str() == SYSTEM_TOPIC {
            let (from, payload) = (message.id.publisher, message.payload);
            self.gossip.members.handle(now, members::Input::Announced { from, payload });
        } else {
            self.outbox.push_back(Output::Message(message));
        }
    }

    fn on_neighbours(&mut self, now: Instant) {
        let neighbours = self.gossip.topics.neighbours();
        self.gossip.search.handle(now, search::Input::Neighbours(neighbours.clone()));
        self.gossip.members.handle(now, members::Input::Neighbours(neighbours));
    }

    // --- members of topics ---

    fn announce_topic(&mut self, now: Instant, topic: TopicId) {
        if self.can_look(now) {
            self.announce_provider(now, Owner::TopicAnnouncement, topic_name(topic), true);
        }
    }

    fn find_topic(&mut self, now: Instant, topic: TopicId) {
        if topic == self.gossip.topics.system() {
            let closest = self.dht.closest(&self.dht.me().id.into(), CANDIDATES);
            let mut contacts = self.gossip.members.sample(CANDIDATES);
            contacts.extend(closest.into_iter().map(|peer| peer.contact));
            return self.gossip.topics.handle(now, TopicsInput::Candidates(contacts));
        }
        if self.gossip.topics.is_alone(&topic) {
            // A near node may be in the topic too, and is asked at once.
            let contacts = self.gossip.topics.neighbours();
            self.gossip.topics.handle(now, TopicsInput::Suggested { topic, contacts });
        }
        if !self.can_look(now) {
            let found = TopicsInput::Found { topic, contacts: Vec::new() };
            return self.gossip.topics.handle(now, found);
        }
        self.find_providers(now, Owner::TopicMembers(topic), &topic_name(topic));
    }

    /// The record of a topic's members was read.
    pub(super) fn on_topic_members(
        &mut self,
        now: Instant,
        topic: TopicId,
        reply: &potluck_kv::Reply,
    ) {
        let mut contacts = self.providers_in(now, reply);
        contacts.retain(|contact| contact.public_key != self.dht.me().contact.public_key);
        self.gossip.topics.handle(now, TopicsInput::Found { topic, contacts });
    }

    // --- commands ---

    pub(super) fn on_publish(&mut self, now: Instant, id: CommandId, publish: Publish) {
        let refusal = if self.elsewhere {
            Some(TopicRefusal::Elsewhere)
        } else {
            self.clock_off.then_some(TopicRefusal::Clock)
        };
        if let Some(refusal) = refusal {
            return self.reply(id, Reply::TopicRefused(refusal));
        }
        let Publish { topic, payload, counted } = publish;
        let publish = PublishId(self.pending.begin(Owner::Host(id)));
        let input = if counted {
            TopicsInput::PublishCounted { publish, topic, payload }
        } else {
            TopicsInput::Publish { publish, topic, payload }
        };
        self.gossip.topics.handle(now, input);
    }

    pub(super) fn on_subscribe(
        &mut self,
        now: Instant,
        id: CommandId,
        topic: TopicName,
        after: Option<MessageId>,
    ) {
        self.gossip.subscribing = Some(id);
        self.gossip.topics.handle(now, TopicsInput::Subscribe(topic.clone()));
        while self.pump_gossip(now) {}
        if self.gossip.subscribing.take().is_none() {
            return;
        }
        let (backlog, complete) = self.gossip.topics.backlog(&topic, after);
        // If the publisher began anew, the reader still learns how many of its messages it missed.
        if let Some(after) = after.filter(|_| !complete && backlog.is_empty()) {
            self.gossip.topics.expect_after(&topic, after);
        }
        self.reply(id, Reply::Subscribed { backlog, complete });
    }
}
