//! Calls: large requests over a reliable connection, modelled as delay and loss.
//!
//! A first call to a peer costs a handshake of one round trip; the connection stays for a while.
//! Loss does not lose a call but delays it by a retransmission. A peer that is down, cut off, not
//! the one that was meant or too slow makes it fail, after the time-outs of the real transport.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Instant, Rng};
use potluck_node::{CallId, InboundId};

use crate::sim_node::NodeIndex;

/// Time-outs and capacity of calls.
#[derive(Debug, Clone, PartialEq)]
pub struct CallConfig {
    /// A peer that does not shake hands makes a call fail after this.
    pub dial_timeout: Duration,
    /// Any call fails after this.
    pub call_timeout: Duration,
    /// A connection of an earlier life of the peer is given up after this.
    pub silence: Duration,
    /// A connection closes when it was unused for this long.
    pub idle_timeout: Duration,
    /// Bytes a second that one call carries.
    pub bandwidth: u64,
}

impl Default for CallConfig {
    /// The real transport's time-outs over 100 Mbit/s.
    fn default() -> Self {
        Self {
            dial_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
            silence: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(30),
            bandwidth: 12_500_000,
        }
    }
}

/// One life of one node.
pub(crate) type Life = (NodeIndex, u32);

/// A call that a node made and that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallKey {
    pub(crate) caller: Life,
    pub(crate) call: CallId,
}

/// What calls there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallStats {
    /// Calls made.
    pub made: u64,
    /// Handshakes that they needed.
    pub handshakes: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Bytes of requests and answers.
    pub bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) config: CallConfig,
    open: BTreeMap<CallKey, Life>,
    inbound: BTreeMap<InboundId, CallKey>,
    next_inbound: u64,
    /// When each connection was used last, by the lives of its two ends.
    connections: BTreeMap<(Life, Life), Instant>,
    rng: Rng,
    pub(crate) stats: CallStats,
}

impl Calls {
    pub(crate) const fn new(config: CallConfig, rng: Rng) -> Self {
        Self {
            config,
            open: BTreeMap::new(),
            inbound: BTreeMap::new(),
            next_inbound: 0,
            connections: BTreeMap::new(),
            rng,
            stats: CallStats { made: 0, handshakes: 0, failed: 0, bytes: 0 },
        }
    }

