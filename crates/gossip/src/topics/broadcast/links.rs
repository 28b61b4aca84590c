//! The links under the broadcast: what is done when one comes or goes, and which of them are eager.

use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey};

use super::super::cost::Cost;
use super::super::scores::{Fault, Penalty};
use super::super::shared::{Shared, pick};
use super::Broadcast;
use super::peer::Peer;
use super::tree::Tree;

impl Broadcast {
    /// A link was made (algorithm 3, `NeighborUp`): it is eager on the shared tree. The neighbour
    /// gets what no other one has acknowledged, and a summary.
    pub(in crate::topics) fn link_up(
        &mut self,
        shared: &mut Shared,
        contact: Contact,
        joined: Instant,
        surplus: bool,
    ) {
        let key = contact.public_key;
        self.trees.links_changed();
        let mut peer = Box::new(Peer::new(shared, contact, joined));
        self.acks.push_to(shared, &self.cache, key, &mut peer);
        self.peers.insert(key, peer);
        self.summarise_to(shared, &key, true);
        if surplus {
            self.mark_surplus(shared, &key);
        }
    }

    /// A surplus link is lazy, since the tree works without it. If it leads to another partition of
    /// the overlay, its announcements will show it.
    fn mark_surplus(&mut self, shared: &Shared, key: &PublicKey) {
        let eager =
            self.peers.iter().filter(|(of, peer)| *of != key && peer.is_eager(Tree::Shared));
        let enough = eager.count() >= shared.config.parents(shared.mode);
        if let Some(peer) = self.peers.get_mut(key).filter(|_| enough) {
            peer.eager_trees.prune(shared.now, Tree::Shared);
        }
    }

    /// A link was lost (algorithm 3, `NeighborDown`).
    pub(in crate::topics) fn link_down(&mut self, shared: &mut Shared, peer: &PublicKey) {
        if self.peers.remove(peer).is_none() {
            return;
        }
        self.trees.links_changed();
        self.missing.remove_peer(peer);
        self.replace_parent(shared, peer);
        self.keep_parents(shared, None);
    }

