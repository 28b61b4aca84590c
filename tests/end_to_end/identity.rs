//! A new identity on an old data folder: the way out for a copy of a folder, and for a node that was
//! put out.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{Node, program, run, wait_until};

/// `up` on loopback in an `invite` network.
fn up(data: &Path) -> Command {
    let mut command = program();
    command.args(["up", "--exit-with-stdin", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command.arg("--data").arg(data).env("POTLUCK_STORE_SYNC", "false");
    command
}

fn public_key(node: &Node) -> String {
    node.contact.split_once('@').expect("a contact").0.to_owned()
}

fn peers(node: &Node) -> u64 {
    let status = node.good(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    status["peers"].as_u64().expect("a number")
}

#[test]
fn the_founder_gets_a_new_identity_and_keeps_the_network_and_the_records() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut node = Node::start_as(&data, &mut up(&data));
    let old = public_key(&node);
    let network = |node: &Node| {
        let shown = node.good(&["network", "show"]);
        shown.lines().filter(|line| !line.starts_with("admitted")).collect::<Vec<_>>().join("\n")
    };
    let shown = network(&node);
    node.good(&["put", "greeting", "hello"]);
    node.kill();

    let mut node = Node::start_as(&data, up(&data).arg("--new-identity"));
    assert_ne!(public_key(&node), old);
    assert_eq!(network(&node), shown);
    assert_eq!(node.good(&["get", "greeting"]), "hello");
    node.good(&["put", "greeting", "hello again"]);
    assert_eq!(node.good(&["get", "greeting"]), "hello again");
    let new = public_key(&node);
    node.kill();

    let old_file = fs::read_to_string(data.join("identity.old-1")).expect("it is kept");
    assert!(old_file.contains(&old), "the old key pair");
    // Without the flag the new one stays.
    let node = Node::start_as(&data, &mut up(&data));
    assert_eq!(public_key(&node), new);
    assert!(!data.join("identity.old-2").exists());
}

#[test]
fn a_node_that_was_put_out_comes_back_as_another_by_a_new_ticket_only() {
    let folder = tempfile::tempdir().expect("folder");
    let place = |name: &str| folder.path().join(name);
    let first = Node::start_as(&place("first"), &mut up(&place("first")));
    let ticket = || first.good(&["invite"]).trim().to_owned();
    let data = place("second");
    let mut second = Node::start_as(&data, up(&data).env("POTLUCK_TICKET", ticket()));
    let old = public_key(&second);
    wait_until("they know each other", || peers(&first) == 1 && peers(&second) == 1);
    second.good(&["put", "mine", "of the second"]);
    assert!(first.good(&["revoke", &old]).contains("is out"));
    second.kill();

    let identity = || fs::read(data.join("identity")).expect("it is there");
    let before = identity();
    let refused = run(up(&data).arg("--new-identity"), b"");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("potluck up TICKET --new-identity"), "{}", refused.stderr);
    assert_eq!(identity(), before, "nothing changed");

    let mut again = up(&data);
    again.arg("--new-identity").env("POTLUCK_TICKET", ticket());
    let second = Node::start_as(&data, &mut again);
    assert_ne!(public_key(&second), old);
    wait_until("they know each other again", || peers(&first) == 1 && peers(&second) == 1);
    second.good(&["put", "mine", "of the second again"]);
    assert_eq!(first.good(&["get", "mine"]), "of the second again");
}
