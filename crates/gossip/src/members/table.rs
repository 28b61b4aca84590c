//! The known members and this node's judgement of each.
//!
//! **Invariants:** the number of living members, and of dead and left ones, is bounded by
//! [`Table::new`]; a record is replaced only by a newer one of the same subject; the arrival of a
//! record never changes a state by itself, the caller does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Instant, Peer, PublicKey};
use potluck_wire::RecordVersion;

use super::suspicion::Suspicion;
use crate::view::MemberState;

/// Last dead and left members checked for one that died lately.
const LOOKED_AT: usize = 64;

/// This node's judgement of a member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LocalState {
    Alive,
    Suspect(Box<Suspicion>),
    Dead,
    Left,
}

impl LocalState {
    /// As the application sees it.
    pub(crate) const fn shown(&self) -> MemberState {
        match self {
            Self::Alive => MemberState::Alive,
            Self::Suspect(_) => MemberState::Suspect,
            Self::Dead => MemberState::Dead,
            Self::Left => MemberState::Left,
        }
    }
}

/// A member that could not reach another one, and when it said so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Confirmation {
    pub(crate) from: PublicKey,
    pub(crate) at: Instant,
}

/// One member.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its id, its key, and the address where it was last proved.
    pub(crate) peer: Peer,
    /// Its signed record; empty if only its traffic is known.
    pub(crate) record: Bytes,
    /// The version of the record.
    pub(crate) version: RecordVersion,
    pub(crate) state: LocalState,
    /// When it entered this state.
    pub(crate) since: Instant,
    /// When it was last heard from.
    pub(crate) heard: Instant,
    /// When it last got a priority probe.
    pub(crate) priority_probe_at: Instant,
    /// Whether its last round trip was short, if there was one.
    pub(crate) near: Option<bool>,
    /// Whether only helpers could reach it last time: then they are asked before every verdict.
    pub(crate) reached_indirectly: bool,
    /// Nodes that it named as its neighbours or probers.
    pub(crate) helper_hints: Vec<Contact>,
    /// Members that suspect it as well.
    pub(crate) confirmations: Vec<Confirmation>,
    /// Number of recent deaths. A flapping member is suspected for longer before it is declared
    /// dead again; a sign of life counts at once.
    pub(crate) flaps: u8,
    /// Whether it has answered, or sent a newer version, since it last returned. A member that is
    /// only heard from may not receive.
    pub(crate) answered: bool,
}

impl Member {
    /// Whether it counts as alive: alive or suspect.
    pub(crate) const fn is_here(&self) -> bool {
        matches!(self.state, LocalState::Alive | LocalState::Suspect(_))
    }
}

/// The members.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    members: BTreeMap<PublicKey, Member>,
    here_max: usize,
    gone_max: usize,
    /// The dead and left members, in the order in which they went; entries of those that returned
    /// are stale.
    gone: VecDeque<(Instant, PublicKey)>,
    counts: [usize; 4],
}

const fn slot(state: &LocalState) -> usize {
    match state {
        LocalState::Alive => 0,
        LocalState::Suspect(_) => 1,
        LocalState::Dead => 2,
        LocalState::Left => 3,
    }
}

impl Table {
    /// A table with room for this many living members and this many dead or left ones.
    pub(crate) const fn new(here_max: usize, gone_max: usize) -> Self {
        Self { members: BTreeMap::new(), here_max, gone_max, gone: VecDeque::new(), counts: [0; 4] }
    }

    pub(crate) fn get(&self, key: &PublicKey) -> Option<&Member> {
        self.members.get(key)
    }

    /// Write access to all but the state, which [`Table::set_state`] changes.
    pub(crate) fn get_mut(&mut self, key: &PublicKey) -> Option<&mut Member> {
        self.members.get_mut(key)
    }

    /// All members, in the order of keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// All members after a key, in the order of keys.
    pub(crate) fn behind(&self, key: &PublicKey) -> impl Iterator<Item = &Member> {
        use std::ops::Bound;
        self.members.range((Bound::Excluded(*key), Bound::Unbounded)).map(|(_, member)| member)
    }

