//! Encoding and decoding of messages, with limits and a version in each message.
//!
//! A message is a CBOR sequence of two items, the protocol version and the message itself, with integer keys
//! (`docs/protocol.md` has the CDDL). Sealed datagrams and calls carry the same bytes; only the size limit
//! differs.
//!
//! **Invariant:** decoding never panics, allocates in proportion to the given bytes, and returns only
//! messages within [`limits`].

// What others send reaches this code: it must not stop the node (docs/security.md, "Panics").
#![cfg_attr(
    not(test),
    deny(
        clippy::panic,
        clippy::unreachable,
        clippy::get_unwrap,
        clippy::string_slice,
        clippy::indexing_slicing,
    )
)]

pub mod admission;
mod apply;
mod codec;
pub mod contact;
pub mod difference;
pub mod lan;
pub mod limits;
pub mod member;
pub mod message;
pub mod names;
pub mod purpose;
pub mod puzzle;
pub mod search;
pub mod settings;
pub mod swarm;
pub mod topic;
pub mod topic_message;
pub mod version;
pub mod watch;

pub use admission::{
    Certificate, Enroll, Grant, GrantTerms, Revocation, Revoked, Ticket, TicketError,
};
pub use apply::{Applied, Apply};
pub use codec::{DecodeError, decode_request, decode_response, encode_request, encode_response};
pub use difference::{Changes, ChangesAfter, Compare, Compared, Level, RangePart, RegionHash};
pub use lan::{Beacon, LanKey, LanTag};
pub use member::{
    Announcement, MemberRecord, MemberRequest, MemberResponse, PartitionId, PeerHints, Proof,
    Reach, RecordError, RecordVersion, Software, SuspectMessage,
};
pub use message::{
    Contacts, Found, Hint, Holding, Load, Loaded, OfferEntry, Part, RecordAnswer, Refusal, Request,
    Response, StoreOutcome, Want,
};
pub use names::{NAME_ENTRY_BYTES, NAMES_MAX, NameEntry, Names, NamesFound};
pub use purpose::{Purpose, Traffic};
pub use search::{Hit, SearchRequest};
pub use settings::{NetworkSettings, SettingsError};
pub use swarm::{FetchRequest, Provider, Run};
pub use topic::{DisconnectCause, IdRange, InTopic, TopicId, TopicRequest, TopicResponse};
pub use topic_message::{MessageHead, SignedMessage, SignedMessageError};
pub use watch::{Changed, WatchRequest, Watching};
