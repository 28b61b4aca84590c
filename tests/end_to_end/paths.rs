//! Paths as people type them, and what is at the end of them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::files::{fetch, file_of, json as parsed, share, two};
use crate::http::{ask, problem};
use crate::process::{Node, Run, noise, program, run};

fn run_in(folder: &Path, node: &Node, arguments: &[&str], stdin: &[u8]) -> Run {
    let mut command = program();
    run(command.current_dir(folder).args(["--node", &node.url]).args(arguments), stdin)
}

fn shared(node: &Node) -> Value {
    parsed(&node.good(&["files", "--json"]))["files"].clone()
}

#[cfg(unix)]
fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().expect("it runs");
    assert!(made.success());
}

#[cfg(unix)]
#[test]
fn what_is_no_plain_file_is_refused_and_stdin_is_shared_by_its_name() {
    let (first, second) = two();
    let outside = tempfile::tempdir().expect("folder");
    fs::create_dir_all(first.data.join("files")).expect("made");
    let (inner, outer) = (first.data.join("files/fifo"), outside.path().join("fifo"));
    pipe(&inner);
    pipe(&outer);
    let (inner, outer) = (inner.to_string_lossy(), outer.to_string_lossy());
    let mut paths = vec![&*inner, &*outer, "/dev/null", "/dev/stdin"];
    if cfg!(target_os = "linux") {
        paths.extend(["/proc/version", "/proc/self/status"]);
    }
    for path in paths {
        let refused = first.run_with(&["share", path], b"some bytes");
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{path}: {}", refused.stderr);
        assert!(refused.stderr.contains("neither a plain file nor a folder"), "{}", refused.stderr);
    }
    assert_eq!(first.run_with(&["share", "-"], b"some bytes").code, 2, "it has no name");
    assert_eq!(shared(&first), json!([]));

    let bytes = noise(1, 1_000_000);
    let link = first.run_with(&["share", "-", "--name", "dump.sql"], &bytes);
    assert_eq!(link.code, 0, "{}", link.stderr);
    assert!(link.stdout.trim_end().ends_with("/dump.sql"), "{}", link.stdout);
    assert_eq!(fetch(&second, &[link.stdout.trim_end()]).code, 0);
    assert!(fs::read(second.data.join("files/got/dump.sql")).expect("it is there") == bytes);
    let path = file_of(&first, "plain", b"text");
    let link = first.good(&["share", "--name", "other.txt", &path.to_string_lossy()]);
    assert!(link.trim_end().ends_with("/other.txt"), "{link}");
}

#[cfg(unix)]
#[test]
fn many_pipes_that_are_shared_hold_up_neither_the_node_nor_its_end() {
    let mut node = Node::start(&[]);
    fs::create_dir_all(node.data.join("files")).expect("made");
    pipe(&node.data.join("files/fifo"));
    let url = format!("{}/v1/shares", node.url);
    let object = json!({"path": node.data.join("files/fifo"), "copy": true}).to_string();
    let kind = [("content-type", "application/json")];
    // More than the node has threads for what blocks.
    for _ in 0..560 {
        problem(ask("POST", &url, &kind, object.as_bytes()), 400, 2);
    }
    node.good(&["status"]);
    node.terminate();
    assert!(node.ended().success());
}

#[test]
fn a_path_means_what_it_means_where_it_is_typed() {
    let node = Node::start(&[]);
    let file = file_of(&node, "f", b"text");
    let folder = file.parent().expect("a folder").join("sub");
    fs::create_dir(&folder).expect("made");
    let good = |arguments: &[&str]| {
        let run = run_in(&folder, &node, arguments, b"");
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.contains("instead"), "the node does it: {}", run.stderr);
        run.stdout.trim_end().to_owned()
    };
    let link = good(&["share", "../f"]);
    assert!(link.ends_with("/f"), "{link}");
    for typed in ["../sub/../f", "./../f", ".././f"] {
        assert_eq!(good(&["share", typed]), link, "{typed}");
    }
    let above = good(&["share", ".."]);
    assert!(above.ends_with("/mine"), "{above}");
    let here = good(&["share", "."]);
    assert!(here.ends_with("/sub"), "{here}");
    let landed = good(&["fetch", "-o", "../d", &link]);
    assert_eq!(fs::read(folder.join("../d/f")).expect("it is there"), b"text");
    let real = file.parent().and_then(|folder| folder.canonicalize().ok()).expect("a folder");
    assert_eq!(Path::new(&landed), real.join("d/f"));
    good(&["fetch", "-o", "new/../../e", &link]);
    assert_eq!(fs::read(folder.join("../e/f")).expect("it is there"), b"text");
}

