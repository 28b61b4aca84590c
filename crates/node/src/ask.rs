//! Commands with the types of their replies.
//!
//! [`Command`] and [`Reply`] are what a shell passes through its queues. An [`Ask`] is one command
//! together with the type of its reply, so that a caller needs no match over all replies.

use bytes::Bytes;
use potluck_base::{Key, Peer};
use potluck_dht::{EntryPoint, LookupTrace, TableView};
use potluck_gossip::search::SearchError;
use potluck_gossip::topics::TopicRefusal;
use potluck_gossip::{FoundFile, MembersView, MessageId, TopicName};
use potluck_kv::{CommandError, Held, NamesListed, ReadDone, ReplicaState};
use potluck_record::NamesQuery;

use crate::command::{Command, Reply};
use crate::settings::SettingsView;
use crate::view;

/// A command and the type of its reply.
pub trait Ask: Into<Command> {
    /// The reply when the command was carried out.
    type Reply;

    /// The reply to this command in `reply`.
    ///
    /// # Errors
    /// [`AskError`] if the command was not carried out.
    fn read(reply: Reply) -> Result<Self::Reply, AskError>;
}

/// Why a command was not carried out. Whether something changed, the error inside says.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AskError {
    /// The command failed.
    #[error(transparent)]
    Failed(#[from] CommandError),
    /// The topic cannot be used; nothing changed.
    #[error(transparent)]
    Topic(#[from] TopicRefusal),
    /// The search was not begun.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The node gave a reply that does not fit the command: a bug, please report it.
    #[error("the node gave an unexpected reply: {0}")]
    Unexpected(String),
}

impl From<Reply> for AskError {
    /// The error in a reply that says that the command was not carried out.
    fn from(reply: Reply) -> Self {
        if let Reply::Failed(error) = reply {
            Self::Failed(error)
        } else if let Reply::TopicRefused(refusal) = reply {
            Self::Topic(refusal)
        } else if let Reply::SearchRefused(error) = reply {
            Self::Search(error)
        } else {
            Self::Unexpected(format!("{reply:?}"))
        }
    }
}

/// Declares commands: a struct of the arguments, the command that they make, and the reply.
macro_rules! asks {
    ($(
        $(#[$doc:meta])*
        struct $name:ident { $( $(#[$field_doc:meta])* $field:ident: $type:ty, )* }
        sends $command:expr;
        gets $reply:ty: $pattern:pat => $value:expr;
    )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )*
        }

        impl From<$name> for Command {
            fn from(ask: $name) -> Self {
                let $name { $($field),* } = ask;
                $command
            }
        }

        impl Ask for $name {
            type Reply = $reply;

            fn read(reply: Reply) -> Result<Self::Reply, AskError> {
                if let $pattern = reply { Ok($value) } else { Err(reply.into()) }
            }
        }
    )* };
}

asks! {
    /// Reads a record.
    struct Get {
        /// Its key.
        key: Key,
        /// Replicas that must agree; `None`: as configured.
        quorum: Option<u16>,
    }
    sends Command::Get { key, quorum };
    gets ReadDone: Reply::Read(done) => done;

    /// Asks every replica of a key what it holds; closest first.
    struct Replicas {
        /// The key.
        key: Key,
    }
    sends Command::Replicas { key };
    gets Vec<(Peer, ReplicaState)>: Reply::Replicas(replicas) => replicas;

    /// What this node holds of a key.
    struct Local {
        /// The key.
        key: Key,
    }
    sends Command::Local { key };
    gets Held: Reply::Local(held) => held;

    /// One page of the names of a space.
    struct Names {
        /// Which names, and how many at most.
        query: NamesQuery,
    }
    sends Command::Names { query };
    gets NamesListed: Reply::Names(listed) => listed;

    /// One page of the names that this node itself holds. No other node is asked.
    struct NamesHere {
        /// Which names, and how many at most.
        query: NamesQuery,
    }
    sends Command::NamesHere { query };
    gets NamesListed: Reply::Names(listed) => listed;

    /// One lookup, hop by hop, and the closest nodes that answered.
    struct Trace {
        /// The key.
        key: Key,
    }
    sends Command::Trace { key };
    gets LookupTrace: Reply::Traced { trace, .. } => trace;

    /// The last lookups, newest last.
    struct Lookups {}
    sends Command::Lookups;
    gets Vec<LookupTrace>: Reply::Lookups(lookups) => lookups;

    /// The routing table.
    struct Table {}
    sends Command::Table;
    gets TableView: Reply::Table(table) => *table;

    /// The node's condition.
    struct Status {}
    sends Command::Status;
    gets view::StatusView: Reply::Status(status) => status;

    /// All counters and gauges.
    struct Stats {}
    sends Command::Stats;
    gets view::Stats: Reply::Stats(stats) => *stats;

    /// The settings of the network, and what this node makes of them.
    struct Settings {}
    sends Command::Settings;
    gets SettingsView: Reply::Settings(view) => *view;

    /// The members this node knows.
    struct Members {}
    sends Command::Members;
    gets MembersView: Reply::Members(members) => *members;

    /// Looks for shared files in whose name all the words are.
    struct Search {
        /// One to eight words of 2 to 32 characters.
        words: Vec<String>,
    }
    sends Command::Search { words };
    gets SearchResult: Reply::Found { files, rings } => SearchResult { files, rings };

    /// Publishes a message; the reply comes when it is on its way.
    struct Publish {
        /// The topic.
        topic: TopicName,
        /// At most [`potluck_gossip::message::PAYLOAD_BYTES_MAX`].
        payload: Bytes,
    }
    sends Command::Publish { topic, payload };
    gets MessageId: Reply::Published(message) => message;

    /// Publishes a message; the reply comes when it is known how many neighbours have it.
    struct PublishCounted {
        /// The topic.
        topic: TopicName,
        /// At most [`potluck_gossip::message::PAYLOAD_BYTES_MAX`].
        payload: Bytes,
    }
    sends Command::PublishCounted { topic, payload };
    gets Published: Reply::Taken { message, neighbours } => Published { id: message, neighbours };

    /// Adds an entry point, which is tried until the node leaves.
    struct Join {
        /// The entry point.
        point: EntryPoint,
    }
    sends Command::Join(point);
    gets (): Reply::Joining => ();
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResult {
    /// The files, this node's own among them.
    pub files: Vec<FoundFile>,
    /// How far the search went: 0 no neighbours, 1 to 4 the last ring asked, 5 random walkers.
    pub rings: u8,
}

/// A message that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub id: MessageId,
    /// The number of neighbours that have it.
    pub neighbours: usize,
}

/// The result of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum PutResult {
    /// The write is durable at enough replicas.
    Written(potluck_kv::Written),
    /// A write without context found siblings and wrote nothing.
    Conflict(ReadDone),
}

impl From<potluck_kv::Put> for Command {
    fn from(put: potluck_kv::Put) -> Self {
        Self::Put(put)
    }
}

impl Ask for potluck_kv::Put {
    type Reply = PutResult;

    fn read(reply: Reply) -> Result<PutResult, AskError> {
        if let Reply::Written(written) = reply {
            Ok(PutResult::Written(written))
        } else if let Reply::Conflict(done) = reply {
            Ok(PutResult::Conflict(done))
        } else {
            Err(reply.into())
        }
    }
}

impl From<potluck_kv::Apply> for Command {
    fn from(apply: potluck_kv::Apply) -> Self {
        Self::Apply(apply)
    }
}

impl Ask for potluck_kv::Apply {
    type Reply = potluck_kv::Written;

    fn read(reply: Reply) -> Result<potluck_kv::Written, AskError> {
        if let Reply::Written(written) = reply { Ok(written) } else { Err(reply.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_as_its_command_says_and_failures_keep_their_kind() {
        let found = Reply::Found { files: Vec::new(), rings: 3 };
        let searched = Search::read(found.clone()).map(|result| result.rings);
        assert_eq!(searched, Ok(3));
        assert!(matches!(Members::read(found), Err(AskError::Unexpected(_))));
        let busy = Reply::Failed(CommandError::Busy);
        assert_eq!(Lookups::read(busy).unwrap_err(), AskError::Failed(CommandError::Busy));
        let refused = Reply::SearchRefused(SearchError::Words);
        let error = Search::read(refused).unwrap_err();
        assert_eq!(error, AskError::Search(SearchError::Words));
        assert_eq!(Join::read(Reply::Joining), Ok(()));
    }

    #[test]
    fn arguments_go_into_the_command() {
        let key = Key::from_bytes([7; 32]);
        let command: Command = Get { key, quorum: Some(2) }.into();
        assert_eq!(command, Command::Get { key, quorum: Some(2) });
        assert_eq!(Command::from(Table {}), Command::Table);
    }
}
