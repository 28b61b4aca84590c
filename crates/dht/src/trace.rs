//! What a lookup did, for people: who was asked, when, and what came back.

use std::time::Duration;

use potluck_base::{Instant, Key, NodeId, Peer};

/// How one request of a lookup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryOutcome {
    /// Still under way when the lookup ended.
    Pending,
    /// Answered, with so many contacts that were news.
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
    /// Who was asked.
    pub peer: Peer,
    /// On which disjoint path; always 0 while lookups have one path.
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
    /// Whoever asked had enough.
    Satisfied,
    /// Nobody answered.
    Exhausted,
    /// Its requests or its time ran out.
    OutOfBudget,
}

impl LookupOutcome {
    /// The word used in answers to people.
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
    /// What it aimed at.
    pub target: Key,
    /// What it was for.
    pub why: &'static str,
    /// When it began.
    pub started: Instant,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub outcome: LookupOutcome,
    /// The most answers in a row that led to one of the closest: 0 if nobody had to be asked.
    pub hops: u8,
    /// Every request, in order.
    pub queries: Vec<QueryTrace>,
    /// The closest that answered, closest first.
    pub closest: Vec<NodeId>,
}
