//! Files read and written at a position, small files replaced as a whole, and folders synced.
//!
//! **Invariant:** a sealed file is read back as it was written or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// Bytes of the checksum behind a sealed file.
const SEAL_BYTES: usize = 8;

/// Fills `buffer` from `offset` on.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Writes all of `bytes` from `offset` on.
#[cfg(unix)]
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Fills `buffer` from `offset` on.
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

/// Writes all of `bytes` from `offset` on.
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

/// Lets opening neither follow a link at the end of the path nor wait for the other end of a pipe.
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
        /// Opens a link itself.
        const OPEN_REPARSE_POINT: u32 = 0x0020_0000;
        /// Lets folders be opened.
        const BACKUP_SEMANTICS: u32 = 0x0200_0000;
        options.custom_flags(OPEN_REPARSE_POINT | BACKUP_SEMANTICS);
    }
}

/// Opens a file for reading that may have become anything since it was looked at.
pub(crate) fn open_for_reading(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    directly(&mut options);
    options.open(path)
}

/// Whether opening failed because of a link that was not followed.
pub(crate) fn is_link_error(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

/// Opens a file for writing and reading, making it if it must be `new` or is not there.
#[cfg(not(unix))]
pub(crate) fn open_for_writing(path: &Path, new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).create_new(new).truncate(false);
    directly(&mut options);
    options.open(path)
}

/// Makes what was created, renamed or removed in a folder durable, where the system has a way to.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Writes a small file with a checksum so that after a crash either the old or the new one is there.
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

/// Reads a sealed file of at most `bytes_max`; `None` if it is not as it was written.
pub(crate) fn read_sealed(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + SEAL_BYTES as u64).read_to_end(&mut bytes)?;
    let Some(length) = bytes.len().checked_sub(SEAL_BYTES) else { return Ok(None) };
    let whole = bytes[length..] == xxh3_64(&bytes[..length]).to_be_bytes();
    bytes.truncate(length);
    Ok(whole.then_some(bytes))
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
