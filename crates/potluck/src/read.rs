//! The results of reads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Index;

use bytes::Bytes;
use potluck_base::{PublicKey, UnixMillis};
use potluck_record::{Context, Dot, Folded, Kind, Reading};

use crate::Result;

/// The result of a read.
#[derive(Debug, Clone, PartialEq)]
pub enum Read {
    /// One value.
    Value(Value),
    /// Several values that were written concurrently: merge them.
    Siblings(Siblings),
    /// No value: never written, deleted, or expired.
    Absent,
}

impl Read {
    pub(crate) fn of(reading: Reading) -> Self {
        let mut siblings = Siblings::of(reading);
        match siblings.values.len() {
            0 | 1 => siblings.values.pop().map_or(Self::Absent, Self::Value),
            _ => Self::Siblings(siblings),
        }
    }

    /// The value, if there is exactly one.
    #[must_use]
    pub fn value(self) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Siblings(_) | Self::Absent => None,
        }
    }
}

/// One value of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    inner: potluck_record::Value,
    context: Context,
}

impl Value {
    /// The bytes; of a counter, set or map its JSON. Cheap: they are shared, not copied.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.inner.bytes.clone()
    }

    /// The bytes as text.
    ///
    /// # Errors
    /// [`Error::Text`](crate::Error::Text) if they are not UTF-8.
    pub fn text(&self) -> Result<&str> {
        Ok(std::str::from_utf8(&self.inner.bytes)?)
    }

    /// The value's version: greater than all earlier ones of its writer.
    #[must_use]
    pub const fn version(&self) -> Dot {
        self.inner.dot
    }

    /// The context with which a write supersedes everything that this read found.
    #[must_use]
    pub fn context(&self) -> Context {
        self.context.clone()
    }

    /// The kind under which it was written.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// The public key of its writer.
    #[must_use]
    pub const fn writer(&self) -> PublicKey {
        self.inner.writer
    }

    /// The sum, if it is a counter.
    #[must_use]
    pub const fn counter(&self) -> Option<i128> {
        if let Some(Folded::Counter(sum)) = &self.inner.folded { Some(*sum) } else { None }
    }

    /// The elements, if it is a set.
    #[must_use]
    pub const fn elements(&self) -> Option<&BTreeSet<String>> {
        if let Some(Folded::Set(elements)) = &self.inner.folded { Some(elements) } else { None }
    }

    /// The fields with their values, if it is a map.
    #[must_use]
    pub const fn entries(&self) -> Option<&BTreeMap<String, Bytes>> {
        if let Some(Folded::Map(fields)) = &self.inner.folded { Some(fields) } else { None }
    }

    /// When it expires.
    #[must_use]
    pub const fn expires(&self) -> UnixMillis {
        self.inner.expires
    }
}

/// Concurrent values, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Siblings {
    values: Vec<Value>,
    context: Context,
}

impl Siblings {
    pub(crate) fn of(reading: Reading) -> Self {
        let Reading { values, context } = reading;
        let with_context = |inner| Value { inner, context: context.clone() };
        Self { values: values.into_iter().map(with_context).collect(), context }
    }

    /// The context with which a write supersedes all of them.
    #[must_use]
    pub fn context(&self) -> Context {
        self.context.clone()
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none, which a read never returns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values, newest first.
    pub fn iter(&self) -> std::slice::Iter<'_, Value> {
        self.values.iter()
    }
}

impl Index<usize> for Siblings {
    type Output = Value;

    fn index(&self, index: usize) -> &Value {
        &self.values[index]
    }
}

impl<'a> IntoIterator for &'a Siblings {
    type Item = &'a Value;
    type IntoIter = std::slice::Iter<'a, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> potluck_record::Value {
        potluck_record::Value {
            bytes: Bytes::from_static(text.as_bytes()),
            writer: PublicKey::from_bytes([1; 32]),
            dot: Dot::from_raw(7),
            kind: Kind::Siblings,
            expires: UnixMillis(9),
            folded: None,
        }
    }

    fn reading(texts: &[&'static str]) -> Reading {
        let context = [(PublicKey::from_bytes([1; 32]), Dot::from_raw(7))].into_iter().collect();
        Reading { values: texts.iter().map(|text| value(text)).collect(), context }
    }

    #[test]
    fn no_value_one_value_and_several_are_distinguished() {
        assert_eq!(Read::of(reading(&[])), Read::Absent);
        let Read::Value(one) = Read::of(reading(&["a"])) else { panic!("one value") };
        assert_eq!((one.text().unwrap(), one.version()), ("a", Dot::from_raw(7)));
        let Read::Siblings(two) = Read::of(reading(&["a", "b"])) else { panic!("siblings") };
        assert_eq!(two.iter().map(|v| v.text().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((two[1].bytes(), two.len()), (Bytes::from_static(b"b"), 2));
        assert_eq!(two.context(), one.context());
        assert!(!two.context().is_empty());
    }

    #[test]
    fn bytes_that_are_no_text_say_so() {
        let mut inner = value("");
        inner.bytes = Bytes::from_static(b"\xff");
        let value = Value { inner, context: Context::new() };
        assert!(matches!(value.text(), Err(crate::Error::Text(_))));
    }
}
