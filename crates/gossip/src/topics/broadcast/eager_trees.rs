//! The trees on which one link is eager.
//!
//! **Invariant:** a link has separate state for at most [`PUBLISHERS_MAX`] publishers, and drops
//! none of them for another while it still publishes.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Instant, PublicKey};

use super::tree::Tree;

/// Publishers with separate state on one link; further ones use the shared tree.
const PUBLISHERS_MAX: usize = 64;
/// A publisher silent for this long makes room for another.
pub(super) const IDLE: Duration = Duration::from_secs(600);
/// A link becomes eager if it had at least this many of the last eight messages sooner: more than
/// half, so that jitter alone is not enough.
const LATE_ENOUGH: u32 = 5;
/// On a publisher's own tree the last three messages are enough. If ten links lose every hundredth
/// datagram each, one message in ten is late by a loss, and three in a row once in a thousand
/// times.
const LATE_IN_ROW: u8 = 0b111;

/// State for each publisher, bounded.
#[derive(Debug, Clone)]
pub(super) struct PerPublisher<T> {
    known: BTreeMap<PublicKey, (Instant, T)>,
}

impl<T> Default for PerPublisher<T> {
    /// No publisher has separate state.
    fn default() -> Self {
        Self { known: BTreeMap::new() }
    }
}

impl<T> PerPublisher<T> {
    pub(super) fn get(&self, publisher: &PublicKey) -> Option<&T> {
        self.known.get(publisher).map(|(_, of)| of)
    }

    /// The state of a publisher, if there is one.
    pub(super) fn peek_mut(&mut self, publisher: &PublicKey) -> Option<&mut T> {
        self.known.get_mut(publisher).map(|(_, of)| of)
    }

    /// The state of a publisher, created if needed, and marks it as heard; `None` if there is no
    /// room.
    pub(super) fn get_mut(
        &mut self,
        now: Instant,
        publisher: PublicKey,
        new: impl FnOnce() -> T,
    ) -> Option<&mut T> {
        if !self.known.contains_key(&publisher) {
            if self.known.len() >= PUBLISHERS_MAX {
                self.known.retain(|_, (heard, _)| now.since(*heard) < IDLE);
            }
            if self.known.len() >= PUBLISHERS_MAX {
                return None;
            }
        }
        let (heard, of) = self.known.entry(publisher).or_insert_with(|| (now, new()));
        *heard = now;
        Some(of)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PublicKey, &T)> {
        self.known.iter().map(|(publisher, (_, of))| (*publisher, of))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PublicKey, &mut T)> {
        self.known.iter_mut().map(|(publisher, (_, of))| (*publisher, of))
    }

    /// Marks a publisher as heard, if it is known.
    fn heard(&mut self, now: Instant, publisher: &PublicKey) {
        if let Some((heard, _)) = self.known.get_mut(publisher) {
            *heard = now;
        }
    }
}

/// Which of the last eight messages the neighbour had sooner than the tree delivered them.
#[derive(Debug, Clone, Copy, Default)]
struct Lateness(u8);

impl Lateness {
    fn note(&mut self, late: bool) -> bool {
        self.0 = self.0 << 1 | u8::from(late);
        late && self.0.count_ones() >= LATE_ENOUGH
    }

