//! Taking the room of a blob on the disk before its bytes come, so that a disk that is too small says so at
//! the start, and another program cannot take that room meanwhile.

use std::fs::File;
use std::io;

use potluck_base::GROUP_BYTES;

use super::blob::Blob;
use super::entry::lock;
use super::meta::Phase;
use super::opened::open_to_write;
use super::{BlobError, space};

/// Smaller files are not worth a call each.
const FILE_BYTES_MIN: u64 = 4 * GROUP_BYTES;
/// Files whose room is taken.
const FILES_MAX: usize = 65_536;

impl Blob {
    /// Takes the room that the files of a partly fetched blob need, where the file system can. Their
    /// lengths stay as they are. Not to be called before the size is proven: it is what somebody says.
    ///
    /// # Errors
    /// [`BlobError::NoSpace`] if there is not enough; what the operating system says.
    pub fn take_room(&self) -> Result<(), BlobError> {
        if lock(&self.progress).phase != Phase::Partial {
            return Ok(());
        }
        let segments = self.segments();
        let large = segments.iter().enumerate().filter(|(_, one)| one.bytes >= FILE_BYTES_MIN);
        for (number, segment) in large.take(FILES_MAX) {
            let path = segments.path(number);
            let file = open_to_write(&path, false).map_err(BlobError::at(&path))?;
            match take(&file, segment.bytes) {
                Ok(()) => {}
                // Not every file system can.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    let needed = self.division.size().saturating_sub(self.have_bytes());
                    let free = space::free(segments.base());
                    return Err(BlobError::NoSpace { needed, free });
                }
                Err(source) => return Err(BlobError::Io { path, source }),
            }
        }
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn take(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    loop {
        match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                return Err(io::ErrorKind::Unsupported.into());
            }
            taken => return Ok(taken?),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn take(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
