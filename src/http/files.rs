//! `/v1/files`, `/v1/shares`, `/v1/pins/..`, `/v1/gc`: the files that this node has and offers.

mod conditional;
pub(super) mod content;
pub(super) mod fetches;
mod jobs;
mod media;
mod places;
pub(super) mod stream;
pub(super) mod upload;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use potluck::ask::PutResult;
use potluck::{BlobId, FilePage, FilesError, FilesErrorKind, GcReport, Shared};
use potluck_base::Admission;
use potluck_node::{Put, WriteContext};
use potluck_record::{Name, Space};
use potluck_swarm::FetchError;
use serde::Deserialize;

use super::app::App;
use super::extract::{Asked, Named, json_body};
use super::problem::Problem;
use super::reply::{conflict, json};
use crate::api::{
    FileEntry, Files, Gc, GcEntry, Pin, ProblemBody, ShareRequest, SharedFile, Shares, Skipped,
    Unshared,
};
use crate::failure::Exit;

pub(crate) use fetches::go_on as go_on_with_fetches;
pub(super) use jobs::JobTable;
pub(super) use places::Places;
pub(crate) use upload::clear as clear_uploads;

/// Enough for a path and a name.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// The query of a collection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct GcQuery {
    #[serde(default)]
    dry_run: bool,
}

/// Files in one page of a list: the default, and the most.
const PAGE_DEFAULT: usize = 1000;
const PAGE_MAX: usize = 10_000;

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PageQuery {
    after: Option<String>,
    limit: Option<usize>,
}

impl PageQuery {
    async fn page(&self, app: &App) -> Result<FilePage, Problem> {
        let limit = self.limit.unwrap_or(PAGE_DEFAULT);
        if !(1..=PAGE_MAX).contains(&limit) {
            let detail = format!("a page has 1 to {PAGE_MAX} files, not {limit}");
            return Err(Problem::bad("badQuery", detail));
        }
        let after = self.after.as_deref().map(id_of).transpose()?;
        Ok(app.node().files().page(after, limit).await?)
    }
}

/// The query of an end of sharing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct UnshareQuery {
    name: Option<String>,
}

impl From<FilesError> for Problem {
    fn from(error: FilesError) -> Self {
        let detail = error.to_string();
        match error.kind() {
            FilesErrorKind::Usage => Self::bad("badFile", detail),
            FilesErrorKind::Absent => match error {
                FilesError::NotFolder => Self::absent(detail),
                FilesError::NoSuchPath(_) => Self::absent(detail).hint("check the path"),
                FilesError::Fetch(_) => Self::absent(detail)
                    .hint("check the link, or have it shared again on a machine that has it"),
                _ => Self::absent(detail).hint("see potluck files"),
            },
            FilesErrorKind::Unavailable => match error {
                FilesError::Fetch(FetchError::Changed) => Self::unavailable("changed", detail)
                    .hint("have it shared again there, which gives another link"),
                FilesError::Fetch(FetchError::Unshared) => Self::unavailable("unshared", detail)
                    .hint("have it shared again on a machine that has it"),
                FilesError::Fetch(FetchError::Unreadable) => {
                    Self::unavailable("unreadable", detail).hint("see to the disk of that node")
                }
                _ => Self::unavailable("unavailable", detail)
                    .hint("try again later; a node that has it may come back"),
            },
            FilesErrorKind::Refused => Self::forbidden("refused", detail),
            FilesErrorKind::Verification => {
                Self::new(StatusCode::BAD_GATEWAY, Exit::Verification, "damaged", detail)
            }
            FilesErrorKind::NoSpace => Self::no_space(detail),
            FilesErrorKind::Failed => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, Exit::Failed, "failed", detail)
            }
        }
    }
}

/// The id in a path.
fn id_of(typed: &str) -> Result<BlobId, Problem> {
    typed.parse().map_err(|error| Problem::bad("badId", error).hint("see GET /v1/files"))
}

/// A shared file, as the API shows it.
fn shared_file(shared: &Shared) -> SharedFile {
    SharedFile {
        link: shared.link.to_string(),
        id: shared.id.to_string(),
        bytes: shared.bytes,
        files: shared.files,
        skipped: skipped(&shared.skipped),
        failed: skipped(&shared.failed),
    }
}

