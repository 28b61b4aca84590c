//! The formats, byte by byte.

use proptest::prelude::*;

use super::*;

const TAG: [u8; 8] = *b"network!";
const SERIAL: Serial = Serial { boot: [3; 16], counter: 0x0102_0304_0506_0708 };

fn key() -> PublicKey {
    PublicKey::from_bytes([2; 32])
}

fn greeter(addresses: usize) -> Greeter {
    let address = "[2001:db8::1]:7".parse().expect("address");
    let salt = Some(Salt::from_bytes([8; 8]));
    Greeter { public_key: key(), salt, addresses: vec![address; addresses] }
}

fn echo(asker: &str) -> Option<Echo> {
    Some(Echo { asker: asker.parse().expect("address"), clock: UnixMillis(0x0102) })
}

fn draft<'a>(cookies: [Option<Cookie>; 2], message: &'a [u8], bytes_min: usize) -> Draft<'a> {
    let inner = Inner {
        kind: Kind::Request,
        request_id: 9,
        cookie: cookies[1],
        certificate: None,
        echo: None,
        message,
    };
    Draft { tag: TAG, sender: key(), serial: SERIAL, header_cookie: cookies[0], inner, bytes_min }
}

#[test]
fn a_sealed_datagram_is_laid_out_as_the_module_says() {
    let (bytes, body) = draft([Some([4; 16]), Some([5; 16])], b"hi", 0).write();
    let expected = [
        &[1, 2][..],
        &TAG,
        &[2; 32],
        &[3; 16],
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &[1],
        &[4; 16],
        &[1, 0, 0, 0, 0, 0, 0, 0, 9, 16],
        &[5; 16],
        &[0, 2],
        b"hi",
        &[0; 16],
    ]
    .concat();
    assert_eq!((bytes, body), (expected, 83));
}

#[test]
fn no_answer_to_a_stranger_is_longer_than_what_it_sends() {
    let (shortest, _) = draft([None, None], b"", 0).write();
    assert!(write_retry(&TAG, SERIAL, &[4; 16]).len() < shortest.len());
    let hello = write_hello(&TAG, &[6; 16], &[7; 16]);
    assert!(write_welcome(&TAG, &[6; 16], &greeter(ADDRESSES_MAX + 1)).len() <= hello.len());
    // A response with a cookie and this message is at most what the budget says.
    let mut response = draft([None, Some([5; 16])], b"hello", 0);
    response.inner.kind = Kind::Response;
    for (asker, saved) in [("[::1]:7", 0), ("127.0.0.1:7", 12)] {
        response.inner.echo = echo(asker);
        assert_eq!(response.write().0.len() + saved, ANSWER_OVERHEAD + 5);
        assert_eq!(response.bytes() + saved, ANSWER_OVERHEAD + 5);
    }
    const { assert!(ANSWER_OVERHEAD + potluck_wire::limits::MESSAGE_BYTES_MAX <= DATAGRAM_BYTES_MAX) };
}

#[test]
fn the_small_datagrams_are_read_as_written_and_at_their_length_only() {
    let nonce = [6; 16];
    let welcome = write_welcome(&TAG, &nonce, &greeter(2));
    let retry = write_retry(&TAG, SERIAL, &[4; 16]);
    let hello = Frame::Hello { nonce, mark: [7; 16], padding: HELLO_PADDING };
    let written = write_hello(&TAG, &nonce, &[7; 16]);
    assert_eq!((written.len(), parse(&written, &TAG)), (HELLO_BYTES_MIN, Ok(hello)));
    let welcomed = Frame::Welcome { nonce, greeter: greeter(2) };
    assert_eq!(parse(&welcome, &TAG), Ok(welcomed));
    let plain = Greeter { salt: None, ..greeter(0) };
    let bytes = write_welcome(&TAG, &nonce, &plain);
    let expected = [&[3, 2][..], &TAG, &nonce, &[2, 2], key().as_bytes(), &[0, 0]].concat();
    assert_eq!(bytes, expected);
    assert_eq!(parse(&retry, &TAG), Ok(Frame::Retry { serial: SERIAL, cookie: [4; 16] }));
    for mut bytes in [welcome, retry] {
        assert_eq!(parse(&bytes[..bytes.len() - 1], &TAG), Err(FrameError::Malformed));
        bytes.push(0);
        assert_eq!(parse(&bytes, &TAG), Err(FrameError::Malformed));
    }
}

