//! Durability: an acknowledged write is not lost while one of the nodes that acknowledged it lives.
//!
//! A holder that crashed and restarted with its disk counts as living, because it had acknowledged that the
//! write is on that disk.

use std::collections::BTreeMap;

use potluck_base::Key;
use potluck_record::{Place, Reading, State};

use crate::check::Check;
use crate::check::replication::{Census, dossier};
use crate::workload::{History, Write};
use crate::world::World;

/// Losses that are reported in full.
const SHOWN_MAX: usize = 3;

/// The state of the acknowledged writes.
#[derive(Debug, Clone, Default)]
pub struct Durability {
    /// Acknowledged writes.
    pub acknowledged: usize,
    /// Of these, those with at least one living node that acknowledged them.
    pub protected: usize,
    /// Lost although such a node lives.
    pub lost: Vec<String>,
    /// Lost, and no node that acknowledged it lives, so no acknowledgement was broken.
    pub lost_unprotected: usize,
    /// Acknowledged writes that are not judged, because they may have expired.
    pub expired: usize,
}

impl Durability {
    /// Checks the disks of all live nodes for every acknowledged write.
    pub fn of_disks(world: &mut World, history: &History) -> Self {
        let census = Census::take(world);
        let mut readings: BTreeMap<Key, Reading> = BTreeMap::new();
        let mut all = Self::default();
        let now = world.wall_clock();
        for write in history.acknowledged() {
            if write.may_have_expired(world.now()) {
                all.expired += 1;
                continue;
            }
            let reading = readings.entry(write.key).or_insert_with(|| {
                let mut state = State::new();
                for node in census.holders(&write.key) {
                    for envelope in world.disk(node).envelopes(&write.key, Place::Replica) {
                        state.merge(envelope);
                    }
                }
                Reading::of(&state, now)
            });
            let protected = write.holders().iter().any(|node| world.node(*node).is_up());
            all.note(write, protected, history.is_kept(write, reading));
        }
        all
    }

    /// Judges by reads: one reading for each key, `None` where the read failed.
    #[must_use]
    pub fn of_readings(
        world: &mut World,
        history: &History,
        readings: &BTreeMap<Key, Option<Reading>>,
    ) -> Self {
        let mut all = Self::default();
        for write in history.acknowledged() {
            let Some(reading) = readings.get(&write.key) else { continue };
            if write.may_have_expired(world.now()) {
                all.expired += 1;
                continue;
            }
            let protected = write.holders().iter().any(|node| world.node(*node).is_up());
            let kept = reading.as_ref().is_some_and(|reading| history.is_kept(write, reading));
            all.note(write, protected, kept);
            if !kept && protected && all.lost.len() <= SHOWN_MAX {
                let seen = reading.as_ref().map(|reading| reading.values.len());
                let held = dossier(world, &write.key, 12);
                all.lost.push(format!("a reader saw {seen:?} values of it; on disk: {held}"));
            }
        }
        all
    }

    fn note(&mut self, write: &Write, protected: bool, kept: bool) {
        self.acknowledged += 1;
        self.protected += usize::from(protected);
        match (kept, protected) {
            (true, _) => {}
            (false, true) => self.lost.push(format!(
                "{:?} of {} at {:?} as {:?}, held by {:?}",
                write.key,
                write.node,
                write.asked,
                write.version(),
                write.holders()
            )),
            (false, false) => self.lost_unprotected += 1,
        }
    }

    /// The check.
    #[must_use]
    pub fn check(&self, name: &'static str) -> Check {
        Check::none_of(name, self.protected, &self.lost)
    }
}
