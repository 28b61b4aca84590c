//! Two `invite` networks of the same name on one machine, and a member that is put out of one.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{get, json};
use crate::process::{Node, program, wait_until};

/// Time within which all members know of a revocation.
const OUT_WITHIN: Duration = Duration::from_secs(10);

fn up(data: &Path) -> Command {
    let mut command = program();
    command.args(["up", "--exit-with-stdin"]).args(crate::process::listening());
    command.args(["--data"]).arg(data).env("POTLUCK_STORE_SYNC", "false");
    command
}

/// A network called `prod` of this number of nodes; the first one founded it.
fn network(folder: &Path, nodes: usize) -> Vec<Node> {
    let data = folder.join("0");
    let founder = Node::start_as(&data, up(&data).args(["--network", "prod"]));
    let mut all = vec![founder];
    for number in 1..nodes {
        let ticket = all[0].good(&["invite"]);
        let data = folder.join(number.to_string());
        all.push(Node::start_as(&data, up(&data).arg(ticket.trim())));
    }
    wait_until("all know all", || all.iter().all(|node| members(node).len() == nodes));
    all
}

fn id(node: &Node) -> String {
    json(get(node, "/v1/status"))["nodeId"].as_str().expect("an id").to_owned()
}

/// The ids in a list of nodes.
fn ids(list: &Value) -> Vec<String> {
    let id = |entry: &Value| entry["id"].as_str().expect("an id").to_owned();
    list.as_array().expect("a list").iter().map(id).collect()
}

/// Whom a node takes to be there.
fn members(node: &Node) -> Vec<String> {
    let mut view = json(get(node, "/v1/members"));
    view["members"].as_array_mut().expect("a list").retain(|member| member["state"] == "alive");
    ids(&view["members"])
}

fn peers(node: &Node) -> Vec<String> {
    ids(&json(get(node, "/v1/peers"))["peers"])
}

/// Datagrams that were dropped for a cause.
fn dropped(node: &Node, cause: &str) -> f64 {
    let name = format!("potluck_link_dropped_total{{reason=\"{cause}\"}} ");
    let text = get(node, "/metrics").body_mut().read_to_string().expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn two_networks_of_the_same_name_never_mix() {
    let folder = tempfile::tempdir().expect("folder");
    let ours = network(&folder.path().join("ours"), 3);
    let theirs = network(&folder.path().join("theirs"), 2);
    ours[1].good(&["put", "greeting", "ours"]);
    // A node of the other network is named by mistake: it drops the messages.
    ours[2].good(&["join", &theirs[0].contact]);
    theirs[1].good(&["join", &ours[0].contact]);
    wait_until("both were called", || {
        dropped(&theirs[0], "other_network") > 0.0 && dropped(&ours[0], "other_network") > 0.0
    });
    theirs[0].good(&["put", "greeting", "theirs"]);
    assert_eq!(ours[2].good(&["get", "greeting"]), "ours");
    assert_eq!(theirs[1].good(&["get", "greeting"]), "theirs");
    for network in [&ours, &theirs] {
        let own: Vec<String> = network.iter().map(id).collect();
        for node in network {
            let mut seen = members(node);
            assert_eq!(seen.len(), network.len());
            seen.extend(peers(node));
            assert!(seen.iter().all(|id| own.contains(id)), "{seen:?}");
        }
    }
}

#[test]
fn a_revoked_machine_is_out_everywhere_within_ten_seconds_and_stays_out() {
    let folder = tempfile::tempdir().expect("folder");
    let mut nodes = network(folder.path(), 4);
    let revoked = nodes.remove(2);
    let out = id(&revoked);
    let dropped_before: Vec<f64> = nodes.iter().map(|node| dropped(node, "not_admitted")).collect();
    let began = Instant::now();
    nodes[0].good(&["revoke", &out]);
    wait_until("it is out everywhere", || {
        nodes.iter().all(|node| !members(node).contains(&out) && !peers(node).contains(&out))
    });
    assert!(began.elapsed() < OUT_WITHIN, "after {:?}", began.elapsed());
    // It goes on asking without an answer: the record has a place on all three.
    nodes[1].good(&["put", "secret", "kept from it"]);
    assert_ne!(revoked.run(&["get", "secret"]).code, 0);
    wait_until("it is not heard by anybody", || {
        let now = nodes.iter().map(|node| dropped(node, "not_admitted"));
        now.zip(&dropped_before).any(|(now, before)| now > *before)
    });
    for node in &nodes {
        assert_eq!(members(node).len(), nodes.len());
        assert_eq!(node.good(&["get", "secret"]), "kept from it");
    }
}
