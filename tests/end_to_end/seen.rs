//! What an operator sees: the overview, the dashboard, `top` and `doctor`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::http::{get_url, header, json};
use crate::process::{Node, any_port, no_node, program, run, up, wait_until};

fn report(run: &crate::process::Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{} {}", run.stdout, run.stderr))
}

fn codes(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().expect("a list");
    findings.iter().map(|it| it["code"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn all_views_say_health_in_the_same_sentence() {
    let node = Node::start(&[]);
    let overview = json(get_url(&format!("{}/v1/overview", node.url)));
    let sentence = overview["health"]["sentence"].as_str().expect("text").to_owned();
    assert_eq!(sentence, "ok: this node does its work");
    assert_eq!(json(get_url(&format!("{}/v1/status", node.url)))["sentence"], sentence);
    assert_eq!(json(get_url(&format!("{}/v1/doctor", node.url)))["health"], sentence);
    assert!(node.good(&["status"]).starts_with(&format!("health   {sentence}\n")));
    assert!(node.good(&["top", "-b"]).contains(&sentence));
    assert!(node.good(&["doctor"]).contains(&sentence));
    assert!(serde_json::to_vec(&overview).expect("JSON").len() <= 8 << 10);
}

#[test]
fn the_history_has_as_many_points_in_each_series() {
    let node = Node::start(&[]);
    let history =
        |span: &str| json(get_url(&format!("{}/v1/overview/history?span={span}", node.url)));
    wait_until("two samples", || {
        history("15m")["series"][0]["points"].as_array().is_some_and(|it| it.len() >= 2)
    });
    let series = history("15m");
    let all = series["series"].as_array().expect("a list");
    let lengths: Vec<usize> =
        all.iter().map(|it| it["points"].as_array().expect("a list").len()).collect();
    assert_eq!(all.len(), 12);
    assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    assert_eq!(history("24h")["stepSeconds"], 60);
    assert_eq!(get_url(&format!("{}/v1/overview/history?span=1y", node.url)).status(), 400);
}

#[test]
fn the_dashboard_comes_with_its_policy_and_without_a_token() {
    let folder = tempfile::tempdir().expect("folder");
    let mut command = up(folder.path());
    command.env("POTLUCK_HTTP_OPEN", "health");
    let node = Node::start_as(folder.path(), &mut command);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/dashboard/app.css", "text/css; charset=utf-8"),
        ("/dashboard/app.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = get_url(&format!("{}{path}", node.url));
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "content-type")),
            (200, kind.to_owned())
        );
        assert!(header(&answer, "content-security-policy").starts_with("default-src 'none';"));
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    }
    // What the page asks for needs the token.
    assert_eq!(get_url(&format!("{}/v1/overview", node.url)).status(), 401);
    assert_eq!(get_url(&format!("{}/v1/doctor", node.url)).status(), 401);
}

