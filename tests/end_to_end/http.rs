//! The HTTP API over real sockets.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::Request;
use ureq::{Agent, Body};

use crate::process::{Node, program, run, runtime_dir, token, up, wait_until};

pub(crate) type Response = ureq::http::Response<Body>;

/// Asks with the node's token.
pub(crate) fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let token = token(url).map(|token| format!("Bearer {token}"));
    let with = token.iter().map(|token| ("authorization", token.as_str()));
    let headers: Vec<_> = headers.iter().copied().chain(with).collect();
    ask_openly(method, url, &headers, body)
}

/// Asks as any user of the machine may.
pub(crate) fn ask_openly(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let config = Agent::config_builder().http_status_as_error(false).proxy(None).build();
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let agent = Agent::from(config);
    let response = match method {
        "GET" | "HEAD" | "DELETE" => agent.run(request.body(()).expect("a request")),
        _ => agent.run(request.body(body).expect("a request")),
    };
    response.expect("an answer")
}

/// Asks as any user of the machine may.
pub(crate) fn get_url(url: &str) -> Response {
    ask_openly("GET", url, &[], b"")
}

pub(crate) fn get(node: &Node, path: &str) -> Response {
    ask("GET", &format!("{}{path}", node.url), &[], b"")
}

fn put(node: &Node, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let headers = [&[("content-type", "application/octet-stream")], headers].concat();
    ask("PUT", &format!("{}{path}", node.url), &headers, body)
}

pub(crate) fn json(mut response: Response) -> Value {
    serde_json::from_slice(&response.body_mut().read_to_vec().expect("a body")).expect("JSON")
}

pub(crate) fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text")).to_owned()
}

pub(crate) fn problem(response: Response, status: u16, exit: u64) {
    assert_eq!(response.status(), status);
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    let body = json(response);
    assert_eq!((&body["status"], &body["exit"]), (&status.into(), &exit.into()), "{body}");
    assert!(body["code"].is_string() && body["detail"].is_string(), "{body}");
}

#[test]
fn a_record_goes_in_and_comes_out() {
    let node = Node::start(&[]);
    for path in ["/v1/kv/a", "/v1/kv//slashes//inside/", "/v1/kv/%C3%BC%20%3F%2F"] {
        let written = json(put(&node, path, &[], b"value"));
        assert_eq!(written["acks"], 1, "{path}");
        assert_eq!(written["replicas"].as_array().map(Vec::len), Some(1));
        let mut read = get(&node, path);
        assert_eq!(header(&read, "x-potluck-version"), written["version"].as_str().expect("text"));
        assert_eq!(header(&read, "x-potluck-kind"), "siblings");
        assert!(!header(&read, "x-potluck-context").is_empty());
        assert_eq!(read.body_mut().read_to_string().expect("a body"), "value");
    }
    let url = format!("{}/v1/kv/a", node.url);
    let tag = header(&get(&node, "/v1/kv/a"), "etag");
    assert_eq!(ask("GET", &url, &[("if-none-match", &tag)], b"").status(), 304);
    let head = ask("HEAD", &url, &[], b"");
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, "5".into()));
    assert_eq!(ask("DELETE", &url, &[], b"").status(), 200);
    let gone = get(&node, "/v1/kv/a");
    assert!(!header(&gone, "x-potluck-context").is_empty());
    problem(gone, 404, 3);
}

