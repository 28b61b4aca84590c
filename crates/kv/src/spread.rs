//! Which nodes keep a key: the r closest, and more where the r closest may all belong to one attacker.
//!
//! Ids can be chosen: a key pair whose id lies next to a given key is found in about as many tries as the
//! network has nodes. Two signs of that are public, so that all nodes draw the same conclusion:
//!
//! - **Density.** In a network of n nodes about one node lies within 1/n of the space around a key, and about
//!   r within r/n. If the r closest lie so near that chance alone hardly explains it, all nodes within one and
//!   a half times r/n are replicas, as those that would be closest without the intruders are among them.
//! - **Tickets.** Certificates name the ticket that let a member in. If one ticket let in nearly all of the r
//!   closest, the nearest nodes of other tickets are replicas as well, as far as they are among the 2r closest.
//!
//! Where neither sign shows, the replicas are the r closest and nothing costs more. The r closest always
//! belong to the set, so a node whose view differs a little is at most one that keeps a copy too many.

use potluck_base::{Distance, Key, Peer, PublicKey};

/// The chance, in a network without chosen ids, that as many nodes lie as near to a key as some of its closest
/// do, below which the key counts as crowded. Raising it finds intruders that leave more room between
/// themselves, and makes more records of calm networks dearer: since several ranks are looked at and the size of
/// the network is estimated, it is far more keys than this (`calm_networks_have_few_crowded_keys` counts them).
const CROWDED: f64 = 2e-5;
/// The first rank whose distance is looked at. Lower ones lie very near by chance more often.
const FIRST_RANK: usize = 4;
/// How far the replicas of a crowded key reach, in units of the distance within which r nodes are expected.
/// Raising it makes it likelier that r honest nodes are among them (with 1.5 and r = 16, fewer than 8 are with a
/// chance of 1 to 20,000), and makes each write to such a key dearer.
pub(crate) const RADIUS: f64 = 1.5;
/// Most replicas of a crowded key, where twice r is no more: the nodes that a close group has. More intruders
/// than that leave no place for others. Raising it makes each access to such a key dearer.
const WIDE: usize = 48;
/// Replicas that the most frequent ticket did not let in, at least: a part of r, but one. Raising it makes
/// records dearer in networks of a few tickets.
const OUTSIDE_ONE_IN: usize = 4;
/// Places beyond a small replica set in which a node still keeps what a writer stores, and among which nodes
/// of other tickets are looked for. Raising it keeps writes possible when more of the closest nodes vanish at
/// once.
const BEYOND: usize = 4;

/// How a node came into the network, as its certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Origin {
    /// Its certificate is not known here, or the network has none.
    #[default]
    Unknown,
    /// The authority let it in without a ticket.
    Direct,
    /// This ticket let it in.
    Ticket(PublicKey),
}

impl Origin {
    /// Whether the node is known not to have come by this ticket.
    fn is_outside(self, ticket: &PublicKey) -> bool {
        match self {
            Self::Unknown => false,
            Self::Direct => true,
            Self::Ticket(own) => own != *ticket,
        }
    }
}

/// A node and how it came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Placed {
    pub(crate) peer: Peer,
    pub(crate) origin: Origin,
}

/// Places within which a node keeps what writers store under a key.
pub(crate) const fn places(r: usize) -> usize {
    if r > BEYOND { r * 2 } else { r + BEYOND }
}

/// Most replicas of a crowded key.
pub(crate) const fn wide(r: usize) -> usize {
    if r * 2 > WIDE { r * 2 } else { WIDE }
}

/// Replicas that the most frequent ticket did not let in, at least. With one or two replicas there is no room
/// for a rule.
const fn outside(r: usize) -> usize {
    match r {
        0..3 => 0,
        3..OUTSIDE_ONE_IN => 1,
        _ => r / OUTSIDE_ONE_IN,
    }
}

/// The chance that `count` nodes or more lie where this many are expected, when ids are random.
fn chance(expected: f64, count: usize) -> f64 {
    let (mut term, mut fewer) = ((-expected).exp(), 0.0);
    for number in 0..count {
        fewer += term;
        term *= expected / (number + 1) as f64;
    }
    (1.0 - fewer).max(0.0)
}

