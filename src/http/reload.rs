//! `/v1/reload` and `/v1/log`: changes at run time without a restart.
//!
//! Both need the node's token.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::app::App;
use super::extract::json_body;
use super::problem::Problem;
use super::reply::json;
use crate::api::{LogLevels, LogView, ProblemBody, Reloaded};
use crate::log;

/// Largest body: enough for any list of levels.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Most lines of the log in one answer.
const LINES_MAX: usize = 1000;

/// Read the configuration again: it is taken as a whole or refused as a whole.
#[utoipa::path(post, path = "/v1/reload",
    responses(
        (status = 200, body = Reloaded, description = "what changed, and what waits for a restart"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json",
            description = "what is wrong with it; nothing changed"),
    ))]
pub(super) async fn reload(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let reloaded = app.reload().await.map_err(|failure| {
        let problem = Problem::bad("config", &failure.message);
        match failure.hint {
            Some(hint) => problem.hint(hint),
            None => problem.hint("the node goes on as it was"),
        }
    })?;
    Ok(json(&reloaded))
}

/// The levels of the log, and its last lines.
#[utoipa::path(get, path = "/v1/log", responses((status = 200, body = LogView)))]
pub(super) async fn view() -> Response {
    let mut lines = log::recent();
    lines.drain(..lines.len().saturating_sub(LINES_MAX));
    json(&LogView { levels: log::levels(), lines })
}

/// Change the levels of the log until the node stops.
#[utoipa::path(put, path = "/v1/log",
    request_body = LogLevels,
    responses(
        (status = 200, body = LogLevels),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn set_levels(headers: HeaderMap, content: Body) -> Result<Response, Problem> {
    let hint = r#"send {"levels":"info"} or {"levels":"warn,potluck_kv=debug"}"#;
    let request: LogLevels = json_body(&headers, content, BODY_BYTES_MAX, hint).await?;
    log::set_levels(&request.levels)
        .map_err(|wrong| Problem::bad("badLevels", format!("levels {wrong}")).hint(hint))?;
    Ok(json(&LogLevels { levels: log::levels() }))
}