#[test]
fn siblings_are_a_conflict_with_all_that_a_merge_needs() {
    let node = Node::start(&[]);
    for value in ["soup", "salad"] {
        put(&node, "/v1/kv/menu", &[("x-potluck-context", "none")], value.as_bytes());
    }
    problem(get(&node, "/v1/kv/menu"), 409, 4);
    problem(put(&node, "/v1/kv/menu", &[], b"cake"), 409, 4);
    let conflict = json(get(&node, "/v1/kv/menu"));
    for sibling in conflict["siblings"].as_array().expect("a list") {
        for field in ["valueBase64", "version", "writer", "at"] {
            assert!(sibling[field].is_string(), "{field}");
        }
    }
    let all = get(&node, "/v1/kv/menu?siblings=all");
    assert_eq!(all.status(), 200);
    let context = json(all)["context"].as_str().expect("text").to_owned();
    put(&node, "/v1/kv/menu", &[("x-potluck-context", &context)], b"both");
    let all = json(get(&node, "/v1/kv/menu?siblings=all"));
    assert_eq!(all["siblings"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_write_with_a_condition_happens_to_what_its_sender_has_read() {
    let node = Node::start(&[]);
    let url = format!("{}/v1/kv/page", node.url);
    let write = |headers: &[(&str, &str)], body: &[u8]| put(&node, "/v1/kv/page", headers, body);
    problem(write(&[("if-match", "*")], b"x"), 412, 4);
    problem(get(&node, "/v1/kv/page"), 404, 3);
    assert_eq!(write(&[("if-none-match", "*")], b"one").status(), 200);
    problem(write(&[("if-none-match", "*")], b"two"), 412, 4);
    let first = header(&get(&node, "/v1/kv/page"), "etag");
    assert_eq!(write(&[("if-match", &first)], b"two").status(), 200);
    // A client that still has the first version may neither write nor delete.
    let late = write(&[("if-match", &first)], b"three");
    let tag = header(&late, "etag");
    problem(late, 412, 4);
    problem(ask("DELETE", &url, &[("if-match", &first)], b""), 412, 4);
    problem(ask("GET", &url, &[("if-match", &first)], b""), 412, 4);
    let mut read = ask("GET", &url, &[("if-match", &tag)], b"");
    assert_eq!(read.body_mut().read_to_string().expect("a body"), "two");
    problem(write(&[("if-match", &format!("W/{tag}"))], b"three"), 412, 4);
    // Siblings have a tag, too: a write over it merges them.
    put(&node, "/v1/kv/page", &[("x-potluck-context", "none")], b"beside");
    problem(write(&[("if-match", &tag)], b"three"), 412, 4);
    let tag = header(&get(&node, "/v1/kv/page?siblings=all"), "etag");
    assert_eq!(header(&get(&node, "/v1/kv/page"), "etag"), tag);
    assert_eq!(write(&[("if-match", &tag)], b"merged").status(), 200);
    let mut read = get(&node, "/v1/kv/page");
    assert_eq!(read.body_mut().read_to_string().expect("a body"), "merged");
    let tag = header(&get(&node, "/v1/kv/page"), "etag");
    assert_eq!(ask("DELETE", &url, &[("if-match", &tag)], b"").status(), 200);
    problem(ask("DELETE", &url, &[("if-match", &tag)], b""), 412, 4);
}

#[test]
fn a_deletion_that_deletes_nothing_is_none() {
    let node = Node::start(&[]);
    let url = format!("{}/v1/kv/a", node.url);
    let delete = |context: &str| ask("DELETE", &url, &[("x-potluck-context", context)], b"");
    let stale = header(&put_and_get(&node, "1"), "x-potluck-context");
    put(&node, "/v1/kv/a", &[], b"2");
    problem(delete("none"), 400, 2);
    let refused = delete(&stale);
    assert_eq!(refused.status(), 409);
    assert_eq!(json(refused)["siblings"].as_array().map(Vec::len), Some(1));
    let mut read = get(&node, "/v1/kv/a");
    assert_eq!(read.body_mut().read_to_string().expect("a body"), "2");
    assert_eq!(delete(&header(&get(&node, "/v1/kv/a"), "x-potluck-context")).status(), 200);
    problem(delete(&stale), 404, 3);
}

fn put_and_get(node: &Node, value: &str) -> Response {
    put(node, "/v1/kv/a", &[], value.as_bytes());
    get(node, "/v1/kv/a")
}

#[test]
fn searches_are_rationed_with_a_word_when_to_come_back() {
    let node = Node::start(&[]);
    let mut answer = get(&node, "/v1/search?q=soup");
    for _ in 0..20 {
        if answer.status() != 200 {
            break;
        }
        answer = get(&node, "/v1/search?q=soup");
    }
    assert_eq!(header(&answer, "retry-after"), "5");
    problem(answer, 429, 5);
    assert_eq!(node.run(&["search", "soup"]).code, 5);
}

#[test]
fn what_is_wrong_with_a_request_is_told_as_a_problem() {
    let node = Node::start(&[]);
    problem(get(&node, "/nowhere"), 404, 2);
    problem(get(&node, "/v1/kv/a?frobnicate=1"), 400, 2);
    problem(get(&node, "/v1/kv/a?space=nowhere"), 400, 2);
    problem(get(&node, &format!("/v1/kv/{}", "x".repeat(10 * 1024))), 400, 2);
    problem(put(&node, "/v1/kv/a", &[], &vec![0; 64 * 1024 + 1]), 413, 2);
    problem(put(&node, "/v1/kv/a", &[("x-potluck-context", "garbage")], b""), 400, 2);
    problem(put(&node, "/v1/kv/b?w=3", &[], b""), 503, 5);
    problem(put(&node, "/v1/status", &[], b""), 405, 2);
    let url = format!("{}/v1/kv/a", node.url);
    let wrong = ask("PUT", &url, &[("content-type", "text/plain")], b"x");
    assert_eq!(wrong.status(), 415);
    let recipe = json(wrong)["hint"].as_str().expect("a hint").to_owned();
    assert!(recipe.contains("-H 'Content-Type: application/octet-stream'"), "{recipe}");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    problem(ask("PUT", &url, &form, b"x"), 415, 2);
    assert_eq!(ask("PUT", &format!("{}/v1/kv/untyped", node.url), &[], b"x").status(), 200);
    problem(ask("GET", &url, &[("host", "evil.example")], b""), 403, 6);
    problem(put(&node, "/v1/kv/a", &[("origin", "http://evil.example")], b""), 403, 6);
    problem(put(&node, "/v1/kv/a", &[("sec-fetch-site", "cross-site")], b""), 403, 6);
    let join = format!("{}/v1/join", node.url);
    let kind = [("content-type", "application/json")];
    problem(ask("POST", &join, &kind, br#"{"entry":["garbage@x"]}"#), 400, 2);
    problem(ask("POST", &join, &kind, b"garbage"), 400, 2);
    problem(get(&node, "/v1/kv/a"), 404, 3);
}

#[test]
fn a_token_file_closes_the_api_but_for_its_open_parts() {
    let folder = tempfile::tempdir().expect("folder");
    let token = folder.path().join("token");
    secret_file(&token, "secret\n");
    let config = folder.path().join("potluck.toml");
    let token_path = token.to_string_lossy();
    let text = format!("[http]\ntoken_file = '{token_path}'\nopen = [\"metrics\"]\n");
    fs::write(&config, text).expect("written");
    let node = Node::start(&["--config", &config.to_string_lossy()]);
    let openly = |path: &str| ask_openly("GET", &format!("{}{path}", node.url), &[], b"");
    problem(openly("/v1/status"), 401, 6);
    problem(openly("/healthz"), 401, 6);
    assert_eq!(openly("/metrics").status(), 200);
    assert_eq!(node.run(&["--token-file", &token_path, "status"]).code, 0);
    assert_eq!(node.run(&["status"]).code, 0, "found by the node's URL");
    let elsewhere = tempfile::tempdir().expect("folder");
    let mut stranger = program();
    stranger.env("XDG_RUNTIME_DIR", elsewhere.path()).env("HOME", elsewhere.path());
    let refused = run(stranger.args(["--node", &node.url, "status"]), b"");
    assert_eq!(refused.code, 6, "{}", refused.stderr);
    assert!(refused.stderr.contains("--token-file"), "{}", refused.stderr);
}

/// A file that no other user may read.
pub(crate) fn secret_file(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("changed");
    }
}

/// The routes of the API that need no token on loopback, by method.
const OPEN: &[(&str, &[&str])] = &[
    ("/v1/kv/{name}", &["get", "head", "put", "delete", "post"]),
    ("/v1/watch/{name}", &["get"]),
    ("/v1/topics/{topic}", &["get", "post"]),
    ("/v1/search", &["get"]),
    ("/v1/status", &["get"]),
    ("/v1/overview", &["get"]),
    ("/v1/overview/history", &["get"]),
    ("/v1/peers", &["get"]),
    ("/v1/members", &["get"]),
    ("/v1/events", &["get"]),
    ("/v1/keys", &["get"]),
    ("/v1/lookup/{name}", &["get"]),
    ("/v1/doctor", &["get"]),
    ("/metrics", &["get"]),
    ("/healthz", &["get"]),
    ("/readyz", &["get"]),
    // The files of the dashboard, which say nothing of the node.
    ("/", &["get"]),
    ("/dashboard/app.css", &["get"]),
    ("/dashboard/app.js", &["get"]),
];

#[test]
fn without_the_token_every_operation_is_closed_but_for_the_data() {
    let node = Node::start(&[]);
    let api = json(ask_openly("GET", &format!("{}/openapi.json", node.url), &[], b""));
    let (mut open, mut closed) = (0, 0);
    for (path, item) in api["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys() {
            // What would end the test if it were carried out is asked for all the same.
            let concrete = path.replace("{name}", "a").replace("{topic}", "a");
            let concrete = concrete.replace(['{', '}'], "");
            let url = format!("{}{concrete}", node.url);
            let json_type = [("content-type", "application/json")];
            let is_open = path.starts_with("/debug/")
                || OPEN
                    .iter()
                    .any(|(route, methods)| path == route && methods.contains(&method.as_str()));
            if is_open && ["/v1/events", "/v1/topics/{topic}"].contains(&path.as_str()) {
                // These answer for ever.
                open += 1;
                continue;
            }
            let status =
                ask_openly(&method.to_uppercase(), &url, &json_type, b"{}").status().as_u16();
            assert_eq!(status != 401, is_open, "{method} {path} answers {status}");
            if is_open { open += 1 } else { closed += 1 }
        }
    }
    assert!(open > 15 && closed > 20, "{open} {closed}");
    assert_eq!(node.run(&["status"]).code, 0, "it runs still");
}

#[test]
fn a_file_that_is_here_is_read_without_the_token_and_nothing_is_fetched_for_it() {
    let node = Node::start(&[]);
    let file = crate::files::file_of(&node, "menu.txt", b"soup");
    let shared = node.good(&["share", "--json", file.to_str().expect("text")]);
    let shared: Value = serde_json::from_str(&shared).expect("JSON");
    let id = shared["id"].as_str().expect("text");
    let of = |id: &str| format!("{}/v1/files/{id}", node.url);
    let mut read = ask_openly("GET", &of(id), &[], b"");
    assert_eq!(read.status(), 200);
    assert_eq!(read.body_mut().read_to_string().expect("a body"), "soup");
    assert_eq!(ask_openly("HEAD", &of(id), &[], b"").status(), 200);
    problem(ask_openly("GET", &of(&"ab".repeat(32)), &[], b""), 401, 6);
    problem(ask_openly("DELETE", &of(id), &[], b""), 401, 6);
    problem(ask_openly("GET", &format!("{}/v1/files", node.url), &[], b""), 401, 6);
}

#[cfg(unix)]
#[test]
pub(crate) fn a_node_makes_its_token_and_the_command_line_finds_it_by_the_url_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut node = Node::start(&[]);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&node.data.join("token")), 0o600);
    let listed = crate::process::listed_as(node.url.trim_start_matches("http://"));
    let listed = runtime_dir().join("potluck/nodes").join(listed);
    assert_eq!(mode(&listed), 0o600);
    let entry: Value = serde_json::from_slice(&fs::read(&listed).expect("there")).expect("JSON");
    assert_eq!(entry["url"], node.url.as_str());
    // Needs the token; the refusal says so.
    assert_eq!(node.run(&["files"]).code, 0);
    node.close_stdin();
    assert!(node.ended().success());
    assert!(!listed.exists());
}

