//! Greetings under way: asking an address for the public key behind it.
//!
//! The answer is not authenticated; a machine on the path can name another key. What is asked of
//! that key afterwards is sealed for it, so a wrong one gains nothing but a place in a lookup.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use potluck_base::{Instant, RoundTrip};

use crate::timeout::timeout;

/// Most greetings under way.
pub(crate) const HELLOS_MAX: usize = 64;
/// Tries of a greeting.
pub(crate) const TRIES: u32 = 3;

#[derive(Debug)]
struct Hello {
    nonce: [u8; 16],
    try_index: u32,
    /// How often it is sent.
    tries: u32,
    deadline: Instant,
}

/// What is to be done about a greeting whose deadline has come.
#[derive(Debug, PartialEq)]
pub(crate) enum Due {
    /// Send it again.
    Again(SocketAddr, [u8; 16]),
    /// No answer came.
    Failed(SocketAddr),
}

/// All greetings under way.
#[derive(Debug, Default)]
pub(crate) struct Hellos {
    entries: BTreeMap<SocketAddr, Hello>,
    deadlines: BTreeSet<(Instant, SocketAddr)>,
}

impl Hellos {
    /// Whether this address is being greeted.
    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.entries.contains_key(&address)
    }

    /// Enters a greeting, whose first datagram is sent now.
    pub(crate) fn start(&mut self, now: Instant, address: SocketAddr, nonce: [u8; 16], tries: u32) {
        let deadline = now + timeout(&RoundTrip::default(), 0, &RoundTrip::default());
        self.deadlines.insert((deadline, address));
        self.entries.insert(address, Hello { nonce, try_index: 0, tries, deadline });
    }

    /// Takes the greeting out that `nonce` from `address` answers; false if there is none.
    pub(crate) fn finish(&mut self, address: SocketAddr, nonce: &[u8; 16]) -> bool {
        let Some(hello) = self.entries.get(&address).filter(|hello| hello.nonce == *nonce) else {
            return false;
        };
        self.deadlines.remove(&(hello.deadline, address));
        self.entries.remove(&address);
        true
    }

    /// A greeting whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let (deadline, address) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        let hello = self.entries.get_mut(&address)?;
        hello.try_index += 1;
        if hello.try_index >= hello.tries {
            self.entries.remove(&address);
            return Some(Due::Failed(address));
        }
        hello.deadline =
            now + timeout(&RoundTrip::default(), hello.try_index, &RoundTrip::default());
        self.deadlines.insert((hello.deadline, address));
        Some(Due::Again(address, hello.nonce))
    }

    /// When the next greeting runs out of patience.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
