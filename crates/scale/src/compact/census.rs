//! The nodes: by number, and by id together with recently dead ones.

use super::Millis;
use crate::draw::{below, mix2};

const IDS: u64 = 21;
/// Bits of a contact for the number of the place; the other bits count the nodes of the place.
const PLACE_BITS: u32 = 24;

/// A node: its place, and its number among the nodes of this place.
pub(super) type Contact = u32;

/// No node.
pub(super) const NO_NODE: Contact = u32::MAX;

/// The place of a node.
pub(super) const fn place_of(contact: Contact) -> usize {
    (contact & ((1 << PLACE_BITS) - 1)) as usize
}

/// A node in the order of ids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) contact: Contact,
    pub(super) born: Millis,
    /// `Millis::MAX` while it lives.
    pub(super) died: Millis,
}

impl Member {
    pub(super) const fn lived_at(&self, time: Millis) -> bool {
        self.born <= time && time < self.died
    }

    pub(super) const fn lives(&self) -> bool {
        self.died == Millis::MAX
    }
}

#[derive(Debug)]
pub(super) struct Census {
    seed: u64,
    /// For each place: the number of times that its node joined or left; odd while there is a node. It wraps
    /// after 128 nodes, when contacts of the earlier ones are long gone. Stored apart from the times, for the
    /// processor cache.
    turns: Vec<u8>,
    /// The time of the last change.
    changed: Vec<Millis>,
    /// Nodes by the first bits of their ids.
    buckets: Vec<Vec<Member>>,
    bits: u32,
    living: usize,
    /// How long dead nodes are kept.
    keep: Millis,
}

impl Census {
    /// Creates room for `places`. Dead nodes are kept for `keep`.
    pub(super) fn new(places: usize, nodes: usize, keep: Millis, seed: u64) -> Self {
        let bits = (nodes / 6).max(2).ilog2();
        Self {
            seed: mix2(seed, IDS),
            turns: vec![0; places],
            changed: vec![0; places],
            buckets: vec![Vec::new(); 1 << bits],
            bits,
            living: 0,
            keep,
        }
    }

    pub(super) const fn living(&self) -> usize {
        self.living
    }

    pub(super) const fn places(&self) -> usize {
        self.turns.len()
    }

    pub(super) const fn id(&self, contact: Contact) -> u64 {
        mix2(self.seed, contact as u64)
    }

    const fn bucket(&self, id: u64) -> usize {
        (id >> (64 - self.bits)) as usize
    }

    /// The node of a place. `None` if there is none now.
    pub(super) fn node(&self, place: usize) -> Option<Contact> {
        let turn = *self.turns.get(place)?;
        (turn % 2 == 1).then_some(place as u32 | (u32::from(turn) << PLACE_BITS))
    }

    /// A node joins at a free place.
    pub(super) fn join(&mut self, place: usize, born: Millis, now: Millis) -> Contact {
        let turn = self.turns[place].wrapping_add(1);
        (self.turns[place], self.changed[place]) = (turn, born);
        let contact = place as u32 | (u32::from(turn) << PLACE_BITS);
        let at = self.bucket(self.id(contact));
        let keep = self.keep;
        let bucket = &mut self.buckets[at];
        bucket.retain(|member| member.lives() || member.died.saturating_add(keep) > now);
        bucket.push(Member { contact, born, died: Millis::MAX });
        self.living += 1;
        contact
    }

    /// Removes a node.
    pub(super) fn leave(&mut self, contact: Contact, now: Millis) {
        if !self.lives(contact) {
            return;
        }
        let place = place_of(contact);
        (self.turns[place], self.changed[place]) = (self.turns[place].wrapping_add(1), now);
        let at = self.bucket(self.id(contact));
        let members = self.buckets[at].iter_mut();
        members.filter(|it| it.contact == contact && it.lives()).for_each(|it| it.died = now);
        self.living -= 1;
    }

    #[inline]
    pub(super) fn lives(&self, contact: Contact) -> bool {
        u32::from(self.turns[place_of(contact)]) == contact >> PLACE_BITS
    }

    /// Whether a node was dead at `time`, as far as known: for the last node before the present one, the time
    /// of death is the birth of the present one.
    #[inline]
    pub(super) fn was_dead(&self, contact: Contact, time: Millis) -> bool {
        let place = place_of(contact);
        match self.turns[place].wrapping_sub((contact >> PLACE_BITS) as u8) {
            0 => false,
            // The node is dead, or it is dead and the next one joined at once.
            1 | 2 => self.changed[place] <= time,
            _ => true,
        }
    }

    /// A random node that lived at `time` and whose id begins with the first `bits` of `id`. `None` if 64
    /// draws found none.
    pub(super) fn pick(&self, id: u64, bits: u32, time: Millis, draw: u64) -> Option<Contact> {
        const LOAD_MAX: usize = 24;
        let spare = self.bits.saturating_sub(bits);
        let first = if bits == 0 { 0 } else { self.bucket(id) >> spare << spare };
        for number in 0..64u64 {
            let draw = mix2(draw, number);
            let bucket = &self.buckets[first + below(draw, 1 << spare)];
            // A place beyond the nodes of the bucket is a miss. Otherwise nodes of small buckets would be
            // drawn more often.
            let place = below(draw.rotate_left(32), bucket.len().max(LOAD_MAX));
            let Some(member) = bucket.get(place) else { continue };
            let fits = bits <= self.bits || (self.id(member.contact) ^ id) >> (64 - bits) == 0;
            if fits && member.lived_at(time) {
                return Some(member.contact);
            }
        }
        None
    }