#[test]
fn each_reason_to_refuse_a_datagram_is_told_apart() {
    let (bytes, _) = draft([None, None], b"hi", 0).write();
    assert_eq!(parse(&bytes, b"another!"), Err(FrameError::OtherNetwork));
    let refused = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        parse(&bytes, &TAG).expect_err("it was spoilt")
    };
    assert_eq!(refused(1, 1), FrameError::Version);
    assert_eq!(refused(1, 3), FrameError::Version);
    assert_eq!(refused(66, 2), FrameError::Malformed, "an unknown flag");
    for first in [0, 5, 0x41, 0x81, 0xc1] {
        assert_eq!(refused(0, first), FrameError::Malformed, "first byte {first:#x}");
    }
    assert_eq!(parse(&[1; 1201], &[1; 8]), Err(FrameError::Malformed));
}

#[test]
fn a_certificate_stands_before_the_message_and_is_bounded() {
    let mut draft = draft([None, None], b"hi", 0);
    draft.inner.certificate = Some(b"shown");
    let (bytes, body) = draft.write();
    assert_eq!(bytes.len(), draft.bytes());
    let inside = [&[17, 0, 0, 0, 0, 0, 0, 0, 9, 0][..], &[0, 5], b"shown", &[0, 2], b"hi"].concat();
    assert_eq!(bytes[body..bytes.len() - SEAL_TAG_BYTES], inside);
    assert_eq!(parse_inner(&inside), Some(draft.inner));
    let long = [7; CERTIFICATE_BYTES_MAX + 1];
    draft.inner.certificate = Some(&long);
    let (bytes, body) = draft.write();
    assert_eq!(parse_inner(&bytes[body..]), None);
}

#[test]
fn a_response_tells_the_askers_address_and_the_time() {
    let mut draft = draft([None, None], b"hi", 0);
    draft.inner.kind = Kind::Response;
    draft.inner.echo = echo("1.2.3.4:258");
    let (bytes, body) = draft.write();
    let inside = [
        &[2, 0, 0, 0, 0, 0, 0, 0, 9, 0][..],
        &[6, 1, 2, 3, 4, 1, 2],
        &[0, 0, 0, 0, 0, 0, 1, 2],
        &[0, 2],
        b"hi",
    ]
    .concat();
    assert_eq!(bytes[body..bytes.len() - SEAL_TAG_BYTES], inside);
    assert_eq!(parse_inner(&inside), Some(draft.inner));
    let mut spoilt = inside.clone();
    spoilt[10] = 7;
    assert_eq!(parse_inner(&spoilt), None, "no address has seven bytes");
}

proptest! {
    #[test]
    fn what_was_written_is_read_again(
        header_cookie in any::<Option<Cookie>>(),
        cookie in any::<Option<Cookie>>(),
        message in prop::collection::vec(any::<u8>(), 0..600),
        shown in prop::option::of(prop::collection::vec(any::<u8>(), 0..400)),
        bytes_min in 0..1_200_usize,
    ) {
        let mut draft = draft([header_cookie, cookie], &message, bytes_min);
        draft.inner.certificate = shown.as_deref();
        let (bytes, body) = draft.write();
        prop_assert!(bytes.len() >= bytes_min);
        let Ok(Frame::Sealed(sealed)) = parse(&bytes, &TAG) else {
            return Err(TestCaseError::fail("not sealed"));
        };
        prop_assert_eq!((sealed.sender, sealed.serial), (key(), SERIAL));
        prop_assert_eq!((sealed.cookie, sealed.header.len()), (header_cookie, body));
        let plain = &sealed.body[..sealed.body.len() - SEAL_TAG_BYTES];
        prop_assert_eq!(parse_inner(plain), Some(draft.inner));
    }
}
