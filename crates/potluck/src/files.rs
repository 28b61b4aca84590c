//! Files: sharing files of this machine, and fetching files that others share.

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

    /// Shares a file or folder: hashes it once and announces it in the network. Its bytes stay where they are
    /// and are read there later too; a file that changes is withdrawn.
    ///
    /// # Errors
    /// When awaited: there is no such file, it cannot be read, or there is no room.
    #[must_use = "nothing is shared before it is awaited"]
    pub fn share(&self, path: impl Into<PathBuf>) -> Share {
        self.share_of(Source::Path(path.into()))
    }

    /// Shares a file or folder that is open already: the opened file is shared, even if its path leads to
    /// another file by now.
    ///
    /// # Errors
    /// As [`Files::share`].
    #[must_use = "nothing is shared before it is awaited"]
    pub fn share_opened(&self, opened: Opened) -> Share {
        self.share_of(Source::Opened(Arc::new(opened)))
    }

    /// Shares a copy of the bytes of an open file. With `listed` the bytes are those of the files of a
    /// folder, one after the other.
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

    /// Fetches the file or folder of a link from all nodes that have it. Every byte is checked against the
    /// link before it is written or passed on.
    ///
    /// `wanted` is a link, the text of one, or the name of a record that holds one.
    ///
    /// # Errors
    /// When awaited: no node has it, the destination exists, there is no room, or the record holds no link.
    #[must_use = "nothing is fetched before it is awaited or started"]
    pub fn fetch(&self, what: impl Into<Wanted>) -> Fetch {
        let options = FetchOptions::default();
        Fetch { files: self.clone(), wanted: what.into(), to: To::Typed(".".into()), options }
    }

    /// The files and folders of this node, in the order of their ids: the first ten thousand. [`Files::page`]
    /// returns more.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn list(&self) -> std::result::Result<Vec<FileEntry>, FilesError> {
        self.inner()?.list().await
    }

    /// The files and folders of this node with ids greater than `after`, in the order of the ids: at most
    /// `max`, and never more than ten thousand.
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

    /// The entry of one file or folder; `None` if this node does not have it.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn find(&self, id: BlobId) -> std::result::Result<Option<FileEntry>, FilesError> {
        self.inner()?.find(id).await
    }

    /// The number of files and folders, and the number of their bytes on this node. Returns at once.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn totals(&self) -> std::result::Result<FileTotals, FilesError> {
        self.inner()?.totals().await
    }

    /// Limits the rates at which the node sends and fetches, in bytes a second; `None` is no limit. Takes
    /// effect at once, also for transfers in progress.
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

    /// As [`Files::unshare`], but removes only the share of this name if the same bytes are shared under
    /// other names too. Returns whether they still are.
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

    /// Allows the node to remove a file or folder when its room is needed.
    ///
    /// # Errors
    /// [`FilesError::Unknown`]
    pub async fn unpin(&self, id: BlobId) -> std::result::Result<(), FilesError> {
        self.inner()?.unpin(id).await
    }

    /// Makes room in the cache of files fetched for readers; with `dry_run` only reports what it would
    /// remove.
    ///
    /// # Errors
    /// [`FilesError`]
    pub async fn gc(&self, dry_run: bool) -> std::result::Result<GcReport, FilesError> {
        self.inner()?.gc(dry_run).await
    }

    /// Opens a file for reading: a file that the node has, is fetching, or now fetches into its cache. `path`
    /// names a file inside a folder.
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

    /// Opens the list of files of a folder: the bytes of its [`Manifest`](potluck_swarm::Manifest), whose
    /// hash is the folder's id.
    ///
    /// # Errors
    /// No node has it.
    pub async fn open_list(&self, id: BlobId) -> std::result::Result<Reader, FilesError> {
        self.inner()?.open_list(id).await
    }
}

/// The bytes to share.
#[derive(Debug, Clone)]
enum Source {
    Path(PathBuf),
    Opened(Arc<Opened>),
    Bytes(Arc<File>, Option<Listed>),
}

/// A share before its start.
#[derive(Debug, Clone)]
pub struct Share {
    files: Files,
    source: Source,
    options: ShareOptions,
    record: Option<String>,
}

impl Share {
    /// Keeps a copy in the node's folder, so that the original may be changed or removed.
    pub const fn copy(mut self, copy: bool) -> Self {
        self.options.copy = copy;
        self
    }

    /// The name of the share. Default: the file's name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// Also writes the link into the record of this name, so that the file can be fetched by the name. The
    /// record's value is superseded.
    pub fn as_record(mut self, name: impl Into<String>) -> Self {
        self.record = Some(name.into());
        self
    }

    /// For the bytes of one file from another machine: the time of its last change there, in seconds since
    /// 1970, and its Unix permissions.
    pub const fn marks(mut self, mtime: Option<i64>, mode: Option<u32>) -> Self {
        self.options.marks = (mtime, mode);
        self
    }

    /// Calls `hear` with the bytes hashed and the total, from several threads.
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

/// A fetch before its start.
#[derive(Debug, Clone)]
pub struct Fetch {
    files: Files,
    wanted: Wanted,
    to: To,
    options: FetchOptions,
}

impl Fetch {
    /// The folder to fetch into; it is made if it does not exist. Default: the current one.
    pub fn to(mut self, folder: impl Into<PathBuf>) -> Self {
        self.to = To::Typed(folder.into());
        self
    }

    /// The same by the real path of the folder: links that were put there meanwhile are not followed.
    pub fn to_real(mut self, folder: impl Into<PathBuf>) -> Self {
        self.to = To::Real(folder.into());
        self
    }

    /// Replaces files of an earlier fetch that were not changed since. Default: existing files stay, and
    /// those that differ from the fetched ones are named in the result.
    pub const fn update(mut self, update: bool) -> Self {
        self.options.update = update;
        self
    }

    /// Replaces every existing file, also changed ones.
    pub const fn force(mut self, force: bool) -> Self {
        self.options.force = force;
        self
    }

    /// Starts the fetch and returns its job. It runs until it has ended or is cancelled. Must be called in
    /// the tokio runtime.
    ///
    /// # Errors
    /// [`FilesError::NoFolder`], or [`Error::Link`](crate::Error::Link): only a link can be started at once; a record's name is
    /// looked up by awaiting the fetch.
    pub fn start(self) -> Result<FetchJob> {
        let link = self.wanted.link()?;
        Ok(self.files.inner()?.begin_fetch_with(link, self.to, self.options))
    }
}

/// Cancels a job when the future that waits for it is dropped.
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
