//! Sending what the node cannot read by itself: a file, a folder or stdin, byte by byte.
//!
//! **Invariant:** what is sent has the size that was said, or the node is not given the end of it and
//! shares nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck::{BlobError, FilesError, FilesErrorKind, Opened, list_folder};

use super::progress::Progress;
use crate::api::{FolderFile, FolderFiles, SharedFile, Skipped};
use crate::client::{Client, with_query};
use crate::failure::{Exit, Failure};

/// Sends stdin to its end.
pub(super) fn stdin(
    client: &Client,
    name: &str,
    progress: &Progress,
) -> Result<SharedFile, Failure> {
    let target = with_query("/v1/files", &[("name", Some(name.to_owned()))]);
    let mut done = 0;
    let passed = |bytes| {
        done += bytes;
        progress.at(done, None, "to the node");
    };
    client.upload(&target, io::stdin().lock(), None, passed)?.json()
}

/// Sends a file or a folder.
pub(super) fn path(
    client: &Client,
    path: &Path,
    name: &str,
    progress: &Progress,
) -> Result<SharedFile, Failure> {
    let opened = Opened::at(path).map_err(|error| unreadable(path, &error.into()))?;
    let (list, files, skipped) = if opened.is_folder() {
        let listed = list_folder(&opened).map_err(|error| unreadable(path, &error))?;
        let files = listed.files.iter().map(FolderFile::from).collect();
        let list = serde_json::to_vec(&FolderFiles { files }).map_err(Failure::failed)?;
        let segments = listed.segments.into_iter().map(|segment| (segment.path, segment.bytes));
        (Some(list), segments.collect(), listed.skipped)
    } else {
        (None, vec![(path.to_owned(), opened.bytes())], Vec::new())
    };
    let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let list_bytes = list.as_ref().map(Vec::len);
    let query =
        [("name", Some(name.to_owned())), ("listBytes", list_bytes.map(|bytes| bytes.to_string()))];
    let list = list.unwrap_or_default();
    let length = list.len() as u64 + total;
    let mut sent = 0;
    let passed = |bytes| {
        sent += bytes;
        progress.at(sent, Some(length), "to the node");
    };
    let body = list.chain(Laid::new(&opened, files));
    let target = with_query("/v1/files", &query);
    let shared: SharedFile = client.upload(&target, body, Some(length), passed)?.json()?;
    let skipped = skipped.into_iter().map(|(path, reason)| Skipped { path, reason });
    Ok(SharedFile { skipped: skipped.collect(), ..shared })
}

fn unreadable(path: &Path, error: &FilesError) -> Failure {
    let (exit, code) = match error.kind() {
        FilesErrorKind::Refused => (Exit::Refused, "unreadable"),
        _ => (Exit::Usage, "unreadable"),
    };
    Failure::new(exit, code, format!("cannot share {}: {error}", path.display()))
}

/// Files laid end to end, each with the size that was said and no other.
struct Laid<'a> {
    opened: &'a Opened,
    files: std::vec::IntoIter<(PathBuf, u64)>,
    current: Option<(PathBuf, Arc<File>, u64)>,
}

impl<'a> Laid<'a> {
    fn new(opened: &'a Opened, files: Vec<(PathBuf, u64)>) -> Self {
        Self { opened, files: files.into_iter(), current: None }
    }

    /// Opens the next file that has bytes; false if there is none.
    fn next(&mut self) -> io::Result<bool> {
        let Some((path, bytes)) = self.files.find(|(_, bytes)| *bytes > 0) else {
            return Ok(false);
        };
        let file = self.opened.segment(&path).map_err(|error| match error {
            BlobError::Io { path, source } => {
                io::Error::new(source.kind(), format!("cannot read {}: {source}", path.display()))
            }
            error => io::Error::other(error),
        })?;
        self.current = Some((path, file, bytes));
        Ok(true)
    }
}

impl Read for Laid<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || (self.current.is_none() && !self.next()?) {
            return Ok(0);
        }
        let Some((path, file, left)) = &mut self.current else { return Ok(0) };
        let most = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        let mut from = &**file;
        let read = from.read(&mut buffer[..most])?;
        *left -= read as u64;
        // The end of it is looked at before the last bytes are given away.
        if read == 0 || (*left == 0 && from.read(&mut [0])? > 0) {
            return Err(io::Error::other(BlobError::Changed(path.clone())));
        }
        if *left == 0 {
            self.current = None;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_laid_end_to_end_and_one_of_another_size_ends_it_before_its_last_bytes() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().canonicalize().expect("it exists");
        for (name, text) in [("a", "one"), ("b", ""), ("c", "three")] {
            std::fs::write(root.join(name), text).expect("written");
        }
        let opened = Opened::at(&root).expect("opened");
        let laid = |sizes: [u64; 3]| {
            let files = ["a", "b", "c"].map(|name| root.join(name)).into_iter().zip(sizes);
            let mut all = Vec::new();
            Laid::new(&opened, files.collect()).read_to_end(&mut all).map(|_| all)
        };
        assert_eq!(laid([3, 0, 5]).expect("as said"), b"onethree");
        for wrong in [[2, 0, 5], [4, 0, 5], [3, 1, 5], [3, 0, 4], [3, 0, 6]] {
            let error = laid(wrong).expect_err("another size").to_string();
            assert!(error.contains("changed while it was read"), "{wrong:?}: {error}");
        }
    }
}
