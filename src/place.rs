//! Paths on this machine: the data folder and the address of the local node.

use std::env;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The environment variable of `[node] data_dir`.
pub(crate) const DATA_DIR_VARIABLE: &str = "POTLUCK_NODE_DATA_DIR";

/// The platform's folder for data of a user, with `potluck` in it. Empty if the user's home folder is
/// unknown: a folder relative to the current one would differ from start to start.
pub(crate) fn default_data_dir() -> PathBuf {
    data_dir_of(home_dir(), |name| env::var_os(name).map(PathBuf::from))
}

fn data_dir_of(home: Option<PathBuf>, of: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    // A relative path in one of these variables is ignored (XDG Base Directory Specification).
    let of = |name: &str| of(name).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        of("LOCALAPPDATA").or_else(|| home.map(|home| home.join("AppData").join("Local")))
    } else if cfg!(target_os = "macos") {
        home.map(|home| home.join("Library").join("Application Support"))
    } else {
        of("XDG_DATA_HOME").or_else(|| home.map(|home| home.join(".local").join("share")))
    };
    base.map(|base| base.join("potluck")).unwrap_or_default()
}

/// The home folder of the user: from the environment, or else from the system's list of users.
pub(crate) fn home_dir() -> Option<PathBuf> {
    env::home_dir().filter(|path| path.is_absolute())
}

/// The folders in which running nodes of this user are listed, see `nodes`: that of the session, if there
/// is one, and that of the user's data.
pub(crate) fn nodes_dirs() -> Vec<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_absolute() && !cfg!(windows));
    let runtime = runtime.map(|path| path.join("potluck"));
    let data = Some(default_data_dir()).filter(|path| !path.as_os_str().is_empty());
    runtime.into_iter().chain(data).map(|path| path.join("nodes")).collect()
}

/// The data folder of the local node as far as a client can know it.
pub(crate) fn client_data_dir() -> Option<PathBuf> {
    let path = env::var_os(DATA_DIR_VARIABLE).map_or_else(default_data_dir, PathBuf::from);
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

/// A typed path in the form that means the same to a node: absolute, without `.` and `..`, and with links
/// resolved as far as it exists.
///
/// # Errors
/// The current folder is unknown, or a folder on the way cannot be read.
pub(crate) fn resolved(typed: &Path) -> io::Result<PathBuf> {
    let mut real = PathBuf::new();
    for part in std::path::absolute(typed)?.components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            Component::CurDir => {}
            // Alone it would be the current folder of that drive.
            Component::Prefix(_) => {
                real.push(part);
                continue;
            }
            part => real.push(part),
        }
        match real.canonicalize() {
            Ok(path) => real = path,
            // It does not exist yet, and neither do the parts after it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(real)
}

/// The file to which a running node writes the URL of its HTTP API.
pub(crate) fn url_file(data_dir: &Path) -> PathBuf {
    data_dir.join(potluck::layout::HTTP)
}

/// The file in which a node keeps its own token.
pub(crate) fn token_file(data_dir: &Path) -> PathBuf {
    data_dir.join(potluck::layout::TOKEN)
}

/// The URL that the local node wrote, if there is one.
pub(crate) fn local_url() -> Option<String> {
    let text = std::fs::read_to_string(url_file(&client_data_dir()?)).ok()?;
    let url = text.trim();
    url.starts_with("http://").then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_home_there_is_no_data_folder_rather_than_one_in_the_current_folder() {
        assert_eq!(data_dir_of(None, |_| None), PathBuf::new());
        assert_eq!(data_dir_of(None, |_| Some("relative".into())), PathBuf::new());
        let home = env::temp_dir();
        let data = data_dir_of(Some(home.clone()), |_| Some("relative".into()));
        assert!(data.starts_with(&home) && data.ends_with("potluck"), "{}", data.display());
    }

    #[test]
    fn a_typed_path_loses_its_dots_whether_it_exists_or_not() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().canonicalize().expect("it exists");
        std::fs::create_dir_all(root.join("a/b")).expect("folder");
        let of = |typed: &str| resolved(&folder.path().join(typed)).expect("resolved");
        for (typed, real) in [
            ("a/b/..", "a"),
            ("a/b/../../a/./b", "a/b"),
            ("a/../d", "d"),
            ("a/new/../d", "a/d"),
            ("a/new/d", "a/new/d"),
        ] {
            assert_eq!(of(typed), root.join(real), "{typed}");
        }
        assert_eq!(of("../../../../../../../../../.."), Path::new("/"));
        let here = env::current_dir().and_then(|here| here.canonicalize()).expect("a folder");
        assert_eq!(resolved(Path::new("..")).ok().as_deref(), here.parent());
    }

    #[cfg(unix)]
    #[test]
    fn a_typed_path_goes_where_its_links_lead() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().canonicalize().expect("it exists");
        std::fs::create_dir_all(root.join("far/away")).expect("folder");
        std::os::unix::fs::symlink(root.join("far/away"), root.join("near")).expect("link");
        assert_eq!(resolved(&root.join("near/../x")).expect("resolved"), root.join("far/x"));
        assert_eq!(resolved(&root.join("near")).expect("resolved"), root.join("far/away"));
    }
}
