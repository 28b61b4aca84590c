//! The files of a node: carries out the decisions of the core about granules, with the blob store and
//! fetch streams.
//!
//! The core learns of a granule only after it was verified and written; a peer gets a granule only after it
//! was read and verified. The bytes of blobs go between the store and the streams, never through the
//! drive loop.
//!
//! **Invariants:** the end of each transfer and of each incoming stream is reported to the core exactly
//! once, unless the core itself ended it; blocking work runs on blocking threads.

mod active;
mod bring;
mod copy;
mod destination;
mod error;
mod export;
mod fetch;
mod job;
mod join;
#[cfg(any(test, feature = "hostile"))]
pub mod lies;
mod list;
mod many;
mod merge;
mod names;
mod old;
mod pace;
mod reader;
mod reuse;
mod serve;
mod settle;
mod share;
mod stored_name;
#[cfg(test)]
mod tests;
mod transfer;
mod unshare;
mod watch;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use potluck_base::{BlobId, Defences, NetworkId};
use potluck_store::blobs::{Blob, BlobLimits, BlobPlace, BlobState, BlobStore, BlobView, GcReport};
use potluck_swarm::{
    ANNOUNCED_MAX, FetchId, FileLink, Input, LinkKind, Manifest, Output, ServeId, TransferId,
};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::request::Request;
use crate::settings::ByteRates;
use crate::transport::{IncomingFetch, Transport};
use active::{Active, Joint, WantedTransfer};
use pace::Pace;

pub use destination::{FetchOptions, To};
pub use error::{FilesError, FilesErrorKind};
pub use job::{FetchJob, FetchProgress, Fetched, FetchedFrom};
pub use list::{FolderList, list_folder};
pub use reader::Reader;
pub use share::{Listed, ShareOptions, ShareProgress, Shared};

/// Default of the bytes of blobs fetched for readers that are kept.
pub const CACHE_BYTES_DEFAULT: u64 = 10 * 1024 * 1024 * 1024;
/// Shares that read files at the same time. With a disk that does not answer, each blocks one of the 512
/// threads for blocking work.
const SHARES_MAX: usize = 64;
/// Blobs that a node may have. The index takes about 5 GB of disk for each ten million.
const BLOBS_MAX: usize = 50_000_000;
/// Most files in one page of the list.
pub const PAGE_MAX: usize = 10_000;
/// Blobs that the core gets at its start; if there are more, it asks for them.
const HELD_TOLD_MAX: usize = 2 * ANNOUNCED_MAX;
/// Removed files that the report of a collection lists.
const REMOVED_LISTED_MAX: usize = 10_000;
/// Blobs read from the index in one step.
const PAGE: usize = 1000;
/// Partial files whose bytes are included in the totals.
const PARTIAL_COUNTED_MAX: usize = 256;

/// How complete a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// Some of it.
    Partial,
    /// All of it.
    Complete,
    /// It changed since it was shared; it is no longer served.
    Changed,
}

impl FileState {
    /// The word used in answers of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Partial => "partial",
            Self::Complete => "complete",
            Self::Changed => "changed",
        }
    }
}

/// A file or folder that a node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Its id in the network.
    pub id: BlobId,
    /// The link to give to other nodes.
    pub link: Option<FileLink>,
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Bytes of it that are stored.
    pub have_bytes: u64,
    /// The number of its files, if it is a folder.
    pub files: Option<u64>,
    /// Its path, unless it is in the data folder.
    pub path: Option<PathBuf>,
    /// How complete it is.
    pub state: FileState,
    /// Whether other nodes may have it.
    pub shared: bool,
    /// Whether it stays until it is unpinned.
    pub pinned: bool,
    /// Whether it is being read or written.
    pub in_use: bool,
}

/// One page of the list of files and folders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilePage {
    /// The files and folders.
    pub files: Vec<FileEntry>,
    /// The id to continue after; `None`: this is the last page.
    pub next: Option<BlobId>,
}

/// The totals of a node's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileTotals {
    /// Files and folders.
    pub files: u64,
    /// Of these, the ones that other nodes may have.
    pub shared: u64,
    /// Bytes of them that are stored.
    pub bytes: u64,
    /// Whether too many are shared to announce all at once, so that they are announced in turn.
    pub announced_in_turn: bool,
}

