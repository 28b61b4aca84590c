//! `doctor --bundle FILE`: an archive without secrets, to send to others for help.
//!
//! **Invariants:** only listed fields are included, so a new field of an answer is left out until it is
//! listed here; of the configuration only numbers, switches and a few named words are included. The archive
//! is never larger than [`BYTES_MAX`].

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use crate::api::LogView;
use crate::client::Client;
use crate::commands::table::bytes;
use crate::failure::{Exit, Failure};
use crate::out::Out;

/// The largest archive. Larger bundles are too large for mail.
const BYTES_MAX: usize = 5 << 20;
/// The longest list within a document.
const LIST_MAX: usize = 2_000;
/// Lines at the end of the log that are included.
const LOG_LINES_MAX: usize = 10_000;
const BLOCK: usize = 512;

/// A document of the bundle: its name, its source, and the fields that are included.
struct Document {
    name: &'static str,
    path: &'static str,
    fields: &'static [&'static str],
}

const DOCUMENTS: &[Document] = &[
    Document {
        name: "overview.json",
        path: "/v1/overview",
        fields: &[
            "at",
            "health",
            "sentence",
            "reasons",
            "code",
            "message",
            "machine",
            "nodeId",
            "version",
            "uptimeSeconds",
            "reachability",
            "clockOffsetMs",
            "cpuPercent",
            "memoryBytes",
            "memoryLimitBytes",
            "diskBytes",
            "diskLimitBytes",
            "diskFreeBytes",
            "files",
            "fileBytes",
            "loopLagMs",
            "network",
            "alive",
            "suspect",
            "dead",
            "left",
            "peers",
            "sizeEstimate",
            "neighbours",
            "traffic",
            "bytesPerSecond",
            "messagesPerSecond",
            "in",
            "out",
            "purposes",
            "purpose",
            "lookups",
            "count",
            "p50Ms",
            "p99Ms",
            "failed",
            "hopsMean",
            "hopsMax",
            "requests",
            "timeouts",
            "perSecond",
            "records",
            "held",
            "bytes",
            "wanted",
            "expiring7d",
            "renewalsLate",
            "surveyed",
            "names",
            "underReplicated",
            "conflicted",
            "expiring1d",
            "transfers",
            "state",
            "bytesTotal",
            "rate",
            "sources",
            "active",
            "etaSeconds",
            "bound",
            "events",
            "secondsAgo",
            "tone",
            "node",
        ],
    },
    Document {
        name: "history.json",
        path: "/v1/overview/history?span=24h",
        fields: &["stepSeconds", "at", "series", "name", "unit", "points"],
    },
    Document {
        name: "members.json",
        path: "/v1/members",
        fields: &["mode", "members", "id", "address", "state", "incarnation", "version", "self"],
    },
    Document {
        name: "peers.json",
        path: "/v1/peers",
        fields: &[
            "peers",
            "id",
            "address",
            "rttMs",
            "state",
            "lastSeenSeconds",
            "verified",
            "sibling",
        ],
    },
    Document {
        name: "routingtable.json",
        path: "/debug/routingtable",
        fields: &[
            "nodeId",
            "size",
            "capacity",
            "networkSizeEstimate",
            "buckets",
            "index",
            "contacts",
            "replacements",
        ],
    },
    Document {
        name: "lookups.json",
        path: "/debug/lookups",
        fields: &[
            "lookups",
            "why",
            "startedSeconds",
            "tookMs",
            "outcome",
            "hops",
            "paths",
            "cached",
            "queries",
            "id",
            "path",
            "hop",
            "afterMs",
            "news",
        ],
    },
    Document {
        name: "gossip.json",
        path: "/debug/gossip/stats",
        fields: &[
            "intervalMs",
            "messagesPerSecond",
            "bytesPerSecond",
            "in",
            "out",
            "duplicates",
            "dedupeHits",
            "members",
            "alive",
            "suspect",
            "dead",
            "left",
            "views",
            "active",
            "passive",
            "suspicions",
            "raised",
            "refuted",
            "confirmed",
            "false",
            "probeRoundTripMs",
            "lastDetectionMs",
            "healthMultiplier",
            "isolated",
            "topics",
            "published",
            "delivered",
            "repaired",
            "queuedMessages",
            "subscriptions",
            "missed",
            "loopLagMaxMs",
        ],
    },
];

