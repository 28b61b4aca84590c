//! Limits the concurrent handshakes with strangers.
//!
//! A handshake costs this node the work of two signatures and up to three times the bytes of the
//! first packet, whose source address may be forged. While few handshakes are unfinished, a new one
//! starts at once. From half of the limit on, or when one source has its share, a stranger must
//! first prove that it receives at its address (Retry: stateless, smaller than the packet it
//! answers). Only proven addresses are refused, and handshakes of unproven addresses never count
//! against a proven one; else a forger could shut out a victim.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// The decision on a first packet.
#[derive(Debug)]
pub(super) enum HandshakeVerdict {
    /// Begin the handshake; the ticket is dropped when it ends, with success or not.
    Begin(Ticket),
    /// Ask for a proof of the address (QUIC Retry).
    Retry,
    /// Refuse the connection.
    Refuse,
}

/// Counts unfinished handshakes, in total and by source.
#[derive(Debug)]
pub(super) struct HandshakeLimiter {
    unfinished: Mutex<Unfinished>,
    limit: usize,
    limit_per_source: usize,
}

#[derive(Debug, Default)]
struct Unfinished {
    total: usize,
    by_source: HashMap<Source, usize>,
}

/// An IPv4 address or an IPv6 /64 prefix (a subscriber has a whole one), and whether it is proven.
type Source = (IpAddr, bool);

/// A place among the unfinished handshakes.
#[derive(Debug)]
pub(super) struct Ticket {
    limiter: Arc<HandshakeLimiter>,
    source: Source,
}

impl HandshakeLimiter {
    pub(super) fn new(limit: usize, limit_per_source: usize) -> Arc<Self> {
        Arc::new(Self { unfinished: Mutex::default(), limit, limit_per_source })
    }

    /// Decides on a first packet from `address`, which is `proven` if it carries a valid token.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, proven: bool) -> HandshakeVerdict {
        let source = (subscriber_of(address), proven);
        let mut unfinished = self.unfinished.lock();
        let of_source = unfinished.by_source.get(&source).copied().unwrap_or(0);
        let limit = if proven { self.limit } else { self.limit.div_ceil(2) };
        if unfinished.total >= limit || of_source >= self.limit_per_source {
            return if proven { HandshakeVerdict::Refuse } else { HandshakeVerdict::Retry };
        }
        unfinished.total += 1;
        *unfinished.by_source.entry(source).or_default() += 1;
        HandshakeVerdict::Begin(Ticket { limiter: Arc::clone(self), source })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut unfinished = self.limiter.unfinished.lock();
        unfinished.total -= 1;
        if let Some(count) = unfinished.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                unfinished.by_source.remove(&self.source);
            }
        }
    }
}

fn subscriber_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn begin(limiter: &Arc<HandshakeLimiter>, from: IpAddr, proven: bool) -> Ticket {
        match limiter.admit(from, proven) {
            HandshakeVerdict::Begin(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn under_load_strangers_must_prove_their_address_first() {
        let limiter = HandshakeLimiter::new(4, 4);
        let _first = [begin(&limiter, address(1), false), begin(&limiter, address(2), false)];
        assert!(matches!(limiter.admit(address(3), false), HandshakeVerdict::Retry));
        let second = [begin(&limiter, address(3), true), begin(&limiter, address(4), true)];
        assert!(matches!(limiter.admit(address(5), true), HandshakeVerdict::Refuse));
        assert!(matches!(limiter.admit(address(5), false), HandshakeVerdict::Retry));
        drop(second);
        let _third = begin(&limiter, address(5), true);
    }

    #[test]
    fn one_source_has_its_share_and_a_forger_cannot_use_it_up() {
        let limiter = HandshakeLimiter::new(64, 2);
        let held = [begin(&limiter, address(1), false), begin(&limiter, address(1), false)];
        assert!(matches!(limiter.admit(address(1), false), HandshakeVerdict::Retry));
        // The owner of the address comes with a proof and is not held to what was forged.
        let _owner = [begin(&limiter, address(1), true), begin(&limiter, address(1), true)];
        assert!(matches!(limiter.admit(address(1), true), HandshakeVerdict::Refuse));
        let _other = begin(&limiter, address(2), false);
        drop(held);
        assert_eq!(limiter.unfinished.lock().by_source.len(), 2);
        let _again = begin(&limiter, address(1), false);
    }

    #[test]
    fn an_ipv6_subscriber_is_one_source() {
        let limiter = HandshakeLimiter::new(64, 1);
        let _held = begin(&limiter, "2001:db8::1".parse().unwrap(), true);
        let neighbour = limiter.admit("2001:db8::ffff:1".parse().unwrap(), true);
        assert!(matches!(neighbour, HandshakeVerdict::Refuse));
        let _other = begin(&limiter, "2001:db8:0:1::1".parse().unwrap(), false);
    }
}
