//! Anti-entropy offers what is held without any change before it.

use potluck_base::{Admission, Contact, Identity, Instant, Key, Machine as _, NetworkId, Peer};
use potluck_kv::{Config, Input, Kv, Output};
use potluck_record::{StateDigest, StorageOp, StorageReply};
use potluck_wire::Request;

/// Keys of one round; a page of the repair has another number.
const ROUND_KEYS: u32 = 128;

fn peer(number: u8, network: &NetworkId) -> Peer {
    let public_key = Identity::from_seed([number; 32]).public_key();
    Contact::new(public_key, ([127, 0, 0, 1], 1).into()).in_network(network)
}

#[test]
fn what_is_held_is_offered_to_its_set_though_nothing_has_changed() {
    let network = NetworkId::new("test", Admission::Lab, None);
    let (me, others) = (peer(1, &network), vec![peer(2, &network), peer(3, &network)]);
    let identity = Identity::from_seed([1; 32]);
    let mut kv = Kv::new(identity, network, me, true, Config::default());
    kv.handle(Instant::ZERO, Input::CloseGroup(others));
    let key = Key::from(me.id);
    let (mut rounds, mut offered) = (0, Vec::new());
    for _ in 0..100 {
        let Some(deadline) = kv.poll_timeout() else { break };
        kv.handle(deadline.at, Input::Timeout);
        while let Some(output) = kv.poll_output() {
            match output {
                Output::Storage { id, op: StorageOp::Scan { limit: ROUND_KEYS, .. } } => {
                    rounds += 1;
                    let entries = vec![(key, StateDigest::EMPTY)];
                    let reply = StorageReply::Scanned { entries, more: false };
                    kv.handle(deadline.at, Input::Stored { id, reply });
                }
                Output::Storage { id, op: StorageOp::Scan { .. } } => {
                    // The repair after the change of the close group finds no keys.
                    let reply = StorageReply::Scanned { entries: Vec::new(), more: false };
                    kv.handle(deadline.at, Input::Stored { id, reply });
                }
                Output::Ask { to, request: Request::Offer { entries }, .. } => {
                    assert_eq!(entries[0].key, key);
                    offered.push(to.id);
                }
                _ => {}
            }
        }
        if offered.len() >= 2 {
            break;
        }
    }
    assert!(rounds >= 1 && offered.len() == 2 && offered[0] != offered[1], "{offered:?}");
}
