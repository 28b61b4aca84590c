//! Simulations of overlays and swarms with millions of nodes, as plain arrays, and the formulas of the
//! papers.
//!
//! They are written from the papers, not from the product's code: a simulator that shares a bug with the
//! tested code proves nothing. They use no wire format, clock or thread; the same seed gives the same figures
//! on every machine.

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
