//! Membership messages: records, pings, suspect messages, comparisons.
//!
//! A [`MemberRecord`] is signed by its subject over the bytes that are kept and passed on. A
//! [`SuspectMessage`] is only a hint: a node that receives it probes for itself.

use bytes::Bytes;
use minicbor::{Decode, Decoder, Encode, Encoder};
use potluck_base::{Address, Addresses, Contact, Identity, NetworkId, PublicKey, Signature};

use crate::codec::{cbor_byte_string, cbor_public_key, cbor_settings, cbor_signature, elements};
use crate::contact::{cbor_addresses, cbor_contact, cbor_contacts};
use crate::limits::{
    BUILD_BYTES_MAX, LABEL_BYTES_MAX, LABELS_MAX, MEMBER_RECORD_BYTES_MAX, RECORDS_MAX,
    SUSPECTS_MAX, VERSION, VERSION_MIN,
};

const RECORD_DOMAIN: &[u8] = b"potluck 2026 member record";
const PARTITION_DOMAIN: &[u8] = b"potluck 2026 component";
const PROOF_DOMAIN: &[u8] = b"potluck 2026 liveness proof";

/// The version of a node's record: ordered, and compared only with others of the same node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct RecordVersion {
    /// Higher with every start of the node.
    #[n(0)]
    pub incarnation: u64,
    /// Grows by one with each change or refutation in this incarnation.
    #[n(1)]
    pub revision: u32,
}

/// A request about members.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum MemberRequest {
    /// Asks whether the node is alive.
    #[n(0)]
    Ping {
        /// The version of the sender's own record.
        #[n(0)]
        mine: RecordVersion,
        /// The version of the receiver's record that the sender suspects or holds for dead: refute
        /// it with a newer one.
        #[n(1)]
        suspected: Option<RecordVersion>,
        /// The sender's partition, in open networks.
        #[n(2)]
        partition: Option<PartitionId>,
    },
    /// Ping-req: ping this node for the sender, and return its signature over the nonce.
    #[n(1)]
    PingReq {
        /// The node to ping.
        #[cbor(n(0), with = "cbor_contact")]
        subject: Contact,
        /// Drawn for this probe.
        #[n(1)]
        nonce: u64,
    },
    /// Asks for a signature over the nonce of a node that cannot reach the receiver.
    #[n(2)]
    Prove {
        /// That node.
        #[cbor(n(0), with = "cbor_public_key")]
        asker: PublicKey,
        /// Its nonce.
        #[n(1)]
        nonce: u64,
    },
    /// The sender could not reach these members.
    #[n(3)]
    Suspect {
        /// The suspected members.
        #[cbor(n(0), with = "cbor_suspects")]
        suspects: Vec<SuspectMessage>,
    },
    /// Records that the receiver may lack.
    #[n(4)]
    Tell {
        /// Encoded [`MemberRecord`]s.
        #[cbor(n(0), with = "cbor_records")]
        records: Vec<Bytes>,
    },
    /// Asks where the member lists differ.
    #[n(5)]
    Compare {
        /// A digest of each bucket, eight bytes each.
        #[cbor(n(0), with = "cbor_blob_bytes")]
        digests: Bytes,
    },
    /// Asks for these records.
    #[n(6)]
    Load {
        /// Short ids: the first eight bytes of public keys.
        #[cbor(n(0), with = "cbor_short_ids")]
        members: Vec<u64>,
    },
    /// Asks for the records after this public key, in order, as many as fit.
    #[n(7)]
    Page {
        /// The last key received; all zeros at the start.
        #[cbor(n(0), with = "cbor_public_key")]
        after: PublicKey,
    },
    /// These members are expelled.
    #[n(8)]
    Revoke {
        /// Encoded revocations of the network's authority.
        #[cbor(n(0), with = "cbor_records")]
        revocations: Vec<Bytes>,
    },
    /// The newest settings of the network that the sender has.
    #[n(9)]
    Settings {
        /// Signed bytes of [`crate::NetworkSettings`].
        #[cbor(n(0), with = "cbor_settings")]
        settings: Bytes,
    },
}

