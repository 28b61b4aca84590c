//! Errors in the form of the HTTP API: problem details with the exit code of the command line.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use potluck_gossip::search::SearchError;
use potluck_gossip::topics::TopicRefusal;
use potluck_node::CommandError;
use potluck_record::limits::{SHARED_WRITERS_MAX, WRITERS_MAX};
use potluck_record::{DraftError, OperationError, StorageFailure};
use potluck_wire::Refusal;

use crate::api::{PROBLEM, ProblemBody};
use crate::failure::Exit;
use crate::text::count;

/// Seconds after which a busy node has probably finished most of its work; sent as `Retry-After`. A
/// guess.
const BUSY_SECONDS: u64 = 1;
/// Seconds after which a store that is being repaired may answer again. A guess: repair takes ten seconds for
/// a million records.
const HEALING_SECONDS: u64 = 10;
/// Seconds after which a node may begin another search; sent as `Retry-After`.
const SEARCH_SECONDS: u64 = 5;
/// Advice where too few nodes answer.
const MORE_NODES: &str = "try again; potluck members shows which nodes are there";
/// Advice for a value of more bytes than a record may have.
pub(super) const AS_A_FILE: &str =
    "share it as a file under that name: potluck share FILE --as NAME, or POST /v1/shares";

/// An error to be answered.
#[derive(Debug)]
pub(super) struct Problem(Box<ProblemBody>);

impl Problem {
    pub(super) fn new(status: StatusCode, exit: Exit, code: &str, detail: impl ToString) -> Self {
        Self(Box::new(ProblemBody {
            r#type: format!("urn:potluck:error:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.to_string(),
            code: code.to_owned(),
            exit: exit.number(),
            ..ProblemBody::default()
        }))
    }

    /// The request is wrong.
    pub(super) fn bad(code: &str, detail: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Exit::Usage, code, detail)
    }

    /// There is no such record.
    pub(super) fn absent(detail: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, Exit::Absent, "absent", detail)
    }

    /// The client is not allowed to do this.
    pub(super) fn forbidden(code: &str, detail: impl ToString) -> Self {
        Self::new(StatusCode::FORBIDDEN, Exit::Refused, code, detail)
    }

    /// The node cannot do this now.
    pub(super) fn unavailable(code: &str, detail: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Exit::Unavailable, code, detail)
    }

    /// The body is over the limit.
    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("a body has at most {limit} bytes here, and more were sent");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Exit::Usage, "tooLarge", detail)
    }

    /// The current state does not meet the condition of the request.
    pub(super) fn precondition(detail: impl ToString) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, Exit::Conflict, "preconditionFailed", detail)
            .hint("read it again, and send the ETag of that answer")
    }

    /// Whether the body is over the limit.
    pub(super) fn is_too_large(&self) -> bool {
        self.status() == StatusCode::PAYLOAD_TOO_LARGE
    }

    /// A failure after the first `published` of many messages.
    pub(super) fn after_messages(mut self, published: u64) -> Self {
        self.0.detail.push_str(&format!("; {} published before", was(published)));
        self
    }

    /// There is no room.
    pub(super) fn no_space(detail: impl ToString) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, Exit::NoSpace, "noSpace", detail)
            .hint("make room on the disk")
    }

    /// The node has stopped.
    pub(super) fn stopped() -> Self {
        Self::unavailable("stopped", "the node has stopped").hint("start it again with potluck up")
    }

    /// An answer of the core that does not belong to the request.
    pub(super) fn unexpected() -> Self {
        let detail = "the node gave an answer to another question";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Exit::Failed, "internal", detail)
            .hint("report this as a bug")
    }

    /// Adds advice on what to do next.
    pub(super) fn hint(mut self, hint: impl ToString) -> Self {
        self.0.hint = Some(hint.to_string());
        self
    }

    /// Adds the time after which the client may try again.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// Sets further fields.
    pub(super) fn with(mut self, set: impl FnOnce(&mut ProblemBody)) -> Self {
        set(&mut self.0);
        self
    }

    /// The problem with this body.
    pub(super) fn of(body: ProblemBody) -> Self {
        Self(Box::new(body))
    }

    /// The body of the problem.
    pub(super) fn into_body(self) -> ProblemBody {
        *self.0
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Kept for the layers that add details to the response.
        response.extensions_mut().insert(*self.0);
        response
    }
}

