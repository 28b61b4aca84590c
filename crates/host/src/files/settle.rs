//! Bringing what was fetched among files that are at its place already.
//!
//! A file that is there is replaced only if an earlier fetch put it there and nobody changed it since, and
//! only by a fetch that is to update; or if the fetch was told to overwrite. One that has the wanted bytes
//! stays. All others are somebody's own: they are left, and named.
//!
//! **Invariant:** each file is at its place as it was or as it is to be, whatever interrupts this; no link
//! is followed.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck_base::BlobId;
use potluck_store::blobs::{
    Blob, BlobError, BlobPlace, BlobState, Opened, ReadError, Remembered, rename_file,
};
use potluck_swarm::{Input, Manifest};

use super::reuse::{OldPlaces, listed};
use super::way::Way;
use super::{Files, FilesError, blocking, export, share};

/// Files that are named of those that were left, and of those that are not part of what was fetched.
const NAMED_MAX: usize = 1000;
/// Files that are looked at whether they are part of what was fetched.
const LOOKED_MAX: usize = 1 << 20;
/// Other places that are looked at for bytes that can be used.
const BESIDE_MAX: usize = 4;
/// Bytes compared at once.
const PIECE: usize = 256 * 1024;

/// What a fetch does with files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FetchOptions {
    /// Replace files that an earlier fetch put there and that nobody changed since.
    pub update: bool,
    /// Replace every file that is in the way.
    pub force: bool,
}

/// What became of files that were there already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Settled {
    /// Files that are not what was fetched, and were left as they are.
    pub(super) left: Vec<String>,
    /// Files that are not part of what was fetched.
    pub(super) kept: Vec<String>,
}

/// The files of a fetch by their path below its place; the place itself, if it is one file, is empty.
pub(super) type Below = Vec<PathBuf>;

pub(super) fn below_of(manifest: Option<&Manifest>) -> Below {
    match manifest {
        None => vec![PathBuf::new()],
        Some(manifest) => manifest.files().iter().map(|file| file.path.clone().into()).collect(),
    }
}

fn at(place: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { place.to_owned() } else { place.join(below) }
}

impl Files {
    /// Where to look for bytes of a blob that are here already.
    pub(super) async fn old_places(
        &self,
        id: BlobId,
        way: &Way,
        paths: Below,
    ) -> Result<OldPlaces, FilesError> {
        let (files, way) = (self.clone(), way.clone());
        blocking(move || {
            files.rescue(&id, &way)?;
            let beside = files.store()?.remembered_beside(&way.there, BESIDE_MAX);
            let roots = [way.there.clone(), way.left_over()].into_iter().chain(beside).collect();
            Ok(OldPlaces { roots, paths, name: way.name().to_owned() })
        })
        .await
    }

    /// Moves what an interrupted fetch left of a blob that is not known any more out of the way; its
    /// bytes can be used again.
    fn rescue(&self, id: &BlobId, way: &Way) -> Result<(), FilesError> {
        if way.aside.symlink_metadata().is_err() {
            return Ok(());
        }
        let ours = self.view(id).is_some_and(|view| {
            let lies = |path: &PathBuf| path.starts_with(&way.aside);
            view.state != BlobState::Changed
                && matches!(&view.place, BlobPlace::Outside { path, .. } if lies(path))
        });
        if ours {
            return Ok(());
        }
        remove(&way.left_over())?;
        let io = |source| BlobError::Io { path: way.aside.clone(), source };
        Ok(std::fs::rename(&way.aside, way.left_over()).map_err(io)?)
    }

    /// Whether just these files of a place are those of a whole and unchanged blob.
    pub(super) fn is_made_of(&self, id: &BlobId, there: &Path, below: &Below) -> bool {
        let blob = self.store().ok().and_then(|store| store.get(id).ok().flatten());
        blob.is_some_and(|blob| {
            let paths: Vec<PathBuf> = below.iter().map(|below| at(there, below)).collect();
            blob.is_complete() && blob.is_made_of(paths.iter().map(PathBuf::as_path))
        })
    }

    /// Puts a whole blob in its place, where something may be. Blocks.
    pub(super) fn settle(
        &self,
        blob: &Blob,
        way: &Way,
        folder: Option<&Manifest>,
        options: FetchOptions,
    ) -> Result<Settled, FilesError> {
        let below = below_of(folder);
        let store = self.store()?;
        let mut remembered = store.remembered(&way.there);
        let mut settled = Settled::default();
        if way.there.symlink_metadata().is_err() {
            self.put_in_place(blob, way, folder)?;
            remembered.put(below);
        } else {
            let view = self.view(&blob.id()).ok_or(FilesError::Unknown)?;
            let aside = |path: &PathBuf| path.starts_with(&way.aside);
            let ours = matches!(&view.place, BlobPlace::Outside { path, .. } if aside(path));
            if !ours {
                export::copy_aside(blob, way, folder)?;
            }
            let (mut placed, mut merged) = (Vec::new(), Ok(()));
            let mut work = || {
                merged = merge(way, &below, &remembered, options, &mut placed, &mut settled.left);
                Ok(merged.is_ok() && settled.left.is_empty())
            };
            if ours {
                blob.merge_to(&way.aside, &way.there, work)?;
            } else {
                drop(work());
            }
            // Also after an error: what is there is ours.
            remembered.put(placed);
            if merged.is_err() {
                store.remember(&remembered)?;
                merged?;
            }
            remove(&way.aside)?;
            settled.kept = not_part(&way.there, &below);
        }
        store.remember(&remembered)?;
        remove(&way.left_over())?;
        Ok(settled)
    }