/// The files of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    network: NetworkId,
    /// `None` once the node has stopped, so that its folder and port are free again.
    open: Mutex<Option<Open>>,
    requests: mpsc::Sender<Request>,
    next_fetch: AtomicU64,
    next_serve: AtomicU64,
    active: Mutex<HashMap<FetchId, Active>>,
    transfers: Mutex<HashMap<TransferId, AbortHandle>>,
    waiting: Mutex<HashMap<ServeId, IncomingFetch>>,
    /// The fetch of each blob, shared by all tasks that want it.
    joints: Mutex<HashMap<BlobId, Joint>>,
    /// The incomplete paths that fetches write to, each with the number of fetches.
    asides: Mutex<HashMap<PathBuf, usize>>,
    /// The limit of the rate at which local files are read for comparison.
    pace: Pace,
    /// Locked while files are moved to a destination that exists.
    settling: Mutex<()>,
    /// Notified when the shared files change.
    names: Arc<Notify>,
    /// Whether the core knows that more is shared than it keeps itself.
    elsewhere: AtomicBool,
    /// The position of the periodic check of shared files for changes.
    looked_at: Mutex<Option<BlobId>>,
    /// Permits of the shares that read files.
    sharing: Arc<Semaphore>,
    /// The defences that are on.
    defences: Defences,
    /// What it does to nodes that fetch from it, in tests and measurements.
    #[cfg(any(test, feature = "hostile"))]
    lies: lies::Lies,
}

/// The parts that are released when the node stops.
#[derive(Debug, Clone)]
struct Open {
    store: Arc<BlobStore>,
    transport: Transport,
}

/// Runs blocking work on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, FilesError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(FilesError::Stopped))
}

/// Reads the list of the files of a folder. Blocks.
fn read_manifest(blob: &Blob) -> Result<Manifest, FilesError> {
    let bytes = blob.read_all(potluck_swarm::manifest::MANIFEST_BYTES_MAX)?;
    Ok(Manifest::from_bytes(&bytes)?)
}

impl Files {
    /// Opens the blobs in a data folder. Blocks.
    pub(crate) fn open(folder: &Path, cache_bytes: u64) -> Result<BlobStore, FilesError> {
        let limits = BlobLimits { cache_bytes, blobs_max: BLOBS_MAX };
        let store = BlobStore::open(folder, limits)?;
        store.note_owners_once(|store, view| {
            let is_whole =
                stored_name::is_manifest(&view.name) && view.state == BlobState::Complete;
            let blob = is_whole.then(|| store.look(&view.id).ok().flatten()).flatten()?;
            Some(read_manifest(&blob).ok()?.data())
        })?;
        Ok(store)
    }