/// The rule for the replicas of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rule {
    /// The replicas of a key where nothing is wrong.
    pub(crate) r: usize,
    /// Nodes in the network, as far as known; `None` leaves density aside.
    pub(crate) size: Option<f64>,
}

impl Rule {
    /// Nodes that are expected within this distance of any key.
    fn expected(self, distance: Distance) -> Option<f64> {
        self.size.map(|size| size * distance.fraction())
    }

    /// Whether `count` nodes within `distance` of a key are more than chance explains.
    pub(crate) fn is_crowded(self, distance: Distance, count: usize) -> bool {
        self.expected(distance).is_some_and(|expected| chance(expected, count) < CROWDED)
    }

    /// Whether the node at this distance may be one of the r closest: farther ones are only if most of the
    /// nodes between are missing, which hardly happens by chance.
    pub(crate) fn is_plausible(self, distance: Distance) -> bool {
        self.expected(distance).is_none_or(|expected| expected <= (2 * self.r + 16) as f64)
    }

    /// Whether the closest of these nodes lie nearer to `key` than chance explains: some of the first r ranks
    /// are looked at, since a lookup may have missed the others.
    pub(crate) fn is_crowded_by(self, key: &Key, sorted: &[Placed]) -> bool {
        let first = FIRST_RANK.min(self.r);
        let ranks = (first..=self.r).zip(sorted.iter().skip(first.saturating_sub(1)));
        let mut ranks = ranks.map(|(rank, placed)| (placed.peer.distance(key), rank));
        ranks.any(|(distance, rank)| self.is_crowded(distance, rank))
    }

    /// How many of these nodes, closest first, are replicas by their distance.
    fn near(self, key: &Key, sorted: &[Placed]) -> usize {
        let least = self.r.min(sorted.len());
        if !self.is_crowded_by(key, sorted) {
            return least;
        }
        let within = |placed: &&Placed| {
            let expected = self.expected(placed.peer.distance(key));
            expected.is_some_and(|expected| expected <= RADIUS * self.r as f64)
        };
        sorted.iter().take(wide(self.r)).take_while(within).count().max(least)
    }

    /// The replicas of `key` among these nodes, closest first.
    pub(crate) fn replicas(self, key: &Key, sorted: &[Placed]) -> Vec<Peer> {
        let near = self.near(key, sorted);
        let (near, beyond) = sorted.split_at(near);
        let missing = missing_outside(self.r, near);
        let further = missing.into_iter().flat_map(|(ticket, missing)| {
            let places = places(self.r).saturating_sub(near.len());
            let others = beyond.iter().take(places);
            others.filter(move |placed| placed.origin.is_outside(&ticket)).take(missing)
        });
        near.iter().chain(further).map(|placed| placed.peer).collect()
    }

    /// Why these nodes, closest first, may not show the replicas of `key`; `None` if they do.
    pub(crate) fn lacks(self, key: &Key, sorted: &[Placed]) -> Option<Lack> {
        let near = self.near(key, sorted);
        if self.is_crowded_by(key, sorted) {
            return Some(Lack::Crowded);
        }
        let (ticket, missing) = missing_outside(self.r, &sorted[..near])?;
        let found = self.replicas(key, sorted).len() - near;
        (found < missing && sorted.len() < places(self.r)).then_some(Lack::Ticket(ticket))
    }
}

/// Why more nodes have to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The key is crowded.
    Crowded,
    /// This ticket let in too many of the closest.
    Ticket(PublicKey),
}

/// The most frequent ticket of these nodes, and how many nodes of others are missing beside them.
fn missing_outside(r: usize, near: &[Placed]) -> Option<(PublicKey, usize)> {
    let mut tickets: Vec<PublicKey> = near
        .iter()
        .filter_map(|placed| match placed.origin {
            Origin::Ticket(ticket) => Some(ticket),
            Origin::Unknown | Origin::Direct => None,
        })
        .collect();
    tickets.sort_unstable();
    let most = tickets.chunk_by(PartialEq::eq).max_by_key(|same| same.len())?;
    let ticket = *most.first()?;
    let others = near.iter().filter(|placed| placed.origin.is_outside(&ticket)).count();
    let missing = outside(r).saturating_sub(others);
    (missing > 0).then_some((ticket, missing))
}

#[cfg(test)]
mod tests {
    use potluck_base::{Admission, Contact, Identity, NetworkId, Rng};
    use proptest::prelude::*;

