use potluck_base::{BlobId, Contact, Key, PublicKey, Salt};
use potluck_record::{CertificateHash, Dot, EnvelopeId, StateDigest};
use proptest::prelude::*;

use super::*;
use crate::limits::{LOAD_KEYS_DATAGRAM, MESSAGE_BYTES_MAX, OFFER_ENTRIES_DATAGRAM};
use crate::search::{Hit, QueryId, SearchRequest};
use crate::topic::{DisconnectCause, IdRange, InTopic, TopicId, TopicRequest, TopicResponse};
use crate::{
    Found, Hint, Holding, Loaded, OfferEntry, Part, RecordAnswer, Refusal, StoreOutcome, Want,
};

fn key() -> impl Strategy<Value = Key> {
    any::<[u8; 32]>().prop_map(Key::from_bytes)
}

fn digest() -> impl Strategy<Value = StateDigest> {
    any::<[u8; 16]>().prop_map(StateDigest::from_bytes)
}

fn blobs() -> impl Strategy<Value = Vec<Bytes>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from), 0..5)
}

fn contact() -> impl Strategy<Value = Contact> {
    let address = prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| (ip, port).into()),
        (any::<[u8; 16]>(), any::<u16>()).prop_map(|(ip, port)| (ip, port).into()),
    ];
    (any::<[u8; 32]>(), prop::option::of(any::<[u8; 8]>()), address).prop_map(
        |(public_key, salt, address)| Contact {
            public_key: PublicKey::from_bytes(public_key),
            salt: salt.map(Salt::from_bytes),
            address,
        },
    )
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop::sample::select(vec![
        Refusal::Busy,
        Refusal::Ahead,
        Refusal::Full,
        Refusal::NotServing,
        Refusal::Changed,
    ])
}

fn search() -> impl Strategy<Value = SearchRequest> {
    let query = || any::<[u8; 16]>().prop_map(QueryId);
    let words = || prop::collection::vec("[a-zé]{1,20}", 1..8);
    let hit = ("[^\\p{Cc}]{1,60}", any::<[u8; 32]>(), any::<u64>(), any::<bool>()).prop_map(
        |(name, id, bytes, folder)| Hit {
            name,
            root: BlobId::from_bytes(id),
            bytes,
            folder,
            holder: PublicKey::from_bytes(id),
        },
    );
    let filter = prop::sample::select(vec![0, 64, 128, 256, 512, 1024]);
    prop_oneof![
        (filter, any::<u8>())
            .prop_map(|(size, byte)| SearchRequest::Keywords { filter: vec![byte; size].into() }),
        (query(), words(), 1..=4u8, any::<u8>()).prop_map(|(query, words, ring, hops)| {
            SearchRequest::Query { query, words, ring, hops: hops % ring }
        }),
        (query(), words(), 1..=192u8, 0..16u8).prop_map(|(query, words, walkers, steps)| {
            SearchRequest::Walk { query, words, walkers, steps }
        }),
        (query(), prop::collection::vec(hit, 0..5))
            .prop_map(|(query, hits)| SearchRequest::Hits { query, hits }),
    ]
}

fn in_topic() -> impl Strategy<Value = InTopic> {
    let contacts = || prop::collection::vec(contact(), 0..8);
    let cause = prop::sample::select(vec![
        DisconnectCause::Left,
        DisconnectCause::Room,
        DisconnectCause::Misbehaved,
    ]);
    let runs = || {
        let run = (any::<[u8; 32]>(), any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
            |(key, incarnation, first, count)| IdRange {
                publisher: PublicKey::from_bytes(key),
                incarnation,
                first,
                count,
            },
        );
        prop::collection::vec(run, 0..20)
    };
    let body = prop_oneof![
        (any::<bool>(), any::<u64>())
            .prop_map(|(high_priority, age_ms)| TopicRequest::Neighbour { high_priority, age_ms }),
        (cause, contacts()).prop_map(|(cause, others)| TopicRequest::Disconnect { cause, others }),
        (contact(), any::<u8>())
            .prop_map(|(joiner, hops)| TopicRequest::ForwardJoin { joiner, hops }),
        (contact(), any::<u64>(), any::<u8>(), contacts()).prop_map(
            |(origin, nonce, hops, contacts)| TopicRequest::Shuffle {
                origin,
                nonce,
                hops,
                contacts
            }
        ),
        (any::<u64>(), contacts())
            .prop_map(|(nonce, contacts)| TopicRequest::ShuffleReply { nonce, contacts }),
        Just(TopicRequest::Probe),
        blobs().prop_map(|messages| TopicRequest::Gossip { messages }),
        runs().prop_map(|ranges| TopicRequest::IHave { ranges }),
        (runs(), any::<bool>()).prop_map(|(ranges, eager)| TopicRequest::Graft { ranges, eager }),
    ];
    (any::<[u8; 16]>(), body).prop_map(|(topic, body)| InTopic { topic: TopicId(topic), body })
}

