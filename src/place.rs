//! Where things are on this machine: the data folder and the address of the local node.

use std::env;
use std::path::{Path, PathBuf};

/// The environment variable of `[node] data_dir`.
pub(crate) const DATA_DIR_VARIABLE: &str = "POTLUCK_NODE_DATA_DIR";

/// The platform's folder for data of a user, with `potluck` in it. In the current folder if the
/// environment does not say where the user is at home.
pub(crate) fn default_data_dir() -> PathBuf {
    let of = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        of("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        of("HOME").map(|home| home.join("Library").join("Application Support"))
    } else {
        of("XDG_DATA_HOME").or_else(|| of("HOME").map(|home| home.join(".local").join("share")))
    };
    base.unwrap_or_default().join("potluck")
}

/// The home folder of the user, if the environment says where it is.
pub(crate) fn home_dir() -> Option<PathBuf> {
    let variable = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The data folder of the local node as far as a client can know it.
fn client_data_dir() -> PathBuf {
    env::var_os(DATA_DIR_VARIABLE).map_or_else(default_data_dir, PathBuf::from)
}

/// The file in which a running node leaves the URL of its HTTP API.
pub(crate) fn url_file(data_dir: &Path) -> PathBuf {
    data_dir.join("http")
}

/// The URL that the local node left behind, if there is one.
pub(crate) fn local_url() -> Option<String> {
    let text = std::fs::read_to_string(url_file(&client_data_dir())).ok()?;
    let url = text.trim();
    url.starts_with("http://").then(|| url.to_owned())
}
