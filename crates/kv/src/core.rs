//! The state that all operations of the store share: identity, close group, clock, pending requests to
//! other nodes and to the disk, and the purpose of each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use potluck_base::{
    Identity, Instant, Key, LruMap, NetworkId, NodeId, Peer, PublicKey, RoundTrip, UnixMillis,
};
use potluck_record::limits::{CLOCK_AHEAD_MAX, SHARED_HOLDERS_MAX};
use potluck_record::{
    Dot, Envelope, EnvelopeId, Kind, OpId, Place, SignedHead, Space, StateDigest, StorageOp,
};
use potluck_wire::{Request, Response, Want};

use crate::command::{CommandError, CommandId, Reply};
use crate::config::Config;
use crate::difference::feed::Feed;
use crate::equivocation::Equivocations;
use crate::event::{AskId, Delivery, ForeignWrite, LookupId, Output, ServeId};
use crate::membership::Membership;
use crate::placement::CloseGroup;
use crate::renewal::is_rewrite;
use crate::seen::Seen;
use crate::spread::places;
use crate::stamps::Stamps;
use crate::stats::Stats;
use crate::surplus::SurplusAsk;
use crate::survey::{Keep, Question};
use crate::teams::TeamLists;
use crate::timing::Timing;

/// Verified signatures that are remembered, so that the same envelope from several replicas is verified
/// once. Raising it costs memory.
const CHECKED_MAX: usize = 4096;

/// Envelopes remembered as signed by this process. It must exceed the writes whose replicas may still
/// answer: an own envelope that is forgotten looks like one of another machine.
const SIGNED_MAX: usize = 8192;

/// Keys that wait to be read because of such a claim. Raising it lets nodes that lie cause more reads.
const DOUBTED_MAX: usize = 16;

/// Marks the commands that this node issues itself; those of the application are numbered from 0 on.
const INTERNAL: u64 = 1 << 63;

/// Whether an operation continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    /// It waits for more.
    Waiting,
    /// It has been answered.
    Done,
}

/// The purpose of a request to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskPurpose {
    /// A replica was asked to store what this command writes.
    PutStore(CommandId, NodeId),
    /// A replica's envelopes are fetched whole for this command.
    Load(CommandId, NodeId),
    /// A stale replica was sent the envelopes it lacks; no operation waits for the answer.
    ReadRepair,
    /// A member was asked for names.
    Names(CommandId, NodeId),
    /// A replica was asked to carry out the operation of this command.
    Apply(CommandId, NodeId),
    /// A newcomer was offered keys.
    Offer(OfferId),
    /// An offerer was asked for keys, or for certificates that their envelopes name.
    Pull(NodeId),
    /// A holder was asked for a lease of a watch.
    Lease(LeaseId),
    /// A holder or a watcher was told that a lease ends; no operation waits for the answer.
    LeaseEnd,
    /// A watcher was told of a change.
    Notify(LeaseId),
    /// A question of the comparison with another replica that awaits this number.
    Difference(u64),
    /// A node of the replica sets of surplus copies was asked.
    Surplus(SurplusAsk),
}

/// A lease, at its watcher and at its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseId {
    pub(crate) key: Key,
    /// The node at the other end.
    pub(crate) peer: NodeId,
}

/// One offer of keys to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OfferId {
    pub(crate) to: NodeId,
    /// Differs for each offer, so that a late answer is not taken for that of a repeated offer.
    pub(crate) generation: u64,
}

/// The node that offered a key, and the digest it offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) by: Peer,
    pub(crate) digest: StateDigest,
}