impl From<potluck::Error> for Problem {
    /// The problem for an error of the node.
    fn from(error: potluck::Error) -> Self {
        match error {
            potluck::Error::Stopped => Self::stopped(),
            potluck::Error::Command(error) => error.into(),
            potluck::Error::Files(error) => error.into(),
            potluck::Error::Team(error) => super::teams::problem(&error),
            potluck::Error::TopicRefused(refusal) => refusal.into(),
            potluck::Error::SearchRefused(error) => error.into(),
            other => {
                tracing::error!(code = "internal.command", error = %other, "a command of the node failed in an unexpected way");
                Self::unexpected()
            }
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = error.to_string();
        match error {
            CommandError::Busy => Self::unavailable("busy", detail).retry_after(BUSY_SECONDS),
            CommandError::TooManyWatches => {
                Self::unavailable("tooManyWatches", detail).hint("end another watch")
            }
            CommandError::TooFewAcks { acks, needed, wanted, members } => {
                Self::unavailable("tooFewAcks", detail)
                    .hint("the value may still spread; write it again, or ask for fewer with -w")
                    .with(|body| {
                        body.acks = Some(acks);
                        body.needed = Some(needed);
                        body.wanted = Some(wanted);
                        body.members = Some(members);
                    })
            }
            CommandError::TooFewAnswers { answers, needed } => {
                Self::unavailable("tooFewAnswers", detail).hint(MORE_NODES).with(|body| {
                    body.acks = Some(answers);
                    body.needed = Some(needed);
                })
            }
            CommandError::Absent => Self::absent(detail).hint("check its name and space"),
            CommandError::Draft(error) => of_draft(&error, detail),
            CommandError::OtherKind { .. } => {
                Self::new(StatusCode::CONFLICT, Exit::Conflict, "otherKind", detail)
            }
            CommandError::Operation(OperationError::Large(_)) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, Exit::Usage, "tooLarge", detail)
            }
            CommandError::Operation(_) => Self::bad("badOperation", detail),
            CommandError::Share(_) => Self::forbidden("shareFull", detail)
                .hint("remove some of it from this node, or use further names"),
            CommandError::Unknown => Self::unavailable("unknown", detail),
            CommandError::BadContext => Self::bad("badContext", detail),
            CommandError::TooLong(_) => Self::bad("tooLong", detail),
            CommandError::Clock | CommandError::ClockAhead | CommandError::ClockOff(_) => {
                Self::unavailable("clock", detail)
            }
            CommandError::LostOwn => Self::forbidden("lostOwn", detail).hint(NEW_IDENTITY),
            CommandError::PutOut => Self::forbidden("putOut", detail).hint(NEW_TICKET),
            CommandError::NoCommons => Self::forbidden("noCommons", detail).hint(NO_COMMONS),
            CommandError::NotWriter { .. } => Self::forbidden("notWriter", detail)
                .hint("ask the owner to add it with potluck team add"),
            CommandError::NoTeam(_) => Self::absent(detail)
                .hint("check the id; its owner creates a team with potluck team create"),
            CommandError::Refused(refusal) => of_refusal(refusal, detail),
            CommandError::Storage(failure) => of_storage(failure, detail),
            CommandError::NotJoined => Self::unavailable("notJoined", detail)
                .hint("wait, give it another entry point with potluck join, or see potluck status"),
            CommandError::Leaving => Self::unavailable("leaving", detail),
        }
    }
}

impl From<TopicRefusal> for Problem {
    fn from(refusal: TopicRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            TopicRefusal::Busy => {
                Self::unavailable("busy", detail).hint("try again").retry_after(BUSY_SECONDS)
            }
            TopicRefusal::TooManyTopics => {
                Self::unavailable("tooManyTopics", detail).hint("end another subscription")
            }
            TopicRefusal::TooLong => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, Exit::Usage, "tooLarge", detail)
                    .hint("share it with potluck share FILE, and publish the link")
            }
            TopicRefusal::Reserved => Self::bad("badTopic", detail).hint("choose another name"),
            TopicRefusal::Clock => Self::unavailable("clock", detail),
            TopicRefusal::Elsewhere => Self::forbidden("lostOwn", detail).hint(NEW_IDENTITY),
        }
    }
}

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        let detail = error.to_string();
        match error {
            SearchError::Busy => {
                let hint = format!("try again in {SEARCH_SECONDS} seconds");
                Self::new(StatusCode::TOO_MANY_REQUESTS, Exit::Unavailable, "busy", detail)
                    .hint(hint)
                    .retry_after(SEARCH_SECONDS)
            }
            SearchError::Words => Self::bad("badSearch", detail),
        }
    }
}

