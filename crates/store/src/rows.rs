//! The names and encodings of rows. The table is in the documentation of the crate.

use std::ops::RangeInclusive;

use bytes::Bytes;
use potluck_base::{Key, PublicKey, UnixMillis};
use potluck_record::{CertificateHash, Envelope, Place, SignedHead, Space, StateDigest};

const TAG_CERTIFICATE: u8 = b'c';
const TAG_SUMMARY: u8 = b'h';
const TAG_META: u8 = b'm';
const TAG_NAME: u8 = b'n';
const TAG_OWN: u8 = b'o';
const TAG_REPLICA: u8 = b'r';
const TAG_SHARE: u8 = b'w';
const TAG_EXPIRY: u8 = b'x';

const SUMMARY_BYTES: usize = 16 + 2 + 1 + 8;
const FLAG_INTERNAL: u8 = 1;

/// Bytes of an `r` key.
pub(crate) const REPLICA_KEY_BYTES: u64 = 1 + 32 + 32;
/// Bytes of an `o` key.
pub(crate) const OWN_KEY_BYTES: u64 = 1 + 32;
/// Bytes of an `x` row.
pub(crate) const EXPIRY_ROW_BYTES: u64 = 1 + 8 + 1 + 32 + 32;
/// Bytes of an `h` row with its key.
pub(crate) const SUMMARY_ROW_BYTES: u64 = 1 + 32 + SUMMARY_BYTES as u64;

/// The row of a value about the store itself.
pub(crate) fn meta_row(name: &str) -> Vec<u8> {
    [&[TAG_META], name.as_bytes()].concat()
}

/// The row of a key's summary.
pub(crate) fn summary_row(key: &Key) -> Vec<u8> {
    [&[TAG_SUMMARY], key.as_bytes().as_slice()].concat()
}

/// The key of a summary's row.
pub(crate) fn summary_key(row: &[u8]) -> Option<Key> {
    let (&[tag], rest) = row.split_first_chunk::<1>()?;
    (tag == TAG_SUMMARY).then_some(())?;
    Some(Key::from_bytes(rest.try_into().ok()?))
}

/// The prefix of the rows of names in a space. `None` for spaces whose names are not listed.
pub(crate) fn names_of(space: &Space) -> Option<Vec<u8>> {
    match space {
        Space::Own(owner) => Some([&[TAG_NAME, 1], owner.as_bytes().as_slice()].concat()),
        Space::Commons => Some(vec![TAG_NAME, 2]),
        Space::Team(team) => Some([&[TAG_NAME, 4], team.as_bytes().as_slice()].concat()),
        // Lists of writers are not records of an application.
        Space::Content | Space::Provider | Space::Writers(_) => None,
    }
}

/// The row of the name of a record held as replica.
pub(crate) fn name_row(head: &SignedHead) -> Option<Vec<u8>> {
    names_of(&head.space()).map(|row| [&row, head.name().as_bytes()].concat())
}

/// The first and last row that an envelope held as replica can have.
pub(crate) fn replica_rows() -> RangeInclusive<Vec<u8>> {
    vec![TAG_REPLICA]..=vec![TAG_REPLICA + 1]
}

/// The row of an envelope.
pub(crate) fn envelope_row(place: Place, key: &Key, writer: &PublicKey) -> Vec<u8> {
    match place {
        Place::Replica => {
            [&[TAG_REPLICA], key.as_bytes().as_slice(), writer.as_bytes().as_slice()].concat()
        }
        Place::Own => [&[TAG_OWN], key.as_bytes().as_slice()].concat(),
    }
}

/// The first and last row that an envelope of `key` in `place` can have.
pub(crate) fn envelope_rows(place: Place, key: &Key) -> RangeInclusive<Vec<u8>> {
    let bound = |fill| envelope_row(place, key, &PublicKey::from_bytes([fill; 32]));
    bound(0)..=bound(0xff)
}

/// The first and last row of all summaries.
pub(crate) fn summary_rows() -> RangeInclusive<Vec<u8>> {
    summary_row(&Key::from_bytes([0; 32]))..=summary_row(&Key::from_bytes([0xff; 32]))
}

/// The row of a certificate.
pub(crate) fn certificate_row(hash: &CertificateHash) -> Vec<u8> {
    [&[TAG_CERTIFICATE], hash.0.as_slice()].concat()
}