/// The answer to a [`MemberRequest`]; [`crate::Response::Taken`] where there is nothing to add.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum MemberResponse {
    /// The node is alive.
    #[n(0)]
    Ack {
        /// The version of the answering node's own record.
        #[n(0)]
        mine: RecordVersion,
        /// In open networks.
        #[n(1)]
        hints: Option<PeerHints>,
    },
    /// The subject's signature over a nonce.
    #[n(1)]
    Proof {
        /// The version of the subject's record.
        #[n(0)]
        version: RecordVersion,
        /// See [`Proof::verify`].
        #[cbor(n(1), with = "cbor_signature")]
        signature: Signature,
    },
    /// The members in the buckets that differ, with a digest of each record.
    #[n(2)]
    Differing {
        /// Short id and short digest of the record.
        #[cbor(n(0), with = "cbor_entries")]
        entries: Vec<(u64, u32)>,
        /// The buckets whose members are all listed, a bit each.
        #[n(1)]
        buckets: u64,
    },
    /// Records.
    #[n(3)]
    Records {
        /// Encoded [`MemberRecord`]s.
        #[cbor(n(0), with = "cbor_records")]
        records: Vec<Bytes>,
        /// Whether there are more.
        #[n(1)]
        more: bool,
    },
    /// Those of the received suspect messages that the answering node confirms.
    #[n(4)]
    Confirmed {
        /// The members that it could not reach either.
        #[cbor(n(0), with = "cbor_suspects")]
        suspects: Vec<SuspectMessage>,
    },
}

/// Identifies the partition of the overlay that a node is in, in one hour: neighbours agree on the
/// lowest mark of any node that they are linked to, over however many hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct PartitionId {
    /// Hours since 1970.
    #[n(0)]
    pub hour: u32,
    /// See [`PartitionId::of`].
    #[n(1)]
    pub least: u64,
}

impl PartitionId {
    /// The mark of one node in one hour. Marks change every hour, so that no node keeps the lowest
    /// for long.
    #[must_use]
    pub fn of(node: &PublicKey, hour: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(PARTITION_DOMAIN).update(node.as_bytes()).update(&hour.to_be_bytes());
        let mut mark = [0; 8];
        hasher.finalize_xof().fill(&mut mark);
        Self { hour, least: u64::from_be_bytes(mark) }
    }
}

/// Hints that a node in an open network gives in its acks.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct PeerHints {
    /// The partition that it is in.
    #[n(0)]
    pub partition: Option<PartitionId>,
    /// Some of its neighbours and probers, which may reach it when the receiver does not.
    #[cbor(n(1), with = "cbor_contacts")]
    pub helpers: Vec<Contact>,
}

/// A suspect message: the sender could not reach this member, whose record it knows in this
/// version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SuspectMessage {
    /// The suspected member.
    #[cbor(n(0), with = "cbor_public_key")]
    pub subject: PublicKey,
    /// The version of its record that the sender knows.
    #[n(1)]
    pub version: RecordVersion,
}

/// An announcement to all members, over the broadcast tree of all nodes. Its publisher vouches for
/// the suspect messages; records and revocations carry signatures of their own.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct Announcement {
    /// Encoded [`MemberRecord`]s.
    #[cbor(n(0), with = "cbor_records")]
    pub records: Vec<Bytes>,
    /// The members that the publisher could not reach.
    #[cbor(n(1), with = "cbor_suspects")]
    pub suspects: Vec<SuspectMessage>,
    /// Encoded revocations of the network's authority.
    #[cbor(n(2), with = "cbor_records")]
    pub revocations: Vec<Bytes>,
    /// The network's newest settings, signed bytes of [`crate::NetworkSettings`].
    #[cbor(n(3), with = "cbor_byte_string", has_nil)]
    pub settings: Option<Bytes>,
}

