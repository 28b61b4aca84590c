//! The signed head of an envelope: everything except the values, which it covers by their hash.
//!
//! The signature covers head bytes that include the payload's hash. So a head can be checked, compared and
//! merged without its values, and a put learns all that it has to supersede from heads alone.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use minicbor::{Decode, Encode};
use potluck_base::{Key, KeyError, NetworkId, PublicKey, Signature, UnixMillis};

use crate::envelope::EnvelopeError;
use crate::limits::{HEAD_BYTES_MAX, PAYLOAD_BYTES_MAX, VALUE_BYTES_MAX, VALUES_MAX};
use crate::{Context, Dot, Kind, Name, Space, TeamId};

/// The version of the envelope format, the first field of every head.
pub const ENVELOPE_VERSION: u8 = 2;

/// The entry of one value in an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ValueEntry {
    #[n(0)]
    dot: u64,
    #[n(1)]
    bytes: u32,
    #[n(2)]
    expires_ms: u64,
}

impl ValueEntry {
    /// An entry for a value of `bytes` bytes.
    #[must_use]
    pub(crate) const fn new(dot: Dot, bytes: u32, expires: UnixMillis) -> Self {
        Self { dot: dot.raw(), bytes, expires_ms: expires.0 }
    }

    /// The value's dot.
    #[must_use]
    pub const fn dot(&self) -> Dot {
        Dot::from_raw(self.dot)
    }

    /// The value's length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes as usize
    }

    /// Whether the value is empty. An empty value is a value like any other.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The time from which readers no longer return the value. The envelope may live longer, so that it keeps
    /// covering the values that it superseded.
    #[must_use]
    pub const fn expires(&self) -> UnixMillis {
        UnixMillis(self.expires_ms)
    }
}

/// The encoded form of the head: a CBOR map with integer keys. Unknown keys are skipped.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Fields {
    #[n(0)]
    pub(crate) version: u8,
    #[n(1)]
    pub(crate) space: u8,
    #[n(2)]
    pub(crate) name: String,
    #[n(3)]
    pub(crate) kind: u8,
    #[cbor(n(4), with = "minicbor::bytes")]
    pub(crate) writer: [u8; 32],
    #[n(5)]
    pub(crate) dot: u64,
    #[n(6)]
    pub(crate) values: Vec<ValueEntry>,
    #[n(7)]
    pub(crate) context: Context,
    #[n(8)]
    pub(crate) expires_ms: u64,
    #[cbor(n(9), with = "minicbor::bytes")]
    pub(crate) payload_hash: [u8; 32],
    #[n(10)]
    pub(crate) certificate: Option<CertificateHash>,
    /// The id of the team, in a team's space. It determines the key.
    #[n(11)]
    pub(crate) team: Option<TeamField>,
}

/// The id of a team in a head.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct TeamField(#[cbor(n(0), with = "minicbor::bytes")] pub(crate) [u8; 32]);

/// Identifies the certificate of an envelope's writer: the first 16 bytes of the BLAKE3 hash of its signed
/// bytes. The network's authority signs certificates, so a member cannot craft a collision among certificates
/// of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct CertificateHash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl CertificateHash {
    /// The hash of a certificate with these signed bytes.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "an array shorter than the hash")]
    pub fn of(certificate: &[u8]) -> Self {
        let hash = blake3::hash(certificate);
        Self(std::array::from_fn(|index| hash.as_bytes()[index]))
    }
}

/// Identifies an envelope among those of its writer and key: its dot and the first 16 bytes of its digest.
/// Two envelopes with the same dot differ in the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvelopeId {
    /// The envelope's dot.
    pub dot: Dot,
    /// The first 16 bytes of [`SignedHead::digest`].
    pub digest: [u8; 16],
}

const SPACE_CONTENT: u8 = 0;
const SPACE_OWN: u8 = 1;
const SPACE_COMMONS: u8 = 2;
const SPACE_PROVIDER: u8 = 3;
const SPACE_TEAM: u8 = 4;
const SPACE_WRITERS: u8 = 5;

/// The number of a space in a head. `Own` and `Writers` need no owner there, because the writer is the owner.
pub(crate) const fn space_number(space: &Space) -> u8 {
    match space {
        Space::Content => SPACE_CONTENT,
        Space::Own(_) => SPACE_OWN,
        Space::Commons => SPACE_COMMONS,
        Space::Provider => SPACE_PROVIDER,
        Space::Team(_) => SPACE_TEAM,
        Space::Writers(_) => SPACE_WRITERS,
    }
}

struct Parsed {
    fields: Fields,
    space: Space,
    key: Key,
    digest: [u8; 32],
}

/// A parsed head with its signature, within its limits. [`verify`](Self::verify) checks the signature. Cheap
/// to clone.
#[derive(Clone)]
pub struct SignedHead {
    bytes: Bytes,
    signature: Signature,
    parsed: Arc<Parsed>,
}

