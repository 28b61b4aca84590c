//! Answers of the node as HTTP responses.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use potluck::{NetworkId, Node};
use potluck_record::{Reading, Value};

use super::problem::Problem;
use crate::api::{CONTEXT_HEADER, Sibling, Siblings, rfc3339};
use crate::failure::Exit;

/// A value as one of several.
fn sibling(network: &NetworkId, value: &Value) -> Sibling {
    Sibling {
        value_base64: BASE64.encode(&value.bytes),
        version: value.dot.to_string(),
        writer: value.writer.to_string(),
        node: value.writer.node_id(network).to_string(),
        at: rfc3339(value.dot.millis().0),
        kind: value.kind.to_string(),
        expires_at: rfc3339(value.expires.0),
    }
}

/// All values of a reading.
pub(super) fn siblings(node: &Node, reading: &Reading) -> Siblings {
    let network = &node.network().id;
    Siblings {
        context: reading.context.to_string(),
        siblings: reading.values.iter().map(|value| sibling(network, value)).collect(),
    }
}

/// Several values, where one was expected.
pub(super) fn conflict(node: &Node, reading: &Reading, detail: String) -> Response {
    let Siblings { context, siblings } = siblings(node, reading);
    let problem = Problem::new(StatusCode::CONFLICT, Exit::Conflict, "conflict", detail)
        .hint("write a merged value with the context of this answer")
        .with(|body| {
            body.context = Some(context.clone());
            body.siblings = Some(siblings);
        });
    ([(CONTEXT_HEADER, context)], problem).into_response()
}

/// The answer for a record without a value; it has the context of the deletion, if there was one.
pub(super) fn absent(reading: &Reading) -> Response {
    let problem = Problem::absent("there is no such record").hint("check its name and space");
    if reading.context.is_empty() {
        return problem.into_response();
    }
    let context = reading.context.to_string();
    let problem = problem.with(|body| body.context = Some(context.clone()));
    ([(CONTEXT_HEADER, context)], problem).into_response()
}

/// An object.
pub(super) fn json<T: serde::Serialize>(object: &T) -> Response {
    match serde_json::to_vec(object) {
        Ok(bytes) => ([("content-type", "application/json")], bytes).into_response(),
        Err(_) => Problem::unexpected().into_response(),
    }
}

/// Whether the client has the answer with this tag already.
pub(super) fn matches(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|item| item.trim().trim_start_matches("W/"))
        .any(|item| item == tag || item == "*")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_tag_matches_in_a_list_and_weakly() {
        let mut headers = HeaderMap::new();
        assert!(!matches(&headers, "\"a\""));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"b\", W/\"a\""));
        assert!(matches(&headers, "\"a\""));
        assert!(!matches(&headers, "\"c\""));
    }
}
