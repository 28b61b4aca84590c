//! The rows of the index, and the counters.
//!
//! The first byte is the kind of a row. Numbers are big-endian.
//!
//! | row | value |
//! |---|---|
//! | `d` used id | empty: the damaged blobs whose bytes are in the store's folder and that are not pinned or
//! shared |
//! | `e` id | the metadata of a blob |
//! | `f` used id | empty: the partial blobs |
//! | `i` id | empty: the folder of this blob is being installed or removed |
//! | `m` name | `format`, `moved`, `counts`, `cursor` |
//! | `n` number | id: the blobs offered under a name, in the order in which they were shared |
//! | `o` id id | empty: the first blob is the data of the folder whose manifest is the second |
//! | `p` id place | the segments of one place of a blob (place 0: the one that is read) |
//! | `u` used id | empty: the cached blobs, least recently used first |
//! | `w` word 0 number | empty: a word of the name of an offered blob |

use bytes::Bytes;
use potluck_base::BlobId;

use crate::blobs::meta::{Meta, Phase};

pub(crate) const DAMAGED: u8 = b'd';
pub(crate) const ENTRY: u8 = b'e';
pub(crate) const PARTIAL: u8 = b'f';
pub(crate) const INTENT: u8 = b'i';
const NOTE: u8 = b'm';
pub(crate) const NUMBER: u8 = b'n';
const OWNER: u8 = b'o';
const PLACE: u8 = b'p';
pub(crate) const USED: u8 = b'u';
const WORD: u8 = b'w';

/// The version of the metadata of a blob.
const ENTRY_VERSION: u8 = 1;

/// The metadata of a blob, as the index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) meta: Meta,
    /// The time of the last use, in milliseconds since 1970.
    pub(crate) used_ms: u64,
    /// Its number among the blobs offered under a name, in the order of sharing; 0 if it was never offered.
    pub(crate) number: u64,
}

impl Noted {
    pub(crate) fn encode(&self) -> Option<Bytes> {
        let mut bytes = vec![ENTRY_VERSION];
        bytes.extend_from_slice(&self.used_ms.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.meta.encode()?);
        Some(bytes.into())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (used_ms, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let meta = Meta::decode(rest).filter(|_| *version == ENTRY_VERSION)?;
        let (used_ms, number) = (u64::from_be_bytes(*used_ms), u64::from_be_bytes(*number));
        Some(Self { meta, used_ms, number })
    }

    /// Whether other nodes find it by its name. A blob without a name is the data of a folder.
    pub(crate) fn is_offered(&self) -> bool {
        self.is_given() && !self.meta.shown_name().is_empty()
    }

    /// Whether other nodes may fetch it.
    pub(crate) fn is_given(&self) -> bool {
        self.meta.shared && self.meta.phase == Phase::Complete
    }

    /// The class of the blob, as far as the metadata determine it.
    pub(crate) fn class(&self) -> Class {
        if self.meta.pinned {
            Class::Pinned
        } else if self.meta.shared {
            Class::Shared
        } else if self.meta.outside.is_some() {
            Class::Outside
        } else {
            match self.meta.phase {
                Phase::Changed => Class::Damaged,
                Phase::Partial => Class::Partial,
                Phase::Complete => Class::Cached,
            }
        }
    }

    /// The rows of the indexes by use that have this blob.
    pub(crate) fn used_rows(&self) -> Vec<Vec<u8>> {
        let row = |tag| used_row(tag, self.used_ms, &self.meta.id);
        let mut rows = Vec::new();
        match self.class() {
            Class::Cached => rows.push(row(USED)),
            Class::Damaged => rows.push(row(DAMAGED)),
            _ => {}
        }
        if self.meta.phase == Phase::Partial {
            rows.push(row(PARTIAL));
        }
        rows
    }

    /// The rows of the words in its name.
    pub(crate) fn word_rows(&self) -> Vec<Vec<u8>> {
        if !self.is_offered() {
            return Vec::new();
        }
        let words = potluck_base::words::words_of(self.meta.shown_name());
        words.iter().map(|word| word_row(word, self.number)).collect()
    }
}

/// Why a blob is kept or may be removed, as far as the metadata determine it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Pinned,
    Shared,
    Outside,
    Damaged,
    Partial,
    Cached,
}

const CLASSES: usize = 6;

/// The counters. They change in the same batch as the rows that they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Blobs and their bytes, by [`Class`].
    classes: [[u64; 2]; CLASSES],
    /// Blobs that other nodes may fetch.
    pub(crate) given: u64,
    /// Blobs that other nodes may fetch and that have a name.
    pub(crate) offered: u64,
    /// Blobs with a name. These are listed.
    pub(crate) listed: u64,
    /// Bytes of whole files and of the data of whole folders.
    pub(crate) whole_bytes: u64,
    /// The last number that was assigned.
    pub(crate) last_number: u64,
}

const COUNTS: usize = 2 * CLASSES + 5;

impl Counts {
    pub(crate) fn blobs(&self) -> u64 {
        self.classes.iter().map(|[blobs, _]| blobs).sum()
    }

    pub(crate) fn of(&self, class: Class) -> (u64, u64) {
        let [blobs, bytes] = self.classes[class as usize];
        (blobs, bytes)
    }

    /// Counts a blob that was added, or removed if it `goes`.
    pub(crate) fn count(&mut self, noted: &Noted, goes: bool) {
        let change = |counter: &mut u64, by: u64| {
            *counter = if goes { counter.saturating_sub(by) } else { counter.saturating_add(by) };
        };
        let size = noted.meta.size;
        let [blobs, bytes] = &mut self.classes[noted.class() as usize];
        change(blobs, 1);
        change(bytes, size);
        change(&mut self.given, u64::from(noted.is_given()));
        change(&mut self.offered, u64::from(noted.is_offered()));
        change(&mut self.listed, u64::from(!noted.meta.shown_name().is_empty()));
        let whole = noted.meta.phase == Phase::Complete && !noted.meta.name.ends_with('/');
        change(&mut self.whole_bytes, if whole { size } else { 0 });
    }

