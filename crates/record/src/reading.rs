//! The result of a read: the live values of a state, folded by kind.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use potluck_base::{PublicKey, UnixMillis};

use crate::limits::PROVIDERS_MAX;
use crate::{Context, Dot, Envelope, Kind, Shares, Space, State};

/// The folded value of all shares of a counter, set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folded {
    /// The sum of a counter.
    Counter(i128),
    /// The elements of a set.
    Set(BTreeSet<String>),
    /// The fields of a map with their values.
    Map(BTreeMap<String, Bytes>),
}

impl Folded {
    /// The value as JSON text: a decimal number for a counter, an array for a set, an object for a map. A
    /// field's value that is not UTF-8 is an object with its `valueBase64`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let (mut out, mut first) = (String::new(), true);
        let mut comma = |out: &mut String| {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
        };
        match self {
            Self::Counter(sum) => out = sum.to_string(),
            Self::Set(elements) => {
                out.push('[');
                for element in elements {
                    comma(&mut out);
                    push_json_text(&mut out, element);
                }
                out.push(']');
            }
            Self::Map(fields) => {
                out.push('{');
                for (field, value) in fields {
                    comma(&mut out);
                    push_json_text(&mut out, field);
                    out.push(':');
                    if let Ok(text) = std::str::from_utf8(value) {
                        push_json_text(&mut out, text);
                    } else {
                        out.push_str("{\"valueBase64\":\"");
                        data_encoding::BASE64.encode_append(value, &mut out);
                        out.push_str("\"}");
                    }
                }
                out.push('}');
            }
        }
        out
    }
}

/// Appends a text as a JSON string.
fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// One value that a reader sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The bytes; of a counter, set or map [its JSON](Folded::to_json).
    pub bytes: Bytes,
    /// Its writer; of a counter, set or map the writer of the newest share.
    pub writer: PublicKey,
    /// Its version; of a counter, set or map the version of the newest share.
    pub dot: Dot,
    /// The kind with which it was written.
    pub kind: Kind,
    /// Its expiry; of a counter, set or map the expiry of the last share.
    pub expires: UnixMillis,
    /// The folded value, if it is a counter, set or map.
    pub folded: Option<Folded>,
}

/// A folded state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// No value: absent or deleted. One value: the value. Several values: siblings to merge, the newest
    /// first.
    pub values: Vec<Value>,
    /// The context that a write needs to supersede all of these values.
    pub context: Context,
}

impl Reading {
    /// Folds `state` for a reader at `now`.
    ///
    /// Each kind is folded separately: last-write-wins values to the highest (dot, writer), the shares of a
    /// counter, set or map to one value, siblings not at all. Shares that cannot be decoded are left out. If
    /// one key has values of several kinds, all are returned with their kinds. Equal values of several
    /// writers are one value. Of provider records the newest [`PROVIDERS_MAX`] are read.
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
                    folded: None,
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
        if !is_content {
            fold_shares(&mut values, state, now);
        }
        Self { values, context: state.context() }
    }
}

/// Replaces all shares of a counter, set or map by one value with the version of the newest share.
fn fold_shares(values: &mut Vec<Value>, state: &State<Envelope>, now: UnixMillis) {
    for kind in [Kind::Counter, Kind::Set, Kind::Map] {
        let shares = values.iter().filter(|value| value.kind == kind);
        let Some(last) = shares.map(|value| value.expires).max() else { continue };
        let folded = Shares::of(state, kind, now).fold();
        let mut seen = false;
        values.retain(|value| value.kind != kind || !std::mem::replace(&mut seen, true));
        for value in values.iter_mut().filter(|value| value.kind == kind) {
            value.bytes = folded.to_json().into();
            value.expires = last;
            value.folded = Some(folded.clone());
        }
    }
}
