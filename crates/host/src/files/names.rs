//! Telling the core the names of what this node shares, so that others find it by them.
//!
//! Always the whole list, made anew after something changed, and at most twice a second however much
//! is shared at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use potluck_base::BlobId;
use potluck_gossip::FoundFile;
use potluck_store::blobs::BlobState;

use super::{Files, FilesError, blocking, share};
use crate::handle::Request;

/// Names that are told at most; those behind in the alphabet are not found. A guess: 16 MiB of them.
const NAMES_MAX: usize = 65_536;
/// Longest name; a longer one is cut.
const NAME_BYTES_MAX: usize = 255;
/// Between two lists.
const PAUSE: Duration = Duration::from_millis(500);

/// The data and the bytes of the folders that were looked at before, so that their manifests are read
/// once.
type Folders = BTreeMap<BlobId, (BlobId, u64)>;

impl Files {
    /// What is shared has changed: the core will be told.
    pub(super) fn names_changed(&self) {
        self.inner.names.notify_one();
    }

    /// Tells the core of all names now and after every change, for as long as anybody has these
    /// files.
    pub(crate) fn tell_names(&self) {
        let changed = Arc::clone(&self.inner.names);
        // A strong handle would keep the store open after the node.
        let inner = Arc::downgrade(&self.inner);
        self.names_changed();
        tokio::spawn(async move {
            let (mut told, mut known) = (Vec::new(), Folders::new());
            loop {
                changed.notified().await;
                let Some(inner) = inner.upgrade() else { return };
                let files = Self { inner };
                let listing = files.clone();
                let named = blocking(move || listing.named(&known)).await;
                let Ok((names, folders)) = named else { return };
                known = folders;
                if names != told {
                    told.clone_from(&names);
                    let request = Request::SharedNames(names);
                    if files.inner.requests.send(request).await.is_err() {
                        return;
                    }
                }
                drop(files);
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// What others may find, in the order of the names. Blocks.
    pub(super) fn named(&self, known: &Folders) -> Result<(Vec<FoundFile>, Folders), FilesError> {
        let mut folders = Folders::new();
        let mut names = Vec::new();
        for view in self.store()?.list() {
            let whole = view.shared && view.state == BlobState::Complete;
            if !whole || share::is_data_of_folder(&view.name) {
                continue;
            }
            let folder = share::is_manifest(&view.name);
            let bytes = if folder {
                let Some((data, bytes)) = self.folder(&view.id, known) else { continue };
                folders.insert(view.id, (data, bytes));
                if bytes > 0 && !self.is_whole(&data) {
                    continue;
                }
                bytes
            } else {
                view.size
            };
            let name = cut(share::plain_name(&view.name)).to_owned();
            names.push(FoundFile { name, root: view.id, bytes, folder, holder: None });
        }
        names.sort();
        names.truncate(NAMES_MAX);
        Ok((names, folders))
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