    /// Of what lay at a place before, what is not what it was any more goes: earlier versions that were
    /// fetched there are forgotten, what was shared from there is withdrawn.
    pub(super) async fn end_old_versions(
        &self,
        except: BlobId,
        there: &Path,
        fetched: bool,
    ) -> Result<(), FilesError> {
        let (files, there) = (self.clone(), there.to_owned());
        let changed = blocking(move || {
            let store = files.store()?;
            let lies = |place: &BlobPlace| matches!(place, BlobPlace::Outside { path, .. } if path.starts_with(&there));
            let mut changed = Vec::new();
            for view in store.list().into_iter().filter(|view| view.id != except) {
                if lies(&view.place)
                    && let Some(blob) = store.get(&view.id)?
                    && matches!(blob.check_files(), Err(ReadError::Changed))
                {
                    changed.push(view);
                }
            }
            Ok(changed)
        });
        for view in changed.await? {
            if !fetched {
                self.withdraw(view.id).await;
                continue;
            }
            for owner in self.owners(view.id, share::is_data_of_folder(&view.name)).await? {
                match self.unshare(owner).await {
                    Ok(()) | Err(FilesError::Unknown) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// What is listed for a blob: itself, or the folders that it is the data of, and itself.
    async fn owners(&self, blob: BlobId, data: bool) -> Result<Vec<BlobId>, FilesError> {
        if !data {
            return Ok(vec![blob]);
        }
        let files = self.clone();
        blocking(move || {
            let manifests = files.store()?.list().into_iter().filter(|view| {
                share::is_manifest(&view.name)
                    && files.manifest(&view.id).is_ok_and(|manifest| manifest.data() == blob)
            });
            let owners: Vec<BlobId> = manifests.map(|view| view.id).collect();
            Ok(if owners.is_empty() { vec![blob] } else { owners })
        })
        .await
    }

    /// Gives up a blob that could not be put in its place as a whole.
    pub(super) async fn give_away(&self, parts: &[BlobId]) -> Result<(), FilesError> {
        for blob in parts {
            self.tell(Input::Released { blob: *blob }).await?;
        }
        let (store, parts) = (self.store()?, parts.to_vec());
        blocking(move || {
            for blob in parts {
                match store.remove(&blob) {
                    Ok(()) | Err(BlobError::InUse | BlobError::Unknown) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        })
        .await
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
                let mut piece = vec![0; 4 * PIECE];
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

/// Brings each file to its place, unless somebody's own is there.
fn merge(
    way: &Way,
    below: &Below,
    remembered: &Remembered,
    options: FetchOptions,
    placed: &mut Vec<PathBuf>,
    left: &mut Vec<String>,
) -> Result<(), FilesError> {
    for below in below {
        let (from, to) = (at(&way.aside, below), at(&way.there, below));
        let io = |source| BlobError::Io { path: to.clone(), source };
        let takes = match to.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Ok(seen) if seen.is_file() => {
                if is_same(&from, &to) {
                    std::fs::remove_file(&from).map_err(io)?;
                    placed.push(below.clone());
                    continue;
                }
                options.force || (options.update && remembered.is_untouched(below, &seen))
            }
            _ => false,
        };
        let put = takes
            && match rename_file(&from, &to) {
                Ok(()) => true,
                Err(error) if is_in_the_way(&error) => false,
                Err(error) => return Err(io(error).into()),
            };
        if put {
            placed.push(below.clone());
        } else if left.len() < NAMED_MAX {
            left.push(below.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// Whether a file or link of somebody is where a folder is needed.
fn is_in_the_way(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory};
    // A link on the way is no folder.
    matches!(error.kind(), AlreadyExists | IsADirectory | NotADirectory)
}

/// Whether two files have the same bytes.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (Opened::at(one), Opened::at(other)) else { return false };
    if one.bytes() != other.bytes() {
        return false;
    }
    let (mut one, mut other): (&File, &File) = (one.file(), other.file());
    let mut pieces = [vec![0; PIECE], vec![0; PIECE]];
    let mut rest = PIECE;
    while rest == PIECE {
        let [a, b] = &mut pieces;
        let (Ok(read), Ok(same)) = (fill(&mut one, a), fill(&mut other, b)) else { return false };
        if read != same || a[..read] != b[..read] {
            return false;
        }
        rest = read;
    }
    true
}

fn fill(file: &mut &File, piece: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < piece.len() {
        match file.read(&mut piece[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// Files below a place that are not among these.
fn not_part(there: &Path, below: &Below) -> Vec<String> {
    let part: HashSet<&Path> = below.iter().map(PathBuf::as_path).collect();
    let found = listed(there, &mut LOOKED_MAX.clone()).into_iter().filter_map(|(path, _)| {
        let below = path.strip_prefix(there).ok()?.to_owned();
        (!part.contains(below.as_path())).then(|| below.to_string_lossy().into_owned())
    });
    found.take(NAMED_MAX).collect()
}

/// Removes what is left of a fetch, a file or a folder.
fn remove(path: &Path) -> Result<(), FilesError> {
    let io = |source| BlobError::Io { path: path.to_owned(), source };
    match path.symlink_metadata() {
        Ok(seen) if seen.is_dir() => Ok(std::fs::remove_dir_all(path).map_err(io)?),
        Ok(_) => Ok(std::fs::remove_file(path).map_err(io)?),
        Err(_) => Ok(()),
    }
}