    use super::*;
    use crate::placement::CloseGroup;

    fn peer(rng: &mut Rng) -> Peer {
        let network = NetworkId::new("test", Admission::Lab, None);
        let key = Identity::from_seed(rng.bytes()).public_key();
        Contact::new(key, ([127, 0, 0, 1], 1).into()).in_network(&network)
    }

    /// A node of an id that was chosen, which shares about this many bits with the key.
    fn chosen(rng: &mut Rng, key: &Key, bits: u32) -> Peer {
        let noise = Key::from_bytes(rng.bytes());
        let mut id = *key.prefix_bound(bits, false).as_bytes();
        for (byte, (kept, noise)) in
            id.iter_mut().zip(key.prefix_bound(bits, true).as_bytes().iter().zip(noise.as_bytes()))
        {
            *byte |= (kept ^ *byte) & noise;
        }
        Peer { id: potluck_base::NodeId::from_bytes(id), ..peer(rng) }
    }

    fn ticket(number: u8) -> PublicKey {
        Identity::from_seed([number; 32]).public_key()
    }

    fn sorted(key: &Key, nodes: &[Placed]) -> Vec<Placed> {
        let mut all = nodes.to_vec();
        all.sort_by_key(|placed| placed.peer.distance(key));
        all
    }

    fn unknown(peers: impl IntoIterator<Item = Peer>) -> Vec<Placed> {
        peers.into_iter().map(|peer| Placed { peer, origin: Origin::Unknown }).collect()
    }

    #[test]
    fn chances_are_those_of_a_poisson_distribution() {
        for (expected, count, chance_of) in
            [(5.0, 20, 3.5e-7), (16.0, 16, 0.533), (1.0, 1, 0.632), (0.0, 1, 0.0), (3.0, 0, 1.0)]
        {
            let found = chance(expected, count);
            assert!((found - chance_of).abs() <= chance_of * 0.02, "{expected} {count}: {found}");
        }
    }

    #[test]
    fn calm_networks_have_few_crowded_keys() {
        for r in [3, 5, 16] {
            let (mut crowded, mut all) = (0, 0);
            for seed in 0..40 {
                let mut rng = Rng::from_number(seed);
                let peers: Vec<Peer> = (0..250).map(|_| peer(&mut rng)).collect();
                // The reader estimates the size from what is around itself, the key lies anywhere.
                let me = Key::from(peers[0].id);
                let mut others = peers[1..].to_vec();
                others.sort_by_key(|peer| peer.distance(&me));
                others.truncate(48);
                let size = CloseGroup::new(peers[0], others).sized(&peers[0].id, 48).size();
                let rule = Rule { r, size };
                for _ in 0..250 {
                    let key = Key::from_bytes(rng.bytes());
                    let nodes = sorted(&key, &unknown(peers.iter().copied()));
                    all += 1;
                    crowded += usize::from(rule.lacks(&key, &nodes[..=r]).is_some());
                }
            }
            println!("r {r}: {crowded} of {all}");
            assert!(crowded * 500 <= all, "r {r}: {crowded} of {all} keys are crowded");
        }
    }

    #[test]
    fn twenty_chosen_ids_leave_room_for_honest_replicas() {
        for seed in 0..50 {
            let mut rng = Rng::from_number(seed);
            let key = Key::from_bytes(rng.bytes());
            let honest: Vec<Peer> = (0..1000).map(|_| peer(&mut rng)).collect();
            let sybils = (0..20).map(|_| chosen(&mut rng, &key, 14));
            let nodes = sorted(&key, &unknown(honest.iter().copied().chain(sybils)));
            let rule = Rule { r: 16, size: Some(1000.0) };
            let set = rule.replicas(&key, &nodes);
            let right = set.iter().filter(|peer| honest.contains(peer)).count();
            assert!(right >= 8 && set.len() <= wide(16), "{right} of {}", set.len());
            assert!(rule.lacks(&key, &nodes[..17]).is_some(), "a lookup must go on");
            let blind = Rule { r: 16, size: None }.replicas(&key, &nodes);
            let honest = blind.iter().filter(|peer| honest.contains(peer)).count();
            assert!(honest <= 1, "nearly all are chosen ids");
        }
    }

