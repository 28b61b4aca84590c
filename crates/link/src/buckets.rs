//! Rate limits for senders without a session, before any cryptography.
//!
//! A datagram must pass its address, its /24 (IPv6: /48), its /16 (/32) and the global limit, and
//! is charged to all of them or to none, narrowest first, so that one busy subnet cannot use up
//! what is meant for all. The tables forget what was not used for longest; a flood from ever new
//! addresses that uses this still meets the global limit.

use std::net::{IpAddr, SocketAddr};

use potluck_base::{Instant, LruMap, Rate, TokenBucket, is_private};

use crate::config::LinkConfig;

/// A subnet, with addresses of both families in one order.
type Prefix = u128;

/// The limits of one breadth.
#[derive(Debug)]
struct Level {
    rate: Rate,
    v4_bits: u32,
    v6_bits: u32,
    buckets: LruMap<Prefix, TokenBucket>,
}

impl Level {
    fn new(rate: Rate, v4_bits: u32, v6_bits: u32, limits_max: usize) -> Self {
        Self { rate, v4_bits, v6_bits, buckets: LruMap::new(limits_max.max(1)) }
    }

    /// The subnet of `ip`; IPv4 lies in the mapped range, which no IPv6 sender can have.
    fn prefix(&self, ip: IpAddr) -> Prefix {
        let (bits, kept) = match ip {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), 96 + self.v4_bits),
            IpAddr::V6(ip) => (ip.to_bits(), self.v6_bits),
        };
        bits & (u128::MAX << (128 - kept))
    }

    fn has(&self, now: Instant, prefix: Prefix) -> bool {
        self.buckets.peek(&prefix).is_none_or(|bucket| bucket.has(now, 1))
    }

    fn take(&mut self, now: Instant, prefix: Prefix) {
        if let Some(bucket) = self.buckets.get_mut(&prefix) {
            bucket.take(now, 1);
            return;
        }
        let mut bucket = self.rate.bucket();
        bucket.take(now, 1);
        self.buckets.insert(prefix, bucket);
    }
}

/// The limits for one class of senders.
#[derive(Debug)]
pub(crate) struct Gate {
    lab: bool,
    global: TokenBucket,
    levels: [Level; 3],
    agreements: TokenBucket,
}

impl Gate {
    pub(crate) fn new(config: &LinkConfig) -> Self {
        let max = config.limits_max;
        Self {
            lab: config.lab,
            global: config.global.bucket(),
            levels: [
                Level::new(config.address, 32, 128, max),
                Level::new(config.subnet, 24, 48, max),
                Level::new(config.wide_subnet, 16, 32, max),
            ],
            agreements: config.agreements.bucket(),
        }
    }

    /// Whether one more datagram from `from` is within the limits; then it is charged.
    pub(crate) fn admit(&mut self, now: Instant, from: SocketAddr) -> bool {
        if !self.global.has(now, 1) {
            return false;
        }
        let ip = from.ip();
        if !(self.lab && is_private(ip)) {
            let fits = |level: &Level| level.has(now, level.prefix(ip));
            if !self.levels.iter().all(fits) {
                return false;
            }
            for level in &mut self.levels {
                level.take(now, level.prefix(ip));
            }
        }
        self.global.take(now, 1)
    }

    /// Whether one more key agreement is within the budget; then it is charged.
    pub(crate) fn admit_agreement(&mut self, now: Instant) -> bool {
        self.agreements.take(now, 1)
    }

    /// How many subnets and addresses are remembered.
    pub(crate) fn len(&self) -> usize {
        self.levels.iter().map(|level| level.buckets.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        let tight = LinkConfig {
            global: Rate::new(1, 8),
            wide_subnet: Rate::new(1, 4),
            subnet: Rate::new(1, 2),
            address: Rate::new(1, 1),
            limits_max: 4,
            ..LinkConfig::default()
        };
        Gate::new(&tight)
    }

    fn admitted(gate: &mut Gate, addresses: &[&str]) -> Vec<bool> {
        let now = Instant::from_micros(1);
        let address = |text: &&str| SocketAddr::new(text.parse().expect("an address"), 1);
        addresses.iter().map(|text| gate.admit(now, address(text))).collect()
    }

    #[test]
    fn ipv6_is_limited_by_address_48_and_32() {
        let mut gate = gate();
        let addresses = ["2001:1:1::1", "2001:1:1::1", "2001:1:1::2", "2001:1:1::3"];
        assert_eq!(admitted(&mut gate, &addresses), [true, false, true, false]);
        let addresses = ["2001:1:2::1", "2001:1:3::1", "2001:1:4::1", "2001:2:1::1"];
        assert_eq!(admitted(&mut gate, &addresses), [true, true, false, true]);
    }

    #[test]
    fn who_is_refused_by_one_limit_is_charged_to_none() {
        let mut gate = gate();
        assert!(admitted(&mut gate, &["9.1.1.1"; 20]).iter().skip(1).all(|passed| !passed));
        assert_eq!(admitted(&mut gate, &["9.1.1.2", "9.1.2.1", "9.2.1.1"]), [true; 3]);
    }

    #[test]
    fn the_tables_stay_within_their_limit() {
        let mut gate = gate();
        for network in 0..200 {
            let now = Instant::from_micros(network * 1_000_000);
            assert!(gate.admit(now, SocketAddr::from(([9, network as u8, 1, 1], 1))));
        }
        assert_eq!(gate.len(), 12);
    }
}
