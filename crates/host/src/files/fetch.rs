//! Fetching: a job that brings a file or folder to where it belongs.
//!
//! What is fetched lies beside its place under a hidden name until all of it is there; then one
//! rename puts it in place, and others are given it from there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use potluck_base::{BlobId, Contact, NodeId};
use potluck_node::{Command, Reply};
use potluck_store::blobs::{Blob, Place, SegmentTarget};
use potluck_swarm::{Begin, FetchError, FetchId, FetchReport, FileLink, Input, LinkKind, Manifest};
use potluck_wire::Hint;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::join::Bringing;
use super::way::{Plan, To, Way};
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
    fn place(self, size: u64, hint: Option<&Hint>) -> Place {
        match self {
            Self::Inside => Place::Inside,
            Self::File(path) => {
                let executable = hint.and_then(|hint| hint.mode).is_some_and(is_executable);
                let mtime = hint.and_then(|hint| hint.mtime);
                Place::Segments(vec![SegmentTarget { path, bytes: size, executable, mtime }])
            }
            Self::Files(segments) => Place::Segments(segments),
        }
    }
}

/// Whether the owner of a file of these permissions may execute it.
pub(super) const fn is_executable(mode: u32) -> bool {
    mode & 0o100 != 0
}

/// What a fetch brought.
#[derive(Debug, Clone)]
pub(super) struct Done {
    /// It; `None` if only some of its files were saved.
    pub(super) blob: Option<Arc<Blob>>,
    /// Bytes of it that are here.
    pub(super) bytes: u64,
    pub(super) report: FetchReport,
    pub(super) resumed: u64,
    /// What a source calls it.
    pub(super) hint: Option<Hint>,
}

impl Done {
    /// Nothing had to be fetched.
    pub(super) fn here(blob: Arc<Blob>) -> Self {
        let bytes = blob.division().size();
        let blob = Some(blob);
        Self { blob, bytes, report: FetchReport::default(), resumed: 0, hint: None }
    }

    pub(super) fn whole(&self) -> Result<Arc<Blob>, FilesError> {
        self.blob.clone().ok_or(FilesError::Unknown)
    }

    fn called(&self) -> Option<String> {
        self.hint.as_ref().and_then(|hint| hint.name.clone())
    }
}

/// A fetch that the core knows of.
#[derive(Debug)]
pub(super) struct Active {
    id: BlobId,
    name: String,
    target: Target,
    blob: Option<Arc<Blob>>,
    resumed: u64,
    /// What a source calls it.
    hint: Option<Hint>,
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

