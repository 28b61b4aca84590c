//! Healing: dead members are tried again for as long as they are remembered.
//!
//! Serf tries one failed member every 30 s, with the ratio of failed to alive members as
//! probability, and forgets it after a day, so a split of two days never heals there. Here a member
//! is remembered for a week, and a node that is almost alone tries far more often. One member that
//! returned brings its whole side back: its list is compared at once.

use std::time::Duration;

use potluck_base::{Instant, PublicKey};

use super::Members;
use super::detector::ProbeReason;
use super::table::LocalState;

/// With fewer living members than this, dead ones are tried more often.
const FEW: usize = 3;
/// Interval between these tries.
const FEW_INTERVAL: Duration = Duration::from_secs(5);
/// While a member died within this time, the dead are tried every [`LATELY_INTERVAL`].
const LATELY: Duration = Duration::from_secs(600);
/// Pause between two tries of members that died lately. Nodes on both sides of a split hold each other
/// dead and send each other nothing, so these tries are what joins them again, seconds after its end.
const LATELY_INTERVAL: Duration = Duration::from_secs(2);
/// Dead members tried at once.
const TRIED: usize = 3;

impl Members {
    /// A member died: it is tried again soon.
    pub(super) fn heal_soon(&mut self, now: Instant) {
        self.detector.heal_by(now + LATELY_INTERVAL);
    }

    /// Tries some dead members, and forgets those that were gone for too long.
    pub(super) fn heal(&mut self, now: Instant) {
        let [alive, _, dead, _] = self.table.counts();
        let few = alive < FEW;
        let pause = match few {
            _ if self.table.died_since(now, LATELY) => LATELY_INTERVAL,
            true => FEW_INTERVAL,
            false => self.config.heal_interval,
        };
        let pause = self.rng.jitter(pause.min(self.config.heal_interval), 0.3);
        self.detector.heal_next(now + pause);
        self.table.forget_old(now, self.config.gone_keep);
        self.revocations.prune(self.wall);
        self.forget_unwatched(now);
        self.send_settings_to_neighbours();
        let chance = if few { 1.0 } else { (dead as f64 / alive.max(1) as f64).min(1.0) };
        if dead == 0 || !self.rng.chance(chance.max(0.05)) {
            return;
        }
        let keys: Vec<PublicKey> = self
            .table
            .iter()
            .filter(|member| member.state == LocalState::Dead)
            .map(|member| member.peer.contact.public_key)
            .collect();
        for _ in 0..TRIED.min(keys.len()) {
            let key = keys[self.rng.below(keys.len() as u64) as usize];
            self.stats.healing_probes += 1;
            self.probe(now, &key, ProbeReason::Heal);
        }
    }
}
