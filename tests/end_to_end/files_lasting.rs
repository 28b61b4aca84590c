//! Files across kills, restarts and changes.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::files::{fetch, file_of, json as parsed, share, two};
use crate::http::{ask, get, json as body};
use crate::process::{Node, PATIENCE, noise, wait_until};

fn begin(node: &Node, link: &str) -> Value {
    let request = json!({"link": link, "to": node.data.join("files/got")}).to_string();
    let url = format!("{}/v1/fetches", node.url);
    let kind = [("content-type", "application/json")];
    let answer = ask("POST", &url, &kind, request.as_bytes());
    assert_eq!(answer.status(), 202);
    body(answer)
}

/// Asks for a fetch until it is so.
fn until(node: &Node, job: &Value, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/fetches/{}", job["id"].as_str().expect("an id"));
    let mut last = job.clone();
    wait_until(what, || {
        last = body(get(node, &path));
        assert_ne!(last["state"], "failed", "{last}");
        is_so(&last)
    });
    last
}

#[test]
fn a_fetch_goes_on_where_a_killed_node_had_stopped() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("slow.toml");
    fs::write(&config, "[files]\nupload_rate = \"2MiB\"\n").expect("written");
    let sharer = Node::start(&["--config", &config.to_string_lossy()]);
    let bytes = noise(5, 10 << 20);
    let link = share(&sharer, &file_of(&sharer, "long.bin", &bytes));

    let data = folder.path().join("data");
    let mut fetcher = Node::start_in(&data, &[&sharer.contact]);
    let job = begin(&fetcher, &link);
    until(&fetcher, &job, "some of it is there", |job| job["bytes"].as_u64() > Some(2 << 20));
    fetcher.kill();

    let again = Node::start_in(&data, &[&sharer.contact]);
    let job = begin(&again, &link);
    let done = until(&again, &job, "all of it is there", |job| job["state"] == "done");
    let result = &done["result"];
    let resumed = result["resumedBytes"].as_u64().expect("a number");
    assert!(resumed > 1 << 20 && resumed < 10 << 20, "{result}");
    let from_sharer = result["sources"][0]["bytes"].as_u64().expect("a number");
    assert_eq!(resumed + from_sharer, 10 << 20, "{result}");
    assert!(fs::read(data.join("files/got/long.bin")).expect("it is there") == bytes);
}

#[test]
fn a_fetch_that_is_called_off_ends_and_can_go_on() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("slow.toml");
    fs::write(&config, "[files]\nupload_rate = \"1MiB\"\n").expect("written");
    let sharer = Node::start(&["--config", &config.to_string_lossy()]);
    let fetcher = Node::start(&[&sharer.contact]);
    let link = share(&sharer, &file_of(&sharer, "long.bin", &noise(6, 40 << 20)));
    let job = begin(&fetcher, &link);
    until(&fetcher, &job, "some of it is there", |job| job["bytes"].as_u64() > Some(0));
    // The same again is the same fetch.
    assert_eq!(begin(&fetcher, &link)["id"], job["id"]);
    let url = format!("{}/v1/fetches/{}", fetcher.url, job["id"].as_str().expect("an id"));
    let called_off = Instant::now();
    assert_eq!(body(ask("DELETE", &url, &[], b""))["state"], "cancelled");
    assert!(called_off.elapsed() < PATIENCE);
    let next = begin(&fetcher, &link);
    assert_ne!(next["id"], job["id"]);
    let all = body(get(&fetcher, "/v1/fetches"));
    let states: Vec<&Value> =
        all["fetches"].as_array().expect("a list").iter().map(|job| &job["state"]).collect();
    assert_eq!(states, [&json!("cancelled"), &json!("running")]);
}

#[test]
fn a_file_that_changed_is_shown_and_not_given_to_anybody() {
    let (first, second) = two();
    let path = file_of(&first, "diary", b"what was shared");
    let link = share(&first, &path);
    fs::write(&path, b"something else, and longer").expect("written");
    // A request for it makes the node check.
    let failed = fetch(&second, &[&link]);
    assert_eq!(failed.code, 5, "{}", failed.stderr);
    assert!(!second.data.join("files/got/diary").exists());
    wait_until("it is shown as changed", || {
        let files = parsed(&first.good(&["files", "--json"]));
        files["files"][0]["state"] == "changed"
    });
    let id = parsed(&first.good(&["files", "--json"]))["files"][0]["id"].clone();
    let read = get(&first, &format!("/v1/files/{}", id.as_str().expect("an id")));
    assert_ne!(read.status(), 200);
    // What it has become can be shared.
    let link = share(&first, &path);
    let fetched = fetch(&second, &[&link]);
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    let now = fs::read(second.data.join("files/got/diary")).expect("it is there");
    assert_eq!(now, b"something else, and longer");
}

#[test]
fn what_was_deleted_or_changed_after_a_fetch_can_be_fetched_again() {
    let (first, second) = two();
    let bytes = noise(8, 300_000);
    let link = share(&first, &file_of(&first, "again", &bytes));
    let landed = second.data.join("files/got/again");
    assert_eq!(fetch(&second, &[&link]).code, 0);
    fs::remove_file(&landed).expect("removed");
    let fetched = fetch(&second, &[&link]);
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    assert_eq!(fs::read(&landed).expect("it is there"), bytes);
    fs::write(&landed, b"my own notes").expect("written");
    assert_eq!(fetch(&second, &[&link]).code, 6);
    fs::rename(&landed, second.data.join("files/notes")).expect("moved");
    let fetched = fetch(&second, &[&link]);
    assert_eq!(fetched.code, 0, "{}", fetched.stderr);
    assert_eq!(fs::read(&landed).expect("it is there"), bytes);
}

#[test]
fn what_was_shared_is_offered_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let mut sharer = Node::start_in(folder.path(), &[]);
    let bytes = noise(7, 200_000);
    let link = share(&sharer, &file_of(&sharer, "lasting", &bytes));
    sharer.close_stdin();
    sharer.ended();
    let sharer = Node::start_in(folder.path(), &[]);
    let fetcher = Node::start(&[&sharer.contact]);
    wait_until("it can be fetched", || fetch(&fetcher, &[&link]).code == 0);
    assert_eq!(fs::read(fetcher.data.join("files/got/lasting")).expect("it is there"), bytes);
}
