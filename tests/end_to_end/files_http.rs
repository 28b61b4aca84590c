//! Files over HTTP.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::files::{file_of, two};
use crate::http::{Response, ask, get, header, json as body, problem};
use crate::process::{Node, noise};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn post(node: &Node, path: &str, object: &Value) -> Response {
    ask("POST", &format!("{}{path}", node.url), &JSON, object.to_string().as_bytes())
}

fn upload(node: &Node, name: &str, bytes: &[u8]) -> Value {
    let url = format!("{}/v1/files?name={name}", node.url);
    let answer = ask("POST", &url, &[("content-type", "application/octet-stream")], bytes);
    assert_eq!(answer.status(), 201);
    body(answer)
}

fn bytes_of(mut response: Response) -> Vec<u8> {
    response.body_mut().with_config().limit(1 << 30).read_to_vec().expect("a body")
}

#[test]
pub(crate) fn an_upload_is_served_whole_and_in_parts() {
    let node = Node::start(&[]);
    let bytes = noise(1, 1_000_003);
    let uploaded = upload(&node, "photo.png", &bytes);
    assert_eq!((&uploaded["bytes"], &uploaded["files"]), (&1_000_003.into(), &1.into()));
    let path = format!("/v1/files/{}", uploaded["id"].as_str().expect("an id"));
    let url = format!("{}{path}", node.url);
    let whole = get(&node, &path);
    assert_eq!(whole.status(), 200);
    for (name, value) in [
        ("content-length", "1000003"),
        ("accept-ranges", "bytes"),
        ("content-type", "image/png"),
        ("content-disposition", "inline; filename=\"photo.png\""),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(header(&whole, name), value, "{name}");
    }
    let tag = header(&whole, "etag");
    assert_eq!(tag, format!("\"{}\"", uploaded["id"].as_str().expect("an id")));
    assert!(bytes_of(whole) == bytes);

    let head = ask("HEAD", &url, &[], b"");
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, "1000003".into()));
    assert_eq!(ask("GET", &url, &[("if-none-match", &tag)], b"").status(), 304);
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=65530-589900", 65_530, 589_901),
        ("bytes=1000000-", 1_000_000, 1_000_003),
        ("bytes=-5", 999_998, 1_000_003),
        ("bytes=999999-2000000", 999_999, 1_000_003),
    ] {
        let part = ask("GET", &url, &[("range", range)], b"");
        assert_eq!(part.status(), 206, "{range}");
        let shown = format!("bytes {from}-{}/1000003", to - 1);
        assert_eq!(header(&part, "content-range"), shown, "{range}");
        assert!(bytes_of(part) == bytes[from..to], "{range}");
    }
    let beyond = ask("GET", &url, &[("range", "bytes=1000003-")], b"");
    assert_eq!(header(&beyond, "content-range"), "bytes */1000003");
    problem(beyond, 416, 2);
    let other = [("range", "bytes=0-0"), ("if-range", "\"another\"")];
    assert_eq!(ask("GET", &url, &other, b"").status(), 200);
}

#[test]
fn files_of_a_folder_are_served_by_their_paths_while_they_are_fetched() {
    let (first, second) = two();
    let large = noise(2, 2_000_000);
    file_of(&first, "site/index.html", b"<h1>hello</h1>");
    file_of(&first, "site/empty.txt", b"");
    file_of(&first, "site/data/large.bin", &large);
    let shared = post(&first, "/v1/shares", &json!({"path": first.data.join("files/mine/site")}));
    assert_eq!(shared.status(), 201);
    let shared = body(shared);
    let id = shared["id"].as_str().expect("an id");
    // The second node has nothing of it yet.
    let page = get(&second, &format!("/v1/files/{id}/index.html"));
    assert_eq!(header(&page, "content-type"), "text/html");
    assert!(header(&page, "content-disposition").starts_with("attachment"));
    assert_eq!(bytes_of(page), b"<h1>hello</h1>");
    assert!(bytes_of(get(&second, &format!("/v1/files/{id}/empty.txt"))).is_empty());
    let url = format!("{}/v1/files/{id}/data/large.bin", second.url);
    let part = ask("GET", &url, &[("range", "bytes=1500000-1600000")], b"");
    assert_eq!(part.status(), 206);
    assert!(bytes_of(part) == large[1_500_000..=1_600_000]);
    assert!(bytes_of(ask("GET", &url, &[], b"")) == large);
    problem(get(&second, &format!("/v1/files/{id}/nothing")), 404, 3);
    let other = [("if-match", "\"another\"")];
    let page = format!("{}/v1/files/{id}/index.html", second.url);
    problem(ask("GET", &page, &other, b""), 412, 4);
    problem(get(&second, &format!("/v1/files/{id}")), 400, 2);
}

