//! What the HTTP API says about files.

use potluck::ManifestFile;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ProblemBody;

/// A file or folder to share.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ShareRequest {
    /// Where it is on the node's machine.
    pub(crate) path: String,
    /// A record in space `commons` that is to hold the link; in an `open` network in the node's own space.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none", default)]
    pub(crate) record: Option<String>,
    /// Whether to keep a copy of the bytes, whatever becomes of the file.
    #[serde(default)]
    pub(crate) copy: bool,
    /// What to call it; by default as it is called there.
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
    /// Where it is in the folder, with `/` between names.
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

/// What was left out of a folder, is missing from it, or is not as it was.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Skipped {
    /// Where in the folder.
    pub(crate) path: String,
    /// Why.
    pub(crate) reason: String,
}

/// Something that this node offers now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SharedFile {
    /// What others fetch it by.
    pub(crate) link: String,
    /// The hash of its content.
    pub(crate) id: String,
    /// Bytes of all its files.
    pub(crate) bytes: u64,
    /// How many files.
    pub(crate) files: u64,
    /// What was left out since it cannot be shared, such as links.
    #[serde(default)]
    pub(crate) skipped: Vec<Skipped>,
    /// What is missing although it should be there.
    #[serde(default)]
    pub(crate) failed: Vec<Skipped>,
}

/// A file or folder of which this node has something.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileEntry {
    /// The hash of its content.
    pub(crate) id: String,
    /// What others fetch it by, if this node knows what it is.
    pub(crate) link: Option<String>,
    /// What it is called.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) bytes: u64,
    /// Of them here.
    pub(crate) have_bytes: u64,
    /// How many files, if it is a folder that is known.
    pub(crate) files: Option<u64>,
    /// Where it lies, if not in the node's own store.
    pub(crate) path: Option<String>,
    /// `partial`, `complete` or `changed`.
    pub(crate) state: String,
    /// Whether this node offers it.
    pub(crate) shared: bool,
    /// Whether it stays until it is unpinned.
    pub(crate) pinned: bool,
    /// Whether it is fetched or read now.
    pub(crate) in_use: bool,
}

/// All that this node has something of.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Files {
    /// The files and folders, in the order of their ids.
    pub(crate) files: Vec<FileEntry>,
    /// Behind which id the list goes on; null: this is its end.
    #[serde(default)]
    pub(crate) next: Option<String>,
}

/// All that this node offers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shares {
    /// The files and folders.
    pub(crate) shares: Vec<FileEntry>,
    /// Behind which id the list goes on; null: this is its end.
    #[serde(default)]
    pub(crate) next: Option<String>,
}

/// Something that is not offered any more.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unshared {
    /// The hash of its content.
    pub(crate) id: String,
    /// Whether the same bytes are still offered under another name.
    pub(crate) shared: bool,
}

/// Whether something stays.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pin {
    /// The hash of its content.
    pub(crate) id: String,
    /// Whether it stays until it is unpinned.
    pub(crate) pinned: bool,
}

/// What a collection did to one file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GcEntry {
    /// The hash of its content.
    pub(crate) id: String,
    /// Its bytes in the node's own store.
    pub(crate) bytes: u64,
    /// Why it goes or stays.
    pub(crate) reason: String,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Gc {
    /// Whether it only says what it would do.
    pub(crate) dry_run: bool,
    /// What goes, at most ten thousand of it.
    pub(crate) removed: Vec<GcEntry>,
    /// What stays, at most a thousand of it.
    pub(crate) kept: Vec<GcEntry>,
    /// How much goes.
    pub(crate) removed_count: u64,
    /// How much stays.
    pub(crate) kept_count: u64,
    /// Bytes of what goes.
    pub(crate) freed_bytes: u64,
    /// Bytes that stay and count against the limit.
    pub(crate) cached_bytes: u64,
}

/// A file or folder to fetch.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FetchRequest {
    /// What `share` printed.
    pub(crate) link: String,
    /// The folder on the node's machine that it is put into, made if there is none.
    pub(crate) to: String,
    /// Whether files of an earlier fetch that were not changed since are replaced.
    #[serde(default)]
    pub(crate) update: bool,
    /// Whether every file that is in the way is replaced.
    #[serde(default)]
    pub(crate) force: bool,
}

/// A node that bytes came from.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Source {
    /// Where it stands in the network.
    pub(crate) id: String,
    /// Bytes that came from it.
    pub(crate) bytes: u64,
}

/// A file or folder that was fetched.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FetchedFile {
    /// Where it is.
    pub(crate) path: String,
    /// Its bytes.
    pub(crate) bytes: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Where it came from.
    pub(crate) sources: Vec<Source>,
    /// Bytes that came twice.
    pub(crate) duplicate_bytes: u64,
    /// Bytes that were there from an earlier try.
    pub(crate) resumed_bytes: u64,
    /// Bytes that were on the node's machine already, compared and copied instead of fetched.
    #[serde(default)]
    pub(crate) reused_bytes: u64,
    /// Files there that are not what was fetched and were left as they are, at most 1000.
    #[serde(default)]
    pub(crate) left: Vec<String>,
    /// Files there that are not part of what was fetched, at most 1000. They were not touched.
    #[serde(default)]
    pub(crate) kept: Vec<String>,
    /// Whether every byte was compared with the hash in the link.
    pub(crate) verified: bool,
    /// What is not there, or not as it was shared; the rest is.
    #[serde(default)]
    pub(crate) failed: Vec<Skipped>,
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum JobState {
    /// Under way.
    Running,
    /// Everything is there.
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
    /// What it is asked for by.
    pub(crate) id: String,
    /// What is fetched.
    pub(crate) link: String,
    /// The folder that it is put into.
    pub(crate) to: String,
    /// How far it is.
    pub(crate) state: JobState,
    /// All bytes, as soon as that is known.
    pub(crate) bytes_total: Option<u64>,
    /// Bytes that are there.
    pub(crate) bytes: u64,
    /// Nodes that have something of it.
    pub(crate) sources: usize,
    /// Nodes that send something now.
    pub(crate) active: usize,
    /// How long it has been going on.
    pub(crate) seconds: f64,
    /// What came of it.
    pub(crate) result: Option<FetchedFile>,
    /// Why it did not work.
    pub(crate) error: Option<ProblemBody>,
}

/// The fetches of this node: those under way and the last ones that ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Jobs {
    /// Oldest first.
    pub(crate) fetches: Vec<Job>,
}