/// The rows of the certificates from `from` on.
pub(crate) fn certificate_rows(from: Option<&CertificateHash>) -> RangeInclusive<Vec<u8>> {
    let first = from.copied().unwrap_or(CertificateHash([0; 16]));
    certificate_row(&first)..=certificate_row(&CertificateHash([0xff; 16]))
}

/// The hash in a certificate's row.
pub(crate) fn certificate_hash(row: &[u8]) -> Option<CertificateHash> {
    let (&[tag], rest) = row.split_first_chunk::<1>()?;
    (tag == TAG_CERTIFICATE).then_some(())?;
    Some(CertificateHash(rest.try_into().ok()?))
}

/// Whether rows with this tag are envelopes or are computed from them.
pub(crate) const fn is_of_records(tag: u8) -> bool {
    matches!(tag, TAG_SUMMARY | TAG_NAME | TAG_OWN | TAG_REPLICA | TAG_SHARE | TAG_EXPIRY)
}

/// The key in the row of an envelope, whatever its value is.
pub(crate) fn envelope_key(row: &[u8]) -> Option<Key> {
    let (&[tag], rest) = row.split_first_chunk::<1>()?;
    matches!(tag, TAG_REPLICA | TAG_OWN).then_some(())?;
    Some(Key::from_bytes(*rest.first_chunk::<32>()?))
}

/// The writer in the row of a replica's envelope, whatever its value is.
pub(crate) fn envelope_writer(row: &[u8]) -> Option<PublicKey> {
    let (&[tag], rest) = row.split_first_chunk::<1>()?;
    (tag == TAG_REPLICA).then_some(())?;
    Some(PublicKey::from_bytes(rest.get(32..)?.try_into().ok()?))
}

/// The row of a writer's usage.
pub(crate) fn share_row(writer: &PublicKey) -> Vec<u8> {
    [&[TAG_SHARE], writer.as_bytes().as_slice()].concat()
}

/// The first and last row of the usage of writers.
pub(crate) fn share_rows() -> RangeInclusive<Vec<u8>> {
    let bound = |fill| share_row(&PublicKey::from_bytes([fill; 32]));
    bound(0)..=bound(0xff)
}

/// The first and last row of the envelopes that this node wrote.
pub(crate) fn own_rows() -> RangeInclusive<Vec<u8>> {
    let bound = |fill| [&[TAG_OWN], [fill; 32].as_slice()].concat();
    bound(0)..=bound(0xff)
}

/// The rows of own envelopes whose keys are `from` or higher.
pub(crate) fn own_rows_from(from: &Key) -> RangeInclusive<Vec<u8>> {
    [&[TAG_OWN], from.as_bytes().as_slice()].concat()..=own_rows().end().clone()
}

/// The key in the row of an own envelope.
pub(crate) fn own_key(row: &[u8]) -> Option<Key> {
    let (&[tag], rest) = row.split_first_chunk::<1>()?;
    (tag == TAG_OWN).then_some(())?;
    Some(Key::from_bytes(rest.try_into().ok()?))
}

/// Decodes an envelope and checks that it is in its row.
pub(crate) fn decode_envelope(row: &[u8], place: Place, value: &Bytes) -> Option<Envelope> {
    let envelope = Envelope::decode(value).ok()?;
    let head = envelope.head();
    (envelope_row(place, &head.key(), &head.writer()) == row).then_some(envelope)
}

/// One entry of the expiry index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExpiryEntry {
    pub(crate) expires: UnixMillis,
    pub(crate) place: Place,
    pub(crate) key: Key,
    pub(crate) writer: PublicKey,
}

impl ExpiryEntry {
    pub(crate) fn of(place: Place, head: &SignedHead) -> Self {
        Self { expires: head.expires(), place, key: head.key(), writer: head.writer() }
    }

    /// The first and last row of entries that expire at `from` or later.
    pub(crate) fn rows_from(from: u64) -> RangeInclusive<Vec<u8>> {
        let first = [&[TAG_EXPIRY], from.to_be_bytes().as_slice()].concat();
        first..=vec![TAG_EXPIRY + 1]
    }

