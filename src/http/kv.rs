//! `/v1/kv/..`: records.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use potluck::ask::{Get, PutResult};
use potluck_kv::ReadDone;
use potluck_node::{Put, WriteContext};
use potluck_record::{Kind, Space};
use serde::Deserialize;

use super::app::App;
use super::condition::{self, Condition, tag_of};
use super::extract::{Asked, Named, Target, body};
use super::problem::{AS_A_FILE, Problem};
use super::reply::{absent, conflict, json, matches, siblings};
use crate::api::{
    BLIND, CONTEXT_HEADER, KIND_HEADER, OLDER_HEADER, ProblemBody, Siblings, VERSION_HEADER,
    Written, rfc3339,
};

/// The query of a write.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteQuery {
    space: Option<String>,
    kind: Option<String>,
    ttl: Option<String>,
    w: Option<u16>,
}

/// The query of a read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadQuery {
    space: Option<String>,
    r: Option<u16>,
    siblings: Option<String>,
}

/// Store a value.
#[utoipa::path(put, path = "/v1/kv/{*name}",
    params(
        ("name" = String, Path, description = "the record's name; `-` in space `content`"),
        ("space" = Option<String>, Query, description = "commons (default), content, own, own/<public key>, team/<id>"),
        ("kind" = Option<String>, Query, description = "siblings or lww; default: as what is there"),
        ("ttl" = Option<String>, Query, description = "how long it lives, such as 1h"),
        ("w" = Option<u16>, Query, description = "replicas that must acknowledge; default: a majority"),
        ("X-Potluck-Context" = Option<String>, Header, description = "what to supersede: a context that a read returned, or `none`"),
        ("If-Match" = Option<String>, Header, description = "write only over what has this ETag; `*`: only over something"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: write only if nothing is there"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Written),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "siblings are there; nothing was written"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json", description = "If-Match or If-None-Match does not hold; nothing was written"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "fewer than `w` acknowledged"),
    ))]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Asked(query): Asked<WriteQuery>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let bytes = body(&headers, content, app.value_bytes_max()).await;
    let of_size = |problem: Problem| match problem.is_too_large() {
        true => problem.hint(AS_A_FILE),
        false => problem,
    };
    let bytes = bytes.map_err(of_size)?;
    write(&app, &name, query, &headers, Some(bytes)).await
}

/// Delete a record.
#[utoipa::path(delete, path = "/v1/kv/{*name}",
    params(
        ("name" = String, Path, description = "the record's name"),
        ("space" = Option<String>, Query),
        ("w" = Option<u16>, Query, description = "replicas that must acknowledge"),
        ("X-Potluck-Context" = Option<String>, Header, description = "what to delete: a context that a read returned"),
        ("If-Match" = Option<String>, Header, description = "delete only what has this ETag"),
    ),
    responses(
        (status = 200, body = Written),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json", description = "If-Match does not hold; nothing was deleted"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Asked(query): Asked<WriteQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    write(&app, &name, query, &headers, None).await
}

async fn write(
    app: &App,
    name: &str,
    query: WriteQuery,
    headers: &HeaderMap,
    value: Option<Bytes>,
) -> Result<Response, Problem> {
    let is_deletion = value.is_none();
    let mut put = put_of(app, name, query, headers, value).await?;
    if let Some(condition) = Condition::of(headers) {
        put = match condition::held(app, put, &condition).await? {
            Ok(put) => put,
            Err(refused) => return Ok(refused),
        };
    }
    match app.node().ask(put).await? {
        PutResult::Written(done) => Ok(written(name, &done)),
        PutResult::Conflict(done) => {
            let values = done.reading.values.len();
            let detail = match (is_deletion, values) {
                (true, 1) => {
                    "the context does not cover the value that is there; nothing was deleted"
                        .to_owned()
                }
                (true, _) => format!("there are {values} siblings; nothing was deleted"),
                (false, _) => format!("there are {values} siblings; nothing was written"),
            };
            Ok(conflict(app.node(), &done.reading, detail))
        }
    }
}

/// The response to a write of `name`.
pub(super) fn written(name: &str, done: &potluck_kv::Written) -> Response {
    json(&Written {
        name: name.to_owned(),
        key: done.key.to_string(),
        version: done.version.to_string(),
        acks: done.acks,
        wanted: done.wanted,
        members: done.members,
        expires_at: rfc3339(done.expires.0),
        replicas: done.replicas.iter().map(ToString::to_string).collect(),
    })
}

async fn put_of(
    app: &App,
    name: &str,
    query: WriteQuery,
    headers: &HeaderMap,
    value: Option<Bytes>,
) -> Result<Put, Problem> {
    let me = app.node().public_key();
    let target = Target::of(app.node(), name, query.space.as_deref()).await?;
    if target.space == Space::Content && name != "-" {
        return Err(Problem::bad("badName", "in space content the value makes the key")
            .hint("give - as the name"));
    }
    if !target.space.admits(&me) {
        return Err(Problem::forbidden("notOwner", "only its owner writes in that space"));
    }
    let context = context_of(headers)?;
    if value.is_none() && context == WriteContext::Blind {
        let detail = "a deletion with the context none supersedes nothing, so it deletes nothing";
        return Err(Problem::bad("badContext", detail)
            .hint("leave the context out, or take the one of a read"));
    }
    let kind = query.kind.map(|kind| kind.parse::<Kind>()).transpose();
    let ttl = query.ttl.map(|ttl| humantime::parse_duration(ttl.trim())).transpose();
    if matches!(&ttl, Ok(Some(life)) if life.as_secs() == 0) {
        return Err(Problem::bad(
            "badTtl",
            "ttl is at least 1s: a record that ends at once is none",
        ));
    }
    if query.w == Some(0) {
        return Err(Problem::bad("badQuery", "w is at least 1"));
    }
    Ok(Put {
        space: target.space,
        name: target.name,
        kind: kind.map_err(|error| Problem::bad("badKind", error))?,
        value,
        ttl: ttl.map_err(|_| Problem::bad("badTtl", "ttl is a span of time such as 1h or 30d"))?,
        quorum: query.w,
        context,
    })
}

