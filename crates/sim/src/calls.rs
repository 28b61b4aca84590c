//! Calls: large requests over a reliable connection, modelled as delay and loss.
//!
//! A first call to a peer costs a handshake of one round trip; the connection stays open for some time. Loss
//! does not lose a call but delays it by a retransmission. A call fails, after the timeouts of the real
//! transport, if its peer is down, cut off, too slow, or another node than the one that was meant.
//!
//! **Invariant:** each node knows only its own half of a call. The state of the callee is read when the
//! request arrives, because the two nodes may be in different shards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_base::Instant;
use potluck_node::{CallId, InboundId};

use crate::draws::Draws;
use crate::sim_node::NodeIndex;
use crate::world::HostileIndex;

/// Time-outs and capacity of calls.
#[derive(Debug, Clone, PartialEq)]
pub struct CallConfig {
    /// A call fails after this if the peer does not complete the handshake.
    pub dial_timeout: Duration,
    /// A call fails after this in any case.
    pub call_timeout: Duration,
    /// A connection to an earlier life of the peer is dropped after this.
    pub silence: Duration,
    /// A connection that was unused for this long is closed.
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

/// The number and results of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallStats {
    /// Calls made.
    pub made: u64,
    /// Handshakes for these calls.
    pub handshakes: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Bytes of requests and answers.
    pub bytes: u64,
}

impl CallStats {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.made += other.made;
        self.handshakes += other.handshakes;
        self.failed += other.failed;
        self.bytes += other.bytes;
    }
}

/// Connections of a node above which idle ones are closed.
const CONNECTIONS_MAX: usize = 1_000;

/// An end of a connection at one node.
#[derive(Debug, Clone, Copy)]
struct Connection {
    used: Instant,
    /// The life of the peer, after it was heard.
    life: Option<u32>,
}

/// The begin of a call at its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// With a handshake.
    Dial,
    /// Over an open connection, to this life of the callee if the caller knows it.
    Connected(Option<u32>),
}

/// The calls of one node: its own and those of other nodes to it.
#[derive(Debug, Default)]
pub(crate) struct NodeCalls {
    open: BTreeSet<CallId>,
    inbound: BTreeMap<InboundId, CallKey>,
    /// Calls of hostile members.
    hostile: BTreeMap<InboundId, HostileIndex>,
    next_inbound: u64,
    connections: BTreeMap<NodeIndex, Connection>,
}

impl NodeCalls {
    /// Begins a call to `callee`.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        call: CallId,
        callee: NodeIndex,
        idle: Duration,
    ) -> Begins {
        self.open.insert(call);
        if self.connections.len() > CONNECTIONS_MAX {
            self.connections.retain(|_, end| now.since(end.used) < idle);
        }
        let known = self.connections.get(&callee).filter(|end| now.since(end.used) < idle);
        let (begins, life) = match known {
            Some(end) => (Begins::Connected(end.life), end.life),
            None => (Begins::Dial, None),
        };
        self.connections.insert(callee, Connection { used: now, life });
        begins
    }

    /// Begins a call to a node that cannot be reached.
    pub(crate) fn begin_in_vain(&mut self, call: CallId) {
        self.open.insert(call);
    }

    /// Records that this life of a peer sent something over a connection.
    pub(crate) fn heard(&mut self, now: Instant, (peer, life): Life) {
        self.connections.insert(peer, Connection { used: now, life: Some(life) });
    }

    /// A handshake with a peer has failed.
    pub(crate) fn disconnect(&mut self, peer: NodeIndex) {
        self.connections.remove(&peer);
    }

    /// A request arrives. Returns its id at this node.
    pub(crate) fn arrive(&mut self, key: CallKey) -> InboundId {
        let id = self.name();
        self.inbound.insert(id, key);
        id
    }

    /// A call of a hostile member arrives. Returns its id at this node.
    pub(crate) fn hostile(&mut self, from: HostileIndex) -> InboundId {
        let id = self.name();
        self.hostile.insert(id, from);
        id
    }

    const fn name(&mut self) -> InboundId {
        self.next_inbound += 1;
        InboundId(self.next_inbound - 1)
    }

    /// The node answers the call of this hostile member.
    pub(crate) fn answered_hostile(&mut self, inbound: InboundId) -> Option<HostileIndex> {
        self.hostile.remove(&inbound)
    }

    /// The node answers the call of this caller.
    pub(crate) fn answered(&mut self, inbound: InboundId) -> Option<CallKey> {
        self.inbound.remove(&inbound)
    }

    /// A call of this node ends. False if it had ended before.
    pub(crate) fn end(&mut self, call: CallId) -> bool {
        self.open.remove(&call)
    }

    /// The process died: its calls end, and calls to it get no answer.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
        self.inbound.clear();
        self.hostile.clear();
        self.connections.clear();
    }
}

