//! Routing: a lookup from any node ends at the nodes that are really closest.

use std::time::Duration;

use potluck_base::{Key, NodeId, Rng};
use potluck_node::{Command, Reply};

use crate::batch::{Batch, pick};
use crate::check::{Check, closest};
use crate::world::World;

/// The results of sampled lookups.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// Lookups that were answered.
    pub answered: usize,
    /// Lookups asked for.
    pub asked: usize,
    /// Of these, those that found exactly the closest live nodes.
    pub exact: usize,
    /// True closest nodes that were found, over all lookups.
    pub found: usize,
    /// True closest nodes that exist, over all lookups.
    pub there: usize,
    /// Hops of each, ascending.
    pub hops: Vec<u8>,
    /// Time of each.
    pub took: Vec<Duration>,
    /// Requests that all lookups sent.
    pub queries: usize,
    /// The missing nodes of the first few inexact lookups.
    pub misses: Vec<String>,
}

impl Routing {
    /// Looks up `count` random keys from random live nodes, and compares the results with the truth.
    pub fn sample(world: &mut World, rng: &mut Rng, count: usize) -> Self {
        let live = world.live();
        let peers = world.peers(&live);
        let keys: Vec<Key> = (0..count).map(|_| Key::from_bytes(rng.bytes())).collect();
        let batch = Batch { in_flight: 50, bound: Duration::from_secs(30 + count as u64) };
        let outcomes = batch
            .run(world, count, |_, index| (pick(rng, &live), Command::Trace { key: keys[index] }));
        let k = world.config().node.dht.k;
        let mut routing = Self { asked: count, ..Self::default() };
        for (key, outcome) in keys.iter().zip(outcomes) {
            let Some(outcome) = outcome else { continue };
            let Some(Reply::Traced { trace, closest: got }) = outcome.reply else { continue };
            let asker = world.node(outcome.node).peer().id;
            let truth: Vec<NodeId> = closest(&peers, key, k + 1)
                .into_iter()
                .map(|peer| peer.id)
                .filter(|id| *id != asker)
                .take(k)
                .collect();
            let got: Vec<NodeId> =
                got.iter().map(|peer| peer.id).filter(|id| *id != asker).take(k).collect();
            routing.answered += 1;
            routing.there += truth.len();
            routing.found += truth.iter().filter(|id| got.contains(id)).count();
            if got == truth {
                routing.exact += 1;
            } else if routing.misses.len() < 5 {
                let at = truth.iter().zip(&got).position(|(want, got)| want != got);
                routing.misses.push(format!(
                    "{key:?} from {}: {} of {} found, first miss at rank {:?}, {} after {:?}",
                    outcome.node,
                    truth.iter().filter(|id| got.contains(id)).count(),
                    truth.len(),
                    at,
                    trace.outcome.as_str(),
                    trace.took,
                ));
            }
            routing.queries += trace.queries.len();
            routing.hops.push(trace.hops);
            routing.took.push(outcome.ended.since(outcome.asked));
        }
        routing.hops.sort_unstable();
        routing
    }

    /// The median of the hops.
    #[must_use]
    pub fn median_hops(&self) -> u8 {
        self.hops.get(self.hops.len() / 2).copied().unwrap_or_default()
    }

    /// Whether at least `share` of the lookups were exact.
    #[must_use]
    pub fn check(&self, share: f64) -> Check {
        let passed = self.asked > 0
            && self.answered == self.asked
            && self.exact as f64 >= share * self.asked as f64;
        let detail = format!(
            "{} of {} exact, {} of {} nodes found{}{}",
            self.exact,
            self.asked,
            self.found,
            self.there,
            if self.misses.is_empty() { "" } else { ": " },
            self.misses.join("; ")
        );
        Check::new("lookups find the true closest", passed, detail)
    }

    /// Whether the median lookup took at most `most` hops.
    #[must_use]
    pub fn check_hops(&self, most: u8) -> Check {
        let median = self.median_hops();
        let longest = self.hops.last().copied().unwrap_or_default();
        let detail = format!("median {median}, most {longest}");
        Check::new("lookups take few hops", !self.hops.is_empty() && median <= most, detail)
    }
}
