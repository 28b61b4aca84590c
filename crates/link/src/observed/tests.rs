//! What peers say, and what a node makes of it.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Instant, LocalAddress, PublicKey};

use super::{CLAIMS_MAX, Observed};

const MAPPED: &str = "9.8.7.6:5000";
const WRONG: &str = "9.8.7.6:6666";

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// A node at 192.168.1.5/24 in a large network.
struct Node {
    observed: Observed,
    second: u64,
}

impl Node {
    fn new() -> Self {
        let mut observed = Observed::new();
        let socket = socket("192.168.1.5:12345");
        observed.local = vec![LocalAddress { socket, prefix_bits: 24 }];
        observed.nodes = 100;
        Self { observed, second: 0 }
    }

    /// A second later the peer at `from` says that it saw this node at `seen`.
    fn told(&mut self, peer: u8, from: &str, seen: &str) {
        self.second += 1;
        let (key, from) = (PublicKey::from_bytes([peer; 32]), socket(from));
        self.observed.learn(at(self.second), &key, from, socket(seen));
    }

    /// A peer of each of these subnets says that it saw this node at `seen`.
    fn told_by(&mut self, subnets: std::ops::Range<u8>, seen: &str) {
        for subnet in subnets {
            self.told(subnet, &format!("{}.1.1.1:7", 20 + subnet), seen);
        }
    }

    fn believed_at(&mut self, second: u64) -> Vec<String> {
        self.observed.review(at(second));
        self.observed.believed().iter().map(|it| it.socket.to_string()).collect()
    }

    fn believed(&mut self) -> Vec<String> {
        self.believed_at(self.second)
    }
}

#[test]
fn three_subnets_are_believed_and_two_are_not() {
    let mut node = Node::new();
    node.told_by(0..2, MAPPED);
    assert!(node.believed().is_empty());
    node.told_by(2..3, MAPPED);
    assert_eq!(node.believed(), [MAPPED]);
    assert_eq!(node.observed.believed()[0].witnesses, 3);
}

#[test]
fn in_a_network_of_three_nodes_two_peers_are_enough_and_one_never_is() {
    for (nodes, peers, believed) in [(2, 1, false), (3, 1, false), (3, 2, true), (4, 2, false)] {
        let mut node = Node::new();
        node.observed.nodes = nodes;
        node.told_by(0..peers, MAPPED);
        assert_eq!(!node.believed().is_empty(), believed, "{nodes} nodes, {peers} peers");
    }
}

#[test]
fn many_peers_of_one_subnet_count_as_one() {
    let mut node = Node::new();
    for peer in 50..250 {
        node.told(peer, &format!("20.1.{peer}.1:7"), WRONG);
    }
    assert!(node.believed().is_empty());
    // They do not crowd out what others say, either.
    node.told_by(1..4, MAPPED);
    for peer in 50..250 {
        node.told(peer, &format!("20.1.{peer}.1:7"), WRONG);
    }
    assert_eq!(node.believed(), [MAPPED]);
    let claims = node.observed.courts.values().map(|court| court.claims.len()).sum::<usize>();
    assert!(claims <= 5, "{claims}");
}

#[test]
fn an_ipv6_subnet_is_a_slash_32() {
    let mut node = Node::new();
    let seen = "[2a00::5]:5000";
    for peer in 0..9 {
        node.told(peer, &format!("[2a01:4f8:{peer}::1]:7"), seen);
    }
    assert!(node.believed().is_empty());
    for peer in 0..2 {
        node.told(10 + peer, &format!("[2a02:{peer}::1]:7"), seen);
    }
    assert_eq!(node.believed(), [seen]);
    // The families are decided apart.
    node.told_by(0..3, MAPPED);
    assert_eq!(node.believed(), [MAPPED, seen]);
}

