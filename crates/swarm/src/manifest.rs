//! The manifest of a folder: the list of its files, whose bytes are concatenated in one blob.
//!
//! The bytes of all files, in the order of their paths, are a separate blob, so that a hundred thousand small
//! files are fetched in granules like one large file and need no proof each. The manifest contains the length
//! of each file, from which its offset follows. The manifest is a blob too, and its name is in the folder's
//! link.
//!
//! **Invariant:** a manifest in memory is canonical: sorted, within the limits, with valid and distinct
//! paths. The same folder always has the same manifest.

use bytes::Bytes;
use minicbor::{Decoder, Encoder};
use potluck_base::BlobId;
use potluck_base::blob::BLOB_BYTES_MAX;

use crate::path::{self, PathError};

/// Most files in a folder.
pub const FILES_MAX: usize = 1_000_000;
/// Most folders of a manifest: those above the files, and the empty ones. Each takes space in memory and on
/// disk. The limit equals that for files.
const FOLDERS_MAX: usize = FILES_MAX;
/// Longest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// The version of the format.
const VERSION: u8 = 2;

/// A file in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManifestFile {
    /// Its path in the folder, with `/` between components.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Its modification time, in seconds since 1970; `None` if it is not included.
    pub mtime: Option<i64>,
}

/// The files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    data: BlobId,
    bytes: u64,
    files: Vec<ManifestFile>,
    /// Folders without files, in order.
    empty_folders: Vec<String>,
}

/// Why bytes are not a valid manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The format is wrong.
    #[error("the list of files is malformed")]
    Malformed,
    /// The version is newer.
    #[error("the list of files is of version {0}, which this version does not know")]
    Version(u8),
    /// Too many files or bytes.
    #[error("a folder has at most {FILES_MAX} files, as many folders and {} TiB", BLOB_BYTES_MAX >> 40)]
    TooLarge,
    /// The paths are not in order.
    #[error("the list of files is not in order at `{0}`")]
    Order(String),
    /// A path that must not be created.
    #[error("the folder has a file `{path}`, which is refused: {reason}")]
    Path {
        /// The path.
        path: String,
        /// The reason.
        reason: PathError,
    },
    /// Two paths that exclude each other.
    #[error("the folder has `{0}` and `{1}`, which cannot both be in it")]
    Collision(String, String),
}

impl Manifest {
    /// A manifest of `files`, whose bytes in the order of their paths are the blob `data`.
    ///
    /// # Errors
    /// [`ManifestError`] if a path or the size of the manifest is refused.
    pub fn new(data: BlobId, files: Vec<ManifestFile>) -> Result<Self, ManifestError> {
        Self::with_folders(data, files, Vec::new())
    }

    /// Like [`new`](Self::new), with folders that have no files.
    ///
    /// # Errors
    /// [`ManifestError`] if a path or the size of the manifest is refused.
    pub fn with_folders(
        data: BlobId,
        mut files: Vec<ManifestFile>,
        mut empty_folders: Vec<String>,
    ) -> Result<Self, ManifestError> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        empty_folders.sort_unstable();
        check(&files, &empty_folders)?;
        let bytes = total(&files)?;
        Ok(Self { data, bytes, files, empty_folders })
    }

    /// The blob with the bytes of all files.
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

    /// The folders without files, in order.
    #[must_use]
    pub fn empty_folders(&self) -> &[String] {
        &self.empty_folders
    }

    /// The range of the file at `path` in the data blob.
    #[must_use]
    pub fn range_of(&self, path: &str) -> Option<std::ops::Range<u64>> {
        let index = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        let begin: u64 = self.files[..index].iter().map(|file| file.bytes).sum();
        Some(begin..begin + self.files[index].bytes)
    }

    /// The encoded manifest.
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
        encoder.array(4)?.u8(VERSION)?.bytes(self.data.as_bytes())?;
        encoder.array(self.files.len() as u64)?;
        for file in &self.files {
            encoder.array(4)?.str(&file.path)?.u64(file.bytes)?.bool(file.executable)?;
            match file.mtime {
                Some(mtime) => encoder.i64(mtime)?,
                None => encoder.null()?,
            };
        }
        encoder.array(self.empty_folders.len() as u64)?;
        for folder in &self.empty_folders {
            encoder.str(folder)?;
        }
        Ok(())
    }

    /// Decodes a manifest.
    ///
    /// # Errors
    /// [`ManifestError`]: no part of the folder may be created.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (data, files, empty_folders) = decode(bytes)?;
        if let Some(pair) = files.windows(2).find(|pair| pair[0].path >= pair[1].path) {
            return Err(ManifestError::Order(pair[1].path.clone()));
        }
        if let Some(pair) = empty_folders.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(ManifestError::Order(pair[1].clone()));
        }
        Self::with_folders(data, files, empty_folders)
    }
}

