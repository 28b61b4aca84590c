//! The requests and responses between nodes.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use potluck_base::{BlobId, Contact, Key};
use potluck_record::{CertificateHash, Dot, EnvelopeId, StateDigest};

use crate::admission::{Enroll, cbor_proof};
use crate::apply::{Applied, Apply};
use crate::difference::{Changes, ChangesAfter, Compare, Compared};
use crate::member::{MemberRequest, MemberResponse};
use crate::names::{Names, NamesFound};
use crate::search::SearchRequest;
use crate::topic::{InTopic, TopicResponse};
use crate::watch::{WatchRequest, Watching};

use crate::codec::{
    cbor_blob, cbor_byte_string, cbor_bytes, cbor_digest, cbor_key, cbor_keys, cbor_writer,
};
use crate::contact::cbor_contacts;

/// Contacts in an answer.
pub type Contacts = Vec<Contact>;

/// The part of the record under its target that a lookup requests, besides closer nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Want {
    /// Nothing.
    #[n(0)]
    Nothing,
    /// The signed heads: versions and contexts.
    #[n(1)]
    Heads,
    /// The whole envelopes.
    #[n(2)]
    Values,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Request {
    /// Asks whether the receiver is alive.
    #[n(0)]
    Ping,
    /// Asks for the nodes close to `target` that the receiver knows, and for its record there.
    #[n(1)]
    FindNode {
        /// The point of interest.
        #[cbor(n(0), with = "cbor_key")]
        target: Key,
        /// Most contacts to return.
        #[n(1)]
        count: u8,
        /// The requested part of the record.
        #[n(2)]
        want: Want,
        /// The requested part of the answer, counted from 1; `None`: the first. The second has the contacts
        /// after those of the first, and no record.
        #[n(3)]
        parts: Option<u8>,
    },
    /// Stores these envelopes.
    #[n(2)]
    Store {
        /// Encoded envelopes.
        #[cbor(n(0), with = "cbor_bytes")]
        envelopes: Vec<Bytes>,
        /// Certificates of their writers that the receiver may not have.
        #[cbor(n(1), with = "cbor_certificates")]
        certificates: Vec<Bytes>,
    },
    /// Offers records: the receiver now belongs to the replica set of these keys, and pulls what it lacks.
    #[n(3)]
    Offer {
        /// Keys with the digests of the sender's states.
        #[n(0)]
        entries: Vec<OfferEntry>,
    },
    /// Requests these records.
    #[n(4)]
    Load(#[n(0)] Load),
    /// The sender leaves: the receiver drops it and expects no more answers from it.
    #[n(5)]
    Leave {
        /// The most seconds after which the sender will be back; `None`: it will not come back.
        #[n(0)]
        back_in: Option<u16>,
    },
    /// Asks which granules of this blob the receiver has.
    #[n(6)]
    Have {
        /// The blob.
        #[cbor(n(0), with = "cbor_blob")]
        blob: BlobId,
    },
    /// About members: pings, suspect messages, records.
    #[n(7)]
    Member(#[n(0)] MemberRequest),
    /// About the overlay of a topic and its messages.
    #[n(8)]
    Topic(#[n(0)] InTopic),
    /// A search on its way, or hits on the way back.
    #[n(9)]
    Search(#[n(0)] SearchRequest),
    /// Asks for a signed certificate.
    #[n(10)]
    Enroll(#[n(0)] Enroll),
    /// Asks for a page of the names that the receiver holds.
    #[n(17)]
    Names(#[n(0)] Names),
    /// Asks the receiver to carry out an operation on a counter, set or map.
    #[n(16)]
    Apply(#[n(0)] Apply),
    /// About a watch of a key: its leases, and notifications of changes.
    #[n(15)]
    Watch(#[n(0)] WatchRequest),
    /// Asks for fingerprints of the receiver's records in these ranges of keys.
    #[n(14)]
    Fingerprints(#[n(0)] Compare),
    /// Asks for the changes of the receiver's records after a position.
    #[n(18)]
    Changes(#[n(0)] ChangesAfter),
}

/// A request for records by key.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Load {
    /// The keys.
    #[cbor(n(0), with = "cbor_keys")]
    pub keys: Vec<Key>,
    /// Of the first key, only writers after this one. A pull of a large record continues with it.
    #[cbor(n(1), with = "cbor_writer", has_nil)]
    pub after: Option<[u8; 32]>,
    /// Certificates of writers that the asking node lacks.
    #[cbor(n(2), with = "cbor_certificate_hashes", has_nil)]
    pub certificates: Vec<CertificateHash>,
}

/// One entry of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct OfferEntry {
    /// The key.
    #[cbor(n(0), with = "cbor_key")]
    pub key: Key,
    /// The digest of the offering node's state.
    #[cbor(n(1), with = "cbor_digest")]
    pub digest: StateDigest,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Response {
    /// The node is alive.
    #[n(0)]
    Pong,
    /// Closer nodes, and the record if it was requested.
    #[n(1)]
    Found(#[n(0)] Found),
    /// The outcome for each envelope, in the order of the request.
    #[n(2)]
    Stored {
        /// One outcome for each envelope.
        #[n(0)]
        outcomes: Vec<StoreOutcome>,
    },
    /// The offer was checked; the node will pull what it lacks.
    #[n(3)]
    Offered {
        /// The number of keys that it will pull.
        #[n(0)]
        wanted: u32,
    },
    /// The requested records.
    #[n(4)]
    Loaded(#[n(0)] Loaded),
    /// The request was refused.
    #[n(5)]
    Refused {
        /// The reason.
        #[n(0)]
        reason: Refusal,
        /// With [`Refusal::Unsupported`]: the oldest version that the refusing node supports.
        #[n(1)]
        min: Option<u8>,
        /// With [`Refusal::Unsupported`]: the newest version that the refusing node supports.
        #[n(2)]
        max: Option<u8>,
    },
    /// The leave was received.
    #[n(6)]
    Left,
    /// The granules of a blob that the node has.
    #[n(7)]
    Holding(#[n(0)] Holding),
    /// About members.
    #[n(8)]
    Member(#[n(0)] MemberResponse),
    /// About a topic.
    #[n(9)]
    Topic(#[n(0)] TopicResponse),
    /// Received, with no further data.
    #[n(10)]
    Taken,
    /// The asking node's new certificate.
    #[n(11)]
    Enrolled {
        /// Signed bytes of a [`crate::Certificate`].
        #[cbor(n(0), with = "cbor_proof")]
        certificate: Bytes,
    },
    /// A page of names.
    #[n(15)]
    Names(#[n(0)] NamesFound),
    /// The outcome of an operation.
    #[n(14)]
    Applied(#[n(0)] Applied),
    /// The state of a lease of a watch.
    #[n(13)]
    Watching(#[n(0)] Watching),
    /// Fingerprints or contents of ranges.
    #[n(12)]
    Fingerprints(#[n(0)] Compared),
    /// Records that changed.
    #[n(16)]
    Changes(#[n(0)] Changes),
}

/// The answer to [`Request::Have`].
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Holding {
    /// Bytes of the blob, as far as the answering node knows. The size is proven after its last granule was
    /// verified.
    #[n(0)]
    pub size: u64,
    /// The granules that it has, one bit each, lowest bit of the first byte first; `None`: all.
    #[cbor(n(1), with = "cbor_byte_string", has_nil)]
    pub granules: Option<Bytes>,
    /// Other nodes that have a part of it or fetch it, at most [`crate::limits::NEIGHBOURS_MAX`].
    #[cbor(n(2), with = "cbor_contacts")]
    pub neighbours: Contacts,
    /// The name and times that the answering node has for the blob.
    #[n(3)]
    pub hint: Option<Hint>,
    /// Why the answering node will never have the missing granules, if so: [`Refusal::Changed`] or
    /// [`Refusal::Unreadable`].
    #[n(4)]
    pub lost: Option<Refusal>,
}

/// The metadata of a file according to a holder of its blob. A hint: the name in a link or record has
/// priority, and a name is cleaned before a file is created with it.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Hint {
    /// The file's name, at most [`crate::limits::HINT_NAME_BYTES_MAX`] bytes.
    #[cbor(n(0), with = "cbor_hint_name", has_nil)]
    pub name: Option<String>,
    /// Its modification time in seconds since 1970; may be negative.
    #[n(1)]
    pub mtime: Option<i64>,
    /// Its Unix permissions. Only the execute permission of the owner is used.
    #[n(2)]
    pub mode: Option<u32>,
}

/// The answer to [`Request::FindNode`].
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Found {
    /// The closest nodes that the answering node has proved, the closest first.
    #[cbor(n(0), with = "cbor_contacts")]
    pub contacts: Contacts,
    /// The record under the target; `None` if it was not requested or could not be read.
    #[n(1)]
    pub record: Option<RecordAnswer>,
    /// Which part of the answer this is; `None`: the first, perhaps of several.
    #[n(2)]
    pub part: Option<Part>,
}

/// The position of a datagram in an answer of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// The number of the datagram, from 0.
    #[n(0)]
    pub index: u8,
    /// The number of datagrams.
    #[n(1)]
    pub of: u8,
}

/// The record of a node under a key.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct RecordAnswer {
    /// The digest of its whole state. The digest of an empty state means absent.
    #[cbor(n(0), with = "cbor_digest")]
    pub digest: StateDigest,
    /// Encoded heads or envelopes, as requested.
    #[cbor(n(1), with = "cbor_bytes")]
    pub parts: Vec<Bytes>,
    /// Whether all parts are included. If not, [`Request::Load`] gets the others in a call.
    #[n(2)]
    pub complete: bool,
}

/// The outcome for one envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It is part of the key's state, which is durable and has this digest.
    Stored(StateDigest),
    /// It changed nothing, because a newer envelope of its writer is part of the state. It counts as an
    /// acknowledgement only for a writer that signed that newer envelope itself.
    Older {
        /// The digest of the key's state.
        digest: StateDigest,
        /// The stored envelope of the writer.
        held: EnvelopeId,
    },
    /// It was refused.
    Refused(Refusal),
}

#[derive(Encode, Decode)]
struct OutcomeText {
    #[cbor(n(0), with = "crate::codec::cbor_digest_option", has_nil)]
    digest: Option<StateDigest>,
    #[n(1)]
    refused: Option<Refusal>,
    #[n(2)]
    older: Option<HeldText>,
}

#[derive(Encode, Decode)]
struct HeldText {
    #[n(0)]
    dot: u64,
    #[cbor(n(1), with = "minicbor::bytes")]
    digest: [u8; 16],
}

impl<C> Encode<C> for StoreOutcome {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        c: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let text = match *self {
            Self::Stored(digest) => {
                OutcomeText { digest: Some(digest), refused: None, older: None }
            }
            Self::Older { digest, held } => {
                let older = Some(HeldText { dot: held.dot.raw(), digest: held.digest });
                OutcomeText { digest: Some(digest), refused: None, older }
            }
            Self::Refused(reason) => {
                OutcomeText { digest: None, refused: Some(reason), older: None }
            }
        };
        text.encode(e, c)
    }
}

impl<'b, C> Decode<'b, C> for StoreOutcome {
    fn decode(d: &mut minicbor::Decoder<'b>, c: &mut C) -> Result<Self, minicbor::decode::Error> {
        match OutcomeText::decode(d, c)? {
            OutcomeText { digest: Some(digest), refused: None, older: None } => {
                Ok(Self::Stored(digest))
            }
            OutcomeText { digest: Some(digest), refused: None, older: Some(held) } => {
                let held = EnvelopeId { dot: Dot::from_raw(held.dot), digest: held.digest };
                Ok(Self::Older { digest, held })
            }
            OutcomeText { digest: None, refused: Some(reason), older: None } => {
                Ok(Self::Refused(reason))
            }
            OutcomeText { .. } => Err(minicbor::decode::Error::message("outcome")),
        }
    }
}

/// The answer to [`Request::Load`].
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Loaded {
    /// Encoded envelopes, in the order of keys and writers.
    #[cbor(n(0), with = "cbor_bytes")]
    pub envelopes: Vec<Bytes>,
    /// The number of keys of the request that were answered completely. Request the others again.
    #[n(1)]
    pub keys_done: u32,
    /// The requested certificates.
    #[cbor(n(2), with = "cbor_certificates", has_nil)]
    pub certificates: Vec<Bytes>,
}

/// Why a request was refused. The refusing node changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
pub enum Refusal {
    /// The node is overloaded; try again later.
    #[n(0)]
    #[error("busy")]
    Busy,
    /// The sender's address is not proven yet; get a cookie first.
    #[n(1)]
    #[error("address not proven")]
    Unproven,
    /// The envelope is malformed, not signed, or breaks the rules of its space.
    #[n(2)]
    #[error("bad envelope")]
    BadEnvelope,
    /// A dot or context is more than five minutes ahead of the refusing node's clock.
    #[n(3)]
    #[error("dated over five minutes ahead")]
    Ahead,
    /// The envelope's life has ended, or is longer than this network allows.
    #[n(4)]
    #[error("life over or too long")]
    Life,
    /// The key has too many writers.
    #[n(5)]
    #[error("too many writers")]
    TooManyWriters,
    /// The store is full.
    #[n(6)]
    #[error("no space left")]
    Full,
    /// The refusing node's store has stopped.
    #[n(7)]
    #[error("store stopped")]
    Stopped,
    /// The request is not supported.
    #[n(8)]
    #[error("not supported")]
    Unsupported,
    /// The refusing node is leaving, or serves no requests (client mode).
    #[n(9)]
    #[error("not serving")]
    NotServing,
    /// The refusing node has no granule of the blob.
    #[n(10)]
    #[error("not held")]
    NotHeld,
    /// The node that should be probed did not answer.
    #[n(11)]
    #[error("not reached")]
    NotReached,
    /// The refusing node does not have the network's authority key; ask another node.
    #[n(12)]
    #[error("not an issuer")]
    NotIssuer,
    /// The ticket has expired, was used up, or its holder was revoked.
    #[n(13)]
    #[error("the ticket is void")]
    TicketVoid,
    /// The refusing node is not close to the key, so it stores no record under it.
    #[n(14)]
    #[error("not responsible for this key")]
    NotResponsible,
    /// The writer or the member has used up its quota at the refusing node.
    #[n(15)]
    #[error("over the member's quota")]
    Quota,
    /// The writer of the envelope, or the publisher of the message, is not a member.
    #[n(16)]
    #[error("the writer is not a member")]
    NotMember,
    /// The asking node exceeds its rate; try again later.
    #[n(17)]
    #[error("over the peer's rate")]
    Rate,
    /// The refusing node shared the blob, and its files have changed.
    #[n(18)]
    #[error("changed since it was shared")]
    Changed,
    /// The refusing node shared the blob and no longer does.
    #[n(19)]
    #[error("not shared any more")]
    Unshared,
    /// The refusing node shares the blob, and its disk returns an error.
    #[n(20)]
    #[error("not readable at its source")]
    Unreadable,
    /// The writer of the envelope is not on the list of the team's writers.
    #[n(21)]
    #[error("the writer is not on the team's list")]
    NotWriter,
    /// The refusing node does not know the certificate that the envelope names; send it with the envelope.
    #[n(22)]
    #[error("the writer's certificate is not known")]
    CertificateNeeded,
    /// The network keeps no records in the space `commons`.
    #[n(23)]
    #[error("no records in commons here")]
    NoCommons,
    /// The refuser demands a work stamp of strangers that store; send it along.
    #[n(24)]
    #[error("a work stamp is needed")]
    StampNeeded,
}

type Wrong = minicbor::decode::Error;
type Written<W> = Result<(), minicbor::encode::Error<<W as minicbor::encode::Write>::Error>>;

pub(crate) mod cbor_certificates {
    //! Certificates as an array of byte strings.
    use super::{Bytes, Written, Wrong};
    use crate::codec::elements;
    use crate::limits::{CERTIFICATE_BYTES_MAX, CERTIFICATES_MAX};
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(crate) fn encode<C, W: Write>(
        certificates: &[Bytes],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(certificates.len() as u64)?;
        certificates.iter().try_for_each(|bytes| e.bytes(bytes).map(drop))
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Bytes>, Wrong> {
        elements(d, CERTIFICATES_MAX, |d| {
            let bytes = d.bytes()?;
            if bytes.len() > CERTIFICATE_BYTES_MAX {
                return Err(Wrong::message("certificate over its limit"));
            }
            Ok(Bytes::copy_from_slice(bytes))
        })
    }

    pub(crate) fn nil() -> Option<Vec<Bytes>> {
        Some(Vec::new())
    }

    pub(crate) fn is_nil(certificates: &[Bytes]) -> bool {
        certificates.is_empty()
    }
}

mod cbor_certificate_hashes {
    //! Hashes of certificates.
    use super::{CertificateHash, Written, Wrong};
    use crate::codec::elements;
    use crate::limits::CERTIFICATES_MAX;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(
        hashes: &[CertificateHash],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(hashes.len() as u64)?;
        hashes.iter().try_for_each(|hash| e.encode(hash).map(drop))
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<CertificateHash>, Wrong> {
        elements(d, CERTIFICATES_MAX, Decoder::decode)
    }

    pub(super) fn nil() -> Option<Vec<CertificateHash>> {
        Some(Vec::new())
    }

    pub(super) fn is_nil(hashes: &[CertificateHash]) -> bool {
        hashes.is_empty()
    }
}

mod cbor_hint_name {
    //! A name within the limit, or null.
    use super::{Written, Wrong};
    use crate::limits::HINT_NAME_BYTES_MAX;
    use minicbor::data::Type;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(
        name: &Option<String>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        match name {
            Some(name) => e.str(name)?,
            None => e.null()?,
        };
        Ok(())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Option<String>, Wrong> {
        if d.datatype()? == Type::Null {
            d.skip()?;
            return Ok(None);
        }
        let name = d.str()?;
        if name.len() > HINT_NAME_BYTES_MAX {
            return Err(Wrong::message("name over its limit"));
        }
        Ok(Some(name.to_owned()))
    }

    pub(super) fn nil() -> Option<Option<String>> {
        Some(None)
    }

    pub(super) fn is_nil(name: &Option<String>) -> bool {
        name.is_none()
    }
}
