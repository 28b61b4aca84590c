//! Each status and each exit code of the contract, made to happen once.

use std::fs;
use std::path::Path;

use crate::http::{Response, ask, get, header, json, problem};
use crate::process::{Node, no_node, program, run, up, wait_until};

const BYTES: (&str, &str) = ("content-type", "application/octet-stream");
const JSON: (&str, &str) = ("content-type", "application/json");

fn to(node: &Node, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    ask(method, &format!("{}{path}", node.url), headers, body)
}

#[test]
fn every_exit_code_happens_for_its_own_reason() {
    let node = Node::start(&[]);
    let code = |arguments: &[&str]| {
        let run = node.run(&[&["--json"], arguments].concat());
        if run.code != 0 {
            let error: serde_json::Value = serde_json::from_str(&run.stderr).expect("one line");
            assert_eq!(error["error"]["exit"], run.code, "{arguments:?}");
        }
        run.code
    };
    assert_eq!(code(&["put", "a", "1"]), 0);
    // 2: wrong usage, also names, contacts, links, and values over the limit.
    for wrong in [
        &["put", "a"][..],
        &["get", ""],
        &["join", "nonsense@nowhere"],
        &["fetch", "potluck:nonsense"],
        &["put", "a", "1", "--space", "nowhere"],
        &["put", "a", "1", "--kind", "nonsense"],
        &["put", "a", "1", "--ttl", "soon"],
        &["put", "a", "1", "--ttl", "900d"],
        &["put", "a", "1", "--context", "garbage"],
        &["get", "not-a-key", "--space", "content"],
        &["del", "a", "--context", "none"],
        &["unshare", "nonsense"],
        &["revoke", "ab"],
        &["search", "..."],
        &["pub", "", "x"],
        &["sub", ""],
        &["sim", "no-such-scenario"],
        &["sim", "idle", "--partitions", "0"],
        &["sim", "files", "--partitions", "2"],
        &["sim", "idle", "--partitions", "2", "--seeds", "1..2"],
    ] {
        let expected = if wrong[0] == "revoke" { 6 } else { 2 };
        assert_eq!(code(wrong), expected, "{wrong:?}");
    }
    // 3: absent.
    let id = "ab".repeat(32);
    for absent in [
        &["get", "nothing"][..],
        &["get", "nothing", "--all"],
        &["del", "nothing"],
        &["merge", "nothing", "x"],
        &["fetch", "nothing"],
        &["unshare", &id],
        &["pin", &id],
        &["get", &id, "--space", "content"],
    ] {
        assert_eq!(code(absent), 3, "{absent:?}");
    }
    // 4: siblings.
    for value in ["soup", "salad"] {
        assert_eq!(code(&["put", "menu", value, "--context", "none"]), 0);
    }
    for conflict in
        [&["get", "menu"][..], &["put", "menu", "x"], &["del", "menu"], &["fetch", "menu"]]
    {
        assert_eq!(code(conflict), 4, "{conflict:?}");
    }
    // 5: no quorum.
    for unsure in [
        &["put", "b", "1", "-w", "2"][..],
        &["get", "a", "-r", "2"],
        &["get", "nothing", "-r", "2"],
    ] {
        assert_eq!(code(unsure), 5, "{unsure:?}");
    }
    // 6: not allowed.
    assert_eq!(code(&["put", "a", "1", "--space", &format!("own/{id}")]), 6);
    assert_eq!(code(&["invite"]), 6);
    // 8: no node answers.
    assert_eq!(run(program().args(["--node", &no_node(), "get", "a"]), b"").code, 8);
    // 7: not what it should be.
    let folder = tempfile::tempdir().expect("folder");
    drop(Node::start_in(folder.path(), &[]));
    fs::write(folder.path().join("identity"), "garbage").expect("written");
    assert_eq!(run(&mut up(folder.path()), b"").code, 7);
}

#[test]
fn a_node_that_cannot_tell_says_so_and_not_that_nothing_is_there() {
    let mut entry = Node::start(&[]);
    let folder = tempfile::tempdir().expect("folder");
    drop(Node::start_in(folder.path(), &[&entry.contact]));
    entry.kill();
    // It knows of others and reaches none: whether there is such a record is unknown.
    let mut command = up(folder.path());
    let alone = Node::start_unready(folder.path(), command.arg(&entry.contact));
    for arguments in [&["get", "nothing"][..], &["del", "nothing"], &["fetch", "nothing"]] {
        let run = alone.run(arguments);
        assert_eq!(run.code, 5, "{arguments:?}: {}{}", run.stdout, run.stderr);
    }
    problem(get(&alone, "/v1/kv/nothing"), 503, 5);
    problem(to(&alone, "DELETE", "/v1/kv/nothing", &[], b""), 503, 5);
    let new = [BYTES, ("if-none-match", "*")];
    problem(to(&alone, "PUT", "/v1/kv/nothing", &new, b"x"), 503, 5);
}

