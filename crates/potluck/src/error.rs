//! What can go wrong, in sentences.

use potluck_base::IdError;
use potluck_host::{StartError, Stopped};
use potluck_node::CommandError;
use potluck_record::NameError;

use crate::Siblings;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The node has stopped. What was under way may or may not have been done.
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
    /// Files.
    #[error(transparent)]
    Files(#[from] potluck_host::files::FilesError),
    /// The value is no text.
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
