//! Admission to an `invite` network: certificates, tickets, revocations, enrolment.
//!
//! Everything here except the secret of a ticket is signed, by the network's authority key or by the key of a
//! ticket. The signed text begins with its purpose and the network's id, so a signature for one purpose or
//! network is invalid for another. The signed bytes are those that are kept and passed on; they are decoded
//! only together with the check of their signature.
//!
//! A **ticket** is a secret: its holder may get a certificate. The authority signed the ticket's grant, which
//! names the ticket's public key. The holder proves that it has the secret without sending it, so the node
//! that answers an enrolment cannot use the ticket itself.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use minicbor::{Decode, Decoder, Encode};
use potluck_base::id::SALT_BYTES;
use potluck_base::network::NETWORK_NAME_BYTES_MAX;
use potluck_base::{
    Addresses, Admission, Identity, NetworkId, PublicKey, Salt, Signature, UnixMillis,
};

use crate::codec::{cbor_public_key, cbor_signature};
use crate::contact::{cbor_entry_points, cbor_salt};
use crate::limits::{CERTIFICATE_BYTES_MAX, CERTIFICATE_LIFE_MAX_MS, TICKET_CONTACTS_MAX};
use crate::member::{cbor_labels, labels_are_good};

const CERTIFICATE_DOMAIN: &[u8] = b"potluck 2026 certificate";
const GRANT_DOMAIN: &[u8] = b"potluck 2026 grant";
const ENROLL_DOMAIN: &[u8] = b"potluck 2026 enrolment";
const REVOCATION_DOMAIN: &[u8] = b"potluck 2026 revocation";

/// The prefix of every ticket.
pub const TICKET_SCHEME: &str = "potluck-ticket:";
/// Longest ticket, in characters: twice what the longest one needs.
pub const TICKET_CHARS_MAX: usize = 3000;
/// Version of the ticket's bytes.
const TICKET_VERSION: u8 = 2;
/// Bytes of a ticket's checksum, which detects a wrong or missing character.
const CHECKSUM_BYTES: usize = 4;

/// Why bytes are not a valid proof of admission. Drop them and count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionProofError {
    /// The bytes have another form, or exceed a limit.
    #[error("malformed")]
    Malformed,
    /// Not signed by this network's authority, or for another purpose.
    #[error("the signature does not hold")]
    Signature,
}

/// The authority's statement about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The member's key.
    pub subject: PublicKey,
    /// The labels that the inviter gave it: name and value, in the order of names.
    pub labels: Vec<(String, String)>,
    /// A random number that distinguishes certificates of one subject.
    pub serial: u64,
    /// When it was signed, by the authority's clock.
    pub issued: UnixMillis,
    /// The time from which it is void.
    pub expires: UnixMillis,
    /// Whether the member is not expected to return after a long absence.
    pub ephemeral: bool,
    /// The salt of its node id.
    pub salt: Option<Salt>,
    /// The key of the ticket that admitted it; `None` for the network's first member. A renewal keeps it.
    pub ticket: Option<PublicKey>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct CertificateText {
    #[cbor(n(0), with = "cbor_public_key")]
    subject: PublicKey,
    #[n(1)]
    serial: u64,
    #[n(2)]
    issued: u64,
    #[n(3)]
    expires: u64,
    #[n(4)]
    ephemeral: bool,
    #[cbor(n(5), with = "cbor_labels")]
    labels: Vec<(String, String)>,
    #[cbor(n(6), with = "cbor_salt", has_nil)]
    salt: Option<Salt>,
    #[cbor(n(7), with = "cbor_key_or_null", has_nil)]
    ticket: Option<PublicKey>,
}

impl Certificate {
    /// The signed bytes. `None` if the labels are invalid or too long for [`CERTIFICATE_BYTES_MAX`], or the
    /// life is longer than [`CERTIFICATE_LIFE_MAX_MS`].
    #[must_use]
    pub fn sign(&self, authority: &Identity, network: &NetworkId) -> Option<Bytes> {
        let text = CertificateText {
            subject: self.subject,
            serial: self.serial,
            issued: self.issued.0,
            expires: self.expires.0,
            ephemeral: self.ephemeral,
            labels: self.labels.clone(),
            salt: self.salt,
            ticket: self.ticket,
        };
        let bytes = sign(&text, CERTIFICATE_DOMAIN, authority, network);
        let good = labels_are_good(&self.labels)
            && bytes.len() <= CERTIFICATE_BYTES_MAX
            && life_is_good(self.issued, self.expires);
        good.then_some(bytes)
    }

