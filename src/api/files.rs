//! The types of the HTTP API for files.

use potluck::ManifestFile;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ProblemBody;

/// A file or folder to share.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ShareRequest {
    /// Its path on the node's machine.
    pub(crate) path: String,
    /// A record in space `commons` that is to hold the link; in an `open` network in the node's own space.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none", default)]
    pub(crate) record: Option<String>,
    /// Whether to keep a copy of the bytes, so that the file may be changed or removed.
    #[serde(default)]
    pub(crate) copy: bool,
    /// Its name; by default the name in the path.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) name: Option<String>,
}

/// The files of a folder whose bytes follow.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FolderFiles {
    /// In the order of their paths.
    pub(crate) files: Vec<FolderFile>,
    /// The folders that have no file in them.
    #[serde(default)]
    pub(crate) empty_folders: Vec<String>,
}

/// A file of a folder.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FolderFile {
    /// Its path in the folder, with `/` between names.
    pub(crate) path: String,
    /// Its bytes.
    pub(crate) bytes: u64,
    /// Whether it may be executed.
    #[serde(default)]
    pub(crate) executable: bool,
    /// When its bytes were changed last, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) mtime: Option<i64>,
}

impl From<FolderFile> for ManifestFile {
    fn from(file: FolderFile) -> Self {
        let FolderFile { path, bytes, executable, mtime } = file;
        Self { path, bytes, executable, mtime }
    }
}

impl From<&ManifestFile> for FolderFile {
    fn from(file: &ManifestFile) -> Self {
        let (bytes, executable, mtime) = (file.bytes, file.executable, file.mtime);
        Self { path: file.path.clone(), bytes, executable, mtime }
    }
}

/// An entry of a folder that was left out, is missing, or has changed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Skipped {
    /// Its path in the folder.
    pub(crate) path: String,
    /// The reason.
    pub(crate) reason: String,
}

/// A file or folder that this node offers now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SharedFile {
    /// The link by which others fetch it.
    pub(crate) link: String,
    /// The hash of its content.
    pub(crate) id: String,
    /// Bytes of all its files.
    pub(crate) bytes: u64,
    /// The number of its files.
    pub(crate) files: u64,
    /// Entries that were left out because they cannot be shared, such as symbolic links.
    #[serde(default)]
    pub(crate) skipped: Vec<Skipped>,
    /// Entries that are missing because they could not be read.
    #[serde(default)]
    pub(crate) failed: Vec<Skipped>,
}

/// A file or folder of which this node has at least a part.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileEntry {
    /// The hash of its content.
    pub(crate) id: String,
    /// The link by which others fetch it, if it is known whether it is a file or a folder.
    pub(crate) link: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) bytes: u64,
    /// Bytes of it on this node.
    pub(crate) have_bytes: u64,
    /// The number of its files, if it is a folder whose list is known.
    pub(crate) files: Option<u64>,
    /// Its path, if it is not in the node's own store.
    pub(crate) path: Option<String>,
    /// `partial`, `complete` or `changed`.
    pub(crate) state: String,
    /// Whether this node offers it.
    pub(crate) shared: bool,
    /// Whether it stays until it is unpinned.
    pub(crate) pinned: bool,
    /// Whether it is being fetched or read.
    pub(crate) in_use: bool,
}

/// All files and folders of which this node has at least a part.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Files {
    /// The files and folders, in the order of their ids.
    pub(crate) files: Vec<FileEntry>,
    /// The id after which the list continues; null at its end.
    #[serde(default)]
    pub(crate) next: Option<String>,
}

/// All files and folders that this node offers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shares {
    /// The files and folders.
    pub(crate) shares: Vec<FileEntry>,
    /// The id after which the list continues; null at its end.
    #[serde(default)]
    pub(crate) next: Option<String>,
}

/// A file or folder that is not offered any more.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unshared {
    /// The hash of its content.
    pub(crate) id: String,
    /// Whether the same bytes are still offered under another name.
    pub(crate) shared: bool,
}

