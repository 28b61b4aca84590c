//! Tables of contacts, and the answers of a node from them.

use super::Millis;
use super::census::{Census, Contact, Member, NO_NODE, place_of};
use super::overlay::{DIGIT, Overlay};
use crate::draw::mix2;

const PHASES: u64 = 31;
/// Milliseconds after its birth at which a node is known to its neighbours.
pub(super) const ANNOUNCED: Millis = 2000;
/// Milliseconds that a failed check of a neighbour takes besides its wait: the tries.
const TRIES: Millis = 1500;

/// The intervals of checks of contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checks {
    /// For contacts of the table.
    pub(super) far: Millis,
    /// For neighbours.
    pub(super) near: Millis,
}

/// A place in a table.
#[derive(Debug, Clone, Copy)]
struct Cell {
    row: usize,
    column: usize,
}

/// The last check of a cell, and the inputs that decide which node it found.
#[derive(Debug, Clone, Copy)]
struct Check {
    at: Millis,
    draw: u64,
}

#[derive(Debug)]
pub(super) struct Tables {
    overlay: Overlay,
    entries: Vec<Contact>,
    rows: usize,
    checks: Checks,
    radius: u64,
    seed: u64,
}

impl Tables {
    pub(super) fn new(
        overlay: Overlay,
        places: usize,
        nodes: usize,
        checks: Checks,
        seed: u64,
    ) -> Self {
        let rows = overlay.rows(nodes);
        let entries = vec![NO_NODE; places * rows * overlay.columns()];
        Self { overlay, entries, rows, checks, radius: overlay.radius(nodes), seed }
    }

    /// Bytes of the tables of all places.
    pub(super) const fn bytes(&self) -> usize {
        self.entries.len() * size_of::<Contact>()
    }

    /// A new node is at this place and has its own contacts.
    pub(super) fn clear(&mut self, place: usize) {
        let each = self.rows * self.overlay.columns();
        self.entries[place * each..(place + 1) * each].fill(NO_NODE);
    }

    /// An entry of a node's table: the result of its last check.
    fn entry(
        &mut self,
        census: &Census,
        node: Contact,
        cell: Cell,
        now: Millis,
    ) -> Option<Contact> {
        let Cell { row, column } = cell;
        let number = (row * self.overlay.columns() + column) as u64;
        let draw = mix2(mix2(self.seed, PHASES), u64::from(node) << 16 | number);
        let checked = now - now.wrapping_add(draw as Millis) % self.checks.far;
        let at = place_of(node) * self.rows * self.overlay.columns() + number as usize;
        let present = self.entries[at];
        if present != NO_NODE && !census.was_dead(present, checked) {
            return Some(present);
        }
        let draw = mix2(draw, u64::from(checked));
        let found = self.draw(census, node, cell, Check { at: checked, draw });
        self.entries[at] = found.unwrap_or(NO_NODE);
        found
    }

    /// A node for a cell that lived at the time of the check.
    fn draw(&self, census: &Census, node: Contact, cell: Cell, check: Check) -> Option<Contact> {
        let (Cell { row, column }, Check { at: checked, draw }) = (cell, check);
        let id = census.id(node);
        match self.overlay {
            Overlay::Kademlia { .. } => {
                let row = row as u32;
                census.pick(id ^ (1 << (63 - row)), row + 1, checked, draw)
            }
            Overlay::Chord { .. } => {
                let finger = id.wrapping_add(1 << (63 - row));
                let after = census.around(finger, 1, false, |member| member.lived_at(checked));
                after.first().map(|(_, contact)| *contact)
            }
            Overlay::Pastry { .. } => {
                let shift = 64 - DIGIT * (row as u32 + 1);
                let mask = ((1u64 << DIGIT) - 1) << shift;
                let prefix = (id & !mask) | ((column as u64) << shift);
                census.pick(prefix, DIGIT * (row as u32 + 1), checked, draw)
            }
        }
    }

    /// Whether `node` knows a neighbour: it has been announced, and its death was not detected yet.
    fn knows(&self, node: Contact, member: &Member, now: Millis) -> bool {
        if member.born.saturating_add(ANNOUNCED) > now && member.born > super::START {
            return false;
        }
        if member.lives() || member.contact == node {
            return member.contact != node;
        }
        let pair = mix2(self.seed ^ u64::from(node), u64::from(member.contact));
        now < member.died + TRIES + pair as Millis % self.checks.near
    }

