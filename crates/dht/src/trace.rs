//! The trace of a lookup, for diagnosis: its requests, their times and answers.

use std::time::Duration;

use potluck_base::{Instant, Key, NodeId, Peer};

/// How one request of a lookup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryOutcome {
    /// Still under way when the lookup ended.
    Pending,
    /// It was answered.
    Answered {
        /// Contacts that the lookup had not seen before.
        news: usize,
    },
    /// No answer after all tries.
    TimedOut,
}

/// One request of a lookup.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryTrace {
    /// The node that was asked.
    pub peer: Peer,
    /// On which disjoint path, from 0.
    pub path: u8,
    /// How many answers led here: 1 for contacts of the own table.
    pub hop: u8,
    /// When it was asked, after the lookup's start.
    pub after: Duration,
    /// How long the answer took.
    pub took: Option<Duration>,
    /// How it ended.
    pub outcome: QueryOutcome,
}

/// How a lookup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupOutcome {
    /// The closest nodes wanted have all answered, or all that are known.
    Converged,
    /// The requester needed no further answers.
    Satisfied,
    /// No node answered.
    Exhausted,
    /// Its requests or its time ran out.
    OutOfBudget,
}

impl LookupOutcome {
    /// The word for it in the JSON of the HTTP interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Satisfied => "satisfied",
            Self::Exhausted => "exhausted",
            Self::OutOfBudget => "out of budget",
        }
    }
}

/// A finished lookup.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupTrace {
    /// The target.
    pub target: Key,
    /// The reason for the lookup.
    pub why: &'static str,
    /// When it began.
    pub started: Instant,
    /// Its duration.
    pub took: Duration,
    /// How it ended.
    pub outcome: LookupOutcome,
    /// The longest chain of answers that led to one of the closest nodes: 0 if no node was asked.
    pub hops: u8,
    /// Every request, in order.
    pub queries: Vec<QueryTrace>,
    /// The closest nodes that answered, closest first.
    pub closest: Vec<NodeId>,
}