/// A file or folder that was pinned or unpinned.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pin {
    /// The hash of its content.
    pub(crate) id: String,
    /// Whether it stays until it is unpinned.
    pub(crate) pinned: bool,
}

/// A file in the report of a garbage collection.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GcEntry {
    /// The hash of its content.
    pub(crate) id: String,
    /// Its bytes in the node's own store.
    pub(crate) bytes: u64,
    /// Why it is removed or stays.
    pub(crate) reason: String,
}

/// The report of a garbage collection, or of a dry run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Gc {
    /// Whether it is a dry run.
    pub(crate) dry_run: bool,
    /// The files that are removed, at most ten thousand.
    pub(crate) removed: Vec<GcEntry>,
    /// The files that stay, at most a thousand.
    pub(crate) kept: Vec<GcEntry>,
    /// The number of files that are removed.
    pub(crate) removed_count: u64,
    /// The number of files that stay.
    pub(crate) kept_count: u64,
    /// Bytes of the removed files.
    pub(crate) freed_bytes: u64,
    /// Bytes that stay and count against the limit.
    pub(crate) cached_bytes: u64,
}

/// A file or folder to fetch.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FetchRequest {
    /// The link that `share` printed.
    pub(crate) link: String,
    /// The target folder on the node's machine; it is made if it does not exist.
    pub(crate) to: String,
    /// Whether files of an earlier fetch that were not changed since are replaced.
    #[serde(default)]
    pub(crate) update: bool,
    /// Whether every existing file is replaced.
    #[serde(default)]
    pub(crate) force: bool,
}

/// A node that bytes came from.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Source {
    /// Its node id.
    pub(crate) id: String,
    /// Bytes that came from it.
    pub(crate) bytes: u64,
}

/// A file or folder that was fetched.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FetchedFile {
    /// Its path.
    pub(crate) path: String,
    /// Its bytes.
    pub(crate) bytes: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// The nodes that sent it.
    pub(crate) sources: Vec<Source>,
    /// Bytes that were received twice.
    pub(crate) duplicate_bytes: u64,
    /// Bytes that were there from an earlier attempt.
    pub(crate) resumed_bytes: u64,
    /// Bytes that were on the node's machine already, compared and copied instead of fetched.
    #[serde(default)]
    pub(crate) reused_bytes: u64,
    /// Existing files that differ from the fetched ones and were left unchanged, at most 1000.
    #[serde(default)]
    pub(crate) left: Vec<String>,
    /// Existing files that are not part of the fetched folder, at most 1000. They were left unchanged.
    #[serde(default)]
    pub(crate) kept: Vec<String>,
    /// Whether every byte was compared with the hash in the link.
    pub(crate) verified: bool,
    /// Files that are missing, or not as they were shared; the rest is complete.
    #[serde(default)]
    pub(crate) failed: Vec<Skipped>,
}

/// The state of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum JobState {
    /// In progress.
    Running,
    /// Complete.
    Done,
    /// It did not work.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// A fetch.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Job {
    /// Its number in the paths of this API.
    pub(crate) id: String,
    /// The link that is fetched.
    pub(crate) link: String,
    /// The target folder.
    pub(crate) to: String,
    /// Its state.
    pub(crate) state: JobState,
    /// All bytes, once their number is known.
    pub(crate) bytes_total: Option<u64>,
    /// Bytes that are there.
    pub(crate) bytes: u64,
    /// Nodes that have a part of it.
    pub(crate) sources: usize,
    /// Nodes that are sending a part now.
    pub(crate) active: usize,
    /// Seconds since it began.
    pub(crate) seconds: f64,
    /// The fetched file or folder.
    pub(crate) result: Option<FetchedFile>,
    /// Why it failed.
    pub(crate) error: Option<ProblemBody>,
}

/// The fetches of this node: those in progress and the last ones that ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Jobs {
    /// Oldest first.
    pub(crate) fetches: Vec<Job>,
}
