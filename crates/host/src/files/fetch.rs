//! The fetch of one blob: opening its place, reporting to the core, and its end.

use std::sync::Arc;
use std::time::Duration;

use potluck_base::{BlobId, GranuleSet};
use potluck_node::{Command, Reply};
use potluck_store::blobs::{Blob, Place};
use potluck_swarm::{Begin, FetchError, FetchId, FetchReport, Input};
use potluck_wire::Hint;
use tokio::sync::{oneshot, watch};

use super::active::{Active, Done, Target, WantedBlob, Watched};
use super::job::FetchProgress;
use super::old::{Old, OldPlaces};
use super::{Files, FilesError, blocking, stored_name};
use crate::request::Request;

/// Interval at which the progress of a fetch is read from the core.
const LOOK: Duration = Duration::from_millis(500);
/// Interval at which written granules are synced. Raising it loses more of them in a loss of power.
const COMMIT: Duration = Duration::from_secs(2);

/// Cancels a fetch when no task waits for it any more.
struct Guard {
    files: Files,
    fetch: FetchId,
    over: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Without a runtime the node is gone, and the fetch with it.
        if !self.over
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (files, fetch) = (self.files.clone(), self.fetch);
            runtime.spawn(async move {
                // Fails only when the node stops.
                let _ = files.tell(Input::Cancel { fetch }).await;
            });
        }
    }
}

/// What is needed to open the place of a blob: its size and target, and local files to search.
struct Opening {
    id: BlobId,
    root: BlobId,
    size: u64,
    place: Place,
    name: String,
    hint: Option<Hint>,
    sized: bool,
    old: Option<OldPlaces>,
}

/// An open place, and the local files that may hold missing granules.
struct Opened {
    blob: Arc<Blob>,
    have: GranuleSet,
    has_room: bool,
    old: Option<(Old, GranuleSet)>,
}

impl Opening {
    /// Blocks.
    fn open(mut self, files: &Files) -> Result<Opened, FilesError> {
        if stored_name::plain_name(&self.name) == stored_name::UNNAMED
            && let Some(hinted) = self.hint.as_ref().and_then(|hint| hint.name.as_ref())
        {
            self.name = stored_name::stored_name(stored_name::kind_of(&self.name), hinted);
        }
        let lengths = match &self.place {
            Place::Inside => vec![self.size],
            Place::Segments(files) => files.iter().map(|file| file.bytes).collect(),
        };
        let store = files.store()?;
        let blob = store.begin(self.id, self.size, self.place, &self.name)?;
        if let Some(Hint { mtime, mode, .. }) = self.hint.filter(|_| !blob.is_complete()) {
            store.set_marks(&self.id, mtime, mode)?;
        }
        if self.root != self.id {
            store.set_owner(&self.id, &self.root)?;
        }
        // A manifest proves the size; without one it is an unproven claim of the sources.
        let has_room = self.sized || is_proven(&blob);
        if has_room {
            blob.take_room()?;
        }
        let have = blob.have();
        let old = self.old.filter(|_| !have.is_full()).map(|old| {
            let old = Old::find(&old, &lengths);
            let granules = old.granules(&blob);
            (old, granules)
        });
        let old = old.filter(|(_, granules)| !granules.is_empty());
        Ok(Opened { blob, have, has_room, old })
    }
}

/// Whether the size of a blob is proven: its last granule is stored.
fn is_proven(blob: &Blob) -> bool {
    blob.has(blob.division().count() - 1)
}

impl Files {
    pub(super) fn watched(&self, id: &BlobId) -> Option<Watched> {
        let active = self.inner.active.lock();
        active.iter().find(|(_, active)| active.id == *id).map(|(fetch, active)| Watched {
            fetch: *fetch,
            blob: active.blob.clone(),
            progress: active.progress.subscribe(),
        })
    }

    pub(super) fn note_progress(&self, fetch: FetchId) {
        if let Some(active) = self.inner.active.lock().get(&fetch) {
            active.progress.send_modify(|count| *count += 1);
        }
    }

    pub(super) fn open_place(&self, fetch: FetchId, id: BlobId, size: u64, hint: Option<Hint>) {
        let files = self.clone();
        let target = {
            let mut active = self.inner.active.lock();
            let Some(active) = active.get_mut(&fetch) else { return };
            // A place with another size may have been opened before.
            active.blob = None;
            active.reused = 0;
            active.has_room = false;
            active.hint.clone_from(&hint);
            let place = active.target.clone().place(size, hint.as_ref());
            let (name, old) = (active.name.clone(), active.old.clone());
            Opening { id, root: active.root, size, place, name, hint, sized: active.sized, old }
        };
        tokio::spawn(async move {
            let opening = files.clone();
            let input = match blocking(move || target.open(&opening)).await {
                Ok(Opened { blob, have, has_room, old }) => {
                    let checked = Arc::clone(&blob);
                    if let Some(active) = files.inner.active.lock().get_mut(&fetch) {
                        active.resumed = blob.have_bytes();
                        active.has_room = has_room;
                        active.blob = Some(blob);
                        active.error = None;
                        active.progress.send_modify(|count| *count += 1);
                    }
                    if let Some((old, granules)) = old {
                        let checking = Input::Checking { fetch, granules: granules.clone() };
                        // Fails only when the node stops.
                        let _ = files.tell(checking).await;
                        let files = files.clone();
                        tokio::spawn(async move {
                            files.reuse(fetch, checked, old, granules).await;
                        });
                    }
                    Input::Opened { fetch, have }
                }
                Err(error) => {
                    if let Some(active) = files.inner.active.lock().get_mut(&fetch) {
                        active.error = Some(error);
                    }
                    Input::NoPlace { fetch }
                }
            };
            // Fails only when the node stops.
            let _ = files.tell(input).await;
        });
    }

