//! Members, topics and search, over several processes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use crate::http::{ask, get, header, json, problem};
use crate::process::{Node, PATIENCE, program, up, wait_until};

const BYTES: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// A running `sub` and the lines it prints.
struct Listener {
    child: Child,
    lines: Receiver<String>,
}

impl Listener {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    fn of(node: &Node, arguments: &[&str]) -> Self {
        Self::start(program().args(["--node", &node.url, "sub"]).args(arguments))
    }

    /// The next line. A probe may come late, when its way through the network is not settled yet.
    fn next(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("a line in time");
            if !line.starts_with("probe ") {
                return line;
            }
        }
    }

    /// Publishes until something is heard, and forgets what was published for that.
    fn heard(self, publisher: &Node, topic: &str) -> Self {
        let mut number = 0;
        wait_until("a message is heard", || {
            number += 1;
            publisher.good(&["pub", topic, &format!("probe {number}")]);
            self.lines.try_recv().is_ok()
        });
        publisher.good(&["pub", topic, "no more probes"]);
        while self.next() != "no more probes" {}
        self
    }

    fn ended(mut self) -> Option<i32> {
        let mut status = None;
        wait_until("sub ends", || {
            status = self.child.try_wait().expect("it can be asked");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
pub(crate) fn every_line_comes_once_and_in_order_to_every_subscriber() {
    let first = Node::start(&[]);
    let second = Node::start(&[&first.contact]);
    let third = Node::start(&[&first.contact]);
    let near = Listener::of(&first, &["news"]).heard(&first, "news");
    let far = Listener::of(&third, &["news"]).heard(&second, "news");
    while near.next() != "no more probes" {}
    let lines: Vec<String> = (0..2000).map(|number| format!("line {number}")).collect();
    let run = second.run_with(&["pub", "news", "-"], (lines.join("\n") + "\n").as_bytes());
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{}", run.stderr);
    for listener in [&near, &far] {
        for line in &lines {
            assert_eq!(&listener.next(), line);
        }
    }
    let said = second.good(&["pub", "news", "the end", "--json"]);
    let said: Value = serde_json::from_str(&said).expect("one object");
    assert_eq!((&said["topic"], &said["messages"]), (&"news".into(), &1.into()));
    assert!(said["seconds"].is_number());
    assert_eq!((near.next(), far.next()), ("the end".to_owned(), "the end".to_owned()));
}

#[test]
fn sub_ends_after_as_many_as_were_asked_for_and_tells_all_about_them() {
    let node = Node::start(&[]);
    let listener = Listener::of(&node, &["t", "--count", "2", "--json"]);
    wait_until("it listens", || {
        node.good(&["pub", "t", "soup"]);
        listener.lines.try_recv().is_ok_and(|line| {
            let object: Value = serde_json::from_str(&line).expect("an object");
            assert_eq!((&object["payload"], &object["topic"]), (&"soup".into(), &"t".into()));
            assert!(text(&object["id"]).starts_with(text(&object["publisher"])));
            true
        })
    });
    // There may be more of the first words on their way; the second message is whatever comes next.
    ask("POST", &format!("{}/v1/topics/t", node.url), &BYTES, &[0xff, 0]);
    assert_eq!(listener.ended(), Some(0));
}

#[test]
fn bytes_that_are_no_text_come_as_they_are_before_a_zero_byte() {
    let node = Node::start(&[]);
    let mut listener = program()
        .args(["--node", &node.url, "sub", "raw", "-0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdout = listener.stdout.take().expect("piped");
    let (sender, bytes) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stdout.read(&mut buffer) {
            if sender.send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    let url = format!("{}/v1/topics/raw", node.url);
    let mut heard = Vec::new();
    wait_until("it is heard", || {
        assert_eq!(ask("POST", &url, &BYTES, &[0xff, b'\r', b'\n', b'x']).status(), 202);
        heard.extend(bytes.try_iter().flatten());
        heard.starts_with(&[0xff, b'\r', b'\n', b'x', 0])
    });
    listener.kill().expect("it runs");
    listener.wait().expect("it ended");
}

#[test]
fn sub_goes_on_when_its_node_comes_back() {
    let first = Node::start(&[]);
    let folder = tempfile::tempdir().expect("folder");
    let mut second = Node::start_in(folder.path(), &[&first.contact]);
    // By its data folder: the node that comes back has another port.
    let mut command = program();
    command.env("POTLUCK_NODE_DATA_DIR", folder.path()).args(["sub", "news"]);
    let listener = Listener::start(&mut command).heard(&first, "news");
    second.kill();
    let again = Node::start_in(folder.path(), &[&first.contact]);
    let listener = listener.heard(&first, "news");
    first.good(&["pub", "news", "still there"]);
    assert_eq!(listener.next(), "still there");
    drop(again);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_sub_well() {
    let node = Node::start(&[]);
    let listener = Listener::of(&node, &["t"]).heard(&node, "t");
    let status = Command::new("kill").args(["-INT", &listener.child.id().to_string()]).status();
    assert!(status.expect("there is a kill command").success());
    assert_eq!(listener.ended(), Some(0));
}

#[test]
fn sub_ends_well_when_its_reader_goes_away() {
    let node = Node::start(&[]);
    let mut child = program()
        .args(["--node", &node.url, "sub", "t"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let mut status = None;
    wait_until("it ends", || {
        node.good(&["pub", "t", "x"]);
        status = child.try_wait().expect("it can be asked");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert_eq!(said, "");
}

#[test]
fn messages_go_in_and_out_over_http_and_a_stream_goes_on_where_it_ended() {
    let node = Node::start(&[]);
    let url = format!("{}/v1/topics/a/b", node.url);
    let events = |last: Option<&str>| {
        let last = last.map(|last| ("last-event-id", last));
        let response = ask("GET", &url, last.as_slice(), b"");
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), "text/event-stream");
        let mut body = BufReader::new(response.into_body().into_reader());
        let mut line = String::new();
        body.read_line(&mut line).expect("a line");
        assert_eq!(line, ":\n", "the subscription is in force");
        body
    };
    let next = |body: &mut dyn std::io::BufRead, begin: &str| {
        let mut line = String::new();
        while !line.starts_with(begin) {
            line.clear();
            assert!(body.read_line(&mut line).expect("a line") > 0, "it ended");
        }
        line.trim_end_matches('\n').trim_start_matches(begin).to_owned()
    };
    let mut body = events(None);
    let published = ask("POST", &url, &BYTES, b"one");
    assert_eq!(published.status(), 202);
    let published = json(published);
    assert_eq!(published["topic"], "a/b");
    let id = next(&mut body, "id: ");
    assert_eq!(published["id"], id);
    assert_eq!(next(&mut body, "data: "), "one");
    drop(body);
    ask("POST", &url, &BYTES, b"two");
    ask("POST", &url, &BYTES, &[0xff]);
    let mut body = events(Some(&id));
    assert_eq!(next(&mut body, "data: "), "two");
    assert_eq!(next(&mut body, "event: "), "base64");
    assert_eq!(next(&mut body, "data: "), "/w==");
    let lines = json(ask("POST", &format!("{url}?lines=true"), &BYTES, b"three\n\nfour"));
    assert_eq!((&lines["messages"], &lines["topic"]), (&3.into(), &"a/b".into()));
    for expected in ["three", "", "four"] {
        assert_eq!(next(&mut body, "data: "), expected);
    }
}

#[test]
fn what_is_wrong_about_topics_and_searches_is_told() {
    let node = Node::start(&[]);
    let url = format!("{}/v1/topics/t", node.url);
    problem(ask("POST", &url, &[("content-type", "text/plain")], b"x"), 415, 2);
    problem(ask("POST", &url, &BYTES, &vec![b'x'; 64 * 1024 + 1]), 413, 2);
    let lines = format!("{url}?lines=true");
    problem(ask("POST", &lines, &BYTES, &vec![b'x'; 64 * 1024 + 1]), 413, 2);
    problem(get(&node, &format!("/v1/topics/{}", "x".repeat(129))), 400, 2);
    problem(get(&node, "/v1/topics/a%0Ab"), 400, 2);
    problem(ask("GET", &url, &[("last-event-id", "7")], b""), 400, 2);
    for query in ["", "?q=", "?q=a+b+c+d+e+f+g+h+i"] {
        problem(get(&node, &format!("/v1/search{query}")), 400, 2);
    }
    assert_eq!(node.run(&["pub", "", "x"]).code, 2);
    assert_eq!(node.run(&["sub", "a\nb"]).code, 2);
    assert_eq!(node.run(&["search", "..."]).code, 2);
    let long = node.run_with(&["pub", "t", "-"], &[b"short\n", &vec![b'x'; 70_000][..]].concat());
    assert_eq!(long.code, 2, "{}", long.stderr);
    assert!(long.stderr.contains("line 2"), "{}", long.stderr);
    for command in [&["sub", "t"][..], &["pub", "t", "x"], &["members"], &["search", "soup"]] {
        let run = crate::process::run(
            program().args(["--node", &crate::process::no_node()]).args(command),
            b"",
        );
        assert_eq!(run.code, 8, "{command:?}: {}", run.stderr);
    }
}

#[test]
pub(crate) fn members_know_each_other_their_labels_and_who_is_dead() {
    let first = Node::start(&["--label", "rack=7", "--label", "site=north"]);
    let mut second = Node::start(&[&first.contact]);
    let third = Node::start(&[&first.contact]);
    let members = |node: &Node| {
        let view = json(get(node, "/v1/members"));
        assert_eq!(view["mode"], "fleet");
        view["members"].as_array().expect("a list").clone()
    };
    wait_until("all know all", || {
        [&first, &second, &third].iter().all(|node| {
            let members = members(node);
            members.len() == 3 && members.iter().all(|member| member["state"] == "alive")
        })
    });
    let id_of = |node: &Node| json(get(node, "/v1/status"))["nodeId"].clone();
    let (one, two) = (id_of(&first), id_of(&second));
    let seen = members(&third);
    let labelled = seen.iter().find(|member| member["id"] == one).expect("the first");
    assert_eq!(labelled["labels"], serde_json::json!({"rack": "7", "site": "north"}));
    assert!(labelled["incarnation"].is_number());
    assert!(third.good(&["members"]).contains("rack=7 site=north"));
    let page: Value = serde_json::from_str(&third.good(&["members", "--json"])).expect("JSON");
    assert_eq!(page["members"].as_array().map(Vec::len), Some(3));

    let events = ask("GET", &format!("{}/v1/events", first.url), &[], b"");
    assert_eq!(header(&events, "content-type"), "text/event-stream");
    let mut events = BufReader::new(events.into_body().into_reader()).lines();
    second.kill();
    let died = events.find_map(|line| {
        let line = line.expect("a line");
        let event: Value = serde_json::from_str(line.strip_prefix("data: ")?).expect("JSON");
        assert!(event["at"].is_string() && event["type"].is_string(), "{event}");
        (event["change"] == "died").then_some(event)
    });
    assert_eq!(died.expect("an event")["id"], two);
    wait_until("it is dead everywhere", || {
        [&first, &third].iter().all(|node| {
            members(node).iter().any(|member| member["id"] == two && member["state"] == "dead")
        })
    });
}

#[test]
pub(crate) fn a_shared_file_is_found_by_the_words_in_its_name_as_long_as_it_is_shared() {
    let first = Node::start(&[]);
    let second = Node::start(&[&first.contact]);
    let path = first.data.join("files/Winter Soup-2026.txt");
    std::fs::create_dir_all(first.data.join("files")).expect("made");
    std::fs::File::create(&path).and_then(|mut file| file.write_all(b"leek")).expect("written");
    let link = first.good(&["share", &path.to_string_lossy()]);
    let mut found = String::new();
    wait_until("it is found", || {
        let run = second.run(&["search", "soup", "2026"]);
        found = run.stdout;
        // 5: searches are rationed.
        assert!([0, 3, 5].contains(&run.code), "{}", run.stderr);
        run.code == 0
    });
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 2, "{found}");
    assert!(lines[0].starts_with("link ") && lines[0].ends_with(" node"), "{found}");
    assert!(lines[1].starts_with(link.trim()), "{found}");
    assert!(lines[1].contains("Winter Soup-2026.txt"), "{found}");
    let mut result = Value::Null;
    wait_until("it is found over HTTP", || {
        result = json(get(&second, "/v1/search?q=winter"))["results"][0].clone();
        !result.is_null()
    });
    assert_eq!((&result["bytes"], &result["folder"]), (&4.into(), &false.into()));
    assert_eq!(result["holder"], json(get(&first, "/v1/status"))["nodeId"]);
    wait_until("something else is not found", || {
        let code = second.run(&["search", "winter", "salad"]).code;
        assert!([3, 5].contains(&code), "{code}");
        code == 3
    });
    first.good(&["unshare", link.trim()]);
    wait_until("it is not found any more", || second.run(&["search", "winter"]).code == 3);
}

#[test]
fn the_gossip_of_a_node_can_be_looked_at() {
    let first = Node::start(&[]);
    let second = Node::start(&[&first.contact]);
    wait_until("they know each other", || {
        json(get(&second, "/debug/gossip/stats"))["members"]["alive"] == 2
    });
    let stats = json(get(&second, "/debug/gossip/stats"));
    assert_eq!(stats["intervalMs"], 1000);
    for path in [
        "/messagesPerSecond/in",
        "/messagesPerSecond/out",
        "/bytesPerSecond/in",
        "/bytesPerSecond/out",
        "/duplicates",
        "/dedupeHits",
        "/members/suspect",
        "/members/dead",
        "/members/left",
        "/views/active",
        "/views/passive",
        "/suspicions/raised",
        "/suspicions/refuted",
        "/suspicions/confirmed",
        "/suspicions/false",
    ] {
        assert!(stats.pointer(path).is_some_and(Value::is_number), "{path}: {stats}");
    }
    let metrics = get(&second, "/metrics").body_mut().read_to_string().expect("text");
    for line in ["potluck_members_alive 1.0", "potluck_topics_", "potluck_search_"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let api = json(get(&second, "/openapi.json"));
    for path in
        ["/v1/members", "/v1/events", "/v1/search", "/v1/topics/{topic}", "/debug/gossip/stats"]
    {
        assert!(api["paths"][path].is_object(), "{path}");
    }
    let config = json(get(&second, "/v1/config"));
    assert_eq!(
        (&config["gossip"]["mode"], &config["gossip"]["interval"]),
        (&"auto".into(), &"1s".into())
    );
    let mut command = up(&second.data);
    command.args(["--label", "rack"]);
    assert_eq!(crate::process::run(&mut command, b"").code, 2);
}
