//! The lists of the views, and the texts that explain the selected row.

use super::feed::Model;
use super::keys::{Screen, View};
use crate::api::{CommandTimes, Lookup, Member};
use crate::commands::table::{bytes, millis, short, span};
use crate::doctor::{Report, codes};
use crate::text::printable;

/// A row: its cells, its tone, and the text behind Enter.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    pub(super) cells: Vec<String>,
    /// `good`, `bad`, `warn` or nothing.
    pub(super) tone: &'static str,
    pub(super) more: Vec<String>,
}

/// The name of a member: its host label, else all labels.
fn labels(member: &Member) -> String {
    match member.labels.get("host") {
        Some(host) => host.clone(),
        None => member
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(","),
    }
}

/// The rows of the current view that match the filter.
pub(super) fn rows(model: &Model, screen: &Screen) -> Vec<Line> {
    let mut rows = match screen.view {
        View::Overview => events(model),
        View::Members => members(model),
        View::Records => records(model),
        View::Files => files(model),
        View::Lookups => lookups(model),
    };
    let words: Vec<String> =
        screen.filter.to_lowercase().split_whitespace().map(str::to_owned).collect();
    rows.retain(|row| {
        let text = row.cells.join(" ").to_lowercase();
        words.iter().all(|word| text.contains(word))
    });
    for cell in rows.iter_mut().flat_map(|row| &mut row.cells) {
        *cell = printable(cell);
    }
    rows
}

pub(super) fn head(view: View) -> &'static [&'static str] {
    match view {
        View::Overview => &["ago", "", "what"],
        View::Members => &["member", "state", "name", "round trip", "heard", "address"],
        View::Records => &["record", "state", "why"],
        View::Files => &["name", "state", "done", "rate", "nodes", "left", "why"],
        View::Lookups => &["figure", "value"],
    }
}

fn tone(word: &str) -> &'static str {
    match word {
        "good" | "alive" => "good",
        "bad" | "dead" | "failed" => "bad",
        "suspect" => "warn",
        _ => "",
    }
}

pub(super) fn events(model: &Model) -> Vec<Line> {
    let rows = model.overview.events.iter().map(|event| {
        let mark = match event.tone.as_str() {
            "good" => "+",
            "bad" => "!",
            _ => " ",
        };
        Line {
            cells: vec![span(event.seconds_ago), mark.to_owned(), event.what.clone()],
            tone: tone(&event.tone),
            more: vec![
                event.what.clone(),
                format!("at {}", event.at),
                event.node.as_ref().map_or(String::new(), |node| format!("node {node}")),
            ],
        }
    });
    rows.collect()
}

fn members(model: &Model) -> Vec<Line> {
    let mut all: Vec<&Member> = model.members.iter().collect();
    let rank = |member: &Member| match member.state.as_str() {
        "suspect" => 0,
        "dead" => 1,
        "alive" => 2,
        _ => 3,
    };
    all.sort_by_key(|member| rank(member));
    let row = |member: &Member| {
        let peer = model.peers.iter().find(|peer| peer.id == member.id);
        let heard = peer.map_or(String::new(), |peer| span(peer.last_seen_seconds as u64));
        let name =
            if member.is_self { format!("{} (this)", labels(member)) } else { labels(member) };
        Line {
            cells: vec![
                short(&member.id).to_owned(),
                member.state.clone(),
                name.clone(),
                peer.map_or(String::new(), |peer| millis(peer.rtt_ms)),
                heard.clone(),
                member.address.clone(),
            ],
            tone: tone(&member.state),
            more: vec![
                format!("member   {}", member.id),
                format!("name     {name}"),
                format!("address  {}", member.address),
                format!("state    {}: {}", member.state, meaning(&member.state)),
                format!("started  incarnation {}", member.incarnation),
                match peer {
                    Some(peer) => format!(
                        "talks    {} round trip, heard {heard} ago, {}",
                        millis(peer.rtt_ms),
                        if peer.sibling {
                            "one of the closest: it shares records"
                        } else {
                            "not one of the closest"
                        }
                    ),
                    None => "talks    not in this node's routing table".to_owned(),
                },
            ],
        }
    };
    all.into_iter().map(row).collect()
}

fn meaning(state: &str) -> &'static str {
    match state {
        "alive" => "it answers, or nothing speaks against it",
        "suspect" => {
            "neither this node nor its helpers got an answer; it has some seconds to be heard"
        }
        "dead" => "it was not heard in time; its records are copied to the next closest nodes",
        "left" => "it said good-bye",
        _ => "",
    }
}

fn records(model: &Model) -> Vec<Line> {
    let row = |trouble: &crate::api::RecordTrouble| Line {
        cells: vec![trouble.name.clone(), trouble.state.clone(), trouble.why.clone()],
        tone: "warn",
        more: vec![
            trouble.name.clone(),
            trouble.why.clone(),
            String::new(),
            "d examines the replicas of some records; t traces one name".to_owned(),
        ],
    };
    model.overview.records.worst.iter().map(row).collect()
}

