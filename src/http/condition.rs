//! `If-Match` and `If-None-Match` of a write: it takes effect only if the record is as its sender has read it
//! (RFC 9110, section 13).
//!
//! **Invariant:** a write with a condition supersedes exactly the state that the condition was checked
//! against. A concurrent write of another client is not lost: it becomes a sibling. There is no lock in this
//! network.

use axum::http::HeaderMap;
use axum::http::header::{ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::response::{IntoResponse as _, Response};
use potluck::ask::Get;
use potluck_kv::ReadDone;
use potluck_node::{Put, WriteContext};

use super::app::App;
use super::problem::Problem;

/// The condition of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    /// The record has one of these tags, or any.
    matches: Option<Vec<String>>,
    /// The record has none of these tags.
    differs: Option<Vec<String>>,
}

/// The tag of a reading: its digest and the number of its values. A value that expires changes the reading,
/// but not the state that the digest is of.
pub(super) fn tag_of(done: &ReadDone) -> String {
    let digest = data_encoding::HEXLOWER.encode(&done.digest.to_bytes());
    format!("\"{digest}-{}\"", done.reading.values.len())
}

impl Condition {
    /// The condition in these headers, if there is one.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let condition =
            Self { matches: tags(headers, &IF_MATCH), differs: tags(headers, &IF_NONE_MATCH) };
        (condition.matches.is_some() || condition.differs.is_some()).then_some(condition)
    }

    /// The part of it that applies to a read.
    pub(super) fn of_read(headers: &HeaderMap) -> Option<Self> {
        let matches = Some(tags(headers, &IF_MATCH)?);
        Some(Self { matches, differs: None })
    }

    /// Whether it holds for a record with this tag, or for an absent record.
    pub(super) fn holds(&self, tag: Option<&str>) -> bool {
        let has = |tags: &Vec<String>, weakly: bool| {
            tag.is_some_and(|tag| {
                let same = |it: &String| it == "*" || it == tag || weakly && is_weak(it, tag);
                tags.iter().any(same)
            })
        };
        // A weak tag is not sufficient for a write.
        self.matches.as_ref().is_none_or(|tags| has(tags, false))
            && self.differs.as_ref().is_none_or(|tags| !has(tags, true))
    }
}

fn is_weak(typed: &str, tag: &str) -> bool {
    typed.strip_prefix("W/") == Some(tag)
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    headers.contains_key(name).then(|| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim().to_owned())
            .collect()
    })
}

/// Checks the condition of a write: returns the write, or the answer if the condition does not hold.
///
/// # Errors
/// The record cannot be read, or is in space `content`.
pub(super) async fn held(
    app: &App,
    put: Put,
    condition: &Condition,
) -> Result<Result<Put, Response>, Problem> {
    let Some(key) = put.name.as_ref().and_then(|name| put.space.key(name)) else {
        let detail = "what is in space content never changes, so a condition has no meaning";
        return Err(Problem::bad("badCondition", detail).hint("leave If-Match out"));
    };
    let done = app.node().ask(Get { key, quorum: None }).await?;
    let tag = (!done.reading.values.is_empty()).then(|| tag_of(&done));
    if condition.holds(tag.as_deref()) {
        let context = match put.context {
            WriteContext::Read => WriteContext::Given(done.reading.context),
            typed => typed,
        };
        return Ok(Ok(Put { context, ..put }));
    }
    Ok(Err(refused(tag)))
}

/// The answer to a request whose condition does not hold, with the current tag.
pub(super) fn refused(tag: Option<String>) -> Response {
    match tag {
        Some(tag) => {
            let detail = "what is there is not what the condition names; nothing was done";
            ([(ETAG, tag)], Problem::precondition(detail)).into_response()
        }
        None => {
            let detail = "nothing is there, and the condition names something; nothing was done";
            Problem::precondition(detail).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn condition(name: HeaderName, text: &'static str) -> Condition {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(text));
        Condition::of(&headers).expect("a condition")
    }

    #[test]
    fn a_write_over_something_needs_its_very_tag() {
        let one = condition(IF_MATCH, "\"b\", \"a\"");
        assert!(one.holds(Some("\"a\"")) && one.holds(Some("\"b\"")));
        assert!(!one.holds(Some("\"c\"")) && !one.holds(None));
        let any = condition(IF_MATCH, "*");
        assert!(any.holds(Some("\"a\"")) && !any.holds(None));
        assert!(!condition(IF_MATCH, "W/\"a\"").holds(Some("\"a\"")), "weak");
        assert!(!condition(IF_MATCH, "").holds(Some("\"a\"")), "no tag at all");
    }

    #[test]
    fn a_write_may_want_nothing_or_something_else_to_be_there() {
        let new = condition(IF_NONE_MATCH, "*");
        assert!(new.holds(None) && !new.holds(Some("\"a\"")));
        let other = condition(IF_NONE_MATCH, "W/\"a\"");
        assert!(other.holds(Some("\"b\"")) && !other.holds(Some("\"a\"")));
    }

    #[test]
    fn no_header_is_no_condition() {
        assert_eq!(Condition::of(&HeaderMap::new()), None);
    }
}
