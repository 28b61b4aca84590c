//! Level 0: networks of up to ten million nodes whose tables are not stored.
//!
//! A node is its id, 8 bytes. The contents of its table are a function of the node, the bucket and the seed,
//! and are computed again each time. So the nodes do not change; a share of them can be dead, which gives
//! tables as they are right after a failure.
//!
//! Ids are the first 64 bits of the ids of a real network. Among ten million, two are equal with a
//! probability of 3e-6.

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

/// Most nodes of a network at this level. Each takes 12 bytes.
pub const NODES_MAX: usize = 20_000_000;
