//! The ranges of keys that two nodes are both replicas of.
//!
//! Two neighbours do not hold the same keys: each is a replica of what it is among the r closest to. They
//! can be compared only where both are, for every key of a range; anything else would differ for ever.

use std::collections::VecDeque;

use potluck_base::{Key, NodeId};
use potluck_record::Prefix;

use crate::core::Core;
use crate::placement::{CloseGroup, Standing};

/// Ranges looked at in one search. More would find narrower ones at the edges of a region.
const LOOKS_MAX: usize = 1024;

/// What becomes of a range in a search.
enum Verdict {
    Take,
    Leave,
    Halve,
}

/// The widest ranges below `start` that are to be taken, at most `most`, ascending. `rest` says whether
/// those count that the search did not come to.
fn ranges(
    start: Prefix,
    most: usize,
    rest: bool,
    judge: impl Fn(Prefix) -> Verdict,
) -> Vec<Prefix> {
    let mut waiting = VecDeque::from([start]);
    let mut taken = Vec::new();
    for _ in 0..LOOKS_MAX {
        if taken.len() >= most {
            break;
        }
        let Some(range) = waiting.pop_front() else { break };
        match judge(range) {
            Verdict::Take => taken.push(range),
            Verdict::Halve if range.length() < Prefix::LENGTH_MAX => {
                waiting.extend([range.half(false), range.half(true)]);
            }
            Verdict::Leave | Verdict::Halve => {}
        }
    }
    if rest {
        taken.extend(waiting);
        taken.truncate(most);
    }
    taken.sort_unstable();
    taken
}

/// The range in which the close group of this node shows the replica sets.
fn surrounded(core: &Core) -> Prefix {
    let place = Key::from(core.me.id);
    match core.close_group.least_shared(&core.me.id, core.config.close_group_size) {
        None => Prefix::ALL,
        Some(bits) => Prefix::of(&place, u8::try_from(bits + 1).unwrap_or(u8::MAX)),
    }
}

fn standings<const N: usize>(
    group: &CloseGroup,
    nodes: [&NodeId; N],
    range: Prefix,
    r: usize,
) -> [Standing; N] {
    nodes.map(|node| group.standing(node, range, r))
}

/// The ranges of which this node and `other` are replicas of every key, as this node sees it. `group` is the
/// close group together with the nodes that will be back soon.
pub(crate) fn shared(core: &Core, group: &CloseGroup, other: &NodeId, most: usize) -> Vec<Prefix> {
    let r = core.replication();
    ranges(surrounded(core), most, false, |range| {
        let both = standings(group, [&core.me.id, other], range, r);
        if both == [Standing::Always; 2] {
            Verdict::Take
        } else if both.contains(&Standing::Never) {
            Verdict::Leave
        } else {
            Verdict::Halve
        }
    })
}

