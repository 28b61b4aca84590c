//! Fetching from many sources: links, manifests of folders, and the machine that fetches and serves
//! blobs.
//!
//! The machine never handles the bytes of a blob. It finds nodes that have the blob, asks which granules they
//! have, decides which granules to request from which node and when, and is notified of each granule after it
//! was verified and stored. Streams that other nodes opened are queued here.
//!
//! Where we differ from BitTorrent (Cohen, "Incentives Build Robustness in BitTorrent", 2003): a fetching
//! node asks its sources which granules they have, at its own pace, instead of being notified of every piece,
//! so no peer can flood it with announcements; and granules are verified in groups of 64 KiB against one hash
//! tree, so that their size only matters for scheduling.
//!
//! **Invariants:** a granule counts as stored only after the shell reported that it was verified; a size
//! counts as known only after the last granule was verified; a source that sent false data is never asked
//! again in the same fetch; every list has a limit.

// What others send reaches this code: it must not stop the node (docs/security.md, "Panics").
#![cfg_attr(not(test), deny(clippy::panic, clippy::unreachable, clippy::get_unwrap))]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod alike;
mod command;
mod config;
mod fetch;
mod holdings;
pub mod link;
mod lost;
mod machine;
pub mod manifest;
mod many;
mod pace;
pub mod path;
mod pick;
mod shunned;
mod source;
#[cfg(test)]
mod testing;

pub use command::{
    AskId, Begin, FULL_SOURCES_MAX, FetchError, FetchId, FetchReport, FetchView, Gone, HINTS_MAX,
    Input, Output, ServeId, TransferEnd, TransferId,
};
pub use config::Config;
pub use link::{FileLink, LinkError, LinkKind};
pub use machine::{Stats, Swarm};
pub use manifest::{Manifest, ManifestError, ManifestFile};
pub use many::{ANNOUNCED_MAX, many_root};
