//! Of whom a node has what runs along each tree, and when that changes.

use std::time::Duration;

use potluck_base::{Instant, PublicKey};

use super::branches::{Apart, IDLE};
use super::growth::Tree;
use crate::message::MessageId;

/// A tree is changed for speed at most once in this time after a link was made or lost, and in twice
/// the time after each change: every change costs surplus copies, and several publishers that share
/// a tree have a different fastest link each.
const SWITCH_INTERVAL: Duration = Duration::from_secs(5);
const SWITCH_INTERVAL_MAX: Duration = Duration::from_secs(160);
/// It is noted once in this time who had a message sooner: messages that come together are late
/// together, and say no more than one of them.
const NOTE_INTERVAL: Duration = Duration::from_millis(100);
/// While a tree brings a publisher's messages, each within so long behind the one before, those that
/// were named meanwhile are still on their way behind them.
const FLOWS: Duration = Duration::from_millis(500);
/// A parent that was not the first with so many messages in a row is none any more.
const BEATEN: u32 = 2;

/// How one tree does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// When it brought something new last.
    pub(super) fresh_at: Instant,
    /// When something ran along it last.
    pub(super) used_at: Option<Instant>,
    /// When it was noted last which neighbours had a message sooner.
    noted_at: Instant,
    /// When it was changed for speed last, and how long it stays as it is then.
    switched_at: Instant,
    pause: Duration,
    /// The last message, of whom such come, and who said first that it has it too: whoever did so
    /// hardly has it from this node, and takes over if the parent goes.
    last: Option<MessageId>,
    parent: Option<PublicKey>,
    understudy: Option<PublicKey>,
    /// How often in a row another brought what came first.
    beaten: u32,
    /// Which message it brought last, and when, new or not.
    flow: Option<(MessageId, Instant)>,
}

impl Growth {
    /// A new one rests first.
    fn new(now: Instant) -> Self {
        let (last, parent, understudy) = (None, None, None);
        let (fresh_at, noted_at, switched_at) = (Instant::ZERO, Instant::ZERO, now);
        Self {
            fresh_at,
            used_at: None,
            noted_at,
            switched_at,
            pause: SWITCH_INTERVAL,
            last,
            parent,
            understudy,
            beaten: 0,
            flow: None,
        }
    }

    /// A message has come of `from`, and `named_by` said before that it has it. `at_once` if whoever
    /// brings it is the parent from now on; else the parent has to be beaten twice in a row.
    fn came(
        &mut self,
        (id, from): (MessageId, PublicKey),
        named_by: Option<PublicKey>,
        at_once: bool,
    ) {
        self.beaten = if self.parent == Some(from) { 0 } else { self.beaten + 1 };
        if at_once || self.parent.is_none() || self.beaten >= BEATEN {
            (self.parent, self.beaten) = (Some(from), 0);
        }
        self.last = Some(id);
        // Whoever brought it before the parent did stands in for it as well.
        let mut others = named_by.into_iter().chain([from]);
        self.understudy = others.find(|peer| self.parent != Some(*peer));
    }

    /// Whether `peer` brings what runs along it.
    pub(super) fn is_of(&self, peer: &PublicKey) -> bool {
        self.parent.as_ref() == Some(peer)
    }

    /// Until when a message that was named need not be asked for, if the tree still brings others of
    /// its publisher that were published before it.
    pub(super) fn flows_until(&self, id: &MessageId) -> Option<Instant> {
        let (last, at) = self.flow?;
        let same = (last.publisher, last.incarnation) == (id.publisher, id.incarnation);
        (same && last.sequence < id.sequence).then(|| at + FLOWS)
    }

    /// The tree has brought a message, perhaps one that had come otherwise before.
    fn flowed(&mut self, now: Instant, id: MessageId) {
        self.flow = Some((id, now));
    }

    /// `peer` says that it has a message that has come.
    pub(super) fn named(&mut self, id: &MessageId, peer: PublicKey) {
        if self.last == Some(*id) && self.parent != Some(peer) {
            self.understudy.get_or_insert(peer);
        }
    }

    /// `peer` brings nothing any more. Who takes over, and behind which message, if it was the
    /// parent and anybody is known.
    fn lost(&mut self, peer: &PublicKey) -> Option<(PublicKey, MessageId)> {
        self.understudy.take_if(|understudy| understudy == peer);
        self.parent.take_if(|parent| parent == peer)?;
        self.understudy.take().zip(self.last)
    }

    /// Whether it is to be noted who had a message sooner; if so, it counts as noted.
    pub(super) fn may_note(&mut self, now: Instant) -> bool {
        let may = now.since(self.noted_at) >= NOTE_INTERVAL;
        if may {
            self.noted_at = now;
        }
        may
    }

    /// Whether it may be changed for speed; if so, it counts as changed.
    pub(super) fn may_switch(&mut self, now: Instant) -> bool {
        let may = now.since(self.switched_at) >= self.pause;
        if may {
            self.switched_at = now;
            self.pause = (self.pause * 2).min(SWITCH_INTERVAL_MAX);
        }
        may
    }
}

