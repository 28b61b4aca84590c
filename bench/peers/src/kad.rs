//! libp2p's Kademlia over TCP, Noise and Yamux, with the library's default settings: 20 nodes keep a
//! value. A put is done at the first acknowledgement, a get at the first value.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, GetRecordOk, QueryId, QueryResult, Quorum, Record, RecordKey};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::Result;
use crate::dht::Node;

/// Nodes of other networks speak another protocol.
const PROTOCOL: &str = "/potluck-peers/kad/1.0.0";
/// Longer than a bootstrap takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(NetworkBehaviour)]
struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    /// Tells the addresses under which a node is reached to those that it called.
    identify: identify::Behaviour,
}

/// What a node is asked for.
enum Command {
    Put(Record, oneshot::Sender<bool>),
    Get(RecordKey, oneshot::Sender<Option<Vec<u8>>>),
    /// Joins through this node.
    Join(PeerId, Multiaddr, oneshot::Sender<bool>),
}

/// Which answer a query is for.
enum Waiting {
    Put(oneshot::Sender<bool>),
    Get(oneshot::Sender<Option<Vec<u8>>>),
    Join(oneshot::Sender<bool>),
}

/// One node: its task and the way to it.
pub struct Peer {
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
}

impl Node for Peer {
    type Key = RecordKey;

    async fn start(nodes: usize) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        let mut joins = Vec::new();
        let mut entry: Option<(PeerId, Multiaddr)> = None;
        for _ in 0..nodes {
            let mut swarm = swarm()?;
            let address = listen(&mut swarm).await?;
            let id = *swarm.local_peer_id();
            let (commands, receiver) = mpsc::unbounded_channel();
            let task = tokio::spawn(drive(swarm, receiver));
            match &entry {
                Some((id, address)) => {
                    let (sender, joined) = oneshot::channel();
                    let _ = commands.send(Command::Join(*id, address.clone(), sender));
                    joins.push(joined);
                }
                None => entry = Some((id, address)),
            }
            all.push(Self { commands, task });
        }
        for join in joins {
            if !tokio::time::timeout(PATIENCE, join).await?? {
                return Err("a node of libp2p-kad found no other".into());
            }
        }
        Ok(all)
    }

    async fn put(&self, name: &str, value: Vec<u8>) -> Option<RecordKey> {
        let key = RecordKey::new(&name);
        let (sender, done) = oneshot::channel();
        self.commands.send(Command::Put(Record::new(key.clone(), value), sender)).ok()?;
        done.await.ok()?.then_some(key)
    }

    async fn get(&self, key: &RecordKey) -> Option<Vec<u8>> {
        let (sender, found) = oneshot::channel();
        self.commands.send(Command::Get(key.clone(), sender)).ok()?;
        found.await.ok()?
    }

    async fn stop(self) {
        // The system closes its connections, so the others see that at once: more than a node sees of
        // one that lost power.
        self.task.abort();
        let _ = self.task.await;
    }
}

fn swarm() -> Result<Swarm<Behaviour>> {
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| {
            let id = key.public().to_peer_id();
            let config = kad::Config::new(StreamProtocol::new(PROTOCOL));
            let mut kad = kad::Behaviour::with_config(id, MemoryStore::new(id), config);
            kad.set_mode(Some(kad::Mode::Server));
            let config = identify::Config::new(PROTOCOL.to_owned(), key.public());
            Behaviour { kad, identify: identify::Behaviour::new(config) }
        })?
        .build();
    Ok(swarm)
}

async fn listen(swarm: &mut Swarm<Behaviour>) -> Result<Multiaddr> {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return Ok(address);
        }
    }
}

async fn drive(mut swarm: Swarm<Behaviour>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut waiting = HashMap::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => begin(&mut swarm, command, &mut waiting),
                None => return,
            },
            event = swarm.select_next_some() => on_event(&mut swarm, event, &mut waiting),
        }
    }
}

fn begin(swarm: &mut Swarm<Behaviour>, command: Command, waiting: &mut HashMap<QueryId, Waiting>) {
    let kad = &mut swarm.behaviour_mut().kad;
    match command {
        Command::Put(record, sender) => match kad.put_record(record, Quorum::One) {
            Ok(query) => drop(waiting.insert(query, Waiting::Put(sender))),
            Err(_) => drop(sender.send(false)),
        },
        Command::Get(key, sender) => {
            let query = kad.get_record(key);
            waiting.insert(query, Waiting::Get(sender));
        }
        Command::Join(id, address, sender) => {
            kad.add_address(&id, address);
            match kad.bootstrap() {
                Ok(query) => drop(waiting.insert(query, Waiting::Join(sender))),
                Err(_) => drop(sender.send(false)),
            }
        }
    }
}

fn on_event(
    swarm: &mut Swarm<Behaviour>,
    event: SwarmEvent<BehaviourEvent>,
    waiting: &mut HashMap<QueryId, Waiting>,
) {
    let SwarmEvent::Behaviour(event) = event else { return };
    let kad = &mut swarm.behaviour_mut().kad;
    match event {
        BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
            for address in info.listen_addrs {
                kad.add_address(&peer_id, address);
            }
        }
        BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed { id, result, step, .. }) => {
            // A get goes on to ask others unless it is told that one value is enough.
            let found = match result {
                QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
                    if let Some(mut query) = kad.query_mut(&id) {
                        query.finish();
                    }
                    Outcome::Value(found.record.value)
                }
                QueryResult::PutRecord(Ok(_)) | QueryResult::Bootstrap(Ok(_)) => Outcome::Done,
                _ => Outcome::Failed,
            };
            if step.last || matches!(found, Outcome::Value(_)) {
                answer(waiting.remove(&id), found);
            }
        }
        _ => {}
    }
}

enum Outcome {
    Done,
    Value(Vec<u8>),
    Failed,
}

/// The one that asked may have gone, which is no error.
fn answer(waiting: Option<Waiting>, outcome: Outcome) {
    match (waiting, outcome) {
        (Some(Waiting::Put(sender) | Waiting::Join(sender)), outcome) => {
            let _ = sender.send(matches!(outcome, Outcome::Done));
        }
        (Some(Waiting::Get(sender)), Outcome::Value(value)) => {
            let _ = sender.send(Some(value));
        }
        (Some(Waiting::Get(sender)), Outcome::Done | Outcome::Failed) => {
            let _ = sender.send(None);
        }
        // The end of a get that was answered at its first value.
        (None, _) => {}
    }
}
