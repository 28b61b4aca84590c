//! Counters of a node, and their increase per second and in the last minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use potluck::NodeStats;

/// The number of counters that `doctor` reads, each with its position in a [`Row`].
const COUNTED: usize = 14;

/// The counters at one moment.
pub(in crate::http) type Row = [u64; COUNTED];

/// Names of the positions of a row.
pub(super) mod at {
    pub(in crate::http) const REQUESTS: usize = 0;
    pub(in crate::http) const RETRIES: usize = 1;
    pub(in crate::http) const LOOKUPS: usize = 2;
    pub(in crate::http) const LOOKUPS_REFUSED: usize = 3;
    pub(in crate::http) const READS: usize = 4;
    pub(in crate::http) const READS_SHARED: usize = 5;
    pub(in crate::http) const BUSY: usize = 6;
    pub(in crate::http) const GOSSIP: usize = 7;
    pub(in crate::http) const DUPLICATES: usize = 8;
    pub(in crate::http) const OVER_RATE: usize = 9;
    pub(in crate::http) const SEND_FAILED: usize = 10;
    pub(in crate::http) const SEND_FULL: usize = 11;
    pub(in crate::http) const MESSAGES_IN: usize = 12;
    pub(in crate::http) const MESSAGES_OUT: usize = 13;
}

/// The counters of a node now.
pub(in crate::http) fn row(stats: &NodeStats) -> Row {
    let (link, dht, kv) = (&stats.node.link, &stats.node.dht, &stats.node.kv);
    let topics = &stats.node.gossip.topics;
    [
        link.requests_started,
        link.retransmissions,
        dht.lookups_started,
        dht.lookups_refused,
        kv.gets,
        kv.gets_shared,
        kv.commands_busy + stats.node.busy,
        topics.payloads_received,
        topics.duplicates,
        topics.dropped_over_rate,
        stats.socket.send_failed,
        stats.socket.send_full,
        link.datagrams_in,
        link.datagrams_out,
    ]
}

/// The counters of the last minute, one row for each second.
#[derive(Debug, Default)]
pub(in crate::http) struct Minute(VecDeque<(Instant, Row)>);

/// Rows that are kept.
const ROWS: usize = 61;
/// Length of the current period: rates over a shorter one vary too much.
const NOW: Duration = Duration::from_secs(3);

impl Minute {
    /// Adds the counters of a second.
    pub(in crate::http) fn note(&mut self, now: Instant, row: Row) {
        if self.0.len() >= ROWS {
            self.0.pop_front();
        }
        self.0.push_back((now, row));
    }

    /// The increase of each in the last minute.
    pub(super) fn sums(&self) -> Row {
        match (self.0.front(), self.0.back()) {
            (Some((_, first)), Some((_, last))) => {
                std::array::from_fn(|at| last[at].saturating_sub(first[at]))
            }
            _ => Row::default(),
        }
    }

    /// The current increase of each per second.
    pub(super) fn per_second(&self) -> [f64; COUNTED] {
        let Some((now, last)) = self.0.back() else { return [0.0; COUNTED] };
        let before = self.0.iter().find(|(at, _)| now.duration_since(*at) <= NOW);
        let Some((at, first)) = before.filter(|(at, _)| at < now) else { return [0.0; COUNTED] };
        let span = now.duration_since(*at).as_secs_f64();
        std::array::from_fn(|at| last[at].saturating_sub(first[at]) as f64 / span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_of_the_last_minute_and_rates_of_the_last_seconds() {
        let (mut minute, start) = (Minute::default(), Instant::now());
        for second in 0..200_u64 {
            // Ten a second until the last three seconds, then none.
            let count = second.min(196) * 10;
            minute.note(start + Duration::from_secs(second), [count; COUNTED]);
        }
        assert_eq!(minute.sums()[at::REQUESTS], (196 - 139) * 10);
        assert_eq!(minute.per_second()[at::LOOKUPS], 0.0);
        assert_eq!(Minute::default().per_second()[0], 0.0);
    }
}
