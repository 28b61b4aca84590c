//! The parent of each tree: the peer from which this node receives its messages, and when it
//! changes.

use std::time::Duration;

use potluck_base::{Instant, PublicKey};

use super::eager_trees::{IDLE, PerPublisher};
use super::tree::Tree;
use crate::message::MessageId;

/// A tree is changed for speed at most once in this time after links changed, and in twice the time
/// after each further change. Every change costs duplicate copies, and the publishers that share a
/// tree have different fastest links. A higher value keeps slow trees for longer.
const SWITCH_INTERVAL: Duration = Duration::from_secs(5);
/// The longest time between two such changes.
const SWITCH_INTERVAL_MAX: Duration = Duration::from_secs(160);
/// Lateness is recorded once in this time for each tree: messages that arrive together are late
/// together, and count as one sample.
const NOTE_INTERVAL: Duration = Duration::from_millis(100);
/// While a tree delivers a publisher's messages with gaps below this, announced messages behind
/// them are still on their way. A higher value grafts later.
const FLOW_GAP_MAX: Duration = Duration::from_millis(500);
/// A parent that was not the first sender of this many messages in a row is replaced.
const PARENT_LATE_MAX: u32 = 2;

/// A new message that arrived over a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// The message.
    pub(super) id: MessageId,
    /// The peer that sent it.
    pub(super) from: PublicKey,
    /// The first peer that announced it before.
    pub(super) announced_by: Option<PublicKey>,
    /// Whether it was flooded over every link.
    pub(super) flood: bool,
}

/// The state of one tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct TreeState {
    /// When it last delivered a new message.
    pub(super) fresh_at: Instant,
    /// When a message last used it.
    pub(super) used_at: Option<Instant>,
    /// When lateness was last recorded.
    noted_at: Instant,
    /// When it was last changed for speed, and in `pause` how long it then stays unchanged.
    switched_at: Instant,
    pause: Duration,
    /// The last message. `parent`: the peer that sends this tree's messages. `backup`: the first
    /// other peer to announce the last message. It probably did not get it from us, so it becomes
    /// parent if `parent` fails.
    last: Option<MessageId>,
    parent: Option<PublicKey>,
    backup: Option<PublicKey>,
    /// How many messages in a row another peer delivered first.
    late_in_row: u32,
    /// The message that the parent last delivered, and when, new or not.
    flow: Option<(MessageId, Instant)>,
}

impl TreeState {
    /// A new tree is not changed for speed at first.
    fn new(now: Instant) -> Self {
        let (last, parent, backup) = (None, None, None);
        let (fresh_at, noted_at, switched_at) = (Instant::ZERO, Instant::ZERO, now);
        Self {
            fresh_at,
            used_at: None,
            noted_at,
            switched_at,
            pause: SWITCH_INTERVAL,
            last,
            parent,
            backup,
            late_in_row: 0,
            flow: None,
        }
    }

    /// A message arrived. With `at_once` its sender becomes the parent; otherwise the parent must be
    /// late twice in a row.
    fn on_received(&mut self, arrival: Arrival, at_once: bool) {
        let Arrival { id, from, announced_by, .. } = arrival;
        self.late_in_row = if self.parent == Some(from) { 0 } else { self.late_in_row + 1 };
        if at_once || self.parent.is_none() || self.late_in_row >= PARENT_LATE_MAX {
            (self.parent, self.late_in_row) = (Some(from), 0);
        }
        self.last = Some(id);
        // A peer that delivered it before the parent is a backup as well.
        let mut others = announced_by.into_iter().chain([from]);
        self.backup = others.find(|peer| self.parent != Some(*peer));
    }

    /// Whether `peer` is the parent.
    pub(super) fn has_parent(&self, peer: &PublicKey) -> bool {
        self.parent.as_ref() == Some(peer)
    }

