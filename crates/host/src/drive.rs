//! The drive loop: one task for each node, which gives inputs to the node's core and carries out its
//! outputs.
//!
//! Only the loop calls the core, with one input at a time, and carries out the outputs before the next
//! input. The loop never waits for a disk, a peer or an application. A datagram that the send buffer has
//! no room for is dropped; all other work runs in other tasks or threads and its result comes back as an
//! input.
//!
//! **Invariants:** every map and queue has a limit; no storage operation is lost: while the disk has no
//! room, the loop takes no new inputs; after [`WORK_BUDGET`] inputs the loop yields to other tasks.

mod inbound;
mod lag;
mod saver;
mod stats;
mod strangers;
mod tasks;
mod timer;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use potluck_base::{Contact, Machine, PublicKey};
use potluck_dht::EntryPoint;
use potluck_node::{Command, CommandError, CommandId, Event, Input, Node, Output, Reply};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior};

use crate::addresses::{Watch, Whereabouts};
use crate::clock::{Clock, SleepWatch};
use crate::disk::{Disk, Replies};
use crate::files::Files;
use crate::folder::{DataFolder, random_bytes};
use crate::membership::Membership;
use crate::puzzles::Puzzles;
use crate::request::{HandleEnds, Observation, Observe, Request, SharedNames};
use crate::socket::{DatagramKind, ReceiveBatch, Segment, Sockets};
use crate::topics::{Pending, Topics};
use crate::transport::{IncomingCall, IncomingFetch, Responder, Transport};
use crate::watches::{PendingWatch, Watchers};
use inbound::Inbound;
use lag::LagGauge;
use saver::Saver;
use strangers::Strangers;
use tasks::Tasks;
use timer::Timer;

pub use stats::DriveStats;

/// Inputs handled before the loop yields to other tasks. Raising it delays them.
const WORK_BUDGET: usize = 64;
/// Commands waiting for the core's reply; further ones are refused as busy. The core's own limit is
/// lower.
const COMMANDS_MAX: usize = 4096;
/// Batches of datagrams that are read before a late timer is handled. Raising it delays the timer while
/// many datagrams arrive.
const CATCH_UP_BATCHES: usize = 64;
/// Interval at which the core learns the wall clock.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two checks of the machine's interfaces.
const INTERFACES_TICKS: u32 = 2;
/// Time for which a stopping node waits for the other users of its socket.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The receiver of the reply to a command.
enum Waiting {
    Caller(oneshot::Sender<Reply>),
    /// The permit is released with the reply, whether or not the publisher still waits.
    Publisher(oneshot::Sender<Reply>, OwnedSemaphorePermit),
    Subscriber(Pending),
    Watcher(PendingWatch),
}

/// The parts of a drive loop.
pub(crate) struct Parts {
    pub(crate) watch: Watch,
    pub(crate) whereabouts: Whereabouts,
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) socket: Arc<Sockets>,
    pub(crate) transport: Transport,
    pub(crate) disk: Disk,
    pub(crate) folder: Option<DataFolder>,
    pub(crate) ends: HandleEnds,
    pub(crate) remembered: Vec<Contact>,
    pub(crate) entry_points: Vec<EntryPoint>,
    /// DNS names (`name:port`) to resolve while no entry point answers.
    pub(crate) dns_fallback: Vec<String>,
    pub(crate) files: Option<Files>,
    pub(crate) membership: Option<Membership>,
    pub(crate) puzzles: Option<Puzzles>,
}

/// A drive loop.
pub(crate) struct Drive {
    node: Node,
    clock: Clock,
    socket: Arc<Sockets>,
    transport: Transport,
    disk: Disk,
    files: Option<Files>,
    membership: Option<Membership>,
    puzzles: Option<Puzzles>,
    ends: HandleEnds,
    tasks: Tasks,
    inbound: Inbound<Responder>,
    commands: HashMap<CommandId, Waiting>,
    topics: Topics,
    watchers: Watchers,
    dns_fallback: Vec<String>,
    next_command: u64,
    saver: Saver,
    timer: Timer,
    lag: LagGauge,
    sleep_watch: SleepWatch,
    watch: Watch,
    whereabouts: Whereabouts,
    ticks: u32,
    /// Set when it is not safe to go on: the node stops.
    stuck: bool,
    /// Inputs since the last yield to other tasks.
    work: usize,
    stats: DriveStats,
    strangers: Strangers,
}

