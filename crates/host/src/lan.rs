//! Nodes of the same network on the local network, found without entry point, DNS server or default route:
//! by a beacon of our own, and by DNS-SD (RFC 6763) over multicast DNS where that is possible.
//!
//! A found address is a candidate: the core asks it for its key, within a budget, and it must prove it
//! like any node. Others on the local network can forge candidates, which causes one small datagram
//! to an address of that same local network, once a minute.
//!
//! **Invariants:** a node that listens on loopback only sends and hears nothing here; nothing leaves the
//! local network (the time to live of multicast is 1), and no address is taken up that is not on it; an
//! interface hears of its own addresses only; what is read in a second is bounded.

mod beacon;
#[cfg(feature = "mdns")]
mod dnssd;
mod links;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use potluck_base::Rng;
use potluck_wire::LanKey;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::request::Request;
use beacon::Beacons;
use links::Link;

/// Interval at which the list of interfaces is read.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// When the first beacons are sent after a start, and after an interface came.
const FIRST: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(700),
    Duration::from_millis(2000),
    Duration::from_millis(6000),
];
/// The pause between two beacons later on, give or take a third.
const PAUSE: Duration = Duration::from_secs(30);
/// Words from the local network that are read in a second; the rest is dropped by the system.
const WORDS_MAX: u32 = 256;

/// The parts of the search on the local network.
pub(crate) struct Parts {
    pub(crate) key: LanKey,
    /// Where the node listens.
    pub(crate) bound: Vec<SocketAddr>,
    /// Whether to use DNS-SD too.
    pub(crate) mdns: bool,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
}

/// Whether a node that listens there can be reached by another machine.
pub(crate) fn is_on_a_network(bound: &[SocketAddr]) -> bool {
    bound.iter().any(|address| !address.ip().to_canonical().is_loopback())
}

/// Begins to look around, if there is what it takes.
pub(crate) fn begin(parts: Option<Parts>, requests: &mpsc::Sender<Request>) {
    if let Some(parts) = parts {
        tokio::spawn(look_around(parts, requests.clone()));
    }
}

/// Looks around until the node stops.
async fn look_around(parts: Parts, requests: mpsc::Sender<Request>) {
    let mut lan = Lan::new(parts, requests.clone());
    tokio::select! {
        () = requests.closed() => {}
        () = lan.run() => {}
    }
}

struct Lan {
    parts: Parts,
    requests: mpsc::Sender<Request>,
    links: Vec<Link>,
    beacons: Beacons,
    #[cfg(feature = "mdns")]
    dnssd: Option<dnssd::DnsSd>,
    /// Beacons that were sent since the start or the last change of interfaces.
    sent: usize,
    next_beacon: Instant,
    next_look: Instant,
    /// Words read in the second that began at `second`.
    words: u32,
    second: Instant,
}

impl Lan {
    fn new(mut parts: Parts, requests: mpsc::Sender<Request>) -> Self {
        let now = Instant::now();
        let start = parts.rng.next_u64();
        Self {
            beacons: Beacons::new(start, &parts.bound),
            #[cfg(feature = "mdns")]
            dnssd: None,
            links: Vec::new(),
            parts,
            requests,
            sent: 0,
            next_beacon: now + FIRST[0],
            next_look: now,
            words: 0,
            second: now,
        }
    }

    async fn run(&mut self) {
        loop {
            tokio::select! {
                () = sleep_until(self.next_look) => self.look().await,
                () = sleep_until(self.next_beacon) => self.say(),
                () = sleep_until(self.second + Duration::from_secs(1)), if self.words >= WORDS_MAX => {
                    self.words = 0;
                }
                (from, bytes) = self.beacons.hear(), if self.words < WORDS_MAX => {
                    self.count_word();
                    let heard = self.beacons.read(from, &bytes, &self.parts.key, self.parts.clock.wall());
                    self.found(heard);
                }
                found = heard_of(self), if self.words < WORDS_MAX => {
                    self.count_word();
                    for address in found {
                        self.found(Some(address));
                    }
                }
            }
        }
    }

