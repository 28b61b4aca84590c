//! Opens files and folders component by component, so that the file that was checked is the file that is
//! read, and written bytes go to the intended file.
//!
//! Between two uses of one path, another program can put another file there. A path is therefore opened once,
//! and the descriptor is passed on.
//!
//! **Invariants:** no link on an absolute path is followed; opening never blocks, not even on a pipe; only
//! plain files and folders are returned; a file with another number of bytes than its size is refused.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::place::Stamp;
use super::{BlobError, files};

/// A plain file or a folder, open for reading.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    file: Arc<File>,
    metadata: Metadata,
}

impl Opened {
    /// Opens the file or folder at an absolute path without `..`. No part of the path may be a link: a caller
    /// that wants to follow links resolves the path first, and checks the result.
    ///
    /// # Errors
    /// [`BlobError::NotPlain`] for a pipe, a device, a socket or a link, and for a file that has bytes beyond
    /// its reported size; an error of the operating system.
    pub fn at(path: &Path) -> Result<Self, BlobError> {
        let file = open_below(None, path).map_err(|error| refused(path, error))?;
        Self::of(file, path.to_owned())
    }

    /// Resolves all links of a path, and opens the result.
    ///
    /// # Errors
    /// As [`Opened::at`].
    pub fn follow(path: &Path) -> Result<Self, BlobError> {
        Self::at(&path.canonicalize().map_err(BlobError::at(path))?)
    }

    /// Takes a file that is open already. `path` names it in errors.
    ///
    /// # Errors
    /// As [`Opened::at`].
    pub fn of(file: impl Into<Arc<File>>, path: PathBuf) -> Result<Self, BlobError> {
        let file = file.into();
        let metadata = file.metadata().map_err(BlobError::at(&path))?;
        if !metadata.is_file() && !metadata.is_dir() {
            return Err(BlobError::NotPlain(path));
        }
        if metadata.is_file()
            && has_bytes_at(&file, metadata.len()).map_err(BlobError::at(&path))?
        {
            return Err(BlobError::NotPlain(path));
        }
        Ok(Self { path, file, metadata })
    }

    /// The path at which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.metadata.is_dir()
    }

    /// Bytes in the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.metadata.len()
    }

    /// The modification time, in seconds since 1970, and the Unix permissions; `None` for a folder.
    #[must_use]
    pub fn marks(&self) -> Option<(Option<i64>, Option<u32>)> {
        #[cfg(unix)]
        let mode =
            Some(std::os::unix::fs::PermissionsExt::mode(&self.metadata.permissions()) & 0o7777);
        #[cfg(not(unix))]
        let mode = None;
        (!self.is_folder()).then(|| (files::mtime_of(&self.metadata), mode))
    }

    /// The open file itself.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// This file, or for a folder the file at `path` below it. No link is followed.
    ///
    /// # Errors
    /// As [`Opened::at`]; [`BlobError::WrongSegments`] if `path` is not in this folder.
    pub fn segment(&self, path: &Path) -> Result<Arc<File>, BlobError> {
        if !self.is_folder() {
            return Ok(Arc::clone(&self.file));
        }
        let below = path.strip_prefix(&self.path).map_err(|_| BlobError::WrongSegments)?;
        let file = open_below(Some((&self.file, &self.path)), below);
        file.map(Arc::new).map_err(|error| refused(path, error))
    }
}

/// The stamp of a file that must have exactly this number of bytes.
pub(crate) fn stamp_of(file: &File, path: &Path, bytes: u64) -> Result<Stamp, BlobError> {
    let metadata = file.metadata().map_err(BlobError::at(path))?;
    let as_said = metadata.is_file()
        && metadata.len() == bytes
        && !has_bytes_at(file, bytes).map_err(BlobError::at(path))?;
    if as_said { Ok(Stamp::of(&metadata)) } else { Err(BlobError::Changed(path.to_owned())) }
}

/// Whether a plain file reports a size of zero but has bytes, as files that the system generates on reading
/// do (for example in `/proc`).
pub(crate) fn hides_bytes(path: &Path) -> io::Result<bool> {
    has_bytes_at(&files::open_for_reading(path)?, 0)
}

