//! Parts of requests; a part that cannot be read is answered with problem details.

use std::str::FromStr as _;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use http_body_util::BodyExt as _;
use potluck::Node;
use potluck_base::{Admission, Key, PublicKey};
use potluck_node::CommandError;
use potluck_record::{Name, Space};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The query of a request.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(query) = Query::try_from_uri(&parts.uri)
            .map_err(|error| Problem::bad("badQuery", error.body_text()))?;
        Ok(Self(query))
    }
}

/// The name at the end of a path, as it was typed.
#[derive(Debug)]
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::bad("badName", error.body_text()))?;
        Ok(Self(name))
    }
}

/// A file in a folder, at the end of a path.
#[derive(Debug)]
pub(super) struct InFolder {
    pub(super) id: String,
    pub(super) path: String,
}

impl<S: Send + Sync> FromRequestParts<S> for InFolder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((id, path)) = Path::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::bad("badName", error.body_text()))?;
        Ok(Self { id, path })
    }
}

/// The record that a request names.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) space: Space,
    /// `None` in space `content`.
    pub(super) name: Option<Name>,
}

impl Target {
    /// The record `name` in `space`.
    pub(super) fn new(name: &str, space: Option<&str>, me: &PublicKey) -> Result<Self, Problem> {
        let space = Space::parse(space.unwrap_or("commons"), me)
            .map_err(|error| Problem::bad("badSpace", error))?;
        let name = match space {
            Space::Content => None,
            _ => Some(Name::new(name).map_err(|error| Problem::bad("badName", error))?),
        };
        Ok(Self { space, name })
    }

    /// The same where the owner of a space may be named by its node id, and node id and public key by
    /// their first digits, as `members` and others show them.
    pub(super) async fn of(node: &Node, name: &str, space: Option<&str>) -> Result<Self, Problem> {
        let digits = space.and_then(|space| space.strip_prefix("own/"));
        let owner = match digits.filter(|digits| is_begin_of_id(digits)) {
            Some(digits) => Some(format!("own/{}", owner(node, digits).await?)),
            None if digits.is_some() => {
                let detail =
                    "own/ is followed by a node id or public key, or its first 8 digits or more";
                return Err(Problem::bad("badSpace", detail).hint("see potluck members"));
            }
            None => None,
        };
        let target = Self::new(name, owner.as_deref().or(space), &node.public_key())?;
        if target.space == Space::Commons && node.network().admission == Admission::Open {
            return Err(CommandError::NoCommons.into());
        }
        Ok(target)
    }

    /// The record's key; in space `content` the key itself is typed as the name.
    pub(super) fn key(&self, typed: &str) -> Result<Key, Problem> {
        match self.name.as_ref().and_then(|name| self.space.key(name)) {
            Some(key) => Ok(key),
            None => Key::from_str(typed).map_err(|error| {
                Problem::bad("badName", error).hint("in space content a record is named by its key")
            }),
        }
    }
}

/// Least digits of an id prefix. With fewer, a prefix matches several members by chance.
const DIGITS_MIN: usize = 8;

