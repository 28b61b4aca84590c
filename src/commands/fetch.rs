//! `fetch`: brings a file or folder here from all nodes that have it.

use std::io::{self, BufRead as _, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use potluck::{FileLink, LinkKind};

use super::download;
use super::progress::Progress;
use super::put;
use super::share::{absolute, failures, partial, told};
use super::table::{bytes, mib};
use crate::api::{FetchRequest, FetchedFile, Job, JobState};
use crate::cli::{FetchArgs, Global};
use crate::client::{Client, kv_path};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::text::count;
use crate::up::on_first_signal;

/// Pause between two questions for the progress: at first, and at most.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The code of the answer that the network has no space commons.
const NO_COMMONS: &str = "noCommons";
/// Longest line that is read; a link is shorter.
const LINE_BYTES_MAX: u64 = 4096;
/// Problem codes of a node that cannot write where this program can.
const OUT_OF_REACH: [&str; 2] = ["outsidePaths", "unwritable"];

/// Runs the command.
pub(crate) fn run(global: &Global, args: &FetchArgs) -> Result<(), Failure> {
    let out = global.out();
    let typed = if args.link == "-" { line_of_stdin()? } else { args.link.clone() };
    let to = absolute(&args.output)?;
    let known = typed.starts_with("potluck:").then(|| parsed(&typed)).transpose()?;
    let client = Client::of(global)?;
    let link = match known {
        Some(link) => link,
        None => of_record(&client, &typed)?,
    };
    let progress = Progress::new(out, &link.file_name());
    let job = match told(&client, &to) {
        Ok(told) => begin(&client, &link, told, args)?,
        Err(why) => Err(why),
    };
    let fetched = match job {
        Ok(job) => follow(&client, job, &progress),
        Err(why) if args.update || args.force => {
            let detail = format!("{why}; only the node can compare and replace files there");
            return Err(Failure::new(Exit::Refused, "outOfReach", detail)
                .hint("add the folder to [files] paths, or fetch without --update and --force"));
        }
        Err(why) => {
            let what = if link.kind == LinkKind::Folder { "folder" } else { "file" };
            out.note(format!("{why}; streaming the {what} instead"));
            download::run(&client, &link, &to, &progress)
        }
    };
    progress.end();
    say(out, &fetched?)
}

fn line_of_stdin() -> Result<String, Failure> {
    let mut line = String::new();
    let read = io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line);
    read.map_err(|error| Failure::failed(format!("cannot read stdin: {error}")))?;
    let line = line.trim();
    if line.is_empty() { Err(Failure::usage("stdin holds no link")) } else { Ok(line.to_owned()) }
}

fn parsed(text: &str) -> Result<FileLink, Failure> {
    text.parse().map_err(|error| {
        Failure::new(Exit::Usage, "badLink", error).hint("copy the whole line that share printed")
    })
}

/// The link that a record holds.
fn of_record(client: &Client, name: &str) -> Result<FileLink, Failure> {
    let mut answer = client.request("GET", &kv_path("/v1/kv", name, &[])?, &[], None)?;
    if answer.status == 403 && answer.failure().code == NO_COMMONS {
        let (space, name) = in_space(name);
        let path = kv_path("/v1/kv", name, &[("space", Some(space.to_owned()))])?;
        answer = client.request("GET", &path, &[], None)?;
    }
    if answer.status == 409 {
        return Err(answer.failure().hint(put::merge_hint(name)));
    }
    let body = answer.good()?.body;
    let text = std::str::from_utf8(&body).unwrap_or_default().trim();
    text.parse().map_err(|_| {
        Failure::new(Exit::Usage, "badLink", format!("the record {name} holds no link"))
            .hint("see it with potluck get; potluck share PATH --as NAME makes one that does")
    })
}

/// The record that a name means in an `open` network, which has no space commons: `own/<public key>/NAME` and
/// `team/<id>/NAME` say whose it is, and any other name is one of the node's own space.
fn in_space(name: &str) -> (&str, &str) {
    let split = name.match_indices('/').nth(1).map(|(at, _)| name.split_at(at));
    let named = split.filter(|(space, name)| {
        (space.starts_with("own/") || space.starts_with("team/")) && name.len() > 1
    });
    named.map_or(("own", name), |(space, name)| (space, &name[1..]))
}

/// Lets the node fetch into the folder; returns the reason if it cannot.
fn begin(
    client: &Client,
    link: &FileLink,
    to: &str,
    args: &FetchArgs,
) -> Result<Result<Job, String>, Failure> {
    let (update, force) = (args.update, args.force);
    let request = FetchRequest { link: link.to_string(), to: to.to_owned(), update, force };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    let headers = [("content-type", "application/json")];
    let answer = client.request("POST", "/v1/fetches", &headers, Some(&body))?;
    match answer.problem() {
        Some(problem) if OUT_OF_REACH.contains(&problem.code.as_str()) => Ok(Err(problem.detail)),
        _ => answer.good()?.json().map(Ok),
    }
}

