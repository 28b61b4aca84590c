//! Downloads a file or folder through the node to a place where the node cannot write.
//!
//! **Invariant:** a file that appears under its name is complete, and every byte was compared with the link.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use potluck::{FileLink, LinkKind, Manifest, mark, write_sparse};
use potluck_swarm::manifest::MANIFEST_BYTES_MAX;
use tempfile::TempDir;

use super::progress::Progress;
use crate::api::{FetchedFile, Skipped};
use crate::client::{Client, file_path, not_written};
use crate::failure::{Exit, Failure};

/// Name prefix of incomplete files and folders, which lie in the target folder.
const ASIDE: &str = ".potluck-";

/// Downloads the file or folder of a link into the folder `to`, which is made if it does not exist.
///
/// # Errors
/// The target exists; the node does not get the file, or sends other bytes; or the file cannot be written.
pub(super) fn run(
    client: &Client,
    link: &FileLink,
    to: &Path,
    progress: &Progress,
) -> Result<FetchedFile, Failure> {
    let path = to.join(link.file_name_with(called(client, link)?.as_deref()));
    if path.symlink_metadata().is_ok() {
        return Err(exists(&path));
    }
    let start = Instant::now();
    fs::create_dir_all(to).map_err(|error| not_written(&error))?;
    let aside = tempfile::Builder::new().prefix(ASIDE).tempdir_in(to);
    let aside = aside.map_err(|error| not_written(&error))?;
    let (bytes, failed) = match link.kind {
        LinkKind::File => (file(client, link, &aside, progress)?, Vec::new()),
        LinkKind::Folder => folder(client, link, &aside, progress)?,
    };
    let whole = aside.path().join(WHOLE);
    if path.symlink_metadata().is_ok() {
        return Err(exists(&path));
    }
    fs::rename(whole, &path).map_err(|error| not_written(&error))?;
    Ok(FetchedFile {
        path: path.display().to_string(),
        bytes,
        seconds: start.elapsed().as_secs_f64(),
        sources: Vec::new(),
        duplicate_bytes: 0,
        resumed_bytes: 0,
        reused_bytes: 0,
        left: Vec::new(),
        kept: Vec::new(),
        verified: true,
        failed,
    })
}

/// The node's name for the file of a link whose own name is not complete.
fn called(client: &Client, link: &FileLink) -> Result<Option<String>, Failure> {
    if link.name().is_some() || link.kind == LinkKind::Folder {
        return Ok(None);
    }
    let answer = client.request("HEAD", &format!("/v1/files/{}", link.id), &[], None)?.good()?;
    let header = answer.headers.get("content-disposition").and_then(|value| value.to_str().ok());
    let called = header.and_then(name_in);
    // A file without a name is named by its id.
    Ok(called.filter(|name| *name != link.id.to_string()))
}

/// The name in a `Content-Disposition` (RFC 6266).
fn name_in(header: &str) -> Option<String> {
    if let Some((_, encoded)) = header.split_once("filename*=UTF-8''") {
        let mut bytes = Vec::new();
        let mut rest = encoded.bytes();
        while let Some(byte) = rest.next() {
            let digits = if byte == b'%' { Some([rest.next()?, rest.next()?]) } else { None };
            bytes.push(match digits {
                Some(digits) => u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?,
                None => byte,
            });
        }
        return String::from_utf8(bytes).ok();
    }
    let (_, quoted) = header.split_once("filename=\"")?;
    quoted.split_once('"').map(|(name, _)| name.to_owned())
}

/// The name of an incomplete file or folder within its temporary folder.
const WHOLE: &str = "whole";

fn file(
    client: &Client,
    link: &FileLink,
    aside: &TempDir,
    progress: &Progress,
) -> Result<u64, Failure> {
    let mut hasher = blake3::Hasher::new();
    let mut done = 0;
    let target = format!("/v1/files/{}", link.id);
    let passed = |more, total| {
        done += more;
        progress.at(done, total, "through the node");
    };
    let made = File::create_new(aside.path().join(WHOLE));
    let mut made = made.map_err(|error| not_written(&error))?;
    let bytes = write(client, &target, Some(&mut made), &mut hasher, passed)?;
    check(&hasher, link.id.as_bytes())?;
    Ok(bytes)
}

