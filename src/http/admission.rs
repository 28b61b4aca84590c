//! `/v1/invites`, `/v1/revocations`, `/v1/network`.
//!
//! These need the node's token; nothing in `[http] open` opens them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use potluck::{InviteTerms, MembershipError, TicketView};

use super::app::App;
use super::extract::{Named, json_body};
use super::problem::Problem;
use super::reply::json;
use crate::api::{
    Cancelled, IS_TICKET, Invite, InviteEntry, InviteRequest, Invites, KeyRequest, NetworkView,
    ProblemBody, RevokeRequest, Revoked, rfc3339,
};
use crate::failure::Exit;

/// Largest body: enough for any request here.
const BODY_BYTES_MAX: usize = 16 * 1024;

impl From<MembershipError> for Problem {
    fn from(error: MembershipError) -> Self {
        let detail = error.to_string();
        match error {
            MembershipError::NotInvite | MembershipError::IsOpen => {
                Self::forbidden("notInvite", detail)
            }
            MembershipError::NotIssuer => Self::forbidden("notIssuer", detail),
            MembershipError::Terms | MembershipError::Labels => Self::bad("badTerms", detail),
            MembershipError::Unknown(_) | MembershipError::UnknownTicket(_) => Self::absent(detail),
            MembershipError::Ambiguous { .. }
            | MembershipError::TooShort(_)
            | MembershipError::Own => Self::bad("badMember", detail),
            MembershipError::IsTicket(_) => Self::bad(IS_TICKET, detail),
            MembershipError::StillIn => Self::unavailable("stillIn", detail),
            MembershipError::KeyFile(_)
            | MembershipError::OtherKey(_)
            | MembershipError::NoFolder => Self::bad("keyFile", detail),
            MembershipError::Book(_) => Self::no_space(detail),
            MembershipError::TooManyTickets | MembershipError::Revocation(_) => {
                Self::unavailable("full", detail)
            }
            MembershipError::Randomness(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, Exit::Failed, "randomness", detail)
            }
            MembershipError::NoSettings => Self::forbidden("notInvite", detail)
                .hint("[kv] replication, default_ttl, republish_interval, [gossip] interval"),
            MembershipError::NotSetter(_) => Self::forbidden("notIssuer", detail),
            MembershipError::Setting(_) | MembershipError::Settings(_) => {
                Self::bad("badSetting", detail)
            }
            MembershipError::NewerSettings => Self::unavailable("newerSettings", detail),
            MembershipError::Stopped => Self::stopped(),
        }
    }
}

/// The problem for an error of membership.
pub(super) fn problem(error: potluck::Error) -> Problem {
    match error {
        potluck::Error::Membership(error) => error.into(),
        potluck::Error::Stopped => Problem::stopped(),
        _ => Problem::unexpected(),
    }
}

/// Make a ticket that admits machines.
#[utoipa::path(post, path = "/v1/invites",
    request_body = InviteRequest,
    responses(
        (status = 201, body = Invite),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn invite(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let hint = r#"send {} or {"uses":3,"expiresSeconds":3600}"#;
    let request: InviteRequest = json_body(&headers, content, BODY_BYTES_MAX, hint).await?;
    if request.reusable && request.uses.is_some() {
        return Err(Problem::bad("badTerms", "uses and reusable exclude each other"));
    }
    let default = InviteTerms::default();
    let terms = InviteTerms {
        uses: if request.reusable { None } else { request.uses.or(default.uses) },
        life: request.expires_seconds.map_or(default.life, Duration::from_secs),
        labels: request.labels.into_iter().collect(),
        ephemeral: request.ephemeral,
    };
    let ticket = app.node().invite(terms).await.map_err(problem)?;
    let grant = ticket.grant().map_err(|_| Problem::unexpected())?;
    let invite = Invite {
        ticket: ticket.to_string(),
        id: grant.ticket.to_string(),
        uses: grant.uses,
        network: ticket.network,
        expires_at: rfc3339(grant.expires.0),
    };
    Ok((StatusCode::CREATED, json(&invite)).into_response())
}

/// The tickets made on this node that have not expired and were not cancelled.
#[utoipa::path(get, path = "/v1/invites", responses((status = 200, body = Invites)))]
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let membership = app.node().membership().map_err(problem)?;
    let tickets = membership.tickets().await?;
    Ok(json(&Invites { tickets: tickets.into_iter().map(entry).collect() }))
}

