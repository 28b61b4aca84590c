//! Anti-entropy: compares member lists by digests, to find records that a node did not get by the broadcast.
//!
//! The list is divided into 64 buckets by the first bits of the keys. A comparison sends eight
//! bytes for each bucket and gets the short ids in those that differ. Newcomers page through a
//! whole list once. memberlist sends its whole state every 30 s instead; chitchat sends a digest of
//! each node, which at 500 nodes is longer than a datagram.

use std::time::Duration;

use potluck_base::{Contact, Deadline, Instant, PublicKey, Rng};
use potluck_wire::RecordVersion;

use super::config::MembersConfig;

/// Buckets of a comparison. A higher value localises differences better and sends more digests.
pub(super) const BUCKETS: usize = 64;
/// Bytes of the digest of one bucket.
pub(super) const DIGEST_BYTES: usize = 8;
/// Pause between two rounds, and before an expected difference is compared.
const SOON: Duration = Duration::from_millis(500);

/// The fingerprint of a record: a short digest of its subject's key and version.
pub(super) fn fingerprint(key: &PublicKey, version: RecordVersion) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update(&version.incarnation.to_be_bytes());
    hasher.update(&version.revision.to_be_bytes());
    let mut bytes = [0; DIGEST_BYTES];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

pub(super) const fn bucket_of(short: u64) -> usize {
    (short >> 58) as usize
}

/// The schedule of comparisons.
#[derive(Debug)]
pub(super) struct AntiEntropy {
    pub(super) at: Instant,
    pub(super) busy: bool,
    /// The next partner; `None`: a random member.
    pub(super) with: Option<Contact>,
    pub(super) page_from: Option<Contact>,
    /// Pages of one list requested in a row.
    pub(super) pages: u32,
    pub(super) rounds: u8,
    /// Comparisons in a row that found no difference.
    pub(super) equal_in_row: u32,
}

impl AntiEntropy {
    pub(super) fn new(config: &MembersConfig, rng: &mut Rng) -> Self {
        let at = Instant::ZERO + config.compare_interval.mul_f64(0.1 + 0.9 * rng.fraction());
        Self { at, busy: false, with: None, page_from: None, pages: 0, rounds: 0, equal_in_row: 0 }
    }

    /// The exchange ended, with or without success.
    pub(super) fn ended(&mut self) {
        self.busy = false;
    }

    /// Differences are likely: compare soon.
    pub(super) fn soon(&mut self, now: Instant) {
        self.at = self.at.min(now + SOON);
    }

    /// Compares with this partner soon.
    pub(super) fn soon_with(&mut self, now: Instant, contact: Contact) {
        self.with = Some(contact);
        self.soon(now);
    }

    /// This node can send the whole list.
    pub(super) fn page_from(&mut self, contact: Contact) {
        if self.page_from.is_none() {
            self.page_from = Some(contact);
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        Some(Deadline::new(self.at, "compare lists"))
    }
}
