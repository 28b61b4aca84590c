//! The listing of names in a space: the query, and a holder's state of each name.
//!
//! Several replicas hold a name, and they may differ. [`NamedState::merge`] keeps the state with the newest
//! dot, and at equal dots the one with the larger sum of dots. If one of two states has all envelopes of the
//! other, or newer ones, it is the one that is kept, so a deletion hides the value of a stale replica. If two
//! states diverged, one of them is kept until the replicas have repaired each other.

use potluck_base::{PublicKey, UnixMillis};

use crate::head::space_number;
use crate::{Dot, HasHead, Kind, Name, Space, State, TeamId};

/// Most entries of one page, and most names that a holder reads for it. Raising it makes a page occupy the
/// store longer: each name costs one read of its record.
pub const NAMES_PAGE_MAX: u32 = 1024;

/// A query for one page of names, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesQuery {
    /// The space. [`Space::Content`] and [`Space::Provider`] have no names to list.
    pub space: Space,
    /// Only names with this prefix; may be empty.
    pub prefix: String,
    /// Only names after this one.
    pub after: Option<String>,
    /// Only names up to and including this one.
    pub until: Option<String>,
    /// Most entries, at most [`NAMES_PAGE_MAX`].
    pub limit: u32,
}

/// The state of a name at one holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedState {
    /// The name.
    pub name: Name,
    /// The newest dot of the state's envelopes.
    pub newest: Dot,
    /// The sum of the dots of all its envelopes.
    pub dots: u128,
    /// The kind of the newest envelope.
    pub kind: Kind,
    /// Values that a reader sees; 0 if it is deleted.
    pub values: u32,
    /// Bytes of the live values.
    pub bytes: u64,
    /// The expiry of the last live value.
    pub expires: UnixMillis,
}

impl Space {
    /// The number of this space in messages and heads, and the owner of an own space or the id of a team.
    #[must_use]
    pub const fn to_parts(&self) -> (u8, Option<[u8; 32]>) {
        let owner = match self {
            Self::Own(owner) | Self::Writers(owner) => Some(*owner.as_bytes()),
            Self::Team(team) => Some(*team.as_bytes()),
            Self::Content | Self::Commons | Self::Provider => None,
        };
        (space_number(self), owner)
    }

    /// The space with these [`to_parts`](Self::to_parts). `None` if there is none.
    #[must_use]
    pub fn from_parts(number: u8, owner: Option<[u8; 32]>) -> Option<Self> {
        let of_owner = |owner: [u8; 32]| {
            let key = PublicKey::from_bytes(owner);
            [Self::Own(key), Self::Team(TeamId::from_bytes(owner)), Self::Writers(key)]
        };
        let unowned = [Self::Content, Self::Commons, Self::Provider];
        let all = owner.map(of_owner).into_iter().flatten().chain(unowned);
        all.into_iter().find(|space| space.to_parts() == (number, owner))
    }
}

impl NamedState {
    /// The listing entry of `name` for `state` at `now`. `None` if no envelope in it is alive, not even a
    /// deletion.
    #[must_use]
    pub fn of<E: HasHead>(name: Name, state: &State<E>, now: UnixMillis) -> Option<Self> {
        let heads = || state.iter().map(HasHead::signed_head).filter(|head| head.expires() > now);
        let newest = heads().max_by_key(|head| (head.dot(), head.writer()))?;
        let mut entry = Self {
            name,
            newest: newest.dot(),
            dots: heads().map(|head| u128::from(head.dot().raw())).sum(),
            kind: newest.kind(),
            values: 0,
            bytes: 0,
            expires: UnixMillis(0),
        };
        let mut folded: Vec<Kind> = Vec::new();
        for live in state.live(now) {
            let Some(head) = state.of(&live.writer).map(HasHead::signed_head) else { continue };
            let Some(value) = head.values().get(live.index) else { continue };
            // Of every other kind, a reader sees one value, whatever the number of writers is.
            let folds = head.kind() != Kind::Siblings;
            if !folds || !folded.contains(&head.kind()) {
                entry.values = entry.values.saturating_add(1);
            }
            if folds {
                folded.push(head.kind());
            }
            entry.bytes = entry.bytes.saturating_add(value.len() as u64);
            entry.expires = entry.expires.max(value.expires());
        }
        Some(entry)
    }

    /// Merges the state of another holder: the newer of both is kept.
    pub fn merge(&mut self, other: Self) {
        if other.rank() > self.rank() {
            *self = other;
        }
    }

    /// Whether a reader sees a value.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.values > 0
    }

    /// The other fields make the order total, so the result does not depend on the order of answers.
    fn rank(&self) -> (Dot, u128, u32, u64, UnixMillis, u8) {
        (self.newest, self.dots, self.values, self.bytes, self.expires, self.kind.number())
    }
}

#[cfg(test)]
mod tests;
