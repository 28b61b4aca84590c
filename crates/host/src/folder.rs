//! A node's data folder: its identity, its network, its contacts of the last run, and its records.
//!
//! | file | content |
//! |---|---|
//! | `layout` | the version of the layout |
//! | `lock` | held while a node runs on the folder |
//! | `identity` | the node's key pair, readable only by its owner |
//! | `identity.old-1` and so on | key pairs that the node gave up |
//! | `network` | the network that the folder belongs to |
//! | `peers` | contacts of the last run |
//! | `certificate` | the certificate that the network's authority signed for the node, in an `invite` network |
//! | `issuers` | nodes that may sign the next certificate |
//! | `revoked` | the revocations of the authority |
//! | `puzzle` | the solution of the puzzle of the epoch, in an `open` network |
//! | `settings` | the settings of the network, signed by its authority |
//! | `authority` | the network's authority key, on nodes that sign certificates, readable only by its owner |
//! | `issued` | the tickets and certificates that this node issued |
//! | `records/` | the records |
//! | `files/` | the files that the user shares from here or fetches into here |
//!
//! [`layout`] has all names, also those of other parts of the program, and decides which paths may be
//! shared.
//!
//! **Invariants:** one node at a time uses a folder; a folder belongs to one network and one identity;
//! after a crash every small file has its old or its new content.

mod authority;
mod file;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod identity;
pub mod layout;
mod names;
mod network;
mod peers;
mod proofs;
mod version;

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use potluck_base::{Contact, Identity};
use potluck_store::FolderLock;

use crate::StartError;

pub(crate) use file::{Readers, append_to, read_bytes, replace, sync_folder};
pub(crate) use identity::random;
pub use identity::random_bytes;
pub use network::NetworkInfo;
pub(crate) use network::{Choice, Requested};

/// Longest file with an incarnation: twenty digits and a line break, with room to spare.
const INCARNATION_BYTES_MAX: u64 = 64;

