//! Teams: the id of a team, and the signed list of its writers.
//!
//! The list is a record of the team's owner in [`Space::Writers`](crate::Space::Writers), under a key
//! computed from the team's id. The id is a hash of the owner's key and the team's name, and the head of an
//! envelope contains both, so only the owner can sign an envelope for that key. Of two lists the one with the
//! newer dot is kept, as for all envelopes of one writer.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use minicbor::{Decoder, Encoder};
use potluck_base::{Key, PublicKey};

use crate::limits::{TEAM_LIST_BYTES_MAX, TEAM_WRITERS_MAX};
use crate::{Envelope, Name, Space, State};

/// Identifies a team: a hash of its owner's public key and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TeamId([u8; 32]);

/// Why a text is not the id of a team.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a team is written team/<64 hexadecimal digits>, as `potluck team create` prints it")]
pub struct TeamIdError;

impl TeamId {
    /// The id of the team `name` of `owner`.
    #[must_use]
    pub fn of(owner: &PublicKey, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 team");
        hasher.update(owner.as_bytes());
        hasher.update(name.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// Wraps 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of the team's list of writers.
    #[must_use]
    pub fn list_key(&self) -> Key {
        Key::from_bytes(blake3::derive_key("potluck 2026 key team list", &self.0))
    }
}

impl fmt::Display for TeamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for TeamId {
    type Err = TeamIdError;

    fn from_str(text: &str) -> Result<Self, TeamIdError> {
        let digits = text.strip_prefix("team/").unwrap_or(text);
        let key: Key = digits.parse().map_err(|_| TeamIdError)?;
        Ok(Self(*key.as_bytes()))
    }
}

/// The members that may write in a team, besides its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamList {
    /// The public key of the owner, which signed the list.
    pub owner: PublicKey,
    /// The team's name.
    pub name: Name,
    /// Counts the changes of the list, starting with 1.
    pub epoch: u64,
    /// The writers besides the owner, at most [`TEAM_WRITERS_MAX`].
    pub writers: BTreeSet<PublicKey>,
}

impl TeamList {
    /// The team's id.
    #[must_use]
    pub fn id(&self) -> TeamId {
        TeamId::of(&self.owner, self.name.as_str())
    }

    /// Whether `writer` may write in the team.
    #[must_use]
    pub fn admits(&self, writer: &PublicKey) -> bool {
        *writer == self.owner || self.writers.contains(writer)
    }

    /// The value of the record: the epoch, the name and the writers, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        let written = encoder
            .array(3)
            .and_then(|encoder| encoder.u64(self.epoch))
            .and_then(|encoder| encoder.str(self.name.as_str()))
            .and_then(|encoder| encoder.array(self.writers.len() as u64))
            .and_then(|encoder| {
                self.writers.iter().try_fold(encoder, |encoder, key| encoder.bytes(key.as_bytes()))
            });
        // A vector takes all that is written to it.
        debug_assert!(written.is_ok());
        encoder.into_writer()
    }

    /// Decodes the value of a record that `owner` signed. `None` if it is not a list or exceeds a limit.
    #[must_use]
    pub fn decode(owner: PublicKey, bytes: &[u8]) -> Option<Self> {
        if bytes.len() > TEAM_LIST_BYTES_MAX {
            return None;
        }
        let mut decoder = Decoder::new(bytes);
        if decoder.array().ok()? != Some(3) {
            return None;
        }
        let epoch = decoder.u64().ok()?;
        let name = Name::new(decoder.str().ok()?).ok()?;
        let count = decoder.array().ok()??;
        if count > TEAM_WRITERS_MAX as u64 {
            return None;
        }
        let mut writers = BTreeSet::new();
        for _ in 0..count {
            let key: [u8; 32] = decoder.bytes().ok()?.try_into().ok()?;
            writers.insert(PublicKey::from_bytes(key));
        }
        let whole = decoder.position() == bytes.len() && writers.len() as u64 == count;
        whole.then_some(Self { owner, name, epoch, writers })
    }

    /// The list in an envelope of [`Space::Writers`]. `None` if the envelope has no list.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Option<Self> {
        let Space::Writers(owner) = envelope.head().space() else { return None };
        let (_, bytes) = envelope.values().last()?;
        let list = Self::decode(owner, &bytes)?;
        (list.name.as_str() == envelope.head().name()).then_some(list)
    }
}

impl<E: crate::HasHead + Clone> State<E> {
    /// The team that these envelopes belong to.
    #[must_use]
    pub fn team(&self) -> Option<TeamId> {
        match self.iter().next()?.signed_head().space() {
            Space::Team(team) => Some(team),
            Space::Content
            | Space::Own(_)
            | Space::Commons
            | Space::Provider
            | Space::Writers(_) => None,
        }
    }

    /// The envelopes of writers on `list`; none without a list. The record then reads as if the other writers
    /// had never written.
    #[must_use]
    pub fn admitted(&self, list: Option<&TeamList>) -> Self {
        let admits =
            |envelope: &&E| list.is_some_and(|list| list.admits(&envelope.signed_head().writer()));
        self.iter().filter(admits).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
