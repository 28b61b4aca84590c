//! Publishers and subscribers of one topic, one of each for every node.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use potluck_sim::check::history::messages::{Heard, Publication};

use super::http::{Call, Client, Endpoint};
use super::recorder::Recorder;

const TOPIC: &str = "/v1/topics/torment";
/// Pause between two messages of one node.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest wait until a node has accepted a message.
const ACCEPT_MAX: Duration = Duration::from_secs(5);
/// Pause before a subscription is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// Publishes a message every second through one node.
pub(super) fn publish(node: &Endpoint, recorder: &Recorder, stop: &AtomicBool) {
    let client = Client::new(Some(ACCEPT_MAX));
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let text = format!("{}.{number}", node.number);
        let (asked, life) = (recorder.now(), node.life());
        let call = Call { method: "POST", path: TOPIC, context: None, body: Some(&text) };
        let answer = client.ask(node, &call);
        let accepted = answer.filter(|answer| answer.status == 202).map(|_| recorder.now());
        // The process may have been restarted meanwhile; then it is unknown which one accepted the message.
        let accepted = accepted.filter(|_| node.life() == life);
        let node = node.number;
        let publication = Publication { node, life, number, text, asked, accepted };
        recorder.seen().published.push(publication);
        sleep(PAUSE);
    }
}

/// Subscribes at one node, again after each end, and records the events.
pub(super) fn subscribe(node: &Endpoint, recorder: &Arc<Recorder>) {
    let client = Client::new(None);
    loop {
        if let Some(stream) = client.stream(node, TOPIC) {
            listen(node, recorder, BufReader::new(stream));
        }
        sleep(AGAIN);
    }
}

fn listen(node: &Endpoint, recorder: &Recorder, reader: impl BufRead) {
    let mut stream = None;
    let (mut event, mut data) = (String::new(), String::new());
    for line in reader.lines().map_while(Result::ok) {
        // The first line of any kind shows that the subscription is active.
        let stream = *stream.get_or_insert_with(|| recorder.open(node.number));
        if let Some(name) = line.strip_prefix("event: ") {
            name.clone_into(&mut event);
        } else if let Some(text) = line.strip_prefix("data: ") {
            data.push_str(text);
        } else if line.is_empty() && !(data.is_empty() && event.is_empty()) {
            let (event, data) = (std::mem::take(&mut event), std::mem::take(&mut data));
            recorder.hear(stream, heard(&event, data));
        }
    }
    if let Some(stream) = stream {
        recorder.close(stream);
    }
}

fn heard(event: &str, data: String) -> Heard {
    if event == "lagged" {
        let told: serde_json::Value = serde_json::from_str(&data).unwrap_or_default();
        return Heard::Missed(told["missed"].as_u64());
    }
    Heard::Message(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            number: 4,
            base: String::new(),
            token: None,
            public_key: String::new(),
            id: String::new(),
            life: 0.into(),
        }
    }

    #[test]
    fn events_become_messages_and_words_of_missed_ones() {
        let recorder = Recorder::new();
        let text = ":\n\nid: a\ndata: 4.1\n\nevent: lagged\ndata: {\"missed\":3}\n\n\
                    event: lagged\ndata: {\"missed\":null}\n\n:\n\ndata: 4.2\n\n";
        listen(&endpoint(), &recorder, text.as_bytes());
        let seen = recorder.seen();
        let heard: Vec<_> = seen.streams[0].heard.iter().map(|(_, heard)| heard.clone()).collect();
        assert_eq!(
            heard,
            [
                Heard::Message("4.1".into()),
                Heard::Missed(Some(3)),
                Heard::Missed(None),
                Heard::Message("4.2".into()),
            ]
        );
        assert!(seen.streams[0].closed < Duration::MAX);
    }

    #[test]
    fn a_stream_that_ends_at_once_was_never_in_force() {
        let recorder = Recorder::new();
        listen(&endpoint(), &recorder, &b""[..]);
        assert!(recorder.seen().streams.is_empty());
    }
}