    /// Decodes signed bytes and checks the signature. Does not check whether the certificate has expired.
    ///
    /// # Errors
    /// [`AdmissionProofError`]
    pub fn read(
        bytes: &[u8],
        authority: &PublicKey,
        network: &NetworkId,
    ) -> Result<Self, AdmissionProofError> {
        let text: CertificateText = read(bytes, CERTIFICATE_DOMAIN, authority, network)?;
        let CertificateText { subject, serial, issued, expires, ephemeral, labels, .. } = text;
        let CertificateText { salt, ticket, .. } = text;
        let (issued, expires) = (UnixMillis(issued), UnixMillis(expires));
        if !life_is_good(issued, expires) {
            return Err(AdmissionProofError::Malformed);
        }
        Ok(Self { subject, labels, serial, issued, expires, ephemeral, salt, ticket })
    }
}

fn life_is_good(issued: UnixMillis, expires: UnixMillis) -> bool {
    expires.0.checked_sub(issued.0).is_some_and(|life| life <= CERTIFICATE_LIFE_MAX_MS)
}

/// The subject of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revoked {
    /// A member's key: every certificate for it is void, whenever it was or will be signed. The machine can
    /// return with a new identity.
    Member(PublicKey),
    /// A ticket's key: it admits no node any more, and every certificate that it gave is void.
    Ticket(PublicKey),
}

impl Revoked {
    /// The member's or the ticket's key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        match self {
            Self::Member(key) | Self::Ticket(key) => key,
        }
    }
}

/// The authority's statement that a member or a ticket is revoked, for ever.
///
/// No times are compared, so a certificate that was signed under a fast clock is void like any other. A
/// revocation may be forgotten when the last certificate that it voids has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// The revoked key.
    pub subject: Revoked,
    /// When it was signed, by the authority's clock. It only tells when the revocation may be forgotten.
    pub at: UnixMillis,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct RevocationText {
    #[n(0)]
    of_ticket: bool,
    #[cbor(n(1), with = "cbor_public_key")]
    subject: PublicKey,
    #[n(2)]
    at: u64,
}

impl Revocation {
    /// The signed bytes.
    #[must_use]
    pub fn sign(&self, authority: &Identity, network: &NetworkId) -> Bytes {
        let of_ticket = matches!(self.subject, Revoked::Ticket(_));
        let text = RevocationText { of_ticket, subject: *self.subject.key(), at: self.at.0 };
        sign(&text, REVOCATION_DOMAIN, authority, network)
    }

    /// Decodes signed bytes and checks the signature.
    ///
    /// # Errors
    /// [`AdmissionProofError`]
    pub fn read(
        bytes: &[u8],
        authority: &PublicKey,
        network: &NetworkId,
    ) -> Result<Self, AdmissionProofError> {
        let text: RevocationText = read(bytes, REVOCATION_DOMAIN, authority, network)?;
        let RevocationText { of_ticket, subject, at } = text;
        let subject = if of_ticket { Revoked::Ticket(subject) } else { Revoked::Member(subject) };
        Ok(Self { subject, at: UnixMillis(at) })
    }

    /// Whether everything that it voids has expired: two of the longest lives of a certificate have passed,
    /// the second one for an authority whose clock was fast when it signed the certificate.
    #[must_use]
    pub const fn is_over(&self, now: UnixMillis) -> bool {
        self.at.0.saturating_add(2 * CERTIFICATE_LIFE_MAX_MS) < now.0
    }
}

/// The authority's statement about a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The public key of the ticket.
    pub ticket: PublicKey,
    /// The number of nodes that it admits; `None`: any number.
    pub uses: Option<u32>,
    /// When it was signed.
    pub issued: UnixMillis,
    /// The time after which it admits no node.
    pub expires: UnixMillis,
    /// Labels of the certificates.
    pub labels: Vec<(String, String)>,
    /// Whether the certificates are short-lived.
    pub ephemeral: bool,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct GrantText {
    #[cbor(n(0), with = "cbor_public_key")]
    ticket: PublicKey,
    #[n(1)]
    uses: Option<u32>,
    #[n(2)]
    issued: u64,
    #[n(3)]
    expires: u64,
    #[n(4)]
    ephemeral: bool,
    #[cbor(n(5), with = "cbor_labels")]
    labels: Vec<(String, String)>,
}

