//! Nodes are added, start, and stop.

use std::time::Duration;

use potluck_base::{Contact, Diversity, Instant, Rng};
use potluck_dht::EntryPoint;
use potluck_node::{Command, CommandId, Input, Node, Start};

use crate::calls::Life;
use crate::disk::Disk;
use crate::draws::{Draws, seed_of};
use crate::sim_node::{NodeIndex, Place, Process, SimNode};
use crate::trace::Chain;

use crate::world::deliver::{CLOCK_TICK, Event};
use crate::world::open::{self, Solves};
use crate::world::shard::Local;
use crate::world::{NodeFiles, World};

/// Entry points of a new node.
const ENTRIES: u64 = 3;
/// The first id of commands that the world itself gives.
pub(super) const OWN_COMMANDS: u64 = 1 << 63;

impl World {
    /// Adds a node that starts at once and knows these entry points.
    pub fn spawn(&mut self, entries: Vec<EntryPoint>) -> NodeIndex {
        let index = self.add(entries);
        self.start(index);
        index
    }

    /// Adds `count` nodes, one after the other within `time`. Each has up to three earlier ones as entry
    /// points; for about one node in four these are addresses without keys.
    pub fn grow(&mut self, count: usize, time: Duration) -> Vec<NodeIndex> {
        let mut rng = self.fork_rng("grow");
        let mut added = Vec::with_capacity(count);
        for number in 0..count {
            let entries = self.entry_points(&mut rng);
            let index = self.add(entries);
            let after = time.mul_f64(number as f64 / count as f64);
            let at = self.now + after;
            self.at(index, |local| local.shard.plan(index, at, Event::Start(index)));
            added.push(index);
        }
        added
    }

    /// A network of `count` nodes that have all joined. `None` if they have not within `bound`.
    pub fn form(
        &mut self,
        count: usize,
        time: Duration,
        bound: Duration,
    ) -> Option<Vec<NodeIndex>> {
        let added = self.grow(count, time);
        self.run_for(time);
        let joined = self.run_until(bound, |world| world.have_joined(&added));
        joined.then_some(added)
    }

    /// Whether all of these have entered the network.
    #[must_use]
    pub fn have_joined(&self, nodes: &[NodeIndex]) -> bool {
        // The first node of a network knows no node that it could join.
        nodes.iter().all(|node| self.node(*node).has_joined() || node.get() == 0)
    }

    pub(super) fn entry_points(&self, rng: &mut Rng) -> Vec<EntryPoint> {
        let known = self.count as u64;
        let by_address = rng.chance(0.25);
        (0..ENTRIES.min(known))
            .map(|_| self.node(NodeIndex::new(rng.below(known) as u32)).peer.contact)
            .map(|contact| match by_address {
                true => EntryPoint::Address(contact.address),
                false => EntryPoint::Contact(contact),
            })
            .collect()
    }

    pub(super) fn add(&mut self, entries: Vec<EntryPoint>) -> NodeIndex {
        self.add_like(entries, Solves::Both)
    }

    pub(super) fn add_like(&mut self, entries: Vec<EntryPoint>, solves: Solves) -> NodeIndex {
        let number = u32::try_from(self.count).expect("fewer nodes than addresses");
        let index = NodeIndex::new(number);
        let (network, open) = (*self.network_id(), self.config().open);
        let identity = open::identity(&network, open, solves, &mut self.rng);
        let address = match self.config().node.dht.diversity {
            Diversity::Free => index.address(),
            Diversity::Subnets => index.scattered_address(),
        };
        let contact = Contact::new(identity.public_key(), address);
        let skew = self.config().clock_skew.as_millis() as i64;
        let clock_off_ms = self.rng.below(2 * skew as u64 + 1) as i64 - skew;
        let mut disk = Disk::new(self.config().disk.clone(), self.disk_draws(index));
        let place = Place::new(self.config().seed, index);
        let peer = contact.in_network(self.network_id());
        disk.belongs_to(peer.id);
        self.shared_mut().directory.insert(contact.address, index);
        self.count += 1;
        self.shard_of(index).nodes.push(SimNode {
            peer,
            identity,
            process: None,
            life: 0,
            disk,
            clock_off_ms,
            papers: crate::world::Papers { solves, ..Default::default() },
            saved: Vec::new(),
            entries,
            left: false,
            files: NodeFiles::default(),
            shared_names: Vec::new(),
            told: crate::world::Told::default(),
            place,
            chain: Chain::default(),
            caused: 0,
        });
        index
    }

    fn disk_draws(&self, node: NodeIndex) -> Draws {
        Draws::new(self.config().seed, "disk", node.get() as u64)
    }

