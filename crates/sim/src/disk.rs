//! A node's disk: the real record logic on a map in memory, with commits that take time and can be
//! lost.
//!
//! Operations are executed in batches, as in the real shell: operations that arrive during a commit wait for
//! the next one. A crash loses a running commit or, with the same probability, only its replies.
//! **Invariant:** without a fault, replied changes survive every crash.

use std::time::Duration;

use potluck_base::{Key, NodeId};
use potluck_record::{Envelope, OpId, Place, StateDigest, StorageFailure, StorageOp, StorageReply};
use potluck_store::{MemoryStore, StoreStats};

use crate::draws::Draws;

/// The speed of disks.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskConfig {
    /// How long a commit with its sync takes.
    pub commit: Duration,
    /// How long a batch takes that only reads.
    pub read: Duration,
    /// Both times vary by this fraction.
    pub jitter: f64,
    /// Most bytes of records on a disk; `None`: no limit.
    pub bytes: Option<u64>,
}

impl Default for DiskConfig {
    /// A solid-state disk of a rented machine.
    fn default() -> Self {
        Self {
            commit: Duration::from_millis(3),
            read: Duration::from_micros(100),
            jitter: 0.5,
            bytes: None,
        }
    }
}

/// A fault of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// No record may grow.
    Full,
    /// A disk error stopped the store until the node is restarted.
    Stopped,
    /// It reports writes as durable and never makes them durable.
    LyingSync,
}

/// A node's disk.
pub struct Disk {
    store: MemoryStore,
    config: DiskConfig,
    fault: Option<DiskFault>,
    waiting: Vec<(OpId, StorageOp)>,
    /// The replies of the running batch, which are returned when it is durable.
    under_way: Option<Vec<(OpId, StorageReply)>>,
    draws: Draws,
}

impl Disk {
    pub(crate) fn new(config: DiskConfig, draws: Draws) -> Self {
        let mut store = MemoryStore::in_memory();
        store.set_disk_bytes(config.bytes);
        Self { store, config, fault: None, waiting: Vec::new(), under_way: None, draws }
    }

    /// A disk with the same contents, as a copied data folder has.
    pub(crate) fn copied(&self, draws: Draws) -> Self {
        Self { store: self.store.copied(), ..Self::new(self.config.clone(), draws) }
    }

    /// Sets the node of the disk: when the disk is full, records are displaced by closer ones, and those of
    /// members above their share by those of others.
    pub(crate) fn belongs_to(&mut self, node: NodeId) {
        if self.config.bytes.is_some() {
            self.store.set_center(node);
        }
    }

    pub(crate) fn submit(&mut self, id: OpId, op: StorageOp) {
        self.waiting.push((id, op));
    }

    /// Starts a batch if none is running. Returns the time that it will take.
    pub(crate) fn begin(&mut self) -> Option<Duration> {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return None;
        }
        let (ids, ops): (Vec<OpId>, Vec<StorageOp>) = self.waiting.drain(..).unzip();
        let replies = if self.fault == Some(DiskFault::Stopped) {
            vec![StorageReply::Failed(StorageFailure::Stopped); ops.len()]
        } else {
            self.store.apply_unsynced(&ops)
        };
        self.under_way = Some(ids.into_iter().zip(replies).collect());
        let reads_only = ops.iter().all(|op| {
            matches!(
                op,
                StorageOp::Load { .. }
                    | StorageOp::Scan { .. }
                    | StorageOp::ScanOwn { .. }
                    | StorageOp::ScanCertificates { .. }
                    | StorageOp::Fingerprint { .. }
                    | StorageOp::Fingerprints { .. }
                    | StorageOp::Entries { .. }
                    | StorageOp::Index { .. }
            )
        });
        let time = if reads_only { self.config.read } else { self.config.commit };
        Some(self.draws.jitter(time, self.config.jitter))
    }

    /// Ends the running batch. If the disk is honest, it is durable now.
    pub(crate) fn finish(&mut self) -> Vec<(OpId, StorageReply)> {
        if self.fault != Some(DiskFault::LyingSync) {
            self.store.sync();
        }
        self.under_way.take().unwrap_or_default()
    }

    /// The process ends normally.
    pub(crate) fn close(&mut self) {
        self.finish();
        self.waiting.clear();
    }

    /// The power fails: unsynced changes are lost, and a running batch with probability one half.
    pub(crate) fn crash(&mut self) {
        let synced = self.draws.chance(0.5) && self.fault != Some(DiskFault::LyingSync);
        if self.under_way.take().is_some() && synced {
            self.store.sync();
        }
        self.waiting.clear();
        self.store.crash();
        if self.fault == Some(DiskFault::Stopped) {
            self.fault = None;
        }
    }

    pub(crate) fn set_fault(&mut self, fault: Option<DiskFault>) {
        self.fault = fault;
        let room = if fault == Some(DiskFault::Full) { Some(0) } else { self.config.bytes };
        self.store.set_disk_bytes(room);
    }

    /// Damages the envelopes of `key` in one place. Returns their number.
    pub(crate) fn damage(&mut self, key: &Key, place: Place) -> usize {
        self.store.damage(key, place)
    }

    /// The digest of a key's state as replica; `None` if the key is not here.
    pub fn digest(&mut self, key: &Key) -> Option<StateDigest> {
        let scan = StorageOp::Scan { from: *key, to: *key, limit: 1 };
        match self.store.apply(&[scan]).pop() {
            Some(StorageReply::Scanned { entries, .. }) => {
                entries.first().map(|(_, digest)| *digest)
            }
            _ => None,
        }
    }

    /// All keys held as replica with their digests, ascending.
    pub fn keys(&mut self) -> Vec<(Key, StateDigest)> {
        let mut all: Vec<(Key, StateDigest)> = Vec::new();
        let mut from = Some(Key::from_bytes([0; 32]));
        while let Some(first) = from.take() {
            let to = Key::from_bytes([0xff; 32]);
            let scan = StorageOp::Scan { from: first, to, limit: u32::MAX };
            if let Some(StorageReply::Scanned { entries, more }) = self.store.apply(&[scan]).pop() {
                all.extend(entries);
                from = all.last().filter(|_| more).and_then(|(last, _)| successor(last));
            }
        }
        all
    }

    /// The envelopes of a key in one of the two places.
    pub fn envelopes(&mut self, key: &Key, place: Place) -> Vec<Envelope> {
        match self.store.apply(&[StorageOp::Load { key: *key, place }]).pop() {
            Some(StorageReply::Loaded { envelopes }) => envelopes,
            _ => Vec::new(),
        }
    }

    /// The contents of the store and its counters.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        self.store.stats()
    }
}