/// The files that were skipped, as the API shows them.
fn skipped(all: &[(String, String)]) -> Vec<Skipped> {
    let one =
        |(path, reason): &(String, String)| Skipped { path: path.clone(), reason: reason.clone() };
    all.iter().map(one).collect()
}

fn entry(entry: &potluck::FileEntry) -> FileEntry {
    FileEntry {
        id: entry.id.to_string(),
        link: entry.link.as_ref().map(ToString::to_string),
        name: entry.name.clone(),
        bytes: entry.bytes,
        have_bytes: entry.have_bytes,
        files: entry.files,
        path: entry.path.as_ref().map(|path| path.display().to_string()),
        state: entry.state.as_str().to_owned(),
        shared: entry.shared,
        pinned: entry.pinned,
        in_use: entry.in_use,
    }
}

fn created<T: serde::Serialize>(status: StatusCode, object: &T) -> Response {
    (status, json(object)).into_response()
}

/// Offer a file or folder of this machine.
#[utoipa::path(post, path = "/v1/shares",
    request_body = ShareRequest,
    responses(
        (status = 201, body = SharedFile),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "outside of [files] paths, or not readable"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "it is offered, but the record has siblings"),
        (status = 507, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn share(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let hint = r#"send {"path":"/where/it/is"}"#;
    let request: ShareRequest = json_body(&headers, content, REQUEST_BYTES_MAX, hint).await?;
    let record = request.record.as_deref().map(Name::new).transpose();
    let record = record.map_err(|error| Problem::bad("badName", error))?;
    let opened = app.places().to_read(&request.path).await?;
    let mut share = app.node().files().share_opened(opened).copy(request.copy);
    if let Some(name) = request.name {
        share = share.name(name);
    }
    let shared = shared_file(&share.await?);
    if let Some(name) = record
        && let Some(response) = point(&app, name, &shared.link).await?
    {
        return Ok(response);
    }
    Ok(created(StatusCode::CREATED, &shared))
}

/// Points a record at a link; an answer if siblings are in the way.
async fn point(app: &App, name: Name, link: &str) -> Result<Option<Response>, Problem> {
    let space = match app.node().network().admission {
        Admission::Open => Space::Own(app.node().public_key()),
        Admission::Invite | Admission::Lab => Space::Commons,
    };
    let put = Put {
        space,
        name: Some(name),
        kind: None,
        value: Some(link.to_owned().into()),
        ttl: None,
        quorum: None,
        context: WriteContext::Read,
    };
    match app.node().ask(put).await? {
        PutResult::Written(_) => Ok(None),
        PutResult::Conflict(done) => {
            let detail = format!("it is shared as {link}, but the record has siblings");
            Ok(Some(conflict(app.node(), &done.reading, detail)))
        }
    }
}

/// The files of this node, page by page in the order of the ids.
#[utoipa::path(get, path = "/v1/files",
    params(
        ("after" = Option<String>, Query, description = "an id, of a file or not: the page begins behind it"),
        ("limit" = Option<usize>, Query, description = "files in the page, 1 to 10000; 1000 unless said otherwise"),
    ),
    responses(
        (status = 200, body = Files),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page(&app).await?;
    let next = page.next.map(|id| id.to_string());
    Ok(json(&Files { files: page.files.iter().map(entry).collect(), next }))
}

/// The files that this node offers, page by page; a page may have fewer entries than its limit.
#[utoipa::path(get, path = "/v1/shares",
    params(
        ("after" = Option<String>, Query, description = "an id, of a file or not: the page begins behind it"),
        ("limit" = Option<usize>, Query, description = "files that are looked at for the page, 1 to 10000; 1000 unless said otherwise"),
    ),
    responses(
        (status = 200, body = Shares),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn list_shares(
    State(app): State<Arc<App>>,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page(&app).await?;
    let next = page.next.map(|id| id.to_string());
    let shares = page.files.iter().filter(|file| file.shared).map(entry).collect();
    Ok(json(&Shares { shares, next }))
}

/// Stop offering a file, and forget it.
#[utoipa::path(delete, path = "/v1/files/{id}",
    params(
        ("id" = String, Path, description = "as in the list of files"),
        ("name" = Option<String>, Query, description = "only what was shared under this name, if the same bytes were shared under others"),
    ),
    responses(
        (status = 200, body = Unshared),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn unshare(
    State(app): State<Arc<App>>,
    Named(id): Named,
    Asked(query): Asked<UnshareQuery>,
) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    let files = app.node().files();
    let shared = match &query.name {
        Some(name) => files.unshare_as(id, name).await?,
        None => files.unshare(id).await.map(|()| false)?,
    };
    Ok(json(&Unshared { id: id.to_string(), shared }))
}

/// Keep a file until it is unpinned.
#[utoipa::path(put, path = "/v1/pins/{id}",
    params(("id" = String, Path, description = "as in the list of files")),
    responses(
        (status = 200, body = Pin),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn pin(
    State(app): State<Arc<App>>,
    Named(id): Named,
) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    app.node().files().pin(id).await?;
    Ok(json(&Pin { id: id.to_string(), pinned: true }))
}

/// Allow a file to be removed when its room is needed.
#[utoipa::path(delete, path = "/v1/pins/{id}",
    params(("id" = String, Path, description = "as in the list of files")),
    responses(
        (status = 200, body = Pin),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn unpin(
    State(app): State<Arc<App>>,
    Named(id): Named,
) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    app.node().files().unpin(id).await?;
    Ok(json(&Pin { id: id.to_string(), pinned: false }))
}

/// Make room in the cache, or report what would be removed and why the rest stays.
#[utoipa::path(post, path = "/v1/gc",
    params(("dryRun" = Option<bool>, Query, description = "only say it")),
    responses((status = 200, body = Gc)))]