#[test]
fn doctor_ends_with_its_verdict_and_exits_by_it() {
    let first = Node::start(&[]);
    let healthy = first.run(&["doctor"]);
    assert_eq!(healthy.code, 0, "{}", healthy.stdout);
    let last = healthy.stdout.lines().last().expect("a line");
    assert!(last.starts_with("healthy: ") && last.ends_with(" checks, 0 findings"), "{last}");
    let second = Node::start(&[&first.contact]);
    for (node, value) in [(&first, "soup"), (&second, "salad")] {
        node.good(&["put", "dish", value, "--context", "none"]);
    }
    let sick = first.run(&["doctor", "--key", "dish"]);
    assert_eq!((sick.code, sick.stderr.as_str()), (1, ""), "{}", sick.stdout);
    assert_eq!(sick.stdout.lines().last(), Some("1 finding: records.conflict"));
    let told = first.run(&["doctor", "--key", "dish", "--json"]);
    assert_eq!((told.code, told.stdout.lines().count()), (1, 1));
    let told = report(&told);
    let finding = &told["findings"][0];
    assert_eq!((&told["ok"], &finding["code"]), (&false.into(), &"records.conflict".into()));
    for field in ["severity", "evidence", "advice", "command"] {
        assert!(finding[field].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
    }
    let none = first.run(&["doctor", "--key", "no/such/name", "--json"]);
    let found = codes(&report(&none));
    assert!(none.code == 1 && found.contains(&"records.absent".to_owned()), "{found:?}");
    assert!(first.good(&["doctor", "--explain", "records.conflict"]).contains("potluck merge"));
    let wrong = first.run(&["doctor", "--explain", "records.conflct"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("records.conflict"), "{}", wrong.stderr);
    let wrong = first.run(&["doctor", "--key", ""]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""), "{}", wrong.stderr);
}

#[test]
fn doctor_looks_for_a_node_that_is_down() {
    let folder = tempfile::tempdir().expect("folder");
    let mut node = Node::start_as(folder.path(), &mut up(folder.path()));
    let data = folder.path().to_str().expect("text");
    let doctor = || run(program().args(["doctor", "--json", "--data", data]), b"");
    assert_eq!(doctor().code, 0);
    #[cfg(target_os = "linux")]
    {
        node.signal("STOP");
        let stopped = doctor();
        assert_eq!((stopped.code, codes(&report(&stopped))), (1, vec!["node.stuck".to_owned()]));
        let command = format!("kill -CONT {}", node.pid());
        assert_eq!(report(&stopped)["findings"][0]["command"], command);
        node.signal("CONT");
    }
    node.kill();
    let gone = doctor();
    let found = codes(&report(&gone));
    assert!(gone.code == 1 && found.contains(&"node.down".to_owned()), "{found:?}");
    let nowhere = run(program().args(["doctor", "--node", &no_node()]), b"");
    assert!(nowhere.code == 1 && nowhere.stdout.contains("no node answers"), "{}", nowhere.stdout);
}

/// Files of a data folder that are secret as a whole, with what must not be found of them.
fn secrets_in(folder: &Path) -> Vec<String> {
    let mut secrets = Vec::new();
    for name in ["identity", "authority", "token"] {
        let bytes = fs::read(folder.join(name)).expect("it is there");
        let text = String::from_utf8_lossy(&bytes);
        let words = text.split_whitespace().filter(|word| word.len() >= 32);
        secrets.extend(words.map(str::to_owned));
        if bytes.len() >= 32 {
            secrets.push(data_encoding::HEXLOWER.encode(&bytes[bytes.len() - 32..]));
        }
    }
    assert!(secrets.len() >= 3, "{secrets:?}");
    secrets
}

fn invite_node(folder: &Path) -> Node {
    let mut command: Command = program();
    command.args(["up", "--exit-with-stdin", "--listen", &any_port(), "--http", &any_port()]);
    command.args(["--label", "password=hunter2hunter2", "--data"]).arg(folder);
    command.env("POTLUCK_FILES_PATHS", folder);
    Node::start_as(folder, &mut command)
}

#[test]
fn a_bundle_holds_no_secret_of_the_network_that_made_it() {
    let folder = tempfile::tempdir().expect("folder");
    let node = invite_node(folder.path());
    let ticket = node.good(&["invite", "--reusable"]).trim().to_owned();
    // Of its own folder a node shares only what is in `files`.
    let plan = folder.path().join("files").join("plan.txt");
    fs::create_dir_all(folder.path().join("files")).expect("made");
    fs::write(&plan, "the plan").expect("written");
    let link = node.good(&["share", plan.to_str().expect("text")]);
    node.good(&["put", "secret/name", "secret value of a record"]);
    let file = folder.path().join("bundle.tar");
    let made = node.run(&["doctor", "--bundle", file.to_str().expect("text")]);
    assert_eq!(made.code, 0, "{} {}", made.stdout, made.stderr);
    let bundle = fs::read(&file).expect("written");
    let text = String::from_utf8_lossy(&bundle);
    for inside in ["doctor.json", "overview.json", "config.json", "metrics.txt", "members.json"] {
        assert!(text.contains(inside) && made.stderr.contains(inside), "{inside}: {}", made.stderr);
    }
    let mut secrets = secrets_in(folder.path());
    secrets.push(ticket);
    secrets.push(link.trim().to_owned());
    secrets.extend(["hunter2", "secret value", "secret/name", "plan.txt"].map(str::to_owned));
    for secret in &secrets {
        assert!(!text.contains(secret.as_str()), "{secret} is in the bundle");
    }
    assert!(bundle.len() <= 5 << 20);
    let again = node.run(&["doctor", "--bundle", file.to_str().expect("text")]);
    assert_eq!(again.code, 1, "a file that is there stays: {}", again.stderr);
}

/// The triage as it is typed: `curl http://peer:8080/debug/routingtable | jq '.closestNodes'` and the rest.
#[test]
fn the_triage_works_as_typed() {
    let first = Node::start(&[]);
    let second = Node::start(&[&first.contact]);
    first.good(&["put", "abc123", "value"]);
    let ask = |node: &Node, path: &str| json(get_url(&format!("{}{path}", node.url)));
    let close = ask(&first, "/debug/routingtable")["closestNodes"].clone();
    assert!(close[0]["id"].is_string() && close[0]["address"].is_string(), "{close}");
    let data = ask(&second, "/debug/data?key=abc123");
    assert!(data["present"].is_boolean() && data["replicas"].is_array(), "{data}");
    let stats = ask(&first, "/debug/gossip/stats");
    assert!(stats["messagesPerSecond"]["in"].is_number() && stats["intervalMs"].is_number());
    wait_until("both have the version", || {
        let [a, b] = [&first, &second].map(|node| ask(node, "/debug/version?key=abc123"));
        a["version"] == b["version"] && a["version"].as_object().is_some_and(|it| !it.is_empty())
    });
    let behind = ask(&first, "/debug/version?key=abc123&replicas=true");
    assert!(behind["replicas"][0]["state"].is_string(), "{behind}");
    let metrics = get_url(&format!("{}/metrics", first.url)).body_mut().read_to_string();
    let metrics = metrics.expect("text");
    assert!(metrics.contains("\npotluck_messages_total{direction=\"in\"} "), "{metrics}");
}

#[test]
fn top_prints_a_frame_where_there_is_no_terminal() {
    let node = Node::start(&[]);
    let frame = node.good(&["top"]);
    for part in ["this machine", "the network", "records, lookups, traffic", "last events"] {
        assert!(frame.contains(part), "{frame}");
    }
    let overview: Value = serde_json::from_str(&node.good(&["top", "--json"])).expect("JSON");
    assert!(overview["network"]["alive"].is_number());
    let none = run(program().args(["top", "--node", &no_node()]), b"");
    assert_eq!(none.code, 8, "{}", none.stderr);
}

/// A terminal of 80 columns with `top` on it: waits for each word, then types.
#[cfg(unix)]
fn on_screen(command: &mut Command, talk: &[(&str, &str)]) -> i32 {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::sync::{Arc, Mutex};

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};

    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("usable");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let path = name.to_str().expect("text").to_owned();
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).expect("a size");
    let open = || File::options().read(true).write(true).open(&path).expect("its other end");
    let child = command.env("TERM", "xterm").stdin(open()).stdout(open()).stderr(open()).spawn();
    let child = child.expect("the program starts");
    let mut keys = File::from(master);
    let mut screen = keys.try_clone().expect("a second handle");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let filled = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = screen.read(&mut buffer) {
            filled.lock().expect("not poisoned").extend_from_slice(&buffer[..read]);
        }
    });
    for (word, typed) in talk {
        wait_until(word, || {
            let all = seen.lock().expect("not poisoned");
            String::from_utf8_lossy(&all).contains(word)
        });
        keys.write_all(typed.as_bytes()).expect("typed");
    }
    crate::process::ended(child).code
}

