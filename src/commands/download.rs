//! Getting a file or folder through the node into a place where the node cannot write.
//!
//! **Invariant:** what lands under its name is whole, and was compared with the link byte for byte.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use potluck::{FileLink, LinkKind, Manifest};
use potluck_swarm::manifest::MANIFEST_BYTES_MAX;
use tempfile::TempDir;

use super::progress::Progress;
use crate::api::FetchedFile;
use crate::client::{Client, file_path, not_written};
use crate::failure::{Exit, Failure};

/// How what is not whole yet is called, in the folder where it belongs.
const ASIDE: &str = ".potluck-";

/// Brings what a link leads to into the folder `to`, which is made if there is none.
///
/// # Errors
/// Something is there already; the node does not get it, or sends something else; it cannot be written.
pub(super) fn run(
    client: &Client,
    link: &FileLink,
    to: &Path,
    progress: &Progress,
) -> Result<FetchedFile, Failure> {
    let path = to.join(link.file_name());
    if path.symlink_metadata().is_ok() {
        return Err(exists(&path));
    }
    let start = Instant::now();
    fs::create_dir_all(to).map_err(|error| not_written(&error))?;
    let aside = tempfile::Builder::new().prefix(ASIDE).tempdir_in(to);
    let aside = aside.map_err(|error| not_written(&error))?;
    let bytes = match link.kind {
        LinkKind::File => file(client, link, &aside, progress)?,
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
    })
}

/// What is fetched, in the folder where it lies until it is whole.
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
    let bytes = write(client, &target, &aside.path().join(WHOLE), &mut hasher, passed)?;
    check(&hasher, link.id.as_bytes())?;
    Ok(bytes)
}

fn folder(
    client: &Client,
    link: &FileLink,
    aside: &TempDir,
    progress: &Progress,
) -> Result<u64, Failure> {
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
    for file in manifest.files() {
        let path = root.join(&file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| not_written(&error))?;
        }
        let passed = |more, _| {
            done += more;
            progress.at(done, Some(manifest.bytes()), "through the node");
        };
        let target = file_path(&link.id, &file.path);
        if write(client, &target, &path, &mut hasher, passed)? != file.bytes {
            return Err(other_bytes());
        }
        if file.executable {
            make_executable(&path).map_err(|error| not_written(&error))?;
        }
    }
    check(&hasher, manifest.data().as_bytes())?;
    Ok(manifest.bytes())
}

/// Writes what the node sends to a new file, and hashes it.
fn write(
    client: &Client,
    target: &str,
    path: &Path,
    hasher: &mut blake3::Hasher,
    passed: impl FnMut(u64, Option<u64>),
) -> Result<u64, Failure> {
    let mut file = File::create_new(path).map_err(|error| not_written(&error))?;
    let bytes = client.download(target, Tee { to: &mut file, hasher }, passed)?;
    file.sync_all().map_err(|error| not_written(&error))?;
    Ok(bytes)
}

fn check(hasher: &blake3::Hasher, id: &[u8; 32]) -> Result<(), Failure> {
    if hasher.finalize().as_bytes() == id { Ok(()) } else { Err(other_bytes()) }
}

fn other_bytes() -> Failure {
    let message = "the node sent other bytes than the link names";
    Failure::new(Exit::Verification, "damaged", message).hint("try again")
}

/// Lets everybody execute a file who may read it.
#[cfg(unix)]
fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode | (mode & 0o444) >> 2))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> io::Result<()> {
    Ok(())
}

fn exists(path: &Path) -> Failure {
    Failure::new(Exit::Refused, "exists", format!("{} is there already", path.display()))
        .hint("move it away, or choose another folder with -o")
}

/// Hashes what is written.
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

/// Takes no more than the longest list of files.
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
