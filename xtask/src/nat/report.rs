//! The output for a pair, and for all of them.

use serde_json::{Value, json};

use super::expect::What;
use super::kind::Kinds;
use super::pair::{Cell, Outcome, Pair};
use super::wires::Place;

/// What a cell tried, in words.
pub(super) fn title(cell: &Cell) -> String {
    let (from, to) = (cell.from.name(), cell.to.name());
    match cell.what {
        What::Members => format!("members at {from}"),
        What::Record => format!("put at {from}, get at {to}"),
        What::File => format!("share at {from}, fetch at {to}"),
    }
}

/// The table of one pair.
pub(super) fn of_pair(pair: &Pair) -> String {
    let mut text = format!("{}\n", pair.name());
    if let Some(accident) = &pair.accident {
        text.push_str(&format!("  nothing could be tried: {accident}\n"));
    }
    for (place, start) in &pair.starts {
        match start {
            Ok(after) => {
                text.push_str(&format!(
                    "  up at {:<18} {:6.1} s\n",
                    place.name(),
                    after.as_secs_f64()
                ));
            }
            Err(failed) => {
                text.push_str(&format!(
                    "  up at {:<18} failed: {}\n",
                    place.name(),
                    failed.sentence
                ));
            }
        }
    }
    for cell in &pair.cells {
        text.push_str(&format!("  {:<24} {:6.1} s  {}", title(cell), cell.seconds, told(cell)));
        match cell.fault() {
            Some(fault) => text.push_str(&format!("  <- {fault}\n")),
            None => text.push('\n'),
        }
    }
    text.push('\n');
    text
}

fn told(cell: &Cell) -> String {
    match &cell.outcome {
        Outcome::Members(alive) => format!("{alive} of {} alive", Place::ALL.len()),
        Outcome::Record => "read".to_owned(),
        Outcome::File(fetched) => format!(
            "{} bytes, {:.1} MB/s, from {} node(s), sha256 {}",
            fetched.bytes,
            fetched.rate(),
            fetched.sources,
            if fetched.is_equal() { "equal" } else { "DIFFERS" }
        ),
        Outcome::Failed(failed) => match failed.exit {
            Some(exit) => format!("exit {exit}: {}", failed.sentence),
            None => format!("failed: {}", failed.sentence),
        },
    }
}

/// One line for each pair, and the faults.
pub(super) fn summary(pairs: &[Pair]) -> String {
    let mut text = "files fetched, of 6 ways (put and get: of 6)\n".to_owned();
    for pair in pairs {
        let good = |what: What| {
            pair.cells.iter().filter(|cell| cell.what == what && cell.is_good()).count()
        };
        let (files, records) = (good(What::File), good(What::Record));
        text.push_str(&format!("  {:<18} {files}  ({records})\n", pair.name()));
    }
    let broken: Vec<String> = pairs.iter().flat_map(Pair::broken).collect();
    if broken.is_empty() {
        text.push_str("every cell that must succeed did");
    } else {
        text.push_str(&format!("{} cell(s) are not as they must be:", broken.len()));
        for line in broken {
            text.push_str(&format!("\n  {line}"));
        }
    }
    text
}

/// All results as JSON.
pub(super) fn json(pairs: &[Pair]) -> Value {
    let all: Vec<Value> = pairs.iter().map(pair_json).collect();
    let broken: Vec<String> = pairs.iter().flat_map(Pair::broken).collect();
    json!({ "pairs": all, "broken": broken })
}

fn pair_json(pair: &Pair) -> Value {
    let cells: Vec<Value> = pair.cells.iter().map(cell_json).collect();
    let starts = pair.starts.iter().map(|(place, start)| match start {
        Ok(after) => json!({ "at": place.name(), "seconds": after.as_secs_f64() }),
        Err(failed) => json!({ "at": place.name(), "sentence": failed.sentence }),
    });
    let starts: Vec<Value> = starts.collect();
    let Kinds { a, b } = pair.kinds;
    json!({
        "a": a.name(), "b": b.name(), "starts": starts, "cells": cells, "accident": pair.accident,
    })
}

fn cell_json(cell: &Cell) -> Value {
    let mut object = json!({
        "what": match cell.what {
            What::Members => "members",
            What::Record => "record",
            What::File => "file",
        },
        "from": cell.from.name(),
        "to": cell.to.name(),
        "seconds": cell.seconds,
        "must": cell.must,
        "good": cell.is_good(),
        "fault": cell.fault(),
    });
    match &cell.outcome {
        Outcome::Members(alive) => object["alive"] = (*alive).into(),
        Outcome::Record => {}
        Outcome::File(fetched) => {
            object["bytes"] = fetched.bytes.into();
            object["mbPerSecond"] = fetched.rate().into();
            object["sources"] = fetched.sources.into();
            object["sha256"] = json!(fetched.sha256);
        }
        Outcome::Failed(failed) => {
            object["exit"] = failed.exit.into();
            object["sentence"] = failed.sentence.as_str().into();
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;
    use crate::node::Failed;

    fn pair(must: bool) -> Pair {
        let failed = Failed { exit: Some(5), sentence: "no node could be reached".into() };
        let cell = Cell {
            what: What::File,
            from: Place::A,
            to: Place::B,
            outcome: Outcome::Failed(failed),
            seconds: 15.4,
            must,
        };
        let kinds = Kinds { a: Kind::Home, b: Kind::Strict };
        Pair { kinds, starts: Vec::new(), cells: vec![cell], accident: None }
    }

    #[test]
    fn a_failure_is_printed_with_its_sentence_and_whether_it_may_be() {
        let text = of_pair(&pair(true));
        assert!(text.starts_with("home - strict\n"), "{text}");
        assert!(text.contains("share at a, fetch at b"), "{text}");
        assert!(text.contains("exit 5: no node could be reached  <- it must succeed"), "{text}");
        assert!(!of_pair(&pair(false)).contains("<-"));
    }

    #[test]
    fn the_summary_and_the_json_name_what_is_broken() {
        let lines = summary(&[pair(true)]);
        assert!(
            lines.ends_with("home - strict: share at a, fetch at b: it must succeed"),
            "{lines}"
        );
        assert!(summary(&[pair(false)]).ends_with("every cell that must succeed did"));
        let told = json(&[pair(true), pair(false)]);
        assert_eq!(told["broken"].as_array().map(Vec::len), Some(1));
        assert_eq!(told["pairs"][0]["cells"][0]["exit"], 5);
    }
}
