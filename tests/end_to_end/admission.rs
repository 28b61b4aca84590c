//! `invite` networks through the command line.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::http::{ask, ask_openly, json, problem, secret_file};
use crate::process::{Node, any_port, program, run, wait_until};

/// `up` on loopback, with nothing said about the network.
fn up(data: &Path) -> Command {
    up_at(data, &any_port())
}

fn up_at(data: &Path, listen: &str) -> Command {
    let mut command = program();
    command.args(["up", "--exit-with-stdin", "--listen", listen, "--http", &any_port()]);
    command.args(["--data"]).arg(data).env("POTLUCK_STORE_SYNC", "false");
    command.env("POTLUCK_FILES_PATHS", data.parent().expect("a parent"));
    command
}

fn peers(node: &Node) -> usize {
    let status: serde_json::Value =
        serde_json::from_str(&node.good(&["status", "--json"])).expect("JSON");
    usize::try_from(status["peers"].as_u64().expect("a number")).expect("small")
}

#[test]
pub(crate) fn a_network_is_made_joined_by_ticket_used_and_left_by_force() {
    let folder = tempfile::tempdir().expect("folder");
    let place = |name: &str| folder.path().join(name);
    let first = Node::start_as(&place("first"), &mut up(&place("first")));
    let shown = first.good(&["network", "show"]);
    assert!(
        shown.contains("admission  invite") && shown.contains("holds the authority"),
        "{shown}"
    );

    let invited = first.run(&["invite", "--label", "role=build", "--expires", "1h"]);
    assert_eq!(invited.code, 0, "{}", invited.stderr);
    let ticket = invited.stdout.trim().to_owned();
    let told = &invited.stderr;
    assert!(told.starts_with("ticket ") && told.contains("one machine in until 20"), "{told}");
    assert!(!told.contains(&ticket), "a secret is printed once: {told}");

    let second = Node::start_as(&place("second"), up(&place("second")).arg(&ticket));
    wait_until("they know each other", || peers(&first) == 1 && peers(&second) == 1);
    first.good(&["put", "greeting", "hello"]);
    assert_eq!(second.good(&["get", "greeting"]), "hello");
    let large = "x".repeat(20_000);
    assert_eq!(second.run_with(&["put", "large", "-"], large.as_bytes()).code, 0);
    assert_eq!(first.good(&["get", "large"]), large);
    assert!(first.good(&["invite", "--list"]).contains("role=build"));

    // Used up for others, and only the founder can make more.
    let third = run(up(&place("third")).env("POTLUCK_TICKET", &ticket), b"");
    assert_eq!(third.code, 6, "{}", third.stderr);
    assert!(third.stderr.contains("ask for a new one"), "{}", third.stderr);
    assert_eq!(second.run(&["invite"]).code, 6);

    // Out.
    let status: serde_json::Value =
        serde_json::from_str(&second.good(&["status", "--json"])).expect("JSON");
    let id = status["nodeId"].as_str().expect("text");
    assert!(first.good(&["revoke", &id[..12]]).contains("is out"));
    wait_until("the first is alone", || peers(&first) == 0);
    first.good(&["put", "after", "kept from it"]);
    assert_ne!(second.run(&["get", "after"]).code, 0);
    assert_eq!(first.run(&["revoke", "00000000"]).code, 3);
}

