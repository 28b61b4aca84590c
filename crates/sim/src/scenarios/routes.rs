//! Routing among colluders: whether lookups find the honest nodes nearest to a key, and whether colluders get
//! around a node. Each file is one attack; the defence that it is about is named beside it in
//! `tests/defences.rs`, where it is also switched off.

mod dead;
mod ground;
mod hidden;
mod joiner;
mod poisoners;

use std::sync::Arc;
use std::time::Duration;

use potluck_base::{Key, NodeId, Peer};
use potluck_node::{Command, Reply};

use crate::batch::{Batch, pick};
use crate::check::{Check, closest};
use crate::hostile::{Poisoner, Replica};
use crate::report::Value;
use crate::scenario::Run;
use crate::sim_node::NodeIndex;
use crate::world::{HostileIndex, World};

pub(super) use dead::ROUTES_DEAD;
pub(super) use ground::ROUTES_GROUND;
pub(super) use hidden::ROUTES_HIDDEN;
pub(super) use joiner::ROUTES_JOINER;
pub(super) use poisoners::{ROUTES_POISONED_20, ROUTES_POISONED_30};

/// Who is there.
#[derive(Debug, Clone, Default)]
struct Members {
    honest: Vec<Peer>,
    colluders: Vec<Peer>,
}

/// What lookups of some keys found.
#[derive(Debug, Clone, Default)]
struct Found {
    /// Lookups asked for.
    asked: usize,
    /// Those with all honest nodes of the k closest that must be found.
    right: usize,
    /// Those with at least one of them.
    reached: usize,
    /// Honest nodes to be found, and those that were.
    there: usize,
    found: usize,
    requests: usize,
    took: Vec<Duration>,
    /// What the first few missed.
    misses: Vec<String>,
}

impl Found {
    /// Looks each key up once, from one of `askers`. To be found are the honest nodes among the k closest of
    /// all members.
    fn of(
        world: &mut World,
        run: &mut Run,
        askers: &[NodeIndex],
        keys: &[Key],
        Members { honest, colluders }: &Members,
    ) -> Self {
        let every: Vec<Peer> = honest.iter().chain(colluders).copied().collect();
        let batch = Batch { in_flight: 20, bound: Duration::from_secs(60 + keys.len() as u64) };
        let outcomes = batch.run(world, keys.len(), |_, at| {
            (pick(&mut run.rng, askers), Command::Trace { key: keys[at] })
        });
        let k = world.config().node.dht.k;
        let mut found = Self { asked: keys.len(), ..Self::default() };
        for (key, outcome) in keys.iter().zip(outcomes) {
            let Some(outcome) = outcome else { continue };
            let Some(Reply::Traced { trace, closest: got }) = outcome.reply else { continue };
            let asker = world.node(outcome.node).peer().id;
            let is_honest = |id: &NodeId| honest.iter().any(|peer| peer.id == *id);
            let wanted: Vec<NodeId> = closest(&every, key, k)
                .into_iter()
                .map(|peer| peer.id)
                .filter(|id| *id != asker && is_honest(id))
                .collect();
            let met = wanted.iter().filter(|id| got.iter().any(|peer| peer.id == **id)).count();
            found.there += wanted.len();
            found.found += met;
            found.right += usize::from(met == wanted.len());
            found.reached += usize::from(met > 0);
            found.requests += trace.queries.len();
            found.took.push(outcome.ended.since(outcome.asked));
            if met < wanted.len() && found.misses.len() < 5 {
                let node = outcome.node;
                found.misses.push(format!("{key:?} from {node}: {met} of {}", wanted.len()));
            }
        }
        found
    }

    fn show(&self, run: &mut Run) {
        run.figure(
            "lookups with all honest of the 16 closest",
            Value::share(self.right, self.asked),
        );
        run.figure("with at least one of them", Value::share(self.reached, self.asked));
        run.figure("honest nodes found of those there", Value::share(self.found, self.there));
        let requests = self.requests as f64 / self.asked.max(1) as f64;
        run.figure("requests a lookup", Value::Number(requests));
        run.figure("lookup time", Value::times(self.took.clone()));
    }

    /// Whether at least `share` of the lookups are right.
    fn check(&self, name: &'static str, share: f64) -> Check {
        let passed = self.asked > 0 && self.right as f64 >= share * self.asked as f64;
        let detail = format!("{} of {}; {}", self.right, self.asked, self.misses.join("; "));
        Check::new(name, passed, detail)
    }
}

/// Adds `count` colluders that answer with each other, and makes them known to all nodes.
fn collude(world: &mut World, count: usize) -> Vec<Peer> {
    let who: Vec<HostileIndex> = (0..count).map(|_| world.hostile()).collect();
    enlist(world, &who, &[])
}

/// These join and answer with each other, and with those of `hidden`, which join nothing.
fn enlist(world: &mut World, who: &[HostileIndex], hidden: &[HostileIndex]) -> Vec<Peer> {
    // While they join they are as honest as can be.
    for index in who {
        world.hostile_manners(*index, Replica::new());
    }
    world.hostile_joins(who);
    let all = who.iter().chain(hidden);
    let accomplices: Vec<Peer> = all.clone().map(|index| world.hostile_peer(*index)).collect();
    let shared = Arc::new(accomplices);
    for index in all {
        world.hostile_manners(*index, Poisoner::new(Arc::clone(&shared)));
    }
    who.iter().map(|index| world.hostile_peer(*index)).collect()
}

fn random_keys(run: &mut Run, count: usize) -> Vec<Key> {
    (0..count).map(|_| Key::from_bytes(run.rng.bytes())).collect()
}

/// The contacts in the table of a node.
fn table(world: &World, node: NodeIndex) -> Vec<Peer> {
    let view = world
        .node(node)
        .machine()
        .map(|machine| machine.dht().table_view(potluck_base::Instant::ZERO).contacts);
    view.unwrap_or_default().into_iter().map(|contact| contact.peer).collect()
}
