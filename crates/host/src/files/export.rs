//! Creates the files of a fetch at a destination that does not exist: by a rename if they were fetched for
//! it, by a copy if the blob is stored elsewhere on this node.

use std::path::{Path, PathBuf};

use potluck_base::BlobId;
use potluck_store::blobs::{Blob, BlobError, BlobPlace, SegmentTarget, create_file, mark};
use potluck_swarm::{FetchError, FetchReport, LinkKind};

use super::active::{Done, is_executable};
use super::copy::{copy, copy_all, remove_all};
use super::destination::{Destination, Folder, aside_of};
use super::settle::Settled;
use super::{Files, FilesError, stored_name};
use crate::folder::sync_folder;

/// The result of a fetch of a folder of which a part cannot be had.
pub(super) struct Saved {
    pub(super) done: Done,
    /// Missing files, each with the reason.
    pub(super) failed: Vec<(String, String)>,
    /// What became of files that existed at the destination.
    pub(super) settled: Settled,
}

impl Files {
    /// Moves or copies a file to its destination.
    pub(super) fn put_file_in_place(
        &self,
        blob: &Blob,
        destination: &Destination,
    ) -> Result<(), FilesError> {
        let target = self.file_target(blob, Path::new(""))?;
        let targets = |base: &Path| vec![SegmentTarget { path: base.to_owned(), ..target.clone() }];
        let name = stored_name::stored_name(LinkKind::File, &destination.name);
        self.put_in_place(blob, destination, &name, targets, |_| Ok(()))?;
        Ok(self.store()?.set_shared(&blob.id(), true, None)?)
    }

    /// The file of a blob at `path`.
    fn file_target(&self, blob: &Blob, path: &Path) -> Result<SegmentTarget, FilesError> {
        let view = self.view(&blob.id()).ok_or(FilesError::Unknown)?;
        let (executable, mtime) = (view.mode.is_some_and(is_executable), view.mtime);
        let (path, bytes) = (path.to_owned(), blob.division().size());
        Ok(SegmentTarget { path, bytes, executable, mtime })
    }

    /// The files of a blob below `base`, or the single file at `base`.
    pub(super) fn targets(
        &self,
        blob: &Blob,
        folder: Option<&Folder>,
        base: &Path,
    ) -> Result<Vec<SegmentTarget>, FilesError> {
        match folder {
            None => Ok(vec![self.file_target(blob, base)?]),
            Some(folder) => Ok(folder.plan.targets(base, &folder.manifest)),
        }
    }

    /// Notes that all of a blob lies where it was fetched to, and offers it.
    pub(super) fn offer(&self, blob: BlobId, folder: Option<&Folder>) -> Result<(), FilesError> {
        let store = self.store()?;
        store.set_shared(&blob, true, None)?;
        if let Some(folder) = folder {
            store.set_owner(&blob, &folder.id)?;
            store.set_shared(&folder.id, true, None)?;
        }
        Ok(())
    }

    /// Moves or copies the files of a folder to where they belong.
    pub(super) fn put_folder_in_place(
        &self,
        blob: &Blob,
        destination: &Destination,
        folder: &Folder,
    ) -> Result<(), FilesError> {
        let Folder { manifest, plan, .. } = folder;
        let targets = |base: &Path| plan.targets(base, manifest);
        let folders = |base: &Path| plan.make_folders(base, manifest);
        self.put_in_place(blob, destination, stored_name::DATA_NAME, targets, folders)?;
        self.offer(blob.id(), Some(folder))
    }

    /// Moves or copies a complete blob to where it belongs.
    fn put_in_place(
        &self,
        blob: &Blob,
        destination: &Destination,
        name: &str,
        targets: impl Fn(&Path) -> Vec<SegmentTarget>,
        finish: impl Fn(&Path) -> Result<(), FilesError>,
    ) -> Result<(), FilesError> {
        let store = self.store()?;
        let aside = self.aside(&blob.id())?;
        if aside.as_deref() == Some(&destination.aside) {
            finish(&destination.aside)?;
            blob.move_to(&destination.aside, &destination.there)?;
            return Ok(store.set_shared(&blob.id(), true, Some(name))?);
        }
        let io = |source| BlobError::Io { path: destination.aside.clone(), source };
        copy_all(blob, &destination.aside, &targets(&destination.aside))?;
        finish(&destination.aside)?;
        std::fs::rename(&destination.aside, &destination.there).map_err(io)?;
        destination.there.parent().map_or(Ok(()), sync_folder).map_err(io)?;
        store.add_written(&blob.id(), &targets(&destination.there), name)?;
        let left = aside.filter(|aside| !self.inner.asides.lock().contains_key(aside));
        left.map_or(Ok(()), |left| self.let_go(blob, &left))
    }

