//! `/v1/topics/..`: publishing messages and receiving them.

mod lines;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use data_encoding::BASE64;
use potluck::{Delivery, Error, Message, MessageId, Subscription, TopicName, TopicRefusal};
use potluck_gossip::message::PAYLOAD_BYTES_MAX;
use serde::Deserialize;
use tokio::time::timeout;

use super::app::App;
use super::extract::{Asked, Named, body};
use super::files::stream::{Pieces, stream};
use super::problem::Problem;
use super::reply::json;
use super::sse;
use crate::api::{Lagged, ProblemBody, Published, PublishedLines};

/// Bytes of waiting events after which a piece is sent.
const PIECE_BYTES: usize = 64 * 1024;

/// The query of a publication.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishQuery {
    #[serde(default)]
    lines: bool,
}

/// The problem for a message that was not published, or a topic that cannot be subscribed to.
fn problem_of(error: Error) -> Problem {
    match error {
        Error::Command(error) => error.into(),
        Error::Stopped => Problem::stopped(),
        Error::Topic(error) => Problem::bad("badTopic", error),
        Error::TopicRefused(refusal) => refusal.into(),
        Error::Subscribe(error) => Problem::unavailable("busy", error).hint("try again"),
        _ => Problem::unexpected(),
    }
}

fn topic_of(typed: &str) -> Result<TopicName, Problem> {
    TopicName::new(typed).map_err(|error| Problem::bad("badTopic", error))
}

fn too_long() -> Problem {
    TopicRefusal::TooLong.into()
}