/// The key after `key`. `None` for the last key.
fn successor(key: &Key) -> Option<Key> {
    let mut bytes = *key.as_bytes();
    let index = bytes.iter().rposition(|byte| *byte != 0xff)?;
    bytes[index] += 1;
    bytes[index + 1..].fill(0);
    Some(Key::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use potluck_base::{Admission, Identity, NetworkId, UnixMillis};
    use potluck_record::{Context, Dot, Draft, Kind, MergeAs, Name, Space};

    use super::*;

    fn merge(number: u64) -> StorageOp {
        let network = NetworkId::new("test", Admission::Lab, None);
        let draft = Draft {
            space: Space::Commons,
            name: Some(Name::new(format!("name {number}")).expect("good name")),
            kind: Kind::Siblings,
            values: vec![(Dot::from_raw(1), UnixMillis(u64::MAX), "value".into())],
            dot: Dot::from_raw(1),
            context: Context::new(),
            expires: UnixMillis(u64::MAX),
            certificate: None,
        };
        let identity = Identity::from_seed([1; 32]);
        let envelope = Envelope::sign(&identity, &network, draft).expect("within the limits");
        StorageOp::Merge { envelope, place: Place::Replica, how: MergeAs::Repair }
    }

    fn disk(seed: u64) -> Disk {
        Disk::new(DiskConfig::default(), Draws::new(seed, "disk", 0))
    }

    fn written(disk: &mut Disk, numbers: std::ops::Range<u64>) -> usize {
        for number in numbers {
            disk.submit(OpId(number), merge(number));
        }
        assert!(disk.begin().is_some_and(|time| time > Duration::from_millis(1)));
        assert_eq!(disk.begin(), None, "one batch at a time");
        disk.finish().len()
    }

    #[test]
    fn acknowledged_writes_survive_a_crash_and_others_are_kept_or_lost_as_a_whole() {
        let mut kept = [0, 0];
        for seed in 0..20 {
            let mut disk = disk(seed);
            assert_eq!(written(&mut disk, 0..10), 10);
            (10..20).for_each(|number| disk.submit(OpId(number), merge(number)));
            assert!(disk.begin().is_some());
            disk.submit(OpId(20), merge(20));
            disk.crash();
            match disk.keys().len() {
                10 => kept[0] += 1,
                20 => kept[1] += 1,
                other => panic!("{other} keys after the crash"),
            }
        }
        assert!(kept[0] > 2 && kept[1] > 2, "{kept:?}");
    }

    #[test]
    fn a_lying_disk_answers_and_forgets() {
        let mut disk = disk(1);
        disk.set_fault(Some(DiskFault::LyingSync));
        assert_eq!(written(&mut disk, 0..10), 10);
        assert_eq!(disk.keys().len(), 10);
        disk.crash();
        assert_eq!(disk.keys(), []);
    }

    #[test]
    fn full_and_stopped_disks_say_so() {
        for (fault, failure) in
            [(DiskFault::Full, StorageFailure::Full), (DiskFault::Stopped, StorageFailure::Stopped)]
        {
            let mut disk = disk(1);
            disk.set_fault(Some(fault));
            disk.submit(OpId(1), merge(1));
            assert!(disk.begin().is_some());
            assert_eq!(disk.finish(), [(OpId(1), StorageReply::Failed(failure))]);
            disk.set_fault(None);
            assert_eq!(written(&mut disk, 0..3), 3);
            assert_eq!(disk.keys().len(), 3);
        }
    }

    #[test]
    fn the_key_behind_a_key_is_the_next_number() {
        let mut bytes = [0; 32];
        bytes[31] = 0xff;
        let mut next = [0; 32];
        next[30] = 1;
        assert_eq!(successor(&Key::from_bytes(bytes)), Some(Key::from_bytes(next)));
        assert_eq!(successor(&Key::from_bytes([0xff; 32])), None);
    }
}