    /// Puts the `count` accepted nodes closest to `target` by XOR into `found`, closest first.
    pub(super) fn closest(
        &self,
        target: u64,
        count: usize,
        accept: impl Fn(&Member) -> bool,
        found: &mut Vec<(u64, Contact)>,
    ) {
        let at = self.bucket(target);
        for spare in 0..=self.bits {
            // All buckets that share `bits - spare` bits: those of the step before, and the same number of
            // further ones.
            let half = if spare == 0 { at..at + 1 } else { sibling(at, spare - 1) };
            for bucket in &self.buckets[half] {
                let fit = bucket.iter().filter(|member| accept(member));
                found.extend(fit.map(|it| (self.id(it.contact) ^ target, it.contact)));
            }
            if found.len() >= count {
                break;
            }
        }
        if found.len() > count && count > 0 {
            found.select_nth_unstable(count - 1);
            found.truncate(count);
        }
        found.sort_unstable();
    }

    /// Puts the `count` accepted nodes that follow `id` on the circle into `found`, nearest first; with
    /// `back`, those before it.
    pub(super) fn around(
        &self,
        id: u64,
        count: usize,
        back: bool,
        accept: impl Fn(&Member) -> bool,
    ) -> Vec<(u64, Contact)> {
        let all = self.buckets.len();
        let mut found: Vec<(u64, Contact)> = Vec::with_capacity(count + 16);
        let first = self.bucket(id);
        for step in 0..=all {
            let at = if back { (first + all - step % all) % all } else { (first + step) % all };
            for member in self.buckets[at].iter().filter(|member| accept(member)) {
                let other = self.id(member.contact);
                let distance = if back { id.wrapping_sub(other) } else { other.wrapping_sub(id) };
                // The bucket of `id` itself is visited at both ends of the circle.
                let wide = distance > u64::MAX / 2;
                if all > 1 && (step == 0 && wide || step == all && !wide) {
                    continue;
                }
                found.push((distance, member.contact));
            }
            if found.len() >= count + usize::from(step == 0) {
                break;
            }
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(count);
        found
    }
}

/// The buckets that share all bits with `at` except the last `spare + 1`, without those that share one more.
fn sibling(at: usize, spare: u32) -> std::ops::Range<usize> {
    let from = ((at >> spare) ^ 1) << spare;
    from..from + (1 << spare)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn census(nodes: usize, seed: u64) -> Census {
        let mut census = Census::new(nodes, nodes, 1000, seed);
        (0..nodes).for_each(|place| {
            census.join(place, 10, 10);
        });
        census
    }

    proptest! {
        #[test]
        fn closest_and_around_are_what_a_scan_finds(nodes in 20usize..400, target: u64, count in 1usize..30, seed: u64) {
            let mut census = census(nodes, seed);
            for place in (0..nodes).step_by(3) {
                let node = census.node(place).expect("it joined");
                census.leave(node, 20);
            }
            let living: Vec<Contact> = (0..nodes).filter_map(|place| census.node(place)).collect();
            prop_assert_eq!(living.len(), census.living());
            let sorted = |distance: &dyn Fn(u64) -> u64| {
                let mut all: Vec<(u64, Contact)> =
                    living.iter().map(|it| (distance(census.id(*it)), *it)).collect();
                all.sort_unstable();
                all.truncate(count);
                all
            };
            let mut found = Vec::new();
            census.closest(target, count, Member::lives, &mut found);
            prop_assert_eq!(found, sorted(&|id| id ^ target));
            let count = count.min(living.len() / 3);
            let after = census.around(target, count, false, Member::lives);
            prop_assert_eq!(&after[..], &sorted(&|id| id.wrapping_sub(target))[..count]);
            let before = census.around(target, count, true, Member::lives);
            prop_assert_eq!(&before[..], &sorted(&|id| target.wrapping_sub(id))[..count]);
        }
    }

    #[test]
    fn a_place_is_taken_by_one_node_after_the_other() {
        let mut census = census(50, 1);
        let first = census.node(7).expect("a node");
        census.leave(first, 500);
        assert!(!census.lives(first) && census.node(7).is_none() && census.living() == 49);
        assert!(census.was_dead(first, 500) && !census.was_dead(first, 499));
        let second = census.join(7, 600, 600);
        assert!(census.lives(second) && !census.lives(first) && second != first);
        assert!(census.was_dead(first, 600) && !census.was_dead(second, 700));
        census.leave(second, 700);
        let third = census.join(7, 700, 700);
        assert!(census.was_dead(first, 0) && census.was_dead(second, 700) && census.lives(third));
        census.leave(first, 800);
        assert_eq!(census.living(), 50, "a node leaves once");
    }

    #[test]
    fn picks_are_even_and_lived_at_the_time() {
        let mut census = census(300, 1);
        let node = census.node(5).expect("a node");
        census.leave(node, 100);
        let mut counts = vec![0; 300];
        for draw in 0..30_000 {
            counts[place_of(census.pick(0, 0, 50, draw).expect("a node"))] += 1;
        }
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(least > Some(&60) && most < Some(&150), "{least:?} {most:?}");
        assert!((0..2000).all(|draw| census.pick(0, 0, 150, draw) != Some(node)));
        let bits = 3;
        let inside = census.pick(1 << 63, bits, 50, 9).expect("a node");
        assert_eq!((census.id(inside) ^ (1 << 63)) >> (64 - bits), 0);
    }
}