#[cfg(unix)]
#[test]
fn a_folder_that_the_node_may_not_touch_goes_through_the_client() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let (first, second) = two();
    let outside = tempfile::tempdir().expect("folder");
    let source = outside.path().join("my site");
    let large = noise(2, 900_000);
    let files: [(&str, &[u8]); 6] = [
        ("index.html", b"<h1>hello</h1>"),
        ("empty", b""),
        ("a b?#%&+.txt", b"odd"),
        ("deep/er/large.bin", &large),
        ("deep/\u{fc}n\u{ef}c\u{f6}de", b"names"),
        ("run.sh", b"#!/bin/sh\n"),
    ];
    for (name, bytes) in files {
        let path = source.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes).expect("written");
    }
    fs::set_permissions(source.join("run.sh"), fs::Permissions::from_mode(0o755)).expect("allowed");
    symlink("/etc/passwd", source.join("way-out")).expect("a link");
    pipe(&source.join("fifo"));

    let uploaded = first.run(&["share", "--json", &source.to_string_lossy()]);
    assert_eq!(uploaded.code, 0, "{}", uploaded.stderr);
    for said in ["uploading the folder instead", "way-out", "fifo"] {
        assert!(uploaded.stderr.contains(said), "{}", uploaded.stderr);
    }
    let uploaded = parsed(&uploaded.stdout);
    assert_eq!((&uploaded["files"], &uploaded["bytes"]), (&6.into(), &900_032.into()));
    // The same as if the node had read it.
    let allowed = second.data.join("files/my site");
    for (name, bytes) in files {
        fs::create_dir_all(allowed.join(name).parent().expect("a folder")).expect("made");
        fs::write(allowed.join(name), bytes).expect("written");
    }
    fs::set_permissions(allowed.join("run.sh"), fs::Permissions::from_mode(0o755))
        .expect("allowed");
    let link = share(&second, &allowed);
    assert_eq!(uploaded["link"], link.as_str());
    second.good(&["unshare", &link]);

    let to = outside.path().join("to");
    let streamed = second.run(&["fetch", "-o", &to.to_string_lossy(), &link]);
    assert_eq!(streamed.code, 0, "{}", streamed.stderr);
    assert!(streamed.stderr.contains("streaming the folder instead"), "{}", streamed.stderr);
    let landed = Path::new(streamed.stdout.trim_end());
    assert_eq!(landed.parent(), Some(to.as_path()));
    for (name, bytes) in files {
        assert!(fs::read(landed.join(name)).expect("it is there") == bytes, "{name}");
        let mode = fs::metadata(landed.join(name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o111 != 0, name == "run.sh", "{name}");
    }
    assert_eq!(fs::read_dir(&to).expect("readable").count(), 1, "nothing is left beside it");
    let again = second.run(&["fetch", "-o", &to.to_string_lossy(), &link]);
    assert_eq!(again.code, 6, "{}", again.stderr);
    assert!(first.data.join("uploads").read_dir().expect("readable").next().is_none());
}

#[test]
fn a_folder_is_uploaded_with_its_list_and_a_wrong_one_is_refused() {
    let node = Node::start(&[]);
    let kind = [("content-type", "application/octet-stream")];
    let post = |list: &Value, bytes: &str| {
        let list = list.to_string();
        let url = format!("{}/v1/files?name=site&listBytes={}", node.url, list.len());
        ask("POST", &url, &kind, format!("{list}{bytes}").as_bytes())
    };
    let list = json!({"files": [{"path": "a", "bytes": 3}, {"path": "b/c", "bytes": 2}]});
    let answer = crate::http::json(post(&list, "onetw"));
    assert_eq!((&answer["files"], &answer["bytes"]), (&2.into(), &5.into()), "{answer}");
    for (list, bytes) in [
        (list.clone(), "onet"),
        (list, "onetwo"),
        (json!({"files": [{"path": "../a", "bytes": 3}]}), "one"),
        (json!({"files": [{"path": "b", "bytes": 1}, {"path": "a", "bytes": 2}]}), "one"),
        (json!([]), ""),
    ] {
        problem(post(&list, bytes), 400, 2);
    }
    let url = format!("{}/v1/files?name=site&listBytes=99999999", node.url);
    problem(ask("POST", &url, &kind, b"{}"), 413, 2);
}
