//! Fetching: a job that brings a file or folder to where it belongs.
//!
//! What is fetched lies beside its place under a hidden name until all of it is there; then one
//! rename puts it in place, and others are given it from there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use potluck_base::{BlobId, Contact};
use potluck_node::{Command, Reply};
use potluck_store::blobs::{Blob, Place, SegmentTarget};
use potluck_swarm::{Begin, FetchError, FetchId, FetchReport, FileLink, Input, LinkKind, Manifest};
use tokio::sync::{oneshot, watch};

use super::job::{FetchJob, FetchProgress, Fetched, FetchedFrom, JobState};
use super::reuse::{Old, OldPlaces};
use super::settle::{FetchOptions, Settled, below_of};
use super::way::{To, Way};
use super::{Files, FilesError, blocking, lock, share};
use crate::handle::Request;

/// How often a job looks how it stands, and writes are made safe from a loss of power.
const LOOK: Duration = Duration::from_millis(500);
const COMMIT: Duration = Duration::from_secs(2);

/// Where the bytes of a blob are to go.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// Into the node's own folder.
    Inside,
    /// Into one file.
    File(PathBuf),
    /// Into many.
    Files(Vec<SegmentTarget>),
}

impl Target {
    fn place(self, size: u64) -> Place {
        match self {
            Self::Inside => Place::Inside,
            Self::File(path) => {
                Place::Segments(vec![SegmentTarget { path, bytes: size, executable: false }])
            }
            Self::Files(segments) => Place::Segments(segments),
        }
    }
}

/// What a fetch brought.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) blob: Arc<Blob>,
    pub(super) report: FetchReport,
    pub(super) resumed: u64,
    /// Bytes that were on this machine already.
    pub(super) reused: u64,
}

impl Done {
    /// Nothing had to be fetched.
    fn here(blob: Arc<Blob>) -> Self {
        Self { blob, report: FetchReport::default(), resumed: 0, reused: 0 }
    }
}

/// A fetch that the core knows of.
#[derive(Debug)]
pub(super) struct Active {
    id: BlobId,
    name: String,
    target: Target,
    /// Where some of it may be already.
    old: Option<OldPlaces>,
    blob: Option<Arc<Blob>>,
    resumed: u64,
    /// Bytes that were found on this machine.
    pub(super) reused: u64,
    /// Why it ends, if the shell knows better than the core.
    error: Option<FilesError>,
    done: Option<oneshot::Sender<Result<Done, FilesError>>>,
    progress: watch::Sender<u64>,
}

impl Active {
    pub(super) fn blob(&self) -> Option<Arc<Blob>> {
        self.blob.clone()
    }

