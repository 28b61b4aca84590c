//! Faults of nodes and of the network between them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Instant, Key};
use potluck_node::{Command, CommandId, Input};
use potluck_record::Place;

use crate::calls::Life;
use crate::disk::DiskFault;
use crate::draws::seed_of;
use crate::network::{Blocks, Endpoint, LinkFault, NetworkConfig, PartitionId};
use crate::sim_node::{NodeIndex, Paused};
use crate::world::World;
use crate::world::deliver::Event;
use crate::world::shard::Local;

impl World {
    /// Power failure of a node: its process and the unsynced changes of its disk are lost.
    pub fn crash(&mut self, node: NodeIndex) {
        if !self.node(node).is_up() {
            return;
        }
        self.note(format!("{node} crashes"));
        self.at(node, |local| {
            local.kill(node);
            local.shard.nodes[node].disk.crash();
        });
    }

    /// Starts a node that is down, with the same identity and the contents of its disk.
    pub fn restart(&mut self, node: NodeIndex) {
        self.note(format!("{node} restarts"));
        self.start(node);
    }

    /// A node's machine sleeps for a time and then continues. Its monotonic clock advances, and the process
    /// is told that it slept (`Input::Resumed`).
    pub fn pause(&mut self, node: NodeIndex, time: Duration) {
        self.at(node, |local| local.stand_still(node, time, true));
    }

    /// A node's process gets no processor time for a time and then continues, without being told: everything
    /// that arrived meanwhile comes in one burst. Its monotonic clock advances.
    pub fn stall(&mut self, node: NodeIndex, time: Duration) {
        self.at(node, |local| local.stand_still(node, time, false));
    }

    /// For `time` a node's process gets processor time only for a moment in each `every`: it stands still for
    /// `stall`, and handles what arrived in between in bursts.
    pub fn starve(&mut self, node: NodeIndex, stall: Duration, every: Duration, time: Duration) {
        let (life, until) = ((node, self.node(node).life), self.now + time);
        self.note(format!("{node} is starved for {time:?}: {stall:?} each {every:?}"));
        let every = every.max(Duration::from_millis(1));
        self.at(node, |local| local.starve_on(life, stall, every, until));
    }

    /// Asks a node to leave. It is down when the command has ended.
    pub fn leave(&mut self, node: NodeIndex) -> CommandId {
        self.note(format!("{node} leaves"));
        self.command(node, Command::Leave)
    }

    /// Sets a node's wall clock forward.
    pub fn clock_forward(&mut self, node: NodeIndex, by: Duration) {
        self.set_clock(node, by, false);
    }

    /// Sets a node's wall clock back.
    pub fn clock_back(&mut self, node: NodeIndex, by: Duration) {
        self.set_clock(node, by, true);
    }

    fn set_clock(&mut self, node: NodeIndex, by: Duration, back: bool) {
        self.note(format!("the clock of {node} goes {} {by:?}", if back { "back" } else { "on" }));
        self.at(node, |local| {
            local.shard.nodes[node].shift_clock(by, back);
            local.tell_time(node);
        });
    }

    /// Sets or ends a fault of a node's disk.
    pub fn disk_fault(&mut self, node: NodeIndex, fault: Option<DiskFault>) {
        self.note(format!("the disk of {node}: {fault:?}"));
        self.disk(node).set_fault(fault);
    }

    /// Flips a bit of each envelope of `key` on a node's disk, without an error. Returns the number of
    /// envelopes.
    pub fn damage(&mut self, node: NodeIndex, key: &Key, place: Place) -> usize {
        let rows = self.disk(node).damage(key, place);
        self.note(format!("{rows} rows of {key:?} as {place:?} go bad on the disk of {node}"));
        rows
    }

    /// Gives a node another address at once, and tells the node. Packets to the old address are lost.
    pub fn change_address(&mut self, node: NodeIndex) -> SocketAddr {
        let address = NodeIndex::moved_address(self.moves);
        self.moves += 1;
        self.note(format!("{node} moves to {address}"));
        let old =
            std::mem::replace(&mut self.shard_of(node).nodes[node].peer.contact.address, address);
        self.shared_mut().directory.remove(&old);
        self.shared_mut().directory.insert(address, node);
        let (advertised, local) = (Vec::new(), vec![address.into()]);
        self.at(node, |at| at.feed(node, Input::AddressesChanged { advertised, local }));
        address
    }

