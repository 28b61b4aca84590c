//! Disjoint paths, by the sentences of the paper that the lookup claims to keep (Baumgart and Mies,
//! S/Kademlia, 2007, section 4.4).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Who answers what: honest nodes with the closest of all, colluders with colluders only.
struct Network {
    honest: Vec<Peer>,
    colluders: Vec<Peer>,
}

impl Network {
    fn new(seed: u64, honest: usize, colluders: usize) -> Self {
        let mut all = peers(seed, honest + colluders);
        let colluders = all.split_off(honest);
        Self { honest: all, colluders }
    }

    fn all(&self) -> Vec<Peer> {
        self.honest.iter().chain(&self.colluders).copied().collect()
    }

    fn answer(&self, asked: &Peer, target: &Key) -> Vec<Peer> {
        if self.colluders.contains(asked) {
            return closest(&self.colluders, target, 16);
        }
        // An honest node knows a third of the network, and all that are near to it.
        let known: Vec<Peer> = self
            .all()
            .into_iter()
            .filter(|peer| {
                let near = peer.id.distance(&Key::from(asked.id)).leading_zeros() >= 4;
                near || (peer.id.as_bytes()[9] ^ asked.id.as_bytes()[9]).is_multiple_of(3)
            })
            .collect();
        closest(&known, target, 16)
    }

    /// Plays a lookup to its end and returns it.
    fn play(&self, limits: Limits, target: Key, seeds: usize) -> Lookup {
        let mut lookup = Lookup::new(Instant::ZERO, target, "test", limits);
        let all = self.all();
        lookup.seed(closest(&all[..all.len() / 2], &target, seeds));
        let mut now = Instant::ZERO;
        while lookup.finished(now, SOFT_TIMEOUT).is_none() {
            let asked = ask_all(&mut lookup, now);
            assert!(!asked.is_empty(), "it neither asks nor ends");
            now += Duration::from_millis(10);
            for peer in asked {
                lookup.on_answer(now, &peer.id, self.answer(&peer, &target));
            }
        }
        lookup
    }
}

fn limits(paths: usize) -> Limits {
    Limits { goal: 16, paths, requests_max: 128, ..LIMITS }
}

/// The paths on which each node was asked.
fn paths_of(lookup: &Lookup) -> BTreeMap<NodeId, Vec<u8>> {
    let mut paths: BTreeMap<NodeId, Vec<u8>> = BTreeMap::new();
    for query in &lookup.queries {
        paths.entry(query.peer.id).or_default().push(query.path);
    }
    paths
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// "Each node is only used once during the whole lookup process to ensure that the resulting paths are
    /// really disjoint."
    #[test]
    fn no_node_is_asked_on_two_paths(
        seed: u64,
        paths in 1usize..=8,
        honest in 1usize..120,
        colluders in 0usize..40,
        seeds in 1usize..40,
        key: [u8; 32],
    ) {
        let network = Network::new(seed, honest, colluders);
        let lookup = network.play(limits(paths), Key::from_bytes(key), seeds);
        for (node, on) in paths_of(&lookup) {
            prop_assert_eq!(on.len(), 1, "{:?} was asked on {:?}", node, on);
            prop_assert!(usize::from(on[0]) < paths);
        }
        prop_assert!(lookup.queries.len() <= 128);
    }

    /// The order of answers and losses changes nothing of it, and a lookup always ends.
    #[test]
    fn with_losses_in_any_order_paths_stay_disjoint_and_end(
        seed: u64,
        paths in 1usize..=8,
        fates in prop::collection::vec(0u8..4, 1..64),
    ) {
        let network = Network::new(seed, 60, 20);
        let target = Key::from_bytes([7; 32]);
        let mut lookup = Lookup::new(Instant::ZERO, target, "test", limits(paths));
        lookup.seed(closest(&network.all(), &target, 32));
        let (mut now, mut open, mut turn) = (Instant::ZERO, Vec::new(), 0);
        while lookup.finished(now, SOFT_TIMEOUT).is_none() {
            open.extend(ask_all(&mut lookup, now));
            now += Duration::from_millis(30);
            let fate = usize::from(fates[turn % fates.len()]);
            turn += 1;
            if open.is_empty() || fate == 3 {
                continue;
            }
            let peer: Peer = open.swap_remove(fate % open.len());
            match fate {
                0 => lookup.on_failure(now, &peer.id),
                _ => lookup.on_answer(now, &peer.id, network.answer(&peer, &target)),
            }
        }
        for (_, on) in paths_of(&lookup) {
            prop_assert_eq!(on.len(), 1);
        }
    }
}

