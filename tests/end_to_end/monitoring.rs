//! Alerts and dashboards: what they name is in a real scrape, and the alerts fire when they should.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::http::get_url;
use crate::process::{Node, program, run, wait_until};

fn contrib(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The series of a scrape: names, each with the labels that it has and their values.
type Series = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn series(scrape: &str) -> Series {
    let mut series = Series::new();
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = match line.split_once('{') {
            Some((name, rest)) => (name, rest.split('}').next().unwrap_or_default()),
            None => (line.split(' ').next().unwrap_or_default(), ""),
        };
        let known = series.entry(name.to_owned()).or_default();
        for label in labels.split("\",").filter(|it| !it.is_empty()) {
            let (label, value) = label.split_once("=\"").expect("a label has a value");
            known
                .entry(label.to_owned())
                .or_default()
                .insert(value.trim_end_matches('"').to_owned());
        }
    }
    series
}

/// The metrics of ours in an expression, each with the labels that it is asked for by.
fn named(expression: &str) -> Vec<(String, Vec<(String, String)>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find("potluck_") {
        let before = rest[..at].chars().next_back();
        let name: String = rest[at..].chars().take_while(|c| is_word(*c)).collect();
        let behind = &rest[at + name.len()..];
        let labels = behind.strip_prefix('{').and_then(|it| it.split('}').next());
        let labels = labels.unwrap_or_default().split(", ").filter_map(|it| it.split_once('='));
        let labels = labels.map(|(label, value)| {
            (label.trim_end_matches('~').to_owned(), value.trim_matches('"').to_owned())
        });
        // Names with a colon are rules of the same file.
        if !name.contains(':') && before.is_none_or(|it| !is_word(it)) {
            found.push((name.clone(), labels.collect()));
        }
        rest = behind;
    }
    found
}

/// The expressions of a rules file.
fn expressions(rules: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut lines = rules.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        let Some(expression) = line.strip_prefix("expr: ") else { continue };
        let mut whole = expression.trim_start_matches(">-").to_owned();
        if whole.is_empty() {
            let ends = |line: &str| {
                line.starts_with('-') || line.starts_with("for:") || line.starts_with("labels:")
            };
            while let Some(line) =
                lines.next_if(|line| !line.is_empty() && !ends(line) && !line.starts_with('#'))
            {
                whole.push_str(line);
                whole.push(' ');
            }
        }
        all.push(whole);
    }
    all
}

fn queries(board: &str) -> Vec<String> {
    let board: Value = serde_json::from_str(board).expect("JSON");
    let panels = board["panels"].as_array().expect("a list");
    let targets = panels.iter().filter_map(|it| it["targets"].as_array()).flatten();
    let variables = board["templating"]["list"].as_array().expect("a list");
    let asked = variables.iter().filter_map(|it| it["definition"].as_str());
    let asked = asked.map(|it| it.trim_start_matches("label_values(").to_owned());
    targets.map(|it| it["expr"].as_str().expect("text").to_owned()).chain(asked).collect()
}

/// A scrape of a node that has done something of each kind, in an `invite` network with a limit.
fn scrape() -> String {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("limit.toml");
    fs::write(&config, "[store]\ndisk_bytes = \"64MiB\"\n").expect("written");
    let mut command = program();
    command
        .env("HOME", folder.path())
        .args(["up", "--exit-with-stdin", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
        .args(["--network", "watched", "--admission", "invite", "--config"])
        .arg(&config)
        .arg("--data")
        .arg(folder.path().join("data"));
    let node = Node::start_as(&folder.path().join("data"), &mut command);
    node.good(&["put", "a", "1"]);
    node.good(&["get", "a"]);
    let metrics = || {
        let mut answer = get_url(&format!("{}/metrics", node.url));
        answer.body_mut().read_to_string().expect("text")
    };
    // The survey goes on because the metrics are looked at.
    wait_until("the records were surveyed", || {
        metrics().contains("\npotluck_records_under_replicated 0")
    });
    metrics()
}

#[test]
fn what_alerts_and_dashboards_name_is_in_a_scrape() {
    let series = series(&scrape());
    let rules = contrib("prometheus/potluck.rules.yml");
    let mut asked = expressions(&rules);
    assert!(asked.len() > 30, "only {} expressions were found", asked.len());
    for board in ["grafana/potluck-fleet.json", "grafana/potluck-node.json"] {
        asked.extend(queries(&contrib(board)));
    }
    let mut seen = 0;
    for expression in &asked {
        for (name, labels) in named(expression) {
            let known = series.get(&name);
            let known = known.unwrap_or_else(|| panic!("{name} of {expression} is in no scrape"));
            for (label, value) in labels {
                // Prometheus adds these two.
                if ["instance", "job"].contains(&&*label) {
                    continue;
                }
                let values = known.get(&label);
                let values = values.unwrap_or_else(|| panic!("{name} has no {label}"));
                let is_there =
                    value.starts_with('$') || value.split('|').all(|it| values.contains(it));
                assert!(is_there, "{label}={value} of {name} is none of {values:?}");
            }
            seen += 1;
        }
    }
    assert!(seen > 80, "only {seen} names were found");
    for group in ["potluck_kv_put_seconds_bucket", "potluck_kv_get_seconds_bucket"] {
        assert_eq!(series[group]["le"].len(), 17, "{group}");
    }
    let purposes = &series["potluck_bytes_total"]["purpose"];
    assert_eq!(purposes.len(), 9, "{purposes:?}");
}

#[test]
fn every_alert_says_what_to_do_and_has_a_code_that_is_explained() {
    let rules = contrib("prometheus/potluck.rules.yml");
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 20);
    let tests = contrib("prometheus/potluck.test.yml");
    for alert in alerts {
        let name = alert.lines().next().unwrap_or_default();
        for part in ["expr:", "severity:", "summary:", "action:"] {
            assert!(alert.contains(part), "{name} lacks {part}");
        }
        let code = alert.split("code: ").nth(1).and_then(|it| it.split('}').next());
        let code = code.unwrap_or_else(|| panic!("{name} has no code"));
        let explained = run(program().args(["doctor", "--explain", code]), b"");
        assert_eq!(explained.code, 0, "{name}: {code}: {}", explained.stderr);
        assert!(tests.contains(&format!("  - name: {name}\n")), "{name} is not tested");
    }
}

#[test]
fn promtool_finds_nothing_and_each_alert_fires_when_it_should() {
    let promtool = |arguments: &[&str]| Command::new("promtool").args(arguments).output();
    if promtool(&["--version"]).is_err() {
        // The other two tests hold the files against the program.
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/prometheus");
    for (task, file) in [("check", "potluck.rules.yml"), ("test", "potluck.test.yml")] {
        let file = folder.join(file);
        let said = promtool(&[task, "rules", &file.to_string_lossy()]).expect("it starts");
        let told = String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success(), "{told}{}", String::from_utf8_lossy(&said.stderr));
    }
}