#[test]
fn a_ticket_is_listed_and_cancelled_for_good_also_through_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let place = |name: &str| folder.path().join(name);
    let data = place("first");
    let mut first = Node::start_as(&data, &mut up(&data));
    let invite = |labels: &str| {
        let ticket = first.good(&["invite", "--uses", "3", "--label", labels]);
        ticket.trim().to_owned()
    };
    let (leaked, kept) = (invite("zone=leaked"), invite("zone=kept"));
    let listed = |node: &Node| -> Vec<serde_json::Value> {
        let list = node.good(&["invite", "--list", "--json"]);
        let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        let mut tickets = list["tickets"].as_array().expect("a list").clone();
        tickets.retain(|ticket| ticket["labels"]["zone"].is_string());
        tickets
    };
    let all = listed(&first);
    let of = |zone: &str| {
        let found = all.iter().find(|ticket| ticket["labels"]["zone"] == zone).expect("listed");
        assert_eq!((&found["usesLeft"], &found["used"]), (&3.into(), &0.into()));
        found["id"].as_str().expect("text").to_owned()
    };
    let (id, kept_id) = (of("leaked"), of("kept"));

    let second = Node::start_as(&place("second"), up(&place("second")).arg(&leaked));
    wait_until("they know each other", || peers(&first) == 1 && peers(&second) == 1);
    assert_eq!(second.run(&["revoke", &id[..12]]).code, 6, "only where the authority key is");

    let said = first.good(&["revoke", &id[..12]]);
    assert!(said.contains(&id) && said.contains("is out"), "{said}");
    let left = first.good(&["invite", "--list"]);
    assert!(left.contains("zone=kept") && !left.contains("zone=leaked"), "{left}");
    assert_eq!(first.run(&["revoke", &id[..12]]).code, 3, "a second time there is none");
    let address = first.contact.rsplit_once('@').expect("a contact").1.to_owned();
    first.kill();
    let first = Node::start_as(&data, &mut up_at(&data, &address));
    assert_eq!(listed(&first).len(), 1);

    let third = run(up(&place("third")).env("POTLUCK_TICKET", &leaked), b"");
    assert_eq!(third.code, 6, "{}", third.stderr);
    assert!(third.stderr.contains("cancelled"), "{}", third.stderr);
    // The member that came in by it is out as well, and the other ticket is as good as before.
    let third = Node::start_as(&place("third"), up(&place("third")).arg(&kept));
    wait_until("the two are there", || peers(&third) == 1 && peers(&first) == 1);
    first.good(&["put", "after", "kept from it"]);
    assert_ne!(second.run(&["get", "after"]).code, 0);

    let url = format!("{}/v1/invites/{}", first.url, &kept_id[..7]);
    problem(ask("DELETE", &url, &[], b""), 400, 2);
    let url = format!("{}/v1/invites/{kept_id}", first.url);
    assert_eq!(json(ask("DELETE", &url, &[], b""))["ticket"], kept_id.as_str());
    problem(ask("DELETE", &url, &[], b""), 404, 3);
    assert!(listed(&first).is_empty());
}

#[test]
fn a_configured_authority_keeps_tickets_and_folders_of_other_networks_out() {
    let folder = tempfile::tempdir().expect("folder");
    let place = |name: &str| folder.path().join(name);
    let network = |node: &Node| -> serde_json::Value {
        serde_json::from_str(&node.good(&["network", "show", "--json"])).expect("JSON")
    };
    let ticket_of = |node: &Node| node.good(&["invite"]).trim().to_owned();
    let (ours, theirs) = (place("ours"), place("theirs"));
    let ours = Node::start_as(&ours, up(&ours).args(["--network", "home"]));
    let theirs = Node::start_as(&theirs, up(&theirs).args(["--network", "home"]));
    let authority = network(&ours)["authority"].as_str().expect("text").to_owned();
    assert_eq!(network(&ours)["authorityConfigured"], false);
    let file = place("potluck.toml");
    fs::write(&file, format!("[network]\nauthority = \"{authority}\"\n")).expect("written");
    let configured = |data: &Path| {
        let mut command = up(data);
        command.arg("--config").arg(&file);
        command
    };

    let data = place("member");
    let refused = run(configured(&data).arg(ticket_of(&theirs)), b"");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("[network] authority"), "{}", refused.stderr);
    let alone = run(&mut configured(&data), b"");
    assert_eq!(alone.code, 2, "{}", alone.stderr);
    assert!(alone.stderr.contains("potluck invite"), "no new network: {}", alone.stderr);
    let member = Node::start_as(&data, configured(&data).arg(ticket_of(&ours)));
    assert!(member.good(&["network", "show"]).contains(&format!("{authority}, as configured")));
    assert_eq!(network(&member)["authorityConfigured"], true);

    // A folder of the other network is refused and left as it is.
    let data = place("other");
    let mut other = Node::start_as(&data, up(&data).arg(ticket_of(&theirs)));
    other.good(&["put", "kept", "here", "-w", "1"]);
    other.kill();
    let refused = run(&mut configured(&data), b"");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let theirs_key = network(&theirs)["authority"].as_str().expect("text").to_owned();
    assert!(refused.stderr.contains(&theirs_key), "{}", refused.stderr);
    let other = Node::start_as(&data, &mut up(&data));
    assert_eq!(other.good(&["get", "kept"]), "here");

    let wrong = run(up(&place("new")).env("POTLUCK_NETWORK_AUTHORITY", "abc"), b"");
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("64 hex digits"), "{}", wrong.stderr);
    assert!(!place("new").exists(), "nothing was touched");
}

