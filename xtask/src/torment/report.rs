//! The output of a run and the files it writes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use potluck_sim::check::history::faults::Fault;
use potluck_sim::check::history::messages::Heard;
use potluck_sim::check::history::operation::{Answer, Operation, Reading};
use potluck_sim::check::history::records::is_available;
use potluck_sim::check::history::{Verdict, Violation};
use serde_json::{Value, json};

use super::node::Node;
use super::recorder::Seen;

/// Violations that are printed; the file has all of them.
const SHOWN_MAX: usize = 12;
/// The name of the time without faults.
const CALM: &str = "calm";

/// Counts of one nemesis.
#[derive(Debug, Default)]
struct Row {
    episodes: usize,
    operations: usize,
    reads: Share,
    writes: Share,
    struck_reads: Share,
    struck_writes: Share,
    took: Vec<Duration>,
    violations: usize,
    excused: usize,
}

#[derive(Debug, Default, Clone, Copy)]
struct Share {
    part: usize,
    whole: usize,
}

impl Share {
    const fn count(&mut self, yes: bool) {
        self.whole += 1;
        self.part += yes as usize;
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self.whole {
            0 => "-".to_owned(),
            whole => format!("{:.2}", self.part as f64 * 100.0 / whole as f64),
        };
        f.pad(&text)
    }
}

/// The latest fault in progress at a time; with `is_after_too` the latest one that had begun.
fn fault_at(faults: &[Fault], at: Duration, is_after_too: bool) -> Option<&Fault> {
    faults
        .iter()
        .rev()
        .filter(|fault| fault.from <= at)
        .find(|fault| is_after_too || fault.until.is_none_or(|until| at < until))
}

fn rows(seen: &Seen, verdict: &Verdict) -> BTreeMap<String, Row> {
    let faults = seen.faults.list();
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for fault in faults {
        rows.entry(fault.name.clone()).or_default().episodes += 1;
    }
    for operation in &seen.operations {
        let fault = fault_at(faults, operation.asked, false);
        let row = rows.entry(fault.map_or(CALM, |fault| &fault.name).to_owned()).or_default();
        let is_struck = fault.is_some_and(|fault| fault.nodes.contains(&operation.node));
        let share = match (operation.write().is_some(), is_struck) {
            (false, false) => &mut row.reads,
            (true, false) => &mut row.writes,
            (false, true) => &mut row.struck_reads,
            (true, true) => &mut row.struck_writes,
        };
        // A refusal, such as that of deleting an absent record, counts as an answer.
        let is_there = is_available(&operation.answer)
            || matches!(operation.answer, Answer::Refused) && !is_struck;
        share.count(is_there);
        row.operations += 1;
        row.took.extend(operation.answered.map(|ended| ended.saturating_sub(operation.asked)));
    }
    for (list, is_broken) in [(&verdict.violations, true), (&verdict.excused, false)] {
        for violation in list {
            let fault = fault_at(faults, violation.at, true);
            let row = rows.entry(fault.map_or(CALM, |fault| &fault.name).to_owned()).or_default();
            *if is_broken { &mut row.violations } else { &mut row.excused } += 1;
        }
    }
    rows
}

