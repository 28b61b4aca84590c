//! `import`: writes the records of a backup.
//!
//! A file is read twice: if it is damaged, nothing is written. Records that exist already are not written
//! again, so an interrupted import can be run again from the beginning.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek as _};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use potluck_record::limits::{PAYLOAD_BYTES_MAX, VALUES_MAX};
use serde_json::json;

use super::backup::{Lines, Record, Value};
use super::import_kinds;
use super::progress::Progress;
use super::put::write;
use crate::api::{BLIND, Siblings};
use crate::cli::{Global, ImportArgs};
use crate::client::{Client, kv_path};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::text::{count, printable};

/// Records that are written at the same time. Raising it is faster until the node is busy.
const WRITTEN_AT_ONCE: usize = 16;
/// Kinds of which one write restores one value.
const KINDS: [&str; 2] = ["siblings", "lww"];
/// Attempts of a write while the node or its replicas cannot be reached.
const TRIES: usize = 3;
/// Records that are named because they were not written.
const NAMED_MAX: u64 = 20;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &ImportArgs) -> Result<(), Failure> {
    let out = global.out();
    let client = Client::of(global)?;
    if args.file == Path::new("-") {
        let import = Import::new(&client, args.overwrite, out);
        let broken = import.all(&mut Lines::new(io::stdin().lock()), None);
        return import.ended(broken);
    }
    let wrong = |error| Failure::usage(format!("cannot read {}: {error}", args.file.display()));
    let mut file = File::open(&args.file).map_err(wrong)?;
    let mut lines = Lines::new(BufReader::new(&file));
    loop {
        match lines.next() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(failure) if failure.exit == Exit::Verification => {
                let hint = "nothing was written; what stands before the damage can be imported from \
                            stdin: potluck import - < FILE";
                return Err(failure.hint(hint));
            }
            Err(failure) => return Err(failure),
        }
    }
    let total = lines.bytes();
    file.rewind().map_err(wrong)?;
    let import = Import::new(&client, args.overwrite, out);
    let broken = import.all(&mut Lines::new(BufReader::new(&file)), Some(total));
    import.ended(broken)
}

/// The results of all records.
#[derive(Debug, Default)]
struct Counts {
    written: u64,
    equal: u64,
    expired: u64,
    conflicts: u64,
    failed: u64,
    named: u64,
    first: Option<Failure>,
}

/// The result of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was written.
    Written,
    /// The same values are there.
    Equal,
    /// All its values have expired.
    Expired,
    /// The record has another value, which stays.
    Conflict,
}

/// A record with the number of its line.
struct Numbered {
    number: u64,
    record: Record,
}

/// An import in progress.
struct Import<'a> {
    client: &'a Client,
    overwrite: bool,
    out: Out,
    counts: Mutex<Counts>,
    /// Set once no node answers: the rest is not tried.
    gone: AtomicBool,
}

impl<'a> Import<'a> {
    fn new(client: &'a Client, overwrite: bool, out: Out) -> Self {
        let (counts, gone) = (Mutex::default(), AtomicBool::new(false));
        Self { client, overwrite, out, counts, gone }
    }

    /// Writes all records; returns the error in the backup, if there is one.
    fn all(&self, lines: &mut Lines<impl BufRead>, total: Option<u64>) -> Option<Failure> {
        let progress = Progress::new(self.out, "import");
        let (sender, receiver) = sync_channel(WRITTEN_AT_ONCE);
        let receiver = Mutex::new(receiver);
        let broken = thread::scope(|scope| {
            for _ in 0..WRITTEN_AT_ONCE {
                scope.spawn(|| self.work(&receiver));
            }
            let broken = self.feed(lines, &sender, |lines| {
                progress.at(lines, total, "");
            });
            drop(sender);
            broken
        });
        progress.end();
        broken
    }

    fn feed(
        &self,
        lines: &mut Lines<impl BufRead>,
        to: &SyncSender<Numbered>,
        at: impl Fn(u64),
    ) -> Option<Failure> {
        loop {
            match lines.next() {
                Ok(None) => return None,
                Err(failure) => return Some(failure),
                Ok(Some(record)) => {
                    at(lines.bytes());
                    let numbered = Numbered { number: lines.number(), record };
                    if self.gone.load(Ordering::Relaxed) || to.send(numbered).is_err() {
                        return None;
                    }
                }
            }
        }
    }

    fn work(&self, records: &Mutex<Receiver<Numbered>>) {
        loop {
            let next = records.lock().ok().and_then(|records| records.recv().ok());
            let Some(Numbered { number, record }) = next else { return };
            if !self.gone.load(Ordering::Relaxed) {
                let outcome = self.one(&record);
                self.note(number, &record.name, outcome);
            }
        }
    }

