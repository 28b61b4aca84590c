//! Words of names and of searches.
//!
//! A name's words are the parts between characters that are neither letters nor digits, in lower
//! case. A search word matches a name's word if it equals it or, from three letters on, is its
//! prefix: "conf" finds "Conference-2026.pdf", "v2" does not find "v20". Lower case is Unicode's
//! simple one; names are not normalised, so a letter with an accent is found as it was typed.

use potluck_base::words::fit_all;
pub(super) use potluck_base::words::{PREFIX_CHARS_MIN, fits, words_of};
use potluck_wire::search::{WORD_CHARS_MAX, WORDS_BYTES_MAX, WORDS_MAX};

/// The words of a search: one to eight, as [`words_of`] makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryWords(Vec<String>);

impl QueryWords {
    /// The words of a user's search. `None` if there is none, or they are too many or too long.
    pub(super) fn parse(texts: &[String]) -> Option<Self> {
        let parts = texts.iter().take(WORDS_MAX + 1).flat_map(|text| {
            text.split(|letter: char| !letter.is_alphanumeric()).filter(|part| !part.is_empty())
        });
        let mut words: Vec<String> = Vec::new();
        for part in parts {
            let word: String =
                part.chars().flat_map(char::to_lowercase).take(WORD_CHARS_MAX + 1).collect();
            if !words.contains(&word) {
                words.push(word);
            }
            if words.len() > WORDS_MAX {
                return None;
            }
        }
        Self::checked(words)
    }

    /// Words from another node. `None` if they are not as [`QueryWords::parse`] makes them.
    pub(super) fn received(words: Vec<String>) -> Option<Self> {
        let tidy = words.iter().all(|word| words_of(word).as_slice() == std::slice::from_ref(word));
        if tidy { Self::checked(words) } else { None }
    }

    fn checked(words: Vec<String>) -> Option<Self> {
        let short = words.iter().all(|word| word.chars().count() <= WORD_CHARS_MAX);
        let bytes: usize = words.iter().map(String::len).sum();
        let good = (1..=WORDS_MAX).contains(&words.len()) && short && bytes <= WORDS_BYTES_MAX;
        good.then_some(Self(words))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// As sent in a message.
    pub(super) fn to_vec(&self) -> Vec<String> {
        self.0.clone()
    }

    /// Whether each of them matches one of a name's words.
    pub(super) fn fit<W: AsRef<str>>(&self, words: &[W]) -> bool {
        fit_all(&self.0, words)
    }

    /// Whether they match this name.
    pub(super) fn fit_name(&self, name: &str) -> bool {
        self.fit(&words_of(name))
    }
}

/// The range of the words that `query_words` matches in a sorted list.
pub(super) fn range_of<T>(
    sorted: &[T],
    word: impl Fn(&T) -> &str,
    query_words: &str,
) -> std::ops::Range<usize> {
    let start = sorted.partition_point(|item| word(item) < query_words);
    let count = sorted[start..].partition_point(|item| fits(query_words, word(item)));
    start..start + count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query_words(text: &str) -> QueryWords {
        QueryWords::parse(&[text.to_owned()]).unwrap()
    }

    #[test]
    fn three_letters_match_as_a_prefix_and_two_only_exactly() {
        for (text, name, found) in [
            ("conf", "Conference-2026.pdf", true),
            ("CONFERENCE pdf", "Conference-2026.pdf", true),
            ("ference", "Conference-2026.pdf", false),
            ("conf txt", "Conference-2026.pdf", false),
            ("v2", "model v2", true),
            ("v2", "model v20", false),
        ] {
            assert_eq!(query_words(text).fit_name(name), found, "{text} in {name}");
        }
    }

    #[test]
    fn a_search_is_one_to_eight_words_and_survives_its_message() {
        for bad in ["", "--", &"x".repeat(33), "a b c d e f g h i"] {
            assert_eq!(QueryWords::parse(&[bad.to_owned()]), None, "{bad}");
        }
        let words = query_words("Weights-7B");
        assert_eq!(QueryWords::received(words.to_vec()), Some(words));
        for bad in ["UPPER", "two words", ""] {
            assert_eq!(QueryWords::received(vec![bad.to_owned()]), None, "{bad}");
        }
    }

    #[test]
    fn a_range_holds_exactly_the_matching_words() {
        let words = ["con", "conf", "config", "cool", "v2", "v20"];
        let range = |query_words| range_of(&words, |word| word, query_words);
        assert_eq!(range("conf"), 1..3);
        assert_eq!(range("con"), 0..3);
        assert_eq!(range("v2"), 4..5);
        assert!(range("zebra").is_empty());
    }
}
