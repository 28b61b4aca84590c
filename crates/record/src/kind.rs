//! Kinds: the rules by which a reader folds the values under a key. Replicas treat all kinds alike.

use std::fmt;
use std::str::FromStr;

/// How concurrent values are read. Replicas store unknown kinds too, so that a newer client can use older
/// replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Kind {
    /// All concurrent values are returned; the client merges by writing with the context it read.
    #[default]
    Siblings,
    /// The value with the highest (dot, writer) wins.
    Lww,
    /// The sum of the shares of all writers.
    Counter,
    /// A set of texts that the writers add and remove. An addition wins over a concurrent removal.
    Set,
    /// Fields with one value each that the writers set and unset. Setting wins over a concurrent unset.
    Map,
    /// Internal: one value per writer; no value supersedes that of another writer. Used for provider records.
    PerWriter,
    /// A kind of a newer version.
    Unknown(u8),
}

/// Why a word is not a kind of which a client can write a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// It is not the name of a kind.
    #[error("a kind is one of siblings, lww")]
    Unknown,
    /// Records of that kind are changed by operations, not by a put.
    #[error("a {kind} is not put: {}", .kind.how_to_change().unwrap_or("it has operations"))]
    Operated {
        /// The kind.
        kind: Kind,
    },
}

impl Kind {
    /// The number on the wire and on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Siblings => 0,
            Self::Lww => 1,
            Self::Counter => 2,
            Self::Set => 3,
            Self::Map => 4,
            Self::PerWriter => 32,
            Self::Unknown(number) => number,
        }
    }

    /// The kind with a number.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Siblings,
            1 => Self::Lww,
            2 => Self::Counter,
            3 => Self::Set,
            4 => Self::Map,
            32 => Self::PerWriter,
            other => Self::Unknown(other),
        }
    }

    /// Whether each writer keeps one value, its share, and readers fold the shares of all writers
    /// into one value. Such a record is changed by operations.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        match self {
            Self::Counter | Self::Set | Self::Map => true,
            Self::Siblings | Self::Lww | Self::PerWriter | Self::Unknown(_) => false,
        }
    }

    /// The commands that change a record of a kind that is changed by operations.
    #[must_use]
    pub const fn how_to_change(self) -> Option<&'static str> {
        match self {
            Self::Counter => Some("count with potluck incr NAME [N]"),
            Self::Set => Some("change it with potluck set-add NAME ELEM.. or set-remove"),
            Self::Map => Some("change it with potluck map-set NAME FIELD VALUE or map-unset"),
            Self::Siblings | Self::Lww | Self::PerWriter | Self::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Siblings => f.write_str("siblings"),
            Self::Lww => f.write_str("lww"),
            Self::Counter => f.write_str("counter"),
            Self::Set => f.write_str("set"),
            Self::Map => f.write_str("map"),
            Self::PerWriter => f.write_str("per-writer"),
            Self::Unknown(number) => write!(f, "kind-{number}"),
        }
    }
}

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(word: &str) -> Result<Self, KindError> {
        match word {
            "siblings" => Ok(Self::Siblings),
            "lww" => Ok(Self::Lww),
            "counter" => Err(KindError::Operated { kind: Self::Counter }),
            "set" => Err(KindError::Operated { kind: Self::Set }),
            "map" => Err(KindError::Operated { kind: Self::Map }),
            _ => Err(KindError::Unknown),
        }
    }
}