    fn note(&self, number: u64, name: &str, outcome: Result<Outcome, Failure>) {
        let Ok(mut counts) = self.counts.lock() else { return };
        let why = match outcome {
            Ok(Outcome::Written) => return counts.written += 1,
            Ok(Outcome::Equal) => return counts.equal += 1,
            Ok(Outcome::Expired) => return counts.expired += 1,
            Ok(Outcome::Conflict) => {
                counts.conflicts += 1;
                "another value is there".to_owned()
            }
            Err(failure) => {
                counts.failed += 1;
                if failure.exit == Exit::NoNode {
                    self.gone.store(true, Ordering::Relaxed);
                }
                let why = failure.message.clone();
                counts.first.get_or_insert(failure);
                why
            }
        };
        counts.named += 1;
        if counts.named <= NAMED_MAX {
            self.out.trouble(format!("line {number}: {} not written: {why}", printable(name)));
        } else if counts.named == NAMED_MAX + 1 {
            self.out.trouble("further records that are not written are only counted");
        }
    }

    /// Writes one record, unless it exists with the same values.
    fn one(&self, record: &Record) -> Result<Outcome, Failure> {
        let now = SystemTime::now();
        let living = |value: &&Value| left(value, now) > Duration::ZERO;
        let values: Vec<&Value> = record.values.iter().filter(living).collect();
        if values.is_empty() {
            return Ok(Outcome::Expired);
        }
        let there = self.read(record)?;
        let mut context = BLIND.to_owned();
        if !there.siblings.is_empty() {
            if is_equal(&values, &there) {
                return Ok(Outcome::Equal);
            }
            if !self.overwrite {
                return Ok(Outcome::Conflict);
            }
        }
        if let [value] = &values[..]
            && import_kinds::is_operated(&value.kind)
        {
            self.operate(record, value, &there)?;
            return Ok(Outcome::Written);
        }
        // The context covers the current values, or their deletion.
        if !there.context.is_empty() {
            context = there.context;
        }
        fits(&values)?;
        // The oldest first, so that the order of the versions stays.
        for value in values.iter().rev() {
            self.put(record, value, &context)?;
            context = BLIND.to_owned();
        }
        Ok(Outcome::Written)
    }

    fn read(&self, record: &Record) -> Result<Siblings, Failure> {
        let query = [("space", Some(record.space.clone())), ("siblings", Some("all".to_owned()))];
        let path = kv_path("/v1/kv", &record.name, &query)?;
        tried(|| self.client.get_json(&path))
    }

    fn put(&self, record: &Record, value: &Value, context: &str) -> Result<(), Failure> {
        // A lifetime of less than a second would end before the write.
        let life = left(value, SystemTime::now()).as_secs().max(1);
        let query = [
            ("space", Some(record.space.clone())),
            ("kind", Some(value.kind.clone())),
            ("ttl", Some(format!("{life}s"))),
        ];
        let path = kv_path("/v1/kv", &record.name, &query)?;
        let bytes = value.bytes().unwrap_or_default();
        // A blind write that was not acknowledged may have taken effect, and a repetition would add a second
        // value.
        let once = || write(self.client, "PUT", &path, Some(context), Some(&bytes))?.good();
        if context == BLIND { once() } else { tried(once) }.map(drop)
    }

    /// Makes a counter, set or map in place of the present value.
    fn operate(&self, record: &Record, value: &Value, there: &Siblings) -> Result<(), Failure> {
        let bytes = value.bytes().unwrap_or_default();
        let operations = import_kinds::operations(&value.kind, &bytes)?;
        let query = [("space", Some(record.space.clone()))];
        let path = kv_path("/v1/kv", &record.name, &query)?;
        if !there.siblings.is_empty() {
            write(self.client, "DELETE", &path, Some(&there.context), None)?.good()?;
        }
        for operation in operations {
            let headers = [("content-type", "application/json")];
            let body = operation.to_string().into_bytes();
            // An operation that was not acknowledged may have taken effect, and a repetition would apply it
            // twice.
            self.client.request("POST", &path, &headers, Some(&body))?.good()?;
        }
        Ok(())
    }

    /// Prints the result.
    fn ended(self, broken: Option<Failure>) -> Result<(), Failure> {
        let counts = self.counts.into_inner().unwrap_or_default();
        let Counts { written, equal, expired, conflicts, failed, .. } = counts;
        if self.out.json {
            self.out.object(&json!({
                "written": written, "equal": equal, "expired": expired,
                "conflicts": conflicts, "failed": failed,
            }))?;
        } else {
            self.out.line(format!(
                "{} written, {equal} there already, {expired} expired, {}, {failed} failed",
                count(written, "record"),
                count(conflicts, "conflict"),
            ))?;
        }
        if let Some(broken) = broken {
            return Err(broken.hint("the records before it were imported"));
        }
        if let Some(first) = counts.first {
            let message = format!("{} not written: {}", count(failed, "record"), first.message);
            return Err(Failure::new(first.exit, &first.code, message)
                .hint("run it again: what is there already is not written again"));
        }
        if conflicts > 0 {
            let message =
                format!("{} of the backup differ from what is there", count(conflicts, "record"));
            return Err(Failure::new(Exit::Conflict, "conflict", message)
                .hint("what is there was kept; replace it with --overwrite"));
        }
        Ok(())
    }
}

