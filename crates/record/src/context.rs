//! Contexts: the version vector over writers that a writer had seen when it wrote.
//!
//! The actors are writers with signing keys, not replicas. Replicas are strangers to the writer, and a dot
//! that a replica assigned would prove nothing.
//!
//! **Invariant:** a signed context has at most [`CONTEXT_ENTRIES_MAX`] entries. If more writers have written
//! a key, the entries with the oldest dots are replaced by the *floor*: a dot at or below which every dot of
//! every writer is covered. So one write can merge each state, whatever contexts other writers put into it.
//! The cost is that values older than the floor are superseded too, even if the writer had not read them.

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
pub struct Context {
    /// The dot up to which all writers are covered; zero if there is none.
    floor: Dot,
    /// Entries above the floor only.
    entries: BTreeMap<PublicKey, Dot>,
}

/// Why a text is not a context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a context that a read returned")]
pub struct ContextError;

impl Context {
    /// A context that covers nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { floor: Dot::ZERO, entries: BTreeMap::new() }
    }

    /// Whether `dot` of `writer` is covered.
    #[must_use]
    pub fn covers(&self, writer: &PublicKey, dot: Dot) -> bool {
        dot <= self.dot_of(writer)
    }

    /// The highest dot of `writer` that is covered; zero if none is.
    #[must_use]
    pub fn dot_of(&self, writer: &PublicKey) -> Dot {
        self.entries.get(writer).copied().unwrap_or_default().max(self.floor)
    }

    /// The dot at or below which every writer is covered; zero if there is none.
    #[must_use]
    pub const fn floor(&self) -> Dot {
        self.floor
    }

    /// Covers `dot` of `writer` and all earlier dots of that writer.
    pub fn cover(&mut self, writer: PublicKey, dot: Dot) {
        if dot > self.dot_of(&writer) {
            self.entries.insert(writer, dot);
        }
    }

    /// Covers every dot up to `floor`, of every writer.
    pub fn raise_floor(&mut self, floor: Dot) {
        if floor > self.floor {
            self.floor = floor;
            self.entries.retain(|_, dot| *dot > floor);
        }
    }

    /// Also covers everything that `other` covers.
    pub fn join(&mut self, other: &Self) {
        self.raise_floor(other.floor);
        for (writer, dot) in &other.entries {
            self.cover(*writer, *dot);
        }
    }

    /// Raises the floor until at most [`CONTEXT_ENTRIES_MAX`] entries are left. Returns the number of dropped
    /// entries: the dots of their writers stay covered, and with them every older dot.
    pub fn fit(&mut self) -> usize {
        self.fit_to(CONTEXT_ENTRIES_MAX)
    }

    /// The same with at most `most` entries; at least one.
    pub fn fit_to(&mut self, most: usize) -> usize {
        let before = self.entries.len();
        let Some(surplus) = before.checked_sub(most.max(1) + 1) else { return 0 };
        let mut dots: Vec<Dot> = self.entries.values().copied().collect();
        let (_, floor, _) = dots.select_nth_unstable(surplus);
        self.raise_floor(*floor);
        before - self.entries.len()
    }

    /// Writers and their highest covered dots above the floor, by writer.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&PublicKey, Dot)> {
        self.entries.iter().map(|(writer, dot)| (writer, *dot))
    }

    /// The number of writers in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.floor == Dot::ZERO
    }

    /// The highest dot covered.
    #[must_use]
    pub fn highest(&self) -> Dot {
        self.entries.values().copied().max().unwrap_or_default().max(self.floor)
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
        f.debug_map().entry(&"floor", &self.floor).entries(&self.entries).finish()
    }
}

/// One opaque token that fits into a header: base64url of the CBOR form.
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
        e.array(self.entries.len() as u64 * 2 + 1)?.u64(self.floor.raw())?;
        for (writer, dot) in &self.entries {
            e.bytes(writer.as_bytes())?.u64(dot.raw())?;
        }
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Context {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let length = d.array()?.filter(|length| length % 2 == 1);
        let entries = length
            .filter(|length| *length <= CONTEXT_ENTRIES_MAX as u64 * 2 + 1)
            .ok_or_else(|| minicbor::decode::Error::message("context length"))?
            / 2;
        let mut context = Self::new();
        context.raise_floor(Dot::from_raw(d.u64()?));
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
        (prop::collection::vec((0u8..6, 0u64..50), 0..8), 0u64..30).prop_map(|(entries, floor)| {
            let entries = entries.into_iter().map(|(w, dot)| (writer(w), Dot::from_raw(dot)));
            let mut context: Context = entries.collect();
            context.raise_floor(Dot::from_raw(floor));
            context
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
            let stranger = writer(99);
            prop_assert!(both.covers(&stranger, a.floor()) && both.covers(&stranger, b.floor()));
            prop_assert_eq!(both.highest(), a.highest().max(b.highest()));
        }

        #[test]
        fn a_context_of_any_size_fits_and_covers_all_that_it_covered(
            dots in prop::collection::vec(1u64..1_000, 0..400),
        ) {
            let number = |index: usize| {
                let mut key = [0; 32];
                key[..8].copy_from_slice(&(index as u64).to_be_bytes());
                PublicKey::from_bytes(key)
            };
            let whole: Context = (0..)
                .map(number)
                .zip(dots.iter().map(|dot| Dot::from_raw(*dot)))
                .collect();
            let mut fitted = whole.clone();
            let gone = fitted.fit();
            prop_assert_eq!(gone, whole.len() - fitted.len());
            prop_assert!(fitted.len() <= CONTEXT_ENTRIES_MAX);
            prop_assert_eq!(gone == 0, whole.len() <= CONTEXT_ENTRIES_MAX);
            prop_assert!(whole.iter().all(|(w, dot)| fitted.covers(w, dot)));
            // Above the floor, nothing is covered that was not covered before.
            let above = whole.iter().filter(|(_, dot)| *dot > fitted.floor());
            prop_assert!(above.eq(fitted.iter()));
            prop_assert_eq!(fitted.to_string().parse::<Context>(), Ok(fitted));
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
