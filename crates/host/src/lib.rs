//! The real world around a node: its UDP ports with datagrams and QUIC, the OS clock, a disk thread,
//! the data folder, DNS, the local network, and the loop that drives the node's core with all of it.
//!
//! [`start`] makes a node run and gives a [`Handle`]. Of the network's content nothing is known
//! here: bytes are carried, operations are carried out.

mod addresses;
mod clock;
mod disk;
mod drive;
mod error;
pub mod files;
mod finding;
mod folder;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handle;
mod knock;
mod lan;
mod listening;
pub mod membership;
mod memory;
mod puzzles;
mod request;
mod resolve;
mod settings;
pub mod socket;
mod start;
mod stopped;
mod topics;
pub mod transport;
mod verify;
mod watches;

pub use clock::Clock;
pub use disk::StoreView;
pub use drive::DriveStats;
pub use error::StartError;
pub use finding::{Finding, fallback_name};
pub use folder::{NetworkInfo, layout, random_bytes as random_secret};
pub use handle::{
    Events, FormerIdentity, Handle, HostStats, LeaveReport, NodeInfo, ServedProtocol,
};
pub use knock::{EntryReport, Knock, knock};
pub use listening::DEFAULT_LISTEN;
pub use membership::{InviteTerms, IssuedStats, Membership, MembershipError, TicketView};
pub use memory::resident_bytes;
pub use puzzles::{Puzzle, PuzzleProgress};
pub use resolve::{DEFAULT_PORT, EntryPointError, parse_entry_point};
pub use settings::{ByteRates, Keep, Settings, StoreSettings, WantedNetwork};
pub use start::start;
pub use stopped::Stopped;
pub use topics::{
    Delivery, Publishing, QUEUE_BYTES_MAX, QUEUE_MESSAGES_MAX, SUBSCRIPTIONS_MAX, SubscribeError,
    Subscription,
};
pub use verify::{VerifiedFolder, VerifyError, VerifyPart, verify_folder};
pub use watches::{Changes, WATCH_QUEUE_BYTES_MAX, WATCH_QUEUE_MAX, WATCHERS_MAX};