impl Announcement {
    /// As a message's payload.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        crate::codec::encode_passed_on(self)
    }

    /// From a message's payload.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError)
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, crate::DecodeError> {
        crate::codec::decode(bytes)
    }
}

/// A node's signature over the nonce of a node that cannot reach it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proof {
    /// The version of the signer's record.
    pub version: RecordVersion,
    /// Over network, asker, nonce and version.
    pub signature: Signature,
}

impl Proof {
    /// Signs `nonce` for `asker`.
    #[must_use]
    pub fn sign(
        me: &Identity,
        network: &NetworkId,
        asker: &PublicKey,
        nonce: u64,
        version: RecordVersion,
    ) -> Self {
        let signature = me.sign(&proof_text(network, asker, nonce, version));
        Self { version, signature }
    }

    /// Whether `subject` signed `nonce` for `asker`.
    #[must_use]
    pub fn verify(
        &self,
        subject: &PublicKey,
        network: &NetworkId,
        asker: &PublicKey,
        nonce: u64,
    ) -> bool {
        let text = proof_text(network, asker, nonce, self.version);
        subject.verify(&text, &self.signature).is_ok()
    }
}

fn proof_text(
    network: &NetworkId,
    asker: &PublicKey,
    nonce: u64,
    version: RecordVersion,
) -> Vec<u8> {
    [
        PROOF_DOMAIN,
        network.as_bytes(),
        asker.as_bytes(),
        &nonce.to_be_bytes(),
        &version.incarnation.to_be_bytes(),
        &version.revision.to_be_bytes(),
    ]
    .concat()
}

/// A node's signed statement about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// Its key and its preferred address.
    pub contact: Contact,
    /// Its other addresses, at most three.
    pub more: Vec<Address>,
    /// The version of this record.
    pub version: RecordVersion,
    /// Whether it has left. Final for this incarnation.
    pub left: bool,
    /// Whether it is a client only.
    pub client: bool,
    /// Its labels, given by its owner: name and value, in the order of names.
    pub labels: Vec<(String, String)>,
    /// The network's certificate for it, in `invite` networks.
    pub certificate: Option<Bytes>,
    /// The software that it runs.
    pub software: Software,
    /// Whether nodes that it did not contact before can reach it.
    pub reach: Reach,
    /// The sequence of the network's settings that it has; 0: none.
    pub settings: u64,
}

/// The software of a member.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Software {
    /// The oldest message version that it supports.
    #[n(0)]
    pub version_min: u8,
    /// The newest message version that it supports.
    #[n(1)]
    pub version_max: u8,
    /// Which build, at most [`BUILD_BYTES_MAX`] bytes, no control characters; may be empty.
    #[cbor(n(2), with = "cbor_build")]
    pub build: String,
}

impl Default for Software {
    fn default() -> Self {
        Self { version_min: VERSION_MIN, version_max: VERSION, build: String::new() }
    }
}

/// How nodes that had no contact with a member before can reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Unknown, or a value that this version does not know.
    #[default]
    Unknown,
    /// Directly at its own addresses.
    Public,
    /// After an introduction: its router maps all its traffic to one address.
    Mapped,
    /// Through a relay only.
    Relayed,
}

impl Reach {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Public => 1,
            Self::Mapped => 2,
            Self::Relayed => 3,
        }
    }

    /// The meaning of a number.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Public,
            2 => Self::Mapped,
            3 => Self::Relayed,
            _ => Self::Unknown,
        }
    }
}

/// Why bytes are not a valid member record. Drop them and count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes have another form, or exceed a limit.
    #[error("not a member record")]
    Malformed,
    /// The signature is not that of its subject in this network.
    #[error("the member record's signature does not hold")]
    Signature,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Unsigned {
    #[cbor(n(0), with = "cbor_addresses")]
    node: Addresses,
    #[n(1)]
    version: RecordVersion,
    #[n(2)]
    left: bool,
    #[n(3)]
    client: bool,
    #[cbor(n(4), with = "cbor_labels")]
    labels: Vec<(String, String)>,
    #[cbor(n(5), with = "cbor_byte_string", has_nil)]
    certificate: Option<Bytes>,
    #[n(6)]
    software: Software,
    #[n(7)]
    reach: u8,
    #[n(8)]
    settings: u64,
}

