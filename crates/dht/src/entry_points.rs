//! Where to enter the network: contacts, addresses and DNS names that are tried for ever.
//!
//! An entry point that is not in the table is tried again with growing pauses, DNS names resolved
//! anew each time. Contacts remembered from the last run are entry points too. A node that has
//! lost everybody therefore always finds back once any of them answers.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Contact, Deadline, Instant, NetworkId, PublicKey, Rng};

use crate::routing_table::RoutingTable;

/// Most entry points, remembered contacts included.
const ENTRY_POINTS_MAX: usize = 256;

/// What became of an entry point, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryView {
    /// The entry point.
    pub point: EntryPoint,
    /// How many times it was tried.
    pub tries: u32,
    /// Whether it has answered since the start.
    pub answered: bool,
    /// Whether the node is not complete without it: it was named, and is not only one of those of the
    /// last run, which may be gone for good.
    pub awaited: bool,
    /// The addresses of a DNS name; none while it does not resolve.
    pub addresses: Vec<SocketAddr>,
}

/// One way into the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryPoint {
    /// A node known by key and address.
    Contact(Contact),
    /// An address whose key is learnt on first contact.
    Address(SocketAddr),
    /// A DNS name with its port, `name:port`.
    Name(String),
}

#[derive(Debug, Clone)]
struct Attempt {
    point: EntryPoint,
    /// Who answered there last; an address or name is known by this.
    contact: Option<Contact>,
    next: Instant,
    pause: Duration,
    /// Whether it is a contact of the last run.
    remembered: bool,
    /// Whether somebody named it, so that it is tried for ever.
    named: bool,
    tries: u32,
    answered: bool,
    /// What a DNS name resolved to the last time.
    addresses: Vec<SocketAddr>,
}

/// All entry points with their next attempts.
#[derive(Debug, Clone)]
pub(crate) struct EntryPoints {
    attempts: Vec<Attempt>,
    pause_min: Duration,
    pause_max: Duration,
    rng: Rng,
}

impl EntryPoints {
    pub(crate) fn new(pause_min: Duration, pause_max: Duration, rng: Rng) -> Self {
        Self { attempts: Vec::new(), pause_min, pause_max, rng }
    }

    /// Adds one, to be tried at once. False if it is known or there are too many.
    pub(crate) fn add(&mut self, now: Instant, point: EntryPoint, remembered: bool) -> bool {
        if let Some(known) = self.attempts.iter_mut().find(|attempt| attempt.point == point) {
            // Named as well, one of the last run is no less of an entry point.
            known.remembered |= remembered;
            known.named |= !remembered;
            return false;
        }
        if self.attempts.len() >= ENTRY_POINTS_MAX {
            return false;
        }
        let contact = match &point {
            EntryPoint::Contact(contact) => Some(*contact),
            EntryPoint::Address(_) | EntryPoint::Name(_) => None,
        };
        let pause = self.pause_min;
        self.attempts.push(Attempt {
            point,
            contact,
            next: now,
            pause,
            remembered,
            named: !remembered,
            tries: 0,
            answered: false,
            addresses: Vec::new(),
        });
        true
    }

    /// The entry points that somebody named.
    pub(crate) fn configured(&self, network: &NetworkId, table: &RoutingTable) -> Vec<EntryView> {
        let named = self.attempts.iter().filter(|attempt| attempt.named);
        // Who was known before is not tried.
        let in_table =
            |contact: Contact| table.entry(&contact.public_key.node_id(network)).is_some();
        let view = |attempt: &Attempt| EntryView {
            point: attempt.point.clone(),
            tries: attempt.tries,
            answered: attempt.answered || attempt.contact.is_some_and(in_table),
            awaited: !attempt.remembered,
            addresses: attempt.addresses.clone(),
        };
        named.map(view).collect()
    }

    /// Contacts of the last run.
    pub(crate) fn remembered(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.remembered).count()
    }

    /// Somebody proved itself: the entry points that name it have answered.
    pub(crate) fn answered(&mut self, key: &PublicKey) {
        for attempt in &mut self.attempts {
            let named = attempt.contact.is_some_and(|contact| contact.public_key == *key);
            attempt.answered |= named;
        }
    }

    /// The addresses of a DNS name, none if it does not resolve.
    pub(crate) fn resolved(&mut self, name: &str, addresses: &[SocketAddr]) {
        for attempt in &mut self.attempts {
            if matches!(&attempt.point, EntryPoint::Name(known) if known == name) {
                attempt.addresses = addresses.to_vec();
            }
        }
    }

    /// Whether there is any without which the node is not complete.
    pub(crate) fn any_configured(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.named && !attempt.remembered)
    }

    /// Whether there is any, named or remembered.
    pub(crate) fn any(&self) -> bool {
        !self.attempts.is_empty()
    }

    /// Notes who answered at an address, so that it is left alone while it is in the table.
    pub(crate) fn learned(&mut self, address: SocketAddr, contact: Contact) {
        for attempt in &mut self.attempts {
            if attempt.point == EntryPoint::Address(address) {
                attempt.contact = Some(contact);
                attempt.answered = true;
            }
            // A name is resolved anew each time, so that nobody stands for it.
            attempt.answered |= attempt.addresses.contains(&address);
        }
    }

    /// Drops the entry point that turned out to be this node itself.
    pub(crate) fn drop_self(&mut self, me: &PublicKey, address: Option<SocketAddr>) {
        self.attempts.retain(|attempt| match &attempt.point {
            EntryPoint::Contact(contact) => contact.public_key != *me,
            EntryPoint::Address(at) => Some(*at) != address,
            EntryPoint::Name(_) => true,
        });
    }

    /// The entry points that are due at `now` and not in the table.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        network: &NetworkId,
        table: &RoutingTable,
    ) -> Vec<EntryPoint> {
        let mut due = Vec::new();
        for attempt in &mut self.attempts {
            if attempt.next > now {
                continue;
            }
            let in_table = attempt
                .contact
                .is_some_and(|contact| table.entry(&contact.in_network(network).id).is_some());
            // Remembered contacts only serve a node that has nearly nobody.
            let needed = !in_table && (attempt.named || table.len() < 3);
            if needed {
                due.push(attempt.point.clone());
                attempt.tries = attempt.tries.saturating_add(1);
                attempt.pause = (attempt.pause * 2).min(self.pause_max);
            } else {
                attempt.pause = self.pause_max;
            }
            attempt.next = now + self.rng.jitter(attempt.pause, 0.25);
        }
        due
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let at = self.attempts.iter().map(|attempt| attempt.next).min()?;
        Some(Deadline::new(at, "entry point"))
    }
}
