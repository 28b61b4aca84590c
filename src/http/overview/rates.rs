//! Counters of a node turned into rates, once a second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use potluck::NodeStats;
use potluck_wire::Purpose;

use super::lookups::Figures;
use crate::api::InOut;

/// Period that rates are over. A longer one smooths them more.
const SPAN: Duration = Duration::from_secs(5);
/// Readings that are kept: one a second, and a few that came in between.
const LOOKS_MAX: usize = 16;

const PURPOSES: usize = Purpose::ALL.len();

/// Counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) socket_bytes: [u64; 2],
    pub(super) datagrams: [u64; 2],
    /// By purpose: received, sent.
    pub(super) purposes: [[u64; 2]; PURPOSES],
    pub(super) lookups: u64,
    pub(super) cpu_ms: u64,
}

impl Counters {
    pub(super) fn of(stats: &NodeStats, cpu_ms: u64) -> Self {
        let (link, calls, socket) = (&stats.node.link, &stats.transport, &stats.socket);
        Self {
            socket_bytes: [socket.received_bytes, socket.sent_bytes],
            datagrams: [link.datagrams_in, link.datagrams_out],
            purposes: Purpose::ALL.map(|of| {
                let (link, calls) = (&link.traffic, &calls.traffic);
                [link.received(of) + calls.received(of), link.sent(of) + calls.sent(of)]
            }),
            lookups: stats.node.dht.lookups_started,
            cpu_ms,
        }
    }
}

/// The increase of the counters per second.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::http) struct PerSecond {
    pub(super) socket_bytes: InOut,
    pub(super) datagrams: InOut,
    /// Bytes by purpose.
    pub(super) purposes: [InOut; PURPOSES],
    pub(super) lookups: f64,
    pub(in crate::http) cpu_percent: f64,
}

/// The last readings of the counters.
#[derive(Debug, Default)]
pub(super) struct Looks(VecDeque<(Instant, Counters)>);

impl Looks {
    /// Adds a reading of the counters and returns the rates since the reading [`SPAN`] ago, or the oldest
    /// one.
    pub(super) fn note(&mut self, now: Instant, counters: Counters) -> PerSecond {
        while self.0.len() >= LOOKS_MAX
            || self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= SPAN)
        {
            self.0.pop_front();
        }
        let before = self.0.front().copied();
        self.0.push_back((now, counters));
        let Some((at, before)) = before else { return PerSecond::default() };
        let span = now.duration_since(at).as_secs_f64();
        if span < 0.2 {
            return PerSecond::default();
        }
        let rate = |now: u64, before: u64| {
            (now.saturating_sub(before) as f64 / span * 10.0).round() / 10.0
        };
        let both = |now: [u64; 2], before: [u64; 2]| InOut {
            r#in: rate(now[0], before[0]),
            out: rate(now[1], before[1]),
        };
        PerSecond {
            socket_bytes: both(counters.socket_bytes, before.socket_bytes),
            datagrams: both(counters.datagrams, before.datagrams),
            purposes: std::array::from_fn(|of| both(counters.purposes[of], before.purposes[of])),
            lookups: rate(counters.lookups, before.lookups),
            cpu_percent: rate(counters.cpu_ms, before.cpu_ms) / 10.0,
        }
    }
}

/// The values of one second in the history.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) alive: usize,
    pub(super) suspect: usize,
    pub(super) peers: usize,
    pub(super) bytes: InOut,
    pub(super) messages: InOut,
    pub(super) lookups_per_second: f64,
    pub(super) lookup_p99_ms: f64,
    pub(in crate::http) cpu_percent: f64,
    pub(super) memory_bytes: u64,
    pub(super) records: u64,
}

impl Sample {
    pub(super) fn of(stats: &NodeStats, rates: &PerSecond, lookups: &Figures) -> Self {
        Self {
            alive: stats.node.gossip.members.alive + 1,
            suspect: stats.node.gossip.members.suspect,
            peers: stats.node.dht.contacts,
            bytes: rates.socket_bytes,
            messages: rates.datagrams,
            lookups_per_second: rates.lookups,
            lookup_p99_ms: lookups.p99_ms,
            cpu_percent: rates.cpu_percent,
            memory_bytes: stats.memory_bytes.unwrap_or(0),
            records: stats.store.stats.records,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_last_five_seconds() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let mut at = |second: u64, lookups: u64| {
            let counters = Counters { lookups, cpu_ms: lookups * 10, ..Counters::default() };
            looks.note(start + Duration::from_secs(second), counters)
        };
        assert_eq!(at(0, 100).lookups, 0.0, "one look is no rate");
        assert_eq!(at(1, 110).lookups, 10.0);
        for second in 2..=5 {
            at(second, 110);
        }
        let last = at(7, 110);
        assert_eq!((last.lookups, last.cpu_percent), (0.0, 0.0), "what was is forgotten");
        let busy = at(8, 170);
        assert_eq!((busy.lookups, busy.cpu_percent), (12.0, 12.0));
    }
}
