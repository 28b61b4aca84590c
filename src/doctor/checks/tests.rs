//! Tests each symptom as evidence, and healthy networks in which the checks must find nothing.

use super::super::{
    Certificate, Entry, Evidence, Flap, Folder, Load, LookupFacts, Machine, MemberFacts, NodeFacts,
    RecordFacts, Replicas, Settings, Socket, Trouble, codes, judge,
};
use crate::api::{CommandTimes, ReasonView, Transfer};

/// A node in a network of `members` without any fault.
fn healthy(members: usize) -> Evidence {
    let node = NodeFacts {
        uptime_seconds: 600,
        members: MemberFacts { alive: members, ..MemberFacts::default() },
        contacts: members - 1,
        capacity: 1024,
        settings: Settings {
            replication: 16,
            republish_seconds: None,
            default_ttl_seconds: 30 * 86_400,
            gossip_interval_ms: 1_000,
            stabilisation_seconds: 60,
        },
        records: RecordFacts {
            asked: vec![replicas(members.min(16))],
            names: 1,
            ..Default::default()
        },
        lookups: LookupFacts {
            count: 20,
            p50_ms: 1.0,
            p99_ms: 8.0,
            requests: 200,
            timeouts: 2,
            round_trip_ms: 0.4,
            network_size: members as u64,
            ..LookupFacts::default()
        },
        ..NodeFacts::default()
    };
    let machine = Machine {
        disk_free_bytes: Some(50 << 30),
        disk_total_bytes: Some(100 << 30),
        disk_pressure_percent: Some(0.0),
        memory_bytes: Some(40 << 20),
        memory_limit_bytes: Some(8 << 30),
        memory_wanted_bytes: Some(256 << 20),
        descriptors_max: Some(1024),
        descriptors_open: Some(40),
        socket: Some(Socket { receive_buffer_bytes: 425_984, drops: Some(0), ..Socket::default() }),
    };
    Evidence { node: Some(node), machine, folder: None }
}

fn replicas(equal: usize) -> Replicas {
    Replicas { name: "config/a".into(), wanted: equal, equal, values: 1, ..Replicas::default() }
}

/// The codes found after this change in a healthy network of twelve.
fn found(change: impl FnOnce(&mut NodeFacts, &mut Machine)) -> Vec<String> {
    let mut evidence = healthy(12);
    if let Some(node) = &mut evidence.node {
        change(node, &mut evidence.machine);
    }
    codes_of(&evidence)
}

fn codes_of(evidence: &Evidence) -> Vec<String> {
    judge(evidence).findings.into_iter().map(|finding| finding.code).collect()
}

fn trouble(seconds: u64, state: &str) -> Trouble {
    Trouble { who: "ab (x)".into(), address: "10.0.0.1:1".into(), state: state.into(), seconds }
}

#[test]
fn healthy_networks_have_no_findings() {
    for members in [1, 2, 5, 12, 100, 1000] {
        assert_eq!(codes_of(&healthy(members)), Vec::<String>::new(), "{members} members");
    }
    // A node that has just started has no figures yet.
    let mut fresh = healthy(1);
    fresh.node = Some(NodeFacts {
        members: MemberFacts { alive: 1, ..Default::default() },
        ..Default::default()
    });
    assert_eq!(codes_of(&fresh), Vec::<String>::new());
    // Two hundred operations a second are work and no fault.
    let load = Load {
        cpu_percent: 70.0,
        messages_in: 3_000.0,
        messages_out: 3_000.0,
        reads: 200.0,
        lookups: 20.0,
        gossip: 40.0,
        requests_minute: 9_000,
        retries_minute: 90,
        loop_lag_ms: 60.0,
        ..Load::default()
    };
    assert_eq!(found(|node, _| node.load = load), Vec::<String>::new());
    // A fetch that is as fast as its one source allows is not slow.
    let quick = Transfer {
        state: "running".into(),
        bound: "oneSource".into(),
        rate: 5e7,
        ..Transfer::default()
    };
    assert_eq!(found(|node, _| node.transfers = vec![quick]), Vec::<String>::new());
    // A fetch that has just begun has no rate yet.
    let new =
        Transfer { state: "running".into(), bound: "beginning".into(), ..Transfer::default() };
    assert_eq!(found(|node, _| node.transfers = vec![new]), Vec::<String>::new());
}

