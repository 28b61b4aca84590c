//! `up`: its lines, its files and its end.

use std::fs;

use crate::process::{Node, program, run, up, wait_until};

#[test]
fn the_url_of_a_running_node_is_found_by_its_data_folder() {
    let mut node = Node::start(&[]);
    let file = node.data.join("http");
    assert_eq!(fs::read_to_string(&file).expect("the file").trim(), node.url);
    let status = run(program().env("POTLUCK_NODE_DATA_DIR", &node.data).arg("status"), b"");
    assert_eq!(status.code, 0, "{}", status.stderr);
    node.close_stdin();
    assert!(node.ended().success());
    assert!(!file.exists());
}

#[cfg(unix)]
#[test]
fn a_node_that_is_terminated_hands_its_records_over() {
    let mut first = Node::start(&[]);
    first.good(&["put", "kept", "by somebody"]);
    let second = Node::start(&[&first.contact]);
    wait_until("the first knows the second", || {
        first.good(&["peers", "--json"]).contains("\"alive\"")
    });
    first.terminate();
    assert!(first.ended().success());
    assert_eq!(second.good(&["get", "kept"]), "by somebody");
}

#[test]
fn a_node_leaves_when_it_is_told_to() {
    let mut node = Node::start(&[]);
    assert!(node.good(&["leave"]).starts_with("left after"));
    assert!(node.ended().success());
    assert_eq!(node.run(&["status"]).code, 8);
}

#[test]
fn records_and_identity_outlive_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let mut node = Node::start_in(folder.path(), &[]);
    node.good(&["put", "lasting", "value"]);
    let (key, _) = node.contact.split_once('@').expect("a contact");
    let key = key.to_owned();
    node.close_stdin();
    node.ended();
    let again = Node::start_in(folder.path(), &[]);
    assert!(again.contact.starts_with(&key));
    assert_eq!(again.good(&["get", "lasting"]), "value");
}

#[test]
fn a_running_node_joins_by_a_further_entry_point() {
    let first = Node::start(&[]);
    let second = Node::start(&[]);
    let (_, address) = first.contact.split_once('@').expect("a contact");
    second.good(&["join", address]);
    wait_until("they know each other", || {
        [&first, &second].iter().all(|node| node.good(&["peers", "--json"]).contains("\"alive\""))
    });
    first.good(&["put", "a", "1"]);
    assert_eq!(second.good(&["get", "a"]), "1");
}

#[test]
fn the_printed_configuration_is_whole_and_loads_again() {
    let folder = tempfile::tempdir().expect("folder");
    let mut command = up(folder.path());
    let printed = run(command.env("POTLUCK_KV_REPLICATION", "5").arg("--print-config"), b"");
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    for line in
        ["[dht]", "[files]", "replication = 5", "admission = \"lab\"", "# Replicas of a record"]
    {
        assert!(printed.stdout.contains(line), "{line} is missing");
    }
    let file = folder.path().join("potluck.toml");
    fs::write(&file, &printed.stdout).expect("written");
    let mut command = program();
    command.env("HOME", folder.path()).args(["up", "--print-config", "--config"]).arg(&file);
    let again = run(&mut command, b"");
    assert_eq!(again.stdout, printed.stdout, "{}", again.stderr);
}
