use super::*;

fn at(seconds: u64) -> Facts {
    let uptime = Duration::from_secs(seconds);
    Facts { uptime, alone_for: Some(uptime), ..Facts::default() }
}

/// A node that other nodes answer.
fn well() -> Facts {
    Facts { joined: true, peers: 3, peers_before: 3, alone_for: None, ..at(100) }
}

fn said(facts: &Facts) -> (Health, Vec<&'static str>) {
    let verdict = judge(facts);
    assert_eq!(verdict.is_ready(), verdict.health != Health::Offline);
    assert_eq!(verdict.health == Health::Ok, verdict.reasons.is_empty());
    (verdict.health, verdict.reasons.iter().map(|reason| reason.code).collect())
}

#[test]
fn a_node_that_others_answer_and_one_that_was_always_alone_are_well() {
    assert_eq!(said(&well()), (Health::Ok, vec![]));
    for seconds in [0, 10, 100] {
        assert_eq!(said(&at(seconds)), (Health::Ok, vec![]), "{seconds}");
    }
    // All others have left.
    let last = Facts { joined: true, ..at(100) };
    assert_eq!(said(&last), (Health::Ok, vec![]));
    // Joined through an entry point.
    let entered =
        Facts { entry_points: 2, entry_points_tried: 2, entry_points_answered: 1, ..well() };
    assert_eq!(said(&entered), (Health::Ok, vec![]));
}

#[test]
fn a_restart_without_peers_waits_for_them_and_then_works_alone() {
    let alone = |seconds| Facts { peers_before: 2, ..at(seconds) };
    for seconds in [0, 29] {
        assert_eq!(said(&alone(seconds)), (Health::Offline, vec!["network.waiting"]), "{seconds}");
    }
    assert_eq!(said(&alone(30)), (Health::Degraded, vec!["network.alone"]));
    // One peer answers: the node is joining through it, then all is well.
    let entering = Facts { peers: 1, alone_for: None, ..alone(3) };
    assert_eq!(said(&entering), (Health::Offline, vec!["network.joining"]));
    assert_eq!(said(&Facts { joined: true, ..entering }), (Health::Ok, vec![]));
}

#[test]
fn a_joined_node_that_hears_no_other_is_cut_off_with_and_without_entry_points() {
    for (entry_points, peers_before) in [(0, 3), (1, 3), (1, 0)] {
        let cut = Facts { peers: 0, peers_before, entry_points, ..well() };
        let cut = Facts { alone_for: Some(Duration::from_secs(250)), ..cut };
        assert_eq!(said(&cut), (Health::Offline, vec!["network.cut-off"]));
        let sentence = &judge(&cut).sentences()[0];
        assert!(sentence.contains("heard for 4 minutes"), "{sentence}");
        assert!(!sentence.contains("entry point"), "it had answered: {sentence}");
    }
}

#[test]
fn an_entry_point_that_never_answered_stays_a_reason() {
    for seconds in [1, 100_000] {
        let facts = Facts { entry_points: 2, entry_points_tried: 1, ..at(seconds) };
        assert_eq!(said(&facts), (Health::Offline, vec!["network.entry"]));
    }
}

#[test]
fn the_last_resort_is_told_where_it_is_used_and_what_it_has_brought() {
    let alone = Facts { entry_points: 1, entry_points_tried: 1, ..at(9) };
    assert!(!judge(&alone).sentences()[0].contains("dns_fallback"));
    let used = Facts { fallback: 2, ..alone };
    assert_eq!(said(&used), (Health::Offline, vec!["network.entry"]));
    let sentence = &judge(&used).sentences()[0];
    assert!(
        sentence
            .ends_with("the 2 names of [network] dns_fallback are asked too and lead to no node")
    );
    // Nodes that found each other by `dns_fallback` know that their entry points are gone.
    let half = Facts { entry_points: 1, fallback: 1, fallback_answered: 1, ..well() };
    assert_eq!(said(&half), (Health::Degraded, vec!["network.fallback"]));
    assert_eq!(said(&Facts { entry_points: 0, ..half }).0, Health::Ok, "no entry point was named");
    let cut_off = Facts { peers: 0, fallback: 1, ..well() };
    let sentence = &judge(&cut_off).sentences()[0];
    assert!(sentence.contains("heard") && sentence.contains("leads to no node"), "{sentence}");
}