fn folder(
    client: &Client,
    link: &FileLink,
    aside: &TempDir,
    progress: &Progress,
) -> Result<(u64, Vec<Skipped>), Failure> {
    let mut hasher = blake3::Hasher::new();
    let mut list = Bounded(Vec::new());
    let tee = Tee { to: &mut list, hasher: &mut hasher };
    client.download(&format!("/v1/files/{}?manifest=true", link.id), tee, |_, _| {})?;
    check(&hasher, link.id.as_bytes())?;
    let damaged = |error| Failure::new(Exit::Verification, "damaged", error);
    let manifest = Manifest::from_bytes(&list.0).map_err(damaged)?;
    let root = aside.path().join(WHOLE);
    fs::create_dir(&root).map_err(|error| not_written(&error))?;
    let mut hasher = blake3::Hasher::new();
    let mut done = 0;
    let mut failed = Vec::new();
    for file in manifest.files() {
        let path = root.join(&file.path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        let made = made.and_then(|()| File::create_new(&path));
        if let Err(error) = &made
            && is_of_one_file(error)
        {
            let reason = format!("it cannot be made here: {error}");
            failed.push(Skipped { path: file.path.clone(), reason });
        } else if let Err(error) = &made {
            return Err(not_written(error));
        }
        let passed = |more, _| {
            done += more;
            progress.at(done, Some(manifest.bytes()), "through the node");
        };
        let target = file_path(&link.id, &file.path);
        // A file that cannot be written is read as well: the hash covers all bytes.
        let mut kept = made.ok();
        if write(client, &target, kept.as_mut(), &mut hasher, passed)? != file.bytes {
            return Err(other_bytes());
        }
        if let Some(kept) = kept {
            mark(&kept, file.executable, file.mtime).map_err(|error| not_written(&error))?;
        }
    }
    for folder in manifest.empty_folders() {
        fs::create_dir_all(root.join(folder)).map_err(|error| not_written(&error))?;
    }
    check(&hasher, manifest.data().as_bytes())?;
    Ok((manifest.bytes(), failed))
}

/// Whether the error concerns one file of a folder only: its name collides with another one on this file
/// system, or is not allowed there.
fn is_of_one_file(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory};
    matches!(error.kind(), AlreadyExists | InvalidFilename | IsADirectory | NotADirectory)
}

/// Writes the bytes from the node to a new file, if there is one, and hashes them.
fn write(
    client: &Client,
    target: &str,
    file: Option<&mut File>,
    hasher: &mut blake3::Hasher,
    passed: impl FnMut(u64, Option<u64>),
) -> Result<u64, Failure> {
    let Some(file) = file else {
        return client.download(target, Tee { to: &mut io::sink(), hasher }, passed);
    };
    let bytes = client.download(target, Tee { to: &mut Sparse { file, at: 0 }, hasher }, passed)?;
    file.set_len(bytes).and_then(|()| file.sync_all()).map_err(|error| not_written(&error))?;
    Ok(bytes)
}

/// Writes holes in place of zeros.
struct Sparse<'a> {
    file: &'a File,
    at: u64,
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.chunks(HOLE_BYTES) {
            write_sparse(self.file, part, self.at)?;
            self.at += part.len() as u64;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Size in bytes of the blocks of zeros that are left out as holes. Smaller blocks find more holes.
const HOLE_BYTES: usize = 64 * 1024;

fn check(hasher: &blake3::Hasher, id: &[u8; 32]) -> Result<(), Failure> {
    if hasher.finalize().as_bytes() == id { Ok(()) } else { Err(other_bytes()) }
}

fn other_bytes() -> Failure {
    let message = "the node sent other bytes than the link names";
    Failure::new(Exit::Verification, "damaged", message).hint("try again")
}

fn exists(path: &Path) -> Failure {
    Failure::new(Exit::Refused, "exists", format!("{} is there already", path.display()))
        .hint("move it away, or choose another folder with -o")
}

/// Hashes the written bytes.
struct Tee<'a, W> {
    to: &'a mut W,
    hasher: &'a mut blake3::Hasher,
}

impl<W: Write> Write for Tee<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Accepts no more bytes than the longest list of files has.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > MANIFEST_BYTES_MAX {
            return Err(io::Error::other("the list of files is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_is_read_from_its_header() {
        for (header, name) in [
            ("inline; filename=\"a b.txt\"", Some("a b.txt")),
            (
                "inline; filename=\"__.txt\"; filename*=UTF-8''%C3%BC%F0%9F%8D%B2.txt",
                Some("ü🍲.txt"),
            ),
            ("attachment; filename*=UTF-8''%C", None),
            ("attachment", None),
        ] {
            assert_eq!(name_in(header).as_deref(), name, "{header}");
        }
    }
}
