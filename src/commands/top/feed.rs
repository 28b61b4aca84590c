//! Reads the state of the node once a second on a thread of its own, so that keys never wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::keys::Screen;
use super::views;
use crate::api::{Lookup, Member, Members, Overview, Peer, Peers};
use crate::client::{Client, kv_path};
use crate::doctor::Report;
use crate::failure::Failure;
use crate::text::printable;

/// How often the node is asked.
const PACE: Duration = Duration::from_secs(1);
/// Longest time for an answer; a longer silence is shown.
const LIMIT: Duration = Duration::from_secs(3);
/// Longest time for requests that ask other nodes.
const LONG: Duration = Duration::from_secs(20);

/// The data that is shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) overview: Overview,
    pub(super) members: Vec<Member>,
    pub(super) peers: Vec<Peer>,
    /// Why the data is old, if it is.
    pub(super) trouble: Option<String>,
}

/// Asks a node for everything.
pub(super) fn load(client: &Client) -> Result<Model, Failure> {
    let client = client.clone().within(LIMIT);
    let overview = client.get_json::<Overview>("/v1/overview")?;
    let members = client.get_json::<Members>("/v1/members")?.members;
    let peers = client.get_json::<Peers>("/v1/peers")?.peers;
    Ok(Model { overview, members, peers, trouble: None })
}

/// The state that both threads share.
#[derive(Debug)]
struct Shared {
    model: Mutex<Arc<Model>>,
    /// Number of updates.
    version: AtomicU64,
    /// The text of an answer that the user asked for.
    answer: Mutex<Option<Vec<String>>>,
    ended: AtomicBool,
}

/// The node that is watched.
#[derive(Debug)]
pub(super) struct Feed {
    client: Client,
    shared: Arc<Shared>,
    seen: AtomicU64,
}

impl Feed {
    /// Begins with the loaded data.
    pub(super) fn begin(client: Client, model: Model) -> Self {
        let shared = Arc::new(Shared {
            model: Mutex::new(Arc::new(model)),
            version: AtomicU64::new(1),
            answer: Mutex::new(None),
            ended: AtomicBool::new(false),
        });
        let (watching, asking) = (Arc::clone(&shared), client.clone());
        thread::spawn(move || {
            while !watching.ended.load(Ordering::Relaxed) {
                thread::sleep(PACE);
                let next = match load(&asking) {
                    Ok(model) => model,
                    Err(failure) => {
                        let before = Model::clone(&watching.model.lock());
                        Model { trouble: Some(failure.to_string()), ..before }
                    }
                };
                *watching.model.lock() = Arc::new(next);
                watching.version.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { client, shared, seen: AtomicU64::new(0) }
    }

    pub(super) fn model(&self) -> Arc<Model> {
        Arc::clone(&self.shared.model.lock())
    }

    /// Whether there is an update; an answer is put on the screen.
    pub(super) fn is_newer(&self, screen: &mut Screen) -> bool {
        if let Some(answer) = self.shared.answer.lock().take() {
            screen.show(answer);
        }
        let version = self.shared.version.load(Ordering::Relaxed);
        self.seen.swap(version, Ordering::Relaxed) != version
    }

    /// Runs a request that takes a while.
    fn ask(&self, question: impl FnOnce(&Client) -> Result<Vec<String>, Failure> + Send + 'static) {
        let (shared, client) = (Arc::clone(&self.shared), self.client.clone().within(LONG));
        thread::spawn(move || {
            let answer = question(&client).unwrap_or_else(|failure| vec![failure.to_string()]);
            let lines = answer.into_iter().map(|line| printable(&line)).collect();
            *shared.answer.lock() = Some(lines);
            shared.version.fetch_add(1, Ordering::Relaxed);
        });
    }

    pub(super) fn doctor(&self) {
        self.ask(|client| Ok(views::report(&client.get_json::<Report>("/v1/doctor")?)));
    }

    pub(super) fn trace(&self, name: String) {
        self.ask(move |client| {
            let path = kv_path("/v1/lookup", &name, &[("space", None)])?;
            Ok(views::lookup(&client.get_json::<Lookup>(&path)?))
        });
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}
