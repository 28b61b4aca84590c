//! Bad input: one sentence, and the exit code that belongs to it.

use std::fs;
use std::net::{TcpListener, UdpSocket};

use crate::process::{Node, Run, any_port, listening, program, run, up};

/// One sentence that says something about it.
fn refused(run: &Run, code: i32, about: &str) {
    assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr.trim_end().lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains(about), "nothing about {about}: {}", run.stderr);
    assert!(run.stderr.len() < 500, "{}", run.stderr);
}

#[test]
fn wrong_usage_is_refused_without_any_node() {
    let long = "x".repeat(10 * 1024);
    let key = "ab".repeat(32);
    let cases: &[(&[&str], &str)] = &[
        (&["--frobnicate"], "--frobnicate"),
        (&["frobnicate"], "frobnicate"),
        (&["demo", "--keyz", "3"], "--keys"),
        (&["get"], "NAME"),
        (&["get", ""], "at least one byte"),
        (&["get", &long], "512"),
        (&["put", &long, "x"], "512"),
        (&["put", "a", "@/nowhere/at/all"], "/nowhere/at/all"),
        (&["put", "a", "b", "-w", "0"], "-w"),
        (&["--node", "ftp://x", "get", "a"], "http://"),
        (&["--token-file", "/nowhere", "get", "a"], "/nowhere"),
        (&["merge", "a"], "merge"),
        (&["join", "garbage@nowhere"], "entry point"),
        (&["up", "--admission", "lab", "garbage@127.0.0.1:1"], "entry point"),
        (&["up", "--admission", "lab", &format!("{key}@127.0.0.1")], "entry point"),
        (&["up", "--admission", "lab", &long], "entry point"),
        (&["up", "--admission", "lab", "--listen", "nonsense"], "--listen"),
        (&["up", "--admission", "lab", "--listen", "[fe80::1%lo]:7"], "--listen"),
        (&["up", "--admission", "friends"], "--admission"),
        (&["up", "--admission", "open"], "--network NAME"),
        (&["up", "--data", "/nowhere", "10.0.0.1:7"], "--admission lab"),
        (&["up", "--data", "/nowhere", "potluck-ticket:abc"], "copy it again"),
        (&["up", "--data", "/nowhere", "--ticket-file", "/nowhere/at/all"], "/nowhere/at/all"),
        (&["invite", "--uses", "0"], "--uses"),
        (&["invite", "--label", "nonsense"], "K=V"),
        (&["up", "--admission", "lab", "--http", "0.0.0.0:0"], "token_file"),
        (&["demo", "--nodes", "5", "--kill", "4"], "--nodes"),
        (&["demo", "--file", "/nowhere/at/all"], "/nowhere/at/all"),
        (&["share", "/nowhere/at/all"], "/nowhere/at/all"),
        (&["share", "/", "--as", &long], "512"),
        (&["fetch"], "LINK"),
        (&["fetch", "potluck:nonsense"], "damaged"),
        (&["fetch", &long], "512"),
        (&["unshare", "nonsense"], "64 hexadecimal digits"),
        (&["demo", "--load", "/nowhere/at/all"], "/nowhere/at/all"),
    ];
    for (arguments, about) in cases {
        refused(&run(program().args(*arguments), b""), 2, about);
        let mut command = program();
        let json = run(command.arg("--json").args(*arguments), b"");
        let error: serde_json::Value = serde_json::from_str(&json.stderr).expect("one JSON line");
        assert_eq!(error["error"]["exit"], 2, "{arguments:?}");
    }
}

#[test]
fn values_over_the_limit_are_refused_by_client_and_node() {
    let node = Node::start(&[]);
    let run = node.run_with(&["put", "a", "-"], &vec![0; 64 * 1024 + 1]);
    refused(&run, 2, "65536");
    assert_eq!(node.run_with(&["put", "a", "-"], &vec![0; 64 * 1024]).code, 0);
    let file = node.data.join("small.toml");
    fs::write(&file, "[kv]\nmax_value_bytes = 10\n").expect("written");
    let small = Node::start(&["--config", &file.to_string_lossy()]);
    refused(&small.run(&["put", "a", "12345678901"]), 2, "10 bytes");
}

#[test]
fn unknown_and_contradictory_configuration_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("potluck.toml");
    let cases = [
        ("[kv]\nreplicaton = 3\n", "replication"),
        ("[kw]\nreplication = 3\n", "[kv]"),
        ("[kv]\nreplication = \"three\"\n", "whole number"),
        ("[kv]\nreplication = 20\n", "siblings"),
        ("[files]\npaths = [\"here\"]\n", "absolute"),
        ("[files]\nupload_rate = 1\n", "16KiB"),
        ("[kv]\nreplication = 3\nwrite_quorum = 4\n", "quorum"),
        ("this is no TOML", "line 1"),
    ];
    for (text, about) in cases {
        fs::write(&file, text).expect("written");
        let run = run(up(folder.path()).arg("--config").arg(&file), b"");
        refused(&run, 2, about);
    }
    let missing = folder.path().join("missing.toml");
    refused(&run(up(folder.path()).arg("--config").arg(missing), b""), 2, "missing.toml");
    let variable = run(up(folder.path()).env("POTLUCK_KV_REPLICATON", "3"), b"");
    refused(&variable, 2, "POTLUCK_KV_REPLICATION");
}

#[test]
fn what_is_taken_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let udp = UdpSocket::bind(any_port()).expect("a port");
    let tcp = TcpListener::bind(any_port()).expect("a port");
    let udp_address = udp.local_addr().expect("bound");
    let tcp_address = tcp.local_addr().expect("bound");
    let base = ["up", "--network", "test", "--admission", "lab", "--exit-with-stdin", "--data"];
    let with = |listen: &str, http: &str| {
        let mut command = program();
        run(command.args(base).arg(folder.path()).args(["--listen", listen, "--http", http]), b"")
    };
    let port = with(&udp_address.to_string(), &any_port());
    refused(&port, 1, &udp_address.port().to_string());
    let port = with(&any_port(), &tcp_address.to_string());
    refused(&port, 1, &tcp_address.port().to_string());

    let node = Node::start_in(folder.path(), &[]);
    refused(&with(&any_port(), &any_port()), 1, "in use");
    assert_eq!(node.run(&["status"]).code, 0);
}

#[test]
fn a_data_folder_belongs_to_one_network() {
    let folder = tempfile::tempdir().expect("folder");
    drop(Node::start_in(folder.path(), &[]));
    let mut command = program();
    command.args(["up", "--network", "other", "--admission", "lab", "--exit-with-stdin", "--data"]);
    command.arg(folder.path()).args(listening());
    refused(&run(&mut command, b""), 2, "test");
}

#[test]
fn a_damaged_identity_is_no_reason_to_become_somebody_else() {
    let folder = tempfile::tempdir().expect("folder");
    drop(Node::start_in(folder.path(), &[]));
    fs::write(folder.path().join("identity"), "garbage").expect("written");
    refused(&run(&mut up(folder.path()), b""), 7, "damaged");
}
