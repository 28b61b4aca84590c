//! `/v1/teams`: the members that may write in a team.
//!
//! All of these routes need the node's token, if it has one.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use potluck::{PublicKey, TeamError, TeamId, TeamList};

use super::app::App;
use super::extract::{Named, json_body, member_key};
use super::problem::Problem;
use super::reply::json;
use crate::api::{ProblemBody, Team, TeamRequest, TeamWriter};

/// Largest body: enough for the longest name.
const BODY_BYTES_MAX: usize = 4 * 1024;

fn team_of(text: &str) -> Result<TeamId, Problem> {
    text.parse().map_err(|error| Problem::bad("badTeam", error))
}

fn shown(app: &App, list: &TeamList) -> Team {
    let writer = |key: &PublicKey| TeamWriter {
        node_id: key.node_id(&app.node().network().id).to_string(),
        public_key: key.to_string(),
    };
    Team {
        space: format!("team/{}", list.id()),
        id: list.id().to_string(),
        name: list.name.to_string(),
        epoch: list.epoch,
        owner: writer(&list.owner),
        writers: list.writers.iter().map(writer).collect(),
        may_write: list.admits(&app.node().public_key()),
    }
}

/// The problem for a list that was not changed.
pub(super) fn problem(error: &TeamError) -> Problem {
    let detail = error.to_string();
    match error {
        TeamError::NotOwner { .. } => {
            Problem::forbidden("notOwner", detail).hint("run this at the owner's node")
        }
        TeamError::Full(_) => {
            Problem::forbidden("teamFull", detail).hint("remove a writer, or create a second team")
        }
        TeamError::NotOnList { team, .. } => {
            Problem::absent(detail).hint(format!("see who is with potluck team show team/{team}"))
        }
        TeamError::Owner(_) => Problem::bad("teamOwner", detail),
    }
}

/// Create a team that this node owns. If it owns one of this name already, that one stays as it is.
#[utoipa::path(post, path = "/v1/teams",
    request_body = TeamRequest,
    responses(
        (status = 201, body = Team),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let hint = r#"send {"name":"crew"}"#;
    let request: TeamRequest = json_body(&headers, content, BODY_BYTES_MAX, hint).await?;
    let list = match app.node().teams().create(request.name).await {
        Err(potluck::Error::Name(error)) => return Err(Problem::bad("badName", error)),
        list => list?,
    };
    Ok((StatusCode::CREATED, json(&shown(&app, &list))).into_response())
}

/// The members that may write in a team.
#[utoipa::path(get, path = "/v1/teams/{id}",
    params(("id" = String, Path, description = "The team's id")),
    responses(
        (status = 200, body = Team),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Named(id): Named,
) -> Result<Response, Problem> {
    let list = app.node().teams().get(team_of(&id)?).await?;
    Ok(json(&shown(&app, &list)))
}

/// Allow a member to write in a team that this node owns.
#[utoipa::path(put, path = "/v1/teams/{id}/members/{key}",
    params(
        ("id" = String, Path, description = "The team's id"),
        ("key" = String, Path, description = "The member's node id or public key, or its first 8 digits or more"),
    ),
    responses(
        (status = 200, body = Team),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "another node owns the team, or the list is full"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn add(
    State(app): State<Arc<App>>,
    Path((id, member)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let team = team_of(&id)?;
    let key = member_key(app.node(), &member).await?;
    Ok(json(&shown(&app, &app.node().teams().add(team, key).await?)))
}

/// Remove a member from the list of a team that this node owns.
#[utoipa::path(delete, path = "/v1/teams/{id}/members/{key}",
    params(
        ("id" = String, Path, description = "The team's id"),
        ("key" = String, Path, description = "The member's node id or public key, or its first 8 digits or more"),
    ),
    responses(
        (status = 200, body = Team),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "another node owns the team"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such team, or the member is not on its list"),
    ))]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path((id, member)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let team = team_of(&id)?;
    let list = app.node().teams().get(team).await?;
    // A writer on the list may have left the network.
    let digits = member.to_ascii_lowercase();
    let network = app.node().network().id;
    let begins = |key: &&PublicKey| {
        key.to_string().starts_with(&digits)
            || key.node_id(&network).to_string().starts_with(&digits)
    };
    let mut meant = list.writers.iter().filter(begins);
    let key = match (meant.next(), meant.next()) {
        (Some(key), None) if digits.len() >= 8 => *key,
        _ => member_key(app.node(), &member).await?,
    };
    Ok(json(&shown(&app, &app.node().teams().remove(team, key).await?)))
}

#[cfg(test)]
mod tests {
    use potluck_record::TeamId;

    use super::*;

    #[test]
    fn each_refusal_of_a_team_has_its_code() {
        let team: TeamId = "ab".repeat(32).parse().expect("an id");
        let code = |error: &TeamError| problem(error).into_body().code;
        assert_eq!(code(&TeamError::Full(team)), "teamFull");
        assert_eq!(code(&TeamError::Owner(team)), "teamOwner");
    }
}
