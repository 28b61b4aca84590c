//! Codes of errors, each made to happen once, over HTTP and on the command line. Those that need a fault of
//! the system or a race are tested beside the code that gives them.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::http::{ask, json};
use crate::process::{Node, program, run, up};

const BYTES: (&str, &str) = ("content-type", "application/octet-stream");
const JSON: (&str, &str) = ("content-type", "application/json");
const NO_SETTING: &[u8] = b"{\"key\":\"nonsense\",\"value\":\"1\"}";

type Header<'a> = (&'a str, &'a str);

/// The code of the problem that this request gets.
fn code_of(node: &Node, method: &str, path: &str, headers: &[Header<'_>], body: &[u8]) -> String {
    let answer = ask(method, &format!("{}{path}", node.url), headers, body);
    let status = answer.status();
    assert!(status.as_u16() >= 400, "{method} {path}: {status}");
    json(answer)["code"].as_str().expect("a code").to_owned()
}

#[test]
fn wrong_requests_have_their_codes() {
    let node = Node::start(&[]);
    node.good(&["put", "a", "1"]);
    let id = "ab".repeat(32);
    let kv = |query: &str| format!("/v1/kv/a?{query}");
    let own = format!("/v1/kv/a?space=own/{id}");
    let puts: [(&str, &[Header<'_>], &str); 11] = [
        ("/v1/kv/a", &[BYTES, ("x-potluck-context", "?")], "badContext"),
        ("/v1/kv/a", &[("content-type", "text/plain")], "contentType"),
        ("/v1/kv/a", &[BYTES, ("origin", "http://evil.example")], "foreignOrigin"),
        ("/v1/kv/a", &[BYTES, ("host", "evil.example")], "hostRefused"),
        ("/v1/kv/a", &[BYTES, ("if-match", "\"x\"")], "preconditionFailed"),
        (&kv("kind=nonsense"), &[BYTES], "badKind"),
        (&kv("ttl=soon"), &[BYTES], "badTtl"),
        (&kv("w=0"), &[BYTES], "badQuery"),
        (&kv("space=nowhere"), &[BYTES], "badSpace"),
        (&own, &[BYTES], "notOwner"),
        ("/v1/kv/name?space=content", &[BYTES], "badName"),
    ];
    for (path, headers, code) in puts {
        assert_eq!(code_of(&node, "PUT", path, headers, b"x"), code, "{path} {headers:?}");
    }
    let content = [BYTES, ("if-match", "\"x\"")];
    assert_eq!(code_of(&node, "PUT", "/v1/kv/-?space=content", &content, b"x"), "badCondition");
    assert_eq!(code_of(&node, "POST", "/v1/kv/a", &[JSON], b"{\"op\":1}"), "badBody");
    assert_eq!(code_of(&node, "POST", "/v1/status", &[], b""), "noSuchMethod");
    assert_eq!(code_of(&node, "GET", "/v1/nowhere", &[], b""), "noSuchPath");
    assert_eq!(code_of(&node, "GET", "/v1/files/nonsense", &[], b""), "badId");
    assert_eq!(code_of(&node, "GET", "/v1/search?q=...", &[], b""), "badSearch");
    assert_eq!(code_of(&node, "PUT", "/v1/log", &[JSON], b"{\"levels\":\"loud\"}"), "badLevels");
    let posts: [(&str, &str, &str); 7] = [
        ("/v1/join", "{\"entry\":[\"nonsense@nowhere\"]}", "badContact"),
        ("/v1/fetches", "{\"link\":\"nonsense\",\"to\":\"/tmp\"}", "badLink"),
        ("/v1/shares", "{\"path\":\"relative\"}", "badPath"),
        ("/v1/shares", "{\"path\":\"/proc/version-none\"}", "outsidePaths"),
        ("/v1/teams", "{\"name\":\"\"}", "badName"),
        ("/v1/invites", "{\"uses\":1,\"reusable\":true}", "badTerms"),
        ("/v1/topics/potluck%2Fx", "", "badTopic"),
    ];
    for (path, body, code) in posts {
        let kind = if body.is_empty() { BYTES } else { JSON };
        assert_eq!(code_of(&node, "POST", path, &[kind], body.as_bytes()), code, "{path} {body}");
    }
    assert_eq!(code_of(&node, "GET", "/v1/teams/nonsense", &[], b""), "badTeam");
    let setting = code_of(&node, "PUT", "/v1/network/settings", &[JSON], NO_SETTING);
    assert_eq!(setting, "unknownSetting");
    let file = ask("POST", &format!("{}/v1/files?name=f", node.url), &[BYTES], b"0123456789");
    let path = format!("/v1/files/{}", json(file)["id"].as_str().expect("an id"));
    assert_eq!(code_of(&node, "GET", &path, &[("range", "bytes=99-")], b""), "badRange");
}

#[test]
fn paths_that_cannot_be_shared_or_written_have_their_codes() {
    let node = Node::start(&[]);
    let share = |path: &Path| {
        let body = serde_json::json!({"path": path}).to_string();
        code_of(&node, "POST", "/v1/shares", &[JSON], body.as_bytes())
    };
    assert_eq!(share(&node.data.join("files/none")), "noSuchFile");
    assert_eq!(share(&node.data.join("identity")), "ownFolder");
    let pipe = node.data.join("files/pipe");
    fs::create_dir_all(node.data.join("files")).expect("made");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        assert_eq!(share(&pipe), "notPlain");
    }
}

/// The code of the error line that the program ends with.
fn error_of(arguments: &[&str], stdin: &[u8]) -> String {
    let run = run(program().arg("--json").args(arguments), stdin);
    let line = run.stderr.lines().last().unwrap_or_default().to_owned();
    let error: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
    error["error"]["code"].as_str().expect("a code").to_owned()
}

#[test]
fn wrong_commands_have_their_codes() {
    let node = Node::start(&[]);
    let of = |arguments: &[&str], stdin: &[u8]| {
        error_of(&[&["--node", &node.url], arguments].concat(), stdin)
    };
    assert_eq!(of(&["import", "-"], b"nonsense\n"), "badBackup");
    assert_eq!(of(&["verify", &node.data.to_string_lossy()], b""), "inUse");
    assert_eq!(error_of(&["--node", &crate::process::no_node(), "status"], b""), "noNode");
    let there = node.data.join("files");
    fs::create_dir_all(&there).expect("made");
    fs::write(there.join("f"), "one").expect("written");
    let link = of_link(&node, &there.join("f"));
    let taken = there.join("taken");
    fs::create_dir_all(&taken).expect("made");
    fs::write(taken.join("f"), "other").expect("written");
    let code = of(&["fetch", &link, "-o", &taken.to_string_lossy()], b"");
    assert!(["exists", "filesLeft", "refused"].contains(&&*code), "{code}");
}

fn of_link(node: &Node, path: &Path) -> String {
    node.good(&["share", &path.to_string_lossy()]).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn what_answers_and_is_no_node_has_its_code() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", other.local_addr().expect("bound"));
    let answers = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        if let Ok((mut stream, _)) = other.accept() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        }
    });
    assert_eq!(error_of(&["--node", &url, "status"], b""), "notPotluck");
    answers.join().expect("it ends");
}

#[test]
fn a_data_folder_in_use_has_its_code() {
    let node = Node::start(&[]);
    let run = run(up(&node.data).arg("--json"), b"");
    assert!(
        run.stderr.contains("\"folderInUse\"") || run.stderr.contains("is in use"),
        "{}",
        run.stderr
    );
    assert_eq!(run.code, 1, "{}", run.stderr);
}
