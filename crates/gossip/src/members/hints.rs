//! The contents of this node's acks in an open network: its partition, and some of the nodes that watch it.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Contact, Instant, LruMap, PublicKey, Salt};

use super::partition::Partitions;

/// Probers of this node remembered: about twice as many as watch a node.
const PROBERS_MAX: usize = 128;
/// Interval in which one prober gets one hint, so that none uses up the hints of others.
const HINT_PAUSE: Duration = Duration::from_secs(10);
/// How long a prober is listed after a probe: two rounds of a node that watches 60 members.
const PROBER_LIFE: Duration = Duration::from_secs(120);

/// The state behind the hints.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub(super) probers: Probers,
    pub(super) partitions: Partitions,
}

/// A node that probed this one.
#[derive(Debug)]
struct Prober {
    /// Its address. With `salt`, and with its key in the map, it makes up a contact.
    address: SocketAddr,
    salt: Option<Salt>,
    probed: Instant,
    /// When it last got a hint.
    hinted: Option<Instant>,
}

/// The nodes that watch this one in an open network. This node does not watch all of them, because a close
/// group need not be mutual, and no other node knows all of them.
#[derive(Debug)]
pub(super) struct Probers {
    known: LruMap<PublicKey, Prober>,
    /// The next hints, the last first, in random order; every prober gets its turn before any gets
    /// a second one.
    pub(super) hint_order: Vec<PublicKey>,
}

impl Default for Probers {
    fn default() -> Self {
        Self { known: LruMap::new(PROBERS_MAX), hint_order: Vec::new() }
    }
}

impl Probers {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// `from` probes this node. Returns whether it gets a hint.
    pub(super) fn probed_by(&mut self, now: Instant, from: Contact) -> bool {
        let key = from.public_key;
        if self.known.peek(&key).is_none() {
            let (address, salt) = (from.address, from.salt);
            self.known.insert(key, Prober { address, salt, probed: now, hinted: None });
        }
        self.known.get_mut(&key).is_some_and(|prober| {
            (prober.address, prober.salt, prober.probed) = (from.address, from.salt, now);
            let due = prober.hinted.is_none_or(|hinted| now.since(hinted) >= HINT_PAUSE);
            prober.hinted = if due { Some(now) } else { prober.hinted };
            due
        })
    }

    /// All probers.
    pub(super) fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.known.iter().map(|(key, _)| *key)
    }

    /// The contact of a node that probed this one lately.
    pub(super) fn recent(&self, now: Instant, key: &PublicKey) -> Option<Contact> {
        let prober = self.known.peek(key)?;
        let (address, salt) = (prober.address, prober.salt);
        let contact = Contact { public_key: *key, address, salt };
        (now.since(prober.probed) < PROBER_LIFE).then_some(contact)
    }
}
