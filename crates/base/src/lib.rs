//! The shared vocabulary of Potluck.
//!
//! Ids and distances, identities, contacts, virtual time, seeded randomness, bounded collections
//! and the contract every protocol machine keeps. This crate knows no protocol and performs no
//! I/O; everything above it speaks in its words.
//!
//! **Invariant:** nothing here reads a clock, a socket, a file or a global random source.

// What others send reaches this code: it must not stop the node (docs/security.md, "Panics").
#![cfg_attr(
    not(test),
    deny(clippy::panic, clippy::unreachable, clippy::get_unwrap, clippy::string_slice,)
)]

pub mod address;
pub mod blob;
pub mod bounded;
pub mod contact;
pub mod defences;
pub mod diversity;
pub mod granules;
mod hex;
pub mod histogram;
pub mod id;
pub mod keys;
pub mod lru;
pub mod machine;
pub mod network;
mod order;
pub mod puzzle;
pub mod rate;
pub mod rng;
pub mod round_trip;
pub mod signature_memo;
pub mod stamp;
pub mod statistics;
pub mod time;
pub mod token_bucket;
pub mod words;

pub use address::{
    AddressScope, LocalAddress, is_dialable, is_global, is_private, is_unicast, nearest_first,
};
pub use blob::{BlobId, Division, GROUP_BYTES};
pub use bounded::BoundedQueue;
pub use contact::{ADDRESSES_MAX, Address, Addresses, Contact, ContactError, Peer};
pub use defences::Defences;
pub use diversity::{Diversity, SubnetLimit, spread_out};
pub use granules::GranuleSet;
pub use id::{BucketIndex, Distance, IdError, Key, NodeId, Salt, SaltError};
pub use keys::{Identity, KeyError, PublicKey, SharedSecret, Signature};
pub use lru::LruMap;
pub use machine::Machine;
pub use network::{Admission, NetworkId};
pub use puzzle::{Difficulty, DifficultyError, PuzzleEpoch};
pub use rate::Rate;
pub use rng::Rng;
pub use round_trip::RoundTrip;
pub use time::{Deadline, Instant, UnixMillis};
pub use token_bucket::TokenBucket;
