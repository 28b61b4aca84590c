//! Streams of unlimited length: lines to a node, events from it.

use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use ureq::{Agent, BodyReader, SendBody};

use super::{Answer, Client, wrong};
use crate::failure::Failure;

/// Longest pause of a node in the middle of an answer: three of its heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Longest wait for the last acknowledgements.
const LAST_WORD: Duration = Duration::from_secs(5 * 60);
/// Longest line of an answer: more than the longest message in base64.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// An event that a node sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServerEvent {
    /// Its name; `None` for an event without one.
    pub(crate) name: Option<String>,
    /// Its id.
    pub(crate) id: Option<String>,
    /// Its data.
    pub(crate) data: String,
}

/// Events of a node, one after the other.
pub(crate) struct Listening<R = BodyReader<'static>>(BufReader<R>);

impl Client {
    /// An agent for a stream of unlimited length, which fails when no byte arrives for this time.
    fn unhurried(&self, silence: Duration) -> Agent {
        let config = self.agent.config().clone();
        let mut builder = Agent::config_builder()
            .http_status_as_error(config.http_status_as_error())
            .proxy(None)
            .max_redirects(0);
        builder =
            builder.timeout_connect(config.timeouts().connect).timeout_per_read(Some(silence));
        Agent::from(builder.build())
    }

    /// A POST of bytes as they arrive, until their end.
    ///
    /// # Errors
    /// As [`request`](Self::request), or the problem that the node reports.
    pub(crate) fn post_stream(&self, path: &str, body: &mut dyn Read) -> Result<Answer, Failure> {
        let headers = [("content-type", "application/octet-stream")];
        let request = self.head("POST", path, &headers);
        let request = request.body(SendBody::from_reader(body)).map_err(wrong)?;
        self.answer(self.unhurried(LAST_WORD).run(request))?.good()
    }

    /// Begins to read events, after the one with the id `last`.
    ///
    /// # Errors
    /// As [`request`](Self::request), or the problem that the node reports.
    pub(crate) fn listen(&self, path: &str, last: Option<&str>) -> Result<Listening, Failure> {
        let header = last.map(|last| ("last-event-id", last));
        let request = self.head("GET", path, header.as_slice()).body(()).map_err(wrong)?;
        let response = self.unhurried(SILENCE_MAX).run(request);
        let response = response.map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(self.answer(Ok(response))?.failure());
        }
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(Listening(BufReader::new(body)))
    }
}

impl<R: Read> Listening<R> {
    /// The next event; `None` when the node has ended the stream.
    ///
    /// # Errors
    /// The connection broke, or the bytes are not an event stream.
    pub(crate) fn next(&mut self) -> io::Result<Option<ServerEvent>> {
        let mut event = ServerEvent::default();
        let mut has_data = false;
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            if line.is_empty() {
                if has_data {
                    return Ok(Some(event));
                }
                event = ServerEvent::default();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => {
                    if has_data {
                        event.data.push('\n');
                    }
                    has_data = true;
                    event.data.push_str(value);
                }
                "id" => event.id = Some(value.to_owned()),
                "event" => event.name = Some(value.to_owned()),
                _ => {}
            }
        }
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        self.0.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            // A last line without a line end belongs to an incomplete event.
            return Ok(None);
        }
        let text = String::from_utf8(line);
        text.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<ServerEvent> {
        let mut listening = Listening(BufReader::new(text.as_bytes()));
        std::iter::from_fn(|| listening.next().expect("text")).collect()
    }

    fn event(name: Option<&str>, id: Option<&str>, data: &str) -> ServerEvent {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        ServerEvent { name: owned(name), id: owned(id), data: data.to_owned() }
    }

    #[test]
    fn events_are_read_as_they_were_written() {
        let text = ":\n\nid: 1\ndata:  a: b\ndata: \ndata: c\n\nevent: base64\nid: 2\ndata: \n\n";
        let expected = [event(None, Some("1"), " a: b\n\nc"), event(Some("base64"), Some("2"), "")];
        assert_eq!(read(text), expected);
    }

    #[test]
    fn half_an_event_is_none() {
        assert_eq!(read("id: 1\ndata: a\n"), []);
        assert_eq!(read("data: a\n\ndata: b"), [event(None, None, "a")]);
        assert_eq!(read("id: 1\n\ndata: a\n\n"), [event(None, None, "a")]);
    }
}