#[test]
fn a_minority_that_lies_changes_nothing_whatever_the_order() {
    for rotation in 0..8 {
        let mut node = Node::new();
        node.told_by(0..8, MAPPED);
        for turn in 0..40 {
            let subnet = (turn + rotation) % 8;
            let seen = if subnet < 3 { WRONG } else { MAPPED };
            node.told_by(subnet..subnet + 1, seen);
            assert_eq!(node.believed(), [MAPPED], "turn {turn} of {rotation}");
        }
    }
}

#[test]
fn whoever_lies_first_is_corrected_by_the_majority() {
    let mut node = Node::new();
    node.told_by(0..3, WRONG);
    assert_eq!(node.believed(), [WRONG]);
    node.told_by(3..7, MAPPED);
    assert_eq!(node.believed(), [MAPPED]);
}

#[test]
fn a_new_mapping_is_believed_as_soon_as_most_of_the_last_answers_name_it() {
    let mut node = Node::new();
    node.told_by(0..40, MAPPED);
    node.told_by(0..8, "9.8.7.6:7000");
    assert_eq!(node.believed(), [MAPPED]);
    node.told_by(8..9, "9.8.7.6:7000");
    assert_eq!(node.believed(), ["9.8.7.6:7000"]);
}

#[test]
fn what_nobody_says_any_more_is_forgotten() {
    let mut node = Node::new();
    node.told_by(0..3, MAPPED);
    assert_eq!(node.believed_at(3 + 597), [MAPPED]);
    assert!(node.believed_at(3 + 598).is_empty(), "the first answer is ten minutes old");
    // A router that maps each destination to another port: each contradicts what was believed.
    let mut node = Node::new();
    node.told_by(0..4, MAPPED);
    for subnet in 0..4 {
        node.told_by(subnet..subnet + 1, &format!("9.8.7.6:{}", 6000 + u16::from(subnet)));
    }
    assert!(node.believed().is_empty());
    assert!(node.observed.courts.values().any(|court| court.varies));
}

#[test]
fn on_one_lan_and_on_loopback_nobody_is_a_witness() {
    let mut node = Node::new();
    for peer in 0..50 {
        node.told(peer, &format!("192.168.1.{}:7", 100 + peer), "192.168.1.5:12345");
        node.told(peer, &format!("127.0.0.1:{}", 1000 + u16::from(peer)), "127.0.0.1:12345");
        // Nor can they talk a node into an address.
        node.told(100 + peer, &format!("192.168.1.{}:7", 100 + peer), "192.168.9.9:1");
    }
    assert!(node.believed().is_empty());
}

#[test]
fn in_a_private_network_each_address_is_a_witness_of_private_addresses_only() {
    let mut node = Node::new();
    for peer in 0..3 {
        node.told(peer, &format!("203.0.113.{}:7", 1 + peer), "203.0.113.10:4000");
        node.told(10 + peer, &format!("203.0.113.{}:7", 11 + peer), MAPPED);
    }
    assert_eq!(node.believed(), ["203.0.113.10:4000"]);
    // And no peer on the Internet of a private one.
    node.told_by(20..30, "192.168.7.7:1");
    assert_eq!(node.believed(), ["203.0.113.10:4000"]);
    node.told_by(30..33, MAPPED);
    assert_eq!(node.believed(), [MAPPED, "203.0.113.10:4000"]);
}

#[test]
fn addresses_that_nobody_can_dial_are_passed_over() {
    for useless in ["0.0.0.0:7", "9.8.7.6:0", "224.0.0.1:7", "255.255.255.255:7", "[fe80::1]:7"] {
        let mut node = Node::new();
        node.told_by(0..9, useless);
        for peer in 0..9 {
            node.told(peer, &format!("203.0.113.{}:7", 1 + peer), useless);
        }
        assert!(node.believed().is_empty(), "{useless}");
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut node = Node::new();
    for peer in 0..250 {
        node.told(peer, &format!("{}.{}.1.1:7", 20 + peer % 5, peer), MAPPED);
    }
    let court = node.observed.courts.values().map(|court| court.claims.len()).max();
    assert_eq!(court, Some(CLAIMS_MAX));
}