    /// A call begins; how long until its request arrives at a reachable `callee`.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        key: CallKey,
        callee: Life,
        leg: &Leg,
    ) -> Duration {
        self.open.insert(key, callee);
        self.stats.made += 1;
        let pair = (key.caller.min(callee), key.caller.max(callee));
        let idle = self.config.idle_timeout;
        let connected = self.connections.get(&pair).is_some_and(|used| now.since(*used) < idle);
        self.connections.insert(pair, now);
        if self.connections.len() > 100_000 {
            self.connections.retain(|_, used| now.since(*used) < idle);
        }
        let mut delay = Duration::ZERO;
        if !connected {
            self.stats.handshakes += 1;
            delay += leg.rtt + self.retransmissions(leg);
            // A connection of the peer's earlier life must be found dead first.
            let was = (callee.0, callee.1.wrapping_sub(1));
            let before = (key.caller.min(was), key.caller.max(was));
            if self.connections.remove(&before).is_some_and(|used| now.since(used) < idle) {
                delay += self.config.silence;
            }
        }
        delay + self.one_way(leg)
    }

    /// A call to a node that cannot be reached begins; returns the time until it fails.
    pub(crate) fn begin_in_vain(&mut self, key: CallKey) -> Duration {
        self.open.insert(key, key.caller);
        self.stats.made += 1;
        self.config.dial_timeout
    }

    /// The request is at the callee: names it there. `None` if the caller does not wait any more.
    pub(crate) fn arrive(&mut self, key: CallKey) -> Option<InboundId> {
        self.open.contains_key(&key).then(|| {
            let id = InboundId(self.next_inbound);
            self.next_inbound += 1;
            self.inbound.insert(id, key);
            id
        })
    }

    /// A call from outside the network arrives: names it at the callee. Its answer goes to no node.
    pub(crate) const fn foreign(&mut self) -> InboundId {
        self.next_inbound += 1;
        InboundId(self.next_inbound - 1)
    }

    /// The callee answers: who made the call.
    pub(crate) fn answered(&mut self, inbound: InboundId) -> Option<CallKey> {
        self.inbound.remove(&inbound).filter(|key| self.open.contains_key(key))
    }

    /// How long one way takes for what `leg` carries.
    pub(crate) fn one_way(&mut self, leg: &Leg) -> Duration {
        self.stats.bytes += leg.bytes as u64;
        let micros = leg.bytes as u64 * 1_000_000 / self.config.bandwidth.max(1);
        leg.rtt / 2 + Duration::from_micros(micros) + self.retransmissions(leg)
    }

    /// Loss shows as retransmission time-outs, each twice the one before.
    fn retransmissions(&mut self, leg: &Leg) -> Duration {
        let (mut delay, mut timeout) =
            (Duration::ZERO, (leg.rtt * 3 / 2).max(Duration::from_millis(50)));
        while self.rng.chance(leg.loss) && delay < self.config.call_timeout {
            delay += timeout;
            timeout *= 2;
        }
        delay
    }

    /// A call ends. False if it had ended before.
    pub(crate) fn end(&mut self, key: CallKey, failed: bool) -> bool {
        let was_open = self.open.remove(&key).is_some();
        self.stats.failed += u64::from(was_open && failed);
        was_open
    }

    /// A process died: its calls end, and calls to it stay without answer.
    pub(crate) fn forget(&mut self, life: Life) {
        let (from, to) = (
            CallKey { caller: life, call: CallId(0) },
            CallKey { caller: life, call: CallId(u64::MAX) },
        );
        let gone: Vec<CallKey> = self.open.range(from..=to).map(|(key, _)| *key).collect();
        for key in gone {
            self.open.remove(&key);
        }
        let open = &self.open;
        self.inbound.retain(|_, key| open.get(key).is_some_and(|callee| *callee != life));
    }
}

/// What one way of a call is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leg {
    pub(crate) rtt: Duration,
    pub(crate) loss: f64,
    pub(crate) bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Life = (NodeIndex::new(0), 1);
    const B: Life = (NodeIndex::new(1), 1);

    fn leg(bytes: usize) -> Leg {
        Leg { rtt: Duration::from_millis(80), loss: 0.0, bytes }
    }

    fn key(caller: Life, call: u64) -> CallKey {
        CallKey { caller, call: CallId(call) }
    }

    #[test]
    fn only_the_first_call_to_a_peer_pays_for_a_handshake() {
        let mut calls = Calls::new(CallConfig::default(), Rng::from_number(1));
        let now = Instant::from_micros(1);
        assert_eq!(calls.begin(now, key(A, 1), B, &leg(0)), Duration::from_millis(120));
        assert_eq!(calls.begin(now, key(A, 2), B, &leg(125_000)), Duration::from_millis(50));
        assert_eq!(calls.begin(now, key(B, 1), A, &leg(0)), Duration::from_millis(40));
        let later = now + Duration::from_secs(31);
        assert_eq!(calls.begin(later, key(A, 3), B, &leg(0)), Duration::from_millis(120));
        // B restarted: the old connection is given up after a silence.
        let reborn = calls.begin(later, key(A, 4), (B.0, 2), &leg(0));
        assert_eq!(reborn, Duration::from_millis(2120));
    }

    #[test]
    fn a_call_ends_once_and_never_for_a_dead_caller() {
        let mut calls = Calls::new(CallConfig::default(), Rng::from_number(1));
        calls.begin(Instant::ZERO, key(A, 1), B, &leg(0));
        let inbound = calls.arrive(key(A, 1)).expect("the caller waits");
        assert_eq!(calls.answered(inbound), Some(key(A, 1)));
        assert_eq!(calls.answered(inbound), None);
        assert!(calls.end(key(A, 1), false));
        assert!(!calls.end(key(A, 1), true));
        calls.begin(Instant::ZERO, key(A, 2), B, &leg(0));
        calls.forget(A);
        assert_eq!(calls.arrive(key(A, 2)), None);
        assert_eq!((calls.stats.made, calls.stats.failed), (2, 0));
    }
}
