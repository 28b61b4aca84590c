use potluck_base::Admission;
use proptest::prelude::*;

use std::net::SocketAddr;

use super::*;
use crate::limits::SETTINGS_BYTES_MAX;
use crate::{Request, Response, decode_request, decode_response, encode_request, encode_response};

fn identity() -> Identity {
    Identity::from_seed([1; 32])
}

fn network() -> NetworkId {
    NetworkId::new("tests", Admission::Lab, None)
}

fn record() -> MemberRecord {
    MemberRecord {
        contact: Contact::new(identity().public_key(), "1.2.3.4:258".parse().expect("address")),
        version: RecordVersion { incarnation: 256, revision: 3 },
        left: false,
        client: false,
        labels: vec![("rack".to_owned(), "7".to_owned()), ("site".to_owned(), String::new())],
        certificate: Some(Bytes::from_static(b"c")),
        more: vec!["[::1]:7".parse::<SocketAddr>().expect("address").into()],
        software: Software { build: "0.2".to_owned(), ..Software::default() },
        reach: Reach::Mapped,
        settings: 4,
    }
}

fn version() -> impl Strategy<Value = RecordVersion> {
    (any::<u64>(), any::<u32>())
        .prop_map(|(incarnation, revision)| RecordVersion { incarnation, revision })
}

fn partition() -> impl Strategy<Value = PartitionId> {
    (any::<u32>(), any::<u64>()).prop_map(|(hour, least)| PartitionId { hour, least })
}

fn hints() -> impl Strategy<Value = PeerHints> {
    let contact = (key(), any::<[u8; 4]>())
        .prop_map(|(public_key, ip)| Contact::new(public_key, (ip, 7).into()));
    (prop::option::of(partition()), prop::collection::vec(contact, 0..4))
        .prop_map(|(partition, helpers)| PeerHints { partition, helpers })
}

fn key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey::from_bytes)
}

fn bytes() -> impl Strategy<Value = Vec<Bytes>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from), 0..5)
}

fn suspects() -> impl Strategy<Value = Vec<SuspectMessage>> {
    let suspect =
        (key(), version()).prop_map(|(subject, version)| SuspectMessage { subject, version });
    prop::collection::vec(suspect, 0..SUSPECTS_MAX)
}

fn request() -> impl Strategy<Value = MemberRequest> {
    prop_oneof![
        (version(), prop::option::of(version()), prop::option::of(partition())).prop_map(
            |(mine, suspected, partition)| MemberRequest::Ping { mine, suspected, partition }
        ),
        (key(), any::<[u8; 4]>(), any::<u64>()).prop_map(|(public_key, ip, nonce)| {
            let subject = Contact::new(public_key, (ip, 7).into());
            MemberRequest::PingReq { subject, nonce }
        }),
        (key(), any::<u64>()).prop_map(|(asker, nonce)| MemberRequest::Prove { asker, nonce }),
        suspects().prop_map(|suspects| MemberRequest::Suspect { suspects }),
        bytes().prop_map(|records| MemberRequest::Tell { records }),
        any::<[u8; 16]>().prop_map(|digests| {
            MemberRequest::Compare { digests: Bytes::copy_from_slice(&digests) }
        }),
        prop::collection::vec(any::<u64>(), 0..9)
            .prop_map(|members| MemberRequest::Load { members }),
        key().prop_map(|after| MemberRequest::Page { after }),
        bytes().prop_map(|revocations| MemberRequest::Revoke { revocations }),
        prop::collection::vec(any::<u8>(), 0..SETTINGS_BYTES_MAX)
            .prop_map(|bytes| MemberRequest::Settings { settings: bytes.into() }),
    ]
}

fn response() -> impl Strategy<Value = MemberResponse> {
    prop_oneof![
        (version(), prop::option::of(hints()))
            .prop_map(|(mine, hints)| MemberResponse::Ack { mine, hints }),
        version().prop_map(|version| {
            let signature = identity().sign(b"x");
            MemberResponse::Proof { version, signature }
        }),
        (prop::collection::vec(any::<(u64, u32)>(), 0..9), any::<u64>())
            .prop_map(|(entries, buckets)| MemberResponse::Differing { entries, buckets }),
        (bytes(), any::<bool>())
            .prop_map(|(records, more)| MemberResponse::Records { records, more }),
        suspects().prop_map(|suspects| MemberResponse::Confirmed { suspects }),
    ]
}

