//! `/v1/status`, `/v1/peers`, `/v1/lookup/..`, `/v1/config`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use potluck::ask;
use serde::Deserialize;

use super::app::App;
use super::extract::{Asked, Named, Target};
use super::problem::Problem;
use super::reply::json;
use super::views;
use crate::api::{Lookup, Peers, ProblemBody, Status};
use crate::config;

/// The query of a lookup.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpaceQuery {
    space: Option<String>,
}

/// The node's condition.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let status = app.node().status().await.map_err(|_| Problem::stopped())?;
    // A node whose files cannot be counted is shown with none.
    let files = app.node().files().totals().await.unwrap_or_default();
    Ok(json(&Status {
        node_id: app.node().node_id().to_string(),
        contact: status.view.contact.to_string(),
        listening: app.node().local_addresses().iter().map(ToString::to_string).collect(),
        addresses: status.view.addresses.iter().map(views::own_address).collect(),
        reachability: views::reachability(&status.view).to_owned(),
        network: app.node().network().name.clone(),
        admission: app.node().network().admission.to_string(),
        difficulty: app.node().network().difficulty.map(|it| it.to_string()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: status.uptime.as_secs(),
        restart_needed: app.waiting(),
        health: status.health.health.as_str().to_owned(),
        sentence: status.health.sentence(),
        reasons: status.health.sentences(),
        reason_codes: status.health.reasons.iter().map(|it| it.code.to_owned()).collect(),
        clock_offset_ms: status.view.clock_offset_ms,
        peers: status.view.peers,
        network_size_estimate: status.view.network_size_estimate,
        records: status.store.stats.records,
        record_bytes: status.store.stats.record_bytes,
        blobs: files.files,
        blob_bytes: files.bytes,
        announced_in_turn: files.announced_in_turn,
        memory_bytes: status.memory_bytes.unwrap_or(0),
        records_expiring_7d: status.view.records_expiring_7d,
    }))
}

/// The nodes that this one talks to.
#[utoipa::path(get, path = "/v1/peers", responses((status = 200, body = Peers)))]
pub(super) async fn peers(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let table = app.node().ask(ask::Table {}).await?;
    Ok(json(&Peers { peers: table.contacts.iter().map(views::peer).collect() }))
}

/// One lookup, step by step.
#[utoipa::path(get, path = "/v1/lookup/{*name}",
    params(
        ("name" = String, Path, description = "the record's name; its key in space `content`"),
        ("space" = Option<String>, Query),
    ),
    responses(
        (status = 200, body = Lookup),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn lookup(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Asked(query): Asked<SpaceQuery>,
) -> Result<Response, Problem> {
    let key = Target::of(app.node(), &name, query.space.as_deref()).await?.key(&name)?;
    let trace = app.node().ask(ask::Trace { key }).await?;
    Ok(json(&views::lookup(Some(name), &trace)))
}

/// The whole effective configuration.
#[utoipa::path(get, path = "/v1/config",
    responses((status = 200, description = "sections with their keys; null where nothing is set")))]
pub(super) async fn config(State(app): State<Arc<App>>) -> Response {
    json(&config::to_json(&app.live().settings))
}
