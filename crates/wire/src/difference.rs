//! The comparison of two replicas: fingerprints of ranges of keys, and changes after a position in the other
//! node's order of changes.

use minicbor::{Decode, Encode};
use potluck_base::Key;
use potluck_record::fingerprint::{CHILDREN, LONG_BYTES, SHORT_BYTES};
use potluck_record::{Prefix, SessionKey};

use crate::OfferEntry;
use crate::limits::{IDS_MAX, PREFIXES_MAX};

/// The short hash of a child range, or of a key in one state.
pub type ShortHash = [u8; SHORT_BYTES];
/// The hash of a whole region or bucket.
pub type LongHash = [u8; LONG_BYTES];

/// The requested level of detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Level {
    /// One hash over all ranges, and one over the bucket.
    #[n(0)]
    Region,
    /// For each range the hashes of its children, or the ids of its keys if these are few.
    #[n(1)]
    Children,
    /// The ids of the keys of each range.
    #[n(2)]
    Ids,
    /// The keys with these ids, and their digests. Without ids: all keys.
    #[n(3)]
    Keys,
}

/// The request [`crate::Request::Fingerprints`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Compare {
    /// The key of all hashes, which the asking node chooses for each comparison.
    #[cbor(n(0), with = "cbor_session")]
    pub session: SessionKey,
    /// The requested level.
    #[n(1)]
    pub level: Level,
    /// The ranges, ascending and without overlap, at most [`PREFIXES_MAX`].
    #[cbor(n(2), with = "cbor_prefixes")]
    pub prefixes: Vec<Prefix>,
    /// For [`Level::Keys`]: the ids of the wanted keys, at most [`IDS_MAX`].
    #[cbor(n(3), with = "cbor_ids", has_nil)]
    pub ids: Vec<ShortHash>,
    /// For [`Level::Region`]: a range within them whose keys are hashed individually.
    #[cbor(n(4), with = "cbor_bucket", has_nil)]
    pub bucket: Option<Prefix>,
}

/// The answer to [`Level::Region`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RegionHash {
    /// The hash of the fingerprint of all ranges together.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub region: LongHash,
    /// The hash of the keys and digests of the bucket.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bucket: LongHash,
    /// The run of the answering process. Its order of changes belongs to this run.
    #[n(2)]
    pub run: u64,
    /// The number of changes in this run.
    #[n(3)]
    pub changes: u64,
}

/// The contents of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangePart {
    /// The hashes of its children.
    Children([ShortHash; CHILDREN]),
    /// The ids of its keys.
    Ids(Vec<ShortHash>),
}

/// The response [`crate::Response::Fingerprints`].
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Compared {
    /// For [`Level::Region`].
    #[n(0)]
    pub region: Option<RegionHash>,
    /// For [`Level::Children`] and [`Level::Ids`]: the first ranges of the request, as many as the answer has
    /// room for.
    #[n(1)]
    pub parts: Vec<RangePart>,
    /// For [`Level::Keys`].
    #[n(2)]
    pub entries: Vec<OfferEntry>,
    /// Whether there was no room for some of the entries.
    #[n(3)]
    pub more: bool,
}

/// The request [`crate::Request::Changes`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct ChangesAfter {
    /// The run of the process that the position belongs to.
    #[n(0)]
    pub run: u64,
    /// The position: the number of changes that the asking node knows.
    #[n(1)]
    pub after: u64,
    /// Only keys in these ranges, which have the same form as in [`Compare`].
    #[cbor(n(2), with = "cbor_prefixes")]
    pub prefixes: Vec<Prefix>,
}

/// The response [`crate::Response::Changes`].
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Changes {
    /// The run of the process.
    #[n(0)]
    pub run: u64,
    /// The position after these changes.
    #[n(1)]
    pub next: u64,
    /// Whether the requested position is no longer remembered. If so, there are no entries.
    #[n(2)]
    pub lost: bool,
    /// Whether there are more: repeat the request.
    #[n(3)]
    pub more: bool,
    /// Keys that changed, each with the digest after the change.
    #[n(4)]
    pub entries: Vec<OfferEntry>,
}

