//! `GET /v1/files/{id}`: the bytes of a file, from this node or while it fetches them.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use potluck::{BlobId, Reader};
use serde::Deserialize;
use tokio::time::timeout;

use super::conditional::{Wanted, wanted};
use super::id_of;
use super::media::{POLICY, content_type, disposition};
use super::stream::{Pieces, stream};
use crate::api::ProblemBody;
use crate::failure::Exit;
use crate::http::app::App;
use crate::http::condition::{self, Condition};
use crate::http::extract::{Asked, InFolder, Named};
use crate::http::problem::Problem;
use crate::http::reply::matches;

/// Bytes that are read at once.
const PIECE: u64 = 256 * 1024;
/// Time for which a client may read nothing before its download ends.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Caching: the content of an id never changes.
const FOR_EVER: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// The query of a download.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct ContentQuery {
    #[serde(default)]
    manifest: bool,
}

/// The bytes of a file; if this node does not have it, it fetches the file from others meanwhile.
#[utoipa::path(method(get, head), path = "/v1/files/{id}",
    params(
        ("id" = String, Path, description = "the hash of its content"),
        ("manifest" = Option<bool>, Query, description = "it is a folder, and its list of files is meant: the bytes that its id is the hash of"),
        ("Range" = Option<String>, Header, description = "one range of bytes"),
        ("If-None-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream",
            headers(("ETag" = String), ("Accept-Ranges" = String), ("Content-Disposition" = String))),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream", headers(("Content-Range" = String))),
        (status = 304, description = "as in If-None-Match"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json", description = "a folder"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "no node of this network shares it"),
        (status = 416, body = ProblemBody, content_type = "application/problem+json", description = "it does not have these bytes"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "no node that has it could be reached"),
    ))]
pub(in crate::http) async fn get(
    State(app): State<Arc<App>>,
    Named(id): Named,
    Asked(query): Asked<ContentQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let part = if query.manifest { Part::List } else { Part::Whole };
    send(&app, id_of(&id)?, part, &method, &headers).await
}

/// The bytes of a file in a folder.
#[utoipa::path(method(get, head), path = "/v1/files/{id}/{*path}",
    params(
        ("id" = String, Path, description = "the id of the folder"),
        ("path" = String, Path, description = "where the file is in it"),
        ("Range" = Option<String>, Header, description = "one range of bytes"),
        ("If-None-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "as in If-None-Match"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "no node shares it, it is no folder, or it has no such file"),
        (status = 416, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn get_inside(
    State(app): State<Arc<App>>,
    InFolder { id, path }: InFolder,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    send(&app, id_of(&id)?, Part::Inside(&path), &method, &headers).await
}

/// The part of an id that is asked for.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    /// A file.
    Whole,
    /// The list of files of a folder.
    List,
    /// A file in a folder.
    Inside(&'a str),
}

/// The entity tag of a file: a function of everything that its bytes depend on.
fn tag_of(id: &BlobId, part: Part<'_>) -> String {
    match part {
        Part::Whole | Part::List => format!("\"{id}\""),
        Part::Inside(path) => format!("\"{id}-{}\"", &blake3::hash(path.as_bytes()).to_hex()[..16]),
    }
}

async fn send(
    app: &App,
    id: BlobId,
    part: Part<'_>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let tag = tag_of(&id, part);
    if Condition::of_read(headers).is_some_and(|it| !it.holds(Some(&tag))) {
        return Ok(condition::refused(Some(tag)));
    }
    if matches(headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let files = app.node().files();
    let reader = match part {
        Part::Whole => files.open(id, None).await?,
        Part::List => files.open_list(id).await?,
        Part::Inside(path) => files.open(id, Some(path)).await?,
    };
    let (bytes, name) = (reader.bytes(), name_of(&reader, &id));
    // A range only makes sense of a GET.
    let asked = if *method == Method::GET { wanted(headers, bytes, &tag) } else { Wanted::Whole };
    let (status, range) = match asked {
        Wanted::Whole => (StatusCode::OK, 0..bytes),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Nothing => return Ok(not_there(bytes)),
    };
    let head = [
        (header::CONTENT_TYPE, content_type(&name)),
        (header::CONTENT_DISPOSITION, disposition(&name)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::CACHE_CONTROL, FOR_EVER),
        (header::CONTENT_LENGTH, (range.end - range.start).into()),
        (header::ETAG, HeaderValue::from_str(&tag).map_err(|_| Problem::unexpected())?),
    ];
    let content_range = (status == StatusCode::PARTIAL_CONTENT)
        .then(|| format!("bytes {}-{}/{bytes}", range.start, range.end.saturating_sub(1)));
    let body = if *method == Method::HEAD { Body::empty() } else { bytes_of(reader, range) };
    let mut response = (status, head, body).into_response();
    if let Some(Ok(text)) = content_range.map(|text| HeaderValue::from_str(&text)) {
        response.headers_mut().insert(header::CONTENT_RANGE, text);
    }
    Ok(response)
}

/// The file's name; a file that is only known by its id is named by the id.
fn name_of(reader: &Reader, id: &BlobId) -> String {
    let name = reader.name();
    if name.is_empty() { id.to_string() } else { name.to_owned() }
}

fn not_there(bytes: u64) -> Response {
    let detail = format!("the file has {bytes} bytes and not those");
    let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, Exit::Usage, "badRange", detail);
    ([(header::CONTENT_RANGE, format!("bytes */{bytes}"))], problem).into_response()
}

/// A body that is read while it is sent.
fn bytes_of(reader: Reader, range: Range<u64>) -> Body {
    let (pieces, body) = stream();
    tokio::spawn(async move {
        tokio::select! {
            () = pieces.closed() => {}
            () = pour(reader, range, &pieces) => {}
        }
    });
    body
}

async fn pour(mut reader: Reader, range: Range<u64>, pieces: &Pieces) {
    let mut at = range.start;
    while at < range.end {
        let piece = match reader.read(at..(at + PIECE).min(range.end)).await {
            Ok(piece) if piece.is_empty() => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(piece) => Ok(piece),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        let read = piece.as_ref().map_or(0, |piece| piece.len() as u64);
        // The client is gone or does not read.
        let sent = timeout(SEND_TIMEOUT, pieces.send(piece)).await;
        if read == 0 || !matches!(sent, Ok(Ok(()))) {
            return;
        }
        at += read;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_folder_have_tags_of_their_own_that_fit_a_header() {
        let id = BlobId::from_bytes([7; 32]);
        let parts = [Part::Whole, Part::Inside("a"), Part::Inside("ü\"\n")];
        let tags = parts.map(|part| tag_of(&id, part));
        for (index, tag) in tags.iter().enumerate() {
            assert!(HeaderValue::from_str(tag).is_ok(), "{tag}");
            assert!(!tags[..index].contains(tag));
        }
    }
}
