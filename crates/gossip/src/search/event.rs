//! Inputs and outputs of the search machine.

use potluck_base::Contact;
use potluck_wire::SearchRequest;
use potluck_wire::search::QueryId;

use crate::view::FoundFile;

/// Identifies a request of this node, for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Identifies a request of another node, chosen by the caller of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeId(pub u64);

/// What can happen to the search.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The files that this node shares, in place of those before. At most [`NAMES_MAX`].
    Names(Vec<FoundFile>),
    /// The number of files that this node shares, in place of those before, if they are too many to
    /// be held here: the caller of this machine has their names, and is asked for each search by
    /// [`Output::Look`].
    NamesElsewhere(usize),
    /// The result of one [`Output::Look`], at most as many files as were asked for.
    Looked {
        /// The search.
        query: QueryId,
        /// The files that match.
        files: Vec<FoundFile>,
    },
    /// All neighbours in the overlay of all nodes, in place of those before. At most [`LINKS_MAX`]
    /// are used.
    Neighbours(Vec<Contact>),
    /// Searches for files whose names match all words; answered by one [`Output::Found`] or
    /// [`Output::Refused`].
    Search {
        /// Chosen by the caller.
        id: u64,
        /// The words, separated by all characters that are neither letters nor digits.
        words: Vec<String>,
    },
    /// A request of another node; answered by one [`Output::Answer`] in the same turn.
    Asked {
        /// Identifies the request in the answer.
        serve: ServeId,
        /// The requester, proved by the link.
        from: Contact,
        /// The request.
        request: SearchRequest,
    },
    /// A request was answered with `Response::Taken`.
    Answered {
        /// The request.
        ask: AskId,
    },
    /// A request was refused, or got no answer after all its tries.
    Failed {
        /// The request.
        ask: AskId,
    },
    /// The announced deadline came.
    Timeout,
}

/// What the search asks its caller to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Sends a request, which fits in a datagram.
    Ask {
        /// Identifies the request in [`Input::Answered`] or [`Input::Failed`].
        ask: AskId,
        /// The node to ask.
        to: Contact,
        /// The request.
        request: SearchRequest,
    },
    /// Looks up names that match all words, answered by one [`Input::Looked`].
    Look {
        /// The search.
        query: QueryId,
        /// The words, as [`words_of`](potluck_base::words::words_of) makes them.
        words: Vec<String>,
        /// The most files to return.
        max: usize,
    },
    /// Answers a request.
    Answer {
        /// The request.
        serve: ServeId,
        /// True: `Response::Taken`; false: `Response::Refused` with `Refusal::Busy`.
        taken: bool,
    },
    /// A search ended.
    Found {
        /// The search.
        id: u64,
        /// The files found, this node's own first, at most 32 of others. No node has verified that
        /// the holders have them.
        files: Vec<FoundFile>,
        /// How far the search went: 0 no neighbours, 1–4 the last ring asked, 5 random walkers.
        rings: u8,
    },
    /// A search was not begun.
    Refused {
        /// The search.
        id: u64,
        /// The reason.
        error: SearchError,
    },
}

/// Why a search was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// More than one search in five seconds, with a burst of five; or sixteen are under way.
    #[error("too many searches: one in five seconds, five at once")]
    Busy,
    /// No word, more than eight, one of over 32 characters, or over 320 bytes in all.
    #[error("a search is one to eight words of at most 32 letters and digits")]
    Words,
}
