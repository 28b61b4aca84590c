//! Kademlia: finding the nodes close to a key.
//!
//! A pure machine after Maymounkov & Mazières, "Kademlia" (2002): a table of k-buckets, iterative
//! lookups with alpha requests in flight, refresh of quiet buckets; and the close group, which
//! S/Kademlia (Baumgart & Mies 2007) calls sibling list, so that the holders of a key know each other
//! without lookups.
//!
//! Where we differ, and why:
//! - A contact enters the table only after it answered *us*; contacts that others report are only
//!   asked.
//! - Live contacts are never displaced by newcomers; newcomers wait in a replacement cache.
//! - The close group gets heartbeats with three tries, and any authenticated traffic counts as one.
//! - A lookup has several paths that share no node (S/Kademlia section 4.4): two for a read, four for a write,
//!   eight where the first answer is doubted.
//! - In open networks the nodes of one subnet have few places, and a node that is nearer than the size of the
//!   network lets expect has none.
//! - Requests older than an adaptive soft timeout stop counting against alpha, so that one dead contact
//!   does not delay a lookup (libtorrent has a fixed soft timeout).
//!
//! **Invariant:** the table, the replacement caches, the lookups, their shortlists and traces are
//! bounded; message bytes, addresses' proofs and timeouts of single requests are the link's.

// What others send reaches this code: it must not stop the node (docs/security.md, "Panics").
#![cfg_attr(
    not(test),
    deny(clippy::panic, clippy::unreachable, clippy::get_unwrap, clippy::string_slice,)
)]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod config;
pub mod entry_points;
pub mod event;
pub mod kbucket;
pub mod lookup;
mod lookups;
pub mod machine;
mod named;
mod probes;
pub mod routing_table;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod trace;
mod validate;

pub use config::{Config, ConfigError};
pub use entry_points::{EntryPoint, EntryView, LastResort};
pub use event::{Input, Output, Purpose, QueryId};
pub use lookup::{LookupId, LookupOwner};
pub use machine::{Dht, REMEMBERED_TIMEOUT};
pub use routing_table::{PeerView, TableView};
pub use stats::Stats;
pub use trace::{LookupOutcome, LookupTrace, QueryOutcome, QueryTrace};
