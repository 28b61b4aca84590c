//! Commands of the host: each goes to the part that carries it out, or is answered here.

use std::time::Duration;

use potluck_base::{Contact, Instant, Key, Machine as _};
use potluck_dht::LookupId;
use potluck_gossip::topics::TopicsInput;
use potluck_link::{Gatekeeper, RequestOptions};
use potluck_wire::{Request, Want};

use super::pending::{Asker, Delivery, Owner};
use super::topics::Publish;
use super::{Node, SHORT_ANSWER};
use crate::command::{Command, CommandError, CommandId, Reply};
use crate::output::Output;
use crate::view::StatusView;

/// Seconds for which a node that pauses is waited for. Its neighbours make no replicas in its place until
/// then. A guess: a restart, or an update of the machine without a reboot.
const PAUSE_SECONDS: u16 = 120;

impl Node {
    pub(super) fn reply(&mut self, id: CommandId, reply: Reply) {
        self.outbox.push_back(Output::Reply { id, reply });
    }

    pub(super) fn on_command(&mut self, now: Instant, id: CommandId, command: Command) {
        if let Some(error) = self.keeps_from_others(now).filter(|_| needs_others(&command)) {
            return self.reply(id, Reply::Failed(error));
        }
        let host = Owner::Host(id);
        match command {
            Command::Put(put) => self.start_kv(now, host, potluck_kv::Command::Put(put)),
            Command::Apply(apply) => {
                self.start_kv(now, host, potluck_kv::Command::Apply(apply));
            }
            Command::Get { key, quorum } => {
                self.start_kv(now, host, potluck_kv::Command::Get { key, quorum });
            }
            Command::Replicas { key } => {
                self.start_kv(now, host, potluck_kv::Command::Replicas { key });
            }
            Command::Local { key } => {
                self.start_kv(now, host, potluck_kv::Command::Local { key });
            }
            Command::Names { query } => self.on_names(now, id, query),
            Command::NamesHere { query } => self.on_names_here(now, id, query),
            Command::Watch { key } => self.start_kv(now, host, potluck_kv::Command::Watch { key }),
            Command::Unwatch { key } => {
                self.start_kv(now, host, potluck_kv::Command::Unwatch { key });
            }
            Command::Trace { key } => self.on_trace(now, id, key),
            Command::Lookups => {
                self.reply(id, Reply::Lookups(self.dht.traces().cloned().collect()));
            }
            Command::Table => self.reply(id, Reply::Table(Box::new(self.dht.table_view(now)))),
            Command::Fetch(fetch) => {
                self.reply(id, Reply::Fetch(self.swarm.fetch_view(fetch).map(Box::new)));
            }
            Command::Status => self.reply(id, Reply::Status(self.status(now))),
            Command::Stats => self.reply(id, Reply::Stats(Box::new(self.stats()))),
            Command::Members => {
                self.reply(id, Reply::Members(Box::new(self.gossip.members.view())));
            }
            Command::Publish { topic, payload } => {
                self.on_publish(now, id, Publish { topic, payload, counted: false });
            }
            Command::PublishCounted { topic, payload } => {
                self.on_publish(now, id, Publish { topic, payload, counted: true });
            }
            Command::Subscribe { topic, after } => self.on_subscribe(now, id, topic, after),
            Command::Unsubscribe { topic } => {
                self.gossip.topics.handle(now, TopicsInput::Unsubscribe(topic));
                self.reply(id, Reply::Unsubscribed);
            }
            Command::Search { words } => self.on_search_command(now, id, words),
            Command::Join(point) => {
                self.dht.handle(now, potluck_dht::Input::Join(point));
                self.reply(id, Reply::Joining);
            }
            Command::Revoke(bytes) => self.on_revoke(now, id, &bytes),
            Command::Settings => self.show_settings(id),
            Command::ProposeSetting(change) => self.on_propose(id, change),
            Command::TakeSettings(bytes) => self.on_new_settings(now, id, &bytes),
            Command::Introduce(to) => self.on_introduce(now, id, to),
            Command::Leave => self.on_leave(now, id),
            Command::Pause => self.on_pause(now, id),
        }
    }

    /// Looks up the nodes near `key`, and replies with each hop.
    fn on_trace(&mut self, now: Instant, id: CommandId, target: Key) {
        let id = LookupId::trace(self.pending.begin(Owner::Host(id)));
        let (want, goal, why) = (Want::Heads, self.dht.k(), "trace");
        let (waits, doubt) = (true, false);
        let lookup = potluck_dht::Input::Lookup { id, target, want, goal, why, waits, doubt };
        self.dht.handle(now, lookup);
    }

    fn on_leave(&mut self, now: Instant, id: CommandId) {
        if self.leaving.is_some() {
            return self.reply(id, Reply::Failed(CommandError::Leaving));
        }
        self.leaving = Some((id, now));
        self.kv.handle(now, potluck_kv::Input::Leave);
    }