impl Compare {
    pub(crate) fn is_within_limits(&self) -> bool {
        Prefix::are_ascending(&self.prefixes)
    }
}

impl ChangesAfter {
    pub(crate) fn is_within_limits(&self) -> bool {
        Prefix::are_ascending(&self.prefixes)
    }
}

type Wrong = minicbor::decode::Error;
type Written<W> = Result<(), minicbor::encode::Error<<W as minicbor::encode::Write>::Error>>;

fn hashes_of(bytes: &[u8]) -> Result<Vec<ShortHash>, Wrong> {
    let (hashes, rest) = bytes.as_chunks::<SHORT_BYTES>();
    if !rest.is_empty() || hashes.len() > IDS_MAX {
        return Err(Wrong::message("ids"));
    }
    Ok(hashes.to_vec())
}

impl<C> Encode<C> for RangePart {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        let (number, hashes) = match self {
            Self::Children(hashes) => (0, hashes.as_slice()),
            Self::Ids(hashes) => (1, hashes.as_slice()),
        };
        e.array(2)?.u8(number)?.bytes(hashes.as_flattened())?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for RangePart {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, Wrong> {
        if d.array()? != Some(2) {
            return Err(Wrong::message("range"));
        }
        let number = d.u8()?;
        let hashes = hashes_of(d.bytes()?)?;
        match number {
            0 => hashes.try_into().map(Self::Children).map_err(|_| Wrong::message("children")),
            1 => Ok(Self::Ids(hashes)),
            _ => Err(Wrong::message("range")),
        }
    }
}

mod cbor_session {
    //! The key of a session as a byte string.
    use super::{SessionKey, Written, Wrong};
    use crate::codec::fixed;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(crate) fn encode<C, W: Write>(
        session: &SessionKey,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.bytes(&session.0)?;
        Ok(())
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<SessionKey, Wrong> {
        fixed(d).map(SessionKey)
    }
}

mod cbor_prefixes {
    //! Ranges, as an array of their numbers.
    use super::{PREFIXES_MAX, Prefix, Written, Wrong};
    use crate::codec::elements;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(crate) fn encode<C, W: Write>(
        prefixes: &[Prefix],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(prefixes.len() as u64)?;
        prefixes.iter().try_for_each(|prefix| e.u64(prefix.code()).map(drop))
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Prefix>, Wrong> {
        elements(d, PREFIXES_MAX, |d| {
            Prefix::from_code(d.u64()?).ok_or_else(|| Wrong::message("prefix"))
        })
    }
}

mod cbor_bucket {
    //! A range or null.
    use super::{Prefix, Written, Wrong};
    use minicbor::data::Type;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(crate) fn encode<C, W: Write>(
        bucket: &Option<Prefix>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        match bucket {
            Some(bucket) => e.u64(bucket.code())?,
            None => e.null()?,
        };
        Ok(())
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Option<Prefix>, Wrong> {
        if d.datatype()? == Type::Null {
            d.skip()?;
            return Ok(None);
        }
        Prefix::from_code(d.u64()?).map(Some).ok_or_else(|| Wrong::message("prefix"))
    }

    pub(crate) fn nil() -> Option<Option<Prefix>> {
        Some(None)
    }

    pub(crate) fn is_nil(bucket: &Option<Prefix>) -> bool {
        bucket.is_none()
    }
}

mod cbor_ids {
    //! Short hashes, concatenated in a byte string.
    use super::{ShortHash, Written, Wrong, hashes_of};
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(crate) fn encode<C, W: Write>(
        ids: &[ShortHash],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.bytes(ids.as_flattened())?;
        Ok(())
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<ShortHash>, Wrong> {
        hashes_of(d.bytes()?)
    }

    pub(crate) fn nil() -> Option<Vec<ShortHash>> {
        Some(Vec::new())
    }

    pub(crate) fn is_nil(ids: &[ShortHash]) -> bool {
        ids.is_empty()
    }
}

impl Compared {
    /// The entries as keys with digests.
    pub fn pairs(&self) -> impl Iterator<Item = (Key, potluck_record::StateDigest)> {
        self.entries.iter().map(|entry| (entry.key, entry.digest))
    }
}

#[cfg(test)]
mod tests {
    use potluck_record::StateDigest;
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{MESSAGE_BYTES_MAX, REGION_PREFIXES_MAX};
    use crate::{
        DecodeError, Request, Response, decode_request, decode_response, encode_request,
        encode_response,
    };

