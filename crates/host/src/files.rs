//! The files of a node: what the core decides about granules is carried out here, on the blob store
//! and over fetch streams.
//!
//! The core is told of a granule only after it was verified and written; a peer gets a granule only
//! after it was read and verified. Bytes of blobs go between the store and the streams, never
//! through the drive loop.
//!
//! **Invariants:** every transfer and every stream of a peer that the core knows of ends in exactly
//! one word to the core, unless the core itself ended it; blocking work is done on blocking threads.

mod error;
mod export;
mod fetch;
mod job;
mod names;
mod reader;
mod reuse;
mod serve;
mod settle;
mod share;
#[cfg(test)]
mod tests;
mod transfer;
mod watch;
mod way;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use potluck_base::{BlobId, NetworkId};
use potluck_store::blobs::{Blob, BlobLimits, BlobPlace, BlobState, BlobStore, BlobView, GcReport};
use potluck_swarm::{FetchId, FileLink, Input, LinkKind, Manifest, Output, ServeId, TransferId};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::handle::Request;
use crate::transport::{IncomingFetch, Transport};
use fetch::Active;

pub use error::{FilesError, FilesErrorKind};
pub use job::{FetchJob, FetchProgress, Fetched, FetchedFrom};
pub use reader::Reader;
pub use settle::FetchOptions;
pub use share::{FolderList, ShareOptions, ShareProgress, Shared, list_folder};
pub use way::To;

/// Bytes of blobs fetched for readers that are kept unless said otherwise.
pub const CACHE_BYTES_DEFAULT: u64 = 10 * 1024 * 1024 * 1024;
/// Shares whose files are read at the same time. A disk that does not answer holds one thread each, of
/// 512 for everything that blocks.
const SHARES_MAX: usize = 64;
/// Fetches of earlier runs whose parts are served.
const PARTS_MAX: usize = 256;
/// Blobs that a node may have.
const BLOBS_MAX: usize = 100_000;

/// How far a file is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// Some of it.
    Partial,
    /// All of it.
    Complete,
    /// It is not what it was when it was shared; it is not given to anybody any more.
    Changed,
}

impl FileState {
    /// The word used in answers to people.
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
    /// Its name in the network.
    pub id: BlobId,
    /// What to hand to others.
    pub link: Option<FileLink>,
    /// What it is called.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes of it that are here.
    pub have_bytes: u64,
    /// How many files it is made of, if it is a folder.
    pub files: Option<u64>,
    /// Where it lies, unless in the node's own folder.
    pub path: Option<PathBuf>,
    /// How far it is here.
    pub state: FileState,
    /// Whether others may have it.
    pub shared: bool,
    /// Whether it stays until it is unpinned.
    pub pinned: bool,
    /// Whether it is being read or written.
    pub in_use: bool,
}

/// The files of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    network: NetworkId,
    /// Gone once the node has stopped, so that its folder and port are free again.
    open: Mutex<Option<Open>>,
    requests: mpsc::Sender<Request>,
    next_fetch: AtomicU64,
    next_serve: AtomicU64,
    active: Mutex<HashMap<FetchId, Active>>,
    transfers: Mutex<HashMap<TransferId, AbortHandle>>,
    waiting: Mutex<HashMap<ServeId, IncomingFetch>>,
    /// How fast files here are read to be compared.
    pace: reuse::Pace,
    /// Told when what is shared changes.
    names: Arc<Notify>,
    /// Places for those who read what is to be shared.
    sharing: Arc<Semaphore>,
    /// Every so many granules this node sends a false one; never, if zero.
    #[cfg(test)]
    lies_every: AtomicU64,
    #[cfg(test)]
    sent: AtomicU64,
}

/// What is let go when the node stops.
#[derive(Debug, Clone)]
struct Open {
    store: Arc<BlobStore>,
    transport: Transport,
}

/// Takes a lock. What these locks guard is changed in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what blocks on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, FilesError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(FilesError::Stopped))
}

impl Files {
    /// Opens the blobs in a data folder. Blocks.
    pub(crate) fn open(folder: &Path, cache_bytes: u64) -> Result<BlobStore, FilesError> {
        let limits = BlobLimits { cache_bytes, blobs_max: BLOBS_MAX };
        Ok(BlobStore::open(folder, limits)?)
    }

