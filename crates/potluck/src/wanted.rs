//! What is to be fetched: a link, its text, or the name of a record that holds one.

use potluck_host::files::Shared;
use potluck_record::Space;
use potluck_swarm::FileLink;

use crate::{Error, Node, Read, Result};

/// What a fetch is about; made from a [`FileLink`], a [`Shared`] or a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A link.
    Link(FileLink),
    /// The text of a link, or the name of a record.
    Text(String),
}

impl Wanted {
    /// The link, where no record has to be read for it.
    pub(crate) fn link(self) -> Result<FileLink> {
        match self {
            Self::Link(link) => Ok(link),
            Self::Text(text) => Ok(text.parse()?),
        }
    }

    /// The link, read from the record where it is a name.
    pub(crate) async fn resolve(self, node: &Node) -> Result<FileLink> {
        let text = match self {
            Self::Link(link) => return Ok(link),
            Self::Text(text) => text,
        };
        if let Ok(link) = text.parse() {
            return Ok(link);
        }
        match node.kv().get(&*text).space(Space::Commons).await? {
            Read::Value(value) => Ok(value.text()?.parse()?),
            Read::Siblings(all) => Err(Error::Conflict(all)),
            Read::Absent => Err(Error::NoRecord(text)),
        }
    }
}

impl From<FileLink> for Wanted {
    fn from(link: FileLink) -> Self {
        Self::Link(link)
    }
}

impl From<&FileLink> for Wanted {
    fn from(link: &FileLink) -> Self {
        Self::Link(link.clone())
    }
}

impl From<&Shared> for Wanted {
    fn from(shared: &Shared) -> Self {
        Self::Link(shared.link.clone())
    }
}

impl From<Shared> for Wanted {
    fn from(shared: Shared) -> Self {
        Self::Link(shared.link)
    }
}

impl From<&str> for Wanted {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Wanted {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