proptest! {
    #[test]
    fn requests_round_trip(request in request()) {
        let message = Request::Member(request);
        prop_assert_eq!(decode_request(&encode_request(&message)), Ok(message));
    }

    #[test]
    fn responses_round_trip(response in response()) {
        let message = Response::Member(response);
        prop_assert_eq!(decode_response(&encode_response(&message)), Ok(message));
    }

    #[test]
    fn damaged_records_are_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = record().sign(&identity(), &network()).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let held = MemberRecord::read(&bytes).is_ok_and(|read| read.verify(&bytes, &network()).is_ok());
        prop_assert!(!held, "byte {} bit {}", at, bit);
    }

    #[test]
    fn hostile_records_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = MemberRecord::read(&bytes);
        let _ = Announcement::from_bytes(&bytes);
    }
}

#[test]
fn a_record_holds_in_its_own_network_only() {
    let bytes = record().sign(&identity(), &network());
    let read = MemberRecord::read(&bytes).unwrap();
    assert_eq!(read, record());
    assert_eq!(read.verify(&bytes, &network()), Ok(()));
    let other = NetworkId::new("others", Admission::Lab, None);
    assert_eq!(read.verify(&bytes, &other), Err(RecordError::Signature));
    let stranger = Identity::from_seed([2; 32]);
    let forged = record().sign(&stranger, &network());
    assert_eq!(read.verify(&forged, &network()), Err(RecordError::Signature));
}

#[test]
fn a_record_names_its_own_address_first_and_four_at_most() {
    let own = Address::from(record().contact.address);
    let sign = |more: usize| {
        let record = MemberRecord { more: vec![own; more], ..record() };
        MemberRecord::read(&record.sign(&identity(), &network())).map(|read| read.more.len())
    };
    assert_eq!((sign(0), sign(3)), (Ok(0), Ok(3)));
    assert_eq!(sign(4), Err(RecordError::Malformed));
    for (number, reach) in [(0, Reach::Unknown), (1, Reach::Public), (2, Reach::Mapped)] {
        assert_eq!((Reach::from_number(number), reach.number()), (reach, number));
    }
    assert_eq!(Reach::from_number(200), Reach::Unknown, "of a later version");
}

#[test]
fn labels_are_few_short_plain_and_in_order() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert!(labels_are_good(&[pair("a", "1"), pair("b", "")]));
    for bad in [
        vec![pair("", "1")],
        vec![pair("b", "1"), pair("a", "1")],
        vec![pair("a", "1"), pair("a", "2")],
        vec![pair("a", "1\n")],
        vec![pair("a", &"x".repeat(LABEL_BYTES_MAX))],
        (0..=LABELS_MAX).map(|number| pair(&format!("{number:02}"), "")).collect(),
    ] {
        assert!(!labels_are_good(&bad), "{bad:?}");
        let bytes = MemberRecord { labels: bad, ..record() }.sign(&identity(), &network());
        assert_eq!(MemberRecord::read(&bytes), Err(RecordError::Malformed));
    }
}

