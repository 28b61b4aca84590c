//! What a store on disk may use.

use potluck_base::NetworkId;

const MIB: u64 = 1024 * 1024;

/// When a batch is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// When it is on the disk. What every real node uses.
    #[default]
    Data,
    /// When the operating system has it, which a loss of power undoes. For tests and benchmarks.
    Buffered,
}

/// What may be kept besides the bytes of [`StoreConfig::disk_bytes`]; `None`: as much as there is room for.
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

/// How to open a store on disk.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The network that the folder belongs to.
    pub network: NetworkId,
    /// When a batch is acknowledged.
    pub sync: SyncMode,
    /// About how much memory the store may take: a quarter for cached blocks, the rest for write
    /// buffers and what goes with them. Under about 3 MiB the engine's fixed costs dominate.
    pub memory_bytes: u64,
    /// How many bytes of live rows may be kept; `None`: as the disk allows. The engine's files
    /// settle at some tenth more, and while it rewrites them they may take twice as much; its
    /// journal of up to 64 MiB comes on top.
    pub disk_bytes: Option<u64>,
    /// What else may be kept.
    pub quotas: Quotas,
    /// Nothing may grow while the disk has less room than this and a quarter of the store's tables
    /// (at most 1 GiB), which are rewritten now and then. The engine does not survive a disk that
    /// is really full.
    pub reserve_bytes: u64,
}

impl StoreConfig {
    /// The defaults for `network`: synced, 256 MiB of memory, 64 MiB of the disk left free.
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

/// How the engine shares a store's memory out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// For cached blocks.
    pub(crate) cache_bytes: u64,
    /// For the write buffer that takes writes now; up to [`SEALED_MAX`] more wait for the disk.
    pub(crate) memtable_bytes: u64,
    /// Threads that write buffers out and compact.
    pub(crate) workers: usize,
    /// Files held open for reading.
    pub(crate) open_files: usize,
}

/// Most full write buffers that may wait before writers wait too.
pub(crate) const SEALED_MAX: usize = 2;

impl Budget {
    pub(crate) fn of(memory_bytes: u64) -> Self {
        Self {
            cache_bytes: (memory_bytes / 4).max(MIB / 8),
            // Larger ones make fewer tables, so that reads of absent keys look at fewer filters and each
            // row is rewritten less often.
            memtable_bytes: (memory_bytes / 8).clamp(MIB / 4, 32 * MIB),
            // With two, one is always free to empty write buffers while the other compacts.
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
