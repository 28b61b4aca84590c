//! What speaks against an answer that looks final: it is looked up once more, over a wider set of nodes, before
//! it is believed.
//!
//! | doubt | sign | then |
//! |---|---|---|
//! | crowded | the closest nodes lie nearer to the key than chance explains | the nodes all around are looked for |
//! | ticket | the nodes that agree, or the closest, were let in by one ticket that let in few others | the 2r closest are asked |
//! | far | some of the closest that were found are farther away than the closest can be | the nodes all around are looked for |
//! | disputed | a node claims to hold a record that others say is not there | the 2r closest are asked |
//! | older | this node read a newer version before | the nodes all around are looked for |
//!
//! Intruders that sit next to a key are in each answer to a lookup of the key, which names the closest nodes, and
//! leave no place for others. The nodes all around are found by lookups of keys beside it: keys that differ from
//! it in one of the first bits. In answers to these the nodes of the other half of a subtree come first, and the
//! intruders, which are all in one small subtree, last. It is also a second way to each node.
//!
//! In a calm network none of these signs shows, so a read and a write cost what they cost without.

use potluck_base::{Key, Peer, PublicKey};

use crate::core::Core;
use crate::placement::CloseGroup;
use crate::spread::{Lack, Origin, Placed, RADIUS, Rule};

/// Most lookups beside a key. Raising it finds more of the few nodes next to a key, at a lookup each.
const BESIDE_MAX: usize = 8;

/// Why an answer is not believed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The key is crowded.
    Crowded,
    /// One ticket let in all that agree.
    Ticket,
    /// Those that answered are farther away than the closest can be.
    Far,
    /// Some answers contradict the others.
    Disputed,
    /// A newer version was read before.
    Older,
}

impl Doubt {
    /// The reason of the second lookup, for traces.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::Crowded => "wider: crowded key",
            Self::Ticket => "wider: one ticket",
            Self::Far => "wider: far answers",
            Self::Disputed => "wider: disputed",
            Self::Older => "wider: older answer",
        }
    }
}

impl Core {
    pub(crate) const fn rule(&self) -> Rule {
        let size = if self.config.defences.density_alarm { self.close_group.size() } else { None };
        Rule { r: self.config.replication as usize, size }
    }

    /// Takes the nodes closest to this one.
    pub(crate) fn regroup(&mut self, peers: Vec<Peer>) {
        let mut group = CloseGroup::new(self.me, peers);
        if self.config.defences.density_alarm {
            group = group.sized(&self.me.id, self.config.close_group_size);
        }
        if self.config.defences.spread_tickets && self.membership.is_required() {
            group = group.with_origins(|key| self.membership.origin_of(key));
        }
        self.close_group = group;
    }

    /// A member's certificate came, which may say how a node of the close group came.
    pub(crate) fn learn_origin(&mut self, member: &PublicKey) {
        if self.config.defences.spread_tickets && self.close_group.has_key(member) {
            let origin = self.membership.origin_of(member);
            self.close_group.learn_origin(member, origin);
        }
    }

    /// The keys beside `key` whose lookups find the nodes all around it: in each subtree that meets the
    /// distance within which the replicas of a crowded key lie. None if the 2r closest will do.
    pub(crate) fn beside(&self, key: &Key, doubt: Doubt) -> Vec<Key> {
        let size = self.close_group.size().filter(|_| self.config.defences.density_alarm);
        match (doubt, size) {
            (Doubt::Crowded | Doubt::Far | Doubt::Older, Some(size)) => {
                let radius = RADIUS * self.replication() as f64;
                let first = (size / radius).max(1.0).log2().floor() as u32;
                let last = size.clamp(1.0, 1e18).log2().ceil() as u32;
                (first..=last).take(BESIDE_MAX).map(|bit| key.flip(bit)).collect()
            }
            (Doubt::Crowded | Doubt::Far | Doubt::Older | Doubt::Ticket | Doubt::Disputed, _) => {
                Vec::new()
            }
        }
    }

    fn placed(&mut self, peers: &[Peer]) -> Vec<Placed> {
        let spread = self.config.defences.spread_tickets && self.membership.is_required();
        let mut placed = |peer: &Peer| {
            let origin = match spread {
                true => self.membership.origin_of(&peer.contact.public_key),
                false => Origin::Unknown,
            };
            Placed { peer: *peer, origin }
        };
        peers.iter().map(&mut placed).collect()
    }

    /// The replicas of `key` among the nodes that a lookup found, closest first.
    pub(crate) fn replicas_among(&mut self, key: &Key, nearest: &[Peer]) -> Vec<Peer> {
        let placed = self.placed(nearest);
        self.rule().replicas(key, &placed)
    }

    /// What speaks against these being all the replicas of `key` and more.
    pub(crate) fn doubts_place(&mut self, key: &Key, nearest: &[Peer]) -> Option<Doubt> {
        let (placed, rule) = (self.placed(nearest), self.rule());
        match rule.lacks(key, &placed) {
            Some(Lack::Crowded) => Some(Doubt::Crowded),
            Some(Lack::Ticket(ticket)) if !self.close_group.is_common(&ticket) => {
                Some(Doubt::Ticket)
            }
            Some(Lack::Ticket(_)) | None => {
                let mut closest = nearest.iter().take(rule.r);
                let is_far = closest.any(|peer| !rule.is_plausible(peer.distance(key)));
                is_far.then_some(Doubt::Far)
            }
        }
    }

    /// Whether one ticket let in all of these, and not most of the nodes that this one knows.
    fn is_of_one_ticket(&mut self, nodes: &[Peer]) -> bool {
        let placed = self.placed(nodes);
        let Some(Origin::Ticket(ticket)) = placed.first().map(|placed| placed.origin) else {
            return false;
        };
        let all = placed.iter().all(|placed| placed.origin == Origin::Ticket(ticket));
        all && !self.close_group.is_common(&ticket)
    }

    /// What speaks against an agreement of these nodes, closest first, before all have answered.
    pub(crate) fn doubts_agreement(&mut self, key: &Key, agreeing: &[Peer]) -> Option<Doubt> {
        let crowded = agreeing
            .last()
            .is_some_and(|last| self.rule().is_crowded(last.distance(key), agreeing.len()));
        if crowded {
            return Some(Doubt::Crowded);
        }
        self.is_of_one_ticket(agreeing).then_some(Doubt::Ticket)
    }

    /// Those of these nodes that may be among the closest to `key`, by the size of the network.
    pub(crate) fn plausible<'a>(
        &self,
        key: &Key,
        nodes: impl IntoIterator<Item = &'a Peer>,
    ) -> Vec<Peer> {
        let rule = self.rule();
        nodes.into_iter().filter(|peer| rule.is_plausible(peer.distance(key))).copied().collect()
    }
}
