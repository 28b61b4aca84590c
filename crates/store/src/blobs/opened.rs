//! Files and folders that are opened by the names on their path: what was looked at is what is read, and
//! what is written lands where it was to.
//!
//! A path is only a question: between two uses of it another file may be put at its end. So it is
//! opened once, and the descriptor is handed on.
//!
//! **Invariants:** no link is followed on the way of an absolute path; opening never waits, not even for
//! the other end of a pipe; nothing but a plain file or a folder comes out; a file that has other bytes
//! than its size says is refused.

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
    /// Opens the file or folder at an absolute path without `..`. No part of the path may be a link:
    /// a caller that wants links followed resolves them first, and checks where they lead.
    ///
    /// # Errors
    /// [`BlobError::NotPlain`] for a pipe, a device, a socket or a link, and for a file that has bytes
    /// although its size is zero; what the operating system says.
    pub fn at(path: &Path) -> Result<Self, BlobError> {
        let file = open_below(None, path).map_err(|error| refused(path, error))?;
        Self::of(file, path.to_owned())
    }

    /// Opens what a path leads to, links followed.
    ///
    /// # Errors
    /// As [`Opened::at`].
    pub fn follow(path: &Path) -> Result<Self, BlobError> {
        Self::at(&path.canonicalize().map_err(BlobError::at(path))?)
    }

    /// A file that is open already; `path` is what errors call it.
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

    /// Where it was when it was opened.
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

    /// When its bytes were changed last, in seconds since 1970, and its permissions as Unix counts them; of
    /// a file only.
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

    /// This file, or the one at `path` in this folder, which is opened without following a link.
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

/// Whether a plain file says that it is empty and is not, as those that the system makes while they
/// are read.
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

/// The names on a path; `None` if it has anything else in it.
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

/// Makes a new file at an absolute path, and the folders above it if need be. Follows no link.
///
/// # Errors
/// What the operating system says; [`io::ErrorKind::AlreadyExists`] if something is there.
pub fn create_file(path: &Path) -> io::Result<File> {
    open_to_write(path, true)
}

/// Makes a folder at an absolute path, and those above it, where there is none. Follows no link.
///
/// # Errors
/// What the operating system says.
pub fn create_folder(path: &Path) -> io::Result<()> {
    make_folders(path).map(drop)
}

/// How many bytes the name of a file in a folder may have: 255 where the system does not say.
#[must_use]
pub fn name_bytes_max(folder: &Path) -> usize {
    #[cfg(unix)]
    let said = rustix::fs::statvfs(folder).map_or(0, |about| about.f_namemax as usize);
    #[cfg(not(unix))]
    let said = {
        let _ = folder;
        0
    };
    // Less than this no file system has, and more no path of ours.
    if (NAME_BYTES_MIN..NAME_BYTES_MAX).contains(&said) { said } else { NAME_BYTES_MAX }
}

const NAME_BYTES_MIN: usize = 32;
const NAME_BYTES_MAX: usize = 255;

/// Gives a file another absolute path, in place of a file that is there, and makes the folders above it
/// if need be. Follows no link.
///
/// # Errors
/// What the operating system says.
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

/// Gives a file another path, in place of a file that is there, and makes the folders above it if need
/// be.
///
/// # Errors
/// What the operating system says.
#[cfg(not(unix))]
pub fn rename_file(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        make_folders(folder)?;
    }
    std::fs::rename(from, to)
}

/// Opens each folder on an absolute path in the one before it, and makes it if there is none.
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
                    // Another thread was faster.
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

/// Makes the folders on a path.
#[cfg(not(unix))]
fn make_folders(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Opens a plain file for writing and reading by an absolute path, making it, if it must be `new` or is
/// not there, and the folders above it. Follows no link.
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

/// Opens a plain file for writing and reading by an absolute path, making it, if it must be `new` or is
/// not there, and the folders above it.
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

// A folder that is passed through needs not be readable.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PASS: rustix::fs::OFlags = rustix::fs::OFlags::PATH;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const PASS: rustix::fs::OFlags = rustix::fs::OFlags::RDONLY;
/// How folders on a path are opened.
#[cfg(unix)]
const THROUGH: rustix::fs::OFlags = PASS
    .union(rustix::fs::OFlags::DIRECTORY)
    .union(rustix::fs::OFlags::NOFOLLOW)
    .union(rustix::fs::OFlags::CLOEXEC);
/// How what is at the end of a path is opened.
#[cfg(unix)]
const LAST: rustix::fs::OFlags = rustix::fs::OFlags::NOFOLLOW
    .union(rustix::fs::OFlags::NONBLOCK)
    .union(rustix::fs::OFlags::NOCTTY)
    .union(rustix::fs::OFlags::CLOEXEC);

/// Opens the file at `path`, from `folder` on or from the root. Each name is opened in the folder
/// before it, so that no program can redirect the path by a link meanwhile.
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
    // Opening a device may do something, and a socket cannot be opened at all.
    let kind = FileType::from_raw_mode(statat(&at, *file, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(openat(&at, *file, LAST, Mode::empty())?.into())
}

/// Opens the file at `path`, from `folder` on or from the root, if none of its names is a link. Between
/// the look and the opening a link can still be put there.
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
