//! Uploads a source that the node cannot read itself: a file, a folder or stdin, byte by byte.
//!
//! **Invariant:** the upload has exactly the announced size; otherwise it is broken off and the node shares
//! nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck::{BlobError, FilesError, FilesErrorKind, FolderList, Opened, list_folder};

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
    if !opened.is_folder() {
        let files = vec![(path.to_owned(), opened.bytes())];
        let (mtime, mode) = opened.marks().unwrap_or_default();
        let marks = [("mtime", mtime), ("mode", mode.map(i64::from))];
        return send(client, (&opened, files, None), name, marks, progress)?.map_err(|bad| bad.1);
    }
    let mut listed = list_folder(&opened).map_err(|error| unreadable(path, &error))?;
    for _ in 1..SENDS_MAX {
        match send_folder(client, &opened, &listed, name, progress)? {
            Ok(shared) => return Ok(with_left_out(shared, listed)),
            // The rest is sent again without the file.
            Err((error, failure)) => {
                if !error.is_some_and(|error| listed.leave_out(&error.into())) {
                    return Err(failure);
                }
            }
        }
    }
    let sent = send_folder(client, &opened, &listed, name, progress)?;
    sent.map(|shared| with_left_out(shared, listed)).map_err(|bad| bad.1)
}

/// Attempts to send a folder, each without the files that changed meanwhile.
const SENDS_MAX: usize = 4;

/// The shared file, or the failure and the file error behind it, if there is one.
type Sent = Result<SharedFile, (Option<BlobError>, Failure)>;

fn with_left_out(shared: SharedFile, listed: FolderList) -> SharedFile {
    let told = |all: Vec<(String, String)>| {
        all.into_iter().map(|(path, reason)| Skipped { path, reason }).collect()
    };
    SharedFile { skipped: told(listed.skipped), failed: told(listed.failed), ..shared }
}

fn send_folder(
    client: &Client,
    opened: &Opened,
    listed: &FolderList,
    name: &str,
    progress: &Progress,
) -> Result<Sent, Failure> {
    let files = listed.files.iter().map(FolderFile::from).collect();
    let empty_folders = listed.empty_folders.clone();
    let list =
        serde_json::to_vec(&FolderFiles { files, empty_folders }).map_err(Failure::failed)?;
    let segments = listed.segments.iter().map(|segment| (segment.path.clone(), segment.bytes));
    let none = [("mtime", None), ("mode", None)];
    send(client, (opened, segments.collect(), Some(list)), name, none, progress)
}

/// The opened source, its files and their sizes, and the list of files if it is a folder.
type Sending<'a> = (&'a Opened, Vec<(PathBuf, u64)>, Option<Vec<u8>>);

/// Sends the files one after the other, for a folder after the list of them.
fn send(
    client: &Client,
    (opened, files, list): Sending<'_>,
    name: &str,
    [mtime, mode]: [(&'static str, Option<i64>); 2],
    progress: &Progress,
) -> Result<Sent, Failure> {
    let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let list_bytes = list.as_ref().map(Vec::len);
    let number = |(key, value): (&'static str, Option<i64>)| (key, value.map(|it| it.to_string()));
    let query = [
        ("name", Some(name.to_owned())),
        ("listBytes", list_bytes.map(|bytes| bytes.to_string())),
        number(mtime),
        number(mode),
    ];
    let list = list.unwrap_or_default();
    let length = list.len() as u64 + total;
    let mut sent = 0;
    let passed = |bytes| {
        sent += bytes;
        progress.at(sent, Some(length), "to the node");
    };
    let mut laid = Laid::new(opened, files);
    let target = with_query("/v1/files", &query);
    match client.upload(&target, list.chain(&mut laid), Some(length), passed) {
        Ok(answer) => answer.json().map(Ok),
        Err(failure) => Ok(Err((laid.bad, failure))),
    }
}

fn unreadable(path: &Path, error: &FilesError) -> Failure {
    let (exit, code) = match error.kind() {
        FilesErrorKind::Refused => (Exit::Refused, "unreadable"),
        _ => (Exit::Usage, "unreadable"),
    };
    Failure::new(exit, code, format!("cannot share {}: {error}", path.display()))
}

/// The bytes of files one after the other, each of exactly the announced size.
struct Laid<'a> {
    opened: &'a Opened,
    files: std::vec::IntoIter<(PathBuf, u64)>,
    /// The error of a file.
    bad: Option<BlobError>,
    current: Option<(PathBuf, Arc<File>, u64)>,
}

impl<'a> Laid<'a> {
    fn new(opened: &'a Opened, files: Vec<(PathBuf, u64)>) -> Self {
        Self { opened, files: files.into_iter(), bad: None, current: None }
    }

    /// Keeps the error of a file.
    fn fails(&mut self, error: BlobError) -> io::Error {
        let told = match &error {
            BlobError::Io { path, source } => {
                io::Error::new(source.kind(), format!("cannot read {}: {source}", path.display()))
            }
            error => io::Error::other(error.to_string()),
        };
        self.bad = Some(error);
        told
    }

    /// Opens the next file that has bytes; false if there is none.
    fn next(&mut self) -> io::Result<bool> {
        let Some((path, bytes)) = self.files.find(|(_, bytes)| *bytes > 0) else {
            return Ok(false);
        };
        let file = match self.opened.segment(&path) {
            Ok(file) => file,
            Err(error) => return Err(self.fails(error)),
        };
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
        let looked = from.read(&mut buffer[..most]).and_then(|read| {
            *left -= read as u64;
            // The end of a file is checked before its last bytes are sent.
            Ok((read, read == 0 || (*left == 0 && from.read(&mut [0])? > 0)))
        });
        let (ended, path) = (*left == 0, path.clone());
        match looked {
            Ok((_, true)) => Err(self.fails(BlobError::Changed(path))),
            Ok((read, false)) => {
                if ended {
                    self.current = None;
                }
                Ok(read)
            }
            Err(source) => Err(self.fails(BlobError::Io { path, source })),
        }
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
