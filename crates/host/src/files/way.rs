//! Where a fetch brings what it fetches.

use std::path::PathBuf;

use potluck_store::blobs::{BlobError, SegmentTarget, create_file, create_folder};
use potluck_swarm::FileLink;

use super::settle::FetchOptions;
use super::{FilesError, export};

/// The folder that a fetch brings something into, which is made if there is none.
#[derive(Debug, Clone)]
pub enum To {
    /// Links on the way to it are followed.
    Typed(PathBuf),
    /// No link is on the way to it, and none that comes there meanwhile is followed.
    Real(PathBuf),
}

/// Where a fetch brings what it fetches.
#[derive(Debug, Clone)]
pub(super) struct Way {
    name: String,
    /// What to do with files that are there already.
    options: FetchOptions,
    /// Where it lies while it is not complete.
    pub(super) aside: PathBuf,
    /// Where it belongs.
    pub(super) there: PathBuf,
}

impl Way {
    pub(super) fn new(link: &FileLink, to: &To, options: FetchOptions) -> Result<Self, FilesError> {
        let to = match to {
            To::Typed(to) => {
                let io = |source| BlobError::Io { path: to.clone(), source };
                std::fs::create_dir_all(to).map_err(io)?;
                to.canonicalize().map_err(io)?
            }
            To::Real(to) => {
                let io = |source| BlobError::Io { path: to.clone(), source };
                create_folder(to).map_err(io)?;
                to.clone()
            }
        };
        let name = link.file_name();
        let mark = &link.id.to_string()[..8];
        let aside = to.join(format!(".{name}.{mark}.potluck"));
        Ok(Self { aside, there: to.join(&name), name, options })
    }

    /// What to do with files that are there already.
    pub(super) const fn options(&self) -> FetchOptions {
        self.options
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where what an interrupted fetch left is kept until its bytes were used.
    pub(super) fn left_over(&self) -> PathBuf {
        let mut path = self.aside.clone().into_os_string();
        path.push("-old");
        path.into()
    }

    /// Whether a folder may be brought there: there is one, or nothing.
    pub(super) fn check_folder(&self) -> Result<(), FilesError> {
        match self.there.symlink_metadata() {
            Ok(seen) if !seen.is_dir() => Err(FilesError::Exists(self.there.clone())),
            _ => Ok(()),
        }
    }

    pub(super) fn check_free(&self) -> Result<(), FilesError> {
        // A dangling link counts as well: nothing is written through it.
        match self.there.symlink_metadata() {
            Ok(_) => Err(FilesError::Exists(self.there.clone())),
            Err(_) => Ok(()),
        }
    }

    /// Makes a folder of empty files.
    pub(super) fn make_empty(&self, files: &[SegmentTarget]) -> Result<(), FilesError> {
        let io = |source| BlobError::Io { path: self.aside.clone(), source };
        if self.aside.symlink_metadata().is_ok() {
            // Left by one that was broken off.
            std::fs::remove_dir_all(&self.aside).map_err(io)?;
        }
        create_folder(&self.aside).map_err(io)?;
        for file in files {
            let made = create_file(&file.path).map_err(io)?;
            if file.executable {
                export::make_executable(&made).map_err(io)?;
            }
        }
        Ok(std::fs::rename(&self.aside, &self.there).map_err(io)?)
    }
}
