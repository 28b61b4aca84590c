//! `/v1/join`, `/v1/leave`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use potluck::{EntryPoint, Node, ask};
use potluck_host::socket::Families;
use tokio::time::sleep;

use super::app::App;
use super::extract::json_body;
use super::problem::Problem;
use super::reply::json;
use crate::api::{JoinRequest, Joining, Left, ProblemBody};

/// Time for an entry point to answer before it is reported as silent.
const ENTRY_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is checked whether it has answered.
const ENTRY_LOOK: Duration = Duration::from_millis(100);
/// Largest body: enough for as many entry points as a node keeps.
const JOIN_BYTES_MAX: usize = 64 * 1024;

/// Join the network through further nodes.
#[utoipa::path(post, path = "/v1/join",
    request_body = JoinRequest,
    responses(
        (status = 200, body = Joining, description = "they will be tried for ever; those that do not answer in five seconds are named"),
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
    for point in points.iter().cloned() {
        app.node().ask(ask::Join { point }).await?;
    }
    let silent = silent(app.node(), points).await;
    let families = Families::of(app.node().local_addresses());
    let silent =
        potluck_host::knock(&silent, families).await.iter().map(ToString::to_string).collect();
    Ok(json(&Joining { entry: request.entry, silent }))
}

/// The entry points that do not answer within some seconds. They are retried without end all the same.
async fn silent(node: &Node, mut points: Vec<EntryPoint>) -> Vec<EntryPoint> {
    let deadline = Instant::now() + ENTRY_PATIENCE;
    loop {
        let Ok(view) = node.view().await else { return Vec::new() };
        // The core drops an entry point that is this node itself, and one above the limit.
        points.retain(|point| {
            let known = view.entry_points.iter().find(|known| known.point == *point);
            known.is_some_and(|known| !known.answered)
        });
        if points.is_empty() || Instant::now() >= deadline {
            return points;
        }
        sleep(ENTRY_LOOK).await;
    }
}

/// Hand records over, leave the network and stop.
#[utoipa::path(post, path = "/v1/leave", responses((status = 200, body = Left)))]
pub(super) async fn leave(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    // Continues when the client hangs up: a node that has begun to leave must stop.
    let leaving = tokio::spawn(async move {
        let report = app.node().hand_over().await;
        app.tell_to_stop();
        report
    });
    let report = leaving.await.map_err(|_| Problem::unexpected())?;
    let report = report.map_err(|_| Problem::stopped())?;
    Ok(json(&Left { handed_over: report.handed_over, seconds: report.took.as_secs_f64() }))
}
