//! Looking after the files: what is shared and changed on disk is withdrawn even if no node asks
//! for it, and the cache is brought to its size when what was in use is not any more.

use std::sync::Arc;
use std::time::Duration;

use potluck_base::{BlobId, GranuleSet};
use potluck_store::blobs::{BlobPlace, BlobState, ReadError};
use potluck_swarm::Input;

use super::{Files, FilesError, blocking, stored_name};

/// Interval at which shared files are checked for changes.
const EVERY: Duration = Duration::from_secs(60);
/// Files looked at each time, which takes some tenths of a second: with more it goes round, ten million
/// in eight hours. What a peer asks for is looked at before it is given in any case.
const LOOKED_MAX: usize = 20_000;
/// Files taken from the index at a time.
const PAGE: usize = 1000;
/// Fetches of earlier runs whose parts are served.
const PARTS_MAX: usize = 128;

impl Files {
    /// Looks after all files now and once a minute, while a handle exists of these files.
    pub(crate) fn watch(&self) {
        // A strong handle would keep the store open after the node.
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            if let Some(inner) = inner.upgrade() {
                // Fails only when the node stops.
                let _ = (Self { inner }).tell_parts().await;
            }
            let mut tick = tokio::time::interval(EVERY);
            loop {
                tick.tick().await;
                let Some(inner) = inner.upgrade() else { return };
                if (Self { inner }).look_after().await.is_none() {
                    return;
                }
            }
        });
    }

    /// Withdraws what changed and makes room; `None` if the node has stopped.
    pub(super) async fn look_after(&self) -> Option<()> {
        for _ in 0..LOOKED_MAX / PAGE {
            let files = self.clone();
            let looked = blocking(move || files.look_at_page());
            let (changed, over) = match looked.await {
                Ok(looked) => looked,
                Err(FilesError::Stopped) => return None,
                Err(error) => {
                    tracing::warn!(code = "files.watch", %error, "the shared files could not be looked at");
                    break;
                }
            };
            for id in changed {
                self.withdraw(id).await;
            }
            if over {
                break;
            }
        }
        if let Err(error) = self.gc(false).await {
            tracing::warn!(code = "files.cache", %error, "the cache of files could not be brought to its size");
        }
        self.store().ok().map(|_| ())
    }

    /// Tells the core of the parts that fetches of earlier runs brought. What was not synced then is
    /// hashed first.
    async fn tell_parts(&self) -> Result<(), FilesError> {
        let files = self.clone();
        let partial = blocking(move || Ok(files.store()?.partial(PARTS_MAX)?)).await?;
        for view in partial {
            let (files, id) = (self.clone(), view.id);
            let Ok(have) = blocking(move || Ok(files.blob(&id)?.have())).await else { continue };
            let (blob, size, mut root) = (view.id, view.size, view.id);
            if stored_name::is_data_of_folder(&view.name) {
                // Others need the list of files as well. It is not shared before the folder is whole.
                let files = self.clone();
                let Ok(Some((list, size, have))) = blocking(move || files.list_of(&blob)).await
                else {
                    continue;
                };
                root = list;
                self.tell(Input::HeldPart { blob: root, root, size, have }).await?;
            }
            self.tell(Input::HeldPart { blob, root, size, have }).await?;
        }
        Ok(())
    }

    /// The whole list of files of a folder with this data, if it is here.
    fn list_of(&self, data: &BlobId) -> Result<Option<(BlobId, u64, GranuleSet)>, FilesError> {
        let store = self.store()?;
        for list in store.owners(data)? {
            let Some(blob) = store.look(&list)?.filter(|blob| blob.is_complete()) else { continue };
            return Ok(Some((list, blob.division().size(), blob.have())));
        }
        Ok(None)
    }

    /// Looks at the next page of what is shared: what changed, and whether it was the last one.
    fn look_at_page(&self) -> Result<(Vec<BlobId>, bool), FilesError> {
        let store = self.store()?;
        let after = *self.inner.looked_at.lock();
        let page = store.page(after.as_ref(), PAGE)?;
        let last = page.last().filter(|_| page.len() == PAGE).map(|view| view.id);
        *self.inner.looked_at.lock() = last;
        let outside = page.into_iter().filter(|view| {
            let outside = matches!(view.place, BlobPlace::Outside { .. });
            view.shared && outside && view.state == BlobState::Complete
        });
        let changed = outside.filter(|view| match store.look(&view.id) {
            Ok(Some(blob)) => matches!(blob.check_files(), Err(ReadError::Changed)),
            _ => false,
        });
        Ok((changed.map(|view| view.id).collect(), last.is_none()))
    }
}
