//! Finding shared files by the words of their names, over the overlay of all nodes.
//!
//! A search goes out in rings of one to four links. Every node knows a Bloom filter of each
//! neighbour's words, so a search's last link is only taken where something may be found, and a
//! ring looks one link farther than it pays for. If all rings found nothing, 192 walkers of 10 steps
//! go at random where it has not been, and look at the filters of all neighbours at each step.
//! Hits come back link by link.
//!
//! **Invariant: a search cannot be aimed at anybody.** No message names an address; hits go only to
//! the neighbour that sent the search, and are taken only from one to which it was sent.
//!
//! Where this differs from Gnutella's dynamic queries (Fisk 2003) and from random walks (Lv et al.
//! 2002, 16 to 64 walkers that check back): walkers leave as one bundle that parts on its way, and
//! there are more of them with fewer steps, since their time is that of their steps; they stop where
//! enough was found instead of asking the origin.

mod filter;
mod links;
mod look;
mod machine;
mod names;
mod own_search;
mod relay;
mod routes;
mod stats;
mod words;

use potluck_base::Contact;
use potluck_wire::SearchRequest;
use potluck_wire::search::QueryId;

use crate::view::FoundFile;

pub use links::LINKS_MAX;
pub use look::LOOKS_MAX;
pub use machine::Search;
pub use names::NAMES_MAX;
pub use routes::{ROUTES_MAX, SEEN_MAX, WAITING_MAX};
pub use stats::Stats;

/// Names a request of this machine to whoever carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Names a request of another node, chosen by whoever brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeId(pub u64);

/// What can happen to the search.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// What this node shares: all of it, in place of what it shared before. At most [`NAMES_MAX`].
    Names(Vec<FoundFile>),
    /// This node shares so many names that whoever carries this machine out has them: each search is
    /// passed to it by [`Output::Look`]. In place of what was shared before.
    NamesElsewhere(usize),
    /// Names that were looked for, at most as many as were asked for; answers one [`Output::Look`].
    Looked {
        /// For which search.
        query: QueryId,
        /// What fits.
        files: Vec<FoundFile>,
    },
    /// The neighbours in the overlay of all nodes: all of them, in place of those before. At most
    /// [`LINKS_MAX`] are used.
    Neighbours(Vec<Contact>),
    /// Look for files whose names these words fit; one [`Output::Found`] or [`Output::Refused`]
    /// answers.
    Search {
        /// Chosen by the caller.
        id: u64,
        /// The words; what is neither letter nor digit parts them.
        words: Vec<String>,
    },
    /// A request came; one [`Output::Answer`] answers, in the same turn.
    Asked {
        /// To be named in the answer.
        serve: ServeId,
        /// Who asks, proved by the link.
        from: Contact,
        /// What.
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

/// What the search wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Ask a node something. It fits in a datagram.
    Ask {
        /// To be named in [`Input::Answered`] or [`Input::Failed`].
        ask: AskId,
        /// Whom.
        to: Contact,
        /// What.
        request: SearchRequest,
    },
    /// Look for names that all these words fit, and answer with one [`Input::Looked`].
    Look {
        /// For which search.
        query: QueryId,
        /// The words, as [`words_of`](potluck_base::words::words_of) makes them.
        words: Vec<String>,
        /// At most so many.
        max: usize,
    },
    /// Answer a request.
    Answer {
        /// Which.
        serve: ServeId,
        /// With `Response::Taken`; if not, with `Response::Refused` and `Refusal::Busy`.
        taken: bool,
    },
    /// A search ended.
    Found {
        /// Which.
        id: u64,
        /// What was found, this node's own first, at most 32 of others. Nobody has checked that the
        /// holders have what they say.
        files: Vec<FoundFile>,
        /// The rings it went through, 1 to 4; 5: walkers too. 0: there are no neighbours.
        rings: u8,
    },
    /// A search was not begun.
    Refused {
        /// Which.
        id: u64,
        /// Why.
        error: SearchError,
    },
}

/// Why a search was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// More than one in five seconds, five at once; or sixteen are under way.
    #[error("too many searches: one in five seconds, five at once")]
    Busy,
    /// No word, more than eight, one of over 32 characters, or over 320 bytes in all.
    #[error("a search is one to eight words of at most 32 letters and digits")]
    Words,
}

#[cfg(test)]
mod tests;
