//! One pure machine that connects link, dht, kv, swarm and gossip: routing and priority only.
//!
//! The real shell (`host`) and the simulator (`sim`) drive the same [`Node`] through the machine
//! contract of `potluck_base::machine`.

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

pub mod ask;
mod cached;
pub mod command;
pub mod config;
pub mod input;
pub mod node;
pub mod output;
pub mod price;
pub mod settings;
pub mod view;

pub use ask::{Ask, AskError};
pub use command::{Apply, Command, CommandError, CommandId, Put, Reply, WriteContext};
pub use config::{Config, ConfigError};
pub use input::{CallId, EnrolmentId, InboundId, Input};
pub use node::{Node, Start};
pub use output::{Event, Output};
pub use price::PriceStats;
pub use view::{AddressSource, OwnAddress};
