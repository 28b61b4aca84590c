//! Encoding and decoding, with the limits applied.

use bytes::Bytes;
use minicbor::{Decoder, Encoder};

use crate::limits::{
    CERTIFICATES_MAX, CONTACTS_MAX, ENVELOPES_MAX, LOAD_KEYS_MAX, NEIGHBOURS_MAX,
    OFFER_ENTRIES_MAX, PASSED_ON_VERSION, PREFIXES_MAX, VERSION, VERSION_MIN,
};
use crate::message::{Found, Loaded, Refusal};
use crate::version::is_spoken;
use crate::{Load, Request, Response};

/// Why bytes are not a valid message. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not CBOR of a known message: drop them and count it.
    #[error("not a message")]
    Malformed,
    /// The version is not supported: answer a request with [`Response::unsupported`].
    #[error("message version {0} is not known here")]
    Version(u8),
    /// A well-formed message whose number this version does not know: answer a request with
    /// [`Response::unsupported`].
    #[error("a message of this number is not known here")]
    Unknown,
    /// A list is longer than its limit.
    #[error("over the limit of {0}")]
    Limit(&'static str),
}

/// Encodes a request.
#[must_use]
pub fn encode_request(request: &Request) -> Bytes {
    encode(request)
}

/// Encodes a response.
#[must_use]
pub fn encode_response(response: &Response) -> Bytes {
    encode(response)
}

fn encode<T: minicbor::Encode<()>>(message: &T) -> Bytes {
    encode_as(VERSION, message)
}

/// Something that is passed on from node to node as it is.
pub(crate) fn encode_passed_on<T: minicbor::Encode<()>>(message: &T) -> Bytes {
    encode_as(PASSED_ON_VERSION, message)
}

fn encode_as<T: minicbor::Encode<()>>(version: u8, message: &T) -> Bytes {
    let mut out = Vec::with_capacity(128);
    let mut encoder = Encoder::new(&mut out);
    encoder
        .u8(version)
        .and_then(|encoder| encoder.encode(message))
        .expect("writing to memory cannot fail");
    out.into()
}

/// Decodes a request.
///
/// # Errors
/// [`DecodeError`] if the bytes are not a request within the limits.
pub fn decode_request(bytes: &[u8]) -> Result<Request, DecodeError> {
    let request = decode_numbered(bytes, is_request)?;
    match &request {
        Request::Store { envelopes, .. } if envelopes.len() > ENVELOPES_MAX => {
            Err(DecodeError::Limit("envelopes"))
        }
        Request::Store { certificates, .. } if certificates.len() > CERTIFICATES_MAX => {
            Err(DecodeError::Limit("certificates"))
        }
        Request::Offer { entries } if entries.len() > OFFER_ENTRIES_MAX => {
            Err(DecodeError::Limit("offer entries"))
        }
        Request::Load(Load { keys, .. }) if keys.len() > LOAD_KEYS_MAX => {
            Err(DecodeError::Limit("load keys"))
        }
        Request::Fingerprints(compare) if !compare.is_within_limits() => {
            Err(DecodeError::Limit("ranges"))
        }
        Request::Changes(after) if !after.is_within_limits() => Err(DecodeError::Limit("ranges")),
        Request::Search(search) if !search.is_within_limits() => {
            Err(DecodeError::Limit("reach of a search"))
        }
        Request::Ping
        | Request::FindNode { .. }
        | Request::Store { .. }
        | Request::Offer { .. }
        | Request::Load(_)
        | Request::Leave { .. }
        | Request::Have { .. }
        | Request::Member(_)
        | Request::Topic(_)
        | Request::Search(_)
        | Request::Enroll(_)
        | Request::Names(_)
        | Request::Apply(_)
        | Request::Watch(_)
        | Request::Fingerprints(_)
        | Request::Changes(_) => Ok(request),
    }
}

