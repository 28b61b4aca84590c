//! The limits of messages.

/// The version of the message format.
pub const VERSION: u8 = 1;
/// Largest datagram on the wire, header and seal included: fits the IPv6 minimum MTU of 1280 with
/// room for tunnels, like QUIC's 1200 (RFC 9000 section 14).
pub const DATAGRAM_BYTES_MAX: usize = 1200;
/// Largest message in a datagram: what header, cookie, request id and seal leave.
pub const MESSAGE_BYTES_MAX: usize = 1060;
/// Largest message in a call.
pub const CALL_BYTES_MAX: usize = 256 * 1024;
/// Most contacts in one answer: k of the routing table.
pub const CONTACTS_MAX: usize = 32;
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
/// Most neighbours in one [`crate::Holding`].
pub const NEIGHBOURS_MAX: usize = 8;
/// Most runs of granules in one request of a fetch.
pub const FETCH_RUNS_MAX: usize = 1024;