/// Ranges that together hold every key this node is no replica of, as far as its close group shows.
pub(crate) fn beside(core: &Core, most: usize) -> Vec<Prefix> {
    let r = core.replication();
    ranges(surrounded(core), most, true, |range| {
        match core.close_group.standing(&core.me.id, range, r) {
            Standing::Always => Verdict::Leave,
            Standing::Never => Verdict::Take,
            Standing::Mixed => Verdict::Halve,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use potluck_base::{Admission, Contact, Identity, NetworkId, Peer, Rng};

    use super::*;
    use crate::config::Config;

    fn network() -> NetworkId {
        NetworkId::new("test", Admission::Lab, None)
    }

    fn peers(count: u64) -> Vec<Peer> {
        let mut rng = Rng::from_number(count);
        (0..count)
            .map(|_| {
                let key = Identity::from_seed(rng.bytes()).public_key();
                Contact::new(key, ([127, 0, 0, 1], 1).into()).in_network(&network())
            })
            .collect()
    }

    /// The core of the first of these nodes with the closest others as close group.
    fn core(peers: &[Peer], r: u16) -> Core {
        let config = Config { replication: r, ..Config::default() };
        let mut core = Core::new(Identity::from_seed([1; 32]), network(), peers[0], true, config);
        let mut others = peers[1..].to_vec();
        others.sort_by_key(|peer| peer.distance(&peers[0].id.into()));
        others.truncate(core.config.close_group_size);
        core.close_group = CloseGroup::new(peers[0], others);
        core
    }

    #[test]
    fn both_are_replicas_of_every_shared_key_and_few_common_keys_are_in_no_range() {
        for (count, r) in [(12, 16), (30, 16), (200, 16), (2000, 16), (200, 3)] {
            let peers = peers(count);
            let core = core(&peers, r);
            let everybody = CloseGroup::new(peers[0], peers[1..].iter().copied());
            let mut others = peers[1..].to_vec();
            others.sort_by_key(|peer| peer.distance(&peers[0].id.into()));
            let mut rng = Rng::from_number(5);
            let (mut common, mut covered, mut most) = (0, 0, 0);
            for other in others.iter().take(8) {
                let ranges = shared(&core, &core.close_group, &other.id, 96);
                assert!(Prefix::are_ascending(&ranges));
                most = most.max(ranges.len());
                for _ in 0..200 {
                    let own = Key::from(peers[0].id);
                    let shift = (rng.next_u64() % 12) as u32;
                    let mut key = Key::from_bytes(rng.bytes());
                    if rng.chance(0.7) {
                        // Near this node, where the common keys are.
                        let bits = ((count as f64 / f64::from(r)).log2().max(0.0)) as u32;
                        let prefix = Prefix::of(&own, (bits + shift) as u8);
                        let mut bytes: [u8; 32] = *key.as_bytes();
                        for bit in 0..u32::from(prefix.length()) {
                            let mask = 0x80 >> (bit % 8);
                            let of_own = own.as_bytes()[(bit / 8) as usize] & mask;
                            bytes[(bit / 8) as usize] &= !mask;
                            bytes[(bit / 8) as usize] |= of_own;
                        }
                        key = Key::from_bytes(bytes);
                    }
                    let set: BTreeSet<NodeId> = everybody
                        .replica_set(&key, usize::from(r))
                        .iter()
                        .map(|peer| peer.id)
                        .collect();
                    let both = set.contains(&peers[0].id) && set.contains(&other.id);
                    let inside = ranges.iter().any(|range| range.contains(&key));
                    assert!(both || !inside, "a key of a shared range has both as replicas");
                    common += usize::from(both);
                    covered += usize::from(both && inside);
                }
            }
            assert!(most > 0 && common > 100, "{count} nodes: {common} common keys");
            let share = covered as f64 / f64::from(common as u32);
            println!("{count} nodes, r {r}: {share:.4} of the common keys in up to {most} ranges");
            // Keys of which one of two nodes that lie very near each other is the last replica, now the
            // one and now the other, fill no range.
            assert!(
                share > 0.95,
                "{count} nodes, r {r}: {share} of the common keys, {most} ranges"
            );
        }
    }

    #[test]
    fn what_lies_beside_is_all_that_this_node_is_no_replica_of() {
        let peers = peers(200);
        let core = core(&peers, 5);
        let ranges = beside(&core, 96);
        assert!(Prefix::are_ascending(&ranges));
        let mut rng = Rng::from_number(6);
        let mut seen = [0, 0];
        for _ in 0..3000 {
            let key = Key::from_bytes(rng.bytes());
            if core.sees_replicas(&key) && !core.is_responsible(&key) {
                seen[0] += 1;
                assert!(ranges.iter().any(|range| range.contains(&key)));
            } else if core.is_responsible(&key) {
                seen[1] += 1;
            }
        }
        assert!(seen[0] > 100 && seen[1] > 20, "{seen:?}");
    }

    #[test]
    fn in_a_network_of_no_more_nodes_than_replicas_one_range_is_shared() {
        let peers = peers(9);
        let core = core(&peers, 16);
        assert_eq!(shared(&core, &core.close_group, &peers[4].id, 96), [Prefix::ALL]);
        assert_eq!(beside(&core, 96), []);
    }
}
