//! One operation of one client on one key: the request, the answer, and their times.
//!
//! **Invariant:** every written value is unique, so a read value identifies its write.

use std::collections::BTreeMap;
use std::time::Duration;

/// A version as the program prints it: the writer, and the writer's own number for the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The writer, as a number that the recorder assigns.
    pub writer: u32,
    /// Higher than all earlier ones of this writer.
    pub dot: u64,
}

/// The versions that a reader has seen, according to an answer: for each writer all up to this number.
pub type Covered = BTreeMap<u32, u64>;

/// One value of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The written text.
    pub text: String,
    /// Its version, if the answer contains it.
    pub version: Option<Version>,
}

/// The state of a key in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The concurrent values. None: absent or deleted.
    pub values: Vec<Value>,
    /// All versions that the reader has seen, superseded ones included; `None` if the answer does not contain
    /// them.
    pub covers: Option<Covered>,
}

impl Reading {
    /// Whether it contains a value.
    #[must_use]
    pub fn shows(&self, text: &str) -> bool {
        self.values.iter().any(|value| value.text == text)
    }

    /// Whether the reader has seen this version; `None` if the answer does not contain that.
    #[must_use]
    pub fn covers(&self, version: Version) -> Option<bool> {
        let covers = self.covers.as_ref()?;
        Some(covers.get(&version.writer).is_some_and(|dot| *dot >= version.dot))
    }
}

/// The earlier values that a write knows and thus supersedes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The values that its node read for it, which the client does not know.
    NodeRead,
    /// The values in the answer to the operation with this number in the history.
    Read(usize),
    /// No values: the new value becomes a sibling of all others.
    Nothing,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The value; `None` deletes.
    pub value: Option<String>,
    /// Whether the last of several concurrent values wins.
    pub lww: bool,
    /// The values that it supersedes.
    pub basis: Basis,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A read.
    Get,
    /// A write or a deletion.
    Write(Write),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Enough replicas acknowledged the write.
    Acknowledged(Option<Version>),
    /// The state of the key.
    Read(Reading),
    /// The key has several values, and nothing was written.
    Conflict(Reading),
    /// The write was refused: it is not stored and will not be.
    Refused,
    /// No answer, or the answer that the result is unknown.
    Unknown,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The client.
    pub client: usize,
    /// The node.
    pub node: usize,
    /// The key.
    pub key: String,
    /// The request.
    pub action: Action,
    /// The time of the request since the run began.
    pub asked: Duration,
    /// The time of the answer; `None` if there was none.
    pub answered: Option<Duration>,
    /// The answer.
    pub answer: Answer,
}

impl Operation {
    /// The state of the key in the answer, if there is one.
    #[must_use]
    pub const fn reading(&self) -> Option<&Reading> {
        match &self.answer {
            Answer::Read(reading) | Answer::Conflict(reading) => Some(reading),
            _ => None,
        }
    }

    /// The write, if it is one.
    #[must_use]
    pub const fn write(&self) -> Option<&Write> {
        match &self.action {
            Action::Write(write) => Some(write),
            Action::Get => None,
        }
    }

    /// Whether it certainly wrote nothing.
    #[must_use]
    pub const fn wrote_nothing(&self) -> bool {
        matches!(self.answer, Answer::Refused | Answer::Conflict(_))
    }

    /// Whether its answer contains a result.
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        !matches!(self.answer, Answer::Unknown | Answer::Refused)
    }
}
