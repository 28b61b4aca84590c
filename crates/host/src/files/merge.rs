//! Moving complete files to their final paths, where other files may be.
//!
//! **Invariant:** after any interruption a file at its final path is either the old one or the new one;
//! no link is followed.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use potluck_store::blobs::{BlobError, Opened, Remembered, create_folder, rename_file};

use super::FilesError;
use super::copy::remove_all;
use super::destination::{Below, Destination, Folder, at};
use super::old::listed;

/// Files that are listed in a report: of those that were left as they are, and of those that are not part
/// of the fetched folder. Raising it lengthens the report.
const NAMED_MAX: usize = 1000;
/// Files at the destination that are checked for being part of the fetched folder.
const LOOKED_MAX: usize = 1 << 20;
/// Bytes that are compared in one step.
const PIECE: usize = 256 * 1024;

/// Complete files that move to their final paths, where other files may be.
pub(super) struct Merge<'a> {
    /// Where the complete files are.
    pub(super) base: &'a Path,
    pub(super) destination: &'a Destination,
    pub(super) below: &'a Below,
    /// The files that earlier fetches put at the destination.
    pub(super) remembered: &'a Remembered,
}

impl Merge<'_> {
    /// Moves each file to its final path, unless a file of the user is there. The files that are at
    /// their final path now go to `placed`, the files of the user that stay go to `left`.
    pub(super) fn run(
        &self,
        placed: &mut Vec<PathBuf>,
        left: &mut Vec<String>,
    ) -> Result<(), FilesError> {
        let options = self.destination.options();
        for below in self.below {
            let (from, to) = (at(self.base, below), at(&self.destination.there, below));
            let io = |source| BlobError::Io { path: to.clone(), source };
            let takes = match to.symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                Ok(seen) if seen.is_file() => {
                    let may = options.force
                        || (options.update && self.remembered.is_untouched(below, &seen));
                    if is_same(&from, &to) && !(may && is_marked_otherwise(&from, &seen)) {
                        std::fs::remove_file(&from).map_err(io)?;
                        placed.push(below.clone());
                        continue;
                    }
                    may
                }
                _ => false,
            };
            let put = takes
                && match rename_file(&from, &to) {
                    Ok(()) => true,
                    Err(error) if is_in_the_way(&error) => false,
                    Err(error) => return Err(io(error).into()),
                };
            if put {
                placed.push(below.clone());
            } else if left.len() < NAMED_MAX {
                left.push(below.to_string_lossy().into_owned());
            }
        }
        Ok(())
    }
}

/// Whether a file or symlink of the user is where a folder is needed.
fn is_in_the_way(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory};
    // A link on the way is no folder.
    matches!(error.kind(), AlreadyExists | IsADirectory | NotADirectory)
}

/// Whether two files differ in their executable bits or their modification times.
fn is_marked_otherwise(one: &Path, other: &std::fs::Metadata) -> bool {
    #[cfg(unix)]
    let mode = |seen: &std::fs::Metadata| {
        use std::os::unix::fs::PermissionsExt as _;
        seen.permissions().mode() & 0o111
    };
    #[cfg(not(unix))]
    let mode = |_: &std::fs::Metadata| 0;
    one.symlink_metadata()
        .is_ok_and(|one| mode(&one) != mode(other) || one.modified().ok() != other.modified().ok())
}

/// Creates the folders without files. Those whose path is taken by a file of the user go to `left`.
pub(super) fn add_folders(folder: &Folder, destination: &Destination, left: &mut Vec<String>) {
    for path in folder.manifest.empty_folders() {
        let made = create_folder(&folder.plan.place(&destination.there, path));
        if made.is_err() && left.len() < NAMED_MAX {
            left.push(path.clone());
        }
    }
}

/// Whether two files have the same bytes.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (Opened::at(one), Opened::at(other)) else { return false };
    if one.bytes() != other.bytes() {
        return false;
    }
    let (mut one, mut other): (&File, &File) = (one.file(), other.file());
    let mut pieces = [vec![0; PIECE], vec![0; PIECE]];
    let mut rest = PIECE;
    while rest == PIECE {
        let [a, b] = &mut pieces;
        let (Ok(read), Ok(same)) = (fill(&mut one, a), fill(&mut other, b)) else { return false };
        if read != same || a[..read] != b[..read] {
            return false;
        }
        rest = read;
    }
    true
}

fn fill(file: &mut &File, piece: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < piece.len() {
        match file.read(&mut piece[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// The files below `there` that are not in `below`.
pub(super) fn not_part(there: &Path, below: &Below) -> Vec<String> {
    let part: HashSet<&Path> = below.iter().map(PathBuf::as_path).collect();
    let found = listed(there, &mut LOOKED_MAX.clone()).into_iter().filter_map(|(path, _)| {
        let below = path.strip_prefix(there).ok()?.to_owned();
        (!part.contains(below.as_path())).then(|| below.to_string_lossy().into_owned())
    });
    found.take(NAMED_MAX).collect()
}

/// Removes the remains of a fetch, a file or a folder.
pub(super) fn remove(path: &Path) -> Result<(), FilesError> {
    let io = |source| BlobError::Io { path: path.to_owned(), source };
    Ok(remove_all(path).map_err(io)?)
}
