//! Gossip: rounds until all nodes know, failure detection, and overlays that survive mass failure.

mod hyparview;
mod spread;

pub use hyparview::{Healing, heal};
pub use spread::{first_detection, push, push_pull, tree};
