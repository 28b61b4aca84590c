//! Clients of records: they read, write, merge and delete through random nodes, and record their requests and
//! the answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use data_encoding::BASE64;
use potluck_base::Rng;
use potluck_sim::check::history::operation::{
    Action, Answer, Basis, Operation, Reading, Value, Version, Write,
};
use serde_json::Value as Json;

use super::http::{self, Call, Client, Endpoint};
use super::recorder::Recorder;

/// Names in use at the same time; a third of them are of the kind where the last write wins.
const SLOTS: usize = 24;
/// Operations on a name after which another name replaces it.
const USES: u64 = 60;
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// Longest pause of a client between two operations, in milliseconds.
const THINK_MS: u64 = 40;
/// An answer that takes longer is late.
const IN_TIME: Duration = Duration::from_secs(1);
/// How long a node that answered late is mostly avoided.
const LEFT_ALONE: Duration = Duration::from_secs(5);
/// Probability that an avoided node is asked all the same.
const SLOW_CHANCE: f64 = 0.1;
/// Sibling values that a client leaves before it merges them.
const SIBLINGS: usize = 3;

/// The names that clients use, and those they used before.
#[derive(Debug)]
pub(super) struct Names {
    uses: Vec<AtomicU64>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { uses: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// A random name, and whether the last write wins there.
    fn pick(&self, rng: &mut Rng) -> (String, bool) {
        let slot = rng.below(SLOTS as u64) as usize;
        let generation = self.uses[slot].fetch_add(1, Ordering::Relaxed) / USES;
        let lww = slot.is_multiple_of(3);
        let kind = if lww { "last" } else { "merge" };
        (format!("{kind}-{slot}-{generation}"), lww)
    }
}

/// One client.
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) rng: Rng,
    pub(super) nodes: Arc<Vec<Endpoint>>,
    pub(super) names: Arc<Names>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) stop: Arc<AtomicBool>,
    /// Nodes that answered late, and until when they are mostly avoided.
    pub(super) slow: BTreeMap<usize, Duration>,
}

/// The parameters of a write.
struct Draft {
    value: Option<String>,
    lww: bool,
    basis: Basis,
    context: Option<String>,
}

/// A request of a client.
struct Asked {
    /// The recorder's number of the operation.
    operation: usize,
    /// The index of the node that was asked.
    node: usize,
    /// When it was asked.
    at: Duration,
}

/// The answer to a read, with the context of a write that supersedes it.
struct Told {
    operation: usize,
    values: Vec<String>,
    context: Option<String>,
}

impl Worker {
    /// Works until the run stops.
    pub(super) fn work(mut self) {
        let client = Client::new(Some(ANSWER_MAX));
        let mut count = 0;
        while !self.stop.load(Ordering::Relaxed) && self.recorder.has_room() {
            let (name, lww) = self.names.pick(&mut self.rng);
            count += 1;
            let value = format!("{name}#{}.{count}", self.number);
            if lww {
                self.last(&client, &name, value);
            } else {
                self.merge(&client, &name, value);
            }
            sleep(Duration::from_millis(self.rng.below(THINK_MS)));
        }
    }

    /// An operation on a name where the last write wins.
    fn last(&mut self, client: &Client, name: &str, value: String) {
        if self.rng.chance(0.5) {
            self.get(client, name);
        } else {
            let draft =
                Draft { value: Some(value), lww: true, basis: Basis::NodeRead, context: None };
            self.write(client, name, draft);
        }
    }

    /// An operation on a name where siblings stay until a client merges them.
    fn merge(&mut self, client: &Client, name: &str, value: String) {
        let plain = |value| Draft { value, lww: false, basis: Basis::NodeRead, context: None };
        let blind = |value| Draft {
            value: Some(value),
            lww: false,
            basis: Basis::Nothing,
            context: Some("none".to_owned()),
        };
        match self.rng.below(100) {
            0..40 => {
                let told = self.get(client, name);
                if let Some(told) = told.filter(|told| told.values.len() >= SIBLINGS) {
                    self.supersede(client, name, told, Some(value));
                }
            }
            40..62 => {
                if let Some(told) = self.get(client, name) {
                    self.supersede(client, name, told, Some(value));
                }
            }
            62..78 => {
                let told = self.write(client, name, plain(Some(value.clone())));
                // Siblings were there: the client merges them.
                if let Some(told) = told {
                    self.supersede(client, name, told, Some(format!("{value}+")));
                }
            }
            78..86 => {
                self.write(client, name, blind(value));
            }
            86..96 => {
                if let Some(told) = self.get(client, name).filter(|told| !told.values.is_empty()) {
                    self.supersede(client, name, told, None);
                }
            }
            _ => {
                self.write(client, name, plain(None));
            }
        }
    }

    /// Writes with the context that was read; with the context `none` if the name had no value.
    fn supersede(&mut self, client: &Client, name: &str, told: Told, value: Option<String>) {
        let (basis, context) = match told.context {
            Some(context) => (Basis::Read(told.operation), context),
            None => (Basis::Nothing, "none".to_owned()),
        };
        self.write(client, name, Draft { value, lww: false, basis, context: Some(context) });
    }

