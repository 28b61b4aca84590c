//! The names of the files that this node shares, with an index of their words.

use potluck_wire::search::NAME_BYTES_MAX;

use super::filter::Filter;
use super::words::{QueryWords, range_of, words_of};
use crate::view::FoundFile;

/// Names that search can find. A guess: with their index at most some 10 MB.
pub const NAMES_MAX: usize = 16_384;
/// Names checked for one search, so that a common word costs less than a millisecond.
const CANDIDATES_MAX: usize = 4096;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Names {
    files: Vec<(FoundFile, Vec<String>)>,
    /// Each word of each name with the position of its file, sorted.
    index: Vec<(String, u32)>,
}

impl Names {
    /// An index of these files, without those that have an impossible name and those beyond
    /// [`NAMES_MAX`].
    pub(super) fn new(files: Vec<FoundFile>) -> Self {
        let good = files.into_iter().filter(|file| is_name(&file.name)).take(NAMES_MAX);
        let files: Vec<_> = good
            .map(|file| {
                let words = words_of(&file.name);
                (FoundFile { holder: None, ..file }, words)
            })
            .collect();
        let mut index: Vec<(String, u32)> = files
            .iter()
            .zip(0..)
            .flat_map(|((_, words), place)| words.iter().map(move |word| (word.clone(), place)))
            .collect();
        index.sort_unstable();
        index.dedup();
        Self { files, index }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn filter(&self) -> Filter {
        Filter::of(self.index.iter().map(|(word, _)| word.as_str()))
    }

    /// At most `max` files whose names match all words.
    pub(super) fn find(&self, query_words: &QueryWords, max: usize) -> Vec<&FoundFile> {
        let ranges = query_words.iter().map(|word| range_of(&self.index, |(word, _)| word, word));
        let Some(rarest) = ranges.min_by_key(ExactSizeIterator::len) else { return Vec::new() };
        let mut places: Vec<u32> =
            self.index[rarest].iter().take(CANDIDATES_MAX).map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.dedup();
        let candidates = places.into_iter().map(|place| &self.files[place as usize]);
        candidates
            .filter(|(_, words)| query_words.fit(words))
            .map(|(file, _)| file)
            .take(max)
            .collect()
    }
}

/// Whether a text can be the name of a shared file.
pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::BlobId;

    fn file(name: &str) -> FoundFile {
        let root = BlobId::of(name.as_bytes());
        FoundFile { name: name.to_owned(), root, bytes: 1, folder: false, holder: None }
    }

    fn find(names: &Names, text: &str) -> Vec<String> {
        let query_words = QueryWords::parse(&[text.to_owned()]).unwrap();
        assert!(names.find(&query_words, 99).is_empty() || names.filter().may_have(&query_words));
        names.find(&query_words, 99).iter().map(|file| file.name.clone()).collect()
    }

    #[test]
    fn all_words_must_fit() {
        let all =
            ["holiday rome 2025.jpg", "holiday paris.jpg", "rome-map.pdf", "con\u{7}trol", ""];
        let names = Names::new(all.map(file).to_vec());
        assert_eq!(names.len(), 3);
        assert_eq!(find(&names, "rome"), ["holiday rome 2025.jpg", "rome-map.pdf"]);
        assert_eq!(find(&names, "holi rom"), ["holiday rome 2025.jpg"]);
        assert!(find(&names, "rome paris").is_empty());
        assert!(find(&names, "trol").is_empty());
    }

    #[test]
    fn a_thousand_names_with_one_word_in_common_cost_a_bounded_look() {
        let files = (0..20_000).map(|n| file(&format!("common {n:05}"))).collect();
        let names = Names::new(files);
        assert_eq!(names.len(), NAMES_MAX);
        let query_words = QueryWords::parse(&["common".to_owned()]).unwrap();
        assert_eq!(names.find(&query_words, 32).len(), 32);
        assert_eq!(find(&names, "common 01234"), ["common 01234"]);
    }
}