#[test]
fn members_that_fall_silent_are_named_alone_and_together() {
    assert_eq!(
        found(|node, _| node.members.silent = vec![trouble(9, "suspect")]),
        ["member.silent"]
    );
    let four = || {
        vec![trouble(30, "dead"), trouble(31, "dead"), trouble(33, "dead"), trouble(80, "suspect")]
    };
    assert_eq!(found(|node, _| node.members.silent = four()), ["network.split"]);
    let flap = |times| Flap { who: "ab (x)".into(), times };
    assert_eq!(found(|node, _| node.members.flapping = vec![flap(4)]), ["member.flapping"]);
    let many = |node: &mut NodeFacts| {
        node.members.flapping = (0..8).map(|at| Flap { who: at.to_string(), times: 3 }).collect();
    };
    assert_eq!(found(|node, _| many(node)), ["member.observer"]);
    assert_eq!(found(|node, _| node.members.revoked = vec!["ab".into()]), ["member.out"]);
}

#[test]
fn records_with_too_few_replicas_or_different_values_are_named() {
    assert_eq!(found(|node, _| node.settings.replication = 2), ["records.replication"]);
    let short = Replicas { wanted: 12, equal: 3, missing: 9, ..replicas(12) };
    assert_eq!(found(|node, _| node.records.asked = vec![short]), ["records.replicas"]);
    let stale = Replicas { equal: 10, behind: 2, ..replicas(12) };
    assert_eq!(found(|node, _| node.records.asked = vec![stale]), ["records.behind"]);
    let diverged = Replicas { equal: 10, concurrent: 2, values: 2, named: true, ..replicas(12) };
    let both = found(|node, _| node.records.asked = vec![diverged]);
    assert_eq!(both, ["records.behind", "records.conflict"]);
    let gone = Replicas { values: 0, named: true, absent: true, ..replicas(12) };
    assert_eq!(found(|node, _| node.records.asked = vec![gone]), ["records.absent"]);
    let several = vec!["a".to_owned()];
    assert_eq!(found(|node, _| node.records.conflicted = several), ["records.conflict"]);
    let late = |node: &mut NodeFacts| {
        node.settings.republish_seconds = Some(600);
        node.settings.default_ttl_seconds = 300;
    };
    assert_eq!(found(|node, _| late(node)), ["records.republish"]);
}

#[test]
fn a_busy_node_is_told_what_keeps_it_busy() {
    assert_eq!(found(|node, _| node.load.gossip = 900.0), ["load.gossip"]);
    assert_eq!(found(|node, _| node.load.over_rate = 3.0), ["load.gossip"]);
    let copies = |node: &mut NodeFacts| (node.load.gossip, node.load.duplicates) = (200.0, 190.0);
    assert_eq!(found(|node, _| copies(node)), ["load.duplicates"]);
    assert_eq!(found(|node, _| node.load.coalesced = 400.0), ["load.storm"]);
    assert_eq!(found(|node, _| node.load.refused = 1.0), ["load.storm"]);
    assert_eq!(found(|node, _| node.members.slowness = 6), ["machine.slow"]);
    let lossy = |node: &mut NodeFacts| {
        (node.load.requests_minute, node.load.retries_minute) = (300, 120);
    };
    assert_eq!(found(|node, _| lossy(node)), ["network.loss"]);
    let one_was_away = |node: &mut NodeFacts, away: usize| {
        lossy(node);
        node.members.unsettled = away;
    };
    assert_eq!(found(|node, _| one_was_away(node, 1)), Vec::<String>::new());
    assert_eq!(found(|node, _| one_was_away(node, 9)), ["network.loss"]);
}

