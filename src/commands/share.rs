//! `share`: offers a file or folder and prints its link.

use std::fs;
use std::path::{Path, PathBuf};

use potluck::{FileLink, clean_name, layout};
use serde_json::json;

use super::progress::Progress;
use super::{put, upload};
use crate::api::{ShareRequest, SharedFile, Skipped};
use crate::cli::{Global, ShareArgs};
use crate::client::{Client, is_loopback, kv_path};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::place::resolved;
use crate::text::{printable, quoted};

/// Problem codes of a node that cannot read a path which exists.
const OUT_OF_REACH: [&str; 3] = ["outsidePaths", "unreadable", "noSuchFile"];

/// Runs the command.
pub(crate) fn run(global: &Global, args: &ShareArgs) -> Result<(), Failure> {
    let out = global.out();
    let record = args.record.as_deref().map(|name| kv_path("/v1/kv", name, &[])).transpose()?;
    let source = Source::of(args)?;
    let client = Client::of(global)?;
    let progress = Progress::new(out, &source.name);
    let shared = match &source.path {
        None => upload::stdin(&client, &source.name, &progress)?,
        Some(path) => share_path(out, &client, path, &source.name, args.copy, &progress)?,
    };
    progress.end();
    for skipped in &shared.skipped {
        let (path, reason) = (printable(&skipped.path), printable(&skipped.reason));
        out.note(format!("skipped {path}: {reason}"));
    }
    failures(out, &shared.failed);
    say_of_name(out, &source.name, &shared.link);
    let SharedFile { link, id, bytes, files, skipped, failed } = &shared;
    if out.json {
        out.object(&json!({
            "link": link, "id": id, "bytes": bytes, "files": files, "skipped": skipped,
            "failed": failed,
        }))?;
    } else {
        out.data(link)?;
    }
    if let (Some(name), Some(record)) = (&args.record, record) {
        let answer = put::write(&client, "PUT", &record, None, Some(link.as_bytes()))?;
        put::written(out, name, &answer, put::merge_hint)?;
        out.note(format!("others can fetch it with potluck fetch {}", quoted(name)));
    }
    partial(
        &shared.failed,
        "not shared",
        "the rest is shared; share the folder again once they can be",
    )
}

/// Prints the failures of a share that succeeded in part.
pub(super) fn failures(out: Out, failed: &[Skipped]) {
    for failed in failed {
        let (path, reason) = (printable(&failed.path), printable(&failed.reason));
        out.trouble(format!("failed {path}: {reason}"));
    }
}

/// The end of a command that succeeded in part.
///
/// # Errors
/// At least one part failed.
pub(super) fn partial(failed: &[Skipped], what: &str, hint: &str) -> Result<(), Failure> {
    if failed.is_empty() {
        return Ok(());
    }
    let (are, files) = match failed.len() {
        1 => ("is", "1 file".to_owned()),
        many => ("are", format!("{many} files")),
    };
    Err(Failure::new(Exit::Failed, "partial", format!("{files} {are} {what}")).hint(hint))
}

/// Prints a note if others will see another name than the one here.
fn say_of_name(out: Out, name: &str, link: &str) {
    let Ok(link) = link.parse::<FileLink>() else { return };
    let (name, kept) = (printable(name), clean_name(name));
    match (kept, link.name()) {
        (None, _) => out.note(format!("{name} is no name of a file; others get it without a name")),
        (Some(kept), _) if printable(&kept) != name => {
            out.note(format!("others get it as {}; no file can be called {name}", printable(&kept)));
        }
        (Some(_), None) => out.note(
            "the name is too long for a link; a fetch takes the full name from a node that has the file",
        ),
        _ => {}
    }
}

/// The source of a share.
struct Source {
    /// Its real path; `None` for stdin.
    path: Option<PathBuf>,
    name: String,
}