    pub(crate) fn new(
        network: NetworkId,
        store: BlobStore,
        transport: Transport,
        requests: mpsc::Sender<Request>,
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
                pace: reuse::Pace::default(),
                names: Arc::default(),
                sharing: Arc::new(Semaphore::new(SHARES_MAX)),
                #[cfg(test)]
                lies_every: AtomicU64::new(0),
                #[cfg(test)]
                sent: AtomicU64::new(0),
            }),
        }
    }

    /// What the core is told at the start: everything that is shared.
    pub(crate) fn held(&self) -> Vec<Input> {
        let shared = |view: &BlobView| view.shared && view.state == BlobState::Complete;
        let views = self.store().map(|store| store.list()).unwrap_or_default();
        let views = views.into_iter().filter(shared);
        views
            .map(|view| Input::Held {
                blob: view.id,
                size: view.size,
                announce: !share::is_data_of_folder(&view.name),
            })
            .collect()
    }

    /// Tells the core of the parts that fetches of earlier runs brought. What was not synced then is
    /// hashed first.
    async fn tell_parts(&self) -> Result<(), FilesError> {
        let store = self.store()?;
        let views = store.list();
        let partial = |view: &&BlobView| matches!(view.state, BlobState::Partial { .. });
        for view in views.iter().filter(partial).take(PARTS_MAX) {
            let (files, id) = (self.clone(), view.id);
            let Ok(have) = blocking(move || Ok(files.blob(&id)?.have())).await else { continue };
            let (blob, size, mut root) = (view.id, view.size, view.id);
            if share::is_data_of_folder(&view.name) {
                // Others need the list of files as well. It is not shared before the folder is whole.
                let lists: Vec<BlobView> = views
                    .iter()
                    .filter(|view| view.state == BlobState::Complete && !view.shared)
                    .filter(|view| share::is_manifest(&view.name))
                    .cloned()
                    .collect();
                let files = self.clone();
                let list = blocking(move || {
                    let named = |list: &BlobView| {
                        files.manifest(&list.id).is_ok_and(|manifest| manifest.data() == blob)
                    };
                    Ok(lists.into_iter().find(named))
                });
                let Ok(Some(list)) = list.await else { continue };
                root = list.id;
                self.tell(Input::Held { blob: root, size: list.size, announce: true }).await?;
            }
            self.tell(Input::HeldPart { blob, root, size, have }).await?;
        }
        Ok(())
    }

    /// Carries out what the core wants. Never blocks.
    pub(crate) fn carry_out(&self, output: Output) {
        match output {
            Output::Open { fetch, blob, size } => self.open_place(fetch, blob, size),
            Output::Transfer { transfer, fetch, from, blob, size, granules } => {
                let wanted = transfer::Wanted { transfer, fetch, from, blob, size, granules };
                self.begin_transfer(wanted);
            }
            Output::CancelTransfer { transfer } => {
                if let Some(task) = lock(&self.inner.transfers).remove(&transfer) {
                    task.abort();
                }
            }
            Output::Completed { fetch, report } => self.on_completed(fetch, report),
            Output::Failed { fetch, error, report } => self.on_failed(fetch, error, &report),
            Output::Serve { serve } => self.serve(serve),
            Output::Refuse { serve, reason } => self.refuse(serve, reason),
            Output::FindProviders { .. }
            | Output::Announce { .. }
            | Output::AskHave { .. }
            | Output::Holding { .. } => {
                tracing::error!("a question of the swarm came to the shell");
            }
        }
    }

    /// Tells the core something; waits while it has much to do.
    async fn tell(&self, input: Input) -> Result<(), FilesError> {
        let request = Request::Files(input);
        self.inner.requests.send(request).await.map_err(|_| FilesError::Stopped)
    }

    /// Ends everything under way.
    pub(crate) fn stop(&self) {
        for (_, task) in lock(&self.inner.transfers).drain() {
            task.abort();
        }
        for (_, active) in lock(&self.inner.active).drain() {
            active.end(Err(FilesError::Stopped));
        }
        lock(&self.inner.waiting).clear();
        lock(&self.inner.open).take();
        self.names_changed();
    }

    fn store(&self) -> Result<Arc<BlobStore>, FilesError> {
        let open = lock(&self.inner.open);
        open.as_ref().map(|open| Arc::clone(&open.store)).ok_or(FilesError::Stopped)
    }

    fn transport(&self) -> Option<Transport> {
        lock(&self.inner.open).as_ref().map(|open| open.transport.clone())
    }

    fn view(&self, id: &BlobId) -> Option<BlobView> {
        self.store().ok()?.view(id)
    }

    fn blob(&self, id: &BlobId) -> Result<Arc<Blob>, FilesError> {
        self.store()?.get(id)?.ok_or(FilesError::Unknown)
    }

    /// What this node has.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn list(&self) -> Result<Vec<FileEntry>, FilesError> {
        let files = self.clone();
        blocking(move || {
            let views = files.store()?.list();
            Ok(views
                .iter()
                .filter(|view| !share::is_data_of_folder(&view.name))
                .map(|view| files.entry(view))
                .collect())
        })
        .await
    }

    fn entry(&self, view: &BlobView) -> FileEntry {
        let manifest = share::is_manifest(&view.name).then(|| self.manifest(&view.id));
        let name = share::plain_name(&view.name).to_owned();
        let kind = if manifest.is_some() { LinkKind::Folder } else { LinkKind::File };
        let link = Some(FileLink::new(kind, view.id, &name));
        // A folder is as far as its data is.
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

    /// The manifest with this name, if it is here.
    fn manifest(&self, id: &BlobId) -> Result<Manifest, FilesError> {
        let bytes = self.blob(id)?.read_all(potluck_swarm::manifest::MANIFEST_BYTES_MAX)?;
        Ok(Manifest::from_bytes(&bytes)?)
    }

    /// The blobs that a file or folder here is made of, the one that names it first.
    fn parts(&self, id: BlobId) -> Result<Vec<BlobId>, FilesError> {
        let view = self.store()?.view(&id).ok_or(FilesError::Unknown)?;
        let data = if share::is_manifest(&view.name) {
            self.manifest(&id).ok().map(|manifest| manifest.data())
        } else {
            None
        };
        Ok(std::iter::once(id).chain(data).collect())
    }

    /// Gives a file or folder to nobody any more, and forgets it. Files outside the node's folder stay
    /// where they are.
    ///
    /// # Errors
    /// [`FilesError::Unknown`] if there is none.
    pub async fn unshare(&self, id: BlobId) -> Result<(), FilesError> {
        let files = self.clone();
        let parts = blocking(move || files.parts(id)).await?;
        for blob in parts {
            self.tell(Input::Released { blob }).await?;
            let store = self.store()?;
            blocking(move || {
                store.set_pinned(&blob, false)?;
                store.set_shared(&blob, false, None)?;
                match store.remove(&blob) {
                    // Somebody still reads it: it goes with the next collection.
                    Err(potluck_store::blobs::BlobError::InUse) => Ok(()),
                    result => Ok(result?),
                }
            })
            .await?;
        }
        self.names_changed();
        Ok(())
    }

    /// Keeps a file or folder until it is unpinned.
    ///
    /// # Errors
    /// [`FilesError::Unknown`] if there is none.
    pub async fn pin(&self, id: BlobId) -> Result<(), FilesError> {
        self.set_pinned(id, true).await
    }

    /// Lets a file or folder go when its room is needed.
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

    /// Removes what was fetched for readers, least recently used first, if there is more of it than
    /// the cache may take; or only says what it would do.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn gc(&self, dry_run: bool) -> Result<GcReport, FilesError> {
        let store = self.store()?;
        let report = blocking(move || Ok(store.gc(dry_run)?)).await?;
        if !dry_run {
            for entry in &report.removed {
                self.tell(Input::Released { blob: entry.id }).await?;
            }
            if !report.removed.is_empty() {
                self.names_changed();
            }
        }
        Ok(report)
    }

    fn fetch_id(&self) -> FetchId {
        FetchId(self.inner.next_fetch.fetch_add(1, Ordering::Relaxed))
    }
}
