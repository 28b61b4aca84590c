//! Level 1: networks of a million nodes that come and go, as plain arrays.
//!
//! A node is a few bytes of state and a table with 4 bytes per contact; a message is 16 bytes in a timer
//! wheel. Requests of lookups, joins, deaths and repairs are simulated individually. Checks of contacts are
//! counted and not simulated: an entry of a table is the result of its last check, a node that lived at that
//! time, drawn when the entry is first read after the check.
//!
//! Virtual time is in milliseconds. Random numbers are drawn by counter, so the same seed gives the same run.

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
/// Most virtual minutes of a run: the range of the timer wheel.
pub const MINUTES_MAX: u64 = 270;

/// A point of virtual time, or a span of it, in milliseconds.
type Millis = u32;
/// The time at which runs begin. The first nodes were born up to 12 days before.
const START: Millis = 1 << 30;
