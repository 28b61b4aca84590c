//! A virtual world for thousands of nodes.
//!
//! The machines are the real [`potluck_node::Node`]s and exchange the bytes of the real wire; time,
//! network, disks, calls, clocks and faults are made up from one seed. A [`World`] is that; a
//! [`Scenario`] is a world with a story, [`check`]s that judge it and a [`Report`].
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
//! What a story about members, messages and search has at hand:
//!
//! - **What nodes said.** [`World::messages`] and [`World::member_events`] keep, with virtual times
//!   and over all lives of a node, what it handed to its subscribers and what it said about members,
//!   neighbours and its own isolation. [`World::share_names`] gives it names that search finds.
//! - **What it costs.** [`World::traffic`] counts each node's datagrams and bytes, headers included;
//!   taken twice, [`Traffic::since`] gives what happened in between, as scenario `idle` does.
//! - **Bad lines.** [`World::link_fault`] makes a node lose a share of everything, or be heard by
//!   nobody, or hear nobody; [`World::pair_loss`] spoils one direction of one pair; a partition with
//!   [`Blocks::FirstToSecond`] cuts one way between groups. A story flips them as it likes.
//! - **No processor time.** [`World::pause`] is sleep: the process is told afterwards.
//!   [`World::stall`] and [`World::starve`] are not: it stands still without knowing, and what came
//!   meanwhile comes in one burst.
//! - **Bad rows.** [`World::damage`] flips a bit in what a disk keeps of one key, and nothing says so.
//! - **Another address.** [`World::change_address`] moves a node at once; its old address is dead.
//! - **Behind a router.** [`World::spawn_behind`] puts a node behind a router of its own
//!   ([`nat::NatKind`]: mapping, filter, idle time), through which its datagrams, calls and streams go;
//!   [`World::restart_router`] makes it forget its mappings.
//! - **Members that lie.** [`World::hostile`] adds a member with a valid key, a certificate and a real link
//!   that says only what the story builds, in datagrams ([`World::hostile_ask`]) or calls
//!   ([`World::hostile_call`]), and answers datagrams, calls and streams as its
//!   [`Manners`](hostile::Manners) say ([`World::hostile_manners`]): those of [`hostile`], or a closure.
//!   [`World::hostile_joins`] brings it into the tables of the nodes, [`World::grind`] finds it a place
//!   next to a key; it keeps what it hears ([`World::hostile_came`], [`World::hostile_answers`]).
//!
//! **Invariants:** no OS clock, no hash map, and threads only where they decide nothing (the shards of a
//! [`World`]): the same seed gives the same [`Trace`], event by event, and a failing run prints the line
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
