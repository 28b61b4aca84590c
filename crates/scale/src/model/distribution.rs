//! One file for many readers: a server against a swarm.

/// Seconds until `readers` have `file_bits` from one server: `max(N F / us, F / d)` (Kumar and Ross, 2006).
#[must_use]
pub fn client_server_seconds(
    readers: f64,
    file_bits: f64,
    server_bits: f64,
    down_bits: f64,
) -> f64 {
    let (server, down) = (server_bits.max(1.0), down_bits.max(1.0));
    (readers.max(1.0) * file_bits / server).max(file_bits / down)
}

/// The least seconds in which they can have it from the server and from each other: `max(F / us, F / d, N F /
/// (us + N u))` (Kumar and Ross, *Peer-assisted file distribution: the minimum distribution time*, HotWeb
/// 2006). No swarm is faster, and infinitely small pieces reach it.
#[must_use]
pub fn peer_to_peer_seconds(
    readers: f64,
    file_bits: f64,
    server_bits: f64,
    up_bits: f64,
    down_bits: f64,
) -> f64 {
    let (readers, server, down) = (readers.max(1.0), server_bits.max(1.0), down_bits.max(1.0));
    let together = readers * file_bits / (server + readers * up_bits.max(0.0));
    (file_bits / server).max(file_bits / down).max(together)
}

/// The fewest rounds in which one seed and `readers` with equal uplinks of one piece a round pass `pieces`
/// to all: `M + floor(log2 N)` (Mundinger, Weber and Weiss, 2008).
#[must_use]
pub fn swarm_rounds(pieces: u32, readers: u32) -> u32 {
    pieces + readers.max(1).ilog2()
}

/// Seconds of a download in a steady swarm: `max(1 / c, (1 / eta) (1 / mu - 1 / gamma))`, where `up_rate`
/// (mu) and `down_rate` (c) are files a second and seeds leave at `leave_rate` (gamma); `eta` is the share
/// of the uplinks that is used, near 1 with many pieces (Qiu and Srikant, SIGCOMM 2004).
#[must_use]
pub fn swarm_steady_seconds(up_rate: f64, down_rate: f64, leave_rate: f64, eta: f64) -> f64 {
    let (up, down) = (up_rate.max(1e-12), down_rate.max(1e-12));
    let by_uplinks = (1.0 / up - 1.0 / leave_rate.max(1e-12)) / eta.clamp(0.01, 1.0);
    (1.0 / down).max(by_uplinks)
}

/// Whether a swarm stays bounded: peers arrive at `arrivals` a second, the permanent seed sends `seed_pieces`
/// a second, a peer sends `peer_pieces` a second and stays for `stay_seconds` on average after it is
/// complete. It is stable if the seed alone serves the arrivals, or if a peer sends at least one piece as a
/// seed (Hajek and Zhu, *The missing piece syndrome*, IEEE IT 2012, arXiv 1002.3493).
#[must_use]
pub fn swarm_is_stable(
    arrivals: f64,
    seed_pieces: f64,
    peer_pieces: f64,
    stay_seconds: f64,
) -> bool {
    let sent_as_seed = peer_pieces * stay_seconds;
    sent_as_seed >= 1.0 || arrivals * (1.0 - sent_as_seed) < seed_pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIGABYTE_BITS: f64 = 8e9;

    #[test]
    fn ten_million_readers_need_years_of_a_server_and_minutes_of_each_other() {
        let server = client_server_seconds(1e7, GIGABYTE_BITS, 1e9, 1e8);
        let peers = peer_to_peer_seconds(1e7, GIGABYTE_BITS, 1e9, 2e7, 1e8);
        assert!((server / 86_400.0 - 926.0).abs() < 1.0 && (peers - 400.0).abs() < 1.0);
        assert_eq!(swarm_rounds(256, 1000), 265);
    }

    #[test]
    fn a_swarm_is_stable_by_its_seed_or_by_peers_that_stay() {
        for (arrivals, seed, stay, stable) in [
            (0.6, 1.0, 0.0, true),
            (1.5, 1.0, 0.0, false),
            (3.0, 0.2, 1.2, true),
            (3.0, 0.2, 0.5, false),
            (1.5, 1.0, 0.5, true),
        ] {
            assert_eq!(
                swarm_is_stable(arrivals, seed, 1.0, stay),
                stable,
                "{arrivals} {seed} {stay}"
            );
        }
        assert!((swarm_steady_seconds(0.01, 0.1, 0.02, 1.0) - 50.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn peers_never_take_longer_than_a_server(n in 1.0..1e9f64, server in 1e3..1e12f64, up in 0.0..1e9f64, down in 1e3..1e10f64) {
            let alone = client_server_seconds(n, GIGABYTE_BITS, server, down);
            let peers = peer_to_peer_seconds(n, GIGABYTE_BITS, server, up, down);
            prop_assert!(peers <= alone * 1.000_001);
            prop_assert!(client_server_seconds(n * 2.0, GIGABYTE_BITS, server, down) >= alone);
            prop_assert!(peer_to_peer_seconds(n, GIGABYTE_BITS, server, up * 2.0, down) <= peers);
        }
    }
}