    /// Until when an announced message need not be grafted, since the tree still delivers older
    /// messages of its publisher.
    pub(super) fn flows_until(&self, id: &MessageId) -> Option<Instant> {
        let (last, at) = self.flow?;
        let same = (last.publisher, last.incarnation) == (id.publisher, id.incarnation);
        (same && last.sequence < id.sequence).then(|| at + FLOW_GAP_MAX)
    }

    /// The parent delivered a message, perhaps one that had arrived over another link before.
    fn note_flow(&mut self, now: Instant, id: MessageId) {
        self.flow = Some((id, now));
    }

    /// `peer` announces a message that has arrived.
    pub(super) fn on_ihave(&mut self, id: &MessageId, peer: PublicKey) {
        if self.last == Some(*id) && self.parent != Some(peer) {
            self.backup.get_or_insert(peer);
        }
    }

    /// `peer` delivers nothing any more. If it was the parent and a backup is known: the backup,
    /// which takes over, and the last message.
    fn on_peer_lost(&mut self, peer: &PublicKey) -> Option<(PublicKey, MessageId)> {
        self.backup.take_if(|backup| backup == peer);
        self.parent.take_if(|parent| parent == peer)?;
        self.backup.take().zip(self.last)
    }

    /// Whether lateness may be recorded now; if so, it counts as recorded.
    pub(super) fn may_note(&mut self, now: Instant) -> bool {
        let may = now.since(self.noted_at) >= NOTE_INTERVAL;
        if may {
            self.noted_at = now;
        }
        may
    }

    /// Whether the tree may be changed for speed now; if so, it counts as changed.
    pub(super) fn may_switch(&mut self, now: Instant) -> bool {
        let may = now.since(self.switched_at) >= self.pause;
        if may {
            self.switched_at = now;
            self.pause = (self.pause * 2).min(SWITCH_INTERVAL_MAX);
        }
        may
    }
}

/// The state of all trees of a topic.
#[derive(Debug, Clone)]
pub(super) struct Trees {
    shared: TreeState,
    own: PerPublisher<TreeState>,
}

impl Trees {
    pub(super) fn new(now: Instant) -> Self {
        Self { shared: TreeState::new(now), own: PerPublisher::default() }
    }

    /// The state of a tree. Publishers without a place use the shared tree.
    pub(super) fn of(&mut self, now: Instant, tree: Tree) -> &mut TreeState {
        match tree {
            Tree::Shared => &mut self.shared,
            Tree::Of(publisher) => {
                let own = self.own.get_mut(now, publisher, || TreeState::new(now));
                own.unwrap_or(&mut self.shared)
            }
        }
    }

    /// The state of a tree that was used before.
    pub(super) fn known(&mut self, tree: Tree) -> Option<&mut TreeState> {
        match tree {
            Tree::Shared => Some(&mut self.shared),
            Tree::Of(publisher) => self.own.peek_mut(&publisher),
        }
    }

    /// A message of this tree arrived.
    pub(super) fn on_received(&mut self, now: Instant, tree: Tree, arrival: Arrival) {
        let own = match tree {
            Tree::Shared => None,
            Tree::Of(publisher) => self.own.get_mut(now, publisher, || TreeState::new(now)),
        };
        // Each publisher on the shared tree has another parent.
        let at_once = arrival.flood || own.is_none();
        let state = own.unwrap_or(&mut self.shared);
        state.fresh_at = now;
        state.on_received(arrival, at_once);
        state.note_flow(now, arrival.id);
    }

    /// A duplicate arrived from `from`.
    pub(super) fn on_duplicate(
        &mut self,
        now: Instant,
        tree: Tree,
        id: MessageId,
        from: &PublicKey,
    ) {
        if self.is_own_parent(tree, from)
            && let Some(state) = self.known(tree)
        {
            state.note_flow(now, id);
        }
    }

    /// `peer` was pruned from a tree: it is not its parent any more.
    pub(super) fn on_pruned(&mut self, tree: Tree, peer: &PublicKey) {
        if let Some(state) = self.known(tree) {
            state.parent.take_if(|parent| parent == peer);
        }
    }

