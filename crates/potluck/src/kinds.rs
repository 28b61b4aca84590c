//! Counters, sets and maps: records that are changed by operations.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use potluck_kv::{Apply, Written};
use potluck_node::CommandError;
use potluck_record::{Folded, Kind, Name, Operation, Reading, Space};

use crate::kv::{Doing, GetRequest};
use crate::{Error, Kv, Node, Result, Siblings};

/// The record that the operations change.
#[derive(Debug, Clone)]
struct Target {
    node: Node,
    name: String,
    space: Space,
}

impl Target {
    fn operate(&self, operation: Operation) -> OperationRequest {
        OperationRequest { target: self.clone(), operation, quorum: None }
    }

    /// The record's state as this kind; `None` if there is no record.
    async fn read(&self, kind: Kind) -> Result<Option<Folded>> {
        let get: GetRequest = self.node.kv().get(self.name.as_str()).space(self.space);
        let mut reading: Reading = get.reading().await?;
        if reading.values.len() > 1 {
            return Err(Error::Conflict(Siblings::of(reading)));
        }
        let Some(value) = reading.values.pop() else { return Ok(None) };
        if value.kind == kind && value.folded.is_some() {
            return Ok(value.folded);
        }
        Err(CommandError::OtherKind { there: value.kind, asked: kind }.into())
    }
}

impl Kv {
    fn target(&self, name: impl Into<String>) -> Target {
        Target { node: self.node().clone(), name: name.into(), space: Space::Commons }
    }

    /// The counter under `name`.
    pub fn counter(&self, name: impl Into<String>) -> Counter {
        Counter(self.target(name))
    }

    /// The set under `name`.
    pub fn set(&self, name: impl Into<String>) -> Set {
        Set(self.target(name))
    }

    /// The map under `name`.
    pub fn map(&self, name: impl Into<String>) -> Map {
        Map(self.target(name))
    }
}

/// A counter: the sum of the amounts that all nodes add. See [`Kv::counter`].
#[derive(Debug, Clone)]
pub struct Counter(Target);

/// A set of texts that all nodes may change. An addition wins over a removal that had not read it. See
/// [`Kv::set`].
#[derive(Debug, Clone)]
pub struct Set(Target);

/// Fields with a value each, which all nodes may change. Of concurrent values of a field the last one is
/// read. See [`Kv::map`].
#[derive(Debug, Clone)]
pub struct Map(Target);

/// The options that all three share.
macro_rules! space_option {
    ($($handle:ident)*) => { $(
        impl $handle {
            /// Where the record lives. Default: [`Space::Commons`].
            #[must_use]
            pub fn space(mut self, space: Space) -> Self {
                self.0.space = space;
                self
            }
        }
    )* };
}

space_option!(Counter Set Map);

impl Counter {
    /// Adds `by`, which may be negative; await it to carry it out.
    pub fn add(&self, by: i64) -> OperationRequest {
        self.0.operate(Operation::Count(by))
    }

    /// Reads the sum: 0 if there is no such record.
    ///
    /// # Errors
    /// As a read; [`Error::Conflict`] or [`CommandError::OtherKind`] if values of another kind are there.
    pub async fn value(&self) -> Result<i128> {
        match self.0.read(Kind::Counter).await? {
            Some(Folded::Counter(sum)) => Ok(sum),
            Some(Folded::Set(_) | Folded::Map(_)) | None => Ok(0),
        }
    }
}

impl Set {
    /// Adds an element; await it to carry it out.
    pub fn add(&self, element: impl Into<String>) -> OperationRequest {
        self.add_all([element.into()])
    }

    /// Adds elements in one operation; await it to carry it out.
    pub fn add_all(&self, elements: impl IntoIterator<Item = String>) -> OperationRequest {
        self.0.operate(Operation::AddElements(elements.into_iter().collect()))
    }

    /// Removes an element; additions that this node has not read stay. Await it to carry it out.
    pub fn remove(&self, element: impl Into<String>) -> OperationRequest {
        self.0.operate(Operation::RemoveElements(vec![element.into()]))
    }

    /// Reads the elements: none if there is no such record.
    ///
    /// # Errors
    /// As [`Counter::value`].
    pub async fn elements(&self) -> Result<BTreeSet<String>> {
        match self.0.read(Kind::Set).await? {
            Some(Folded::Set(elements)) => Ok(elements),
            Some(Folded::Counter(_) | Folded::Map(_)) | None => Ok(BTreeSet::new()),
        }
    }
}

impl Map {
    /// Sets a field; await it to carry it out.
    pub fn set(&self, field: impl Into<String>, value: impl Into<Bytes>) -> OperationRequest {
        self.0.operate(Operation::SetField { field: field.into(), value: value.into() })
    }

    /// Removes a field; values that this node has not read stay. Await it to carry it out.
    pub fn unset(&self, field: impl Into<String>) -> OperationRequest {
        self.0.operate(Operation::UnsetField { field: field.into() })
    }

    /// Reads the fields with their values: none if there is no such record.
    ///
    /// # Errors
    /// As [`Counter::value`].
    pub async fn entries(&self) -> Result<BTreeMap<String, Bytes>> {
        match self.0.read(Kind::Map).await? {
            Some(Folded::Map(fields)) => Ok(fields),
            Some(Folded::Counter(_) | Folded::Set(_)) | None => Ok(BTreeMap::new()),
        }
    }
}

/// An operation. It is carried out when awaited.
///
/// An operation that fails with [`CommandError::TooFewAcks`] or [`CommandError::Unknown`] may still take
/// effect: read before repeating it, or a counter may count twice.
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited"]
pub struct OperationRequest {
    target: Target,
    operation: Operation,
    quorum: Option<u16>,
}

impl OperationRequest {
    /// Replicas that must have it on disk. Default: a majority of the record's replicas.
    pub fn quorum(mut self, replicas: u16) -> Self {
        self.quorum = Some(replicas);
        self
    }

    async fn carry_out(self) -> Result<Written> {
        let Self { target: Target { node, name, space }, operation, quorum } = self;
        let name = Name::new(name)?;
        node.ask(Apply { space, name, operation, quorum }).await
    }
}

impl IntoFuture for OperationRequest {
    type Output = Result<Written>;
    type IntoFuture = Doing<Written>;

    fn into_future(self) -> Doing<Written> {
        Box::pin(self.carry_out())
    }
}
