//! The file that says which network a data folder belongs to.

use std::path::Path;

use data_encoding::HEXLOWER;
use potluck_base::network::NETWORK_NAME_BYTES_MAX;
use potluck_base::{Admission, NetworkId};

use super::file::{self, Readers};
use crate::StartError;

const HEAD: &str = "potluck network 1";
const BYTES_MAX: u64 = 1024;

/// The network that a node belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInfo {
    /// What people call it.
    pub name: String,
    /// Who may come in.
    pub admission: Admission,
    /// Its id, the hash of the others.
    pub id: NetworkId,
}

impl NetworkInfo {
    fn new(name: String, admission: Admission) -> Self {
        let id = NetworkId::new(&name, admission, None);
        Self { name, admission, id }
    }

    /// The network to be in: the remembered one, which what was asked for must not contradict; or
    /// else the one asked for.
    pub(crate) fn choose(
        folder: &Path,
        remembered: Option<Self>,
        name: Option<&str>,
        admission: Option<Admission>,
    ) -> Result<Self, StartError> {
        if let Some(name) = name {
            check_name(name)?;
        }
        let chosen = match (remembered, name) {
            (Some(kept), _) => {
                let same_name = name.is_none_or(|name| name == kept.name);
                if !same_name || admission.is_some_and(|admission| admission != kept.admission) {
                    return Err(StartError::OtherNetwork {
                        folder: folder.to_owned(),
                        name: kept.name,
                        admission: kept.admission,
                    });
                }
                kept
            }
            // Permissioned is what a new network is if nothing else is said.
            (None, Some(name)) => {
                Self::new(name.to_owned(), admission.unwrap_or(Admission::Invite))
            }
            (None, None) => return Err(StartError::NoNetwork),
        };
        match chosen.admission {
            Admission::Lab => Ok(chosen),
            Admission::Invite | Admission::Open => Err(StartError::Admission(chosen.admission)),
        }
    }
}

/// A name must fit on a line of a file and of a screen.
fn check_name(name: &str) -> Result<(), StartError> {
    let good = !name.trim().is_empty()
        && name.len() <= NETWORK_NAME_BYTES_MAX
        && name.trim() == name
        && !name.chars().any(char::is_control);
    if good { Ok(()) } else { Err(StartError::NetworkName) }
}

/// What the file at `path` says; `None` if there is none.
pub(super) fn load(path: &Path) -> Result<Option<NetworkInfo>, StartError> {
    let damaged = || StartError::NetworkDamaged { path: path.to_owned() };
    let text = match file::read(path, BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(damaged()),
        text => text.map_err(|source| StartError::File { path: path.to_owned(), source })?,
    };
    text.map(|text| decode(&text).ok_or_else(damaged)).transpose()
}

/// Writes `network` to `path`.
pub(super) fn save(path: &Path, network: &NetworkInfo) -> Result<(), StartError> {
    file::replace(path, encode(network).as_bytes(), Readers::Usual, true)
        .map_err(|source| StartError::File { path: path.to_owned(), source })
}

fn encode(network: &NetworkInfo) -> String {
    let id = HEXLOWER.encode(network.id.as_bytes());
    format!("{HEAD}\nname {}\nadmission {}\nid {id}\n", network.name, network.admission)
}

fn decode(text: &str) -> Option<NetworkInfo> {
    let mut lines = text.lines();
    if lines.next()? != HEAD {
        return None;
    }
    let name = lines.next()?.strip_prefix("name ")?;
    let admission = lines.next()?.strip_prefix("admission ")?.parse().ok()?;
    let network = NetworkInfo::new(name.to_owned(), admission);
    let id = lines.next()?.strip_prefix("id ")?;
    (id == HEXLOWER.encode(network.id.as_bytes()) && lines.next().is_none()).then_some(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(name: &str) -> NetworkInfo {
        NetworkInfo::new(name.to_owned(), Admission::Lab)
    }

    fn choose(
        remembered: Option<NetworkInfo>,
        name: Option<&str>,
        admission: Option<Admission>,
    ) -> Result<NetworkInfo, StartError> {
        NetworkInfo::choose(Path::new("folder"), remembered, name, admission)
    }

    #[test]
    fn a_network_survives_its_file_and_a_damaged_file_is_noticed() {
        let network = lab("größer");
        let text = encode(&network);
        assert_eq!(decode(&text), Some(network));
        for at in 0..text.len() {
            let mut bad = text.clone().into_bytes();
            bad[at] ^= 0x01;
            assert!(decode(&String::from_utf8_lossy(&bad)).is_none(), "byte {at}");
        }
    }

    #[test]
    fn the_remembered_network_needs_not_be_named_and_cannot_be_changed() {
        assert_eq!(choose(Some(lab("a")), None, None).unwrap(), lab("a"));
        assert_eq!(choose(Some(lab("a")), Some("a"), Some(Admission::Lab)).unwrap(), lab("a"));
        for (name, admission) in [(Some("b"), None), (None, Some(Admission::Open))] {
            let error = choose(Some(lab("a")), name, admission).unwrap_err();
            assert!(matches!(error, StartError::OtherNetwork { .. }), "{error}");
            assert!(error.to_string().contains("`a`"), "{error}");
        }
    }

    #[test]
    fn only_lab_exists_yet_and_has_to_be_asked_for() {
        assert_eq!(choose(None, Some("a"), Some(Admission::Lab)).unwrap(), lab("a"));
        for admission in [None, Some(Admission::Invite), Some(Admission::Open)] {
            let error = choose(None, Some("a"), admission).unwrap_err();
            assert!(error.to_string().contains("only `lab` exists yet"), "{error}");
        }
        assert!(matches!(choose(None, None, None), Err(StartError::NoNetwork)));
    }

    #[test]
    fn a_name_fits_on_a_line() {
        for name in ["", " ", "a\nb", " a", &"x".repeat(65)] {
            let error = choose(None, Some(name), Some(Admission::Lab)).unwrap_err();
            assert!(matches!(error, StartError::NetworkName), "{name:?}: {error}");
        }
        assert!(choose(None, Some(&"x".repeat(64)), Some(Admission::Lab)).is_ok());
    }
}
