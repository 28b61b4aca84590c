//! `/v1/join`, `/v1/leave`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use potluck_node::{Command, Reply};

use super::app::App;
use super::extract::json_body;
use super::problem::Problem;
use super::reply::{ask, json};
use crate::api::{JoinRequest, Joining, Left, ProblemBody};

/// Enough for as many entry points as a node keeps.
const JOIN_BYTES_MAX: usize = 64 * 1024;

/// Enter the network by further nodes.
#[utoipa::path(post, path = "/v1/join",
    request_body = JoinRequest,
    responses(
        (status = 200, body = Joining, description = "they will be tried for ever"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn join(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let hint = r#"send {"entry":["127.0.0.1:12345"]}"#;
    let request: JoinRequest = json_body(&headers, content, JOIN_BYTES_MAX, hint).await?;
    let mut points = Vec::new();
    for entry in &request.entry {
        let point = potluck_host::parse_entry_point(entry);
        points.push(point.map_err(|error| Problem::bad("badContact", error))?);
    }
    for point in points {
        let Reply::Joining = ask(app.node(), Command::Join(point)).await? else {
            return Err(Problem::unexpected());
        };
    }
    Ok(json(&Joining { entry: request.entry }))
}

/// Hand records over, leave the network and stop.
#[utoipa::path(post, path = "/v1/leave", responses((status = 200, body = Left)))]
pub(super) async fn leave(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    // Goes on when whoever asked hangs up: a node that has begun to leave has to stop.
    let leaving = tokio::spawn(async move {
        let report = app.node().hand_over().await;
        app.tell_to_stop();
        report
    });
    let report = leaving.await.map_err(|_| Problem::unexpected())?;
    let report = report.map_err(|_| Problem::stopped())?;
    Ok(json(&Left { handed_over: report.handed_over, seconds: report.took.as_secs_f64() }))
}