#[cfg(unix)]
#[test]
fn top_is_steered_by_keys() {
    let node = Node::start(&["--label", "host=kitchen"]);
    node.good(&["put", "dish", "soup"]);
    let code = on_screen(
        program().args(["top", "--node", &node.url]),
        &[
            ("machine", "2"),
            ("address", "\r"),
            ("incarnation", "x"),
            ("kitchen", "d"),
            ("healthy:", "x"),
            ("members", "t"),
            ("trace", "dish\r"),
            ("closest", "x"),
            ("members", "q"),
        ],
    );
    assert_eq!(code, 0);
}

/// Who comes is a line, the state of now stays below it, and how others get in is last.
#[cfg(unix)]
#[test]
fn up_at_a_terminal_is_a_page_that_lives() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().to_owned();
    let other = std::thread::spawn(move || {
        let mut url = String::new();
        wait_until("the node has its address", || {
            url = fs::read_to_string(data.join("http")).unwrap_or_default().trim().to_owned();
            !url.is_empty()
        });
        let status = || json(get_url(&format!("{url}/v1/status")));
        wait_until("the node answers", || get_url(&format!("{url}/readyz")).status() == 200);
        let contact = status()["contact"].as_str().expect("text").to_owned();
        let newcomer = Node::start(&["--label", "host=kitchen", &contact]);
        wait_until("the screen had time to show it", || {
            let overview = json(get_url(&format!("{url}/v1/overview")));
            let told = overview["events"].to_string().contains("kitchen");
            told && overview["machine"]["uptimeSeconds"].as_u64() > Some(4)
        });
        newcomer.terminate();
        drop(newcomer);
        run(program().args(["leave", "--node", &url]), b"")
    });
    let mut command = up(folder.path());
    let code = on_screen(
        &mut command,
        &[
            ("others join: potluck up", ""),
            ("network test: 1 member", ""),
            ("dashboard http://127.0.0.1", ""),
            ("kitchen", ""),
            ("network test: 2 members", ""),
        ],
    );
    assert_eq!(other.join().expect("it ends").code, 0);
    assert_eq!(code, 0);
}
