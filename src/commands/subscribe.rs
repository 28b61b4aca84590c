//! `sub`: prints the messages of a topic, each once, also when the connection breaks.

mod listen;
mod seen;

use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;
use potluck::TopicName;
use serde_json::json;

use super::publish::checked_topic;
use crate::cli::{Global, SubArgs};
use crate::failure::Failure;
use crate::out::{Out, for_stdout, written};
use crate::text::{escaped, json as json_text};
use crate::up::on_first_signal;
use listen::listen;

/// Messages queued between the connection and the terminal.
const AHEAD: usize = 256;
/// How long writing may go on after Ctrl-C.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// An event of the connection or the user.
#[derive(Debug)]
enum Word {
    Message {
        id: String,
        payload: Vec<u8>,
    },
    /// A note for the user.
    Note(String),
    Failed(Failure),
    Interrupted,
}

/// The output form of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// On a line of its own, with line breaks and control characters escaped.
    Line,
    /// Unchanged, followed by a zero byte.
    Zero,
    /// As an object.
    Json,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &SubArgs) -> Result<(), Failure> {
    let topic = checked_topic(&args.topic)?;
    let form = match (global.json, args.zero) {
        (true, true) => return Err(Failure::usage("-0 and --json exclude each other")),
        (true, false) => Form::Json,
        (false, true) => Form::Zero,
        (false, false) => Form::Line,
    };
    let (sender, words) = sync_channel(AHEAD);
    let interrupt = sender.clone();
    on_first_signal(move || {
        // An output that nothing reads must not keep the program alive.
        thread::spawn(|| {
            thread::sleep(LAST_WORDS);
            std::process::exit(0);
        });
        // If there is no receiver any more, the program is about to end.
        let _ = interrupt.send(Word::Interrupted);
    })?;
    start_listening(global.clone(), topic.clone(), sender)?;
    print(global.out(), &topic, form, args.count, &words)
}

fn start_listening(
    global: Global,
    topic: TopicName,
    sender: SyncSender<Word>,
) -> Result<(), Failure> {
    let work = move || {
        if let Err(failure) = listen(&global, &topic, &sender) {
            // The receiver is gone if printing has ended.
            let _ = sender.send(Word::Failed(failure));
        }
    };
    let started = thread::Builder::new().name("listen".into()).spawn(work);
    started.map(drop).map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))
}

/// Prints messages until the limit is reached, the user interrupts, or the output is closed.
fn print(
    out: Out,
    topic: &TopicName,
    form: Form,
    count: Option<u64>,
    words: &Receiver<Word>,
) -> Result<(), Failure> {
    let mut to = BufWriter::new(io::stdout().lock());
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        // Written lines are flushed when no further message is waiting.
        let word = match words.try_recv() {
            Err(TryRecvError::Empty) => {
                if let Err(error) = to.flush() {
                    return written(Err(error));
                }
                words.recv()
            }
            word => word.map_err(|_| RecvError),
        };
        match word {
            Ok(Word::Message { id, payload }) => {
                left -= 1;
                let message = match form {
                    Form::Line => (escaped(&payload) + "\n").into_bytes(),
                    Form::Zero => [&for_stdout(&payload)[..], &[0]].concat(),
                    Form::Json => in_json(topic, &id, &payload),
                };
                if let Err(error) = to.write_all(&message) {
                    return written(Err(error));
                }
            }
            Ok(Word::Note(note)) => out.note(note),
            Ok(Word::Failed(failure)) => {
                written(to.flush())?;
                return Err(failure);
            }
            Ok(Word::Interrupted) | Err(RecvError) => break,
        }
    }
    written(to.flush())
}

fn in_json(topic: &TopicName, id: &str, payload: &[u8]) -> Vec<u8> {
    let publisher = id.split('-').next().unwrap_or_default();
    let mut object = json!({"topic": topic.as_str(), "id": id, "publisher": publisher});
    match std::str::from_utf8(payload) {
        Ok(text) => object["payload"] = text.into(),
        Err(_) => object["payloadBase64"] = BASE64.encode(payload).into(),
    }
    (json_text(&object.to_string()) + "\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_text_in_json_where_it_is_text() {
        let topic = "a".parse().expect("a topic");
        let object = |payload| -> serde_json::Value {
            serde_json::from_slice(&in_json(&topic, "ab-1-2", payload)).expect("JSON")
        };
        let text = json!({"topic": "a", "id": "ab-1-2", "publisher": "ab", "payload": "soup\r\n"});
        assert_eq!(object(b"soup\r\n"), text);
        let binary = object(&[0xff]);
        assert_eq!(binary["payloadBase64"], "/w==");
        assert!(binary["payload"].is_null());
    }
}