fn has_bytes_at(file: &File, offset: u64) -> io::Result<bool> {
    match files::read_at(file, &mut [0], offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn refused(path: &Path, source: io::Error) -> BlobError {
    if source.kind() == io::ErrorKind::InvalidInput || files::is_link_error(&source) {
        return BlobError::NotPlain(path.to_owned());
    }
    BlobError::Io { path: path.to_owned(), source }
}

/// The names on a path. `None` if the path has other components, such as `..`.
fn names(path: &Path) -> Option<Vec<&Path>> {
    let parts = path.components().filter(|part| {
        !matches!(part, Component::Prefix(_) | Component::RootDir | Component::CurDir)
    });
    parts
        .map(|part| match part {
            Component::Normal(name) => Some(Path::new(name)),
            _ => None,
        })
        .collect()
}

/// Creates a new file at an absolute path, and the folders above it if they are missing. Follows no link.
///
/// # Errors
/// An error of the operating system; [`io::ErrorKind::AlreadyExists`] if the path exists.
pub fn create_file(path: &Path) -> io::Result<File> {
    open_to_write(path, true)
}

/// Creates the folder at an absolute path and those above it, if they are missing. Follows no link.
///
/// # Errors
/// An error of the operating system.
pub fn create_folder(path: &Path) -> io::Result<()> {
    make_folders(path).map(drop)
}

/// The most bytes that a file name in a folder may have; 255 if the system does not report it.
#[must_use]
pub fn name_bytes_max(folder: &Path) -> usize {
    #[cfg(unix)]
    let said = rustix::fs::statvfs(folder).map_or(0, |about| about.f_namemax as usize);
    #[cfg(not(unix))]
    let said = {
        let _ = folder;
        0
    };
    // No file system has a smaller limit, and no path of the store needs a larger one.
    if (NAME_BYTES_MIN..NAME_BYTES_MAX).contains(&said) { said } else { NAME_BYTES_MAX }
}

const NAME_BYTES_MIN: usize = 32;
const NAME_BYTES_MAX: usize = 255;

/// Moves a file to another absolute path, replacing a file that is there, and creates missing folders above
/// it. Follows no link.
///
/// # Errors
/// An error of the operating system.
#[cfg(unix)]
pub fn rename_file(from: &Path, to: &Path) -> io::Result<()> {
    let (Some(from_folder), Some(from_name)) = (from.parent(), from.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let (Some(to_folder), Some(to_name)) = (to.parent(), to.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folders = [make_folders(from_folder)?, make_folders(to_folder)?];
    Ok(rustix::fs::renameat(&folders[0], from_name, &folders[1], to_name)?)
}

/// Moves a file to another path, replacing a file that is there, and creates missing folders above it.
///
/// # Errors
/// An error of the operating system.
#[cfg(not(unix))]
pub fn rename_file(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        make_folders(folder)?;
    }
    std::fs::rename(from, to)
}

/// Opens each folder on an absolute path through the one above it, and creates missing ones.
#[cfg(unix)]
fn make_folders(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::{CWD, Mode, mkdirat, openat};
    use rustix::io::Errno;
    let names = names(path).filter(|_| path.is_absolute()).ok_or(io::ErrorKind::InvalidInput)?;
    let mut at = openat(CWD, "/", THROUGH, Mode::empty())?;
    for name in names {
        at = match openat(&at, name, THROUGH, Mode::empty()) {
            Err(Errno::NOENT) => {
                match mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
                    // Another thread created the folder first.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                openat(&at, name, THROUGH, Mode::empty())?
            }
            opened => opened?,
        };
    }
    Ok(at)
}

/// Creates the missing folders on a path.
#[cfg(not(unix))]
fn make_folders(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Opens a plain file by an absolute path for reading and writing. Creates it if it is missing (with `new` it
/// must be missing), and the folders above it. Follows no link.
#[cfg(unix)]
pub(crate) fn open_to_write(path: &Path, new: bool) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, openat};
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut flags = LAST | OFlags::RDWR | OFlags::CREATE;
    flags.set(OFlags::EXCL, new);
    let file = openat(make_folders(folder)?, name, flags, Mode::from_raw_mode(0o666))?;
    plain(file.into())
}

/// Opens a plain file by an absolute path for reading and writing. Creates it if it is missing (with `new` it
/// must be missing), and the folders above it.
#[cfg(not(unix))]
pub(crate) fn open_to_write(path: &Path, new: bool) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        make_folders(folder)?;
    }
    plain(files::open_for_writing(path, new)?)
}

fn plain(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::AlreadyExists.into()) }
}

// A folder on the way needs the permission to pass through, not to be read.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PASS: rustix::fs::OFlags = rustix::fs::OFlags::PATH;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const PASS: rustix::fs::OFlags = rustix::fs::OFlags::RDONLY;
/// The flags for opening the folders on a path.
#[cfg(unix)]
const THROUGH: rustix::fs::OFlags = PASS
    .union(rustix::fs::OFlags::DIRECTORY)
    .union(rustix::fs::OFlags::NOFOLLOW)
    .union(rustix::fs::OFlags::CLOEXEC);
/// The flags for opening the last component of a path.
#[cfg(unix)]
const LAST: rustix::fs::OFlags = rustix::fs::OFlags::NOFOLLOW
    .union(rustix::fs::OFlags::NONBLOCK)
    .union(rustix::fs::OFlags::NOCTTY)
    .union(rustix::fs::OFlags::CLOEXEC);

/// Opens the file at `path`, from `folder` or from the root. Each name is opened in the folder before it, so
/// no program can redirect the path by a link meanwhile.
#[cfg(unix)]
fn open_below(folder: Option<(&File, &Path)>, path: &Path) -> io::Result<File> {
    use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};
    let not_absolute = folder.is_none() && !path.is_absolute();
    let names = names(path).filter(|_| !not_absolute).ok_or(io::ErrorKind::InvalidInput)?;
    let mut at = match folder {
        Some((folder, _)) => openat(folder, ".", THROUGH, Mode::empty())?,
        None => openat(CWD, "/", THROUGH, Mode::empty())?,
    };
    let Some((file, folders)) = names.split_last() else {
        return Ok(openat(&at, ".", OFlags::DIRECTORY | LAST, Mode::empty())?.into());
    };
    for folder in folders {
        at = openat(&at, *folder, THROUGH, Mode::empty())?;
    }
    // Opening a device may have an effect, and a socket cannot be opened.
    let kind = FileType::from_raw_mode(statat(&at, *file, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(openat(&at, *file, LAST, Mode::empty())?.into())
}

/// Opens the file at `path`, from `folder` or from the root, if none of its names is a link. Between the
/// check and the opening another program can still put a link there.
#[cfg(not(unix))]
fn open_below(folder: Option<(&File, &Path)>, path: &Path) -> io::Result<File> {
    let names = names(path).ok_or(io::ErrorKind::InvalidInput)?;
    let (mut at, links) = match folder {
        Some((_, folder)) => (folder.to_owned(), names),
        None => (path.to_owned(), Vec::new()),
    };
    for name in links {
        at.push(name);
        if at.symlink_metadata()?.is_symlink() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
    }
    files::open_for_reading(&at)
}
