//! Contexts: what a writer had seen when it wrote, as a version vector over writers.
//!
//! Actors are writers with signing keys, not replicas: replicas are strangers, and a dot that a
//! replica assigned would prove nothing. The vector is bounded by the writers of one key, not by
//! churn.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use minicbor::{Decoder, Encoder};
use potluck_base::PublicKey;

use crate::Dot;
use crate::limits::CONTEXT_ENTRIES_MAX;

/// Per writer, the highest dot that is covered: every dot up to it is superseded.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Context(BTreeMap<PublicKey, Dot>);

/// Why a text is no context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a context that a read returned")]
pub struct ContextError;

impl Context {
    /// A context that covers nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether `dot` of `writer` is covered.
    #[must_use]
    pub fn covers(&self, writer: &PublicKey, dot: Dot) -> bool {
        self.0.get(writer).is_some_and(|covered| dot <= *covered)
    }

    /// The highest dot of `writer` that is covered; zero if none is.
    #[must_use]
    pub fn dot_of(&self, writer: &PublicKey) -> Dot {
        self.0.get(writer).copied().unwrap_or_default()
    }

    /// Covers `dot` of `writer` and all of that writer's before it.
    pub fn cover(&mut self, writer: PublicKey, dot: Dot) {
        let covered = self.0.entry(writer).or_insert(dot);
        *covered = dot.max(*covered);
    }

    /// Covers what `other` covers too.
    pub fn join(&mut self, other: &Self) {
        for (writer, dot) in &other.0 {
            self.cover(*writer, *dot);
        }
    }

    /// Writers and their highest covered dots, by writer.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&PublicKey, Dot)> {
        self.0.iter().map(|(writer, dot)| (writer, *dot))
    }

    /// How many writers are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The highest dot covered.
    #[must_use]
    pub fn highest(&self) -> Dot {
        self.0.values().copied().max().unwrap_or_default()
    }
}

impl FromIterator<(PublicKey, Dot)> for Context {
    fn from_iter<I: IntoIterator<Item = (PublicKey, Dot)>>(entries: I) -> Self {
        let mut context = Self::new();
        for (writer, dot) in entries {
            context.cover(writer, dot);
        }
        context
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

/// One opaque word, fit for a header: base64url of the CBOR form.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = minicbor::to_vec(self).map_err(|_| fmt::Error)?;
        f.write_str(&BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for Context {
    type Err = ContextError;

    fn from_str(text: &str) -> Result<Self, ContextError> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| ContextError)?;
        let mut decoder = Decoder::new(&bytes);
        let context = decoder.decode().map_err(|_| ContextError)?;
        if decoder.position() == bytes.len() { Ok(context) } else { Err(ContextError) }
    }
}

impl<C> minicbor::Encode<C> for Context {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(self.0.len() as u64 * 2)?;
        for (writer, dot) in &self.0 {
            e.bytes(writer.as_bytes())?.u64(dot.raw())?;
        }
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Context {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let length = d.array()?.filter(|length| length % 2 == 0);
        let entries = length
            .filter(|length| *length <= CONTEXT_ENTRIES_MAX as u64 * 2)
            .ok_or_else(|| minicbor::decode::Error::message("context length"))?
            / 2;
        let mut context = Self::new();
        for _ in 0..entries {
            let writer = d
                .bytes()?
                .try_into()
                .map_err(|_| minicbor::decode::Error::message("writer key length"))?;
            context.cover(PublicKey::from_bytes(writer), Dot::from_raw(d.u64()?));
        }
        Ok(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn writer(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn context() -> impl Strategy<Value = Context> {
        prop::collection::vec((0u8..6, 0u64..50), 0..8).prop_map(|entries| {
            entries.into_iter().map(|(w, dot)| (writer(w), Dot::from_raw(dot))).collect()
        })
    }

    fn joined(left: &Context, right: &Context) -> Context {
        let mut both = left.clone();
        both.join(right);
        both
    }

    proptest! {
        #[test]
        fn join_is_a_least_upper_bound(a in context(), b in context(), c in context()) {
            prop_assert_eq!(joined(&a, &a), a.clone());
            prop_assert_eq!(joined(&a, &b), joined(&b, &a));
            prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
            let both = joined(&a, &b);
            prop_assert!(a.iter().chain(b.iter()).all(|(w, dot)| both.covers(w, dot)));
        }

        #[test]
        fn text_form_round_trips_and_fits_a_header(a in context()) {
            let text = a.to_string();
            prop_assert_eq!(text.parse::<Context>(), Ok(a));
            let safe = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            prop_assert!(safe);
        }

        #[test]
        fn hostile_text_is_refused_without_a_panic(text in "[A-Za-z0-9_-]{0,200}") {
            let _ = text.parse::<Context>();
        }
    }

    #[test]
    fn garbage_behind_a_context_is_refused() {
        let mut bytes = minicbor::to_vec(Context::new()).expect("encodes");
        bytes.push(0);
        assert_eq!(BASE64URL_NOPAD.encode(&bytes).parse::<Context>(), Err(ContextError));
        assert_eq!("nonsense!".parse::<Context>(), Err(ContextError));
    }
}
