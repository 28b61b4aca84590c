//! The HTTP API of a node.
//!
//! A client that can reach the port is not trusted: `guard` decides which requests are allowed,
//! `server` bounds how many are served at once and for how long, and every body has a limit. Errors
//! are problem details (RFC 9457) that carry the exit code of the command line.

mod activity;
mod admin;
mod admission;
mod app;
mod condition;
mod dashboard;
mod debug;
mod doctor;
mod events;
mod extract;
mod files;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod gossip;
mod guard;
mod health;
mod inspect;
mod kept;
mod keys;
mod kinds;
mod kv;
mod listener;
mod live;
mod members;
mod metrics;
mod openapi;
mod overview;
mod problem;
mod reload;
mod reply;
mod search;
mod server;
mod settings;
mod sse;
mod teams;
mod topics;
mod views;
mod watches;

pub(crate) use app::{App, StopReason};
pub(crate) use files::{clear_uploads, go_on_with_fetches};
pub(crate) use listener::bind;
pub(crate) use live::Fresh;
pub(crate) use overview::{glance, go_on as watch};
pub(crate) use search::words as search_words;
pub(crate) use server::serve;
