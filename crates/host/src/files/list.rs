//! The files of a folder that is to be shared: what can be read now, and why the rest is left out.
//!
//! **Invariant:** a file is in the list or among what is left out, with its reason; one bad file does not
//! keep the others from being shared.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use potluck_base::BlobId;
use potluck_store::blobs::{BlobError, Opened, SegmentTarget, Walk, WalkLimits, WalkedFile, walk};
use potluck_swarm::{Manifest, ManifestFile, path};

use super::FilesError;
use crate::folder::layout;

/// The files of a folder that is to be shared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderList {
    /// The files, in the order of their paths.
    pub files: Vec<ManifestFile>,
    /// Where each of them is.
    pub segments: Vec<SegmentTarget>,
    /// The folders that have no file in them, in order.
    pub empty_folders: Vec<String>,
    /// Entries that cannot be shared, such as links, each with the reason.
    pub skipped: Vec<(String, String)>,
    /// Files that are missing although they should be shared, each with the reason.
    pub failed: Vec<(String, String)>,
}

/// Lists the files of a folder as they are shared: links, whatever is no plain file and the data
/// folders of nodes are left out; so are files that cannot be read or have a name that others cannot
/// have. Blocks.
///
/// # Errors
/// The folder cannot be read, or has too many files.
pub fn list_folder(opened: &Opened) -> Result<FolderList, FilesError> {
    let Walk { files: walked, folders, skipped } = walk(opened.path(), WalkLimits::default())?;
    let mut list = FolderList::default();
    let mut unread = BTreeSet::new();
    for (path, reason) in skipped {
        let to = if reason.is_failure() { &mut list.failed } else { &mut list.skipped };
        if reason.is_failure() {
            unread.insert(path.clone());
        }
        to.push((path, reason.to_string()));
    }
    let others = data_folders_in(&walked);
    for folder in &others {
        let below = folder.strip_prefix(opened.path()).unwrap_or(folder);
        let reason = "the data folder of a node".to_owned();
        list.skipped.push((below.to_string_lossy().into_owned(), reason));
    }
    for file in walked {
        if others.iter().any(|folder| file.path.starts_with(folder)) {
            continue;
        }
        let readable = || opened.segment(&file.path).map(drop).map_err(|error| why(&error));
        let checked = path::check(&file.relative).map_err(|reason| reason.to_string());
        if let Err(reason) = checked.and_then(|()| readable()) {
            list.failed.push((file.relative, reason));
            continue;
        }
        let WalkedFile { relative, path, bytes, executable, mtime } = file;
        list.segments.push(SegmentTarget { path, bytes, executable, mtime });
        list.files.push(ManifestFile { path: relative, bytes, executable, mtime });
    }
    for folder in &folders {
        if list.has_below(folder, &folders) {
            continue;
        }
        let of_others = others.iter().any(|other| opened.path().join(folder).starts_with(other));
        if of_others || unread.contains(folder) {
            continue;
        }
        match path::check(folder) {
            Ok(()) => list.empty_folders.push(folder.clone()),
            Err(reason) => list.failed.push((folder.clone(), reason.to_string())),
        }
    }
    let (files, folders) = (list.files.clone(), list.empty_folders.clone());
    Manifest::with_folders(BlobId::from_bytes([0; 32]), files, folders)?;
    Ok(list)
}

impl FolderList {
    /// Whether a folder has a listed file or another folder in it. `folders` are in order, and so are the
    /// files.
    fn has_below(&self, folder: &str, folders: &[String]) -> bool {
        let prefix = format!("{folder}/");
        let file = self.files.partition_point(|file| file.path < prefix);
        let other = folders.partition_point(|other| *other < prefix);
        self.files.get(file).is_some_and(|file| file.path.starts_with(&prefix))
            || folders.get(other).is_some_and(|other| other.starts_with(&prefix))
    }