/// Prints the table of all nemeses, and the first violations.
pub(super) fn print(seen: &Seen, verdict: &Verdict, agreed: Option<Duration>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\navailability in %, of nodes that were not struck and of those that were")?;
    writeln!(
        out,
        "{:<9} {:>8} {:>7}  {:>7} {:>7}  {:>7} {:>7}  {:>7} {:>7}  {:>7} {:>10}",
        "nemesis",
        "episodes",
        "ops",
        "reads",
        "writes",
        "struck",
        "struck",
        "p50 ms",
        "p99 ms",
        "excused",
        "violations"
    )?;
    for (name, mut row) in rows(seen, verdict) {
        row.took.sort_unstable();
        let at = |share: f64| {
            let index = (row.took.len() as f64 * share) as usize;
            let took = row.took.get(index.min(row.took.len().saturating_sub(1)));
            took.map_or(0.0, |took| took.as_secs_f64() * 1000.0)
        };
        writeln!(
            out,
            "{name:<9} {:>8} {:>7}  {:>7} {:>7}  {:>7} {:>7}  {:>7.1} {:>7.1}  {:>7} {:>10}",
            row.episodes,
            row.operations,
            row.reads,
            row.writes,
            row.struck_reads,
            row.struck_writes,
            at(0.5),
            at(0.99),
            row.excused,
            row.violations
        )?;
    }
    summary(&mut out, seen, agreed)?;
    let mut excused: BTreeMap<&str, usize> = BTreeMap::new();
    verdict.excused.iter().for_each(|one| *excused.entry(one.rule).or_default() += 1);
    for (rule, count) in excused {
        writeln!(out, "excused {count} times: {rule}")?;
    }
    for (at, what) in &seen.accidents {
        writeln!(out, "{:>7.1} s  accident: {what}", at.as_secs_f64())?;
    }
    for Violation { rule, at, detail } in verdict.violations.iter().take(SHOWN_MAX) {
        writeln!(out, "{:>7.1} s  broken: {rule}: {detail}", at.as_secs_f64())?;
    }
    match verdict.violations.len() + seen.accidents.len() {
        0 => writeln!(out, "no violation in {} things checked", verdict.checked),
        count => writeln!(out, "{count} violations in {} things checked", verdict.checked),
    }
}

fn summary(out: &mut impl Write, seen: &Seen, agreed: Option<Duration>) -> io::Result<()> {
    let is_done = |operation: &&Operation| matches!(operation.answer, Answer::Acknowledged(_));
    let written = seen.operations.iter().filter(is_done).count();
    let deleted = seen
        .operations
        .iter()
        .filter(is_done)
        .filter(|operation| operation.write().is_some_and(|write| write.value.is_none()))
        .count();
    writeln!(
        out,
        "{} operations on {} names; {written} writes acknowledged, {deleted} of them deletions",
        seen.operations.len(),
        seen.last.len()
    )?;
    let accepted = seen.published.iter().filter(|message| message.accepted.is_some()).count();
    let heard = |wanted: fn(&Heard) -> bool| {
        seen.streams.iter().flat_map(|it| &it.heard).filter(|(_, heard)| wanted(heard)).count()
    };
    writeln!(
        out,
        "{accepted} messages accepted, {} deliveries, {} words of missed ones; {} looks at members",
        heard(|heard| matches!(heard, Heard::Message(_))),
        heard(|heard| matches!(heard, Heard::Missed(_))),
        seen.views.len()
    )?;
    let mut delays: Vec<Duration> = delays(seen);
    delays.sort_unstable();
    let at = |share: f64| delays.get((delays.len() as f64 * share) as usize).or(delays.last());
    let delay = |share: f64| at(share).map_or(0.0, Duration::as_secs_f64);
    let (p50, p99, most) = (delay(0.5), delay(0.99), delay(1.0));
    writeln!(out, "messages came after p50 {p50:.3} s, p99 {p99:.3} s, at most {most:.1} s")?;
    match agreed {
        Some(time) => {
            writeln!(out, "all nodes agreed on every name after {:.1} s", time.as_secs_f64())
        }
        None => writeln!(out, "the nodes did not agree at the end"),
    }
}

/// The times from the acceptance of messages to their arrival.
fn delays(seen: &Seen) -> Vec<Duration> {
    let accepted: BTreeMap<&str, Duration> = seen
        .published
        .iter()
        .filter_map(|message| Some((message.text.as_str(), message.accepted?)))
        .collect();
    let heard = seen.streams.iter().flat_map(|stream| &stream.heard);
    heard
        .filter_map(|(at, heard)| match heard {
            Heard::Message(text) => Some(at.saturating_sub(*accepted.get(text.as_str())?)),
            Heard::Missed(_) => None,
        })
        .collect()
}