impl Drive {
    pub(crate) fn new(parts: Parts) -> Self {
        let mut drive = Self {
            node: parts.node,
            clock: parts.clock,
            socket: parts.socket,
            transport: parts.transport,
            disk: parts.disk,
            files: parts.files,
            membership: parts.membership,
            puzzles: parts.puzzles,
            ends: parts.ends,
            tasks: Tasks::default(),
            inbound: Inbound::new(),
            commands: HashMap::new(),
            topics: Topics::default(),
            watchers: Watchers::default(),
            dns_fallback: parts.dns_fallback.clone(),
            next_command: 0,
            saver: Saver::new(parts.folder),
            timer: Timer::new(),
            lag: LagGauge::default(),
            sleep_watch: SleepWatch::default(),
            watch: parts.watch,
            whereabouts: parts.whereabouts,
            ticks: 0,
            stuck: false,
            work: 0,
            stats: DriveStats::default(),
            strangers: Strangers::default(),
        };
        drive.tell_time();
        drive.look_at_interfaces();
        if !parts.remembered.is_empty() {
            drive.input(Input::Remembered { contacts: parts.remembered });
        }
        let held = drive.files.as_ref().map(Files::held).unwrap_or_default();
        held.into_iter().for_each(|held| drive.input(Input::Swarm(held)));
        for point in parts.entry_points {
            let id = drive.command_id();
            drive.input(Input::Command { id, command: Command::Join(point) });
        }
        for name in parts.dns_fallback {
            drive.input(Input::LastResort { name });
        }
        drive
    }

    /// Drives the node until its handle stops it or all handles are gone.
    pub(crate) async fn run(mut self) {
        let mut batch = ReceiveBatch::new();
        let mut tick = ticker();
        loop {
            self.timer.arm(self.node.poll_timeout().map(|deadline| deadline.at), &self.clock);
            let open = !self.disk.is_full();
            tokio::select! {
                () = stopped(&mut self.ends.stop) => break,
                replies = self.disk.replies() => self.on_replies(replies),
                received = self.socket.recv(&mut batch), if open => {
                    self.on_received(received, &batch);
                }
                Some(request) = self.ends.requests.recv(), if open => self.on_request(request),
                // Requests about the node's condition are answered even while the disk is stuck.
                Some(look) = self.ends.looks.recv() => self.on_request(look),
                Some(input) = self.tasks.next(), if open && !self.tasks.is_empty() => {
                    self.input(input);
                }
                Some(call) = self.transport.next_incoming(), if open => self.on_call(call),
                Some(fetch) = self.transport.next_incoming_fetch(), if open => self.on_fetch(fetch),
                () = self.timer.fired(), if open && self.timer.is_set() => {
                    self.on_timer(&mut batch).await;
                }
                () = self.topics.dropped(), if open => self.sweep_topics(),
                () = self.watchers.dropped(), if open => self.sweep_watchers(),
                _ = tick.tick(), if open => self.on_tick(),
                // Ready only when nothing else is.
                () = tokio::task::yield_now(), if open && self.strangers.len() > 0 => {
                    self.take_strangers();
                }
            }
            if self.strangers.turn() && open {
                self.take_strangers();
            }
            if self.stuck {
                break;
            }
            if self.work >= WORK_BUDGET {
                self.work = 0;
                tokio::task::yield_now().await;
            }
        }
        let done = self.shut().await;
        done.send_replace(true);
    }

    fn input(&mut self, input: Input) {
        let now = self.clock.now();
        self.node.handle(now, input);
        self.carry_out();
    }

