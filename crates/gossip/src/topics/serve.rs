//! Handles requests of other nodes, and the answers to requests of this one.

use std::time::Duration;

use potluck_base::{Contact, PublicKey};
use potluck_wire::{InTopic, TopicId, TopicRequest, TopicResponse};

use super::Topics;
use super::asks::{PendingRequest, Purpose};
use super::events::{TopicAskId, TopicServeId, TopicsOutput};
use super::overlay::{LinkRequest, Shuffle};
use super::shared::Shared;
use super::topic::Topic;

/// Contacts used of one search.
const FOUND_MAX: usize = 32;
/// Pause in sending to a neighbour after this node was too busy to send.
const UNSENT_PAUSE: Duration = Duration::from_millis(50);

impl Topics {
    pub(super) fn on_found(&mut self, topic: &TopicId, contacts: Vec<Contact>) {
        let contacts = contacts.into_iter().take(FOUND_MAX).collect();
        self.with(topic, |topic, shared| topic.overlay.on_found(shared, contacts));
        self.settle(topic);
    }

    pub(super) fn on_suggested(&mut self, topic: &TopicId, contacts: Vec<Contact>) {
        self.with(topic, |topic, shared| {
            let contacts = contacts.iter().take(FOUND_MAX);
            contacts.for_each(|contact| topic.overlay.learn(shared, *contact));
        });
        self.settle(topic);
    }

    pub(super) fn on_asked(&mut self, serve: TopicServeId, from: Contact, request: InTopic) {
        let InTopic { topic, body } = request;
        self.shared.last_heard = self.shared.now;
        let ignored = self.shared.scores.ignores(self.shared.now, &from.public_key);
        if ignored || !self.topics.contains_key(&topic) {
            self.shared.stats.strangers += 1;
            let parting = matches!(body, TopicRequest::Disconnect { .. });
            let answer = if parting { TopicResponse::Ack } else { TopicResponse::NotNeighbour };
            self.shared.out.push_back(TopicsOutput::Answer { serve, answer });
            return;
        }
        self.with(&topic, |topic, shared| topic.on_asked(shared, serve, from, body));
        self.settle(&topic);
    }

    pub(super) fn on_answered(&mut self, ask: TopicAskId, answer: TopicResponse, rtt: Duration) {
        let Some(ask) = self.shared.pending.take(ask) else { return };
        self.shared.last_heard = self.shared.now;
        let topic = ask.topic;
        self.with(&topic, |topic, shared| topic.on_answered(shared, ask, answer, rtt));
        self.settle(&topic);
    }

    pub(super) fn on_failed(&mut self, ask: TopicAskId) {
        let Some(ask) = self.shared.pending.take(ask) else { return };
        let (topic, peer) = (ask.topic, ask.to);
        let linked = self.with(&topic, |topic, shared| {
            let linked = topic.overlay.is_linked(&peer);
            topic.on_failed(shared, ask);
            linked
        });
        self.settle(&topic);
        if linked == Some(true) {
            self.note_silence(peer);
        }
    }

    pub(super) fn on_unsent(&mut self, ask: TopicAskId) {
        let Some(ask) = self.shared.pending.take(ask) else { return };
        let topic = ask.topic;
        self.with(&topic, |topic, shared| topic.on_unsent(shared, ask));
        self.settle(&topic);
    }
}

impl Topic {
    fn on_asked(
        &mut self,
        shared: &mut Shared,
        serve: TopicServeId,
        from: Contact,
        body: TopicRequest,
    ) {
        let peer = from.public_key;
        match body {
            TopicRequest::Neighbour { high_priority, age_ms } => {
                let request = LinkRequest { high_priority, age_ms };
                self.on_link_request(shared, serve, from, request);
            }
            TopicRequest::Disconnect { cause, others } => {
                shared.answer(serve, TopicResponse::Ack);
                self.overlay.on_disconnect(shared, &peer, cause, others);
            }
            TopicRequest::ShuffleReply { nonce, contacts } => {
                shared.answer(serve, TopicResponse::Ack);
                self.overlay.on_shuffle_reply(shared, from, nonce, contacts);
            }
            TopicRequest::ForwardJoin { .. }
            | TopicRequest::Shuffle { .. }
            | TopicRequest::Probe
            | TopicRequest::Gossip { .. }
            | TopicRequest::IHave { .. }
            | TopicRequest::Graft { .. } => {
                if self.on_request(shared.now, from) {
                    self.on_neighbour_asked(shared, serve, &peer, body);
                } else {
                    shared.stats.strangers += 1;
                    shared.answer(serve, TopicResponse::NotNeighbour);
                }
            }
        }
        self.join(shared);
    }

