//! Members that are killed, and members that are only stopped for a while.

#![cfg(unix)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{ask, get, json};
use crate::process::{Node, wait_until};

/// How long processes are stopped: longer than any suspicion among neighbours takes.
const STOP: Duration = Duration::from_secs(12);

/// What one of several nodes said in its events.
struct Said {
    by: usize,
    event: Value,
}

impl Said {
    fn text(&self, name: &str) -> &str {
        self.event[name].as_str().unwrap_or_default()
    }
}

/// The events of all nodes from now on.
fn listen(nodes: &[Node]) -> Receiver<Said> {
    let (sender, events) = channel();
    for (by, node) in nodes.iter().enumerate() {
        let answer = ask("GET", &format!("{}/v1/events", node.url), &[], b"");
        let lines = BufReader::new(answer.into_body().into_reader()).lines();
        let sender = sender.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some(data) = line.strip_prefix("data: ") else { continue };
                let event = serde_json::from_str(data).expect("JSON");
                if sender.send(Said { by, event }).is_err() {
                    return;
                }
            }
        });
    }
    events
}

fn id(node: &Node) -> String {
    json(get(node, "/v1/status"))["nodeId"].as_str().expect("an id").to_owned()
}

/// What a node thinks of each member.
fn states(node: &Node) -> BTreeMap<String, String> {
    let view = json(get(node, "/v1/members"));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let members = view["members"].as_array().expect("a list");
    members.iter().map(|member| (text(&member["id"]), text(&member["state"]))).collect()
}

/// Whether a node is right about who is dead and who is there.
fn is_right(node: &Node, there: &BTreeSet<String>, dead: &BTreeSet<String>) -> bool {
    let states = states(node);
    let all = |ids: &BTreeSet<String>, state: &str| {
        ids.iter().all(|id| states.get(id).is_some_and(|it| it == state))
    };
    all(there, "alive") && all(dead, "dead")
}

#[test]
fn the_killed_are_dead_the_stopped_return_and_no_other_is_declared_dead() {
    let mut nodes = vec![Node::start(&[])];
    while nodes.len() < 12 {
        nodes.push(Node::start(&[&nodes[0].contact]));
    }
    let ids: Vec<String> = nodes.iter().map(id).collect();
    let all: BTreeSet<String> = ids.iter().cloned().collect();
    wait_until("all know all", || nodes.iter().all(|node| is_right(node, &all, &BTreeSet::new())));
    let events = listen(&nodes);

    // 8 stay, 2 are stopped, 2 are killed.
    let began = Instant::now();
    let killed: BTreeSet<String> = ids[10..].iter().cloned().collect();
    let stopped: BTreeSet<String> = ids[8..10].iter().cloned().collect();
    let gone: BTreeSet<String> = &killed | &stopped;
    nodes[10..].iter_mut().for_each(Node::kill);
    nodes.truncate(10);
    nodes[8..].iter().for_each(|node| node.signal("STOP"));
    let left = &all - &gone;
    wait_until("the killed and the stopped are dead to all others", || {
        nodes[..8].iter().all(|node| is_right(node, &left, &gone)) && began.elapsed() >= STOP
    });
    nodes[8..].iter().for_each(|node| node.signal("CONT"));
    let there = &left | &stopped;
    wait_until("the stopped are back, the killed are not", || {
        nodes.iter().all(|node| is_right(node, &there, &killed))
    });

    let mut returned = BTreeSet::new();
    let mut causes = BTreeSet::new();
    for said in events.try_iter() {
        let about = said.text("id").to_owned();
        match (said.text("type"), said.text("change")) {
            ("member", "died") => {
                let may_be = if said.by < 8 { &gone } else { &killed };
                assert!(may_be.contains(&about), "node {} buried {about}", said.by);
            }
            ("member", "returned") => {
                assert!(stopped.contains(&about), "{about} was never away");
                returned.insert((said.by, about));
            }
            ("neighbour", "down") if said.by < 8 && gone.contains(&about) => {
                causes.insert(said.text("cause").to_owned());
            }
            _ => {}
        }
    }
    for by in 0..8 {
        for id in &stopped {
            assert!(returned.contains(&(by, id.clone())), "node {by} did not say so");
        }
    }
    assert!(causes.contains("crashed"), "{causes:?}");
}
