//! Messages on the local network: they tell nodes of the same network that a node is there, and reveal
//! nothing to others.
//!
//! A beacon has 64 bytes: `potluck` and the version 1, the network tag (8), the port (2), the number of this
//! start (8), six zeros, and a mark (32) over all bytes before it. DNS-SD carries the tag as hex.
//!
//! Tag and mark are computed with a key from the network id and, in an `invite` network, the hour. The id is
//! a hash over the authority's public key, which is in tickets and certificates and is never sent unsealed.
//! So members and holders of tickets know the id, and other machines do not. Other machines cannot relate the
//! tags of two hours: they learn neither the network nor that it is the same as the day before. In a `lab`
//! network the id follows from the name, so there is nothing to hide, and the tag is constant.
//!
//! A mark shows that a member made the beacon. It does not show when in that hour, nor that the member is its
//! sender, so a found address is a candidate that must prove its identity.

use potluck_base::{Admission, NetworkId, UnixMillis};

/// The length of a beacon in bytes.
pub const BEACON_BYTES: usize = 64;
/// The length of a tag in bytes.
pub const LAN_TAG_BYTES: usize = 8;

const MAGIC: [u8; 8] = *b"potluck\x01";
const MARKED_BYTES: usize = 32;
const HOUR_MS: u64 = 3_600_000;

/// The tag by which nodes of one network recognise each other on the local network.
pub type LanTag = [u8; LAN_TAG_BYTES];

/// The key for tags and marks.
#[derive(Clone)]
pub struct LanKey {
    key: [u8; 32],
    by_the_hour: bool,
}

impl std::fmt::Debug for LanKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LanKey").field("by_the_hour", &self.by_the_hour).finish_non_exhaustive()
    }
}

impl LanKey {
    /// The key of a network.
    #[must_use]
    pub fn new(network: &NetworkId, admission: Admission) -> Self {
        let key = blake3::derive_key("potluck 2026 local network", network.as_bytes());
        Self { key, by_the_hour: admission == Admission::Invite }
    }

    /// The tag to send at `now`.
    #[must_use]
    pub fn tag(&self, now: UnixMillis) -> LanTag {
        tag_of(&self.of_hour(self.hour(now)))
    }

    /// Whether `tag` is that of this network in the hour of `now`, the one before or the one after, because
    /// clocks differ and hours end.
    #[must_use]
    pub fn is_own(&self, now: UnixMillis, tag: &[u8]) -> bool {
        self.key_of(now, tag).is_some()
    }

    fn hour(&self, now: UnixMillis) -> u64 {
        if self.by_the_hour { now.0 / HOUR_MS } else { 0 }
    }

    fn of_hour(&self, hour: u64) -> [u8; 32] {
        *blake3::keyed_hash(&self.key, &hour.to_le_bytes()).as_bytes()
    }

    fn key_of(&self, now: UnixMillis, tag: &[u8]) -> Option<[u8; 32]> {
        let hour = self.hour(now);
        let hours = [hour, hour.saturating_sub(1), hour.saturating_add(1)];
        let hours = if self.by_the_hour { &hours[..] } else { &hours[..1] };
        hours.iter().map(|hour| self.of_hour(*hour)).find(|key| tag_of(key) == tag)
    }
}

#[expect(clippy::indexing_slicing, reason = "an array shorter than the hash")]
fn tag_of(key: &[u8; 32]) -> LanTag {
    let hash = blake3::keyed_hash(key, b"tag");
    std::array::from_fn(|index| hash.as_bytes()[index])
}

fn mark_of(key: &[u8; 32], marked: &[u8]) -> blake3::Hash {
    blake3::keyed_hash(key, marked)
}

/// The contents of a beacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beacon {
    /// The UDP port that it listens on.
    pub port: u16,
    /// A random number for this start, by which a node recognises its own beacons.
    pub start: u64,
}

impl Beacon {
    /// The encoded beacon.
    #[must_use]
    pub fn write(&self, key: &LanKey, now: UnixMillis) -> [u8; BEACON_BYTES] {
        let key = key.of_hour(key.hour(now));
        let mut bytes = [0; BEACON_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&tag_of(&key));
        bytes[16..18].copy_from_slice(&self.port.to_be_bytes());
        bytes[18..26].copy_from_slice(&self.start.to_be_bytes());
        let mark = mark_of(&key, &bytes[..MARKED_BYTES]);
        bytes[MARKED_BYTES..].copy_from_slice(mark.as_bytes());
        bytes
    }