    #[test]
    fn nodes_that_are_too_far_away_are_not_believed() {
        let rule = Rule { r: 16, size: Some(1000.0) };
        let mut rng = Rng::from_number(1);
        let key = Key::from_bytes(rng.bytes());
        let nodes = sorted(&key, &unknown((0..1000).map(|_| peer(&mut rng))));
        assert!(nodes[..16].iter().all(|one| rule.is_plausible(one.peer.distance(&key))));
        assert!(!rule.is_plausible(nodes[80].peer.distance(&key)));
        let small = Rule { r: 16, size: Some(30.0) };
        assert!(small.is_plausible(nodes[999].peer.distance(&key)), "few nodes lie anywhere");
    }

    /// Nodes of up to three tickets and without one, and a key.
    fn networks() -> impl Strategy<Value = (Key, Vec<Placed>)> {
        (any::<u64>(), 4_usize..120, 0_usize..24).prop_map(|(seed, count, chosen_ones)| {
            let mut rng = Rng::from_number(seed);
            let key = Key::from_bytes(rng.bytes());
            let mut peers: Vec<Peer> = (0..count).map(|_| peer(&mut rng)).collect();
            peers.extend((0..chosen_ones).map(|_| chosen(&mut rng, &key, 9)));
            let few = rng.below(3);
            let nodes = peers.into_iter().map(|peer| {
                let origin = match rng.below(2 + few) {
                    0 => Origin::Ticket(ticket(1)),
                    1 => Origin::Ticket(ticket(if few == 0 { 1 } else { 2 })),
                    2 => Origin::Direct,
                    _ => Origin::Unknown,
                };
                Placed { peer, origin }
            });
            (key, nodes.collect())
        })
    }

    proptest! {
        #[test]
        fn the_replicas_are_the_same_in_every_view_that_shows_them(
            (key, nodes) in networks(),
            r in 1_usize..20,
            skip in any::<u64>(),
        ) {
            let rule = Rule { r, size: Some(nodes.len() as f64) };
            let all = sorted(&key, &nodes);
            let set = rule.replicas(&key, &all);
            // Another node knows these nodes in another order, and does not know some of the farther ones.
            let mut rng = Rng::from_number(skip);
            let window = wide(r);
            let mut view: Vec<Placed> = all
                .iter()
                .enumerate()
                .filter(|(place, _)| *place <= window || rng.chance(0.5))
                .map(|(_, placed)| *placed)
                .collect();
            rng.shuffle(&mut view);
            prop_assert_eq!(rule.replicas(&key, &sorted(&key, &view)), set);
        }

        #[test]
        fn the_closest_belong_to_the_set_and_it_is_bounded(
            (key, nodes) in networks(),
            r in 1_usize..20,
        ) {
            let all = sorted(&key, &nodes);
            let set = Rule { r, size: Some(nodes.len() as f64) }.replicas(&key, &all);
            let closest: Vec<Peer> = all.iter().take(r).map(|placed| placed.peer).collect();
            prop_assert_eq!(&set[..closest.len()], &closest[..]);
            prop_assert!(set.len() <= wide(r) + outside(r));
            prop_assert!(set.is_sorted_by_key(|peer| peer.distance(&key)));
        }

        #[test]
        fn one_ticket_has_not_all_replicas_if_others_are_near(
            (key, nodes) in networks(),
            r in 3_usize..20,
        ) {
            let all = sorted(&key, &nodes);
            let set = Rule { r, size: None }.replicas(&key, &all);
            let origin = |peer: &Peer| {
                let found = nodes.iter().find(|placed| placed.peer.id == peer.id);
                found.map(|placed| placed.origin).unwrap_or_default()
            };
            for number in [1, 2] {
                let ticket = ticket(number);
                let others = |count: usize| {
                    let near = all.iter().take(count);
                    near.filter(|placed| placed.origin.is_outside(&ticket)).count()
                };
                let mine = |set: &[Peer]| {
                    let own = |peer: &&Peer| origin(peer) == Origin::Ticket(ticket);
                    set.iter().filter(own).count()
                };
                let closest: Vec<Peer> = all.iter().take(r).map(|placed| placed.peer).collect();
                if mine(&closest) * 2 > r {
                    let outside_now =
                        set.iter().filter(|peer| origin(peer).is_outside(&ticket)).count();
                    prop_assert!(outside_now >= outside(r).min(others(places(r))));
                }
            }
        }
    }
}
