//! Looking after the files: what is shared and changed on disk is withdrawn also if nobody asks for it,
//! and the cache is brought to its size when what was in use is not any more.

use std::sync::Arc;
use std::time::Duration;

use potluck_base::BlobId;
use potluck_store::blobs::{BlobPlace, BlobState, ReadError};

use super::{Files, blocking};

/// How often all shared files are looked at. Looking at 100,000 takes some tenths of a second.
const EVERY: Duration = Duration::from_secs(60);

impl Files {
    /// Looks after all files now and once a minute, for as long as anybody has these files.
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
        let store = self.store().ok()?;
        let views = store.list().into_iter().filter(|view| {
            let outside = matches!(view.place, BlobPlace::Outside { .. });
            view.shared && outside && view.state == BlobState::Complete
        });
        let shared: Vec<BlobId> = views.map(|view| view.id).collect();
        drop(store);
        for id in shared {
            let files = self.clone();
            let changed = blocking(move || {
                let looked = files.blob(&id)?.check_files();
                Ok(matches!(looked, Err(ReadError::Changed)))
            });
            if matches!(changed.await, Ok(true)) {
                self.withdraw(id).await;
            }
        }
        if let Err(error) = self.gc(false).await {
            tracing::warn!(%error, "the cache of files could not be brought to its size");
        }
        self.store().ok().map(|_| ())
    }
}
