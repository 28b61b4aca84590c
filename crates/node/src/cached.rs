//! A machine whose next deadline is computed once after each change.
//!
//! A node asks all its parts for their next deadlines after each datagram, and most datagrams change one or
//! two of them.
//!
//! **Invariant:** what is remembered is what the machine says. Every way to change the machine forgets it,
//! but taking an output, which by the contract of a machine moves no deadline; debug builds compare.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use potluck_base::{Deadline, Machine};

/// See the module.
#[derive(Debug)]
pub(crate) struct Cached<M> {
    machine: M,
    /// `None` if it is to be computed.
    deadline: Cell<Option<Option<Deadline>>>,
}

impl<M: Machine> Cached<M> {
    pub(crate) const fn new(machine: M) -> Self {
        Self { machine, deadline: Cell::new(None) }
    }

    /// The next output of the machine.
    pub(crate) fn poll_output(&mut self) -> Option<M::Output> {
        self.machine.poll_output()
    }

    /// The next deadline of the machine.
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        if let Some(known) = self.deadline.get() {
            debug_assert_eq!(known, self.machine.poll_timeout(), "a deadline moved unseen");
            return known;
        }
        let deadline = self.machine.poll_timeout();
        self.deadline.set(Some(deadline));
        deadline
    }

    /// Whether that has come.
    pub(crate) fn is_due(&self, now: potluck_base::Instant) -> bool {
        self.poll_timeout().is_some_and(|deadline| deadline.at <= now)
    }
}

impl<M> Deref for Cached<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.machine
    }
}

impl<M> DerefMut for Cached<M> {
    fn deref_mut(&mut self) -> &mut M {
        self.deadline.set(None);
        &mut self.machine
    }
}
