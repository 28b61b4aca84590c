//! Handles the inputs of the caller, and the reports of other parts of the node.

use std::time::Duration;

use potluck_base::{Contact, Machine, PublicKey};
use potluck_wire::TopicId;

use super::Topics;
use super::events::{TopicRefusal, TopicsOutput};
use crate::message::TopicName;
use crate::view::{Cause, Mode};

/// If this node handles its own timer later than this, it stood still or was stopped. A higher
/// value overlooks short standstills; a lower one takes a busy machine for a stopped one.
const STANDSTILL_MIN: Duration = Duration::from_secs(2);
/// For this long after a resume, this node attributes a silent neighbour to its own isolation. A
/// higher value keeps crashed neighbours as contacts for longer.
const ISOLATED_FOR: Duration = Duration::from_secs(10);
/// If two peers fall silent within this time, many others may have crashed too, so this node checks
/// all its links. A higher value causes more checks.
const MANY_WITHIN: Duration = Duration::from_secs(10);

impl Topics {
    pub(super) fn on_subscribe(&mut self, name: TopicName) {
        let why = if name.is_reserved() {
            Some(TopicRefusal::Reserved)
        } else if !self.enter(&name) {
            Some(TopicRefusal::TooManyTopics)
        } else {
            None
        };
        if let Some(why) = why {
            self.shared.out.push_back(TopicsOutput::SubscribeRefused { topic: name, why });
            return;
        }
        self.with(&name.id(), |topic, shared| topic.subscribe(shared));
        self.on_timeout(&[name.id()]);
    }

    pub(super) fn on_unsubscribe(&mut self, name: &TopicName) {
        let id = name.id();
        if let Some(topic) = self.topics.get_mut(&id).filter(|topic| !topic.system) {
            topic.broadcast.unsubscribe();
            self.leave_if_over(&id);
        }
    }

    pub(super) fn on_timeout(&mut self, due: &[TopicId]) {
        for id in due {
            self.with(id, |topic, shared| {
                topic.on_timeout(shared);
                topic.settle(shared);
            });
            self.leave_if_over(id);
        }
    }

    pub(super) fn drop_everywhere(&mut self, peer: &PublicKey, cause: Cause) {
        for id in self.ids() {
            self.with(&id, |topic, shared| {
                topic.drop_peer(shared, peer, cause);
                topic.settle(shared);
            });
        }
    }

    pub(super) fn on_silent(&mut self, peer: &PublicKey) {
        for id in self.ids() {
            self.with(&id, |topic, shared| {
                if topic.overlay.is_linked(peer) {
                    topic.on_silent(shared, peer);
                    topic.settle(shared);
                }
            });
        }
        self.note_silence(*peer);
    }

    /// A peer fell silent. If many did, an isolated node would hear nothing that shows it, so all
    /// links of all topics are checked.
    pub(super) fn note_silence(&mut self, peer: PublicKey) {
        let before = self.silent.replace((self.shared.now, peer));
        let many = before
            .is_some_and(|(at, other)| other != peer && self.shared.now.since(at) < MANY_WITHIN);
        if many {
            for id in self.ids() {
                self.with(&id, |topic, shared| {
                    topic.check_quiet(shared);
                    topic.settle(shared);
                });
            }
        }
    }

    /// Members were found; some may be lost neighbours.
    pub(super) fn on_candidates(&mut self, contacts: Vec<Contact>) {
        for id in self.ids() {
            self.with(&id, |topic, shared| {
                contacts.iter().for_each(|contact| topic.overlay.on_returned(shared, *contact));
            });
            self.settle(&id);
        }
        self.on_found(&TopicName::system().id(), contacts);
    }

    pub(super) fn on_resumed(&mut self) {
        self.shared.isolated_until = self.shared.now + ISOLATED_FOR;
        for id in self.ids() {
            self.with(&id, |topic, shared| {
                topic.on_resumed(shared);
                topic.settle(shared);
            });
        }
    }

    /// Checks whether this node was late for its own timer. If so, it stood still, and other nodes
    /// may have dropped their links to it meanwhile.
    pub(super) fn notice_standstill(&mut self) {
        let due = self.poll_timeout();
        if due.is_some_and(|due| self.shared.now.since(due.at) > STANDSTILL_MIN) {
            self.shared.stats.standstills += 1;
            self.on_resumed();
        }
    }

    pub(super) fn on_mode(&mut self, mode: Mode) {
        self.shared.mode = mode;
        for id in self.ids() {
            self.with(&id, |topic, shared| {
                topic.broadcast.set_mode(shared);
                topic.settle(shared);
            });
        }
    }
}
