//! Kademlia: who is close to a key.
//!
//! A pure machine after Maymounkov & Mazières, "Kademlia" (2002): a table of k-buckets, iterative
//! lookups with alpha requests in flight, refresh of quiet buckets; and the sibling list of
//! S/Kademlia (Baumgart & Mies 2007), so that the holders of a key know each other without lookups.
//!
//! Where we differ, and why:
//! - A contact enters the table only after it answered *us*; what others report is only asked.
//! - Live contacts are never displaced by newcomers; newcomers wait in a replacement cache.
//! - Siblings get heartbeats with three tries, and any authenticated traffic counts as one.
//! - Requests that take longer than usual stop counting against alpha, so that one dead contact
//!   does not hold a lookup up (libtorrent's soft timeout, made adaptive).
//!
//! **Invariant:** the table, the replacement caches, the lookups, their shortlists and traces are
//! bounded; message bytes, addresses' proofs and timeouts of single requests are the link's.

pub mod config;
pub mod entry_points;
pub mod kbucket;
pub mod lookup;
mod lookups;
pub mod machine;
mod probes;
pub mod routing_table;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod trace;

pub use config::{Config, ConfigError};
pub use entry_points::{EntryPoint, EntryView, LastResort};
pub use lookup::LookupId;
pub use machine::{Dht, Input, Output, Purpose, QueryId, REMEMBERED_PATIENCE};
pub use routing_table::{PeerView, TableView};
pub use stats::Stats;
pub use trace::{LookupOutcome, LookupTrace, QueryOutcome, QueryTrace};
