use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::*;

/// All statistics that a scrape can hold, by name.
fn shown() -> BTreeMap<&'static str, Statistic> {
    let mut shown = BTreeMap::new();
    let mut see = |what: &'static Statistic| {
        assert_eq!(shown.insert(what.name, *what), None, "{} is declared twice", what.name);
    };
    NodeStats::describe(&mut see);
    HttpStats::describe(&mut see);
    shown
}

const fn word(kind: statistics::Kind) -> &'static str {
    match kind {
        statistics::Kind::Counter => "counter",
        statistics::Kind::Gauge => "gauge",
        statistics::Kind::Histogram => "histogram",
    }
}

#[test]
fn numbers_come_out_as_the_format_wants_them() {
    potluck_base::statistics! {
        /// Some.
        #[derive(Debug)]
        struct Some in "kv" {
            /// Writes.
            counter puts: u64,
            /// Contacts.
            gauge peers: f64,
            /// Bytes kept.
            counter(Bytes) kept_bytes: u64,
            /// Bytes that came.
            counter(Bytes) bytes_in: u64,
            /// How late it was.
            gauge(Seconds) lag: std::time::Duration as "kv_lag_seconds",
            /// What it took.
            counter(Microseconds) took: std::time::Duration as "kv_took_microseconds",
            /// What is not known.
            gauge unknown: Option<u64>,
        }
    }
    let lag = std::time::Duration::from_millis(1_500);
    let took = lag / 1_000;
    let some = Some { puts: 3, peers: 1.5, kept_bytes: 4, bytes_in: 5, lag, took, unknown: None };
    let mut samples = Samples::default();
    samples.take(&some);
    let text = text(&registry(samples, None, &Timing::default())).expect("encodes");
    for lines in [
        "# HELP potluck_kv_puts Writes\n# TYPE potluck_kv_puts counter\npotluck_kv_puts_total 3\n",
        "# TYPE potluck_kv_peers gauge\npotluck_kv_peers 1.5\n",
        "# UNIT potluck_kv_kept_bytes bytes\npotluck_kv_kept_bytes_total 4\n",
        "# TYPE potluck_kv_bytes_in counter\npotluck_kv_bytes_in_total 5\n",
        "# UNIT potluck_kv_lag_seconds seconds\npotluck_kv_lag_seconds 1.5\n",
        "# UNIT potluck_kv_took_seconds seconds\npotluck_kv_took_seconds_total 0.0015\n",
    ] {
        assert!(text.contains(lines), "{lines} is not in\n{text}");
    }
    assert!(!text.contains("unknown"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

/// Statistics of a node that did nothing yet.
fn all_of_a_node() -> Vec<(&'static Statistic, Number)> {
    let mut all = Vec::new();
    NodeStats::describe(&mut |what| all.push((what, Number::Whole(1))));
    all
}

#[test]
fn merged_counters_are_one_metric_with_a_label() {
    let all = all_of_a_node();
    for (begin, ..) in families::MERGED {
        let of = all.iter().filter(|(what, _)| what.name.starts_with(begin)).count();
        assert!(of > 5, "{begin}: {of}");
    }
    let text = text(&registry(Samples(all), None, &Timing::default())).expect("encodes");
    assert!(!text.contains("potluck_link_dropped_"), "{text}");
    assert!(text.lines().count() < 1_500 * 3, "too many series");
}

/// `names.txt` lists the names that dashboards and alerts may use: add names to it, remove none.
#[test]
fn no_name_that_was_ever_shown_goes() {
    let shown = shown();
    let gone: Vec<&str> = include_str!("names.txt")
        .lines()
        .filter(|line| {
            let (name, kind) = line.split_once(' ').expect("a name and its kind");
            shown.get(name).is_none_or(|what| word(what.kind) != kind)
        })
        .collect();
    assert!(gone.is_empty(), "dashboards lose {gone:?}");
    let known: BTreeSet<&str> =
        include_str!("names.txt").lines().filter_map(|line| line.split(' ').next()).collect();
    let new: Vec<String> = shown
        .values()
        .filter(|what| !known.contains(what.name))
        .map(|what| format!("{} {}", what.name, word(what.kind)))
        .collect();
    assert!(new.is_empty(), "add to names.txt:\n{}", new.join("\n"));
}

#[test]
fn every_help_stands_alone() {
    for what in shown().values() {
        let Statistic { name, help, .. } = what;
        let plain = !help.contains(['[', ']', '`', '\n']) && help.ends_with('.');
        let whole = !["Of these", "Their ", "Of the "].iter().any(|of| help.starts_with(of));
        assert!(plain && whole && help.len() > 5, "{name}: {help}");
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(good), "{name}");
    }
}

/// The sources of all crates but the simulator, whose numbers are for its reports.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    for of in std::fs::read_dir(root.join("crates")).expect("the crates can be read") {
        let of = of.expect("a crate can be read").path();
        if !of.ends_with("sim") {
            folders.push(of.join("src"));
        }
    }
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source can be read");
                sources.push((path, text));
            }
        }
    }
    sources.retain(|(path, _)| {
        !path.ends_with("base/src/statistics.rs") && !path.to_string_lossy().contains("tests")
    });
    assert!(sources.len() > 100, "only {} sources were found", sources.len());
    sources
}

