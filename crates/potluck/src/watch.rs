//! Watching records: their present values, then those after each change.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use potluck_base::Key;
use potluck_host::Changes;
use potluck_kv::{Change, Gap};
use potluck_node::AskError;
use potluck_record::{Name, Reading, Space, StateDigest};

use crate::{Node, Read, Result};

/// A watch that is being described. Nothing happens until it is awaited.
#[derive(Debug, Clone)]
#[must_use = "a watch begins when it is awaited"]
pub struct WatchRequest {
    node: Node,
    name: String,
    space: Space,
}

impl WatchRequest {
    pub(crate) fn new(node: &Node, name: String) -> Self {
        Self { node: node.clone(), name, space: Space::Commons }
    }

    /// Where the record lives. Default: [`Space::Commons`].
    pub fn space(mut self, space: Space) -> Self {
        self.space = space;
        self
    }
}

impl IntoFuture for WatchRequest {
    type Output = Result<Watch>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Watch>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let key = key_of(&self.name, self.space)?;
            let watched = self.node.handle().watch(key).await?;
            Ok(Watch(watched.map_err(AskError::from)?))
        })
    }
}

/// The key of a record. In [`Space::Content`] the name is the key in hexadecimal digits.
pub(crate) fn key_of(name: &str, space: Space) -> Result<Key> {
    match space {
        Space::Content => Ok(name.parse()?),
        space => Ok(space.key(&Name::new(name)?).expect("all spaces but content have names")),
    }
}

/// The values of one record: first the present ones, then those after each change. A stream of
/// [`RecordChange`]s; dropping it ends the watch.
///
/// Values come once and never go back to older ones. Changes that follow each other fast come as one
/// ([`RecordChange::gap`]); the last one always comes. The stream ends when the node stops, and when the
/// records that the node watches take more than 64 MiB.
#[derive(Debug)]
pub struct Watch(Changes);

impl Watch {
    /// The key of the record.
    #[must_use]
    pub const fn key(&self) -> &Key {
        self.0.key()
    }

    /// The next values, the first time the present ones; `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> Option<RecordChange> {
        self.0.next().await.map(RecordChange)
    }
}

impl Stream for Watch {
    type Item = RecordChange;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context).map(|change| change.map(RecordChange))
    }
}

/// A watched record as it is from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordChange(Change);

impl RecordChange {
    /// What a read finds now.
    #[must_use]
    pub fn read(&self) -> Read {
        Read::of(self.0.reading.clone())
    }

    /// All there is to know: also what a deleted record was superseded by.
    #[must_use]
    pub const fn reading(&self) -> &Reading {
        &self.0.reading
    }

    /// The fingerprint of the record's state, which differs with each change.
    #[must_use]
    pub const fn digest(&self) -> StateDigest {
        self.0.digest
    }

    /// Whether the record had other states since the change before.
    #[must_use]
    pub const fn gap(&self) -> Gap {
        self.0.gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_named_as_its_space_says() {
        let name = Name::new("a").expect("a name");
        let key = Space::Commons.key(&name).expect("a key");
        assert_eq!(key_of("a", Space::Commons).expect("a key"), key);
        assert_eq!(key_of(&key.to_string(), Space::Content).expect("a key"), key);
        assert!(matches!(key_of("a", Space::Content), Err(crate::Error::ContentKey(_))));
        assert!(matches!(key_of("", Space::Commons), Err(crate::Error::Name(_))));
    }
}
