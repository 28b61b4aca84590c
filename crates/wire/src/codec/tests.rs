use potluck_base::{BlobId, Contact, Key, PublicKey};
use potluck_record::StateDigest;
use proptest::prelude::*;

use super::*;
use crate::limits::{LOAD_KEYS_DATAGRAM, MESSAGE_BYTES_MAX, OFFER_ENTRIES_DATAGRAM};
use crate::{Found, Holding, Loaded, OfferEntry, RecordAnswer, Refusal, StoreOutcome, Want};

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
    (any::<[u8; 32]>(), address).prop_map(|(public_key, address)| Contact {
        public_key: PublicKey::from_bytes(public_key),
        address,
    })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop::sample::select(vec![Refusal::Busy, Refusal::Ahead, Refusal::Full, Refusal::NotServing])
}

fn request() -> impl Strategy<Value = Request> {
    let want = prop::sample::select(vec![Want::Nothing, Want::Heads, Want::Values]);
    let entry = (key(), digest()).prop_map(|(key, digest)| OfferEntry { key, digest });
    prop_oneof![
        Just(Request::Ping),
        Just(Request::Leave),
        any::<[u8; 32]>().prop_map(|id| Request::Have { blob: BlobId::from_bytes(id) }),
        (key(), any::<u8>(), want).prop_map(|(target, count, want)| Request::FindNode {
            target,
            count,
            want
        }),
        blobs().prop_map(|envelopes| Request::Store { envelopes }),
        prop::collection::vec(entry, 0..5).prop_map(|entries| Request::Offer { entries }),
        (prop::collection::vec(key(), 0..5), any::<Option<[u8; 32]>>())
            .prop_map(|(keys, after)| Request::Load(Load { keys, after })),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    let record = (digest(), blobs(), any::<bool>())
        .prop_map(|(digest, parts, complete)| RecordAnswer { digest, parts, complete });
    let outcome = (prop::option::of(digest()), prop::option::of(refusal()))
        .prop_map(|(digest, refused)| StoreOutcome { digest, refused });
    prop_oneof![
        Just(Response::Pong),
        Just(Response::Left),
        (prop::collection::vec(contact(), 0..20), prop::option::of(record))
            .prop_map(|(contacts, record)| Response::Found(Found { contacts, record })),
        prop::collection::vec(outcome, 0..4).prop_map(|outcomes| Response::Stored { outcomes }),
        any::<u32>().prop_map(|wanted| Response::Offered { wanted }),
        (blobs(), any::<u32>()).prop_map(|(envelopes, keys_done)| {
            Response::Loaded(Loaded { envelopes, keys_done })
        }),
        refusal().prop_map(|reason| Response::Refused { reason }),
        (any::<u64>(), prop::option::of(any::<[u8; 9]>()), prop::collection::vec(contact(), 0..8))
            .prop_map(|(size, granules, neighbours)| {
                let granules = granules.map(|bytes| Bytes::copy_from_slice(&bytes));
                Response::Holding(Holding { size, granules, neighbours })
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
    let mut bytes = encode_request(&Request::Ping).to_vec();
    bytes[0] = 2;
    assert_eq!(decode_request(&bytes), Err(DecodeError::Version(2)));
}

#[test]
fn garbage_behind_a_message_is_refused() {
    let mut bytes = encode_request(&Request::Ping).to_vec();
    bytes.push(0);
    assert_eq!(decode_request(&bytes), Err(DecodeError::Malformed));
}

#[test]
fn a_list_that_claims_to_be_huge_costs_nothing() {
    // Version 1, message 2 (store) with an array header that promises 2^60 envelopes.
    let bytes = [1, 0x82, 2, 0x81, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(decode_request(&bytes), Err(DecodeError::Malformed));
}

#[test]
fn full_datagram_messages_stay_within_their_limit() {
    let key = Key::from_bytes([255; 32]);
    let entry = OfferEntry { key, digest: StateDigest::from_bytes([255; 16]) };
    let offer = Request::Offer { entries: vec![entry; OFFER_ENTRIES_DATAGRAM] };
    let load = Request::Load(Load { keys: vec![key; LOAD_KEYS_DATAGRAM], after: Some([9; 32]) });
    for message in [offer, load] {
        assert!(encode_request(&message).len() <= MESSAGE_BYTES_MAX);
    }
    let contact = Contact {
        public_key: PublicKey::from_bytes([255; 32]),
        address: "[ffff::ffff]:65535".parse().expect("address"),
    };
    let found = Found { contacts: vec![contact; 16], record: None };
    assert!(encode_response(&Response::Found(found)).len() <= MESSAGE_BYTES_MAX);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
#[test]
fn the_bytes_of_each_message_are_frozen() {
    let key = Key::from_bytes([0x11; 32]);
    let digest = StateDigest::from_bytes([0x22; 16]);
    let k = format!("5820{}", "11".repeat(32));
    let d = format!("50{}", "22".repeat(16));
    let requests = [
        (Request::Ping, "01820080".to_owned()),
        (
            Request::FindNode { target: key, count: 16, want: Want::Heads },
            format!("01820183{k}1001"),
        ),
        (
            Request::Store { envelopes: vec![Bytes::from_static(b"e")] },
            "018202818141 65".replace(' ', ""),
        ),
        (
            Request::Offer { entries: vec![OfferEntry { key, digest }] },
            format!("018203818182{k}{d}"),
        ),
        (Request::Load(Load { keys: vec![key], after: None }), format!("01820481a10081{k}")),
        (Request::Leave, "01820580".to_owned()),
        (Request::Have { blob: BlobId::from_bytes([0x11; 32]) }, format!("01820681{k}")),
    ];
    for (request, expected) in requests {
        assert_eq!(hex(&encode_request(&request)), expected, "{request:?}");
    }
    let contact = Contact {
        public_key: PublicKey::from_bytes([0x11; 32]),
        address: "1.2.3.4:258".parse().expect("address"),
    };
    let record = RecordAnswer { digest, parts: vec![], complete: true };
    let stored = StoreOutcome { digest: Some(digest), refused: None };
    let refused = StoreOutcome { digest: None, refused: Some(Refusal::Full) };
    let responses = [
        (Response::Pong, "01820080".to_owned()),
        (
            Response::Found(Found { contacts: vec![contact], record: Some(record) }),
            format!("01820181a2008182{k}4601020304010201a300{d}018002f5"),
        ),
        (
            Response::Stored { outcomes: vec![stored, refused] },
            format!("01820281 8281{d}82f606").replace(' ', ""),
        ),
        (Response::Offered { wanted: 3 }, "0182038103".to_owned()),
        (
            Response::Loaded(Loaded { envelopes: vec![], keys_done: 1 }),
            "01820481a200800101".to_owned(),
        ),
        (Response::Refused { reason: Refusal::Busy }, "0182058100".to_owned()),
        (Response::Left, "01820680".to_owned()),
        (
            Response::Holding(Holding {
                size: 9,
                granules: Some(Bytes::from_static(&[3])),
                neighbours: vec![contact],
            }),
            format!("01820781a300090141030281 82{k}46010203040102").replace(' ', ""),
        ),
    ];
    for (response, expected) in responses {
        assert_eq!(hex(&encode_response(&response)), expected, "{response:?}");
    }
}
