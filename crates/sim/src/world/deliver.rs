//! Events, and their handling when they are due.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, Machine, signature_memo};
use potluck_node::Input;

use crate::calls::{CallKey, Life};
use crate::lines::Sending;
use crate::sim_node::NodeIndex;
use crate::world::calls::Called;
use crate::world::files::PipeEvent;
use crate::world::hostile::HostileEvent;
use crate::world::shard::Local;
use crate::world::shared::{Recipient, Shared};

/// Interval at which a node gets the time of its wall clock.
pub(crate) const CLOCK_TICK: Duration = Duration::from_secs(1);

/// An event of a world.
#[derive(Debug)]
pub(crate) enum Event {
    /// A node's process starts.
    Start(NodeIndex),
    /// A node announced a deadline.
    Wake(Life),
    /// A datagram arrives.
    Datagram(Datagram),
    /// A batch of storage operations is done.
    Disk(Life),
    /// The request of a call arrives.
    Called(Box<Called>),
    /// The answer of a call arrives from this callee.
    Answered { key: CallKey, callee: Life, bytes: Bytes },
    /// The handshake of a call has failed.
    CallRefused { key: CallKey, callee: NodeIndex },
    /// A call has taken too long.
    CallTimeout(CallKey),
    /// A second has passed on a wall clock.
    ClockTick(Life),
    /// A paused process continues.
    Resume(Life),
    /// A process gets no processor time for `stall`, each `every`, until a time.
    Starve { life: Life, stall: Duration, every: Duration, until: Instant },
    /// An event of a hostile member.
    Hostile(HostileEvent),
    /// The answer of a hostile member to a call arrives.
    HostileAnswered { key: CallKey, bytes: Bytes },
    /// An event of a stream of granules.
    Pipe(PipeEvent),
    /// A name was not found, because there is no DNS in the simulation.
    Unresolved { life: Life, name: String },
}

/// A datagram that is being transferred.
#[derive(Debug, Clone)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) recipient: Recipient,
    pub(crate) bytes: Bytes,
}

