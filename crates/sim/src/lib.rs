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
//! assert!(matches!(status, Some(Reply::Status(status)) if status.ready));
//! ```
//!
//! **Invariants:** no OS clock, no thread, no hash map: the same seed gives the same
//! [`Trace`], event by event, and a failing run prints the line that repeats it.

pub mod batch;
mod calls;
pub mod check;
mod disk;
mod network;
mod queue;
mod report;
mod scenario;
pub mod scenarios;
mod sim_node;
mod torment;
mod trace;
pub mod workload;
mod world;

pub use calls::{CallConfig, CallStats};
pub use disk::{Disk, DiskConfig, DiskFault};
pub use network::{Blocks, NetworkConfig, NetworkStats, PartitionId};
pub use report::{Report, Value};
pub use scenario::{Params, STABILISATION, Scenario, ScenarioError};
pub use scenarios::run;
pub use sim_node::{NodeIndex, SimNode};
pub use torment::{Torment, Tormentor};
pub use trace::{Trace, TraceHash};
pub use world::{FetchEnd, Line, Outcome, Seen, StrangerStats, World, WorldConfig, WorldStats};
