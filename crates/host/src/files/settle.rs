//! Bringing what was fetched among files that are at its place already.
//!
//! A file that is there is replaced only if an earlier fetch put it there and it was not changed
//! since, and only by a fetch that is to update; or if the fetch was told to overwrite. One that
//! has the wanted bytes stays. All others belong to the user: they are left, and named.
//!
//! **Invariant:** each file is at its place as it was or as it is to be, whatever interrupts this; no link
//! is followed.

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

/// Other places that are looked at for bytes that can be used.
const BESIDE_MAX: usize = 4;
/// Blobs that are looked at whether they lay at a place before.
const VERSIONS_LOOKED_MAX: usize = 100_000;
/// Bytes of a file that are read before the next pause.
const PIECE: usize = 1024 * 1024;

/// What became of files that were there already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Settled {
    /// Files that are not what was fetched, and were left as they are.
    pub(super) left: Vec<String>,
    /// Files that are not part of what was fetched.
    pub(super) kept: Vec<String>,
    /// Something was there already.
    pub(super) among: bool,
    /// A fetch had brought something there before.
    pub(super) fetched: bool,
    /// It is incomplete there and not stored elsewhere: it cannot be served.
    pub(super) given_up: bool,
}

impl Files {
    /// Where to look for bytes of a blob that are here already.
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

    /// Moves what an interrupted fetch left of a blob that is not known any more out of the way; its
    /// bytes can be used again.
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

    /// Whether one file may be put in its place: nothing is there, or what may be replaced, or just it.
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

    /// Puts a whole blob in its place, where something may be. Blocks.
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
            // Another fetch put it there meanwhile.
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

    /// Brings a whole blob among files that are at its place.
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
        // Whether others wait for what lies there.
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
        // Also after an error: what is there is ours.
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

    /// Forgets where a blob was fetched to, unless others wait for what lies there.
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

    /// Brings some files of a folder to its place. Blocks.
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

    /// Of what lay at a place before, what is not what it was any more goes: earlier versions that were
    /// fetched there are forgotten, what was shared from there is withdrawn. Of more than
    /// [`VERSIONS_LOOKED_MAX`] blobs the rest is found out by the look at all that is shared.
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

    /// Blobs whose files lie at a place and are not what they were.
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

    /// Gives up a blob that could not be put in its place as a whole, and the list of files that was
    /// fetched for it.
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

    /// Whether a file has the bytes of this name, read at the pace of all that is compared.
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