    /// Carries out the outputs of the core after an input.
    fn carry_out(&mut self) {
        self.work += 1;
        self.stats.inputs += 1;
        loop {
            while let Some(output) = self.node.poll_output() {
                self.carry_out_one(output);
            }
            let Some((id, reply)) = self.disk.pop_done() else { return };
            self.node.handle(self.clock.now(), Input::Stored { id, reply });
        }
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Transmit { to, bytes } => {
                // If the buffer is full or the address is unreachable, the datagram is lost; the socket
                // counts it.
                let _ = self.socket.try_send(to, &bytes);
            }
            Output::Storage { id, op } => self.disk.submit(id, op),
            Output::Call { id, to, bytes } => self.tasks.call(&self.transport, id, to, bytes),
            Output::AnswerCall { inbound, bytes } => {
                if let Some(responder) = self.inbound.take(inbound) {
                    // The transport counts answers that could not be sent.
                    let _ = responder.answer(bytes);
                }
            }
            Output::RefuseCall { inbound, bytes, after } => {
                if let Some(responder) = self.inbound.take(inbound) {
                    responder.answer_after(after, bytes);
                }
            }
            Output::Ignore { public_key, time } => self.ignore(public_key, time),
            Output::Resolve { name } => {
                self.tasks.resolve(name, self.socket.families());
            }
            Output::SaveContacts { contacts } => self.saver.save(contacts),
            Output::Addresses { addresses } => self.whereabouts.set(&addresses),
            output @ (Output::Admitted { .. }
            | Output::Expelled { .. }
            | Output::Enroll { .. }
            | Output::Renewed { .. }
            | Output::SaveSettings { .. }
            | Output::SaveRevocations { .. }) => {
                if let Some(puzzles) = &self.puzzles {
                    puzzles.carry_out(&output);
                }
                if let Some(membership) = &self.membership {
                    membership.carry_out(output);
                }
            }
            Output::Swarm(output) => {
                if let Some(files) = &self.files {
                    files.carry_out(output);
                }
            }
            Output::LookForNames { query, words, max } => {
                if let Some(files) = &self.files {
                    files.look_for_names(query, words, max);
                }
            }
            Output::Reply { id, reply } => match self.commands.remove(&id) {
                Some(Waiting::Caller(caller)) => {
                    // The receiver may be gone.
                    let _ = caller.send(reply);
                }
                Some(Waiting::Publisher(publisher, _place)) => {
                    let _ = publisher.send(reply);
                }
                Some(Waiting::Subscriber(pending)) => self.topics.answered(pending, reply),
                Some(Waiting::Watcher(pending)) => self.watchers.answered(pending, reply),
                None => {}
            },
            Output::Changed(change) => self.watchers.deliver(&change),
            Output::WatchEnded(key) => self.watchers.end(&key),
            Output::Message(message) => self.topics.deliver(&message),
            Output::Missed { topic, missed } => self.topics.lose(&topic, missed),
            Output::Event(event) => self.tell(event),
        }
    }

    /// Ends all connections with a peer that sent bad signatures, and takes none from it for a while.
    fn ignore(&self, peer: PublicKey, time: Duration) {
        tracing::warn!(
            code = "peer.ignored",
            %peer,
            "several requests of this node carried bad signatures: it is ignored for {} s",
            time.as_secs()
        );
        self.transport.ignore(peer, time);
    }

    /// Sends an event to the listeners, and logs events that need action by an operator.
    fn tell(&self, event: Event) {
        if event == Event::IdentityElsewhere {
            tracing::warn!(
                code = "identity.elsewhere",
                "another machine runs with this node's identity, so this one writes and publishes \
                 nothing any more: start the copy again with potluck up --new-identity, then the \
                 original as it is"
            );
        }
        if event == Event::LastResort {
            let names = self.dns_fallback.join(", ");
            tracing::warn!(
                code = "entry.dnsFallback",
                "no entry point and no node of the last run answers: asking DNS for {names} ([network] \
                 dns_fallback) until one does"
            );
        }
        tracing::debug!(?event);
        // There may be no listeners.
        let _ = self.ends.events.send(event);
    }

    fn on_replies(&mut self, replies: Replies) {
        for (id, reply) in replies {
            self.input(Input::Stored { id, reply });
        }
    }

    fn on_received(&mut self, received: io::Result<()>, batch: &ReceiveBatch) {
        if let Err(error) = received {
            self.stats.receive_errors += 1;
            tracing::warn!(code = "socket.receive", %error, "cannot receive");
            return;
        }
        for segment in batch.segments() {
            match segment.kind {
                DatagramKind::Control => self.on_datagram(&segment),
                DatagramKind::Quic => self.transport.on_quic(&segment),
            }
        }
    }

    fn on_datagram(&mut self, datagram: &Segment<'_>) {
        self.stats.datagrams += 1;
        let now = self.clock.now();
        self.socket.note(datagram);
        if !self.node.is_from_peer(datagram.from, datagram.bytes) {
            self.strangers.defer(datagram.from, datagram.bytes);
            return;
        }
        self.node.handle_datagram(now, datagram.from, datagram.bytes);
        self.carry_out();
    }

    /// Handles datagrams of strangers, a few.
    fn take_strangers(&mut self) {
        for (from, bytes) in self.strangers.portion() {
            self.node.handle_datagram(self.clock.now(), from, &bytes);
            self.carry_out();
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Command { command, reply } if self.commands.len() < COMMANDS_MAX => {
                let id = self.command_id();
                self.commands.insert(id, Waiting::Caller(reply));
                self.input(Input::Command { id, command });
            }
            Request::Command { reply, .. } => {
                let _ = reply.send(Reply::Failed(CommandError::Busy));
            }
            Request::Observe(observe) => self.on_observe(observe),
            Request::Files(input) => self.input(Input::Swarm(input)),
            Request::Admission(input) => self.input(input),
            Request::Found(address) => self.input(Input::Candidate { address }),
            Request::SharedNames(SharedNames::All(names)) => self.input(Input::SharedNames(names)),
            Request::SharedNames(SharedNames::Elsewhere(count)) => {
                self.input(Input::SharedNamesElsewhere(count));
            }
            Request::NamesFound { query, files } => self.input(Input::NamesFound { query, files }),
            Request::Publish { topic, payload, counted, reply, place } => {
                let id = self.command_id();
                self.commands.insert(id, Waiting::Publisher(reply, place));
                let command = match counted {
                    true => Command::PublishCounted { topic, payload },
                    false => Command::Publish { topic, payload },
                };
                self.input(Input::Command { id, command });
            }
            Request::Subscribe(request) => {
                if let Some((command, pending)) = self.topics.begin(request) {
                    let id = self.command_id();
                    self.commands.insert(id, Waiting::Subscriber(pending));
                    self.input(Input::Command { id, command });
                }
            }
            Request::Watch(request) => {
                if let Some((command, pending)) = self.watchers.begin(request) {
                    let id = self.command_id();
                    self.commands.insert(id, Waiting::Watcher(pending));
                    self.input(Input::Command { id, command });
                }
            }
        }
    }

    /// Unsubscribes the core from topics without subscriptions.
    fn sweep_topics(&mut self) {
        for topic in self.topics.sweep(self.clock.now()) {
            let id = self.command_id();
            self.input(Input::Command { id, command: Command::Unsubscribe { topic } });
        }
    }

    /// Ends the core's watches of records without watchers.
    fn sweep_watchers(&mut self) {
        for key in self.watchers.sweep() {
            let id = self.command_id();
            self.input(Input::Command { id, command: Command::Unwatch { key } });
        }
    }

    fn on_observe(&mut self, observe: Observe) {
        self.disk.view(observe.store);
        let (topics, watchers) = (self.topics.counts(), self.watchers.counts());
        let _ = observe.rest.send(Observation {
            store: self.disk.last_view(),
            transport: self.transport.stats(),
            socket: self.socket.stats(),
            socket_buffers: self.socket.buffers(),
            drive: DriveStats {
                lag: self.lag.last(),
                lag_max: self.lag.max(),
                commands_active: self.commands.len(),
                calls_active: self.tasks.calls(),
                calls_refused: self.tasks.calls_refused(),
                inbound_active: self.inbound.len(),
                inbound_refused: self.inbound.refused(),
                strangers_waiting: self.strangers.len(),
                strangers_deferred: self.strangers.deferred(),
                strangers_dropped: self.strangers.dropped(),
                storage_kept_back: self.disk.kept_back(),
                subscriptions: topics.subscriptions,
                messages_delivered: topics.delivered,
                messages_missed: topics.missed,
                watchers: watchers.watchers,
                changes_delivered: watchers.delivered,
                changes_gave_way: watchers.gave_way,
                ..self.stats
            },
        });
    }

    /// A peer requests granules. A node without files drops the stream, which refuses the request.
    fn on_fetch(&mut self, fetch: IncomingFetch) {
        if let Some(input) = self.files.as_ref().and_then(|files| files.on_incoming(fetch)) {
            self.input(Input::Swarm(input));
        }
    }

    fn on_call(&mut self, call: IncomingCall) {
        let now = self.clock.now();
        match self.inbound.add(now, call.responder) {
            Ok(inbound) => self.input(Input::Called {
                from: call.from,
                address: call.address,
                inbound,
                bytes: call.request,
            }),
            Err(responder) => responder.refuse(),
        }
    }

    /// Handles the deadline that is due. The datagrams in the socket's buffer come first: if the loop is
    /// late, they may be the answers of peers that would time out now.
    async fn on_timer(&mut self, batch: &mut ReceiveBatch) {
        for _ in 0..CATCH_UP_BATCHES {
            let received = tokio::select! {
                biased;
                received = self.socket.recv(batch) => received,
                () = std::future::ready(()) => break,
            };
            self.on_received(received, batch);
        }
        let now = self.clock.now();
        if let Some(deadline) = self.node.poll_timeout()
            && deadline.at <= now
        {
            self.lag.record(deadline.at, now);
            self.input(Input::Timeout);
        }
    }

    /// Reports to the core the addresses that the machine has gained or lost.
    fn look_at_interfaces(&mut self) {
        if let Some(input) = self.watch.look() {
            self.input(input);
        }
    }

    fn on_tick(&mut self) {
        self.socket.listen_again();
        self.tell_time();
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(INTERFACES_TICKS) {
            self.look_at_interfaces();
        }
        let now = self.clock.now();
        self.inbound.expire(now);
        self.lag.roll(now);
        self.sweep_topics();
        self.sweep_watchers();
        self.saver.proceed();
    }

    fn tell_time(&mut self) {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        self.input(Input::WallClock { now: wall });
        if let Some(membership) = &self.membership {
            membership.tick(wall);
        }
        if let Some(gap) = self.sleep_watch.look(now, wall) {
            tracing::info!(code = "clock.leapt", ?gap, "the clocks leapt: this machine slept");
            // Without new randomness a nonce could repeat, so nothing may be sealed any more.
            match random_bytes() {
                Ok(entropy) => self.input(Input::Resumed { gap, entropy }),
                Err(error) => {
                    tracing::error!(code = "system.randomness", %error, "the system gives no randomness after a sleep");
                    self.stuck = true;
                }
            }
        }
    }

    fn command_id(&mut self) -> CommandId {
        self.next_command += 1;
        CommandId(self.next_command)
    }

    /// Closes connections, tasks and the store, and releases the socket last.
    ///
    /// Gives the signal that the node has stopped, to be sent when the rest of the loop is dropped.
    async fn shut(self) -> watch::Sender<bool> {
        let Self {
            socket,
            transport,
            disk,
            tasks,
            inbound,
            commands,
            saver,
            ends,
            files,
            topics,
            ..
        } = self;
        // Tasks that wait for a reply or a message learn that none will come.
        let HandleEnds { requests, looks, done, .. } = ends;
        drop((requests, looks, commands, topics, tasks, inbound));
        if let Some(files) = files {
            files.stop();
        }
        tokio::join!(transport.close(), disk.close(), saver.finish());
        drop(transport);
        released(socket).await;
        done
    }
}

/// Waits until `stop` is signalled or all its senders are gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn ticker() -> Interval {
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// Waits until the tasks of QUIC have released the socket, at most [`RELEASE_TIMEOUT`]: when a node
/// reports that it has stopped, its port can be bound again.
async fn released(mut socket: Arc<Sockets>) {
    let give_up = tokio::time::Instant::now() + RELEASE_TIMEOUT;
    while tokio::time::Instant::now() < give_up {
        match Arc::try_unwrap(socket) {
            Ok(_) => return,
            Err(shared) => socket = shared,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests;
