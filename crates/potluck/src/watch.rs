//! Watches records: their present values, then the values after each change.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use potluck_base::Key;
use potluck_host::Changes;
use potluck_kv::{Change, Gap};
use potluck_node::AskError;
use potluck_record::{Name, Reading, Space, StateDigest};

use crate::{Node, Read, Result};

/// A request for a watch. It is carried out when awaited.
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

/// The values of one record: first the present ones, then the values after each change. A stream of
/// [`RecordChange`]s; dropping it ends the watch.
///
/// Each state is returned once, and no older one after it. Changes in quick succession are returned as one
/// ([`RecordChange::gap`]); the last one is always returned. The stream ends when the node stops, and when
/// the records that the node watches take more than 64 MiB.
#[derive(Debug)]
pub struct Watch(Changes);

impl Watch {
    /// The key of the record.
    #[must_use]
    pub const fn key(&self) -> &Key {
        self.0.key()
    }

    /// The next values, at first the present ones; `None` at the end. Cancel safe.
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

/// A watched record after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordChange(Change);

impl RecordChange {
    /// The result of a read now.
    #[must_use]
    pub fn read(&self) -> Read {
        Read::of(self.0.reading.clone())
    }

    /// The complete reading, with the context of a deleted record.
    #[must_use]
    pub const fn reading(&self) -> &Reading {
        &self.0.reading
    }

    /// The digest of the record's state, which differs with each change.
    #[must_use]
    pub const fn digest(&self) -> StateDigest {
        self.0.digest
    }

    /// Whether the record had other states between this change and the one before.
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