#[test]
fn a_node_may_do_without_a_token_and_up_takes_one_from_a_file() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("none");
    let node = Node::start_as(&data, up(&data).env("POTLUCK_HTTP_TOKEN", "none"));
    assert_eq!(ask_openly("GET", &format!("{}/v1/files", node.url), &[], b"").status(), 200);
    assert!(!data.join("token").exists());

    let token = folder.path().join("secret");
    fs::write(&token, "abc").expect("written");
    let named = token.to_str().expect("text");
    let data = folder.path().join("named");
    #[cfg(unix)]
    {
        let exposed = run(up(&data).args(["--token-file", named]), b"");
        assert_eq!(exposed.code, 6, "{}", exposed.stderr);
        assert!(exposed.stderr.contains("chmod 600"), "{}", exposed.stderr);
        assert!(!data.exists(), "nothing was touched");
    }
    secret_file(&token, "abc");
    let node = Node::start_as(&data, up(&data).args(["--token-file", named]));
    let files = format!("{}/v1/files", node.url);
    problem(ask_openly("GET", &files, &[], b""), 401, 6);
    let with = |word: &str| {
        let value = format!("Bearer {word}");
        ask_openly("GET", &files, &[("authorization", &value)], b"").status().as_u16()
    };
    assert_eq!((with("abc"), with("abd")), (200, 401));
    assert_eq!(node.run(&["files"]).code, 0);
}