/// "The initiator starts by taking the k closest nodes to the destination key from its local routing table and
/// distributes them into d independent lookup buckets."
#[test]
fn paths_start_from_different_contacts_dealt_out_by_distance() {
    let all = peers(31, 40);
    let mut lookup = Lookup::new(Instant::ZERO, Key::from_bytes([9; 32]), "test", limits(4));
    let near = closest(&all, &lookup.target(), 16);
    lookup.seed(near.clone());
    for path in 0..4_u8 {
        let dealt: Vec<Peer> = near.iter().skip(usize::from(path)).step_by(4).copied().collect();
        assert_eq!(lookup.on(path).map(|it| it.peer).collect::<Vec<_>>(), dealt);
    }
    let first = ask_all(&mut lookup, Instant::ZERO);
    assert_eq!(first, near[..4], "each path asks its closest");
}

/// "The node continues with d parallel lookups": what a node names is heard of on its own path only, so that
/// one that names its accomplices leads one path astray.
#[test]
fn what_a_node_names_stays_on_its_path() {
    let all = peers(32, 40);
    let mut lookup = Lookup::new(Instant::ZERO, Key::from_bytes([9; 32]), "test", limits(2));
    lookup.seed(all[..2].to_vec());
    let asked = ask_all(&mut lookup, Instant::ZERO);
    lookup.on_answer(Instant::ZERO, &asked[0].id, all[10..20].to_vec());
    let other = lookup.queries.iter().find(|query| query.peer == asked[1]).expect("asked").path;
    assert_eq!(lookup.on(other).map(|it| it.peer).collect::<Vec<_>>(), [asked[1]]);
}

/// "Hence a lookup is still successful" if one path meets no adversary: colluders that answer with made-up nodes
/// nearer than all others end one path and not the lookup.
#[test]
fn one_clean_path_is_enough() {
    let target = Key::from_bytes([9; 32]);
    let mut found = [0, 0];
    for seed in 0..40 {
        let network = Network::new(40 + seed, 200, 0);
        let honest = closest(&network.honest, &target, 16);
        // Ids near the target, which cost a colluder some hashing.
        let ground: Vec<Peer> = closest(&peers(900 + seed, 4000), &target, 16);
        let liar = closest(&network.honest[..100], &target, 1)[0];
        for (at, paths) in [1, 2].into_iter().enumerate() {
            let mut lookup = Lookup::new(Instant::ZERO, target, "test", limits(paths));
            lookup.seed(closest(&network.honest[..100], &target, 2));
            while lookup.finished(Instant::ZERO, SOFT_TIMEOUT).is_none() {
                for peer in ask_all(&mut lookup, Instant::ZERO) {
                    let lies = peer == liar || ground.contains(&peer);
                    let named = if lies { ground.clone() } else { network.answer(&peer, &target) };
                    lookup.on_answer(Instant::ZERO, &peer.id, named);
                }
            }
            let answered: Vec<Peer> = lookup.answered().collect();
            found[at] += honest.iter().filter(|peer| answered.contains(peer)).count();
        }
    }
    assert!(found[1] > 39 * 16, "two paths: {} of 640", found[1]);
    assert!(found[0] < found[1] * 3 / 4, "one path: {} of 640, two: {}", found[0], found[1]);
}

/// The closest nodes are asked once over all paths, so that in a small network more paths cost no requests.
#[test]
fn in_a_small_network_paths_share_the_closest_and_cost_nothing() {
    for count in [5, 17, 50] {
        let network = Network::new(50, count, 0);
        let target = Key::from_bytes([3; 32]);
        let requests = [1, 2, 4].map(|paths| {
            let mut lookup = Lookup::new(Instant::ZERO, target, "test", limits(paths));
            lookup.seed(closest(&network.honest, &target, 32));
            while lookup.finished(Instant::ZERO, SOFT_TIMEOUT).is_none() {
                for peer in ask_all(&mut lookup, Instant::ZERO) {
                    let named = closest(&network.honest, &target, 16);
                    lookup.on_answer(Instant::ZERO, &peer.id, named);
                }
            }
            lookup.queries.len()
        });
        assert_eq!(requests, [count.min(16); 3], "{count} nodes");
    }
}

#[test]
fn a_path_that_names_thousands_pushes_no_candidate_off_the_others() {
    let (all, made_up) = (peers(60, 40), peers(61, 3000));
    let mut lookup = Lookup::new(Instant::ZERO, Key::from_bytes([9; 32]), "test", limits(4));
    lookup.seed(closest(&all, &lookup.target(), 40));
    let asked = ask_all(&mut lookup, Instant::ZERO);
    lookup.on_answer(Instant::ZERO, &asked[0].id, made_up);
    for path in 0..4 {
        let own = lookup.on(path).filter(|it| all.contains(&it.peer)).count();
        let liar = lookup.queries[0].path;
        assert!(path == liar || own == 10, "{own} of path {path}");
        assert!(lookup.on(path).count() <= shortlist_max(4));
    }
}

