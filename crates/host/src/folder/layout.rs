//! The layout of a data folder: every name in it, and whether a path in it may be shared.
//!
//! A node owns all of its data folder: keys, records, temporary files, and files that it does not know.
//! The API neither gives them out nor writes over them. The exception is [`FILES`], the folder for the
//! files of the user.

use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use potluck_store::blobs::Opened;

/// The number of the layout that this version reads and writes.
pub const LAYOUT: u32 = 2;

/// Declares the names in a data folder.
macro_rules! names {
    ($($(#[$about:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$about])* pub const $name: &str = $text;)*
        /// All names of the layout.
        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$($name),*];
    };
}

names! {
    /// The number of the layout.
    NUMBER = "layout";
    /// Held while a node runs on the folder.
    LOCK = "lock";
    /// The node's key pair.
    IDENTITY = "identity";
    /// Prefix of the files with former key pairs; a number follows.
    IDENTITY_OLD = "identity.old";
    /// The incarnation of the last run.
    INCARNATION = "incarnation";
    /// The network that the folder belongs to.
    NETWORK = "network";
    /// Contacts of the last run.
    PEERS = "peers";
    /// The certificate of the node.
    CERTIFICATE = "certificate";
    /// Nodes that may sign the next certificate.
    ISSUERS = "issuers";
    /// The revocations.
    REVOKED = "revoked";
    /// The settings of the network.
    SETTINGS = "settings";
    /// The solution of the puzzle of an `open` network.
    PUZZLE = "puzzle";
    /// The network's authority key.
    AUTHORITY = "authority";
    /// The issuer's book.
    ISSUED = "issued";
    /// The records.
    RECORDS = "records";
    /// The files that are shared or fetched.
    BLOBS = "blobs";
    /// Incomplete uploads.
    UPLOADS = "uploads";
    /// The fetches that were requested over HTTP.
    FETCHES = "fetches";
    /// The URL of the HTTP API while the node runs.
    HTTP = "http";
    /// The token of the HTTP API.
    TOKEN = "token";
    /// Files of the user, which may be shared from here and fetched into here.
    FILES = "files";
}

/// The names in a data folder that may be shared.
const SHAREABLE: [&str; 1] = [FILES];
/// The first bytes of an identity file, in every version of the layout.
const IDENTITY_HEAD: &[u8] = b"potluck identity";

/// The data folder that owns a path: `own`, or that of another node of this machine. `None` if the path may
/// be shared. The path must be canonical, without links.
#[must_use]
pub fn owner_of(path: &Path, own: Option<&Path>) -> Option<PathBuf> {
    let is_owner = |folder: &&Path| {
        let first = path.strip_prefix(folder).ok().and_then(|rest| rest.components().next());
        let shareable = match first {
            Some(Component::Normal(name)) => SHAREABLE.iter().any(|shareable| name == *shareable),
            _ => false,
        };
        !shareable && (own == Some(folder) || is_data_folder(folder))
    };
    path.ancestors().find(is_owner).map(Path::to_owned)
}

/// Whether a folder is the data folder of a node, of this or any other layout.
#[must_use]
pub fn is_data_folder(folder: &Path) -> bool {
    let Ok(identity) = Opened::at(&folder.join(IDENTITY)) else { return false };
    let mut head = [0; IDENTITY_HEAD.len()];
    identity.file().read_exact(&mut head).is_ok() && head == IDENTITY_HEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    #[test]
    fn all_of_a_data_folder_is_its_own_but_for_what_is_there_to_be_shared() {
        let (_folder, path) = folder();
        let own = Some(path.as_path());
        let mut names: Vec<String> =
            NAMES.iter().filter(|name| **name != FILES).map(|name| (*name).to_owned()).collect();
        for end in [".new", ".old", ".damaged-0", "~", "x"] {
            let more: Vec<String> = NAMES.iter().map(|name| format!("{name}{end}")).collect();
            names.extend(more);
        }
        names.extend(["anything", "records/x", "records.new/x", "x/files/y"].map(str::to_owned));
        for name in names {
            assert_eq!(owner_of(&path.join(&name), own).as_deref(), own, "{name}");
        }
        assert_eq!(owner_of(&path, own).as_deref(), own, "the folder itself");
        for name in ["files", "files/a", "files/identity"] {
            assert_eq!(owner_of(&path.join(name), own), None, "{name}");
        }
        assert_eq!(owner_of(path.parent().unwrap(), own), None);
    }

    #[test]
    fn the_data_folder_of_another_node_is_its_own_too() {
        let (_folder, path) = folder();
        let other = path.join("other");
        std::fs::create_dir(&other).unwrap();
        assert_eq!(owner_of(&other.join("authority"), None), None, "a folder like any other");
        std::fs::write(other.join(IDENTITY), "potluck identity 1\nseed").unwrap();
        assert_eq!(owner_of(&other.join("authority.new"), None), Some(other.clone()));
        assert_eq!(owner_of(&other.join("files/mine"), None), None);
        assert_eq!(owner_of(&path.join("elsewhere"), None), None);
    }
}
