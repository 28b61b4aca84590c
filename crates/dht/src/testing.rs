//! Made-up peers for tests.

use potluck_base::{Admission, Contact, Identity, Key, NetworkId, Peer, Rng};

use crate::config::Config;
use crate::machine::Dht;

pub(crate) fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

/// `count` peers at different private addresses.
pub(crate) fn peers(seed: u64, count: usize) -> Vec<Peer> {
    let mut rng = Rng::from_number(seed);
    (0..count)
        .map(|number| {
            let address = ([10, 0, (number >> 8) as u8, number as u8], 4000).into();
            let public_key = Identity::from_seed(rng.bytes()).public_key();
            Contact::new(public_key, address).in_network(&network())
        })
        .collect()
}

/// The DHT of `me`.
pub(crate) fn dht(me: Peer, seed: u64) -> Dht {
    Dht::new(network(), me.contact, Config::default(), Rng::from_number(seed))
}

/// The `count` of `peers` that are closest to `target`.
pub(crate) fn closest(peers: &[Peer], target: &Key, count: usize) -> Vec<Peer> {
    let mut sorted = peers.to_vec();
    sorted.sort_by_key(|peer| peer.distance(target));
    sorted.truncate(count);
    sorted
}
