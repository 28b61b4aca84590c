//! Moving a fetched blob to its final path, where other files may be.
//!
//! An existing file is replaced only if the fetch was told to overwrite, or if the fetch is an update, an
//! earlier fetch wrote the file, and it was not changed since. A file that already has the wanted bytes
//! stays. All other files belong to the user: they are left as they are, and reported.
//!
//! **Invariant:** after any interruption each file is either the old one or the new one; no link is
//! followed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck_base::BlobId;
use potluck_store::blobs::{Blob, BlobError, BlobPlace, BlobState, Opened, ReadError, Remembered};
use potluck_swarm::{Input, LinkKind};

use super::copy::copy_all;
use super::destination::{Below, Destination, Folder, below_of, paths_at};
use super::merge::{Merge, add_folders, not_part, remove};
use super::old::OldPlaces;
use super::{Files, FilesError, PAGE, blocking, stored_name};

/// Other destinations that are searched for usable bytes.
const BESIDE_MAX: usize = 4;
/// Blobs that are checked for having been at the destination. Raising it lengthens the end of a fetch on
/// nodes with more blobs.
const VERSIONS_LOOKED_MAX: usize = 100_000;
/// Bytes of a file that are read before the next pause.
const PIECE: usize = 1024 * 1024;

/// What became of files that existed at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Settled {
    /// Files that differ from the fetched ones and were left as they are.
    pub(super) left: Vec<String>,
    /// Files that are not part of the fetched folder.
    pub(super) kept: Vec<String>,
    /// Whether the destination existed.
    pub(super) among: bool,
    /// Whether an earlier fetch had written to the destination.
    pub(super) fetched: bool,
    /// Whether the blob is incomplete there and not stored elsewhere, so that it cannot be served.
    pub(super) given_up: bool,
}

impl Files {
    /// The local places to search for bytes of a blob.
    pub(super) async fn old_places(
        &self,
        id: BlobId,
        destination: &Destination,
        paths: Below,
    ) -> Result<OldPlaces, FilesError> {
        let (files, destination) = (self.clone(), destination.clone());
        blocking(move || {
            files.rescue(&id, &destination)?;
            let beside = files.store()?.remembered_beside(&destination.there, BESIDE_MAX);
            let roots = [destination.there.clone(), destination.left_over()]
                .into_iter()
                .chain(beside)
                .collect();
            Ok(OldPlaces { roots, paths, name: destination.name.clone() })
        })
        .await
    }

    /// Renames the remains of an interrupted fetch, if the store does not know the blob any more. Its bytes
    /// can be used again.
    fn rescue(&self, id: &BlobId, destination: &Destination) -> Result<(), FilesError> {
        if destination.aside.symlink_metadata().is_err() {
            return Ok(());
        }
        // Another fetch writes to the same path.
        let fetched =
            self.inner.asides.lock().get(&destination.aside).is_some_and(|count| *count > 1);
        let known = self.view(id).is_some_and(|view| view.state != BlobState::Changed)
            && self.store()?.places(id).iter().any(|place| {
                place.path.as_ref().is_some_and(|path| path.starts_with(&destination.aside))
            });
        if fetched || known {
            return Ok(());
        }
        remove(&destination.left_over())?;
        let io = |source| BlobError::Io { path: destination.aside.clone(), source };
        Ok(std::fs::rename(&destination.aside, destination.left_over()).map_err(io)?)
    }

    /// Checks that a file may be put at its final path: nothing is there, or a file that may be replaced or
    /// has the same bytes.
    pub(super) async fn check_file(
        &self,
        id: BlobId,
        destination: &Destination,
    ) -> Result<(), FilesError> {
        let Ok(seen) = destination.there.symlink_metadata() else { return Ok(()) };
        let remembered = {
            let (files, there) = (self.clone(), destination.there.clone());
            blocking(move || Ok(files.store()?.remembered(&there))).await?
        };
        let untouched = || remembered.is_untouched(Path::new(""), &seen);
        let may = destination.options().force || (destination.options().update && untouched());
        if seen.is_file() && (may || self.has_bytes_of(id, &destination.there).await?) {
            return Ok(());
        }
        Err(FilesError::Exists(destination.there.clone()))
    }