    pub(crate) fn new(
        network: NetworkId,
        store: BlobStore,
        transport: Transport,
        requests: mpsc::Sender<Request>,
        defences: Defences,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                network,
                open: Mutex::new(Some(Open { store: Arc::new(store), transport })),
                requests,
                next_fetch: AtomicU64::new(1),
                next_serve: AtomicU64::new(1),
                active: Mutex::default(),
                transfers: Mutex::default(),
                waiting: Mutex::default(),
                joints: Mutex::default(),
                asides: Mutex::default(),
                pace: Pace::default(),
                settling: Mutex::default(),
                names: Arc::default(),
                elsewhere: AtomicBool::new(false),
                looked_at: Mutex::default(),
                sharing: Arc::new(Semaphore::new(SHARES_MAX)),
                defences,
                #[cfg(any(test, feature = "hostile"))]
                lies: lies::Lies::default(),
            }),
        }
    }

    /// Begins to look after the files, and to tell the core their names.
    pub(crate) fn begin_tasks(&self) {
        self.watch();
        self.tell_names();
    }

    /// Carries out an output of the core. Never blocks.
    pub(crate) fn carry_out(&self, output: Output) {
        match output {
            Output::Open { fetch, blob, size, hint } => self.open_place(fetch, blob, size, hint),
            Output::Transfer { transfer, fetch, from, blob, size, granules } => {
                let wanted = WantedTransfer { transfer, fetch, from, blob, size, granules };
                self.begin_transfer(wanted);
            }
            Output::CancelTransfer { transfer } => {
                if let Some(task) = self.inner.transfers.lock().remove(&transfer) {
                    task.abort();
                }
            }
            Output::Completed { fetch, report } => self.on_completed(fetch, report),
            Output::Failed { fetch, error, report } => self.on_failed(fetch, error, &report),
            Output::Serve { serve } => self.serve(serve),
            Output::Refuse { serve, reason } => self.refuse(serve, reason),
            Output::MoreRoots { max } => self.more_roots(max),
            Output::Check { blob } => self.check(blob),
            Output::FindProviders { .. }
            | Output::Announce { .. }
            | Output::AskHave { .. }
            | Output::Holding { .. } => {
                tracing::error!(
                    code = "internal.question",
                    "a question of the swarm came to the shell"
                );
            }
        }
    }

    /// Gives the core an input. Waits while the request queue is full.
    async fn tell(&self, input: Input) -> Result<(), FilesError> {
        let request = Request::Files(input);
        self.inner.requests.send(request).await.map_err(|_| FilesError::Stopped)
    }

    /// Ends everything under way.
    pub(crate) fn stop(&self) {
        for (_, task) in self.inner.transfers.lock().drain() {
            task.abort();
        }
        for (_, active) in self.inner.active.lock().drain() {
            active.end(Err(FilesError::Stopped));
        }
        self.inner.waiting.lock().clear();
        self.inner.open.lock().take();
        self.names_changed();
    }

    fn store(&self) -> Result<Arc<BlobStore>, FilesError> {
        let open = self.inner.open.lock();
        open.as_ref().map(|open| Arc::clone(&open.store)).ok_or(FilesError::Stopped)
    }

    /// Caps what the node sends and how fast it reads what it fetches from now on, transfers under way
    /// included. Nothing happens once the node has stopped.
    pub fn set_rates(&self, rates: ByteRates) {
        if let Some(transport) = self.transport() {
            transport.set_rates(rates.upload, rates.download);
        }
    }

    fn transport(&self) -> Option<Transport> {
        self.inner.open.lock().as_ref().map(|open| open.transport.clone())
    }

    fn view(&self, id: &BlobId) -> Option<BlobView> {
        self.store().ok()?.view(id)
    }

    fn blob(&self, id: &BlobId) -> Result<Arc<Blob>, FilesError> {
        self.store()?.get(id)?.ok_or(FilesError::Unknown)
    }

    /// The first ten thousand files and folders of this node in the order of their ids. See
    /// [`Files::page`] for more.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn list(&self) -> Result<Vec<FileEntry>, FilesError> {
        Ok(self.page(None, PAGE_MAX).await?.files)
    }

    /// Files and folders of this node after the id `after`, in the order of their ids: at most `max`, and at
    /// most [`PAGE_MAX`].
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn page(&self, after: Option<BlobId>, max: usize) -> Result<FilePage, FilesError> {
        let files = self.clone();
        let max = max.clamp(1, PAGE_MAX);
        blocking(move || {
            let store = files.store()?;
            let (mut page, mut after) = (FilePage::default(), after);
            loop {
                // The data of folders is left out.
                let views = store.page(after.as_ref(), PAGE)?;
                let Some(last) = views.last() else { return Ok(page) };
                after = Some(last.id);
                for view in views.iter().filter(|view| !stored_name::is_data_of_folder(&view.name))
                {
                    if page.files.len() == max {
                        page.next = page.files.last().map(|entry| entry.id);
                        return Ok(page);
                    }
                    page.files.push(files.entry(view));
                }
            }
        })
        .await
    }

    /// One file or folder; `None` if this node does not have it.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn find(&self, id: BlobId) -> Result<Option<FileEntry>, FilesError> {
        let files = self.clone();
        blocking(move || {
            let view = files.store()?.view(&id);
            let view = view.filter(|view| !stored_name::is_data_of_folder(&view.name));
            Ok(view.map(|view| files.entry(&view)))
        })
        .await
    }

    /// The totals, from counters.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn totals(&self) -> Result<FileTotals, FilesError> {
        let files = self.clone();
        blocking(move || {
            let store = files.store()?;
            let counts = store.counts();
            let partial = store.partial(PARTIAL_COUNTED_MAX)?;
            let partial = partial.iter().map(|view| match view.state {
                BlobState::Partial { have_bytes } => have_bytes,
                _ => 0,
            });
            let bytes = counts.bytes + partial.sum::<u64>();
            let announced_in_turn = files.inner.elsewhere.load(Ordering::Relaxed);
            let (files, shared) = (counts.listed, counts.offered);
            Ok(FileTotals { files, shared, bytes, announced_in_turn })
        })
        .await
    }

    fn entry(&self, view: &BlobView) -> FileEntry {
        let manifest = stored_name::is_manifest(&view.name).then(|| self.manifest(&view.id));
        let name = stored_name::plain_name(&view.name).to_owned();
        let kind = if manifest.is_some() { LinkKind::Folder } else { LinkKind::File };
        let link = Some(FileLink::new(kind, view.id, &name));
        // A folder is as complete as its data.
        let manifest = manifest.and_then(Result::ok);
        let data = manifest.as_ref().and_then(|manifest| self.view(&manifest.data()));
        let shown = data.as_ref().unwrap_or(view);
        let (state, have_bytes) = match (shown.state, manifest.is_some() && data.is_none()) {
            (_, true) => (FileState::Partial, 0),
            (BlobState::Partial { have_bytes }, _) => (FileState::Partial, have_bytes),
            (BlobState::Complete, _) => (FileState::Complete, shown.size),
            (BlobState::Changed, _) => (FileState::Changed, 0),
        };
        let path = match &shown.place {
            BlobPlace::Inside => None,
            BlobPlace::Outside { path, .. } => Some(path.clone()),
        };
        FileEntry {
            id: view.id,
            link,
            name,
            bytes: manifest.as_ref().map_or(view.size, Manifest::bytes),
            have_bytes,
            files: manifest.as_ref().map(|manifest| manifest.files().len() as u64),
            path,
            state,
            shared: view.shared,
            pinned: view.pinned,
            in_use: shown.in_use || view.in_use,
        }
    }

    /// The manifest with this id, if it is stored.
    fn manifest(&self, id: &BlobId) -> Result<Manifest, FilesError> {
        read_manifest(&*self.blob(id)?)
    }

    /// The blobs of a file or folder, the one with its id first.
    fn parts(&self, id: BlobId) -> Result<Vec<BlobId>, FilesError> {
        let view = self.store()?.view(&id).ok_or(FilesError::Unknown)?;
        let data = if stored_name::is_manifest(&view.name) {
            self.manifest(&id).ok().map(|manifest| manifest.data())
        } else {
            None
        };
        Ok(std::iter::once(id).chain(data).collect())
    }

    /// Keeps a file or folder until it is unpinned.
    ///
    /// # Errors
    /// [`FilesError::Unknown`] if there is none.
    pub async fn pin(&self, id: BlobId) -> Result<(), FilesError> {
        self.set_pinned(id, true).await
    }

    /// Allows a file or folder to be removed when its space is needed.
    ///
    /// # Errors
    /// [`FilesError::Unknown`] if there is none.
    pub async fn unpin(&self, id: BlobId) -> Result<(), FilesError> {
        self.set_pinned(id, false).await
    }

    async fn set_pinned(&self, id: BlobId, pinned: bool) -> Result<(), FilesError> {
        let files = self.clone();
        blocking(move || {
            let store = files.store()?;
            Ok(files.parts(id)?.iter().try_for_each(|part| store.set_pinned(part, pinned))?)
        })
        .await
    }

    /// Removes blobs that were fetched for readers, least recently used first, until the cache is within its
    /// limit. A dry run only reports what it would remove.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn gc(&self, dry_run: bool) -> Result<GcReport, FilesError> {
        let mut total = GcReport::default();
        loop {
            let store = self.store()?;
            let report = blocking(move || Ok(store.gc(dry_run)?)).await?;
            for entry in report.removed.iter().filter(|_| !dry_run) {
                self.tell(Input::Released { blob: entry.id }).await?;
            }
            let room = REMOVED_LISTED_MAX.saturating_sub(total.removed.len());
            total.removed_count += report.removed_count;
            total.freed_bytes += report.freed_bytes;
            total.removed.extend(report.removed.into_iter().take(room));
            total.kept = report.kept;
            total.kept_count = report.kept_count;
            total.cached_bytes = report.cached_bytes;
            if dry_run || !report.more {
                total.more = report.more;
                break;
            }
        }
        if !dry_run && total.removed_count > 0 {
            self.names_changed();
        }
        Ok(total)
    }

    fn fetch_id(&self) -> FetchId {
        FetchId(self.inner.next_fetch.fetch_add(1, Ordering::Relaxed))
    }
}
