//! `POST /v1/files`: a file, or a whole folder, that is the body of a request.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use potluck::{BlobId, Listed, Manifest, ManifestFile};
use serde::Deserialize;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::{created, shared_file};
use crate::api::{FolderFiles, ProblemBody, SharedFile};
use crate::failure::Exit;
use crate::http::app::App;
use crate::http::extract::Asked;
use crate::http::problem::Problem;

/// The folder of incomplete uploads, in the data folder.
const FOLDER: &str = potluck::layout::UPLOADS;
/// Longest list of the files of a folder: about 200,000 files.
const LIST_BYTES_MAX: usize = 16 << 20;
/// Time for which a client may send nothing before its upload ends.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that an upload leaves free on the disk.
const RESERVE_BYTES: u64 = 64 << 20;
/// Received bytes after which the free space is read again.
const LOOK_EVERY: u64 = 16 << 20;
/// Longest name of a file.
const NAME_BYTES_MAX: usize = 255;

/// The query of an upload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::http) struct UploadQuery {
    name: Option<String>,
    list_bytes: Option<usize>,
    mtime: Option<i64>,
    mode: Option<u32>,
}

/// Removes the incomplete uploads of a node that was killed.
pub(crate) fn clear(data_dir: &Path) {
    // A file that cannot be removed now takes room until the next start, which tries again.
    let _ = std::fs::remove_dir_all(data_dir.join(FOLDER));
}

/// Keep and offer the body as a file, or as a folder: with `listBytes` the body begins with this
/// number of bytes of JSON, the list of the files in the order of their paths, and goes on with the
/// bytes of the files.
#[utoipa::path(post, path = "/v1/files",
    params(
        ("name" = Option<String>, Query, description = "what to call it"),
        ("mtime" = Option<i64>, Query, description = "of a file: when it was changed last, in seconds since 1970"),
        ("mode" = Option<u32>, Query, description = "of a file: its permissions as Unix counts them, in decimal"),
        ("listBytes" = Option<usize>, Query, description = "how long the list of files is that the body begins with: {\"files\":[{\"path\",\"bytes\",\"executable\"}]}"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, body = SharedFile),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "the list of files is too long"),
        (status = 507, body = ProblemBody, content_type = "application/problem+json", description = "the disk has no room for it"),
    ))]
pub(in crate::http) async fn upload(
    State(app): State<Arc<App>>,
    Asked(query): Asked<UploadQuery>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let name = query.name.unwrap_or_else(|| "upload".to_owned());
    check_name(&name)?;
    let folder = app.node().data_dir().join(FOLDER);
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let list_bytes = query.list_bytes.unwrap_or(0);
    if list_bytes > LIST_BYTES_MAX {
        let detail = format!("a list of files has at most {LIST_BYTES_MAX} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Exit::Usage, "tooLarge", detail)
            .hint("share parts of the folder"));
    }
    let (file, list) = receive(content, folder, announced.unwrap_or(0), list_bytes).await?;
    let listed = query.list_bytes.map(|_| read_list(&list)).transpose()?;
    let bytes = file.as_file().try_clone().map_err(|error| not_kept(&error))?;
    let share = app.node().files().share_bytes(bytes, listed).name(name.as_str());
    let share = share.marks(query.mtime, query.mode);
    Ok(created(StatusCode::CREATED, &shared_file(&share.await?)))
}

/// The files of a folder, in the order in which their bytes come.
fn read_list(json: &[u8]) -> Result<Listed, Problem> {
    let hint = r#"begin with {"files":[{"path":"a/b","bytes":1,"executable":false}]}"#;
    let bad = |why: String| Problem::bad("badList", why).hint(hint);
    let list: FolderFiles = serde_json::from_slice(json).map_err(|error| bad(error.to_string()))?;
    let files: Vec<ManifestFile> = list.files.into_iter().map(ManifestFile::from).collect();
    let empty_folders = list.empty_folders;
    let nothing = BlobId::from_bytes([0; 32]);
    let sorted = Manifest::with_folders(nothing, files.clone(), empty_folders.clone());
    if sorted.map_err(|error| bad(error.to_string()))?.files() != files {
        return Err(bad("the files are not in the order of their paths".to_owned()));
    }
    Ok(Listed { files, empty_folders })
}

/// For fuzz targets.
#[cfg(feature = "fuzzing")]
pub(super) fn check(bytes: &[u8], say: &mut crate::fuzzing::Say<'_>) {
    let list = read_list(bytes);
    say("list", list.is_ok(), &list.is_ok());
    let name = String::from_utf8_lossy(bytes);
    say("name", check_name(&name).is_ok(), &name.len().min(1));
}

fn check_name(name: &str) -> Result<(), Problem> {
    let bad = name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || matches!(name, "." | "..")
        || name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
    if bad {
        let detail = "a file name has 1 to 255 bytes, no slashes and no control characters";
        return Err(Problem::bad("badName", detail));
    }
    Ok(())
}

