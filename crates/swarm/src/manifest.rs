//! The manifest of a folder: its files, laid end to end in one blob.
//!
//! The bytes of all files, in the order of their paths, are one blob of their own, so that a
//! hundred thousand small files travel in granules like one large file and need no proof each. The
//! manifest says where each file begins by saying how long each is. It is a blob itself, and its
//! name is what a folder's link carries.
//!
//! **Invariant:** a manifest in memory is canonical: sorted, within the limits, its paths harmless
//! and distinct. The same folder always has the same manifest.

use bytes::Bytes;
use minicbor::{Decoder, Encoder};
use potluck_base::BlobId;
use potluck_base::blob::BLOB_BYTES_MAX;

use crate::path::{self, PathError};

/// Most files in a folder.
pub const FILES_MAX: usize = 1_000_000;
/// Longest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// The format.
const VERSION: u8 = 1;

/// A file in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManifestFile {
    /// Its path inside, with `/` between components.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// The files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    data: BlobId,
    bytes: u64,
    files: Vec<ManifestFile>,
}

/// Why something is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not the format.
    #[error("the list of files is malformed")]
    Malformed,
    /// A later format.
    #[error("the list of files is of version {0}, which this version does not know")]
    Version(u8),
    /// Too many files or bytes.
    #[error("a folder has at most {FILES_MAX} files and {} TiB", BLOB_BYTES_MAX >> 40)]
    TooLarge,
    /// Not in order.
    #[error("the list of files is not in order at `{0}`")]
    Order(String),
    /// A path that must not be created.
    #[error("the folder has a file `{path}`, which is refused: {reason}")]
    Path {
        /// The path.
        path: String,
        /// Why.
        reason: PathError,
    },
    /// Two paths that could meet.
    #[error("the folder has `{0}` and `{1}`, which are one file on some systems")]
    Collision(String, String),
}

