//! The files below a folder, in the order in which they are concatenated.
//!
//! **Invariant:** the same files give the same list on every system; the list has only plain files.

use std::fmt;
use std::fs::{DirEntry, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::opened::hides_bytes;
use super::{BlobError, SEGMENTS_MAX, files};

/// The limits of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkLimits {
    /// Most files, and most skipped names.
    pub files_max: usize,
    /// The greatest depth of nested folders.
    pub depth_max: usize,
}

impl Default for WalkLimits {
    fn default() -> Self {
        Self { files_max: SEGMENTS_MAX, depth_max: 128 }
    }
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkedFile {
    /// Its path below the folder, with `/` as the separator.
    pub relative: String,
    /// Its path on this system.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Its modification time, in seconds since 1970.
    pub mtime: Option<i64>,
}

/// Why a path was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Special,
    /// A file that the system generates while it is read, so its size is unknown.
    Sizeless,
    /// Its name is not Unicode, or has characters that other systems do not allow in names.
    Name,
    /// The folders are nested too deeply.
    Depth,
    /// It could not be read.
    Unreadable(io::ErrorKind),
}

impl SkipReason {
    /// Whether the skipped path may have contained files that could have been shared. Links, devices and
    /// generated files cannot be shared.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Name | Self::Depth | Self::Unreadable(_))
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("a symbolic link"),
            Self::Special => f.write_str("not a plain file"),
            Self::Sizeless => f.write_str("a file that the system makes while it is read"),
            Self::Name => f.write_str("its name cannot be had on other systems"),
            Self::Depth => f.write_str("too deep"),
            Self::Unreadable(kind) => write!(f, "{kind}"),
        }
    }
}

/// The result of a walk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walk {
    /// The files, ordered by the bytes of their relative paths.
    pub files: Vec<WalkedFile>,
    /// The folders below, in the same order.
    pub folders: Vec<String>,
    /// The skipped paths and the reasons, in the same order. A name that is not Unicode is shown as well as
    /// possible.
    pub skipped: Vec<(String, SkipReason)>,
}

/// Lists the files below a folder. Links are not followed, except that `folder` itself may be one.
///
/// # Errors
/// The folder itself cannot be read, or has more files than `limits` allow.
pub fn walk(folder: &Path, limits: WalkLimits) -> Result<Walk, BlobError> {
    let mut walk = Walk::default();
    let mut folders = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((path, prefix, depth)) = folders.pop() {
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(source) if depth == 0 => return Err(BlobError::Io { path, source }),
            Err(error) => {
                walk.skip(prefix.trim_end_matches('/'), SkipReason::Unreadable(error.kind()));
                continue;
            }
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    walk.skip(prefix.trim_end_matches('/'), SkipReason::Unreadable(error.kind()));
                    break;
                }
            };
            match look(&entry, &prefix) {
                Ok((relative, Found::Folder)) if depth < limits.depth_max => {
                    walk.folders.push(relative.clone());
                    folders.push((entry.path(), format!("{relative}/"), depth + 1));
                }
                Ok((relative, Found::Folder)) => walk.skip(&relative, SkipReason::Depth),
                Ok((relative, Found::File(metadata))) => walk.files.push(WalkedFile {
                    relative,
                    path: entry.path(),
                    bytes: metadata.len(),
                    executable: files::is_executable(&metadata),
                    mtime: files::mtime_of(&metadata),
                }),
                Err(reason) => {
                    let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                    walk.skip(&name, reason);
                }
            }
            let waiting = folders.len() + walk.files.len();
            if waiting.max(walk.folders.len()) > limits.files_max
                || walk.skipped.len() > limits.files_max
            {
                return Err(BlobError::TooManyFiles { max: limits.files_max });
            }
        }
    }
    walk.files.sort_unstable_by(|a, b| a.relative.as_bytes().cmp(b.relative.as_bytes()));
    walk.folders.sort_unstable();
    walk.skipped.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    Ok(walk)
}

impl Walk {
    fn skip(&mut self, relative: &str, reason: SkipReason) {
        self.skipped.push((relative.to_owned(), reason));
    }
}

enum Found {
    Folder,
    File(Metadata),
}

fn look(entry: &DirEntry, prefix: &str) -> Result<(String, Found), SkipReason> {
    let unreadable = |error: io::Error| SkipReason::Unreadable(error.kind());
    let name = entry.file_name().into_string().map_err(|_| SkipReason::Name)?;
    // On other systems a backslash separates names, and control characters are not allowed in names.
    if name.chars().any(|c| c == '\\' || c.is_control()) {
        return Err(SkipReason::Name);
    }
    let relative = format!("{prefix}{name}");
    let kind: FileType = entry.file_type().map_err(unreadable)?;
    if kind.is_dir() {
        Ok((relative, Found::Folder))
    } else if kind.is_file() {
        let metadata = entry.metadata().map_err(unreadable)?;
        if metadata.len() == 0 && hides_bytes(&entry.path()).map_err(unreadable)? {
            return Err(SkipReason::Sizeless);
        }
        Ok((relative, Found::File(metadata)))
    } else if kind.is_symlink() {
        Err(SkipReason::Link)
    } else {
        Err(SkipReason::Special)
    }
}
