//! Giving no longer what was shared: all of it, or what was shared under one of several names.
//!
//! **Invariant:** bytes that are also shared otherwise, as a file or as those of another folder, stay
//! shared that way.

use potluck_base::BlobId;
use potluck_store::blobs::{BlobError, BlobStore, NamedPlace};
use potluck_swarm::{Gone, Input, LinkKind};

use super::{Files, FilesError, blocking, stored_name};

/// The remaining uses of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Nothing: it goes.
    Nothing,
    /// The bytes of a folder that is shared.
    OfFolder,
    /// It, under another name.
    Another,
}

impl Files {
    /// Stops sharing a file or folder. Files outside the node's folder stay
    /// where they are.
    ///
    /// # Errors
    /// [`FilesError::Unknown`] if there is none.
    pub async fn unshare(&self, id: BlobId) -> Result<(), FilesError> {
        self.unshare_as(id, None).await.map(drop)
    }

    /// As [`Files::unshare`], but only what was shared under this name if the same bytes are shared under
    /// others, too. Returns whether they still are.
    ///
    /// # Errors
    /// [`FilesError::Unknown`] if there is none.
    pub async fn unshare_as(&self, id: BlobId, name: Option<&str>) -> Result<bool, FilesError> {
        let (files, name) = (self.clone(), name.map(str::to_owned));
        let parts = blocking(move || files.forget(id, name.as_deref())).await?;
        let still = parts.iter().any(|(part, left)| *part == id && *left == Left::Another);
        for (blob, left) in parts {
            match left {
                Left::Nothing => self.remove(blob).await?,
                Left::OfFolder => {
                    if let Some(view) = self.view(&blob) {
                        self.tell(Input::Released { blob }).await?;
                        let size = view.size;
                        self.tell(Input::Held { blob, size, announce: false }).await?;
                    }
                }
                Left::Another => {
                    if let Some(view) = self.view(&blob) {
                        self.tell(Input::Named { blob, hint: stored_name::hint_of(&view) }).await?;
                    }
                }
            }
        }
        self.names_changed();
        Ok(still)
    }

    async fn remove(&self, blob: BlobId) -> Result<(), FilesError> {
        self.tell(Input::Lost { blob, granules: None, why: Gone::Unshared }).await?;
        let store = self.store()?;
        blocking(move || {
            store.set_pinned(&blob, false)?;
            store.set_shared(&blob, false, None)?;
            match store.remove(&blob) {
                // It is still being read: the next collection removes it.
                Err(BlobError::InUse) => Ok(()),
                result => Ok(result?),
            }
        })
        .await
    }

    /// Forgets the places of a file or folder, and says what is left of its blobs. Blocks.
    fn forget(&self, id: BlobId, name: Option<&str>) -> Result<Vec<(BlobId, Left)>, FilesError> {
        let store = self.store()?;
        let view = store.view(&id).ok_or(FilesError::Unknown)?;
        let kind = stored_name::kind_of(&view.name);
        let places = store.places(&id);
        let stored = name.map(|name| stored_name::stored_name(kind, name));
        let known = |stored: &String| places.iter().any(|place| place.name == *stored);
        let mut names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        names.retain(|name| !stored_name::is_data_of_folder(name));
        let several = names.iter().any(|name| *name != names[0]);
        if several && stored.as_ref().is_some_and(|stored| !known(stored)) {
            // Its file is gone already, and it is read under other names.
            return Ok(vec![(id, Left::Another)]);
        }
        let stored = stored.filter(known);
        let data = match kind {
            LinkKind::Folder => self.manifest(&id).ok().map(|manifest| manifest.data()),
            LinkKind::File => None,
        };
        let goes = |place: &NamedPlace| match &stored {
            Some(stored) => place.name == *stored,
            None => kind == LinkKind::Folder || !stored_name::is_data_of_folder(&place.name),
        };
        let left = forget_in(&store, id, &goes)?;
        let mut parts = vec![(id, left)];
        let Some(data) = data.filter(|data| store.view(data).is_some()) else { return Ok(parts) };
        if is_of_others(&store, id, data)? {
            return Ok(parts);
        }
        // The files of what was given up serve what has the same bytes and is not.
        if left == Left::Another {
            return Ok(parts);
        }
        let goes = |place: &NamedPlace| stored_name::is_data_of_folder(&place.name);
        parts.push((data, forget_in(&store, data, &goes)?));
        Ok(parts)
    }
}

/// Whether the bytes of a folder are also those of another one.
fn is_of_others(store: &BlobStore, id: BlobId, data: BlobId) -> Result<bool, FilesError> {
    let owners = store.owners(&data)?;
    Ok(owners.iter().any(|owner| *owner != id && store.view(owner).is_some()))
}

fn forget_in(
    store: &BlobStore,
    id: BlobId,
    goes: &dyn Fn(&NamedPlace) -> bool,
) -> Result<Left, FilesError> {
    match store.forget_places(&id, goes) {
        Ok(false) => Ok(Left::Nothing),
        // Nothing of it was shared so.
        Err(BlobError::Unknown) if store.view(&id).is_some() => Ok(Left::Another),
        Ok(true) => {
            let named = |place: &NamedPlace| !stored_name::is_data_of_folder(&place.name);
            let another = store.places(&id).iter().any(named);
            Ok(if another { Left::Another } else { Left::OfFolder })
        }
        Err(error) => Err(error.into()),
    }
}