/// Asks for the progress of the fetch until it has ended. Ctrl-C cancels it.
fn follow(client: &Client, mut job: Job, progress: &Progress) -> Result<FetchedFile, Failure> {
    let path = format!("/v1/fetches/{}", job.id);
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    on_first_signal(move || flag.store(true, Ordering::Relaxed))?;
    let mut pause = PAUSE;
    loop {
        match (job.state, job.result.take(), job.error.take()) {
            (JobState::Done, Some(result), _) => return Ok(result),
            (JobState::Failed, _, Some(problem)) => return Err(problem.into()),
            (JobState::Cancelled, ..) => {
                return Err(Failure::failed("the fetch was called off").hint(RESUME));
            }
            (JobState::Running, ..) => {}
            _ => return Err(Failure::failed("the node does not say what came of the fetch")),
        }
        let from = format!("from {} of {}", job.active, count(job.sources as u64, "node"));
        progress.at(job.bytes, job.bytes_total, &from);
        if interrupted.load(Ordering::Relaxed) {
            client.request("DELETE", &path, &[], None)?.good()?;
            return Err(Failure::new(Exit::Failed, "interrupted", "interrupted").hint(RESUME));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
        job = client.get_json(&path)?;
    }
}

/// Files that are named on a terminal.
const NAMED_MAX: usize = 20;
/// Files that an error names.
const LEFT_NAMED_MAX: usize = 10;
const RESUME: &str = "the same command goes on where it ended";

fn say(out: Out, fetched: &FetchedFile) -> Result<(), Failure> {
    if out.json {
        out.object(fetched)?;
        return ended(fetched);
    }
    failures(out, &fetched.failed);
    out.data(&fetched.path)?;
    out.note(summary(fetched));
    named(out, &fetched.kept, "not part of what was fetched, and kept");
    ended(fetched)
}

/// The sources and amounts, in one line.
fn summary(fetched: &FetchedFile) -> String {
    let came: u64 = fetched.sources.iter().map(|source| source.bytes).sum();
    let rate = mib(came as f64 / fetched.seconds.max(0.001));
    let mut line = format!("{} in {:.1} s", bytes(fetched.bytes), fetched.seconds);
    if fetched.sources.is_empty() {
        line.push_str(", nothing from the network");
    } else {
        let nodes = count(fetched.sources.len() as u64, "node");
        line.push_str(&format!(": {} from the network at {rate} MiB/s, from {nodes}", bytes(came)));
    }
    if fetched.reused_bytes > 0 {
        line.push_str(&format!("; {} were on this machine already", bytes(fetched.reused_bytes)));
    }
    if fetched.resumed_bytes > 0 {
        line.push_str(&format!(
            "; {} were there from an earlier try",
            bytes(fetched.resumed_bytes)
        ));
    }
    line
}

/// Prints the names of the first files on stderr.
fn named(out: Out, files: &[String], what: &str) {
    for file in files.iter().take(NAMED_MAX) {
        out.note(format!("{file}: {what}"));
    }
    if files.len() > NAMED_MAX {
        out.note(format!("{} more files are {what}", files.len() - NAMED_MAX));
    }
}

/// Fails if files did not arrive as they were shared, or existing ones were left.
fn ended(fetched: &FetchedFile) -> Result<(), Failure> {
    if fetched.left.is_empty() {
        let hint = "the rest is there, in the path above";
        return partial(&fetched.failed, "not there as shared", hint);
    }
    let left = fetched.left.len();
    let mut detail = format!(
        "{} changed since a fetch brought {}, or {} somebody's own, and {} left: {}",
        count(left as u64, "file"),
        if left == 1 { "it" } else { "them" },
        if left == 1 { "is" } else { "are" },
        if left == 1 { "was" } else { "were" },
        fetched.left[..left.min(LEFT_NAMED_MAX)].join(", "),
    );
    if left > LEFT_NAMED_MAX {
        detail.push_str(&format!(" and {} more", left - LEFT_NAMED_MAX));
    }
    if !fetched.failed.is_empty() {
        detail.push_str(&format!(
            "; {} not there as shared",
            match fetched.failed.len() {
                1 => "1 file is".to_owned(),
                many => format!("{many} files are"),
            }
        ));
    }
    detail.push_str("; the rest is there");
    Err(Failure::new(Exit::Failed, "filesLeft", detail)
        .hint("--update replaces what an earlier fetch brought, --force replaces every file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_commons_says_whose_record_it_is() {
        let key = format!("own/{}", "ab".repeat(32));
        for (name, space, rest) in [
            ("seeds", "own", "seeds"),
            ("garden/seeds", "own", "garden/seeds"),
            ("own/", "own", "own/"),
            (&format!("{key}/a/b"), &key, "a/b"),
            ("team/0123/plan", "team/0123", "plan"),
            ("team/0123/", "own", "team/0123/"),
        ] {
            assert_eq!(in_space(name), (space, rest));
        }
    }

    #[test]
    fn a_damaged_link_is_wrong_usage() {
        for text in ["potluck:", "potluck:abc", "potluck:nonsense/name"] {
            assert_eq!(parsed(text).expect_err(text).exit, Exit::Usage);
        }
    }
}