    /// All trees that carried a message lately.
    pub(super) fn recent(&self, now: Instant) -> impl Iterator<Item = (Tree, &TreeState)> {
        let own = self.own.iter().map(|(of, state)| (Tree::Of(of), state));
        let all = std::iter::once((Tree::Shared, &self.shared)).chain(own);
        all.filter(move |(_, state)| state.used_at.is_some_and(|at| now.since(at) < IDLE))
    }

    /// Whether `peer` is the parent on a publisher's own tree. It stays the parent although another
    /// peer delivered one message sooner: when a datagram of the parent is lost, the message comes
    /// back from this node's children, and without the parent it would go on coming from there.
    pub(super) fn is_own_parent(&self, tree: Tree, peer: &PublicKey) -> bool {
        let Tree::Of(publisher) = tree else { return false };
        self.own.get(&publisher).is_some_and(|state| state.has_parent(peer))
    }

    /// `peer` delivers nothing any more: the trees on which it was the parent, the backup of each,
    /// and its last message.
    pub(super) fn on_peer_lost(&mut self, peer: &PublicKey) -> Vec<(Tree, PublicKey, MessageId)> {
        let own = self.own.iter_mut().map(|(of, state)| (Tree::Of(of), state));
        std::iter::once((Tree::Shared, &mut self.shared))
            .chain(own)
            .filter_map(|(tree, state)| state.on_peer_lost(peer).map(|(next, id)| (tree, next, id)))
            .collect()
    }

