//! `POST /v1/kv/..`: operations on counters, sets and maps.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use data_encoding::BASE64;
use potluck_kv::{Apply, CommandError};
use potluck_record::{Operation, Space};
use serde::Deserialize;
use utoipa::ToSchema;

use super::app::App;
use super::condition::Condition;
use super::extract::{Asked, Named, Target, json_body};
use super::kv::written;
use super::problem::Problem;
use crate::api::{CONTEXT_HEADER, ProblemBody, Written};

/// Largest body of an operation: a share in base64 and room for the rest.
const BODY_BYTES_MAX: usize = 32 * 1024;
/// Examples for the answer to a body that is no operation.
const EXAMPLES: &str = r#"send {"op":"incr","by":"1"}, {"op":"add","elements":["a"]}, {"op":"remove","elements":["a"]}, {"op":"set","field":"f","valueBase64":"dg=="} or {"op":"unset","field":"f"}"#;

/// The query of an operation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationQuery {
    space: Option<String>,
    w: Option<u16>,
}

/// An operation on a counter (`incr`), set (`add`, `remove`) or map (`set`, `unset`).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum OperationBody {
    /// Add to a counter.
    Incr {
        /// A whole number in decimal, from -2^63 to 2^63 - 1; default: 1.
        by: Option<String>,
    },
    /// Add elements to a set.
    Add {
        /// Texts of 1 to 512 bytes.
        elements: Vec<String>,
    },
    /// Remove elements from a set.
    Remove {
        /// Texts of 1 to 512 bytes.
        elements: Vec<String>,
    },
    /// Set a field of a map.
    #[serde(rename_all = "camelCase")]
    Set {
        /// The field's name, a text of 1 to 512 bytes.
        field: String,
        /// Its value.
        value_base64: String,
    },
    /// Remove a field from a map.
    Unset {
        /// The field's name.
        field: String,
    },
}

impl OperationBody {
    fn operation(self) -> Result<Operation, Problem> {
        Ok(match self {
            Self::Incr { by: None } => Operation::Count(1),
            Self::Incr { by: Some(by) } => Operation::Count(by.parse().map_err(|_| {
                let detail = "by is a whole number in decimal, from -2^63 to 2^63 - 1";
                Problem::bad("badBody", detail)
            })?),
            Self::Add { elements } => Operation::AddElements(elements),
            Self::Remove { elements } => Operation::RemoveElements(elements),
            Self::Set { field, value_base64 } => {
                let value = BASE64
                    .decode(value_base64.as_bytes())
                    .map_err(|_| Problem::bad("badBody", "valueBase64 is no base64"))?;
                Operation::SetField { field, value: Bytes::from(value) }
            }
            Self::Unset { field } => Operation::UnsetField { field },
        })
    }
}

/// Change a counter, set or map.
#[utoipa::path(post, path = "/v1/kv/{*name}",
    params(
        ("name" = String, Path, description = "the record's name"),
        ("space" = Option<String>, Query, description = "commons (default) or own"),
        ("w" = Option<u16>, Query, description = "replicas that must acknowledge; default: a majority"),
    ),
    request_body = OperationBody,
    responses(
        (status = 200, body = Written),
        (status = 400, body = ProblemBody, content_type = "application/problem+json", description = "not an operation, or an element or field over its limit"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "this node would keep more under the name than one node may"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "nothing is there to remove from"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "a record of another kind is there; nothing was written"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "fewer than `w` acknowledged, or it is not known: read before repeating it"),
    ))]
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Asked(query): Asked<OperationQuery>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let body: OperationBody = json_body(&headers, content, BODY_BYTES_MAX, EXAMPLES).await?;
    let operation = body.operation()?;
    if Condition::of(&headers).is_some() || headers.contains_key(CONTEXT_HEADER) {
        let detail = "an operation takes no context, If-Match or If-None-Match: all are kept";
        return Err(Problem::bad("badContext", detail));
    }
    if query.w == Some(0) {
        return Err(Problem::bad("badQuery", "w is at least 1"));
    }
    let target = Target::of(app.node(), &name, query.space.as_deref()).await?;
    let Some(record) = target.name.filter(|_| target.space != Space::Content) else {
        let detail = "a record in space content cannot be changed";
        return Err(Problem::bad("badSpace", detail));
    };
    if !target.space.admits(&app.node().public_key()) {
        return Err(Problem::forbidden("notOwner", "only its owner writes in that space"));
    }
    let apply = Apply { space: target.space, name: record, operation, quorum: query.w };
    match app.node().ask(apply).await {
        Ok(done) => Ok(written(&name, &done)),
        Err(error) => Err(problem_of(error)),
    }
}

/// An operation, unlike a put, must not be repeated without care.
fn problem_of(error: potluck::Error) -> Problem {
    let unclear = matches!(
        &error,
        potluck::Error::Command(CommandError::TooFewAcks { .. } | CommandError::Unknown)
    );
    let problem = Problem::from(error);
    if unclear {
        problem.hint("it may still take effect: read the record before you repeat it")
    } else {
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Operation> {
        let body: OperationBody = serde_json::from_str(text).ok()?;
        body.operation().ok()
    }

    #[test]
    fn a_body_is_one_of_five_operations() {
        assert_eq!(read(r#"{"op":"incr"}"#), Some(Operation::Count(1)));
        assert_eq!(read(r#"{"op":"incr","by":"-3"}"#), Some(Operation::Count(-3)));
        let elements = vec!["a".to_owned()];
        assert_eq!(
            read(r#"{"op":"add","elements":["a"]}"#),
            Some(Operation::AddElements(elements.clone()))
        );
        assert_eq!(
            read(r#"{"op":"remove","elements":["a"]}"#),
            Some(Operation::RemoveElements(elements))
        );
        let set = Operation::SetField { field: "f".into(), value: Bytes::from_static(b"v") };
        assert_eq!(read(r#"{"op":"set","field":"f","valueBase64":"dg=="}"#), Some(set));
        let unset = Operation::UnsetField { field: "f".into() };
        assert_eq!(read(r#"{"op":"unset","field":"f"}"#), Some(unset));
    }

    #[test]
    fn what_is_no_operation_is_refused() {
        for text in [
            "{}",
            r#"{"op":"incr","by":"1.5"}"#,
            r#"{"op":"incr","by":"9223372036854775808"}"#,
            r#"{"op":"incr","elements":["a"]}"#,
            r#"{"op":"add","elements":"a"}"#,
            r#"{"op":"set","field":"f","valueBase64":"?"}"#,
            r#"{"op":"double"}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
