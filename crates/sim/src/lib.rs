//! A virtual world for thousands of nodes.
//!
//! The machines are the real [`potluck_node::Node`]s, and they exchange the bytes of the real protocol. Time,
//! network, disks, calls, clocks and faults are simulated from one seed by a [`World`]. A [`Scenario`] is a
//! world with a workload, faults, [`check`]s that judge it, and a [`Report`].
//!
//! ```
//! use std::time::Duration;
//! use potluck_node::{Command, Reply};
//! use potluck_sim::{World, WorldConfig};
//!
//! let mut world = World::new(WorldConfig::new(1));
//! let nodes = world
//!     .form(5, Duration::from_secs(1), Duration::from_secs(30))
//!     .expect("all nodes join");
//! let status = world.ask(nodes[4], Command::Status, Duration::from_secs(1));
//! assert!(matches!(status, Some(Reply::Status(status)) if status.joined));
//! ```
//!
//! Tools for scenarios about members, messages and search:
//!
//! - **Reports of nodes.** [`World::messages`] and [`World::member_events`] keep, with virtual times and over
//!   all lives of a node, its deliveries to subscribers and its reports about members, neighbours and its own
//!   isolation. [`World::share_names`] gives it names that search finds.
//! - **Traffic.** [`World::traffic`] counts each node's datagrams and bytes, headers included;
//!   [`Traffic::since`] is the difference of two counts, as in scenario `idle`.
//! - **Bad lines.** [`World::link_fault`] makes a node lose a share of all datagrams, or cuts its sending or
//!   its receiving direction; [`World::pair_loss`] sets the loss of one direction of one pair; a partition
//!   with [`Blocks::FirstToSecond`] cuts one direction between groups.
//! - **No processor time.** After [`World::pause`], a sleep, the process is told that it slept. After
//!   [`World::stall`] and [`World::starve`] it is not told, and everything that arrived meanwhile comes in
//!   one burst.
//! - **Bad rows.** [`World::damage`] flips a bit in the stored envelopes of one key, without an error.
//! - **Another address.** [`World::change_address`] moves a node at once; its old address no longer works.
//! - **Behind a router.** [`World::spawn_behind`] puts a node behind a router of its own ([`nat::NatKind`]:
//!   mapping, filter, idle time), through which its datagrams, calls and streams go;
//!   [`World::restart_router`] makes the router forget its mappings.
//! - **Hostile members.** [`World::hostile`] adds a member with a valid key, a certificate and a real link
//!   that sends only what the scenario builds, in datagrams ([`World::hostile_ask`]) or calls
//!   ([`World::hostile_call`]). It answers datagrams, calls and streams by its [`Manners`](hostile::Manners)
//!   ([`World::hostile_manners`]): those of [`hostile`], or a closure. [`World::hostile_joins`] puts it into
//!   the tables of the nodes, and [`World::grind`] finds a key for it next to a given key. It keeps what it
//!   receives ([`World::hostile_came`], [`World::hostile_answers`]).
//!
//! **Invariants:** no OS clock, no hash map, and threads only where they do not affect results (the shards of
//! a [`World`]): the same seed gives the same [`Trace`], event by event, and a failing run prints the command
//! that repeats it.

pub mod batch;
mod calls;
pub mod check;
mod chronicle;
mod disk;
mod draws;
pub mod hostile;
mod lines;
pub mod nat;
mod network;
mod queue;
mod report;
mod scenario;
pub mod scenarios;
mod sim_node;
mod tape;
mod torment;
mod trace;
pub mod workload;
mod world;

pub use calls::{CallConfig, CallStats};
pub use disk::{Disk, DiskConfig, DiskFault};
pub use lines::NetworkStats;
pub use network::{Blocks, LinkFault, NetworkConfig, PartitionId};
pub use report::{Report, Value};
pub use scenario::{Params, STABILISATION, Scenario, ScenarioError};
pub use scenarios::run;
pub use sim_node::{NodeIndex, SimNode};
pub use tape::Tape;
pub use torment::{Torment, Tormentor};
pub use trace::{Trace, TraceHash};
pub use world::{
    FetchEnd, HostileIndex, HostileStats, Line, Outcome, Seen, Solves, StrangerStats, Traffic,
    World, WorldConfig, WorldStats,
};
