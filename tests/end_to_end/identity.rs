//! A new identity on an old data folder: the way out for a copy of a folder, and for a node that was
//! put out.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{Node, program, run, wait_until};

/// `up` on loopback in an `invite` network.
fn up(data: &Path) -> Command {
    let mut command = program();
    command.args(["up", "--exit-with-stdin"]).args(crate::process::listening());
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

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn says_that_it_runs_twice(node: &Node) -> bool {
    let status: serde_json::Value =
        serde_json::from_str(&node.good(&["status", "--json"])).expect("JSON");
    status["reasonCodes"].as_array().expect("a list").contains(&"identity.elsewhere".into())
}

#[test]
fn two_nodes_on_copies_of_one_folder_say_so_and_write_again_once_one_is_another() {
    let folder = tempfile::tempdir().expect("folder");
    let (data, copied) = (folder.path().join("original"), folder.path().join("copy"));
    let first = Node::start(&[]);
    let entry = first.contact.clone();
    let mut original = Node::start_in(&data, &[&entry]);
    original.good(&["put", "mine", "one"]);
    original.kill();
    copy_folder(&data, &copied);

    let mut original = Node::start_in(&data, &[&entry]);
    let mut copy = Node::start_in(&copied, &[&entry]);
    assert_eq!(public_key(&copy), public_key(&original));
    wait_until("both say it", || [&original, &copy].into_iter().all(says_that_it_runs_twice));
    for node in [&original, &copy] {
        let refused = node.run(&["put", "mine", "two", "--context", "none"]);
        assert_eq!(refused.code, 6, "{}", refused.stderr);
        assert!(refused.stderr.contains("--new-identity"), "{}", refused.stderr);
        assert_eq!(node.good(&["get", "mine"]), "one", "reads go on");
    }

    copy.kill();
    original.kill();
    let copy = Node::start_in(&copied, &["--new-identity", &entry]);
    let original = Node::start_in(&data, &[&entry]);
    assert_ne!(public_key(&copy), public_key(&original));
    copy.good(&["put", "of the copy", "two"]);
    original.good(&["put", "of the original", "three"]);
    assert_eq!(first.good(&["get", "of the copy"]), "two");
    assert_eq!(copy.good(&["get", "of the original"]), "three");
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