fn was(messages: u64) -> String {
    let verb = if messages == 1 { "was" } else { "were" };
    format!("{} {verb}", count(messages, "message"))
}

fn of_draft(error: &DraftError, detail: String) -> Problem {
    match error {
        DraftError::ValueTooLarge(_) => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Exit::Usage, "tooLarge", detail)
                .hint(AS_A_FILE)
        }
        DraftError::TooManyValues(_) => {
            Problem::new(StatusCode::CONFLICT, Exit::Conflict, "tooManyValues", detail)
        }
        DraftError::Rule(_) => Problem::bad("rule", detail),
    }
}

fn of_refusal(refusal: Refusal, detail: String) -> Problem {
    match refusal {
        Refusal::Full => no_space(detail),
        Refusal::TooManyWriters => {
            let detail = format!(
                "{detail}: {WRITERS_MAX} nodes may keep values under one name, \
                 {SHARED_WRITERS_MAX} in a counter, set or map"
            );
            Problem::forbidden("tooManyWriters", detail)
                .hint("see what is there with potluck get NAME --all, and merge it")
        }
        Refusal::Quota => over_quota(detail),
        Refusal::BadEnvelope | Refusal::Ahead | Refusal::Life => {
            Problem::forbidden("refused", detail)
                .hint("check this machine's clock and the limits of the network")
        }
        Refusal::NotWriter => Problem::forbidden("notWriter", detail)
            .hint("ask the team's owner to add this node with potluck team add"),
        Refusal::NoCommons => Problem::forbidden("noCommons", detail).hint(NO_COMMONS),
        Refusal::NotMember => Problem::forbidden("notMember", detail)
            .hint("this machine was excluded, or its certificate has expired; see potluck status"),
        _ => Problem::unavailable("refused", detail).hint("try again"),
    }
}

fn of_storage(failure: StorageFailure, detail: String) -> Problem {
    match failure {
        StorageFailure::Full => no_space(detail),
        StorageFailure::Stopped => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, Exit::NoSpace, "storeStopped", detail)
                .hint("look after the disk, then restart the node")
        }
        StorageFailure::Corrupt => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Exit::Verification, "damaged", detail)
        }
        StorageFailure::Healing => Problem::unavailable("healing", detail)
            .hint("try again in a minute, or ask another node")
            .retry_after(HEALING_SECONDS),
        StorageFailure::Quota => over_quota(detail),
    }
}

/// Advice where the network has no space `commons`.
const NO_COMMONS: &str = "add --space own (only this node writes), --space content (the key is the value's \
                          hash) or --space team/<id> (potluck team create)";
/// Advice where one identity runs twice.
const NEW_IDENTITY: &str =
    "start the copy again with potluck up --new-identity, then the original as it is";

/// Advice on a node that was revoked.
const NEW_TICKET: &str =
    "ask for a new ticket and start this node again with potluck up TICKET --new-identity";

/// A writer that has used up its quota.
fn over_quota(detail: String) -> Problem {
    Problem::forbidden("quota", detail).hint(
        "delete records of this writer, let them expire, or raise member_records, member_bytes or \
         key_bytes in [store] on the nodes that keep the record",
    )
}