    fn count_word(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.words = 0;
        }
        self.words += 1;
    }

    /// Hands on what was found, if it is on one of the networks that this machine is on. What there is no
    /// room for is found again.
    fn found(&self, address: Option<SocketAddr>) {
        let Some(address) = address else { return };
        let here =
            self.links.iter().any(|link| link.ip == address.ip() && self.is_own_port(address));
        if !here && self.links.iter().any(|link| link.covers(address.ip())) {
            tracing::debug!(%address, "found on the local network");
            let _ = self.requests.try_send(Request::Found(address));
        }
    }

    fn is_own_port(&self, address: SocketAddr) -> bool {
        self.parts.bound.iter().any(|bound| bound.port() == address.port())
    }

    /// Looks which interfaces there are, and joins the groups on those that are new.
    async fn look(&mut self) {
        self.next_look = Instant::now() + LOOK_INTERVAL;
        let bound = self.parts.bound.clone();
        let links = tokio::task::spawn_blocking(move || links::of_this_machine(&bound)).await;
        let links = links.unwrap_or_default();
        let known: BTreeSet<IpAddr> = self.links.iter().map(|link| link.ip).collect();
        let is_new = links.iter().any(|link| !known.contains(&link.ip));
        let changed = is_new || links.len() != self.links.len();
        if changed {
            self.links = links;
            self.beacons.use_links(&self.links);
        }
        if is_new {
            self.sent = 0;
            self.next_beacon = self.next_beacon.min(Instant::now() + FIRST[0]);
        }
        self.look_after_dnssd(changed);
    }

    #[cfg(feature = "mdns")]
    fn look_after_dnssd(&mut self, changed: bool) {
        if !self.parts.mdns {
            return;
        }
        let port = self.parts.bound.first().map(SocketAddr::port).unwrap_or_default();
        if changed {
            self.dnssd = None;
        }
        if self.dnssd.is_none() && !self.links.is_empty() {
            self.dnssd = dnssd::DnsSd::start(&self.links, port, &mut self.parts.rng);
            self.parts.mdns = self.dnssd.is_some();
        }
        let tag = self.parts.key.tag(self.parts.clock.wall());
        if let Some(dnssd) = &mut self.dnssd
            && !dnssd.announce(tag)
        {
            self.dnssd = None;
            self.parts.mdns = false;
        }
    }

    #[cfg(not(feature = "mdns"))]
    fn look_after_dnssd(&mut self, _changed: bool) {
        self.parts.mdns = false;
    }

    /// Sends a beacon on each interface.
    fn say(&mut self) {
        self.beacons.say(&self.parts.key, self.parts.clock.wall());
        self.sent += 1;
        let pause = match FIRST.get(self.sent) {
            Some(at) => self.parts.rng.jitter(*at - FIRST[self.sent - 1], 0.3),
            None => self.parts.rng.jitter(PAUSE, 1.0 / 3.0),
        };
        self.next_beacon = Instant::now() + pause;
    }
}

/// Candidates that DNS-SD names; never, without it.
async fn heard_of(lan: &Lan) -> Vec<SocketAddr> {
    #[cfg(feature = "mdns")]
    if let Some(dnssd) = &lan.dnssd {
        return dnssd.hear(&lan.parts.key, &lan.parts.clock).await;
    }
    let _ = lan;
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lan(requests: mpsc::Sender<Request>) -> Lan {
        let network = potluck_base::NetworkId::new("lan", potluck_base::Admission::Lab, None);
        let parts = Parts {
            key: LanKey::new(&network, potluck_base::Admission::Lab),
            bound: vec!["0.0.0.0:7".parse().unwrap()],
            mdns: false,
            clock: Clock::start(),
            rng: Rng::from_number(1),
        };
        Lan::new(parts, requests)
    }

    #[tokio::test]
    async fn an_address_elsewhere_and_the_own_one_are_not_handed_on() {
        let (requests, mut handed_on) = mpsc::channel(8);
        let mut lan = lan(requests);
        lan.links = vec![Link::new("192.168.7.5".parse().unwrap(), 24)];
        let victims = ["9.9.9.9:53", "192.168.8.1:7", "127.0.0.1:7", "192.168.7.5:7"];
        let here = ["192.168.7.9:7", "192.168.7.5:8"];
        for address in victims.iter().chain(&here) {
            lan.found(Some(address.parse().unwrap()));
        }
        for address in here {
            match handed_on.try_recv() {
                Ok(Request::Found(found)) => assert_eq!(found.to_string(), address),
                other => panic!("{other:?}"),
            }
        }
        handed_on.try_recv().unwrap_err();
    }

    #[tokio::test]
    async fn words_are_counted_by_the_second() {
        let (requests, _handed_on) = mpsc::channel(8);
        let mut lan = lan(requests);
        for _ in 0..WORDS_MAX {
            lan.count_word();
        }
        assert_eq!(lan.words, WORDS_MAX);
        lan.second -= Duration::from_secs(1);
        lan.count_word();
        assert_eq!(lan.words, 1);
    }

    #[test]
    fn a_node_on_loopback_only_is_on_no_network() {
        let on = |texts: &[&str]| {
            let bound: Vec<SocketAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
            is_on_a_network(&bound)
        };
        assert!(!on(&["127.0.0.1:7"]) && !on(&["[::1]:7", "127.0.0.2:7"]) && !on(&[]));
        assert!(!on(&["[::ffff:127.0.0.1]:7"]));
        assert!(on(&["0.0.0.0:7"]) && on(&["127.0.0.1:7", "10.0.0.1:7"]) && on(&["[::]:7"]));
    }
}