/// Fields of the doctor's own answer.
const REPORT: &[&str] = &[
    "ok", "findings", "code", "severity", "evidence", "advice", "command", "verdict", "health",
    "checks", "group", "name", "judged",
];

/// Words of the configuration that are not secret. Numbers and switches are always included.
const WORDS: &[&str] = &["network.admission", "node.on_term", "gossip.mode"];

/// Keeps the listed fields, in objects of any depth.
fn kept(value: &Value, fields: &[&str]) -> Value {
    match value {
        Value::Object(object) => {
            let known = object.iter().filter(|(name, _)| fields.contains(&name.as_str()));
            Value::Object(known.map(|(name, value)| (name.clone(), kept(value, fields))).collect())
        }
        Value::Array(all) => {
            Value::Array(all.iter().take(LIST_MAX).map(|value| kept(value, fields)).collect())
        }
        plain => plain.clone(),
    }
}

/// The configuration: numbers, switches, and the words on the list.
fn configuration(whole: &Value) -> Value {
    let mut sections = Map::new();
    for (section, keys) in whole.as_object().into_iter().flatten() {
        let keys = keys.as_object().into_iter().flatten().filter_map(|(key, value)| {
            let named = WORDS.contains(&format!("{section}.{key}").as_str());
            let plain = matches!(value, Value::Null | Value::Bool(_) | Value::Number(_));
            (plain || named).then(|| (key.clone(), value.clone()))
        });
        sections.insert(section.clone(), Value::Object(keys.collect()));
    }
    Value::Object(sections)
}

/// Lines of metrics that consist of a name and a number.
fn metrics(text: &str) -> String {
    let plain = |line: &&str| {
        line.starts_with("potluck_")
            && line.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    };
    text.lines().filter(plain).fold(String::new(), |mut all, line| {
        all.push_str(line);
        all.push('\n');
        all
    })
}

/// The time, level and code of each log line; its text may contain anything.
fn log(view: &LogView) -> String {
    let short = |line: &String| {
        if let Ok(Value::Object(line)) = serde_json::from_str::<Value>(line) {
            let word =
                |name: &str| line.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
            return format!("{} {} {}\n", word("time"), word("level"), word("code"));
        }
        let words: Vec<&str> = line.split_whitespace().take(3).collect();
        format!("{}\n", words.join(" ").trim_end_matches(':'))
    };
    let skipped = view.lines.len().saturating_sub(LOG_LINES_MAX);
    view.lines.iter().skip(skipped).map(short).collect()
}

/// Writes the bundle and prints what it contains.
pub(super) fn write(out: Out, client: &Client, file: &Path, report: &Value) -> Result<(), Failure> {
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, text: String| parts.push((name.to_owned(), text.into_bytes()));
    add("doctor.json", pretty(&kept(report, REPORT)));
    for document in DOCUMENTS {
        if let Ok(value) = client.get_json::<Value>(document.path) {
            add(document.name, pretty(&kept(&value, document.fields)));
        }
    }
    if let Ok(value) = client.get_json::<Value>("/v1/config") {
        add("config.json", pretty(&configuration(&value)));
    }
    if let Ok(answer) = client.get("/metrics") {
        add("metrics.txt", metrics(&String::from_utf8_lossy(&answer.body)));
    }
    if let Ok(view) = client.get_json::<LogView>("/v1/log") {
        add("log.txt", log(&view));
    }
    add("machine.txt", machine());
    let (archive, left_out) = archive(&parts);
    save(file, &archive)?;
    out.note(format!("{}, {}:", file.display(), bytes(archive.len() as u64)));
    for (name, body) in &parts {
        let left = if left_out.contains(name) { ", left out: too long" } else { "" };
        out.note(format!("  {name:<20} {}{left}", bytes(body.len() as u64)));
    }
    out.note("no tickets, keys, tokens, links, labels or values are in it; addresses of nodes are, and what findings name");
    Ok(())
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn machine() -> String {
    let limit = crate::machine::memory_limit().unwrap_or(0);
    let buffers = crate::machine::receive_buffer_limit().unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "potluck {}\nsystem {} {}\nkernel {}\nprocessors {}\nmemory limit {limit}\nrmem_max {buffers}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        kernel.trim(),
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
    )
}