impl Grant {
    /// The signed bytes.
    fn sign(&self, authority: &Identity, network: &NetworkId) -> Bytes {
        let text = GrantText {
            ticket: self.ticket,
            uses: self.uses,
            issued: self.issued.0,
            expires: self.expires.0,
            ephemeral: self.ephemeral,
            labels: self.labels.clone(),
        };
        sign(&text, GRANT_DOMAIN, authority, network)
    }

    /// Decodes signed bytes and checks the signature. Does not check whether the grant has expired.
    ///
    /// # Errors
    /// [`AdmissionProofError`]
    pub fn read(
        bytes: &[u8],
        authority: &PublicKey,
        network: &NetworkId,
    ) -> Result<Self, AdmissionProofError> {
        let text: GrantText = read(bytes, GRANT_DOMAIN, authority, network)?;
        let GrantText { ticket, uses, issued, expires, ephemeral, labels } = text;
        let (issued, expires) = (UnixMillis(issued), UnixMillis(expires));
        Ok(Self { ticket, uses, issued, expires, labels, ephemeral })
    }
}

/// A request for a certificate.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Enroll {
    /// By a ticket.
    #[n(0)]
    Ticket {
        /// The ticket's signed [`Grant`].
        #[cbor(n(0), with = "cbor_proof")]
        grant: Bytes,
        /// The signature of the ticket's key over the asking node's key; see [`Enroll::grant_for`].
        #[cbor(n(1), with = "cbor_signature")]
        proof: Signature,
    },
    /// By a certificate that will expire.
    #[n(1)]
    Renewal {
        /// The old certificate.
        #[cbor(n(0), with = "cbor_proof")]
        certificate: Bytes,
    },
}

impl Enroll {
    /// The grant of an enrolment by ticket, if the signatures of the authority and of the ticket's key for
    /// `asker` are valid. Does not check expiry and uses. Costs two signature checks.
    ///
    /// # Errors
    /// [`AdmissionProofError`]. A renewal has no grant, and is malformed here.
    pub fn grant_for(
        &self,
        asker: &PublicKey,
        authority: &PublicKey,
        network: &NetworkId,
    ) -> Result<Grant, AdmissionProofError> {
        let Self::Ticket { grant, proof } = self else {
            return Err(AdmissionProofError::Malformed);
        };
        let grant = Grant::read(grant, authority, network)?;
        let text = enroll_text(asker, network);
        grant.ticket.verify(&text, proof).map_err(|_| AdmissionProofError::Signature)?;
        Ok(grant)
    }
}

fn enroll_text(node: &PublicKey, network: &NetworkId) -> Vec<u8> {
    [ENROLL_DOMAIN, network.as_bytes(), node.as_bytes()].concat()
}

/// The right to get a certificate, with the nodes that can give it. A secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The network's name.
    pub network: String,
    /// The network's authority.
    pub authority: PublicKey,
    /// Nodes to ask, the one that made the ticket first, each with its addresses.
    pub entry_points: Vec<Addresses>,
    secret: [u8; 32],
    grant: Bytes,
}

/// The encoded form contains the grant without the ticket's key, which follows from the secret.
#[derive(Encode, Decode)]
struct TicketText {
    #[n(0)]
    network: String,
    #[cbor(n(1), with = "cbor_public_key")]
    authority: PublicKey,
    #[cbor(n(2), with = "minicbor::bytes")]
    secret: [u8; 32],
    #[n(3)]
    uses: Option<u32>,
    #[n(4)]
    issued: u64,
    #[n(5)]
    expires: u64,
    #[n(6)]
    ephemeral: bool,
    #[cbor(n(7), with = "cbor_labels")]
    labels: Vec<(String, String)>,
    #[cbor(n(8), with = "cbor_signature")]
    signature: Signature,
    #[cbor(n(9), with = "cbor_entry_points")]
    entry_points: Vec<Addresses>,
}

impl TicketText {
    fn into_ticket(self) -> Ticket {
        let Self { network, authority, secret, entry_points, .. } = self;
        let grant = GrantText {
            ticket: Identity::from_seed(secret).public_key(),
            uses: self.uses,
            issued: self.issued,
            expires: self.expires,
            ephemeral: self.ephemeral,
            labels: self.labels,
        };
        let mut grant = minicbor::to_vec(&grant).expect("writing to memory cannot fail");
        grant.extend_from_slice(self.signature.as_bytes());
        Ticket { network, authority, entry_points, secret, grant: grant.into() }
    }
}

