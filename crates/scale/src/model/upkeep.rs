//! The costs of a node for the network: checks, repair, memory.

/// Bytes a second of a node, sent and received alike, to keep `unique_bytes` for each node of the network on
/// `replicas` nodes whose membership lasts `life_seconds`: `2 r D / L`. A node that leaves is replaced once
/// (its replicas are copied), and a node that joins takes its replicas over once (Blake and Rodrigues,
/// HotOS 2003).
#[must_use]
pub fn repair_bytes_a_second(unique_bytes: f64, replicas: u32, life_seconds: f64) -> f64 {
    2.0 * f64::from(replicas) * unique_bytes.max(0.0) / life_seconds.max(1.0)
}

/// The most unique bytes that a node can contribute if repair may use `bytes_a_second`: the same formula,
/// solved for D.
#[must_use]
pub fn unique_bytes_max(bytes_a_second: f64, replicas: u32, life_seconds: f64) -> f64 {
    bytes_a_second.max(0.0) * life_seconds.max(1.0) / (2.0 * f64::from(replicas.max(1)))
}

/// Files that a network of strangers would have to keep although no node needs them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Files {
    /// Bytes that each node adds to the network.
    pub bytes_a_node: f64,
    /// Nodes that keep each file.
    pub replicas: u32,
    /// How long a node remains a member.
    pub life_seconds: f64,
    /// Bytes a second that a node may send.
    pub uplink_bytes_a_second: f64,
}

/// Whether strangers can keep these files with at most `share` of their uplinks.
#[must_use]
pub fn files_fit(files: &Files, share: f64) -> bool {
    repair_bytes_a_second(files.bytes_a_node, files.replicas, files.life_seconds)
        <= files.uplink_bytes_a_second * share
}

/// Bytes a second, sent and received together, of checking `contacts` each `interval_seconds` by a request
/// and an answer of `datagram_bytes` each, both ways: a node checks its contacts and is checked by as many.
#[must_use]
pub fn check_bytes_a_second(contacts: f64, interval_seconds: f64, datagram_bytes: f64) -> f64 {
    contacts.max(0.0) / interval_seconds.max(0.1) * 2.0 * datagram_bytes.max(0.0)
}

/// Mean share of dead contacts in a table whose contacts are checked each `check_seconds` while nodes stay
/// `session_seconds` on average: `1 - (1 - e^-x) / x` with `x = R / L`, about `R / 2L`.
#[must_use]
pub fn stale_share(check_seconds: f64, session_seconds: f64) -> f64 {
    let x = check_seconds.max(0.0) / session_seconds.max(1.0);
    if x < 1e-6 { x / 2.0 } else { 1.0 + (-x).exp_m1() / x }
}

/// Bytes of memory of a node: what it takes alone, its contacts, and its records' entries.
#[must_use]
pub fn memory_bytes(
    base_bytes: f64,
    contacts: f64,
    contact_bytes: f64,
    records: f64,
    record_bytes: f64,
) -> f64 {
    base_bytes.max(0.0)
        + contacts.max(0.0) * contact_bytes.max(0.0)
        + records.max(0.0) * record_bytes.max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_megabyte_is_kept_among_strangers_and_a_gigabyte_is_not() {
        let session = 2.9 * 3600.0;
        assert!((repair_bytes_a_second(1e6, 16, session) - 3065.0).abs() < 5.0);
        let files = |bytes_a_node| Files {
            bytes_a_node,
            replicas: 3,
            life_seconds: session,
            uplink_bytes_a_second: 20e6 / 8.0,
        };
        assert!(files_fit(&files(1e6), 0.1) && !files_fit(&files(1e9), 0.1));
    }

    #[test]
    fn a_minute_of_three_hours_is_a_small_share() {
        assert!((stale_share(60.0, 2.9 * 3600.0) - 0.003).abs() < 0.0002);
        assert!((stale_share(1e9, 1.0) - 1.0).abs() < 1e-6);
        assert!((check_bytes_a_second(370.0, 60.0, 200.0) - 2467.0).abs() < 1.0);
    }

    proptest! {
        #[test]
        fn longer_lives_cost_less(bytes in 0.0..1e12f64, r in 1u32..32, life in 1.0..1e8f64) {
            let cost = repair_bytes_a_second(bytes, r, life);
            prop_assert!(repair_bytes_a_second(bytes, r, life * 2.0) <= cost);
            prop_assert!(repair_bytes_a_second(bytes, r + 1, life) >= cost);
            prop_assert!((unique_bytes_max(cost, r, life) - bytes).abs() <= bytes * 1e-9 + 1e-9);
        }

        #[test]
        fn slower_checks_are_cheaper_and_staler(check in 1.0..1e5f64, session in 1.0..1e6f64) {
            prop_assert!(stale_share(check * 2.0, session) > stale_share(check, session));
            prop_assert!(stale_share(check, session * 2.0) < stale_share(check, session));
            prop_assert!(check_bytes_a_second(100.0, check * 2.0, 200.0) < check_bytes_a_second(100.0, check, 200.0));
            prop_assert!(memory_bytes(1.0, check + 1.0, 60.0, 0.0, 0.0) > memory_bytes(1.0, check, 60.0, 0.0, 0.0));
        }
    }
}