    pub(super) fn on_completed(&self, fetch: FetchId, report: FetchReport) {
        let Some(mut active) = self.inner.active.lock().remove(&fetch) else { return };
        let files = self.clone();
        tokio::spawn(async move {
            let cached = matches!(active.target, Target::Inside);
            let result = match active.blob.take() {
                None => Err(FilesError::Stopped),
                Some(blob) => {
                    let (resumed, reused) = (active.resumed, active.reused);
                    let hint = active.hint.take();
                    blocking(move || {
                        blob.finish()?;
                        let bytes = blob.division().size();
                        Ok(Done { blob: Some(blob), bytes, report, resumed, reused, hint })
                    })
                    .await
                }
            };
            active.progress.send_modify(|count| *count += 1);
            active.end(result);
            if cached && let Err(error) = files.gc(false).await {
                tracing::warn!(code = "files.cache", %error, "the cache of files could not be brought to its size");
            }
        });
    }

    pub(super) fn on_failed(&self, fetch: FetchId, error: FetchError, report: &FetchReport) {
        let Some(mut active) = self.inner.active.lock().remove(&fetch) else { return };
        tracing::debug!(?fetch, %error, ?report, "a fetch failed");
        let error = active.error.take().unwrap_or(FilesError::Fetch(error));
        active.end(Err(error));
    }

    /// Ends a fetch because of an error of the shell.
    pub(super) async fn end_with(&self, fetch: FetchId, error: FilesError) {
        if let Some(active) = self.inner.active.lock().get_mut(&fetch) {
            active.error.get_or_insert(error);
        }
        // Fails only when the node stops.
        let _ = self.tell(Input::Cancel { fetch }).await;
    }

    /// Fetches one blob that is not stored. Dropping the future cancels the fetch.
    pub(super) async fn transfer_blob(
        &self,
        wanted: WantedBlob,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<Done, FilesError> {
        let id = wanted.id;
        let fetch = self.fetch_id();
        let (done, mut ended) = oneshot::channel();
        let active = Active {
            id,
            root: wanted.root,
            name: wanted.name,
            target: wanted.target,
            old: wanted.old,
            sized: wanted.size.is_some(),
            has_room: false,
            blob: None,
            resumed: 0,
            reused: 0,
            hint: None,
            error: None,
            done: Some(done),
            progress: watch::Sender::new(0),
        };
        self.inner.active.lock().insert(fetch, active);
        let mut guard = Guard { files: self.clone(), fetch, over: false };
        let WantedBlob { root, sources, size, .. } = wanted;
        let begin = Begin { fetch, blob: id, root, sources, size };
        self.tell(Input::Begin(begin)).await?;
        let mut look = tokio::time::interval(LOOK);
        let mut commit = tokio::time::interval(COMMIT);
        let result = loop {
            tokio::select! {
                result = &mut ended => break result.unwrap_or(Err(FilesError::Stopped)),
                _ = look.tick() => {
                    if let Some(progress) = self.look(fetch).await {
                        hear(progress);
                    }
                }
                _ = commit.tick() => {
                    let blob = self.inner.active.lock().get(&fetch).and_then(Active::blob);
                    let Some(blob) = blob else { continue };
                    self.take_room(fetch, &blob).await;
                    if blob.unsynced_bytes() > 0 {
                        self.commit(fetch, blob).await;
                    }
                }
            }
        };
        guard.over = true;
        result
    }

    /// Reserves the disk space of a blob once its size is proven.
    async fn take_room(&self, fetch: FetchId, blob: &Arc<Blob>) {
        if !is_proven(blob) {
            return;
        }
        let takes = self
            .inner
            .active
            .lock()
            .get_mut(&fetch)
            .is_some_and(|active| !std::mem::replace(&mut active.has_room, true));
        if takes {
            let blob = Arc::clone(blob);
            if let Err(error) = blocking(move || Ok(blob.take_room()?)).await {
                self.end_with(fetch, error).await;
            }
        }
    }

    /// The blob, if it is complete and its files are unchanged. A blob whose files were changed or removed
    /// is no longer served and may be fetched again.
    pub(super) async fn intact(&self, id: BlobId) -> Result<Option<Arc<Blob>>, FilesError> {
        let store = self.store()?;
        let looked = blocking(move || {
            let whole = store.get(&id)?.filter(|blob| blob.is_complete());
            Ok(whole.map(|blob| (blob.check_files().is_ok(), blob)))
        });
        match looked.await? {
            Some((true, blob)) => Ok(Some(blob)),
            Some((false, blob)) => {
                // The store does not replace a blob that is held.
                drop(blob);
                self.tell(Input::Released { blob: id }).await?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    async fn look(&self, fetch: FetchId) -> Option<FetchProgress> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Command { command: Command::Fetch(fetch), reply };
        self.inner.requests.send(request).await.ok()?;
        let Reply::Fetch(Some(view)) = answer.await.ok()? else { return None };
        let (sources, active) = view.sources;
        Some(FetchProgress {
            bytes_total: view.size,
            bytes: view.bytes,
            sources,
            active,
            finished: false,
        })
    }
}
