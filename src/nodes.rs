//! Files by which the command line finds a running node and its token from the node's URL: the node writes a
//! small file in a folder of the user at its start and removes it at its end.
//!
//! **Invariant:** a token is found only for the address that its own node listens on, and only by the
//! user that the node runs as: no other user can read the folder and its files.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::place;

/// The contents of such a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// The node's URL.
    pub(crate) url: String,
    /// Its data folder.
    pub(crate) data_dir: PathBuf,
    /// The file with its token; none if it asks for no token.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) token_file: Option<PathBuf>,
}

/// The file name for a node that listens on `address`.
fn file_name(address: SocketAddr) -> String {
    // Windows allows no colons in names.
    format!("{}-{}", address.ip().to_string().replace(':', "_"), address.port())
}

/// Files written for a node. They are removed with it.
#[derive(Debug)]
pub(crate) struct Written {
    files: Vec<PathBuf>,
    text: String,
}

/// Writes the file of a node that listens on `address`, in each folder where a client may look: a client in
/// another session of the same user may know only one of them.
pub(crate) fn write(address: SocketAddr, entry: &Entry) -> io::Result<Written> {
    write_in(&place::nodes_dirs(), address, entry)
}

fn write_in(folders: &[PathBuf], address: SocketAddr, entry: &Entry) -> io::Result<Written> {
    let text = serde_json::to_string(entry).map_err(io::Error::other)?;
    let (mut files, mut failed) = (Vec::new(), None);
    for folder in folders {
        let file = folder.join(file_name(address));
        match make_folder(folder).and_then(|()| write_secret(&file, text.as_bytes())) {
            Ok(()) => files.push(file),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if files.is_empty() => Err(error),
        _ => Ok(Written { files, text }),
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for file in &self.files {
            // Another node may have written its own file since. A file that stays does no harm.
            if fs::read_to_string(file).is_ok_and(|text| text == self.text) {
                let _ = fs::remove_file(file);
            }
        }
    }
}

/// The entry of the node that listens on `address`, if one of this user does.
pub(crate) fn find(address: SocketAddr) -> Option<Entry> {
    find_in(&place::nodes_dirs(), address)
}

fn find_in(folders: &[PathBuf], address: SocketAddr) -> Option<Entry> {
    folders.iter().find_map(|folder| {
        let file = folder.join(file_name(address));
        // Another user with the right to write it could make this user send a token to another program.
        if !is_private(&file) {
            return None;
        }
        serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
    })
}

/// Makes a folder that only its owner can read.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Replaces a file atomically; only its owner can read it.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension(format!("{}.new", std::process::id()));
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&aside, path)
}

/// Whether only its owner may read or write an existing file.
#[cfg(unix)]
pub(crate) fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|about| about.permissions().mode() & 0o077 == 0)
}

/// Whether only its owner may read or write an existing file.
#[cfg(not(unix))]
pub(crate) fn is_private(path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(port: u16) -> (SocketAddr, Entry) {
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        let entry = Entry {
            url: format!("http://{address}"),
            data_dir: "/data".into(),
            token_file: Some("/data/token".into()),
        };
        (address, entry)
    }

    #[test]
    fn an_entry_is_found_while_its_node_runs_in_each_of_the_folders() {
        let folder = tempfile::tempdir().expect("folder");
        let folders = [folder.path().join("run/nodes"), folder.path().join("data/nodes")];
        let (address, one) = entry(8080);
        let written = write_in(&folders, address, &one).expect("written");
        for folder in &folders {
            assert_eq!(find_in(std::slice::from_ref(folder), address), Some(one.clone()));
            assert!(is_private(&folder.join("127.0.0.1-8080")));
        }
        assert_eq!(find_in(&folders, entry(8081).0), None);
        // Another node on the same port, after this one was killed.
        let other = Entry { data_dir: "/other".into(), ..one };
        let second = write_in(&folders, address, &other).expect("written");
        drop(written);
        assert_eq!(find_in(&folders, address), Some(other));
        drop(second);
        assert_eq!(find_in(&folders, address), None);
        // A folder that cannot be made is no failure.
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        let half = [file.join("nodes"), folders[0].clone()];
        let (address, one) = entry(1);
        let written = write_in(&half, address, &one).expect("in one of them");
        assert_eq!(find_in(&half, address), Some(one.clone()));
        drop(written);
        write_in(&half[..1], address, &one).expect_err("in none");
    }

    #[cfg(unix)]
    #[test]
    fn what_others_could_have_written_is_not_believed() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("folder");
        let folders = [folder.path().to_owned()];
        let (address, one) = entry(8080);
        let _written = write_in(&folders, address, &one).expect("written");
        let file = folder.path().join("127.0.0.1-8080");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("changed");
        assert_eq!(find_in(&folders, address), None);
    }
}
