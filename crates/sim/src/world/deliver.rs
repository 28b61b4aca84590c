//! Events and what they do when their time has come.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, Machine};
use potluck_node::Input;

use crate::calls::{CallKey, Life};
use crate::network::Endpoint;
use crate::sim_node::NodeIndex;
use crate::world::HostileIndex;
use crate::world::World;
use crate::world::files::PipeEvent;
use crate::world::strangers::StrangerId;

/// How often a node is told what its wall clock shows.
pub(crate) const CLOCK_TICK: Duration = Duration::from_secs(1);

/// What can be due in a world.
#[derive(Debug)]
pub(crate) enum Event {
    /// A node's process starts.
    Start(NodeIndex),
    /// A node announced a deadline.
    Wake(Life),
    /// A datagram arrives at an address.
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Bytes },
    /// A batch of storage operations is done.
    Disk(Life),
    /// The request of a call arrives.
    Called { key: CallKey, callee: Life, bytes: Bytes },
    /// The answer of a call arrives.
    Answered { key: CallKey, bytes: Bytes },
    /// A call has taken too long.
    CallTimeout(CallKey),
    /// A second has passed on a wall clock.
    ClockTick(Life),
    /// A paused process goes on.
    Resume(Life),
    /// A process gets no processor time for `stall`, each `every`, until a time.
    Starve { life: Life, stall: Duration, every: Duration, until: Instant },
    /// The link of a hostile member announced a deadline.
    WakeHostile(HostileIndex),
    /// Something about a stream of granules.
    Pipe(PipeEvent),
    /// A name was not found: there is no DNS here.
    Unresolved { life: Life, name: String },
}

impl World {
    pub(crate) fn deliver(&mut self, event: Event) {
        match event {
            Event::Start(node) => self.start(node),
            Event::Wake(life) => self.on_wake(life),
            Event::Datagram { from, to, bytes } => self.on_datagram(from, to, bytes),
            Event::Disk(life) => self.on_disk(life),
            Event::Called { key, callee, bytes } => self.on_called(key, callee, bytes),
            Event::Answered { key, bytes } => {
                if self.is_life(key.caller) && self.calls.end(key, false) {
                    let node = key.caller.0;
                    self.nodes[node.get()].traffic.call_bytes_in += bytes.len() as u64;
                    self.trace.event(self.now, node.get(), b"answ", &bytes);
                    self.feed(node, Input::Answered { call: key.call, bytes });
                }
            }
            Event::CallTimeout(key) => {
                if self.is_life(key.caller) && self.calls.end(key, true) {
                    self.trace.event(self.now, key.caller.0.get(), b"call", b"failed");
                    self.feed(key.caller.0, Input::CallFailed { call: key.call });
                }
            }
            Event::ClockTick(life) => {
                if self.is_life(life) {
                    self.tell_time(life.0);
                    self.queue.push(self.now + CLOCK_TICK, Event::ClockTick(life));
                }
            }
            Event::Resume(life) => {
                if self.is_life(life) {
                    self.resume(life.0);
                }
            }
            Event::Starve { life, stall, every, until } => {
                if self.is_life(life) {
                    self.starve_on(life, stall, every, until);
                }
            }
            Event::WakeHostile(index) => self.wake_hostile(index),
            Event::Pipe(event) => self.on_pipe(event),
            Event::Unresolved { life, name } => {
                if self.is_life(life) {
                    self.feed(life.0, Input::Resolved { name, addresses: Vec::new() });
                }
            }
        }
    }

    /// Whether this process still runs.
    pub(crate) fn is_life(&self, (node, life): Life) -> bool {
        let node = &self.nodes[node.get()];
        node.life == life && node.is_up()
    }

    /// What a node's wall clock shows is given to it.
    pub(crate) fn tell_time(&mut self, node: NodeIndex) {
        let now = self.nodes[node.get()].wall_clock(self.wall_clock());
        self.trace.event(self.now, node.get(), b"time", &now.0.to_le_bytes());
        self.feed(node, Input::WallClock { now });
    }

    fn on_wake(&mut self, life: Life) {
        if !self.is_life(life) {
            return;
        }
        let Some(process) = self.nodes[life.0.get()].process.as_mut() else { return };
        if process.wake != Some(self.now) || process.paused.is_some() {
            return; // A later announcement made this one void.
        }
        process.wake = None;
        let local = process.local(self.now);
        match process.machine.poll_timeout() {
            Some(deadline) if deadline.at <= local => {
                self.stats.timeouts += 1;
                self.trace.event(self.now, life.0.get(), b"wake", deadline.why.as_bytes());
                self.feed(life.0, Input::Timeout);
                self.check_timer(life, local, deadline.why);
            }
            _ => self.rearm(life.0),
        }
    }

