//! The words of the names of files, by which they are found.
//!
//! A name's words are what lies between characters that are neither letters nor digits, in lower
//! case. The index on disk and the search of the network cut names in the same way.

/// Longest word in characters; a longer one is cut.
pub const WORD_CHARS_MAX: usize = 32;
/// Words of a name beyond this are not found. A guess: the longest name has room for 128.
pub const NAME_WORDS_MAX: usize = 24;
/// Letters from which on a word of a search also finds longer ones.
pub const PREFIX_CHARS_MIN: usize = 3;

/// The words of a text, in order, each cut after [`WORD_CHARS_MAX`] characters.
#[must_use]
pub fn words_of(text: &str) -> Vec<String> {
    let words =
        text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words
        .take(NAME_WORDS_MAX)
        .map(|word| word.chars().flat_map(char::to_lowercase).take(WORD_CHARS_MAX).collect())
        .collect()
}

/// Whether a word of a search also finds the words that begin with it.
#[must_use]
pub fn is_prefix(sought: &str) -> bool {
    sought.chars().nth(PREFIX_CHARS_MIN - 1).is_some()
}

/// Whether a word of a search fits a word of a name.
#[must_use]
pub fn fits(sought: &str, word: &str) -> bool {
    sought == word || is_prefix(sought) && word.starts_with(sought)
}

/// Whether each word of a search fits one of a name's.
#[must_use]
pub fn fit_all<S: AsRef<str>, W: AsRef<str>>(sought: &[S], words: &[W]) -> bool {
    sought.iter().all(|sought| words.iter().any(|word| fits(sought.as_ref(), word.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_whatever_is_no_letter_and_no_digit() {
        assert_eq!(words_of("My_Talk (v2)-ÉTÉ.tar.gz"), ["my", "talk", "v2", "été", "tar", "gz"]);
        assert_eq!(words_of("größe 🍲 文档.txt"), ["größe", "文档", "txt"]);
        assert!(words_of("--..").is_empty());
        assert!(fit_all(&["grö", "txt"], &words_of("größe.txt")));
        assert!(!fit_all(&["tx"], &words_of("größe.txt")));
    }
}
