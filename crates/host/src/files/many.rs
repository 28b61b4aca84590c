//! What the core does not hold of a node that shares very much: it is looked up here.

use std::sync::atomic::Ordering;

use potluck_base::BlobId;
use potluck_store::blobs::{BlobState, BlobStore, BlobView};
use potluck_swarm::{ANNOUNCED_MAX, HINTS_MAX, Input};

use super::{Files, FilesError, HELD_TOLD_MAX, PAGE, blocking, stored_name};

/// Whether others may have all of a blob.
fn is_given(view: &BlobView) -> bool {
    view.shared && view.state == BlobState::Complete
}

/// Whether more is shared than the core is told.
fn is_much(store: &BlobStore) -> bool {
    let counts = store.counts();
    counts.offered > ANNOUNCED_MAX as u64 || counts.given > HELD_TOLD_MAX as u64
}

/// Whether so much less is shared that the core is told all of it again.
fn is_little(store: &BlobStore) -> bool {
    let counts = store.counts();
    counts.offered < ANNOUNCED_MAX as u64 / 2 && counts.given < HELD_TOLD_MAX as u64 / 2
}

impl Files {
    /// The inputs for the core at the start: all shared blobs, or that there are too many.
    pub(crate) fn held(&self) -> Vec<Input> {
        let Ok(store) = self.store() else { return Vec::new() };
        if is_much(&store) {
            self.inner.elsewhere.store(true, Ordering::Relaxed);
            return vec![Input::Elsewhere(true)];
        }
        held(&store)
    }

    /// Tells the core once more is shared than it holds, and when it is so no longer.
    pub(super) async fn tell_scale(&self) -> Result<(), FilesError> {
        let store = self.store()?;
        let elsewhere = self.inner.elsewhere.load(Ordering::Relaxed);
        if !elsewhere && is_much(&store) {
            self.inner.elsewhere.store(true, Ordering::Relaxed);
            self.tell(Input::Elsewhere(true)).await?;
        } else if elsewhere && is_little(&store) {
            self.inner.elsewhere.store(false, Ordering::Relaxed);
            let held = blocking(move || Ok(held(&store))).await?;
            self.tell(Input::Elsewhere(false)).await?;
            for input in held {
                self.tell(input).await?;
            }
        }
        Ok(())
    }

    /// Tells the core which roots it announces next.
    pub(super) fn more_roots(&self, max: usize) {
        let files = self.clone();
        tokio::spawn(async move {
            let store = files.store()?;
            let next = blocking(move || {
                // What was told before was announced meanwhile; after a crash it comes again.
                let after = store.round_cursor()?;
                let (roots, last) = store.offered(after, max)?;
                let over = roots.len() < max;
                store.set_round_cursor(if over { 0 } else { last })?;
                Ok((roots, over))
            });
            let (roots, over) = next.await.unwrap_or_else(|error| {
                tracing::warn!(code = "files.announce", %error, "what is shared cannot be read to be announced");
                (Vec::new(), true)
            });
            files.tell(Input::Roots { roots, over }).await
        });
    }

    /// Tells the core whether others may have a blob.
    pub(super) fn check(&self, blob: BlobId) {
        let files = self.clone();
        tokio::spawn(async move {
            let looking = files.clone();
            let view = blocking(move || Ok(looking.view(&blob))).await?;
            let size = view.filter(is_given).map(|view| view.size);
            files.tell(Input::Checked { blob, size }).await
        });
    }
}

fn held(store: &BlobStore) -> Vec<Input> {
    let (mut held, mut hints, mut after) = (Vec::new(), 0, None);
    while held.len() < HELD_TOLD_MAX + HINTS_MAX + PAGE {
        let Ok(views) = store.page(after.as_ref(), PAGE) else { break };
        let Some(last) = views.last() else { break };
        after = Some(last.id);
        for view in views.iter().filter(|view| is_given(view)) {
            let announce = !stored_name::is_data_of_folder(&view.name);
            let (blob, size) = (view.id, view.size);
            held.push(Input::Held { blob, size, announce });
            if announce && hints < HINTS_MAX {
                hints += 1;
                held.push(Input::Named { blob, hint: stored_name::hint_of(view) });
            }
        }
    }
    held
}
