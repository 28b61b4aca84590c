//! `open` networks: twelve processes on addresses of many subnets, four of which are killed; how others
//! enter, and what is refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::http::{get, json};
use crate::process::{Node, any_port, noise, program, run, wait_until};

/// Bits that take a moment in a test.
const DIFFICULTY: &str = "4,6";
const NODES: usize = 12;
const KILLED: usize = 4;

/// `up` on this address with nothing said about the network.
fn up(data: &Path, listen: &str) -> Command {
    let mut command = program();
    command.args(["up", "--exit-with-stdin", "--listen", listen, "--http", &any_port()]);
    command.arg("--data").arg(data).env("POTLUCK_STORE_SYNC", "false").env("HOME", data);
    command
}

fn founding(data: &Path, listen: &str) -> Command {
    let mut command = up(data, listen);
    command.args(["--network", "garden", "--admission", "open", "--difficulty", DIFFICULTY]);
    command
}

fn network_of(node: &Node) -> Value {
    json(get(node, "/v1/network"))
}

fn invitation(node: &Node) -> String {
    network_of(node)["invitation"].as_str().expect("an invitation").to_owned()
}

fn peers(node: &Node) -> usize {
    json(get(node, "/v1/peers"))["peers"].as_array().expect("a list").len()
}

fn node_id(node: &Node) -> String {
    json(get(node, "/v1/status"))["nodeId"].as_str().expect("an id").to_owned()
}

/// A loopback address of a subnet of its own.
fn address(number: usize) -> String {
    format!("127.{}.{}.1:0", 10 + 7 * number, 1 + number)
}

#[cfg(target_os = "linux")]
#[test]
fn records_and_files_outlive_four_of_twelve_nodes_of_many_subnets() {
    let folder = tempfile::tempdir().expect("folder");
    let data = |number: usize| folder.path().join(number.to_string());
    let founder = Node::start_as(&data(0), &mut founding(&data(0), &address(0)));
    let invitation = invitation(&founder);
    let mut nodes = vec![founder];
    for number in 1..NODES {
        let mut command = up(&data(number), &address(number));
        nodes.push(Node::start_as(&data(number), command.arg(&invitation)));
    }
    wait_until("all know each other", || nodes.iter().all(|node| peers(node) == NODES - 1));

    // Records in own of nodes that live and of nodes that die, a team's, and one named by its content.
    let writers: Vec<usize> = (0..NODES).step_by(2).collect();
    let spaces: Vec<String> = writers
        .iter()
        .map(|writer| {
            let node = &nodes[*writer];
            node.good(&["put", "greeting", &format!("from {writer}"), "--space", "own"]);
            format!("own/{}", public_key(node))
        })
        .collect();
    let key = nodes[1].good(&["put", "-", "named by its hash", "--space", "content"]);
    let team = nodes[2].good(&["team", "create", "gardeners"]);
    let team = team.trim().rsplit('/').next().expect("an id").to_owned();
    nodes[2].good(&["put", "plan", "weed", "--space", &format!("team/{team}")]);
    // A file, fetched by its link and by the record of its name.
    let bytes = noise(1, 300_000);
    let source = data(3).join("files").join("seeds.bin");
    std::fs::create_dir_all(data(3).join("files")).expect("made");
    std::fs::write(&source, &bytes).expect("written");
    let link = nodes[3].good(&["share", source.to_str().expect("text")]);
    let link = link.trim();
    nodes[3].good(&["put", "seeds", link, "--space", "own"]);
    let record = format!("own/{}/seeds", public_key(&nodes[3]));
    for (reader, wanted) in [(4, link), (5, link), (6, &record), (7, &record)] {
        let path = fetched(&nodes[reader], wanted, &data(reader));
        assert_eq!(std::fs::read(path).expect("read"), bytes);
    }

    assert!(nodes[9].good(&["search", "seeds"]).contains("seeds.bin"));

    // Four are killed without a word, among them the founder and the one that shared.
    let killed = [0, 2, 3, 8];
    assert_eq!(killed.len(), KILLED);
    killed.iter().for_each(|number| nodes[*number].kill());
    let alive: Vec<usize> = (0..NODES).filter(|number| !killed.contains(number)).collect();
    for (space, writer) in spaces.iter().zip(&writers) {
        let reader = &nodes[alive[writer % alive.len()]];
        assert_eq!(reader.good(&["get", "greeting", "--space", space]), format!("from {writer}"));
    }
    let last = &nodes[NODES - 1];
    assert_eq!(last.good(&["get", key.trim(), "--space", "content"]), "named by its hash");
    assert_eq!(last.good(&["get", "plan", "--space", &format!("team/{team}")]), "weed");
    assert_eq!(std::fs::read(fetched(last, link, &data(NODES - 1))).expect("read"), bytes);
    // What lives goes on writing.
    last.good(&["put", "greeting", "still here", "--space", "own"]);
    let space = format!("own/{}", public_key(last));
    assert_eq!(nodes[alive[0]].good(&["get", "greeting", "--space", &space]), "still here");
}

