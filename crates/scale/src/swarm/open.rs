//! Readers that arrive one after the other and leave: the missing piece (Hajek and Zhu, IEEE IT 2012).
//!
//! The model of the paper: random contacts, a random useful piece, exponential times.

use crate::draw::Stream;

/// An open swarm. Rates are per second; a peer sends one piece a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Open {
    /// Peers that arrive, without a piece.
    pub arrivals: f64,
    /// Pieces that the permanent seed sends.
    pub seed_rate: f64,
    /// Pieces of the file, at most 63.
    pub pieces: u32,
    /// Mean seconds that a peer stays after it is complete.
    pub stay: f64,
    /// Seconds of the run.
    pub seconds: f64,
    /// The same seed gives the same run.
    pub seed: u64,
}

/// A swarm of this size is growing and is not simulated further.
const PEERS_MAX: usize = 200_000;

/// The number of peers without the whole file, at eight equally spaced times.
#[must_use]
pub fn peers_present(setting: &Open) -> [usize; 8] {
    let mut draws = Stream::new(setting.seed, 62);
    let full = (1u64 << setting.pieces.clamp(1, 63)) - 1;
    let (mut peers, mut seeds): (Vec<u64>, usize) = (Vec::new(), 0);
    let (mut present, mut instant, mut time) = ([0; 8], 0, 0.0);
    while instant < 8 {
        let senders = peers.len() + seeds;
        let leave = if setting.stay > 0.0 { seeds as f64 / setting.stay } else { 0.0 };
        let rate = setting.arrivals + setting.seed_rate + senders as f64 + leave;
        time += draws.exponential(1.0 / rate.max(1e-9));
        while instant < 8 && time >= setting.seconds * (instant + 1) as f64 / 8.0 {
            present[instant] = peers.len();
            instant += 1;
        }
        if peers.len() >= PEERS_MAX {
            present[instant.min(7)..].fill(peers.len());
            break;
        }
        let what = draws.unit() * rate;
        let have = if what < setting.arrivals {
            peers.push(0);
            continue;
        } else if what < setting.arrivals + leave {
            seeds = seeds.saturating_sub(1);
            continue;
        } else if what < setting.arrivals + leave + setting.seed_rate {
            full
        } else {
            peers.get(draws.below(senders)).copied().unwrap_or(full)
        };
        if peers.is_empty() {
            continue;
        }
        let receiver = draws.below(peers.len());
        let useful = have & !peers[receiver];
        if useful == 0 {
            continue;
        }
        let mut rest = useful;
        for _ in 0..draws.below(useful.count_ones() as usize) {
            rest &= rest - 1;
        }
        peers[receiver] |= rest & rest.wrapping_neg();
        if peers[receiver] == full {
            peers.swap_remove(receiver);
            seeds += usize::from(setting.stay > 0.0);
        }
    }
    present
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(arrivals: f64, seed_rate: f64, stay: f64) -> usize {
        peers_present(&Open { arrivals, seed_rate, pieces: 10, stay, seconds: 2000.0, seed: 1 })[7]
    }

    #[test]
    fn a_swarm_grows_if_arrivals_exceed_the_seed_and_peers_leave_at_once() {
        assert!(end(0.6, 1.0, 0.0) < 60);
        assert!(end(2.0, 1.0, 0.0) > 400);
        assert!(end(3.0, 0.2, 1.2) < 150, "peers that stay for more than a piece are enough");
        assert!(end(3.0, 0.2, 0.5) > 400);
    }
}
