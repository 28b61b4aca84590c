//! Sharing and fetching with the commands.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::{Node, Run, noise, program, run, wait_until};

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// A file below the data folder of a node, where it may be named.
pub(crate) fn file_of(node: &Node, name: &str, bytes: &[u8]) -> PathBuf {
    let path = node.data.join("files/mine").join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(&path, bytes).expect("written");
    path
}

/// What `share` prints.
pub(crate) fn share(node: &Node, path: &Path) -> String {
    node.good(&["share", &path.to_string_lossy()]).trim_end().to_owned()
}

/// `fetch` with what follows it, into the folder `got` of the node.
pub(crate) fn fetch(node: &Node, arguments: &[&str]) -> Run {
    let to = node.data.join("files/got");
    node.run(&[&["fetch", "-o", &to.to_string_lossy()], arguments].concat())
}

/// Two nodes that know each other.
pub(crate) fn two() -> (Node, Node) {
    let first = Node::start(&[]);
    let second = Node::start(&[&first.contact]);
    wait_until("the first knows the second", || {
        first.good(&["peers", "--json"]).contains("\"alive\"")
    });
    (first, second)
}

#[test]
pub(crate) fn a_file_comes_from_another_node_byte_for_byte() {
    let (first, second) = two();
    let bytes = noise(1, 3_000_001);
    let path = file_of(&first, "weights.bin", &bytes);
    let shared = json(&first.good(&["share", "--json", &path.to_string_lossy()]));
    let link = shared["link"].as_str().expect("a link");
    assert!(link.starts_with("potluck:") && link.ends_with("/weights.bin"), "{link}");
    assert_eq!((&shared["bytes"], &shared["files"]), (&3_000_001.into(), &1.into()));
    assert_eq!(shared["id"].as_str().map(str::len), Some(64));

    let fetched = json(&fetch(&second, &[link, "--json"]).stdout);
    let landed = second.data.join("files/got/weights.bin");
    assert_eq!(fetched["path"], landed.to_string_lossy().as_ref());
    assert_eq!(fs::read(&landed).expect("it is there"), bytes);
    assert_eq!((&fetched["bytes"], &fetched["verified"]), (&3_000_001.into(), &true.into()));
    assert!(fetched["seconds"].as_f64() > Some(0.0), "{fetched}");
    let sources = fetched["sources"].as_array().expect("a list");
    let status = json(&first.good(&["status", "--json"]));
    assert_eq!((sources.len(), &sources[0]["id"]), (1, &status["nodeId"]), "{fetched}");
    assert_eq!(sources[0]["bytes"], 3_000_001);
    assert_eq!((&fetched["duplicateBytes"], &fetched["resumedBytes"]), (&0.into(), &0.into()));

    // Who has fetched it offers it as well.
    let files = json(&second.good(&["files", "--json"]));
    let entry = &files["files"][0];
    assert_eq!((&entry["state"], &entry["shared"]), (&"complete".into(), &true.into()), "{files}");
    let status = json(&second.good(&["status", "--json"]));
    assert_eq!((&status["blobs"], &status["blobBytes"]), (&1.into(), &3_000_001.into()));
}

#[cfg(unix)]
#[test]
fn a_folder_comes_with_empty_files_and_rights_and_without_links() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let (first, second) = two();
    let large = noise(2, 700_000);
    let files: [(&str, &[u8]); 5] = [
        ("site/index.html", b"<h1>hello</h1>"),
        ("site/empty", b""),
        ("site/deep/er/large.bin", &large),
        ("site/deep/\u{fc}n\u{ef}c\u{f6}de", b"names"),
        ("site/run.sh", b"#!/bin/sh\n"),
    ];
    for (name, bytes) in files {
        file_of(&first, name, bytes);
    }
    let source = first.data.join("files/mine/site");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(source.join("run.sh"), executable).expect("allowed");
    symlink("/etc/passwd", source.join("way-out")).expect("a link");
    let shared = first.run(&["share", "--json", &source.to_string_lossy()]);
    assert_eq!(shared.code, 0, "{}", shared.stderr);
    assert!(shared.stderr.contains("way-out"), "{}", shared.stderr);
    let shared = json(&shared.stdout);
    assert_eq!(shared["files"], 5);

    let fetched = fetch(&second, &[shared["link"].as_str().expect("a link")]);
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    let landed = second.data.join("files/got/site");
    assert_eq!(fetched.stdout.trim_end(), landed.to_string_lossy());
    assert!(fetched.stderr.contains("from 1 node"), "{}", fetched.stderr);
    for (name, bytes) in files {
        let landed = second.data.join("files/got").join(name);
        assert_eq!(fs::read(&landed).expect("it is there"), bytes, "{name}");
        let mode = fs::metadata(&landed).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o111 != 0, name == "site/run.sh", "{name}");
    }
    assert!(landed.join("way-out").symlink_metadata().is_err());
}

