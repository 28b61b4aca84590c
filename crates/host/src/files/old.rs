//! Files of this machine that may already hold bytes of a fetched blob.
//!
//! For each segment there are a few guesses: the file at the same path first, then files of the same
//! length. Only files below the given roots are opened, and no link is followed.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck_base::{GranuleSet, LruMap};
use potluck_store::blobs::{Blob, Guess, Opened, Part};

/// Files whose length is compared with the wanted lengths. Raising it finds more matches in large
/// folders and lengthens the search.
const OLD_FILES_MAX: usize = 1 << 18;
/// Depth of nested folders that are searched.
const DEPTH_MAX: usize = 64;
/// Candidates that are kept for each length.
const SAME_LENGTH_MAX: usize = 256;
/// Guesses for each segment. Raising it costs one more read of the segment for each wrong guess.
const GUESSES: usize = 3;
/// Files that are open at once.
const OPEN_MAX: usize = 64;

/// Where to search for the bytes of a blob.
#[derive(Debug, Clone, Default)]
pub(super) struct OldPlaces {
    /// Files and folders, the likeliest first.
    pub(super) roots: Vec<PathBuf>,
    /// The path of each segment below a root; empty if the root is the file itself.
    pub(super) paths: Vec<PathBuf>,
    /// The name of the file, if the blob is one file.
    pub(super) name: String,
}

/// One candidate file.
#[derive(Debug, Clone)]
struct OldFile {
    root: usize,
    path: PathBuf,
    bytes: u64,
}

/// The candidate files, and for each segment the order in which they are tried.
#[derive(Debug)]
pub(super) struct Old {
    roots: Vec<Opened>,
    files: Vec<OldFile>,
    guesses: Vec<Vec<u32>>,
    open: LruMap<u32, Arc<File>>,
    /// Bytes read so far.
    pub(super) read_bytes: u64,
}

impl Old {
    /// Looks for files that may hold the bytes of these segments. Blocks.
    pub(super) fn find(places: &OldPlaces, lengths: &[u64]) -> Self {
        let opened = places.roots.iter().filter_map(|root| Opened::at(root).ok());
        let mut old = Self {
            roots: opened.collect(),
            files: Vec::new(),
            guesses: vec![Vec::new(); lengths.len()],
            open: LruMap::new(OPEN_MAX),
            read_bytes: 0,
        };
        for segment in 0..lengths.len() {
            old.guess_same_path(places, lengths, segment);
        }
        let fits = |old: &Self, segment: usize| {
            let first = old.guesses[segment].first();
            first.is_some_and(|file| old.files[*file as usize].bytes == lengths[segment])
        };
        let open = (0..lengths.len()).filter(|segment| lengths[*segment] > 0);
        let open: Vec<usize> = open.filter(|segment| !fits(&old, *segment)).collect();
        if !open.is_empty() {
            old.guess_same_length(places, lengths, &open);
        }
        old
    }

    fn guess_same_path(&mut self, places: &OldPlaces, lengths: &[u64], segment: usize) {
        let Some(path) = places.paths.get(segment).filter(|_| lengths[segment] > 0) else { return };
        for (root, opened) in self.roots.iter().enumerate() {
            let single = path.as_os_str().is_empty();
            if single == opened.is_folder() {
                continue;
            }
            let there = if single { opened.path().to_owned() } else { opened.path().join(path) };
            let Ok(seen) = there.symlink_metadata() else { continue };
            if seen.is_file() && self.guesses[segment].len() < GUESSES {
                self.guesses[segment].push(self.files.len() as u32);
                self.files.push(OldFile { root, path: there, bytes: seen.len() });
            }
        }
        let files = &self.files;
        self.guesses[segment].sort_by_key(|file| files[*file as usize].bytes != lengths[segment]);
    }

