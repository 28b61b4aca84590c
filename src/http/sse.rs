//! Server-sent events: their format, and the timeout for a client that does not read.

use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;

use super::files::stream::Pieces;

/// Idle time after which a comment is sent, to detect a client that is gone.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Time for which a client may read nothing before its stream ends.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// A comment: no event.
pub(super) const HEARTBEAT: &str = ":\n\n";

/// An answer whose body is made of events.
pub(super) fn respond(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// Sends events; returns whether the client still reads.
pub(super) async fn send(pieces: &Pieces, text: String) -> bool {
    matches!(timeout(SEND_TIMEOUT, pieces.send(Ok(text.into()))).await, Ok(Ok(())))
}

/// Appends an event. `data` may have line feeds and no carriage returns, `name` and `id` neither.
pub(super) fn append(to: &mut String, name: Option<&str>, id: Option<&str>, data: &str) {
    if let Some(id) = id {
        let _ = writeln!(to, "id: {id}");
    }
    if let Some(name) = name {
        let _ = writeln!(to, "event: {name}");
    }
    for line in data.split('\n') {
        let _ = writeln!(to, "data: {line}");
    }
    to.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_lines_and_ends_with_an_empty_one() {
        let mut text = String::new();
        append(&mut text, None, Some("1"), "a\n\nb");
        append(&mut text, Some("base64"), None, "");
        assert_eq!(text, "id: 1\ndata: a\ndata: \ndata: b\n\nevent: base64\ndata: \n\n");
    }
}
