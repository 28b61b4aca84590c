//! Handles requests of other nodes, and the answers to requests of this one.

use std::time::Duration;

use potluck_base::{Contact, PublicKey};
use potluck_wire::{InTopic, TopicId, TopicRequest, TopicResponse};

use super::Topics;
use super::events::{TopicAskId, TopicServeId, TopicsOutput};
use super::neighbour::LivenessCheck;
use super::shared::{PendingRequest, Purpose, Shared};
use super::topic::Topic;

/// Contacts used of one search.
const FOUND_MAX: usize = 32;
/// Pause in sending to a neighbour after this node was too busy to send.
const UNSENT_PAUSE: Duration = Duration::from_millis(50);

impl Topics {
    pub(super) fn on_found(&mut self, topic: &TopicId, contacts: Vec<Contact>) {
        let contacts = contacts.into_iter().take(FOUND_MAX).collect();
        self.with(topic, |topic, shared| topic.on_found(shared, contacts));
        self.settle(topic);
    }

    pub(super) fn on_suggested(&mut self, topic: &TopicId, contacts: Vec<Contact>) {
        self.with(topic, |topic, shared| {
            contacts.iter().take(FOUND_MAX).for_each(|contact| topic.learn(shared, *contact, None));
        });
        self.settle(topic);
    }

    pub(super) fn on_asked(&mut self, serve: TopicServeId, from: Contact, request: InTopic) {
        let InTopic { topic, body } = request;
        self.shared.last_heard = self.shared.now;
        let ignored = self.shared.scores.ignores(self.shared.now, &from.public_key);
        if ignored || !self.topics.contains_key(&topic) {
            self.shared.stats.strangers += 1;
            let answer = match body {
                TopicRequest::Disconnect { .. } => TopicResponse::Ack,
                _ => TopicResponse::NotNeighbour,
            };
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
            let linked = topic.active_view.contains_key(&peer);
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
                self.on_neighbour(shared, serve, from, (high_priority, age_ms));
                return;
            }
            TopicRequest::Disconnect { cause, others } => {
                shared.answer(serve, TopicResponse::Ack);
                self.on_disconnect(shared, &peer, cause, others);
                return;
            }
            TopicRequest::ShuffleReply { nonce, contacts } => {
                shared.answer(serve, TopicResponse::Ack);
                self.on_shuffle_reply(shared, from, nonce, contacts);
                return;
            }
            _ => {}
        }
        // The remaining requests are for neighbours only.
        let Some(neighbour) = self.active_view.get_mut(&peer) else {
            shared.stats.strangers += 1;
            shared.answer(serve, TopicResponse::NotNeighbour);
            return;
        };
        neighbour.contact = from;
        neighbour.heard_at = shared.now;
        match body {
            TopicRequest::Gossip { messages } => self.on_gossip(shared, serve, &peer, &messages),
            TopicRequest::Graft { ranges, eager } => {
                self.on_graft(shared, serve, &peer, &ranges, eager);
            }
            TopicRequest::IHave { ranges } => {
                shared.answer(serve, TopicResponse::Ack);
                self.on_ihave(shared, &peer, &ranges);
            }
            TopicRequest::ForwardJoin { joiner, hops } => {
                shared.answer(serve, TopicResponse::Ack);
                self.on_forward_join(shared, &peer, joiner, hops);
            }
            TopicRequest::Shuffle { origin, nonce, hops, contacts } => {
                shared.answer(serve, TopicResponse::Ack);
                self.on_shuffle(shared, &peer, (origin, nonce, hops), contacts);
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
                self.on_link_answer(shared, peer, answer);
                self.heard(shared, &peer, rtt);
                return;
            }
            Purpose::Probe => return self.passive_view.mark_proven(shared.now, &peer),
            Purpose::NonNeighbour => return,
            Purpose::Gossip(ids) => self.on_gossip_ack(shared, &peer, &ids, &answer),
            Purpose::IHave(_) => self.on_ihave_answered(&peer),
            Purpose::Check | Purpose::Notify => {}
        }
        if answer == TopicResponse::NotNeighbour {
            self.on_forgotten(shared, &peer);
        } else {
            self.heard(shared, &peer, rtt);
        }
    }

    fn on_ihave_answered(&mut self, peer: &PublicKey) {
        if let Some(neighbour) = self.active_view.get_mut(peer) {
            neighbour.queue.ihave_in_flight = false;
        }
    }

    fn on_failed(&mut self, shared: &mut Shared, ask: PendingRequest) {
        let peer = ask.to;
        match ask.purpose {
            Purpose::Link => return self.on_link_failed(shared, &peer),
            Purpose::Probe => return self.drop_contact(shared, &peer),
            Purpose::NonNeighbour => return,
            Purpose::Check => {
                if self.active_view.get(&peer).is_some_and(|neighbour| neighbour.check.is_some()) {
                    let cause = self.loss_cause(shared, &peer);
                    self.unlink(shared, &peer, cause, None);
                }
                return;
            }
            Purpose::Gossip(ids) => {
                self.on_gossip_ack(shared, &peer, &[], &TopicResponse::Ack);
                self.announce_again(shared.now, &peer, ids);
            }
            Purpose::IHave(ids) => {
                self.on_ihave_answered(&peer);
                self.announce_again(shared.now, &peer, ids);
            }
            Purpose::Notify => {}
        }
        self.begin_check(shared, &peer, LivenessCheck::Silent);
    }

    /// This node was too busy to send: nothing is known of the other node.
    fn on_unsent(&mut self, shared: &mut Shared, ask: PendingRequest) {
        let peer = ask.to;
        match ask.purpose {
            Purpose::Link => {
                self.attempts.remove(&peer);
                self.attempts_from = shared.now + UNSENT_PAUSE;
            }
            Purpose::Gossip(ids) => {
                self.on_gossip_ack(shared, &peer, &[], &TopicResponse::Ack);
                let Some(neighbour) = self.active_view.get_mut(&peer) else { return };
                neighbour.queue.paused_until = Some(shared.now + UNSENT_PAUSE);
                for id in ids {
                    let cached = self.cache.get(&id).map(|cached| cached.bytes.clone());
                    if let Some(bytes) = cached {
                        neighbour.queue.push_repair(&&shared.config, id, bytes);
                    }
                }
            }
            Purpose::IHave(ids) => {
                self.on_ihave_answered(&peer);
                self.announce_again(shared.now, &peer, ids);
            }
            Purpose::Check => {
                if let Some(neighbour) = self.active_view.get_mut(&peer) {
                    neighbour.check = None;
                }
            }
            Purpose::Notify => {
                if let Some(neighbour) = self.active_view.get_mut(&peer) {
                    neighbour.probing = false;
                }
            }
            Purpose::Probe | Purpose::NonNeighbour => {}
        }
    }

    /// Applies the limits of another mode.
    pub(super) fn set_mode(&mut self, shared: &mut Shared) {
        for neighbour in self.active_view.values_mut() {
            neighbour.ihave_ids = shared.limits().ihave_ids.bucket();
            neighbour.signatures = shared.limits().signatures.bucket();
        }
        self.seen.set_rate(shared.limits().publisher.bucket());
        self.keep_parents(shared, None);
    }
}
