//! Checks the data folder of a stopped node from end to end, without changing it.

use std::path::{Path, PathBuf};

use potluck_store::blobs::{BlobError, VerifiedBlobs, verify_blobs};
use potluck_store::{
    OpenError, Progress, VerifiedRecords, VerifyOptions as RecordOptions, verify_records,
};

use crate::StartError;
use crate::folder::DataFolder;

/// Which part of a folder is read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyPart {
    /// The records.
    Records,
    /// The files.
    Files,
}

/// What a data folder holds, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedFolder {
    /// The network that it belongs to; `None` if its node never joined one.
    pub network: Option<String>,
    /// Its records.
    pub records: VerifiedRecords,
    /// Its files.
    pub blobs: VerifiedBlobs,
}

impl VerifiedFolder {
    /// How many findings there are.
    #[must_use]
    pub const fn findings(&self) -> u64 {
        self.records.findings.count() + self.blobs.findings.count()
    }
}

/// Why a folder was not checked. Nothing in it changed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is nothing at this path.
    #[error("there is no folder {}", .0.display())]
    Missing(PathBuf),
    /// No node ran on it.
    #[error("{} is not the data folder of a node: it has no file `layout`", .0.display())]
    NotOurs(PathBuf),
    /// A node has the folder.
    #[error("a node is running on {}", .0.display())]
    Running(PathBuf),
    /// Its small files cannot be used.
    #[error(transparent)]
    Folder(StartError),
    /// Its records cannot be opened.
    #[error(transparent)]
    Records(OpenError),
    /// Its files cannot be read.
    #[error(transparent)]
    Files(BlobError),
}

/// Checks a data folder. `quick` leaves out signatures and the bytes of files.
///
/// # Errors
/// [`VerifyError`] says why it was not checked. What is damaged is no error but a finding, except for
/// records that do not open at all.
pub fn verify_folder(
    path: &Path,
    quick: bool,
    progress: &mut dyn FnMut(VerifyPart, Progress),
) -> Result<VerifiedFolder, VerifyError> {
    if !path.is_dir() {
        return Err(VerifyError::Missing(path.to_owned()));
    }
    let taken = DataFolder::look(path).map_err(|error| refused(path, error))?;
    let (folder, lock) = taken.ok_or_else(|| VerifyError::NotOurs(path.to_owned()))?;
    let network = folder.network().map_err(VerifyError::Folder)?;
    let (records, _lock) = match &network {
        // It has no records before it has a network.
        None => (VerifiedRecords::default(), lock),
        Some(network) => {
            let mut options = RecordOptions {
                network: network.id,
                signatures: !quick,
                progress: &mut |at| progress(VerifyPart::Records, at),
            };
            verify_records(lock, &mut options).map_err(VerifyError::Records)?
        }
    };
    let mut files = |at| progress(VerifyPart::Files, at);
    let blobs = verify_blobs(folder.path(), !quick, &mut files).map_err(VerifyError::Files)?;
    Ok(VerifiedFolder { network: network.map(|network| network.name), records, blobs })
}

fn refused(path: &Path, error: StartError) -> VerifyError {
    match error {
        StartError::Store(OpenError::Locked { .. }) => VerifyError::Running(path.to_owned()),
        error => VerifyError::Folder(error),
    }
}
