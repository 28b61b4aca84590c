//! The limits of messages.

/// The newest version of the message format that this node speaks. A node speaks it with each peer until
/// the peer says that it knows older ones only; [`crate::version`] has the rule.
#[cfg(not(feature = "next-version"))]
pub const VERSION: u8 = 2;
/// Of a build of the same tree that tests upgrades: the next version, with the same messages.
#[cfg(feature = "next-version")]
pub const VERSION: u8 = 3;
/// The version that stands before what is passed on or kept as it is (announcements, providers of files) and
/// before requests for pieces of files. All nodes of a network read it, whatever versions of messages they
/// speak.
pub const PASSED_ON_VERSION: u8 = 2;
/// The oldest version that this node supports. A node sends it when it refuses a request as unsupported, and
/// in its member record.
pub const VERSION_MIN: u8 = 2;
/// Largest datagram on the wire, header and seal included: fits the IPv6 minimum MTU of 1280 with
/// room for tunnels, like QUIC's 1200 (RFC 9000 section 14).
pub const DATAGRAM_BYTES_MAX: usize = 1200;
/// Largest message in a datagram: the rest after header, cookie, request id and seal.
pub const MESSAGE_BYTES_MAX: usize = 1060;
/// Largest message in a call.
pub const CALL_BYTES_MAX: usize = 256 * 1024;
/// Most contacts in one answer: twice k of the routing table. Sixteen fit in a datagram, so more are asked for
/// as a second part.
pub const CONTACTS_MAX: usize = 32;
/// The last part of an answer to FindNode that can be asked for.
pub const SECOND_PART: u8 = 2;
/// Most certificates of writers in one message.
pub const CERTIFICATES_MAX: usize = 256;
/// Longest file name in a hint, in bytes.
pub const HINT_NAME_BYTES_MAX: usize = 255;
/// Longest build name of a member, in bytes.
pub const BUILD_BYTES_MAX: usize = 32;
/// Most envelopes or heads in one message.
pub const ENVELOPES_MAX: usize = 1024;
/// Most entries in one offer.
pub const OFFER_ENTRIES_MAX: usize = 4096;
/// Most entries of an offer that fits in a datagram.
pub const OFFER_ENTRIES_DATAGRAM: usize = 18;
/// Most keys in one load.
pub const LOAD_KEYS_MAX: usize = 4096;
/// Most keys of a load that fits in a datagram.
pub const LOAD_KEYS_DATAGRAM: usize = 28;
/// Most ranges of keys in one comparison of fingerprints.
pub const PREFIXES_MAX: usize = 512;
/// Most ranges of the region that two nodes share: with a session key and a bucket they fit in a datagram.
pub const REGION_PREFIXES_MAX: usize = 96;
/// Most short hashes in one list of a comparison.
pub const IDS_MAX: usize = 8192;
/// Most neighbours in one [`crate::Holding`].
pub const NEIGHBOURS_MAX: usize = 8;
/// Most runs of granules in one request of a fetch.
pub const FETCH_RUNS_MAX: usize = 1024;
/// Most nodes of a hash tree in one request of a fetch: 256 KiB of them, which cover 256 MiB of data.
pub const FETCH_NODES_MAX: u32 = 4096;
/// Most labels of a member.
pub const LABELS_MAX: usize = 8;
/// Longest label of a member, name and value together.
pub const LABEL_BYTES_MAX: usize = 64;
/// Longest signed record of a member, certificate included. One record of this length fits in a datagram, or
/// five of the usual length.
pub const MEMBER_RECORD_BYTES_MAX: usize = 1040;
/// Most records, short ids or entries of a comparison in one message about members.
pub const RECORDS_MAX: usize = 2048;
/// Most suspect messages in one request or announcement.
pub const SUSPECTS_MAX: usize = 16;
/// Longest certificate, grant or revocation, signature included. In a datagram with a certificate, more than
/// 600 bytes are left for the request.
pub const CERTIFICATE_BYTES_MAX: usize = 400;
/// Longest proof of the puzzles of an `open` network. A proof has two numbers now; the rest is for numbers of
/// later versions.
pub const PUZZLE_PROOF_BYTES_MAX: usize = 64;
/// Longest settings of a network, signature included. They have few numbers now; the rest is for numbers of
/// later versions, which this version passes on.
pub const SETTINGS_BYTES_MAX: usize = 512;
/// Longest life of a certificate: a year, and a day for clocks. A revocation is kept for the same time.
pub const CERTIFICATE_LIFE_MAX_MS: u64 = 366 * 24 * 60 * 60 * 1000;
/// Most entry points in a ticket.
pub const TICKET_CONTACTS_MAX: usize = 4;
/// Longest payload of a topic's message.
pub const TOPIC_PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Most ranges of message ids in one request in a topic.
pub const ID_RANGES_MAX: usize = 1024;
