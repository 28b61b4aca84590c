//! `/v1/doctor`: examines this node with the same checks as the command.

mod counters;
mod gather;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::app::App;
use super::extract::Asked;
use super::problem::Problem;
use super::reply::json;
use crate::api::ProblemBody;
use crate::doctor::{Report, judge};

pub(super) use counters::{Minute, row};

/// The query of an examination.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DoctorQuery {
    #[serde(default)]
    all: bool,
    key: Option<String>,
    #[serde(default)]
    evidence: bool,
}

/// Examine this node and its network: findings, the worst first, each with evidence, advice and a command.
/// The node asks the replicas of up to 24 records and makes a lookup; that takes some seconds at most.
/// Examinations run one at a time.
#[utoipa::path(get, path = "/v1/doctor",
    params(
        ("all" = Option<bool>, Query, description = "list every check that was made, too"),
        ("key" = Option<String>, Query, description = "ask the replicas of this record, too"),
        ("evidence" = Option<bool>, Query, description = "with all numbers that the checks judged by"),
    ),
    responses(
        (status = 200, body = Report),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn doctor(
    State(app): State<Arc<App>>,
    Asked(query): Asked<DoctorQuery>,
) -> Result<Response, Problem> {
    // An examination sends requests to other nodes, so several viewers take turns.
    let _turn = app.watch().examined.lock().await;
    let evidence = gather::evidence(&app, query.key.as_deref()).await?;
    let health = app.node().health().await.map_err(|_| Problem::stopped())?.sentence();
    let mut report = Report { health, ..judge(&evidence) };
    if !query.all {
        report.checks = Vec::new();
    }
    if !query.evidence {
        return Ok(json(&report));
    }
    let mut whole = serde_json::to_value(&report).map_err(|_| Problem::unexpected())?;
    whole["evidence"] = serde_json::to_value(&evidence).map_err(|_| Problem::unexpected())?;
    Ok(json(&whole))
}
