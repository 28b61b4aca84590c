//! The way in and out of a node: sealed datagrams, cookies, rate limits, request ids, retries,
//! round-trip times.
//!
//! A [`Link`] is a pure state machine ([`potluck_base::Machine`]). What it promises:
//!
//! - A request handed on as [`Output::Incoming`] is from the holder of the named key, and a response
//!   as [`Output::Answered`] from the contact that was asked: request id, seal, source address and
//!   key all match.
//! - An address that is not proven never gets more bytes than it sent, and leaves nothing behind
//!   here: no session, no replay window, no ban.
//! - Two strangers need one round trip: the first request is padded so that its answer fits in its
//!   bytes, and the answer brings the cookie that proves the asker's address from then on.
//! - A restart of either side heals by itself: who is forgotten gets a cookie again.
//!
//! With a [`Gatekeeper`], in an `invite` network, further:
//!
//! - A request is handed on only from a key with a certificate of the network's authority that holds
//!   now, and no other machine gets a byte back, except for a request to enroll that proves a ticket.
//! - An answer counts only from such a key. Certificates travel inside the seal: with requests to
//!   who may not know us, and with the answers to these.
//!
//! With a [`PuzzleGate`], in an `open` network, the same holds of keys that solve the network's puzzles,
//! and no other machine gets a byte back.
//!
//! What it does not: forward secrecy, order, delivery. A request may be handled twice (a stranger's
//! datagram that was recorded can be replayed; a try whose answer was lost is repeated under a new
//! id), so handling must be idempotent.

// What others send reaches this code: it must not stop the node (docs/security.md, "Panics").
#![cfg_attr(
    not(test),
    deny(
        clippy::panic,
        clippy::unreachable,
        clippy::get_unwrap,
        clippy::string_slice,
        clippy::indexing_slicing,
    )
)]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod admission;
mod buckets;
mod clocks;
mod config;
mod cookie;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gatekeeper;
mod hellos;
mod keys;
mod link;
mod marks;
mod observed;
mod outputs;
mod paths;
mod puzzle_gate;
mod receive;
mod replay;
mod requests;
mod sessions;
mod stats;
mod timeout;

pub use clocks::ClockOffset;
pub use config::LinkConfig;
pub use gatekeeper::{
    Gatekeeper, ISSUED_AHEAD_MAX_MS, OwnTrouble, REVOCATIONS_MAX, RevocationError,
};
pub use link::{Input, Link, ReplyTo, RequestError, RequestOptions, RequestToken, RespondError};
pub use observed::ObservedAddress;
pub use outputs::Output;
pub use puzzle_gate::PuzzleGate;
pub use stats::LinkStats;