impl Local<'_> {
    pub(crate) fn deliver(&mut self, event: Event) {
        match event {
            Event::Start(node) => self.start(node),
            Event::Wake(life) => self.on_wake(life),
            Event::Datagram(datagram) => self.on_datagram(datagram),
            Event::Disk(life) => self.on_disk(life),
            Event::Called(called) => self.on_called(*called),
            Event::Answered { key, callee, bytes } => self.on_answered(key, callee, bytes),
            Event::CallRefused { key, callee } => self.on_refused(key, callee),
            Event::CallTimeout(key) => self.on_call_failed(key),
            Event::ClockTick(life) => {
                if self.is_life(life) {
                    self.tell_time(life.0);
                    self.shard.plan(life.0, self.shard.now + CLOCK_TICK, Event::ClockTick(life));
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
            Event::Hostile(event) => self.on_hostile(event),
            Event::HostileAnswered { key, bytes } => self.on_hostile_answered(key, bytes),
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
        let node = &self.shard.nodes[node];
        node.life == life && node.is_up()
    }

    /// Gives the time of its wall clock to a node.
    pub(crate) fn tell_time(&mut self, node: NodeIndex) {
        let exact = Shared::wall_clock(self.shard.now);
        let now = self.shard.nodes[node].wall_clock(exact);
        self.shard.trace(node, b"time", &now.0.to_le_bytes());
        self.feed(node, Input::WallClock { now });
        self.renew_puzzle(node, now);
    }

    fn on_wake(&mut self, life: Life) {
        if !self.is_life(life) {
            return;
        }
        let now = self.shard.now;
        let Some(process) = self.shard.nodes[life.0].process.as_mut() else { return };
        if process.wake != Some(now) || process.paused.is_some() {
            return; // A later announcement made this one void.
        }
        process.wake = None;
        let local = process.local(now);
        match process.machine.poll_timeout() {
            Some(deadline) if deadline.at <= local => {
                self.shard.counts.timeouts += 1;
                self.shard.trace(life.0, b"wake", deadline.why.as_bytes());
                self.feed(life.0, Input::Timeout);
                self.check_timer(life, local, deadline.why);
            }
            _ => self.rearm(life.0),
        }
    }

    /// Checks that after a timeout the next deadline is later. A machine that does not advance its timer
    /// would spin for ever.
    fn check_timer(&mut self, life: Life, local: Instant, was: &'static str) {
        if !self.is_life(life) {
            return;
        }
        let Some(process) = self.shard.nodes[life.0].process.as_mut() else { return };
        let stuck = process.machine.poll_timeout().filter(|next| next.at <= local);
        if let Some(next) = stuck {
            // Virtual time must advance whatever the machine does.
            let at = self.shard.now + Duration::from_millis(1);
            process.wake = Some(at);
            self.shard.plan(life.0, at, Event::Wake(life));
            let line = format!(
                "{} was woken for '{was}' at {local:?} and still wants to be, for '{}' at {:?}",
                life.0, next.why, next.at
            );
            self.shard.violated(life.0, line);
        }
    }

    fn on_datagram(&mut self, datagram: Datagram) {
        let Datagram { from, to, recipient, bytes } = datagram;
        match recipient {
            Recipient::Node(node) if self.has_address(node, to) => {
                if !self.lets_in(node, from, to) || !self.shard.nodes[node].is_up() {
                    return;
                }
                self.shard.counts.delivered += 1;
                self.shard.nodes[node].place.traffic.came(bytes.len());
                self.shard.trace(node, b"data", &bytes);
                let event = self.shard.nodes[node].chain.events();
                self.shard.tap.see(node, event, to, from, &bytes);
                self.feed(node, Input::Datagram { from, bytes });
            }
            Recipient::Hostile(hostile) => self.hostile_datagram(hostile, from, &bytes),
            // It was sent to an address that no node has, or no longer has.
            Recipient::Node(_) | Recipient::Stranger => self.shard.strangers.receive(to, &bytes),
        }
    }

    fn on_disk(&mut self, life: Life) {
        if !self.is_life(life) {
            return;
        }
        let done = self.shard.nodes[life.0].disk.finish();
        self.shard.counts.storage_ops += done.len() as u64;
        self.kick_disk(life);
        self.shard.trace(life.0, b"disk", &(done.len() as u64).to_le_bytes());
        for (id, reply) in done {
            self.feed(life.0, Input::Stored { id, reply });
        }
    }

    /// Starts the next batch of a disk with waiting operations.
    pub(crate) fn kick_disk(&mut self, life: Life) {
        if let Some(time) = self.shard.nodes[life.0].disk.begin() {
            self.shard.plan(life.0, self.shard.now + time, Event::Disk(life));
        }
    }

    /// Passes one input to a node and carries out its outputs.
    pub(crate) fn feed(&mut self, node: NodeIndex, input: Input) {
        let now = self.shard.now;
        let Some(process) = self.shard.nodes[node].process.as_mut() else { return };
        if let Some(paused) = process.paused.as_mut() {
            match input {
                Input::WallClock { .. } | Input::Timeout => {}
                Input::Datagram { .. }
                    if paused.inputs.len() >= self.shared.config.socket_queue =>
                {
                    self.shard.counts.overflowed += 1;
                }
                input => paused.inputs.push_back(input),
            }
            return;
        }
        let before = signature_memo::checks();
        process.machine.handle(process.local(now), input);
        let checks = signature_memo::checks().wrapping_sub(before);
        self.shard.nodes[node].place.signature_checks += checks;
        self.drain(node);
    }

    /// Carries out the outputs of a node.
    pub(crate) fn drain(&mut self, node: NodeIndex) {
        let Some(process) = self.shard.nodes[node].process.as_mut() else { return };
        let mut outputs = std::mem::take(&mut self.shard.outbox);
        while let Some(output) = process.machine.poll_output() {
            outputs.push(output);
        }
        let life = (node, self.shard.nodes[node].life);
        for output in outputs.drain(..) {
            self.carry_out(life, output);
        }
        self.shard.outbox = outputs;
        self.rearm(node);
    }

    /// Makes sure that a node is woken at its deadline.
    pub(crate) fn rearm(&mut self, node: NodeIndex) {
        let now = self.shard.now;
        let sim_node = &mut self.shard.nodes[node];
        let life = (node, sim_node.life);
        let Some(process) = sim_node.process.as_mut() else { return };
        if process.paused.is_some() {
            return;
        }
        let Some(deadline) = process.machine.poll_timeout() else { return };
        let at = process.global(deadline.at).max(now);
        // An earlier planned wake-up checks the deadline again.
        if process.wake.is_none_or(|planned| at < planned) {
            process.wake = Some(at);
            self.shard.plan(node, at, Event::Wake(life));
        }
    }

    /// Passes a datagram of a node to the network.
    pub(crate) fn transmit(&mut self, node: NodeIndex, to: SocketAddr, bytes: Bytes) {
        let from = self.source(node, to);
        let ends = (crate::network::Endpoint::Node(node), self.shared.endpoint(to));
        let of = Sending { now: self.shard.now, from: ends.0, to: ends.1, bytes: bytes.len() };
        let place = &mut self.shard.nodes[node].place;
        place.traffic.sent(bytes.len());
        let draws = &mut place.datagram_draws;
        let arrivals = self.shard.lines.send(&self.shared.network, draws, of);
        let recipient = self.shared.recipient(to);
        for delay in arrivals.into_iter().flatten() {
            let when = self.shard.caused(node, self.shard.now + delay);
            let datagram = Datagram { from, to, recipient, bytes: bytes.clone() };
            let shard = self.shared.receiving(recipient).unwrap_or(self.shard.number);
            self.shard.post(shard, when, Event::Datagram(datagram));
        }
    }
}
