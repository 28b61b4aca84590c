//! Reading a blob. The bytes are compared with the blob's id before they are returned.
//!
//! **Invariant:** only verified bytes are returned. Files that have changed put the blob into the state
//! `Changed` for good; in a partial blob the affected granules count as missing.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bao_tree::io::EncodeError;
use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::{ReadAt, encode_ranges_validated};
use bytes::Bytes;
use parking_lot::RwLockReadGuard;
use potluck_base::GROUP_BYTES;

use super::blob::{Blob, Handle};
use super::entry::unix_ms;
use super::meta::Phase;
use super::opened::open_to_write;
use super::place::{Piece, Segments, Stamp};
use super::tree::{self, NODE_BYTES};
use super::{ReadError, files};

/// Most bytes that one [`Blob::read`] returns.
pub const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Time between two comparisons of an open file with its stamp. Raising it saves system calls; a changed file
/// is noticed later by its stamp, and still at once by its hash.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The outboard of a blob of one chunk group.
const NO_NODES: &[u8] = &[];

impl Blob {
    /// Appends the verified encoding of a granule to `out`, in the form that [`Blob::write`] of another node
    /// accepts. After an error `out` is unchanged.
    ///
    /// # Errors
    /// [`ReadError`]. An error says nothing about the other granules of a partial blob.
    pub fn encode(&self, granule: u32, out: &mut Vec<u8>) -> Result<(), ReadError> {
        if !self.has(granule) {
            return Err(self.absent());
        }
        self.entry.used(unix_ms());
        let bytes = self.division.bytes(granule);
        let length = out.len();
        out.reserve(encoded_bytes_most(&bytes));
        loop {
            let place = self.places_taken();
            let Err(error) = self.verify(&bytes, None, &mut *out) else { return Ok(()) };
            out.truncate(length);
            self.refused(place, error, &bytes)?;
        }
    }

