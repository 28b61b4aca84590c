//! How many strangers may be in a handshake at once.
//!
//! A handshake costs us two signatures' worth of work and up to three times the bytes of the
//! stranger's first packet, whose source may be forged. While few are unfinished, they start at
//! once; from half of the limit on, or when one source has its share, a stranger must first show
//! that it receives at its address (Retry: stateless, smaller than the packet it answers). Refusing
//! is only for proven addresses, and what unproven ones hold never counts against a proven one, or a
//! forger could shut out a victim.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What to do with a first packet.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Begin; the ticket is given back when the handshake is over, either way.
    Begin(Ticket),
    /// Ask for a proof of the address.
    Retry,
    /// Turn it away.
    Refuse,
}

/// Counts unfinished handshakes, in all and by source.
#[derive(Debug)]
pub(super) struct Gate {
    unfinished: Mutex<Unfinished>,
    limit: usize,
    limit_per_source: usize,
}

#[derive(Debug, Default)]
struct Unfinished {
    total: usize,
    by_source: HashMap<Source, usize>,
}

/// An address, or an IPv6 /64 since a subscriber has a whole one, and whether it is proven.
type Source = (IpAddr, bool);

/// A place among the unfinished handshakes.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    source: Source,
}

impl Gate {
    pub(super) fn new(limit: usize, limit_per_source: usize) -> Arc<Self> {
        Arc::new(Self { unfinished: Mutex::default(), limit, limit_per_source })
    }

    /// Decides on a first packet from `address`, which is `proven` if it carries a valid token.
    pub(super) fn knock(self: &Arc<Self>, address: IpAddr, proven: bool) -> Verdict {
        let source = (subscriber_of(address), proven);
        let mut unfinished = self.lock();
        let of_source = unfinished.by_source.get(&source).copied().unwrap_or(0);
        let limit = if proven { self.limit } else { self.limit.div_ceil(2) };
        if unfinished.total >= limit || of_source >= self.limit_per_source {
            return if proven { Verdict::Refuse } else { Verdict::Retry };
        }
        unfinished.total += 1;
        *unfinished.by_source.entry(source).or_default() += 1;
        Verdict::Begin(Ticket { gate: Arc::clone(self), source })
    }

    fn lock(&self) -> MutexGuard<'_, Unfinished> {
        // No code under this lock can leave it half changed.
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut unfinished = self.gate.lock();
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

    fn begin(gate: &Arc<Gate>, from: IpAddr, proven: bool) -> Ticket {
        match gate.knock(from, proven) {
            Verdict::Begin(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn under_load_strangers_must_prove_their_address_first() {
        let gate = Gate::new(4, 4);
        let _first = [begin(&gate, address(1), false), begin(&gate, address(2), false)];
        assert!(matches!(gate.knock(address(3), false), Verdict::Retry));
        let second = [begin(&gate, address(3), true), begin(&gate, address(4), true)];
        assert!(matches!(gate.knock(address(5), true), Verdict::Refuse));
        assert!(matches!(gate.knock(address(5), false), Verdict::Retry));
        drop(second);
        let _third = begin(&gate, address(5), true);
    }

    #[test]
    fn one_source_has_its_share_and_a_forger_cannot_use_it_up() {
        let gate = Gate::new(64, 2);
        let held = [begin(&gate, address(1), false), begin(&gate, address(1), false)];
        assert!(matches!(gate.knock(address(1), false), Verdict::Retry));
        // The owner of the address comes with a proof and is not held to what was forged.
        let _owner = [begin(&gate, address(1), true), begin(&gate, address(1), true)];
        assert!(matches!(gate.knock(address(1), true), Verdict::Refuse));
        let _other = begin(&gate, address(2), false);
        drop(held);
        assert_eq!(gate.lock().by_source.len(), 2);
        let _again = begin(&gate, address(1), false);
    }

    #[test]
    fn an_ipv6_subscriber_is_one_source() {
        let gate = Gate::new(64, 1);
        let _held = begin(&gate, "2001:db8::1".parse().unwrap(), true);
        let neighbour = gate.knock("2001:db8::ffff:1".parse().unwrap(), true);
        assert!(matches!(neighbour, Verdict::Refuse));
        let _other = begin(&gate, "2001:db8:0:1::1".parse().unwrap(), false);
    }
}