/// How all trees of a topic do.
#[derive(Debug, Clone)]
pub(super) struct Growths {
    shared: Growth,
    own: Apart<Growth>,
}

impl Growths {
    pub(super) fn new(now: Instant) -> Self {
        Self { shared: Growth::new(now), own: Apart::default() }
    }

    /// How a tree does. Publishers that there is no room for share.
    pub(super) fn of(&mut self, now: Instant, tree: Tree) -> &mut Growth {
        match tree {
            Tree::Shared => &mut self.shared,
            Tree::Of(publisher) => {
                let own = self.own.get_mut(now, publisher, || Growth::new(now));
                own.unwrap_or(&mut self.shared)
            }
        }
    }

    /// How a tree does that something ran along before.
    pub(super) fn known(&mut self, tree: Tree) -> Option<&mut Growth> {
        match tree {
            Tree::Shared => Some(&mut self.shared),
            Tree::Of(publisher) => self.own.peek_mut(&publisher),
        }
    }

    /// A message has come of `from`, and `named_by` said before that it has it; `grows` if its tree
    /// grows with it.
    pub(super) fn came(
        &mut self,
        now: Instant,
        tree: Tree,
        message: (MessageId, PublicKey),
        (named_by, grows): (Option<PublicKey>, bool),
    ) {
        let own = match tree {
            Tree::Shared => None,
            Tree::Of(publisher) => self.own.get_mut(now, publisher, || Growth::new(now)),
        };
        // What many share has a parent for each of them.
        let at_once = grows || own.is_none();
        let growth = own.unwrap_or(&mut self.shared);
        growth.fresh_at = now;
        growth.came(message, named_by, at_once);
        growth.flowed(now, message.0);
    }

    /// A message has come once more, of `from`.
    pub(super) fn came_again(&mut self, now: Instant, tree: Tree, id: MessageId, from: &PublicKey) {
        if self.keeps(tree, from)
            && let Some(growth) = self.known(tree)
        {
            growth.flowed(now, id);
        }
    }

    /// `peer` was taken off a tree: it is no parent any more.
    pub(super) fn pruned(&mut self, tree: Tree, peer: &PublicKey) {
        if let Some(growth) = self.known(tree) {
            growth.parent.take_if(|parent| parent == peer);
        }
    }

    /// All trees that something ran along lately.
    pub(super) fn trees(&self, now: Instant) -> impl Iterator<Item = (Tree, &Growth)> {
        let own = self.own.iter().map(|(of, growth)| (Tree::Of(of), growth));
        let all = std::iter::once((Tree::Shared, &self.shared)).chain(own);
        all.filter(move |(_, growth)| growth.used_at.is_some_and(|at| now.since(at) < IDLE))
    }

    /// Whether `peer` is the parent on a publisher's own tree, and stays it although another brought
    /// one message sooner: where a datagram of the parent is lost, the message comes from those that
    /// this node passes it on to, and without the parent it would go on coming from there.
    pub(super) fn keeps(&self, tree: Tree, peer: &PublicKey) -> bool {
        let Tree::Of(publisher) = tree else { return false };
        self.own.get(&publisher).is_some_and(|growth| growth.is_of(peer))
    }

    /// `peer` brings nothing any more: who takes over on which trees, and behind which message.
    pub(super) fn lost(&mut self, peer: &PublicKey) -> Vec<(Tree, PublicKey, MessageId)> {
        let own = self.own.iter_mut().map(|(of, growth)| (Tree::Of(of), growth));
        std::iter::once((Tree::Shared, &mut self.shared))
            .chain(own)
            .filter_map(|(tree, growth)| growth.lost(peer).map(|(next, id)| (tree, next, id)))
            .collect()
    }