    fn prefixes() -> impl Strategy<Value = Vec<Prefix>> {
        prop::collection::vec((any::<u64>(), 0..40u8), 0..20).prop_map(|all| {
            let mut all: Vec<Prefix> =
                all.into_iter().map(|(bits, length)| Prefix::from_bits(bits, length)).collect();
            all.sort();
            all.dedup_by(|next, last| last.last_bits() >= next.first_bits());
            all
        })
    }

    fn ids() -> impl Strategy<Value = Vec<ShortHash>> {
        prop::collection::vec(any::<ShortHash>(), 0..20)
    }

    fn entries() -> impl Strategy<Value = Vec<OfferEntry>> {
        let entry = (any::<[u8; 32]>(), any::<[u8; 16]>()).prop_map(|(key, digest)| OfferEntry {
            key: Key::from_bytes(key),
            digest: StateDigest::from_bytes(digest),
        });
        prop::collection::vec(entry, 0..5)
    }

    fn level() -> impl Strategy<Value = Level> {
        prop::sample::select(vec![Level::Region, Level::Children, Level::Ids, Level::Keys])
    }

    proptest! {
        #[test]
        fn questions_round_trip(
            session in any::<[u8; 16]>(),
            level in level(),
            prefixes in prefixes(),
            ids in ids(),
            bucket in any::<Option<(u64, u8)>>(),
            place in any::<(u64, u64)>(),
        ) {
            let bucket = bucket.map(|(bits, length)| Prefix::from_bits(bits, length));
            let ranges = prefixes.clone();
            let session = SessionKey(session);
            let compare = Compare { session, level, prefixes, ids, bucket };
            let changes = ChangesAfter { run: place.0, after: place.1, prefixes: ranges };
            for request in [Request::Fingerprints(compare), Request::Changes(changes)] {
                prop_assert_eq!(decode_request(&encode_request(&request)), Ok(request));
            }
        }

        #[test]
        fn answers_round_trip(
            region in any::<Option<([u8; 8], [u8; 8], u64, u64)>>(),
            children in any::<[ShortHash; CHILDREN]>(),
            ids in ids(),
            entries in entries(),
            flags in any::<[bool; 3]>(),
        ) {
            let region = region.map(|(region, bucket, run, changes)| {
                RegionHash { region, bucket, run, changes }
            });
            let parts = vec![RangePart::Children(children), RangePart::Ids(ids)];
            let [lost, more, one] = flags;
            let listed = entries.clone();
            let compared = Compared { region, parts, entries, more: one };
            let changes = Changes { run: 5, next: 6, lost, more, entries: listed };
            for response in [Response::Fingerprints(compared), Response::Changes(changes)] {
                prop_assert_eq!(decode_response(&encode_response(&response)), Ok(response));
            }
        }
    }

    fn compare(prefixes: Vec<Prefix>) -> Request {
        Request::Fingerprints(Compare {
            session: SessionKey([0x22; 16]),
            level: Level::Region,
            prefixes,
            ids: Vec::new(),
            bucket: None,
        })
    }

    #[test]
    fn ranges_that_overlap_or_are_too_many_are_refused() {
        let one = Prefix::ALL.half(true);
        let overlapping = encode_request(&compare(vec![one, one.half(true)]));
        assert_eq!(decode_request(&overlapping), Err(DecodeError::Limit("ranges")));
        let after = ChangesAfter { run: 1, after: 1, prefixes: vec![one, one] };
        let overlapping = encode_request(&Request::Changes(after));
        assert_eq!(decode_request(&overlapping), Err(DecodeError::Limit("ranges")));
        let many = |count: u64| {
            let all = (0..count).map(|index| Prefix::from_bits(index << 32, 32)).collect();
            decode_request(&encode_request(&compare(all)))
        };
        assert!(many(PREFIXES_MAX as u64).is_ok());
        assert_eq!(many(PREFIXES_MAX as u64 + 1), Err(DecodeError::Malformed));
    }

