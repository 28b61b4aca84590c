//! What can go wrong with nodes and the network between them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Instant, Key};
use potluck_node::{Command, CommandId, Input};
use potluck_record::Place;

use crate::calls::Life;
use crate::disk::DiskFault;
use crate::network::{Blocks, Endpoint, LinkFault, NetworkConfig, PartitionId};
use crate::sim_node::{NodeIndex, Paused};
use crate::world::World;
use crate::world::deliver::Event;

impl World {
    /// The power of a node goes: its process is gone, and so is what its disk had not synced.
    pub fn crash(&mut self, node: NodeIndex) {
        if !self.node(node).is_up() {
            return;
        }
        self.note(format!("{node} crashes"));
        self.kill(node);
        self.nodes[node.get()].disk.crash(&mut self.disk_rng);
    }

    /// A node that is down starts again, with the same identity and what its disk kept.
    pub fn restart(&mut self, node: NodeIndex) {
        self.note(format!("{node} restarts"));
        self.start(node);
    }

    /// A node's machine sleeps for a while and then goes on. Its monotonic clock runs on, and the
    /// process is told that it slept (`Input::Resumed`).
    pub fn pause(&mut self, node: NodeIndex, time: Duration) {
        self.stand_still(node, time, true);
    }

    /// A node's process gets no processor time for a while and then goes on, without being told:
    /// all that came meanwhile comes in one burst. Its monotonic clock runs on.
    pub fn stall(&mut self, node: NodeIndex, time: Duration) {
        self.stand_still(node, time, false);
    }

    /// For `time` a node's process gets no processor time but for a moment each `every`: it stands
    /// still for `stall` each, and handles what came in between in bursts.
    pub fn starve(&mut self, node: NodeIndex, stall: Duration, every: Duration, time: Duration) {
        let life = (node, self.nodes[node.get()].life);
        self.note(format!("{node} is starved for {time:?}: {stall:?} each {every:?}"));
        self.starve_on(life, stall, every.max(Duration::from_millis(1)), self.now + time);
    }

    pub(crate) fn starve_on(
        &mut self,
        life: Life,
        stall: Duration,
        every: Duration,
        until: Instant,
    ) {
        if self.now < until {
            self.stand_still(life.0, stall.min(until.since(self.now)), false);
            self.queue.push(self.now + every, Event::Starve { life, stall, every, until });
        }
    }

    fn stand_still(&mut self, node: NodeIndex, time: Duration, told: bool) {
        let (now, life) = (self.now, (node, self.nodes[node.get()].life));
        let Some(process) = self.nodes[node.get()].process.as_mut() else { return };
        if process.paused.is_none() {
            process.paused = Some(Paused { since: now, told, inputs: VecDeque::new() });
            self.queue.push(now + time, Event::Resume(life));
            if told {
                self.note(format!("{node} pauses for {time:?}"));
            }
        }
    }

    pub(crate) fn resume(&mut self, node: NodeIndex) {
        let Some(process) = self.nodes[node.get()].process.as_mut() else { return };
        let Some(Paused { since, told, inputs }) = process.paused.take() else { return };
        process.wake = None;
        self.tell_time(node);
        self.trace.event(self.now, node.get(), b"resu", &[]);
        if told {
            let entropy = self.rng.bytes();
            self.feed(node, Input::Resumed { gap: self.now.since(since), entropy });
        }
        for input in inputs {
            self.feed(node, input);
        }
        self.rearm(node);
    }

    /// A node is asked to say good-bye; it is down when the command has ended.
    pub fn leave(&mut self, node: NodeIndex) -> CommandId {
        self.note(format!("{node} leaves"));
        self.command(node, Command::Leave)
    }

    /// A node's wall clock is set forward.
    pub fn clock_forward(&mut self, node: NodeIndex, by: Duration) {
        self.set_clock(node, by, false);
    }

    /// A node's wall clock is set back.
    pub fn clock_back(&mut self, node: NodeIndex, by: Duration) {
        self.set_clock(node, by, true);
    }

    fn set_clock(&mut self, node: NodeIndex, by: Duration, back: bool) {
        self.note(format!("the clock of {node} goes {} {by:?}", if back { "back" } else { "on" }));
        self.nodes[node.get()].shift_clock(by, back);
        self.tell_time(node);
    }

    /// A node's disk gets a fault, or gets well.
    pub fn disk_fault(&mut self, node: NodeIndex, fault: Option<DiskFault>) {
        self.note(format!("the disk of {node}: {fault:?}"));
        self.nodes[node.get()].disk.set_fault(fault);
    }

    /// A bit of each envelope of `key` on a node's disk flips, and nothing says so. Says how many
    /// envelopes that were.
    pub fn damage(&mut self, node: NodeIndex, key: &Key, place: Place) -> usize {
        let rows = self.nodes[node.get()].disk.damage(key, place);
        self.note(format!("{rows} rows of {key:?} as {place:?} go bad on the disk of {node}"));
        rows
    }

    /// A node gets another address at once, and is told. Nothing that goes to the old one arrives.
    pub fn change_address(&mut self, node: NodeIndex) -> SocketAddr {
        let address = NodeIndex::moved_address(self.moves);
        self.moves += 1;
        self.note(format!("{node} moves to {address}"));
        let contact = &mut self.nodes[node.get()].peer.contact;
        self.directory.remove(&contact.address);
        contact.address = address;
        self.directory.insert(address, node);
        let (advertised, local) = (Vec::new(), vec![address.into()]);
        self.feed(node, Input::AddressesChanged { advertised, local });
        address
    }

    /// A node's own line to the network gets a fault, or gets well.
    pub fn link_fault(&mut self, node: NodeIndex, fault: Option<LinkFault>) {
        self.note(format!("the line of {node}: {fault:?}"));
        self.network.set_fault(Endpoint::Node(node), fault);
    }

    /// This share of the datagrams from one node to another is lost on top of all others; 0: none.
    pub fn pair_loss(&mut self, from: NodeIndex, to: NodeIndex, share: f64) {
        self.network.set_pair_loss(Endpoint::Node(from), Endpoint::Node(to), share);
    }

    /// Nothing passes between two groups any more; nodes in neither talk to both.
    pub fn partition(
        &mut self,
        first: &[NodeIndex],
        second: &[NodeIndex],
        blocks: Blocks,
    ) -> PartitionId {
        self.note(format!("partition of {} and {} nodes, {blocks:?}", first.len(), second.len()));
        self.network.partition(first, second, blocks)
    }

    /// Cuts one node off from all others.
    pub fn isolate(&mut self, node: NodeIndex) -> PartitionId {
        let others: Vec<NodeIndex> = self.all().filter(|other| *other != node).collect();
        self.partition(&[node], &others, Blocks::BothWays)
    }

    /// Ends one partition.
    pub fn heal(&mut self, id: PartitionId) {
        self.note("a partition heals");
        self.network.heal(id);
    }

    /// Ends all partitions and clogs.
    pub fn heal_all(&mut self) {
        self.note("all partitions heal");
        self.network.heal_all();
    }

    /// Holds all datagrams from one node to another back for a while.
    pub fn clog(&mut self, from: NodeIndex, to: NodeIndex, time: Duration) {
        self.network.clog(Endpoint::Node(from), Endpoint::Node(to), self.now + time);
    }

    /// Changes how the network behaves from now on.
    pub fn set_network(&mut self, change: impl FnOnce(&mut NetworkConfig)) {
        change(self.network.config_mut());
    }
}
