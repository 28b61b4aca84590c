//! The argument of a fetch: a link, its text, or the name of a record that holds one.

use potluck_base::Admission;
use potluck_host::files::Shared;
use potluck_record::Space;
use potluck_swarm::FileLink;

use crate::{Error, Node, Read, Result};

/// The argument of a fetch; made from a [`FileLink`], a [`Shared`] or a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A link.
    Link(FileLink),
    /// The text of a link, or the name of a record: in space commons; in an `open` network in this node's own
    /// space, or `own/<public key>/NAME` or `team/<id>/NAME`.
    Text(String),
}

impl Wanted {
    /// The link, if no record has to be read for it.
    pub(crate) fn link(self) -> Result<FileLink> {
        match self {
            Self::Link(link) => Ok(link),
            Self::Text(text) => Ok(text.parse()?),
        }
    }

    /// The link; read from the record if the argument is a name.
    pub(crate) async fn resolve(self, node: &Node) -> Result<FileLink> {
        let text = match self {
            Self::Link(link) => return Ok(link),
            Self::Text(text) => text,
        };
        if let Ok(link) = text.parse() {
            return Ok(link);
        }
        let (space, name) = record(node, &text);
        match node.kv().get(name).space(space).await? {
            Read::Value(value) => Ok(value.text()?.parse()?),
            Read::Siblings(all) => Err(Error::Conflict(all)),
            Read::Absent => Err(Error::NoRecord(text)),
        }
    }
}

/// The record that a text names. In an `open` network there is no space commons: `own/<public key>/NAME` and
/// `team/<id>/NAME` say whose record it is, and any other name is one of this node's own space.
fn record<'a>(node: &Node, text: &'a str) -> (Space, &'a str) {
    if node.network().admission != Admission::Open {
        return (Space::Commons, text);
    }
    let me = node.public_key();
    let split = text.match_indices('/').nth(1).map(|(at, _)| text.split_at(at));
    let named = split.and_then(|(space, name)| Some((Space::parse(space, &me).ok()?, &name[1..])));
    named.filter(|(_, name)| !name.is_empty()).unwrap_or((Space::Own(me), text))
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
