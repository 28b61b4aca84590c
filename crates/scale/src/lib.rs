//! Overlays and swarms of millions of nodes, as plain arrays, and the models of the papers beside them.
//!
//! Written from the papers, not from the product's code: a simulator that shares a bug with what it tests
//! proves nothing. Nothing here knows a wire format, a clock or a thread; the same seed gives the same
//! figures on every machine.

pub mod advise;
pub mod compact;
pub mod draw;
pub mod find;
pub mod gossip;
pub mod implicit;
pub mod model;
pub mod plan;
pub mod report;
pub mod sample;
pub mod studies;
pub mod swarm;
