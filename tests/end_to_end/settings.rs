//! Settings of the whole network, and records that end, through the command line.

use std::path::Path;
use std::process::Command;

use crate::process::{Node, any_port, program, run, wait_until};

/// `up` on loopback, with nothing said about the network, and this configuration beside it.
fn up(data: &Path) -> Command {
    let mut command = program();
    command.args(["up", "--exit-with-stdin", "--listen", &any_port(), "--http", &any_port()]);
    command.args(["--data"]).arg(data).env("POTLUCK_STORE_SYNC", "false");
    command.env("POTLUCK_KV_REPLICATION", "3").env("POTLUCK_KV_ANTI_ENTROPY_INTERVAL", "1h");
    command
}

fn json(node: &Node, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&node.good(arguments)).expect("JSON")
}

/// The value of a setting, and where it is from.
fn setting(node: &Node, key: &str) -> (String, String) {
    let shown = json(node, &["network", "show", "--json"]);
    let all = shown["settings"]["settings"].as_array().expect("a list").clone();
    let found = all.into_iter().find(|setting| setting["key"] == key).expect("the setting");
    let text = |name: &str| found[name].as_str().expect("text").to_owned();
    (text("value"), text("source"))
}

/// Keys that a node holds as a replica.
fn records(node: &Node) -> u64 {
    json(node, &["status", "--json"])["records"].as_u64().expect("a number")
}

#[test]
fn replication_changes_on_a_running_network_and_survives_restarts() {
    const RECORDS: u64 = 30;
    let folder = tempfile::tempdir().expect("folder");
    let place = |name: &str| folder.path().join(name);
    let first = Node::start_as(&place("0"), &mut up(&place("0")));
    let ticket = first.good(&["invite", "--reusable"]).trim().to_owned();
    let mut nodes: Vec<Node> = (1..5)
        .map(|index| {
            let data = place(&index.to_string());
            Node::start_as(&data, up(&data).arg(&ticket))
        })
        .collect();
    let peers = |node: &Node| json(node, &["status", "--json"])["peers"].as_u64();
    wait_until("all know each other", || {
        nodes.iter().chain([&first]).all(|node| peers(node) == Some(4))
    });
    for number in 0..RECORDS {
        first.good(&["put", &format!("name {number}"), "value"]);
    }
    let total = |nodes: &[Node]| nodes.iter().chain([&first]).map(records).sum::<u64>();
    wait_until("three nodes hold each", || total(&nodes) >= RECORDS * 3);
    assert!(total(&nodes) < RECORDS * 5, "not all nodes hold all");
    assert_eq!(setting(&nodes[0], "replication"), ("3".to_owned(), "configuration".to_owned()));

    let said = first.good(&["network", "set", "replication", "5"]);
    assert!(said.starts_with("replication is 5 from now on"), "{said}");
    wait_until("all nodes hold each", || total(&nodes) == RECORDS * 5);
    let five = ("5".to_owned(), "network".to_owned());
    assert!(nodes.iter().all(|node| setting(node, "replication") == five));
    wait_until("all members say so", || {
        let shown = json(&first, &["network", "show", "--json"]);
        shown["settings"]["running"] == 5 && shown["settings"]["members"] == 5
    });

    // A node that was away gets what was set meanwhile, and keeps what it had.
    let mut away = nodes.pop().expect("four");
    let data = away.data.clone();
    away.kill();
    first.good(&["network", "set", "gossip_interval", "2s"]);
    let back = Node::start_as(&data, &mut up(&data));
    assert_eq!(setting(&back, "replication"), five, "from its data folder");
    let two = ("2s".to_owned(), "network".to_owned());
    wait_until("it gets the newer ones", || setting(&back, "gossip_interval") == two);

    refusals(&first, &back);
}

/// What is refused, and in which words.
fn refusals(first: &Node, other: &Node) {
    let refused = |arguments: &[&str], code: i32| {
        let said = first.run(&[&["network", "set"], arguments].concat());
        assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
        said.stderr
    };
    first.good(&["network", "set", "default_ttl", "5m"]);
    let why = refused(&["republish_interval", "10m"], 2);
    let words = "the republish interval is over a third of the life, so records would be lost";
    assert!(why.contains(words) && why.contains("600 s") && why.contains("300 s"), "{why}");
    first.good(&["network", "set", "republish_interval", "30s"]);
    assert!(refused(&["default_ttl", "1m"], 2).contains(words));
    for wrong in ["0", "200", "300", "many"] {
        assert!(refused(&["replication", wrong], 2).contains("replication"), "{wrong}");
    }
    assert!(refused(&["default_ttl", "366d"], 2).contains("365 days"));
    assert!(refused(&["replicaton", "5"], 2).contains("replication"));
    let said = other.run(&["network", "set", "replication", "4"]);
    assert_eq!(said.code, 6, "{}", said.stderr);
    assert!(said.stderr.contains("authority key"), "{}", said.stderr);
    let lab = Node::start(&[]);
    let said = lab.run(&["network", "set", "replication", "4"]);
    assert_eq!(said.code, 6, "{}", said.stderr);
    assert!(said.stderr.contains("configuration of each node"), "{}", said.stderr);
}

#[test]
fn records_that_end_soon_are_counted_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("node");
    let mut node = Node::start_in(&data, &[]);
    node.good(&["put", "stays", "value"]);
    node.good(&["put", "long", "value", "--ttl", "30d"]);
    node.good(&["put", "short", "value", "--ttl", "1h"]);
    node.good(&["put", "shorter", "value", "--ttl", "90s"]);
    let expiring = |node: &Node| json(node, &["status", "--json"])["recordsExpiring7d"].as_u64();
    wait_until("two end soon", || expiring(&node) == Some(2));
    node.kill();
    let node = Node::start_in(&data, &[]);
    wait_until("they still do", || expiring(&node) == Some(2));
    node.good(&["del", "short"]);
    wait_until("one was deleted", || expiring(&node) == Some(1));
    for (ttl, words) in [("366d", "365 days"), ("0s", "at least 1s"), ("soon", "span of time")] {
        let said = node.run(&["put", "wrong", "value", "--ttl", ttl]);
        assert_eq!(said.code, 2, "{}", said.stderr);
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
}

#[test]
fn a_configuration_that_would_lose_records_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("folder");
    let start = |variables: &[(&str, &str)]| {
        let mut command = up(&folder.path().join("node"));
        command.args(["--network", "test", "--admission", "lab"]);
        command.envs(variables.iter().copied());
        let said = run(&mut command, b"");
        assert_eq!(said.code, 2, "{variables:?}: {}", said.stderr);
        said.stderr
    };
    let life = ("POTLUCK_KV_DEFAULT_TTL", "5m");
    let why = start(&[life, ("POTLUCK_KV_REPUBLISH_INTERVAL", "10m")]);
    assert!(why.contains("over a third of the life, so records would be lost"), "{why}");
    assert!(start(&[("POTLUCK_KV_DEFAULT_TTL", "366d")]).contains("default_ttl"));
    assert!(start(&[("POTLUCK_KV_DEFAULT_TTL", "9s")]).contains("default_ttl"));
}
