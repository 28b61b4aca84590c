//! `invite` networks as somebody at a terminal has them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{Node, program, run, wait_until};

/// `up` on loopback, with nothing said about the network.
fn up(data: &Path) -> Command {
    let mut command = program();
    command.args(["up", "--exit-with-stdin", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command.args(["--data"]).arg(data).env("POTLUCK_STORE_SYNC", "false");
    command.env("POTLUCK_FILES_PATHS", data.parent().expect("a parent"));
    command
}

fn peers(node: &Node) -> usize {
    let status: serde_json::Value =
        serde_json::from_str(&node.good(&["status", "--json"])).expect("JSON");
    usize::try_from(status["peers"].as_u64().expect("a number")).expect("small")
}

#[test]
fn a_network_is_made_joined_by_ticket_used_and_left_by_force() {
    let folder = tempfile::tempdir().expect("folder");
    let place = |name: &str| folder.path().join(name);
    let first = Node::start_as(&place("first"), &mut up(&place("first")));
    let shown = first.good(&["network", "show"]);
    assert!(
        shown.contains("admission  invite") && shown.contains("holds the authority"),
        "{shown}"
    );

    let invited = first.run(&["invite", "--label", "role=build", "--expires", "1h"]);
    assert_eq!(invited.code, 0, "{}", invited.stderr);
    let ticket = invited.stdout.trim().to_owned();
    assert_eq!(invited.stderr.trim(), format!("on the next machine: potluck up {ticket}"));

    let second = Node::start_as(&place("second"), up(&place("second")).arg(&ticket));
    wait_until("they know each other", || peers(&first) == 1 && peers(&second) == 1);
    first.good(&["put", "greeting", "hello"]);
    assert_eq!(second.good(&["get", "greeting"]), "hello");
    let large = "x".repeat(20_000);
    assert_eq!(second.run_with(&["put", "large", "-"], large.as_bytes()).code, 0);
    assert_eq!(first.good(&["get", "large"]), large);
    assert!(first.good(&["invite", "--list"]).contains("role=build"));

    // Used up for others, and only the founder can make more.
    let third = run(up(&place("third")).env("POTLUCK_TICKET", &ticket), b"");
    assert_eq!(third.code, 6, "{}", third.stderr);
    assert!(third.stderr.contains("ask for a new one"), "{}", third.stderr);
    assert_eq!(second.run(&["invite"]).code, 6);

    // Out.
    let status: serde_json::Value =
        serde_json::from_str(&second.good(&["status", "--json"])).expect("JSON");
    let id = status["nodeId"].as_str().expect("text");
    assert!(first.good(&["revoke", &id[..12]]).contains("is out"));
    wait_until("the first is alone", || peers(&first) == 0);
    first.good(&["put", "after", "kept from it"]);
    assert_ne!(second.run(&["get", "after"]).code, 0);
    assert_eq!(first.run(&["revoke", "00000000"]).code, 3);
}

#[cfg(unix)]
#[test]
fn the_authority_key_leaves_by_its_owners_word_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("node");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let node = Node::start_as(&data, up(&data).args(["--network", "home"]));
    assert_eq!(mode(&data.join("authority")), 0o600);
    let copy = folder.path().join("keys").join("copy");
    let copy_text = copy.to_str().expect("text");
    node.good(&["network", "key", "export", copy_text]);
    assert_eq!(mode(&copy), 0o600);
    let again = node.run(&["network", "key", "export", copy_text]);
    assert_eq!(again.code, 2, "{}", again.stderr);
    assert!(again.stderr.contains("not written over"), "{}", again.stderr);
    // Nobody shares it by accident.
    let key = data.join("authority");
    assert_ne!(node.run(&["share", key.to_str().expect("text")]).code, 0);

    // Bare `up` on the folder is the same network again.
    let shown = node.good(&["network", "show"]);
    drop(node);
    let again = Node::start_as(&data, &mut up(&data));
    assert_eq!(again.good(&["network", "show"]), shown);
}