    /// Handles the requests that only neighbours may make.
    fn on_neighbour_asked(
        &mut self,
        shared: &mut Shared,
        serve: TopicServeId,
        peer: &PublicKey,
        body: TopicRequest,
    ) {
        match body {
            TopicRequest::Gossip { messages } => {
                let penalty = self.broadcast.on_gossip(shared, serve, peer, &messages);
                if self.judge(shared, peer, penalty) {
                    shared.answer(serve, TopicResponse::NotNeighbour);
                }
            }
            TopicRequest::Graft { ranges, eager } => {
                self.broadcast.on_graft(shared, serve, peer, &ranges, eager);
            }
            TopicRequest::IHave { ranges } => {
                shared.answer(serve, TopicResponse::Ack);
                let penalty = self.broadcast.on_ihave(shared, peer, &ranges);
                self.judge(shared, peer, penalty);
            }
            TopicRequest::ForwardJoin { joiner, hops } => {
                shared.answer(serve, TopicResponse::Ack);
                self.overlay.on_forward_join(shared, peer, joiner, hops);
            }
            TopicRequest::Shuffle { origin, nonce, hops, contacts } => {
                shared.answer(serve, TopicResponse::Ack);
                let shuffle = Shuffle { origin, nonce, hops, contacts };
                self.overlay.on_shuffle(shared, peer, shuffle);
            }
            TopicRequest::Probe
            | TopicRequest::Neighbour { .. }
            | TopicRequest::Disconnect { .. }
            | TopicRequest::ShuffleReply { .. } => shared.answer(serve, TopicResponse::Ack),
        }
    }

    fn on_answered(
        &mut self,
        shared: &mut Shared,
        ask: PendingRequest,
        answer: TopicResponse,
        rtt: Duration,
    ) {
        let peer = ask.to;
        match ask.purpose {
            Purpose::Link => {
                self.overlay.on_link_answer(shared, peer, answer);
                self.join(shared);
                self.heard(shared, &peer, rtt);
                return;
            }
            Purpose::Probe => return self.overlay.on_proven(shared.now, &peer),
            Purpose::NonNeighbour => return,
            Purpose::Gossip(ids) => self.broadcast.on_gossip_ack(shared, &peer, &ids, &answer),
            Purpose::IHave(_) => self.broadcast.on_ihave_ended(&peer),
            Purpose::Check | Purpose::Notify => {}
        }
        if answer == TopicResponse::NotNeighbour {
            self.overlay.on_forgotten(shared, &peer);
            self.join(shared);
        } else {
            self.heard(shared, &peer, rtt);
        }
    }

    fn on_failed(&mut self, shared: &mut Shared, ask: PendingRequest) {
        let (now, peer) = (shared.now, ask.to);
        match ask.purpose {
            Purpose::Link => return self.overlay.on_link_failed(now, &peer),
            Purpose::Probe => return self.overlay.on_probe_failed(now, &peer),
            Purpose::NonNeighbour => return,
            Purpose::Check => {
                self.overlay.on_check_failed(shared, &peer);
                return self.join(shared);
            }
            Purpose::Gossip(ids) => self.broadcast.on_gossip_failed(now, &peer, ids),
            Purpose::IHave(ids) => self.broadcast.on_ihave_failed(now, &peer, ids),
            Purpose::Notify => {}
        }
        self.on_silent(shared, &peer);
    }

    /// This node was too busy to send: nothing is known of the other node.
    fn on_unsent(&mut self, shared: &mut Shared, ask: PendingRequest) {
        let (peer, until) = (ask.to, shared.now + UNSENT_PAUSE);
        match ask.purpose {
            Purpose::Link => self.overlay.on_link_unsent(&peer, until),
            Purpose::Gossip(ids) => self.broadcast.on_gossip_unsent(shared, &peer, &ids, until),
            Purpose::IHave(ids) => self.broadcast.on_ihave_failed(shared.now, &peer, ids),
            Purpose::Check => self.overlay.on_check_unsent(&peer),
            Purpose::Notify => self.overlay.on_notify_unsent(&peer),
            Purpose::Probe | Purpose::NonNeighbour => {}
        }
        self.join(shared);
    }
}