    /// Puts a complete blob at its final path, where other files may be. Blocks.
    pub(super) fn settle(
        &self,
        blob: &Blob,
        destination: &Destination,
        folder: Option<&Folder>,
    ) -> Result<Settled, FilesError> {
        let below = below_of(folder);
        let store = self.store()?;
        let mut remembered = store.remembered(&destination.there);
        let fetched = remembered.files().next().is_some();
        let mut settled = Settled { fetched, ..Settled::default() };
        if destination.there.symlink_metadata().is_err() {
            match folder {
                None => self.put_file_in_place(blob, destination)?,
                Some(folder) => self.put_folder_in_place(blob, destination, folder)?,
            }
            remembered.put(below);
        } else if store.lies_at(&blob.id(), &paths_at(&destination.there, &below))? {
            // Another fetch put it there in the meantime.
            self.offer(blob.id(), folder)?;
            remembered.put(below);
            self.let_go_of_aside(blob, destination, self.aside(&blob.id())?)?;
        } else {
            self.settle_among(blob, destination, folder, &mut remembered, &mut settled)?;
        }
        store.remember(&remembered)?;
        remove(&destination.left_over())?;
        Ok(settled)
    }

    /// Moves a complete blob to a destination that exists.
    fn settle_among(
        &self,
        blob: &Blob,
        destination: &Destination,
        folder: Option<&Folder>,
        remembered: &mut Remembered,
        settled: &mut Settled,
    ) -> Result<(), FilesError> {
        let _one = self.inner.settling.lock();
        let (store, id, below) = (self.store()?, blob.id(), below_of(folder));
        let aside = self.aside(&id)?;
        // Whether other fetches use the incomplete file.
        let waits =
            self.inner.asides.lock().get(&destination.aside).is_some_and(|count| *count > 1);
        let ours =
            aside.as_ref() == Some(&destination.aside) && !waits && store.places(&id).len() == 1;
        let from = if ours { destination.aside.clone() } else { destination.copied() };
        if !ours {
            copy_all(blob, &from, &self.targets(blob, folder, &from)?)?;
        }
        settled.among = true;
        let merge = Merge { base: &from, destination, below: &below, remembered };
        let (mut placed, mut merged) = (Vec::new(), Ok(()));
        let mut work = || {
            merged = merge.run(&mut placed, &mut settled.left);
            Ok(merged.is_ok() && settled.left.is_empty())
        };
        if ours {
            blob.merge_to(&from, &destination.there, work)?;
        } else {
            drop(work());
        }
        // Also after an error: these files came from this fetch.
        remembered.put(placed);
        if merged.is_err() {
            store.remember(remembered)?;
            merged?;
        }
        remove(&from)?;
        let whole = settled.left.is_empty();
        if let Some(folder) = folder {
            add_folders(folder, destination, &mut settled.left);
        }
        settled.kept = not_part(&destination.there, &below);
        if whole {
            let name = folder.map_or_else(
                || stored_name::stored_name(LinkKind::File, &destination.name),
                |_| stored_name::DATA_NAME.to_owned(),
            );
            if ours {
                store.set_shared(&id, true, Some(&name))?;
            } else {
                store.add_written(&id, &self.targets(blob, folder, &destination.there)?, &name)?;
            }
            self.offer(id, folder)?;
        }
        settled.given_up = ours && !whole;
        if ours { Ok(()) } else { self.let_go_of_aside(blob, destination, aside) }
    }

    /// Removes the incomplete file of a blob, unless other fetches use it.
    fn let_go_of_aside(
        &self,
        blob: &Blob,
        destination: &Destination,
        aside: Option<PathBuf>,
    ) -> Result<(), FilesError> {
        let Some(aside) = aside else { return Ok(()) };
        let own = usize::from(aside == destination.aside);
        let waiting = self.inner.asides.lock().get(&aside).copied().unwrap_or_default();
        if waiting > own { Ok(()) } else { self.let_go(blob, &aside) }
    }

    /// Moves the complete files of a folder to its destination. Blocks.
    pub(super) fn settle_saved(
        &self,
        saved: &Path,
        destination: &Destination,
        below: Below,
    ) -> Result<Settled, FilesError> {
        let store = self.store()?;
        let mut remembered = store.remembered(&destination.there);
        let mut settled = Settled::default();
        if destination.there.symlink_metadata().is_err() {
            let io = |source| BlobError::Io { path: saved.to_owned(), source };
            std::fs::rename(saved, &destination.there).map_err(io)?;
            remembered.put(below);
        } else {
            let _one = self.inner.settling.lock();
            let mut placed = Vec::new();
            let merge = Merge { base: saved, destination, below: &below, remembered: &remembered };
            let merged = merge.run(&mut placed, &mut settled.left);
            remembered.put(placed);
            if merged.is_err() {
                store.remember(&remembered)?;
                merged?;
            }
            remove(saved)?;
        }
        store.remember(&remembered)?;
        remove(&destination.left_over())?;
        Ok(settled)
    }

