//! Closed formulas from the papers: what a network costs and survives, without a simulation.
//!
//! Units are in the names: `_seconds`, `_bytes`; rates are per second; a share is from 0 to 1. Every function
//! bounds its arguments, so that no input gives an infinity or a NaN unless the function's documentation says
//! so.

mod distribution;
mod gossip;
mod lookup;
mod loss;
mod upkeep;

pub use distribution::{
    client_server_seconds, peer_to_peer_seconds, swarm_is_stable, swarm_rounds,
    swarm_steady_seconds,
};
pub use gossip::{
    detection_seconds, first_detection_periods, push_pull_rounds, push_rounds, tree_depth,
};
pub use lookup::{
    chord_hops, hops, lookup_seconds, pastry_hops, read_seconds, requests, rounds, table_contacts,
};
pub use loss::{lost_a_year, lost_at_once, replicas_for};
pub use upkeep::{
    Files, check_bytes_a_second, files_fit, memory_bytes, repair_bytes_a_second, stale_share,
    unique_bytes_max,
};
