//! `/debug/..`: the placement of records, and the lookups for them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use potluck::ask;
use potluck_base::{Key, Peer};
use potluck_kv::{Held, ReplicaState};
use serde::Deserialize;

use super::app::App;
use super::extract::{Asked, Target};
use super::problem::Problem;
use super::reply::json;
use super::views;
use crate::api::{Data, Lookups, ProblemBody, Replica, RoutingTable, Version};

/// The record to inspect.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordQuery {
    key: Option<String>,
    space: Option<String>,
    id: Option<String>,
    replicas: Option<bool>,
}

impl RecordQuery {
    /// The key, and the name if the record was named.
    async fn target(&self, app: &App) -> Result<(Key, Option<String>), Problem> {
        match (&self.key, &self.id) {
            (Some(name), None) => {
                let target = Target::of(app.node(), name, self.space.as_deref()).await?;
                Ok((target.key(name)?, Some(name.clone())))
            }
            (None, Some(id)) => {
                Ok((id.parse().map_err(|error| Problem::bad("badId", error))?, None))
            }
            _ => Err(Problem::bad("badQuery", "name the record with either ?key=NAME or ?id=HEX")),
        }
    }
}

/// The routing table.
#[utoipa::path(get, path = "/debug/routingtable", responses((status = 200, body = RoutingTable)))]
pub(super) async fn routing_table(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let table = app.node().ask(ask::Table {}).await?;
    Ok(json(&views::routing_table(app.node().node_id().to_string(), &table)))
}

/// This node's copy of a record, and the copies of the replicas.
#[utoipa::path(get, path = "/debug/data",
    params(
        ("key" = Option<String>, Query, description = "the record's name"),
        ("space" = Option<String>, Query),
        ("id" = Option<String>, Query, description = "or its key in hex"),
    ),
    responses(
        (status = 200, body = Data),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn data(
    State(app): State<Arc<App>>,
    Asked(query): Asked<RecordQuery>,
) -> Result<Response, Problem> {
    let (key, name) = query.target(&app).await?;
    let held = held(&app, key).await?;
    let replicas = replicas(&app, key).await?;
    Ok(json(&Data {
        name,
        key: key.to_string(),
        present: held.present,
        kind: held.kind.map(|kind| kind.to_string()),
        bytes: held.bytes,
        siblings: held.siblings,
        version: views::version(&held.version),
        expires_in_seconds: held.expires.map(|at| at.since(views::now()).as_secs()),
        responsible: held.responsible,
        replicas: replicas.iter().map(|replica| shown(replica, true)).collect(),
    }))
}

/// The version of a record on this node, and how the replicas compare.
#[utoipa::path(get, path = "/debug/version",
    params(
        ("key" = Option<String>, Query, description = "the record's name"),
        ("space" = Option<String>, Query),
        ("id" = Option<String>, Query, description = "or its key in hex"),
        ("replicas" = Option<bool>, Query, description = "ask the replicas too"),
    ),
    responses(
        (status = 200, body = Version),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn version(
    State(app): State<Arc<App>>,
    Asked(query): Asked<RecordQuery>,
) -> Result<Response, Problem> {
    let (key, name) = query.target(&app).await?;
    let held = held(&app, key).await?;
    let replicas = match query.replicas {
        Some(true) => Some(replicas(&app, key).await?),
        _ => None,
    };
    Ok(json(&Version {
        name,
        key: key.to_string(),
        version: views::version(&held.version),
        siblings: held.siblings,
        equivocations: held.equivocations.iter().map(views::equivocation).collect(),
        replicas: replicas.map(|all| all.iter().map(|replica| shown(replica, false)).collect()),
    }))
}

/// The last 100 lookups.
#[utoipa::path(get, path = "/debug/lookups", responses((status = 200, body = Lookups)))]
pub(super) async fn lookups(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let traces = app.node().ask(ask::Lookups {}).await?;
    let lookups = traces.iter().map(|trace| views::lookup(None, trace)).collect();
    Ok(json(&Lookups { lookups }))
}

async fn held(app: &App, key: Key) -> Result<Held, Problem> {
    Ok(app.node().ask(ask::Local { key }).await?)
}

async fn replicas(app: &App, key: Key) -> Result<Vec<(Peer, ReplicaState)>, Problem> {
    Ok(app.node().ask(ask::Replicas { key }).await?)
}

fn shown((peer, state): &(Peer, ReplicaState), with_address: bool) -> Replica {
    Replica {
        id: peer.id.to_string(),
        address: with_address.then(|| peer.contact.address.to_string()),
        state: state.as_str().to_owned(),
    }
}