/// A data folder that this node holds the lock of.
#[derive(Debug, Clone)]
pub(crate) struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    /// Takes the folder for this process, making it (for its owner only) if there is none.
    pub(crate) fn take(path: &Path) -> Result<(Self, FolderLock), StartError> {
        let failed = |source| StartError::File { path: path.to_owned(), source };
        create(path).map_err(failed)?;
        let lock = FolderLock::acquire(path)?;
        version::check(path)?;
        // The process may change its working directory later.
        let path = std::path::absolute(path).map_err(failed)?;
        Ok((Self { path }, lock))
    }

    /// Takes the folder of a stopped node to read it, without changing anything. `None` if it is no data
    /// folder.
    pub(crate) fn look(path: &Path) -> Result<Option<(Self, FolderLock)>, StartError> {
        if !version::look(path)? {
            return Ok(None);
        }
        let Some(lock) = FolderLock::acquire_to_read(path)? else { return Ok(None) };
        let failed = |source| StartError::File { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(failed)?;
        Ok(Some((Self { path }, lock)))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The node's identity, see [`identity::load_or_create`].
    pub(crate) fn identity(&self, given: Option<&Identity>) -> Result<Identity, StartError> {
        identity::load_or_create(&self.path.join(layout::IDENTITY), given)
    }

    /// Puts the node's identity aside, so that [`identity`](Self::identity) makes another. Gives the
    /// file that keeps the old one, or `None` if there was none.
    pub(crate) fn set_identity_aside(&self) -> Result<Option<PathBuf>, StartError> {
        identity::set_aside(&self.path.join(layout::IDENTITY), |number| {
            self.path.join(format!("{}-{number}", layout::IDENTITY_OLD))
        })
    }

    /// The network that the folder belongs to, if it belongs to one.
    pub(crate) fn network(&self) -> Result<Option<NetworkInfo>, StartError> {
        network::load(&self.path.join(layout::NETWORK))
    }

    /// Lets the folder belong to `network`.
    pub(crate) fn set_network(&self, network: &NetworkInfo) -> Result<(), StartError> {
        network::save(&self.path.join(layout::NETWORK), network)
    }

    /// The node's certificate, if it has one.
    pub(crate) fn certificate(&self) -> Option<Bytes> {
        proofs::load(&self.path.join(layout::CERTIFICATE)).into_iter().next()
    }

    /// Keeps the node's certificate.
    pub(crate) fn save_certificate(&self, certificate: &Bytes) -> io::Result<()> {
        proofs::save(&self.path.join(layout::CERTIFICATE), std::slice::from_ref(certificate))
    }

    /// The revocations known in the last run.
    pub(crate) fn revocations(&self) -> Vec<Bytes> {
        proofs::load(&self.path.join(layout::REVOKED))
    }

    /// Keeps the revocations.
    pub(crate) fn save_revocations(&self, revocations: &[Bytes]) -> io::Result<()> {
        proofs::save(&self.path.join(layout::REVOKED), revocations)
    }

    /// The solution of the puzzle of an `open` network that was made last.
    pub(crate) fn puzzle_proof(&self) -> Option<Bytes> {
        proofs::load(&self.path.join(layout::PUZZLE)).into_iter().next()
    }

    /// Keeps the solution of the puzzle.
    pub(crate) fn save_puzzle_proof(&self, proof: &Bytes) -> io::Result<()> {
        proofs::save(&self.path.join(layout::PUZZLE), std::slice::from_ref(proof))
    }

    /// Whether the folder has a key pair.
    pub(crate) fn has_identity(&self) -> bool {
        self.path.join(layout::IDENTITY).symlink_metadata().is_ok()
    }

    /// The settings of the network that were in force in the last run.
    pub(crate) fn settings(&self) -> Option<Bytes> {
        proofs::load(&self.path.join(layout::SETTINGS)).into_iter().next()
    }

    /// Keeps the settings of the network.
    pub(crate) fn save_settings(&self, settings: &Bytes) -> io::Result<()> {
        proofs::save(&self.path.join(layout::SETTINGS), std::slice::from_ref(settings))
    }

    /// The authority key of `network`, if this node holds it.
    pub(crate) fn authority(&self, network: &NetworkInfo) -> Result<Option<Identity>, StartError> {
        let path = self.path.join(layout::AUTHORITY);
        match authority::recover(&path)? {
            Some((_, key)) if Some(key.public_key()) == network.authority => Ok(Some(key)),
            Some(_) => Err(StartError::AuthorityFile { path, why: "it is another network's" }),
            None => Ok(None),
        }
    }

    /// The authority key in a folder that belongs to no network yet.
    pub(crate) fn orphaned_authority(&self) -> Result<Option<(String, Identity)>, StartError> {
        authority::recover(&self.path.join(layout::AUTHORITY))
    }

    /// Keeps the authority key; nothing may be there yet.
    pub(crate) fn save_authority(
        &self,
        network: &NetworkInfo,
        key: &Identity,
    ) -> Result<(), StartError> {
        authority::save(&self.path.join(layout::AUTHORITY), &network.name, key)
    }

    /// Where the issuer's book is.
    pub(crate) fn issued_path(&self) -> PathBuf {
        self.path.join(layout::ISSUED)
    }

    /// Nodes that may sign the next certificate.
    pub(crate) fn issuers(&self) -> Vec<Contact> {
        peers::load(&self.path.join(layout::ISSUERS))
    }

    /// Keeps nodes that may sign the next certificate.
    pub(crate) fn save_issuers(&self, contacts: &[Contact]) -> io::Result<()> {
        peers::save(&self.path.join(layout::ISSUERS), contacts)
    }

    /// The incarnation of the last run; 0 if there was none or its file is damaged.
    pub(crate) fn last_incarnation(&self) -> u64 {
        let text = file::read(&self.path.join(layout::INCARNATION), INCARNATION_BYTES_MAX);
        text.ok().flatten().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }

    /// Keeps the incarnation of this run.
    pub(crate) fn save_incarnation(&self, incarnation: u64) -> io::Result<()> {
        let path = self.path.join(layout::INCARNATION);
        replace(&path, format!("{incarnation}\n").as_bytes(), Readers::Usual)
    }

    /// The contacts of the last run.
    pub(crate) fn contacts(&self) -> Vec<Contact> {
        peers::load(&self.path.join(layout::PEERS))
    }

    /// Saves contacts for the next run.
    pub(crate) fn save_contacts(&self, contacts: &[Contact]) -> io::Result<()> {
        peers::save(&self.path.join(layout::PEERS), contacts)
    }
}

/// The authority key in a file that its owner keeps, with the name of its network.
pub(crate) fn read_authority(path: &Path) -> Result<(String, Identity), StartError> {
    let missing = || StartError::AuthorityFile { path: path.to_owned(), why: "there is none" };
    authority::load(path)?.ok_or_else(missing)
}

/// Writes an authority key to a new file for its owner's eyes only.
pub(crate) fn write_authority(path: &Path, name: &str, key: &Identity) -> Result<(), StartError> {
    authority::save(path, name, key)
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        // Another node was faster; the lock decides.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        result => result?,
    }
    // A node that others know must not be gone with its folder after a loss of power.
    sync_folder(parent.unwrap_or(Path::new(".")))
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_by_one_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/data");
        let (folder, lock) = DataFolder::take(&path).unwrap();
        let error = DataFolder::take(&path).unwrap_err();
        assert!(error.to_string().contains("in use by another node"), "{error}");
        drop(lock);
        assert!(DataFolder::take(folder.path()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_new_folder_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        DataFolder::take(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_path_that_is_a_file_is_refused_with_its_name() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        std::fs::write(&path, "").unwrap();
        let error = DataFolder::take(&path).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