    /// A random node; one that answered late a moment ago is chosen rarely, so that it does not keep all
    /// clients waiting.
    fn node(&mut self) -> usize {
        let now = self.recorder.now();
        loop {
            let node = self.rng.below(self.nodes.len() as u64) as usize;
            let is_slow = self.slow.get(&node).is_some_and(|until| *until > now);
            if !is_slow || self.rng.chance(SLOW_CHANCE) {
                return node;
            }
        }
    }

    /// Records an answer, and whether it came in time.
    fn end(&mut self, asked: &Asked, answer: Answer) {
        let now = self.recorder.now();
        if now.saturating_sub(asked.at) > IN_TIME {
            self.slow.insert(asked.node, now + LEFT_ALONE);
        }
        self.recorder.answer(asked.operation, answer);
    }

    fn begin(&self, node: &Endpoint, name: &str, action: Action) -> usize {
        self.recorder.ask(Operation {
            client: self.number,
            node: node.number,
            key: name.to_owned(),
            action,
            asked: self.recorder.now(),
            answered: None,
            answer: Answer::Unknown,
        })
    }

    fn get(&mut self, client: &Client, name: &str) -> Option<Told> {
        let (number, at) = (self.node(), self.recorder.now());
        let nodes = Arc::clone(&self.nodes);
        let node = &nodes[number];
        let operation = self.begin(node, name, Action::Get);
        let all = if self.rng.chance(0.5) { "?siblings=all" } else { "" };
        let answer = client.ask(node, &Call::get(&format!("/v1/kv/{name}{all}")));
        let (answer, told) = self.told(operation, answer.as_ref());
        self.end(&Asked { operation, node: number, at }, answer);
        told
    }

    /// Writes; if siblings are in the way, returns them.
    fn write(&mut self, client: &Client, name: &str, draft: Draft) -> Option<Told> {
        let (number, at) = (self.node(), self.recorder.now());
        let nodes = Arc::clone(&self.nodes);
        let node = &nodes[number];
        let Draft { value, lww, basis, context } = draft;
        let action = Action::Write(Write { value: value.clone(), lww, basis });
        let operation = self.begin(node, name, action);
        let kind = if lww { "?kind=lww" } else { "" };
        let method = if value.is_some() { "PUT" } else { "DELETE" };
        let path = format!("/v1/kv/{name}{kind}");
        let call =
            Call { method, path: &path, context: context.as_deref(), body: value.as_deref() };
        let got = client.ask(node, &call);
        let (answer, told) = match got.as_ref().map(|got| (got.status, got)) {
            Some((200, got)) => {
                let dot = got.json()["version"].as_str().and_then(|text| text.parse().ok());
                let writer = self.recorder.writer(&node.public_key);
                (Answer::Acknowledged(dot.map(|dot| Version { writer, dot })), None)
            }
            Some((409, got)) if got.json()["code"] == "conflict" => {
                let (answer, told) = self.told(operation, Some(got));
                let answer = match answer {
                    Answer::Read(reading) => Answer::Conflict(reading),
                    other => other,
                };
                (answer, told)
            }
            Some((400..500 | 507, _)) => (Answer::Refused, None),
            _ => (Answer::Unknown, None),
        };
        self.end(&Asked { operation, node: number, at }, answer);
        told
    }

    /// The recorded answer, and the state of the record in it.
    fn told(&self, operation: usize, answer: Option<&http::Answer>) -> (Answer, Option<Told>) {
        let nothing = (Answer::Unknown, None);
        let Some(answer) = answer else { return nothing };
        let json = answer.json();
        let values = match (answer.status, &json["siblings"]) {
            (200 | 409, Json::Array(siblings)) => {
                siblings.iter().map(|sibling| self.sibling(sibling)).collect()
            }
            (200, _) => {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                vec![Value { text, version: None }]
            }
            (404, _) => Vec::new(),
            _ => return nothing,
        };
        let context = answer
            .context
            .clone()
            .or_else(|| json["context"].as_str().map(str::to_owned))
            .filter(|context| !context.is_empty());
        let covers = match &context {
            Some(context) => self.recorder.covered(context),
            None => Some(Default::default()),
        };
        let texts = values.iter().map(|value: &Value| value.text.clone()).collect();
        let told = Told { operation, values: texts, context };
        (Answer::Read(Reading { values, covers }), Some(told))
    }

    fn sibling(&self, sibling: &Json) -> Value {
        let text = |field: &str| sibling[field].as_str().unwrap_or_default().to_owned();
        let bytes = BASE64.decode(text("valueBase64").as_bytes()).unwrap_or_default();
        let writer = self.recorder.writer(&text("writer"));
        let version = text("version").parse().ok().map(|dot| Version { writer, dot });
        Value { text: String::from_utf8_lossy(&bytes).into_owned(), version }
    }
}

/// Reads one record for the judgement at the end.
pub(super) fn read(
    client: &Client,
    node: &Endpoint,
    name: &str,
    recorder: &Arc<Recorder>,
) -> Option<Reading> {
    let answer = client.ask(node, &Call::get(&format!("/v1/kv/{name}?siblings=all")));
    let reader = Worker {
        number: 0,
        rng: Rng::from_number(0),
        nodes: Arc::default(),
        names: Arc::new(Names { uses: Vec::new() }),
        recorder: Arc::clone(recorder),
        stop: Arc::default(),
        slow: BTreeMap::new(),
    };
    match reader.told(0, answer.as_ref()).0 {
        Answer::Read(reading) => Some(reading),
        _ => None,
    }
}
