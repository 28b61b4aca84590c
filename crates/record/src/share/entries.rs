//! The additions of one writer to a set or map, and its removals of additions of others.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use minicbor::{Decoder, Encoder};
use potluck_base::PublicKey;

use crate::Dot;
use crate::limits::SHARE_ENTRIES_MAX;
use crate::operation::check_text;

/// Removed additions, by the writers that had made them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removals {
    by_writer: BTreeMap<PublicKey, BTreeSet<Dot>>,
}

impl Removals {
    /// Whether the addition of `writer` with this dot was removed.
    #[must_use]
    pub fn has(&self, writer: &PublicKey, dot: Dot) -> bool {
        self.by_writer.get(writer).is_some_and(|dots| dots.contains(&dot))
    }

    /// Records that an addition was removed.
    pub fn insert(&mut self, writer: PublicKey, dot: Dot) {
        self.by_writer.entry(writer).or_default().insert(dot);
    }

    /// Adds the removals of `other`.
    pub fn join(&mut self, other: &Self) {
        for (writer, dots) in &other.by_writer {
            self.by_writer.entry(*writer).or_default().extend(dots);
        }
    }

    /// Drops the removals for which `kept` is false.
    pub fn retain(&mut self, kept: impl Fn(&PublicKey, Dot) -> bool) {
        for (writer, dots) in &mut self.by_writer {
            dots.retain(|dot| kept(writer, *dot));
        }
        self.by_writer.retain(|_, dots| !dots.is_empty());
    }

    fn len(&self) -> usize {
        self.by_writer.values().map(BTreeSet::len).sum()
    }
}

/// The elements of a set (`V` is empty) or the fields of a map (`V` is their value) that one writer added,
/// each with the dot of its addition, and the writer's removals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries<V> {
    added: BTreeMap<String, (Dot, V)>,
    /// The additions of other writers that this writer removed.
    pub removals: Removals,
}

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self { added: BTreeMap::new(), removals: Removals::default() }
    }
}

impl<V> Entries<V> {
    /// The number of elements or fields and removals.
    #[must_use]
    pub fn len(&self) -> usize {
        self.added.len() + self.removals.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The additions: name, dot and value.
    pub fn added(&self) -> impl Iterator<Item = (&str, Dot, &V)> {
        self.added.iter().map(|(name, (dot, value))| (name.as_str(), *dot, value))
    }

    /// Whether an addition has this dot.
    #[must_use]
    pub fn has(&self, dot: Dot) -> bool {
        self.added.values().any(|(added, _)| *added == dot)
    }

    /// Adds an element or field. It replaces an earlier one with this name.
    pub fn add(&mut self, name: &str, dot: Dot, value: V) {
        self.added.insert(name.to_owned(), (dot, value));
    }

    /// Removes an element or field.
    pub fn remove(&mut self, name: &str) {
        self.added.remove(name);
    }

    /// Drops the additions for whose dot `gone` is true.
    pub fn drop_added(&mut self, gone: impl Fn(Dot) -> bool) {
        self.added.retain(|_, (dot, _)| !gone(*dot));
    }
}

/// The value of an entry, besides its name and dot.
pub(super) trait Part: Sized {
    /// The number of elements in the array of an entry.
    const PARTS: u64;

    fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written;

    fn read(d: &mut Decoder<'_>) -> Option<Self>;
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

impl Part for () {
    const PARTS: u64 = 2;

    fn write(&self, _: &mut Encoder<&mut Vec<u8>>) -> Written {
        Ok(())
    }

    fn read(_: &mut Decoder<'_>) -> Option<Self> {
        Some(())
    }
}

impl Part for Bytes {
    const PARTS: u64 = 3;

    fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written {
        e.bytes(self).map(drop)
    }

    fn read(d: &mut Decoder<'_>) -> Option<Self> {
        d.bytes().ok().map(Self::copy_from_slice)
    }
}

pub(super) fn encode<V: Part>(entries: &Entries<V>) -> Bytes {
    let mut out = Vec::new();
    write(entries, &mut Encoder::new(&mut out)).expect("writing to memory cannot fail");
    out.into()
}

fn write<V: Part>(entries: &Entries<V>, e: &mut Encoder<&mut Vec<u8>>) -> Written {
    e.map(2)?.u8(0)?.array(entries.added.len() as u64)?;
    for (name, (dot, value)) in &entries.added {
        e.array(V::PARTS)?.str(name)?.u64(dot.raw())?;
        value.write(e)?;
    }
    e.u8(1)?.array(entries.removals.by_writer.len() as u64)?;
    for (writer, dots) in &entries.removals.by_writer {
        e.array(2)?.bytes(writer.as_bytes())?.array(dots.len() as u64)?;
        for dot in dots {
            e.u64(dot.raw())?;
        }
    }
    Ok(())
}

/// Decodes entries. Names, writers and dots must ascend, so that each set of entries has one encoding.
pub(super) fn decode<V: Part>(bytes: &[u8]) -> Option<Entries<V>> {
    let mut d = Decoder::new(bytes);
    let mut entries = Entries::default();
    for _ in 0..d.map().ok()?? {
        match d.u32().ok()? {
            0 => read_added(&mut d, &mut entries)?,
            1 => read_removals(&mut d, &mut entries)?,
            // A field of a newer version.
            _ => d.skip().ok()?,
        }
    }
    (d.position() == bytes.len()).then_some(entries)
}

/// The length of an array, if the entries stay within their limit with it.
fn length<V>(d: &mut Decoder<'_>, entries: &Entries<V>) -> Option<u64> {
    let length = d.array().ok()??;
    let room = SHARE_ENTRIES_MAX.checked_sub(entries.len())?;
    (length <= room as u64).then_some(length)
}

fn read_added<V: Part>(d: &mut Decoder<'_>, entries: &mut Entries<V>) -> Option<()> {
    for _ in 0..length(d, entries)? {
        if d.array().ok()? != Some(V::PARTS) {
            return None;
        }
        let name = d.str().ok()?;
        check_text(name).ok()?;
        let ascends = entries.added.last_key_value().is_none_or(|(last, _)| last.as_str() < name);
        if !ascends {
            return None;
        }
        let dot = Dot::from_raw(d.u64().ok()?);
        entries.add(name, dot, V::read(d)?);
    }
    Some(())
}

fn read_removals<V>(d: &mut Decoder<'_>, entries: &mut Entries<V>) -> Option<()> {
    for _ in 0..length(d, entries)? {
        if d.array().ok()? != Some(2) {
            return None;
        }
        let writer = PublicKey::from_bytes(d.bytes().ok()?.try_into().ok()?);
        let dots = length(d, entries)?;
        let mut read = BTreeSet::new();
        for _ in 0..dots {
            let dot = Dot::from_raw(d.u64().ok()?);
            if read.last().is_some_and(|last| *last >= dot) {
                return None;
            }
            read.insert(dot);
        }
        let by_writer = &mut entries.removals.by_writer;
        let ascends = by_writer.last_key_value().is_none_or(|(last, _)| *last < writer);
        if !ascends || read.is_empty() {
            return None;
        }
        by_writer.insert(writer, read);
    }
    Some(())
}
