//! Watches a record without end: after a broken connection a new one begins after the last event.

use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use super::Word;
use crate::api::WatchChange;
use crate::cli::Global;
use crate::client::Client;
use crate::failure::{Exit, Failure};

/// Pause between two attempts to reach the node: at first, and at most.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Sends changes until the receiver is gone.
///
/// # Errors
/// The node cannot be reached the first time, or refuses the watch.
pub(super) fn listen(global: &Global, path: &str, to: &SyncSender<Word>) -> Result<(), Failure> {
    let mut last = None;
    let mut connected = false;
    let mut pause = PAUSE;
    loop {
        match connection(global, path, &mut last, to) {
            Ok(true) => {
                connected = true;
                pause = PAUSE;
                if to.send(Word::Note("the connection broke; trying again".to_owned())).is_err() {
                    return Ok(());
                }
                thread::sleep(pause);
            }
            Ok(false) => return Ok(()),
            // The failure may be due to a node that is being restarted.
            Err(failure)
                if connected && matches!(failure.exit, Exit::NoNode | Exit::Unavailable) =>
            {
                thread::sleep(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// One connection, from its beginning to its end. Returns false if the receiver is gone.
fn connection(
    global: &Global,
    path: &str,
    last: &mut Option<String>,
    to: &SyncSender<Word>,
) -> Result<bool, Failure> {
    // New each time: a node that comes back may have another port.
    let client = Client::of(global)?;
    let mut events = client.listen(path, last.as_deref())?;
    while let Ok(Some(event)) = events.next() {
        if event.name.is_some() {
            continue;
        }
        let word = match serde_json::from_str::<WatchChange>(&event.data) {
            Ok(change) => Word::Change(Box::new(change)),
            Err(_) => Word::Note("a change came in a form that cannot be read".to_owned()),
        };
        if to.send(word).is_err() {
            return Ok(false);
        }
        *last = event.id;
    }
    Ok(true)
}
