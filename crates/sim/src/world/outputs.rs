//! What nodes want done, and the world doing it.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::Contact;
use potluck_node::{CallId, Event as NodeEvent, InboundId, Output, Reply};

use crate::calls::{CallKey, Leg, Life};
use crate::network::Endpoint;
use crate::world::World;
use crate::world::deliver::Event;

/// How long a name server takes to say that it knows nothing.
const RESOLVE_TIME: Duration = Duration::from_millis(20);

impl World {
    pub(crate) fn carry_out(&mut self, life: Life, output: Output) {
        let index = life.0.get();
        match output {
            Output::Transmit { to, bytes } => {
                let from = self.source(life.0, to);
                self.transmit(from, to, bytes);
            }
            Output::Storage { id, op } => {
                self.nodes[index].disk.submit(id, op);
                self.kick_disk(life);
            }
            Output::Call { id, to, bytes } => self.call(life, id, to, bytes),
            Output::AnswerCall { inbound, bytes } => self.answer_call(life, inbound, bytes),
            Output::Resolve { name } => {
                self.queue.push(self.now + RESOLVE_TIME, Event::Unresolved { life, name });
            }
            Output::Addresses { .. } => {}
            Output::SaveContacts { contacts } => self.nodes[index].saved = contacts,
            Output::Reply { id, reply } => {
                let left = matches!(reply, Reply::Left { .. });
                self.end_command(id, Some(reply));
                if left {
                    self.stop_after_leave(life.0);
                }
            }
            Output::Swarm(wanted) => self.on_files(life, wanted),
            Output::LookForNames { query, words, max } => {
                self.look_for_names(life, query, &words, max);
            }
            Output::Message(message) => self.on_message(life.0, message),
            // The world gives certificates itself; see `world::admission`.
            Output::Admitted { .. } | Output::Enroll { .. } | Output::Renewed { .. } => {}
            Output::Expelled { public_key } => self.nodes[index].papers.expel(public_key),
            Output::SaveRevocations { revocations } => {
                self.nodes[index].papers.revocations = revocations;
            }
            Output::Missed { missed, .. } => self.on_missed(life.0, missed),
            Output::Event(event) => self.on_event(life, event),
        }
    }

    fn on_event(&mut self, life: Life, event: NodeEvent) {
        match event {
            NodeEvent::Joined => {
                if let Some(process) = self.nodes[life.0.get()].process.as_mut() {
                    process.joined = true;
                }
                self.trace.event(self.now, life.0.get(), b"join", &[]);
            }
            NodeEvent::Member(_)
            | NodeEvent::NeighbourUp(_)
            | NodeEvent::NeighbourDown(..)
            | NodeEvent::Isolated
            | NodeEvent::IdentityElsewhere
            | NodeEvent::LastResort
            | NodeEvent::Reunited => self.on_member_event(life.0, event),
            NodeEvent::SiblingJoined(_) | NodeEvent::SiblingLeft(_) => {}
        }
    }

    fn call(&mut self, caller: Life, call: CallId, to: Contact, bytes: Bytes) {
        let key = CallKey { caller, call };
        self.nodes[caller.0.get()].traffic.call_bytes_out += bytes.len() as u64;
        let ends = (Endpoint::Node(caller.0), self.dialed(caller.0, to.address));
        let reachable = ends.1.filter(|callee| {
            let node = &self.nodes[callee.get()];
            let end = Endpoint::Node(*callee);
            node.is_up()
                && node.peer.contact.public_key == to.public_key
                && !node.papers.has_expelled(&self.nodes[caller.0.get()].peer.contact.public_key)
                && !self.network.is_blocked(ends.0, end)
                && !self.network.is_blocked(end, ends.0)
        });
        let Some(callee) = reachable else {
            let fails = self.calls.begin_in_vain(key);
            self.queue.push(self.now + fails, Event::CallTimeout(key));
            return;
        };
        let callee = (callee, self.nodes[callee.get()].life);
        let leg = self.leg(key, callee, bytes.len());
        let arrives = self.calls.begin(self.now, key, callee, &leg);
        self.queue.push(self.now + self.config.calls.call_timeout, Event::CallTimeout(key));
        self.queue.push(self.now + arrives, Event::Called { key, callee, bytes });
    }

    fn answer_call(&mut self, callee: Life, inbound: InboundId, bytes: Bytes) {
        let Some(key) = self.calls.answered(inbound) else { return };
        let ends = (Endpoint::Node(callee.0), Endpoint::Node(key.caller.0));
        if self.network.is_blocked(ends.0, ends.1) || self.network.is_blocked(ends.1, ends.0) {
            return; // The caller's time-out will tell it.
        }
        self.nodes[callee.0.get()].traffic.call_bytes_out += bytes.len() as u64;
        let leg = self.leg(key, callee, bytes.len());
        let arrives = self.calls.one_way(&leg);
        self.queue.push(self.now + arrives, Event::Answered { key, bytes });
    }

    fn leg(&self, key: CallKey, callee: Life, bytes: usize) -> Leg {
        let ends = (Endpoint::Node(key.caller.0), Endpoint::Node(callee.0));
        let loss = self.network.loss_between(ends.0, ends.1);
        Leg { rtt: self.network.rtt(ends.0, ends.1), loss, bytes }
    }
}
