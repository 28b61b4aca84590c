//! Level 1: networks of a million nodes that come and go, as plain arrays.
//!
//! A node is some bytes of state and a table of 4 bytes a contact; a message is 16 bytes in a timer wheel.
//! Requests of lookups, joins, deaths and repairs are played one by one. Checks of contacts are counted and
//! not played: an entry of a table is what its last check left, a node that lived at that time, drawn when
//! the entry is first read after it.
//!
//! Virtual time is in milliseconds. Draws are by counter, so the same seed gives the same run.

mod census;
mod churn;
mod latency;
mod lookups;
mod overlay;
mod records;
mod tables;
mod traffic;
mod wheel;
mod world;

pub use churn::Churn;
pub use overlay::Overlay;
pub use traffic::{CHECK_BYTES, Traffic};
pub use world::{Outcome, Setting, run};

/// Most nodes of a network at this level: the number of a node has 24 bits, and a table takes about 1 kB.
pub const NODES_MAX: usize = 4_000_000;
/// Most virtual minutes of a run: the wheel reaches this far.
pub const MINUTES_MAX: u64 = 270;

/// A point of virtual time, or a span of it, in milliseconds.
type Millis = u32;
/// When runs begin: nodes that are there already were born up to 12 days before.
const START: Millis = 1 << 30;
