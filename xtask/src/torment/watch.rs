//! Reads every node's list of members, once a second.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use potluck_sim::check::history::members::{Listed, View};
use serde_json::Value;

use super::http::{Call, Client, Endpoint};
use super::recorder::Recorder;

/// Pause between two reads.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for a list.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Reads one node's list without end.
pub(super) fn watch(nodes: &[Endpoint], observer: usize, recorder: &Recorder) {
    let client = Client::new(Some(ANSWER_MAX));
    loop {
        if let Some(listed) = look(&client, nodes, observer) {
            let at = recorder.now();
            recorder.seen().views.push(View { observer, at, listed });
        }
        sleep(PAUSE);
    }
}

/// The states in which one node lists all others; `None` without an answer.
pub(super) fn look(
    client: &Client,
    nodes: &[Endpoint],
    observer: usize,
) -> Option<BTreeMap<usize, Listed>> {
    let answer = client.ask(&nodes[observer], &Call::get("/v1/members"))?;
    let json = answer.json();
    let members = json["members"].as_array().filter(|_| answer.status == 200)?;
    let listed = |node: &Endpoint| {
        let of = |member: &&Value| member["id"] == node.id.as_str();
        let state = members.iter().find(of).and_then(|member| member["state"].as_str());
        match state {
            Some("alive" | "suspect") => Listed::Living,
            _ => Listed::Gone,
        }
    };
    let others = nodes.iter().filter(|node| node.number != observer);
    Some(others.map(|node| (node.number, listed(node))).collect())
}