pub(super) async fn gc(
    State(app): State<Arc<App>>,
    Asked(query): Asked<GcQuery>,
) -> Result<Response, Problem> {
    let GcReport { removed, removed_count, kept, kept_count, freed_bytes, cached_bytes, more: _ } =
        app.node().files().gc(query.dry_run).await?;
    let entry = |entry: &potluck::GcEntry| GcEntry {
        id: entry.id.to_string(),
        bytes: entry.bytes,
        reason: entry.reason.to_string(),
    };
    Ok(json(&Gc {
        dry_run: query.dry_run,
        removed: removed.iter().map(entry).collect(),
        kept: kept.iter().map(entry).collect(),
        removed_count,
        kept_count,
        freed_bytes,
        cached_bytes,
    }))
}

/// For fuzz targets: the part of a file that headers ask for lies in it.
#[cfg(feature = "fuzzing")]
pub(super) fn check_range(headers: &HeaderMap, bytes: u64, say: &mut crate::fuzzing::Say<'_>) {
    let wanted = conditional::wanted(headers, bytes, "tag");
    if let conditional::Wanted::Part(part) = &wanted {
        assert!(part.start < part.end && part.end <= bytes, "{part:?} of {bytes}");
        say("range", true, &"part");
    } else {
        say("range", false, &wanted);
    }
}

/// For fuzz targets: any name makes a header.
#[cfg(feature = "fuzzing")]
pub(super) fn check_names(name: &str, say: &mut crate::fuzzing::Say<'_>) {
    say("type", false, &media::content_type(name));
    let header = media::disposition(name);
    assert!(header.to_str().is_ok_and(str::is_ascii), "{header:?}");
    upload::check(name.as_bytes(), say);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_why_a_file_does_not_come_has_its_code() {
        let code = |error: FilesError| Problem::from(error).into_body().code;
        assert_eq!(code(FilesError::IsFolder), "badFile");
        assert_eq!(code(FilesError::Fetch(FetchError::Changed)), "changed");
        assert_eq!(code(FilesError::Fetch(FetchError::Unshared)), "unshared");
        assert_eq!(code(FilesError::Fetch(FetchError::Unreadable)), "unreadable");
        assert_eq!(code(FilesError::Stopped), "unavailable");
    }
}