impl SignedHead {
    /// Parses head bytes and checks every limit and rule that needs no key.
    ///
    /// # Errors
    /// [`EnvelopeError`]: not CBOR of this form, another version, or a limit or rule is broken.
    pub fn parse(bytes: Bytes, signature: Signature) -> Result<Self, EnvelopeError> {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(EnvelopeError::Limit("head bytes"));
        }
        let fields: Fields = minicbor::decode(&bytes).map_err(|_| EnvelopeError::Malformed)?;
        if fields.version != ENVELOPE_VERSION {
            return Err(EnvelopeError::Version(fields.version));
        }
        check_values(&fields)?;
        let (space, key) = place(&fields)?;
        let digest = *blake3::hash(&bytes).as_bytes();
        Ok(Self { bytes, signature, parsed: Arc::new(Parsed { fields, space, key, digest }) })
    }

    /// The bytes that are signed: a domain, the network and the head bytes.
    pub(crate) fn signed_message(network: &NetworkId, head: &[u8]) -> Vec<u8> {
        [b"potluck envelope 2".as_slice(), network.as_bytes(), head].concat()
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`KeyError`] if the writer did not sign these bytes for this network.
    pub fn verify(&self, network: &NetworkId) -> Result<(), KeyError> {
        self.writer().verify(&Self::signed_message(network, &self.bytes), &self.signature)
    }

    /// The exact signed bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The BLAKE3 hash of the head bytes. It identifies this envelope.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.parsed.digest
    }

    /// The id of this envelope among those of its writer and key.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "an array shorter than the digest")]
    pub fn id(&self) -> EnvelopeId {
        let digest = std::array::from_fn(|index| self.digest()[index]);
        EnvelopeId { dot: self.dot(), digest }
    }

    /// The certificate that the writer had when it signed; `None` in networks without admission.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateHash> {
        self.parsed.fields.certificate
    }

    /// The key of the record.
    #[must_use]
    pub fn key(&self) -> Key {
        self.parsed.key
    }

    /// The space of the record.
    #[must_use]
    pub fn space(&self) -> Space {
        self.parsed.space
    }

    /// The name of the record; empty in [`Space::Content`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.parsed.fields.name
    }

    /// The rule by which readers fold the values.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::from_number(self.parsed.fields.kind)
    }

    /// The writer, which signed the head.
    #[must_use]
    pub fn writer(&self) -> PublicKey {
        PublicKey::from_bytes(self.parsed.fields.writer)
    }

    /// The envelope's own dot; not lower than that of any of its values.
    #[must_use]
    pub fn dot(&self) -> Dot {
        Dot::from_raw(self.parsed.fields.dot)
    }

    /// The writer's live values.
    #[must_use]
    pub fn values(&self) -> &[ValueEntry] {
        &self.parsed.fields.values
    }

    /// The dots that the writer had seen and supersedes.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.parsed.fields.context
    }

    /// The end of the envelope's life: from then on it is refused and dropped.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        UnixMillis(self.parsed.fields.expires_ms)
    }

    /// The BLAKE3 hash of the concatenated values.
    #[must_use]
    pub fn payload_hash(&self) -> &[u8; 32] {
        &self.parsed.fields.payload_hash
    }

    /// The length of all values together.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.values().iter().map(ValueEntry::len).sum()
    }

    /// Whether this is a tombstone: an envelope without a value.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.values().is_empty()
    }
}

#[expect(clippy::indexing_slicing, reason = "windows of two have two")]
fn check_values(fields: &Fields) -> Result<(), EnvelopeError> {
    if fields.values.len() > VALUES_MAX {
        return Err(EnvelopeError::Limit("values"));
    }
    if fields.values.iter().any(|value| value.len() > VALUE_BYTES_MAX) {
        return Err(EnvelopeError::Limit("value bytes"));
    }
    if fields.values.iter().map(ValueEntry::len).sum::<usize>() > PAYLOAD_BYTES_MAX {
        return Err(EnvelopeError::Limit("payload bytes"));
    }
    let ordered = fields.values.windows(2).all(|pair| pair[0].dot < pair[1].dot);
    let within = fields
        .values
        .iter()
        .all(|value| value.dot <= fields.dot && value.expires_ms <= fields.expires_ms);
    if !ordered || !within || fields.dot == 0 {
        return Err(EnvelopeError::Rule("value dots ascend up to the envelope's dot and expiry"));
    }
    Ok(())
}

/// The space and the key of the fields.
fn place(fields: &Fields) -> Result<(Space, Key), EnvelopeError> {
    let space = match fields.space {
        SPACE_CONTENT => {
            if !fields.name.is_empty() || fields.values.len() != 1 || !fields.context.is_empty() {
                return Err(EnvelopeError::Rule("content has one value, no name and no context"));
            }
            return Ok((Space::Content, Key::from_bytes(fields.payload_hash)));
        }
        SPACE_OWN => Space::Own(PublicKey::from_bytes(fields.writer)),
        SPACE_COMMONS => Space::Commons,
        SPACE_PROVIDER => Space::Provider,
        SPACE_TEAM => {
            let team = fields.team.ok_or(EnvelopeError::Rule("a team's record names its team"))?;
            Space::Team(TeamId::from_bytes(team.0))
        }
        SPACE_WRITERS => Space::Writers(PublicKey::from_bytes(fields.writer)),
        _ => return Err(EnvelopeError::Rule("a space this version does not know")),
    };
    if (space == Space::Provider) != (fields.kind == Kind::PerWriter.number()) {
        return Err(EnvelopeError::Rule("provider records have a kind of their own"));
    }
    let name = Name::new(fields.name.clone()).map_err(|_| EnvelopeError::Rule("a good name"))?;
    let key = space.key(&name).ok_or(EnvelopeError::Rule("a named space"))?;
    Ok((space, key))
}

impl PartialEq for SignedHead {
    fn eq(&self, other: &Self) -> bool {
        self.parsed.digest == other.parsed.digest && self.signature == other.signature
    }
}

impl fmt::Debug for SignedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedHead")
            .field("key", &self.key())
            .field("writer", &self.writer())
            .field("dot", &self.dot())
            .field("values", &self.values().len())
            .finish_non_exhaustive()
    }
}