#[test]
fn slow_lookups_say_where_the_time_goes() {
    let evidence = |timeouts: usize, hops: u8| {
        let mut evidence = healthy(12);
        if let Some(node) = &mut evidence.node {
            node.lookups =
                LookupFacts { p99_ms: 9_800.0, timeouts, hops_max: hops, ..node.lookups.clone() };
        }
        judge(&evidence).findings.remove(0)
    };
    let waits = evidence(50, 3);
    assert_eq!(waits.code, "lookups.slow");
    assert!(waits.evidence.contains("waiting for nodes that do not answer"), "{}", waits.evidence);
    assert!(evidence(0, 9).evidence.contains("more steps than"));
    assert!(evidence(0, 3).evidence.contains("the way to the nodes"));
    assert_eq!(found(|node, _| node.lookups.timeouts = 90), ["lookups.timeouts"]);
    assert_eq!(found(|node, _| node.failing = 8), ["table.dead"]);
    assert_eq!(found(|node, _| node.capacity = 11), ["table.full"]);
    assert_eq!(found(|node, _| node.contacts = 1), ["table.small"]);
}

#[test]
fn an_older_version_is_told_with_the_machine_that_runs_it() {
    let speak = |versions: &[(u8, &str)]| {
        let mut evidence = healthy(3);
        if let Some(node) = &mut evidence.node {
            for (version, who) in versions {
                node.members.versions.entry(*version).or_default().push((*who).to_owned());
            }
        }
        judge(&evidence).findings
    };
    assert_eq!(speak(&[(2, "a"), (2, "b"), (2, "c")]), []);
    let found = speak(&[(3, "a"), (2, "b (laptop)"), (3, "c")]);
    assert_eq!(found[0].code, "members.versions");
    assert!(
        found[0].evidence.starts_with("1 of 3 members speak an older"),
        "{}",
        found[0].evidence
    );
    assert!(found[0].evidence.contains("b (laptop)"), "{}", found[0].evidence);
}

#[test]
fn slow_reads_and_writes_are_told_once_there_are_some() {
    let times = |count, p99_ms| CommandTimes { count, p50_ms: 2.0, p99_ms };
    let code = |count, p99_ms| found(|node, _| node.lookups.commands.gets = times(count, p99_ms));
    assert_eq!(code(20, 2048.0), ["records.slow"]);
    assert_eq!(code(19, 2048.0), [""; 0]);
    assert_eq!(code(2000, 1024.0), [""; 0]);
    assert_eq!(found(|node, _| node.lookups.commands.puts = times(20, 4096.0)), ["records.slow"]);
}

#[test]
fn entry_points_say_what_came_back() {
    let entry = |unresolved| Entry {
        point: "a.example:1".into(),
        tries: 4,
        report: Some("refused".into()),
        unresolved,
        answered: false,
    };
    assert_eq!(found(|node, _| node.entries = vec![entry(false)]), ["entry.dead"]);
    assert_eq!(found(|node, _| node.entries = vec![entry(true)]), ["entry.name"]);
    assert_eq!(found(|node, _| node.mapping_varies = true), ["reach.varies"]);
}

