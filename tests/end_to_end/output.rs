//! What is written to stdout: all of it, or the command has failed.

#![cfg(target_os = "linux")]

use std::fs::{File, OpenOptions};
use std::io::pipe;
use std::process::{Command, Stdio};

use crate::files::file_of;
use crate::process::{Node, Run, ended, program, up, wait_until};
use crate::topics::metric;

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has it")
}

/// Runs a command whose stdout is this; what it says on stderr.
fn into(command: &mut Command, stdout: impl Into<Stdio>) -> Run {
    let child = command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    ended(child)
}

/// A pipe whose reader has gone away.
fn closed() -> Stdio {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

const WITHOUT_NODE: &[&[&str]] = &[
    &[],
    &["--help"],
    &["--version"],
    &["help", "put"],
    &["put", "--help"],
    &["network", "key", "--help"],
    &["completions", "bash"],
    &["completions", "zsh"],
    &["sim"],
    &["sim", "--json"],
    &["up", "--print-config"],
];

/// Every command that prints something, each in both forms.
fn with_node(node: &Node) -> Vec<Vec<String>> {
    let file = file_of(node, "soup", b"leek").to_string_lossy().into_owned();
    let id = blake3::hash(b"leek").to_hex().to_string();
    let commands: &[&[&str]] = &[
        &["put", "a", "1"],
        &["get", "a"],
        &["get", "a", "--all"],
        &["trace", "a"],
        &["status"],
        &["peers"],
        &["members"],
        &["share", &file],
        &["files"],
        &["pin", &id],
        &["unpin", &id],
        &["gc", "--dry-run"],
        &["network", "show"],
        &["del", "a"],
    ];
    let plain = commands.iter().map(|command| command.to_vec());
    let json = commands.iter().map(|command| [*command, &["--json"]].concat());
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
    // What is deleted at the end of the one is written at the beginning of the other.
    // A node that has an entry point which does not answer stores nothing: that comes last.
    let nobody = crate::process::at_port(9);
    let join = ["join", &nobody];
    let last = [vec!["pub", "t", "x", "--json"], [&join[..], &["--json"]].concat(), join.to_vec()];
    let all = plain.chain(json).chain(last);
    all.map(owned).collect()
}

fn check_unwritten(run: &Run, what: &str) {
    assert_eq!(run.code, 1, "{what}: {}", run.stderr);
    assert!(run.stderr.contains("cannot write the output"), "{what}: {}", run.stderr);
    assert_eq!(run.stderr.trim_end().lines().last().map(str::is_empty), Some(false));
}

#[test]
fn output_that_cannot_be_written_is_exit_1_for_every_command() {
    for arguments in WITHOUT_NODE {
        let run = into(program().args(*arguments), full());
        check_unwritten(&run, &format!("{arguments:?}"));
        let run = into(program().args(*arguments), closed());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?}");
    }
    let node = Node::start(&[]);
    for arguments in with_node(&node) {
        let mut command = program();
        let run = into(command.args(["--node", &node.url]).args(&arguments), full());
        check_unwritten(&run, &format!("{arguments:?}"));
    }
    let node = Node::start(&[]);
    for arguments in with_node(&node) {
        let mut command = program();
        let run = into(command.args(["-q", "--node", &node.url]).args(&arguments), closed());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn a_conflict_and_a_stream_that_cannot_be_written_are_exit_1() {
    let node = Node::start(&[]);
    for value in ["soup", "salad"] {
        node.good(&["put", "menu", value, "--context", "none"]);
    }
    for arguments in [&["get", "menu", "--all"][..], &["get", "menu", "--json"]] {
        let run = into(program().args(["--node", &node.url]).args(arguments), full());
        check_unwritten(&run, &format!("{arguments:?}"));
    }
    for (number, form) in [&[][..], &["--json"], &["-0"]].into_iter().enumerate() {
        let mut command = program();
        command.args(["--node", &node.url, "sub", "t"]).args(form);
        for (stdout, code) in [(full().into(), 1), (closed(), 0)] {
            let child = command
                .stdin(Stdio::null())
                .stdout::<Stdio>(stdout)
                .stderr(Stdio::piped())
                .spawn()
                .expect("the program starts");
            wait_until("it listens", || metric(&node, "potluck_topics_subscriptions ") >= 1.0);
            node.good(&["pub", "t", "x"]);
            let run = ended(child);
            assert_eq!(run.code, code, "{number} {form:?}: {}", run.stderr);
            wait_until("it has gone", || {
                // A node learns that a reader is gone when it writes.
                node.good(&["pub", "t", "y"]);
                metric(&node, "potluck_topics_subscriptions ") == 0.0
            });
        }
    }
}

#[test]
fn a_node_that_cannot_say_where_it_is_does_not_run() {
    let folder = tempfile::tempdir().expect("folder");
    let run = into(&mut up(folder.path()), full());
    check_unwritten(&run, "up");
    // stdin at its end stops a node at once, so this one is asked through its own handle.
    let mut command = up(folder.path());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(closed())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let url = folder.path().join("http");
    wait_until("it runs", || url.exists());
    assert!(child.try_wait().expect("it can be asked").is_none(), "a closed pipe is no reason");
    drop(child.stdin.take());
    assert_eq!(ended(child).code, 0);
}
