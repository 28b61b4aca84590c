//! `/healthz`, `/readyz`, and the hints about the node's health in refusals.
//!
//! **Invariant:** nothing is judged here: [`potluck::health`] judges, for `/readyz`, `/v1/status` and for the
//! advice beside failed commands alike.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use potluck::{Health, Node, Reason, Verdict};

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
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "it hears no other node although there should be others, or the store stopped"),
    ))]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let verdict = app.node().health().await.map_err(|_| Problem::stopped())?;
    if verdict.is_ready() {
        return Ok(json(&Ready { ready: true, reasons: verdict.sentences() }));
    }
    Err(problem_of(&verdict))
}

/// A node that cannot be used, as a problem.
fn problem_of(verdict: &Verdict) -> Problem {
    let exit = verdict.reasons.first().map_or(Exit::Unavailable, exit_of);
    let code = verdict.reasons.first().map_or("notReady", |worst| worst.code);
    let detail = verdict.sentences().join("; ");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, exit, code, detail)
}

/// The exit code of a command that failed for this reason.
fn exit_of(reason: &Reason) -> Exit {
    match reason.code {
        code if code.starts_with("store.") => Exit::NoSpace,
        "member.revoked" | "member.expired" => Exit::Refused,
        _ => Exit::Unavailable,
    }
}

/// An answer that says that something could not be done now: if the node itself is not well, the answer names
/// that as the cause, since "try again" would be no advice.
pub(super) async fn explained(node: &Node, response: Response) -> Response {
    if response.status() != StatusCode::SERVICE_UNAVAILABLE {
        return response;
    }
    let Some(told) = response.extensions().get::<ProblemBody>().cloned() else { return response };
    let Ok(verdict) = node.health().await else { return response };
    match with_cause(&told, &verdict) {
        Some(body) => Problem::of(body).into_response(),
        None => response,
    }
}

/// The problem with the cause in the place of its hint.
fn with_cause(told: &ProblemBody, verdict: &Verdict) -> Option<ProblemBody> {
    // These codes say that one part is busy; the network or the disk is not the cause.
    if matches!(told.code.as_str(), "busy" | "tooManyTopics" | "full" | "stopped") {
        return None;
    }
    let worst = verdict.reasons.first().filter(|worst| worst.code != told.code)?;
    let mut body = told.clone();
    if worst.health == Health::Offline {
        body.exit = exit_of(worst).number();
    }
    body.hint = Some(worst.message.clone());
    Some(body)
}

#[cfg(test)]
mod tests {
    use potluck::health::{Facts, StoreState, judge};

    use super::*;

    fn too_few() -> ProblemBody {
        Problem::unavailable("tooFewAnswers", "1 of 3 answered").hint("try again").into_body()
    }

    #[test]
    fn whoever_is_refused_something_hears_what_is_wrong_with_the_node() {
        let well = judge(&Facts::default());
        assert!(with_cause(&too_few(), &well).is_none());
        let cut_off = judge(&Facts { joined: true, peers_before: 2, ..Facts::default() });
        let body = with_cause(&too_few(), &cut_off).expect("it has a cause");
        assert_eq!((body.exit, body.code.as_str()), (5, "tooFewAnswers"));
        assert!(body.hint.is_some_and(|hint| hint.contains("no other node (2 known)")));
        let busy = Problem::unavailable("busy", "too many").into_body();
        assert!(with_cause(&busy, &cut_off).is_none());
    }

    #[test]
    fn exit_codes_follow_the_cause() {
        let exit = |facts: &Facts| problem_of(&judge(facts)).into_body().exit;
        let revoked = potluck::OwnTrouble::Revoked;
        assert_eq!(exit(&Facts { own_trouble: Some(revoked), ..Facts::default() }), 6);
        let stopped = StoreState::Stopped("broken".into());
        assert_eq!(exit(&Facts { store: stopped, ..Facts::default() }), 9);
        assert_eq!(exit(&Facts { entry_points: 1, ..Facts::default() }), 5);
        // A full store is not why the command failed; it is only mentioned.
        let full = judge(&Facts { store: StoreState::Full, ..Facts::default() });
        assert_eq!(with_cause(&too_few(), &full).expect("told").exit, 5);
    }
}