    /// A neighbour does not answer: it gets announcements only, and others replace it.
    pub(in crate::topics) fn link_silent(&mut self, shared: &mut Shared, peer: &PublicKey) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.silent = true;
        known.queue.make_lazy(shared.now);
        self.replace_parent(shared, peer);
        self.keep_parents(shared, None);
    }

    /// A silent neighbour counts as working again. If it `answered`, it is told of the messages that
    /// it missed meanwhile.
    pub(in crate::topics) fn link_back(
        &mut self,
        shared: &mut Shared,
        peer: &PublicKey,
        answered: bool,
    ) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.silent = false;
        if answered {
            self.summarise_to(shared, peer, true);
        }
    }

    /// A neighbour's score is too low for eager pushes: its link becomes lazy on every tree.
    pub(in crate::topics) fn link_distrusted(&mut self, shared: &mut Shared, peer: &PublicKey) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.eager_trees.prune_all();
        known.distrusted = true;
        self.replace_parent(shared, peer);
        self.keep_parents(shared, None);
    }

    /// A neighbour sent a request from this address.
    pub(in crate::topics) fn on_request(&mut self, from: Contact) {
        if let Some(peer) = self.peers.get_mut(&from.public_key) {
            peer.set_contact(from);
        }
    }

    /// A neighbour answered a request after this round-trip time.
    pub(in crate::topics) fn on_round_trip(&mut self, peer: &PublicKey, rtt: Duration) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.rtt.sample(rtt);
        }
    }

    /// Whether there is no healthy link.
    pub(in crate::topics) fn is_alone(&self) -> bool {
        !self.peers.values().any(|peer| peer.is_healthy())
    }

    /// A random healthy neighbour.
    pub(super) fn random_neighbour(&self, shared: &mut Shared) -> Option<PublicKey> {
        let healthy = self.peers.iter().filter(|(_, peer)| peer.is_healthy());
        pick(&mut shared.rng, healthy.map(|(key, _)| key).collect())
    }

    /// What the trees lose with the link to `peer`: each tree through it loses a subtree, and a node
    /// near the root mostly finds another parent far from it. `me`: this node's own key.
    pub(in crate::topics) fn cost(&self, now: Instant, me: &PublicKey, peer: &PublicKey) -> Cost {
        let Some(neighbour) = self.peers.get(peer) else { return Cost::NONE };
        self.trees.recent(now).fold(Cost::NONE, |cost, (tree, state)| {
            let (down, up) = (neighbour.is_eager(tree), state.has_parent(peer));
            let at_root = match &tree {
                Tree::Shared => false,
                Tree::Of(publisher) => (publisher == me && down) || (publisher == peer && up),
            };
            Cost {
                roots: cost.roots + usize::from(at_root),
                trees: cost.trees + usize::from(down || up),
            }
        })
    }

    /// Applies the limits of another mode.
    pub(in crate::topics) fn set_mode(&mut self, shared: &mut Shared) {
        for peer in self.peers.values_mut() {
            peer.ihave_ids = shared.limits().ihave_ids.bucket();
            peer.signatures = shared.limits().signatures.bucket();
        }
        self.seen.set_rate(self.publisher_rate(shared).bucket());
        self.keep_parents(shared, None);
    }

    /// A neighbour broke a rule. If it is ignored from now on, the caller drops its link.
    pub(super) fn fault(&mut self, shared: &mut Shared, peer: PublicKey, fault: Fault) -> Penalty {
        let penalty = shared.scores.fault(shared.now, peer, fault);
        match penalty {
            Penalty::Pruned => self.link_distrusted(shared, &peer),
            Penalty::Tolerated | Penalty::Ignored => {}
        }
        penalty
    }

    // --- eager links ---

    /// The tree of a message.
    pub(super) fn tree_of(&self, publisher: PublicKey, sequence: u64) -> Tree {
        Tree::of(self.system, publisher, sequence)
    }

    /// Keeps enough eager links on the shared tree, by grafting those with the lowest round trip.
    pub(super) fn keep_parents(&mut self, shared: &mut Shared, except: Option<&PublicKey>) {
        let eager = self.peers.values().filter(|peer| peer.is_eager(Tree::Shared));
        for _ in eager.count()..shared.config.parents(shared.mode) {
            let Some(peer) = self.fastest_beside(Tree::Shared, except) else { return };
            self.graft(shared, &peer, Vec::new(), Some(Tree::Shared));
        }
    }

    /// A publisher keeps at least one eager link on its tree, even if all neighbours pruned it or
    /// the eager ones left. Announcements alone are not enough: no node waits for their
    /// acknowledgement, and receivers bound how many they remember.
    pub(super) fn keep_child(&mut self, now: Instant, tree: Tree, except: Option<&PublicKey>) {
        if self.peers.values().any(|peer| peer.is_eager(tree)) {
            return;
        }
        let fastest = self.fastest_beside(tree, except);
        if let Some(peer) = fastest.and_then(|key| self.peers.get_mut(&key)) {
            peer.eager_trees.graft(now, tree);
        }
    }

    /// The lazy link with the lowest round trip that may be eager on this tree.
    fn fastest_beside(&self, tree: Tree, except: Option<&PublicKey>) -> Option<PublicKey> {
        let beside = self.peers.iter().filter(|(key, peer)| {
            Some(*key) != except && peer.may_be_eager() && !peer.eager_trees.is_eager(tree)
        });
        let fastest = beside.min_by_key(|(_, peer)| peer.round_trip());
        fastest.map(|(key, _)| *key)
    }

    /// A neighbour delivers nothing any more. Where it was the parent, the backup parent takes over
    /// before a message is missed.
    fn replace_parent(&mut self, shared: &mut Shared, lost: &PublicKey) {
        for (tree, next, id) in self.trees.on_peer_lost(lost) {
            if self.peers.get(&next).is_some_and(|peer| peer.may_be_eager()) {
                self.graft(shared, &next, tree.empty_range(&id), Some(tree));
            }
        }
    }
}