/// The path of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leg {
    pub(crate) rtt: Duration,
    pub(crate) loss: f64,
    pub(crate) bytes: usize,
}

impl Leg {
    /// The time that one direction takes.
    pub(crate) fn one_way(&self, config: &CallConfig, draws: &mut Draws) -> Duration {
        let micros = self.bytes as u64 * 1_000_000 / config.bandwidth.max(1);
        self.rtt / 2 + Duration::from_micros(micros) + self.retransmissions(config, draws)
    }

    /// The time that a handshake takes.
    pub(crate) fn handshake(&self, config: &CallConfig, draws: &mut Draws) -> Duration {
        self.rtt + self.retransmissions(config, draws)
    }

    /// The delay by loss: retransmission timeouts, each twice the one before.
    fn retransmissions(&self, config: &CallConfig, draws: &mut Draws) -> Duration {
        let (mut delay, mut timeout) =
            (Duration::ZERO, (self.rtt * 3 / 2).max(Duration::from_millis(50)));
        while draws.chance(self.loss) && delay < config.call_timeout {
            delay += timeout;
            timeout *= 2;
        }
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Life = (NodeIndex::new(0), 1);
    const B: Life = (NodeIndex::new(1), 1);
    const IDLE: Duration = Duration::from_secs(30);

    #[test]
    fn only_the_first_call_to_a_peer_dials_until_the_connection_is_idle() {
        let (mut a, mut b) = (NodeCalls::default(), NodeCalls::default());
        let now = Instant::from_micros(1);
        assert_eq!(a.begin(now, CallId(1), B.0, IDLE), Begins::Dial);
        assert_eq!(a.begin(now, CallId(2), B.0, IDLE), Begins::Connected(None));
        // The connection serves both directions, and each end learns the life of the other.
        b.heard(now, A);
        assert_eq!(b.begin(now, CallId(1), A.0, IDLE), Begins::Connected(Some(1)));
        a.heard(now, B);
        assert_eq!(a.begin(now, CallId(3), B.0, IDLE), Begins::Connected(Some(1)));
        assert_eq!(a.begin(now + IDLE, CallId(4), B.0, IDLE), Begins::Dial);
        a.disconnect(B.0);
        assert_eq!(a.begin(now + IDLE, CallId(5), B.0, IDLE), Begins::Dial);
    }

    #[test]
    fn a_leg_takes_half_a_round_trip_and_the_time_of_its_bytes() {
        let (config, mut draws) = (CallConfig::default(), Draws::new(1, "calls", 0));
        let leg = |bytes, loss| Leg { rtt: Duration::from_millis(80), loss, bytes };
        let millis = Duration::from_millis;
        assert_eq!(leg(0, 0.0).one_way(&config, &mut draws), millis(40));
        assert_eq!(leg(125_000, 0.0).one_way(&config, &mut draws), millis(50));
        assert_eq!(leg(0, 0.0).handshake(&config, &mut draws), millis(80));
        let lost = leg(0, 1.0).one_way(&config, &mut draws);
        assert!(lost > config.call_timeout, "{lost:?}");
    }

    #[test]
    fn a_call_ends_once_and_never_for_a_dead_caller() {
        let (mut a, mut b) = (NodeCalls::default(), NodeCalls::default());
        a.begin(Instant::ZERO, CallId(1), B.0, IDLE);
        let key = CallKey { caller: A, call: CallId(1) };
        let inbound = b.arrive(key);
        let hostile = b.hostile(HostileIndex::new(3));
        assert_ne!(hostile, inbound);
        assert_eq!(b.answered(hostile), None, "it is no node's");
        assert_eq!(b.answered_hostile(hostile), Some(HostileIndex::new(3)));
        assert_eq!(b.answered_hostile(hostile), None);
        assert_eq!(b.answered(inbound), Some(key));
        assert_eq!(b.answered(inbound), None);
        assert!(a.end(CallId(1)) && !a.end(CallId(1)));
        a.begin(Instant::ZERO, CallId(2), B.0, IDLE);
        a.forget();
        assert!(!a.end(CallId(2)));
    }
}