#[test]
fn a_file_is_no_folder_and_stays_a_file() {
    let (first, second) = two();
    let bytes = noise(4, 300_000);
    let id = upload(&first, "notes.bin", &bytes)["id"].as_str().expect("an id").to_owned();
    for node in [&first, &second] {
        let inside = get(node, &format!("/v1/files/{id}/x"));
        let told = inside.status();
        let said = body(inside);
        assert_eq!((told.as_u16(), &said["exit"]), (404, &3.into()), "{said}");
        assert!(said["detail"].as_str().expect("text").contains("no folder"), "{said}");
        // Who was asked for a folder must not take it for one afterwards.
        assert!(bytes_of(get(node, &format!("/v1/files/{id}"))) == bytes);
    }
}

#[test]
fn a_fetch_tells_how_far_it_is_until_it_is_done() {
    let (first, second) = two();
    let path = file_of(&first, "told.bin", &noise(3, 500_000));
    let shared = body(post(&first, "/v1/shares", &json!({"path": path, "as": "told"})));
    assert_eq!(first.good(&["get", "told"]), shared["link"].as_str().expect("a link"));
    let shares = body(get(&first, "/v1/shares"));
    assert_eq!(shares["shares"][0]["link"], shared["link"]);
    let request = json!({"link": shared["link"], "to": second.data.join("files/got")});
    let begun = post(&second, "/v1/fetches", &request);
    assert_eq!(begun.status(), 202);
    let job = body(begun)["id"].as_str().expect("an id").to_owned();
    let events = get(&second, &format!("/v1/fetches/{job}/events"));
    assert_eq!(header(&events, "content-type"), "text/event-stream");
    // It ends by itself, with the last event.
    let text = String::from_utf8(bytes_of(events)).expect("text");
    let last = text.trim_end().rsplit("\n\n").next().expect("an event");
    let data = last.strip_prefix("event: done\ndata: ").expect("it is done");
    let told: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(told["result"]["bytes"], 500_000, "{told}");
    assert_eq!(fs::metadata(second.data.join("files/got/told.bin")).expect("there").len(), 500_000);
}

#[test]
fn places_that_are_not_allowed_are_refused() {
    let node = Node::start(&[]);
    let outside = tempfile::tempdir().expect("folder");
    let file = outside.path().join("secret");
    fs::write(&file, "x").expect("written");
    let link = upload(&node, "a", b"content")["link"].clone();
    problem(post(&node, "/v1/shares", &json!({"path": file})), 403, 6);
    problem(post(&node, "/v1/shares", &json!({"path": "/etc/passwd"})), 403, 6);
    problem(post(&node, "/v1/shares", &json!({"path": node.data.join("identity")})), 403, 6);
    problem(post(&node, "/v1/shares", &json!({"path": node.data})), 403, 6);
    problem(post(&node, "/v1/shares", &json!({"path": "relative"})), 400, 2);
    problem(post(&node, "/v1/shares", &json!({"path": node.data.join("files/none")})), 400, 2);
    let to = |to: &std::path::Path| json!({"link": link, "to": to});
    problem(post(&node, "/v1/fetches", &to(&outside.path().join("new"))), 403, 6);
    problem(post(&node, "/v1/fetches", &to(&node.data.join("blobs"))), 403, 6);
    assert!(!outside.path().join("new").exists());
    let dotted = node.data.join("files/got").join("..").join("..");
    problem(post(&node, "/v1/fetches", &to(&dotted)), 400, 2);
    problem(post(&node, "/v1/fetches", &json!({"link": "potluck:x", "to": node.data})), 400, 2);
}

#[test]
fn what_is_wrong_with_a_request_about_files_is_told_as_a_problem() {
    let node = Node::start(&[]);
    let id = "ab".repeat(32);
    problem(get(&node, "/v1/files/nonsense"), 400, 2);
    let began = Instant::now();
    // Several who ask at once are all told the same.
    thread::scope(|scope| {
        for path in
            [format!("/v1/files/{id}"), format!("/v1/files/{id}"), format!("/v1/files/{id}/x")]
        {
            let url = format!("{}{path}", node.url);
            scope.spawn(move || problem(ask("GET", &url, &[], b""), 404, 3));
        }
    });
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    problem(get(&node, "/v1/fetches/1"), 404, 3);
    problem(get(&node, "/v1/fetches/1/events"), 404, 3);
    problem(ask("DELETE", &format!("{}/v1/files/{id}", node.url), &[], b""), 404, 3);
    problem(ask("PUT", &format!("{}/v1/pins/{id}", node.url), &JSON, b""), 404, 3);
    problem(post(&node, "/v1/shares", &json!({"pth": "/x"})), 400, 2);
    problem(post(&node, "/v1/gc?dryRun=perhaps", &json!({})), 400, 2);
    let url = format!("{}/v1/files?name=..%2Fx", node.url);
    let kind = [("content-type", "application/octet-stream")];
    problem(ask("POST", &url, &kind, b"x"), 400, 2);
    problem(ask("POST", &url, &[("content-type", "text/plain")], b"x"), 415, 2);
    let foreign = [("content-type", "application/json"), ("origin", "http://evil.example")];
    problem(ask("POST", &format!("{}/v1/shares", node.url), &foreign, b"{}"), 403, 6);
}