    /// The bytes of a range: at most the first [`READ_BYTES_MAX`] of it, and none after the end of the blob.
    ///
    /// # Errors
    /// [`ReadError::Missing`] if one of its granules is not stored.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes, ReadError> {
        let size = self.division.size();
        let begin = range.start.min(size);
        let end = range.end.min(size).min(begin.saturating_add(READ_BYTES_MAX)).max(begin);
        let bytes = begin..end;
        if !self.division.covering(&bytes).all(|granule| self.has(granule)) {
            return Err(self.absent());
        }
        if bytes.is_empty() {
            return Ok(Bytes::new());
        }
        self.entry.used(unix_ms());
        let mut out = Vec::with_capacity((end - begin + 2 * GROUP_BYTES) as usize);
        loop {
            let place = self.places_taken();
            let Err(error) = self.verify(&bytes, Some(&mut out), io::sink()) else { break };
            out.clear();
            self.refused(place, error, &bytes)?;
        }
        let skipped = (begin % GROUP_BYTES) as usize;
        Ok(Bytes::from(out).slice(skipped..skipped + (end - begin) as usize))
    }

    /// All bytes of a blob that has at most `bytes_max`, such as a manifest.
    ///
    /// # Errors
    /// [`ReadError::Missing`], also if the blob is larger.
    pub fn read_all(&self, bytes_max: u64) -> Result<Bytes, ReadError> {
        let size = self.division.size();
        if size > bytes_max {
            return Err(ReadError::Missing);
        }
        let mut out = Vec::with_capacity(size as usize);
        while (out.len() as u64) < size {
            out.extend_from_slice(&self.read(out.len() as u64..size)?);
        }
        if size == 0 && !self.has(0) {
            return Err(self.absent());
        }
        Ok(out.into())
    }

    /// Checks size, modification time and identity of all files of a complete blob, without reading them. If
    /// they have changed and another place has unchanged files, the blob is read from that place from now on.
    ///
    /// # Errors
    /// [`ReadError::Changed`] if no place is unchanged. Then the whole blob, or the granules of
    /// [`Blob::lost`], are no longer read.
    pub fn check_files(&self) -> Result<(), ReadError> {
        loop {
            let place = self.places_taken();
            let changed = {
                let count = self.segments().len();
                self.changed_files(0..count)
            };
            if changed.is_empty() {
                return Ok(());
            }
            self.changed(place, &changed)?;
        }
    }

    fn absent(&self) -> ReadError {
        let lost = self.progress.lock().lost.is_some();
        if lost || self.is_changed() { ReadError::Changed } else { ReadError::Missing }
    }

    /// Verifies the chunk groups that hold some bytes. Appends their data to `groups`, and writes their
    /// encoding to `encoded`. After an error, data that were written before it must not be used. The error
    /// does not tell which file is wrong.
    pub(crate) fn verify(
        &self,
        bytes: &Range<u64>,
        groups: Option<&mut Vec<u8>>,
        encoded: impl Write,
    ) -> Result<(), EncodeError> {
        let nodes: &dyn ReadAt = match &self.outboard {
            Some(outboard) => outboard,
            None => &NO_NODES,
        };
        let outboard = PreOrderOutboard {
            root: (*self.entry.id.as_bytes()).into(),
            tree: tree::of(self.division.size()),
            data: nodes,
        };
        let data = Data { blob: self, segments: self.segments(), seen: groups.map(RefCell::new) };
        encode_ranges_validated(data, outboard, &tree::groups_of(bytes), encoded)
    }

    fn fill(&self, segments: &Segments, begin: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut rest = buffer;
        for piece in segments.pieces(begin..begin + rest.len() as u64) {
            let (part, after) = std::mem::take(&mut rest)
                .split_at_mut((piece.range.end - piece.range.start) as usize);
            rest = after;
            files::read_at(&*self.reader(segments, &piece)?, part, piece.offset)?;
        }
        Ok(())
    }

    /// The file to read a piece from. A file that is read as a whole is opened for one read; other files stay
    /// open.
    fn reader(&self, segments: &Segments, piece: &Piece) -> io::Result<Arc<File>> {
        let number = piece.segment;
        let stamp = segments.get(number).stamp;
        if piece.whole {
            return open_stamped(segments, number).map(Arc::new);
        }
        let mut handles = self.handles.lock();
        if let Some(handle) = handles.get_mut(&number) {
            if let Some(stamp) = stamp
                && handle.checked.elapsed() >= CHECK_EVERY
            {
                same(&segments.path(number).symlink_metadata()?, stamp)?;
                handle.checked = Instant::now();
            }
            return Ok(handle.file.clone());
        }
        let partial = self.progress.lock().phase == Phase::Partial;
        let file = Arc::new(if partial {
            open_to_write(&segments.path(number), false)?
        } else {
            open_stamped(segments, number)?
        });
        handles.insert(number, Handle { file: file.clone(), checked: Instant::now() });
        Ok(file)
    }

    /// Handles wrong bytes, which were read when the blob had changed its place `place` times. Returns `Ok`
    /// if another place can be read: the caller then reads again.
    fn refused(&self, place: u64, error: EncodeError, bytes: &Range<u64>) -> Result<(), ReadError> {
        match error {
            EncodeError::Io(error) if !is_change(&error) => return Err(ReadError::Io(error)),
            _ => {}
        }
        let mut progress = self.progress.lock();
        if progress.phase == Phase::Partial {
            let granules = self.division.covering(bytes);
            self.lose(&mut progress, granules);
            return Err(ReadError::Missing);
        }
        drop(progress);
        let pieces: Vec<usize> = {
            let segments = self.segments();
            segments.pieces(bytes.clone()).map(|piece| piece.segment).collect()
        };
        let mut changed = self.changed_files(pieces.iter().copied());
        if changed.is_empty() {
            // Size and times are the same, but the bytes differ.
            changed = pieces;
        }
        self.changed(place, &changed)
    }

    /// Records that some files of a complete blob have changed. `place` is the number of changes of the place
    /// before the files were checked. Returns `Ok` if another place can be read.
    fn changed(&self, place: u64, files: &[usize]) -> Result<(), ReadError> {
        if self.next_place(Some(place)) {
            return Ok(());
        }
        let several = self.segments().len() > 1;
        if several && !self.is_changed() && self.lose_files(files) {
            return Err(ReadError::Changed);
        }
        self.progress.lock().phase = Phase::Changed;
        self.close_files();
        self.entry.set_changed();
        Err(ReadError::Changed)
    }
}

/// An upper bound for the encoding of these bytes: one node per chunk group, and the nodes on the way to the
/// groups.
const fn encoded_bytes_most(bytes: &Range<u64>) -> usize {
    let nodes = (bytes.end - bytes.start) / GROUP_BYTES + u64::BITS as u64;
    (bytes.end - bytes.start + nodes * NODE_BYTES as u64) as usize
}

/// The bytes of a blob, at the place that is read.
struct Data<'a> {
    blob: &'a Blob,
    segments: RwLockReadGuard<'a, Segments>,
    /// Receives a copy of all bytes that are read.
    seen: Option<RefCell<&'a mut Vec<u8>>>,
}

impl ReadAt for Data<'_> {
    fn read_at(&self, begin: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.blob.fill(&self.segments, begin, buffer)?;
        if let Some(seen) = &self.seen {
            seen.borrow_mut().extend_from_slice(buffer);
        }
        Ok(buffer.len())
    }
}

fn open_stamped(segments: &Segments, number: usize) -> io::Result<File> {
    let file = files::open_for_reading(&segments.path(number))?;
    if let Some(stamp) = segments.get(number).stamp {
        same(&file.metadata()?, stamp)?;
    }
    Ok(file)
}

fn same(seen: &std::fs::Metadata, stamp: Stamp) -> io::Result<()> {
    if Stamp::of(seen) == stamp { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether an error means that the file has changed.
fn is_change(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | IsADirectory | NotADirectory | NotFound | UnexpectedEof)
        || files::is_link_error(error)
}