impl MemberRecord {
    /// The signed bytes: those of the record, then the signature.
    #[must_use]
    pub fn sign(&self, me: &Identity, network: &NetworkId) -> Bytes {
        let mut node = Addresses::from(self.contact);
        node.ways.extend_from_slice(&self.more);
        let unsigned = Unsigned {
            node,
            version: self.version,
            left: self.left,
            client: self.client,
            labels: self.labels.clone(),
            certificate: self.certificate.clone(),
            software: self.software.clone(),
            reach: self.reach.number(),
            settings: self.settings,
        };
        let mut bytes = minicbor::to_vec(&unsigned).expect("writing to memory cannot fail");
        let signature = me.sign(&[RECORD_DOMAIN, network.as_bytes(), &bytes].concat());
        bytes.extend_from_slice(signature.as_bytes());
        bytes.into()
    }

    /// Decodes signed bytes without checking the signature.
    ///
    /// # Errors
    /// [`RecordError::Malformed`]
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MEMBER_RECORD_BYTES_MAX {
            return Err(RecordError::Malformed);
        }
        let (text, _) = bytes.split_last_chunk::<64>().ok_or(RecordError::Malformed)?;
        let mut decoder = Decoder::new(text);
        let record: Unsigned = decoder.decode().map_err(|_| RecordError::Malformed)?;
        if decoder.position() != text.len() {
            return Err(RecordError::Malformed);
        }
        let Unsigned { node, version, left, client, labels, certificate, .. } = record;
        let Unsigned { software, reach, settings, .. } = record;
        let Addresses { public_key, salt, ways } = node;
        let [Address { socket: address, via: None }, more @ ..] = ways.as_slice() else {
            return Err(RecordError::Malformed);
        };
        let contact = Contact { public_key, salt, address: *address };
        let (more, reach) = (more.to_vec(), Reach::from_number(reach));
        Ok(Self {
            contact,
            more,
            version,
            left,
            client,
            labels,
            certificate,
            software,
            reach,
            settings,
        })
    }

    /// Whether the subject signed `bytes`, from which [`MemberRecord::read`] decoded this record.
    ///
    /// # Errors
    /// [`RecordError::Signature`]
    pub fn verify(&self, bytes: &[u8], network: &NetworkId) -> Result<(), RecordError> {
        let (text, signature) = bytes.split_last_chunk::<64>().ok_or(RecordError::Malformed)?;
        let text = [RECORD_DOMAIN, network.as_bytes(), text].concat();
        let signature = Signature::from_bytes(*signature);
        self.contact.public_key.verify(&text, &signature).map_err(|_| RecordError::Signature)
    }
}

/// Whether labels may be passed on: at most [`LABELS_MAX`], names and values together at most
/// [`LABEL_BYTES_MAX`] each, no control characters, no name twice.
#[must_use]
#[expect(clippy::indexing_slicing, reason = "windows of two have two")]
pub fn labels_are_good(labels: &[(String, String)]) -> bool {
    let plain = |text: &str| !text.chars().any(char::is_control);
    labels.len() <= LABELS_MAX
        && labels.iter().all(|(name, value)| {
            !name.is_empty()
                && name.len() + value.len() <= LABEL_BYTES_MAX
                && plain(name)
                && plain(value)
        })
        && labels.windows(2).all(|pair| pair[0].0 < pair[1].0)
}

type Wrong = minicbor::decode::Error;
type Written<W> = Result<(), minicbor::encode::Error<<W as minicbor::encode::Write>::Error>>;

pub(crate) mod cbor_labels {
    use super::{Decoder, Encoder, LABELS_MAX, Written, Wrong, elements, labels_are_good};
    use minicbor::encode::Write;

