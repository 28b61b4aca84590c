//! The metadata of a blob.

use std::path::{Path, PathBuf};

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use potluck_base::BlobId;

use super::place::{path_bytes, path_of};

const VERSION: u32 = 2;
/// Most bytes of encoded metadata. Names and paths are far shorter.
pub(crate) const META_BYTES_MAX: u64 = 64 * 1024;
/// Most bytes of a name. A longer name is cut.
const NAME_BYTES_MAX: usize = 1024;

/// The state of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Phase {
    #[n(0)]
    Partial,
    #[n(1)]
    Complete,
    #[n(2)]
    Changed,
}

/// A move of a file or folder that may be in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
}

/// A further place of a blob: files with the same bytes, or another name of the bytes inside the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherPlace {
    /// The name of the blob at this place.
    pub(crate) name: String,
    /// The one file elsewhere or the folder above all files, the number of files, and the number under which
    /// the files are recorded. `None` if the bytes are inside the store.
    pub(crate) outside: Option<(PathBuf, u32, u32)>,
}

/// The metadata of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) id: BlobId,
    pub(crate) size: u64,
    pub(crate) name: String,
    pub(crate) phase: Phase,
    pub(crate) pinned: bool,
    pub(crate) shared: bool,
    /// The one file elsewhere or the folder above all files, and the number of files. `None` if the bytes are
    /// inside the store.
    pub(crate) outside: Option<(PathBuf, u32)>,
    /// A move that was begun and may not have ended.
    pub(crate) moving: Option<Move>,
    /// The modification time of a blob that is one file, in seconds since 1970.
    pub(crate) mtime: Option<i64>,
    /// The Unix permissions of a blob that is one file.
    pub(crate) mode: Option<u32>,
    /// Further places. Each is an own row.
    pub(crate) others: Vec<OtherPlace>,
}

impl Meta {
    /// The name that is displayed: the first name of all places that is not empty. The data of a folder has
    /// none.
    pub(crate) fn shown_name(&self) -> &str {
        let others = self.others.iter().map(|place| &place.name);
        let mut names = std::iter::once(&self.name).chain(others);
        names.find(|name| !name.is_empty()).unwrap_or(&self.name)
    }

    pub(crate) fn set_name(&mut self, name: &str) {
        self.name = name[..name.floor_char_boundary(NAME_BYTES_MAX)].to_owned();
    }

    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let bytes = |path: &Path| path_bytes(path).map(ByteVec::from);
        let outside = match &self.outside {
            Some((path, segments)) => Some(OutsideRow { path: bytes(path)?, segments: *segments }),
            None => None,
        };
        let moving = match &self.moving {
            Some(Move { from, to }) => Some(MoveRow { from: bytes(from)?, to: bytes(to)? }),
            None => None,
        };
        let row = MetaRow {
            version: VERSION,
            id: (*self.id.as_bytes()).into(),
            size: self.size,
            name: self.name.clone(),
            phase: self.phase,
            pinned: self.pinned,
            shared: self.shared,
            outside,
            moving,
            mtime: self.mtime,
            mode: self.mode,
            others: self.others.iter().map(OtherRow::of).collect::<Option<_>>()?,
        };
        let bytes = minicbor::to_vec(row).ok()?;
        (bytes.len() as u64 <= META_BYTES_MAX).then_some(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let row: MetaRow = minicbor::decode(bytes).ok()?;
        if row.version != VERSION {
            return None;
        }
        let outside = match row.outside {
            Some(outside) => Some((path_of(outside.path.into())?, outside.segments)),
            None => None,
        };
        let moving = match row.moving {
            Some(MoveRow { from, to }) => {
                Some(Move { from: path_of(from.into())?, to: path_of(to.into())? })
            }
            None => None,
        };
        Some(Self {
            id: BlobId::from_bytes(row.id.into()),
            size: row.size,
            name: row.name,
            phase: row.phase,
            pinned: row.pinned,
            shared: row.shared,
            outside,
            moving,
            mtime: row.mtime,
            mode: row.mode,
            others: row.others.into_iter().map(OtherRow::read).collect::<Option<_>>()?,
        })
    }
}

#[derive(Encode, Decode)]
struct MetaRow {
    #[n(0)]
    version: u32,
    #[n(1)]
    id: ByteArray<32>,
    #[n(2)]
    size: u64,
    #[n(3)]
    name: String,
    #[n(4)]
    phase: Phase,
    #[n(5)]
    pinned: bool,
    #[n(6)]
    shared: bool,
    #[n(7)]
    outside: Option<OutsideRow>,
    #[n(8)]
    moving: Option<MoveRow>,
    #[n(9)]
    mtime: Option<i64>,
    #[n(10)]
    mode: Option<u32>,
    #[n(11)]
    #[cbor(default)]
    others: Vec<OtherRow>,
}

#[derive(Encode, Decode)]
struct OtherRow {
    #[n(0)]
    name: String,
    #[n(1)]
    outside: Option<OutsideRow>,
    #[n(2)]
    number: u32,
}

impl OtherRow {
    fn of(place: &OtherPlace) -> Option<Self> {
        let (outside, number) = match &place.outside {
            Some((path, segments, number)) => {
                let path = path_bytes(path)?.into();
                (Some(OutsideRow { path, segments: *segments }), *number)
            }
            None => (None, 0),
        };
        Some(Self { name: place.name.clone(), outside, number })
    }

    fn read(self) -> Option<OtherPlace> {
        let outside = match self.outside {
            Some(row) => Some((path_of(row.path.into())?, row.segments, self.number)),
            None => None,
        };
        Some(OtherPlace { name: self.name, outside })
    }
}

#[derive(Encode, Decode)]
struct OutsideRow {
    #[n(0)]
    path: ByteVec,
    #[n(1)]
    segments: u32,
}

#[derive(Encode, Decode)]
struct MoveRow {
    #[n(0)]
    from: ByteVec,
    #[n(1)]
    to: ByteVec,
}
