//! Kinds: how a reader folds the values under a key. Replicas treat all kinds alike.

use std::fmt;
use std::str::FromStr;

/// How concurrent values are read. Replicas keep kinds they do not know, so that a newer client can
/// use older replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Kind {
    /// All concurrent values are returned; the client merges by writing with the context it read.
    #[default]
    Siblings,
    /// The value with the highest (dot, writer) wins.
    Lww,
    /// The sum of what each writer counted.
    Counter,
    /// A set of texts, which the writers add and remove; adding wins.
    Set,
    /// Fields with a value each, which the writers set and unset; setting wins.
    Map,
    /// Internal: one value per writer, none supersedes another's. Carries provider records.
    PerWriter,
    /// A kind of a newer version.
    Unknown(u8),
}

/// Why a word names no kind that a client can write a value of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// It names none.
    #[error("a kind is one of siblings, lww")]
    Unknown,
    /// A record of that kind is changed by operations, and no value is put into it.
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

    /// The kind of a number.
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