fn topic_response() -> impl Strategy<Value = TopicResponse> {
    prop_oneof![
        Just(TopicResponse::Ack),
        Just(TopicResponse::NotNeighbour),
        any::<u64>().prop_map(|age_ms| TopicResponse::Accepted { age_ms }),
        prop::collection::vec(contact(), 0..5)
            .prop_map(|others| TopicResponse::Declined { others }),
        (any::<u64>(), any::<bool>())
            .prop_map(|(prune, busy)| TopicResponse::GossipAck { prune, busy }),
        any::<u32>().prop_map(|lacking| TopicResponse::GraftAck { lacking }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let want = prop::sample::select(vec![Want::Nothing, Want::Heads, Want::Values]);
    let entry = (key(), digest()).prop_map(|(key, digest)| OfferEntry { key, digest });
    prop_oneof![
        Just(Request::Ping),
        any::<Option<u16>>().prop_map(|back_in| Request::Leave { back_in }),
        search().prop_map(Request::Search),
        in_topic().prop_map(Request::Topic),
        any::<[u8; 32]>().prop_map(|id| Request::Have { blob: BlobId::from_bytes(id) }),
        (key(), any::<u8>(), want, any::<Option<u8>>()).prop_map(|(target, count, want, parts)| {
            Request::FindNode { target, count, want, parts }
        }),
        (blobs(), blobs())
            .prop_map(|(envelopes, certificates)| Request::Store { envelopes, certificates }),
        prop::collection::vec(entry, 0..5).prop_map(|entries| Request::Offer { entries }),
        (prop::collection::vec(key(), 0..5), any::<Option<[u8; 32]>>(), any::<[[u8; 16]; 2]>())
            .prop_map(|(keys, after, hashes)| {
                let certificates = hashes.map(CertificateHash).to_vec();
                Request::Load(Load { keys, after, certificates })
            }),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    let record = (digest(), blobs(), any::<bool>())
        .prop_map(|(digest, parts, complete)| RecordAnswer { digest, parts, complete });
    let held = (any::<u64>(), any::<[u8; 16]>())
        .prop_map(|(dot, digest)| EnvelopeId { dot: Dot::from_raw(dot), digest });
    let outcome = prop_oneof![
        digest().prop_map(StoreOutcome::Stored),
        (digest(), held).prop_map(|(digest, held)| StoreOutcome::Older { digest, held }),
        refusal().prop_map(StoreOutcome::Refused),
    ];
    let part = prop::option::of((0u8..2).prop_map(|index| Part { index, of: 2 }));
    let hint = (prop::option::of("[a-zé]{0,40}"), any::<Option<i64>>(), any::<Option<u32>>())
        .prop_map(|(name, mtime, mode)| Hint { name, mtime, mode });
    prop_oneof![
        Just(Response::Pong),
        Just(Response::Left),
        topic_response().prop_map(Response::Topic),
        (prop::collection::vec(contact(), 0..20), prop::option::of(record), part)
            .prop_map(|(contacts, record, part)| Response::Found(Found { contacts, record, part })),
        prop::collection::vec(outcome, 0..4).prop_map(|outcomes| Response::Stored { outcomes }),
        any::<u32>().prop_map(|wanted| Response::Offered { wanted }),
        (blobs(), any::<u32>(), blobs()).prop_map(|(envelopes, keys_done, certificates)| {
            Response::Loaded(Loaded { envelopes, keys_done, certificates })
        }),
        (refusal(), any::<Option<u8>>(), any::<Option<u8>>())
            .prop_map(|(reason, min, max)| Response::Refused { reason, min, max }),
        (
            any::<u64>(),
            prop::option::of(any::<[u8; 9]>()),
            prop::collection::vec(contact(), 0..8),
            prop::option::of(hint),
            prop::option::of(refusal())
        )
            .prop_map(|(size, granules, neighbours, hint, lost)| {
                let granules = granules.map(|bytes| Bytes::copy_from_slice(&bytes));
                Response::Holding(Holding { size, granules, neighbours, hint, lost })
            }),
    ]
}

proptest! {
    #[test]
    fn requests_round_trip(message in request()) {
        prop_assert_eq!(decode_request(&encode_request(&message)), Ok(message));
    }

    #[test]
    fn responses_round_trip(message in response()) {
        prop_assert_eq!(decode_response(&encode_response(&message)), Ok(message));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_request(&bytes);
        let _ = decode_response(&bytes);
    }

    #[test]
    fn damaged_messages_never_panic(
        message in response(), position in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let mut bytes = encode_response(&message).to_vec();
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        let _ = decode_response(&bytes);
    }
}

#[test]
fn another_version_is_named_in_the_error() {
    for version in [1, 3] {
        let mut bytes = encode_request(&Request::Ping).to_vec();
        bytes[0] = version;
        assert_eq!(decode_request(&bytes), Err(DecodeError::Version(version)));
    }
}

#[test]
fn a_refusal_of_a_version_is_read_from_any_version_and_nothing_else_is() {
    let refusal = |version: u8, response: &Response| {
        let mut bytes = encode_response(response).to_vec();
        bytes[0] = version;
        decode_response(&bytes)
    };
    for version in [1, 3, 9] {
        let unsupported = Response::unsupported();
        assert_eq!(refusal(version, &unsupported), Ok(unsupported));
        let busy = Response::refused(Refusal::Busy);
        assert_eq!(refusal(version, &busy), Err(DecodeError::Version(version)));
    }
}

/// Later versions add requests (DialBack 11, Punch 12, Relay 13). A node that does not know them refuses them
/// with its supported versions.
#[test]
fn a_request_of_an_unknown_number_is_distinguished_from_garbage() {
    for (bytes, expected) in [
        ([2, 0x82, 11, 0x80], DecodeError::Unknown),
        ([2, 0x82, 13, 0x80], DecodeError::Unknown),
        ([2, 0x82, 15, 0x80], DecodeError::Malformed),
        ([2, 0x82, 10, 0x80], DecodeError::Malformed),
        ([2, 0x82, 17, 0x80], DecodeError::Malformed),
        ([2, 0x82, 16, 0x80], DecodeError::Malformed),
        ([2, 0x82, 11, 0x81], DecodeError::Malformed),
        ([2, 0x83, 11, 0x80], DecodeError::Malformed),
    ] {
        assert_eq!(decode_request(&bytes), Err(expected), "{bytes:?}");
    }
}

#[test]
fn unknown_keys_of_maps_are_skipped() {
    // Load with key 9 and Found with key 9, which a later version may add.
    let load = [2, 0x82, 4, 0x81, 0xa2, 0x00, 0x80, 0x09, 0x82, 0x01, 0xa1, 0x05, 0xf6];
    assert!(matches!(decode_request(&load), Ok(Request::Load(_))));
    let found = [2, 0x82, 1, 0x81, 0xa2, 0x00, 0x80, 0x09, 0x61, 0x78];
    assert!(matches!(decode_response(&found), Ok(Response::Found(_))));
}

#[test]
fn an_outcome_says_one_thing() {
    let digest = StateDigest::from_bytes([1; 16]);
    let bytes = |digest: &str, refused: &str| format!("02820281 81 83 {digest} {refused} f6");
    let unhex = |text: String| data_encoding::HEXLOWER.decode(text.replace(' ', "").as_bytes());
    let read =
        |digest: &str, refused: &str| decode_response(&unhex(bytes(digest, refused)).expect("hex"));
    let d = format!("50{}", "01".repeat(16));
    let stored = |outcome| Ok(Response::Stored { outcomes: vec![outcome] });
    assert_eq!(read(&d, "f6"), stored(StoreOutcome::Stored(digest)));
    assert_eq!(read("f6", "06"), stored(StoreOutcome::Refused(Refusal::Full)));
    assert_eq!(read(&d, "06"), Err(DecodeError::Malformed));
    assert_eq!(read("f6", "f6"), Err(DecodeError::Malformed));
}

#[test]
fn garbage_behind_a_message_is_refused() {
    let mut bytes = encode_request(&Request::Ping).to_vec();
    bytes.push(0);
    assert_eq!(decode_request(&bytes), Err(DecodeError::Malformed));
}

#[test]
fn a_list_that_claims_to_be_huge_costs_nothing() {
    // Version 2, message 2 (store) with an array header that promises 2^60 envelopes.
    let bytes = [2, 0x82, 2, 0x81, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(decode_request(&bytes), Err(DecodeError::Malformed));
}

#[test]
fn full_datagram_messages_stay_within_their_limit() {
    let key = Key::from_bytes([255; 32]);
    let entry = OfferEntry { key, digest: StateDigest::from_bytes([255; 16]) };
    let offer = Request::Offer { entries: vec![entry; OFFER_ENTRIES_DATAGRAM] };
    let load = Request::Load(Load {
        keys: vec![key; LOAD_KEYS_DATAGRAM],
        after: Some([9; 32]),
        certificates: vec![],
    });
    for message in [offer, load] {
        assert!(encode_request(&message).len() <= MESSAGE_BYTES_MAX);
    }
    let contact = Contact {
        salt: Some(Salt::from_bytes([255; 8])),
        ..Contact::new(
            PublicKey::from_bytes([255; 32]),
            "[ffff::ffff]:65535".parse().expect("address"),
        )
    };
    let part = Some(Part { index: 1, of: 2 });
    let found = Found { contacts: vec![contact; 16], record: None, part };
    assert!(encode_response(&Response::Found(found)).len() <= MESSAGE_BYTES_MAX);
}

/// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
#[test]
fn the_bytes_of_a_search_are_frozen() {
    let query = QueryId([0x33; 16]);
    let (q, k) = (format!("50{}", "33".repeat(16)), format!("5820{}", "11".repeat(32)));
    let words = || vec!["abc".to_owned(), "v2".to_owned()];
    let hit = Hit {
        name: "a.b".to_owned(),
        root: BlobId::from_bytes([0x11; 32]),
        bytes: 256,
        folder: true,
        holder: PublicKey::from_bytes([0x11; 32]),
    };
    let samples = [
        (SearchRequest::Keywords { filter: Bytes::new() }, "02820981 82008140".to_owned()),
        (
            SearchRequest::Query { query, words: words(), ring: 4, hops: 3 },
            format!("02820981 820184 {q} 82 63616263 627632 04 03"),
        ),
        (
            SearchRequest::Walk { query, words: words(), walkers: 24, steps: 9 },
            format!("02820981 820284 {q} 82 63616263 627632 1818 09"),
        ),
        (
            SearchRequest::Hits { query, hits: vec![hit] },
            format!("02820981 820382 {q} 81 85 63612e62 {k} 190100 f5 {k}"),
        ),
    ];
    for (search, expected) in samples {
        let request = Request::Search(search);
        assert_eq!(hex(&encode_request(&request)), expected.replace(' ', ""), "{request:?}");
    }
}

/// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
#[test]
fn the_bytes_of_topics_are_frozen() {
    let public_key = PublicKey::from_bytes([0x11; 32]);
    let contact = Contact::new(public_key, "1.2.3.4:258".parse().expect("address"));
    let contacts = || vec![contact];
    let run = IdRange { publisher: public_key, incarnation: 256, first: 9, count: 3 };
    let k = format!("5820{}", "11".repeat(32));
    let (c, r) = (format!("82 {k} 46010203040102"), format!("84 {k} 190100 09 03"));
    let messages = vec![Bytes::from_static(b"m")];
    let acts = [
        (TopicRequest::Neighbour { high_priority: true, age_ms: 7 }, "8200 82 f5 07".to_owned()),
        (
            TopicRequest::Disconnect { cause: DisconnectCause::Room, others: contacts() },
            format!("8201 82 01 81 {c}"),
        ),
        (TopicRequest::ForwardJoin { joiner: contact, hops: 6 }, format!("8202 82 {c} 06")),
        (
            TopicRequest::Shuffle { origin: contact, nonce: 5, hops: 6, contacts: contacts() },
            format!("8203 84 {c} 05 06 81 {c}"),
        ),
        (
            TopicRequest::ShuffleReply { nonce: 5, contacts: contacts() },
            format!("8204 82 05 81 {c}"),
        ),
        (TopicRequest::Probe, "8205 80".to_owned()),
        (TopicRequest::Gossip { messages }, "8206 81 81 416d".to_owned()),
        (TopicRequest::IHave { ranges: vec![run] }, format!("8207 81 81 {r}")),
        (TopicRequest::Graft { ranges: vec![run], eager: true }, format!("8208 82 81 {r} f5")),
    ];
    for (body, expected) in acts {
        let expected = format!("02 8208 81 82 50{} {expected}", "44".repeat(16));
        let request = Request::Topic(InTopic { topic: TopicId([0x44; 16]), body });
        assert_eq!(hex(&encode_request(&request)), expected.replace(' ', ""), "{request:?}");
    }
    let answers = [
        (TopicResponse::Ack, "8200 80".to_owned()),
        (TopicResponse::Accepted { age_ms: 7 }, "8201 81 07".to_owned()),
        (TopicResponse::Declined { others: contacts() }, format!("8202 81 81 {c}")),
        (TopicResponse::GossipAck { prune: 1, busy: false }, "8203 82 01 f4".to_owned()),
        (TopicResponse::GraftAck { lacking: 3 }, "8204 81 03".to_owned()),
        (TopicResponse::NotNeighbour, "8205 80".to_owned()),
    ];
    for (answer, expected) in answers {
        let expected = format!("02 8209 81 {expected}").replace(' ', "");
        let response = Response::Topic(answer);
        assert_eq!(hex(&encode_response(&response)), expected, "{response:?}");
    }
}

#[test]
fn a_shuffle_and_a_request_for_names_fit_in_a_datagram() {
    let contact = Contact::new(
        PublicKey::from_bytes([255; 32]),
        "[ffff::ffff]:65535".parse().expect("address"),
    );
    let run = IdRange {
        publisher: contact.public_key,
        incarnation: u64::MAX,
        first: u64::MAX,
        count: u32::MAX,
    };
    let nonce = u64::MAX;
    let acts = [
        TopicRequest::Shuffle { origin: contact, nonce, hops: 6, contacts: vec![contact; 6] },
        TopicRequest::Graft { ranges: vec![run; 16], eager: true },
    ];
    for body in acts {
        let request = Request::Topic(InTopic { topic: TopicId([255; 16]), body });
        let length = encode_request(&request).len();
        assert!(length <= MESSAGE_BYTES_MAX, "{length}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
#[test]
fn the_bytes_of_each_request_are_frozen() {
    let key = Key::from_bytes([0x11; 32]);
    let digest = StateDigest::from_bytes([0x22; 16]);
    let k = format!("5820{}", "11".repeat(32));
    let d = format!("50{}", "22".repeat(16));
    let requests = [
        (Request::Ping, "02820080".to_owned()),
        (
            Request::FindNode { target: key, count: 16, want: Want::Heads, parts: None },
            format!("02820183{k}1001"),
        ),
        (
            Request::FindNode { target: key, count: 32, want: Want::Heads, parts: Some(2) },
            format!("02820184{k}1820 01 02").replace(' ', ""),
        ),
        (
            Request::Store {
                envelopes: vec![Bytes::from_static(b"e")],
                certificates: vec![Bytes::from_static(b"c")],
            },
            "02820282 814165 814163".replace(' ', ""),
        ),
        (
            Request::Offer { entries: vec![OfferEntry { key, digest }] },
            format!("028203818182{k}{d}"),
        ),
        (
            Request::Load(Load { keys: vec![key], after: None, certificates: vec![] }),
            format!("02820481a10081{k}"),
        ),
        (
            Request::Load(Load {
                keys: vec![],
                after: None,
                certificates: vec![CertificateHash([0x22; 16])],
            }),
            format!("02820481a2 0080 0281{d}").replace(' ', ""),
        ),
        (Request::Leave { back_in: None }, "02820580".to_owned()),
        (Request::Leave { back_in: Some(120) }, "028205811878".to_owned()),
        (Request::Have { blob: BlobId::from_bytes([0x11; 32]) }, format!("02820681{k}")),
    ];
    for (request, expected) in requests {
        assert_eq!(hex(&encode_request(&request)), expected, "{request:?}");
    }
}

fn expect_responses(responses: &[(Response, String)]) {
    for (response, expected) in responses {
        assert_eq!(hex(&encode_response(response)), expected.replace(' ', ""), "{response:?}");
    }
}

/// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
#[test]
fn the_bytes_of_each_response_about_records_are_frozen() {
    let digest = StateDigest::from_bytes([0x22; 16]);
    let k = format!("5820{}", "11".repeat(32));
    let d = format!("50{}", "22".repeat(16));
    let contact =
        Contact::new(PublicKey::from_bytes([0x11; 32]), "1.2.3.4:258".parse().expect("address"));
    let record = RecordAnswer { digest, parts: vec![], complete: true };
    let held = EnvelopeId { dot: Dot::from_raw(5), digest: [0x22; 16] };
    let outcomes = vec![
        StoreOutcome::Stored(digest),
        StoreOutcome::Refused(Refusal::Full),
        StoreOutcome::Older { digest, held },
    ];
    let salted = Contact { salt: Some(Salt::from_bytes([0x33; 8])), ..contact };
    expect_responses(&[
        (Response::Pong, "02820080".to_owned()),
        (
            Response::Found(Found {
                contacts: vec![contact],
                record: Some(record),
                part: Some(Part { index: 0, of: 2 }),
            }),
            format!("02820181a3008182{k}4601020304010201a300{d}018002f502820002"),
        ),
        (
            Response::Found(Found { contacts: vec![salted], ..Found::default() }),
            format!("02820181a10081 83{k}46010203040102 48{}", "33".repeat(8)),
        ),
        (Response::Stored { outcomes }, format!("02820281 83 81{d} 82f606 83{d}f6 8205{d}")),
        (Response::Offered { wanted: 3 }, "0282038103".to_owned()),
        (
            Response::Loaded(Loaded { keys_done: 1, ..Loaded::default() }),
            "02820481a200800101".to_owned(),
        ),
        (Response::refused(Refusal::Busy), "0282058100".to_owned()),
        (Response::unsupported(), "02820583080202".to_owned()),
        (Response::Left, "02820680".to_owned()),
    ]);
}

/// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
#[test]
fn the_bytes_of_each_response_about_files_are_frozen() {
    let k = format!("5820{}", "11".repeat(32));
    let contact =
        Contact::new(PublicKey::from_bytes([0x11; 32]), "1.2.3.4:258".parse().expect("address"));
    expect_responses(&[
        (
            Response::Holding(Holding {
                size: 9,
                granules: Some(Bytes::from_static(&[3])),
                neighbours: vec![contact],
                ..Holding::default()
            }),
            format!("02820781a300090141030281 82{k}46010203040102"),
        ),
        (
            Response::Holding(Holding {
                size: 9,
                hint: Some(Hint { name: Some("a".to_owned()), mtime: Some(-1), mode: Some(64) }),
                ..Holding::default()
            }),
            "02820781a300090280 03a3 006161 0120 021840".to_owned(),
        ),
        (
            Response::Holding(Holding {
                size: 9,
                granules: Some(Bytes::from_static(&[1])),
                lost: Some(Refusal::Changed),
                ..Holding::default()
            }),
            "02820781a40009014101028004 12".to_owned(),
        ),
        (Response::refused(Refusal::Changed), "0282058112".to_owned()),
        (Response::refused(Refusal::Unshared), "0282058113".to_owned()),
        (Response::refused(Refusal::Unreadable), "0282058114".to_owned()),
        (Response::refused(Refusal::NotWriter), "0282058115".to_owned()),
        (Response::refused(Refusal::CertificateNeeded), "0282058116".to_owned()),
        (Response::refused(Refusal::NoCommons), "0282058117".to_owned()),
        (Response::refused(Refusal::StampNeeded), "028205811818".to_owned()),
    ]);
}
