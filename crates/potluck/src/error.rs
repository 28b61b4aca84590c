//! The errors of this crate.

use potluck_base::IdError;
use potluck_host::{StartError, Stopped};
use potluck_node::{AskError, CommandError};
use potluck_record::NameError;

use crate::Siblings;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The node has stopped. Commands in progress may or may not have been carried out.
    #[error("the node has stopped")]
    Stopped,
    /// The node did not carry the command out.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A write without context found several values and wrote nothing. Choose or merge, and write
    /// with [`Siblings::context`].
    #[error("{} values were written at once; merge them and write with their context", .0.len())]
    Conflict(Siblings),
    /// The name of the record breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// In the `content` space a record is named by its key.
    #[error("a record in the `content` space is read by its key, 64 hexadecimal digits")]
    ContentKey(#[from] IdError),
    /// The name of the topic breaks a rule.
    #[error(transparent)]
    Topic(#[from] potluck_gossip::TopicError),
    /// The node refused the use of the topic.
    #[error(transparent)]
    TopicRefused(#[from] potluck_gossip::topics::TopicRefusal),
    /// There is no subscription.
    #[error(transparent)]
    Subscribe(potluck_host::SubscribeError),
    /// The search was not started.
    #[error(transparent)]
    SearchRefused(#[from] potluck_gossip::search::SearchError),
    /// An error about tickets, revocations or the authority key.
    #[error(transparent)]
    Membership(#[from] potluck_host::MembershipError),
    /// An error about the list of a team.
    #[error(transparent)]
    Team(#[from] crate::TeamError),
    /// An error about files.
    #[error(transparent)]
    Files(#[from] potluck_host::files::FilesError),
    /// A protocol was not served, or a stream or message did not go.
    #[error(transparent)]
    Protocol(#[from] potluck_host::transport::ProtocolError),
    /// The text is not a link.
    #[error(transparent)]
    Link(#[from] potluck_swarm::LinkError),
    /// There is no record of this name, and it is no link.
    #[error("there is no record {0}, and it is no link")]
    NoRecord(String),
    /// A network for tests could not be made.
    #[error("cannot make a network for tests: {0}")]
    Network(String),
    /// The value is not text.
    #[error("the value is no UTF-8 text")]
    Text(#[from] std::str::Utf8Error),
    /// The node gave a reply that does not fit the command: a bug, please report it.
    #[error("the node gave an unexpected reply: {0}")]
    Unexpected(String),
}

impl From<Stopped> for Error {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<AskError> for Error {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Failed(error) => Self::Command(error),
            AskError::Topic(refusal) => Self::TopicRefused(refusal),
            AskError::Search(error) => Self::SearchRefused(error),
            AskError::Unexpected(reply) => Self::Unexpected(reply),
        }
    }
}

impl From<potluck_host::SubscribeError> for Error {
    fn from(error: potluck_host::SubscribeError) -> Self {
        match error {
            potluck_host::SubscribeError::Refused(refusal) => Self::TopicRefused(refusal),
            other => Self::Subscribe(other),
        }
    }
}
