//! The example client in Python, where there is a Python.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use crate::process::{Node, Run, run};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/python/potluck.py");

fn python(node: &Node) -> Command {
    let mut command = Command::new("python3");
    command.env("POTLUCK_NODE", &node.url).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Whether this machine can run it; says so if it cannot.
fn has_python() -> bool {
    let version = "import sys; sys.exit(sys.version_info < (3, 10))";
    let status = Command::new("python3").args(["-c", version]).status();
    let has = status.is_ok_and(|status| status.success());
    if !has {
        let _ = writeln!(std::io::stderr(), "skipped: this machine has no Python 3.10");
    }
    has
}

fn script(node: &Node, text: &str) -> Run {
    let folder = std::path::Path::new(PROGRAM).parent().expect("a folder");
    let text = format!("import sys; sys.path.insert(0, {folder:?})\nfrom potluck import *\n{text}");
    run(python(node).args(["-c", &text]), b"")
}

#[test]
fn the_python_client_puts_gets_merges_and_counts() {
    if !has_python() {
        return;
    }
    let first = Node::start(&[]);
    let second = Node::start(&[&first.contact]);
    let put = run(python(&first).args([PROGRAM, "put", "greeting", "hello"]), b"");
    assert_eq!(put.code, 0, "{}", put.stderr);
    assert!(put.stdout.ends_with("acknowledged\n"), "{}", put.stdout);
    let get = run(python(&second).args([PROGRAM, "get", "greeting"]), b"");
    assert_eq!((get.code, get.stdout.as_str()), (0, "hello\n"), "{}", get.stderr);
    assert_eq!(run(python(&second).args([PROGRAM, "get", "nothing"]), b"").code, 3);

    first.good(&["put", "list", "a", "--context", "none"]);
    second.good(&["put", "list", "b", "--context", "none"]);
    let merged = script(
        &first,
        "node = Potluck()\n\
         try:\n    node.get('list')\n\
         except Conflict as both:\n    print(sorted(both.values))\n\
         node.update('list', lambda all: b' '.join(sorted(all)))\n\
         print(node.get('list'))\n\
         node.update('list', lambda all: all[0] + b' c')\n\
         node.update('new', lambda all: b'%d' % len(all))\n\
         print(node.get('list'), node.get('new'), node.increment('n', 3), node.increment('n'))",
    );
    let wanted = "[b'a', b'b']\nb'a b'\nb'a b c' b'0' 3 4\n";
    assert_eq!((merged.code, merged.stdout.as_str()), (0, wanted), "{}", merged.stderr);
}

#[test]
fn the_python_chat_needs_no_host() {
    if !has_python() {
        return;
    }
    let first = Node::start(&[]);
    let second = Node::start(&[&first.contact]);
    let mut hears = python(&second)
        .args([PROGRAM, "chat", "kitchen", "bob"])
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut lines = BufReader::new(hears.stdout.take().expect("piped")).lines();
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        lines.by_ref().map_while(Result::ok).try_for_each(|it| sender.send(it))
    });
    // What is said before the other listens is not repeated, so it is said until it is heard.
    crate::process::wait_until("bob hears alice", || {
        let said = run(
            python(&first).args([PROGRAM, "chat", "kitchen", "alice"]),
            "grüß dich\n".as_bytes(),
        );
        assert_eq!(said.code, 0, "{}", said.stderr);
        heard.try_iter().any(|line| line == "alice: grüß dich")
    });
    hears.kill().expect("it runs");
    hears.wait().expect("it ended");
}