#[test]
fn an_empty_file_is_a_file() {
    let (first, second) = two();
    let link = share(&first, &file_of(&first, "nothing", b""));
    let fetched = fetch(&second, &[&link]);
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    assert_eq!(fs::read(second.data.join("files/got/nothing")).expect("it is there"), b"");
}

#[test]
fn a_record_leads_to_a_file_by_its_name() {
    let (first, second) = two();
    let path = file_of(&first, "model", b"first version");
    first.good(&["share", &path.to_string_lossy(), "--as", "models/latest"]);
    let fetched = fetch(&second, &["models/latest"]);
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    assert_eq!(
        fs::read(second.data.join("files/got/model")).expect("it is there"),
        b"first version"
    );

    // The record follows what is shared, and the link is taken from wherever it should not show.
    let path = file_of(&first, "model-2", b"second version");
    first.good(&["share", &path.to_string_lossy(), "--as", "models/latest"]);
    let link = second.good(&["get", "models/latest"]);
    let to = second.data.join("files/got");
    let fetch_to = ["--node", &second.url, "fetch", "-o", &to.to_string_lossy()];
    let of_variable = run(program().env("POTLUCK_LINK", &link).args(fetch_to), b"");
    assert_eq!(of_variable.code, 0, "{}", of_variable.stderr);
    assert_eq!(fs::read(to.join("model-2")).expect("it is there"), b"second version");
    let to = first.data.join("files/got");
    let fetch_to = ["--node", &first.url, "fetch", "-o", &to.to_string_lossy(), "-"];
    let of_stdin = run(program().args(fetch_to), format!("{link}\n").as_bytes());
    assert_eq!(of_stdin.code, 0, "{}", of_stdin.stderr);
    assert_eq!(fs::read(to.join("model-2")).expect("it is there"), b"second version");

    assert_eq!(fetch(&second, &["models/none"]).code, 3);
    first.good(&["put", "models/wrong", "no link"]);
    assert_eq!(fetch(&second, &["models/wrong"]).code, 2);
    for value in ["potluck:a", "potluck:b"] {
        first.good(&["put", "models/two", value, "--context", "none"]);
    }
    assert_eq!(fetch(&second, &["models/two"]).code, 4);
    let path = path.to_string_lossy();
    let shared = first.run(&["share", &path, "--as", "models/two"]);
    assert_eq!((shared.code, shared.stdout.trim_end()), (4, link.as_str()), "{}", shared.stderr);
}

#[test]
fn what_is_in_the_way_stays_as_it_is() {
    let (first, second) = two();
    let link = share(&first, &file_of(&first, "taken", b"new"));
    fs::create_dir_all(second.data.join("files/got")).expect("made");
    fs::write(second.data.join("files/got/taken"), b"old").expect("written");
    let refused = fetch(&second, &[&link]);
    assert_eq!(refused.code, 6, "{}", refused.stderr);
    assert!(refused.stderr.contains("taken") && refused.stderr.contains("there already"));
    assert_eq!(fs::read(second.data.join("files/got/taken")).expect("there"), b"old");
    let in_json = fetch(&second, &["--json", &link]);
    assert_eq!(json(&in_json.stderr)["error"]["exit"], 6);
}

