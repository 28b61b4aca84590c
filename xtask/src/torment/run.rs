//! The run inside the namespaces: starts the nodes, lets clients work during the faults, judges the history.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use potluck_base::Rng;
use potluck_sim::check::history::Verdict;
use potluck_sim::check::history::members::{self, Listed, MemberRules};
use potluck_sim::check::history::messages::{self, MessageRules};
use potluck_sim::check::history::records::{self, RecordRules};

use super::clients::{Names, Worker};
use super::http::{Call, Client, Endpoint};
use super::nemesis::Nemesis;
use super::node::{Node, faketime};
use super::options::Options;
use super::recorder::{Recorder, Seen};
use super::story::Stage;
use super::{finale, lab, plan, report, topics, watch};
use crate::sandbox;

/// Clients of records.
const CLIENTS: usize = 5;
/// All nodes must list each other within this after their start.
const FORMED_MAX: Duration = Duration::from_secs(60);
/// For how long after a fault a node counts as disturbed.
const SETTLE: Duration = Duration::from_secs(15);
/// Replicas of a record.
pub(super) const REPLICATION: usize = 5;
/// After this much undisturbed time no living node is listed dead.
pub(super) const ALIVE_WITHIN: Duration = Duration::from_secs(30);
/// After this a killed node is listed dead.
pub(super) const DEAD_WITHIN: Duration = Duration::from_secs(30);
/// Undisturbed time that a publisher needs to hand an accepted message to others.
const HAND_OVER: Duration = Duration::from_secs(5);
/// Undisturbed time after which an accepted message must have come.
const PATIENCE: Duration = Duration::from_secs(15);
/// A message that arrives later was lost and requested again.
const IN_TIME: Duration = Duration::from_millis(400);
/// A message dated up to this long before a subscription may belong to it, since clocks differ.
const CLOCKS: Duration = Duration::from_secs(60);

/// Runs all of it. Exit code 1: there were violations.
pub(super) fn inside(root: &Path, options: &Options) -> Result<ExitCode, String> {
    let program = options.program.as_deref().ok_or("it must be told the program")?;
    sandbox::mount("torment")?;
    lab::make(options.nodes)?;
    let mut nemeses = options.nemeses.clone();
    if faketime().is_none() {
        nemeses.retain(|nemesis| !nemesis.needs_clock());
        say("clocks stay right: faketime is not installed")?;
    }
    let recorder = Arc::new(Recorder::new());
    let mut stage = form(options, program, recorder)?;
    let crew = Crew::start(&stage, options.seed);
    play(&mut stage, options, &nemeses)?;
    crew.stop();
    let agreed = finale::play(&mut stage)?;
    let seen = stage.recorder.seen().clone();
    let verdict = judge(&seen, options.nodes, stage.recorder.now());
    let folder = root.join("target/torment");
    report::print(&seen, &verdict, agreed).map_err(|error| error.to_string())?;
    if verdict.holds() && seen.accidents.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let path = report::save(&folder, options.seed, &seen, &verdict, &stage.nodes)
        .map_err(|error| format!("cannot write below {}: {error}", folder.display()))?;
    say(&format!("the history and what broke the rules: {}", path.display()))?;
    Ok(ExitCode::FAILURE)
}

pub(super) fn say(line: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())
}

/// Starts all nodes and waits until each lists all others.
fn form(options: &Options, program: &Path, recorder: Arc<Recorder>) -> Result<Stage, String> {
    let nodes = (0..options.nodes)
        .map(|number| Node::new(number, program, Path::new("/run/torment")))
        .collect::<Result<Vec<Node>, String>>()?;
    let mut stage = Stage { nodes, endpoints: Arc::default(), recorder };
    // All at once: the first two are entry points of each other.
    stage.start(&(0..options.nodes).collect::<Vec<_>>())?;
    let client = Client::new(Some(Duration::from_secs(5)));
    let mut endpoints = Vec::new();
    for (number, node) in stage.nodes.iter().enumerate() {
        let mut endpoint = Endpoint {
            number,
            base: format!("http://{}", lab::http(number)),
            token: node.token(),
            public_key: node.public_key().ok_or("a node did not say its contact")?,
            id: String::new(),
            life: 1.into(),
        };
        let status = client.ask(&endpoint, &Call::get("/v1/status"));
        let status = status.ok_or_else(|| format!("node {number} does not answer over HTTP"))?;
        match status.json()["nodeId"].as_str() {
            Some(id) => id.clone_into(&mut endpoint.id),
            None => return Err(format!("node {number} answers {} over HTTP", status.status)),
        }
        endpoints.push(endpoint);
    }
    let deadline = Instant::now() + FORMED_MAX;
    let all = |endpoints: &[Endpoint]| {
        (0..endpoints.len()).all(|observer| {
            watch::look(&client, endpoints, observer)
                .is_some_and(|listed| listed.values().all(|listed| *listed == Listed::Living))
        })
    };
    while !all(&endpoints) {
        if Instant::now() > deadline {
            return Err(format!("the nodes did not find each other in {FORMED_MAX:?}"));
        }
        sleep(Duration::from_millis(100));
    }
    stage.endpoints = Arc::new(endpoints);
    Ok(stage)
}

