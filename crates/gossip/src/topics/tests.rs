mod contacts;
mod dissemination;
pub(super) mod harness;
mod hostile;
mod links;
pub(super) mod net;
mod rewiring;
mod tree;
mod trust;

use std::time::Duration;

use potluck_wire::SignedMessage;

use super::*;
use crate::view::Mode;

/// A publisher for the tests of single parts.
pub(super) fn publisher(seed: u8) -> PublicKey {
    Identity::from_seed([seed; 32]).public_key()
}

/// `number` seconds after the start.
pub(super) const fn second(number: u64) -> Instant {
    Instant::from_micros(number * 1_000_000)
}

/// The shared state of a node with number 0, for the tests of one machine alone.
pub(super) fn shared(mode: Mode) -> Shared {
    let identity = harness::identity(0);
    let me = Me { identity, network: net::network(), incarnation: 1, contact: harness::contact(0) };
    Shared::new(me, TopicsConfig { mode, ..TopicsConfig::default() }, Rng::from_number(1))
}

/// The broadcast of each topic knows the links of its overlay, and which of them are healthy.
fn assert_joined(topics: &Topics) {
    for topic in topics.topics.values() {
        assert_eq!(topic.overlay.links(), topic.broadcast.links());
    }
}

/// What the allocator adds to a box, in bytes.
const ALLOCATION: usize = 16;

#[test]
fn a_topic_and_its_links_take_no_more_memory_than_they_did_as_one_struct() {
    // As one struct a topic took 1440 bytes; each link took 472 and its key, in one of the eleven
    // places that a node of a map has, whether used or not.
    let before = 1_440 + 11 * (472 + size_of::<PublicKey>());
    let (link, peer) = (overlay::LINK_BYTES, broadcast::PEER_BYTES);
    let boxed = size_of::<usize>() + size_of::<PublicKey>();
    let links = TopicsConfig::default().topic.active;
    let now = size_of::<Topic>() + 11 * (link + boxed) + links * (peer + ALLOCATION);
    assert!(now <= before, "{now} bytes: link {link}, peer {peer}");
}