#[test]
fn a_full_store_is_507_and_exit_9() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("small.toml");
    fs::write(&config, "[store]\ndisk_bytes = \"256KiB\"\n").expect("written");
    let node = Node::start(&["--config", &config.to_string_lossy()]);
    let value = vec![b'x'; 60_000];
    let mut number = 0;
    wait_until("it is full", || {
        number += 1;
        let run = node.run_with(&["put", &format!("a/{number}"), "-"], &value);
        assert!([0, 9].contains(&run.code), "{}", run.stderr);
        run.code == 9
    });
    problem(to(&node, "PUT", "/v1/kv/one-more", &[BYTES], &value), 507, 9);
    assert_eq!(node.run(&["get", "a/1"]).code, 0, "what is there can be read");
}

#[test]
fn every_status_happens_for_its_own_reason() {
    let node = Node::start(&[]);
    let put =
        |path: &str, headers: &[(&str, &str)], body: &[u8]| to(&node, "PUT", path, headers, body);
    assert_eq!(put("/v1/kv/a", &[BYTES], b"1").status(), 200);
    assert_eq!(put("/v1/kv/a", &[], b"2").status(), 200);
    assert_eq!(to(&node, "POST", "/v1/topics/t", &[BYTES], b"x").status(), 202);
    let shared = to(&node, "POST", "/v1/files?name=f", &[BYTES], b"0123456789");
    assert_eq!(shared.status(), 201);
    let path = format!("/v1/files/{}", json(shared)["id"].as_str().expect("an id"));
    assert_eq!(to(&node, "GET", &path, &[("range", "bytes=2-3")], b"").status(), 206);
    problem(to(&node, "GET", &path, &[("range", "bytes=99-")], b""), 416, 2);
    let tag = header(&get(&node, &path), "etag");
    assert_eq!(to(&node, "GET", &path, &[("if-none-match", &tag)], b"").status(), 304);
    problem(to(&node, "GET", &path, &[("if-match", "\"x\"")], b""), 412, 4);
    problem(get(&node, &format!("{path}/inside")), 404, 3);
    problem(put("/v1/kv/a", &[BYTES, ("x-potluck-context", "?")], b"x"), 400, 2);
    problem(put("/v1/kv/a", &[BYTES, ("host", "evil.example")], b"x"), 403, 6);
    problem(get(&node, "/v1/kv/nothing"), 404, 3);
    problem(to(&node, "POST", "/v1/status", &[], b""), 405, 2);
    put("/v1/kv/b", &[BYTES, ("x-potluck-context", "none")], b"1");
    put("/v1/kv/b", &[BYTES, ("x-potluck-context", "none")], b"2");
    problem(put("/v1/kv/b", &[BYTES], b"x"), 409, 4);
    problem(put("/v1/kv/a", &[BYTES, ("if-match", "\"x\"")], b"x"), 412, 4);
    let large = put("/v1/kv/a", &[BYTES], &[0; 65_537]);
    assert_eq!(large.status(), 413);
    assert!(json(large)["hint"].as_str().expect("a hint").contains("share FILE --as NAME"));
    // The same limit elsewhere has nothing to do with records.
    let large = to(&node, "POST", "/v1/join", &[JSON], &[b' '; 70_000]);
    assert_eq!(large.status(), 413);
    assert!(json(large)["hint"].is_null());
    problem(to(&node, "POST", "/v1/topics/t", &[BYTES], &[0; 65_537]), 413, 2);
    problem(put("/v1/kv/a", &[("content-type", "text/plain")], b"x"), 415, 2);
    problem(put("/v1/kv/a?w=2", &[BYTES], b"x"), 503, 5);
    problem(get(&node, "/v1/kv/a?r=2"), 503, 5);
    assert_eq!(get(&node, "/v1/kv/a?siblings=all").status(), 200);
}

/// The words that stand behind "potluck" in what a line of code says.
fn named_commands(line: &str) -> Vec<String> {
    let word = |rest: &str| {
        let word: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
        let ends = rest[word.len()..].starts_with([' ', '"', '\'', ';', ',', '.', ')', '`', '\\']);
        (ends && !word.is_empty()).then_some(word)
    };
    line.split("potluck ").skip(1).filter_map(word).collect()
}

/// The lines of code below a folder that say something, tests not counted.
fn sayings(folder: &Path, says: impl Fn(&str) -> bool) -> Vec<String> {
    let (mut paths, mut lines) = (vec![folder.to_owned()], Vec::new());
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("readable");
            paths.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines();
            lines.extend(code.filter(|line| says(line)).map(str::to_owned));
        }
    }
    lines
}

#[test]
fn every_hint_names_a_command_that_exists() {
    let help = run(program().arg("--help"), b"").stdout;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let mut lines = sayings(&root.join("src"), |line| !is_comment(line));
    // Elsewhere the word also separates what is hashed.
    lines.extend(sayings(&root.join("crates"), |line| line.contains("error(")));
    let mut seen = 0;
    for line in &lines {
        for word in named_commands(line) {
            assert!(help.contains(&format!("\n  {word} ")), "there is no potluck {word}: {line}");
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} were found");
}