    /// A link was made or lost: other paths may be faster now.
    pub(super) fn links_changed(&mut self) {
        self.shared.pause = SWITCH_INTERVAL;
        self.own.iter_mut().for_each(|(_, state)| state.pause = SWITCH_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{publisher, second};
    use super::*;

    fn arrival(id: MessageId, from: PublicKey, announced_by: Option<PublicKey>) -> Arrival {
        Arrival { id, from, announced_by, flood: false }
    }

    #[test]
    fn a_tree_rests_twice_as_long_after_each_change_until_links_change() {
        let mut trees = Trees::new(second(0));
        let tree = Tree::Of(publisher(1));
        let mut may = |at| trees.of(second(at), tree).may_switch(second(at));
        let changed = [0, 4, 5, 14, 15, 34, 35].map(&mut may);
        assert_eq!(changed, [false, false, true, false, true, false, true]);
        trees.links_changed();
        assert!(trees.of(second(40), tree).may_switch(second(40)));
        assert!(trees.of(second(40), Tree::Shared).may_switch(second(40)));
    }

    #[test]
    fn the_first_announcer_of_the_last_message_replaces_a_lost_parent_once() {
        let mut trees = Trees::new(second(0));
        let [parent, second_best, third] = [2, 3, 4].map(publisher);
        let id = |sequence| MessageId { publisher: publisher(1), incarnation: 1, sequence };
        let tree = Tree::Of(publisher(1));
        let state = trees.of(second(1), tree);
        state.on_received(arrival(id(8), third, None), true);
        state.on_received(arrival(id(9), parent, None), true);
        state.on_ihave(&id(8), third);
        state.on_ihave(&id(9), parent);
        state.on_ihave(&id(9), second_best);
        state.on_ihave(&id(9), third);
        assert_eq!(trees.on_peer_lost(&third), []);
        assert_eq!(trees.on_peer_lost(&parent), [(tree, second_best, id(9))]);
        assert_eq!(trees.on_peer_lost(&parent), []);
        trees.of(second(2), tree).on_received(arrival(id(10), parent, Some(second_best)), true);
        assert_eq!([trees.on_peer_lost(&second_best), trees.on_peer_lost(&parent)], [[], []]);
    }

    #[test]
    fn a_parent_stays_until_it_was_late_twice_in_a_row() {
        let mut trees = Trees::new(second(0));
        let [parent, other] = [2, 3].map(publisher);
        let id = |sequence| MessageId { publisher: publisher(1), incarnation: 1, sequence };
        let tree = Tree::Of(publisher(1));
        let mut parents = Vec::new();
        for (sequence, from) in [parent, other, parent, other, other].into_iter().enumerate() {
            let state = trees.of(second(1), tree);
            state.on_received(arrival(id(sequence as u64), from, Some(parent)), false);
            parents.push([parent, other].map(|peer| trees.is_own_parent(tree, &peer)));
        }
        let (first, second_best) = ([true, false], [false, true]);
        assert_eq!(parents, [first, first, first, first, second_best]);
        // A peer that announced what another delivered cannot be its own backup.
        let state = trees.of(second(1), tree);
        state.on_received(arrival(id(5), parent, Some(other)), false);
        state.on_ihave(&id(5), parent);
        assert_eq!(trees.on_peer_lost(&other), [(tree, parent, id(5))]);
        // After a flood, and on the shared tree, the first sender becomes the parent.
        trees.of(second(1), tree).on_received(arrival(id(9), parent, None), true);
        assert_eq!([parent, other].map(|peer| trees.is_own_parent(tree, &peer)), first);
        assert!(!trees.is_own_parent(Tree::Shared, &parent));
    }

    #[test]
    fn a_pruned_peer_is_no_parent_and_the_shared_tree_has_one_for_each_message() {
        let mut trees = Trees::new(second(0));
        let [parent, other] = [2, 3].map(publisher);
        let id =
            |seed, sequence| MessageId { publisher: publisher(seed), incarnation: 1, sequence };
        let tree = |seed| Tree::Of(publisher(seed));
        trees.on_received(second(1), tree(1), arrival(id(1, 8), parent, None));
        assert!(trees.is_own_parent(tree(1), &parent));
        trees.on_pruned(tree(1), &other);
        assert!(trees.is_own_parent(tree(1), &parent));
        trees.on_pruned(tree(1), &parent);
        assert!(!trees.is_own_parent(tree(1), &parent));
        trees.on_received(second(1), tree(1), arrival(id(1, 9), other, None));
        assert!(trees.is_own_parent(tree(1), &other));
        // There is room for 64 publishers; announcements alone take no place.
        for seed in 2..=64 {
            trees.on_received(second(1), tree(seed), arrival(id(seed, 8), parent, None));
        }
        assert!(trees.known(tree(70)).is_none());
        for from in [parent, other] {
            trees.on_received(second(2), tree(65), arrival(id(65, 8), from, Some(parent)));
            assert!(trees.shared.has_parent(&from), "the last one, at once");
            assert!(!trees.is_own_parent(tree(65), &from));
        }
        assert_eq!(trees.on_peer_lost(&other), [(Tree::Shared, parent, id(65, 8))]);
    }

    #[test]
    fn a_tree_flows_for_half_a_second_after_the_last_message() {
        let mut trees = Trees::new(second(0));
        let parent = publisher(2);
        let tree = Tree::Of(publisher(1));
        let id = |seed, incarnation, sequence| MessageId {
            publisher: publisher(seed),
            incarnation,
            sequence,
        };
        trees.on_received(second(3), tree, arrival(id(1, 1, 9), parent, None));
        let mut until = |id: MessageId| trees.known(tree).and_then(|state| state.flows_until(&id));
        assert_eq!(until(id(1, 1, 10)), Some(second(3) + FLOW_GAP_MAX));
        for other in [id(1, 1, 9), id(1, 1, 8), id(1, 2, 10), id(2, 1, 10)] {
            assert_eq!(until(other), None, "{other:?}");
        }
        // A duplicate from the parent shows that the tree still delivers, one from another peer
        // does not.
        trees.on_duplicate(second(4), tree, id(1, 1, 10), &publisher(3));
        trees.on_duplicate(second(5), tree, id(1, 1, 11), &parent);
        let mut until = |id: MessageId| trees.known(tree).and_then(|state| state.flows_until(&id));
        assert_eq!(
            [until(id(1, 1, 11)), until(id(1, 1, 12))],
            [None, Some(second(5) + FLOW_GAP_MAX)]
        );
    }
}
