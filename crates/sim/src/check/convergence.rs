//! Convergence: when all nodes can reach each other again, all replicas of a key agree, and so do all
//! readers.

use std::time::Duration;

use potluck_base::{Key, Rng};
use potluck_node::{Command, Reply};

use crate::batch::{Batch, pick};
use crate::check::Check;
use crate::check::replication::{Census, dossier};
use crate::world::World;

/// Whether the replicas of every key agree.
#[must_use]
pub fn replicas_agree(world: &mut World, keys: &[Key], r: usize) -> Check {
    let census = Census::take(world);
    let torn: Vec<String> = keys
        .iter()
        .filter(|key| census.replication(&[**key], r).torn > 0)
        .map(|key| format!("{key:?}: {}", dossier(world, key, r)))
        .collect();
    Check::none_of("all replicas of a key agree", keys.len(), &torn)
}

/// Whether reads of each key from `readers` random nodes return the same.
#[must_use]
pub fn readers_agree(world: &mut World, rng: &mut Rng, keys: &[Key], readers: usize) -> Check {
    let live = world.live();
    let bound = Duration::from_secs(60) + Duration::from_millis(100) * keys.len() as u32;
    let outcomes = Batch { in_flight: 50, bound }.run(world, keys.len() * readers, |_, index| {
        (pick(rng, &live), Command::Get { key: keys[index / readers], quorum: None })
    });
    let mut torn = Vec::new();
    for (key, answers) in keys.iter().zip(outcomes.chunks(readers)) {
        let seen: Vec<_> = answers
            .iter()
            .map(|outcome| match outcome.as_ref().and_then(|outcome| outcome.reply.as_ref()) {
                Some(Reply::Read(done)) => Some(&done.reading.values),
                _ => None,
            })
            .collect();
        if seen.windows(2).any(|pair| pair[0] != pair[1]) || seen.contains(&None) {
            let counts: Vec<_> = seen.iter().map(|values| values.map(Vec::len)).collect();
            torn.push(format!("{key:?} (values seen: {counts:?})"));
        }
    }
    Check::none_of("all readers of a key see the same", keys.len(), &torn)
}
