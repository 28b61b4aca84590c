//! Classifies a QUIC datagram before any state or cryptography is spent on it.
//!
//! Datagrams that no QUIC endpoint could use are dropped and counted, and the class decides whether
//! an endpoint is created. The filter also prevents amplification: an endpoint answers an unknown
//! version with a list of its own versions, whatever the length of the packet, which would turn ten
//! forged bytes into more; RFC 9000 section 6.1 requires 1200 bytes first.

use noq_proto::{ConnectionId, ConnectionIdGenerator, HashedConnectionIdGenerator};

/// The QUIC version we speak (RFC 9000).
pub(super) const QUIC_V1: u32 = 1;
/// Shortest datagram in bytes that may start a connection (RFC 9000, 14.1).
const INITIAL_BYTES: usize = 1200;
/// Shortest packet in bytes that an endpoint accepts: a stateless reset has at least 21 bytes.
const SHORTEST_BYTES: usize = 21;
/// Longest connection id in QUIC version 1, in bytes.
const CONNECTION_ID_BYTES: usize = 20;
const LONG_HEADER_BIT: u8 = 0x80;

/// The class of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PacketClass {
    /// No valid QUIC packet.
    Malformed,
    /// It may belong to an existing connection.
    Ordinary,
    /// It may begin a connection, or belong to one from before a restart of this node, whose peer
    /// should get a stateless reset.
    Opening,
}

/// Recognises the connection ids of this node, also those from before a restart.
pub(super) struct PacketFilter {
    ids: HashedConnectionIdGenerator,
}

impl PacketFilter {
    pub(super) fn new(id_key: u64) -> Self {
        Self { ids: HashedConnectionIdGenerator::from_key(id_key) }
    }

    pub(super) fn classify(&self, datagram: &[u8]) -> PacketClass {
        if datagram.len() < SHORTEST_BYTES {
            PacketClass::Malformed
        } else if datagram[0] & LONG_HEADER_BIT != 0 {
            classify_long_header(datagram)
        } else {
            let id = ConnectionId::new(&datagram[1..=self.ids.cid_len()]);
            if self.ids.validate(id).is_ok() { PacketClass::Opening } else { PacketClass::Ordinary }
        }
    }
}

impl std::fmt::Debug for PacketFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PacketFilter")
    }
}

/// Version, then both connection ids behind their lengths (RFC 8999, 5.1).
fn classify_long_header(datagram: &[u8]) -> PacketClass {
    let version = u32::from_be_bytes([datagram[1], datagram[2], datagram[3], datagram[4]]);
    let full_size = datagram.len() >= INITIAL_BYTES;
    if version != QUIC_V1 {
        // Version 0 is a Version Negotiation packet.
        return match (version, full_size) {
            (0, _) => PacketClass::Ordinary,
            (_, true) => PacketClass::Opening,
            (_, false) => PacketClass::Malformed,
        };
    }
    let to_bytes = usize::from(datagram[5]);
    let fits =
        |id_bytes: usize, end: usize| id_bytes <= CONNECTION_ID_BYTES && end < datagram.len();
    if !fits(to_bytes, 6 + to_bytes) {
        return PacketClass::Malformed;
    }
    let from_bytes = usize::from(datagram[6 + to_bytes]);
    if !fits(from_bytes, 7 + to_bytes + from_bytes) {
        return PacketClass::Malformed;
    }
    if full_size { PacketClass::Opening } else { PacketClass::Ordinary }
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
        let packet_filter = PacketFilter::new(7);
        assert_eq!(packet_filter.classify(&long(1, 8, 8, 1200)), PacketClass::Opening);
        assert_eq!(packet_filter.classify(&long(1, 8, 8, 1199)), PacketClass::Ordinary);
        assert_eq!(packet_filter.classify(&long(99, 8, 8, 1200)), PacketClass::Opening);
        assert_eq!(packet_filter.classify(&long(99, 8, 8, 1199)), PacketClass::Malformed);
        assert_eq!(packet_filter.classify(&long(0, 8, 8, 60)), PacketClass::Ordinary);
    }

    #[test]
    fn packets_that_contradict_themselves_are_malformed() {
        let packet_filter = PacketFilter::new(7);
        for packet in [
            vec![],
            vec![0x40; 20],
            long(1, 21, 8, 1200),
            long(1, 8, 21, 1200),
            long(1, 20, 0, 26),
            long(1, 10, 10, 27),
        ] {
            assert_eq!(packet_filter.classify(&packet), PacketClass::Malformed, "{packet:?}");
        }
    }

    #[test]
    fn ids_of_a_former_life_are_known_and_those_of_others_are_not() {
        let mut short = vec![0x40; 40];
        let id = HashedConnectionIdGenerator::from_key(7).generate_cid();
        short[1..=id.len()].copy_from_slice(&id);
        assert_eq!(PacketFilter::new(7).classify(&short), PacketClass::Opening);
        assert_eq!(PacketFilter::new(8).classify(&short), PacketClass::Ordinary);
    }
}
