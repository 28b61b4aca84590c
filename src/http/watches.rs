//! `/v1/watch/..`: a record, and its state after each change.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use data_encoding::{BASE64, HEXLOWER};
use potluck::{Gap, Node, RecordChange, Watch};
use serde::Deserialize;
use tokio::time::timeout;

use super::app::App;
use super::extract::{Asked, Named, Target};
use super::files::stream::{Pieces, stream};
use super::problem::Problem;
use super::reply::siblings;
use super::sse;
use crate::api::{ProblemBody, Siblings, WatchChange};

/// Longer events are written on several lines, so that no line is long.
const LINE_BYTES: usize = 256 * 1024;

/// The query of a watch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WatchQuery {
    space: Option<String>,
}

/// A record as it is now, and again after each change: events with an id, each an object in JSON. Changes in
/// quick succession are one event, with a gap; the last one is always sent. With `Last-Event-ID` the first
/// event is sent only if the record has changed since that event.
#[utoipa::path(get, path = "/v1/watch/{*name}",
    params(
        ("name" = String, Path, description = "the record's name; its key in space `content`"),
        ("space" = Option<String>, Query, description = "commons (default), content, own, own/<public key>"),
        ("Last-Event-ID" = Option<String>, Header, description = "the last event that came"),
    ),
    responses(
        (status = 200, body = WatchChange, content_type = "text/event-stream", description = "the data of each event"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "too few replicas answered to tell, or too many watches"),
    ))]
pub(super) async fn watch(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Asked(query): Asked<WatchQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let target = Target::of(app.node(), &name, query.space.as_deref()).await?;
    target.key(&name)?;
    let watched = app.node().kv().watch(name.as_str()).space(target.space).await?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let told = Told { node: app.node().clone(), name, last: last.map(|id| id.trim().to_owned()) };
    let (pieces, body) = stream();
    tokio::spawn(async move {
        tokio::select! {
            () = pieces.closed() => {}
            () = tell(watched, told, &pieces) => {}
        }
    });
    Ok(sse::respond(body))
}

/// What a client has been sent.
struct Told {
    node: Node,
    name: String,
    /// The id of the last event, also of one before this connection.
    last: Option<String>,
}

/// Sends changes until the watch ends or the client is gone.
async fn tell(mut watched: Watch, mut told: Told, pieces: &Pieces) {
    let mut text = String::new();
    let mut is_first = true;
    loop {
        match timeout(sse::SILENCE_MAX, watched.next()).await {
            Err(_) => text.push_str(sse::HEARTBEAT),
            Ok(None) => return,
            Ok(Some(change)) => {
                told.append(&mut text, &change, is_first);
                is_first = false;
            }
        }
        // A first byte tells the client that the watch is active, also where there is no event.
        if text.is_empty() {
            text.push_str(sse::HEARTBEAT);
        }
        if !sse::send(pieces, std::mem::take(&mut text)).await {
            return;
        }
    }
}

impl Told {
    fn append(&mut self, to: &mut String, change: &RecordChange, is_first: bool) {
        let id = id_of(change);
        if is_first && self.last.as_ref() == Some(&id) {
            return;
        }
        // The changes between two connections are unknown.
        let resumed = is_first && self.last.is_some();
        let gap = if resumed { Gap::Unknown } else { change.gap() };
        let event = event(&self.node, &self.name, change, gap);
        // It can be written as JSON.
        let short = serde_json::to_string(&event).unwrap_or_default();
        let data = match short.len() > LINE_BYTES {
            true => serde_json::to_string_pretty(&event).unwrap_or_default(),
            false => short,
        };
        sse::append(to, None, Some(&id), &data);
        self.last = Some(id);
    }
}

/// An id that differs for each change that is shown.
fn id_of(change: &RecordChange) -> String {
    let digest = HEXLOWER.encode(&change.digest().to_bytes());
    format!("{digest}-{}", change.reading().values.len())
}

fn event(node: &Node, name: &str, change: &RecordChange, gap: Gap) -> WatchChange {
    let Siblings { context, siblings } = siblings(node, change.reading());
    let mut event = WatchChange {
        name: name.to_owned(),
        state: "absent".to_owned(),
        value: None,
        value_base64: None,
        version: None,
        kind: None,
        context,
        siblings: Vec::new(),
        gap: gap.is_gap(),
        missed: gap.missed(),
    };
    match &change.reading().values[..] {
        [] => {}
        [value] => {
            event.state = "value".to_owned();
            event.version = Some(value.dot.to_string());
            event.kind = Some(value.kind.to_string());
            match std::str::from_utf8(&value.bytes) {
                Ok(text) => event.value = Some(text.to_owned()),
                Err(_) => event.value_base64 = Some(BASE64.encode(&value.bytes)),
            }
        }
        [..] => {
            event.state = "siblings".to_owned();
            event.siblings = siblings;
        }
    }
    event
}
