//! Records: writing, reading, deleting.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use potluck_kv::Written;
use potluck_node::ask::{Get, PutResult};
use potluck_node::{Put, WriteContext};
use potluck_record::{Context, Kind, Name, NameError, Reading, Space};

use crate::watch::{WatchRequest, key_of};
use crate::{Error, Node, Read, Result, Siblings};

/// The future of a command.
pub(crate) type Doing<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// The records of the network, accessed through one node. See [`Node::kv`].
#[derive(Debug, Clone)]
pub struct Kv {
    node: Node,
}

impl Kv {
    pub(crate) const fn new(node: Node) -> Self {
        Self { node }
    }

    pub(crate) const fn node(&self) -> &Node {
        &self.node
    }

    /// Writes `value` under `name`; await it to carry it out.
    ///
    /// By default it supersedes the values that the node reads first, and writes nothing if it reads several
    /// values ([`Error::Conflict`]). In [`Space::Content`] the key is computed from the value and the name is
    /// ignored.
    pub fn put(&self, name: impl Into<String>, value: impl Into<Bytes>) -> PutRequest {
        PutRequest(Write::new(&self.node, name.into(), Some(value.into())))
    }

    /// Reads the record `name`; await it to carry it out. In [`Space::Content`] the name is the key in
    /// hexadecimal digits.
    pub fn get(&self, name: impl Into<String>) -> GetRequest {
        let node = self.node.clone();
        GetRequest { node, name: name.into(), space: Space::Commons, quorum: None }
    }

    /// Watches the record `name`; await it to begin. The result is a stream: first the present values, then
    /// the values after each change.
    ///
    /// ```no_run
    /// use potluck::{Node, Read};
    ///
    /// # async fn example(node: Node) -> potluck::Result<()> {
    /// let mut watch = node.kv().watch("config/greeting").await?;
    /// while let Some(change) = watch.next().await {
    ///     match change.read() {
    ///         Read::Value(value) => println!("{}", value.text()?),
    ///         Read::Siblings(all) => println!("{} values to merge", all.len()),
    ///         Read::Absent => println!("absent or deleted"),
    ///     }
    ///     if change.gap().is_gap() {
    ///         println!("there were others in between");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self, name: impl Into<String>) -> WatchRequest {
        WatchRequest::new(&self.node, name.into())
    }

    /// Deletes the record `name`; await it to carry it out.
    ///
    /// By default it supersedes the values that the node reads first, and deletes nothing if it reads several
    /// values ([`Error::Conflict`]).
    pub fn delete(&self, name: impl Into<String>) -> DeleteRequest {
        DeleteRequest(Write::new(&self.node, name.into(), None))
    }
}

/// The fields of a write or a deletion.
#[derive(Debug, Clone)]
struct Write {
    node: Node,
    name: String,
    put: Put,
}

impl Write {
    fn new(node: &Node, name: String, value: Option<Bytes>) -> Self {
        let put = Put {
            space: Space::Commons,
            name: None,
            kind: None,
            value,
            ttl: None,
            quorum: None,
            context: WriteContext::Read,
        };
        Self { node: node.clone(), name, put }
    }

    fn put_of(name: String, mut put: Put) -> std::result::Result<Put, NameError> {
        if put.space != Space::Content {
            put.name = Some(Name::new(name)?);
        }
        Ok(put)
    }

    async fn carry_out(self) -> Result<Written> {
        match self.node.ask(Self::put_of(self.name, self.put)?).await? {
            PutResult::Written(written) => Ok(written),
            PutResult::Conflict(read) => Err(Error::Conflict(Siblings::of(read.reading))),
        }
    }
}

/// The options that writes and deletions share.
macro_rules! write_options {
    ($request:ident) => {
        impl $request {
            /// The space, which determines the writers of the key. Default: [`Space::Commons`].
            pub fn space(mut self, space: Space) -> Self {
                self.0.put.space = space;
                self
            }

            /// Replicas that must have it on disk. Default: a majority of the record's replicas.
            pub fn quorum(mut self, replicas: u16) -> Self {
                self.0.put.quorum = Some(replicas);
                self
            }

            /// Supersedes exactly the values that this context covers: the context of a value or of siblings
            /// that were read.
            pub fn context(mut self, context: Context) -> Self {
                self.0.put.context = WriteContext::Given(context);
                self
            }

            /// Supersedes nothing: becomes a sibling of the present values.
            pub fn blind(mut self) -> Self {
                self.0.put.context = WriteContext::Blind;
                self
            }
        }

        impl IntoFuture for $request {
            type Output = Result<Written>;
            type IntoFuture = Doing<Written>;

            fn into_future(self) -> Doing<Written> {
                Box::pin(self.0.carry_out())
            }
        }
    };
}

/// A write. It is carried out when awaited.
#[derive(Debug, Clone)]
#[must_use = "a write does nothing until it is awaited"]
pub struct PutRequest(Write);

write_options!(PutRequest);

impl PutRequest {
    /// How readers fold the value with others. Default: the kind of the present value, else
    /// [`Kind::Siblings`].
    pub fn kind(mut self, kind: Kind) -> Self {
        self.0.put.kind = Some(kind);
        self
    }

    /// The lifetime of the value. Default: as configured.
    pub fn ttl(mut self, life: Duration) -> Self {
        self.0.put.ttl = Some(life);
        self
    }
}

/// A deletion. It is carried out when awaited.
#[derive(Debug, Clone)]
#[must_use = "a deletion does nothing until it is awaited"]
pub struct DeleteRequest(Write);

write_options!(DeleteRequest);

/// A read. It is carried out when awaited.
#[derive(Debug, Clone)]
#[must_use = "a read does nothing until it is awaited"]
pub struct GetRequest {
    node: Node,
    name: String,
    space: Space,
    quorum: Option<u16>,
}

impl GetRequest {
    /// Where the record lives. Default: [`Space::Commons`].
    pub fn space(mut self, space: Space) -> Self {
        self.space = space;
        self
    }

    /// Replicas that must agree. Default: as configured.
    pub fn quorum(mut self, replicas: u16) -> Self {
        self.quorum = Some(replicas);
        self
    }

    /// Carries the read out and returns the complete reading, with the context of a deleted record.
    ///
    /// # Errors
    /// As awaiting it.
    pub async fn reading(self) -> Result<Reading> {
        let key = key_of(&self.name, self.space)?;
        Ok(self.node.ask(Get { key, quorum: self.quorum }).await?.reading)
    }
}

impl IntoFuture for GetRequest {
    type Output = Result<Read>;
    type IntoFuture = Doing<Read>;

    fn into_future(self) -> Doing<Read> {
        Box::pin(async move { Ok(Read::of(self.reading().await?)) })
    }
}
