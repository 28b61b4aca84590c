//! `doctor`: finds what is wrong with the node, its machine and its network, also while the node is down.

mod bundle;
mod offline;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::cli::{DoctorArgs, Global};
use crate::client::{Client, with_query};
use crate::doctor::{Finding, Report, Severity, codes, judge};
use crate::failure::codes as errors;
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::text::quoted;

/// Time in which a working node answers. A shorter one takes a busy node for one that hangs.
const THERE: Duration = Duration::from_millis(1_500);
/// Time in which a node examines itself: it asks others for six seconds at most.
const JUDGED: Duration = Duration::from_secs(15);
/// What stands before the code in the type of a problem.
const PROBLEM_TYPE: &str = "urn:potluck:error:";
/// Columns of the text.
const COLUMNS: usize = 80;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &DoctorArgs) -> Result<(), Failure> {
    let out = global.out();
    if let Some(code) = &args.explain {
        return explain(out, code);
    }
    let client = offline::client(global, args)?;
    let (report, whole) = examine(&client, args)?;
    if let Some(file) = &args.bundle {
        bundle::write(out, &client, file, &whole)?;
    }
    if out.json {
        out.object(&if args.all { whole } else { without_checks(whole) })?;
    } else {
        print(out, &report, args.all, &shown_node(global))?;
    }
    if report.ok { Ok(()) } else { Err(Failure::silent(Exit::Failed)) }
}

fn without_checks(mut whole: Value) -> Value {
    if let Some(object) = whole.as_object_mut() {
        object.remove("checks");
    }
    whole
}

/// How the node is named in the commands to paste.
fn shown_node(global: &Global) -> String {
    global.node.as_ref().map_or(String::new(), |node| format!("--node {} ", quoted(node)))
}

/// The report of the node, or of the offline checks if it does not answer.
fn examine(client: &Client, args: &DoctorArgs) -> Result<(Report, Value), Failure> {
    let there = client.clone().within(THERE).request("GET", "/healthz", &[], None);
    let trouble = match there {
        Ok(answer) if answer.status == 200 => {
            let query = [("all", Some("true".to_owned())), ("key", args.key.clone())];
            match client.clone().within(JUDGED).get(&with_query("/v1/doctor", &query)) {
                Ok(answer) => return Ok((answer.json()?, answer.json()?)),
                // The node answered, and reports what is wrong with the request or its token.
                Err(failure) if failure.exit != Exit::Unavailable => return Err(failure),
                Err(failure) => failure,
            }
        }
        Ok(answer) => answer.failure(),
        Err(failure) => failure,
    };
    let report = judge(&offline::evidence(client, args, &trouble));
    let whole = serde_json::to_value(&report).map_err(Failure::failed)?;
    Ok((report, whole))
}

/// What a code means and what to do, of a finding, an error or a line of the log.
struct Explained {
    code: &'static str,
    meaning: &'static str,
    advice: &'static str,
    command: Option<&'static str>,
}

fn explained(typed: &str) -> Option<Explained> {
    let typed = typed.strip_prefix(PROBLEM_TYPE).unwrap_or(typed);
    if let Some(it) = codes::find(typed) {
        let (meaning, advice, command) = (it.meaning, it.advice, Some(it.command));
        return Some(Explained { code: it.code, meaning, advice, command });
    }
    let it = errors::find(typed)?;
    Some(Explained { code: it.code, meaning: it.when, advice: it.action, command: None })
}

fn explain_all(out: Out) -> Result<(), Failure> {
    let findings = codes::ALL.iter().map(|it| (it.code, it.advice));
    let errors = errors::ERRORS.iter().chain(errors::LINES).map(|it| (it.code, it.action));
    for (code, advice) in findings.chain(errors) {
        out.line(format!("{code:<21} {advice}"))?;
    }
    Ok(())
}