/// Decodes a response.
///
/// # Errors
/// [`DecodeError`] if the bytes are not a response within the limits.
pub fn decode_response(bytes: &[u8]) -> Result<Response, DecodeError> {
    if let Some(refusal) = refusal_of_another_version(bytes) {
        return Ok(refusal);
    }
    let response = decode_numbered(bytes, is_response)?;
    match &response {
        Response::Found(found) if found.contacts.len() > CONTACTS_MAX => {
            Err(DecodeError::Limit("contacts"))
        }
        Response::Found(found)
            if found.record.as_ref().is_some_and(|record| record.parts.len() > ENVELOPES_MAX) =>
        {
            Err(DecodeError::Limit("record parts"))
        }
        Response::Loaded(Loaded { envelopes, .. }) if envelopes.len() > ENVELOPES_MAX => {
            Err(DecodeError::Limit("envelopes"))
        }
        Response::Loaded(Loaded { certificates, .. }) if certificates.len() > CERTIFICATES_MAX => {
            Err(DecodeError::Limit("certificates"))
        }
        Response::Found(Found { part: Some(part), .. }) if part.index >= part.of => {
            Err(DecodeError::Limit("parts"))
        }
        Response::Stored { outcomes } if outcomes.len() > ENVELOPES_MAX => {
            Err(DecodeError::Limit("outcomes"))
        }
        Response::Holding(holding) if holding.neighbours.len() > NEIGHBOURS_MAX => {
            Err(DecodeError::Limit("neighbours"))
        }
        Response::Fingerprints(compared)
            if compared.parts.len() > PREFIXES_MAX
                || compared.entries.len() > OFFER_ENTRIES_MAX =>
        {
            Err(DecodeError::Limit("fingerprints"))
        }
        Response::Changes(changes) if changes.entries.len() > OFFER_ENTRIES_MAX => {
            Err(DecodeError::Limit("changes"))
        }
        Response::Pong
        | Response::Found(_)
        | Response::Stored { .. }
        | Response::Offered { .. }
        | Response::Loaded(_)
        | Response::Refused { .. }
        | Response::Left
        | Response::Holding(_)
        | Response::Member(_)
        | Response::Topic(_)
        | Response::Taken
        | Response::Enrolled { .. }
        | Response::Names(_)
        | Response::Applied(_)
        | Response::Watching(_)
        | Response::Fingerprints(_)
        | Response::Changes(_) => Ok(response),
    }
}

/// Whether this version knows requests with this number.
const fn is_request(number: u64) -> bool {
    matches!(number, 0..=10 | 14..=18)
}

/// Whether this version knows responses with this number.
const fn is_response(number: u64) -> bool {
    matches!(number, 0..=16)
}

/// Like [`decode`], but distinguishes a well-formed message with an unknown number from garbage.
fn decode_numbered<T: for<'b> minicbor::Decode<'b, ()>>(
    bytes: &[u8],
    known: fn(u64) -> bool,
) -> Result<T, DecodeError> {
    decode(bytes).map_err(|error| match error {
        DecodeError::Malformed if is_of_unknown_number(bytes, known) => DecodeError::Unknown,
        DecodeError::Malformed
        | DecodeError::Version(_)
        | DecodeError::Unknown
        | DecodeError::Limit(_) => error,
    })
}

fn is_of_unknown_number(bytes: &[u8], known: fn(u64) -> bool) -> bool {
    let number = || {
        let mut d = Decoder::new(bytes);
        d.u8()?;
        if d.array()? != Some(2) {
            return Err(minicbor::decode::Error::message("array length"));
        }
        let number = d.u64()?;
        d.skip()?;
        Ok((number, d.position()))
    };
    number().is_ok_and(|(number, end)| !known(number) && end == bytes.len())
}

/// The refusal "not supported", with the supported versions, has one form in all versions, so an older and a
/// newer node understand it.
fn refusal_of_another_version(bytes: &[u8]) -> Option<Response> {
    let mut d = Decoder::new(bytes);
    let version = d.u8().ok()?;
    if is_spoken(version) {
        return None;
    }
    let response: Response = d.decode().ok()?;
    let whole = d.position() == bytes.len();
    let unsupported =
        matches!(response, Response::Refused { reason: Refusal::Unsupported, min: Some(_), .. });
    (whole && unsupported).then_some(response)
}

impl Response {
    /// The answer to a request of another version or of an unknown number.
    #[must_use]
    pub const fn unsupported() -> Self {
        Self::Refused { reason: Refusal::Unsupported, min: Some(VERSION_MIN), max: Some(VERSION) }
    }

