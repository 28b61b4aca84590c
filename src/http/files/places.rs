//! The paths of this machine that callers of the API may name.
//!
//! **Invariants:** a path is compared in its real form, with every link resolved, and a file is opened by
//! that form without following any link that was put there meanwhile; the files that a node keeps for itself
//! in its data folder are never read or overwritten, whatever is configured; a file system that does not
//! answer holds no more than [`LOOKS_MAX`] threads.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use potluck::{BlobError, Opened, create_folder, layout};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Problem;
use crate::config::Settings;

/// Most paths that are examined at the same time.
const LOOKS_MAX: usize = 64;
/// How long a request waits for one of these places.
const WAIT: Duration = Duration::from_secs(10);

/// The folders of one node that its callers may name.
#[derive(Debug, Clone)]
pub(in crate::http) struct Places {
    roots: Vec<PathBuf>,
    data_dir: PathBuf,
    looks: Arc<Semaphore>,
}

impl Places {
    /// The folders of the settings.
    pub(in crate::http) fn new(settings: &Settings, data_dir: &Path) -> Self {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let roots = settings.file_paths().into_iter().map(absolute).collect();
        let looks = Arc::new(Semaphore::new(LOOKS_MAX));
        Self { roots, data_dir: absolute(data_dir.to_owned()), looks }
    }

    /// Opens a file or folder for reading.
    pub(in crate::http) async fn to_read(&self, typed: &str) -> Result<Opened, Problem> {
        let (places, typed) = (self.clone(), PathBuf::from(typed));
        self.on_thread(move || places.readable(&typed)).await
    }

    /// The real form of a folder for writing; it is made if it does not exist.
    pub(in crate::http) async fn to_write(&self, typed: &str) -> Result<PathBuf, Problem> {
        let (places, typed) = (self.clone(), PathBuf::from(typed));
        self.on_thread(move || places.writable(&typed)).await
    }

    fn readable(&self, typed: &Path) -> Result<Opened, Problem> {
        let path = self.inside(typed)?;
        let data_dir = real(&self.data_dir);
        if layout::owner_of(&path, Some(&data_dir)).is_some() || data_dir.starts_with(&path) {
            return Err(own(&path).hint(format!(
                "share something else; what is to be shared from there belongs into {}",
                data_dir.join(layout::FILES).display()
            )));
        }
        Opened::at(&path).map_err(|error| unreadable(&path, &error))
    }

    fn writable(&self, typed: &Path) -> Result<PathBuf, Problem> {
        let path = self.inside(typed)?;
        let data_dir = real(&self.data_dir);
        if layout::owner_of(&path, Some(&data_dir)).is_some() {
            return Err(own(&path).hint("choose another folder"));
        }
        let unwritable = |error: io::Error| {
            let detail = format!("this node cannot write into {}: {error}", path.display());
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Problem::no_space(detail)
                }
                io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                    Problem::bad("noFolder", detail).hint("choose another folder")
                }
                _ => Problem::forbidden("unwritable", detail).hint("choose another folder"),
            }
        };
        create_folder(&path).map_err(unwritable)?;
        tempfile::tempfile_in(&path).map_err(unwritable)?;
        Ok(path)
    }

    /// The real form of a path, if it lies in one of the allowed folders.
    fn inside(&self, typed: &Path) -> Result<PathBuf, Problem> {
        if !typed.is_absolute() || typed.components().any(|part| part == Component::ParentDir) {
            let detail = format!("{} is no absolute path without `..`", typed.display());
            return Err(Problem::bad("badPath", detail).hint("give the whole path"));
        }
        let path = real(typed);
        // A folder without an absolute real form would contain every path.
        let mut roots = self.roots.iter().map(|root| real(root));
        if roots.any(|root| root.is_absolute() && path.starts_with(root)) {
            return Ok(path);
        }
        let detail = format!("{} is outside of what this node may touch", typed.display());
        Err(Problem::forbidden("outsidePaths", detail).hint("add its place to [files] paths"))
    }

    /// Runs a call to the file system on a thread where it blocks no other request.
    async fn on_thread<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || {
            let detail =
                "the file system does not answer this node, which looks at many paths already";
            Problem::unavailable("busy", detail).hint("try again")
        };
        let place = timeout(WAIT, Arc::clone(&self.looks).acquire_owned()).await;
        let place = place.map_err(|_| busy())?.map_err(|_| busy())?;
        let looked = tokio::task::spawn_blocking(move || {
            let looked = look();
            // Only now: the client may be gone while the thread is still in use.
            drop(place);
            looked
        });
        looked.await.map_err(|_| Problem::unexpected())?
    }
}

fn own(path: &Path) -> Problem {
    let detail = format!("{} holds what this node keeps for itself", path.display());
    Problem::forbidden("ownFolder", detail)
}

fn unreadable(path: &Path, error: &BlobError) -> Problem {
    let detail = match error {
        BlobError::Io { source, .. } => {
            format!("this node cannot read {}: {source}", path.display())
        }
        error => error.to_string(),
    };
    match error {
        BlobError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Problem::bad("noSuchFile", detail)
        }
        BlobError::NotPlain(_) => Problem::bad("notPlain", detail)
            .hint("send what a program writes to POST /v1/files: potluck share - --name NAME"),
        _ => Problem::forbidden("unreadable", detail),
    }
}