fn context_of(headers: &HeaderMap) -> Result<WriteContext, Problem> {
    let Some(value) = headers.get(CONTEXT_HEADER) else { return Ok(WriteContext::Read) };
    match value.to_str().unwrap_or_default().trim() {
        BLIND => Ok(WriteContext::Blind),
        text => {
            let context = text.parse().map_err(|error| Problem::bad("badContext", error))?;
            Ok(WriteContext::Given(context))
        }
    }
}

/// For fuzz targets: a context that was read is the same after it was written.
#[cfg(feature = "fuzzing")]
pub(super) fn check_context(headers: &HeaderMap, say: &mut crate::fuzzing::Say<'_>) {
    let context = context_of(headers);
    say("context", false, &context.as_ref().ok());
    if let Ok(WriteContext::Given(context)) = context {
        say("context", true, &context.to_string().len());
        assert_eq!(context.to_string().parse(), Ok(context));
    }
    say("condition", false, &Condition::of(headers));
}

/// Read a record.
#[utoipa::path(get, path = "/v1/kv/{*name}",
    params(
        ("name" = String, Path, description = "the record's name; its key in space `content`"),
        ("space" = Option<String>, Query),
        ("r" = Option<u16>, Query, description = "replicas that must agree"),
        ("siblings" = Option<String>, Query, description = "`all`: JSON with all values, whatever their number"),
        ("If-None-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream", description = "the value, of a counter its decimal, of a set a JSON array, of a map a JSON object; with `siblings=all` an object as of 409",
            headers(
                ("X-Potluck-Version" = String), ("X-Potluck-Context" = String),
                ("X-Potluck-Kind" = String), ("ETag" = String),
                ("X-Potluck-Older" = Option<String>, description = "`true`: this node read a newer version before, which no node that answered shows"),
            )),
        (status = 304, description = "as in If-None-Match"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "several values, to be merged"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "too few replicas answered to tell"),
    ))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Asked(query): Asked<ReadQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let all = match query.siblings.as_deref() {
        None => false,
        Some("all") => true,
        Some(_) => return Err(Problem::bad("badQuery", "siblings is `all` or absent")),
    };
    if query.r == Some(0) {
        return Err(Problem::bad("badQuery", "r is at least 1"));
    }
    let key = Target::of(app.node(), &name, query.space.as_deref()).await?.key(&name)?;
    let done = app.node().ask(Get { key, quorum: query.r }).await?;
    let mut response = shown(&app, &done, &headers, all)?;
    if done.older {
        response.headers_mut().insert(OLDER_HEADER, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// What a read found, as an answer.
fn shown(app: &App, done: &ReadDone, headers: &HeaderMap, all: bool) -> Result<Response, Problem> {
    let reading = &done.reading;
    let tag = tag_of(done);
    let is_there = !reading.values.is_empty();
    // If-None-Match of a read is answered below, by the tag of what was read.
    let condition = Condition::of_read(headers);
    if condition.is_some_and(|it| !it.holds(is_there.then_some(&*tag))) {
        return Ok(condition::refused(is_there.then_some(tag)));
    }
    if all {
        let all: Siblings = siblings(app.node(), reading);
        return Ok(
            ([(CONTEXT_HEADER, all.context.clone()), ("etag", tag)], json(&all)).into_response()
        );
    }
    match &reading.values[..] {
        [] => Ok(absent(reading)),
        [_] if matches(headers, &tag) => {
            Ok((StatusCode::NOT_MODIFIED, [("etag", tag)]).into_response())
        }
        [value] => {
            let mut response = Body::from(value.bytes.clone()).into_response();
            let content_type = match &value.folded {
                Some(_) => "application/json",
                None => "application/octet-stream",
            };
            let fields = [
                (VERSION_HEADER, value.dot.to_string()),
                (CONTEXT_HEADER, reading.context.to_string()),
                (KIND_HEADER, value.kind.to_string()),
                ("etag", tag),
                ("content-type", content_type.to_owned()),
            ];
            for (name, text) in fields {
                let text = HeaderValue::from_str(&text).map_err(|_| Problem::unexpected())?;
                response.headers_mut().insert(name, text);
            }
            Ok(response)
        }
        values => {
            let detail = format!("there are {} siblings to merge", values.len());
            Ok(([("etag", tag)], conflict(app.node(), reading, detail)).into_response())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_absent_none_or_one_that_a_read_returned() {
        let with = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTEXT_HEADER, HeaderValue::from_static(text));
            context_of(&headers)
        };
        assert_eq!(context_of(&HeaderMap::new()).ok(), Some(WriteContext::Read));
        assert_eq!(with("none").ok(), Some(WriteContext::Blind));
        assert!(with("garbage!").is_err());
    }
}
