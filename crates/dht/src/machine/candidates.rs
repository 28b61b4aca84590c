//! Candidates: addresses at which a node may be, found on the local network by unauthenticated traffic.
//!
//! A candidate is asked for its key by one datagram, and must prove its identity like any contact.
//! Forged addresses must not make this node attack others. So an address is asked once a minute,
//! all addresses share a budget, and a node with many contacts asks rarely, because it only needs
//! to find another part of its own network.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Contact, Instant};

use super::{Dht, Output};

/// Time for which an address is not asked again. A shorter time sends more datagrams to forged
/// addresses.
const ADDRESS_PAUSE: Duration = Duration::from_secs(60);
/// Addresses remembered as asked; while there are this many, no other address is asked.
const ASKED_MAX: usize = 256;
/// Candidates that may be asked at once. Raising it enters a large local network faster and lets forged
/// traffic cause more datagrams.
const BURST: u32 = 32;
/// Time after which one more candidate may be asked.
const REFILL: Duration = Duration::from_millis(500);
/// Contacts from which a node needs no candidates to enter its network; it then asks one every
/// [`ENOUGH_PAUSE`].
const ENOUGH: usize = 16;
/// Pause between two candidates that a node with [`ENOUGH`] contacts asks.
const ENOUGH_PAUSE: Duration = Duration::from_secs(10);

/// The recently asked candidates, and the budget for more.
#[derive(Debug, Clone)]
pub(super) struct Candidates {
    asked: BTreeMap<SocketAddr, Instant>,
    budget: u32,
    refilled: Instant,
    last: Option<Instant>,
}

impl Candidates {
    pub(super) const fn new() -> Self {
        Self { asked: BTreeMap::new(), budget: BURST, refilled: Instant::ZERO, last: None }
    }

    /// Whether `address` may be asked now. If so, it is recorded as asked.
    fn may_ask(&mut self, now: Instant, address: SocketAddr, enough: bool) -> bool {
        self.asked.retain(|_, at| now.since(*at) < ADDRESS_PAUSE);
        let asked = self.asked.contains_key(&address) || self.asked.len() >= ASKED_MAX;
        let lately = self.last.is_some_and(|last| now.since(last) < ENOUGH_PAUSE);
        if asked || (enough && lately) {
            return false;
        }
        while self.budget < BURST && now.since(self.refilled) >= REFILL {
            self.budget += 1;
            self.refilled += REFILL;
        }
        if self.budget == BURST {
            self.refilled = now;
        }
        let Some(left) = self.budget.checked_sub(1) else { return false };
        self.budget = left;
        self.asked.insert(address, now);
        self.last = Some(now);
        true
    }

    /// Whether `address` was recently asked as a candidate.
    fn was_asked(&self, address: SocketAddr) -> bool {
        self.asked.contains_key(&address)
    }
}

impl Dht {
    /// A node may be at `address`: asks it, within the budget.
    pub(super) fn on_candidate(&mut self, now: Instant, address: SocketAddr) {
        let known = self.table.entries().any(|entry| entry.peer.contact.address == address);
        if known || address == self.me.contact.address || !self.is_usable(address) {
            return;
        }
        let enough = self.table.len() >= ENOUGH;
        if self.candidates.may_ask(now, address, enough) {
            self.stats.candidates_asked += 1;
            self.outbox.push_back(Output::Ask(address));
        }
    }

    /// Whether a greeting from `address` can be ignored: the candidate is a known node that still
    /// answers at another of its addresses. If both nodes are on two networks, the working address
    /// is kept.
    pub(super) fn is_known_elsewhere(&self, address: SocketAddr, contact: &Contact) -> bool {
        let id = contact.public_key.node_id(&self.network);
        let answers = self.table.entry(&id).is_some_and(|entry| entry.failures == 0);
        answers && self.candidates.was_asked(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;
    use crate::testing::{dht, peers};
    use potluck_base::Machine;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn address(n: u16) -> SocketAddr {
        SocketAddr::new([10, 7, (n >> 8) as u8, n as u8].into(), 7)
    }

    fn asked(node: &mut Dht) -> Vec<SocketAddr> {
        let outputs = std::iter::from_fn(|| node.poll_output());
        outputs
            .filter_map(|output| match output {
                Output::Ask(address) => Some(address),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn an_address_is_asked_once_a_minute_however_often_it_is_named() {
        let mut node = dht(peers(1, 1)[0], 1);
        for second in 0..150 {
            for _ in 0..20 {
                node.handle(at(second), Input::Candidate(address(1)));
            }
        }
        assert_eq!(asked(&mut node), [address(1); 3]);
    }

    #[test]
    fn thousands_of_forged_addresses_get_no_more_than_the_budget() {
        let mut node = dht(peers(1, 1)[0], 1);
        for n in 0..10_000 {
            node.handle(at(n / 1000), Input::Candidate(address(n as u16)));
        }
        let count = asked(&mut node).len();
        assert!((32..=32 + 20).contains(&count), "{count} asked in ten seconds");
        assert!(node.candidates.asked.len() <= ASKED_MAX);
        // A real address is asked when the flood is over.
        node.handle(at(30), Input::Candidate(address(60_000)));
        assert_eq!(asked(&mut node), [address(60_000)]);
    }

    #[test]
    fn the_own_address_one_that_is_no_address_and_those_in_the_table_are_not_asked() {
        let all = peers(2, 2);
        let mut node = dht(all[0], 1);
        node.admit(Instant::ZERO, all[1], None);
        let multicast = "224.0.0.1:7".parse().unwrap();
        let no_port = "10.0.0.9:0".parse().unwrap();
        let known = all[1].contact.address;
        for useless in [all[0].contact.address, known, multicast, no_port] {
            node.handle(at(1), Input::Candidate(useless));
        }
        assert!(asked(&mut node).is_empty());
    }

    #[test]
    fn a_node_with_many_peers_asks_seldom_and_still_finds_another_part_of_its_network() {
        let all = peers(3, ENOUGH + 2);
        let mut node = dht(all[0], 1);
        for peer in &all[1..=ENOUGH] {
            node.admit(Instant::ZERO, *peer, None);
        }
        for second in 0..40 {
            for n in 0..50 {
                let n = second * 50 + n;
                node.handle(at(u64::from(second)), Input::Candidate(address(n)));
            }
        }
        assert_eq!(asked(&mut node).len(), 4);
    }

    #[test]
    fn a_peer_that_answers_is_not_moved_to_another_address_of_its_own() {
        let all = peers(4, 2);
        let mut node = dht(all[0], 1);
        node.admit(Instant::ZERO, all[1], None);
        let elsewhere = address(9);
        let contact = Contact { address: elsewhere, ..all[1].contact };
        node.handle(at(1), Input::Candidate(elsewhere));
        assert_eq!(asked(&mut node), [elsewhere]);
        node.handle(at(1), Input::Greeted { address: elsewhere, contact });
        let pinged = |node: &mut Dht| {
            let mut outputs = std::iter::from_fn(|| node.poll_output());
            outputs.any(|output| matches!(output, Output::Query { to, .. } if to == contact))
        };
        assert!(!pinged(&mut node));
        // Once the node is silent at its old address, it is pinged at the new one.
        node.handle(at(2), Input::Suspected(all[1].id));
        node.handle(at(2), Input::Greeted { address: elsewhere, contact });
        assert!(pinged(&mut node));
    }
}
