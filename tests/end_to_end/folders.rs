//! Data folders: whose they are, which layout they have, and what a crash left in them.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::http::{ask, problem};
use crate::process::{Node, program, run, up};

/// A node of a new `invite` network on this folder.
fn founder(data: &Path) -> Node {
    let mut command = program();
    command.args(["up", "--exit-with-stdin"]).args(crate::process::listening());
    Node::start_as(data, command.arg("--data").arg(data))
}

fn stop(mut node: Node) {
    node.close_stdin();
    node.ended();
}

#[test]
fn nothing_of_a_data_folder_is_shared_or_written_over_but_what_is_there_for_it() {
    let node = Node::start(&[]);
    fs::create_dir_all(node.data.join("records.new")).expect("made");
    fs::create_dir_all(node.data.join("files")).expect("made");
    let names = ["identity", "identity.new", "authority.new", "records.new/x", "token", "notes"];
    for name in names.iter().filter(|name| !node.data.join(name).exists()) {
        fs::write(node.data.join(name), "secret").expect("written");
    }
    for name in names.into_iter().chain(["", "records", "records.new", "blobs"]) {
        let path = node.data.join(name);
        let object = json!({"path": path}).to_string();
        let kind = [("content-type", "application/json")];
        let url = format!("{}/v1/shares", node.url);
        problem(ask("POST", &url, &kind, object.as_bytes()), 403, 6);
        let typed = node.run(&["share", &path.to_string_lossy()]);
        assert_eq!((typed.code, typed.stdout.as_str()), (6, ""), "{name}: {}", typed.stderr);
    }
    // Nor is another node's, wherever it lies, by way of the command.
    let other = Node::start(&[]);
    let path = other.data.join("identity");
    let typed = node.run(&["share", &path.to_string_lossy()]);
    assert_eq!((typed.code, typed.stdout.as_str()), (6, ""), "{}", typed.stderr);
    fs::write(node.data.join("files/mine"), "mine").expect("written");
    node.good(&["share", &node.data.join("files/mine").to_string_lossy()]);
}

#[test]
fn a_folder_of_another_layout_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().expect("folder");
    stop(Node::start_in(folder.path(), &[]));
    let number = folder.path().join("layout");
    assert_eq!(fs::read_to_string(&number).expect("it is there"), "2\n");
    let refused = |said: &str| {
        let run = run(&mut up(folder.path()), b"");
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains(said) && run.stderr.contains("--data"), "{}", run.stderr);
    };
    fs::write(&number, "3\n").expect("written");
    refused("layout 3");
    fs::remove_file(&number).expect("removed");
    refused("layout 1");
    assert!(!number.exists(), "it is left as it was");
    fs::write(&number, "2\n").expect("written");
    stop(Node::start_in(folder.path(), &[]));
}

#[test]
fn an_issuer_starts_with_a_book_and_a_key_that_a_crash_cut_off() {
    let folder = tempfile::tempdir().expect("folder");
    let (book, key) = (folder.path().join("issued"), folder.path().join("authority"));
    fs::write(&key, "").expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("allowed");
    }
    let node = founder(folder.path());
    node.good(&["invite"]);
    stop(node);
    // Half a line, a whole one behind it, and half a line.
    let mut text = fs::read_to_string(&book).expect("text");
    let last = text.lines().last().expect("a line").to_owned();
    text.push_str(&format!("{}{last}\n{}", &last[..30], &last[..40]));
    fs::write(&book, text).expect("written");
    let node = founder(folder.path());
    let tickets = node.good(&["invite", "--list", "--json"]);
    assert!(tickets.contains("expires"), "{tickets}");
    node.good(&["invite"]);
    stop(node);
    assert!(folder.path().join("issued.damaged").exists(), "kept as it was found");
    stop(founder(folder.path()));
}

#[cfg(unix)]
#[test]
fn a_data_folder_whose_path_is_no_text_is_that_folder() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let parent = tempfile::tempdir().expect("folder");
    let data = parent.path().join(OsStr::from_bytes(b"d\xff"));
    stop(Node::start_in(&data, &[]));
    assert!(data.join("identity").is_file());
    assert_eq!(fs::read_dir(parent.path()).expect("readable").count(), 1, "no other folder");
}

#[test]
fn without_a_home_nothing_is_put_into_the_current_folder() {
    let here = tempfile::tempdir().expect("folder");
    for home in [None, Some(""), Some("relative")] {
        let mut command = program();
        command.args(["up", "--print-config"]).current_dir(here.path());
        for variable in ["HOME", "XDG_DATA_HOME", "LOCALAPPDATA", "USERPROFILE"] {
            command.env_remove(variable);
        }
        if let Some(home) = home {
            command.env("HOME", home);
        }
        let run = run(&mut command, b"");
        let line = run.stdout.lines().find(|line| line.starts_with("data_dir"));
        match line {
            // The list of users says where the home is.
            Some(line) => {
                let path = line.split('"').nth(1).expect("a path");
                assert!(Path::new(path).is_absolute(), "{home:?}: {line}");
            }
            None => assert_eq!(run.code, 2, "{home:?}: {}", run.stderr),
        }
    }
}
