//! Records, conflicts and their exit codes.

use serde_json::Value;

use crate::process::{Node, no_node, program, run};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
pub(crate) fn what_one_node_stores_another_reads() {
    let first = Node::start(&[]);
    let second = Node::start(&[&first.contact]);
    let said = first.good(&["put", "config/greeting", "hello"]);
    assert_eq!(said, "2 of 2 acknowledged, 2 members known\n");
    assert_eq!(second.good(&["get", "config/greeting"]), "hello");
    let bytes = [0, 159, 146, 150, b'\n'];
    assert_eq!(first.run_with(&["put", "raw", "-"], &bytes).code, 0);
    let read = json(&second.good(&["get", "raw", "--json"]));
    assert_eq!(read["valueBase64"], "AJ+Slgo=");
    let trace = second.good(&["trace", "config/greeting"]);
    assert!(
        trace.contains("1 hop: 2 closest nodes answered")
            || trace.contains("1 closest node answered"),
        "{trace}"
    );
    let peers = json(&second.good(&["peers", "--json"]));
    assert_eq!(peers["peers"].as_array().map(Vec::len), Some(1));
    let status = json(&first.good(&["status", "--json"]));
    assert_eq!((&status["health"], &status["records"]), (&"ok".into(), &2.into()));
}

#[test]
fn a_conflict_is_listed_and_merged() {
    let node = Node::start(&[]);
    for value in ["soup", "salad"] {
        node.good(&["put", "menu", value, "--context", "none"]);
    }
    let read = node.run(&["get", "menu"]);
    assert_eq!((read.code, read.stdout.as_str()), (4, ""));
    assert!(read.stderr.contains("soup") && read.stderr.contains("salad"), "{}", read.stderr);
    let both = node.run(&["get", "menu", "--json"]);
    assert_eq!(both.code, 4);
    let (object, error) = (json(&both.stdout), json(&both.stderr));
    assert_eq!((&object["name"], &error["error"]["exit"]), (&"menu".into(), &4.into()));
    let values = |object: &Value| {
        let all = object["siblings"].as_array().expect("a list").iter();
        let mut all: Vec<String> = all.map(|it| it["value"].to_string()).collect();
        all.sort();
        all
    };
    assert_eq!(values(&object), ["\"salad\"", "\"soup\""]);
    assert_eq!(error["error"]["context"], object["context"]);
    assert_eq!(error["error"]["siblings"].as_array().map(Vec::len), Some(2));
    let all = json(&node.good(&["get", "menu", "--all"]));
    assert_eq!((values(&all), &all["context"]), (values(&object), &object["context"]));
    assert_eq!(all["siblings"].as_array().map(Vec::len), Some(2));

    let refused = node.run(&["put", "menu", "cake"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    let refused = node.run(&["--json", "put", "menu", "cake"]);
    assert_eq!(json(&refused.stderr)["error"]["exit"], 4);
    assert_eq!(json(&refused.stderr)["error"]["siblings"].as_array().map(Vec::len), Some(2));
    let context = object["context"].as_str().expect("a text");
    node.good(&["put", "other", "x"]);
    let nothing = node.run(&["del", "other", "--context", context]);
    assert_eq!(nothing.code, 4, "{}", nothing.stderr);
    assert_eq!(node.good(&["get", "other"]), "x");

    assert_eq!(node.run(&["merge", "menu", "--pick", "2"]).code, 2);
    node.good(&["merge", "menu", "soup and salad"]);
    assert_eq!(node.good(&["get", "menu"]), "soup and salad");
    let context = json(&node.good(&["get", "menu", "--json"]))["context"].clone();
    node.good(&["put", "menu", "cake", "--context", context.as_str().expect("a text")]);
    assert_eq!(node.good(&["cat", "menu"]), "cake");
}

#[cfg(unix)]
#[test]
fn a_command_merges_what_it_gets_as_files() {
    let node = Node::start(&[]);
    for value in ["b\na\n", "c\na\n"] {
        node.good(&["put", "list", value, "--context", "none"]);
    }
    node.good(&["merge", "list", "--with", "sort -u"]);
    assert_eq!(node.good(&["get", "list"]), "a\nb\nc\n");
}

#[test]
fn absent_deleted_and_unreachable_have_their_exit_codes() {
    let node = Node::start(&[]);
    assert_eq!(node.run(&["get", "nothing"]).code, 3);
    assert_eq!(node.run(&["del", "nothing"]).code, 3);
    assert_eq!(node.run(&["merge", "nothing", "x"]).code, 3);
    node.good(&["put", "a", "1"]);
    node.good(&["rm", "a"]);
    let read = node.run(&["--json", "get", "a"]);
    assert_eq!((read.code, read.stdout.as_str()), (3, ""));
    assert_eq!(json(&read.stderr)["error"]["code"], "absent");
    assert_eq!(node.run(&["put", "a", "1", "-w", "3"]).code, 5);
    let few = json(&node.run(&["--json", "put", "a", "1", "--write-quorum", "3"]).stderr);
    assert_eq!((&few["error"]["acks"], &few["error"]["needed"]), (&1.into(), &3.into()), "{few}");
    assert_eq!(node.run(&["get", "a", "--read-quorum", "3"]).code, 5);
    let blind = node.run(&["del", "a", "--context", "none"]);
    assert_eq!(blind.code, 2, "{}", blind.stderr);
    assert_eq!(node.run(&["get", "a"]).code, 0, "it is still there");
    let nobody = run(program().args(["--node", &no_node(), "get", "a"]), b"");
    assert_eq!(nobody.code, 8);
    assert!(nobody.stderr.contains("potluck up"), "{}", nobody.stderr);
}

#[test]
fn other_spaces_have_their_own_rules() {
    let node = Node::start(&[]);
    let key = node.good(&["put", "-", "immutable", "--space", "content"]);
    assert_eq!(node.good(&["get", key.trim(), "--space", "content"]), "immutable");
    node.good(&["put", "mine", "x", "--space", "own"]);
    assert_eq!(node.good(&["get", "mine", "--space", "own"]), "x");
    assert_eq!(node.run(&["get", "mine"]).code, 3);
    let id = json(&node.good(&["status", "--json"]))["nodeId"].as_str().expect("an id").to_owned();
    for own in [&id[..12], &id] {
        let space = format!("own/{own}");
        assert_eq!(node.good(&["get", "mine", "--space", &space]), "x");
    }
    assert_eq!(node.run(&["get", "mine", "--space", "own/0123456789ab"]).code, 2);
    let other = format!("own/{}", "ab".repeat(32));
    assert_eq!(node.run(&["put", "theirs", "x", "--space", &other]).code, 6);
    let written = json(&node.good(&["put", "short", "x", "--ttl", "1h", "--json"]));
    for field in ["name", "key", "version", "acks", "wanted", "members", "expiresAt"] {
        assert!(!written[field].is_null(), "{field}");
    }
}
