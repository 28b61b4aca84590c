//! Messages and what travels in them.

use bytes::Bytes;
use potluck_base::{Admission, Identity, UnixMillis};
use potluck_wire::{
    Announcement, Beacon, Certificate, FetchRequest, Grant, LanKey, MemberRecord, NetworkSettings,
    Provider, Request, Response, Revocation, SignedMessage, decode_request, decode_response,
    encode_request, encode_response,
};

use crate::outcome::Seen;
use crate::samples::{self, admission};

/// Requests, and what a Store brings.
pub(super) fn request(bytes: &[u8], seen: &mut Seen) {
    let request = seen.measured(|| decode_request(bytes));
    seen.result("request", &request);
    let Ok(request) = request else { return };
    let again = encode_request(&request);
    assert_eq!(decode_request(&again).as_ref(), Ok(&request));
    assert_eq!(encode_request(&decode_request(&again).expect("checked")), again);
    if let Request::Store { envelopes, .. } = &request {
        for envelope in envelopes {
            super::record::envelope(envelope, seen);
        }
    }
}

/// Responses, and the records that they bring.
pub(super) fn response(bytes: &[u8], seen: &mut Seen) {
    let response = seen.measured(|| decode_response(bytes));
    seen.result("response", &response);
    let Ok(response) = response else { return };
    let again = encode_response(&response);
    assert_eq!(decode_response(&again).as_ref(), Ok(&response));
    assert_eq!(encode_response(&decode_response(&again).expect("checked")), again);
    if let Response::Loaded(loaded) = &response {
        for envelope in &loaded.envelopes {
            super::record::envelope(envelope, seen);
        }
    }
}

const SIGNATURE_BYTES: usize = 64;

/// Certificates, revocations, settings, grants and member records: as they came, and once more with a
/// signature that holds, so that what is behind the check is reached, too.
pub(super) fn signed(bytes: &[u8], seen: &mut Seen) {
    let text = &bytes[..bytes.len().saturating_sub(SIGNATURE_BYTES)];
    let (authority, network) = (admission::authority(), admission::network());
    let key = authority.public_key();
    let resigned = |domain: &[u8], by: &Identity| {
        let signature = by.sign(&[domain, network.as_bytes(), text].concat());
        [text, signature.as_bytes()].concat()
    };
    let read = seen.measured(|| Certificate::read(bytes, &key, &network));
    seen.note("certificate", &read);
    if read.is_ok() || read == Err(potluck_wire::admission::AdmissionProofError::Signature) {
        let read =
            Certificate::read(&resigned(b"potluck 2026 certificate", &authority), &key, &network);
        seen.result("certificate again", &read);
        // What is too long to be issued, or has labels that are not, is read but not made.
        let made = read.ok().and_then(|read| Some((read.sign(&authority, &network)?, read)));
        if let Some((signed, read)) = made {
            assert_eq!(Certificate::read(&signed, &key, &network), Ok(read));
        }
    }
    let read = seen.measured(|| Revocation::read(bytes, &key, &network));
    seen.note("revocation", &read);
    if read.is_ok() || read == Err(potluck_wire::admission::AdmissionProofError::Signature) {
        let signed = resigned(b"potluck 2026 revocation", &authority);
        let read = Revocation::read(&signed, &key, &network).expect("its text was read before");
        seen.accept("revocation again", &read);
        assert_eq!(Revocation::read(&read.sign(&authority, &network), &key, &network), Ok(read));
    }
    let read = seen.measured(|| Grant::read(bytes, &key, &network));
    seen.result("grant", &read);
    settings(bytes, &resigned(b"potluck 2026 network settings", &authority), seen);
    member_record(bytes, seen);
}

fn settings(bytes: &[u8], resigned: &[u8], seen: &mut Seen) {
    let (authority, network) = (admission::authority(), admission::network());
    let key = authority.public_key();
    let read = seen.measured(|| NetworkSettings::read(bytes, &key, &network));
    seen.note("settings", &read);
    let read = NetworkSettings::read(resigned, &key, &network);
    seen.result("settings again", &read);
    if let Ok(settings) = read {
        let signed = settings.sign(&authority, &network).expect("they were checked");
        assert_eq!(NetworkSettings::read(&signed, &key, &network), Ok(settings));
    }
}

fn member_record(bytes: &[u8], seen: &mut Seen) {
    let network = admission::network();
    let read = seen.measured(|| MemberRecord::read(bytes));
    seen.result("member record", &read);
    if let Ok(record) = read {
        seen.note("member record's signature", &record.verify(bytes, &network));
        let signed = record.sign(&samples::identity(2), &network);
        assert_eq!(MemberRecord::read(&signed), Ok(record));
    }
}

/// Messages of the system's topic, and signed messages of any.
pub(super) fn announcement(bytes: &[u8], seen: &mut Seen) {
    let read = seen.measured(|| Announcement::from_bytes(bytes));
    seen.result("announcement", &read);
    if let Ok(announcement) = read {
        assert_eq!(Announcement::from_bytes(&announcement.to_bytes()).as_ref(), Ok(&announcement));
        for record in &announcement.records {
            member_record(record, seen);
        }
    }
    let bytes = Bytes::copy_from_slice(bytes);
    seen.note("shown", &SignedMessage::shown_in(&bytes));
    let read = seen.measured(|| SignedMessage::decode(&bytes));
    seen.result("message", &read);
    if let Ok(message) = read {
        assert_eq!(SignedMessage::decode(&message.encode()).as_ref(), Ok(&message));
    }
}

/// What is asked of and told about sources of files, and the beacon of the local network.
pub(super) fn sources(bytes: &[u8], seen: &mut Seen) {
    let request = seen.measured(|| {
        let request = FetchRequest::from_bytes(bytes);
        let granules = request.as_ref().map(|request| request.granules(100).len());
        assert!(granules.is_ok_and(|granules| granules <= 100) || request.is_err());
        request
    });
    seen.result("fetch", &request);
    if let Ok(request) = request {
        assert_eq!(FetchRequest::from_bytes(&request.to_bytes()).as_ref(), Ok(&request));
    }
    let provider = seen.measured(|| Provider::from_bytes(bytes));
    seen.result("provider", &provider);
    if let Ok(provider) = provider {
        seen.note("its contact", &provider.contact());
        assert_eq!(Provider::from_bytes(&provider.to_bytes()).as_ref(), Ok(&provider));
    }
    let (key, now) = beacon_key();
    if let Some(beacon) = seen.measured(|| Beacon::read(bytes, &key, now)) {
        seen.accept("beacon", &beacon);
        assert_eq!(Beacon::read(&beacon.write(&key, now), &key, now), Some(beacon));
    }
}

fn beacon_key() -> (LanKey, UnixMillis) {
    (LanKey::new(&samples::network(), Admission::Lab), UnixMillis(1_800_000_000_000))
}

/// Samples for [`sources`].
pub(super) fn source_samples() -> Vec<Vec<u8>> {
    let (key, now) = beacon_key();
    let beacon = Beacon { port: 12_345, start: 1 << 50 }.write(&key, now).to_vec();
    samples::sources().into_iter().chain([beacon]).collect()
}