    /// A copy of a node's data folder on another machine: the same identity and disk at another
    /// address. It starts at once.
    pub fn clone_node(&mut self, of: NodeIndex) -> NodeIndex {
        let entries = self.live().into_iter().filter(|node| *node != of).take(ENTRIES as usize);
        let entries: Vec<Contact> = entries.map(|node| self.node(node).peer.contact).collect();
        let copy = self.add(entries.into_iter().map(EntryPoint::Contact).collect());
        let draws = self.disk_draws(copy);
        let original = self.node(of);
        let (identity, life) = (original.identity.clone(), original.life);
        let disk = original.disk.copied(draws);
        let network = *self.network_id();
        let node = &mut self.shard_of(copy).nodes[copy];
        let contact = Contact::new(identity.public_key(), node.peer.contact.address);
        node.peer = contact.in_network(&network);
        (node.identity, node.disk, node.life) = (identity, disk, life);
        self.note(format!("{copy} is a copy of {of}"));
        self.start(copy);
        copy
    }

    /// Starts a node's process.
    pub(crate) fn start(&mut self, index: NodeIndex) {
        self.at(index, |local| local.start(index));
    }

    /// The difference of its peers' clocks from a node's own, according to the node.
    #[must_use]
    pub fn clock_offset(&self, index: NodeIndex) -> Option<potluck_link::ClockOffset> {
        let process = self.node(index).process.as_ref()?;
        process.machine.clock_offset(process.local(self.now))
    }

    /// The virtual age of a node's process; `None` if it is down.
    #[must_use]
    pub fn age(&self, index: NodeIndex) -> Option<Duration> {
        let process = self.node(index).process.as_ref()?;
        Some(process.local(self.now).since(Instant::ZERO))
    }
}

impl Local<'_> {
    /// Starts a node's process: a new life with the old identity, disk and memory of contacts.
    pub(crate) fn start(&mut self, index: NodeIndex) {
        if self.shard.nodes[index].is_up() {
            return;
        }
        let (door, gate) = (self.gatekeeper(index), self.puzzle_gate(index));
        let (config, now) = (&self.shared.config, self.shard.now);
        let node = &mut self.shard.nodes[index];
        node.life += 1;
        node.left = false;
        let start = Start {
            identity: node.identity.clone(),
            network: self.shared.network_id,
            address: node.peer.contact.address,
            incarnation: u64::from(node.life),
            labels: Vec::new(),
            config: config.node.clone(),
            seed: seed_of(config.seed, "start", [index.get() as u64, node.life.into()]),
        };
        let machine = match Node::new(start) {
            Ok(machine) => Box::new(match door {
                Some(door) => {
                    let machine = machine.with_gatekeeper(door);
                    match &node.papers.settings {
                        Some(settings) => machine.with_settings(settings),
                        None => machine,
                    }
                }
                None => match gate {
                    Some(gate) => machine.with_puzzle_gate(gate),
                    None => machine,
                },
            }),
            Err(error) => {
                let line = format!("{index} cannot start: {error}");
                return self.shard.violated(index, line);
            }
        };
        node.process =
            Some(Process { machine, born: now, wake: None, paused: None, joined: false });
        let (life, contacts) = ((index, node.life), node.saved.clone());
        let (names, entries) = (node.shared_names.clone(), node.entries.clone());
        self.shard.trace(index, b"born", &life.1.to_le_bytes());
        self.tell_time(index);
        if !contacts.is_empty() {
            self.feed(index, Input::Remembered { contacts });
        }
        if !names.is_empty() {
            self.feed(index, super::records::shared_names(names));
        }
        for (number, point) in entries.into_iter().enumerate() {
            let id = own_command(life, number);
            self.shard.commands.pending.insert(id, (index, now));
            self.feed(index, Input::Command { id, command: Command::Join(point) });
        }
        self.shard.plan(index, now + CLOCK_TICK, Event::ClockTick(life));
    }

    /// Ends a node's process without warning; its commands get no answer.
    pub(crate) fn kill(&mut self, index: NodeIndex) {
        let node = &mut self.shard.nodes[index];
        if node.process.take().is_none() {
            return;
        }
        node.place.calls.forget();
        let pending = self.shard.commands.pending.iter();
        let orphans: Vec<CommandId> =
            pending.filter(|(_, (of, _))| *of == index).map(|(id, _)| *id).collect();
        for id in orphans {
            self.end_command(index, id, None);
        }
    }

    /// A node has left: its process ends normally, with everything on disk.
    pub(crate) fn stop_after_leave(&mut self, index: NodeIndex) {
        let node = &mut self.shard.nodes[index];
        node.left = true;
        node.disk.close();
        self.kill(index);
        self.shard.note(index, format!("{index} left"));
    }
}

/// A command that the world gives to a life of a node: to join by its entry point `number`.
const fn own_command((node, life): Life, number: usize) -> CommandId {
    let (node, life) = ((node.get() as u64) << 28, (life as u64 & 0xf_ffff) << 8);
    CommandId(OWN_COMMANDS | node | life | (number as u64 & 0xff))
}