/// Writes the body to a temporary file, which is removed when dropped; without its first `list_bytes` bytes,
/// which are returned beside it.
async fn receive(
    mut body: Body,
    folder: PathBuf,
    announced: u64,
    list_bytes: usize,
) -> Result<(NamedTempFile, Vec<u8>), Problem> {
    let (file, mut room) = open(folder.clone()).await?;
    if announced > room {
        return Err(full(announced));
    }
    let writer = file.reopen().map_err(|error| not_kept(&error))?;
    let mut writer = tokio::fs::File::from_std(writer);
    writer.set_max_buf_size(1 << 20);
    let (mut written, mut look_at) = (0, LOOK_EVERY);
    let mut list = Vec::new();
    loop {
        let frame = timeout(RECEIVE_TIMEOUT, body.frame()).await.map_err(|_| {
            Problem::unavailable("timeout", "the body did not go on").hint("try again")
        })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Problem::bad("badBody", "the body broke off"))?;
        let Ok(mut data) = frame.into_data() else { continue };
        list.extend_from_slice(&data.split_to(data.len().min(list_bytes - list.len())));
        if data.len() as u64 > room {
            return Err(full(written));
        }
        writer.write_all(&data).await.map_err(|error| not_kept(&error))?;
        written += data.len() as u64;
        room -= data.len() as u64;
        if written >= look_at {
            look_at = written + LOOK_EVERY;
            room = room_in(folder.clone()).await?;
        }
    }
    writer.flush().await.map_err(|error| not_kept(&error))?;
    if list.len() < list_bytes {
        return Err(Problem::bad("badBody", "the body ends within the list of files"));
    }
    Ok((file, list))
}

/// A new temporary file, and the bytes that may be written to it.
async fn open(folder: PathBuf) -> Result<(NamedTempFile, u64), Problem> {
    let made = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        let file = tempfile::Builder::new().prefix("upload-").tempfile_in(&folder)?;
        Ok((file, free(&folder)))
    });
    made.await.map_err(|_| Problem::unexpected())?.map_err(|error: io::Error| not_kept(&error))
}

async fn room_in(folder: PathBuf) -> Result<u64, Problem> {
    let look = tokio::task::spawn_blocking(move || free(&folder));
    look.await.map_err(|_| Problem::unexpected())
}

/// Bytes that may be written. A disk whose free space is unknown counts as not full.
fn free(folder: &Path) -> u64 {
    fs4::available_space(folder).unwrap_or(u64::MAX).saturating_sub(RESERVE_BYTES)
}

fn full(bytes: u64) -> Problem {
    Problem::no_space(format!("the node's disk has no room for {bytes} bytes and what it needs"))
}

fn not_kept(error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Problem::no_space("the node's disk is full".to_owned())
        }
        _ => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            let detail = format!("the upload cannot be kept: {error}");
            Problem::new(status, Exit::Failed, "failed", detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_becomes_a_file_that_goes_when_nobody_needs_it() {
        let folder = tempfile::tempdir().expect("folder");
        let place = folder.path().join("x");
        let (file, list) = receive(Body::from("listabc"), place.clone(), 3, 4).await.expect("kept");
        assert_eq!(std::fs::read(file.path()).expect("readable"), b"abc");
        assert_eq!(list, b"list");
        assert!(receive(Body::from("listabc"), place, 3, 8).await.is_err(), "no whole list");
        let path = file.path().to_owned();
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn more_than_the_disk_has_room_for_is_refused_before_it_comes() {
        let folder = tempfile::tempdir().expect("folder");
        let place = folder.path().join("x");
        assert!(receive(Body::from("abc"), place.clone(), u64::MAX, 0).await.is_err());
        let left = std::fs::read_dir(place).expect("readable").count();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_list_of_files_is_in_order_and_leads_nowhere_else() {
        let list = |paths: &[&str]| {
            let files = paths.iter().map(|path| serde_json::json!({"path": path, "bytes": 1}));
            let list = serde_json::json!({"files": files.collect::<Vec<_>>()});
            read_list(list.to_string().as_bytes())
        };
        assert_eq!(list(&["a", "b/c"]).expect("good").files.len(), 2);
        // The same file on some systems: a fetch on such a system keeps the two apart.
        assert!(list(&["A", "a"]).is_ok());
        for wrong in [&["b", "a"][..], &["a", "a"], &["../a"], &["/a"], &["a", "a/b"]] {
            assert!(list(wrong).is_err(), "{wrong:?}");
        }
        assert!(read_list(b"[]").is_err());
    }

    #[test]
    fn a_name_is_one_part_of_a_path() {
        for good in ["a", "a b.txt", "ü"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\\b", "a\nb", &"x".repeat(256)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
