//! The watcher's side of watches: the keys that this node's application watches.
//!
//! A watch reads the key from all replicas, takes leases at the closest of them, and reads again when one
//! tells of a state that was not read. The node's own replica counts as a holder without a lease. Leases
//! are renewed at half of their time, and moved when a holder dies, comes or gives none. While fewer than
//! half are confirmed, the key is read every 15 to 60 seconds.
//!
//! Where we differ from OpenDHT's `listen` and Veilid's watches: a lease is confirmed by the holder, and
//! the watcher knows whether it has enough; what holders tell is compared with what was read, so a lost
//! notification is found at the next one or the next renewal.
//!
//! **Invariants:** keys, bytes read and concurrent reads are bounded; several watchers of a key in this
//! node share one watch (the shell distributes its reports).

mod leases;
mod one;

use std::collections::{BTreeMap, BTreeSet};

use potluck_base::{Deadline, Instant, Key, NodeId, Peer, Rng};
use potluck_record::{Envelope, Place, StateDigest, StorageOp};
use potluck_wire::{Changed, Refusal, Response};

use crate::change::Change;
use crate::command::{CommandError, CommandId, Reply};
use crate::core::{Core, LeaseId, OpPurpose};
use crate::event::{Output, ServeId};
use crate::get::{Get, ReadPurpose, Watched};
use one::{SLOT_PAUSE, Watch};

/// Reads of watches under way; further ones wait. Raising it loads the network more after a change that
/// concerns many watches, such as the death of a holder.
const READS_MAX: usize = 64;
/// Commands that wait for the first read of a key; further ones are refused as busy.
const WAITING_MAX: usize = 1024;
/// The ids of reads of watches begin here, above those of commands.
const READ_IDS: u64 = 1 << 63;

/// All watches of this node.
#[derive(Debug, Clone)]
pub(crate) struct Watches {
    by_key: BTreeMap<Key, Watch>,
    /// When each watch has something due.
    due: BTreeSet<(Instant, Key)>,
    due_of: BTreeMap<Key, Instant>,
    /// Reads that began and are not handed over yet.
    started: Vec<(CommandId, Get)>,
    reads: usize,
    reads_ever: u64,
    bytes: usize,
    polling: usize,
    rng: Rng,
}

