//! Finds paths of one folder that collide on a file system that ignores case and Unicode forms.
//!
//! A hostile manifest may have a million paths that all collide, or a million folders. So only a hash of each
//! path or folder is kept, whatever its length, and the search for a free name continues where the last
//! search for the same name ended.

use std::collections::BTreeMap;

use potluck_base::BlobId;
use unicode_normalization::UnicodeNormalization as _;

use crate::path::{COMPONENT_BYTES_MAX, shortened};

/// A path that needs another name on a file system that ignores case and Unicode forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The path.
    pub path: String,
    /// The path with which it collides.
    pub other: String,
    /// The path to use instead.
    pub to: String,
}

/// The paths that collide with an earlier one on a file system that ignores case and Unicode forms, and the
/// paths to use instead. The given paths must be distinct ([`check_distinct`](crate::path::check_distinct)).
#[must_use]
pub fn kept_apart<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<Renamed> {
    let paths: Vec<&str> = paths.into_iter().collect();
    let (mut taken, mut renamed) = (Taken::default(), Vec::new());
    for (index, path) in (0..).zip(&paths) {
        let mut to = (*path).to_owned();
        let (mut met, mut tried) = (None, Vec::new());
        let own = forms(path);
        // Each round renames one component. Only a component that collides with a file needs a higher number.
        for _ in 0..RENAMES_MAX {
            let Some(meets) = taken.meets(&to) else { break };
            met.get_or_insert(meets.other);
            let Some(form) = own.get(meets.depth) else { break };
            let number = taken.numbers.entry(*form).or_default();
            // All paths in one folder move to the same other folder.
            let again = meets.depth + 1 == own.len() || tried.contains(&meets.depth);
            *number += usize::from(again || *number == 0);
            tried.push(meets.depth);
            to = set_apart(path, meets.depth, *number);
        }
        taken.insert(&to, index);
        if let Some(other) = met.and_then(|other| paths.get(other as usize)) {
            let (path, other) = ((*path).to_owned(), (*other).to_owned());
            renamed.push(Renamed { path, other, to });
        }
    }
    renamed
}

/// Tries to find a free name. Raising it makes hostile manifests more expensive.
const RENAMES_MAX: usize = 1000;

/// A path or folder as it appears on a file system that ignores case and Unicode forms: a hash of the folder
/// above it and its own name.
type Form = [u8; 16];

/// The paths that exist on such a file system, each with the number of its first path.
#[derive(Default)]
struct Taken {
    files: BTreeMap<Form, u32>,
    folders: BTreeMap<Form, u32>,
    /// The last number that was tried for a name.
    numbers: BTreeMap<Form, usize>,
}

/// A collision of a path.
struct Meets {
    /// The index of the colliding component.
    depth: usize,
    /// The number of the other path.
    other: u32,
}

impl Taken {
    fn meets(&self, path: &str) -> Option<Meets> {
        let forms = forms(path);
        let (whole, above) = forms.split_last()?;
        let meets = |depth, other: &u32| Meets { depth, other: *other };
        if let Some(other) = self.files.get(whole).or_else(|| self.folders.get(whole)) {
            return Some(meets(above.len(), other));
        }
        let mut above = above.iter().enumerate();
        above.find_map(|(depth, form)| Some(meets(depth, self.files.get(form)?)))
    }

    fn insert(&mut self, to: &str, index: u32) {
        let forms = forms(to);
        if let Some((whole, above)) = forms.split_last() {
            above.iter().for_each(|form| {
                self.folders.entry(*form).or_insert(index);
            });
            self.files.insert(*whole, index);
        }
    }
}

/// The forms of the folders above a path, and of the path itself.
fn forms(path: &str) -> Vec<Form> {
    let mut above = Form::default();
    let next = |part: &str| {
        let mut bytes = above.to_vec();
        if part.is_ascii() {
            bytes.extend(part.bytes().map(|byte| byte.to_ascii_lowercase()));
        } else {
            let folded: String = part.nfc().flat_map(char::to_lowercase).nfc().collect();
            bytes.extend_from_slice(folded.as_bytes());
        }
        above.copy_from_slice(&BlobId::of(&bytes).as_bytes()[..16]);
        above
    };
    path.split('/').map(next).collect()
}

/// The path with a suffix in one of its components.
fn set_apart(path: &str, depth: usize, number: usize) -> String {
    let parts = path.split('/').enumerate().map(|(at, part)| {
        if at != depth {
            return part.to_owned();
        }
        let mark = format!("~{number}");
        let dot = part.rfind('.').filter(|dot| *dot > 0).unwrap_or(part.len());
        let marked = format!("{}{mark}{}", &part[..dot], &part[dot..]);
        shortened(&marked, COMPONENT_BYTES_MAX, &mark)
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn paths_that_look_alike_are_kept_apart_where_they_would_meet() {
        let apart = |paths: &[&str]| -> Vec<String> {
            let renamed = kept_apart(paths.iter().copied());
            renamed.into_iter().map(|it| format!("{} {} {}", it.path, it.other, it.to)).collect()
        };
        let none: [&str; 0] = [];
        assert_eq!(apart(&["a", "b", "B.x", "d/e", "d/f"]), none);
        // Two folders may merge; their files collide or not.
        assert_eq!(apart(&["D/x", "d/y"]), none);
        assert_eq!(apart(&["README.md", "Readme.md"]), ["Readme.md README.md Readme~1.md"]);
        assert_eq!(apart(&["e\u{301}", "é"]), ["é e\u{301} é~1"]);
        assert_eq!(apart(&["D/x", "d/X"]), ["d/X D/x d/X~1"]);
        assert_eq!(apart(&["A", "a/b", "a/c"]), ["a/b A a~1/b", "a/c A a~1/c"]);
        assert_eq!(apart(&["a/b", "A"]), ["A a/b A~1"]);
        assert_eq!(apart(&["X", "x", "x~1"]), ["x X x~1", "x~1 x x~1~1"]);
        let long = ["y".repeat(255), "Y".repeat(255)];
        let to = &kept_apart(long.iter().map(String::as_str))[0].to;
        assert!(to.len() <= COMPONENT_BYTES_MAX && to.ends_with("~1"), "{to}");
    }

    #[test]
    fn a_hundred_thousand_names_that_are_one_cost_as_many_tries() {
        let case = |bit: usize, index: usize| if index >> bit & 1 == 1 { 'A' } else { 'a' };
        let paths: Vec<String> =
            (0..100_000).map(|index| (0..20).map(|bit| case(bit, index)).collect()).collect();
        let renamed = kept_apart(paths.iter().map(String::as_str));
        assert_eq!(renamed.len(), paths.len() - 1);
        let to: BTreeSet<String> = renamed.iter().map(|one| one.to.to_lowercase()).collect();
        assert_eq!(to.len(), renamed.len(), "each has a name of its own");
    }
}
