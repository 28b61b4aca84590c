//! Swarms: one file in pieces, from one seed to many readers that exchange pieces.

mod closed;
mod open;

pub use closed::{Closed, Finish, Policy, finish};
pub use open::{Open, peers_present};