    /// Guesses for segments without a file at their path and of their length: files of this length, those
    /// with the longest common end of the path first.
    fn guess_same_length(&mut self, places: &OldPlaces, lengths: &[u64], open: &[usize]) {
        let wanted: HashSet<u64> = open.iter().map(|segment| lengths[*segment]).collect();
        let mut by_length: HashMap<u64, Vec<u32>> = HashMap::new();
        let mut room = OLD_FILES_MAX;
        for root in 0..self.roots.len() {
            let top = self.roots[root].path().to_owned();
            for (path, bytes) in listed(&top, &mut room) {
                let same = by_length.entry(bytes).or_default();
                if wanted.contains(&bytes) && same.len() < SAME_LENGTH_MAX {
                    same.push(self.files.len() as u32);
                    self.files.push(OldFile { root, path, bytes });
                }
            }
        }
        for segment in open {
            let Some(found) = by_length.get(&lengths[*segment]) else { continue };
            let named = Path::new(&places.name);
            let path = places.paths.get(*segment).filter(|path| !path.as_os_str().is_empty());
            let path = path.map_or(named, PathBuf::as_path);
            let mut found = found.clone();
            let common = |file: &u32| common_end(path, &self.files[*file as usize].path);
            found.sort_by_key(|file| std::cmp::Reverse(common(file)));
            // A file of the right length is a better guess than one that has only the right path.
            let others = std::mem::take(&mut self.guesses[*segment]);
            found.truncate(GUESSES - others.len().min(GUESSES - 1));
            self.guesses[*segment] = found.into_iter().chain(others).collect();
        }
    }

    /// The granules for which there is a guess, without the last one: the last granule proves the size
    /// and is fetched, unless it is the only one.
    pub(super) fn granules(&self, blob: &Blob) -> GranuleSet {
        let have = blob.have();
        let mut granules = GranuleSet::empty(have.length());
        let last = have.length() - 1;
        for granule in have.missing().filter(|granule| *granule < last || last == 0) {
            let segments = blob.segments_of(granule);
            let guessed = |segment: &usize| {
                self.guesses.get(*segment).is_some_and(|guesses| !guesses.is_empty())
            };
            if !segments.is_empty() && segments.iter().all(guessed) {
                granules.insert(granule);
            }
        }
        granules
    }

    fn file(&mut self, number: u32) -> Option<Arc<File>> {
        if let Some(file) = self.open.get_mut(&number) {
            return Some(Arc::clone(file));
        }
        let old = &self.files[number as usize];
        let file = self.roots[old.root].segment(&old.path).ok()?;
        self.open.insert(number, Arc::clone(&file));
        Some(file)
    }
}

impl Guess for Old {
    fn guess(&mut self, number: usize, part: Part, buffer: &mut [u8]) -> bool {
        let Some(guesses) = self.guesses.get(part.segment) else { return false };
        // A segment with fewer guesses than others of its chunk group uses its last guess again.
        let Some(file) = guesses.get(number.min(guesses.len().saturating_sub(1))) else {
            return false;
        };
        let file = *file;
        if part.offset + buffer.len() as u64 > self.files[file as usize].bytes {
            return false;
        }
        let Some(open) = self.file(file) else { return false };
        self.read_bytes += buffer.len() as u64;
        read_at(&open, buffer, part.offset).is_ok()
    }

    fn guesses(&self, part: Part) -> usize {
        self.guesses.get(part.segment).map_or(0, Vec::len)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    use std::io::{Read as _, Seek as _};
    file.seek(std::io::SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}

/// The regular files below a folder, or the file itself, with their lengths; at most `room` of them.
pub(super) fn listed(top: &Path, room: &mut usize) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut open = vec![(top.to_owned(), 0)];
    while let Some((path, depth)) = open.pop() {
        let Ok(seen) = path.symlink_metadata() else { continue };
        if seen.is_file() {
            if *room == 0 {
                break;
            }
            *room -= 1;
            found.push((path, seen.len()));
        } else if seen.is_dir() && depth < DEPTH_MAX {
            let Ok(entries) = std::fs::read_dir(&path) else { continue };
            let mut below: Vec<PathBuf> =
                entries.filter_map(|entry| Some(entry.ok()?.path())).take(*room).collect();
            below.sort_unstable_by(|a, b| b.cmp(a));
            open.extend(below.into_iter().map(|path| (path, depth + 1)));
        }
    }
    found
}

/// The number of path components that two paths have in common at their end.
fn common_end(one: &Path, other: &Path) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count()
}
