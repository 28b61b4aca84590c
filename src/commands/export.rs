//! `export`: records as lines of JSON.
//!
//! At most sixteen records are in memory at once, so a backup may be larger than the memory.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::json;
use tempfile::NamedTempFile;

use super::backup::{Count, End, Head, Record, VERSION, Value};
use super::ls::{Pages, incomplete};
use super::progress::Progress;
use crate::api::{NameEntry, Siblings, Status};
use crate::cli::{ExportArgs, Global};
use crate::client::{Client, kv_path};
use crate::failure::{Exit, Failure};
use crate::out::{Out, written};
use crate::text::{self, count, printable};

/// Records that are read at the same time. Raising it reads faster and takes more memory.
const READ_AT_ONCE: usize = 16;
/// Attempts to read a record before it counts as unreadable.
const TRIES: usize = 3;
/// Unreadable records that are named.
const NAMED_MAX: u64 = 20;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &ExportArgs) -> Result<(), Failure> {
    let out = global.out();
    if !matches!(args.space.as_str(), "commons" | "own") {
        return Err(Failure::usage("an export is of space commons or own")
            .hint("records of another writer's own space are exported on its node"));
    }
    let client = Client::of(global)?;
    let file = args.file.as_deref().filter(|file| *file != Path::new("-"));
    let Some(file) = file else {
        let mut export = Export::new(&client, args, out);
        let told = export.write(&mut io::stdout().lock())?;
        return told.ended(out, None);
    };
    if !args.force && file.exists() {
        return Err(there(file));
    }
    let failed = |error: io::Error| not_written(file, &error);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let temporary = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    let mut buffered = io::BufWriter::new(temporary);
    let told = Export::new(&client, args, out).write(&mut buffered)?;
    let temporary = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
    temporary.as_file().sync_all().map_err(failed)?;
    let bytes = fs::metadata(temporary.path()).map_err(failed)?.len();
    let put = if args.force { temporary.persist(file) } else { temporary.persist_noclobber(file) };
    put.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => there(file),
        _ => not_written(file, &error.error),
    })?;
    told.ended(out, Some((file, bytes)))
}

fn there(file: &Path) -> Failure {
    Failure::usage(format!("{} is there already", file.display()))
        .hint("name another file, or replace it with --force")
}

fn not_written(file: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", file.display());
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    Failure::new(if full { Exit::NoSpace } else { Exit::Failed }, "output", message)
}

/// What an export wrote, and what it could not write.
#[derive(Debug, Default)]
struct Told {
    records: u64,
    unreadable: u64,
    complete: bool,
    /// Whether the list of names is complete.
    listed: bool,
    first: Option<Failure>,
}

impl Told {
    /// Prints the result.
    fn ended(self, out: Out, file: Option<(&Path, u64)>) -> Result<(), Failure> {
        let records = count(self.records, "record");
        if let Some((file, bytes)) = file {
            if out.json {
                out.object(&json!({
                    "file": file, "bytes": bytes, "records": self.records,
                    "unreadable": self.unreadable, "complete": self.complete,
                }))?;
            } else {
                out.line(format!("{records} in {}", file.display()))?;
            }
        } else {
            out.note(&records);
        }
        if self.complete {
            return Ok(());
        }
        let why = match (&self.first, self.listed) {
            (Some(failure), _) => {
                let unreadable = count(self.unreadable, "record");
                format!("{unreadable} could not be read: {}", failure.message)
            }
            (None, _) => "members that may hold further records did not answer".to_owned(),
        };
        Err(Failure::new(
            Exit::Unavailable,
            "incomplete",
            format!("the backup is incomplete: {why}"),
        )
        .hint("the records that were read are in it; export again when all members are there"))
    }
}

/// An export in progress.
struct Export<'a> {
    client: &'a Client,
    args: &'a ExportArgs,
    out: Out,
    told: Told,
}

impl<'a> Export<'a> {
    fn new(client: &'a Client, args: &'a ExportArgs, out: Out) -> Self {
        Self { client, args, out, told: Told::default() }
    }