fn entry(ticket: TicketView) -> InviteEntry {
    InviteEntry {
        id: ticket.id.to_string(),
        uses_left: ticket.left(),
        uses: ticket.uses,
        used: ticket.used,
        issued_at: rfc3339(ticket.issued.0),
        expires_at: rfc3339(ticket.expires.0),
        labels: ticket.labels.into_iter().collect(),
        ephemeral: ticket.ephemeral,
    }
}

/// Cancels a ticket: it admits no further node. Nodes that it admitted before stay.
#[utoipa::path(delete, path = "/v1/invites/{id}",
    params(("id" = String, Path, description = "The ticket's id, or its first 8 digits or more")),
    responses(
        (status = 200, body = Cancelled),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Named(id): Named,
) -> Result<Response, Problem> {
    let key = app.node().cancel_ticket(&id).await.map_err(problem)?;
    Ok(json(&Cancelled { ticket: key.to_string() }))
}

/// Revoke a member.
#[utoipa::path(post, path = "/v1/revocations",
    request_body = RevokeRequest,
    responses(
        (status = 200, body = Revoked),
        (status = 403, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let hint = r#"send {"member":"<id>"}"#;
    let request: RevokeRequest = json_body(&headers, content, BODY_BYTES_MAX, hint).await?;
    let key = app.node().revoke(&request.member).await.map_err(problem)?;
    let node_id = key.node_id(&app.node().network().id).to_string();
    Ok(json(&Revoked { public_key: key.to_string(), node_id }))
}

/// The network, and the admission of this node.
#[utoipa::path(get, path = "/v1/network", responses((status = 200, body = NetworkView)))]
pub(super) async fn network(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let settings = app.node().network_settings().await?;
    let network = app.node().network();
    let membership = app.node().membership().ok();
    Ok(json(&NetworkView {
        name: network.name.clone(),
        admission: network.admission.to_string(),
        difficulty: network.difficulty.map(|difficulty| difficulty.to_string()),
        invitation: app.node().open_invitation().map(|invitation| invitation.to_string()),
        id: network.id.to_string(),
        authority: network.authority.map(|key| key.to_string()),
        authority_configured: app.live().settings.network.authority.is_some(),
        issuer: membership.is_some_and(potluck::Membership::is_issuer),
        certificate_expires_at: membership.map(|membership| rfc3339(membership.expires().0)),
        settings: super::settings::view(&settings),
    }))
}

/// Write the authority key to a new file on the node's machine.
#[utoipa::path(post, path = "/v1/network/key/export",
    request_body = KeyRequest, responses((status = 200, body = KeyRequest)))]
pub(super) async fn export_key(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let request = key_request(&headers, content).await?;
    let path = Path::new(&request.path);
    let (Some(folder), Some(name)) = (path.parent().and_then(Path::to_str), path.file_name())
    else {
        return Err(Problem::bad("badPath", "the path must name a file"));
    };
    let membership = app.node().membership().map_err(problem)?;
    let file = app.places().to_write(folder).await?.join(name);
    membership.export_key(&file).await?;
    Ok(json(&request))
}

/// Let this node use the authority key in a file on its machine.
#[utoipa::path(post, path = "/v1/network/key/import",
    request_body = KeyRequest, responses((status = 200, body = KeyRequest)))]
pub(super) async fn import_key(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let request = key_request(&headers, content).await?;
    let membership = app.node().membership().map_err(problem)?;
    let file = app.places().to_read(&request.path).await?;
    membership.import_key(file.path()).await?;
    Ok(json(&request))
}

async fn key_request(headers: &HeaderMap, content: Body) -> Result<KeyRequest, Problem> {
    json_body(headers, content, BODY_BYTES_MAX, r#"send {"path":"/absolute/path"}"#).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_admission_has_its_code() {
        let code = |error: MembershipError| Problem::from(error).into_body().code;
        assert_eq!(code(MembershipError::NotInvite), "notInvite");
        assert_eq!(code(MembershipError::NotIssuer), "notIssuer");
        assert_eq!(code(MembershipError::Terms), "badTerms");
        assert_eq!(code(MembershipError::Own), "badMember");
        assert_eq!(code(MembershipError::StillIn), "stillIn");
        assert_eq!(code(MembershipError::KeyFile("no key".into())), "keyFile");
        assert_eq!(code(MembershipError::TooManyTickets), "full");
        assert_eq!(code(MembershipError::Randomness("none".into())), "randomness");
        assert_eq!(code(MembershipError::NewerSettings), "newerSettings");
    }
}
