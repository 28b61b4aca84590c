//! Names, and a backup that is taken and put into another network.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::http::{ask, get, json};
use crate::process::{Node, wait_until};

/// Names that are hard on a path, a line or a shell.
const ODD: [&str; 6] = ["a b", "ü/é", "100%", "?q=1&x#y", "'\"\\", "-"];

fn put(node: &Node, name: &str, query: &str, blind: bool, value: &[u8]) {
    let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut headers = vec![("content-type", "application/octet-stream")];
    if blind {
        headers.push(("x-potluck-context", "none"));
    }
    let url = format!("{}/v1/kv/{name}{query}", node.url);
    let answer = ask("PUT", &url, &headers, value);
    assert_eq!(answer.status(), 200, "{name}: {}", json(answer));
}

fn network(count: usize) -> Vec<Node> {
    let mut nodes = vec![Node::start(&[])];
    while nodes.len() < count {
        nodes.push(Node::start(&[&nodes[0].contact]));
    }
    wait_until("all know all", || {
        nodes.iter().all(|node| {
            let members = json(get(node, "/v1/members"));
            members["members"].as_array().is_some_and(|all| all.len() == count)
        })
    });
    nodes
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The values under each name, without what differs after an import.
fn records(text: &str) -> BTreeMap<String, Vec<String>> {
    let records = lines(text).into_iter().filter(|line| line["values"].is_array());
    let values = |record: &Value| {
        let all = record["values"].as_array().expect("a list").iter();
        let mut all: Vec<String> =
            all.map(|value| format!("{} {}", value["kind"], value["valueBase64"])).collect();
        all.sort();
        all
    };
    records.map(|record| (record["name"].to_string(), values(&record))).collect()
}

#[test]
fn a_backup_put_into_a_fresh_network_is_equal() {
    let old = network(3);
    for number in 0..180_u8 {
        let value: Vec<u8> = (0..=number).collect();
        put(&old[usize::from(number) % 3], &format!("n/{number:03}"), "", false, &value);
    }
    for name in ODD {
        put(&old[0], name, "?kind=lww", false, b"\0\xff\n");
    }
    for number in 0..14 {
        let name = format!("siblings/{number:02}");
        for node in &old {
            put(node, &name, "", true, format!("{number} of {}", node.contact).as_bytes());
        }
    }
    old[1].good(&["put", "gone", "x"]);
    old[2].good(&["del", "gone"]);

    // Every node lists the same, sorted, without what was deleted.
    let names: Vec<String> = old[0].good(&["ls"]).lines().map(str::to_owned).collect();
    assert_eq!(names.len(), 200);
    assert!(names.is_sorted() && names.iter().all(|name| name != "gone"), "{names:?}");
    for node in &old[1..] {
        assert_eq!(node.good(&["ls"]).lines().collect::<Vec<_>>(), names);
    }
    let some = json(get(&old[1], "/v1/keys?prefix=siblings/&limit=10"));
    let entries = some["names"].as_array().expect("a list");
    assert_eq!((entries.len(), &some["complete"]), (10, &true.into()));
    assert_eq!((&entries[0]["name"], &entries[0]["siblings"]), (&"siblings/00".into(), &3.into()));
    assert_eq!((&some["membersAsked"], &some["next"]), (&3.into(), &"siblings/09".into()));
    let rest = json(get(&old[1], "/v1/keys?prefix=siblings/&limit=10&after=siblings/09"));
    assert_eq!((rest["names"].as_array().map(Vec::len), &rest["next"]), (Some(4), &Value::Null));

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("backup.jsonl");
    let path = file.to_str().expect("text");
    let said = old[0].good(&["export", path]);
    assert!(said.starts_with("200 records in "), "{said}");
    let refused = old[0].run(&["export", path]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&file).expect("written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let backup = fs::read_to_string(&file).expect("readable");
    assert_eq!(records(&backup).len(), 200);

    // A damaged backup writes nothing.
    let fresh = network(2);
    let cut = folder.path().join("cut.jsonl");
    fs::write(&cut, &backup[..backup.len() - 40]).expect("written");
    let refused = fresh[0].run(&["import", cut.to_str().expect("text")]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert_eq!(fresh[0].good(&["ls"]), "");

    let said = fresh[0].good(&["import", path]);
    assert_eq!(said, "200 records written, 0 there already, 0 expired, 0 conflicts, 0 failed\n");
    let said = fresh[1].good(&["import", path]);
    assert_eq!(said, "0 records written, 200 there already, 0 expired, 0 conflicts, 0 failed\n");
    let again = fresh[1].good(&["export"]);
    assert_eq!(records(&again), records(&backup));

    // What differs is kept until it is to be replaced.
    fresh[1].good(&["put", "n/000", "other"]);
    let kept = fresh[0].run(&["import", path]);
    assert_eq!(kept.code, 4, "{}", kept.stderr);
    assert!(kept.stderr.contains("n/000"), "{}", kept.stderr);
    assert_eq!(fresh[0].good(&["get", "n/000"]), "other");
    fresh[0].good(&["import", path, "--overwrite"]);
    assert_eq!(records(&fresh[1].good(&["export"])), records(&backup));
}

#[test]
fn own_records_are_listed_and_exported_by_their_writer() {
    let nodes = network(2);
    nodes[0].good(&["put", "mine", "x", "--space", "own"]);
    assert_eq!(nodes[0].good(&["ls", "--space", "own"]), "mine\n");
    assert_eq!(nodes[0].good(&["ls"]), "");
    let status = json(get(&nodes[0], "/v1/status"));
    let space = format!("own/{}", status["nodeId"].as_str().expect("an id"));
    assert_eq!(nodes[1].good(&["ls", "mi", "--space", &space]), "mine\n");
    assert_eq!(nodes[1].run(&["export", "--space", &space]).code, 2);
    assert_eq!(nodes[1].run(&["ls", "--space", "content"]).code, 2);
    let backup = nodes[0].good(&["export", "--space", "own"]);
    let imported = nodes[1].run_with(&["import", "-"], backup.as_bytes());
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    assert_eq!(nodes[1].good(&["get", "mine", "--space", "own"]), "x");
    let broken = nodes[1].run_with(&["import", "-"], b"{}\n");
    assert_eq!(broken.code, 7, "{}", broken.stderr);
    assert!(broken.stderr.contains("line 1"), "{}", broken.stderr);
    assert_eq!(nodes[0].run(&["import", "/nowhere/at/all"]).code, 2);
}

#[cfg(unix)]
#[test]
fn a_member_that_is_stopped_makes_the_list_and_the_backup_incomplete() {
    let nodes = network(3);
    nodes[0].good(&["put", "a", "x"]);
    nodes[2].signal("STOP");
    let listed = nodes[0].run(&["ls"]);
    assert_eq!((listed.code, listed.stdout.as_str()), (0, "a\n"), "{}", listed.stderr);
    assert!(listed.stderr.contains("1 of 3 members did not answer"), "{}", listed.stderr);
    nodes[2].signal("CONT");
}
