//! Contacts that others name: how many of one answer are asked, and where.
//!
//! An answer to a lookup may name nodes that do not exist, at the address of a machine that has nothing to
//! do with the network. Asking them would turn one answer into many datagrams at that machine, and make
//! lookups wait for it. So of the contacts in one answer that this node has not proved
//!
//! - one is asked at each socket address: a node is the only one at its own;
//! - at most [`PER_ADDRESS`] at each address and [`PER_SUBNET`] in each subnet, unless it is a private
//!   network, where all nodes may be in one subnet;
//! - none at an address where a named contact was silent a moment ago; the pause doubles each time.
//!
//! **Invariant:** at most [`SILENT_MAX`] addresses are remembered.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use potluck_base::{Instant, LruMap, Peer, is_private};

/// New contacts of one answer that are asked at one address (IPv6: a /64). Raising it finds nodes behind one
/// public address sooner, and lets one answer cause more datagrams to it.
const PER_ADDRESS: usize = 2;
/// New contacts of one answer that are asked in one /24 (IPv6: /48). Raising it finds the nodes of one data
/// centre sooner, and lets one answer cause more datagrams to it.
const PER_SUBNET: usize = 6;
/// Addresses that are remembered as silent. Raising it costs memory.
const SILENT_MAX: usize = 1024;
/// The first pause at a silent address, and the longest. A node that restarts is asked again after this
/// long, unless it asks first.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(64);

#[derive(Debug, Clone, Copy)]
struct Silence {
    until: Instant,
    pause: Duration,
}

/// What is remembered of contacts that others named.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    on: bool,
    silent: LruMap<SocketAddr, Silence>,
}

impl Named {
    /// `on` is false only in tests that show what the caps are for.
    pub(crate) fn new(on: bool) -> Self {
        Self { on, silent: LruMap::new(SILENT_MAX) }
    }

    pub(crate) fn len(&self) -> usize {
        self.silent.len()
    }

    /// The contacts of one answer that may be asked, in their order. Those that this node has proved itself
    /// pass and count for nothing.
    pub(crate) fn admit(
        &self,
        now: Instant,
        contacts: Vec<Peer>,
        is_proved: impl Fn(&Peer) -> bool,
    ) -> Vec<Peer> {
        if !self.on {
            return contacts;
        }
        let mut asked = Asked::default();
        let mut passes = |peer: &Peer| {
            let address = peer.contact.address;
            is_proved(peer) || (!self.is_silent(now, address) && asked.take(address))
        };
        contacts.into_iter().filter(|peer| passes(peer)).collect()
    }

    fn is_silent(&self, now: Instant, address: SocketAddr) -> bool {
        self.silent.peek(&address).is_some_and(|silence| now < silence.until)
    }

    /// A contact that others named did not answer there.
    pub(crate) fn on_silence(&mut self, now: Instant, address: SocketAddr) {
        if let Some(silence) = self.silent.get_mut(&address) {
            silence.pause = (silence.pause * 2).min(PAUSE_MAX);
            silence.until = now + silence.pause;
        } else {
            let silence = Silence { until: now + PAUSE_MIN, pause: PAUSE_MIN };
            self.silent.insert(address, silence);
        }
    }

    /// A node answered there.
    pub(crate) fn on_answer(&mut self, address: SocketAddr) {
        if !self.silent.is_empty() {
            self.silent.remove(&address);
        }
    }
}

/// The new contacts of one answer, counted.
#[derive(Default)]
struct Asked {
    sockets: BTreeMap<SocketAddr, usize>,
    addresses: BTreeMap<u128, usize>,
    subnets: BTreeMap<u128, usize>,
}

impl Asked {
    /// Whether one more contact may be asked at this address; then it is counted.
    fn take(&mut self, socket: SocketAddr) -> bool {
        let of_socket = self.sockets.entry(socket).or_default();
        if *of_socket > 0 {
            return false;
        }
        if !is_private(socket.ip()) {
            let (address, subnet) = places(socket.ip());
            let of_address = self.addresses.entry(address).or_default();
            let of_subnet = self.subnets.entry(subnet).or_default();
            if *of_address >= PER_ADDRESS || *of_subnet >= PER_SUBNET {
                return false;
            }
            *of_address += 1;
            *of_subnet += 1;
        }
        *of_socket += 1;
        true
    }
}

/// What counts as one address, and as one subnet.
fn places(ip: IpAddr) -> (u128, u128) {
    match ip.to_canonical() {
        // An address of IPv6 never begins with these bits, so the families do not mix.
        IpAddr::V4(ip) => {
            let bits = u128::from(ip.to_bits()) | 1 << 127 | 1 << 126;
            (bits, bits >> 8)
        }
        IpAddr::V6(ip) => (ip.to_bits() >> 64, ip.to_bits() >> 80),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::peers;

    fn at(addresses: &[&str]) -> Vec<Peer> {
        let mut peers = peers(1, addresses.len());
        for (peer, address) in peers.iter_mut().zip(addresses) {
            peer.contact.address = address.parse().expect("an address");
        }
        peers
    }

    fn admitted(addresses: &[&str]) -> Vec<String> {
        let admitted = Named::new(true).admit(Instant::ZERO, at(addresses), |_| false);
        admitted.iter().map(|peer| peer.contact.address.to_string()).collect()
    }

    #[test]
    fn one_socket_address_is_asked_once_also_in_a_private_network() {
        let many = ["127.0.0.1:9"; 17];
        assert_eq!(admitted(&many), ["127.0.0.1:9"]);
        assert_eq!(Named::new(false).admit(Instant::ZERO, at(&many), |_| false).len(), 17);
        let lan: Vec<String> = (1..=17).map(|port| format!("127.0.0.1:{port}")).collect();
        let lan: Vec<&str> = lan.iter().map(String::as_str).collect();
        assert_eq!(admitted(&lan).len(), 17, "nodes of one machine");
    }

    #[test]
    fn a_public_address_and_its_subnet_are_asked_a_few_times() {
        let ports: Vec<String> = (1..=17).map(|port| format!("93.184.216.34:{port}")).collect();
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        assert_eq!(admitted(&ports), ["93.184.216.34:1", "93.184.216.34:2"]);
        let hosts: Vec<String> = (1..=17).map(|host| format!("93.184.216.{host}:1")).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        assert_eq!(admitted(&hosts).len(), PER_SUBNET);
        let six: Vec<String> = (1..=17).map(|host| format!("[2a00:1:2:3::{host}]:1")).collect();
        let six: Vec<&str> = six.iter().map(String::as_str).collect();
        assert_eq!(admitted(&six).len(), PER_ADDRESS);
    }

    #[test]
    fn proved_contacts_pass_and_count_for_nothing() {
        let many = ["93.184.216.34:1"; 17];
        assert_eq!(Named::new(true).admit(Instant::ZERO, at(&many), |_| true).len(), 17);
    }

    #[test]
    fn a_silent_address_is_left_out_longer_each_time_until_it_answers() {
        let (mut named, peers) = (Named::new(true), at(&["10.0.0.1:1"]));
        let address = peers[0].contact.address;
        let mut now = Instant::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            named.on_silence(now, address);
            let begin = now;
            while named.admit(now, peers.clone(), |_| false).is_empty() {
                now += Duration::from_secs(1);
            }
            pauses.push(now.since(begin).as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 64]);
        named.on_silence(now, address);
        named.on_answer(address);
        assert_eq!(named.admit(now, peers, |_| false).len(), 1);
        assert_eq!(named.len(), 0);
    }
}
