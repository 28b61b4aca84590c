//! The history of messages and of member lists in the types of [`crate::check::history`].
//!
//! **Invariant:** it records the published messages, the deliveries to subscribers, the member lists of
//! nodes, and the faults of the scenario. The same rules judge runs of real processes.

use std::ops::Range;
use std::time::Duration;

use potluck_base::Instant;
use potluck_gossip::MemberState;
use potluck_gossip::message::Message;

use crate::check::history::Verdict;
use crate::check::history::faults::{Effect, Fault, Faults};
use crate::check::history::members::{self, Listed, MemberRules, View};
use crate::check::history::messages::{self, Heard, MessageRules, Publication, Stream};
use crate::sim_node::NodeIndex;
use crate::world::World;

/// A history during its recording.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chronicle {
    faults: Faults,
    published: Vec<Publication>,
    views: Vec<View>,
}

fn since_start(at: Instant) -> Duration {
    at.since(Instant::ZERO)
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Chronicle {
    /// These nodes were disturbed during `time`.
    pub(crate) fn fault(&mut self, effect: Effect, nodes: &[NodeIndex], time: Range<Instant>) {
        self.faults.push(Fault {
            name: format!("{effect:?}"),
            nodes: nodes.iter().map(|node| node.get()).collect(),
            effect,
            from: since_start(time.start),
            until: Some(since_start(time.end)),
        });
    }

    /// A node was asked to publish these bytes, which are unique, and accepted them at `accepted`.
    pub(crate) fn published(
        &mut self,
        node: NodeIndex,
        bytes: &[u8],
        asked: Instant,
        accepted: Option<Instant>,
    ) {
        self.published.push(Publication {
            node: node.get(),
            life: 0,
            number: self.published.len() as u64,
            text: text(bytes),
            asked: since_start(asked),
            accepted: accepted.map(since_start),
        });
    }

    /// Records how these nodes list each other.
    pub(crate) fn look(&mut self, world: &World, nodes: &[NodeIndex]) {
        let at = since_start(world.now());
        for observer in nodes {
            let Some(machine) = world.node(*observer).machine() else { continue };
            let listed = |of: &NodeIndex| {
                let state = machine.members().state(&world.node(*of).peer.contact.public_key);
                let lives = matches!(state, Some(MemberState::Alive | MemberState::Suspect));
                (of.get(), if lives { Listed::Living } else { Listed::Gone })
            };
            let listed = nodes.iter().filter(|of| *of != observer).map(listed).collect();
            self.views.push(View { observer: observer.get(), at, listed });
        }
    }

    /// Judges the deliveries to the subscribers of these nodes, each subscribed since `opened`.
    pub(crate) fn judge_messages(
        &self,
        world: &World,
        nodes: &[NodeIndex],
        opened: Instant,
        rules: &MessageRules,
    ) -> Verdict {
        let closed = since_start(world.now());
        let stream = |node: &NodeIndex| {
            let said = |message: &Message| Heard::Message(text(message.payload.as_ref()));
            let came = world.messages(*node).map(|(at, message)| (since_start(*at), said(message)));
            let missed = world.messages_missed(*node);
            let told = (missed > 0).then_some((closed, Heard::Missed(Some(missed))));
            let heard = came.chain(told).collect();
            Stream { node: node.get(), opened: since_start(opened), closed, heard }
        };
        let streams: Vec<Stream> = nodes.iter().map(stream).collect();
        messages::judge(&self.published, &streams, &self.faults, rules)
    }

    /// Judges all recorded member lists.
    pub(crate) fn judge_members(&self, rules: &MemberRules) -> Verdict {
        members::judge(&self.views, &self.faults, rules)
    }
}