/// Writes the whole history as JSON lines, and the stderr of the nodes, into a folder.
pub(super) fn save(
    folder: &Path,
    seed: u64,
    seen: &Seen,
    verdict: &Verdict,
    nodes: &[Node],
) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    for (number, node) in nodes.iter().enumerate() {
        // A node that wrote nothing has no file.
        let _ = fs::copy(node.errors(), folder.join(format!("seed-{seed}-node{number}.err")));
    }
    let path = folder.join(format!("seed-{seed}.jsonl"));
    let mut out = BufWriter::new(fs::File::create(&path)?);
    let mut line = |value: Value| writeln!(out, "{value}");
    for (what, list) in [("violation", &verdict.violations), ("excused", &verdict.excused)] {
        for one in list {
            line(json!({ what: one.rule, "at": seconds(one.at), "detail": one.detail }))?;
        }
    }
    for (at, what) in &seen.accidents {
        line(json!({ "accident": what, "at": seconds(*at) }))?;
    }
    for fault in seen.faults.list() {
        let until = fault.until.map(seconds);
        let (name, from) = (&fault.name, seconds(fault.from));
        line(json!({ "fault": name, "nodes": fault.nodes, "from": from, "until": until }))?;
    }
    for (number, operation) in seen.operations.iter().enumerate() {
        line(operation_json(number, operation))?;
    }
    for (key, reads) in &seen.last {
        for read in reads {
            let reading = read.reading.as_ref().map(reading_json);
            let at = seconds(read.at);
            line(json!({ "last": key, "node": read.node, "at": at, "reading": reading }))?;
        }
    }
    for message in &seen.published {
        line(json!({
            "published": message.text, "node": message.node, "life": message.life,
            "asked": seconds(message.asked), "accepted": message.accepted.map(seconds),
        }))?;
    }
    for stream in &seen.streams {
        let heard: Vec<Value> = stream.heard.iter().map(heard_json).collect();
        let (opened, closed) = (seconds(stream.opened), seconds(stream.closed));
        let node = stream.node;
        line(json!({ "stream": node, "opened": opened, "closed": closed, "heard": heard }))?;
    }
    for view in &seen.views {
        let gone: Vec<usize> = view
            .listed
            .iter()
            .filter(|(_, listed)| format!("{listed:?}") == "Gone")
            .map(|(node, _)| *node)
            .collect();
        if !gone.is_empty() {
            line(json!({ "view": view.observer, "at": seconds(view.at), "gone": gone }))?;
        }
    }
    out.flush()?;
    Ok(path)
}

fn seconds(at: Duration) -> f64 {
    (at.as_secs_f64() * 1000.0).round() / 1000.0
}

fn heard_json((at, heard): &(Duration, Heard)) -> Value {
    match heard {
        Heard::Message(text) => json!([seconds(*at), text]),
        Heard::Missed(count) => json!([seconds(*at), { "missed": count }]),
    }
}

fn reading_json(reading: &Reading) -> Value {
    let value = |value: &potluck_sim::check::history::operation::Value| {
        json!([value.text, value.version.map(|version| (version.writer, version.dot))])
    };
    json!({ "values": reading.values.iter().map(value).collect::<Vec<_>>(), "covers": reading.covers })
}

fn operation_json(number: usize, operation: &Operation) -> Value {
    let answer = match &operation.answer {
        Answer::Acknowledged(version) => {
            json!({ "acknowledged": version.map(|version| (version.writer, version.dot)) })
        }
        Answer::Read(reading) => json!({ "read": reading_json(reading) }),
        Answer::Conflict(reading) => json!({ "conflict": reading_json(reading) }),
        Answer::Refused => json!("refused"),
        Answer::Unknown => json!("unknown"),
    };
    let action = match operation.write() {
        None => json!("get"),
        Some(write) => json!({
            "value": write.value, "lww": write.lww, "basis": format!("{:?}", write.basis),
        }),
    };
    json!({
        "operation": number, "client": operation.client, "node": operation.node,
        "key": operation.key, "action": action, "asked": seconds(operation.asked),
        "answered": operation.answered.map(seconds), "answer": answer,
    })
}
