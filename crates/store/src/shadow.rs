//! A copy of an engine's folder that costs next to nothing, so that a folder can be read without changing
//! it.
//!
//! The engine cannot open a folder for reading only: it makes journals anew, rewrites manifests and
//! deletes what it takes for leftovers. Its tables are immutable and are most of its bytes, so the copy has
//! links to them and copies of the rest.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a keyspace's tables are.
const TABLES: &str = "tables";

/// A folder of copies and links outside the data folder. Removed when dropped; what the links point to
/// stays.
#[derive(Debug)]
pub(crate) struct Shadow {
    path: PathBuf,
}

impl Shadow {
    /// Makes an empty one in the system's folder for temporary files.
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

    /// Puts a copy of the engine's folder `from` in, under this name.
    pub(crate) fn engine(&self, from: &Path, name: &str) -> io::Result<PathBuf> {
        let to = self.path.join(name);
        copy(from, &to)?;
        Ok(to)
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        // Links are removed, not what they point to. What stays is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Makes a folder for its owner only: its copies hold records.
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
    // Links need a privilege there.
    std::fs::copy(from, to).map(drop)
}
