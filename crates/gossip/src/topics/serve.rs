//! Requests of other nodes, and answers to requests of this one: who is told what.

use std::time::Duration;

use potluck_base::{Contact, PublicKey};
use potluck_wire::{Spread, SpreadAct, SpreadAnswer, TopicId};

use super::Topics;
use super::asks::{Ask, Purpose, World};
use super::events::{SpreadAskId, SpreadServeId, TopicsOutput};
use super::neighbour::Doubt;
use super::topic::Topic;

/// Contacts taken from one search.
const FOUND_MAX: usize = 32;
/// How long sending to a neighbour rests after this node was too busy to send.
const UNSENT_PAUSE: Duration = Duration::from_millis(50);

impl Topics {
    pub(super) fn on_found(&mut self, topic: &TopicId, contacts: Vec<Contact>) {
        let contacts = contacts.into_iter().take(FOUND_MAX).collect();
        self.with(topic, |topic, world| topic.on_found(world, contacts));
        self.settle(topic);
    }

    pub(super) fn on_suggested(&mut self, topic: &TopicId, contacts: Vec<Contact>) {
        self.with(topic, |topic, world| {
            contacts.iter().take(FOUND_MAX).for_each(|contact| topic.learn(world, *contact, None));
        });
        self.settle(topic);
    }

    pub(super) fn on_asked(&mut self, serve: SpreadServeId, from: Contact, spread: Spread) {
        let Spread { topic, act } = spread;
        self.last_heard = self.now;
        let ignored = self.scores.ignores(self.now, &from.public_key);
        if ignored || !self.topics.contains_key(&topic) {
            self.stats.strangers += 1;
            let answer = match act {
                SpreadAct::Part { .. } => SpreadAnswer::Taken,
                _ => SpreadAnswer::NotNeighbour,
            };
            self.outbox.push_back(TopicsOutput::Answer { serve, answer });
            return;
        }
        self.with(&topic, |topic, world| topic.on_asked(world, serve, from, act));
        self.settle(&topic);
    }

    pub(super) fn on_answered(&mut self, ask: SpreadAskId, answer: SpreadAnswer, rtt: Duration) {
        let Some(ask) = self.asks.take(ask) else { return };
        self.last_heard = self.now;
        let topic = ask.topic;
        self.with(&topic, |topic, world| topic.on_answered(world, ask, answer, rtt));
        self.settle(&topic);
    }

    pub(super) fn on_failed(&mut self, ask: SpreadAskId) {
        let Some(ask) = self.asks.take(ask) else { return };
        let (topic, peer) = (ask.topic, ask.to);
        let linked = self.with(&topic, |topic, world| {
            let linked = topic.active.contains_key(&peer);
            topic.on_failed(world, ask);
            linked
        });
        self.settle(&topic);
        if linked == Some(true) {
            self.note_silence(peer);
        }
    }

    pub(super) fn on_unsent(&mut self, ask: SpreadAskId) {
        let Some(ask) = self.asks.take(ask) else { return };
        let topic = ask.topic;
        self.with(&topic, |topic, world| topic.on_unsent(world, ask));
        self.settle(&topic);
    }
}

impl Topic {
    fn on_asked(
        &mut self,
        world: &mut World<'_>,
        serve: SpreadServeId,
        from: Contact,
        act: SpreadAct,
    ) {
        let peer = from.public_key;
        match act {
            SpreadAct::Neighbour { urgent, age_ms } => {
                self.on_neighbour(world, serve, from, (urgent, age_ms));
                return;
            }
            SpreadAct::Part { cause, others } => {
                world.answer(serve, SpreadAnswer::Taken);
                self.on_part(world, &peer, cause, others);
                return;
            }
            SpreadAct::Shuffled { nonce, contacts } => {
                world.answer(serve, SpreadAnswer::Taken);
                self.on_shuffled(world, from, nonce, contacts);
                return;
            }
            _ => {}
        }
        // What follows is for neighbours only.
        let Some(neighbour) = self.active.get_mut(&peer) else {
            world.stats.strangers += 1;
            world.answer(serve, SpreadAnswer::NotNeighbour);
            return;
        };
        neighbour.contact = from;
        neighbour.heard_at = world.now;
        match act {
            SpreadAct::Push { messages } => self.on_push(world, serve, &peer, &messages),
            SpreadAct::Graft { runs, eager } => self.on_graft(world, serve, &peer, &runs, eager),
            SpreadAct::Have { runs } => {
                world.answer(serve, SpreadAnswer::Taken);
                self.on_have(world, &peer, &runs);
            }
            SpreadAct::Walk { joiner, hops } => {
                world.answer(serve, SpreadAnswer::Taken);
                self.on_walk(world, &peer, joiner, hops);
            }
            SpreadAct::Shuffle { origin, nonce, hops, contacts } => {
                world.answer(serve, SpreadAnswer::Taken);
                self.on_shuffle(world, &peer, (origin, nonce, hops), contacts);
            }
            SpreadAct::Probe
            | SpreadAct::Neighbour { .. }
            | SpreadAct::Part { .. }
            | SpreadAct::Shuffled { .. } => world.answer(serve, SpreadAnswer::Taken),
        }
    }

