//! `/healthz`, `/readyz`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::app::App;
use super::problem::Problem;
use super::reply::json;
use crate::api::{ProblemBody, Ready};
use crate::failure::Exit;

/// The process is alive.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

/// The node can be used. A network that is short of something is ready, with reasons.
#[utoipa::path(get, path = "/readyz",
    responses(
        (status = 200, body = Ready),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "not joined yet, or the store stopped"),
    ))]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let status = app.node().status().await.map_err(|_| Problem::stopped())?;
    if let Some(why) = status.store.stopped {
        let detail = format!("the store stopped: {why}");
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Exit::NoSpace,
            "storeStopped",
            detail,
        )
        .hint("look after the disk, then restart the node"));
    }
    if !status.view.ready {
        return Err(Problem::unavailable("notJoined", "this node has not joined the network yet")
            .hint("it goes on trying its entry points"));
    }
    Ok(json(&Ready { ready: true, reasons: status.view.reasons }))
}
