//! The commands that ask a running node, and the simulator.

pub(crate) mod admission;
mod backup;
pub(crate) mod del;
mod download;
pub(crate) mod export;
pub(crate) mod fetch;
pub(crate) mod files;
pub(crate) mod get;
pub(crate) mod import;
pub(crate) mod ls;
pub(crate) mod members;
pub(crate) mod merge;
pub(crate) mod network;
mod progress;
pub(crate) mod publish;
pub(crate) mod put;
pub(crate) mod search;
mod settings;
pub(crate) mod share;
mod siblings;
pub(crate) mod sim;
pub(crate) mod status;
pub(crate) mod subscribe;
pub(crate) mod table;
pub(crate) mod trace;
mod upload;
mod value;