fn files(model: &Model) -> Vec<Line> {
    let row = |it: &crate::api::Transfer| {
        let done = match it.bytes_total {
            0 => bytes(it.bytes),
            total => format!("{} of {}", bytes(it.bytes), bytes(total)),
        };
        Line {
            cells: vec![
                it.name.clone(),
                it.state.clone(),
                done.clone(),
                format!("{}/s", bytes(it.rate as u64)),
                format!("{} of {}", it.active, it.sources),
                it.eta_seconds.map_or(String::new(), span),
                it.why.clone(),
            ],
            tone: match it.bound.as_str() {
                "failed" | "noSource" => "bad",
                "waiting" => "warn",
                _ => "",
            },
            more: vec![
                it.name.clone(),
                format!(
                    "{done} at {}/s from {} of {} nodes",
                    bytes(it.rate as u64),
                    it.active,
                    it.sources
                ),
                format!("bound by: {}", it.why),
            ],
        }
    };
    model.overview.transfers.iter().map(row).collect()
}

fn took(times: &CommandTimes) -> String {
    match times.count {
        0 => "none in the last minutes".to_owned(),
        count => {
            let (half, most) = (times.p50_ms, times.p99_ms);
            format!("{count}: half within {half:.1} ms, 99 % within {most:.1} ms")
        }
    }
}

fn lookups(model: &Model) -> Vec<Line> {
    let it = &model.overview.lookups;
    let row = |name: &str, value: String, more: &str| Line {
        cells: vec![name.to_owned(), value],
        tone: "",
        more: vec![more.to_owned()],
    };
    vec![
        row(
            "half took up to",
            format!("{:.1} ms", it.p50_ms),
            "The median of the last hundred lookups.",
        ),
        row(
            "99 % took up to",
            format!("{:.1} ms", it.p99_ms),
            "A lookup that waits for a dead contact takes a timeout longer.",
        ),
        row(
            "failed",
            format!("{} of {}", it.failed, it.count),
            "Lookups that no node answered, or that ran out of time.",
        ),
        row(
            "steps",
            format!("{:.1} on average, {} at most", it.hops_mean, it.hops_max),
            "How many answers led to the closest node.",
        ),
        row(
            "without an answer",
            format!("{} of {} requests", it.timeouts, it.requests),
            "Each costs a timeout.",
        ),
        row(
            "reads",
            took(&model.overview.commands.gets),
            "Reads that began at this node in the last minutes. Times are upper bounds.",
        ),
        row(
            "writes",
            took(&model.overview.commands.puts),
            "Writes that began at this node in the last minutes, until enough replicas acknowledged.",
        ),
        row(
            "now",
            format!("{:.1} a second", it.per_second),
            "Lookups begun in the last seconds. t traces one of your own.",
        ),
    ]
}

/// The text behind Enter.
pub(super) fn explained(model: &Model, screen: &Screen) -> Vec<String> {
    let row = rows(model, screen).into_iter().nth(screen.selected);
    let mut lines = Vec::new();
    if screen.view == View::Overview {
        lines.push(model.overview.health.sentence.clone());
        for reason in &model.overview.health.reasons {
            let meaning = codes::find(&reason.code).map_or("", |code| code.meaning);
            lines.extend([String::new(), reason.code.clone(), meaning.to_owned()]);
        }
        lines.push(String::new());
    }
    lines.extend(row.map_or_else(|| vec!["nothing is selected".to_owned()], |row| row.more));
    lines.iter().map(|line| printable(line)).collect()
}

/// The keys.
pub(super) fn help() -> Vec<String> {
    [
        "1 to 5, Tab  overview, members, records, files, lookups",
        "/            show only rows with these words; Esc shows all",
        "arrows       select a row",
        "Enter        what the selected row means",
        "d            doctor: the node examines itself and asks others",
        "t            trace: one lookup of a name, hop by hop",
        "q            end; the node runs on",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The doctor's report as lines.
pub(super) fn report(report: &Report) -> Vec<String> {
    let mut lines = vec![report.health.clone(), String::new()];
    for finding in &report.findings {
        lines.extend([
            finding.code.clone(),
            finding.evidence.clone(),
            format!("to do: {}", finding.advice),
            format!("type:  {}", finding.command),
            String::new(),
        ]);
    }
    lines.push(report.verdict.clone());
    lines
}

/// One lookup as lines.
pub(super) fn lookup(lookup: &Lookup) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} after {:.1} ms, {} hops",
        lookup.name.as_deref().unwrap_or(&lookup.key),
        lookup.outcome,
        lookup.took_ms,
        lookup.hops
    )];
    lines.push("hop  asked at   node          took      came back".to_owned());
    lines.extend(lookup.queries.iter().map(|query| {
        format!(
            "{:>3}  {:>6.1} ms  {}  {:>8}  {}, {} new",
            query.hop,
            query.after_ms,
            short(&query.id),
            millis(query.took_ms),
            query.outcome,
            query.news
        )
    }));
    lines.push(format!("{} closest nodes answered", lookup.closest.len()));
    lines
}