    pub(crate) fn row(&self) -> Vec<u8> {
        let place = match self.place {
            Place::Replica => 0,
            Place::Own => 1,
        };
        [
            &[TAG_EXPIRY],
            self.expires.0.to_be_bytes().as_slice(),
            &[place],
            self.key.as_bytes(),
            self.writer.as_bytes(),
        ]
        .concat()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let (&[tag], rest) = row.split_first_chunk::<1>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (&[place], rest) = rest.split_first_chunk::<1>()?;
        let (key, rest) = rest.split_first_chunk::<32>()?;
        let place = match (tag, place) {
            (TAG_EXPIRY, 0) => Place::Replica,
            (TAG_EXPIRY, 1) => Place::Own,
            _ => return None,
        };
        Some(Self {
            expires: UnixMillis(u64::from_be_bytes(*expires)),
            place,
            key: Key::from_bytes(*key),
            writer: PublicKey::from_bytes(rest.try_into().ok()?),
        })
    }
}

/// A summary of a key held as replica: what the store knows without reading the envelopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) digest: StateDigest,
    pub(crate) writers: u16,
    pub(crate) internal: bool,
    pub(crate) bytes: u64,
}

impl Summary {
    /// The summary of a key without envelopes, whose first envelope will be `head`.
    pub(crate) fn empty(head: &SignedHead) -> Self {
        let internal = head.space() == Space::Provider;
        Self { digest: StateDigest::EMPTY, writers: 0, internal, bytes: 0 }
    }

    /// This summary after an envelope was added.
    pub(crate) fn with(mut self, head: &SignedHead, bytes: usize) -> Self {
        self.digest = self.digest.with(head);
        self.writers = self.writers.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self
    }

    /// This summary after an envelope was removed.
    pub(crate) fn without(mut self, head: &SignedHead, bytes: usize) -> Self {
        self.digest = self.digest.without(head);
        self.writers = self.writers.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes as u64);
        self
    }

    pub(crate) fn encode(&self) -> Bytes {
        let flags = if self.internal { FLAG_INTERNAL } else { 0 };
        let parts: [&[u8]; 4] = [
            &self.digest.to_bytes(),
            &self.writers.to_be_bytes(),
            &[flags],
            &self.bytes.to_be_bytes(),
        ];
        parts.concat().into()
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let (digest, rest) = value.split_first_chunk::<16>()?;
        let (writers, rest) = rest.split_first_chunk::<2>()?;
        let (&[flags], rest) = rest.split_first_chunk::<1>()?;
        let summary = Self {
            digest: StateDigest::from_bytes(*digest),
            writers: u16::from_be_bytes(*writers),
            internal: flags & FLAG_INTERNAL != 0,
            bytes: u64::from_be_bytes(rest.try_into().ok()?),
        };
        (flags <= FLAG_INTERNAL && summary.writers > 0).then_some(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_rows_round_trip_and_sort_by_time() {
        let entry = |expires, place| ExpiryEntry {
            expires: UnixMillis(expires),
            place,
            key: Key::from_bytes([7; 32]),
            writer: PublicKey::from_bytes([9; 32]),
        };
        for place in [Place::Replica, Place::Own] {
            let one = entry(0x0102_0304, place);
            assert_eq!(ExpiryEntry::decode(&one.row()), Some(one));
            assert_eq!(one.row().len() as u64, EXPIRY_ROW_BYTES);
            assert_eq!(ExpiryEntry::decode(&one.row()[1..]), None);
        }
        assert!(entry(255, Place::Own).row() < entry(256, Place::Replica).row());
        let rows = ExpiryEntry::rows_from(256);
        assert!(*rows.start() <= entry(256, Place::Replica).row());
        assert!(entry(u64::MAX, Place::Own).row() <= *rows.end());
        assert!(entry(255, Place::Own).row() < *rows.start());
    }

    #[test]
    fn summaries_round_trip_and_nonsense_is_refused() {
        let summary = Summary {
            digest: StateDigest::from_bytes([5; 16]),
            writers: 3,
            internal: true,
            bytes: 1 << 40,
        };
        let bytes = summary.encode();
        assert_eq!(Summary::decode(&bytes), Some(summary));
        assert_eq!(Summary::decode(&bytes[..26]), None);
        assert_eq!(Summary::decode(&[0; 27]), None);
    }
}