    /// Removes from the store the blobs at `there` whose files have changed: earlier versions that were
    /// fetched there are forgotten, shared ones are withdrawn. If there are more than
    /// [`VERSIONS_LOOKED_MAX`] blobs, the periodic check of shared files finds the rest.
    pub(super) async fn end_old_versions(
        &self,
        except: BlobId,
        there: &Path,
        fetched: bool,
    ) -> Result<(), FilesError> {
        let (files, there) = (self.clone(), there.to_owned());
        let changed = blocking(move || files.changed_at(except, &there));
        for blob in changed.await? {
            if !fetched {
                self.withdraw(blob).await;
                continue;
            }
            let files = self.clone();
            let owners = blocking(move || {
                let store = files.store()?;
                let mut owners = store.owners(&blob)?;
                owners.retain(|owner| store.view(owner).is_some());
                Ok(if owners.is_empty() { vec![blob] } else { owners })
            });
            for owner in owners.await? {
                match self.unshare(owner).await {
                    Ok(()) | Err(FilesError::Unknown) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// The blobs whose files are at `there` and have changed.
    fn changed_at(&self, except: BlobId, there: &Path) -> Result<Vec<BlobId>, FilesError> {
        let store = self.store()?;
        let lies = |place: &BlobPlace| matches!(place, BlobPlace::Outside { path, .. } if path.starts_with(there));
        let (mut changed, mut after) = (Vec::new(), None);
        for _ in 0..VERSIONS_LOOKED_MAX / PAGE {
            let page = store.page(after.as_ref(), PAGE)?;
            after = page.last().map(|view| view.id);
            let last = page.len() < PAGE;
            for view in page.into_iter().filter(|view| view.id != except && lies(&view.place)) {
                if view.state == BlobState::Changed
                    || store
                        .look(&view.id)?
                        .is_some_and(|blob| matches!(blob.check_files(), Err(ReadError::Changed)))
                {
                    changed.push(view.id);
                }
            }
            if last {
                break;
            }
        }
        Ok(changed)
    }

    /// Removes from the store a blob that could not be put at its destination completely, and the manifest
    /// that was fetched for it.
    pub(super) async fn give_away(
        &self,
        blob: BlobId,
        list: Option<BlobId>,
    ) -> Result<(), FilesError> {
        let shared = |list: &BlobId| self.view(list).is_some_and(|view| view.shared || view.pinned);
        for blob in std::iter::once(blob).chain(list.filter(|list| !shared(list))) {
            self.tell(Input::Released { blob }).await?;
            let store = self.store()?;
            let removed = blocking(move || match store.remove(&blob) {
                Ok(()) | Err(BlobError::InUse | BlobError::Unknown) => Ok(()),
                Err(error) => Err(error.into()),
            });
            removed.await?;
        }
        Ok(())
    }

    /// Whether a file has the bytes of blob `id`. Reads it at the rate for all comparisons.
    pub(super) async fn has_bytes_of(&self, id: BlobId, path: &Path) -> Result<bool, FilesError> {
        let Ok(opened) = Opened::at(path) else { return Ok(false) };
        if opened.is_folder() {
            return Ok(false);
        }
        let opened = Arc::new(opened);
        let mut hasher = blake3::Hasher::new();
        loop {
            let file = Arc::clone(&opened);
            let step = blocking(move || {
                let mut file: &File = file.file();
                let mut piece = vec![0; PIECE];
                let mut length = 0;
                while length < piece.len() {
                    match file.read(&mut piece[length..]) {
                        Ok(0) => break,
                        Ok(read) => length += read,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(_) => return Ok((hasher, None)),
                    }
                }
                hasher.update(&piece[..length]);
                Ok((hasher, Some(length)))
            });
            let (so_far, read) = step.await?;
            hasher = so_far;
            match read {
                None => return Ok(false),
                Some(0) => return Ok(hasher.finalize().as_bytes() == id.as_bytes()),
                Some(length) => self.inner.pace.wait(length as u64).await,
            }
        }
    }
}
