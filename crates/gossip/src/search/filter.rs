//! A Bloom filter of the words in a node's file names, so that neighbours ask it only where a file
//! may match.

use bytes::Bytes;
use potluck_wire::search::{FILTER_BYTES_MAX, FILTER_BYTES_MIN};

use super::words::{PREFIX_CHARS_MIN, QueryWords};

/// Characters after which words count as equal in a filter.
const KEY_CHARS_MAX: usize = 12;
/// Bits set for a key.
const HASHES: usize = 4;
/// Bits for each key where there is room: with four hashes 1.2 % of the other words pass.
const BITS_PER_KEY: usize = 10;
/// Keys beyond which three of four other words would pass: then every word passes.
const KEYS_MAX: usize = 4096;

/// The filter of a node. See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter(Bytes);

impl Filter {
    /// The filter of these words, which must be sorted.
    pub(super) fn of<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut keys: Vec<&str> = Vec::new();
        for word in words {
            for key in keys_of(word) {
                // Sorted words share prefixes with their neighbours in the list.
                if !keys.iter().rev().take(2 * KEY_CHARS_MAX).any(|known| *known == key) {
                    keys.push(key);
                }
            }
            if keys.len() > KEYS_MAX {
                return Self::all();
            }
        }
        if keys.is_empty() {
            return Self(Bytes::new());
        }
        let bytes = (keys.len() * BITS_PER_KEY).div_ceil(8).next_power_of_two();
        let mut filter = vec![0u8; bytes.clamp(FILTER_BYTES_MIN, FILTER_BYTES_MAX)];
        for key in keys {
            for bit in bits_of(key, filter.len()) {
                filter[bit / 8] |= 1 << (bit % 8);
            }
        }
        Self(filter.into())
    }

    /// The filter that every word passes.
    pub(super) fn all() -> Self {
        Self(vec![0xff; FILTER_BYTES_MAX].into())
    }

    /// The filter of a neighbour.
    pub(super) const fn received(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// Whether the node may have a file that matches these words.
    pub(super) fn may_have(&self, query_words: &QueryWords) -> bool {
        !self.0.is_empty() && query_words.iter().all(|word| self.has(cut(word, KEY_CHARS_MAX)))
    }

    fn has(&self, key: &str) -> bool {
        bits_of(key, self.0.len()).all(|bit| self.0[bit / 8] & (1 << (bit % 8)) != 0)
    }
}

/// A word's first `chars` characters.
fn cut(word: &str, chars: usize) -> &str {
    word.char_indices().nth(chars).map_or(word, |(end, _)| &word[..end])
}

/// A short word itself, or the prefixes of a longer one.
fn keys_of(word: &str) -> impl Iterator<Item = &str> {
    let chars = word.chars().count();
    let last = chars.min(KEY_CHARS_MAX);
    (PREFIX_CHARS_MIN.min(last)..=last).map(|length| cut(word, length))
}

/// The bits of a key in a filter of this many bytes, a power of two.
fn bits_of(key: &str, bytes: usize) -> impl Iterator<Item = usize> {
    let hash = blake3::hash(key.as_bytes());
    (0..HASHES).map(move |index| {
        let at = hash.as_bytes();
        let number = u16::from_le_bytes([at[2 * index], at[2 * index + 1]]);
        usize::from(number) & (bytes * 8 - 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query_words(text: &str) -> QueryWords {
        QueryWords::parse(&[text.to_owned()]).unwrap()
    }

    #[test]
    fn prefixes_pass_and_other_words_do_not() {
        let filter = Filter::of(["conference", "internationalisation", "v2"].into_iter());
        assert_eq!(filter.to_bytes().len(), FILTER_BYTES_MIN);
        for good in ["con", "conference", "internationalisation", "internationalisat", "v2 conf"] {
            assert!(filter.may_have(&query_words(good)), "{good}");
        }
        for bad in ["zebra", "v2 zebra", "co"] {
            assert!(!filter.may_have(&query_words(bad)), "{bad}");
        }
        assert!(!Filter::of(std::iter::empty()).may_have(&query_words("con")));
    }

    #[test]
    fn a_full_filter_lets_few_others_pass_and_an_overfull_one_all() {
        let words = |count| (0..count).map(|n| format!("w{n:05}")).collect::<Vec<_>>();
        let kept = words(400);
        let filter = Filter::of(kept.iter().map(String::as_str));
        assert!(kept.iter().all(|word| filter.may_have(&query_words(word))));
        let wrong =
            (0..2000).filter(|n| filter.may_have(&query_words(&format!("x{n:05}")))).count();
        assert!(wrong < 100, "{wrong} of 2,000");
        let many = words(20_000);
        let filter = Filter::of(many.iter().map(String::as_str));
        assert_eq!(filter.to_bytes().len(), FILTER_BYTES_MAX);
        assert!(filter.may_have(&query_words("anything")));
    }
}
