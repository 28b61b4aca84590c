//! Which tree a message runs along: one of its publisher's own, or that of all others.
//!
//! `PlumTree` (Leitão, Pereira, Rodrigues, 2007) has one tree a topic, which the first publisher
//! shapes; for any other one the way to the last receiver is about twice as long. Here a publisher
//! that goes on gets a tree of its own: its message number [`OWN_TREE_FROM`] in a topic, and seldom
//! a later one, is pushed over every link, and each node keeps the link on which it came first. Each
//! node holds that message back for [`GROWTH_PAUSE`], which favours ways over few links: hops count
//! without anybody's word for them. What is published before, by more publishers than a link can keep
//! apart, or in the overlay of all nodes, where everybody says little, runs along the shared tree.
//!
//! **Invariant:** a link keeps at most [`PUBLISHERS_MAX`] publishers apart, and forgets nobody for
//! another that still publishes; what a neighbour says about a tree changes only what that neighbour
//! is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Instant, PublicKey};

use super::asks::World;
use super::history::Kept;
use super::topic::Topic;
use crate::message::MessageId;

/// The first message of a publisher, in a topic, that runs along its own tree. It costs about as many
/// copies as a node has links, once; so many messages of before make that worth while. A guess.
pub(super) const OWN_TREE_FROM: u64 = 8;
/// It grows anew with a message whose number is so many times as high: meanwhile links came and went,
/// and what was repaired piece by piece is deeper than what grows at once. So the copies that this
/// costs are ever fewer of all: 5 of 64, of 512 and so on.
const GROWS_ANEW: u64 = 8;
/// What one link more costs where a tree grows. In random graphs of 10,000 nodes with six links and
/// delays as in the simulator, this makes 8 links to the last receiver of 11, where 7 are possible;
/// messages then reach the last 118 ms later than over the fastest ways, half of all 15 ms.
const GROWTH_PAUSE: Duration = Duration::from_millis(80);
/// A tree grows only if its publisher said nothing for so long before: what is still on its way along
/// the old tree would be overtaken.
const QUIET_BEFORE: Duration = Duration::from_millis(500);
/// Messages held back at once; more are passed on as they come.
const GROWING_MAX: usize = 64;
/// Publishers that one link keeps apart.
const PUBLISHERS_MAX: usize = 64;
/// A publisher that was not heard for so long makes room for another.
const IDLE: Duration = Duration::from_secs(600);
/// Of the last eight messages so many must have been here sooner for a link to come on a tree: more
/// than half, for jitter is none.
const LATE_ENOUGH: u32 = 5;
/// A tree is changed for speed at most once in this time after a link was made or lost, and in twice
/// the time after each change: every change costs surplus copies, and several publishers that share
/// a tree have a different fastest link each.
const SWITCH_INTERVAL: Duration = Duration::from_secs(5);
const SWITCH_INTERVAL_MAX: Duration = Duration::from_secs(160);

/// A message that is held back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    at: Instant,
    id: MessageId,
    /// Whether it goes over every link then.
    grows: bool,
}

/// A tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tree {
    /// Of all who have none of their own.
    Shared,
    /// Of one publisher.
    Of(PublicKey),
}

impl Tree {
    /// The tree that a message runs along; `shared` if all do so here.
    pub(super) fn of(shared: bool, publisher: PublicKey, sequence: u64) -> Self {
        if shared || sequence < OWN_TREE_FROM { Self::Shared } else { Self::Of(publisher) }
    }
}

impl Topic {
    /// The tree that a message runs along.
    pub(super) fn tree_of(&self, publisher: PublicKey, sequence: u64) -> Tree {
        Tree::of(self.system, publisher, sequence)
    }

    /// Whether a message goes over every link, so that its publisher's tree grows, or grows anew.
    pub(super) fn grows_tree(&self, now: Instant, id: &MessageId) -> bool {
        let grows = std::iter::successors(Some(OWN_TREE_FROM), |last| last.checked_mul(GROWS_ANEW));
        let due = grows.take_while(|at| *at <= id.sequence).any(|at| at == id.sequence);
        let before = MessageId { sequence: id.sequence.saturating_sub(1), ..*id };
        let quiet = |kept: &Kept| now.since(kept.at) >= QUIET_BEFORE;
        !self.system && due && self.history.get(&before).is_some_and(quiet)
    }

    /// Holds a message back that grows a tree, and others of its publisher behind it. False if this
    /// one is to go on at once.
    pub(super) fn hold_back(&mut self, now: Instant, id: MessageId, grows: bool) -> bool {
        let before = self.growing.iter().rev().find(|held| held.id.publisher == id.publisher);
        let at = match before {
            Some(held) => held.at,
            None if grows => now + GROWTH_PAUSE,
            None => return false,
        };
        let fits = self.growing.len() < GROWING_MAX;
        if fits {
            let place = self.growing.partition_point(|held| held.at <= at);
            self.growing.insert(place, Held { at, id, grows });
        }
        fits
    }

    /// When one of them goes on.
    pub(super) fn grow_at(&self) -> Option<Instant> {
        self.growing.front().map(|held| held.at)
    }

