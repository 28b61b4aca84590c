//! A body of lines, each a message: read as fast as the messages are published, never faster.

use std::collections::VecDeque;
use std::time::Instant;

use axum::body::{Body, Bytes};
use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use potluck::{Node, Publishing, TopicName};
use potluck_gossip::message::PAYLOAD_BYTES_MAX;

use super::{problem_of, too_long};
use crate::api::PublishedLines;
use crate::http::problem::Problem;

/// Messages of one body that are handed to the node and not acknowledged yet: more than the node needs to
/// process in one round, fewer than its queue takes. A guess.
const WINDOW: usize = 128;

/// Publishes every line of a body.
///
/// # Errors
/// The failure, with the number of messages published before it.
pub(super) async fn publish(
    node: &Node,
    topic: &TopicName,
    mut body: Body,
) -> Result<PublishedLines, Problem> {
    let began = Instant::now();
    let mut window = Window::new(node, topic);
    let mut lines = Lines::default();
    let result = async {
        while let Some(frame) = body_frame(&mut body, &mut window).await? {
            lines.push(&frame);
            while let Some(line) = lines.next()? {
                window.publish(line).await?;
            }
        }
        if let Some(line) = lines.rest() {
            window.publish(line).await?;
        }
        window.finish().await
    };
    result.await.map_err(|problem| problem.after_messages(window.acknowledged))?;
    Ok(PublishedLines {
        topic: topic.to_string(),
        messages: window.acknowledged,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// The next bytes of a body. Meanwhile acknowledgements are processed: a client that sends a line
/// an hour should learn soon that the node has stopped.
async fn body_frame(body: &mut Body, window: &mut Window<'_>) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            acknowledged = window.acknowledge(), if !window.waiting.is_empty() => {
                acknowledged?;
                continue;
            }
        };
        let Some(frame) = frame else { return Ok(None) };
        let frame = frame.map_err(|_| Problem::bad("badBody", "the body broke off"))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

/// Messages that are not acknowledged yet, in order.
struct Window<'a> {
    node: &'a Node,
    topic: &'a TopicName,
    waiting: VecDeque<Publishing>,
    acknowledged: u64,
}

impl<'a> Window<'a> {
    const fn new(node: &'a Node, topic: &'a TopicName) -> Self {
        Self { node, topic, waiting: VecDeque::new(), acknowledged: 0 }
    }

    async fn publish(&mut self, line: Bytes) -> Result<(), Problem> {
        if self.waiting.len() >= WINDOW {
            self.acknowledge().await?;
        }
        let publishing = self.node.topics().hand_over(self.topic.as_str(), line).await;
        self.waiting.push_back(publishing.map_err(problem_of)?);
        Ok(())
    }

    /// Waits for the oldest one. Cancel-safe: no acknowledgement is lost when the future is dropped.
    async fn acknowledge(&mut self) -> Result<(), Problem> {
        let Some(oldest) = self.waiting.front_mut() else { return Ok(()) };
        let done = oldest.await;
        self.waiting.pop_front();
        done.map_err(problem_of)?;
        self.acknowledged += 1;
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Problem> {
        while !self.waiting.is_empty() {
            self.acknowledge().await?;
        }
        Ok(())
    }
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    bytes: BytesMut,
    /// Bytes at the beginning that are known to have no line feed.
    looked_at: usize,
}

impl Lines {
    /// Adds bytes. An incomplete line has never more bytes than a message may have, plus one call's bytes.
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its line feed.
    fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let end = self.bytes[self.looked_at..].iter().position(|byte| *byte == b'\n');
        let length = end.map_or(self.bytes.len(), |end| self.looked_at + end);
        if length > PAYLOAD_BYTES_MAX {
            return Err(too_long());
        }
        if end.is_none() {
            self.looked_at = length;
            return Ok(None);
        }
        // A copy: a short line that waits in a queue must not keep the whole buffer alive.
        let line = Bytes::copy_from_slice(&self.bytes[..length]);
        self.bytes.advance(length + 1);
        self.looked_at = 0;
        Ok(Some(line))
    }

    /// The bytes after the last line feed.
    fn rest(&mut self) -> Option<Bytes> {
        let rest = self.bytes.split();
        (!rest.is_empty()).then(|| rest.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<Bytes> {
        let mut lines = Lines::default();
        let mut all = Vec::new();
        for piece in pieces {
            lines.push(piece);
            while let Some(line) = lines.next().expect("short") {
                all.push(line);
            }
        }
        all.extend(lines.rest());
        all
    }

    #[test]
    fn each_line_is_a_message_however_the_bytes_come() {
        let expected = [&b"one"[..], b"", b"three\r", b"four"];
        assert_eq!(cut(&[b"one\n\nthree\r\nfour"]), expected);
        assert_eq!(cut(&[b"o", b"ne", b"\n", b"\nthree\r\nf", b"our\n"]), expected);
        assert_eq!(cut(&[b""]), [&b""[..]; 0]);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_before_all_of_it_came() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; PAYLOAD_BYTES_MAX]);
        assert!(lines.next().expect("not too long yet").is_none());
        lines.push(b"x");
        assert!(lines.next().is_err());
    }
}
