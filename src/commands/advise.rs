//! `advise`: tells whether a network of peers is the wrong choice, and what to use instead.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::ValueEnum as _;
use potluck_scale::advise::{Advice, Answer, Case, Purpose};
use potluck_scale::report::{number, span};
use serde_json::json;

use crate::cli::{AdviseArgs, Consistency, For, Global};
use crate::failure::Failure;
use crate::out::Out;
use crate::text::amount;

/// Columns of the text.
const COLUMNS: usize = 78;
/// Default of the time in which every answer must come.
const LATENCY_SECONDS: f64 = 1.0;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &AdviseArgs) -> Result<(), Failure> {
    let out = global.out();
    let case = case(out, args)?;
    let advice = case.advise();
    if out.json {
        out.object(&object(&case, &advice))
    } else {
        out.bytes(text(&case, &advice).as_bytes())
    }
}

/// The case that the flags describe; on a terminal the user is asked for the missing parts.
fn case(out: Out, args: &AdviseArgs) -> Result<Case, Failure> {
    let asks = !out.json && io::stdin().is_terminal() && io::stderr().is_terminal();
    let missing = |flag: &str| {
        Failure::usage(format!("--{flag} is missing")).hint("see potluck advise --help")
    };
    let purpose = match args.purpose {
        Some(purpose) => purpose,
        None if asks => asked(
            out,
            "What is it for? records, files, messages, payments, game, sensors, web-app",
            |text| For::from_str(text, true).ok(),
        )?,
        None => return Err(missing("purpose")),
    };
    let nodes = match args.nodes {
        Some(nodes) => nodes,
        None if asks => asked(out, "How many machines take part?", |it| amount::number(it).ok())?,
        None => return Err(missing("nodes")),
    };
    let session_seconds = match args.session {
        Some(seconds) => seconds,
        None if asks => {
            let question = "How long does a machine stay, on average? (8h, 30d, 1y)";
            asked(out, question, |text| amount::seconds(text).ok())?
        }
        None => return Err(missing("session")),
    };
    let strong = match args.consistency {
        Some(consistency) => consistency == Consistency::Strong,
        None if asks => {
            let question = "May a reader see an older value for some seconds? (yes, no)";
            !asked(out, question, yes_or_no)?
        }
        None => false,
    };
    let transactions = args.transactions
        || (asks && {
            let question = "Must several values change together or not at all? (yes, no)";
            asked(out, question, yes_or_no)?
        });
    if !(1.0..=1e10).contains(&nodes) {
        return Err(Failure::usage(format!("--nodes: {} is outside 1 to 1e10", number(nodes))));
    }
    Ok(Case {
        purpose: match purpose {
            For::Records => Purpose::Records,
            For::Files => Purpose::Files,
            For::Messages => Purpose::Messages,
            For::Payments => Purpose::Payments,
            For::Game => Purpose::Game,
            For::Sensors => Purpose::Sensors,
            For::WebApp => Purpose::WebApp,
        },
        nodes: nodes as u64,
        session_seconds,
        strong,
        transactions,
        latency_seconds: args.latency.unwrap_or(LATENCY_SECONDS),
        battery: args.battery,
        strangers: args.strangers,
        team: args.team,
    })
}

