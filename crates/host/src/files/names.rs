//! The names of shared files for the core, by which other nodes find them.
//!
//! Up to [`NAMES_TOLD_MAX`] names the core gets the whole list after each change, at most twice a second. Of
//! more it gets only the number, and each search reads the index on disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use potluck_base::BlobId;
use potluck_gossip::FoundFile;
use potluck_store::blobs::{BlobState, BlobView};
use potluck_wire::search::QueryId;

use super::{Files, FilesError, blocking, stored_name};
use crate::request::{Request, SharedNames};

/// Most names that are announced. A filter of the words of more names would let nearly everything pass.
const NAMES_TOLD_MAX: usize = 4096;
/// Longest announced name in bytes; a longer one is cut.
const NAME_BYTES_MAX: usize = 255;
/// Pause between two lists of the shared names. Raising it delays the announcement of new names.
const PAUSE: Duration = Duration::from_millis(500);

/// The data and the bytes of the folders that were looked at before, so that their manifests are read
/// once.
type Folders = BTreeMap<BlobId, (BlobId, u64)>;

impl Files {
    /// Notifies that the shared files have changed.
    pub(super) fn names_changed(&self) {
        self.inner.names.notify_one();
    }

    /// Gives the core all names now and after every change, while a handle of these files exists.
    pub(crate) fn tell_names(&self) {
        let changed = Arc::clone(&self.inner.names);
        // A strong handle would keep the store open after the node.
        let inner = Arc::downgrade(&self.inner);
        self.names_changed();
        tokio::spawn(async move {
            let (mut told, mut known) = (None, Folders::new());
            loop {
                changed.notified().await;
                let Some(inner) = inner.upgrade() else { return };
                let files = Self { inner };
                if files.tell_scale().await.is_err() {
                    return;
                }
                let listing = files.clone();
                let taken = std::mem::take(&mut known);
                let named = blocking(move || listing.told(&taken)).await;
                let Ok((names, folders)) = named else { return };
                known = folders;
                if told.as_ref() != Some(&names) {
                    told = Some(names.clone());
                    if files.inner.requests.send(Request::SharedNames(names)).await.is_err() {
                        return;
                    }
                }
                drop(files);
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// The names for the core. Blocks.
    fn told(&self, known: &Folders) -> Result<(SharedNames, Folders), FilesError> {
        let count = self.store()?.counts().offered as usize;
        if count > NAMES_TOLD_MAX {
            return Ok((SharedNames::Elsewhere(count), Folders::new()));
        }
        let (names, folders) = self.named(known)?;
        Ok((SharedNames::All(names), folders))
    }

    /// The names that other nodes may find, in order. Blocks.
    pub(super) fn named(&self, known: &Folders) -> Result<(Vec<FoundFile>, Folders), FilesError> {
        let mut folders = Folders::new();
        let mut names = Vec::new();
        let store = self.store()?;
        for id in store.offered(0, NAMES_TOLD_MAX)?.0 {
            let Some(view) = store.view(&id) else { continue };
            names.extend(self.found(&view, known, &mut folders));
        }
        names.sort();
        Ok((names, folders))
    }

    /// The search result for a file or folder; `None` if it is not complete or not shared.
    fn found(&self, view: &BlobView, known: &Folders, folders: &mut Folders) -> Option<FoundFile> {
        let whole = view.shared && view.state == BlobState::Complete;
        if !whole || stored_name::is_data_of_folder(&view.name) {
            return None;
        }
        let folder = stored_name::is_manifest(&view.name);
        let bytes = if folder {
            let (data, bytes) = self.folder(&view.id, known)?;
            folders.insert(view.id, (data, bytes));
            if bytes > 0 && !self.is_whole(&data) {
                return None;
            }
            bytes
        } else {
            view.size
        };
        let name = cut(stored_name::plain_name(&view.name)).to_owned();
        Some(FoundFile { name, root: view.id, bytes, folder, holder: None })
    }

    /// Answers a search of the core with names from the index. Never blocks.
    pub(crate) fn look_for_names(&self, query: QueryId, words: Vec<String>, max: usize) {
        let files = self.clone();
        tokio::spawn(async move {
            let looking = files.clone();
            let found = blocking(move || {
                let views = looking.store()?.search(&words, max)?;
                let (known, mut read) = (Folders::new(), Folders::new());
                let found = views.iter().filter_map(|view| looking.found(view, &known, &mut read));
                Ok(found.collect())
            });
            let files_found = found.await.unwrap_or_else(|error| {
                tracing::warn!(code = "files.names", %error, "the names of what is shared cannot be read");
                Vec::new()
            });
            let request = Request::NamesFound { query, files: files_found };
            // Fails only when the node stops.
            let _ = files.inner.requests.send(request).await;
        });
    }

    /// The data of a folder and its bytes; `None` if its manifest cannot be read.
    fn folder(&self, id: &BlobId, known: &Folders) -> Option<(BlobId, u64)> {
        let read = || self.manifest(id).ok().map(|manifest| (manifest.data(), manifest.bytes()));
        known.get(id).copied().or_else(read)
    }

    fn is_whole(&self, id: &BlobId) -> bool {
        self.view(id).is_some_and(|view| view.state == BlobState::Complete)
    }
}

/// The beginning of a name that is long.
fn cut(name: &str) -> &str {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_letters() {
        assert_eq!(cut("dish"), "dish");
        let long = "é".repeat(200);
        assert_eq!(cut(&long), "é".repeat(127));
    }
}
