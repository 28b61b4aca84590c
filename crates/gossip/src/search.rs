//! Search for shared files by the words of their names, over the overlay of all nodes.
//!
//! A search goes out in rings of one to four hops. Every node knows a Bloom filter of each
//! neighbour's words, so a search takes its last hop only where something may be found, and a ring
//! looks one hop farther than it pays for. If no ring found anything, 192 walkers of 10 steps walk
//! at random through nodes that the search has not reached, and check the filters of all neighbours
//! at each step. Hits return hop by hop.
//!
//! **Invariant: a search cannot be aimed at a node.** No message names an address; hits go only to
//! the neighbour that sent the search, and are accepted only from one to which it was sent.
//!
//! Where we differ from Gnutella's dynamic queries (Fisk 2003) and from random walks (Lv et al.
//! 2002, 16 to 64 walkers that check back): walkers leave as one bundle that splits on its way, and
//! there are more of them with fewer steps, since each step takes time; they stop where enough was
//! found instead of asking the origin.

mod event;
mod filter;
mod links;
mod look;
mod machine;
mod names;
mod own_search;
mod reach;
mod relay;
mod rings;
mod routes;
mod stats;
mod words;

pub use event::{AskId, Input, Output, SearchError, ServeId};
pub use links::LINKS_MAX;
pub use look::LOOKS_MAX;
pub use machine::Search;
pub use names::NAMES_MAX;
pub use routes::{ROUTES_MAX, SEEN_MAX, WAITING_MAX};
pub use stats::Stats;

#[cfg(test)]
mod tests;