/// The purpose of a storage operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpPurpose {
    /// Local envelopes for a command, from this place.
    CommandLoad(CommandId, Place),
    /// This node's own page of names for a command.
    Names(CommandId),
    /// The writer's own envelope, loaded in this write's turn.
    PutTurn(CommandId),
    /// The writer's own envelope of this command, to be made durable.
    PutOwn(CommandId),
    /// This node's replica of what this command writes.
    PutReplica(CommandId),
    /// Certificates on the disk; no operation waits for the result.
    CertificatesKept,
    /// A page of the certificates on the disk.
    CertificateScan,
    /// An own envelope that was taken back; no operation waits for the result.
    TakenBack,
    /// One part of another node's request.
    Serve(ServeId, usize),
    /// A pulled envelope, with the offer that announced its key.
    Pulled(Key, Option<Offered>),
    /// A page of keys for the repair run of this generation.
    RepairScan(u64),
    /// A portion of the index of fingerprints.
    Index,
    /// The surplus copies of a round.
    SurplusPage,
    /// A surplus copy, to be dropped.
    SurplusDropped,
    /// An operation of the comparison that awaits this number.
    Difference(u64),
    /// The sweep of expired envelopes.
    Expire,
    /// A page of keys, after the number of replicas changed.
    RefillScan,
    /// A page of own heads, for the renewal.
    RenewalScan,
    /// A page of own heads, to be counted.
    CensusScan,
    /// This node's own replica of a watched key.
    WatchLoad(Key),
    /// The digest of the key of a lease that another node asked for.
    LeaseScan(ServeId),
}

/// The shared state; see the module.
#[derive(Debug, Clone)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) network: NetworkId,
    pub(crate) me: Peer,
    /// Whether this node keeps records for others.
    pub(crate) serves: bool,
    pub(crate) close_group: CloseGroup,
    pub(crate) members: usize,
    pub(crate) stats: Stats,
    pub(crate) timing: Timing,
    pub(crate) outbox: VecDeque<Output>,
    /// Replies to commands that this node issued itself, for others.
    pub(crate) internal_replies: VecDeque<(CommandId, Reply)>,
    /// Commands that were merged into another one, whose reply is theirs. No more than commands.
    merged: BTreeMap<CommandId, Vec<CommandId>>,
    /// The time from a store request to its answer.
    pub(crate) store_time: RoundTrip,
    /// What is known of members and their certificates.
    pub(crate) membership: Membership,
    /// Replies to rewrites of the renewal, which stay in this machine.
    pub(crate) rewrites_replied: VecDeque<(CommandId, Reply)>,
    pub(crate) local: LocalRecords,
    pending: Pending,
    clock: Clock,
    own_key: OwnKey,
    checked: LruMap<([u8; 32], [u8; 64]), ()>,
}

/// What is known of this node's replicas beside the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct LocalRecords {
    /// Their order of changes.
    pub(crate) feed: Feed,
    /// Whether the store has its index of fingerprints.
    pub(crate) indexed: bool,
    /// The lists of writers of teams.
    pub(crate) teams: TeamLists,
    /// Writers that signed two envelopes with one dot.
    pub(crate) equivocations: Equivocations,
    /// Work stamps on stores of strangers.
    pub(crate) stamps: Stamps,
    /// The newest versions that this node read.
    pub(crate) seen: Seen,
}

/// A replica merge under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Merging {
    pub(crate) key: Key,
    /// Whether it is a provider record, which is renewed and not compared.
    pub(crate) internal: bool,
}

/// A lookup under way.
#[derive(Debug, Clone, Copy)]
struct Sought {
    by: CommandId,
    /// Whether it is one of several of its command, of which the others may do.
    beside: bool,
}

/// What is awaited from other nodes, the disk and the routing table.
#[derive(Debug, Clone, Default)]
struct Pending {
    asks: BTreeMap<AskId, AskPurpose>,
    ops: BTreeMap<OpId, OpPurpose>,
    /// Keys of the replica merges under way.
    merging: BTreeMap<OpId, Merging>,
    /// Keys of the replicas that are being read.
    loading: BTreeMap<OpId, Key>,
    lookups: BTreeMap<LookupId, Sought>,
    last_id: u64,
    /// The last number of an operation that a replica was asked to carry out.
    last_number: Dot,
}