/// The groups declared in a source: the struct of each, and the names in it.
fn declared(source: &str) -> Vec<(String, Vec<String>)> {
    let groups = source.split("statistics! {\n").skip(1);
    groups
        .map(|rest| {
            let group = rest.split_once("\n}\n").expect("a group ends").0;
            let head = group.lines().find(|line| line.contains(" struct ")).expect("a struct");
            let (before, prefix) = head.split_once(" in \"").expect("a group has a name");
            let prefix = prefix.split('"').next().unwrap_or_default();
            let name = before.rsplit(' ').next().unwrap_or_default().to_owned();
            let fields = group.lines().map(str::trim).filter(|line| {
                let of = |kind| line.strip_prefix(kind).is_some_and(|r| r.starts_with([' ', '(']));
                of("counter") || of("gauge") || of("histogram")
            });
            let names = fields.map(|line| match line.split_once(" as \"") {
                Some((_, given)) => given.split('"').next().unwrap_or_default().to_owned(),
                None => {
                    let field = line.split(':').next().and_then(|of| of.rsplit(' ').next());
                    format!("{prefix}_{}", field.unwrap_or_default())
                }
            });
            (name, names.collect())
        })
        .collect()
}

#[test]
fn every_statistic_of_every_crate_reaches_the_scrape() {
    let shown = shown();
    let (mut lost, mut found) = (Vec::new(), BTreeSet::new());
    for (path, text) in sources() {
        for (group, names) in declared(&text) {
            for name in names {
                if !shown.contains_key(&*name) {
                    lost.push(format!("{name} of {group} in {}", path.display()));
                }
                found.insert(name);
            }
        }
    }
    assert!(lost.is_empty(), "declared and not shown:\n{}", lost.join("\n"));
    let unseen: Vec<&&str> = shown.keys().filter(|name| !found.contains(**name)).collect();
    assert!(unseen.is_empty(), "this test overlooked the declaration of {unseen:?}");
}

#[test]
fn no_crate_counts_beside_the_declared_statistics() {
    let mut beside = Vec::new();
    for (path, text) in sources() {
        // These structs are made from statistics that are counted elsewhere.
        if path.to_string_lossy().contains("src/api") {
            continue;
        }
        let declared: Vec<String> = declared(&text).into_iter().map(|(name, _)| name).collect();
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("pub")) {
            let Some((_, rest)) = line.split_once("struct ") else { continue };
            let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
            let name = &rest[..end];
            let counts = name.ends_with("Stats") || name.ends_with("Statistics");
            if counts && !declared.iter().any(|known| known == name) {
                beside.push(format!("{name} in {}", path.display()));
            }
        }
    }
    // Their fields are in `NodeStats`, group by group.
    beside.retain(|of| !of.starts_with("HostStats "));
    assert!(beside.is_empty(), "make these with `statistics!`:\n{}", beside.join("\n"));
}
