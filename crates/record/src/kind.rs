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
    /// Internal: one value per writer, none supersedes another's. Carries provider records.
    PerWriter,
    /// A kind of a newer version.
    Unknown(u8),
}

/// Why a word names no kind that a client can write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a kind is one of siblings, lww")]
pub struct KindError;

impl Kind {
    /// The number on the wire and on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Siblings => 0,
            Self::Lww => 1,
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
            32 => Self::PerWriter,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Siblings => f.write_str("siblings"),
            Self::Lww => f.write_str("lww"),
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
            _ => Err(KindError),
        }
    }
}