    /// Writes all lines.
    fn write(&mut self, to: &mut impl Write) -> Result<Told, Failure> {
        let status: Status = self.client.get_json("/v1/status")?;
        let head = Head {
            potluck_export: VERSION,
            network: status.network,
            node: status.node_id,
            at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            space: self.args.space.clone(),
            prefix: self.args.prefix.clone(),
        };
        let mut pages = Pages::new(self.client, Some(&self.args.space), &self.args.prefix);
        let progress = Progress::new(self.out, "export");
        let mut begun = false;
        while let Some(names) = pages.next()? {
            // The head is written only once the node has answered.
            if !std::mem::replace(&mut begun, true) {
                line(to, &head)?;
            }
            for names in names.chunks(READ_AT_ONCE) {
                self.records(to, names)?;
                progress.at(0, None, &count(self.told.records, "record"));
            }
        }
        progress.end();
        incomplete(self.out, pages.told());
        self.told.listed = pages.told().complete;
        self.told.complete = self.told.listed && self.told.unreadable == 0;
        let Told { records, complete, .. } = self.told;
        line(to, &End { end: Count { records, complete } })?;
        written(to.flush())?;
        Ok(std::mem::take(&mut self.told))
    }

    /// Reads these records at the same time, and writes them in their order.
    fn records(&mut self, to: &mut impl Write, names: &[NameEntry]) -> Result<(), Failure> {
        let (client, space) = (self.client, self.args.space.as_str());
        let read: Vec<Result<Option<Record>, Failure>> = thread::scope(|scope| {
            let threads: Vec<_> = names
                .iter()
                .map(|entry| scope.spawn(move || record(client, space, &entry.name)))
                .collect();
            let panicked = || Err(Failure::failed("a thread ended by itself"));
            threads.into_iter().map(|it| it.join().unwrap_or_else(|_| panicked())).collect()
        });
        for (entry, record) in names.iter().zip(read) {
            match record {
                Ok(Some(record)) => {
                    line(to, &record)?;
                    self.told.records += 1;
                }
                // Deleted since it was listed.
                Ok(None) => {}
                Err(failure) if failure.exit == Exit::NoNode => return Err(failure),
                Err(failure) => self.unreadable(&entry.name, failure),
            }
        }
        Ok(())
    }

    fn unreadable(&mut self, name: &str, failure: Failure) {
        self.told.unreadable += 1;
        if self.told.unreadable <= NAMED_MAX {
            self.out.trouble(format!("not read: {}: {}", printable(name), failure.message));
        } else if self.told.unreadable == NAMED_MAX + 1 {
            self.out.trouble("further records that cannot be read are only counted");
        }
        self.told.first.get_or_insert(failure);
    }
}

/// All values of a record; `None` if it has none any more.
///
/// # Errors
/// It cannot be read now.
fn record(client: &Client, space: &str, name: &str) -> Result<Option<Record>, Failure> {
    let query = [("space", Some(space.to_owned())), ("siblings", Some("all".to_owned()))];
    let path = kv_path("/v1/kv", name, &query)?;
    let mut tries = 1;
    let all: Siblings = loop {
        match client.get_json(&path) {
            Err(failure) if failure.exit == Exit::Unavailable && tries < TRIES => tries += 1,
            Err(failure) if failure.exit == Exit::Absent => return Ok(None),
            read => break read?,
        }
    };
    if all.siblings.is_empty() {
        return Ok(None);
    }
    let values = all.siblings.into_iter().map(|sibling| Value {
        kind: sibling.kind,
        value_base64: sibling.value_base64,
        version: sibling.version,
        node: sibling.node,
        expires_at: sibling.expires_at,
    });
    let (name, space) = (name.to_owned(), space.to_owned());
    Ok(Some(Record { name, space, values: values.collect() }))
}

fn line(to: &mut impl Write, object: &impl Serialize) -> Result<(), Failure> {
    // The JSON has its harmful characters escaped for a terminal; its meaning is the same.
    let mut text =
        text::json(&serde_json::to_string(object).map_err(Failure::failed)?).into_bytes();
    text.push(b'\n');
    // A reader that closes the output has an incomplete backup, so that is a failure here.
    to.write_all(&text).map_err(|error| {
        let message = format!("cannot write the backup: {error}");
        Failure::new(Exit::Failed, "output", message)
    })
}