    pub(crate) fn encode(&self) -> Bytes {
        let fields = [self.given, self.offered, self.listed, self.whole_bytes, self.last_number];
        let all = self.classes.iter().flatten().chain(&fields);
        all.flat_map(|number| number.to_be_bytes()).collect()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() || numbers.len() != COUNTS {
            return None;
        }
        let mut numbers = numbers.iter().map(|number| u64::from_be_bytes(*number));
        let mut counts = Self::default();
        for field in counts.classes.iter_mut().flatten() {
            *field = numbers.next()?;
        }
        counts.given = numbers.next()?;
        counts.offered = numbers.next()?;
        counts.listed = numbers.next()?;
        counts.whole_bytes = numbers.next()?;
        counts.last_number = numbers.next()?;
        Some(counts)
    }
}

fn row(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut row = vec![tag];
    parts.iter().for_each(|part| row.extend_from_slice(part));
    row
}

pub(crate) fn note_row(name: &str) -> Vec<u8> {
    row(NOTE, &[name.as_bytes()])
}

/// The row of a blob under this tag, `e` or `i`.
pub(crate) fn id_row(tag: u8, id: &BlobId) -> Vec<u8> {
    row(tag, &[id.as_bytes()])
}

/// The row for the data of a folder and the manifest of that folder.
pub(crate) fn owner_row(data: &BlobId, list: &BlobId) -> Vec<u8> {
    row(OWNER, &[data.as_bytes(), list.as_bytes()])
}

pub(crate) fn place_row(id: &BlobId, place: u16) -> Vec<u8> {
    row(PLACE, &[id.as_bytes(), &place.to_be_bytes()])
}

pub(crate) fn number_row(number: u64) -> Vec<u8> {
    row(NUMBER, &[&number.to_be_bytes()])
}

/// The row of a blob in an index by use, with tag `d`, `f` or `u`.
pub(crate) fn used_row(tag: u8, used_ms: u64, id: &BlobId) -> Vec<u8> {
    row(tag, &[&used_ms.to_be_bytes(), id.as_bytes()])
}

/// The time and the blob in a row of an index by use.
pub(crate) fn of_used_row(row: &[u8]) -> Option<(u64, BlobId)> {
    let (used, id) = row.get(1..)?.split_first_chunk()?;
    Some((u64::from_be_bytes(*used), id_of(id)?))
}

fn word_row(word: &str, number: u64) -> Vec<u8> {
    row(WORD, &[word.as_bytes(), &[0], &number.to_be_bytes()])
}

/// The first and the last row of the words that match a search word. No word has a zero byte, so the rows of
/// a word come before those of longer words.
pub(crate) fn word_rows(sought: &str) -> (Vec<u8>, Vec<u8>) {
    let from = row(WORD, &[sought.as_bytes(), &[0]]);
    let to = if potluck_base::words::is_prefix(sought) {
        row(WORD, &[sought.as_bytes(), &[0xff]])
    } else {
        row(WORD, &[sought.as_bytes(), &[0], &[0xff; 8]])
    };
    (from, to)
}

/// The number in the row of a word.
pub(crate) fn number_of_word_row(row: &[u8]) -> Option<u64> {
    row.last_chunk().map(|number| u64::from_be_bytes(*number))
}

/// The id of a blob.
pub(crate) fn id_of(bytes: &[u8]) -> Option<BlobId> {
    bytes.try_into().ok().map(BlobId::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::folder::new_meta;

    #[test]
    fn the_bytes_of_the_rows_are_frozen() {
        let id = BlobId::from_bytes([7; 32]);
        let meta = Meta { shared: true, ..new_meta(id, 5, "größe 🍲.txt") };
        let noted = Noted { meta, used_ms: 9, number: 3 };
        let bytes = noted.encode().unwrap();
        assert_eq!(bytes[..17], [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(Noted::decode(&bytes), Some(noted.clone()));
        assert_eq!(
            noted.word_rows(),
            [
                b"wgr\xc3\xb6\xc3\x9fe\0\0\0\0\0\0\0\0\x03".to_vec(),
                b"wtxt\0\0\0\0\0\0\0\0\x03".to_vec()
            ]
        );
        assert_eq!(place_row(&id, 258)[33..], [1, 2]);
        assert_eq!(of_used_row(&used_row(USED, 9, &id)), Some((9, id)));
        let mut counts = Counts { last_number: 3, ..Counts::default() };
        counts.count(&noted, false);
        assert_eq!(Counts::decode(&counts.encode()), Some(counts));
        assert_eq!((counts.blobs(), counts.of(Class::Shared), counts.offered), (1, (1, 5), 1));
        counts.count(&noted, true);
        assert_eq!(counts, Counts { last_number: 3, ..Counts::default() });
    }

    #[test]
    fn a_short_word_finds_itself_and_a_longer_one_what_begins_with_it() {
        let within = |sought: &str, word: &str| {
            let (from, to) = word_rows(sought);
            (from..=to).contains(&word_row(word, u64::MAX))
        };
        for (sought, word, found) in [
            ("conf", "conf", true),
            ("conf", "conference", true),
            ("conf", "confé文", true),
            ("conf", "cong", false),
            ("v2", "v2", true),
            ("v2", "v20", false),
        ] {
            assert_eq!(within(sought, word), found, "{sought} {word}");
        }
    }
}
