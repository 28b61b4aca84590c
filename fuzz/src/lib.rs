//! Hostile input against everything that reads what others wrote: decoders, texts, machines, files.
//!
//! A target is fed mutations of well-formed samples and of a committed corpus. What it must do with each
//! input stands in its function: end without a panic, within a bound of time and memory, and with a value
//! that is the same after it was written and read again. [`outcome`] tells what an input led to, so that
//! inputs that lead to something new are mutated further.
//!
//! **Invariant:** the same seed and corpus give the same inputs, so that a failure is replayed.

mod cbor;
mod clock;
pub mod corpus;
mod engine;
pub mod libfuzzer;
mod mutate;
pub mod outcome;
mod samples;
mod script;
mod shell;
mod target;
mod targets;

pub use engine::{Plan, Report, minimised, replay, run};
pub use mutate::Form;
pub use target::{Feed, Memory, Target};

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

pub use targets::TARGETS;