/// The public key of a node, which names its own space.
fn public_key(node: &Node) -> String {
    node.contact.split(['@', '.']).next().expect("a key").to_owned()
}

/// Fetches a link into a folder of the node, and gives where the file is.
fn fetched(node: &Node, link: &str, data: &Path) -> PathBuf {
    let to = data.join("files");
    node.good(&["fetch", link, "-o", to.to_str().expect("text")]);
    to.join("seeds.bin")
}

#[test]
fn a_network_is_made_named_and_entered_by_the_line_that_it_prints() {
    let folder = tempfile::tempdir().expect("folder");
    let data = |name: &str| folder.path().join(name);
    let mut founder = Node::start_as(&data("a"), &mut founding(&data("a"), &any_port()));
    let view = network_of(&founder);
    assert_eq!((&view["admission"], &view["difficulty"]), (&"open".into(), &DIFFICULTY.into()));
    let shown = founder.good(&["network", "show"]);
    let invitation = invitation(&founder);
    assert!(shown.contains("difficulty 4,6: 4 bits"), "{shown}");
    assert!(shown.contains(&format!("on the next machine: potluck up {invitation}")), "{shown}");
    assert!(founder.good(&["status"]).contains("garden (open, difficulty 4,6)"));

    // By the invitation, and by a contact with the same flags.
    let second = Node::start_as(&data("b"), up(&data("b"), &any_port()).arg(&invitation));
    let mut by_contact = founding(&data("c"), &any_port());
    let third = Node::start_as(&data("c"), by_contact.arg(&founder.contact));
    wait_until("all know each other", || {
        [&founder, &second, &third].iter().all(|it| peers(it) == 2)
    });

    // Commons is off, and the error says what is there instead; nothing is admitted or set by hand.
    let put = second.run(&["put", "greeting", "hello"]);
    assert_eq!(put.code, 6, "{}", put.stderr);
    assert!(
        put.stderr.contains("no space commons") && put.stderr.contains("--space own"),
        "{}",
        put.stderr
    );
    for absent in [&["get", "greeting"][..], &["ls"], &["incr", "visits"]] {
        assert_eq!(second.run(absent).code, 6, "{absent:?}");
    }
    for (words, says) in [
        (&["invite"][..], "open network"),
        (&["revoke", "0123456789abcdef"], "open network"),
        (&["network", "set", "replication", "5"], "no authority"),
    ] {
        let run = second.run(words);
        assert_eq!(run.code, 6, "{words:?}: {}", run.stderr);
        assert!(run.stderr.contains(says), "{words:?}: {}", run.stderr);
    }
    // A life is at most 30 days.
    let long = second.run(&["put", "a", "b", "--space", "own", "--ttl", "31d"]);
    assert!(long.code == 2 && long.stderr.contains("30 days"), "{}: {}", long.code, long.stderr);

    // The second start needs no word of the network and is the same node.
    let id = node_id(&founder);
    founder.kill();
    let mut again = up(&data("a"), &any_port());
    let again = Node::start_as(&data("a"), again.arg(&second.contact));
    assert_eq!(node_id(&again), id);
    wait_until("it is back", || peers(&again) == 2);
}

#[test]
fn what_is_wrong_with_a_start_is_said_before_anything_is_made() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("a");
    let founder = Node::start_as(&data, &mut founding(&data, &any_port()));
    let invitation = invitation(&founder);
    let new = folder.path().join("new");
    let refused = |words: &[&str], says: &str| {
        let ended = run(up(&new, &any_port()).args(words), b"");
        assert_eq!(ended.code, 2, "{words:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{words:?}: {}", ended.stderr);
        assert!(!new.join("identity").exists(), "{words:?} made a node");
    };
    refused(&["--admission", "open"], "needs a name");
    refused(&["--network", "x", "--admission", "open", "--difficulty", "40,2"], "1 to 28");
    refused(&["--network", "x", "--admission", "open", "--difficulty", "16"], "such as 16,23");
    refused(&["--network", "x", "--admission", "lab", "--difficulty", "4,6"], "open networks");
    refused(&["--network", "x", "--difficulty", "4,6"], "--admission open");
    refused(&["--network", "other", &invitation], "not to the one of --network");
    refused(&["--difficulty", "4,7", &invitation], "has difficulty 4,6");
    refused(&["--admission", "lab", &invitation], "--admission says otherwise");
    refused(&[&invitation[..invitation.len() - 4]], "damaged or cut off");

    // A folder that has a network takes no other, nor another difficulty.
    drop(founder);
    for (words, says) in [
        (["--network", "garden", "--difficulty", "4,7"], "never changes"),
        (["--network", "field", "--admission", "open"], "garden"),
    ] {
        let ended = run(up(&data, &any_port()).args(words), b"");
        assert_eq!(ended.code, 2, "{words:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{words:?}: {}", ended.stderr);
    }
}
