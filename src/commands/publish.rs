//! `pub`: messages to the subscribers of a topic.

use std::io::{self, Read};
use std::time::Instant;

use potluck::TopicName;
use potluck_gossip::message::PAYLOAD_BYTES_MAX;
use serde_json::json;

use crate::api::{Published, PublishedLines};
use crate::cli::{Global, PubArgs};
use crate::client::{BROKE_OFF, Client, topic_path, with_query};
use crate::failure::{Exit, Failure};
use crate::text::count;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &PubArgs) -> Result<(), Failure> {
    let path = topic_path(&checked_topic(&args.topic)?);
    let client = Client::of(global)?;
    let began = Instant::now();
    let (messages, neighbours) = if args.message == "-" {
        (lines(&client, &path, io::stdin().lock())?, None)
    } else {
        (1, Some(one(&client, &path, args.message.as_bytes())?))
    };
    let out = global.out();
    if out.json {
        let seconds = began.elapsed().as_secs_f64();
        let mut said = json!({"topic": args.topic, "messages": messages, "seconds": seconds});
        if let Some(neighbours) = neighbours {
            said["neighbours"] = neighbours.into();
        }
        return out.object(&said);
    }
    if let Some(neighbours) = neighbours.filter(|_| !out.quiet) {
        return out.line(taken_by(neighbours));
    }
    Ok(())
}

/// The number of neighbours that took a message, in words.
fn taken_by(neighbours: usize) -> String {
    match neighbours {
        0 => "taken by no other node: none was found in the topic".to_owned(),
        1 => "taken by 1 neighbour".to_owned(),
        many => format!("taken by {many} neighbours"),
    }
}

/// A topic's name, or wrong usage.
pub(super) fn checked_topic(typed: &str) -> Result<TopicName, Failure> {
    TopicName::new(typed).map_err(|error| Failure::new(Exit::Usage, "badTopic", error))
}

/// Publishes a message; returns the number of neighbours that took it.
fn one(client: &Client, path: &str, message: &[u8]) -> Result<usize, Failure> {
    if message.len() > PAYLOAD_BYTES_MAX {
        return Err(too_long("the message"));
    }
    let headers = [("content-type", "application/octet-stream")];
    let answer = client.request("POST", path, &headers, Some(message))?.good()?;
    Ok(answer.json::<Published>()?.neighbours)
}

/// Publishes each line as it arrives; returns the number of lines.
fn lines(client: &Client, path: &str, from: impl Read) -> Result<u64, Failure> {
    let mut body = Lines::new(from);
    let path = with_query(path, &[("lines", Some("true".to_owned()))]);
    let answer = client.post_stream(&path, &mut body);
    match (body.wrong, answer) {
        (Some(Wrong::TooLong), _) => Err(too_long(&format!("line {}", body.begun + 1))),
        (Some(Wrong::Unreadable(error)), _) => {
            Err(Failure::failed(format!("cannot read stdin: {error}")))
        }
        (None, Ok(answer)) => Ok(answer.json::<PublishedLines>()?.messages),
        // The node was there when the first lines went to it.
        (None, Err(failure)) if is_gone(&failure) && body.begun > 0 => {
            let message = format!(
                "the node broke off; of {} that were read the last ones may be lost",
                count(body.begun, "line")
            );
            Err(Failure::new(Exit::Unavailable, "brokeOff", message).hint("see potluck status"))
        }
        (None, Err(failure)) => Err(failure),
    }
}

/// Whether the failure means that there is no node, or none any more.
fn is_gone(failure: &Failure) -> bool {
    failure.exit == Exit::NoNode || failure.code == BROKE_OFF
}

fn too_long(what: &str) -> Failure {
    let message = format!("{what} has more than {PAYLOAD_BYTES_MAX} bytes");
    Failure::new(Exit::Usage, "tooLarge", message)
        .hint("share it with potluck share FILE, and publish the link")
}

/// Why lines end early.
#[derive(Debug)]
enum Wrong {
    TooLong,
    Unreadable(io::Error),
}

/// Bytes for the node, in which no line is longer than a message may be.
struct Lines<R> {
    from: R,
    /// Line feeds so far.
    begun: u64,
    /// Bytes since the last line feed.
    length: usize,
    wrong: Option<Wrong>,
}

impl<R> Lines<R> {
    const fn new(from: R) -> Self {
        Self { from, begun: 0, length: 0, wrong: None }
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.from.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                self.wrong = Some(Wrong::Unreadable(error));
                return Err(io::Error::other("stdin cannot be read"));
            }
        };
        for byte in &buffer[..read] {
            if *byte == b'\n' {
                self.begun += 1;
                self.length = 0;
            } else {
                self.length += 1;
            }
            if self.length > PAYLOAD_BYTES_MAX {
                self.wrong = Some(Wrong::TooLong);
                return Err(io::Error::other("a line is too long"));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_goes_nowhere() {
        let longest = vec![b'x'; PAYLOAD_BYTES_MAX];
        let good = [b"a\n", &longest[..], b"\n"].concat();
        let mut sent = Vec::new();
        let mut lines = Lines::new(&good[..]);
        lines.read_to_end(&mut sent).expect("short enough");
        assert_eq!((sent, lines.begun), (good, 2));
        let long = [b"a\n", &longest[..], b"x\n"].concat();
        let mut lines = Lines::new(&long[..]);
        lines.read_to_end(&mut Vec::new()).expect_err("too long");
        assert!(matches!(lines.wrong, Some(Wrong::TooLong)));
    }

    #[test]
    fn it_is_said_how_many_took_a_message() {
        assert_eq!(taken_by(1), "taken by 1 neighbour");
        assert_eq!(taken_by(8), "taken by 8 neighbours");
        assert!(taken_by(0).contains("no other node"));
    }

    #[test]
    fn topics_are_checked_before_anybody_is_asked() {
        assert_eq!(checked_topic("a\nb").expect_err("no topic").exit, Exit::Usage);
        assert_eq!(checked_topic("a/b").expect("a topic").as_str(), "a/b");
    }
}