    /// The incomplete path of a blob that was not put at its destination.
    pub(super) fn aside(&self, id: &BlobId) -> Result<Option<PathBuf>, FilesError> {
        Ok(match self.view(id).ok_or(FilesError::Unknown)?.place {
            BlobPlace::Outside { path, .. } => aside_of(&path).map(Path::to_owned),
            BlobPlace::Inside => None,
        })
    }

    /// The fetch of a blob has ended, and its incomplete file must not stay under such a name.
    pub(super) fn let_go(&self, blob: &Blob, left: &Path) -> Result<(), FilesError> {
        let store = self.store()?;
        let io = |source| BlobError::Io { path: left.to_owned(), source };
        match store.forget_places(&blob.id(), &|place| below(place.path.as_ref(), left)) {
            Ok(true) => Ok(remove_all(left).map_err(io)?),
            // It was put at its destination in the meantime.
            Ok(false) | Err(BlobError::Unknown) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a folder of empty files.
    pub(super) fn make_empty(
        &self,
        destination: &Destination,
        folder: &Folder,
    ) -> Result<(), FilesError> {
        let io = |source| BlobError::Io { path: destination.aside.clone(), source };
        // An interrupted fetch may have left it.
        remove_all(&destination.aside).map_err(io)?;
        potluck_store::blobs::create_folder(&destination.aside).map_err(io)?;
        for file in folder.plan.targets(&destination.aside, &folder.manifest) {
            let made = create_file(&file.path).map_err(io)?;
            mark(&made, file.executable, file.mtime).map_err(io)?;
        }
        folder.plan.make_folders(&destination.aside, &folder.manifest)?;
        std::fs::rename(&destination.aside, &destination.there).map_err(io)?;
        Ok(self.store()?.set_shared(&folder.id, true, None)?)
    }

    /// Puts the complete files of a folder at the destination, when the rest cannot be had.
    pub(super) fn save_whole_files(
        &self,
        destination: &Destination,
        folder: &Folder,
        error: FetchError,
    ) -> Result<Saved, FilesError> {
        let Folder { manifest, plan, .. } = folder;
        let lost = || FilesError::Fetch(error);
        let store = self.store()?;
        let data = manifest.data();
        let blob = store.get(&data)?.ok_or_else(lost)?;
        let have = blob.have();
        let (mut begin, mut bytes, mut failed, mut whole) = (0, 0, Vec::new(), Vec::new());
        for file in manifest.files() {
            let range = begin..begin + file.bytes;
            begin = range.end;
            let granules = blob.division().covering(&range);
            if range.is_empty() || granules.into_iter().all(|granule| have.contains(granule)) {
                bytes += file.bytes;
                whole.push((file, range));
            } else {
                failed.push((file.path.clone(), format!("it did not arrive: {error}")));
            }
        }
        if bytes == 0 {
            return Err(lost());
        }
        // Beside the incomplete files, which belong to the store.
        let saved = destination.saved();
        let io = |source| BlobError::Io { path: saved.clone(), source };
        remove_all(&saved).map_err(io)?;
        for (file, range) in &whole {
            let written = copy(&blob, range.clone(), &plan.place(&saved, &file.path))?;
            mark(&written, file.executable, file.mtime).map_err(io)?;
            written.sync_data().map_err(io)?;
        }
        plan.make_folders(&saved, manifest)?;
        let below = whole.iter().map(|(file, _)| plan.place(Path::new(""), &file.path)).collect();
        let settled = self.settle_saved(&saved, destination, below)?;
        drop(blob);
        // The rest cannot be fetched, and a later fetch starts again. The blob stays while it is read.
        if store.remove(&data).is_ok() {
            remove_all(&destination.aside).map_err(io)?;
        }
        let report = FetchReport::default();
        let done = Done { blob: None, bytes, report, resumed: 0, reused: 0, hint: None };
        Ok(Saved { done, failed, settled })
    }
}

fn below(path: Option<&PathBuf>, folder: &Path) -> bool {
    path.is_some_and(|path| path.starts_with(folder))
}
