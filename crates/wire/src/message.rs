//! What nodes say to each other.

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

/// What a lookup wants to know of the record under its target, besides closer nodes.
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

/// A question.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Request {
    /// Are you there?
    #[n(0)]
    Ping,
    /// Which nodes close to `target` do you know, and what record do you hold there?
    #[n(1)]
    FindNode {
        /// The point of interest.
        #[cbor(n(0), with = "cbor_key")]
        target: Key,
        /// Most contacts to return.
        #[n(1)]
        count: u8,
        /// What to say of the record.
        #[n(2)]
        want: Want,
        /// The part of the answer that is wanted, counted from 1; `None`: the first. The second has the contacts
        /// behind those of the first, and no record.
        #[n(3)]
        parts: Option<u8>,
    },
    /// Keep these envelopes.
    #[n(2)]
    Store {
        /// Encoded envelopes.
        #[cbor(n(0), with = "cbor_bytes")]
        envelopes: Vec<Bytes>,
        /// Certificates of their writers that the receiver may lack.
        #[cbor(n(1), with = "cbor_certificates")]
        certificates: Vec<Bytes>,
    },
    /// You belong to the replica set of these keys now: pull what you lack.
    #[n(3)]
    Offer {
        /// Keys with the digests of the sender's states.
        #[n(0)]
        entries: Vec<OfferEntry>,
    },
    /// Give me these records.
    #[n(4)]
    Load(#[n(0)] Load),
    /// I leave: drop me, and expect no answer from me.
    #[n(5)]
    Leave {
        /// In how many seconds I shall be back at the latest; `None`: I do not come back.
        #[n(0)]
        back_in: Option<u16>,
    },
    /// Which granules of this blob do you have?
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
    /// A search on its way out, or hits on their way back.
    #[n(9)]
    Search(#[n(0)] SearchRequest),
    /// Sign a certificate for me.
    #[n(10)]
    Enroll(#[n(0)] Enroll),
    /// Which names do you hold?
    #[n(17)]
    Names(#[n(0)] Names),
    /// Carry an operation on a counter, set or map out for me.
    #[n(16)]
    Apply(#[n(0)] Apply),
    /// About a watch of a key: its leases, and word of changes.
    #[n(15)]
    Watch(#[n(0)] WatchRequest),
    /// Which records do you hold in these ranges of keys?
    #[n(14)]
    Fingerprints(#[n(0)] Compare),
    /// Which records changed at your place since then?
    #[n(18)]
    Changes(#[n(0)] ChangesAfter),
}

/// A pull of records by key.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Load {
    /// The keys.
    #[cbor(n(0), with = "cbor_keys")]
    pub keys: Vec<Key>,
    /// Of the first key, only writers behind this one: how a pull goes on inside a large record.
    #[cbor(n(1), with = "cbor_writer", has_nil)]
    pub after: Option<[u8; 32]>,
    /// Certificates of writers that the asker lacks.
    #[cbor(n(2), with = "cbor_certificate_hashes", has_nil)]
    pub certificates: Vec<CertificateHash>,
}

/// One entry of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct OfferEntry {
    /// The key.
    #[cbor(n(0), with = "cbor_key")]
    pub key: Key,
    /// The digest of the offerer's state.
    #[cbor(n(1), with = "cbor_digest")]
    pub digest: StateDigest,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Response {
    /// I am here.
    #[n(0)]
    Pong,
    /// Closer nodes, and the record if it was wanted.
    #[n(1)]
    Found(#[n(0)] Found),
    /// What became of each envelope, in the order of the request.
    #[n(2)]
    Stored {
        /// One outcome an envelope.
        #[n(0)]
        outcomes: Vec<StoreOutcome>,
    },
    /// The offer was looked at; what is wanted of it will be pulled.
    #[n(3)]
    Offered {
        /// How many of the keys will be pulled.
        #[n(0)]
        wanted: u32,
    },
    /// Records that were asked for.
    #[n(4)]
    Loaded(#[n(0)] Loaded),
    /// Not done.
    #[n(5)]
    Refused {
        /// Why.
        #[n(0)]
        reason: Refusal,
        /// Where the reason is [`Refusal::Unsupported`]: the oldest version that the refuser speaks.
        #[n(1)]
        min: Option<u8>,
        /// And the newest.
        #[n(2)]
        max: Option<u8>,
    },
    /// Good-bye.
    #[n(6)]
    Left,
    /// What the answerer has of a blob.
    #[n(7)]
    Holding(#[n(0)] Holding),
    /// About members.
    #[n(8)]
    Member(#[n(0)] MemberResponse),
    /// About a topic.
    #[n(9)]
    Topic(#[n(0)] TopicResponse),
    /// Taken; there is no more to say.
    #[n(10)]
    Taken,
    /// The asker's new certificate.
    #[n(11)]
    Enrolled {
        /// Signed bytes of a [`crate::Certificate`].
        #[cbor(n(0), with = "cbor_proof")]
        certificate: Bytes,
    },
    /// Names that are held.
    #[n(15)]
    Names(#[n(0)] NamesFound),
    /// What became of an operation that was to be carried out.
    #[n(14)]
    Applied(#[n(0)] Applied),
    /// How a lease of a watch stands.
    #[n(13)]
    Watching(#[n(0)] Watching),
    /// Fingerprints of ranges, or what they hold.
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
    /// Bytes in the blob, as far as the answerer knows: proven once its end is verified.
    #[n(0)]
    pub size: u64,
    /// The granules it has, a bit each, lowest bit of the first byte first; `None`: all.
    #[cbor(n(1), with = "cbor_byte_string", has_nil)]
    pub granules: Option<Bytes>,
    /// Others that have some of it or fetch it, at most [`crate::limits::NEIGHBOURS_MAX`].
    #[cbor(n(2), with = "cbor_contacts")]
    pub neighbours: Contacts,
    /// What the answerer calls the blob.
    #[n(3)]
    pub hint: Option<Hint>,
    /// Why the granules that it does not have will never come from it, if so: [`Refusal::Changed`] or
    /// [`Refusal::Unreadable`].
    #[n(4)]
    pub lost: Option<Refusal>,
}

/// What a holder of a blob that is one file says of the file. A hint: the name in a link or record
/// wins, and a name is cleaned before a file is made under it.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Hint {
    /// The file's name, at most [`crate::limits::HINT_NAME_BYTES_MAX`] bytes.
    #[cbor(n(0), with = "cbor_hint_name", has_nil)]
    pub name: Option<String>,
    /// When its bytes were last changed: seconds since 1970, may be negative.
    #[n(1)]
    pub mtime: Option<i64>,
    /// Its permissions as Unix counts them; only whether its owner may execute it is taken over.
    #[n(2)]
    pub mode: Option<u32>,
}

/// The answer to [`Request::FindNode`].
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Found {
    /// The closest nodes the answerer has proved itself, closest first.
    #[cbor(n(0), with = "cbor_contacts")]
    pub contacts: Contacts,
    /// What it holds under the target; `None` if nothing was wanted or it could not look.
    #[n(1)]
    pub record: Option<RecordAnswer>,
    /// Which part of the answer this is; `None`: the first, perhaps of several.
    #[n(2)]
    pub part: Option<Part>,
}

/// One datagram of an answer in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// Counted from 0, less than `of`.
    #[n(0)]
    pub index: u8,
    /// How many there are.
    #[n(1)]
    pub of: u8,
}

/// What a node holds under a key.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct RecordAnswer {
    /// The digest of its whole state; that of no envelope means absent.
    #[cbor(n(0), with = "cbor_digest")]
    pub digest: StateDigest,
    /// Encoded heads or envelopes, as was wanted.
    #[cbor(n(1), with = "cbor_bytes")]
    pub parts: Vec<Bytes>,
    /// Whether all parts are here; if not, [`Request::Load`] gets the rest in a call.
    #[n(2)]
    pub complete: bool,
}

/// What became of one envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It is part of the key's state, which is durable and has this digest.
    Stored(StateDigest),
    /// It changed nothing: a newer envelope of its writer is part of the state. An acknowledgement
    /// only to a writer that signed that one itself.
    Older {
        /// The digest of the key's state.
        digest: StateDigest,
        /// Which envelope of the writer is kept.
        held: EnvelopeId,
    },
    /// It was not taken.
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
    /// How many keys of the request were answered in full; ask again for the rest.
    #[n(1)]
    pub keys_done: u32,
    /// Certificates that were asked for.
    #[cbor(n(2), with = "cbor_certificates", has_nil)]
    pub certificates: Vec<Bytes>,
}

/// Why a request was refused. The refuser changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
pub enum Refusal {
    /// Too much to do; try again later.
    #[n(0)]
    #[error("busy")]
    Busy,
    /// The sender's address is not proven yet; ask for a cookie first.
    #[n(1)]
    #[error("address not proven")]
    Unproven,
    /// The envelope is malformed, unsigned or against its space's rules.
    #[n(2)]
    #[error("bad envelope")]
    BadEnvelope,
    /// A dot or context lies over five minutes ahead of the refuser's clock.
    #[n(3)]
    #[error("dated over five minutes ahead")]
    Ahead,
    /// The envelope's life is over, or longer than this network allows.
    #[n(4)]
    #[error("life over or too long")]
    Life,
    /// The key has too many writers.
    #[n(5)]
    #[error("too many writers")]
    TooManyWriters,
    /// No room.
    #[n(6)]
    #[error("no space left")]
    Full,
    /// The refuser's store stopped.
    #[n(7)]
    #[error("store stopped")]
    Stopped,
    /// The request is not known here.
    #[n(8)]
    #[error("not supported")]
    Unsupported,
    /// The refuser is leaving, or serves no requests (client mode).
    #[n(9)]
    #[error("not serving")]
    NotServing,
    /// The refuser has nothing of the blob.
    #[n(10)]
    #[error("not held")]
    NotHeld,
    /// The node that was to be probed gave no answer.
    #[n(11)]
    #[error("not reached")]
    NotReached,
    /// The refuser does not hold the network's authority key; ask another node.
    #[n(12)]
    #[error("not an issuer")]
    NotIssuer,
    /// The ticket has expired, was used up, or its holder was revoked.
    #[n(13)]
    #[error("the ticket is void")]
    TicketVoid,
    /// The refuser is not near the key, so it keeps no record under it.
    #[n(14)]
    #[error("not responsible for this key")]
    NotResponsible,
    /// The writer's or the member's share of the refuser's room is used up.
    #[n(15)]
    #[error("over the member's quota")]
    Quota,
    /// The writer of the envelope, or the publisher of the message, is no member.
    #[n(16)]
    #[error("the writer is not a member")]
    NotMember,
    /// The asker asks more than its share; try again later.
    #[n(17)]
    #[error("over the peer's rate")]
    Rate,
    /// The refuser shared the blob; its files are not what they were.
    #[n(18)]
    #[error("changed since it was shared")]
    Changed,
    /// The refuser shared the blob and does not any more.
    #[n(19)]
    #[error("not shared any more")]
    Unshared,
    /// The refuser shares the blob and its disk does not give it.
    #[n(20)]
    #[error("not readable at its source")]
    Unreadable,
    /// The writer of the envelope is not on the list of the team's writers.
    #[n(21)]
    #[error("the writer is not on the team's list")]
    NotWriter,
    /// The refuser does not know the certificate that the envelope names; send it along.
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
    //! Names of certificates.
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
    //! A name within its limit, or null.
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
