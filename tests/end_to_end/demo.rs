//! The demo, small.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use serde_json::Value;

use crate::process::{PATIENCE, noise, program, run, wait_until};

const FILE_BYTES: usize = 20 << 20;

/// A demo that makes its folder in `folder`.
fn demo_in(folder: &Path) -> Command {
    let mut command = program();
    command.env("TMPDIR", folder).env("TEMP", folder).env("TMP", folder);
    command.args(["demo", "--nodes", "5", "--kill", "1"]);
    command
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("readable").next().is_none()
}

/// A demo in the middle of its show.
fn under_way(folder: &Path) -> Child {
    let mut demo = demo_in(folder).stdout(Stdio::piped()).spawn().expect("the program starts");
    let stdout = BufReader::new(demo.stdout.take().expect("piped"));
    let (sender, lines) = channel();
    thread::spawn(move || {
        stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    while !lines.recv_timeout(PATIENCE).expect("a line in time").contains("know each other") {}
    demo
}

#[test]
fn a_small_demo_loses_nothing_and_says_what_it_measured() {
    let folder = tempfile::tempdir().expect("folder");
    let outside = tempfile::tempdir().expect("folder");
    let file = outside.path().join("a file, with a comma");
    std::fs::write(&file, noise(1, FILE_BYTES)).expect("written");
    let mut command = demo_in(folder.path());
    command.args(["--keys", "120", "--seed", "7", "--exit", "--json", "--file"]).arg(&file);
    let demo = run(&mut command, b"");
    assert_eq!(demo.code, 0, "{}", demo.stderr);
    assert_eq!(demo.stdout.lines().count(), 1);
    let figures: Value = serde_json::from_str(&demo.stdout).expect("one object");
    assert_eq!(figures["ok"], true);
    assert_eq!(figures["nodes"], 5);
    assert_eq!(figures["killed"], 1);
    for count in ["written", "readBack", "afterKill"] {
        assert_eq!(figures["records"][count], 120, "{count}");
    }
    let file = &figures["file"];
    assert_eq!(file["bytes"], FILE_BYTES);
    assert_eq!(file["verified"], true);
    assert!(file["seconds"].as_f64() > Some(0.0), "{file}");
    assert!(file["sources"].as_u64() >= Some(1), "{file}");
    assert_eq!(figures["conflicts"]["made"], figures["conflicts"]["merged"]);
    assert!(figures["get"]["hops"]["max"].as_u64() > Some(0));
    assert!(figures["detectionSeconds"]["max"].as_f64() > Some(0.0));
    assert!(is_empty(folder.path()), "the demo left something behind");
}

#[test]
fn files_of_a_folder_come_back_byte_for_byte() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let mut command = program();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    command.args(["demo", "--nodes", "5", "--kill", "1", "--exit", "--json", "--load", source]);
    command.args(["--file", file]);
    let demo = run(&mut command, b"");
    assert_eq!(demo.code, 0, "{}", demo.stderr);
    let figures: Value = serde_json::from_str(&demo.stdout).expect("one object");
    let files = figures["records"]["written"].as_u64().expect("a count");
    assert!(files > 30, "{files}");
    assert_eq!(figures["records"]["afterKill"], files);
}

#[test]
fn a_demo_that_is_killed_leaves_no_process_and_no_folder() {
    let folder = tempfile::tempdir().expect("folder");
    let mut demo = under_way(folder.path());
    demo.kill().expect("it runs");
    demo.wait().expect("it ended");
    // The nodes remove the folder, as the last thing they do.
    wait_until("nothing is left", || is_empty(folder.path()));
}

#[cfg(unix)]
#[test]
fn a_demo_that_is_interrupted_leaves_no_process_and_no_folder() {
    let folder = tempfile::tempdir().expect("folder");
    let mut demo = under_way(folder.path());
    let status = Command::new("kill").args(["-INT", &demo.id().to_string()]).status();
    assert!(status.expect("there is a kill command").success());
    let mut status = None;
    wait_until("the demo ends", || {
        status = demo.try_wait().expect("it can be asked");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(1));
    assert!(is_empty(folder.path()));
}