/// Asks until the answer is valid, or stdin ends.
fn asked<T>(out: Out, question: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, Failure> {
    let mut lines = io::stdin().lock().lines();
    loop {
        out.note(question);
        let Some(Ok(line)) = lines.next() else {
            return Err(Failure::usage("no answer").hint("see potluck advise --help for the flags"));
        };
        match read(line.trim()) {
            Some(answer) => return Ok(answer),
            None => out.note("that is none of the answers"),
        }
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

fn text(case: &Case, advice: &Advice) -> String {
    let head = match advice.answer {
        Answer::Yes => format!("Yes: Potluck fits. Run {}.", case.setup()),
        Answer::Either => format!("Either: Potluck would work, and so would {}.", advice.instead),
        Answer::No => format!("No: use {}.", advice.instead),
    };
    let mut text = wrapped(&head, "");
    text.push('\n');
    for reason in &advice.reasons {
        let mark = if reason.speaks_for { "+ " } else { "- " };
        text.push_str(&wrapped(&format!("{mark}{}", reason.text), "  "));
    }
    let plan = &advice.plan;
    let rows = [
        (
            "replicas of a record",
            plan.replicas.map_or("no number is enough".into(), |it| it.to_string()),
        ),
        (
            "lost if 30 % go at once",
            format!(
                "{} of {} records",
                number(plan.lost_at_once),
                number(case.nodes as f64 * 10.0)
            ),
        ),
        ("hops, requests of a lookup", format!("{}, {}", number(plan.hops), number(plan.requests))),
        (
            "read, write",
            format!(
                "{}, {} at 100 ms a round trip",
                span(plan.read_seconds),
                span(plan.write_seconds)
            ),
        ),
        ("idle traffic", format!("{} B/s each way", number(plan.idle_bytes_a_second))),
        ("repair traffic", format!("{} B/s each way", number(plan.repair_bytes_a_second))),
        ("memory", format!("{} MB", number(plan.memory_bytes / 1e6))),
    ];
    text.push_str(&format!(
        "\nA node of {} with 10 records of 500 B each, by the models of potluck plan:\n",
        number(case.nodes as f64)
    ));
    for (name, value) in rows {
        text.push_str(&format!("  {name:<28}{value}\n"));
    }
    text
}

/// A paragraph in lines of at most [`COLUMNS`]; all but the first begin with `indent`.
fn wrapped(paragraph: &str, indent: &str) -> String {
    let (mut text, mut line) = (String::new(), String::new());
    for word in paragraph.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            text.push_str(line.trim_end());
            text.push('\n');
            line = indent.to_owned();
        } else if !line.trim().is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    text.push_str(line.trim_end());
    text.push('\n');
    text
}

fn object(case: &Case, advice: &Advice) -> serde_json::Value {
    let plan = &advice.plan;
    let reasons: Vec<_> = advice
        .reasons
        .iter()
        .map(|it| json!({"code": it.code, "for": it.speaks_for, "text": it.text}))
        .collect();
    let setup = (advice.answer != Answer::No).then(|| case.setup());
    json!({
        "answer": advice.answer.as_str(),
        "instead": (!advice.instead.is_empty()).then_some(advice.instead),
        "setup": setup,
        "reasons": reasons,
        "figures": {
            "replicas": plan.replicas,
            "recordsLostAt30PercentGone": plan.lost_at_once,
            "recordsLostAYear": plan.lost_a_year,
            "hops": plan.hops,
            "requests": plan.requests,
            "readSeconds": plan.read_seconds,
            "writeSeconds": plan.write_seconds,
            "idleBytesPerSecond": plan.idle_bytes_a_second,
            "repairBytesPerSecond": plan.repair_bytes_a_second,
            "memoryBytes": plan.memory_bytes,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(purpose: For, nodes: f64) -> AdviseArgs {
        AdviseArgs {
            purpose: Some(purpose),
            nodes: Some(nodes),
            session: Some(8.0 * 3600.0),
            latency: None,
            consistency: Some(Consistency::Eventual),
            transactions: false,
            battery: false,
            strangers: false,
            team: 1,
        }
    }

    #[test]
    fn the_answer_stands_first_and_every_line_fits_a_terminal() {
        let out = Out { json: true, ..Out::default() };
        for (given, begin) in [
            (args(For::Files, 5_000.0), "Yes: Potluck fits. Run an invite network"),
            (args(For::Payments, 5_000.0), "No: use one database with replicas"),
            (args(For::Records, 50.0), "Either: Potluck would work"),
        ] {
            let case = case(out, &given).expect("whole");
            let text = text(&case, &case.advise());
            assert!(text.starts_with(begin), "{text}");
            assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
            assert!(text.contains("replicas of a record"), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named_where_it_cannot_be_asked() {
        let out = Out { json: true, ..Out::default() };
        let mut given = args(For::Files, 10.0);
        given.session = None;
        assert!(case(out, &given).expect_err("missing").message.contains("--session"));
        given.session = Some(1e6);
        given.nodes = Some(0.0);
        assert!(case(out, &given).expect_err("none").message.contains("--nodes"));
    }
}