fn explain(out: Out, typed: &str) -> Result<(), Failure> {
    if typed == "all" {
        return explain_all(out);
    }
    let Some(it) = explained(typed) else {
        let near = codes::near(typed);
        let hint = match near.as_slice() {
            [] => "potluck doctor --explain all lists the codes".to_owned(),
            near => format!("do you mean {}?", near.join(", ")),
        };
        return Err(Failure::usage(format!("there is no code {typed}")).hint(hint));
    };
    if out.json {
        return out.object(&serde_json::json!({
            "code": it.code,
            "meaning": it.meaning,
            "advice": it.advice,
            "command": it.command,
        }));
    }
    let mut text = format!("{}\n\n", it.code);
    append(&mut text, "", it.meaning);
    let _ = writeln!(text);
    append(&mut text, "What to do: ", it.advice);
    if let Some(command) = it.command {
        let _ = writeln!(text, "\n  {command}");
    }
    out.bytes(text.as_bytes())
}

/// Appends a text in lines of at most [`COLUMNS`], the first after `head`, the others below it.
fn append(to: &mut String, head: &str, text: &str) {
    let indent = " ".repeat(head.len());
    let mut line = head.to_owned();
    for word in text.split_whitespace() {
        if line.len() > indent.len() && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            let _ = writeln!(to, "{}", line.trim_end());
            line.clone_from(&indent);
        }
        if line.len() > indent.len() && !line.ends_with(' ') {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(to, "{}", line.trim_end());
}

fn print(out: Out, report: &Report, all: bool, node: &str) -> Result<(), Failure> {
    let mut text = String::new();
    if !report.health.is_empty() {
        append(&mut text, "health  ", &report.health);
        text.push('\n');
    }
    if all {
        let mut group = "";
        for check in &report.checks {
            if check.group != group {
                let _ = writeln!(text, "{}:", check.group);
                group = &check.group;
            }
            let mark = match (check.judged, check.findings) {
                (false, _) => "not judged",
                (true, 0) => "ok",
                (true, _) => "FOUND",
            };
            let _ = writeln!(text, "  {mark:<11} {}", check.name);
        }
        text.push('\n');
    }
    for finding in &report.findings {
        append_finding(&mut text, finding, node);
    }
    let _ = writeln!(text, "{}", report.verdict);
    out.bytes(crate::text::clean(text.as_bytes()).as_bytes())
}

/// A command to paste, with an option for the node; commands that start a node or read a folder have none.
fn with_node(command: &str, node: &str) -> String {
    let parts = command.split("; ").map(|part| match part.strip_prefix("potluck ") {
        Some(rest) if !rest.starts_with("up") && !rest.starts_with("verify") => {
            format!("potluck {node}{rest}")
        }
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("; ")
}

fn append_finding(text: &mut String, finding: &Finding, node: &str) {
    let word = match finding.severity {
        Severity::Bad => "bad",
        Severity::Warning => "warning",
    };
    let _ = writeln!(text, "{} ({word})", finding.code);
    append(text, "  seen  ", &finding.evidence);
    append(text, "  do    ", &finding.advice);
    let command = with_node(&finding.command, node);
    // Not wrapped, so that it can be pasted.
    let _ = writeln!(text, "  type  {command}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_eighty_columns_and_commands_are_not() {
        let finding = Finding {
            code: "a.b".into(),
            severity: Severity::Bad,
            evidence: "word ".repeat(40),
            advice: "do it".into(),
            command: format!("potluck get {}", "x".repeat(100)),
        };
        let mut text = String::new();
        append_finding(&mut text, &finding, "--node http://n ");
        let (long, short): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.len() > COLUMNS);
        assert_eq!(long.len(), 1, "{text}");
        assert!(long[0].starts_with("  type  potluck --node http://n get x"), "{text}");
        assert!(
            short[1].starts_with("  seen  word") && short[2].starts_with("        word"),
            "{text}"
        );
    }

    #[test]
    fn commands_name_the_node_where_they_ask_one() {
        let named = |command| with_node(command, "--node N ");
        assert_eq!(
            named("potluck get a; potluck merge a"),
            "potluck --node N get a; potluck --node N merge a"
        );
        assert_eq!(named("potluck up"), "potluck up");
        assert_eq!(named("date -u"), "date -u");
    }

    #[test]
    fn codes_are_explained_and_near_ones_are_named() {
        let wrong = explain(Out::default(), "clock.of").expect_err("no such code");
        assert!(wrong.to_string().contains("clock.off"), "{wrong}");
        let wrong = explain(Out::default(), "xyzzyxyzzy").expect_err("no such code");
        assert!(wrong.to_string().contains("--explain all"), "{wrong}");
    }
}