type Parts = (BlobId, Vec<ManifestFile>, Vec<String>);

fn decode(bytes: &[u8]) -> Result<Parts, ManifestError> {
    let malformed = |_| ManifestError::Malformed;
    let mut decoder = Decoder::new(bytes);
    let expect =
        |found: Option<u64>| (found == Some(4)).then_some(()).ok_or(ManifestError::Malformed);
    let parts = decoder.array().map_err(malformed)?;
    let version = decoder.u8().map_err(malformed)?;
    if version != VERSION {
        return Err(ManifestError::Version(version));
    }
    expect(parts)?;
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
            mtime: decode_mtime(&mut decoder).map_err(malformed)?,
        });
    }
    let count = decoder.array().map_err(malformed)?.ok_or(ManifestError::Malformed)?;
    if count > FILES_MAX as u64 {
        return Err(ManifestError::TooLarge);
    }
    let mut empty_folders = Vec::new();
    for _ in 0..count {
        empty_folders.push(decoder.str().map_err(malformed)?.to_owned());
    }
    if decoder.position() == bytes.len() {
        Ok((BlobId::from_bytes(id), files, empty_folders))
    } else {
        Err(ManifestError::Malformed)
    }
}

fn decode_mtime(decoder: &mut Decoder<'_>) -> Result<Option<i64>, minicbor::decode::Error> {
    if decoder.datatype()? == minicbor::data::Type::Null {
        decoder.null()?;
        return Ok(None);
    }
    decoder.i64().map(Some)
}

/// Checks files and folders. An empty folder is checked like a file: no other path may be equal to it or lie
/// in it.
fn check(files: &[ManifestFile], empty_folders: &[String]) -> Result<(), ManifestError> {
    let paths = || {
        let folders = empty_folders.iter().map(String::as_str);
        files.iter().map(|file| file.path.as_str()).chain(folders)
    };
    let folders = path::folders(files.iter().map(|file| file.path.as_str()))
        + path::folders(empty_folders.iter().map(String::as_str));
    if folders > FOLDERS_MAX || empty_folders.len() > FILES_MAX {
        return Err(ManifestError::TooLarge);
    }
    for path in paths() {
        path::check(path)
            .map_err(|reason| ManifestError::Path { path: path.to_owned(), reason })?;
    }
    path::check_distinct(paths()).map_err(|(one, other)| ManifestError::Collision(one, other))
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
        ManifestFile { path: path.to_owned(), bytes, executable: false, mtime: None }
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
            let empty_folders = Vec::new();
            Manifest { data: BlobId::of(b"x"), bytes, files, empty_folders }.to_bytes()
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
        // Nested folders, far more than files.
        let deep = |index| file(&format!("{index:07}/{}x", "d/".repeat(62)), 0);
        assert_eq!(read((0..20_000).map(deep).collect()), Err(ManifestError::TooLarge));
        assert!(read((0..10_000).map(deep).collect()).is_ok());
        // An array header with a large count allocates nothing.
        let claim = [&[0x84, 0x02, 0x58, 0x20][..], &[0; 32], &[0x9a, 0, 0x0f, 0, 0]].concat();
        assert_eq!(Manifest::from_bytes(&claim), Err(ManifestError::Malformed));
    }

    #[test]
    fn empty_folders_and_times_of_files_are_kept_and_checked() {
        let data = BlobId::of(b"data");
        let dated = ManifestFile { mtime: Some(-5), ..file("a", 1) };
        let with = |folders: &[&str]| {
            let folders = folders.iter().map(|folder| (*folder).to_owned()).collect();
            Manifest::with_folders(data, vec![dated.clone()], folders)
        };
        let manifest = with(&["z", "e/f"]).unwrap();
        assert_eq!(manifest.empty_folders(), ["e/f", "z"]);
        assert_eq!(Manifest::from_bytes(&manifest.to_bytes()), Ok(manifest));
        assert!(matches!(with(&["../x"]), Err(ManifestError::Path { .. })));
        for colliding in ["a", "a/b"] {
            assert!(matches!(with(&[colliding]), Err(ManifestError::Collision(..))), "{colliding}");
        }
    }

    /// Frozen bytes: a change here is a new version of manifests (docs/protocol.md).
    #[test]
    fn the_bytes_of_a_manifest_are_frozen() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let files = vec![file("b", 2), ManifestFile { mtime: Some(256), ..file("a", 1) }];
        let manifest =
            Manifest::with_folders(BlobId::from_bytes([0x11; 32]), files, vec!["c".to_owned()]);
        let expected = format!(
            "84 02 5820{} 82 84 6161 01 f4 190100 84 6162 02 f4 f6 81 6163",
            "11".repeat(32)
        );
        assert_eq!(hex(&manifest.unwrap().to_bytes()), expected.replace(' ', ""));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Manifest::from_bytes(&bytes);
        }
    }
}