#[test]
fn versions_are_ordered_by_incarnation_and_then_by_revision() {
    let word = |incarnation, revision| RecordVersion { incarnation, revision };
    assert!(word(1, 9) < word(2, 0));
    assert!(word(2, 0) < word(2, 1));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
#[test]
fn the_bytes_of_requests_about_members_are_frozen() {
    let public_key = PublicKey::from_bytes([0x11; 32]);
    let subject = Contact::new(public_key, "1.2.3.4:258".parse().expect("address"));
    let version = RecordVersion { incarnation: 256, revision: 3 };
    let k = format!("5820{}", "11".repeat(32));
    let (c, v) = (format!("82 {k} 46010203040102"), "82 190100 03".to_owned());
    let partition = PartitionId { hour: 5, least: 0x0102_0304 };
    let probe = |suspected, partition| MemberRequest::Ping { mine: version, suspected, partition };
    let records = || vec![Bytes::from_static(b"m")];
    let requests = [
        (probe(None, None), format!("8200 81 {v}")),
        (probe(Some(version), None), format!("8200 82 {v} {v}")),
        (probe(None, Some(partition)), format!("8200 83 {v} f6 82 05 1a01020304")),
        (MemberRequest::PingReq { subject, nonce: 5 }, format!("8201 82 {c} 05")),
        (MemberRequest::Prove { asker: public_key, nonce: 5 }, format!("8202 82 {k} 05")),
        (
            MemberRequest::Suspect {
                suspects: vec![SuspectMessage { subject: public_key, version }],
            },
            format!("8203 81 81 82 {k} {v}"),
        ),
        (MemberRequest::Tell { records: records() }, "8204 81 81 416d".to_owned()),
        (MemberRequest::Compare { digests: Bytes::from_static(b"m") }, "8205 81 416d".to_owned()),
        (MemberRequest::Load { members: vec![256] }, "8206 81 81 190100".to_owned()),
        (MemberRequest::Page { after: public_key }, format!("8207 81 {k}")),
        (MemberRequest::Revoke { revocations: records() }, "8208 81 81 416d".to_owned()),
        (MemberRequest::Settings { settings: Bytes::from_static(b"s") }, "8209 81 4173".to_owned()),
    ];
    for (request, expected) in requests {
        let request = Request::Member(request);
        let expected = format!("02 8207 81 {expected}").replace(' ', "");
        assert_eq!(hex(&encode_request(&request)), expected, "{request:?}");
    }
}

/// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
#[test]
fn the_bytes_of_responses_about_members_are_frozen() {
    let public_key = PublicKey::from_bytes([0x11; 32]);
    let subject = Contact::new(public_key, "1.2.3.4:258".parse().expect("address"));
    let version = RecordVersion { incarnation: 256, revision: 3 };
    let k = format!("5820{}", "11".repeat(32));
    let (c, v) = (format!("82 {k} 46010203040102"), "82 190100 03");
    let partition = PartitionId { hour: 5, least: 0x0102_0304 };
    let records = || vec![Bytes::from_static(b"m")];
    let signature = Signature::from_bytes([0x22; 64]);
    let s = format!("5840{}", "22".repeat(64));
    let responses = [
        (MemberResponse::Ack { mine: version, hints: None }, format!("8200 81 {v}")),
        (
            MemberResponse::Ack {
                mine: version,
                hints: Some(PeerHints { partition: Some(partition), helpers: vec![subject] }),
            },
            format!("8200 82 {v} 82 82 05 1a01020304 81 {c}"),
        ),
        (MemberResponse::Proof { version, signature }, format!("8201 82 {v} {s}")),
        (
            MemberResponse::Differing { entries: vec![(256, 3)], buckets: 7 },
            "8202 82 81 82 190100 03 07".to_owned(),
        ),
        (
            MemberResponse::Records { records: records(), more: true },
            "8203 82 81 416d f5".to_owned(),
        ),
        (
            MemberResponse::Confirmed {
                suspects: vec![SuspectMessage { subject: public_key, version }],
            },
            format!("8204 81 81 82 {k} {v}"),
        ),
    ];
    for (response, expected) in responses {
        let response = Response::Member(response);
        let expected = format!("02 8208 81 {expected}").replace(' ', "");
        assert_eq!(hex(&encode_response(&response)), expected, "{response:?}");
    }
}

/// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
#[test]
fn the_bytes_of_a_record_of_a_member_are_frozen() {
    let bytes = record().sign(&identity(), &network());
    let (text, _) = bytes.split_last_chunk::<64>().expect("a signature");
    let key = hex(identity().public_key().as_bytes());
    let expected = format!(
        "a9 00 83 5820{key} f6 82 46010203040102 52{zeros}010007 01 82 190100 03 02 f4 03 f4 \
         04 84 647261636b 6137 6473697465 60 05 4163 06 83 02 02 63302e32 07 02 08 04",
        zeros = "00".repeat(15),
    );
    assert_eq!(hex(text), expected.replace(' ', ""));
    let records = vec![Bytes::from_static(b"m")];
    let announcement = Announcement { records, ..Announcement::default() };
    assert_eq!(hex(&announcement.to_bytes()), "028381416d8080");
}
