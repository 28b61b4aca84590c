//! The file with a network's authority key: in the data folder of a node that issues certificates,
//! and where its owner keeps a copy.
//!
//! **Invariants:** a key that others could have read is not used, and no key is written over another; the
//! file appears whole or not at all.

use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use potluck_base::Identity;

use super::file::{self, Readers};
use crate::StartError;

const HEAD: &str = "potluck authority 1";
const BYTES_MAX: u64 = 1024;

/// The network's name and key in the file at `path`; `None` if there is none.
pub(super) fn load(path: &Path) -> Result<Option<(String, Identity)>, StartError> {
    let wrong = |why| StartError::AuthorityFile { path: path.to_owned(), why };
    if exposed(path) {
        return Err(wrong("others can read or change it; if they did not, run `chmod 600` on it"));
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

/// The same for the file in a data folder, of which a crash may have left the beginning only: it is made
/// whole if all of the key is there, and set aside if not.
pub(super) fn recover(path: &Path) -> Result<Option<(String, Identity)>, StartError> {
    if exposed(path) {
        return load(path);
    }
    // What else is wrong with it shows when it is loaded.
    let text = file::read(path, BYTES_MAX).ok().flatten();
    let failed = |source| StartError::File { path: path.to_owned(), source };
    match text.as_deref().map(beginning) {
        Some(Beginning::Of(name, key)) => {
            tracing::warn!(code = "folder.authority", path = %path.display(), "the authority key was cut off behind the key; made whole");
            let text = encode(&name, &key);
            file::replace(path, text.as_bytes(), Readers::Owner).map_err(failed)?;
        }
        Some(Beginning::OfNoKey) => {
            let mut aside = path.as_os_str().to_owned();
            aside.push(".torn");
            let aside = PathBuf::from(aside);
            std::fs::rename(path, &aside).map_err(failed)?;
            tracing::warn!(
                code = "folder.authorityCut",
                path = %path.display(), aside = %aside.display(),
                "the authority key was cut off when it was written; set aside, going on without"
            );
        }
        Some(Beginning::None) | None => {}
    }
    load(path)
}

/// Writes the key to `path`, where nothing may be yet, for its owner's eyes only.
pub(super) fn save(path: &Path, name: &str, key: &Identity) -> Result<(), StartError> {
    let saved = file::create_new(path, encode(name, key).as_bytes(), Readers::Owner);
    saved.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => {
            let why = "there is a file already, which is not written over";
            StartError::AuthorityFile { path: path.to_owned(), why }
        }
        _ => StartError::File { path: path.to_owned(), source },
    })
}

/// What a text is the beginning of.
pub(super) enum Beginning {
    /// Of the file of this key, which is in it.
    Of(String, Box<Identity>),
    /// Of a file with a key, which is not in it.
    OfNoKey,
    /// It is a whole file, or none at all.
    None,
}

pub(super) fn beginning(text: &str) -> Beginning {
    // Blocks that were not written before a loss of power hold zeros.
    let text = text.trim_end_matches('\0');
    let lines: Vec<&str> = text.split('\n').collect();
    if let [_, name, seed, _, ..] = lines[..]
        && let Some(name) = name.strip_prefix("name ")
        && let Some(key) = seed.strip_prefix("seed ").and_then(read_seed)
    {
        let whole = encode(name, &key);
        let cut = file::is_cut_off(text, &whole);
        return if cut { Beginning::Of(name.to_owned(), key.into()) } else { Beginning::None };
    }
    let begins = |line: &str, mark: &str| line.starts_with(mark) || mark.starts_with(line);
    let cut = match lines[..] {
        [head] => HEAD.starts_with(head),
        [HEAD, name] => begins(name, "name "),
        [HEAD, name, seed] => name.starts_with("name ") && begins(seed, "seed "),
        _ => false,
    };
    if cut { Beginning::OfNoKey } else { Beginning::None }
}

fn read_seed(text: &str) -> Option<Identity> {
    let seed = HEXLOWER.decode(text.as_bytes()).ok()?;
    Some(Identity::from_seed(seed.try_into().ok()?))
}

pub(super) fn encode(name: &str, key: &Identity) -> String {
    let seed = HEXLOWER.encode(&key.seed());
    format!("{HEAD}\nname {name}\nseed {seed}\nkey {}\n", key.public_key())
}

pub(super) fn decode(text: &str) -> Option<(String, Identity)> {
    let mut lines = text.lines();
    if lines.next()? != HEAD {
        return None;
    }
    let name = lines.next()?.strip_prefix("name ")?.to_owned();
    let identity = read_seed(lines.next()?.strip_prefix("seed ")?)?;
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

    #[test]
    fn a_key_that_a_crash_cut_off_is_made_whole_or_set_aside_and_never_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority");
        let key = Identity::from_seed([7; 32]);
        save(&path, "home", &key).unwrap();
        let good = std::fs::read(&path).unwrap();
        let seed_end =
            good.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0;
        for cut in 0..good.len() {
            for zeros in [0, 5] {
                let mut torn = good[..cut].to_vec();
                torn.resize(cut + zeros, 0);
                std::fs::write(&path, torn).unwrap();
                let read = recover(&path).unwrap().map(|(name, key)| (name, key.public_key()));
                let there = (cut > seed_end).then(|| ("home".to_owned(), key.public_key()));
                assert_eq!(read, there, "cut at {cut}");
                if there.is_some() {
                    assert_eq!(std::fs::read(&path).unwrap(), good);
                } else {
                    assert!(path.symlink_metadata().is_err(), "cut at {cut}");
                    save(&path, "home", &key).unwrap();
                }
            }
        }
        std::fs::write(&path, "something else").unwrap();
        assert!(matches!(recover(&path), Err(StartError::AuthorityFile { .. })));
        std::fs::write(&path, &good[..good.len() - 3]).unwrap();
        assert!(matches!(load(&path), Err(StartError::AuthorityFile { .. })), "a copy of others");
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
