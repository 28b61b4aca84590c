//! Envelopes: the whole live state of one writer for one key, signed.
//!
//! On the wire and on disk an envelope is a CBOR array `[head, signature, payload]` of three byte
//! strings; `payload` is the concatenation of all values. A bare head is `[head, signature]`. The signed
//! bytes are the bytes that are stored.

use std::fmt;

use bytes::Bytes;
use minicbor::{Decoder, Encoder};
use potluck_base::{Identity, KeyError, NetworkId, PublicKey, Signature, UnixMillis};

use crate::head::{
    CertificateHash, ENVELOPE_VERSION, Fields, SignedHead, TeamField, ValueEntry, space_number,
};
use crate::limits::{ENVELOPE_BYTES_MAX, PAYLOAD_BYTES_MAX, VALUE_BYTES_MAX, VALUES_MAX};
use crate::{Context, Dot, Kind, Name, Space};

/// Why bytes are not an envelope. Nothing changed; drop them and count it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The bytes are not CBOR of the expected form.
    #[error("not an envelope")]
    Malformed,
    /// The format version is unknown.
    #[error("envelope version {0} is not known here")]
    Version(u8),
    /// A limit of [`limits`](crate::limits) is exceeded.
    #[error("over the limit of {0}")]
    Limit(&'static str),
    /// A rule that every envelope must follow is broken.
    #[error("against the rule: {0}")]
    Rule(&'static str),
    /// The payload does not match the hash in the head.
    #[error("the values do not match their hash")]
    Payload,
}

/// Why a draft was not signed. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// A value is larger than 64 KiB: share it as a file instead.
    #[error("a value has at most {VALUE_BYTES_MAX} bytes, this one has {0}; share it as a file")]
    ValueTooLarge(usize),
    /// The writer has too many unmerged values, or too many bytes of them: merge first.
    #[error("this writer already keeps {0} unmerged values here; merge them first")]
    TooManyValues(usize),
    /// The draft breaks a rule of its space.
    #[error("not possible in this space: {0}")]
    Rule(&'static str),
}

/// An envelope before it is signed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The rule for the writers of the key.
    pub space: Space,
    /// The record's name; `None` in [`Space::Content`].
    pub name: Option<Name>,
    /// The rule by which readers fold the values.
    pub kind: Kind,
    /// All live values of this writer, in the order of their dots.
    pub values: Vec<(Dot, UnixMillis, Bytes)>,
    /// The envelope's dot, above all that this writer issued for the key.
    pub dot: Dot,
    /// All dots that this writer has seen and supersedes, including its own earlier ones. Reduced to the
    /// limit when the envelope is signed, see [`Context::fit`].
    pub context: Context,
    /// The end of life: not before that of any value and of any superseded value.
    pub expires: UnixMillis,
    /// The hash of the writer's certificate; `None` in networks without admission.
    pub certificate: Option<CertificateHash>,
}

/// A parsed envelope within its limits. Its payload was checked against the hash in the head.
/// [`verify`](Self::verify) checks the signature. Cheap to clone.
#[derive(Clone, PartialEq)]
pub struct Envelope {
    head: SignedHead,
    payload: Bytes,
}

impl Envelope {
    /// Signs a draft.
    ///
    /// # Errors
    /// [`DraftError`] if it is over a limit or against a rule.
    pub fn sign(
        identity: &Identity,
        network: &NetworkId,
        draft: Draft,
    ) -> Result<Self, DraftError> {
        let sign = |head: &Bytes| identity.sign(&SignedHead::signed_message(network, head));
        Self::make(identity.public_key(), draft, sign)
    }

    /// Makes an envelope with an invalid signature: [`decode`](Self::decode) reads it and
    /// [`verify`](Self::verify) refuses it. It costs a tenth of a signed one, so a test or a benchmark can
    /// load millions into a store, which checks no signatures.
    ///
    /// # Errors
    /// [`DraftError`] if it is over a limit or against a rule.
    #[cfg(feature = "testing")]
    pub fn unsigned(writer: PublicKey, draft: Draft) -> Result<Self, DraftError> {
        Self::make(writer, draft, |_| Signature::from_bytes([0; 64]))
    }

