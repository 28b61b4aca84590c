//! Level 0: networks of up to ten million nodes whose tables are not stored.
//!
//! A node is its id, 8 bytes. What its table holds is a function of the node, the bucket and the seed, and
//! is derived again each time it is asked. So the nodes do not change: a share of them can be dead, which is
//! what tables look like right after a failure.
//!
//! Ids are the first 64 bits of those of a real network. Two of ten million are equal with a probability of
//! 3e-6.

mod chord;
mod disjoint;
mod kademlia;
mod pastry;
mod ring;
mod study;

pub use disjoint::{Clean, Paths, clean_paths};
pub use kademlia::{Kademlia, Lookup};
pub use ring::Ring;
pub use study::{Found, Routing, Setting, measure};

/// Most nodes of a network at this level: 12 bytes each.
pub const NODES_MAX: usize = 20_000_000;