    /// Decodes a beacon, if a node of this network made it at about `now`. The six reserved bytes may have
    /// any value.
    #[must_use]
    pub fn read(bytes: &[u8], key: &LanKey, now: UnixMillis) -> Option<Self> {
        let bytes: &[u8; BEACON_BYTES] = bytes.try_into().ok()?;
        let key = (bytes[..8] == MAGIC).then(|| key.key_of(now, &bytes[8..16])).flatten()?;
        let mark: [u8; 32] = bytes[MARKED_BYTES..].try_into().ok()?;
        let port = u16::from_be_bytes([bytes[16], bytes[17]]);
        let start = u64::from_be_bytes(bytes[18..26].try_into().ok()?);
        // The comparison of the hashes takes constant time.
        let right = mark_of(&key, &bytes[..MARKED_BYTES]) == blake3::Hash::from(mark);
        (right && port > 0).then_some(Self { port, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixMillis = UnixMillis(1_790_000_000_000);
    const BEACON: Beacon = Beacon { port: 12345, start: 0x0102_0304_0506_0708 };

    fn key(name: &str, admission: Admission) -> LanKey {
        LanKey::new(&NetworkId::new(name, admission, None), admission)
    }

    fn later(hours: u64) -> UnixMillis {
        UnixMillis(NOON.0 + hours * HOUR_MS)
    }

    #[test]
    fn the_bytes_of_a_beacon_are_frozen() {
        let bytes = BEACON.write(&key("home", Admission::Lab), NOON);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, FROZEN_LAB);
        let bytes = BEACON.write(&key("home", Admission::Invite), NOON);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, FROZEN_INVITE);
    }

    #[test]
    fn a_beacon_is_read_in_its_network_only() {
        let home = key("home", Admission::Invite);
        let bytes = BEACON.write(&home, NOON);
        assert_eq!(Beacon::read(&bytes, &home, NOON), Some(BEACON));
        for other in [key("work", Admission::Invite), key("home", Admission::Lab)] {
            assert_eq!(Beacon::read(&bytes, &other, NOON), None);
        }
    }

    #[test]
    fn an_invite_network_has_another_tag_each_hour_and_two_adjacent_ones_are_taken() {
        let key = key("home", Admission::Invite);
        let tags: Vec<LanTag> = (0..4).map(|hour| key.tag(later(hour))).collect();
        assert!((0..4).all(|a| (a + 1..4).all(|b| tags[a] != tags[b])));
        let bytes = BEACON.write(&key, later(1));
        let read = |hour| Beacon::read(&bytes, &key, later(hour)).is_some();
        assert_eq!([0, 1, 2, 3].map(read), [true, true, true, false]);
        assert!(key.is_own(later(0), &tags[1]) && !key.is_own(later(0), &tags[2]));
    }

    #[test]
    fn a_lab_network_has_one_tag() {
        let key = key("home", Admission::Lab);
        assert_eq!(key.tag(NOON), key.tag(later(100)));
        assert!(key.is_own(NOON, &key.tag(later(100))));
    }

    #[test]
    fn what_was_changed_or_cut_is_no_beacon() {
        let key = key("home", Admission::Invite);
        let bytes = BEACON.write(&key, NOON);
        for index in 0..BEACON_BYTES {
            let mut changed = bytes;
            changed[index] ^= 1;
            assert_eq!(Beacon::read(&changed, &key, NOON), None, "byte {index}");
        }
        assert_eq!(Beacon::read(&bytes[..63], &key, NOON), None);
        assert_eq!(Beacon::read(&[&bytes[..], &[0]].concat(), &key, NOON), None);
        let portless = Beacon { port: 0, ..BEACON }.write(&key, NOON);
        assert_eq!(Beacon::read(&portless, &key, NOON), None);
    }

    const FROZEN_LAB: &str = "706f746c75636b0192c3a41c02c9de0130390102030405060708000000000000618752b2477ab23d4b2c275f10139029f83392c0e5d71c9ce335cf4ab7acbea8";
    const FROZEN_INVITE: &str = "706f746c75636b01d12dbe577e47cdd430390102030405060708000000000000926ae837453245855ce810dd47327297e7e1c7ea1d6ba77154b105db0ab6367e";
}