impl Source {
    /// The typed source, if it can be shared at all.
    fn of(args: &ShareArgs) -> Result<Self, Failure> {
        if args.path == Path::new("-") {
            let name = args.name.clone().ok_or_else(|| {
                Failure::usage("stdin has no name").hint("give it one with --name NAME")
            })?;
            return Ok(Self { path: None, name });
        }
        let typed = &args.path;
        let path = absolute(typed)?;
        let about = fs::metadata(&path).map_err(|error| {
            let message = format!("cannot read {}: {error}", typed.display());
            Failure::new(Exit::Usage, "noSuchFile", message)
        })?;
        if !about.is_file() && !about.is_dir() {
            let message = format!("{} is neither a plain file nor a folder", typed.display());
            return Err(Failure::new(Exit::Usage, "notPlain", message)
                .hint("pipe what is to be shared into potluck share - --name NAME"));
        }
        if let Some(folder) = layout::owner_of(&path, None) {
            let (path, folder) = (typed.display(), folder.display());
            let message = format!("{path} is in {folder}, which a node keeps for itself");
            return Err(Failure::new(Exit::Refused, "ownFolder", message).hint(format!(
                "share something else; what is to be shared from there belongs into {folder}/{}",
                layout::FILES
            )));
        }
        let name = args.name.clone().map_or_else(|| name_of(typed), Ok)?;
        Ok(Self { path: Some(path), name })
    }
}

/// A typed path of this machine in the form that a node accepts: absolute, without `..`, links resolved.
///
/// # Errors
/// Wrong usage: an invalid path.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    if path.as_os_str().is_empty() {
        return Err(Failure::usage("a path has at least one letter"));
    }
    resolved(path).map_err(|error| Failure::usage(format!("'{}': {error}", path.display())))
}

/// The last part of a path.
fn name_of(path: &Path) -> Result<String, Failure> {
    let whole = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = whole(path).or_else(|| whole(&fs::canonicalize(path).ok()?));
    name.ok_or_else(|| {
        Failure::usage(format!("{} has no name", path.display()))
            .hint("give it one with --name NAME")
    })
}

/// Shares a file or folder in its place, or uploads it if the node cannot read it.
fn share_path(
    out: Out,
    client: &Client,
    path: &Path,
    name: &str,
    copy: bool,
    progress: &Progress,
) -> Result<SharedFile, Failure> {
    let why = match told(client, path) {
        Ok(told) => match in_place(client, told, name, copy)? {
            Ok(shared) => return Ok(shared),
            Err(why) => why,
        },
        Err(why) => why,
    };
    let what = if path.is_dir() { "folder" } else { "file" };
    out.note(format!("{why}; uploading the {what} instead"));
    upload::path(client, path, name, progress)
}

/// A path as text for a node that may be able to use it, or why there is none.
pub(super) fn told<'p>(client: &Client, path: &'p Path) -> Result<&'p str, String> {
    if !is_loopback(client.base()) {
        return Err("the node runs on another machine".to_owned());
    }
    path.to_str().ok_or_else(|| format!("{} is no UTF-8", path.display()))
}

/// Lets the node read the path itself; returns the reason if it cannot.
fn in_place(
    client: &Client,
    path: &str,
    name: &str,
    copy: bool,
) -> Result<Result<SharedFile, String>, Failure> {
    let (path, name) = (path.to_owned(), Some(name.to_owned()));
    let request = ShareRequest { path, copy, name, ..ShareRequest::default() };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    let answer = client.post_patiently("/v1/shares", &body)?;
    match answer.problem() {
        Some(problem) if OUT_OF_REACH.contains(&problem.code.as_str()) => Ok(Err(problem.detail)),
        _ => answer.good()?.json().map(Ok),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_called_as_its_last_part() {
        assert_eq!(name_of(Path::new("/a/b.txt")).expect("a name"), "b.txt");
        let folder = tempfile::tempdir().expect("folder");
        let dots = folder.path().join("x").join("..");
        fs::create_dir(folder.path().join("x")).expect("folder");
        let name = folder.path().file_name().expect("a name").to_string_lossy().into_owned();
        assert_eq!(name_of(&dots).expect("a name"), name);
        assert_eq!(name_of(Path::new("/")).expect_err("no name").exit, Exit::Usage);
    }
}