fn no_space(detail: String) -> Problem {
    Problem::no_space(detail).hint("make room on the disk or raise [store] disk_bytes")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use potluck_record::{Kind, ShareError};

    use super::*;

    #[test]
    fn each_failure_of_a_command_has_its_status_and_exit_code() {
        let cases = [
            (CommandError::Busy, 503, 5, "busy"),
            (CommandError::TooFewAnswers { answers: 1, needed: 3 }, 503, 5, "tooFewAnswers"),
            (CommandError::Absent, 404, 3, "absent"),
            (CommandError::Draft(DraftError::ValueTooLarge(70_000)), 413, 2, "tooLarge"),
            (CommandError::Draft(DraftError::TooManyValues(8)), 409, 4, "tooManyValues"),
            (
                CommandError::OtherKind { there: Kind::Counter, asked: Kind::Set },
                409,
                4,
                "otherKind",
            ),
            (CommandError::Operation(OperationError::NoElements), 400, 2, "badOperation"),
            (CommandError::Operation(OperationError::Large(20_000)), 413, 2, "tooLarge"),
            (CommandError::Share(ShareError::ManyEntries(1025)), 403, 6, "shareFull"),
            (CommandError::Refused(Refusal::TooManyWriters), 403, 6, "tooManyWriters"),
            (CommandError::Unknown, 503, 5, "unknown"),
            (CommandError::BadContext, 400, 2, "badContext"),
            (CommandError::Clock, 503, 5, "clock"),
            (CommandError::ClockAhead, 503, 5, "clock"),
            (CommandError::ClockOff(-3_600_000), 503, 5, "clock"),
            (CommandError::LostOwn, 403, 6, "lostOwn"),
            (CommandError::PutOut, 403, 6, "putOut"),
            (CommandError::NoCommons, 403, 6, "noCommons"),
            (CommandError::Storage(StorageFailure::Full), 507, 9, "noSpace"),
            (CommandError::Storage(StorageFailure::Stopped), 503, 9, "storeStopped"),
            (CommandError::Storage(StorageFailure::Corrupt), 500, 7, "damaged"),
            (CommandError::Storage(StorageFailure::Healing), 503, 5, "healing"),
            (CommandError::Storage(StorageFailure::Quota), 403, 6, "quota"),
            (CommandError::Refused(Refusal::Quota), 403, 6, "quota"),
            (CommandError::Refused(Refusal::NotMember), 403, 6, "notMember"),
            (CommandError::Refused(Refusal::NotWriter), 403, 6, "notWriter"),
            (CommandError::Refused(Refusal::Ahead), 403, 6, "refused"),
            (CommandError::Draft(DraftError::Rule("x")), 400, 2, "rule"),
            (CommandError::TooManyWatches, 503, 5, "tooManyWatches"),
            (CommandError::TooLong(Duration::from_secs(86_400)), 400, 2, "tooLong"),
            (CommandError::NotJoined, 503, 5, "notJoined"),
            (CommandError::Leaving, 503, 5, "leaving"),
        ];
        for (error, status, exit, code) in cases {
            let body = Problem::from(error).0;
            let told = (body.status, body.exit, &*body.code);
            assert_eq!(told, (status, exit, code), "{}", body.detail);
            assert_eq!(body.r#type, format!("urn:potluck:error:{code}"));
            assert!(!body.detail.is_empty());
        }
    }

    #[test]
    fn each_refusal_of_topics_and_searches_has_its_code() {
        let code = |problem: Problem| problem.into_body().code;
        assert_eq!(code(TopicRefusal::TooManyTopics.into()), "tooManyTopics");
        assert_eq!(code(TopicRefusal::Reserved.into()), "badTopic");
        assert_eq!(code(SearchError::Words.into()), "badSearch");
        assert_eq!(code(potluck::Error::Stopped.into()), "stopped");
        assert_eq!(code(Problem::unexpected()), "internal");
        assert_eq!(code(Problem::precondition("x")), "preconditionFailed");
    }

    #[test]
    fn too_few_acknowledgements_say_how_many_there_were() {
        let error = CommandError::TooFewAcks { acks: 1, needed: 3, wanted: 5, members: 12 };
        let body = Problem::from(error).0;
        assert_eq!(
            (body.acks, body.needed, body.wanted, body.members),
            (Some(1), Some(3), Some(5), Some(12))
        );
        assert_eq!(body.code, "tooFewAcks");
    }

    #[test]
    fn whoever_searches_too_often_is_told_when_to_come_back() {
        let response = Problem::from(SearchError::Busy).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        let response = Problem::from(CommandError::Busy).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }

    #[test]
    fn a_problem_is_told_as_problem_json() {
        let response = Problem::absent("nothing").into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM);
    }
}
