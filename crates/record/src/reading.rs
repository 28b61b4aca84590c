//! What a reader sees: the live values of a state, folded by kind.

use bytes::Bytes;
use potluck_base::{PublicKey, UnixMillis};

use crate::limits::PROVIDERS_MAX;
use crate::{Context, Dot, Envelope, Kind, Space, State};

/// One value that a reader sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The bytes.
    pub bytes: Bytes,
    /// Who wrote it.
    pub writer: PublicKey,
    /// Its version.
    pub dot: Dot,
    /// How it was meant to be read.
    pub kind: Kind,
    /// When it expires.
    pub expires: UnixMillis,
}

/// A folded state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// No value: absent or deleted. One: the value. More: siblings to merge. Newest first.
    pub values: Vec<Value>,
    /// What a write must carry to supersede all of this.
    pub context: Context,
}

impl Reading {
    /// Folds `state` as a reader at `now` does.
    ///
    /// Kinds fold apart: last-write-wins values to the highest (dot, writer), siblings not at all.
    /// Mixed kinds under one key come back together, with their kinds. Equal content written by
    /// several writers is one value. Of provider records the newest [`PROVIDERS_MAX`] are read.
    #[must_use]
    pub fn of(state: &State<Envelope>, now: UnixMillis) -> Self {
        let mut values: Vec<Value> = state
            .live(now)
            .into_iter()
            .filter_map(|live| {
                let envelope = state.of(&live.writer)?;
                let (entry, bytes) = envelope.values().nth(live.index)?;
                let kind = envelope.head().kind();
                Some(Value {
                    bytes,
                    writer: live.writer,
                    dot: live.dot,
                    kind,
                    expires: entry.expires(),
                })
            })
            .collect();
        values.sort_by_key(|value| std::cmp::Reverse((value.dot, value.writer)));
        let is_content =
            state.iter().next().is_some_and(|any| any.head().space() == Space::Content);
        let mut lww_seen = false;
        let mut providers = 0;
        values.retain(|value| {
            providers += usize::from(value.kind == Kind::PerWriter);
            if value.kind == Kind::PerWriter && providers > usize::from(PROVIDERS_MAX) {
                return false;
            }
            let folds = is_content || value.kind == Kind::Lww;
            let keep = !folds || !lww_seen;
            lww_seen |= folds;
            keep
        });
        Self { values, context: state.context() }
    }
}