    /// Where its bytes go, for people.
    pub(super) fn path(&self) -> PathBuf {
        match &self.target {
            Target::Inside => PathBuf::new(),
            Target::File(path) => path.clone(),
            Target::Files(files) => files.first().map(|file| file.path.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn end(mut self, result: Result<Done, FilesError>) {
        if let Some(done) = self.done.take() {
            // Whoever waited may have gone.
            let _ = done.send(result);
        }
    }
}

/// What a reader needs of a fetch under way.
pub(super) struct Watched {
    pub(super) fetch: FetchId,
    pub(super) blob: Option<Arc<Blob>>,
    pub(super) progress: watch::Receiver<u64>,
}

/// Cancels a fetch when nobody waits for it any more.
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

impl Files {
    pub(super) fn watched(&self, id: &BlobId) -> Option<Watched> {
        let active = lock(&self.inner.active);
        active.iter().find(|(_, active)| active.id == *id).map(|(fetch, active)| Watched {
            fetch: *fetch,
            blob: active.blob.clone(),
            progress: active.progress.subscribe(),
        })
    }

    pub(super) fn note_progress(&self, fetch: FetchId) {
        if let Some(active) = lock(&self.inner.active).get(&fetch) {
            active.progress.send_modify(|count| *count += 1);
        }
    }

    pub(super) fn open_place(&self, fetch: FetchId, id: BlobId, size: u64) {
        let files = self.clone();
        let target = {
            let mut active = lock(&self.inner.active);
            let Some(active) = active.get_mut(&fetch) else { return };
            // A place of another size may have been made before.
            active.blob = None;
            active.reused = 0;
            (active.target.clone().place(size), active.name.clone(), active.old.clone())
        };
        tokio::spawn(async move {
            let (place, name, old) = target;
            let opening = files.clone();
            let begun = blocking(move || {
                // The list of files proves the size; otherwise it is what somebody says.
                let listed = matches!(&place, Place::Segments(files) if files.len() > 1);
                let lengths = match &place {
                    Place::Inside => vec![size],
                    Place::Segments(files) => files.iter().map(|file| file.bytes).collect(),
                };
                let blob = opening.store()?.begin(id, size, place, &name)?;
                if listed || is_proven(&blob) {
                    blob.take_room()?;
                }
                let have = blob.have();
                let old = old.filter(|_| !have.is_full()).map(|old| {
                    let old = Old::find(&old, &lengths);
                    let granules = old.granules(&blob);
                    (old, granules)
                });
                Ok((blob, have, old.filter(|(_, granules)| !granules.is_empty())))
            });
            let input = match begun.await {
                Ok((blob, have, old)) => {
                    let checked = Arc::clone(&blob);
                    if let Some(active) = lock(&files.inner.active).get_mut(&fetch) {
                        active.resumed = blob.have_bytes();
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
                    if let Some(active) = lock(&files.inner.active).get_mut(&fetch) {
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
        let Some(mut active) = lock(&self.inner.active).remove(&fetch) else { return };
        let files = self.clone();
        tokio::spawn(async move {
            let cached = matches!(active.target, Target::Inside);
            let result = match active.blob.take() {
                None => Err(FilesError::Stopped),
                Some(blob) => {
                    let (resumed, reused) = (active.resumed, active.reused);
                    blocking(move || {
                        blob.finish()?;
                        Ok(Done { blob, report, resumed, reused })
                    })
                    .await
                }
            };
            active.progress.send_modify(|count| *count += 1);
            active.end(result);
            if cached && let Err(error) = files.gc(false).await {
                tracing::warn!(%error, "the cache of files could not be brought to its size");
            }
        });
    }

    pub(super) fn on_failed(&self, fetch: FetchId, error: FetchError, report: &FetchReport) {
        let Some(mut active) = lock(&self.inner.active).remove(&fetch) else { return };
        tracing::debug!(?fetch, %error, ?report, "a fetch failed");
        let error = active.error.take().unwrap_or(FilesError::Fetch(error));
        active.end(Err(error));
    }

    /// Ends a fetch for a reason that the core does not know.
    pub(super) async fn end_with(&self, fetch: FetchId, error: FilesError) {
        if let Some(active) = lock(&self.inner.active).get_mut(&fetch) {
            active.error.get_or_insert(error);
        }
        // Fails only when the node stops.
        let _ = self.tell(Input::Cancel { fetch }).await;
    }

    /// Fetches one blob, or gives it if it is here. Dropping the future gives the fetch up.
    pub(super) async fn fetch_blob(
        &self,
        wanted: WantedBlob,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<Done, FilesError> {
        let id = wanted.id;
        if let Some(blob) = self.intact(id).await? {
            return Ok(Done::here(blob));
        }
        let fetch = self.fetch_id();
        let (done, mut ended) = oneshot::channel();
        let active = Active {
            id,
            name: wanted.name,
            target: wanted.target,
            old: wanted.old,
            blob: None,
            resumed: 0,
            reused: 0,
            error: None,
            done: Some(done),
            progress: watch::Sender::new(0),
        };
        lock(&self.inner.active).insert(fetch, active);
        let mut guard = Guard { files: self.clone(), fetch, over: false };
        let WantedBlob { root, sources, .. } = wanted;
        let begin = Begin { fetch, blob: id, root, sources };
        self.tell(Input::Begin(begin)).await?;
        let mut look = tokio::time::interval(LOOK);
        let mut commit = tokio::time::interval(COMMIT);
        let mut has_room = false;
        let result = loop {
            tokio::select! {
                result = &mut ended => break result.unwrap_or(Err(FilesError::Stopped)),
                _ = look.tick() => {
                    if let Some(progress) = self.look(fetch).await {
                        hear(progress);
                    }
                }
                _ = commit.tick() => {
                    let blob = lock(&self.inner.active).get(&fetch).and_then(Active::blob);
                    let Some(blob) = blob else { continue };
                    if !has_room && is_proven(&blob) {
                        has_room = true;
                        self.take_room(fetch, Arc::clone(&blob)).await;
                    }
                    if blob.unsynced_bytes() > 0 {
                        self.commit(fetch, blob).await;
                    }
                }
            }
        };
        guard.over = true;
        result
    }

    async fn take_room(&self, fetch: FetchId, blob: Arc<Blob>) {
        if let Err(error) = blocking(move || Ok(blob.take_room()?)).await {
            self.end_with(fetch, error).await;
        }
    }

    /// A blob that is here whole and as it was. One whose files somebody changed or removed is not
    /// given to others any more and may be fetched anew.
    pub(super) async fn intact(&self, id: BlobId) -> Result<Option<Arc<Blob>>, FilesError> {
        let store = self.store()?;
        let looked = blocking(move || {
            let whole = store.get(&id)?.filter(|blob| blob.is_complete());
            Ok(whole.map(|blob| (blob.check_files().is_ok(), blob)))
        });
        match looked.await? {
            Some((true, blob)) => Ok(Some(blob)),
            Some((false, blob)) => {
                // Whoever holds a blob keeps it from being replaced.
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

/// Whether the size of a blob is proven: its last granule is there.
fn is_proven(blob: &Blob) -> bool {
    blob.has(blob.division().count() - 1)
}

/// A blob to fetch.
pub(super) struct WantedBlob {
    pub(super) id: BlobId,
    pub(super) root: BlobId,
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) sources: Vec<Contact>,
    /// Where some of it may be already.
    pub(super) old: Option<OldPlaces>,
}

impl Files {
    /// Begins to fetch what a link leads to into the folder `to`, which is made if it is not there.
    /// Must be called in the tokio runtime.
    #[must_use]
    pub fn begin_fetch(&self, link: FileLink, to: To) -> FetchJob {
        self.begin_fetch_with(link, to, FetchOptions::default())
    }

    /// As [`begin_fetch`](Self::begin_fetch), and says what to do with files that are there already.
    #[must_use]
    pub fn begin_fetch_with(&self, link: FileLink, to: To, options: FetchOptions) -> FetchJob {
        let (sender, state) = watch::channel(JobState::default());
        let files = self.clone();
        let task = tokio::spawn(async move {
            let hear =
                |progress| sender.send_modify(|state: &mut JobState| state.progress = progress);
            let result = files.fetch_link(&link, &to, options, &hear).await;
            files.names_changed();
            sender.send_modify(|state| {
                state.progress.finished = true;
                state.result = Some(result);
            });
        });
        FetchJob { state, task: task.abort_handle() }
    }

    async fn fetch_link(
        &self,
        link: &FileLink,
        to: &To,
        options: FetchOptions,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<Fetched, FilesError> {
        let began = Instant::now();
        let way = Way::new(link, to, options)?;
        let (done, extra, settled) = match link.kind {
            LinkKind::File => {
                let (done, settled) = self.fetch_file(link.id, &way, hear).await?;
                (Some(done), None, settled)
            }
            LinkKind::Folder => self.fetch_folder(link.id, &way, hear).await?,
        };
        let bytes = done.iter().map(|done| done.blob.division().size()).sum();
        let all = || done.iter().chain(&extra);
        let mut sources: Vec<FetchedFrom> = Vec::new();
        for (contact, bytes) in all().flat_map(|done| &done.report.sources) {
            let id = contact.in_network(&self.inner.network).id;
            match sources.iter_mut().find(|from| from.id == id) {
                Some(from) => from.bytes += bytes,
                None => sources.push(FetchedFrom { id, bytes: *bytes }),
            }
        }
        sources.sort_by_key(|from| std::cmp::Reverse(from.bytes));
        hear(FetchProgress {
            bytes_total: Some(bytes),
            bytes,
            sources: sources.len(),
            active: 0,
            finished: false,
        });
        Ok(Fetched {
            path: way.there,
            bytes,
            took: began.elapsed(),
            sources,
            duplicate_bytes: all().map(|done| done.report.duplicate_bytes).sum(),
            resumed_bytes: all().map(|done| done.resumed).sum(),
            reused_bytes: all().map(|done| done.reused).sum(),
            left: settled.left,
            kept: settled.kept,
            verified: true,
        })
    }

    async fn fetch_file(
        &self,
        id: BlobId,
        way: &Way,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<(Done, Settled), FilesError> {
        let name = share::stored_name(LinkKind::File, way.name());
        if let Some(here) = self.already_at(id, way, None).await? {
            return Ok((here, Settled::default()));
        }
        self.check_file(id, way).await?;
        let target = Target::File(way.aside.clone());
        let old = Some(self.old_places(id, way, below_of(None)).await?);
        let sources = Vec::new();
        let wanted = WantedBlob { id, root: id, name: name.clone(), target, sources, old };
        let done = self.fetch_blob(wanted, hear).await?;
        let settled = self.settle_all(&done.blob, way, None, &[id]).await?;
        if !settled.left.is_empty() {
            return Err(FilesError::Exists(way.there.clone()));
        }
        Ok((done, settled))
    }

    /// Whether one file may be put in its place: nothing is there, or what may be replaced, or just it.
    async fn check_file(&self, id: BlobId, way: &Way) -> Result<(), FilesError> {
        let Ok(seen) = way.there.symlink_metadata() else { return Ok(()) };
        let remembered = {
            let (files, there) = (self.clone(), way.there.clone());
            blocking(move || Ok(files.store()?.remembered(&there))).await?
        };
        let untouched = || remembered.is_untouched(Path::new(""), &seen);
        let may = way.options().force || (way.options().update && untouched());
        if seen.is_file() && (may || self.has_bytes_of(id, &way.there).await?) {
            return Ok(());
        }
        Err(FilesError::Exists(way.there.clone()))
    }

    /// A blob that lies whole and unchanged where it is to go.
    async fn already_at(
        &self,
        id: BlobId,
        way: &Way,
        folder: Option<&Manifest>,
    ) -> Result<Option<Done>, FilesError> {
        let (files, there, below) = (self.clone(), way.there.clone(), below_of(folder));
        let at = blocking(move || Ok(files.is_made_of(&id, &there, &below)));
        if !at.await? {
            return Ok(None);
        }
        Ok(self.intact(id).await?.map(Done::here))
    }

    /// Puts a whole blob in its place among what is there, and offers it if all of it is.
    async fn settle_all(
        &self,
        blob: &Arc<Blob>,
        way: &Way,
        folder: Option<&Manifest>,
        parts: &[BlobId],
    ) -> Result<Settled, FilesError> {
        let (files, way, folder) = (self.clone(), way.clone(), folder.cloned());
        let (id, whole) = (blob.id(), Arc::clone(blob));
        let there = way.there.clone();
        let settled = blocking(move || {
            let fetched = files.store()?.remembered(&way.there).files().next().is_some();
            let settled = files.settle(&whole, &way, folder.as_ref(), way.options())?;
            Ok((settled, fetched))
        });
        let (settled, fetched) = settled.await?;
        self.end_old_versions(id, &there, fetched).await?;
        if !settled.left.is_empty() {
            self.give_away(parts).await?;
            return Ok(settled);
        }
        let (store, parts) = (self.store()?, parts.to_vec());
        blocking(move || {
            parts.iter().try_for_each(|part| store.set_shared(part, true, None))?;
            Ok(settled)
        })
        .await
    }

    /// The data, if there is any, and the manifest.
    async fn fetch_folder(
        &self,
        id: BlobId,
        way: &Way,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<(Option<Done>, Option<Done>, Settled), FilesError> {
        let name = share::stored_name(LinkKind::Folder, way.name());
        let (target, sources, old) = (Target::Inside, Vec::new(), None);
        let wanted = WantedBlob { id, root: id, name, target, sources, old };
        // Its bytes are not what people wait for.
        let listed = self.fetch_blob(wanted, &|_| {}).await?;
        let files = self.clone();
        let manifest = blocking(move || files.manifest(&id)).await?;
        let data = manifest.data();
        if let Some(here) = self.already_at(data, way, Some(&manifest)).await? {
            return Ok((Some(here), Some(listed), Settled::default()));
        }
        way.check_folder()?;
        let segments = manifest.files().iter().map(|file| SegmentTarget {
            path: way.aside.join(&file.path),
            bytes: file.bytes,
            executable: file.executable,
        });
        let segments: Vec<SegmentTarget> = segments.collect();
        if manifest.bytes() == 0 {
            way.check_free()?;
            let way = way.clone();
            blocking(move || way.make_empty(&segments)).await?;
            return Ok((None, Some(listed), Settled::default()));
        }
        let sources = listed.report.sources.iter().map(|(contact, _)| *contact).collect();
        let name = share::data_name().to_owned();
        let target = Target::Files(segments);
        let old = Some(self.old_places(data, way, below_of(Some(&manifest))).await?);
        let wanted = WantedBlob { id: data, root: id, name, target, sources, old };
        let done = self.fetch_blob(wanted, hear).await?;
        let settled = self.settle_all(&done.blob, way, Some(&manifest), &[data, id]).await?;
        Ok((Some(done), Some(listed), settled))
    }
}
