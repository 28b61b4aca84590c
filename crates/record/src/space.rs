//! Spaces (the rules for the writers of a key) and names, and the keys that they determine.

use std::fmt;
use std::str::FromStr;

use potluck_base::{Key, PublicKey};

use crate::TeamId;
use crate::limits::NAME_BYTES_MAX;

/// The name of a record: 1 to 512 bytes of UTF-8; `/` is allowed, control characters are not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("a name has at least one byte")]
    Empty,
    /// It is longer than 512 bytes.
    #[error("a name has at most {NAME_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// It holds a control character.
    #[error("a name holds no control characters")]
    Control,
}

impl Name {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong(name.len()));
        }
        if name.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        Ok(Self(name))
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rule that decides which writers may write a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// The key is the hash of the value; immutable.
    Content,
    /// One writer, the owner with this key.
    Own(PublicKey),
    /// Any admitted member of an `invite` or `lab` network.
    Commons,
    /// Internal: the providers of the content with this id. One short-lived value per writer.
    Provider,
    /// The writers on the signed list of the team's owner; see [`TeamList`](crate::TeamList).
    Team(TeamId),
    /// Internal: the lists of writers of the teams of one owner, by the teams' names.
    Writers(PublicKey),
}

/// Why a text is not a space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a space is one of commons, content, own, own/<public key hex>, team/<id>")]
pub struct SpaceError;

impl Space {
    /// The key of `name` in this space. `None` in [`Space::Content`], where the value determines the key (see
    /// [`Space::content_key`]).
    #[must_use]
    pub fn key(&self, name: &Name) -> Option<Key> {
        // Derived keys and the plain hash of content are separate domains of BLAKE3 by
        // construction, so no value can be crafted whose content key is a named key.
        let mut hasher = match self {
            Self::Content => return None,
            Self::Commons => blake3::Hasher::new_derive_key("potluck 2026 key commons"),
            Self::Provider => blake3::Hasher::new_derive_key("potluck 2026 key provider"),
            Self::Own(owner) => {
                let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 key own");
                hasher.update(owner.as_bytes());
                hasher
            }
            Self::Team(team) => {
                let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 key team");
                hasher.update(team.as_bytes());
                hasher
            }
            Self::Writers(owner) => return Some(TeamId::of(owner, name.as_str()).list_key()),
        };
        hasher.update(name.as_str().as_bytes());
        Some(Key::from_bytes(*hasher.finalize().as_bytes()))
    }

    /// The key of a value in [`Space::Content`]: its BLAKE3 hash.
    #[must_use]
    pub fn content_key(value: &[u8]) -> Key {
        Key::from_bytes(*blake3::hash(value).as_bytes())
    }

    /// Whether `writer` may write here, according to the space alone: the writers of a team are on a separate
    /// list.
    #[must_use]
    pub fn admits(&self, writer: &PublicKey) -> bool {
        match self {
            Self::Own(owner) | Self::Writers(owner) => owner == writer,
            Self::Content | Self::Commons | Self::Provider | Self::Team(_) => true,
        }
    }

    /// Reads a space as a user types it; a bare `own` means `me`.
    ///
    /// # Errors
    /// [`SpaceError`] if it is not a space that a client can write.
    pub fn parse(text: &str, me: &PublicKey) -> Result<Self, SpaceError> {
        match text {
            "commons" => Ok(Self::Commons),
            "content" => Ok(Self::Content),
            "own" => Ok(Self::Own(*me)),
            _ => {
                if let Some(team) = text.strip_prefix("team/") {
                    return team.parse().map(Self::Team).map_err(|_| SpaceError);
                }
                let owner = text.strip_prefix("own/").ok_or(SpaceError)?;
                Ok(Self::Own(PublicKey::from_str(owner).map_err(|_| SpaceError)?))
            }
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content => f.write_str("content"),
            Self::Own(owner) => write!(f, "own/{owner}"),
            Self::Commons => f.write_str("commons"),
            Self::Provider => f.write_str("provider"),
            Self::Team(team) => write!(f, "team/{team}"),
            Self::Writers(owner) => write!(f, "writers/{owner}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::Identity;

    use super::*;

    #[test]
    fn one_name_has_another_key_in_each_space() {
        let name = Name::new("a").expect("good name");
        let me = Identity::from_seed([1; 32]).public_key();
        let other = Identity::from_seed([2; 32]).public_key();
        let keys: std::collections::BTreeSet<_> = [
            Space::Commons,
            Space::Own(me),
            Space::Own(other),
            Space::Provider,
            Space::Team(TeamId::of(&me, "a")),
            Space::Team(TeamId::of(&other, "a")),
            Space::Writers(me),
        ]
        .iter()
        .filter_map(|space| space.key(&name))
        .chain([Space::content_key(b"a")])
        .collect();
        assert_eq!(keys.len(), 8);
    }

    #[test]
    fn bad_names_are_refused_with_a_reason() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("x".repeat(10_240)), Err(NameError::TooLong(10_240)));
        assert_eq!(Name::new("a\nb"), Err(NameError::Control));
        assert!(Name::new("config/größe").is_ok());
    }

    #[test]
    fn spaces_round_trip_through_text() {
        let me = Identity::from_seed([1; 32]).public_key();
        for space in
            [Space::Commons, Space::Content, Space::Own(me), Space::Team(TeamId::of(&me, "a"))]
        {
            assert_eq!(Space::parse(&space.to_string(), &me), Ok(space));
        }
        assert_eq!(Space::parse("own", &me), Ok(Space::Own(me)));
        assert_eq!(Space::parse("provider", &me), Err(SpaceError));
    }
}