/// A path with all links resolved as far as it exists.
fn real(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    for there in path.ancestors() {
        if let Ok(mut real) = there.canonicalize() {
            real.extend(rest.iter().rev());
            return real;
        }
        // A link to nothing may lead somewhere later: no path goes through one.
        if there.symlink_metadata().is_ok() {
            return PathBuf::new();
        }
        rest.extend(there.file_name());
    }
    PathBuf::new()
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;

    use super::*;

    fn status<T>(result: Result<T, Problem>) -> StatusCode {
        result.map_or_else(|problem| problem.into_response().status(), |_| StatusCode::OK)
    }

    fn house() -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["open/inner", "data/blobs", "data/files", "closed"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("folder");
        }
        for name in ["open/file", "data/identity", "data/token", "closed/file"] {
            std::fs::write(folder.path().join(name), "x").expect("file");
        }
        let data_dir = folder.path().join("data");
        let roots = vec![folder.path().join("open"), data_dir.clone()];
        (folder, Places { roots, data_dir, looks: Arc::new(Semaphore::new(1)) })
    }

    #[test]
    fn only_what_lies_inside_of_the_places_may_be_named() {
        let (folder, places) = house();
        let read = |name: &str| status(places.readable(&folder.path().join(name)));
        for name in ["open", "open/file", "open/inner", "data/files"] {
            assert_eq!(read(name), StatusCode::OK, "{name}");
        }
        for name in ["closed", "closed/file", "", "closed/nothing", "opens"] {
            assert_eq!(read(name), StatusCode::FORBIDDEN, "{name}");
        }
        assert_eq!(read("open/nothing"), StatusCode::BAD_REQUEST);
        assert_eq!(read("open/../closed/file"), StatusCode::BAD_REQUEST);
        assert_eq!(status(places.readable(Path::new("open/file"))), StatusCode::BAD_REQUEST);
    }

    #[cfg(unix)]
    #[test]
    fn a_place_that_leads_nowhere_opens_nothing() {
        let (folder, places) = house();
        let nowhere = folder.path().join("nowhere");
        std::os::unix::fs::symlink(folder.path().join("gone"), &nowhere).expect("link");
        let places = Places { roots: vec![nowhere], ..places };
        let closed = places.readable(&folder.path().join("closed/file"));
        assert_eq!(status(closed), StatusCode::FORBIDDEN);
    }

    #[test]
    fn what_the_node_keeps_for_itself_is_neither_read_nor_written() {
        let (folder, places) = house();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("data/records.new")).expect("folder");
        for name in ["data/identity.new", "data/authority.new", "data/records.new/x"] {
            std::fs::write(at(name), "x").expect("file");
        }
        for name in [
            "data",
            "data/identity",
            "data/token",
            "data/identity.new",
            "data/authority.new",
            "data/records.new",
            "data/records.new/x",
            "data/blobs",
            "data/blobs/new",
            "data/anything",
        ] {
            assert_eq!(status(places.readable(&at(name))), StatusCode::FORBIDDEN, "{name}");
            assert_eq!(status(places.writable(&at(name))), StatusCode::FORBIDDEN, "{name}");
        }
        let all = Places { roots: vec![folder.path().to_owned()], ..places };
        assert_eq!(status(all.readable(folder.path())), StatusCode::FORBIDDEN);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_no_plain_file_is_refused_and_holds_nobody_up() {
        let (folder, places) = house();
        let fifo = folder.path().join("open/fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("run").success());
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("open/socket"));
        // There is one place for looks, which each of them gives back.
        for name in ["fifo", "socket", "file"] {
            let path = folder.path().join("open").join(name);
            let expected = if name == "file" { StatusCode::OK } else { StatusCode::BAD_REQUEST };
            let read = places.to_read(path.to_str().expect("text")).await;
            assert_eq!(status(read), expected, "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_was_looked_at_is_what_is_read() {
        use std::io::Read as _;
        let (folder, places) = house();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("open/file"), "allowed").expect("file");
        let opened = places.readable(&at("open/file")).expect("allowed");
        std::fs::remove_file(at("open/file")).expect("removed");
        std::os::unix::fs::symlink(at("closed/file"), at("open/file")).expect("link");
        let mut text = String::new();
        opened.file().read_to_string(&mut text).expect("text");
        assert_eq!(text, "allowed");
        assert_eq!(status(places.readable(&at("open/file"))), StatusCode::FORBIDDEN);
    }

    #[test]
    fn a_folder_to_write_into_is_made_inside_of_the_places_only() {
        let (folder, places) = house();
        let write = |name: &str| status(places.writable(&folder.path().join(name)));
        assert_eq!(write("open/a/b"), StatusCode::OK);
        assert!(folder.path().join("open/a/b").is_dir());
        assert_eq!(write("closed/a"), StatusCode::FORBIDDEN);
        assert!(!folder.path().join("closed/a").exists());
        assert_eq!(write("open/file"), StatusCode::BAD_REQUEST);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_leads_nowhere_else() {
        let (folder, places) = house();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink(at("closed"), at("open/way-out")).expect("link");
        std::os::unix::fs::symlink(at("closed/later"), at("open/dangling")).expect("link");
        assert_eq!(status(places.readable(&at("open/way-out/file"))), StatusCode::FORBIDDEN);
        assert_eq!(status(places.writable(&at("open/way-out/new"))), StatusCode::FORBIDDEN);
        assert_eq!(status(places.writable(&at("open/dangling/new"))), StatusCode::FORBIDDEN);
        assert!(!at("closed/new").exists() && !at("closed/later").exists());
    }
}
