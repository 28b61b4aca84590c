//! The configuration of a store on disk.

use potluck_base::NetworkId;

const MIB: u64 = 1024 * 1024;

/// The time at which a batch is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// After it is on the disk. Every real node uses this.
    #[default]
    Data,
    /// After the operating system has it; a loss of power can undo it. For tests and benchmarks.
    Buffered,
}

/// Limits besides the bytes of [`StoreConfig::disk_bytes`]. `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas {
    /// Most envelopes held as replica.
    pub records: Option<u64>,
    /// Most envelopes of one writer held as replica. Repair may bring in more.
    pub member_records: Option<u64>,
    /// Most bytes of one writer's envelopes held as replica. Repair may bring in more.
    pub member_bytes: Option<u64>,
    /// Most bytes of the envelopes of one key. Repair may bring in more.
    pub key_bytes: Option<u64>,
}

/// The options for opening a store on disk.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The network that the folder belongs to.
    pub network: NetworkId,
    /// The time at which a batch is acknowledged.
    pub sync: SyncMode,
    /// The approximate memory of the store: a quarter for cached blocks, the rest for write buffers and their
    /// overhead. Under about 3 MiB the engine's fixed costs dominate.
    pub memory_bytes: u64,
    /// Most bytes of live rows. `None`: as much as the disk allows. The engine's files take about a tenth
    /// more, and up to twice as much while the engine rewrites them; its journal of up to 64 MiB is not
    /// included.
    pub disk_bytes: Option<u64>,
    /// Other limits of the store.
    pub quotas: Quotas,
    /// No row may grow while the disk has less free space than this plus a quarter of the store's tables (at
    /// most 1 GiB), which the engine sometimes rewrites. The engine fails if the disk is completely full.
    pub reserve_bytes: u64,
}

impl StoreConfig {
    /// The defaults for `network`: synced commits, 256 MiB of memory, 64 MiB of the disk left free.
    #[must_use]
    pub const fn new(network: NetworkId) -> Self {
        Self {
            network,
            sync: SyncMode::Data,
            memory_bytes: 256 * MIB,
            disk_bytes: None,
            quotas: Quotas {
                records: None,
                member_records: None,
                member_bytes: None,
                key_bytes: None,
            },
            reserve_bytes: 64 * MIB,
        }
    }
}

/// The division of a store's memory in the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Bytes of the block cache.
    pub(crate) cache_bytes: u64,
    /// Bytes of the active write buffer. Up to [`SEALED_MAX`] more are in memory until they are flushed.
    pub(crate) memtable_bytes: u64,
    /// Threads that flush write buffers and compact tables.
    pub(crate) workers: usize,
    /// Files held open for reading.
    pub(crate) open_files: usize,
}

/// Full write buffers that may wait for a flush before commits wait too. Raising it takes memory and makes
/// waits rarer.
pub(crate) const SEALED_MAX: usize = 2;

impl Budget {
    pub(crate) fn of(memory_bytes: u64) -> Self {
        Self {
            cache_bytes: (memory_bytes / 4).max(MIB / 8),
            // Larger write buffers give fewer tables. Reads of absent keys then check fewer filters, and each
            // row is rewritten less often.
            memtable_bytes: (memory_bytes / 8).clamp(MIB / 4, 32 * MIB),
            // With two threads, one can always flush write buffers while the other compacts.
            workers: if memory_bytes >= 32 * MIB { 2 } else { 1 },
            open_files: (memory_bytes / MIB * 2).clamp(16, 512) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_gives_64_mib_to_the_cache_and_the_parts_stay_within_the_whole() {
        assert_eq!(Budget::of(256 * MIB).cache_bytes, 64 * MIB);
        for memory in [2 * MIB, 16 * MIB, 64 * MIB, 256 * MIB, 4096 * MIB] {
            let budget = Budget::of(memory);
            let buffers = budget.memtable_bytes * (SEALED_MAX as u64 + 2);
            assert!(budget.cache_bytes + buffers <= memory, "{memory}: {budget:?}");
        }
    }
}