    #[test]
    fn ids_beyond_the_limit_and_halves_of_ids_are_refused() {
        let part = |count| {
            let parts = vec![RangePart::Ids(vec![[7; SHORT_BYTES]; count])];
            let response = Response::Fingerprints(Compared { parts, ..Compared::default() });
            decode_response(&encode_response(&response)).map(drop)
        };
        assert_eq!(part(IDS_MAX), Ok(()));
        assert_eq!(part(IDS_MAX + 1), Err(DecodeError::Malformed));
        assert!(hashes_of(&[1; SHORT_BYTES + 1]).is_err());
        // A range has sixteen children, so other numbers of hashes are refused.
        for bytes in [75_u8, 85] {
            let mut part = vec![2, 0x82, 12, 0x81, 0xa1, 1, 0x81, 0x82, 0, 0x58, bytes];
            part.extend(vec![0; usize::from(bytes)]);
            assert_eq!(decode_response(&part), Err(DecodeError::Malformed));
        }
    }

    #[test]
    fn the_comparison_of_a_region_fits_in_a_datagram() {
        let all = (0..REGION_PREFIXES_MAX as u64).map(|index| {
            // The longest prefixes in a network of 2^40 nodes.
            Prefix::from_bits(0xdead_beef_0000_0000 | (index << 16), 52)
        });
        let request = compare(all.collect());
        assert!(encode_request(&request).len() <= MESSAGE_BYTES_MAX);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
    #[test]
    fn the_bytes_of_differences_are_frozen() {
        let (s, d) = (format!("50{}", "22".repeat(16)), format!("50{}", "33".repeat(16)));
        let k = format!("5820{}", "11".repeat(32));
        let prefix = Prefix::from_bits(0xa000_0000_0000_0000, 3);
        let requests = [
            (compare(vec![prefix]), format!("02820e81 a3 00{s} 0100 02810d")),
            (
                Request::Fingerprints(Compare {
                    session: SessionKey([0x22; 16]),
                    level: Level::Keys,
                    prefixes: vec![Prefix::ALL],
                    ids: vec![[5; 5]],
                    bucket: Some(prefix),
                }),
                format!("02820e81 a5 00{s} 0103 028101 03450505050505 040d"),
            ),
            (
                Request::Changes(ChangesAfter { run: 7, after: 9, prefixes: vec![prefix] }),
                "02821281 a3 0007 0109 02810d".to_owned(),
            ),
        ];
        for (request, expected) in requests {
            assert_eq!(hex(&encode_request(&request)), expected.replace(' ', ""), "{request:?}");
        }
        let entry = OfferEntry {
            key: Key::from_bytes([0x11; 32]),
            digest: StateDigest::from_bytes([0x33; 16]),
        };
        let region = RegionHash { region: [1; 8], bucket: [2; 8], run: 7, changes: 9 };
        let compared = Compared {
            region: Some(region),
            parts: vec![RangePart::Ids(vec![[5; 5]])],
            entries: vec![entry],
            more: true,
        };
        let changes = Changes { run: 7, next: 9, lost: false, more: true, entries: vec![entry] };
        let responses = [
            (
                Response::Fingerprints(compared),
                format!(
                    "02820c81 a4 00 84 48{} 48{} 07 09 01 81 8201 450505050505 0281 82{k}{d} 03f5",
                    "01".repeat(8),
                    "02".repeat(8)
                ),
            ),
            (Response::Changes(changes), format!("02821081 a5 0007 0109 02f4 03f5 0481 82{k}{d}")),
        ];
        for (response, expected) in responses {
            assert_eq!(hex(&encode_response(&response)), expected.replace(' ', ""), "{response:?}");
        }
    }
}
