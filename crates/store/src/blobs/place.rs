//! A place of a blob: the concatenation of files.
//!
//! **Invariants:** the segments add up to the blob. All lie below one folder, so a move of that folder is one
//! change.

use std::fs::Metadata;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::{BlobError, SEGMENTS_MAX};

/// Longest `place` file in bytes: 1 KiB for each segment.
pub(crate) const PLACE_BYTES_MAX: u64 = SEGMENTS_MAX as u64 * 1024;

/// A file that will hold a part of a blob, or from which a part is imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentTarget {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Whether the file is made executable when the blob is complete. Ignored by an import.
    pub executable: bool,
    /// The modification time that the file gets when the blob is complete, in seconds since 1970. `None`: the
    /// time of the last write. Ignored by an import.
    pub mtime: Option<i64>,
}

/// The size, times and identity of a file when its bytes were last known to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Stamp {
    #[n(0)]
    bytes: u64,
    #[n(1)]
    modified_ns: u64,
    #[n(2)]
    device: u64,
    #[n(3)]
    inode: u64,
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let modified_ns = modified.map_or(0, |since| since.as_nanos() as u64);
        #[cfg(unix)]
        let (device, inode) = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let (device, inode) = (0, 0);
        Self { bytes: metadata.len(), modified_ns, device, inode }
    }

    /// Whether both stamps are of one file that did not change between them. Device numbers are not compared,
    /// because they may change at each start of the system.
    pub(crate) const fn is_same_file(&self, other: &Self) -> bool {
        self.bytes == other.bytes
            && self.modified_ns == other.modified_ns
            && self.inode == other.inode
    }
}

/// One file of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    relative: Box<Path>,
    pub(crate) bytes: u64,
    pub(crate) executable: bool,
    pub(crate) mtime: Option<i64>,
    /// If there is one, it is checked before bytes are read.
    pub(crate) stamp: Option<Stamp>,
}

/// The files of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segments {
    base: PathBuf,
    segments: Vec<Segment>,
    /// The end of each segment in the blob.
    ends: Vec<u64>,
}

/// The part of a blob that lies in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) segment: usize,
    /// The offset of the piece in the segment.
    pub(crate) offset: u64,
    /// The bytes of the piece in the blob.
    pub(crate) range: Range<u64>,
    /// Whether the piece is the whole segment.
    pub(crate) whole: bool,
}

impl Segments {
    /// One file inside the store.
    pub(crate) fn inside(data: &Path, bytes: u64) -> Self {
        let relative = Path::new("").into();
        let segment = Segment { relative, bytes, executable: false, mtime: None, stamp: None };
        Self { base: data.to_owned(), segments: vec![segment], ends: vec![bytes] }
    }

    /// Files elsewhere. Paths are made absolute.
    pub(crate) fn outside(
        files: impl IntoIterator<Item = (SegmentTarget, Option<Stamp>)>,
    ) -> Result<Self, BlobError> {
        let mut found = Vec::new();
        for (file, stamp) in files {
            if found.len() >= SEGMENTS_MAX {
                return Err(BlobError::TooManyFiles { max: SEGMENTS_MAX });
            }
            let path = std::path::absolute(&file.path).map_err(BlobError::at(&file.path))?;
            found.push((path, file, stamp));
        }
        let first = found.first().ok_or(BlobError::WrongSegments)?;
        let mut base = if found.len() == 1 { first.0.clone() } else { parent(&first.0) };
        for (path, ..) in &found {
            while !path.starts_with(&base) && base.pop() {}
        }
        let mut segments = Vec::with_capacity(found.len());
        for (path, file, stamp) in found {
            let relative = path.strip_prefix(&base).map_err(|_| BlobError::WrongSegments)?.into();
            let SegmentTarget { bytes, executable, mtime, .. } = file;
            segments.push(Segment { relative, bytes, executable, mtime, stamp });
        }
        Self::new(base, segments).ok_or(BlobError::WrongSegments)
    }

    fn new(base: PathBuf, segments: Vec<Segment>) -> Option<Self> {
        let mut end = 0_u64;
        let mut ends = Vec::with_capacity(segments.len());
        for segment in &segments {
            end = end.checked_add(segment.bytes)?;
            ends.push(end);
        }
        (!ends.is_empty()).then_some(Self { base, segments, ends })
    }

    /// Bytes in all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The one file, or the folder that they are all below.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// How many segments there are.
    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn get(&self, segment: usize) -> &Segment {
        &self.segments[segment]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }

    /// The path of a segment.
    pub(crate) fn path(&self, segment: usize) -> PathBuf {
        let relative = &self.segments[segment].relative;
        // Joining nothing would add a slash.
        if relative.as_os_str().is_empty() { self.base.clone() } else { self.base.join(relative) }
    }