    /// A refusal with this reason.
    #[must_use]
    pub const fn refused(reason: Refusal) -> Self {
        Self::Refused { reason, min: None, max: None }
    }

    /// The reason, if this is a refusal.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        if let Self::Refused { reason, .. } = self { Some(*reason) } else { None }
    }
}

pub(crate) fn decode<T: for<'b> minicbor::Decode<'b, ()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let version = decoder.u8().map_err(|_| DecodeError::Malformed)?;
    if !is_spoken(version) {
        return Err(DecodeError::Version(version));
    }
    let message = decoder.decode().map_err(|_| DecodeError::Malformed)?;
    if decoder.position() == bytes.len() { Ok(message) } else { Err(DecodeError::Malformed) }
}

pub(crate) fn fixed<const N: usize>(
    d: &mut Decoder<'_>,
) -> Result<[u8; N], minicbor::decode::Error> {
    d.bytes()?.try_into().map_err(|_| minicbor::decode::Error::message("byte string length"))
}

/// Elements of an array of known length, at most `max`.
pub(crate) fn elements<'b, T>(
    d: &mut Decoder<'b>,
    max: usize,
    mut element: impl FnMut(&mut Decoder<'b>) -> Result<T, minicbor::decode::Error>,
) -> Result<Vec<T>, minicbor::decode::Error> {
    let length = d
        .array()?
        .filter(|length| *length <= max as u64)
        .ok_or_else(|| minicbor::decode::Error::message("array length"))?;
    (0..length).map(|_| element(d)).collect()
}

pub(crate) type Written<W> =
    Result<(), minicbor::encode::Error<<W as minicbor::encode::Write>::Error>>;

pub(crate) mod cbor_key {
    //! A key, as a byte string.
    use super::{Decoder, Encoder, Written, fixed};
    use minicbor::encode::Write;
    use potluck_base::Key;

    pub(crate) fn encode<C, W: Write>(key: &Key, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.bytes(key.as_bytes())?;
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Key, minicbor::decode::Error> {
        fixed(d).map(Key::from_bytes)
    }
}

pub(crate) mod cbor_blob {
    //! The id of a blob, as a byte string.
    use super::{Decoder, Encoder, Written, fixed};
    use minicbor::encode::Write;
    use potluck_base::BlobId;

    pub(crate) fn encode<C, W: Write>(id: &BlobId, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.bytes(id.as_bytes())?;
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<BlobId, minicbor::decode::Error> {
        fixed(d).map(BlobId::from_bytes)
    }
}

pub(crate) mod cbor_byte_string {
    //! A byte string or null.
    use super::{Decoder, Encoder, Written};
    use bytes::Bytes;
    use minicbor::data::Type;
    use minicbor::encode::Write;

    pub(crate) fn encode<C, W: Write>(
        bytes: &Option<Bytes>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        match bytes {
            Some(bytes) => e.bytes(bytes)?,
            None => e.null()?,
        };
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Option<Bytes>, minicbor::decode::Error> {
        if d.datatype()? == Type::Null {
            d.skip()?;
            return Ok(None);
        }
        Ok(Some(Bytes::copy_from_slice(d.bytes()?)))
    }

    pub(crate) fn nil() -> Option<Option<Bytes>> {
        Some(None)
    }

    pub(crate) fn is_nil(bytes: &Option<Bytes>) -> bool {
        bytes.is_none()
    }
}

pub(crate) mod cbor_settings {
    //! The signed settings of a network, as a byte string of limited length.
    use super::{Decoder, Encoder, Written};
    use crate::limits::SETTINGS_BYTES_MAX;
    use bytes::Bytes;
    use minicbor::encode::Write;

    pub(crate) fn encode<C, W: Write>(bytes: &Bytes, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.bytes(bytes)?;
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Bytes, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        if bytes.len() > SETTINGS_BYTES_MAX {
            return Err(minicbor::decode::Error::message("settings too long"));
        }
        Ok(Bytes::copy_from_slice(bytes))
    }
}

pub(crate) mod cbor_keys {
    //! Keys as an array of byte strings.
    use super::{Decoder, Encoder, LOAD_KEYS_MAX, Written, elements, fixed};
    use minicbor::encode::Write;
    use potluck_base::Key;