    /// Passes on what was held back long enough.
    pub(super) fn grow_trees(&mut self, world: &mut World<'_>) {
        while let Some(Held { id, grows, .. }) =
            self.growing.pop_front_if(|held| held.at <= world.now)
        {
            let Some(kept) = self.history.get(&id) else { continue };
            let (bytes, from) = (kept.bytes.clone(), kept.source());
            self.pass_on(world, id, &bytes, (from, grows));
        }
    }
}

/// Something about each of the publishers that are kept apart.
#[derive(Debug, Clone)]
struct Apart<T> {
    known: BTreeMap<PublicKey, (Instant, T)>,
}

impl<T> Default for Apart<T> {
    fn default() -> Self {
        Self { known: BTreeMap::new() }
    }
}

impl<T> Apart<T> {
    fn get(&self, publisher: &PublicKey) -> Option<&T> {
        self.known.get(publisher).map(|(_, of)| of)
    }

    /// What is known of a publisher, which counts as hearing it; `None` if there is no room for it.
    fn get_mut(
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

    /// Notes that a publisher was heard, if it is known.
    fn heard(&mut self, now: Instant, publisher: &PublicKey) {
        if let Some((heard, _)) = self.known.get_mut(publisher) {
            *heard = now;
        }
    }
}

/// Which of the last eight messages a neighbour had sooner than the tree brought them.
#[derive(Debug, Clone, Copy, Default)]
struct Lateness(u8);

impl Lateness {
    fn note(&mut self, late: bool) -> bool {
        self.0 = self.0 << 1 | u8::from(late);
        late && self.0.count_ones() >= LATE_ENOUGH
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Branch {
    /// Whether messages are pushed; `None`: as on the shared tree.
    on: Option<bool>,
    lateness: Lateness,
}

/// On which trees one link is.
#[derive(Debug, Clone)]
pub(super) struct Branches {
    shared: bool,
    lateness: Lateness,
    own: Apart<Branch>,
}

impl Default for Branches {
    /// On the shared tree, and on all others that grow over it.
    fn default() -> Self {
        Self { shared: true, lateness: Lateness::default(), own: Apart::default() }
    }
}

impl Branches {
    /// Publishers that are kept apart.
    pub(super) fn len(&self) -> usize {
        self.own.known.len()
    }

    /// Whether messages of this tree are pushed.
    pub(super) fn is_on(&self, tree: Tree) -> bool {
        match tree {
            Tree::Shared => self.shared,
            Tree::Of(publisher) => {
                self.own.get(&publisher).and_then(|branch| branch.on).unwrap_or(self.shared)
            }
        }
    }

    /// Puts the link on a tree or takes it off. A publisher that there is no room for shares.
    pub(super) fn set(&mut self, now: Instant, tree: Tree, on: bool) {
        match self.branch(now, tree) {
            Some(branch) => branch.on = Some(on),
            None => self.shared = on,
        }
    }

    /// Takes the link off all trees.
    pub(super) fn clear(&mut self) {
        *self = Self { shared: false, ..Self::default() };
    }

    /// Whether `tree` can be kept apart from the others.
    pub(super) fn has_room(&mut self, now: Instant, tree: Tree) -> bool {
        self.branch(now, tree).is_some()
    }

    /// Notes that something of this tree came or went.
    pub(super) fn used(&mut self, now: Instant, tree: Tree) {
        if let Tree::Of(publisher) = tree {
            self.own.heard(now, &publisher);
        }
    }

    /// Notes whether the neighbour had a message sooner than the tree brought it; true if it had so
    /// often that it should be on the tree, until [`Branches::switched`] says that it is.
    pub(super) fn note_late(&mut self, now: Instant, tree: Tree, late: bool) -> bool {
        // Who is never sooner takes no room.
        let known = matches!(tree, Tree::Of(publisher) if self.own.get(&publisher).is_some());
        let branch = if late || known { self.branch(now, tree) } else { None };
        match branch {
            Some(branch) => branch.lateness.note(late),
            None if tree == Tree::Shared || late => self.lateness.note(late) && !self.shared,
            None => false,
        }
    }

    /// It was put on the tree for being sooner.
    pub(super) fn switched(&mut self, now: Instant, tree: Tree) {
        match self.branch(now, tree) {
            Some(branch) => branch.lateness = Lateness::default(),
            None => self.lateness = Lateness::default(),
        }
    }

    fn branch(&mut self, now: Instant, tree: Tree) -> Option<&mut Branch> {
        match tree {
            Tree::Shared => None,
            Tree::Of(publisher) => self.own.get_mut(now, publisher, Branch::default),
        }
    }
}

/// How one tree does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// When it brought something new last.
    pub(super) fresh_at: Instant,
    /// When it was changed for speed last, and how long it stays as it is then.
    switched_at: Instant,
    pause: Duration,
    /// The last message, of whom it came, and who said first that it has it too: whoever did so
    /// hardly has it from this node, and takes over if the parent goes.
    last: Option<MessageId>,
    parent: Option<PublicKey>,
    understudy: Option<PublicKey>,
}

impl Growth {
    /// A new one rests first.
    fn new(now: Instant) -> Self {
        let (last, parent, understudy) = (None, None, None);
        let (fresh_at, switched_at) = (Instant::ZERO, now);
        Self { fresh_at, switched_at, pause: SWITCH_INTERVAL, last, parent, understudy }
    }