#[test]
fn the_machine_is_looked_at() {
    let socket = |bytes, drops| Socket {
        receive_buffer_bytes: bytes,
        drops: Some(drops),
        ..Socket::default()
    };
    assert_eq!(found(|_, it| it.socket = Some(socket(4096, 0))), ["socket.buffer"]);
    assert_eq!(found(|_, it| it.socket = Some(socket(8 << 20, 5))), ["socket.buffer"]);
    assert_eq!(found(|_, it| it.disk_free_bytes = Some(1 << 20)), ["disk.room"]);
    assert_eq!(found(|_, it| it.disk_pressure_percent = Some(90.0)), ["disk.slow"]);
    assert_eq!(found(|_, it| it.descriptors_max = Some(64)), ["os.descriptors"]);
    assert_eq!(found(|_, it| it.descriptors_open = Some(1000)), ["os.descriptors"]);
    assert_eq!(found(|_, it| it.memory_limit_bytes = Some(64 << 20)), ["os.memory"]);
    assert_eq!(found(|node, _| node.clock_offset_ms = Some(-9_000)), ["clock.drift"]);
    assert_eq!(found(|node, _| node.store.corrupt_rows = 1), ["store.damage"]);
    assert_eq!(found(|node, _| node.changed_shares = 2), ["files.changed"]);
    let ending = Certificate { seconds_left: 3600, ..Certificate::default() };
    assert_eq!(found(|node, _| node.certificate = Some(ending)), ["certificate.ending"]);
    let slow = |bound: &str| Transfer {
        state: "running".into(),
        bound: bound.into(),
        sources: 2,
        rate: 1000.0,
        ..Transfer::default()
    };
    for (bound, code) in [
        ("noSource", "files.noSource"),
        ("waiting", "files.waiting"),
        ("oneSource", "files.oneSource"),
        ("network", "files.network"),
        ("disk", "files.disk"),
        ("hashing", "files.hashing"),
        ("cap", "files.cap"),
    ] {
        assert_eq!(found(|node, _| node.transfers = vec![slow(bound)]), [code]);
    }
}

#[test]
fn what_the_node_says_of_itself_is_told_with_its_advice() {
    let mut evidence = healthy(2);
    let reason = ReasonView { code: "store.full".into(), message: "no room: make some".into() };
    if let Some(node) = &mut evidence.node {
        node.reasons = vec![reason];
    }
    let finding = judge(&evidence).findings.remove(0);
    assert_eq!(
        (&*finding.code, &*finding.evidence, &*finding.advice),
        ("store.full", "no room", "make some")
    );
    assert_eq!(finding.command, "potluck gc");
}

#[test]
fn a_node_that_is_down_is_looked_for() {
    let folder = |change: fn(&mut Folder)| {
        let mut folder = Folder { exists: true, path: "/data".into(), ..Folder::default() };
        change(&mut folder);
        codes_of(&Evidence { folder: Some(folder), ..Evidence::default() })
    };
    assert_eq!(folder(|_| {}), ["node.down"]);
    assert_eq!(folder(|it| it.locked = true), ["node.stuck"]);
    assert_eq!(folder(|it| it.foreign = Some("nginx".into())), ["node.port"]);
    assert_eq!(folder(|it| it.unusable = Some("denied".into())), ["folder.unusable"]);
    assert_eq!(folder(|it| it.clock_behind_seconds = 900), ["node.down", "clock.back"]);
    assert_eq!(folder(|it| it.unresolved = vec!["a:1".into()]), ["entry.name", "node.down"]);
    assert_eq!(folder(|it| it.port_taken = Some(12345)), ["node.down", "port.taken"]);
    let stopped = Folder { locked: true, process: Some((7, 'T')), ..Folder::default() };
    let finding =
        judge(&Evidence { folder: Some(stopped), ..Evidence::default() }).findings.remove(0);
    assert_eq!(finding.command, "kill -CONT 7");
}

#[test]
fn every_code_that_is_found_is_explained() {
    let sources = [
        include_str!("files.rs"),
        include_str!("load.rs"),
        include_str!("lookups.rs"),
        include_str!("machine.rs"),
        include_str!("members.rs"),
        include_str!("network.rs"),
        include_str!("records.rs"),
        include_str!("../../../crates/potluck/src/health.rs"),
    ];
    let mut seen = 0;
    for line in sources.iter().flat_map(|text| text.split('"').skip(1).step_by(2)) {
        let is_code = line.split_once('.').is_some_and(|(group, word)| {
            let letters =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
            !group.is_empty() && !word.is_empty() && letters(group) && letters(word)
        });
        if is_code {
            assert!(codes::find(line).is_some(), "{line} has no explanation");
            seen += 1;
        }
    }
    assert!(seen >= 50, "only {seen} codes were found in the sources");
}