/// The last reading of the wall clock.
#[derive(Debug, Clone, Copy)]
struct Clock {
    read_at: Instant,
    wall: UnixMillis,
    /// Milliseconds that are added to this node's clock to match those of its peers.
    offset: i64,
}

/// Whether this node is the only one that writes with its key.
#[derive(Debug, Clone)]
struct OwnKey {
    /// Envelopes that this process signed.
    signed: LruMap<EnvelopeId, ()>,
    /// Whether another part of the node found that its identity runs elsewhere.
    elsewhere: bool,
    /// The first envelope of this node's key that was met and not signed here.
    foreign: Option<ForeignWrite>,
    /// Keys under which a node claims to hold such an envelope.
    doubted: BTreeSet<Key>,
}

impl Core {
    pub(crate) fn new(
        identity: Identity,
        network: NetworkId,
        me: Peer,
        serves: bool,
        config: Config,
    ) -> Self {
        Self {
            config,
            identity,
            network,
            me,
            serves,
            close_group: CloseGroup::new(me, []),
            members: 1,
            stats: Stats::default(),
            outbox: VecDeque::new(),
            internal_replies: VecDeque::new(),
            timing: Timing::default(),
            merged: BTreeMap::new(),
            store_time: RoundTrip::default(),
            membership: Membership::new(network),
            rewrites_replied: VecDeque::new(),
            local: LocalRecords::default(),
            pending: Pending::default(),
            clock: Clock { read_at: Instant::ZERO, wall: UnixMillis(0), offset: 0 },
            own_key: OwnKey {
                signed: LruMap::new(SIGNED_MAX),
                elsewhere: false,
                foreign: None,
                doubted: BTreeSet::new(),
            },
            checked: LruMap::new(CHECKED_MAX),
        }
    }

    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.pending.last_id += 1;
        self.pending.last_id
    }

    /// The number of a command that this node issues itself. Its reply is none of the application's.
    pub(crate) fn internal_command(&mut self) -> CommandId {
        CommandId(self.fresh_id() | INTERNAL)
    }

    /// A number for an operation that a replica is to carry out, above all earlier ones also of the time
    /// before a restart.
    pub(crate) fn next_number(&mut self, wall: UnixMillis) -> u64 {
        self.pending.last_number = Dot::next(self.pending.last_number, wall);
        self.pending.last_number.raw()
    }

    pub(crate) fn set_wall(&mut self, now: Instant, wall: UnixMillis, offset: i64) {
        self.clock = Clock { read_at: now, wall, offset };
    }

    /// The clock offset in milliseconds, if it is too large for signing. The peers' correction is
    /// always used for reading; for signing it is used only up to [`CLOCK_AHEAD_MAX`], which
    /// replicas enforce.
    pub(crate) fn clock_off(&self) -> Option<i64> {
        let most = u64::try_from(CLOCK_AHEAD_MAX.as_millis()).unwrap_or(u64::MAX);
        (self.clock.offset.unsigned_abs() > most).then_some(self.clock.offset)
    }

    /// The wall clock at `now`, extrapolated from its last reading.
    pub(crate) fn wall(&self, now: Instant) -> UnixMillis {
        self.clock.wall.plus(now.since(self.clock.read_at))
    }

    /// Whether the wall clock was read.
    pub(crate) const fn has_wall(&self) -> bool {
        self.clock.wall.0 > 0
    }

    /// The last reading of the wall clock.
    pub(crate) const fn last_wall(&self) -> UnixMillis {
        self.clock.wall
    }

    pub(crate) fn replication(&self) -> usize {
        usize::from(self.config.replication)
    }

    /// The replica set of `key`, as far as the close group shows it.
    pub(crate) fn replica_set(&self, key: &Key) -> Vec<Peer> {
        if self.serves {
            self.close_group.replica_set(key, self.replication())
        } else {
            self.close_group.without(&self.me.id).replica_set(key, self.replication())
        }
    }

    /// Whether this node is among the `count` closest to `key`, as far as the close group shows.
    fn is_among(&self, key: &Key, count: usize) -> bool {
        self.close_group.closest(key, count).iter().any(|peer| peer.id == self.me.id)
    }

    pub(crate) fn is_responsible(&self, key: &Key) -> bool {
        self.serves && self.replica_set(key).iter().any(|peer| peer.id == self.me.id)
    }

    /// Most writers of the key of `head` where this node lets its writer in. The nodes closest to a
    /// counter, set or map have further places: they write also what they carry out for others.
    pub(crate) fn writers_for(&self, head: &SignedHead) -> u16 {
        self.writers_of(head.space(), head.kind(), &head.key(), &head.writer())
    }

    /// As [`writers_for`](Self::writers_for) an envelope of this writer.
    pub(crate) fn writers_of(
        &self,
        space: Space,
        kind: Kind,
        key: &Key,
        writer: &PublicKey,
    ) -> u16 {
        let is_holder = || {
            let nearest = self.close_group.closest(key, self.replication() * 2);
            nearest.iter().any(|peer| peer.contact.public_key == *writer)
        };
        let further = if kind.is_shared() && is_holder() { SHARED_HOLDERS_MAX } else { 0 };
        self.config.writers_of(space, kind) + further
    }

    /// Whether the close group shows the replica set of `key`. Far from the key it does not, and a
    /// guess would spread records over the wrong nodes.
    pub(crate) fn sees_replicas(&self, key: &Key) -> bool {
        self.close_group.surrounds(&self.me.id, key, self.config.close_group_size)
    }

    /// Whether this node is a replica of `key`, or among the 2 r closest, so that it becomes one when a few
    /// others leave. It accepts offers of such keys only.
    pub(crate) fn is_near(&self, key: &Key) -> bool {
        self.serves
            && self.sees_replicas(key)
            && (self.is_among(key, self.replication() * 2) || self.is_responsible(key))
    }

    /// Whether this node keeps a record under `key` that a writer stores. Its close group may have nodes
    /// that are gone, so it takes what writers store a few places beyond the replica set.
    pub(crate) fn keeps(&self, key: &Key) -> bool {
        !self.config.defences.store_only_near
            || self.sees_replicas(key)
                && (self.is_among(key, places(self.replication())) || self.is_responsible(key))
    }

    pub(crate) fn storage(&mut self, op: StorageOp, purpose: OpPurpose) {
        if let StorageOp::Merge { envelope, .. } = &op {
            self.local.teams.learn(envelope);
            self.keep_certificate(envelope.head());
        }
        let id = self.note_op(purpose);
        if let StorageOp::Merge { envelope, place: Place::Replica, .. } = &op {
            let internal = envelope.head().space() == Space::Provider;
            self.pending.merging.insert(id, Merging { key: envelope.head().key(), internal });
        }
        if let StorageOp::Load { key, place: Place::Replica } = &op {
            self.pending.loading.insert(id, *key);
        }
        self.outbox.push_back(Output::Storage { id, op });
    }

    /// The number of a storage operation.
    pub(crate) fn note_op(&mut self, purpose: OpPurpose) -> OpId {
        let id = OpId(self.fresh_id());
        self.pending.ops.insert(id, purpose);
        id
    }

    /// A replica merge that has been carried out.
    pub(crate) fn take_merging(&mut self, id: OpId) -> Option<Merging> {
        self.pending.merging.remove(&id)
    }

    /// The key of a replica that has been read.
    pub(crate) fn take_loading(&mut self, id: OpId) -> Option<Key> {
        self.pending.loading.remove(&id)
    }

    pub(crate) fn take_op(&mut self, id: OpId) -> Option<OpPurpose> {
        self.pending.ops.remove(&id)
    }

    pub(crate) fn ask(
        &mut self,
        to: Peer,
        request: Request,
        delivery: Delivery,
        purpose: AskPurpose,
    ) {
        let id = AskId(self.fresh_id());
        self.pending.asks.insert(id, purpose);
        self.outbox.push_back(Output::Ask { id, to, request, delivery });
    }

    pub(crate) fn take_ask(&mut self, id: AskId) -> Option<AskPurpose> {
        self.pending.asks.remove(&id)
    }

    /// Looks up the replicas of a key for a command.
    pub(crate) fn lookup(&mut self, asked: &Question, want: Want) {
        let id = LookupId(self.fresh_id());
        self.pending.lookups.insert(id, Sought { by: asked.id, beside: false });
        let (target, why) = (asked.key, asked.why);
        let goal = self.replication() + asked.spare;
        let waits = asked.keep == Keep::States;
        let doubt = asked.doubted;
        self.outbox.push_back(Output::Lookup { id, target, want, goal, why, waits, doubt });
    }

    /// Looks up the nodes around a place beside the key of a command, without its record.
    pub(crate) fn lookup_beside(&mut self, by: CommandId, target: Key, why: &'static str) {
        let id = LookupId(self.fresh_id());
        self.pending.lookups.insert(id, Sought { by, beside: true });
        let (want, goal, waits, doubt) = (Want::Nothing, self.replication(), false, true);
        self.outbox.push_back(Output::Lookup { id, target, want, goal, why, waits, doubt });
    }

    pub(crate) fn lookup_command(&self, id: LookupId) -> Option<CommandId> {
        self.pending.lookups.get(&id).map(|sought| sought.by)
    }

    /// The command of a lookup that has ended.
    pub(crate) fn end_lookup(&mut self, id: LookupId) -> Option<CommandId> {
        self.pending.lookups.remove(&id).map(|sought| sought.by)
    }

    /// The command of a lookup that was not started, and whether others of it may do.
    pub(crate) fn refused_lookup(&mut self, id: LookupId) -> Option<(CommandId, bool)> {
        self.pending.lookups.remove(&id).map(|sought| (sought.by, sought.beside))
    }

    /// Ends the lookups of a command that has enough.
    pub(crate) fn stop_lookup(&mut self, command: CommandId) {
        let of_it = self.pending.lookups.iter().filter(|(_, sought)| sought.by == command);
        let ids: Vec<LookupId> = of_it.map(|(id, _)| *id).collect();
        for id in ids {
            self.pending.lookups.remove(&id);
            self.outbox.push_back(Output::StopLookup(id));
        }
    }

    /// From now on `id` gets the reply of `into`.
    pub(crate) fn merge_command(&mut self, id: CommandId, into: CommandId) {
        let mut all = self.merged.remove(&id).unwrap_or_default();
        all.push(id);
        self.merged.entry(into).or_default().append(&mut all);
        self.stats.operations_merged += 1;
    }

    /// Commands that wait for the reply of another one.
    pub(crate) fn merged_commands(&self) -> usize {
        self.merged.values().map(Vec::len).sum()
    }

    pub(crate) fn reply(&mut self, id: CommandId, reply: Reply) {
        self.timing.end(id, &mut self.stats);
        if is_rewrite(id) {
            return self.rewrites_replied.push_back((id, reply));
        }
        for merged in self.merged.remove(&id).unwrap_or_default() {
            self.reply(merged, reply.clone());
        }
        if id.0 & INTERNAL != 0 {
            self.internal_replies.push_back((id, reply));
            return;
        }
        if let Reply::Failed(error) = &reply {
            self.stats.commands_failed += 1;
            if *error == CommandError::Busy {
                self.stats.commands_busy += 1;
            }
        }
        self.outbox.push_back(Output::Reply { id, reply });
    }

    /// Answers that a read needs by default: never more than there are members or replicas.
    pub(crate) fn read_quorum(&self) -> u16 {
        let members = u16::try_from(self.members.max(1)).unwrap_or(u16::MAX);
        self.config.read_quorum.min(members).min(self.config.replication)
    }

    /// Time limit of the reading part of an operation.
    pub(crate) fn read_timeout(&self) -> std::time::Duration {
        self.config.put_deadline / 2
    }

    pub(crate) fn respond(&mut self, serve: ServeId, response: Response) {
        self.outbox.push_back(Output::Respond { serve, response });
    }

    /// Whether a head's signature is valid. The result is cached.
    pub(crate) fn is_genuine(&mut self, head: &SignedHead) -> bool {
        let name = (*head.digest(), *head.signature().as_bytes());
        if self.checked.get_mut(&name).is_some() {
            return true;
        }
        self.stats.signatures_checked += 1;
        let genuine = head.verify(&self.network).is_ok();
        if genuine {
            self.checked.insert(name, ());
            if head.space() != Space::Content {
                self.stats.equivocations += u64::from(self.local.equivocations.meet(head));
            }
        }
        genuine
    }

    /// Takes an own envelope back, in both places: it becomes `previous` again.
    pub(crate) fn take_back(&mut self, head: &SignedHead, previous: Option<&Envelope>) {
        self.stats.taken_back += 1;
        for place in [Place::Own, Place::Replica] {
            let op = StorageOp::TakeBack {
                key: head.key(),
                writer: head.writer(),
                envelope: head.id(),
                previous: previous.cloned().map(Box::new),
                place,
            };
            self.storage(op, OpPurpose::TakenBack);
        }
    }

    /// Remembers a head that this node signed itself.
    pub(crate) fn trust_own(&mut self, head: &SignedHead) {
        self.checked.insert((*head.digest(), *head.signature().as_bytes()), ());
        self.own_key.signed.insert(head.id(), ());
    }

    /// Whether this process signed the envelope, as far as it remembers.
    pub(crate) fn has_signed(&self, envelope: &EnvelopeId) -> bool {
        self.own_key.signed.peek(envelope).is_some()
    }

    /// Looks whether a head of this node's own key, whose signature holds, is one that this process
    /// did not make: newer than `own`, the newest that it has made durable, and not signed by it.
    pub(crate) fn watch_own(
        &mut self,
        wall: UnixMillis,
        head: &SignedHead,
        own: Option<&SignedHead>,
    ) {
        let mine = head.writer() == self.identity.public_key();
        // Content is the same from every writer, and its store may have been lost.
        let counts = mine && head.space() != Space::Content;
        let newer = own.is_none_or(|own| head.dot() >= own.dot() && head.digest() != own.digest());
        let lives = head.expires() > wall;
        if counts && newer && lives && !self.has_signed(&head.id()) {
            self.meet_foreign(ForeignWrite { key: head.key(), held: head.id() });
        }
    }

    /// Records that another machine writes under this node's key; from now on this node writes nothing.
    pub(crate) fn meet_foreign(&mut self, write: ForeignWrite) {
        self.stats.foreign_writes += 1;
        if self.own_key.foreign.is_none() {
            self.own_key.foreign = Some(write);
            self.outbox.push_back(Output::Foreign(write));
        }
    }

    /// A node says that it holds an envelope of this node's key that this process did not sign: the key is to
    /// be read, which shows whether that is so.
    pub(crate) fn doubt_own(&mut self, key: Key) {
        if self.own_key.doubted.len() < DOUBTED_MAX {
            self.own_key.doubted.insert(key);
        }
    }

    /// The next key to be read for that.
    pub(crate) fn take_doubted(&mut self) -> Option<Key> {
        self.own_key.doubted.pop_first()
    }

    /// Another part of the node found that its identity runs elsewhere.
    pub(crate) const fn set_elsewhere(&mut self) {
        self.own_key.elsewhere = true;
    }

    /// Whether another machine runs with this node's identity.
    pub(crate) const fn is_cloned(&self) -> bool {
        self.own_key.foreign.is_some() || self.own_key.elsewhere
    }
}