    fn make(
        writer: PublicKey,
        draft: Draft,
        sign: impl FnOnce(&Bytes) -> Signature,
    ) -> Result<Self, DraftError> {
        if let Some((_, _, value)) = draft.values.iter().find(|v| v.2.len() > VALUE_BYTES_MAX) {
            return Err(DraftError::ValueTooLarge(value.len()));
        }
        let payload_len: usize = draft.values.iter().map(|value| value.2.len()).sum();
        if draft.values.len() > VALUES_MAX || payload_len > PAYLOAD_BYTES_MAX {
            return Err(DraftError::TooManyValues(draft.values.len() - 1));
        }
        let mut context = draft.context;
        context.fit();
        let payload: Bytes = match draft.values.as_slice() {
            [(_, _, only)] => only.clone(),
            all => all.iter().flat_map(|value| value.2.iter().copied()).collect(),
        };
        let fields = Fields {
            version: ENVELOPE_VERSION,
            space: space_number(&draft.space),
            name: draft.name.map(|name| name.as_str().to_owned()).unwrap_or_default(),
            kind: draft.kind.number(),
            writer: *writer.as_bytes(),
            dot: draft.dot.raw(),
            values: draft
                .values
                .iter()
                .map(|(dot, expires, value)| ValueEntry::new(*dot, value.len() as u32, *expires))
                .collect(),
            context,
            expires_ms: draft.expires.0,
            payload_hash: *blake3::hash(&payload).as_bytes(),
            certificate: draft.certificate,
            team: match draft.space {
                Space::Team(team) => Some(TeamField(*team.as_bytes())),
                Space::Content
                | Space::Own(_)
                | Space::Commons
                | Space::Provider
                | Space::Writers(_) => None,
            },
        };
        let head = Bytes::from(minicbor::to_vec(&fields).expect("writing to memory cannot fail"));
        let signature = sign(&head);
        let head = SignedHead::parse(head, signature).map_err(|error| match error {
            EnvelopeError::Rule(rule) => DraftError::Rule(rule),
            EnvelopeError::Malformed
            | EnvelopeError::Version(_)
            | EnvelopeError::Limit(_)
            | EnvelopeError::Payload => DraftError::Rule("an envelope within its limits"),
        })?;
        if !draft.space.admits(&head.writer()) {
            return Err(DraftError::Rule("only its owner writes to an own space"));
        }
        Ok(Self { head, payload })
    }

    /// Combines a head and its values.
    ///
    /// # Errors
    /// [`EnvelopeError::Payload`] if they do not match.
    pub fn join(head: SignedHead, payload: Bytes) -> Result<Self, EnvelopeError> {
        let matches = head.payload_len() == payload.len()
            && blake3::hash(&payload).as_bytes() == head.payload_hash();
        if matches { Ok(Self { head, payload }) } else { Err(EnvelopeError::Payload) }
    }

    /// Reads an envelope. The values are slices of `bytes`, not copies.
    ///
    /// # Errors
    /// [`EnvelopeError`] if the form, a limit, a rule or the payload's hash is wrong.
    pub fn decode(bytes: &Bytes) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::Limit("envelope bytes"));
        }
        let parts = read_parts::<3>(bytes).ok_or(EnvelopeError::Malformed)?;
        let [head, signature, payload] = parts;
        Self::join(parse_head(head, &signature)?, payload)
    }

    /// The bytes that [`decode`](Self::decode) reads.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        write_parts(&[self.head.bytes(), self.head.signature().as_bytes(), &self.payload])
    }

    /// The length of [`encode`](Self::encode)'s result, or at most five bytes more.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.head.bytes().len() + self.payload.len() + 64 + 12
    }

    /// The signed head.
    #[must_use]
    pub const fn head(&self) -> &SignedHead {
        &self.head
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`KeyError`] if the writer did not sign this for this network.
    pub fn verify(&self, network: &NetworkId) -> Result<(), KeyError> {
        self.head.verify(network)
    }

    /// The writer's live values with their entries.
    pub fn values(&self) -> impl Iterator<Item = (&ValueEntry, Bytes)> {
        let mut start = 0;
        self.head.values().iter().map(move |entry| {
            let value = self.payload.slice(start..start + entry.len());
            start += entry.len();
            (entry, value)
        })
    }
}

impl SignedHead {
    /// Reads a bare head.
    ///
    /// # Errors
    /// [`EnvelopeError`] if the form, a limit or a rule is wrong.
    pub fn decode(bytes: &Bytes) -> Result<Self, EnvelopeError> {
        let parts = read_parts::<2>(bytes).ok_or(EnvelopeError::Malformed)?;
        let [head, signature] = parts;
        parse_head(head, &signature)
    }

    /// The bytes that [`decode`](Self::decode) reads.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        write_parts(&[self.bytes(), self.signature().as_bytes()])
    }
}

fn parse_head(head: Bytes, signature: &[u8]) -> Result<SignedHead, EnvelopeError> {
    let signature = signature.try_into().map_err(|_| EnvelopeError::Malformed)?;
    SignedHead::parse(head, Signature::from_bytes(signature))
}

/// The `N` byte strings of a CBOR array that fills `bytes` exactly.
fn read_parts<const N: usize>(bytes: &Bytes) -> Option<[Bytes; N]> {
    let mut decoder = Decoder::new(bytes);
    if decoder.array().ok()? != Some(N as u64) {
        return None;
    }
    let mut parts = [const { Bytes::new() }; N];
    for part in &mut parts {
        *part = bytes.slice_ref(decoder.bytes().ok()?);
    }
    (decoder.position() == bytes.len()).then_some(parts)
}

fn write_parts(parts: &[&[u8]]) -> Bytes {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 5).sum::<usize>() + 1);
    let mut encoder = Encoder::new(&mut out);
    encoder.array(parts.len() as u64).expect("writing to memory cannot fail");
    for part in parts {
        encoder.bytes(part).expect("writing to memory cannot fail");
    }
    out.into()
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head.fmt(f)
    }
}

#[cfg(test)]
mod tests;
