//! The first look at a QUIC datagram, before any state or cryptography is spent on it.
//!
//! It drops what no QUIC endpoint could use, so that a flood of it is visible in the counters, and
//! it decides what is worth creating an endpoint for. It also closes a hole: an endpoint answers an
//! unknown version with a list of its own, whatever the length of the packet, which would turn ten
//! forged bytes into more; RFC 9000 section 6.1 wants 1200 bytes first.

use noq_proto::{ConnectionId, ConnectionIdGenerator, HashedConnectionIdGenerator};

/// The QUIC version we speak (RFC 9000).
pub(super) const QUIC_V1: u32 = 1;
/// Shortest datagram that a client may start with (RFC 9000, 14.1).
const INITIAL_BYTES: usize = 1200;
/// Shortest packet that is worth an answer: a stateless reset is at least 21 bytes long.
const SHORTEST_BYTES: usize = 21;
/// Longest connection id in QUIC version 1.
const CONNECTION_ID_BYTES: usize = 20;
const LONG_HEADER_BIT: u8 = 0x80;

/// What a datagram looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// No QUIC packet of any use.
    Malformed,
    /// May belong to a connection that exists.
    Ordinary,
    /// May also begin a connection, or belong to one of a former life of this node, whose peer
    /// should be told that it is over.
    Opening,
}

/// Knows the connection ids of this node, also those from before a restart.
pub(super) struct Screen {
    ids: HashedConnectionIdGenerator,
}

impl Screen {
    pub(super) fn new(id_key: u64) -> Self {
        Self { ids: HashedConnectionIdGenerator::from_key(id_key) }
    }

    pub(super) fn look(&self, datagram: &[u8]) -> Look {
        if datagram.len() < SHORTEST_BYTES {
            Look::Malformed
        } else if datagram[0] & LONG_HEADER_BIT != 0 {
            look_at_long_header(datagram)
        } else {
            let id = ConnectionId::new(&datagram[1..=self.ids.cid_len()]);
            if self.ids.validate(id).is_ok() { Look::Opening } else { Look::Ordinary }
        }
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Screen")
    }
}

/// Version, then both connection ids behind their lengths (RFC 8999, 5.1).
fn look_at_long_header(datagram: &[u8]) -> Look {
    let version = u32::from_be_bytes([datagram[1], datagram[2], datagram[3], datagram[4]]);
    let full_size = datagram.len() >= INITIAL_BYTES;
    if version != QUIC_V1 {
        // Zero is the peer's answer to a version it does not know.
        return match (version, full_size) {
            (0, _) => Look::Ordinary,
            (_, true) => Look::Opening,
            (_, false) => Look::Malformed,
        };
    }
    let to_bytes = usize::from(datagram[5]);
    let fits =
        |id_bytes: usize, end: usize| id_bytes <= CONNECTION_ID_BYTES && end < datagram.len();
    if !fits(to_bytes, 6 + to_bytes) {
        return Look::Malformed;
    }
    let from_bytes = usize::from(datagram[6 + to_bytes]);
    if !fits(from_bytes, 7 + to_bytes + from_bytes) {
        return Look::Malformed;
    }
    if full_size { Look::Opening } else { Look::Ordinary }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(version: u32, to: u8, from: u8, len: usize) -> Vec<u8> {
        let mut packet = vec![0; len];
        packet[0] = 0xc0;
        packet[1..5].copy_from_slice(&version.to_be_bytes());
        packet[5] = to;
        if let Some(place) = packet.get_mut(6 + usize::from(to)) {
            *place = from;
        }
        packet
    }

    #[test]
    fn only_full_sized_packets_can_open_a_connection() {
        let screen = Screen::new(7);
        assert_eq!(screen.look(&long(1, 8, 8, 1200)), Look::Opening);
        assert_eq!(screen.look(&long(1, 8, 8, 1199)), Look::Ordinary);
        assert_eq!(screen.look(&long(99, 8, 8, 1200)), Look::Opening);
        assert_eq!(screen.look(&long(99, 8, 8, 1199)), Look::Malformed);
        assert_eq!(screen.look(&long(0, 8, 8, 60)), Look::Ordinary);
    }

    #[test]
    fn packets_that_contradict_themselves_are_malformed() {
        let screen = Screen::new(7);
        for packet in [
            vec![],
            vec![0x40; 20],
            long(1, 21, 8, 1200),
            long(1, 8, 21, 1200),
            long(1, 20, 0, 26),
            long(1, 10, 10, 27),
        ] {
            assert_eq!(screen.look(&packet), Look::Malformed, "{packet:?}");
        }
    }

    #[test]
    fn ids_of_a_former_life_are_known_and_those_of_others_are_not() {
        let mut short = vec![0x40; 40];
        let id = HashedConnectionIdGenerator::from_key(7).generate_cid();
        short[1..=id.len()].copy_from_slice(&id);
        assert_eq!(Screen::new(7).look(&short), Look::Opening);
        assert_eq!(Screen::new(8).look(&short), Look::Ordinary);
    }
}