    pub(crate) fn encode<C, W: Write>(keys: &[Key], e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.array(keys.len() as u64)?;
        for key in keys {
            e.bytes(key.as_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Vec<Key>, minicbor::decode::Error> {
        elements(d, LOAD_KEYS_MAX, |d| fixed(d).map(Key::from_bytes))
    }
}

pub(crate) mod cbor_digest {
    //! A state digest as a byte string.
    use super::{Decoder, Encoder, Written, fixed};
    use minicbor::encode::Write;
    use potluck_record::StateDigest;

    pub(crate) fn encode<C, W: Write>(
        digest: &StateDigest,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.bytes(&digest.to_bytes())?;
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<StateDigest, minicbor::decode::Error> {
        fixed(d).map(StateDigest::from_bytes)
    }
}

pub(crate) mod cbor_digest_option {
    //! A state digest or null.
    use super::{Decoder, Encoder, Written, fixed};
    use minicbor::data::Type;
    use minicbor::encode::Write;
    use potluck_record::StateDigest;

    pub(crate) fn encode<C, W: Write>(
        digest: &Option<StateDigest>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        match digest {
            Some(digest) => e.bytes(&digest.to_bytes())?,
            None => e.null()?,
        };
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Option<StateDigest>, minicbor::decode::Error> {
        if d.datatype()? == Type::Null {
            d.skip()?;
            return Ok(None);
        }
        fixed(d).map(|bytes| Some(StateDigest::from_bytes(bytes)))
    }

    pub(crate) fn nil() -> Option<Option<StateDigest>> {
        Some(None)
    }

    pub(crate) fn is_nil(digest: &Option<StateDigest>) -> bool {
        digest.is_none()
    }
}

pub(crate) mod cbor_writer {
    //! A writer's public key or null.
    use super::{Decoder, Encoder, Written, fixed};
    use minicbor::data::Type;
    use minicbor::encode::Write;

    pub(crate) fn encode<C, W: Write>(
        writer: &Option<[u8; 32]>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        match writer {
            Some(writer) => e.bytes(writer)?,
            None => e.null()?,
        };
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Option<[u8; 32]>, minicbor::decode::Error> {
        if d.datatype()? == Type::Null {
            d.skip()?;
            return Ok(None);
        }
        fixed(d).map(Some)
    }

    pub(crate) fn nil() -> Option<Option<[u8; 32]>> {
        Some(None)
    }

    pub(crate) fn is_nil(writer: &Option<[u8; 32]>) -> bool {
        writer.is_none()
    }
}

pub(crate) mod cbor_bytes {
    //! Byte strings as an array.
    use super::{Decoder, ENVELOPES_MAX, Encoder, Written, elements};
    use bytes::Bytes;
    use minicbor::encode::Write;

    pub(crate) fn encode<C, W: Write>(
        items: &[Bytes],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(items.len() as u64)?;
        for item in items {
            e.bytes(item)?;
        }
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Vec<Bytes>, minicbor::decode::Error> {
        elements(d, ENVELOPES_MAX, |d| Ok(Bytes::copy_from_slice(d.bytes()?)))
    }
}

pub(crate) mod cbor_public_key {
    //! A public key as a byte string.
    use super::{Decoder, Encoder, Written, fixed};
    use minicbor::encode::Write;
    use potluck_base::PublicKey;

    pub(crate) fn encode<C, W: Write>(
        key: &PublicKey,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.bytes(key.as_bytes())?;
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<PublicKey, minicbor::decode::Error> {
        fixed(d).map(PublicKey::from_bytes)
    }
}

pub(crate) mod cbor_signature {
    //! A signature as a byte string.
    use super::{Decoder, Encoder, Written, fixed};
    use minicbor::encode::Write;
    use potluck_base::Signature;

    pub(crate) fn encode<C, W: Write>(
        signature: &Signature,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.bytes(signature.as_bytes())?;
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Signature, minicbor::decode::Error> {
        fixed(d).map(Signature::from_bytes)
    }
}

#[cfg(test)]
mod tests;