fn is_begin_of_id(text: &str) -> bool {
    (DIGITS_MIN..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The public key of the member with this node id or public key, or these first digits of it.
pub(super) async fn member_key(node: &Node, text: &str) -> Result<PublicKey, Problem> {
    if !is_begin_of_id(text) {
        let detail =
            "a member is named by its node id or public key, or its first 8 digits or more";
        return Err(Problem::bad("badMember", detail).hint("see potluck members"));
    }
    let key = owner(node, text).await?;
    key.parse().map_err(|error| Problem::bad("badMember", error))
}

/// The public key of a member; a complete key may be that of an unknown node.
async fn owner(node: &Node, digits: &str) -> Result<String, Problem> {
    let digits = digits.to_ascii_lowercase();
    let view = node.members().await?;
    let ids = view.members.iter().map(|member| member.peer);
    let ids = ids.map(|peer| (peer.id.to_string(), peer.contact.public_key.to_string()));
    one_of(ids, &digits)
}

/// The public key of the only one of these, by node id and public key, that begins with `digits`.
fn one_of(ids: impl Iterator<Item = (String, String)>, digits: &str) -> Result<String, Problem> {
    let begins = |(id, key): &(String, String)| id.starts_with(digits) || key.starts_with(digits);
    let mut meant = ids.filter(begins);
    match (meant.next(), meant.next()) {
        (Some((_, key)), None) => Ok(key),
        (None, _) if digits.len() == 64 => Ok(digits.to_owned()),
        (None, _) => {
            let detail = format!("no member is known whose id begins with {digits}");
            Err(Problem::bad("badSpace", detail).hint("see potluck members"))
        }
        (Some(_), Some(_)) => {
            let detail = format!("the ids of several members begin with {digits}");
            Err(Problem::bad("badSpace", detail).hint("give more of its digits"))
        }
    }
}

/// A whole body as an object; `hint` shows one.
pub(super) async fn json_body<T: DeserializeOwned>(
    headers: &HeaderMap,
    content: Body,
    limit: usize,
    hint: &str,
) -> Result<T, Problem> {
    let bytes = body(headers, content, limit).await?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::bad("badBody", error).hint(hint))
}

/// A whole body of at most `limit` bytes; a longer one is refused as soon as that is known.
pub(super) async fn body(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
) -> Result<Bytes, Problem> {
    if announced(headers).is_some_and(|announced| announced > limit as u64) {
        return Err(Problem::too_large(limit));
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad("badBody", "the body broke off"))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > limit {
                return Err(Problem::too_large(limit));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.into())
}

/// The length of the body that the request announces.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body that has arrived: read to its end, or until it has more than `most` bytes. A body that announces
/// more is not read.
pub(super) async fn begin_of_body(
    headers: &HeaderMap,
    mut body: Body,
    most: usize,
) -> Result<Body, Problem> {
    if body.is_end_stream() || announced(headers).is_some_and(|bytes| bytes > most as u64) {
        return Ok(body);
    }
    let mut bytes = Vec::new();
    while bytes.len() <= most
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|_| Problem::bad("badBody", "the body broke off"))?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use potluck_base::Identity;

    use super::*;

    #[test]
    fn a_record_is_named_by_text_and_in_content_by_its_key() {
        let me = Identity::from_seed([1; 32]).public_key();
        let named = Target::new("a/b", None, &me).expect("a name");
        assert_eq!(named.key("a/b").ok(), Space::Commons.key(&Name::new("a/b").expect("name")));
        let hex = "ab".repeat(32);
        let content = Target::new(&hex, Some("content"), &me).expect("a key");
        assert_eq!(content.key(&hex).expect("a key").to_string(), hex);
        assert!(content.key("-").is_err());
        assert!(Target::new("", None, &me).is_err());
        assert!(Target::new("a", Some("nowhere"), &me).is_err());
    }

    #[test]
    fn a_member_is_meant_by_the_beginning_of_its_id_or_key() {
        let all = || {
            [("aa11", "cc"), ("aa22", "dd")]
                .map(|(id, key)| (id.repeat(16), key.repeat(32)))
                .into_iter()
        };
        assert_eq!(one_of(all(), "aa11aa11").ok(), Some("cc".repeat(32)));
        assert_eq!(one_of(all(), &"dd".repeat(8)).ok(), Some("dd".repeat(32)));
        assert!(one_of(all(), "aa").is_err(), "both");
        assert!(one_of(all(), "ffffffff").is_err(), "none");
        assert_eq!(one_of(all(), &"ff".repeat(32)).ok(), Some("ff".repeat(32)), "a stranger's key");
        assert!(
            is_begin_of_id("AbCdEf01") && !is_begin_of_id("abcdef0") && !is_begin_of_id("xyzxyzxy")
        );
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end_or_a_little_over_the_limit() {
        let headers = HeaderMap::new();
        for length in [0, 1, 4, 5] {
            let read = begin_of_body(&headers, Body::from(vec![7; length]), 4).await.expect("read");
            assert_eq!(read.collect().await.expect("here").to_bytes().len(), length);
        }
        let (pieces, endless) = crate::http::files::stream::stream();
        tokio::spawn(async move { while pieces.send(Ok("abc".into())).await.is_ok() {} });
        let read = begin_of_body(&headers, endless, 4).await.expect("read");
        assert_eq!(read.collect().await.expect("here").to_bytes(), "abcabc");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let none = HeaderMap::new();
        assert_eq!(body(&none, Body::from("1234"), 4).await.expect("fits"), "1234");
        assert!(body(&none, Body::from("12345"), 4).await.is_err());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, 5.into());
        assert!(body(&headers, Body::empty(), 4).await.is_err());
    }
}