    /// A member with this short id; usually there is only one.
    pub(crate) fn with_short_id(&self, short: u64) -> Option<&Member> {
        let mut first = [0; 32];
        first[..8].copy_from_slice(&short.to_be_bytes());
        let member = self.members.range(PublicKey::from_bytes(first)..).next()?.1;
        (short_id(&member.peer.contact.public_key) == short).then_some(member)
    }

    /// The numbers of alive, suspect, dead and left members.
    pub(crate) const fn counts(&self) -> [usize; 4] {
        self.counts
    }

    /// The number of members that count as alive.
    pub(crate) const fn here(&self) -> usize {
        self.counts[0] + self.counts[1]
    }

    /// Changes the room for living members; drops none.
    pub(crate) const fn set_room(&mut self, here_max: usize) {
        self.here_max = here_max;
    }

    /// Whether there is room for another living member.
    pub(crate) const fn has_room(&self) -> bool {
        self.here() < self.here_max
    }

    /// Adds a new member; false if there is no room.
    pub(crate) fn insert(&mut self, member: Member) -> bool {
        let key = member.peer.contact.public_key;
        if member.is_here() && !self.has_room() {
            return false;
        }
        self.counts[slot(&member.state)] += 1;
        let gone = !member.is_here();
        let since = member.since;
        if let Some(old) = self.members.insert(key, member) {
            self.counts[slot(&old.state)] -= 1;
        }
        if gone {
            self.gone.push_back((since, key));
            self.forget_surplus();
        }
        true
    }

    /// Changes the state of a member.
    pub(crate) fn set_state(&mut self, now: Instant, key: &PublicKey, state: LocalState) {
        let Some(member) = self.members.get_mut(key) else { return };
        self.counts[slot(&member.state)] -= 1;
        self.counts[slot(&state)] += 1;
        member.state = state;
        member.since = now;
        if !member.is_here() {
            self.gone.push_back((now, *key));
            self.forget_surplus();
        }
    }

    pub(crate) fn remove(&mut self, key: &PublicKey) {
        if let Some(member) = self.members.remove(key) {
            self.counts[slot(&member.state)] -= 1;
        }
    }

    /// Forgets members that have been dead or have left for longer than `keep`.
    pub(crate) fn forget_old(&mut self, now: Instant, keep: Duration) {
        while let Some((at, key)) = self.gone.front().copied() {
            let current = self.is_gone_since(&key, at);
            if current && now.since(at) <= keep {
                return;
            }
            self.gone.pop_front();
            if current {
                self.remove(&key);
            }
        }
    }

    /// Whether a member that is still dead died within `time`.
    pub(crate) fn died_since(&self, now: Instant, time: Duration) -> bool {
        let lately = self.gone.iter().rev().take_while(|(at, _)| now.since(*at) < time);
        let dead = |key: &PublicKey| {
            self.members.get(key).is_some_and(|member| matches!(member.state, LocalState::Dead))
        };
        lately.take(LOOKED_AT).any(|(at, key)| self.is_gone_since(key, *at) && dead(key))
    }

    fn forget_surplus(&mut self) {
        while self.counts[2] + self.counts[3] > self.gone_max {
            let Some((at, key)) = self.gone.pop_front() else { return };
            if self.is_gone_since(&key, at) {
                self.remove(&key);
            }
        }
        // This bounds stale entries, whatever comes and goes.
        while self.gone.len() > 4 * self.gone_max {
            let Some((at, key)) = self.gone.pop_front() else { return };
            if self.is_gone_since(&key, at) {
                self.gone.push_back((at, key));
                return;
            }
        }
    }

    fn is_gone_since(&self, key: &PublicKey, at: Instant) -> bool {
        self.members.get(key).is_some_and(|member| !member.is_here() && member.since == at)
    }
}

/// The first eight bytes of a key.
pub(crate) fn short_id(key: &PublicKey) -> u64 {
    let bytes = key.as_bytes();
    u64::from_be_bytes(std::array::from_fn(|index| bytes[index]))
}
