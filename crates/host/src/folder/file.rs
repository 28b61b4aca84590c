//! Small files that are replaced as a whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use potluck_store::blobs::{BlobError, Opened};

/// The permission to read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// The system's default permissions.
    Usual,
    /// Only its owner, on systems with such permissions.
    Owner,
}

/// Makes `bytes` the content of `path`: after a crash or a loss of power it has the old content or the
/// new one, and once this returns the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let aside = write_aside(path, bytes, readers)?;
    std::fs::rename(&aside, path)?;
    sync_parent(path)
}

/// The same for a file that must not be there yet: one that is there stays, and the error is
/// [`io::ErrorKind::AlreadyExists`].
pub(crate) fn create_new(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let aside = write_aside(path, bytes, readers)?;
    // Unlike a rename it does not put the file over one that came meanwhile.
    let linked = match std::fs::hard_link(&aside, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // This file system has no second names.
            if path.symlink_metadata().is_ok() {
                Err(io::ErrorKind::AlreadyExists.into())
            } else {
                std::fs::rename(&aside, path)
            }
        }
        linked => linked,
    };
    // Gone already if it was renamed.
    let _ = std::fs::remove_file(&aside);
    linked?;
    sync_parent(path)
}

/// Writes a synced file beside `path`, under its name with `.new` behind it.
fn write_aside(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    // Left by a crash. Not opened, since it may have other readers.
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create(&aside, readers)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // What is there of it only takes room.
        let _ = std::fs::remove_file(&aside);
    }
    written.map(|()| aside)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or(Path::new(".")))
}

/// The content of a text file of at most `limit` bytes; `None` if there is no such file.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Option<String>> {
    let Some(bytes) = read_bytes(path, limit)? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The content of a plain file of at most `limit` bytes; `None` if there is no such file. Never waits
/// for the other end of a pipe.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let opened = match Opened::follow(path) {
        Err(BlobError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(BlobError::Io { source, .. }) => return Err(source),
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        Ok(opened) => opened,
    };
    let mut bytes = Vec::new();
    opened.file().take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too long"));
    }
    Ok(Some(bytes))
}

/// Whether a text is the beginning of what the whole file would be, and no more. Blocks that a disk had
/// not written before a loss of power hold zeros.
pub(super) fn is_cut_off(text: &str, whole: &str) -> bool {
    let text = text.trim_end_matches('\0');
    text != whole && whole.starts_with(text)
}

/// The file at `path`, to write behind its end.
pub(crate) fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

fn create(path: &Path, readers: Readers) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = readers;
    options.open(path)
}

/// Makes what was created, renamed or removed in a folder durable, where the system has a way to.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes what was created, renamed or removed in a folder durable, where the system has a way to.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_not_created_over_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.b");
        std::fs::write(folder.path().join("a.b.new"), "left by a crash").unwrap();
        create_new(&path, b"first", Readers::Owner).unwrap();
        let error = create_new(&path, b"second", Readers::Owner).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path, 10).unwrap().as_deref(), Some("first"));
        replace(&path, b"third", Readers::Usual).unwrap();
        assert_eq!(read(&path, 10).unwrap().as_deref(), Some("third"));
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(names.collect::<Vec<_>>(), [path]);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_in_place_of_a_file_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(read(&path, 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
