//! `share`: offers a file or folder and prints its link.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::files::printable;
use super::progress::Progress;
use super::put;
use crate::api::{ShareRequest, SharedFile};
use crate::cli::{Global, ShareArgs};
use crate::client::{Client, is_loopback, kv_path, with_query};
use crate::failure::{Exit, Failure};
use crate::out::Out;

/// Answers of a node that cannot get at a path which is there.
pub(super) const OUT_OF_REACH: [&str; 3] = ["outsidePaths", "unreadable", "noSuchFile"];

/// Runs the command.
pub(crate) fn run(global: &Global, args: &ShareArgs) -> Result<(), Failure> {
    let out = global.out();
    let path = absolute(&args.path)?;
    let about = fs::metadata(&path).map_err(|error| {
        Failure::new(Exit::Usage, "noSuchFile", format!("cannot read {}: {error}", path.display()))
    })?;
    let record = args.record.as_deref().map(|name| kv_path("/v1/kv", name, &[])).transpose()?;
    let client = Client::of(global)?;
    let progress = Progress::new(out, &name_of(&path)?);
    let shared = if is_loopback(client.base()) {
        in_place(&client, &path, args.copy)?
    } else {
        Err("the node runs on another machine".to_owned())
    };
    let shared = match shared {
        Ok(shared) => shared,
        Err(why) => upload(out, &client, &path, about.is_dir(), &why, &progress)?,
    };
    progress.end();
    for skipped in &shared.skipped {
        let (path, reason) = (printable(&skipped.path), printable(&skipped.reason));
        out.note(format!("skipped {path}: {reason}"));
    }
    let SharedFile { link, id, bytes, files, .. } = &shared;
    if out.json {
        out.line(json!({"link": link, "id": id, "bytes": bytes, "files": files}));
    } else {
        out.line(link);
    }
    if let (Some(name), Some(record)) = (&args.record, record) {
        let answer = put::write(&client, "PUT", &record, None, Some(link.as_bytes()))?;
        put::written(out, name, &answer)?;
        out.note(format!("others can fetch it with potluck fetch {name}"));
    }
    Ok(())
}

/// A path of this machine that means the same in every folder.
///
/// # Errors
/// Wrong usage: no path.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::usage(format!("'{}' is no path: {error}", path.display())))
}

/// What is at the end of a path.
fn name_of(path: &Path) -> Result<String, Failure> {
    let whole = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = whole(path).or_else(|| whole(&fs::canonicalize(path).ok()?));
    name.ok_or_else(|| Failure::usage(format!("{} has no name", path.display())))
}

/// A path as it is told a node.
///
/// # Errors
/// Wrong usage: JSON cannot hold it.
pub(super) fn told(path: &Path) -> Result<&str, Failure> {
    let not_text = || Failure::usage(format!("the path {} is no UTF-8", path.display()));
    path.to_str().ok_or_else(not_text)
}

/// Lets the node read the path by itself; if it cannot get at it, says why.
fn in_place(
    client: &Client,
    path: &Path,
    copy: bool,
) -> Result<Result<SharedFile, String>, Failure> {
    let request = ShareRequest {
        path: told(path)?.to_owned(),
        copy,
        name: Some(name_of(path)?),
        ..ShareRequest::default()
    };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    let answer = client.post_patiently("/v1/shares", &body)?;
    match answer.problem() {
        Some(problem) if OUT_OF_REACH.contains(&problem.code.as_str()) => Ok(Err(problem.detail)),
        _ => answer.good()?.json().map(Ok),
    }
}

/// Sends a file's bytes to the node.
fn upload(
    out: Out,
    client: &Client,
    path: &Path,
    is_folder: bool,
    why: &str,
    progress: &Progress,
) -> Result<SharedFile, Failure> {
    if is_folder {
        let message = format!("{why}, and a folder cannot be uploaded");
        return Err(Failure::new(Exit::Refused, "outOfReach", message)
            .hint("pack it into one file, or add its place to [files] paths of the node"));
    }
    out.note(format!("{why}; uploading the file instead"));
    let cannot = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let file = File::open(path).map_err(cannot)?;
    let total = file.metadata().map_err(cannot)?.len();
    let mut done = 0;
    let target = with_query("/v1/files", &[("name", Some(name_of(path)?))]);
    let passed = |bytes| {
        done += bytes;
        progress.at(done, Some(total), "to the node");
    };
    client.upload(&target, file, passed)?.json()
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
