//! Subscribes to a topic without end: after a broken connection a new one begins after the last message.

use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;
use potluck::TopicName;

use super::Word;
use super::seen::Seen;
use crate::api::Lagged;
use crate::cli::Global;
use crate::client::{Client, ServerEvent, topic_path};
use crate::failure::{Exit, Failure};

/// Pause between two attempts to reach the node: at first, and at most.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The notice of missing messages for one that cannot be read.
const UNKNOWN: Lagged = Lagged { missed: None, lost: true };

/// Why a connection ends.
enum End {
    /// The receiver is gone.
    Enough,
    /// The connection broke, or the node stopped.
    Broke,
    /// Messages are missing, and a new connection gets them.
    Lagged,
}

/// Sends lines until the receiver is gone.
///
/// # Errors
/// The node cannot be reached the first time, or refuses the subscription.
pub(super) fn listen(
    global: &Global,
    topic: &TopicName,
    to: &SyncSender<Word>,
) -> Result<(), Failure> {
    let mut state = State { to, last: None, seen: Seen::default() };
    let mut connected = false;
    let mut pause = PAUSE;
    loop {
        match state.connection(global, topic) {
            Ok(End::Enough) => return Ok(()),
            Ok(End::Lagged) => pause = PAUSE,
            Ok(End::Broke) => {
                connected = true;
                pause = PAUSE;
                if !state.say("the connection broke; trying again") {
                    return Ok(());
                }
                thread::sleep(pause);
            }
            Err(failure) if connected && may_pass(&failure) => {
                thread::sleep(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Whether the failure may be due to a node that is being restarted.
fn may_pass(failure: &Failure) -> bool {
    matches!(failure.exit, Exit::NoNode | Exit::Unavailable)
}

struct State<'a> {
    to: &'a SyncSender<Word>,
    /// The id of the last message.
    last: Option<String>,
    seen: Seen,
}

impl State<'_> {
    fn say(&self, note: &str) -> bool {
        self.to.send(Word::Note(note.to_owned())).is_ok()
    }

    /// One connection, from its beginning to its end.
    fn connection(&mut self, global: &Global, topic: &TopicName) -> Result<End, Failure> {
        // New each time: a node that comes back may have another port.
        let client = Client::of(global)?;
        let mut events = client.listen(&topic_path(topic), self.last.as_deref())?;
        while let Ok(Some(event)) = events.next() {
            match event.name.as_deref() {
                None | Some("base64") => {
                    if !self.message(event) {
                        return Ok(End::Enough);
                    }
                }
                Some("lagged") => {
                    let lagged: Lagged = serde_json::from_str(&event.data).unwrap_or(UNKNOWN);
                    if lagged.missed.is_some() && !lagged.lost && self.last.is_some() {
                        return Ok(End::Lagged);
                    }
                    let missed =
                        lagged.missed.map_or("some".to_owned(), |missed| missed.to_string());
                    let note =
                        format!("{missed} messages were missed: the node does not have them");
                    if !self.say(&note) {
                        return Ok(End::Enough);
                    }
                }
                Some(_) => {}
            }
        }
        Ok(End::Broke)
    }

    /// Passes a message on; returns whether the receiver is still there.
    fn message(&mut self, event: ServerEvent) -> bool {
        let ServerEvent { name, id, data } = event;
        let id = id.unwrap_or_default();
        let payload = match name {
            None => data.into_bytes(),
            Some(_) => match BASE64.decode(data.as_bytes()) {
                Ok(payload) => payload,
                Err(_) => return self.say("a message came in a form that cannot be read"),
            },
        };
        if !self.seen.is_new(&id) {
            return true;
        }
        self.last = Some(id.clone());
        self.to.send(Word::Message { id, payload }).is_ok()
    }
}