#[test]
fn health_is_answered_while_idle_connections_take_all_places() {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    let folder = tempfile::tempdir().expect("folder");
    let mut command = up(folder.path());
    let node = Node::start_as(folder.path(), command.env("POTLUCK_LIMITS_HTTP_CONNECTIONS", "4"));
    let address = node.url.trim_start_matches("http://").to_owned();
    let connect = || TcpStream::connect(&address).expect("it listens");
    let idle: Vec<TcpStream> = (0..12).map(|_| connect()).collect();
    let began = Instant::now();
    let mut asking = connect();
    asking.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    write!(asking, "GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    asking.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(10), "after {:?}", began.elapsed());
    // And the others lose their places, so that everything is answered again.
    wait_until("a place is free", || get(&node, "/v1/status").status() == 200);
    assert!(began.elapsed() < Duration::from_secs(25), "after {:?}", began.elapsed());
    drop(idle);
}

#[test]
fn a_node_shows_what_it_does() {
    let first = Node::start(&[]);
    let second = Node::start(&[&first.contact]);
    put(&first, "/v1/kv/a", &[], b"value");
    let peers = json(get(&second, "/v1/peers"));
    for field in ["id", "address", "rttMs", "state", "lastSeenSeconds", "verified"] {
        assert!(!peers["peers"][0][field].is_null(), "{field}");
    }
    let table = json(get(&second, "/debug/routingtable"));
    for field in ["nodeId", "size", "capacity", "networkSizeEstimate", "buckets", "closestNodes"] {
        assert!(!table[field].is_null(), "{field}");
    }
    let status = json(get(&second, "/v1/status"));
    let own = &status["addresses"][0];
    assert_eq!(own["source"], "interface", "{status}");
    assert!(second.contact.ends_with(own["address"].as_str().expect("text")), "{status}");
    assert_eq!(status["reachability"], "unknown", "{status}");
    let data = json(get(&second, "/debug/data?key=a"));
    assert_eq!((&data["present"], &data["kind"]), (&true.into(), &"siblings".into()), "{data}");
    assert_eq!(data["replicas"].as_array().map(Vec::len), Some(2), "{data}");
    let key = data["key"].as_str().expect("text");
    let version = json(get(&second, &format!("/debug/version?id={key}&replicas=true")));
    assert_eq!(version["version"].as_object().map(serde_json::Map::len), Some(1), "{version}");
    assert!(
        version["replicas"].as_array().expect("a list").iter().all(|it| it["state"] == "equal")
    );
    let absent = json(get(&second, "/debug/version?key=nothing"));
    assert_eq!(absent["version"].as_object().map(serde_json::Map::len), Some(0));
    let lookup = json(get(&second, "/v1/lookup/a"));
    assert!(lookup["hops"].as_u64() > Some(0), "{lookup}");
    assert!(
        !json(get(&second, "/debug/lookups"))["lookups"].as_array().expect("a list").is_empty()
    );
    assert_eq!(json(get(&second, "/v1/config"))["kv"]["replication"], 16);
    assert_eq!(json(get(&second, "/readyz"))["ready"], true);
    assert_eq!(get(&second, "/healthz").status(), 200);
    let metrics = get(&second, "/metrics").body_mut().read_to_string().expect("text");
    for line in ["potluck_dht_contacts 1.0", "potluck_files_completed_total 0"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let api = json(get(&second, "/openapi.json"));
    assert_eq!(api["openapi"], "3.1.0");
    for path in [
        "/v1/kv/{name}",
        "/v1/status",
        "/v1/files/{id}/{path}",
        "/debug/data",
        "/metrics",
        "/v1/leave",
    ] {
        assert!(api["paths"][path].is_object(), "{path}");
    }
}
