//! Checks the blobs of a data folder completely without changing it: the metadata of each blob, and its bytes
//! against the hash tree whose root is the blob's id.

use std::path::Path;
use std::sync::Arc;

use super::entry::{BlobPlace, BlobState, BlobView};
use super::index::Index;
use super::read::READ_BYTES_MAX;
use super::store::{BLOBS, BlobLimits, BlobStore};
use super::{BlobError, ReadError};
use crate::FolderLock;
use crate::config::SyncMode;
use crate::shadow::Shadow;
use crate::verify::{Findings, Progress, Wrong};

/// The index of the blobs inside their folder.
const INDEX: &str = "index";
/// Blobs that are read from the index at a time.
const PAGE: usize = 256;

/// The result of the check: what was read, and the findings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifiedBlobs {
    /// Complete blobs whose bytes were read.
    pub blobs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Partial blobs. Their granules are not read: each was verified when it arrived and is verified again
    /// when it is read.
    pub partial: u64,
    /// Blobs whose files outside the data folder have changed or are gone.
    pub changed: u64,
    /// The faults that were found.
    pub findings: Findings,
}

/// Checks all blobs of a data folder; without `data`, only their metadata.
///
/// # Errors
/// [`BlobError`] if the folder is in use or cannot be read. A damaged index is a finding.
pub fn verify_blobs(
    data_folder: &Path,
    data: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<VerifiedBlobs, BlobError> {
    let mut verified = VerifiedBlobs::default();
    let folder = data_folder.join(BLOBS);
    let Some(_lock) = FolderLock::acquire_to_read(&folder)? else { return Ok(verified) };
    let index = folder.join(INDEX);
    if !index.is_dir() {
        return Ok(verified);
    }
    let shadow = Shadow::new().map_err(BlobError::at(&folder))?;
    shadow.engine(&index, INDEX).map_err(BlobError::at(&index))?;
    let lock = Arc::new(FolderLock::acquire(shadow.path())?);
    let index = match Index::open(shadow.path(), SyncMode::Buffered, lock) {
        Ok(index) => Arc::new(index),
        Err(error) => {
            verified.findings.add(Wrong::Blob, || error.to_string());
            return Ok(verified);
        }
    };
    let total = index.counts().whole_bytes;
    let limits = BlobLimits { cache_bytes: u64::MAX, blobs_max: usize::MAX };
    let store = BlobStore::over(folder, index, limits)?;
    let mut after = None;
    loop {
        let views = match store.page(after.as_ref(), PAGE) {
            Ok(views) => views,
            Err(error) => {
                verified.findings.add(Wrong::Blob, || error.to_string());
                break;
            }
        };
        let Some(last) = views.last() else { break };
        after = Some(last.id);
        for view in &views {
            verify_one(&store, view, data, &mut verified)?;
            let done = verified.bytes;
            progress(Progress { done, total: total.max(done) });
        }
    }
    for _ in 0..store.damaged() {
        verified.findings.add(Wrong::Blob, || "what is noted about a blob".to_owned());
    }
    Ok(verified)
}

fn verify_one(
    store: &BlobStore,
    view: &BlobView,
    data: bool,
    verified: &mut VerifiedBlobs,
) -> Result<(), BlobError> {
    match view.state {
        BlobState::Partial { .. } => verified.partial += 1,
        BlobState::Changed => verified.changed += 1,
        BlobState::Complete if !data => verified.blobs += 1,
        BlobState::Complete => {
            let read = read_all(store, view, &mut verified.bytes);
            match (read, &view.place) {
                (Ok(()), _) => verified.blobs += 1,
                // Users may change files of their own at any time, so this is no finding.
                (Err(ReadError::Changed | ReadError::Missing), BlobPlace::Outside { .. }) => {
                    verified.changed += 1;
                }
                (Err(error), _) => {
                    let (id, name) = (view.id, &view.name);
                    verified.findings.add(Wrong::Blob, || format!("{id} {name}: {error}"));
                }
            }
        }
    }
    Ok(())
}

fn read_all(store: &BlobStore, view: &BlobView, bytes: &mut u64) -> Result<(), ReadError> {
    let failed = |error: BlobError| ReadError::Io(std::io::Error::other(error));
    let blob = store.look(&view.id).map_err(failed)?.ok_or(ReadError::Missing)?;
    let mut at = 0;
    while at < view.size {
        let read = blob.read(at..(at + READ_BYTES_MAX).min(view.size))?;
        if read.is_empty() {
            return Err(ReadError::Missing);
        }
        at += read.len() as u64;
        *bytes += read.len() as u64;
    }
    Ok(())
}