    /// Why no other node would answer for a record.
    fn keeps_from_others(&self, now: Instant) -> Option<CommandError> {
        if self.link.gatekeeper().is_some_and(Gatekeeper::is_out) {
            Some(CommandError::PutOut)
        } else if !self.is_ready(now) && !self.dht.has_joined() {
            Some(CommandError::NotJoined)
        } else {
            None
        }
    }

    /// The records are in other hands: say good-bye to the siblings.
    pub(super) fn on_handed_over(&mut self, now: Instant, keys: u64) {
        self.leave_gossip(now);
        self.say_good_bye(now, None, Asker::Notice);
        if let Some((id, began)) = self.leaving {
            self.reply(id, Reply::Left { handed_over: keys, took: now.since(began) });
        }
    }

    /// This process stops and starts again soon: the siblings are to wait before they fill its place.
    fn on_pause(&mut self, now: Instant, id: CommandId) {
        self.end_pause();
        // One more than the neighbours, so that it does not end before all of them were asked.
        self.pausing = Some((id, self.dht.close_group().count() + 1));
        let unsent = self.say_good_bye(now, Some(PAUSE_SECONDS), Asker::Pause);
        (0..=unsent).for_each(|_| self.on_pause_told());
    }

    /// A neighbour answered the notice of a pause, or was given up.
    pub(super) fn on_pause_told(&mut self) {
        let Some((_, left)) = &mut self.pausing else { return };
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.end_pause();
        }
    }

    fn end_pause(&mut self) {
        if let Some((id, _)) = self.pausing.take() {
            self.reply(id, Reply::Pausing);
        }
    }

    /// Tells the siblings that this node stops, and in how many seconds it will be back, if it will. Gives
    /// the number of notices that could not be sent.
    fn say_good_bye(&mut self, now: Instant, back_in: Option<u16>, asker: Asker) -> usize {
        let siblings: Vec<Contact> = self.dht.close_group().map(|peer| peer.contact).collect();
        // A node that leaves stops at once. One that pauses waits, and a neighbour that missed its notice
        // would copy its records.
        let tries = if back_in.is_some() { 3 } else { 1 };
        let mut unsent = 0;
        for contact in siblings {
            let options = RequestOptions {
                tries,
                answer_bytes_max: SHORT_ANSWER,
                ..RequestOptions::default()
            };
            let delivery = Delivery::Datagram(options);
            let asked = self.ask(now, asker, contact, &Request::Leave { back_in }, delivery);
            unsent += usize::from(asked.is_err());
        }
        while let Some(output) = self.link.poll_output() {
            self.on_link(now, output);
        }
        unsent
    }

    fn status(&self, now: Instant) -> StatusView {
        let silence = self.dht.silence(now);
        let alone = self.dht.members_known() == 1;
        let silent = alone || (self.dht.is_offline(now) && silence > self.quiet_after);
        let members = self.gossip.members.stats();
        let records = self.kv.stats();
        StatusView {
            contact: self.dht.me().contact,
            addresses: self.own.told().to_vec(),
            mapping_varies: self.link.mapping_varies(),
            clock_offset_ms: self.clock_offset(now).map(|offset| offset.millis),
            identity_elsewhere: self.elsewhere,
            peers: self.dht.members_known() - 1,
            network_size_estimate: self.dht.network_size_estimate(),
            joined: self.dht.has_joined(),
            silent_for: silent.then_some(silence),
            remembered: self.dht.remembered(),
            members: members.alive + members.suspect + members.dead,
            entry_points: self.dht.entry_points(),
            last_resort: self.dht.last_resort(),
            own_trouble: self.link.own_trouble(),
            stamps_needed: records.stamps_needed > 0,
            leaving: self.leaving.is_some(),
            records_expiring_7d: records.expiring_7d,
            renewals_late: records.renewals_late,
            republish_lag: Duration::from_secs(records.republish_lag_seconds),
        }
    }
}

/// Whether a command is about what other nodes keep.
const fn needs_others(command: &Command) -> bool {
    matches!(
        command,
        Command::Put(_)
            | Command::Apply(_)
            | Command::Get { .. }
            | Command::Replicas { .. }
            | Command::Names { .. }
            | Command::Watch { .. }
    )
}

impl From<potluck_kv::Reply> for Reply {
    fn from(reply: potluck_kv::Reply) -> Self {
        match reply {
            potluck_kv::Reply::Written(written) => Self::Written(written),
            potluck_kv::Reply::Conflict(read) => Self::Conflict(read),
            potluck_kv::Reply::Read(read) => Self::Read(read),
            potluck_kv::Reply::Replicas(replicas) => Self::Replicas(replicas),
            potluck_kv::Reply::Names(listed) => Self::Names(listed),
            potluck_kv::Reply::Local(held) => Self::Local(held),
            potluck_kv::Reply::Watching(present) => Self::Watching(present),
            potluck_kv::Reply::Unwatched => Self::Unwatched,
            potluck_kv::Reply::Failed(error) => Self::Failed(error),
        }
    }
}