/// The remaining lifetime of a value.
fn left(value: &Value, now: SystemTime) -> Duration {
    let until = humantime::parse_rfc3339(&value.expires_at).unwrap_or(now);
    until.duration_since(now).unwrap_or_default()
}

/// Whether the record has the same values, in any order.
fn is_equal(values: &[&Value], there: &Siblings) -> bool {
    let mut wanted: Vec<(&str, &str)> =
        values.iter().map(|value| (value.kind.as_str(), value.value_base64.as_str())).collect();
    let held = there.siblings.iter();
    let mut held: Vec<(&str, &str)> =
        held.map(|value| (value.kind.as_str(), value.value_base64.as_str())).collect();
    wanted.sort_unstable();
    held.sort_unstable();
    wanted == held
}

/// Whether one node can write these values: its own siblings must be within limits and of one kind.
fn fits(values: &[&Value]) -> Result<(), Failure> {
    if let Some(other) = values.iter().find(|value| !KINDS.contains(&value.kind.as_str())) {
        let message = format!("this version cannot import records of kind {}", other.kind);
        return Err(Failure::new(Exit::Usage, "badKind", message));
    }
    if values.windows(2).any(|pair| pair[0].kind != pair[1].kind) {
        let message = "its siblings are of several kinds, which one node cannot write";
        return Err(Failure::new(Exit::Usage, "mixedKinds", message));
    }
    let bytes: usize = values.iter().filter_map(|value| Some(value.bytes()?.len())).sum();
    if values.len() <= VALUES_MAX && bytes <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "it has {} siblings of {bytes} bytes, and one node writes at most {VALUES_MAX} of \
         {PAYLOAD_BYTES_MAX} bytes together",
        values.len()
    );
    Err(Failure::new(Exit::Usage, "tooManyValues", message))
}

/// Tries again while the request fails for a temporary reason.
fn tried<T>(mut doing: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut tries = 1;
    loop {
        match doing() {
            Err(failure) if failure.exit == Exit::Unavailable && tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Sibling;

    fn value(text: &str, kind: &str) -> Value {
        Value {
            kind: kind.to_owned(),
            value_base64: text.to_owned(),
            version: "1".to_owned(),
            node: String::new(),
            expires_at: "2026-11-29T00:00:10Z".to_owned(),
        }
    }

    fn there(values: &[(&str, &str)]) -> Siblings {
        let sibling = |(text, kind): &(&str, &str)| Sibling {
            value_base64: (*text).to_owned(),
            version: "9".to_owned(),
            writer: String::new(),
            node: String::new(),
            at: String::new(),
            kind: (*kind).to_owned(),
            expires_at: String::new(),
        };
        Siblings { context: String::new(), siblings: values.iter().map(sibling).collect() }
    }

    #[test]
    fn equal_values_are_equal_in_any_order_and_versions_do_not_count() {
        let (one, two) = (value("b25l", "siblings"), value("dHdv", "siblings"));
        let both = [("dHdv", "siblings"), ("b25l", "siblings")];
        assert!(is_equal(&[&one, &two], &there(&both)));
        assert!(!is_equal(&[&one], &there(&both)));
        assert!(!is_equal(&[&one, &one], &there(&both)));
        assert!(!is_equal(&[&one], &there(&[("b25l", "lww")])));
    }

    #[test]
    fn the_life_that_is_left_is_kept() {
        let at = |text| humantime::parse_rfc3339(text).expect("a time");
        let value = value("", "siblings");
        assert_eq!(left(&value, at("2026-11-29T00:00:00Z")), Duration::from_secs(10));
        assert_eq!(left(&value, at("2026-11-29T00:00:11Z")), Duration::ZERO);
    }

    #[test]
    fn more_siblings_than_one_node_writes_are_refused_before_the_first() {
        let one = value("b25l", "siblings");
        assert_eq!(fits(&[&one; VALUES_MAX]), Ok(()));
        assert!(fits(&[&one; VALUES_MAX + 1]).is_err());
        let large = value(&"A".repeat(64 * 1024 / 3 * 4), "siblings");
        assert_eq!(fits(&[&large; 2]), Ok(()));
        assert!(fits(&[&large; 3]).is_err());
        assert!(fits(&[&one, &value("b25l", "lww")]).is_err());
        assert!(fits(&[&value("b25l", "tree")]).is_err_and(|it| it.message.contains("kind tree")));
    }

    #[test]
    fn only_what_may_be_had_later_is_tried_again() {
        let tries = |exit| {
            let mut tries = 0;
            let _: Result<(), _> = tried(|| {
                tries += 1;
                Err(Failure::new(exit, "x", "x"))
            });
            tries
        };
        assert_eq!((tries(Exit::Unavailable), tries(Exit::Refused)), (TRIES, 1));
    }
}
