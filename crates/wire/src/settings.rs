//! The settings of a whole network: one record signed by its authority. The record with the highest sequence
//! is valid; a node names the sequence of its settings in its member record.
//!
//! **Invariant:** contradictory settings are neither signed nor decoded.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use potluck_base::{Identity, NetworkId, PublicKey};

use crate::admission::{AdmissionProofError, read, sign};

const SETTINGS_DOMAIN: &[u8] = b"potluck 2026 network settings";

/// The settings of the authority. `None` leaves the node's own configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct NetworkSettings {
    /// Goes up by one with each change.
    #[n(0)]
    pub sequence: u64,
    /// Replicas of each record, 1 to 64.
    #[n(1)]
    pub replication: Option<u8>,
    /// The life in milliseconds of a record whose writer names none. Its writer's node renews it at half of
    /// that.
    #[n(2)]
    pub lease_ms: Option<u64>,
    /// Interval in milliseconds at which an owner stores its records again. At most a third of the life;
    /// otherwise a record could expire between two of them.
    #[n(3)]
    pub republish_ms: Option<u64>,
    /// Interval in milliseconds between two rounds of gossip, 100 to 60,000.
    #[n(4)]
    pub gossip_interval_ms: Option<u64>,
    /// Leading zero bits that a node's puzzle needs, at most 32. Fixed in `open` networks.
    #[n(5)]
    pub difficulty: Option<u8>,
}

/// Why settings are refused. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The bytes are not signed by the authority, or are damaged.
    #[error("the settings are not signed by this network's authority")]
    Proof,
    /// A number is outside its range.
    #[error("{0} is outside its range")]
    Range(&'static str),
    /// Records could expire before they are stored again.
    #[error(
        "the republish interval is over a third of the life, so records would be lost: {republish_ms} ms \
         is over a third of {lease_ms} ms"
    )]
    Republish {
        /// The interval.
        republish_ms: u64,
        /// The life.
        lease_ms: u64,
    },
}

impl NetworkSettings {
    /// Checks each number, and that the settings do not contradict each other.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting.
    pub fn check(&self) -> Result<(), SettingsError> {
        let within = |value: Option<u64>, least: u64, most: u64| {
            value.is_none_or(|value| (least..=most).contains(&value))
        };
        if !within(self.replication.map(u64::from), 1, 64) {
            return Err(SettingsError::Range("replication"));
        }
        if !within(self.gossip_interval_ms, 100, 60_000) {
            return Err(SettingsError::Range("gossip interval"));
        }
        if !within(self.difficulty.map(u64::from), 0, 32) {
            return Err(SettingsError::Range("difficulty"));
        }
        match (self.republish_ms, self.lease_ms) {
            (Some(republish_ms), Some(lease_ms)) if republish_ms > lease_ms / 3 => {
                Err(SettingsError::Republish { republish_ms, lease_ms })
            }
            _ => Ok(()),
        }
    }

    /// The signed bytes.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn sign(&self, authority: &Identity, network: &NetworkId) -> Result<Bytes, SettingsError> {
        self.check()?;
        Ok(sign(self, SETTINGS_DOMAIN, authority, network))
    }

    /// Decodes signed bytes and checks the signature and the settings.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub fn read(
        bytes: &[u8],
        authority: &PublicKey,
        network: &NetworkId,
    ) -> Result<Self, SettingsError> {
        let settings: Self =
            read(bytes, SETTINGS_DOMAIN, authority, network).map_err(|error| match error {
                AdmissionProofError::Malformed | AdmissionProofError::Signature => {
                    SettingsError::Proof
                }
            })?;
        settings.check()?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::Admission;

    fn authority() -> Identity {
        Identity::from_seed([1; 32])
    }

    fn network() -> NetworkId {
        NetworkId::new("home", Admission::Invite, Some(&authority().public_key()))
    }

    #[test]
    fn only_the_authority_signs_settings() {
        let settings =
            NetworkSettings { sequence: 3, replication: Some(5), ..NetworkSettings::default() };
        let bytes = settings.sign(&authority(), &network()).expect("good settings");
        let read = |key: &Identity| NetworkSettings::read(&bytes, &key.public_key(), &network());
        assert_eq!(read(&authority()), Ok(settings));
        assert_eq!(read(&Identity::from_seed([2; 32])), Err(SettingsError::Proof));
        let hex: String = bytes[..5].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "a200030105", "frozen: a change is a new version");
    }

    #[test]
    fn settings_that_would_lose_records_are_not_signed() {
        let with = |republish, lease| NetworkSettings {
            republish_ms: Some(republish),
            lease_ms: Some(lease),
            ..NetworkSettings::default()
        };
        assert_eq!(with(100, 300).check(), Ok(()));
        let refused =
            |republish_ms, lease_ms| Err(SettingsError::Republish { republish_ms, lease_ms });
        assert_eq!(with(101, 300).check(), refused(101, 300));
        assert_eq!(
            with(600_000, 300_000).sign(&authority(), &network()),
            refused(600_000, 300_000).map(|()| Bytes::new())
        );
    }

    #[test]
    fn each_number_has_a_range() {
        let base = NetworkSettings::default();
        for (settings, good) in [
            (NetworkSettings { replication: Some(0), ..base }, false),
            (NetworkSettings { replication: Some(1), ..base }, true),
            (NetworkSettings { replication: Some(64), ..base }, true),
            (NetworkSettings { replication: Some(65), ..base }, false),
            (NetworkSettings { gossip_interval_ms: Some(99), ..base }, false),
            (NetworkSettings { gossip_interval_ms: Some(100), ..base }, true),
            (NetworkSettings { gossip_interval_ms: Some(60_000), ..base }, true),
            (NetworkSettings { gossip_interval_ms: Some(60_001), ..base }, false),
            (NetworkSettings { difficulty: Some(32), ..base }, true),
            (NetworkSettings { difficulty: Some(33), ..base }, false),
        ] {
            assert_eq!(settings.check().is_ok(), good, "{settings:?}");
        }
    }
}