impl Watches {
    /// None yet. The node's id seeds the jitter, which need not be secret.
    pub(crate) fn new(me: &NodeId) -> Self {
        Self {
            by_key: BTreeMap::new(),
            due: BTreeSet::new(),
            due_of: BTreeMap::new(),
            started: Vec::new(),
            reads: 0,
            reads_ever: 0,
            bytes: 0,
            polling: 0,
            rng: Rng::from_seed(*me.as_bytes()).fork("watches"),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Watches with fewer than half of their leases.
    pub(crate) const fn polling(&self) -> usize {
        self.polling
    }

    /// Bytes of the watched records.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The reads that are to be carried out.
    pub(crate) fn take_started(&mut self) -> Vec<(CommandId, Get)> {
        std::mem::take(&mut self.started)
    }

    /// The application watches a key: replies with the present values as soon as they are read.
    pub(crate) fn watch(&mut self, core: &mut Core, now: Instant, id: CommandId, key: Key) {
        if let Some(present) = self.by_key.get(&key).and_then(Watch::present) {
            return core.reply(id, Reply::Watching(present));
        }
        let is_new = !self.by_key.contains_key(&key);
        if is_new && self.by_key.len() >= core.config.watch.keys_max {
            return core.reply(id, Reply::Failed(CommandError::TooManyWatches));
        }
        let rng = self.rng.fork("leases");
        let watch = self.by_key.entry(key).or_insert_with(|| Watch::new(now, key, rng));
        if watch.waiting.len() >= WAITING_MAX {
            return core.reply(id, Reply::Failed(CommandError::Busy));
        }
        watch.waiting.push(id);
        self.advance(core, now, key);
    }

    /// The application does not watch a key any more.
    pub(crate) fn unwatch(&mut self, core: &mut Core, id: CommandId, key: Key) {
        self.end(core, key, &CommandError::Busy);
        core.reply(id, Reply::Unwatched);
    }

    fn end(&mut self, core: &mut Core, key: Key, error: &CommandError) {
        let Some(mut watch) = self.by_key.remove(&key) else { return };
        self.bytes -= watch.bytes;
        self.polling -= usize::from(watch.polls());
        if let Some(at) = self.due_of.remove(&key) {
            self.due.remove(&(at, key));
        }
        watch.leases.end(core);
        for id in watch.waiting {
            core.reply(id, Reply::Failed(error.clone()));
        }
    }

    /// Does something with a watch, reports the change that comes of it, and plans what is due next.
    fn with<T>(
        &mut self,
        core: &mut Core,
        key: Key,
        act: impl FnOnce(&mut Watch, &mut Core, &mut Rng) -> (Option<Change>, T),
    ) -> Option<T> {
        let watch = self.by_key.get_mut(&key)?;
        let (bytes, polled) = (watch.bytes, watch.polls());
        let (change, result) = act(watch, core, &mut self.rng);
        self.bytes = self.bytes + watch.bytes - bytes;
        self.polling = self.polling + usize::from(watch.polls()) - usize::from(polled);
        let waiting = std::mem::take(&mut watch.waiting);
        match watch.present() {
            Some(present) => {
                for id in &waiting {
                    core.reply(*id, Reply::Watching(present.clone()));
                }
            }
            None => watch.waiting = waiting.clone(),
        }
        // Commands that wait for the first read have it as their reply.
        if let Some(change) = change.filter(|_| waiting.is_empty()) {
            core.stats.watch_changes += 1;
            core.outbox.push_back(Output::Changed(change));
        }
        if self.bytes > core.config.watch.bytes_max {
            self.end(core, key, &CommandError::TooManyWatches);
            core.outbox.push_back(Output::WatchEnded(key));
        }
        Some(result)
    }

    /// Does what is due of a watch, and plans what is due next.
    fn advance(&mut self, core: &mut Core, now: Instant, key: Key) {
        self.with(core, key, |watch, core, rng| (watch.on_due(core, now, rng), ()));
        let Some(watch) = self.by_key.get_mut(&key) else { return };
        if let Some(all) = watch.begin_read(now) {
            if self.reads >= READS_MAX {
                watch.postpone_read(now);
            } else {
                self.reads += 1;
                self.reads_ever += 1;
                core.stats.watch_reads += 1;
                let id = CommandId(READ_IDS | self.reads_ever);
                let get = Get::start(core, now, id, key, ReadPurpose::Watch { all });
                self.started.push((id, get));
            }
        }
        let next = watch.deadline(now);
        let before = match next {
            Some(at) => self.due_of.insert(key, at),
            None => self.due_of.remove(&key),
        };
        if let Some(before) = before {
            self.due.remove(&(before, key));
        }
        self.due.extend(next.map(|at| (at, key)));
    }

    /// A read of a watch has ended.
    pub(crate) fn on_read(&mut self, core: &mut Core, now: Instant, key: Key, read: Watched) {
        self.reads = self.reads.saturating_sub(1);
        match read {
            Ok((state, nearest)) => {
                self.with(core, key, |watch, core, rng| {
                    (watch.on_read(core, now, state, &nearest, rng), ())
                });
            }
            Err(error) => {
                let goes_on =
                    self.with(core, key, |watch, _, rng| (None, watch.on_read_failed(now, rng)));
                if goes_on == Some(false) {
                    self.end(core, key, &error);
                }
            }
        }
        self.advance(core, now, key);
    }

    /// A node answered the request for a lease; `None`: it did not.
    pub(crate) fn on_lease(
        &mut self,
        core: &mut Core,
        now: Instant,
        lease: LeaseId,
        answer: Option<Response>,
    ) {
        let LeaseId { key, peer } = lease;
        self.with(core, key, |watch, core, _| {
            let (leases, known) = watch.leases_and_known();
            leases.on_answer(core, now, peer, answer, known);
            (None, ())
        });
        self.advance(core, now, key);
    }

    /// A node tells of a change.
    pub(crate) fn on_changed(
        &mut self,
        core: &mut Core,
        now: Instant,
        serve: ServeId,
        from: NodeId,
        changed: &Changed,
    ) {
        let key = changed.key;
        let taken = self.with(core, key, |watch, core, _| {
            let (leases, known) = watch.leases_and_known();
            (None, leases.on_changed(core, now, from, changed, known))
        });
        let response = match taken {
            Some(true) => Response::Taken,
            Some(false) | None => Response::refused(Refusal::NotHeld),
        };
        core.respond(serve, response);
        self.advance(core, now, key);
    }

    /// The state of a key has changed in this node's own store.
    pub(crate) fn on_own_changed(&mut self, core: &mut Core, key: Key, digest: StateDigest) {
        if self.by_key.get_mut(&key).is_some_and(|watch| watch.on_own_changed(digest)) {
            load_own(core, key);
        }
    }

    /// This node's own replica of a key was loaded.
    pub(crate) fn on_own_loaded(
        &mut self,
        core: &mut Core,
        now: Instant,
        key: Key,
        envelopes: Vec<Envelope>,
    ) {
        let again =
            self.with(core, key, |watch, core, _| watch.on_own_loaded(core, now, envelopes));
        if again == Some(true) {
            load_own(core, key);
        }
        self.advance(core, now, key);
    }

    /// A node came, came back or was started anew: it may be a closest holder, and has forgotten its leases.
    pub(crate) fn on_peer_up(&mut self, core: &mut Core, now: Instant, peer: &Peer) {
        for key in self.by_key.keys().copied().collect::<Vec<_>>() {
            let concerned = self.with(core, key, |watch, core, rng| {
                let concerned = watch.leases.on_peer_up(core, peer);
                if concerned {
                    watch.look_soon(now, rng);
                }
                (None, concerned)
            });
            if concerned == Some(true) {
                self.advance(core, now, key);
            }
        }
    }

    /// A node came into the close group of this node: it may be a closest holder of a key.
    pub(crate) fn on_peer_near(&mut self, core: &mut Core, now: Instant, peer: &Peer) {
        for key in self.by_key.keys().copied().collect::<Vec<_>>() {
            let concerned = self.with(core, key, |watch, core, rng| {
                let concerned = watch.leases.may_hold(core, peer);
                if concerned {
                    watch.look_soon(now, rng);
                }
                (None, concerned)
            });
            if concerned == Some(true) {
                self.advance(core, now, key);
            }
        }
    }

    /// A node is gone: its leases go to others.
    pub(crate) fn on_peer_down(&mut self, core: &mut Core, now: Instant, id: NodeId) {
        for key in self.by_key.keys().copied().collect::<Vec<_>>() {
            let concerned =
                self.with(core, key, |watch, core, _| (None, watch.leases.lose(core, now, id)));
            if concerned == Some(true) {
                self.advance(core, now, key);
            }
        }
    }

    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant) {
        while let Some((at, key)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            self.due_of.remove(&key);
            self.advance(core, now, key);
            // A watch that is due again at once has to wait for the others.
            if let Some(next) = self.due_of.get(&key).copied().filter(|next| *next <= now) {
                self.due.remove(&(next, key));
                self.due.insert((now + SLOT_PAUSE, key));
                self.due_of.insert(key, now + SLOT_PAUSE);
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.due.first().map(|(at, _)| Deadline::new(*at, "watch"))
    }
}

fn load_own(core: &mut Core, key: Key) {
    core.storage(StorageOp::Load { key, place: Place::Replica }, OpPurpose::WatchLoad(key));
}