    pub(crate) fn encode<C, W: Write>(
        labels: &[(String, String)],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(2 * labels.len() as u64)?;
        for (name, value) in labels {
            e.str(name)?.str(value)?;
        }
        Ok(())
    }

    pub(crate) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Vec<(String, String)>, Wrong> {
        let texts = elements(d, 2 * LABELS_MAX, |d| d.str().map(str::to_owned))?;
        let mut labels = Vec::with_capacity(texts.len() / 2);
        let mut texts = texts.into_iter();
        while let Some(name) = texts.next() {
            let value = texts.next().ok_or_else(|| Wrong::message("a label without value"))?;
            labels.push((name, value));
        }
        if labels_are_good(&labels) { Ok(labels) } else { Err(Wrong::message("labels")) }
    }
}

mod cbor_build {
    //! A short text without control characters.
    use super::{BUILD_BYTES_MAX, Decoder, Encoder, Written, Wrong};
    use minicbor::encode::Write;

    pub(super) fn encode<C, W: Write>(build: &str, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.str(build)?;
        Ok(())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<String, Wrong> {
        let build = d.str()?;
        if build.len() > BUILD_BYTES_MAX || build.chars().any(char::is_control) {
            return Err(Wrong::message("build"));
        }
        Ok(build.to_owned())
    }
}

mod cbor_suspects {
    use super::{Decoder, Encoder, SUSPECTS_MAX, SuspectMessage, Written, Wrong, elements};
    use minicbor::encode::Write;

    pub(super) fn encode<C, W: Write>(
        suspects: &[SuspectMessage],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(suspects.len() as u64)?;
        for suspect in suspects {
            e.encode(suspect)?;
        }
        Ok(())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<SuspectMessage>, Wrong> {
        elements(d, SUSPECTS_MAX, Decoder::decode)
    }
}

mod cbor_records {
    use super::{Bytes, Decoder, Encoder, RECORDS_MAX, Written, Wrong, elements};
    use minicbor::encode::Write;

    pub(super) fn encode<C, W: Write>(
        records: &[Bytes],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(records.len() as u64)?;
        for record in records {
            e.bytes(record)?;
        }
        Ok(())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Bytes>, Wrong> {
        elements(d, RECORDS_MAX, |d| Ok(Bytes::copy_from_slice(d.bytes()?)))
    }
}

mod cbor_blob_bytes {
    use super::{Bytes, Decoder, Encoder, Written, Wrong};
    use minicbor::encode::Write;

    pub(super) fn encode<C, W: Write>(bytes: &Bytes, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.bytes(bytes)?;
        Ok(())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Bytes, Wrong> {
        Ok(Bytes::copy_from_slice(d.bytes()?))
    }
}

mod cbor_short_ids {
    use super::{Decoder, Encoder, RECORDS_MAX, Written, Wrong, elements};
    use minicbor::encode::Write;

    pub(super) fn encode<C, W: Write>(ids: &[u64], e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.array(ids.len() as u64)?;
        for id in ids {
            e.u64(*id)?;
        }
        Ok(())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<u64>, Wrong> {
        elements(d, RECORDS_MAX, Decoder::u64)
    }
}

mod cbor_entries {
    use super::{Decoder, Encoder, RECORDS_MAX, Written, Wrong, elements};
    use minicbor::encode::Write;

    pub(super) fn encode<C, W: Write>(
        entries: &[(u64, u32)],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(entries.len() as u64)?;
        for (id, digest) in entries {
            e.array(2)?.u64(*id)?.u32(*digest)?;
        }
        Ok(())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<(u64, u32)>, Wrong> {
        elements(d, RECORDS_MAX, |d| match d.array()? {
            Some(2) => Ok((d.u64()?, d.u32()?)),
            _ => Err(Wrong::message("an entry of a comparison")),
        })
    }
}

#[cfg(test)]
mod tests;
