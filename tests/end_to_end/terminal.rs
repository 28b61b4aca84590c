//! What is seen on a terminal: nothing of others steers it, and lines fit.

#![cfg(unix)]

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::files::file_of;
use crate::http::ask;
use crate::process::{Node, PATIENCE, ended, noise, program, wait_until};
use crate::topics::metric;

/// A clear screen, a title, an overwritten line, a forged one.
const HOSTILE: &str = "one\x1b[2J\x1b]0;owned\x07\rtwo\nthree \u{9b}31m\u{202e}";

/// Runs a command on a terminal of this width; returns its exit code and output.
fn on_terminal(columns: u16, command: &mut Command, then: impl FnOnce()) -> (i32, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("usable");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let path = name.to_str().expect("text").to_owned();
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).expect("a size");
    let open = || File::options().read(true).write(true).open(&path).expect("its other end");
    let child = command
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(open())
        .stderr(open())
        .spawn()
        .expect("the program starts");
    // The command holds the other ends, too, until it is dropped.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (sender, seen) = channel();
    let mut master = File::from(master);
    thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        // On Linux a terminal whose other end is closed is an error.
        while let Ok(read @ 1..) = master.read(&mut buffer) {
            all.extend_from_slice(&buffer[..read]);
        }
        sender.send(all)
    });
    then();
    let code = ended(child).code;
    let seen = seen.recv_timeout(PATIENCE).expect("the terminal is closed");
    (code, String::from_utf8_lossy(&seen).replace("\r\n", "\n"))
}

fn has_controls(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}')
}

#[test]
fn a_value_steers_no_terminal_and_a_program_gets_its_bytes() {
    let node = Node::start(&[]);
    assert_eq!(node.run_with(&["put", "a", "-"], HOSTILE.as_bytes()).code, 0);
    let mut get = program();
    get.args(["--node", &node.url, "get", "a"]);
    let (code, seen) = on_terminal(80, &mut get, || {});
    assert_eq!(code, 0);
    assert!(!has_controls(&seen), "{seen:?}");
    assert!(seen.starts_with("one?[2J?]0;owned??two\nthree ?31m?\n"), "{seen:?}");
    assert!(seen.contains("a terminal cannot show"), "{seen:?}");
    assert_eq!(node.good(&["get", "a"]), HOSTILE);
    let (_, seen) = on_terminal(80, get.arg("--json"), || {});
    assert!(!has_controls(&seen), "{seen:?}");
    let object: serde_json::Value = serde_json::from_str(&seen).expect("JSON");
    assert_eq!(object["value"], HOSTILE);
    // So it is with a watch.
    let mut watch = program();
    watch.args(["--node", &node.url, "watch", "a", "--count", "1"]);
    let (code, seen) = on_terminal(80, &mut watch, || {});
    assert_eq!((code, has_controls(&seen)), (0, false), "{seen:?}");
    assert!(seen.starts_with("one?[2J?]0;owned??two\nthree ?31m?\n"), "{seen:?}");
    assert_eq!(node.good(&["watch", "a", "--count", "1"]), format!("{HOSTILE}\n"));
}

#[test]
fn a_message_is_one_line_for_people_and_exact_for_programs() {
    let node = Node::start(&[]);
    let line = r"one\x1b[2J\x1b]0;owned\x07\rtwo\nthree \u{9b}31m\u{202e}";
    let zero = format!("{HOSTILE}\0");
    let url = format!("{}/v1/topics/t", node.url);
    let say = || {
        wait_until("it listens", || metric(&node, "potluck_topics_subscriptions ") >= 1.0);
        let bytes = [("content-type", "application/octet-stream")];
        assert_eq!(ask("POST", &url, &bytes, HOSTILE.as_bytes()).status(), 202);
    };
    let sub = |form: &[&str]| {
        let mut command = program();
        command.args(["--node", &node.url, "sub", "t", "--count", "1"]).args(form);
        command
    };
    let gone = || {
        wait_until("it has gone", || metric(&node, "potluck_topics_subscriptions ") == 0.0);
    };
    let (code, seen) = on_terminal(80, &mut sub(&[]), say);
    assert_eq!((code, seen), (0, format!("{line}\n")));
    gone();
    let (_, seen) = on_terminal(80, &mut sub(&["--json"]), say);
    assert!(!has_controls(&seen), "{seen:?}");
    gone();
    let (_, seen) = on_terminal(80, &mut sub(&["-0"]), say);
    assert!(!has_controls(&seen.replace('\0', "")), "{seen:?}");
    gone();
    for (form, expected) in [(&[][..], format!("{line}\n")), (&["-0"], zero)] {
        let mut command = sub(form);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        say();
        let run = ended(child);
        assert_eq!((run.code, run.stdout), (0, expected), "{}", run.stderr);
        gone();
    }
    assert_eq!(node.run(&["sub", "t", "-0", "--json"]).code, 2);
}

#[test]
fn what_others_call_things_steers_no_terminal() {
    let node = Node::start(&[]);
    let key = "a\u{202e}b";
    for value in ["soup\x1b[2J", "sal\nad"] {
        assert_eq!(
            node.run_with(&["put", key, "-", "--context", "none"], value.as_bytes()).code,
            0
        );
    }
    for arguments in [
        &["get", key][..],
        &["put", key, "x"],
        &["trace", key],
        &["get", "b\u{202e}c"],
        &["export", "-"],
    ] {
        let run = node.run(arguments);
        let said = run.stdout + &run.stderr;
        assert!(!has_controls(&said), "{arguments:?}: {said:?}");
    }
}

/// The lines that were drawn, without the sequences that move the cursor.
fn drawn(seen: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = seen.chars();
    while let Some(letter) = rest.next() {
        if letter == '\x1b' {
            // A sequence ends with a letter.
            rest.find(char::is_ascii_alphabetic);
        } else {
            text.push(letter);
        }
    }
    text.split(['\r', '\n']).map(str::to_owned).filter(|line| !line.trim().is_empty()).collect()
}

#[test]
fn progress_fits_into_40_and_80_columns() {
    let folder = tempfile::tempdir().expect("folder");
    let slow = folder.path().join("slow.toml");
    std::fs::write(&slow, "[files]\nupload_rate = \"1MiB\"\n").expect("written");
    let first = Node::start(&["--config", &slow.to_string_lossy()]);
    let second = Node::start(&[&first.contact]);
    for (number, columns) in [40_u16, 80].into_iter().enumerate() {
        let bytes = noise(number as u64, 3 << 20);
        let path = file_of(&first, "a-rather-long-name-of-a-file.bin", &bytes);
        let link = first.good(&["share", &path.to_string_lossy(), "--copy"]);
        let to = second.data.join(format!("files/got-{columns}"));
        let mut fetch = program();
        fetch.args(["--node", &second.url, "fetch", link.trim(), "-o"]).arg(&to);
        let (code, seen) = on_terminal(columns, &mut fetch, || {});
        assert_eq!(code, 0, "{seen}");
        let lines = drawn(&seen);
        // The last two are the path and the summary, which people read at leisure.
        let progress: Vec<&String> =
            lines.iter().filter(|line| line.contains(" % ") || line.contains(" %,")).collect();
        assert!(progress.iter().any(|line| line.contains(" MiB/s")), "{lines:?}");
        for line in progress {
            assert!(line.trim_end().chars().count() < usize::from(columns), "{columns}: {line:?}");
        }
    }
}
