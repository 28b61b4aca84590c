//! Where a peer may be reached: the address at which it was proven last, and those that it gave itself.
//!
//! A request goes to the address of a peer that was proven a moment ago, if there is one, since through
//! that one its router lets it through. All addresses that are known are tried otherwise, nearest kind
//! first, each [`RACE_PAUSE`] after the one before: an address that is dead costs that time and not a
//! timeout. Which one leads to the peer shows its answer, which only the holder of its key can seal.
//!
//! A peer can name addresses of others. Each gets one datagram a try, no longer than the request.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{ADDRESSES_MAX, Contact, Instant, LruMap, PublicKey, nearest_first};

use crate::link::{Link, canonical};

/// How long one address is waited for before the next one is tried beside it.
pub(crate) const RACE_PAUSE: Duration = Duration::from_millis(100);
/// A router keeps the path to a peer open for this time after the last packet: 30 s in common ones.
const FRESH: Duration = Duration::from_secs(25);
/// Addresses remembered of one peer: those that it gives, the one where it was heard, and one from before.
const WAYS_MAX: usize = ADDRESSES_MAX + 2;
/// Peers whose further addresses are remembered.
const PEERS_MAX: usize = 1024;

/// The addresses that peers gave.
#[derive(Debug)]
pub(crate) struct Paths {
    given: LruMap<PublicKey, Vec<SocketAddr>>,
}

impl Paths {
    pub(crate) fn new() -> Self {
        Self { given: LruMap::new(PEERS_MAX) }
    }

    pub(crate) fn len(&self) -> usize {
        self.given.len()
    }
}

impl Link {
    /// `peer` says that it is reached at these addresses; the caller made sure that it says so itself.
    /// They replace what it said before.
    pub fn learn_ways(&mut self, peer: PublicKey, ways: impl IntoIterator<Item = SocketAddr>) {
        let ways: Vec<SocketAddr> = ways.into_iter().map(canonical).take(WAYS_MAX).collect();
        if self.paths.given.peek(&peer) != Some(&ways) {
            self.paths.given.insert(peer, ways);
        }
    }

    /// The same, beside what is known already.
    pub fn learn_more_ways(&mut self, peer: PublicKey, ways: impl IntoIterator<Item = SocketAddr>) {
        let mut all: Vec<SocketAddr> = ways.into_iter().map(canonical).collect();
        for known in self.paths.given.peek(&peer).into_iter().flatten() {
            if !all.contains(known) {
                all.push(*known);
            }
        }
        self.learn_ways(peer, all);
    }

    /// Where `peer` was proven last, if that was a moment ago: its packets come from there now.
    #[must_use]
    pub fn seen_at(&self, now: Instant, peer: &PublicKey) -> Option<SocketAddr> {
        let (address, at) = self.sessions.peek(peer)?.seen()?;
        (now.since(at) < FRESH).then_some(address)
    }

    /// Whether this node has an address of the family, as far as is known: a datagram to another one
    /// could not leave.
    fn speaks_family_of(&self, way: &SocketAddr) -> bool {
        let local = self.local_addresses();
        local.is_empty() || local.iter().any(|own| own.socket.is_ipv6() == way.is_ipv6())
    }

    /// Where `to` is tried, in this order: at least one address, at most eight.
    #[must_use]
    pub fn ways_to(&self, now: Instant, to: &Contact) -> Vec<SocketAddr> {
        let mut ways: Vec<SocketAddr> = self.seen_at(now, &to.public_key).into_iter().collect();
        let address = canonical(to.address);
        let given = self.paths.given.peek(&to.public_key).into_iter().flatten().copied();
        let given = given.filter(|way| self.speaks_family_of(way));
        let others = nearest_first(self.local_addresses(), [address].into_iter().chain(given));
        for way in others.into_iter().chain([address]) {
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        ways
    }
}
