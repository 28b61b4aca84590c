//! Both address families: what is essential of the suite once more on `[::1]`, and nodes that listen on
//! several addresses. `cargo xtask ipv6` runs the whole suite on `[::1]`.

use std::process::Command;

use serde_json::Value;

use crate::process::{Node, Run, has_ipv6, noise, on_ipv6, program, run, wait_until};
use crate::{admission, files, files_http, gossip, http, records};

#[test]
fn records_on_ipv6() {
    on_ipv6(records::what_one_node_stores_another_reads);
}

#[test]
fn files_on_ipv6() {
    on_ipv6(files::a_file_comes_from_another_node_byte_for_byte);
}

#[test]
fn uploads_on_ipv6() {
    on_ipv6(files_http::an_upload_is_served_whole_and_in_parts);
}

#[test]
fn topics_on_ipv6() {
    on_ipv6(gossip::every_line_comes_once_and_in_order_to_every_subscriber);
}

#[test]
fn members_on_ipv6() {
    on_ipv6(gossip::members_know_each_other_their_labels_and_who_is_dead);
}

#[test]
fn search_on_ipv6() {
    on_ipv6(gossip::a_shared_file_is_found_by_the_words_in_its_name_as_long_as_it_is_shared);
}

#[test]
fn admission_on_ipv6() {
    on_ipv6(admission::a_network_is_made_joined_by_ticket_used_and_left_by_force);
}

#[cfg(unix)]
#[test]
fn http_on_ipv6() {
    on_ipv6(http::a_node_makes_its_token_and_the_command_line_finds_it_by_the_url_alone);
}

#[cfg(target_os = "linux")]
#[test]
fn wrong_entry_points_on_ipv6() {
    on_ipv6(crate::joining::a_wrong_join_reports_which_entry_point_is_wrong_and_how);
}

/// A node of network `test` that listens on these addresses and no other.
fn at(listen: &[&str], entry: &[&str]) -> (Node, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let node = Node::start_as(folder.path(), bare(folder.path()).args(both(listen)).args(entry));
    (node, folder)
}

fn both<'a>(listen: &'a [&str]) -> impl Iterator<Item = &'a str> {
    listen.iter().flat_map(|address| ["--listen", *address])
}

fn bare(data: &std::path::Path) -> Command {
    let mut command = program();
    command
        .env("HOME", data)
        .args(["up", "--network", "test", "--admission", "lab", "--exit-with-stdin"])
        .args(["--http", "127.0.0.1:0", "--data"])
        .arg(data);
    command
}

fn status(node: &Node) -> Value {
    serde_json::from_str(&node.good(&["status", "--json"])).expect("JSON")
}

fn listening(node: &Node) -> Vec<String> {
    let status = status(node);
    let all = status["listening"].as_array().expect("a list");
    all.iter().map(|one| one.as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_node_at_both_families_is_one_node_for_those_of_each() {
    if !has_ipv6() {
        return;
    }
    let (dual, _dual) = at(&["127.0.0.1:0", "[::1]:0"], &[]);
    let [v4, v6] = &listening(&dual)[..] else { panic!("two addresses") };
    assert_eq!(v4.rsplit_once(':').unwrap().1, v6.rsplit_once(':').unwrap().1, "one port");
    assert!(dual.contact.ends_with(&format!("@{v4}")), "{}", dual.contact);
    assert!(dual.good(&["status"]).contains(&format!("listens  {v4}, {v6}\n")));
    let (four, _four) = at(&["127.0.0.1:0"], &[v4]);
    let (six, _six) = at(&["[::1]:0"], &[v6]);
    wait_until("the node at both knows both others", || status(&dual)["peers"] == 2);
    dual.good(&["put", "greeting", "hello", "-w", "1"]);
    let path = files::file_of(&dual, "some.bin", &noise(1, 300_000));
    let link = files::share(&dual, &path);
    for node in [&four, &six] {
        wait_until("the record is read in each family", || {
            node.run(&["get", "greeting"]).stdout.trim() == "hello"
        });
        let fetched = files::fetch(node, &[&link]);
        assert_eq!(fetched.code, 0, "{}", fetched.stderr);
        let landed = node.data.join("files/got/some.bin");
        assert_eq!(std::fs::read(landed).expect("there"), noise(1, 300_000));
    }
}

#[test]
fn the_address_list_of_the_environment_and_of_the_file_is_as_good_as_that_of_the_options() {
    if !has_ipv6() {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let mut command = bare(folder.path());
    command.env("POTLUCK_NODE_LISTEN", "[::1]:0,127.0.0.1:0");
    let node = Node::start_as(folder.path(), &mut command);
    let first = listening(&node);
    assert!(first.len() == 2 && first[0].starts_with("[::1]:"), "{first:?}");
    assert!(node.contact.ends_with(&format!("@{}", first[0])), "the first one is the contact");
    let other = tempfile::tempdir().expect("folder");
    let config = other.path().join("potluck.toml");
    std::fs::write(&config, "[node]\nlisten = ['127.0.0.1:0', '127.0.0.1:0', '[::1]:0']\n")
        .unwrap();
    let node = Node::start_as(other.path(), bare(other.path()).arg("--config").arg(config));
    assert_eq!(listening(&node).len(), 3);
}

#[test]
fn addresses_that_cannot_be_listened_on_together_are_refused_in_a_sentence() {
    let folder = tempfile::tempdir().expect("folder");
    let refused = |listen: &[&str]| -> Run {
        let run = run(bare(folder.path()).args(both(listen)), b"");
        assert_eq!(run.code, 2, "{listen:?}: {}", run.stderr);
        run
    };
    for (listen, word) in [
        (&["127.0.0.1:7", "127.0.0.1:7"][..], "named twice"),
        (&["0.0.0.0:7", "127.0.0.1:7"], "0.0.0.0:7 stands for 127.0.0.1:7 too"),
        (&["[fe80::1%1]:7"], "listen on [::]:7"),
        (&["224.0.0.1:7"], "group"),
        (&["127.0.0.1:0"; 5], "at most 4 addresses"),
    ] {
        let said = refused(listen).stderr;
        assert!(said.contains(word), "{listen:?}: {said}");
    }
}