    fn on_answered(
        &mut self,
        world: &mut World<'_>,
        ask: Ask,
        answer: SpreadAnswer,
        rtt: Duration,
    ) {
        let peer = ask.to;
        match ask.purpose {
            Purpose::Link => {
                self.on_link_answer(world, peer, answer);
                self.heard(world, &peer, rtt);
                return;
            }
            Purpose::Probe => return self.passive.prove(world.now, &peer),
            Purpose::Stranger => return,
            Purpose::Push(ids) => self.on_pushed(world, &peer, &ids, &answer),
            Purpose::Have(_) => self.named(&peer),
            Purpose::Check | Purpose::Tell => {}
        }
        if answer == SpreadAnswer::NotNeighbour {
            self.on_forgotten(world, &peer);
        } else {
            self.heard(world, &peer, rtt);
        }
    }

    fn named(&mut self, peer: &PublicKey) {
        if let Some(neighbour) = self.active.get_mut(peer) {
            neighbour.outbox.naming = false;
        }
    }

    fn on_failed(&mut self, world: &mut World<'_>, ask: Ask) {
        let peer = ask.to;
        match ask.purpose {
            Purpose::Link => return self.on_link_failed(world, &peer),
            Purpose::Probe => return self.drop_contact(world, &peer),
            Purpose::Stranger => return,
            Purpose::Check => {
                if self.active.get(&peer).is_some_and(|neighbour| neighbour.doubt.is_some()) {
                    let cause = self.silence(world, &peer);
                    self.unlink(world, &peer, cause, None);
                }
                return;
            }
            Purpose::Push(ids) => {
                self.on_pushed(world, &peer, &[], &SpreadAnswer::Taken);
                self.name_again(world.now, &peer, ids);
            }
            Purpose::Have(ids) => {
                self.named(&peer);
                self.name_again(world.now, &peer, ids);
            }
            Purpose::Tell => {}
        }
        self.doubt(world, &peer, Doubt::Silent);
    }

    /// This node was too busy to send: nothing is known of the other.
    fn on_unsent(&mut self, world: &mut World<'_>, ask: Ask) {
        let peer = ask.to;
        match ask.purpose {
            Purpose::Link => {
                self.attempts.remove(&peer);
                self.attempts_from = world.now + UNSENT_PAUSE;
            }
            Purpose::Push(ids) => {
                self.on_pushed(world, &peer, &[], &SpreadAnswer::Taken);
                let Some(neighbour) = self.active.get_mut(&peer) else { return };
                neighbour.outbox.paused_until = Some(world.now + UNSENT_PAUSE);
                for id in ids {
                    let kept = self.history.get(&id).map(|kept| kept.bytes.clone());
                    if let Some(bytes) = kept {
                        neighbour.outbox.repair(world.config, id, bytes);
                    }
                }
            }
            Purpose::Have(ids) => {
                self.named(&peer);
                self.name_again(world.now, &peer, ids);
            }
            Purpose::Check => {
                if let Some(neighbour) = self.active.get_mut(&peer) {
                    neighbour.doubt = None;
                }
            }
            Purpose::Tell => {
                if let Some(neighbour) = self.active.get_mut(&peer) {
                    neighbour.checking = false;
                }
            }
            Purpose::Probe | Purpose::Stranger => {}
        }
    }

    /// The limits of another mode hold from now on.
    pub(super) fn set_mode(&mut self, world: &mut World<'_>) {
        for neighbour in self.active.values_mut() {
            neighbour.names = world.limits().names.bucket();
            neighbour.signatures = world.limits().signatures.bucket();
        }
        self.seen.set_rate(world.limits().publisher.bucket());
        self.keep_parents(world, None);
    }
}