/// The threads that use the nodes.
struct Crew {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Crew {
    fn start(stage: &Stage, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let names = Arc::new(Names::new());
        let mut rng = Rng::from_number(seed).fork("clients");
        let mut workers = Vec::new();
        for number in 0..CLIENTS {
            let worker = Worker {
                number,
                rng: rng.fork(&number.to_string()),
                nodes: Arc::clone(&stage.endpoints),
                names: Arc::clone(&names),
                recorder: Arc::clone(&stage.recorder),
                stop: Arc::clone(&stop),
                slow: BTreeMap::new(),
            };
            workers.push(thread::spawn(move || worker.work()));
        }
        for number in 0..stage.endpoints.len() {
            let part =
                || (Arc::clone(&stage.endpoints), Arc::clone(&stage.recorder), Arc::clone(&stop));
            // These two run until the end.
            let (nodes, recorder, _) = part();
            thread::spawn(move || topics::subscribe(&nodes[number], &recorder));
            let (nodes, recorder, _) = part();
            thread::spawn(move || watch::watch(&nodes, number, &recorder));
            let (nodes, recorder, stop) = part();
            workers.push(thread::spawn(move || topics::publish(&nodes[number], &recorder, &stop)));
        }
        Self { stop, workers }
    }

    /// Lets all threads finish their current operation.
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            // A worker that panicked has printed it; its operations are in the history.
            let _ = worker.join();
        }
    }
}

/// Runs the plan, and continues until the minutes are over.
fn play(stage: &mut Stage, options: &Options, nemeses: &[Nemesis]) -> Result<(), String> {
    let length = Duration::from_secs(60 * options.minutes);
    let deadline = Instant::now() + length;
    for episode in plan::draw(options.seed, options.nodes, options.minutes, nemeses) {
        if Instant::now() + episode.after + episode.lasts > deadline {
            break;
        }
        let (name, nodes) = (episode.nemesis.name(), &episode.nodes);
        let at = (stage.recorder.now() + episode.after).as_secs();
        let lasts = match episode.nemesis {
            Nemesis::Restart => String::new(),
            _ => format!(" for {:.1} s", episode.lasts.as_secs_f64()),
        };
        say(&format!("{at:>4} s  {name} {nodes:?}{lasts}"))?;
        stage.play(&episode)?;
    }
    stage.wait(deadline.saturating_duration_since(Instant::now()));
    Ok(())
}

/// Applies all rules to the recorded history.
fn judge(seen: &Seen, nodes: usize, ended: Duration) -> Verdict {
    // A minority of the replicas of each record.
    let tolerated = (REPLICATION.min(nodes) - 1) / 2;
    let record_rules = RecordRules { settle: SETTLE, tolerated };
    let mut verdict = records::judge(&seen.operations, &seen.last, &seen.faults, &record_rules);
    let mut streams = seen.streams.clone();
    for stream in &mut streams {
        stream.closed = stream.closed.min(ended);
    }
    let message_rules = MessageRules {
        hand_over: HAND_OVER,
        patience: PATIENCE,
        settle: SETTLE,
        in_time: IN_TIME,
        clocks: CLOCKS,
    };
    verdict.join(messages::judge(&seen.published, &streams, &seen.faults, &message_rules));
    let member_rules = MemberRules { alive_within: ALIVE_WITHIN, dead_within: DEAD_WITHIN };
    verdict.join(members::judge(&seen.views, &seen.faults, &member_rules));
    verdict.violations.sort_by_key(|violation| violation.at);
    verdict
}