    /// After a timeout the next deadline must be later: a machine that forgets to move its timer
    /// would spin for ever.
    fn check_timer(&mut self, life: Life, local: Instant, was: &'static str) {
        if !self.is_life(life) {
            return;
        }
        let Some(process) = self.nodes[life.0.get()].process.as_mut() else { return };
        let stuck = process.machine.poll_timeout().filter(|next| next.at <= local);
        if let Some(next) = stuck {
            // Virtual time must go on whatever the machine does.
            process.wake = Some(self.now + Duration::from_millis(1));
            self.queue.push(self.now + Duration::from_millis(1), Event::Wake(life));
            self.violated(format!(
                "{} was woken for '{was}' at {local:?} and still wants to be, for '{}' at {:?}",
                life.0, next.why, next.at
            ));
        }
    }

    fn on_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        if self.owner(to).is_some() {
            let Some(node) = self.receiver(from, to) else { return };
            if self.nodes[node.get()].is_up() {
                self.stats.delivered += 1;
                self.nodes[node.get()].traffic.came(bytes.len());
                self.trace.event(self.now, node.get(), b"data", &bytes);
                self.tap.see(to, from, &bytes);
                self.feed(node, Input::Datagram { from, bytes });
            }
        } else if let Some(hostile) = self.hostile_addresses.get(&to).copied() {
            self.trace.event(self.now, usize::MAX, b"host", &bytes);
            self.hostile_datagram(hostile, from, &bytes);
        } else {
            self.strangers.receive(to, &bytes);
        }
    }

    fn on_disk(&mut self, life: Life) {
        if !self.is_life(life) {
            return;
        }
        let done = self.nodes[life.0.get()].disk.finish();
        self.stats.storage_ops += done.len() as u64;
        self.kick_disk(life);
        self.trace.event(self.now, life.0.get(), b"disk", &(done.len() as u64).to_le_bytes());
        for (id, reply) in done {
            self.feed(life.0, Input::Stored { id, reply });
        }
    }

    /// Starts the next batch of a disk that has something to do.
    pub(crate) fn kick_disk(&mut self, life: Life) {
        if let Some(time) = self.nodes[life.0.get()].disk.begin(&mut self.disk_rng) {
            self.queue.push(self.now + time, Event::Disk(life));
        }
    }

    fn on_called(&mut self, key: CallKey, callee: Life, bytes: Bytes) {
        if !self.is_life(callee) {
            return;
        }
        let Some(inbound) = self.calls.arrive(key) else { return };
        self.nodes[callee.0.get()].traffic.call_bytes_in += bytes.len() as u64;
        let to = self.nodes[callee.0.get()].peer.contact.address;
        let address = self.source(key.caller.0, to);
        let from = self.nodes[key.caller.0.get()].peer.contact.public_key;
        self.trace.event(self.now, callee.0.get(), b"call", &bytes);
        self.feed(callee.0, Input::Called { from, address, inbound, bytes });
    }

    /// Gives one input to a node and carries out what it wants done.
    pub(crate) fn feed(&mut self, node: NodeIndex, input: Input) {
        let Some(process) = self.nodes[node.get()].process.as_mut() else { return };
        if let Some(paused) = process.paused.as_mut() {
            match input {
                Input::WallClock { .. } | Input::Timeout => {}
                Input::Datagram { .. } if paused.inputs.len() >= self.config.socket_queue => {
                    self.stats.overflowed += 1;
                }
                input => paused.inputs.push_back(input),
            }
            return;
        }
        let local = process.local(self.now);
        process.machine.handle(local, input);
        let mut outputs = std::mem::take(&mut self.outbox);
        while let Some(output) = process.machine.poll_output() {
            outputs.push(output);
        }
        let life = (node, self.nodes[node.get()].life);
        for output in outputs.drain(..) {
            self.carry_out(life, output);
        }
        self.outbox = outputs;
        self.rearm(node);
    }

    /// Makes sure that a node is woken at its deadline.
    pub(crate) fn rearm(&mut self, node: NodeIndex) {
        let sim_node = &mut self.nodes[node.get()];
        let life = (node, sim_node.life);
        let Some(process) = sim_node.process.as_mut() else { return };
        if process.paused.is_some() {
            return;
        }
        let Some(deadline) = process.machine.poll_timeout() else { return };
        let at = process.global(deadline.at).max(self.now);
        // An earlier wake-up that is planned already looks at the deadline anew.
        if process.wake.is_none_or(|planned| at < planned) {
            process.wake = Some(at);
            self.queue.push(at, Event::Wake(life));
        }
    }

    /// Names who is behind an address, as the network sees it.
    pub(crate) fn endpoint(&mut self, address: SocketAddr) -> Endpoint {
        match self.owner(address) {
            Some(node) => Endpoint::Node(node),
            None => {
                let StrangerId(number) = self.strangers.at(address);
                Endpoint::Stranger(number)
            }
        }
    }

    /// Hands a datagram to the network.
    pub(crate) fn transmit(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let ends = (self.endpoint(from), self.endpoint(to));
        if let Endpoint::Node(node) = ends.0 {
            self.nodes[node.get()].traffic.sent(bytes.len());
        }
        let arrivals = self.network.send(self.now, ends.0, ends.1, bytes.len());
        for delay in arrivals.into_iter().flatten() {
            let bytes = bytes.clone();
            self.queue.push(self.now + delay, Event::Datagram { from, to, bytes });
        }
    }
}
