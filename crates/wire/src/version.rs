//! Which version of messages two nodes speak with each other: the newest one that both know.
//!
//! A node asks in its newest version. A peer that does not know it answers `Refused {unsupported, min, max}`
//! in a form that all versions read; then the node asks again in the newest version of that range that it
//! knows, and remembers it. An answer has the version of its question. So two nodes of a network in the
//! middle of an upgrade need no agreement of all.
//!
//! A version changes what fields mean or which ones must be there. New optional fields and new messages need
//! none: unknown fields are skipped, and an unknown message is refused. So a message has the same bytes in
//! each version that a node speaks, but for the version itself, and [`in_version`] is enough to put it so.

use bytes::{Bytes, BytesMut};

use crate::decode_response;
use crate::limits::{VERSION, VERSION_MIN};
use crate::message::{Refusal, Response};

/// Whether this node speaks it.
#[must_use]
pub const fn is_spoken(version: u8) -> bool {
    VERSION_MIN <= version && version <= VERSION
}

/// The version of an encoded message; this node's newest one if that is none that it speaks.
#[must_use]
pub fn of_message(message: &[u8]) -> u8 {
    message.first().copied().filter(|version| is_spoken(*version)).unwrap_or(VERSION)
}

/// An encoded message of this node in another version that it speaks. Bytes that begin with no version that
/// this node speaks are no message, and stay as they are.
#[must_use]
pub fn in_version(message: Bytes, version: u8) -> Bytes {
    let now = message.first().copied().filter(|now| is_spoken(*now));
    if now.is_none_or(|now| now == version) || !is_spoken(version) {
        return message;
    }
    let mut changed = BytesMut::from(message);
    // Versions below 24 are one byte of CBOR.
    if let Some(first) = changed.first_mut() {
        *first = version;
    }
    changed.freeze()
}

/// The version to ask again in after this answer to a request in version `asked`; `None` if the peer knew
/// that version, or knows none that this node speaks.
#[must_use]
pub fn after_refusal(asked: u8, answer: &Response) -> Option<u8> {
    let Response::Refused { reason: Refusal::Unsupported, min: Some(min), max: Some(max) } = answer
    else {
        return None;
    };
    let version = VERSION.min(*max);
    (*max < asked && version >= VERSION_MIN.max(*min)).then_some(version)
}

/// The same for an encoded answer.
#[must_use]
pub fn after_refused_bytes(request: &[u8], answer: &[u8]) -> Option<u8> {
    // A refusal is shorter than any answer that says something.
    if answer.len() > 16 {
        return None;
    }
    after_refusal(of_message(request), &decode_response(answer).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, encode_request, encode_response};

    const fn refusal(min: u8, max: u8) -> Response {
        Response::Refused { reason: Refusal::Unsupported, min: Some(min), max: Some(max) }
    }

    #[test]
    fn a_refused_question_is_asked_in_the_newest_version_that_both_know() {
        let newest = VERSION;
        assert_eq!(after_refusal(newest + 1, &refusal(1, newest)), Some(newest));
        assert_eq!(after_refusal(newest, &refusal(1, newest)), None, "it knew that version");
        assert_eq!(after_refusal(newest, &refusal(0, VERSION_MIN - 1)), None, "too old");
        assert_eq!(after_refusal(newest + 1, &refusal(newest + 1, newest + 2)), None, "too new");
        assert_eq!(after_refusal(newest, &Response::Pong), None);
        let lower = VERSION_MIN < VERSION;
        assert_eq!(after_refusal(newest, &refusal(1, VERSION_MIN)), lower.then_some(VERSION_MIN));
    }

    #[test]
    fn a_message_is_put_in_versions_that_are_spoken_and_no_other() {
        let ping = encode_request(&Request::Ping);
        assert_eq!(of_message(&ping), VERSION);
        let oldest = in_version(ping.clone(), VERSION_MIN);
        assert_eq!((oldest[0], &oldest[1..]), (VERSION_MIN, &ping[1..]));
        assert_eq!(crate::decode_request(&oldest), Ok(Request::Ping));
        assert_eq!(in_version(ping.clone(), VERSION + 1), ping);
        assert_eq!(in_version(Bytes::new(), VERSION), Bytes::new());
        let other = Bytes::from_static(b"there?");
        assert_eq!(in_version(other.clone(), VERSION_MIN), other, "no message");
        assert_eq!((of_message(&[]), of_message(&[0xff])), (VERSION, VERSION));
    }

    #[test]
    fn an_encoded_refusal_is_read_in_any_version() {
        let mut request = encode_request(&Request::Ping).to_vec();
        let answer = encode_response(&refusal(VERSION_MIN, VERSION));
        assert_eq!(after_refused_bytes(&request, &answer), None);
        request[0] = VERSION + 1;
        assert_eq!(after_refused_bytes(&request, &encode_response(&Response::Pong)), None);
        assert_eq!(after_refused_bytes(&request, &[0; 17]), None);
    }
}