/// The contents of a new ticket; see [`Grant`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantTerms {
    /// The number of nodes that it admits; `None`: any number.
    pub uses: Option<u32>,
    /// The time from which it is valid.
    pub issued: UnixMillis,
    /// The time until which it is valid.
    pub expires: UnixMillis,
    /// Labels of the certificates, in the order of names.
    pub labels: Vec<(String, String)>,
    /// Whether the certificates are short-lived.
    pub ephemeral: bool,
}

impl Ticket {
    /// A ticket of `authority` with a fresh `secret`. Entry points beyond [`TICKET_CONTACTS_MAX`] are left
    /// out. `None` if the labels would not fit into a certificate.
    #[must_use]
    pub fn issue(
        network: &str,
        authority: &Identity,
        secret: [u8; 32],
        terms: GrantTerms,
        entry_points: &[Addresses],
    ) -> Option<Self> {
        let key = authority.public_key();
        let id = NetworkId::new(network, Admission::Invite, Some(&key));
        let ticket = Identity::from_seed(secret).public_key();
        let GrantTerms { uses, issued, expires, labels, ephemeral } = terms;
        // The certificates that it gives have the same labels, which must fit into them.
        let largest = Certificate {
            subject: ticket,
            labels: labels.clone(),
            serial: u64::MAX,
            issued: UnixMillis(u64::MAX),
            expires: UnixMillis(u64::MAX),
            ephemeral,
            salt: Some(Salt::from_bytes([0; SALT_BYTES])),
            ticket: Some(ticket),
        };
        largest.sign(authority, &id)?;
        let grant = Grant { ticket, uses, issued, expires, labels, ephemeral };
        let grant = grant.sign(authority, &id);
        let entry_points = entry_points.iter().take(TICKET_CONTACTS_MAX).cloned().collect();
        Some(Self { network: network.to_owned(), authority: key, entry_points, secret, grant })
    }

    /// The network's id.
    #[must_use]
    pub fn network_id(&self) -> NetworkId {
        NetworkId::new(&self.network, Admission::Invite, Some(&self.authority))
    }

    /// Its grant.
    ///
    /// # Errors
    /// [`AdmissionProofError`] if its signature is invalid.
    pub fn grant(&self) -> Result<Grant, AdmissionProofError> {
        Grant::read(&self.grant, &self.authority, &self.network_id())
    }

    /// The request of `node` for a certificate with this ticket.
    #[must_use]
    pub fn enroll(&self, node: &PublicKey) -> Enroll {
        let text = enroll_text(node, &self.network_id());
        let proof = Identity::from_seed(self.secret).sign(&text);
        Enroll::Ticket { grant: self.grant.clone(), proof }
    }
}

/// Does not print the secret.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({:?} of {:?}, {:?})", self.network, self.authority, self.entry_points)
    }
}

/// The text form, to copy and paste.
impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A ticket comes from `issue` or `from_str` only, and both check its grant.
        let grant = self.grant().map_err(|_| fmt::Error)?;
        let signature = self.grant.last_chunk::<64>().ok_or(fmt::Error)?;
        let text = TicketText {
            network: self.network.clone(),
            authority: self.authority,
            secret: self.secret,
            uses: grant.uses,
            issued: grant.issued.0,
            expires: grant.expires.0,
            ephemeral: grant.ephemeral,
            labels: grant.labels,
            signature: Signature::from_bytes(*signature),
            entry_points: self.entry_points.clone(),
        };
        let mut bytes = vec![TICKET_VERSION];
        minicbor::encode(&text, &mut bytes).expect("writing to memory cannot fail");
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        write!(f, "{TICKET_SCHEME}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

/// Why a text is not a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It does not begin with the prefix.
    #[error("a ticket begins with `{TICKET_SCHEME}`")]
    Scheme,
    /// A character is wrong or missing.
    #[error("the ticket is damaged or cut off; copy it again, all of it")]
    Damaged,
    /// The version is newer.
    #[error("this ticket is of a version that this program does not know")]
    Version,
    /// It is complete, but not a ticket that `invite` makes.
    #[error("this is no ticket that `potluck invite` makes")]
    Malformed,
}

impl FromStr for Ticket {
    type Err = TicketError;

