//! The members this node knows, and what it thinks of each.
//!
//! **Invariants:** at most [`Table::new`]'s number of members and of dead and left ones; a record is
//! replaced only by a younger one of the same subject; of two states the caller decides, never a
//! record's arrival alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Instant, Peer, PublicKey};
use potluck_wire::RecordVersion;

use super::suspicion::Suspicion;
use crate::view::MemberState;

/// Entries of those who went last that are looked at for one that is still dead.
const LOOKED_AT: usize = 64;

/// What this node thinks of a member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LocalState {
    Alive,
    Suspect(Box<Suspicion>),
    Dead,
    Left,
}

impl LocalState {
    /// As shown.
    pub(crate) const fn shown(&self) -> MemberState {
        match self {
            Self::Alive => MemberState::Alive,
            Self::Suspect(_) => MemberState::Suspect,
            Self::Dead => MemberState::Dead,
            Self::Left => MemberState::Left,
        }
    }
}

/// Somebody who could not reach a member, and when it said so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Confirmation {
    pub(crate) from: PublicKey,
    pub(crate) at: Instant,
}

/// One member.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its id, key, and the address it was last proved at.
    pub(crate) peer: Peer,
    /// Its own word, as signed; empty if only its traffic is known.
    pub(crate) record: Bytes,
    /// How young that is.
    pub(crate) version: RecordVersion,
    pub(crate) state: LocalState,
    /// When it came into this state.
    pub(crate) since: Instant,
    /// When it was last heard.
    pub(crate) heard: Instant,
    /// When a claim last made this node probe it.
    pub(crate) priority_probe_at: Instant,
    /// Whether its last round trip was short, if there was one.
    pub(crate) near: Option<bool>,
    /// Whether only others could reach it last time: then they are asked before every verdict.
    pub(crate) reached_indirectly: bool,
    /// Some that it says are linked to it.
    pub(crate) helper_hints: Vec<Contact>,
    /// Who doubted it lately.
    pub(crate) confirmations: Vec<Confirmation>,
    /// How often it died lately. A member that died often is suspected for longer before it is taken for
    /// dead again; a sign of life counts at once, however often it died.
    pub(crate) flaps: u8,
    /// Whether it has answered, or said a younger word, since it was last back: one that is only heard
    /// may be deaf.
    pub(crate) answered: bool,
}

impl Member {
    /// Whether it is taken to be there.
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
    /// The dead and left, in the order in which they went; entries of those who returned are stale.
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
    /// Room for so many that are here and so many that are gone.
    pub(crate) const fn new(here_max: usize, gone_max: usize) -> Self {
        Self { members: BTreeMap::new(), here_max, gone_max, gone: VecDeque::new(), counts: [0; 4] }
    }

    pub(crate) fn get(&self, key: &PublicKey) -> Option<&Member> {
        self.members.get(key)
    }

    /// For all but the state, which [`Table::set_state`] changes.
    pub(crate) fn get_mut(&mut self, key: &PublicKey) -> Option<&mut Member> {
        self.members.get_mut(key)
    }

    /// All, in the order of keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// All behind a key, in the order of keys.
    pub(crate) fn behind(&self, key: &PublicKey) -> impl Iterator<Item = &Member> {
        use std::ops::Bound;
        self.members.range((Bound::Excluded(*key), Bound::Unbounded)).map(|(_, member)| member)
    }

    /// Those with this short id: usually one.
    pub(crate) fn with_short_id(&self, short: u64) -> Option<&Member> {
        let mut first = [0; 32];
        first[..8].copy_from_slice(&short.to_be_bytes());
        let member = self.members.range(PublicKey::from_bytes(first)..).next()?.1;
        (short_id(&member.peer.contact.public_key) == short).then_some(member)
    }

    /// Alive, suspect, dead, left.
    pub(crate) const fn counts(&self) -> [usize; 4] {
        self.counts
    }

    /// How many are here, in this node's judgement.
    pub(crate) const fn here(&self) -> usize {
        self.counts[0] + self.counts[1]
    }

    /// Changes how many may be here; nobody is dropped.
    pub(crate) const fn set_room(&mut self, here_max: usize) {
        self.here_max = here_max;
    }

    /// Whether another one has room.
    pub(crate) const fn has_room(&self) -> bool {
        self.here() < self.here_max
    }

    /// Puts a new member in; false if there is no room.
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

    /// Changes what is thought of a member.
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

    /// Forgets who has been gone for longer than `keep`.
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

    /// Whether one of the dead died within `time`.
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
        // Stale entries are bounded by this, whatever comes and goes.
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
