//! Allocates the disk space of a blob before its bytes arrive, so that a fetch to a disk that is too small
//! fails at the start, and another program cannot take the space meanwhile.

use std::fs::File;
use std::io;
use std::ops::Range;

use potluck_base::GROUP_BYTES;

use super::blob::Blob;
use super::meta::Phase;
use super::opened::open_to_write;
use super::{BlobError, space};

/// Files below this size are not preallocated. Raising it saves a system call per file.
const FILE_BYTES_MIN: u64 = 4 * GROUP_BYTES;
/// Most files and parts of files that are preallocated.
const PIECES_MAX: usize = 65_536;

impl Blob {
    /// Allocates the space that the files of a partial blob need, where the file system supports it. The
    /// lengths of the files do not change. Must be called only after the size was proven, because the size is
    /// a claim of a peer until then.
    ///
    /// # Errors
    /// [`BlobError::NoSpace`] if the disk has too little room; an error of the operating system.
    pub fn take_room(&self) -> Result<(), BlobError> {
        if self.progress.lock().phase != Phase::Partial {
            return Ok(());
        }
        let segments = self.segments();
        let missing = self.missing_runs();
        let pieces = missing.into_iter().flat_map(|run| segments.pieces(run).collect::<Vec<_>>());
        let large = pieces.filter(|piece| segments.get(piece.segment).bytes >= FILE_BYTES_MIN);
        for piece in large.take(PIECES_MAX) {
            let path = segments.path(piece.segment);
            let file = open_to_write(&path, false).map_err(BlobError::at(&path))?;
            match take(&file, piece.offset, piece.range.end - piece.range.start) {
                Ok(()) => {}
                // Not every file system supports it.
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

    /// Frees the allocated space that holes of the files do not need. A part of it stays allocated, because a
    /// hole may share a disk block with bytes beside it.
    pub(crate) fn give_room_back(&self) {
        let segments = self.segments();
        let large = segments.iter().enumerate().filter(|(_, one)| one.bytes >= FILE_BYTES_MIN);
        for (number, segment) in large.take(PIECES_MAX) {
            if let Ok(file) = open_to_write(&segments.path(number), false) {
                give_back(&file, segment.bytes);
            }
        }
    }

    /// The ranges of missing bytes. Stored parts keep their holes.
    fn missing_runs(&self) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for granule in self.have().missing() {
            let bytes = self.division.bytes(granule);
            let full = runs.len() >= PIECES_MAX;
            match runs.last_mut() {
                Some(run) if run.end == bytes.start => run.end = bytes.end,
                _ if full => break,
                _ => runs.push(bytes),
            }
        }
        runs
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn take(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    loop {
        match fallocate(file, FallocateFlags::KEEP_SIZE, offset, bytes) {
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                return Err(io::ErrorKind::Unsupported.into());
            }
            taken => return Ok(taken?),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn take(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Frees the allocated parts of a file that have no bytes.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn give_back(file: &File, bytes: u64) {
    use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
    let mut at = 0;
    for _ in 0..PIECES_MAX {
        let Ok(begin) = seek(file, SeekFrom::Hole(at)) else { return };
        if begin >= bytes {
            return;
        }
        // After the last data there is only a hole.
        let end = seek(file, SeekFrom::Data(begin)).unwrap_or(bytes).min(bytes);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if end <= begin || fallocate(file, flags, begin, end - begin).is_err() {
            return;
        }
        at = end;
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn give_back(_: &File, _: u64) {}