    fn is_in_row(self) -> bool {
        self.0 & LATE_IN_ROW == LATE_IN_ROW
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct OwnTree {
    /// Whether messages are pushed; `None`: as on the shared tree.
    eager: Option<bool>,
    lateness: Lateness,
}

/// The trees on which one link is eager.
#[derive(Debug, Clone)]
pub(super) struct EagerTrees {
    shared: bool,
    lateness: Lateness,
    own: PerPublisher<OwnTree>,
}

impl Default for EagerTrees {
    /// A new link is eager on the shared tree, and on every own tree without another setting.
    fn default() -> Self {
        Self { shared: true, lateness: Lateness::default(), own: PerPublisher::default() }
    }
}

impl EagerTrees {
    /// Publishers with separate state.
    pub(super) fn len(&self) -> usize {
        self.own.known.len()
    }

    /// Whether messages of this tree are pushed.
    pub(super) fn is_eager(&self, tree: Tree) -> bool {
        match tree {
            Tree::Shared => self.shared,
            Tree::Of(publisher) => {
                self.own.get(&publisher).and_then(|own_tree| own_tree.eager).unwrap_or(self.shared)
            }
        }
    }

    /// Makes the link eager on a tree; for a publisher without a place, on the shared tree.
    pub(super) fn graft(&mut self, now: Instant, tree: Tree) {
        self.set_eager(now, tree, true);
    }

    pub(super) fn prune(&mut self, now: Instant, tree: Tree) {
        self.set_eager(now, tree, false);
    }

    fn set_eager(&mut self, now: Instant, tree: Tree, eager: bool) {
        match self.own_tree(now, tree) {
            Some(own_tree) => own_tree.eager = Some(eager),
            None => self.shared = eager,
        }
    }

    /// Makes the link lazy on all trees.
    pub(super) fn prune_all(&mut self) {
        *self = Self { shared: false, ..Self::default() };
    }

    /// Whether `tree` has separate state, or room for it.
    pub(super) fn has_room(&mut self, now: Instant, tree: Tree) -> bool {
        self.own_tree(now, tree).is_some()
    }

    /// A message of this tree was sent or received.
    pub(super) fn used(&mut self, now: Instant, tree: Tree) {
        if let Tree::Of(publisher) = tree {
            self.own.heard(now, &publisher);
        }
    }

    /// Records whether the neighbour had a message sooner than the tree delivered it. Returns true
    /// if that was so often that the link should be eager, until [`EagerTrees::switched`] is
    /// called.
    pub(super) fn note_late(&mut self, now: Instant, tree: Tree, late: bool) -> bool {
        // A neighbour that is never sooner takes no room.
        let known = matches!(tree, Tree::Of(publisher) if self.own.get(&publisher).is_some());
        let own_tree = if late || known { self.own_tree(now, tree) } else { None };
        match own_tree {
            Some(own_tree) => own_tree.lateness.note(late) || own_tree.lateness.is_in_row(),
            None if tree == Tree::Shared || late => self.lateness.note(late) && !self.shared,
            None => false,
        }
    }

    /// The link was made eager for being sooner.
    pub(super) fn switched(&mut self, now: Instant, tree: Tree) {
        match self.own_tree(now, tree) {
            Some(own_tree) => own_tree.lateness = Lateness::default(),
            None => self.lateness = Lateness::default(),
        }
    }

    fn own_tree(&mut self, now: Instant, tree: Tree) -> Option<&mut OwnTree> {
        match tree {
            Tree::Shared => None,
            Tree::Of(publisher) => self.own.get_mut(now, publisher, OwnTree::default),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{publisher, second};
    use super::*;

    #[test]
    fn a_publisher_without_own_state_uses_the_shared_tree() {
        let mut link = EagerTrees::default();
        let [one, two] = [1, 2].map(|seed| Tree::Of(publisher(seed)));
        link.prune(second(0), one);
        assert_eq!([Tree::Shared, one, two].map(|tree| link.is_eager(tree)), [true, false, true]);
        link.prune(second(0), Tree::Shared);
        link.graft(second(0), one);
        assert_eq!([Tree::Shared, one, two].map(|tree| link.is_eager(tree)), [false, true, false]);
        link.prune_all();
        assert_eq!([Tree::Shared, one, two].map(|tree| link.is_eager(tree)), [false; 3]);
    }

    #[test]
    fn the_65th_publisher_shares_until_one_was_silent_for_ten_minutes() {
        let mut link = EagerTrees::default();
        for seed in 1..=64 {
            link.prune(second(u64::from(seed)), Tree::Of(publisher(seed)));
        }
        let last = Tree::Of(publisher(65));
        link.used(second(500), Tree::Of(publisher(1)));
        assert!(!link.has_room(second(601), last));
        link.prune(second(601), last);
        assert!(
            !link.is_eager(Tree::Shared),
            "it uses the shared tree, which is lazy now for all of them"
        );
        assert!(link.has_room(second(602), last), "the second publisher made room");
        assert!(!link.is_eager(Tree::Of(publisher(1))));
        assert_eq!(link.own.known.len(), 64);
    }

    #[test]
    fn five_sooner_of_eight_or_three_in_a_row_make_a_link_eager_on_that_tree_only() {
        let mut link = EagerTrees::default();
        let [one, two] = [1, 2].map(|seed| Tree::Of(publisher(seed)));
        for late in [true, true, false, true, true, false] {
            assert!(!link.note_late(second(1), one, late));
            assert!(!link.note_late(second(1), two, false));
        }
        assert!(link.note_late(second(4), one, true));
        link.switched(second(4), one);
        for (late, switches) in
            [(true, false), (false, false), (true, false), (true, false), (true, true)]
        {
            assert_eq!(link.note_late(second(4), one, late), switches);
        }
        link.switched(second(5), one);
        assert!(!link.note_late(second(5), one, true));
        assert!(
            link.own.get(&publisher(2)).is_none(),
            "a neighbour that is never sooner takes no room"
        );
        (0..4).for_each(|_| assert!(!link.note_late(second(6), Tree::Shared, true)));
        assert!(!link.note_late(second(6), Tree::Shared, true), "it is eager on the shared tree");
        link.prune(second(6), Tree::Shared);
        assert!(link.note_late(second(6), Tree::Shared, true));
    }
}
