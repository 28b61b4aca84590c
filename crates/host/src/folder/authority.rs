//! The file with a network's authority key: in the data folder of a node that issues certificates,
//! and where its owner keeps a copy.
//!
//! **Invariant:** a key that others could have read is not used, and no key is written over another.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use data_encoding::HEXLOWER;
use potluck_base::Identity;

use super::file;
use crate::StartError;

const HEAD: &str = "potluck authority 1";
const BYTES_MAX: u64 = 1024;

/// The network's name and key in the file at `path`; `None` if there is none.
pub(super) fn load(path: &Path) -> Result<Option<(String, Identity)>, StartError> {
    let wrong = |why| StartError::AuthorityFile { path: path.to_owned(), why };
    if exposed(path) {
        return Err(wrong("others can read or change it; if nobody did, run `chmod 600` on it"));
    }
    let text = match file::read(path, BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(wrong("it holds no authority key, or is damaged"));
        }
        text => text.map_err(|source| StartError::File { path: path.to_owned(), source })?,
    };
    let read = |text: String| {
        decode(&text).ok_or_else(|| wrong("it holds no authority key, or is damaged"))
    };
    text.map(read).transpose()
}

/// Writes the key to `path`, where nothing may be yet, for its owner's eyes only.
pub(super) fn save(path: &Path, name: &str, key: &Identity) -> Result<(), StartError> {
    let failed = |source| StartError::File { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let why = "there is a file already, which is not written over";
            return Err(StartError::AuthorityFile { path: path.to_owned(), why });
        }
        file => file.map_err(failed)?,
    };
    let written = file.write_all(encode(name, key).as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key is none, and would stand in the way.
        let _ = std::fs::remove_file(path);
    }
    written.map_err(failed)
}

fn encode(name: &str, key: &Identity) -> String {
    let seed = HEXLOWER.encode(&key.seed());
    format!("{HEAD}\nname {name}\nseed {seed}\nkey {}\n", key.public_key())
}

fn decode(text: &str) -> Option<(String, Identity)> {
    let mut lines = text.lines();
    if lines.next()? != HEAD {
        return None;
    }
    let name = lines.next()?.strip_prefix("name ")?.to_owned();
    let seed = HEXLOWER.decode(lines.next()?.strip_prefix("seed ")?.as_bytes()).ok()?;
    let identity = Identity::from_seed(seed.try_into().ok()?);
    let key = lines.next()?.strip_prefix("key ")?;
    let whole = key == identity.public_key().to_string() && lines.next().is_none();
    whole.then_some((name, identity))
}

#[cfg(unix)]
fn exposed(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn exposed(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_once_and_read_again_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority");
        assert!(load(&path).unwrap().is_none());
        let key = Identity::from_seed([7; 32]);
        save(&path, "home", &key).unwrap();
        let (name, read) = load(&path).unwrap().unwrap();
        assert_eq!((name.as_str(), read.public_key()), ("home", key.public_key()));
        let error = save(&path, "home", &key).unwrap_err();
        assert!(error.to_string().contains("not written over"), "{error}");
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, &good[..60]).unwrap();
        assert!(matches!(load(&path), Err(StartError::AuthorityFile { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority");
        save(&path, "home", &Identity::from_seed([7; 32])).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = load(&path).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
