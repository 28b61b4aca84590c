//! Watching a key: leases at the nodes that hold its record, and their notifications.
//!
//! One request has both directions: a watcher asks a holder for a lease, and a holder notifies the watcher of
//! a change while the lease lasts. A notification has no value: the watcher reads the record.

use minicbor::{Decode, Encode};
use potluck_base::Key;
use potluck_record::StateDigest;

use crate::codec::{cbor_digest, cbor_key};

/// A request about a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WatchRequest {
    /// Asks to be notified of each change of this key for a time. A repeated request renews the lease.
    #[n(0)]
    Lease {
        /// The key.
        #[cbor(n(0), with = "cbor_key")]
        key: Key,
        /// The duration in milliseconds; 0 ends the lease.
        #[n(1)]
        millis: u32,
    },
    /// Notifies the watcher that the holder's state of the key changed.
    #[n(1)]
    Changed(#[n(0)] Changed),
}

/// A notification of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Changed {
    /// The key.
    #[cbor(n(0), with = "cbor_key")]
    pub key: Key,
    /// The digest of the holder's state now.
    #[cbor(n(1), with = "cbor_digest")]
    pub digest: StateDigest,
    /// Changes of the state since the lease was first granted, including those without a notification.
    #[n(2)]
    pub changes: u64,
    /// Whether the lease ends with this notification, because the holder leaves or no longer holds the key.
    #[n(3)]
    pub ended: bool,
}

/// The answer to [`WatchRequest::Lease`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Watching {
    /// The remaining duration of the lease in milliseconds; 0: there is no lease.
    #[n(0)]
    pub millis: u32,
    /// The digest of the holder's state now. The digest of an empty state means absent.
    #[cbor(n(1), with = "cbor_digest")]
    pub digest: StateDigest,
    /// Changes of the state since the lease was first granted. If there are fewer than before, the holder has
    /// forgotten the earlier lease.
    #[n(2)]
    pub changes: u64,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::limits::MESSAGE_BYTES_MAX;
    use crate::{
        DecodeError, Request, Response, decode_request, decode_response, encode_request,
        encode_response,
    };

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn largest() -> (WatchRequest, Watching) {
        let (key, digest) = (Key::from_bytes([0xff; 32]), StateDigest::from_bytes([0xff; 16]));
        let changed = Changed { key, digest, changes: u64::MAX, ended: true };
        (WatchRequest::Changed(changed), Watching { millis: u32::MAX, digest, changes: u64::MAX })
    }

    /// Frozen bytes: a change here is a new version of the protocol (docs/protocol.md).
    #[test]
    fn the_bytes_of_a_watch_are_frozen() {
        let key = Key::from_bytes([0x11; 32]);
        let digest = StateDigest::from_bytes([0x22; 16]);
        let (k, d) = (format!("5820{}", "11".repeat(32)), format!("50{}", "22".repeat(16)));
        let lease = WatchRequest::Lease { key, millis: 300_000 };
        let changed = WatchRequest::Changed(Changed { key, digest, changes: 3, ended: false });
        for (request, expected) in [
            (lease, format!("02820f81 820082{k}1a000493e0")),
            (changed, format!("02820f81 820181a4 00{k} 01{d} 0203 03f4")),
        ] {
            let bytes = encode_request(&Request::Watch(request));
            assert_eq!(hex(&bytes), expected.replace(' ', ""), "{request:?}");
        }
        let watching = Watching { millis: 300_000, digest, changes: 3 };
        let expected = format!("02820d81a3 001a000493e0 01{d} 0203");
        let bytes = encode_response(&Response::Watching(watching));
        assert_eq!(hex(&bytes), expected.replace(' ', ""));
    }

    #[test]
    fn the_largest_messages_of_a_watch_are_small() {
        let (request, response) = largest();
        assert!(encode_request(&Request::Watch(request)).len() < MESSAGE_BYTES_MAX / 8);
        assert!(encode_response(&Response::Watching(response)).len() < 96);
    }

    #[test]
    fn later_versions_may_say_more_and_what_is_cut_off_is_refused() {
        let d = [&[0x50][..], &[0x22; 16]].concat();
        let more = [&[2, 0x82, 13, 0x81, 0xa4, 0, 7, 1][..], &d, &[2, 1, 9, 0x61, 0x61]].concat();
        let digest = StateDigest::from_bytes([0x22; 16]);
        let expected = Response::Watching(Watching { millis: 7, digest, changes: 1 });
        assert_eq!(decode_response(&more), Ok(expected));
        let bytes = encode_request(&Request::Watch(largest().0));
        for length in 0..bytes.len() {
            let cut = Bytes::copy_from_slice(&bytes[..length]);
            assert_eq!(decode_request(&cut), Err(DecodeError::Malformed), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn watches_round_trip(
            (key, digest) in (any::<[u8; 32]>(), any::<[u8; 16]>()),
            (millis, changes, ended) in any::<(u32, u64, bool)>(),
        ) {
            let (key, digest) = (Key::from_bytes(key), StateDigest::from_bytes(digest));
            for request in [
                WatchRequest::Lease { key, millis },
                WatchRequest::Changed(Changed { key, digest, changes, ended }),
            ] {
                let request = Request::Watch(request);
                prop_assert_eq!(decode_request(&encode_request(&request)), Ok(request));
            }
            let response = Response::Watching(Watching { millis, digest, changes });
            prop_assert_eq!(decode_response(&encode_response(&response)), Ok(response));
        }
    }
}