/// Publish the body as a message. With `lines=true` each line of the body is a message, and the answer is
/// sent when the node has accepted all of them; the body is read as fast as the messages are published.
#[utoipa::path(post, path = "/v1/topics/{*topic}",
    params(
        ("topic" = String, Path, description = "the topic, 1 to 128 bytes"),
        ("lines" = Option<bool>, Query, description = "each line is a message; the answer counts them"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 202, body = Published, description = "on its way, with how many neighbours took it within a second; with `lines=true` `{\"topic\",\"messages\",\"seconds\"}`"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "a message has at most 64 KiB"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn publish(
    State(app): State<Arc<App>>,
    Named(topic): Named,
    Asked(query): Asked<PublishQuery>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let topic = topic_of(&topic)?;
    if query.lines {
        let published = lines::publish(app.node(), &topic, content).await?;
        return Ok((StatusCode::ACCEPTED, json::<PublishedLines>(&published)).into_response());
    }
    let payload = match body(&headers, content, PAYLOAD_BYTES_MAX).await {
        Err(problem) if problem.is_too_large() => return Err(too_long()),
        read => read?,
    };
    let topics = app.node().topics();
    let taken = topics.publish_counted(topic.as_str(), payload).await.map_err(problem_of)?;
    let (id, neighbours) = (taken.id.to_string(), taken.neighbours);
    let published = Published { topic: topic.to_string(), id, neighbours };
    Ok((StatusCode::ACCEPTED, json(&published)).into_response())
}

/// The messages of a topic, each an event with its id and the message as data; a message that is not text is
/// an event `base64`. An event `lagged` reports missing messages. With `Last-Event-ID` the stream begins
/// after that message, with the messages that the node still keeps.
#[utoipa::path(get, path = "/v1/topics/{*topic}",
    params(
        ("topic" = String, Path, description = "the topic, 1 to 128 bytes"),
        ("Last-Event-ID" = Option<String>, Header, description = "the last message that came"),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn subscribe(
    State(app): State<Arc<App>>,
    Named(topic): Named,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let topic = topic_of(&topic)?;
    let after = last_event(&headers)?;
    let topics = app.node().topics();
    let mut request = topics.subscribe(topic.as_str());
    if let Some(after) = after {
        request = request.after(after);
    }
    let subscription = request.await.map_err(problem_of)?;
    let (pieces, body) = stream();
    tokio::spawn(async move {
        tokio::select! {
            () = pieces.closed() => {}
            () = tell(subscription, &pieces) => {}
        }
    });
    Ok(sse::respond(body))
}

/// The message after which to begin.
fn last_event(headers: &HeaderMap) -> Result<Option<MessageId>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let wrong = || {
        Problem::bad("badId", "Last-Event-ID names no message")
            .hint("send the id of an event of this topic, or leave the header out")
    };
    id.map(Some).ok_or_else(wrong)
}

/// Sends messages until the node stops or the client is gone.
async fn tell(mut subscription: Subscription, pieces: &Pieces) {
    // A comment at once: its first byte tells the client that the subscription is active.
    let mut text = sse::HEARTBEAT.to_owned();
    if !subscription.is_complete() {
        append_lagged(&mut text, Lagged { missed: None, lost: true });
    }
    loop {
        if !sse::send(pieces, std::mem::take(&mut text)).await {
            return;
        }
        match timeout(sse::SILENCE_MAX, subscription.next()).await {
            Err(_) => text.push_str(sse::HEARTBEAT),
            Ok(None) => return,
            Ok(Some(delivery)) => append(&mut text, &delivery),
        }
        while text.len() < PIECE_BYTES {
            let next = tokio::select! {
                biased;
                next = subscription.next() => next,
                () = std::future::ready(()) => break,
            };
            // The next call ends the loop.
            let Some(delivery) = next else { break };
            append(&mut text, &delivery);
        }
    }
}

fn append(to: &mut String, delivery: &Delivery) {
    match delivery {
        Delivery::Message(message) => append_message(to, message),
        Delivery::Lagged { missed } => {
            append_lagged(to, Lagged { missed: Some(*missed), lost: false });
        }
        Delivery::Lost { missed } => {
            append_lagged(to, Lagged { missed: Some(*missed), lost: true });
        }
    }
}

fn append_lagged(to: &mut String, lagged: Lagged) {
    // It can be written as JSON, which has no line breaks.
    let data = serde_json::to_string(&lagged).unwrap_or_default();
    sse::append(to, Some("lagged"), None, &data);
}

fn append_message(to: &mut String, message: &Message) {
    let id = message.id.to_string();
    match std::str::from_utf8(&message.payload) {
        // A carriage return would end a line of the event.
        Ok(plain) if !plain.contains('\r') => sse::append(to, None, Some(&id), plain),
        _ => sse::append(to, Some("base64"), Some(&id), &BASE64.encode(&message.payload)),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use potluck_base::Identity;

    use super::*;

    fn message(payload: &'static [u8]) -> Message {
        let publisher = Identity::from_seed([1; 32]).public_key();
        let id = MessageId { publisher, incarnation: 2, sequence: 3 };
        Message { topic: "a".parse().expect("a topic"), id, payload: payload.into() }
    }

    #[test]
    fn text_goes_as_text_and_all_else_as_base64() {
        let id = message(b"").id;
        let written = |payload| {
            let mut text = String::new();
            append_message(&mut text, &message(payload));
            text
        };
        assert_eq!(written(b"a b"), format!("id: {id}\ndata: a b\n\n"));
        assert_eq!(written(b""), format!("id: {id}\ndata: \n\n"));
        assert_eq!(written(b"a\nb\n"), format!("id: {id}\ndata: a\ndata: b\ndata: \n\n"));
        for binary in [&b"a\r\n"[..], &[0xff, 0]] {
            let encoded = BASE64.encode(binary);
            assert_eq!(written(binary), format!("id: {id}\nevent: base64\ndata: {encoded}\n\n"));
        }
    }

    #[test]
    fn a_subscription_goes_on_behind_a_message_that_is_named() {
        let mut headers = HeaderMap::new();
        assert_eq!(last_event(&headers).ok(), Some(None));
        let id = message(b"").id;
        let value = HeaderValue::from_str(&id.to_string()).expect("a value");
        headers.insert("last-event-id", value);
        assert_eq!(last_event(&headers).ok(), Some(Some(id)));
        headers.insert("last-event-id", HeaderValue::from_static("7"));
        assert!(last_event(&headers).is_err());
    }
}