#[test]
fn a_revoked_node_is_told_so_and_not_to_try_again() {
    let flooded = Facts { stamps_needed: true, ..well() };
    assert_eq!(said(&flooded), (Health::Degraded, vec!["store.stamps"]));
    let unsolved = Facts { own_trouble: Some(OwnTrouble::Unsolved), ..well() };
    assert_eq!(said(&unsolved), (Health::Offline, vec!["member.unsolved"]));
    let out = Facts { own_trouble: Some(OwnTrouble::Revoked), ..well() };
    assert_eq!(said(&out), (Health::Offline, vec!["member.revoked"]));
    let silent = Facts { peers: 0, invite: true, ..out };
    assert_eq!(said(&silent), (Health::Offline, vec!["member.revoked"]));
    let sentence = &judge(&silent).sentences()[0];
    assert!(sentence.contains("new ticket") && !sentence.contains("try"), "{sentence}");
    let expired = Facts { own_trouble: Some(OwnTrouble::Expired), ..well() };
    assert_eq!(said(&expired), (Health::Degraded, vec!["member.expired"]));
    assert_eq!(said(&Facts { peers: 0, ..expired }).0, Health::Offline);
    // Revoked without notice: the silence of all others may have that cause.
    let unsaid = Facts { peers: 0, invite: true, ..well() };
    assert!(judge(&unsaid).sentences()[0].contains("put out"));
}

#[test]
fn a_full_store_is_degraded_and_a_stopped_one_cannot_be_used() {
    let full = Facts { store: StoreState::Full, ..well() };
    assert_eq!(said(&full), (Health::Degraded, vec!["store.full"]));
    let healing = Facts { store: StoreState::Healing, ..well() };
    assert_eq!(said(&healing), (Health::Degraded, vec!["store.healing"]));
    let stopped = Facts { store: StoreState::Stopped("an I/O error".into()), ..well() };
    assert_eq!(said(&stopped), (Health::Offline, vec!["store.stopped"]));
    assert!(judge(&stopped).sentences()[0].contains("an I/O error"));
}

#[test]
fn a_clock_that_is_off_by_more_than_a_minute_is_told_with_its_direction() {
    let with = |offset| Facts { clock_offset_ms: Some(offset), ..well() };
    for fine in [0, 60_000, -60_000] {
        assert_eq!(said(&with(fine)), (Health::Ok, vec![]), "{fine}");
    }
    for (offset, words) in [
        (600_000, "10 minutes behind those of the other nodes, so it writes nothing"),
        (-61_000, "61 s ahead of those of the other nodes, and above five minutes"),
    ] {
        assert_eq!(said(&with(offset)), (Health::Degraded, vec!["clock.off"]));
        let sentence = &judge(&with(offset)).sentences()[0];
        assert!(sentence.contains(words), "{sentence}");
    }
    assert_eq!(said(&with(i64::MIN)).0, Health::Degraded);
}

#[test]
fn several_reasons_are_listed_with_the_worst_first() {
    let facts = Facts {
        peers: 0,
        clock_offset_ms: Some(-90_000),
        identity_elsewhere: true,
        leaving: true,
        renewal_trouble: Some("it could not be renewed".into()),
        ..well()
    };
    let (health, codes) = said(&facts);
    assert_eq!(health, Health::Offline);
    assert_eq!(
        codes,
        ["network.cut-off", "identity.elsewhere", "clock.off", "member.renewal", "node.leaving"]
    );
}
