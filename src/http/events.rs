//! `/v1/events`: what happens to this node and to the members it knows, while it happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use potluck::{Event, Events, Peer};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::app::App;
use super::files::stream::{Pieces, stream};
use super::{sse, views};
use crate::api::rfc3339;

/// Interval at which the node's health and its transfers are read.
const LOOK: Duration = Duration::from_secs(1);

/// The events of this node and of the members it knows, from now on. Each event is an object with `type`
/// (also the event's name) and `at`: `member` (`id`, `address`, `change`: joined, suspected, refuted, died,
/// left, returned or revoked), `neighbour` (`id`, `address`, `change`: up or down, `cause`), `sibling` (`id`,
/// `address`, `change`: joined or left), `joined`, `isolated`, `reunited`, `health` (`health`, `reasons`;
/// once at the start, then when it changes), `transfer` (a fetch, as in `/v1/fetches`) and `missed` (`count`
/// events, if the client does not read them fast enough).
#[utoipa::path(get, path = "/v1/events",
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(super) async fn events(State(app): State<Arc<App>>) -> Response {
    // Subscribed before the answer begins: a client that has the head misses no event.
    let events = app.node().events();
    let (pieces, body) = stream();
    tokio::spawn(async move {
        tokio::select! {
            () = pieces.closed() => {}
            () = tell(&app, events, &pieces) => {}
        }
    });
    sse::respond(body)
}

/// Sends events until the node stops or the client is gone.
async fn tell(app: &App, mut events: Events, pieces: &Pieces) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut spoke) = (Looked::default(), Instant::now());
    loop {
        let mut text = String::new();
        tokio::select! {
            event = events.next() => match event {
                Some(event) => append(&mut text, told(&event)),
                None => return,
            },
            _ = looks.tick() => {
                if last.look(app, &mut text).await.is_none() {
                    return;
                }
                if text.is_empty() && spoke.elapsed() >= sse::SILENCE_MAX {
                    text.push_str(sse::HEARTBEAT);
                }
            }
        }
        let missed = events.missed() - last.missed;
        if missed > 0 {
            last.missed += missed;
            append(&mut text, json!({"type": "missed", "count": missed}));
        }
        if text.is_empty() {
            continue;
        }
        spoke = Instant::now();
        if !sse::send(pieces, text).await {
            return;
        }
    }
}

/// The states that were sent last.
#[derive(Debug, Default)]
struct Looked {
    health: Option<(String, Vec<String>)>,
    transfers: BTreeMap<String, Value>,
    missed: u64,
}

impl Looked {
    /// Appends what has changed; `None` when the node has stopped.
    async fn look(&mut self, app: &App, to: &mut String) -> Option<()> {
        let verdict = app.node().health().await.ok()?;
        let health = (verdict.health.as_str().to_owned(), verdict.sentences());
        if self.health.as_ref() != Some(&health) {
            let (word, reasons) = &health;
            append(to, json!({"type": "health", "health": word, "reasons": reasons}));
            self.health = Some(health);
        }
        let mut transfers = BTreeMap::new();
        for job in app.jobs().views() {
            let id = job.id.clone();
            let Ok(view) = serde_json::to_value(job) else { continue };
            if self.transfers.get(&id) != Some(&view) {
                append(to, json!({"type": "transfer", "transfer": view}));
            }
            transfers.insert(id, view);
        }
        self.transfers = transfers;
        Some(())
    }
}

/// Appends an event that happened now.
fn append(to: &mut String, mut event: Value) {
    event["at"] = rfc3339(views::now().0).into();
    // Strings of a JSON value have no line breaks that are not escaped.
    sse::append(to, event["type"].as_str(), None, &event.to_string());
}

fn told(event: &Event) -> Value {
    let of = |kind: &str, peer: &Peer, change: &str| {
        let (id, address) = (peer.id.to_string(), peer.contact.address.to_string());
        json!({"type": kind, "id": id, "address": address, "change": change})
    };
    match event {
        Event::Joined => json!({"type": "joined"}),
        Event::Isolated => json!({"type": "isolated"}),
        Event::IdentityElsewhere => json!({"type": "identityElsewhere"}),
        Event::LastResort => json!({"type": "lastResort"}),
        Event::Reunited => json!({"type": "reunited"}),
        Event::SiblingJoined(peer) => of("sibling", peer, "joined"),
        Event::SiblingLeft(peer) => of("sibling", peer, "left"),
        Event::Member(event) => of("member", &event.peer, event.change.as_str()),
        Event::NeighbourUp(peer) => of("neighbour", peer, "up"),
        Event::NeighbourDown(peer, cause) => {
            let mut down = of("neighbour", peer, "down");
            down["cause"] = cause.as_str().into();
            down
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck::{Admission, Cause, Change, Contact, Identity, MemberEvent, NetworkId};

    use super::*;

    #[test]
    fn an_event_says_what_happened_to_whom_and_why() {
        let public_key = Identity::from_seed([1; 32]).public_key();
        let address = "127.0.0.1:7".parse().expect("an address");
        let network = NetworkId::new("t", Admission::Lab, None);
        let peer = Contact::new(public_key, address).in_network(&network);
        let died = told(&Event::Member(MemberEvent { peer, change: Change::Died }));
        let id = peer.id.to_string();
        let expected =
            json!({"type": "member", "id": id, "address": "127.0.0.1:7", "change": "died"});
        assert_eq!(died, expected);
        let down = told(&Event::NeighbourDown(peer, Cause::Crashed));
        assert_eq!((&down["change"], &down["cause"]), (&"down".into(), &"crashed".into()));
        let mut text = String::new();
        append(&mut text, died);
        let line = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
        let read: Value = serde_json::from_str(line).expect("JSON");
        assert!(read["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{line}");
        assert!(text.starts_with("event: member\n") && text.ends_with("\n\n"), "{text}");
    }
}