    /// The bytes of a segment in the blob.
    pub(crate) fn range(&self, segment: usize) -> Range<u64> {
        let end = self.ends[segment];
        end - self.segments[segment].bytes..end
    }

    /// Whether these are the same files with the same sizes.
    pub(crate) fn same_files(&self, other: &Self) -> bool {
        self.base == other.base
            && self.ends == other.ends
            && self.iter().zip(other.iter()).all(|(mine, theirs)| mine.relative == theirs.relative)
    }

    /// The pieces of segments that hold a range of the blob, in order. Segments without bytes are left out.
    pub(crate) fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Piece> {
        let first = self.ends.partition_point(|end| *end <= range.start);
        (first..self.segments.len())
            .map(|segment| (segment, self.range(segment)))
            .take_while({
                let end = range.end;
                move |(_, held)| held.start < end
            })
            .filter(|(_, held)| !held.is_empty())
            .map(move |(segment, held)| {
                let begin = held.start.max(range.start);
                let end = held.end.min(range.end);
                let whole = begin == held.start && end == held.end;
                Piece { segment, offset: begin - held.start, range: begin..end, whole }
            })
    }

    /// The segments after the file or folder `from` moved to `to`. `None` if not all of them lie below
    /// `from`.
    pub(crate) fn moved(&self, from: &Path, to: &Path) -> Option<Self> {
        let rest = self.base.strip_prefix(from).ok()?;
        let base = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
        Some(Self { base, ..self.clone() })
    }

    /// A copy with these stamps.
    pub(crate) fn stamped(&self, stamps: Vec<Stamp>) -> Self {
        let mut stamped = self.clone();
        for (segment, stamp) in stamped.segments.iter_mut().zip(stamps) {
            segment.stamp = Some(stamp);
        }
        stamped
    }

    /// The segments without stamps.
    pub(crate) fn unstamped(mut self) -> Self {
        self.segments.iter_mut().for_each(|segment| segment.stamp = None);
        self
    }

    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let segments = self.iter().map(|segment| {
            Some(SegmentRow {
                path: path_bytes(&segment.relative)?.into(),
                bytes: segment.bytes,
                executable: segment.executable,
                stamp: segment.stamp,
                mtime: segment.mtime,
            })
        });
        let rows = PlaceRows {
            version: PLACE_VERSION,
            base: path_bytes(&self.base)?.into(),
            segments: segments.collect::<Option<_>>()?,
        };
        minicbor::to_vec(rows).ok()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let rows: PlaceRows = minicbor::decode(bytes).ok()?;
        if rows.version != PLACE_VERSION || rows.segments.len() > SEGMENTS_MAX {
            return None;
        }
        let segments = rows.segments.into_iter().map(|row| {
            Some(Segment {
                relative: path_of(row.path.into())?.into(),
                bytes: row.bytes,
                executable: row.executable,
                mtime: row.mtime,
                stamp: row.stamp,
            })
        });
        Self::new(path_of(rows.base.into())?, segments.collect::<Option<_>>()?)
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

const PLACE_VERSION: u32 = 1;

#[derive(Encode, Decode)]
struct PlaceRows {
    #[n(0)]
    version: u32,
    #[n(1)]
    base: ByteVec,
    #[n(2)]
    segments: Vec<SegmentRow>,
}

#[derive(Encode, Decode)]
struct SegmentRow {
    #[n(0)]
    path: ByteVec,
    #[n(1)]
    bytes: u64,
    #[n(2)]
    executable: bool,
    #[n(3)]
    stamp: Option<Stamp>,
    #[n(4)]
    mtime: Option<i64>,
}

/// A path as bytes. On systems whose paths are not bytes: `None` if the path is not Unicode.
#[cfg(unix)]
pub(crate) fn path_bytes(path: &Path) -> Option<Vec<u8>> {
    Some(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec())
}

/// A path as bytes. On systems whose paths are not bytes: `None` if the path is not Unicode.
#[cfg(not(unix))]
pub(crate) fn path_bytes(path: &Path) -> Option<Vec<u8>> {
    Some(path.to_str()?.as_bytes().to_vec())
}

/// The path that [`path_bytes`] wrote.
#[cfg(unix)]
pub(crate) fn path_of(bytes: Vec<u8>) -> Option<PathBuf> {
    let text: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(bytes);
    Some(text.into())
}

/// The path that [`path_bytes`] wrote.
#[cfg(not(unix))]
pub(crate) fn path_of(bytes: Vec<u8>) -> Option<PathBuf> {
    Some(String::from_utf8(bytes).ok()?.into())
}
