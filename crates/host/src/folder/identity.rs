//! The file with the node's key pair.
//!
//! **Invariant:** a key that others could have read, or that is not the one written, is never used:
//! a node whose identity changed silently would lose its place and its records.

use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use potluck_base::Identity;

use super::file::{self, Readers};
use crate::StartError;

const HEAD: &str = "potluck identity 1";
const BYTES_MAX: u64 = 1024;
/// Most key pairs that one folder keeps of those it gave up.
const OLD_MAX: u32 = 1_000;

/// The identity kept at `path`; made, from `given` or the system's randomness, if there is none.
pub(super) fn load_or_create(
    path: &Path,
    given: Option<&Identity>,
) -> Result<Identity, StartError> {
    let failed = |source| StartError::File { path: path.to_owned(), source };
    let damaged = || StartError::IdentityDamaged { path: path.to_owned() };
    check_readers(path)?;
    let text = match file::read(path, BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(damaged()),
        text => text.map_err(failed)?,
    };
    if let Some(text) = text {
        let kept = match decode(&text) {
            Some(kept) => kept,
            None => {
                let kept = cut_off(&text).ok_or_else(damaged)?;
                tracing::warn!(code = "folder.identity", path = %path.display(), "the identity was cut off behind the key; made whole");
                file::replace(path, encode(&kept).as_bytes(), Readers::Owner).map_err(failed)?;
                kept
            }
        };
        return match given {
            Some(given) if given.public_key() != kept.public_key() => {
                Err(StartError::OtherIdentity { path: path.to_owned() })
            }
            _ => Ok(kept),
        };
    }
    let identity = match given {
        Some(given) => given.clone(),
        None => random()?,
    };
    file::replace(path, encode(&identity).as_bytes(), Readers::Owner).map_err(failed)?;
    Ok(identity)
}

/// Renames the key pair at `path` to the first name of `old` that is free. A damaged one as well.
pub(super) fn set_aside(
    path: &Path,
    old: impl Fn(u32) -> PathBuf,
) -> Result<Option<PathBuf>, StartError> {
    let failed = |source| StartError::File { path: path.to_owned(), source };
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    // One node at a time has the folder, so no other process takes the name meanwhile.
    let free = (1..=OLD_MAX).map(old).find(|old| old.symlink_metadata().is_err());
    let old = free.ok_or_else(|| failed(io::ErrorKind::AlreadyExists.into()))?;
    std::fs::rename(path, &old).map_err(failed)?;
    file::sync_folder(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    Ok(Some(old))
}

/// An identity of the system's randomness.
pub(crate) fn random() -> Result<Identity, StartError> {
    Ok(Identity::from_seed(random_bytes()?))
}

/// Bytes of the system's randomness, for keys and secrets.
///
/// # Errors
/// [`StartError::Randomness`]
pub fn random_bytes() -> Result<[u8; 32], StartError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| StartError::Randomness(error.to_string()))?;
    Ok(bytes)
}

/// The public key stands beside the seed, so that a damaged seed is noticed.
pub(super) fn encode(identity: &Identity) -> String {
    let seed = HEXLOWER.encode(&identity.seed());
    format!("{HEAD}\nseed {seed}\nkey {}\n", identity.public_key())
}

pub(super) fn decode(text: &str) -> Option<Identity> {
    let mut lines = text.lines();
    if lines.next()? != HEAD {
        return None;
    }
    let identity = read_seed(lines.next()?)?;
    let key = lines.next()?.strip_prefix("key ")?;
    (key == identity.public_key().to_string() && lines.next().is_none()).then_some(identity)
}

/// The identity in a text whose end is missing, but nothing of the key.
pub(super) fn cut_off(text: &str) -> Option<Identity> {
    let [_, seed, _, ..] = text.split('\n').collect::<Vec<_>>()[..] else { return None };
    let identity = read_seed(seed)?;
    file::is_cut_off(text, &encode(&identity)).then_some(identity)
}

fn read_seed(line: &str) -> Option<Identity> {
    let seed = HEXLOWER.decode(line.strip_prefix("seed ")?.as_bytes()).ok()?;
    Some(Identity::from_seed(seed.try_into().ok()?))
}

#[cfg(unix)]
fn check_readers(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            let mode = metadata.permissions().mode() & 0o777;
            Err(StartError::IdentityExposed { path: path.to_owned(), mode })
        }
        // A missing file is made, any other trouble shows when it is read.
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_readers(_path: &Path) -> Result<(), StartError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_then_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let made = load_or_create(&path, None).unwrap();
        let again = load_or_create(&path, None).unwrap();
        assert_eq!(made.public_key(), again.public_key());
        let other = load_or_create(&folder.path().join("other"), None).unwrap();
        assert_ne!(made.public_key(), other.public_key());
    }

    #[test]
    fn any_flipped_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        load_or_create(&path, None).unwrap();
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x01;
            assert!(decode(&String::from_utf8_lossy(&bad)).is_none(), "byte {at}");
        }
        for bad in [&b""[..], b"\xff\xfe", &good[..40], &[b'x'; 4096]] {
            std::fs::write(&path, bad).unwrap();
            let error = load_or_create(&path, None).unwrap_err();
            assert!(matches!(error, StartError::IdentityDamaged { .. }), "{error}");
        }
    }

    #[test]
    fn an_identity_that_was_cut_off_is_made_whole_if_its_key_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let made = load_or_create(&path, None).unwrap();
        let good = std::fs::read(&path).unwrap();
        let seed_end =
            good.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0;
        // Without its last line break it is whole.
        for cut in 0..good.len() - 1 {
            for zeros in [0, 5] {
                let mut torn = good[..cut].to_vec();
                torn.resize(cut + zeros, 0);
                std::fs::write(&path, torn).unwrap();
                match load_or_create(&path, None) {
                    Ok(kept) => {
                        assert!(cut > seed_end, "cut at {cut}");
                        assert_eq!(kept.public_key(), made.public_key());
                        assert_eq!(std::fs::read(&path).unwrap(), good);
                    }
                    // Never another identity in its place.
                    Err(error) => {
                        assert!(cut <= seed_end, "cut at {cut}");
                        assert!(matches!(error, StartError::IdentityDamaged { .. }), "{error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_given_identity_is_written_down_and_must_stay_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let given = Identity::from_seed([7; 32]);
        load_or_create(&path, Some(&given)).unwrap();
        assert_eq!(load_or_create(&path, None).unwrap().public_key(), given.public_key());
        let other = load_or_create(&path, Some(&Identity::from_seed([8; 32])));
        assert!(matches!(other, Err(StartError::OtherIdentity { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn an_identity_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        load_or_create(&path, None).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        for wide in [0o640, 0o604, 0o644, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(wide)).unwrap();
            let error = load_or_create(&path, None).unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert!(load_or_create(&path, None).is_ok());
    }
}