/// An archive in the ustar format, and the names of the parts that did not fit.
fn archive(parts: &[(String, Vec<u8>)]) -> (Vec<u8>, Vec<String>) {
    let (mut all, mut left_out) = (Vec::new(), Vec::new());
    for (name, body) in parts {
        let padded = body.len().next_multiple_of(BLOCK);
        if all.len() + BLOCK + padded + 2 * BLOCK > BYTES_MAX {
            left_out.push(name.clone());
            continue;
        }
        all.extend_from_slice(&header(name, body.len()));
        all.extend_from_slice(body);
        all.resize(all.len() + padded - body.len(), 0);
    }
    all.resize(all.len() + 2 * BLOCK, 0);
    (all, left_out)
}

/// The header of a file: POSIX.1-1988 with the magic of ustar.
fn header(name: &str, length: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, format!("potluck-doctor/{name}").as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{length:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn save(file: &Path, archive: &[u8]) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|mut to| to.write_all(archive));
    written.map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::StorageFull => Exit::NoSpace,
            _ => Exit::Failed,
        };
        Failure::new(exit, "bundle", format!("cannot write {}: {error}", file.display()))
            .hint("name a file that is not there yet, in a folder that you may write to")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_on_the_list_goes_in() {
        let secret = "potluck-ticket-0123456789";
        let status = json!({
            "health": {"sentence": "ok", "token": secret},
            "transfers": [{"state": "running", "link": secret, "name": secret}],
            "labels": {"password": secret},
        });
        let overview = kept(&status, DOCUMENTS[0].fields);
        assert!(!overview.to_string().contains(secret), "{overview}");
        assert_eq!(overview["transfers"][0]["state"], "running");
        let config = configuration(&json!({
            "http": {"token_file": secret, "listen": secret, "hosts": [secret]},
            "network": {"admission": "lab", "entry": [secret], "name": secret},
            "kv": {"replication": 5, "sync": true},
        }));
        assert!(!config.to_string().contains(secret), "{config}");
        assert_eq!(
            (&config["kv"]["replication"], &config["network"]["admission"]),
            (&json!(5), &json!("lab"))
        );
        let lines = [
            format!("2026-11-29T16:00:00.000000Z WARN store.slow: {secret} x={secret}"),
            format!(
                "{{\"time\":\"t\",\"level\":\"warn\",\"code\":\"a.b\",\"message\":\"{secret}\"}}"
            ),
        ];
        let view = LogView { levels: "info".into(), lines: lines.into() };
        assert_eq!(log(&view), "2026-11-29T16:00:00.000000Z WARN store.slow\nt warn a.b\n");
        let text = metrics(&format!("# HELP {secret}\npotluck_up 1\n{secret} 2\n"));
        assert_eq!(text, "potluck_up 1\n");
    }

    #[test]
    fn the_archive_is_one_that_tar_reads_and_never_too_large() {
        let parts =
            [("a.txt".to_owned(), b"hello".to_vec()), ("big".to_owned(), vec![1; BYTES_MAX])];
        let (all, left_out) = archive(&parts);
        assert_eq!(left_out, ["big"]);
        assert_eq!(all.len(), 4 * BLOCK);
        assert_eq!(&all[..20], b"potluck-doctor/a.txt");
        assert_eq!(&all[124..136], b"00000000005\0");
        assert_eq!(&all[BLOCK..BLOCK + 5], b"hello");
        let sum: u32 = all[..BLOCK]
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        assert_eq!(&all[148..154], format!("{sum:06o}").as_bytes());
    }
}