    /// A link was made or lost: other ways may be faster now.
    pub(super) fn links_changed(&mut self) {
        self.shared.pause = SWITCH_INTERVAL;
        self.own.iter_mut().for_each(|(_, growth)| growth.pause = SWITCH_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{publisher, second};
    use super::*;

    #[test]
    fn a_tree_rests_twice_as_long_after_each_change_until_links_change() {
        let mut growths = Growths::new(second(0));
        let tree = Tree::Of(publisher(1));
        let mut may = |at| growths.of(second(at), tree).may_switch(second(at));
        let changed = [0, 4, 5, 14, 15, 34, 35].map(&mut may);
        assert_eq!(changed, [false, false, true, false, true, false, true]);
        growths.links_changed();
        assert!(growths.of(second(40), tree).may_switch(second(40)));
        assert!(growths.of(second(40), Tree::Shared).may_switch(second(40)));
    }

    #[test]
    fn who_named_the_last_message_first_takes_over_from_a_lost_parent_once() {
        let mut growths = Growths::new(second(0));
        let [parent, second_best, third] = [2, 3, 4].map(publisher);
        let id = |sequence| MessageId { publisher: publisher(1), incarnation: 1, sequence };
        let tree = Tree::Of(publisher(1));
        let growth = growths.of(second(1), tree);
        growth.came((id(8), third), None, true);
        growth.came((id(9), parent), None, true);
        growth.named(&id(8), third);
        growth.named(&id(9), parent);
        growth.named(&id(9), second_best);
        growth.named(&id(9), third);
        assert_eq!(growths.lost(&third), []);
        assert_eq!(growths.lost(&parent), [(tree, second_best, id(9))]);
        assert_eq!(growths.lost(&parent), []);
        growths.of(second(2), tree).came((id(10), parent), Some(second_best), true);
        assert_eq!([growths.lost(&second_best), growths.lost(&parent)], [[], []]);
    }

    #[test]
    fn a_parent_stays_until_another_was_first_twice_in_a_row() {
        let mut growths = Growths::new(second(0));
        let [parent, other] = [2, 3].map(publisher);
        let id = |sequence| MessageId { publisher: publisher(1), incarnation: 1, sequence };
        let tree = Tree::Of(publisher(1));
        let mut parents = Vec::new();
        for (sequence, from) in [parent, other, parent, other, other].into_iter().enumerate() {
            let growth = growths.of(second(1), tree);
            growth.came((id(sequence as u64), from), Some(parent), false);
            parents.push([parent, other].map(|peer| growths.keeps(tree, &peer)));
        }
        let (first, second_best) = ([true, false], [false, true]);
        assert_eq!(parents, [first, first, first, first, second_best]);
        // Who named what another brought cannot stand in for itself.
        let growth = growths.of(second(1), tree);
        growth.came((id(5), parent), Some(other), false);
        growth.named(&id(5), parent);
        assert_eq!(growths.lost(&other), [(tree, parent, id(5))]);
        // Where a tree grows, and on the tree of many, whoever is first is the parent.
        growths.of(second(1), tree).came((id(9), parent), None, true);
        assert_eq!([parent, other].map(|peer| growths.keeps(tree, &peer)), first);
        assert!(!growths.keeps(Tree::Shared, &parent));
    }

    #[test]
    fn whoever_was_taken_off_a_tree_is_no_parent_and_whoever_shares_has_one_a_message() {
        let mut growths = Growths::new(second(0));
        let [parent, other] = [2, 3].map(publisher);
        let id =
            |seed, sequence| MessageId { publisher: publisher(seed), incarnation: 1, sequence };
        let tree = |seed| Tree::Of(publisher(seed));
        growths.came(second(1), tree(1), (id(1, 8), parent), (None, false));
        assert!(growths.keeps(tree(1), &parent));
        growths.pruned(tree(1), &other);
        assert!(growths.keeps(tree(1), &parent));
        growths.pruned(tree(1), &parent);
        assert!(!growths.keeps(tree(1), &parent));
        growths.came(second(1), tree(1), (id(1, 9), other), (None, false));
        assert!(growths.keeps(tree(1), &other));
        // There is room for 64, of whom names alone make none.
        for seed in 2..=64 {
            growths.came(second(1), tree(seed), (id(seed, 8), parent), (None, false));
        }
        assert!(growths.known(tree(70)).is_none());
        for from in [parent, other] {
            growths.came(second(2), tree(65), (id(65, 8), from), (Some(parent), false));
            assert!(growths.shared.is_of(&from), "the last one, at once");
            assert!(!growths.keeps(tree(65), &from));
        }
        assert_eq!(growths.lost(&other), [(Tree::Shared, parent, id(65, 8))]);
    }

    #[test]
    fn a_tree_brings_what_is_behind_the_last_message_for_half_a_second() {
        let mut growths = Growths::new(second(0));
        let parent = publisher(2);
        let tree = Tree::Of(publisher(1));
        let id = |seed, incarnation, sequence| MessageId {
            publisher: publisher(seed),
            incarnation,
            sequence,
        };
        growths.came(second(3), tree, (id(1, 1, 9), parent), (None, false));
        let mut until =
            |id: MessageId| growths.known(tree).and_then(|growth| growth.flows_until(&id));
        assert_eq!(until(id(1, 1, 10)), Some(second(3) + FLOWS));
        for other in [id(1, 1, 9), id(1, 1, 8), id(1, 2, 10), id(2, 1, 10)] {
            assert_eq!(until(other), None, "{other:?}");
        }
        // A copy that the parent brings shows that it goes on, one of another does not.
        growths.came_again(second(4), tree, id(1, 1, 10), &publisher(3));
        growths.came_again(second(5), tree, id(1, 1, 11), &parent);
        let mut until =
            |id: MessageId| growths.known(tree).and_then(|growth| growth.flows_until(&id));
        assert_eq!([until(id(1, 1, 11)), until(id(1, 1, 12))], [None, Some(second(5) + FLOWS)]);
    }
}
