//! Fetching from many sources: links, manifests of folders, and the machine that fetches and serves
//! blobs.
//!
//! The machine never sees a byte of a blob. It finds nodes that have one, asks which granules they
//! have, decides which granules to request from which node and when, and is notified of each
//! granule once it is verified and stored. The streams of other nodes are queued here.
//!
//! Where we differ from BitTorrent (Cohen, "Incentives Build Robustness in BitTorrent", 2003): a
//! node that fetches asks its neighbours what they have, at its own pace, instead of being told of
//! every piece, so that no peer can flood it with announcements; and granules are verified in
//! groups of 64 KiB against one hash tree, so that their size is a matter of scheduling alone.
//!
//! **Invariants:** a granule counts as here only when the shell says that it was verified; a size
//! counts as known only when the last granule was; a source that sent something false is never
//! asked again in the same fetch; every list has a limit.

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
