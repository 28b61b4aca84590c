//! Reading and writing files at a position, atomic replacement of small files, and syncing of folders.
//!
//! **Invariant:** a sealed file is read back as it was written, or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_64;

/// Bytes of the checksum at the end of a sealed file.
const SEAL_BYTES: usize = 8;

/// Fills `buffer` from the file, beginning at `offset`.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Writes all of `bytes` to the file, beginning at `offset`.
#[cfg(unix)]
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Fills `buffer` from the file, beginning at `offset`.
#[cfg(windows)]
pub(crate) fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[read..];
        offset += read as u64;
    }
    Ok(())
}

/// Writes all of `bytes` to the file, beginning at `offset`.
#[cfg(windows)]
pub(crate) fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Opens without following a link at the end of the path, and without blocking on a pipe.
fn directly(options: &mut OpenOptions) {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        options.custom_flags(flags.bits() as i32);
    }
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt;
        /// Opens the link itself.
        const OPEN_REPARSE_POINT: u32 = 0x0020_0000;
        /// Allows folders to be opened.
        const BACKUP_SEMANTICS: u32 = 0x0200_0000;
        options.custom_flags(OPEN_REPARSE_POINT | BACKUP_SEMANTICS);
    }
}

/// Opens a path for reading that may no longer be a plain file.
pub(crate) fn open_for_reading(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    directly(&mut options);
    options.open(path)
}

/// Whether an open failed because a component was a link.
pub(crate) fn is_link_error(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

/// Opens a file for reading and writing. Creates it if it is missing; with `new` it must be missing.
#[cfg(not(unix))]
pub(crate) fn open_for_writing(path: &Path, new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).create_new(new).truncate(false);
    directly(&mut options);
    options.open(path)
}

/// Makes created, renamed and removed entries of a folder durable, on systems that can sync folders.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Writes a small file with a checksum. After a crash either the old file or the new one is there.
pub(crate) fn write_sealed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.write_all(&xxh3_64(bytes).to_be_bytes())?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Reads a sealed file of at most `bytes_max` bytes. `None` if its checksum is wrong.
pub(crate) fn read_sealed(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + SEAL_BYTES as u64).read_to_end(&mut bytes)?;
    let Some(length) = bytes.len().checked_sub(SEAL_BYTES) else { return Ok(None) };
    let whole = bytes[length..] == xxh3_64(&bytes[..length]).to_be_bytes();
    bytes.truncate(length);
    Ok(whole.then_some(bytes))
}

/// Removes a file. A missing file is no error.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether the owner of a file may execute it.
#[cfg(unix)]
pub(crate) fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

/// Whether the owner of a file may execute it.
#[cfg(not(unix))]
pub(crate) fn is_executable(_: &std::fs::Metadata) -> bool {
    false
}

/// The modification time of a file, in seconds since 1970.
pub(crate) fn mtime_of(metadata: &std::fs::Metadata) -> Option<i64> {
    match metadata.modified().ok()?.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).ok(),
        Err(before) => {
            let before = before.duration();
            let seconds = before.as_secs() + u64::from(before.subsec_nanos() > 0);
            i64::try_from(seconds).ok().map(|seconds| -seconds)
        }
    }
}

/// Makes a file executable for all users that may read it, if requested, and sets its modification time.
///
/// # Errors
/// An error of the operating system. A time that the file system cannot store is no error.
pub fn mark(file: &File, executable: bool, mtime: Option<i64>) -> io::Result<()> {
    #[cfg(unix)]
    if executable {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata()?.permissions().mode();
        file.set_permissions(std::fs::Permissions::from_mode(mode | (mode & 0o444) >> 2))?;
    }
    #[cfg(not(unix))]
    let _ = executable;
    let Some(seconds) = mtime else { return Ok(()) };
    let far = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds < 0 { UNIX_EPOCH.checked_sub(far) } else { UNIX_EPOCH.checked_add(far) };
    match at.map(|at| file.set_modified(at)) {
        Some(Err(error)) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
        _ => Ok(()),
    }
}

/// Bytes of zeros from which a hole is made; shorter runs are written. Raising it makes fewer holes.
const HOLE_BYTES_MIN: usize = 4096;

/// Writes bytes to a file that already has its final length. Where the file system supports holes, zeros take
/// no disk space, even if other bytes were there before.
///
/// # Errors
/// An error of the operating system.
pub fn write_sparse(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let zeros = bytes.len() >= HOLE_BYTES_MIN && bytes.iter().all(|byte| *byte == 0);
    if zeros && punch(file, offset, bytes.len() as u64) {
        return Ok(());
    }
    write_at(file, bytes, offset)
}

/// Makes a hole. `false` if the file system does not support holes.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn punch(file: &File, offset: u64, bytes: u64) -> bool {
    use rustix::fs::{FallocateFlags, fallocate};
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, bytes).is_ok()
}

/// Makes a hole. `false` if the file system does not support holes.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn punch(_: &File, _: u64, _: u64) -> bool {
    false
}
