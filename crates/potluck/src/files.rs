//! Files: sharing what is on disk, and fetching what others share.

use std::fs::File;
use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use potluck_base::BlobId;
use potluck_host::files::{
    FetchJob, FetchOptions, Fetched, FileEntry, FilePage, FileTotals, FilesError, Listed, Reader,
    ShareOptions, Shared, To,
};
use potluck_host::{ByteRates, files};
use potluck_store::blobs::{GcReport, Opened};

use crate::wanted::Wanted;
use crate::{FileReader, Node, Result};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The files of a node: what it shares, fetches and keeps.
///
/// Every method fails with [`FilesError::NoFolder`] on a node that keeps everything in memory.
#[derive(Debug, Clone)]
pub struct Files {
    node: Node,
}

impl Files {
    pub(crate) const fn new(node: Node) -> Self {
        Self { node }
    }

    fn inner(&self) -> std::result::Result<&files::Files, FilesError> {
        self.node.handle().files()
    }

    /// Shares a file or folder: hashes it once and tells the network. Its bytes are read where they
    /// are, also later; a file that changes is withdrawn.
    ///
    /// # Errors
    /// When awaited: there is no such file, it cannot be read, or there is no room.
    #[must_use = "nothing is shared before it is awaited"]
    pub fn share(&self, path: impl Into<PathBuf>) -> Share {
        self.share_of(Source::Path(path.into()))
    }

    /// Shares a file or folder that is open: what was opened is what is shared, whatever its path
    /// leads to by now.
    ///
    /// # Errors
    /// As [`Files::share`].
    #[must_use = "nothing is shared before it is awaited"]
    pub fn share_opened(&self, opened: Opened) -> Share {
        self.share_of(Source::Opened(Arc::new(opened)))
    }

    /// Shares a copy of the bytes of an open file. With `listed` they are those of the files of a folder,
    /// laid end to end.
    ///
    /// # Errors
    /// As [`Files::share`], and when the files cannot be those of a folder.
    #[must_use = "nothing is shared before it is awaited"]
    pub fn share_bytes(&self, file: File, listed: Option<Listed>) -> Share {
        self.share_of(Source::Bytes(Arc::new(file), listed))
    }

    fn share_of(&self, source: Source) -> Share {
        Share { files: self.clone(), source, options: ShareOptions::default(), record: None }
    }

    /// Fetches what a link leads to, from as many nodes as have it. Every byte is checked against the
    /// link before it is written or given on.
    ///
    /// It takes a link, the text of one, or the name of a record that holds one.
    ///
    /// # Errors
    /// When awaited: no node has it, the destination exists, there is no room, or the record holds no link.
    #[must_use = "nothing is fetched before it is awaited or started"]
    pub fn fetch(&self, what: impl Into<Wanted>) -> Fetch {
        let options = FetchOptions::default();
        Fetch { files: self.clone(), wanted: what.into(), to: To::Typed(".".into()), options }
    }

    /// What this node has, in the order of the ids: the first ten thousand. More come by
    /// [`Files::page`].
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn list(&self) -> std::result::Result<Vec<FileEntry>, FilesError> {
        self.inner()?.list().await
    }

    /// What this node has behind `after`, in the order of the ids: at most `max`, and never more than
    /// ten thousand.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn page(
        &self,
        after: Option<BlobId>,
        max: usize,
    ) -> std::result::Result<FilePage, FilesError> {
        self.inner()?.page(after, max).await
    }

    /// What there is to say of one file or folder; `None` if it is not here.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn find(&self, id: BlobId) -> std::result::Result<Option<FileEntry>, FilesError> {
        self.inner()?.find(id).await
    }

    /// How many files and folders there are and how many bytes of them are here. Takes no time.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn totals(&self) -> std::result::Result<FileTotals, FilesError> {
        self.inner()?.totals().await
    }

    /// Caps what the node sends and how fast it takes what it fetches, in bytes a second; `None` is no
    /// cap. Holds from now on, also for transfers under way.
    ///
    /// # Errors
    /// [`FilesError`], if the node keeps everything in memory.
    pub fn set_rates(
        &self,
        upload: Option<u64>,
        download: Option<u64>,
    ) -> std::result::Result<(), FilesError> {
        self.inner()?.set_rates(ByteRates { upload, download });
        Ok(())
    }

    /// Stops sharing a file or folder. Files outside the node's folder stay.
    ///
    /// # Errors
    /// [`FilesError::Unknown`]
    pub async fn unshare(&self, id: BlobId) -> std::result::Result<(), FilesError> {
        self.inner()?.unshare(id).await
    }

    /// As [`Files::unshare`], but only what was shared under this name if the same bytes are shared under
    /// others, too. Returns whether they still are.
    ///
    /// # Errors
    /// [`FilesError::Unknown`]
    pub async fn unshare_as(
        &self,
        id: BlobId,
        name: &str,
    ) -> std::result::Result<bool, FilesError> {
        self.inner()?.unshare_as(id, Some(name)).await
    }

    /// Keeps a file or folder until it is unpinned.
    ///
    /// # Errors
    /// [`FilesError::Unknown`]
    pub async fn pin(&self, id: BlobId) -> std::result::Result<(), FilesError> {
        self.inner()?.pin(id).await
    }

    /// Lets a file or folder go when its room is needed.
    ///
    /// # Errors
    /// [`FilesError::Unknown`]
    pub async fn unpin(&self, id: BlobId) -> std::result::Result<(), FilesError> {
        self.inner()?.unpin(id).await
    }

    /// Makes room in the cache of files fetched for readers, or only says what it would do.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn gc(&self, dry_run: bool) -> std::result::Result<GcReport, FilesError> {
        self.inner()?.gc(dry_run).await
    }

    /// Opens a file for reading: one that is here, is being fetched, or is fetched now into the
    /// node's cache. `path` names a file inside a folder.
    ///
    /// # Errors
    /// [`FilesError::IsFolder`], [`FilesError::NoSuchPath`], or no node has it.
    pub async fn open(
        &self,
        id: BlobId,
        path: Option<&str>,
    ) -> std::result::Result<Reader, FilesError> {
        self.inner()?.open_file(id, path).await
    }

    /// Reads a shared file from its beginning while it is being fetched, by its link, the text of the link, or
    /// the name of a record that holds it. See [`FileReader`].
    ///
    /// # Errors
    /// No node has it, it is a folder, or the record holds no link.
    pub async fn read(&self, what: impl Into<Wanted>) -> Result<FileReader> {
        let link = what.into().resolve(&self.node).await?;
        Ok(FileReader::new(self.open(link.id, None).await?, &link))
    }

    /// Opens the list of files of a folder: the bytes of its [`Manifest`](potluck_swarm::Manifest), which
    /// its id is the hash of.
    ///
    /// # Errors
    /// No node has it.
    pub async fn open_list(&self, id: BlobId) -> std::result::Result<Reader, FilesError> {
        self.inner()?.open_list(id).await
    }
}