    /// Sets or ends a fault of a node's own line.
    pub fn link_fault(&mut self, node: NodeIndex, fault: Option<LinkFault>) {
        self.note(format!("the line of {node}: {fault:?}"));
        self.shared_mut().network.set_fault(Endpoint::Node(node), fault);
    }

    /// Sets the additional loss of datagrams from one node to another; 0: none.
    pub fn pair_loss(&mut self, from: NodeIndex, to: NodeIndex, share: f64) {
        self.shared_mut().network.set_pair_loss(Endpoint::Node(from), Endpoint::Node(to), share);
    }

    /// Blocks all traffic between two groups. Nodes in neither group reach both.
    pub fn partition(
        &mut self,
        first: &[NodeIndex],
        second: &[NodeIndex],
        blocks: Blocks,
    ) -> PartitionId {
        self.note(format!("partition of {} and {} nodes, {blocks:?}", first.len(), second.len()));
        self.shared_mut().network.partition(first, second, blocks)
    }

    /// Cuts one node off from all others.
    pub fn isolate(&mut self, node: NodeIndex) -> PartitionId {
        let others: Vec<NodeIndex> = self.all().filter(|other| *other != node).collect();
        self.partition(&[node], &others, Blocks::BothWays)
    }

    /// Ends one partition.
    pub fn heal(&mut self, id: PartitionId) {
        self.note("a partition heals");
        self.shared_mut().network.heal(id);
    }

    /// Ends all partitions and clogs.
    pub fn heal_all(&mut self) {
        self.note("all partitions heal");
        self.shared_mut().network.heal_all();
        self.shards.iter_mut().for_each(|shard| shard.lines.clear());
    }

    /// Delays all datagrams from one node to another for a time.
    pub fn clog(&mut self, from: NodeIndex, to: NodeIndex, time: Duration) {
        let until = self.now + time;
        self.shard_of(from).lines.clog(Endpoint::Node(from), Endpoint::Node(to), until);
    }

    /// Changes the parameters of the network from now on.
    pub fn set_network(&mut self, change: impl FnOnce(&mut NetworkConfig)) {
        self.shared_mut().network.change(change);
    }
}

impl Local<'_> {
    pub(crate) fn starve_on(
        &mut self,
        life: Life,
        stall: Duration,
        every: Duration,
        until: Instant,
    ) {
        let now = self.shard.now;
        if now < until {
            self.stand_still(life.0, stall.min(until.since(now)), false);
            self.shard.plan(life.0, now + every, Event::Starve { life, stall, every, until });
        }
    }

    fn stand_still(&mut self, node: NodeIndex, time: Duration, told: bool) {
        let now = self.shard.now;
        let sim_node = &mut self.shard.nodes[node];
        let life = (node, sim_node.life);
        let Some(process) = sim_node.process.as_mut() else { return };
        if process.paused.is_none() {
            process.paused = Some(Paused { since: now, told, inputs: VecDeque::new() });
            self.shard.plan(node, now + time, Event::Resume(life));
            if told {
                self.shard.note(node, format!("{node} pauses for {time:?}"));
            }
        }
    }

    pub(crate) fn resume(&mut self, node: NodeIndex) {
        let now = self.shard.now;
        let Some(process) = self.shard.nodes[node].process.as_mut() else { return };
        let Some(Paused { since, told, inputs }) = process.paused.take() else { return };
        process.wake = None;
        self.tell_time(node);
        self.shard.trace(node, b"resu", &[]);
        if told {
            let numbers = [node.get() as u64, now.as_micros()];
            let entropy = seed_of(self.shared.config.seed, "resumed", numbers);
            self.feed(node, Input::Resumed { gap: now.since(since), entropy });
        }
        for input in inputs {
            self.feed(node, input);
        }
        self.rearm(node);
    }
}