    pub(super) fn open_place(&self, fetch: FetchId, id: BlobId, size: u64, hint: Option<Hint>) {
        let files = self.clone();
        let target = {
            let mut active = lock(&self.inner.active);
            let Some(active) = active.get_mut(&fetch) else { return };
            // A place of another size may have been made before.
            active.blob = None;
            active.hint.clone_from(&hint);
            (active.target.clone().place(size, hint.as_ref()), active.name.clone())
        };
        tokio::spawn(async move {
            let (place, mut name) = target;
            let opening = files.clone();
            let begun = blocking(move || {
                if share::plain_name(&name) == share::UNNAMED
                    && let Some(hinted) = hint.as_ref().and_then(|hint| hint.name.as_ref())
                {
                    name = share::stored_name(share::kind_of(&name), hinted);
                }
                let store = opening.store()?;
                let blob = store.begin(id, size, place, &name)?;
                if let Some(Hint { mtime, mode, .. }) = hint.filter(|_| !blob.is_complete()) {
                    store.set_marks(&id, mtime, mode)?;
                }
                let have = blob.have();
                Ok((blob, have))
            });
            let input = match begun.await {
                Ok((blob, have)) => {
                    if let Some(active) = lock(&files.inner.active).get_mut(&fetch) {
                        active.resumed = blob.have_bytes();
                        active.blob = Some(blob);
                        active.error = None;
                        active.progress.send_modify(|count| *count += 1);
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
                    let (resumed, hint) = (active.resumed, active.hint.take());
                    blocking(move || {
                        blob.finish()?;
                        let bytes = blob.division().size();
                        Ok(Done { blob: Some(blob), bytes, report, resumed, hint })
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

    /// Fetches one blob that is not here. Dropping the future gives the fetch up.
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
            name: wanted.name,
            target: wanted.target,
            blob: None,
            resumed: 0,
            hint: None,
            error: None,
            done: Some(done),
            progress: watch::Sender::new(0),
        };
        lock(&self.inner.active).insert(fetch, active);
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
                    let blob = lock(&self.inner.active).get(&fetch).and_then(Active::blob);
                    if let Some(blob) = blob.filter(|blob| blob.unsynced_bytes() > 0) {
                        self.commit(fetch, blob).await;
                    }
                }
            }
        };
        guard.over = true;
        result
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

/// A blob to fetch.
#[derive(Debug, Clone)]
pub(super) struct WantedBlob {
    pub(super) id: BlobId,
    pub(super) root: BlobId,
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) sources: Vec<Contact>,
    /// Its size, if a manifest says it.
    pub(super) size: Option<u64>,
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FetchProgress {
    /// Bytes in all, once known.
    pub bytes_total: Option<u64>,
    /// Bytes that are here and verified.
    pub bytes: u64,
    /// Sources known.
    pub sources: usize,
    /// Sources that send now.
    pub active: usize,
    /// Whether it is over, well or not.
    pub finished: bool,
}

/// What a source gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchedFrom {
    /// The node.
    pub id: NodeId,
    /// Verified bytes that came from it.
    pub bytes: u64,
}

/// A fetch that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The file or folder.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// Who gave it, the most generous first; nobody if it was here already.
    pub sources: Vec<FetchedFrom>,
    /// Bytes that came twice.
    pub duplicate_bytes: u64,
    /// Bytes that an earlier, interrupted fetch had brought.
    pub resumed_bytes: u64,
    /// Whether every byte was checked against the link. Always; said so that scripts can ask.
    pub verified: bool,
    /// What is not here, or not as it was shared, and why; the rest is.
    pub failed: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default)]
struct JobState {
    progress: FetchProgress,
    result: Option<Result<Fetched, FilesError>>,
}

/// A fetch under way or over. Cheap to clone; goes on until it is over or cancelled, also when
/// nobody looks at it.
#[derive(Debug, Clone)]
pub struct FetchJob {
    state: watch::Receiver<JobState>,
    task: AbortHandle,
}

impl FetchJob {
    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> FetchProgress {
        self.state.borrow().progress
    }

    /// Waits for the next change of [`progress`](Self::progress); at once if it is over.
    pub async fn changed(&mut self) {
        if !self.state.borrow().progress.finished {
            // An error means that the task is gone; `result` will say so.
            let _ = self.state.changed().await;
        }
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn result(&self) -> Option<Result<Fetched, FilesError>> {
        let state = self.state.borrow();
        let gone =
            || self.task.is_finished().then_some(Err(FilesError::Fetch(FetchError::Cancelled)));
        state.result.clone().or_else(gone)
    }

    /// Waits until it is over.
    ///
    /// # Errors
    /// Why it failed. What came is kept: the same fetch again goes on from there.
    pub async fn wait(&mut self) -> Result<Fetched, FilesError> {
        let over = self.state.wait_for(|state| state.result.is_some()).await;
        let result = over.ok().and_then(|state| state.result.clone());
        result.unwrap_or(Err(FilesError::Fetch(FetchError::Cancelled)))
    }

    /// Gives it up. What came is kept.
    pub fn cancel(&self) {
        self.task.abort();
    }
}

impl Files {
    /// Begins to fetch what a link leads to into the folder `to`, which is made if it is not there.
    /// Must be called in the tokio runtime.
    #[must_use]
    pub fn begin_fetch(&self, link: FileLink, to: To) -> FetchJob {
        let (sender, state) = watch::channel(JobState::default());
        let files = self.clone();
        let task = tokio::spawn(async move {
            let hear =
                |progress| sender.send_modify(|state: &mut JobState| state.progress = progress);
            let result = files.fetch_link(&link, &to, &hear).await;
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
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<Fetched, FilesError> {
        let began = Instant::now();
        let mut way = Way::new(link, to)?;
        let _bringing = Bringing::new(self, &way.aside);
        let (done, extra, mut failed) = match link.kind {
            LinkKind::File => (self.fetch_file(link, &mut way, hear).await?, None, Vec::new()),
            LinkKind::Folder => self.fetch_folder(link, &mut way, hear).await?,
        };
        failed.extend(way.renamed());
        let bytes = done.iter().map(|done| done.bytes).sum();
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
            verified: true,
            failed,
        })
    }

    async fn fetch_file(
        &self,
        link: &FileLink,
        way: &mut Way,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<Option<Done>, FilesError> {
        let id = link.id;
        self.name_by_own(link, way);
        if let Some(here) = self.already_at(id, &way.there).await? {
            return Ok(Some(here));
        }
        way.check_free()?;
        let name = share::stored_name(LinkKind::File, link.name().unwrap_or_default());
        let target = Target::File(way.aside.clone());
        let wanted = WantedBlob { id, root: id, name, target, sources: Vec::new(), size: None };
        let done = self.fetch_blob(wanted, hear).await?;
        // Now it is known what others call it.
        way.name_by(link, done.called().or(self.own_name(&id)).as_deref());
        way.check_free()?;
        let (files, way, blob) = (self.clone(), way.clone(), done.whole()?);
        blocking(move || files.put_file_in_place(&blob, &way)).await?;
        Ok(Some(done))
    }

    /// What this node calls what it has.
    fn own_name(&self, id: &BlobId) -> Option<String> {
        share::hint_of(&self.view(id)?).name
    }

    fn name_by_own(&self, link: &FileLink, way: &mut Way) {
        if let Some(name) = self.own_name(&link.id) {
            way.name_by(link, Some(&name));
        }
    }

    /// A blob that lies whole and unchanged where it is to go.
    async fn already_at(&self, id: BlobId, there: &Path) -> Result<Option<Done>, FilesError> {
        if !self.is_at(&id, there) {
            return Ok(None);
        }
        Ok(self.intact(id).await?.map(Done::here))
    }

    /// The data, if there is any, the manifest, and what is not as it was shared.
    async fn fetch_folder(
        &self,
        link: &FileLink,
        way: &mut Way,
        hear: &(dyn Fn(FetchProgress) + Send + Sync),
    ) -> Result<FetchedFolder, FilesError> {
        let id = link.id;
        let name = share::stored_name(LinkKind::Folder, link.name().unwrap_or_default());
        let (target, size) = (Target::Inside, None);
        let wanted = WantedBlob { id, root: id, name, target, sources: Vec::new(), size };
        // Its bytes are not what people wait for.
        let listed = self.fetch_blob(wanted, &|_| {}).await?;
        way.name_by(link, listed.called().or(self.own_name(&id)).as_deref());
        let (files, planned) = (self.clone(), way.clone());
        let (manifest, plan) = blocking(move || {
            let manifest = files.manifest(&id)?;
            let plan = planned.plan(&manifest)?;
            Ok((manifest, plan))
        })
        .await?;
        let (data, mut failed) = (manifest.data(), plan.failed.clone());
        if let Some(here) = self.already_at(data, &way.there).await? {
            return Ok((Some(here), Some(listed), failed));
        }
        way.check_free()?;
        let folder = Arc::new(Folder { id, manifest, plan });
        if folder.manifest.bytes() == 0 {
            let (files, way) = (self.clone(), way.clone());
            blocking(move || files.make_empty(&way, &folder)).await?;
            return Ok((None, Some(listed), failed));
        }
        let sources = listed.report.sources.iter().map(|(contact, _)| *contact).collect();
        let target = Target::Files(folder.plan.targets(&way.aside, &folder.manifest));
        let (name, size) = (share::data_name().to_owned(), Some(folder.manifest.bytes()));
        let wanted = WantedBlob { id: data, root: id, name, target, sources, size };
        let (files, way, folder) = (self.clone(), way.clone(), Arc::clone(&folder));
        let done = match self.fetch_blob(wanted, hear).await {
            Err(FilesError::Fetch(error)) if is_lost(error) => {
                let saved = blocking(move || files.save_whole_files(&way, &folder, error)).await?;
                failed.extend(saved.failed);
                return Ok((Some(saved.done), Some(listed), failed));
            }
            done => done?,
        };
        let blob = done.whole()?;
        blocking(move || files.put_folder_in_place(&blob, &way, &folder)).await?;
        Ok((Some(done), Some(listed), failed))
    }
}

/// The data of a folder, if it has any, its manifest, and what is not as it was shared.
type FetchedFolder = (Option<Done>, Option<Done>, Vec<(String, String)>);

/// A folder that is fetched.
#[derive(Debug)]
pub(super) struct Folder {
    /// The name of its manifest.
    pub(super) id: BlobId,
    pub(super) manifest: Manifest,
    pub(super) plan: Plan,
}

/// Whether those who had it say that a part of it will not come.
const fn is_lost(error: FetchError) -> bool {
    matches!(error, FetchError::Changed | FetchError::Unreadable)
}