/// What is shared.
#[derive(Debug, Clone)]
enum Source {
    Path(PathBuf),
    Opened(Arc<Opened>),
    Bytes(Arc<File>, Option<Listed>),
}

/// A share that is about to begin.
#[derive(Debug, Clone)]
pub struct Share {
    files: Files,
    source: Source,
    options: ShareOptions,
    record: Option<String>,
}

impl Share {
    /// Keeps a copy in the node's folder, so that the original may change or go.
    pub const fn copy(mut self, copy: bool) -> Self {
        self.options.copy = copy;
        self
    }

    /// What to call it. Default: as the file is called.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// Also points the record of this name at the link, so that it can be fetched by the name. The record's
    /// value is superseded.
    pub fn as_record(mut self, name: impl Into<String>) -> Self {
        self.record = Some(name.into());
        self
    }

    /// Of bytes of one file that come from elsewhere: when it was changed last there, in seconds since 1970,
    /// and its permissions as Unix counts them.
    pub const fn marks(mut self, mtime: Option<i64>, mode: Option<u32>) -> Self {
        self.options.marks = (mtime, mode);
        self
    }

    /// Is called with the bytes hashed and the total, from several threads.
    pub fn progress(mut self, hear: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.options.progress = Some(Arc::new(hear));
        self
    }
}

impl IntoFuture for Share {
    type Output = Result<Shared>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (files, options) = (self.files.inner()?, self.options);
            let shared = match self.source {
                Source::Path(path) => files.share(path, options).await?,
                Source::Opened(opened) => files.share_opened(opened, options).await?,
                Source::Bytes(file, listed) => files.share_bytes(file, listed, options).await?,
            };
            if let Some(name) = self.record {
                self.files.node.kv().put(name, shared.link.to_string()).await?;
            }
            Ok(shared)
        })
    }
}

/// A fetch that is about to begin.
#[derive(Debug, Clone)]
pub struct Fetch {
    files: Files,
    wanted: Wanted,
    to: To,
    options: FetchOptions,
}

impl Fetch {
    /// The folder to put it into, made if it is not there. Default: the current one.
    pub fn to(mut self, folder: impl Into<PathBuf>) -> Self {
        self.to = To::Typed(folder.into());
        self
    }

    /// The same by the real path of the folder: no link is followed that comes there meanwhile.
    pub fn to_real(mut self, folder: impl Into<PathBuf>) -> Self {
        self.to = To::Real(folder.into());
        self
    }

    /// Replaces files of an earlier fetch that were not changed since. Default: files that
    /// are there stay, and those that are not what was fetched are named in the result.
    pub const fn update(mut self, update: bool) -> Self {
        self.options.update = update;
        self
    }

    /// Replaces every existing file, also changed ones.
    pub const fn force(mut self, force: bool) -> Self {
        self.options.force = force;
        self
    }

    /// Begins it and gives a job to look at. It goes on until it is over or cancelled. Must be called
    /// in the tokio runtime.
    ///
    /// # Errors
    /// [`FilesError::NoFolder`], or [`Error::Link`](crate::Error::Link): only a link can be started at once; a record's name is
    /// looked up by awaiting the fetch.
    pub fn start(self) -> Result<FetchJob> {
        let link = self.wanted.link()?;
        Ok(self.files.inner()?.begin_fetch_with(link, self.to, self.options))
    }
}

/// Cancels a job with the future that waits for it.
struct Cancels(FetchJob);

impl Drop for Cancels {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl IntoFuture for Fetch {
    type Output = Result<Fetched>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut this = self;
            this.wanted = Wanted::Link(this.wanted.resolve(&this.files.node).await?);
            let mut job = Cancels(this.start()?);
            Ok(job.0.wait().await?)
        })
    }
}
