//! The end of a run: after the last fault all nodes must give the same answers, and a node that is killed for
//! good must be listed dead by all others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use potluck_sim::check::history::faults::Effect;
use potluck_sim::check::history::members::Listed;
use potluck_sim::check::history::records::LastRead;

use super::clients::read;
use super::http::Client;
use super::run::{ALIVE_WITHIN, DEAD_WITHIN, say};
use super::story::Stage;

/// All nodes must agree within this after the last fault and the last write.
const AGREED_MAX: Duration = Duration::from_secs(60);
/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Readers at each node.
const READERS: usize = 4;
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the end. Returns the time until all nodes agreed, if they did.
pub(super) fn play(stage: &mut Stage) -> Result<Option<Duration>, String> {
    let agreed = all_agree(stage);
    // A wrong listing must be corrected within this time; a rule of the checker judges it.
    stage.wait(ALIVE_WITHIN.saturating_sub(agreed.unwrap_or(AGREED_MAX)));
    let killed = stage.nodes.len() - 1;
    say(&format!("the end: node {killed} is killed for good"))?;
    stage.recorder.begin("the end", &[killed], Effect::Down);
    stage.nodes[killed].kill()?;
    let deadline = Instant::now() + DEAD_WITHIN + 3 * PAUSE;
    while Instant::now() < deadline && !is_listed_dead(stage, killed) {
        sleep(PAUSE);
    }
    Ok(agreed)
}

fn is_listed_dead(stage: &Stage, killed: usize) -> bool {
    let seen = stage.recorder.seen();
    let mut newest: BTreeMap<usize, Listed> = BTreeMap::new();
    for view in seen.views.iter().rev().take(4 * stage.nodes.len()) {
        if let Some(listed) = view.listed.get(&killed) {
            newest.entry(view.observer).or_insert(*listed);
        }
    }
    newest.values().all(|listed| *listed == Listed::Gone)
}

/// Reads every key through every node until all answers are the same.
fn all_agree(stage: &Stage) -> Option<Duration> {
    let began = Instant::now();
    let mut open: BTreeSet<String> = {
        let seen = stage.recorder.seen();
        seen.operations.iter().map(|operation| operation.key.clone()).collect()
    };
    loop {
        let round = read_all(stage, &open);
        let mut seen = stage.recorder.seen();
        for (key, reads) in round {
            let texts = |read: &LastRead| {
                let values = read.reading.as_ref().map(|reading| reading.values.iter());
                values.map(|values| values.map(|it| it.text.clone()).collect::<BTreeSet<_>>())
            };
            let first = reads.first().and_then(texts);
            if first.is_some() && reads.iter().all(|read| texts(read) == first) {
                open.remove(&key);
            }
            seen.last.insert(key, reads);
        }
        drop(seen);
        if open.is_empty() {
            return Some(began.elapsed());
        }
        if began.elapsed() > AGREED_MAX {
            return None;
        }
        sleep(PAUSE);
    }
}

/// One read of each key through each node.
fn read_all(stage: &Stage, keys: &BTreeSet<String>) -> BTreeMap<String, Vec<LastRead>> {
    let keys = Arc::new(keys.clone());
    let nodes = stage.endpoints.len();
    let readers: Vec<_> = (0..nodes * READERS)
        .map(|reader| {
            let (node, part) = (reader % nodes, reader / nodes);
            let (nodes, recorder) = (Arc::clone(&stage.endpoints), Arc::clone(&stage.recorder));
            let keys = Arc::clone(&keys);
            thread::spawn(move || {
                let client = Client::new(Some(ANSWER_MAX));
                let one = |key: &String| {
                    let reading = read(&client, &nodes[node], key, &recorder);
                    (key.clone(), LastRead { node, at: recorder.now(), reading })
                };
                keys.iter().skip(part).step_by(READERS).map(one).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut all: BTreeMap<String, Vec<LastRead>> = BTreeMap::new();
    for reader in readers {
        // A reader that panicked has printed it; its reads are missing, and the nodes are not blamed for
        // that.
        for (key, last) in reader.join().unwrap_or_default() {
            all.entry(key).or_default().push(last);
        }
    }
    all
}