    /// Leaves out the file that an error is about, and others that changed meanwhile, so that the rest can
    /// be read again. Returns whether it is about one of the files.
    pub fn leave_out(&mut self, error: &FilesError) -> bool {
        let (path, reason) = match error {
            FilesError::NotShareable(path) => (path, "not a plain file any more".to_owned()),
            FilesError::Store(error) => match &**error {
                BlobError::Changed(path) | BlobError::Io { path, .. } => (path, why(error)),
                _ => return false,
            },
            _ => return false,
        };
        let bad = |segment: &SegmentTarget| {
            if segment.path == *path { Some(reason.clone()) } else { changed(segment) }
        };
        if !self.segments.iter().any(|segment| segment.path == *path) {
            return false;
        }
        let (files, segments) =
            (std::mem::take(&mut self.files), std::mem::take(&mut self.segments));
        for (file, segment) in files.into_iter().zip(segments) {
            match bad(&segment) {
                Some(reason) => self.failed.push((file.path, reason)),
                None => {
                    self.files.push(file);
                    self.segments.push(segment);
                }
            }
        }
        true
    }
}

/// Why a file cannot be shared.
fn why(error: &BlobError) -> String {
    match error {
        BlobError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "it vanished while the folder was read".to_owned()
        }
        BlobError::Io { source, .. } => format!("it cannot be read: {source}"),
        BlobError::Changed(_) => "it changed while the folder was read".to_owned(),
        error => error.to_string(),
    }
}

/// Whether a file is not what it was when it was listed, and why.
fn changed(segment: &SegmentTarget) -> Option<String> {
    let seen = segment.path.symlink_metadata();
    let seen = match seen {
        Ok(seen) if seen.is_file() => seen,
        Ok(_) => return Some("not a plain file any more".to_owned()),
        Err(source) => return Some(why(&BlobError::Io { path: segment.path.clone(), source })),
    };
    let at = seen.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let seconds = at.and_then(|at| i64::try_from(at.as_secs()).ok());
    let same = seen.len() == segment.bytes
        && (segment.mtime.is_none_or(|before| before < 0) || seconds == segment.mtime);
    (!same).then(|| why(&BlobError::Changed(segment.path.clone())))
}

/// The data folders of nodes among what a walk found.
fn data_folders_in(walked: &[WalkedFile]) -> Vec<PathBuf> {
    let identities = walked.iter().filter(|file| file.path.ends_with(layout::IDENTITY));
    let folders = identities.filter_map(|file| file.path.parent());
    folders.filter(|folder| layout::is_data_folder(folder)).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_or_vanishes_while_it_is_read_is_left_out_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("empty/deep")).unwrap();
        std::fs::create_dir(root.join("sub")).unwrap();
        for name in ["a", "b", "c", "nul.txt", "sub/d", "A"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        let opened = Opened::at(&root).unwrap();
        let mut list = list_folder(&opened).unwrap();
        let paths = |list: &FolderList| -> Vec<String> {
            list.files.iter().map(|file| file.path.clone()).collect()
        };
        assert_eq!(paths(&list), ["A", "a", "b", "c", "sub/d"]);
        assert_eq!(list.empty_folders, ["empty/deep"]);
        assert!(list.files.iter().all(|file| file.mtime.is_some()));
        let failed = |list: &FolderList| -> Vec<String> {
            list.failed.iter().map(|(path, _)| path.clone()).collect()
        };
        assert_eq!(failed(&list), ["nul.txt"]);
        std::fs::write(root.join("a"), "another").unwrap();
        std::fs::remove_file(root.join("c")).unwrap();
        let elsewhere = BlobError::Changed(root.join("store"));
        assert!(!list.leave_out(&elsewhere.into()));
        assert!(list.leave_out(&BlobError::Changed(root.join("a")).into()));
        assert_eq!(paths(&list), ["A", "b", "sub/d"]);
        assert_eq!(list.segments.len(), 3);
        assert_eq!(failed(&list), ["nul.txt", "a", "c"]);
        assert!(list.failed[1].1.contains("changed") && list.failed[2].1.contains("vanished"));
    }
}