    /// Skips line breaks and spaces, which mail programs insert.
    fn from_str(text: &str) -> Result<Self, TicketError> {
        if text.len() > TICKET_CHARS_MAX {
            return Err(TicketError::Damaged);
        }
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let symbols = text.strip_prefix(TICKET_SCHEME).ok_or(TicketError::Scheme)?;
        let bytes = BASE32_NOPAD
            .decode(symbols.to_ascii_uppercase().as_bytes())
            .map_err(|_| TicketError::Damaged)?;
        let (bytes, sum) =
            bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TicketError::Damaged)?;
        if checksum(bytes) != *sum {
            return Err(TicketError::Damaged);
        }
        let (version, text) = bytes.split_first().ok_or(TicketError::Damaged)?;
        if *version != TICKET_VERSION {
            return Err(TicketError::Version);
        }
        let mut decoder = Decoder::new(text);
        let ticket: TicketText = decoder.decode().map_err(|_| TicketError::Malformed)?;
        let ticket = ticket.into_ticket();
        let name_is_good = (1..=NETWORK_NAME_BYTES_MAX).contains(&ticket.network.len())
            && !ticket.network.chars().any(char::is_control);
        let whole = decoder.position() == text.len() && name_is_good && ticket.grant().is_ok();
        if whole { Ok(ticket) } else { Err(TicketError::Malformed) }
    }
}

#[expect(clippy::indexing_slicing, reason = "an array shorter than the hash")]
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::derive_key("potluck 2026 ticket checksum", bytes);
    std::array::from_fn(|index| hash[index])
}

/// The bytes of `text`, followed by the signature.
pub(crate) fn sign<T: Encode<()>>(
    text: &T,
    domain: &[u8],
    by: &Identity,
    network: &NetworkId,
) -> Bytes {
    let mut bytes = minicbor::to_vec(text).expect("writing to memory cannot fail");
    let signature = by.sign(&[domain, network.as_bytes(), &bytes].concat());
    bytes.extend_from_slice(signature.as_bytes());
    bytes.into()
}

/// Decodes the result of [`sign`], if the signature is valid and no bytes are left over.
pub(crate) fn read<T: for<'b> Decode<'b, ()>>(
    bytes: &[u8],
    domain: &[u8],
    by: &PublicKey,
    network: &NetworkId,
) -> Result<T, AdmissionProofError> {
    if bytes.len() > CERTIFICATE_BYTES_MAX {
        return Err(AdmissionProofError::Malformed);
    }
    let (text, signature) = bytes.split_last_chunk::<64>().ok_or(AdmissionProofError::Malformed)?;
    let mut decoder = Decoder::new(text);
    let read = decoder.decode().map_err(|_| AdmissionProofError::Malformed)?;
    if decoder.position() != text.len() {
        return Err(AdmissionProofError::Malformed);
    }
    let signed = [domain, network.as_bytes(), text].concat();
    by.verify(&signed, &Signature::from_bytes(*signature))
        .map_err(|_| AdmissionProofError::Signature)?;
    Ok(read)
}

mod cbor_key_or_null {
    //! A public key or null.
    use minicbor::data::Type;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};
    use potluck_base::PublicKey;

    use crate::codec::{Written, fixed};

    pub(super) fn encode<C, W: Write>(
        key: &Option<PublicKey>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        match key {
            Some(key) => e.bytes(key.as_bytes())?,
            None => e.null()?,
        };
        Ok(())
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Option<PublicKey>, minicbor::decode::Error> {
        if d.datatype()? == Type::Null {
            d.null()?;
            return Ok(None);
        }
        fixed(d).map(|bytes| Some(PublicKey::from_bytes(bytes)))
    }

    pub(super) fn nil() -> Option<Option<PublicKey>> {
        Some(None)
    }

    pub(super) fn is_nil(key: &Option<PublicKey>) -> bool {
        key.is_none()
    }
}

pub(crate) mod cbor_proof {
    //! Signed bytes within the limit.
    use bytes::Bytes;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    use crate::limits::CERTIFICATE_BYTES_MAX;

    pub(crate) fn encode<C, W: Write>(
        bytes: &Bytes,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(bytes)?;
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Bytes, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            return Err(minicbor::decode::Error::message("signed bytes over their limit"));
        }
        Ok(Bytes::copy_from_slice(bytes))
    }
}

#[cfg(test)]
mod tests;
