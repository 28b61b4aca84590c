//! Which places of this machine callers of the API may name.
//!
//! **Invariant:** a path is compared in its real form, with every link resolved, and that form is
//! what is used afterwards; what the node itself keeps in its data folder is never handed out and
//! never written over, whatever is configured.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Problem;
use crate::config::Settings;

/// The places that one node lets its callers name.
#[derive(Debug, Clone)]
pub(in crate::http) struct Places {
    roots: Vec<PathBuf>,
    data_dir: PathBuf,
}

/// What a node keeps for itself in its data folder.
const OWN: [&str; 13] = [
    "identity",
    "network",
    "peers",
    "lock",
    "http",
    "certificate",
    "issuers",
    "revoked",
    "authority",
    "issued",
    "records",
    "blobs",
    super::upload::FOLDER,
];

impl Places {
    /// As the settings say.
    pub(in crate::http) fn new(settings: &Settings, data_dir: &Path) -> Self {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let roots = settings.file_paths().into_iter().map(absolute).collect();
        Self { roots, data_dir: absolute(data_dir.to_owned()) }
    }

    /// The real form of a path that is to be read.
    pub(in crate::http) async fn to_read(&self, typed: &str) -> Result<PathBuf, Problem> {
        let (places, typed) = (self.clone(), PathBuf::from(typed));
        on_thread(move || places.readable(&typed)).await
    }

    /// The real form of a folder that is to be written into, which is made if there is none.
    pub(in crate::http) async fn to_write(&self, typed: &str) -> Result<PathBuf, Problem> {
        let (places, typed) = (self.clone(), PathBuf::from(typed));
        on_thread(move || places.writable(&typed)).await
    }

    fn readable(&self, typed: &Path) -> Result<PathBuf, Problem> {
        let path = self.inside(typed)?;
        let data_dir = real(&self.data_dir);
        if self.is_own(&path) || data_dir.starts_with(&path) {
            return Err(own(&path).hint("share another folder, or parts of this one"));
        }
        let about = path.metadata().map_err(|error| unreadable(&path, &error))?;
        let opened =
            if about.is_dir() { path.read_dir().map(drop) } else { File::open(&path).map(drop) };
        opened.map_err(|error| unreadable(&path, &error))?;
        Ok(path)
    }

    fn writable(&self, typed: &Path) -> Result<PathBuf, Problem> {
        let path = self.inside(typed)?;
        if self.is_own(&path) || real(&self.data_dir) == path {
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
        std::fs::create_dir_all(&path).map_err(unwritable)?;
        tempfile::tempfile_in(&path).map_err(unwritable)?;
        Ok(path)
    }

    /// The real form of a path, if it lies in one of the places.
    fn inside(&self, typed: &Path) -> Result<PathBuf, Problem> {
        if !typed.is_absolute() || typed.components().any(|part| part == Component::ParentDir) {
            let detail = format!("{} is no absolute path without `..`", typed.display());
            return Err(Problem::bad("badPath", detail).hint("give the whole path"));
        }
        let path = real(typed);
        // A place that leads nowhere would hold every path.
        let mut roots = self.roots.iter().map(|root| real(root));
        if roots.any(|root| root.is_absolute() && path.starts_with(root)) {
            return Ok(path);
        }
        let detail = format!("{} is outside of what this node may touch", typed.display());
        Err(Problem::forbidden("outsidePaths", detail).hint("add its place to [files] paths"))
    }

    fn is_own(&self, path: &Path) -> bool {
        let data_dir = real(&self.data_dir);
        OWN.iter().any(|name| path.starts_with(data_dir.join(name)))
    }
}

fn own(path: &Path) -> Problem {
    let detail = format!("{} holds what this node keeps for itself", path.display());
    Problem::forbidden("ownFolder", detail)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let detail = format!("this node cannot read {}: {error}", path.display());
    if error.kind() == io::ErrorKind::NotFound {
        return Problem::bad("noSuchFile", detail);
    }
    Problem::forbidden("unreadable", detail)
}

/// A path with all links resolved as far as it exists.
fn real(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    for there in path.ancestors() {
        if let Ok(mut real) = there.canonicalize() {
            real.extend(rest.iter().rev());
            return real;
        }
        // A link that leads nowhere may lead somewhere later: no path goes through one.
        if there.symlink_metadata().is_ok() {
            return PathBuf::new();
        }
        rest.extend(there.file_name());
    }
    PathBuf::new()
}

/// Asks the file system where waiting for it holds nobody up.
async fn on_thread<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(look).await.map_err(|_| Problem::unexpected())?
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;

    use super::*;

    fn status(result: Result<PathBuf, Problem>) -> StatusCode {
        result.map_or_else(|problem| problem.into_response().status(), |_| StatusCode::OK)
    }

    fn house() -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["open/inner", "data/blobs", "data/mine", "closed"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("folder");
        }
        for name in ["open/file", "data/identity", "closed/file"] {
            std::fs::write(folder.path().join(name), "x").expect("file");
        }
        let data_dir = folder.path().join("data");
        let roots = vec![folder.path().join("open"), data_dir.clone()];
        (folder, Places { roots, data_dir })
    }

    #[test]
    fn only_what_lies_inside_of_the_places_may_be_named() {
        let (folder, places) = house();
        let read = |name: &str| status(places.readable(&folder.path().join(name)));
        for name in ["open", "open/file", "open/inner", "data/mine"] {
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
        for name in ["data", "data/identity", "data/blobs", "data/blobs/new"] {
            assert_eq!(status(places.readable(&at(name))), StatusCode::FORBIDDEN, "{name}");
            assert_eq!(status(places.writable(&at(name))), StatusCode::FORBIDDEN, "{name}");
        }
        let all = Places { roots: vec![folder.path().to_owned()], ..places };
        assert_eq!(status(all.readable(folder.path())), StatusCode::FORBIDDEN);
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
