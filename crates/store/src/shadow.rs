//! A cheap copy of an engine's folder, so that the folder can be read without being changed.
//!
//! The engine cannot open a folder read-only: it recreates journals, rewrites manifests and deletes files
//! that it takes for leftovers. Its tables are immutable and have most of the bytes, so the copy consists of
//! links to the tables and copies of the other files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder of a keyspace's tables.
const TABLES: &str = "tables";

/// A folder of copies and links outside the data folder. It is removed when this is dropped; the linked files
/// stay.
#[derive(Debug)]
pub(crate) struct Shadow {
    path: PathBuf,
}

impl Shadow {
    /// Creates an empty folder in the system's folder for temporary files.
    pub(crate) fn new() -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("potluck-verify-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match create_private(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self { path }),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the engine's folder `from` into it, under this name.
    pub(crate) fn engine(&self, from: &Path, name: &str) -> io::Result<PathBuf> {
        let to = self.path.join(name);
        copy(from, &to)?;
        Ok(to)
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        // This removes the links, not their targets. A rest would be in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Creates a folder that only its owner can read, because the copies contain records.
#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_private(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    let immutable = from.file_name().is_some_and(|name| name == TABLES);
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&path, &target)?;
        } else if immutable {
            link_file(&path, &target)?;
        } else {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn link_file(from: &Path, to: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(std::path::absolute(from)?, to)
}

#[cfg(not(unix))]
fn link_file(from: &Path, to: &Path) -> io::Result<()> {
    // On this system links need a privilege, so the tables are copied.
    std::fs::copy(from, to).map(drop)
}