#[test]
fn what_nobody_offers_any_more_is_unavailable() {
    let (first, second) = two();
    let path = file_of(&first, "gone", b"for a while");
    let shared = json(&first.good(&["share", "--json", &path.to_string_lossy()]));
    let id = shared["id"].as_str().expect("an id");
    first.good(&["unshare", &id[..12]]);
    assert_eq!(first.run(&["unshare", id]).code, 3);
    assert_eq!(json(&first.good(&["files", "--json"]))["files"], Value::Array(Vec::new()));
    assert_eq!(fs::read(&path).expect("files of others stay"), b"for a while");
    let failed = fetch(&second, &[shared["link"].as_str().expect("a link")]);
    assert_eq!(failed.code, 5, "{}", failed.stderr);
    assert_eq!(failed.stderr.lines().count(), 1, "{}", failed.stderr);
}

#[test]
fn what_the_node_may_not_touch_goes_through_the_client() {
    let (first, second) = two();
    let outside = tempfile::tempdir().expect("folder");
    let bytes = noise(3, 300_000);
    let path = outside.path().join("else where.bin");
    fs::write(&path, &bytes).expect("written");
    let shared = first.run(&["share", &path.to_string_lossy()]);
    assert_eq!(shared.code, 0, "{}", shared.stderr);
    assert!(shared.stderr.contains("uploading"), "{}", shared.stderr);
    // The copy is the node's own.
    fs::remove_file(&path).expect("removed");
    let link = shared.stdout.trim_end();
    let to = outside.path().join("made/for it");
    let fetched = second.run(&["fetch", "-o", &to.to_string_lossy(), link]);
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    assert!(fetched.stderr.contains("streaming"), "{}", fetched.stderr);
    let landed = PathBuf::from(fetched.stdout.trim_end());
    assert_eq!(landed.parent(), Some(to.as_path()));
    assert_eq!(fs::read(&landed).expect("it is there"), bytes);
    assert_eq!(fs::read_dir(&to).expect("readable").count(), 1);
    let again = second.run(&["fetch", "-o", &to.to_string_lossy(), link]);
    assert_eq!(again.code, 6, "{}", again.stderr);
    assert!(first.data.join("uploads").read_dir().expect("readable").next().is_none());
}

#[test]
fn pins_and_collections_say_what_stays_and_why() {
    let (first, second) = two();
    let shared = json(&first.good(&[
        "share",
        "--json",
        &file_of(&first, "kept.txt", &noise(4, 100_000)).to_string_lossy(),
    ]));
    let id = shared["id"].as_str().expect("an id");
    let pinned = |node: &Node| json(&node.good(&["files", "--json"]))["files"][0]["pinned"].clone();
    assert_eq!(json(&first.good(&["pin", "--json", id]))["pinned"], true);
    assert_eq!(pinned(&first), true);
    first.good(&["unpin", id]);
    assert_eq!(pinned(&first), false);
    assert_eq!(first.run(&["pin", &"0".repeat(64)]).code, 3);

    // What a reader only looked at is in the cache, and says so.
    let body = crate::http::get(&second, &format!("/v1/files/{id}")).body_mut().read_to_vec();
    assert_eq!(body.expect("a body"), noise(4, 100_000));
    let mut gc = Value::Null;
    wait_until("nobody reads it any more", || {
        gc = json(&second.good(&["gc", "--dry-run", "--json"]));
        gc["kept"][0]["reason"] == "within the quota"
    });
    assert_eq!((&gc["dryRun"], &gc["freedBytes"]), (&true.into(), &0.into()), "{gc}");
    assert_eq!((&gc["kept"][0]["id"], &gc["cachedBytes"]), (&id.into(), &100_000.into()), "{gc}");
    let said = second.good(&["gc"]);
    assert!(said.contains("within the quota"), "{said}");
    let listed = second.good(&["files"]);
    assert!(listed.contains(&id[..12]) && listed.contains("97.7 KiB"), "{listed}");
}
