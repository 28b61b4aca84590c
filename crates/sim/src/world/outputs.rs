//! The outputs of nodes, and how the world carries them out.

use std::time::Duration;

use potluck_node::{CommandId, Event as NodeEvent, Output, Reply};

use crate::calls::Life;
use crate::sim_node::NodeIndex;
use crate::world::Outcome;
use crate::world::deliver::Event;
use crate::world::population::OWN_COMMANDS;
use crate::world::shard::Local;

/// Time until a name server answers that a name does not exist.
const RESOLVE_TIME: Duration = Duration::from_millis(20);

impl Local<'_> {
    pub(crate) fn carry_out(&mut self, life: Life, output: Output) {
        let index = life.0;
        match output {
            Output::Transmit { to, bytes } => self.transmit(index, to, bytes),
            Output::Storage { id, op } => {
                self.shard.nodes[index].disk.submit(id, op);
                self.kick_disk(life);
            }
            Output::Call { id, to, bytes } => self.call(life, id, to, bytes),
            Output::AnswerCall { inbound, bytes } => {
                self.answer_call(life, inbound, bytes, Duration::ZERO);
            }
            Output::RefuseCall { inbound, bytes, after } => {
                self.answer_call(life, inbound, bytes, after);
            }
            // The node drops the requests of such a peer itself.
            Output::Ignore { public_key, .. } => {
                self.shard.trace(index, b"ignr", public_key.as_bytes());
            }
            Output::Resolve { name } => {
                let at = self.shard.now + RESOLVE_TIME;
                self.shard.plan(index, at, Event::Unresolved { life, name });
            }
            Output::Addresses { .. } => {}
            Output::SaveContacts { mut contacts } => {
                contacts.shrink_to_fit();
                self.shard.nodes[index].saved = contacts;
            }
            Output::Reply { id, reply } => {
                let left = matches!(reply, Reply::Left { .. });
                self.end_command(index, id, Some(reply));
                if left {
                    self.stop_after_leave(life.0);
                }
            }
            Output::Swarm(wanted) => self.on_files(life, wanted),
            Output::LookForNames { query, words, max } => {
                self.look_for_names(life, query, &words, max);
            }
            Output::Message(message) => self.on_message(life.0, message),
            // The world issues certificates itself; see `world::admission`.
            Output::Admitted { .. } | Output::Enroll { .. } | Output::Renewed { .. } => {}
            Output::Expelled { public_key } => self.shard.nodes[index].papers.expel(public_key),
            Output::SaveRevocations { revocations } => {
                self.shard.nodes[index].papers.revocations = revocations;
            }
            Output::SaveSettings { settings } => {
                self.shard.nodes[index].papers.settings = Some(settings);
            }
            Output::Missed { missed, .. } => self.on_missed(life.0, missed),
            Output::Changed(change) => self.on_changed(life.0, change),
            Output::WatchEnded(key) => {
                self.shard.trace(life.0, b"wend", key.as_bytes());
            }
            Output::Event(event) => self.on_event(life, event),
        }
    }

    fn on_event(&mut self, life: Life, event: NodeEvent) {
        match event {
            NodeEvent::Joined => {
                if let Some(process) = self.shard.nodes[life.0].process.as_mut() {
                    process.joined = true;
                }
                self.shard.trace(life.0, b"join", &[]);
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

    /// A command has ended. Commands of the world itself have no outcome.
    pub(crate) fn end_command(&mut self, node: NodeIndex, id: CommandId, reply: Option<Reply>) {
        let Some((node, asked)) = self.shard.commands.pending.remove(&id) else {
            let line = format!("a second answer to command {}: {reply:?}", id.0);
            return self.shard.violated(node, line);
        };
        let said = reply.as_ref().map(|reply| format!("{reply:?}")).unwrap_or_default();
        self.shard.trace(node, b"rply", said.as_bytes());
        if id.0 < OWN_COMMANDS {
            let outcome = Outcome { node, asked, ended: self.shard.now, reply };
            self.shard.commands.outcomes.insert(id, outcome);
        }
    }
}
