//! A node as a service: what its manager hears, its log, and its configuration read again.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::process::{Node, run, token, up, wait_until};

/// Sends a request with the node's token.
fn asked(node: &Node, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
    let url = format!("{}{path}", node.url);
    let token = token(&node.url).expect("a node has its token");
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(body.unwrap_or_default().to_owned())
        .expect("a request");
    let mut answer = agent.run(request).expect("an answer");
    let text = answer.body_mut().read_to_string().expect("text");
    (answer.status().as_u16(), serde_json::from_str(&text).expect("JSON"))
}

/// A node with this configuration file.
fn with_file(folder: &Path, text: &str) -> Node {
    fs::write(folder.join("potluck.toml"), text).expect("written");
    let mut command = up(&folder.join("data"));
    Node::start_as(&folder.join("data"), command.arg("--config").arg(folder.join("potluck.toml")))
}

#[test]
fn a_configuration_is_read_again_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("folder");
    let node = with_file(folder.path(), "[files]\nupload_rate = \"1MiB\"\n");
    let (status, same) = asked(&node, "POST", "/v1/reload", None);
    assert_eq!((status, &same["changed"]), (200, &Value::Array(Vec::new())));

    let file = folder.path().join("potluck.toml");
    fs::write(&file, "[files]\nupload_rate = \"2MiB\"\n[kv]\nreplication = 5\n").expect("written");
    let (status, answer) = asked(&node, "POST", "/v1/reload", None);
    let changed = answer["changed"].as_array().expect("a list");
    let told: Vec<(&str, bool)> = changed
        .iter()
        .map(|it| (it["key"].as_str().expect("text"), it["restart"].as_bool().expect("flag")))
        .collect();
    assert_eq!((status, told), (200, vec![("kv.replication", true), ("files.upload_rate", false)]));
    let (_, config) = asked(&node, "GET", "/v1/config", None);
    assert_eq!(config["files"]["upload_rate"], 2 << 20);
    assert_eq!(config["kv"]["replication"], 16, "the node runs by the old value until a restart");
    assert!(node.good(&["status"]).contains("a restart is needed for kv.replication"));

    fs::write(&file, "[files]\nupload_rate = \"3MiB\"\nuplaod_rate = 1\n").expect("written");
    let (status, wrong) = asked(&node, "POST", "/v1/reload", None);
    assert_eq!(status, 400);
    assert!(wrong["detail"].as_str().expect("text").contains("uplaod_rate"), "{wrong}");
    let (_, config) = asked(&node, "GET", "/v1/config", None);
    assert_eq!(config["files"]["upload_rate"], 2 << 20, "nothing of a wrong file is taken");
}

#[cfg(unix)]
#[test]
fn a_token_that_was_replaced_is_wanted_from_the_next_reading_on() {
    let folder = tempfile::tempdir().expect("folder");
    let secret = folder.path().join("secret");
    let write = |text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::write(&secret, text).expect("written");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("set");
    };
    write("one-secret-of-many-letters");
    let node = with_file(folder.path(), &format!("[http]\ntoken_file = {secret:?}\n"));
    let config = |token: &str| {
        let answer = ureq::get(format!("{}/v1/config", node.url))
            .header("authorization", format!("Bearer {token}"))
            .call();
        answer.is_ok()
    };
    assert!(config("one-secret-of-many-letters"));
    write("another-secret-of-many-letters");
    node.signal("HUP");
    wait_until("the new token is taken", || config("another-secret-of-many-letters"));
    assert!(!config("one-secret-of-many-letters"));
}

#[test]
fn the_log_is_json_when_asked_for_and_its_levels_change_at_run_time() {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("fetches"), b"damaged").expect("written");
    let node = Node::start_as(folder.path(), up(folder.path()).args(["--log", "json"]));
    let (_, quiet) = asked(&node, "GET", "/v1/log", None);
    assert_eq!(quiet["levels"], "warn");
    let (status, wrong) = asked(&node, "PUT", "/v1/log", Some(r#"{"levels":"loud"}"#));
    assert_eq!((status, &wrong["code"]), (400, &"badLevels".into()));
    let (status, _) = asked(&node, "PUT", "/v1/log", Some(r#"{"levels":"trace"}"#));
    assert_eq!(status, 200);
    let (_, view) = asked(&node, "GET", "/v1/log", None);
    let lines = view["lines"].as_array().expect("a list").clone();
    assert!(!lines.is_empty(), "the damaged file was told");
    for line in lines {
        let line: Value = serde_json::from_str(line.as_str().expect("text")).expect("JSON");
        for field in ["time", "level", "code", "message", "target"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
        assert_eq!((&line["level"], &line["code"]), (&"warn".into(), &"fetches.read".into()));
    }
    let odd = run(up(folder.path()).env("POTLUCK_LOG", "loud"), b"");
    assert_eq!(odd.code, 2, "{}", odd.stderr);
    assert!(odd.stderr.contains("POTLUCK_LOG must be a level"), "{}", odd.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn the_service_manager_hears_that_the_node_is_ready_alive_reloading_and_stopping() {
    use std::os::unix::net::UnixDatagram;
    let folder = tempfile::tempdir().expect("folder");
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(crate::process::PATIENCE)).expect("set");
    let mut heard = Vec::new();
    let mut hear = |wanted: &str| {
        loop {
            let mut bytes = [0; 4096];
            let length = manager.recv(&mut bytes).expect("a message in time");
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let found = text.lines().any(|line| line.starts_with(wanted));
            heard.push(text);
            if found {
                return heard.concat();
            }
        }
    };
    let data = folder.path().join("data");
    let mut command = up(&data);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "500000");
    let mut node = Node::start_as(&data, &mut command);
    hear("READY=1");
    hear("WATCHDOG=1");
    assert!(hear("STATUS=").contains("STATUS=ok"));
    node.signal("HUP");
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="), "systemd wants it beside");
    hear("READY=1");
    node.terminate();
    hear("STOPPING=1");
    assert!(node.ended().success());
}

#[cfg(target_os = "linux")]
#[test]
fn a_node_that_waits_for_its_network_does_not_say_that_it_is_ready_after_a_reload() {
    use std::os::unix::net::UnixDatagram;
    let folder = tempfile::tempdir().expect("folder");
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_read_timeout(Some(crate::process::PATIENCE)).expect("set");
    let data = folder.path().join("data");
    let mut command = up(&data);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "400000").arg("127.0.0.1:1");
    let node = Node::start_unready(&data, &mut command);
    node.signal("HUP");
    let mut signs = 0;
    while signs < 4 {
        let mut bytes = [0; 4096];
        let length = manager.recv(&mut bytes).expect("a message in time");
        let text = String::from_utf8_lossy(&bytes[..length]);
        assert!(!text.contains("READY=1") && !text.contains("RELOADING=1"), "{text}");
        signs += usize::from(text.contains("WATCHDOG=1"));
    }
}
