//! Checks the free space of a disk.

use std::io;
use std::path::Path;

use super::BlobError;

/// Bytes that stay free on every disk, for the system and the store's metadata. Raising it makes fetches fail
/// earlier on a nearly full disk.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// Whether `needed` bytes may be written below `path`, which need not exist yet.
pub(crate) fn check(path: &Path, needed: u64) -> Result<(), BlobError> {
    let there = path.ancestors().find(|folder| folder.is_dir()).unwrap_or(path);
    match fs4::available_space(there) {
        Ok(free) if free < needed.saturating_add(RESERVE_BYTES) && needed > 0 => {
            Err(BlobError::NoSpace { needed, free })
        }
        Ok(_) => Ok(()),
        // If the file system cannot report its free space, the check passes.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(source) => Err(BlobError::Io { path: there.to_owned(), source }),
    }
}

/// Bytes that may be written below `path`, as far as the system reports them.
pub(crate) fn free(path: &Path) -> u64 {
    let there = path.ancestors().find(|folder| folder.is_dir()).unwrap_or(path);
    fs4::available_space(there).unwrap_or(0)
}
