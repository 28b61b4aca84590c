//! The commands of a node, and their replies.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Key, Peer};
use potluck_dht::{EntryPoint, LookupTrace, TableView};
use potluck_gossip::{FoundFile, MembersView, MessageId, TopicName};
pub use potluck_kv::{Apply, CommandError, CommandId, Put, WriteContext};
use potluck_kv::{Change, Held, NamesListed, ReadDone, ReplicaState, Written};
use potluck_link::RevocationError;
use potluck_record::NamesQuery;

use crate::settings::{SettingChange, SettingRefused, SettingsView};
use crate::view::{Stats, StatusView};

/// A command. Every command is answered by exactly one [`Reply`] with its id.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Write or delete a record.
    Put(Put),
    /// Change a counter, set or map.
    Apply(Apply),
    /// Read a record.
    Get {
        /// Its key.
        key: Key,
        /// Replicas that must agree; `None`: as configured.
        quorum: Option<u16>,
    },
    /// Ask every replica of a key what it holds.
    Replicas {
        /// The key.
        key: Key,
    },
    /// What this node holds of a key.
    Local {
        /// The key.
        key: Key,
    },
    /// One page of the names of a space: what all members hold where the list of members is full, else
    /// what this node holds.
    Names {
        /// Which names, and how many at most.
        query: NamesQuery,
    },
    /// One page of the names of a space: what this node holds. No other node is asked.
    NamesHere {
        /// Which names, and how many at most.
        query: NamesQuery,
    },
    /// Changes of this record come as `Output::Changed` from now on, once each however often it is
    /// watched; the reply has its present values.
    Watch {
        /// The key.
        key: Key,
    },
    /// Ends all watches of a record.
    Unwatch {
        /// The key.
        key: Key,
    },
    /// One lookup, hop by hop.
    Trace {
        /// The key.
        key: Key,
    },
    /// The last lookups.
    Lookups,
    /// The routing table.
    Table,
    /// How a fetch of a file stands.
    Fetch(potluck_swarm::FetchId),
    /// The node's condition.
    Status,
    /// All counters and gauges.
    Stats,
    /// The members this node knows.
    Members,
    /// Publish a message. Answered when it is on its way; while the links are full that takes its
    /// time, so that a publisher is slowed and nothing dropped.
    Publish {
        /// The topic.
        topic: TopicName,
        /// At most [`potluck_gossip::message::PAYLOAD_BYTES_MAX`].
        payload: Bytes,
    },
    /// The same, and answered with how many neighbours took it: as soon as all that it went to have said
    /// so, and after a second at the latest.
    PublishCounted {
        /// The topic.
        topic: TopicName,
        /// At most [`potluck_gossip::message::PAYLOAD_BYTES_MAX`].
        payload: Bytes,
    },
    /// Messages of this topic come as `Output::Message` from now on, once each however often it is
    /// subscribed to.
    Subscribe {
        /// The topic.
        topic: TopicName,
        /// Further ones that this node still keeps from the time behind this one, which it has seen;
        /// they come with the reply, oldest first.
        after: Option<MessageId>,
    },
    /// Ends a subscription.
    Unsubscribe {
        /// The topic.
        topic: TopicName,
    },
    /// Look for shared files in whose name all these words are.
    Search {
        /// One to eight words of 2 to 32 characters.
        words: Vec<String>,
    },
    /// Add an entry point, which is tried until the node leaves.
    Join(EntryPoint),
    /// Take this revocation of a member over, and spread it.
    Revoke(Bytes),
    /// The settings of the network, and what this node makes of them.
    Settings,
    /// What the next settings of the network would be with this change.
    ProposeSetting(SettingChange),
    /// Take these signed settings over, and spread them.
    TakeSettings(Bytes),
    /// Introduce this node to the peer as a member, so that the peer accepts a connection.
    Introduce(Contact),
    /// Hands records over and says good-bye; answered when done. Later commands fail.
    Leave,
    /// Tells the nodes of the close group that this node stops and will soon be back.
    Pause,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The write is durable at enough replicas.
    Written(Written),
    /// A write without context found siblings and wrote nothing.
    Conflict(ReadDone),
    /// The read; no value means absent or deleted.
    Read(ReadDone),
    /// The replicas of a key, closest first.
    Replicas(Vec<(Peer, ReplicaState)>),
    /// One page of names.
    Names(NamesListed),
    /// What this node holds.
    Local(Held),
    /// The record is watched; these are its present values.
    Watching(Change),
    /// The record is not watched any more.
    Unwatched,
    /// A lookup with the closest nodes that answered.
    Traced {
        /// The trace.
        trace: LookupTrace,
        /// The closest nodes, closest first.
        closest: Vec<Peer>,
    },
    /// The last lookups, newest last.
    Lookups(Vec<LookupTrace>),
    /// The routing table.
    Table(Box<TableView>),
    /// How a fetch of a file stands; `None` if there is none of this name.
    Fetch(Option<Box<potluck_swarm::FetchView>>),
    /// The node's condition.
    Status(StatusView),
    /// All counters and gauges.
    Stats(Box<Stats>),
    /// The members this node knows.
    Members(Box<MembersView>),
    /// The message is on its way.
    Published(MessageId),
    /// The message is on its way, and this number of neighbours have it.
    Taken {
        /// The message.
        message: MessageId,
        /// Nodes that this one is linked to in the topic and that have said that they have it.
        neighbours: usize,
    },
    /// Messages will come.
    Subscribed {
        /// What is kept from the time behind the message that was named, oldest first.
        backlog: Vec<potluck_gossip::Message>,
        /// Whether that is surely all.
        complete: bool,
    },
    /// No more will come.
    Unsubscribed,
    /// What a search found, and whether the search went as far as it may.
    Found {
        /// The files.
        files: Vec<FoundFile>,
        /// How far the search went: 0 no neighbours, 1 to 4 the last ring asked, 5 random walkers.
        rings: u8,
    },
    /// A topic cannot be used; nothing changed.
    TopicRefused(potluck_gossip::topics::TopicRefusal),
    /// A search was not begun.
    SearchRefused(potluck_gossip::search::SearchError),
    /// The entry point will be tried.
    Joining,
    /// The subject that the revocation expelled; `None`: the revocation was already known.
    Revoked(Result<Option<potluck_wire::Revoked>, RevocationError>),
    /// The settings in force.
    Settings(Box<SettingsView>),
    /// Settings to be signed, or why they cannot be.
    Proposed(Result<potluck_wire::NetworkSettings, SettingRefused>),
    /// Whether the settings are in force now; `None`: the same or newer ones were before.
    SettingsTaken(Result<Option<u64>, potluck_wire::SettingsError>),
    /// Whether the peer answered and knows us.
    Introduced(bool),
    /// The node has left.
    Left {
        /// Keys that other nodes took over.
        handed_over: u64,
        /// How long it took.
        took: Duration,
    },
    /// The nodes of the close group were told; the node may be stopped.
    Pausing,
    /// The command failed.
    Failed(CommandError),
}
