//! Which network a node belongs to, and who may come in.

use std::fmt;
use std::str::FromStr;

use crate::PublicKey;
use crate::hex::hex_text;
use crate::puzzle::Difficulty;

/// Longest network name in bytes.
pub const NETWORK_NAME_BYTES_MAX: usize = 64;

/// Who may join a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Admission {
    /// Permissioned: members carry a certificate of the network's authority key.
    Invite,
    /// Permissionless: members solve puzzles.
    Open,
    /// No admission control and private address ranges allowed; for demo, tests and trying things.
    Lab,
}

impl Admission {
    /// The word used in configuration and in the hash of the network id.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Open => "open",
            Self::Lab => "lab",
        }
    }
}

/// Why a word names no admission mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("admission is one of invite, open, lab")]
pub struct AdmissionError;

impl FromStr for Admission {
    type Err = AdmissionError;

    fn from_str(word: &str) -> Result<Self, AdmissionError> {
        [Self::Invite, Self::Open, Self::Lab]
            .into_iter()
            .find(|admission| admission.as_str() == word)
            .ok_or(AdmissionError)
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The hash of a network's name, admission mode, authority key and, in `open`, difficulty.
///
/// It enters every datagram header, key derivation and signature, so that two networks never mix,
/// also when both are called "prod". (Two public networks with one protocol name did merge once,
/// which raised the latency of both.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId([u8; 32]);

impl NetworkId {
    /// The id of the network `name` with `admission`; `authority` is `None` in `lab`. An `open` network
    /// has a difficulty as well: see [`NetworkId::open`].
    #[must_use]
    pub fn new(name: &str, admission: Admission, authority: Option<&PublicKey>) -> Self {
        Self::of_parts(&[
            name.as_bytes(),
            admission.as_str().as_bytes(),
            authority.map_or(&[][..], |key| key.as_bytes().as_slice()),
        ])
    }

    fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 network id");
        // Lengths first, so that no name can imitate another name with a mode behind it.
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The id of the `open` network `name` of this difficulty: two networks of one name whose puzzles
    /// differ are two networks.
    #[must_use]
    pub fn open(name: &str, difficulty: Difficulty) -> Self {
        let bits = [difficulty.static_bits(), difficulty.dynamic_bits()];
        Self::of_parts(&[name.as_bytes(), Admission::Open.as_str().as_bytes(), &[], &bits])
    }

    /// The 32 bytes of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes, which stand in every datagram header.
    #[must_use]
    pub fn tag(&self) -> [u8; 8] {
        std::array::from_fn(|index| self.0[index])
    }
}

hex_text!(NetworkId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_mode_and_authority_each_make_another_network() {
        let key = crate::Identity::from_seed([1; 32]).public_key();
        let ids = [
            NetworkId::new("prod", Admission::Lab, None),
            NetworkId::new("prod", Admission::Open, None),
            NetworkId::new("prod", Admission::Invite, Some(&key)),
            NetworkId::new("prodlab", Admission::Lab, None),
            NetworkId::open("prod", Difficulty::new(16, 22).expect("a difficulty")),
            NetworkId::open("prod", Difficulty::new(16, 23).expect("a difficulty")),
            NetworkId::open("prod", Difficulty::new(22, 16).expect("a difficulty")),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(ids[index + 1..].iter().all(|other| other != id));
        }
    }
}