    /// A message has come of `parent`, and `named_by` said before that it has it.
    pub(super) fn came(&mut self, id: MessageId, parent: PublicKey, named_by: Option<PublicKey>) {
        (self.last, self.parent, self.understudy) = (Some(id), Some(parent), named_by);
    }

    /// Whether `peer` brought the last message.
    pub(super) fn is_of(&self, peer: &PublicKey) -> bool {
        self.parent.as_ref() == Some(peer)
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

    /// All trees.
    pub(super) fn trees(&self) -> impl Iterator<Item = (Tree, &Growth)> {
        let own = self.own.known.iter().map(|(of, (_, growth))| (Tree::Of(*of), growth));
        std::iter::once((Tree::Shared, &self.shared)).chain(own)
    }

    /// `peer` brings nothing any more: who takes over on which trees, and behind which message.
    pub(super) fn lost(&mut self, peer: &PublicKey) -> Vec<(Tree, PublicKey, MessageId)> {
        let own = self.own.known.iter_mut().map(|(of, (_, growth))| (Tree::Of(*of), growth));
        std::iter::once((Tree::Shared, &mut self.shared))
            .chain(own)
            .filter_map(|(tree, growth)| growth.lost(peer).map(|(next, id)| (tree, next, id)))
            .collect()
    }

    /// A link was made or lost: other ways may be faster now.
    pub(super) fn links_changed(&mut self) {
        self.shared.pause = SWITCH_INTERVAL;
        self.own.known.values_mut().for_each(|(_, growth)| growth.pause = SWITCH_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::Identity;

    fn publisher(seed: u8) -> PublicKey {
        Identity::from_seed([seed; 32]).public_key()
    }

    fn second(number: u64) -> Instant {
        Instant::from_micros(number * 1_000_000)
    }

    #[test]
    fn a_publisher_without_a_branch_shares() {
        let mut link = Branches::default();
        let [one, two] = [1, 2].map(|seed| Tree::Of(publisher(seed)));
        link.set(second(0), one, false);
        assert_eq!([Tree::Shared, one, two].map(|tree| link.is_on(tree)), [true, false, true]);
        link.set(second(0), Tree::Shared, false);
        link.set(second(0), one, true);
        assert_eq!([Tree::Shared, one, two].map(|tree| link.is_on(tree)), [false, true, false]);
        link.clear();
        assert_eq!([Tree::Shared, one, two].map(|tree| link.is_on(tree)), [false; 3]);
    }

    #[test]
    fn the_sixty_fifth_shares_until_one_of_them_was_silent_for_ten_minutes() {
        let mut link = Branches::default();
        for seed in 1..=64 {
            link.set(second(u64::from(seed)), Tree::Of(publisher(seed)), false);
        }
        let last = Tree::Of(publisher(65));
        link.used(second(500), Tree::Of(publisher(1)));
        assert!(!link.has_room(second(601), last));
        link.set(second(601), last, false);
        assert!(!link.is_on(Tree::Shared), "it shares, and so this is off for all who do");
        assert!(link.has_room(second(602), last), "the second has gone");
        assert!(!link.is_on(Tree::Of(publisher(1))));
        assert_eq!(link.own.known.len(), 64);
    }

    #[test]
    fn five_of_eight_put_a_link_on_a_tree_and_trees_are_counted_apart() {
        let mut link = Branches::default();
        let [one, two] = [1, 2].map(|seed| Tree::Of(publisher(seed)));
        for number in 0..4 {
            assert!(!link.note_late(second(number), one, true));
            assert!(!link.note_late(second(number), two, false));
        }
        assert!(!link.note_late(second(4), one, false));
        assert!(link.note_late(second(4), one, true));
        link.switched(second(5), one);
        assert!(!link.note_late(second(5), one, true));
        assert!(link.own.get(&publisher(2)).is_none(), "who is never sooner takes no room");
        (0..4).for_each(|_| assert!(!link.note_late(second(6), Tree::Shared, true)));
        assert!(!link.note_late(second(6), Tree::Shared, true), "it is on the shared tree");
        link.set(second(6), Tree::Shared, false);
        assert!(link.note_late(second(6), Tree::Shared, true));
    }

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
        growth.came(id(8), third, None);
        growth.came(id(9), parent, None);
        growth.named(&id(8), third);
        growth.named(&id(9), parent);
        growth.named(&id(9), second_best);
        growth.named(&id(9), third);
        assert_eq!(growths.lost(&third), []);
        assert_eq!(growths.lost(&parent), [(tree, second_best, id(9))]);
        assert_eq!(growths.lost(&parent), []);
        growths.of(second(2), tree).came(id(10), parent, Some(second_best));
        assert_eq!([growths.lost(&second_best), growths.lost(&parent)], [[], []]);
    }
}