#[test]
fn who_has_no_token_lets_nobody_in_and_puts_nobody_out() {
    let folder = tempfile::tempdir().expect("folder");
    let (data, token) = (folder.path().join("node"), folder.path().join("token"));
    secret_file(&token, "secret\n");
    let node = Node::start_as(&data, up(&data).env("POTLUCK_HTTP_TOKEN_FILE", &token));
    let body = [("content-type", "application/json")];
    let copy = folder.path().join("copy");
    let key = serde_json::json!({ "path": copy }).to_string();
    for (method, path, content) in [
        ("GET", "/v1/invites", ""),
        ("POST", "/v1/invites", "{}"),
        ("DELETE", "/v1/invites/00000000", ""),
        ("POST", "/v1/revocations", r#"{"member":"00000000"}"#),
        ("POST", "/v1/network/key/export", &key),
        ("POST", "/v1/network/key/import", &key),
    ] {
        let url = format!("{}{path}", node.url);
        let headers = if method == "POST" { &body[..] } else { &[] };
        problem(ask_openly(method, &url, headers, content.as_bytes()), 401, 6);
        let wrong = [headers, &[("authorization", "Bearer secrets")]].concat();
        problem(ask_openly(method, &url, &wrong, content.as_bytes()), 401, 6);
    }
    assert!(!copy.exists());
    for command in [&["invite"][..], &["invite", "--list"], &["revoke", "00000000"]] {
        let elsewhere = tempfile::tempdir().expect("folder");
        let mut stranger = program();
        stranger.env("XDG_RUNTIME_DIR", elsewhere.path()).env("HOME", elsewhere.path());
        let refused = run(stranger.args(["--node", &node.url]).args(command), b"");
        assert_eq!(refused.code, 6, "{}", refused.stderr);
        assert!(refused.stderr.contains("--token-file"), "{}", refused.stderr);
    }
    let with = ["--token-file", token.to_str().expect("text")];
    let listed = node.good(&[&with[..], &["invite", "--list", "--json"]].concat());
    assert_eq!(listed.matches("issuedAt").count(), 0, "`up` makes none for a log: {listed}");
    node.good(&[&with[..], &["invite"]].concat());
}

#[cfg(unix)]
#[test]
fn the_authority_key_leaves_by_its_owners_word_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("node");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let node = Node::start_as(&data, up(&data).args(["--network", "home"]));
    assert_eq!(mode(&data.join("authority")), 0o600);
    let copy = folder.path().join("keys").join("copy");
    let copy_text = copy.to_str().expect("text");
    node.good(&["network", "key", "export", copy_text]);
    assert_eq!(mode(&copy), 0o600);
    let again = node.run(&["network", "key", "export", copy_text]);
    assert_eq!(again.code, 2, "{}", again.stderr);
    assert!(again.stderr.contains("not written over"), "{}", again.stderr);
    // It is not shared by accident.
    let key = data.join("authority");
    assert_ne!(node.run(&["share", key.to_str().expect("text")]).code, 0);

    // Bare `up` on the folder is the same network again.
    let shown = node.good(&["network", "show"]);
    drop(node);
    let again = Node::start_as(&data, &mut up(&data));
    assert_eq!(again.good(&["network", "show"]), shown);
}