#[test]
fn of_a_subnet_few_are_candidates_where_subnets_count() {
    let mut all = peers(62, 30);
    for (at, peer) in all.iter_mut().enumerate() {
        // Fifteen in one /24, the others in as many /16.
        let ip = if at < 15 { [9, 9, 9, at as u8] } else { [9, at as u8 + 100, 1, 1] };
        peer.contact.address = (ip, 4000).into();
    }
    let target = Key::from_bytes([9; 32]);
    let limits = Limits { diversity: Diversity::Subnets, ..limits(1) };
    let mut lookup = Lookup::new(Instant::ZERO, target, "test", limits);
    lookup.seed(all.clone());
    let kept: Vec<Peer> = lookup.on(0).map(|it| it.peer).collect();
    let crowded = closest(&all[..15], &target, 2);
    assert_eq!(
        kept.iter().filter(|peer| all[..15].contains(peer)).copied().collect::<Vec<_>>(),
        crowded
    );
    assert_eq!(kept.len(), 17);
    // Those of one subnet begin one path only.
    let mut lookup = Lookup::new(Instant::ZERO, target, "test", Limits { paths: 4, ..limits });
    lookup.seed(all.clone());
    let paths: Vec<u8> =
        (0..4).filter(|path| lookup.on(*path).any(|it| crowded.contains(&it.peer))).collect();
    assert_eq!(paths.len(), 1);
}

#[test]
fn second_parts_are_asked_for_once_when_some_of_the_closest_are_gone() {
    let network = Network::new(70, 200, 0);
    let target = Key::from_bytes([9; 32]);
    let limits = Limits { second_parts: true, ..limits(2) };
    let near = closest(&network.honest, &target, 64);
    // Most of those that the first parts name are gone.
    let gone: Vec<Peer> = near[..16].iter().skip(4).copied().collect();
    let living: Vec<Peer> =
        near.iter().filter(|peer| !gone.contains(peer)).take(16).copied().collect();
    for second_parts in [false, true] {
        let limits = Limits { second_parts, ..limits };
        let mut lookup = Lookup::new(Instant::ZERO, target, "test", limits);
        lookup.seed(near[..16].to_vec());
        let mut second = 0;
        while lookup.finished(Instant::ZERO, SOFT_TIMEOUT).is_none() {
            let asks: Vec<Ask> =
                std::iter::from_fn(|| lookup.next(Instant::ZERO, SOFT_TIMEOUT)).collect();
            assert!(!asks.is_empty());
            for ask in asks {
                second += usize::from(ask.second);
                let part = if ask.second { &near[16..32] } else { &near[..16] };
                if gone.contains(&ask.peer) {
                    lookup.on_failure(Instant::ZERO, &ask.peer.id);
                } else {
                    lookup.on_answer(Instant::ZERO, &ask.peer.id, part.to_vec());
                }
            }
        }
        let found: Vec<Peer> = lookup.answered().take(16).collect();
        assert_eq!(found == living, second_parts, "{} found", found.len());
        assert_eq!(second, if second_parts { 2 } else { 0 }, "one of each path");
    }
}

#[test]
fn in_calm_no_second_part_is_asked_for_and_a_lost_one_is_no_failure() {
    let all = peers(71, 40);
    let limits = Limits { second_parts: true, goal: 4, ..limits(1) };
    let target = Key::from_bytes([9; 32]);
    let near = closest(&all, &target, 8);
    for loses in [false, true] {
        let mut lookup = Lookup::new(Instant::ZERO, target, "test", limits);
        lookup.seed(near.clone());
        let mut second = 0;
        while lookup.finished(Instant::ZERO, SOFT_TIMEOUT).is_none() {
            let ask = lookup.next(Instant::ZERO, SOFT_TIMEOUT).expect("a request");
            second += usize::from(ask.second);
            if ask.second || loses && ask.peer == near[1] {
                lookup.on_failure(Instant::ZERO, &ask.peer.id);
            } else {
                lookup.on_answer(Instant::ZERO, &ask.peer.id, []);
            }
        }
        assert_eq!(second, usize::from(loses));
        assert!(lookup.answered().any(|peer| peer == near[0]), "its first part was read");
        assert_eq!(lookup.finished(Instant::ZERO, SOFT_TIMEOUT), Some(LookupOutcome::Converged));
    }
}