    /// Puts the answer of `node` about `target` into `found`, closest first.
    pub(super) fn answer(
        &mut self,
        census: &Census,
        node: Contact,
        target: u64,
        now: Millis,
        found: &mut Vec<(u64, Contact)>,
    ) {
        found.clear();
        let id = census.id(node);
        let count = self.overlay.answer();
        match self.overlay {
            Overlay::Kademlia { .. } => self.answer_by_xor(census, node, target, now, found),
            Overlay::Chord { .. } => {
                let distance = target.wrapping_sub(id);
                let first = (distance.leading_zeros() as usize).min(self.rows);
                for row in first..self.rows.min(first + count) {
                    let entry = self.entry(census, node, Cell { row, column: 0 }, now);
                    found.extend(entry.map(|it| (target.wrapping_sub(census.id(it)), it)));
                }
                if found.is_empty() || distance < self.radius.saturating_mul(4) {
                    let known = |member: &Member| {
                        census.id(member.contact).wrapping_sub(id) < self.radius.min(distance)
                            && self.knows(node, member, now)
                    };
                    // The nearest ones before the target, or the last of the successors.
                    let from =
                        if distance < self.radius { target } else { id.wrapping_add(self.radius) };
                    let before = census.around(from, count, true, known);
                    found.extend(
                        before.iter().map(|it| (target.wrapping_sub(census.id(it.1)), it.1)),
                    );
                }
                found.retain(|(other, _)| *other < distance);
            }
            Overlay::Pastry { .. } => self.answer_by_digits(census, node, target, now, found),
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(count);
    }

    fn answer_by_xor(
        &mut self,
        census: &Census,
        node: Contact,
        target: u64,
        now: Millis,
        found: &mut Vec<(u64, Contact)>,
    ) {
        let id = census.id(node);
        let count = self.overlay.answer();
        let away = id ^ target;
        if away / 2 <= self.radius {
            let known = |member: &Member| {
                census.id(member.contact) ^ id < self.radius && self.knows(node, member, now)
            };
            if self.radius < u64::MAX {
                census.closest(target, count, known, found);
            } else {
                census.closest(target, count, |member| self.knows(node, member, now), found);
            }
        }
        let bucket = away.leading_zeros() as usize;
        // The bucket of the target first: all its contacts are closer than those in deeper buckets, which are
        // closer than those in the buckets before it.
        for row in (bucket..self.rows).chain((0..bucket.min(self.rows)).rev()) {
            if row != bucket && found.len() >= count {
                break;
            }
            for column in 0..self.overlay.columns() {
                let entry = self.entry(census, node, Cell { row, column }, now);
                found.extend(entry.map(|it| (census.id(it) ^ target, it)));
            }
            found.sort_unstable();
            found.dedup();
        }
    }

    fn answer_by_digits(
        &mut self,
        census: &Census,
        node: Contact,
        target: u64,
        now: Millis,
        found: &mut Vec<(u64, Contact)>,
    ) {
        let id = census.id(node);
        let overlay = self.overlay;
        let away = overlay.distance(id, target);
        let row = ((id ^ target).leading_zeros() / DIGIT) as usize;
        if row < self.rows {
            let digit = (target >> (64 - DIGIT as usize * (row + 1))) as usize % (1 << DIGIT);
            let last = (1 << DIGIT) - 1;
            for column in [Some(digit), digit.checked_sub(1), Some((digit + 1).min(last))]
                .into_iter()
                .flatten()
            {
                let entry = self.entry(census, node, Cell { row, column }, now);
                found.extend(entry.map(|it| (overlay.distance(census.id(it), target), it)));
            }
        }
        found.retain(|(other, _)| *other < away);
        if found.is_empty() || away / 2 <= self.radius {
            let known = |member: &Member| {
                overlay.distance(census.id(member.contact), id) < self.radius
                    && self.knows(node, member, now)
            };
            let from = if away < self.radius {
                target
            } else if target.wrapping_sub(id) == away {
                id.wrapping_add(self.radius)
            } else {
                id.wrapping_sub(self.radius)
            };
            for back in [false, true] {
                let near = census.around(from, overlay.answer(), back, known);
                found.extend(
                    near.iter().map(|it| (overlay.distance(census.id(it.1), target), it.1)),
                );
            }
            found.retain(|(other, _)| *other < away);
        }
    }
}
