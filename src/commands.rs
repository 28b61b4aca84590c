//! The commands that ask a running node, and the simulator.

pub(crate) mod del;
pub(crate) mod get;
pub(crate) mod merge;
pub(crate) mod network;
pub(crate) mod put;
mod siblings;
pub(crate) mod sim;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod trace;
mod value;
