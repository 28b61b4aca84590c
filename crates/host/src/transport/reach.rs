//! How far a peer is, as its address tells: what may be tried on the way to it.
//!
//! Larger datagrams are found by probing, so a bound that is too high does no harm; it only takes
//! some more probes until the right size is found, which is why the internet has its own.

use std::net::IpAddr;

use potluck_base::AddressScope;

use super::config::DATAGRAM_BYTES_MAX;

/// An Ethernet with jumbo frames (9000 bytes), less an IPv6 and a UDP header.
const JUMBO_BYTES: u16 = 8952;
/// An Ethernet (1500 bytes) with IPv6 and a margin for tunnels.
const ETHERNET_BYTES: u16 = 1452;
/// What may be sent into a near network before the first acknowledgement; a far one gets the ten
/// packets of RFC 9002.
const NEAR_WINDOW_BYTES: u64 = 64 * 1024;

/// The distance of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// On this machine.
    Loopback,
    /// In a private network.
    Local,
    /// Anywhere.
    Internet,
}

impl Reach {
    pub(super) const ALL: [Self; 3] = [Self::Loopback, Self::Local, Self::Internet];

    pub(super) fn of(address: IpAddr) -> Self {
        match AddressScope::of(address) {
            AddressScope::Loopback => Self::Loopback,
            AddressScope::LinkLocal | AddressScope::Private => Self::Local,
            AddressScope::NotUnicast | AddressScope::Reserved | AddressScope::Global => {
                Self::Internet
            }
        }
    }

    /// The longest datagrams that are worth a probe.
    pub(super) const fn datagram_bytes(self) -> u16 {
        match self {
            Self::Loopback => DATAGRAM_BYTES_MAX,
            Self::Local => JUMBO_BYTES,
            Self::Internet => ETHERNET_BYTES,
        }
    }

    /// The first congestion window, where it is not QUIC's own.
    pub(super) const fn initial_window(self) -> Option<u64> {
        match self {
            Self::Loopback | Self::Local => Some(NEAR_WINDOW_BYTES),
            Self::Internet => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_tell_how_far_a_peer_is() {
        for (address, reach) in [
            ("127.0.0.1", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("192.168.3.4", Reach::Local),
            ("169.254.1.1", Reach::Local),
            ("fd00::1", Reach::Local),
            ("fe80::1", Reach::Local),
            ("100.64.0.1", Reach::Local),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("192.0.2.1", Reach::Internet),
            ("2001:db8::1", Reach::Internet),
        ] {
            assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
        }
        for (index, reach) in Reach::ALL.into_iter().enumerate() {
            assert_eq!(reach as usize, index);
        }
    }
}