impl Manifest {
    /// A manifest of `files`, whose bytes in the order of their paths are the blob `data`.
    ///
    /// # Errors
    /// [`ManifestError`] if a path or the size of it is refused.
    pub fn new(data: BlobId, mut files: Vec<ManifestFile>) -> Result<Self, ManifestError> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        check(&files)?;
        let bytes = total(&files)?;
        Ok(Self { data, bytes, files })
    }

    /// The blob of all files end to end.
    #[must_use]
    pub const fn data(&self) -> BlobId {
        self.data
    }

    /// Bytes of all files.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The files, in the order of their paths.
    #[must_use]
    pub fn files(&self) -> &[ManifestFile] {
        &self.files
    }

    /// Where the bytes of the file at `path` lie in the data blob.
    #[must_use]
    pub fn range_of(&self, path: &str) -> Option<std::ops::Range<u64>> {
        let index = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        let begin: u64 = self.files[..index].iter().map(|file| file.bytes).sum();
        Some(begin..begin + self.files[index].bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(64 + self.files.len() * 40);
        let mut encoder = Encoder::new(&mut out);
        self.encode(&mut encoder).expect("writing to memory cannot fail");
        out.into()
    }

    fn encode(
        &self,
        encoder: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        encoder.array(3)?.u8(VERSION)?.bytes(self.data.as_bytes())?;
        encoder.array(self.files.len() as u64)?;
        for file in &self.files {
            encoder.array(3)?.str(&file.path)?.u64(file.bytes)?.bool(file.executable)?;
        }
        Ok(())
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`]: nothing of the folder may be created.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (data, files) = decode(bytes)?;
        if let Some(pair) = files.windows(2).find(|pair| pair[0].path >= pair[1].path) {
            return Err(ManifestError::Order(pair[1].path.clone()));
        }
        Self::new(data, files)
    }
}

fn decode(bytes: &[u8]) -> Result<(BlobId, Vec<ManifestFile>), ManifestError> {
    let malformed = |_| ManifestError::Malformed;
    let mut decoder = Decoder::new(bytes);
    let expect =
        |found: Option<u64>| (found == Some(3)).then_some(()).ok_or(ManifestError::Malformed);
    expect(decoder.array().map_err(malformed)?)?;
    let version = decoder.u8().map_err(malformed)?;
    if version != VERSION {
        return Err(ManifestError::Version(version));
    }
    let id =
        decoder.bytes().map_err(malformed)?.try_into().map_err(|_| ManifestError::Malformed)?;
    let count = decoder.array().map_err(malformed)?.ok_or(ManifestError::Malformed)?;
    if count > FILES_MAX as u64 {
        return Err(ManifestError::TooLarge);
    }
    let mut files = Vec::new();
    for _ in 0..count {
        expect(decoder.array().map_err(malformed)?)?;
        files.push(ManifestFile {
            path: decoder.str().map_err(malformed)?.to_owned(),
            bytes: decoder.u64().map_err(malformed)?,
            executable: decoder.bool().map_err(malformed)?,
        });
    }
    if decoder.position() == bytes.len() {
        Ok((BlobId::from_bytes(id), files))
    } else {
        Err(ManifestError::Malformed)
    }
}

fn check(files: &[ManifestFile]) -> Result<(), ManifestError> {
    for file in files {
        path::check(&file.path)
            .map_err(|reason| ManifestError::Path { path: file.path.clone(), reason })?;
    }
    path::check_distinct(files.iter().map(|file| file.path.as_str()))
        .map_err(|(one, other)| ManifestError::Collision(one, other))
}

fn total(files: &[ManifestFile]) -> Result<u64, ManifestError> {
    let sum = files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.bytes));
    match sum {
        Some(sum) if sum <= BLOB_BYTES_MAX && files.len() <= FILES_MAX => Ok(sum),
        _ => Err(ManifestError::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(path: &str, bytes: u64) -> ManifestFile {
        ManifestFile { path: path.to_owned(), bytes, executable: false }
    }

    #[test]
    fn a_folder_has_one_manifest_whatever_the_order_of_its_files() {
        let data = BlobId::of(b"data");
        let one = Manifest::new(data, vec![file("b", 2), file("a/x", 1), file("a", 0)]);
        assert!(matches!(one, Err(ManifestError::Collision(..))));
        let one = Manifest::new(data, vec![file("b", 2), file("a/x", 1)]).unwrap();
        let other = Manifest::new(data, vec![file("a/x", 1), file("b", 2)]).unwrap();
        assert_eq!(one.to_bytes(), other.to_bytes());
        assert_eq!(one.range_of("b"), Some(1..3));
        assert_eq!(one.range_of("c"), None);
        assert_eq!(Manifest::from_bytes(&one.to_bytes()), Ok(one));
    }

    #[test]
    fn a_hostile_manifest_is_refused_whole() {
        let raw = |files: Vec<ManifestFile>| {
            let bytes = files.iter().map(|file| file.bytes).fold(0, u64::wrapping_add);
            Manifest { data: BlobId::of(b"x"), bytes, files }.to_bytes()
        };
        let read = |files| Manifest::from_bytes(&raw(files));
        assert!(matches!(read(vec![file("../x", 1)]), Err(ManifestError::Path { .. })));
        assert!(matches!(read(vec![file("b", 1), file("a", 1)]), Err(ManifestError::Order(_))));
        assert!(matches!(read(vec![file("a", 1), file("a", 1)]), Err(ManifestError::Order(_))));
        assert_eq!(read(vec![file("a", u64::MAX), file("b", 2)]), Err(ManifestError::TooLarge));
        let mut longer = raw(vec![file("a", 1)]).to_vec();
        longer.push(0);
        assert_eq!(Manifest::from_bytes(&longer), Err(ManifestError::Malformed));
        assert_eq!(Manifest::from_bytes(&[0x83, 0x09]), Err(ManifestError::Version(9)));
        // An array that claims more than there is costs nothing.
        let claim = [&[0x83, 0x01, 0x58, 0x20][..], &[0; 32], &[0x9a, 0, 0x0f, 0, 0]].concat();
        assert_eq!(Manifest::from_bytes(&claim), Err(ManifestError::Malformed));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Manifest::from_bytes(&bytes);
        }
    }
}
