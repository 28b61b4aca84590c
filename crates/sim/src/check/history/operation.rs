//! One operation of one client on one key: what it asked, what it was told, and when.
//!
//! **Invariant:** every written value is unique, so that what is read tells which write it came
//! from.

use std::collections::BTreeMap;
use std::time::Duration;

/// A version as the program gives it: the writer, and the writer's own number for the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Which writer; the recorder gives the numbers.
    pub writer: u32,
    /// Greater than all earlier ones of this writer.
    pub dot: u64,
}

/// What a reader was told it has seen: for each writer every version up to this number.
pub type Covered = BTreeMap<u32, u64>;

/// One value of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// What was written.
    pub text: String,
    /// Its version, where the answer has one.
    pub version: Option<Version>,
}

/// What a client was told of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The values that stand beside each other; none: absent or deleted.
    pub values: Vec<Value>,
    /// All versions that the reader has seen, superseded ones included; `None` if the answer does
    /// not say.
    pub covers: Option<Covered>,
}

impl Reading {
    /// Whether a value is in it.
    #[must_use]
    pub fn shows(&self, text: &str) -> bool {
        self.values.iter().any(|value| value.text == text)
    }

    /// Whether the reader has seen this version; `None` if the answer does not say.
    #[must_use]
    pub fn covers(&self, version: Version) -> Option<bool> {
        let covers = self.covers.as_ref()?;
        Some(covers.get(&version.writer).is_some_and(|dot| *dot >= version.dot))
    }
}

/// What a write knows of the values before it, and so supersedes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// What its node read for it, which the client was not told.
    NodeRead,
    /// What the operation with this number in the history was told.
    Read(usize),
    /// Nothing: it stands beside whatever is there.
    Nothing,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The value; `None` deletes.
    pub value: Option<String>,
    /// Whether of several values the last one wins.
    pub lww: bool,
    /// What it supersedes.
    pub basis: Basis,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A read.
    Get,
    /// A write or a deletion.
    Write(Write),
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Enough replicas have the write.
    Acknowledged(Option<Version>),
    /// This is there.
    Read(Reading),
    /// Several values are there, and nothing was written.
    Conflict(Reading),
    /// Nothing was written, and it will not be.
    Refused,
    /// No answer, or one that says that it is not known.
    Unknown,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Which client.
    pub client: usize,
    /// Through which node.
    pub node: usize,
    /// On which key.
    pub key: String,
    /// What was asked.
    pub action: Action,
    /// When it was asked, since the run began.
    pub asked: Duration,
    /// When it was answered; `None` if never.
    pub answered: Option<Duration>,
    /// What was answered.
    pub answer: Answer,
}

impl Operation {
    /// What it was told of the key, if it was told.
    #[must_use]
    pub const fn reading(&self) -> Option<&Reading> {
        match &self.answer {
            Answer::Read(reading) | Answer::Conflict(reading) => Some(reading),
            _ => None,
        }
    }

    /// What it wrote, if it is a write.
    #[must_use]
    pub const fn write(&self) -> Option<&Write> {
        match &self.action {
            Action::Write(write) => Some(write),
            Action::Get => None,
        }
    }

    /// Whether it wrote nothing for certain.
    #[must_use]
    pub const fn wrote_nothing(&self) -> bool {
        matches!(self.answer, Answer::Refused | Answer::Conflict(_))
    }

    /// Whether it got an answer that says how things are.
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        !matches!(self.answer, Answer::Unknown | Answer::Refused)
    }
}
