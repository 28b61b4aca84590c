//! The effects of the network on each datagram, and their state, which belongs to the sender.
//!
//! Loss, duplication and reordering are independent for each datagram. A clog delays one direction of a pair
//! for some time.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::Instant;

use crate::draws::Draws;
use crate::network::{Endpoint, Network};

/// Counters of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkStats {
    /// Datagrams handed to the network.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Stopped by a partition.
    pub blocked: u64,
    /// Delivered a second time.
    pub duplicated: u64,
    /// Delayed so that later ones could overtake.
    pub reordered: u64,
    /// Times that a direction was clogged.
    pub clogged: u64,
}

impl NetworkStats {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.lost += other.lost;
        self.blocked += other.blocked;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.clogged += other.clogged;
    }
}

/// When a datagram arrives: never, once or twice.
pub(crate) type Arrivals = [Option<Duration>; 2];

/// One datagram that is being sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    pub(crate) now: Instant,
    pub(crate) from: Endpoint,
    pub(crate) to: Endpoint,
    pub(crate) bytes: usize,
}

/// The lines of the senders of one shard.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    clogs: BTreeMap<(Endpoint, Endpoint), Instant>,
    pub(crate) stats: NetworkStats,
}

impl Lines {
    /// Delays everything from one end to the other until `until`.
    pub(crate) fn clog(&mut self, from: Endpoint, to: Endpoint, until: Instant) {
        self.stats.clogged += 1;
        self.clogs.insert((from, to), until);
    }

    /// Ends all clogs.
    pub(crate) fn clear(&mut self) {
        self.clogs.clear();
    }

    /// Decides the arrivals of one datagram. No delay is shorter than the lookahead of the network.
    pub(crate) fn send(&mut self, network: &Network, draws: &mut Draws, of: Sending) -> Arrivals {
        let Sending { now, from, to, bytes } = of;
        let config = network.config();
        self.stats.sent += 1;
        self.stats.sent_bytes += bytes as u64;
        if network.is_blocked(from, to) {
            self.stats.blocked += 1;
            return [None, None];
        }
        if draws.chance(network.loss_between(from, to)) {
            self.stats.lost += 1;
            return [None, None];
        }
        if config.clog > 0.0 && draws.chance(config.clog) {
            let until = now + config.clog_time.mul_f64(draws.fraction());
            self.clogs.retain(|_, until| *until > now);
            self.clog(from, to, until);
        }
        let held = match self.clogs.is_empty() {
            true => Duration::ZERO,
            false => self.clogs.get(&(from, to)).map_or(Duration::ZERO, |until| until.since(now)),
        };
        let rtt = network.rtt(from, to);
        let first = held + self.one_way(network, draws, rtt);
        let twice = config.duplicate > 0.0 && draws.chance(config.duplicate);
        self.stats.duplicated += u64::from(twice);
        let mut second =
            || held + self.one_way(network, draws, rtt) + self.one_way(network, draws, rtt);
        [Some(first), twice.then(&mut second)]
    }

    fn one_way(&mut self, network: &Network, draws: &mut Draws, rtt: Duration) -> Duration {
        let config = network.config();
        let mut delay = rtt.mul_f64(0.5 * (1.0 + config.jitter * draws.fraction()));
        if config.reorder > 0.0 && draws.chance(config.reorder) {
            self.stats.reordered += 1;
            delay += rtt.mul_f64(2.0 * draws.fraction());
        }
        delay.max(network.lookahead())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{LinkFault, NetworkConfig};
    use crate::sim_node::NodeIndex;

    const A: Endpoint = Endpoint::Node(NodeIndex::new(0));
    const B: Endpoint = Endpoint::Node(NodeIndex::new(1));

    struct Bench {
        network: Network,
        lines: Lines,
        draws: Draws,
    }

    impl Bench {
        fn new(config: NetworkConfig) -> Self {
            let network = Network::new(config, 1);
            Self { network, lines: Lines::default(), draws: Draws::new(1, "lines", 0) }
        }

        fn send(&mut self, from: Endpoint, to: Endpoint) -> Arrivals {
            let of = Sending { now: Instant::ZERO, from, to, bytes: 100 };
            self.lines.send(&self.network, &mut self.draws, of)
        }

        fn lost(&mut self, from: Endpoint, to: Endpoint) -> usize {
            (0..1000).filter(|_| self.send(from, to)[0].is_none()).count()
        }
    }

    #[test]
    fn loss_and_duplication_have_their_shares() {
        let config = NetworkConfig { loss: 0.1, duplicate: 0.05, ..NetworkConfig::default() };
        let mut bench = Bench::new(config);
        for _ in 0..10_000 {
            bench.send(A, B);
        }
        let stats = bench.lines.stats;
        assert!((900..1100).contains(&stats.lost), "{stats:?}");
        assert!((380..520).contains(&stats.duplicated), "{stats:?}");
        assert_eq!(stats.sent_bytes, 1_000_000);
    }

    #[test]
    fn a_bad_line_loses_both_ways_or_one_and_a_bad_pair_only_its_own() {
        const C: Endpoint = Endpoint::Node(NodeIndex::new(2));
        let mut bench = Bench::new(NetworkConfig { loss: 0.0, ..NetworkConfig::default() });
        bench.network.set_fault(A, Some(LinkFault::Loss(0.8)));
        for (from, to, range) in [(A, B, 750..850), (B, A, 750..850), (B, C, 0..1)] {
            assert!(range.contains(&bench.lost(from, to)), "{from:?} to {to:?}");
        }
        for (fault, out, back) in [(LinkFault::Mute, 1000, 0), (LinkFault::Deaf, 0, 1000)] {
            bench.network.set_fault(A, Some(fault));
            assert_eq!((bench.lost(A, B), bench.lost(B, A)), (out, back));
        }
        bench.network.set_fault(A, None);
        bench.network.set_pair_loss(A, B, 0.5);
        assert!((450..550).contains(&bench.lost(A, B)));
        assert_eq!((bench.lost(B, A), bench.lost(A, C)), (0, 0));
        bench.network.set_pair_loss(A, B, 0.0);
        assert_eq!(bench.lost(A, B), 0);
    }

    #[test]
    fn a_clog_holds_one_direction_back() {
        let mut bench = Bench::new(NetworkConfig { loss: 0.0, ..NetworkConfig::default() });
        bench.lines.clog(A, B, Instant::from_micros(5_000_000));
        let ([there, _], [back, _]) = (bench.send(A, B), bench.send(B, A));
        assert!(there > Some(Duration::from_secs(5)));
        assert!(back < Some(Duration::from_secs(1)));
    }

    #[test]
    fn no_datagram_is_faster_than_the_lookahead() {
        let mut bench = Bench::new(NetworkConfig { loss: 0.0, ..NetworkConfig::default() });
        let least = bench.network.lookahead();
        assert_eq!(least, Duration::from_millis(5));
        for number in 0..50_000 {
            let [first, _] = bench.send(A, Endpoint::Node(NodeIndex::new(number)));
            assert!(first >= Some(least));
        }
    }
}
