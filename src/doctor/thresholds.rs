//! The thresholds of the findings, each with its reason. All of them are guesses until a missed fault or a
//! false finding in a healthy network shows that they are wrong; `bench/doctor` tests for both.

use std::time::Duration;

/// Members that stopped answering longer ago than this are not reported: machines are switched off for good.
pub(crate) const SILENT_RECENT: Duration = Duration::from_secs(10 * 60);
/// Times that one member must stop and resume answering within [`SILENT_RECENT`]: one long pause of a machine
/// makes one, a bad link makes several.
pub(crate) const FLAPS_MIN: usize = 3;
/// Share of the members that must stop answering at about the same time to be called a partition.
pub(crate) const SPLIT_SHARE: f64 = 0.25;
/// Fewest members of a partition: in a small network a single machine is that share.
pub(crate) const SPLIT_MIN: usize = 3;
/// A clock that is off by more than this is reported although nothing fails yet: the clocks of machines with
/// NTP differ by less than a tenth of a second.
pub(crate) const CLOCK_DRIFT_MS: u64 = 2_000;
/// Time after which an entry point without an answer is reported: resolving its name and asking it take less.
pub(crate) const ENTRY_PATIENCE_SECONDS: u64 = 8;
/// Replicas below which losing 30 % of the nodes at once loses more than 0.24 % of the records.
pub(crate) const REPLICATION_MIN: u16 = 5;
/// Members from which on [`REPLICATION_MIN`] replicas are worth their room.
pub(crate) const REPLICATION_MEMBERS: usize = 10;
/// Age from which on a conflict is reported: a program that merges does so sooner.
pub(crate) const CONFLICT_AGE: Duration = Duration::from_secs(10);
/// Age of a lookup above which it is ignored.
pub(crate) const LOOKUP_AGE: Duration = Duration::from_secs(10 * 60);
/// Slowest lookup that is not reported, and the multiple of the median round trip that is not: four steps
/// with one timeout in between are below it.
pub(crate) const LOOKUP_MS: f64 = 1_000.0;
/// See [`LOOKUP_MS`].
pub(crate) const LOOKUP_ROUND_TRIPS: f64 = 20.0;
/// Bound of the slowest hundredth of reads or writes from which on they are called slow: the quorum of a
/// network of one continent answers in a tenth of it.
pub(crate) const COMMAND_MS: f64 = 1_100.0;
/// Fewest reads or writes that a hundredth says something of.
pub(crate) const COMMANDS_MIN: u64 = 20;
/// Share of requests without an answer in the last hundred lookups: machines that were switched off are
/// dropped from the tables within a minute, so a larger share means loss or churn.
pub(crate) const LOOKUP_TIMEOUT_SHARE: f64 = 0.3;
/// Fewest requests for which the share is significant.
pub(crate) const REQUESTS_MIN: usize = 20;
/// Share of contacts that did not answer the last request.
pub(crate) const DEAD_CONTACT_SHARE: f64 = 0.3;
/// Fewest contacts for which the share is significant.
pub(crate) const CONTACTS_MIN: usize = 5;
/// Share of requests of the last minute that had to be sent again: a link that loses 1 % makes 2 %.
pub(crate) const LOSS_SHARE: f64 = 0.15;
/// Fewest requests of that minute.
pub(crate) const LOSS_REQUESTS_MIN: u64 = 25;
/// Reads a second that had to share or wait: 200 a second of a busy application share none.
pub(crate) const STORM_PER_SECOND: f64 = 50.0;
/// Lookups a second: each asks about ten nodes.
pub(crate) const LOOKUPS_PER_SECOND: f64 = 100.0;
/// Messages of topics a second that a node takes from others before it is called a flood.
pub(crate) const GOSSIP_PER_SECOND: f64 = 300.0;
/// Share of duplicates in the received messages, and the rate of duplicates from which on it counts.
pub(crate) const DUPLICATE_SHARE: f64 = 0.7;
/// See [`DUPLICATE_SHARE`].
pub(crate) const DUPLICATES_PER_SECOND: f64 = 50.0;
/// Delay of a timer from which on probes come too late for the members' timeouts.
pub(crate) const LOOP_LAG_MS: f64 = 500.0;
/// Local health from which on the failure detector's timeouts are several times as long.
pub(crate) const SLOWNESS: u8 = 4;
/// Bytes per second from which on a transfer is not reported as slow.
pub(crate) const TRANSFER_RATE: f64 = 1024.0 * 1024.0;
/// A disk with less than this is about to be full: one fetch of a large file fills it.
pub(crate) const DISK_FREE_BYTES: u64 = 512 << 20;
/// Free share of a limit of the store, in percent.
pub(crate) const STORE_FREE_PERCENT: u64 = 5;
/// Percent of the time that processes wait for the disk.
pub(crate) const DISK_PRESSURE: f64 = 60.0;
/// A smaller receive buffer loses a burst of 170 datagrams; Linux grants 416 KiB by default.
pub(crate) const RECEIVE_BUFFER_BYTES: u64 = 256 * 1024;
/// A limit of descriptors below which connections and open files do not fit at the same time.
pub(crate) const DESCRIPTORS_MIN: u64 = 512;
/// Percent of the descriptors in use from which on they will run out.
pub(crate) const DESCRIPTORS_PERCENT: u64 = 80;
/// Remaining life of a certificate: it is renewed at half of its life, so less means that renewal has failed
/// for long.
pub(crate) const CERTIFICATE_SECONDS: i64 = 24 * 3600;
/// Memory of a node beside the store's cache.
pub(crate) const MEMORY_BESIDE_STORE: u64 = 64 << 20;
/// Percent of its memory limit from which on the system may end the process.
pub(crate) const MEMORY_PERCENT: u64 = 90;
/// Seconds by which the clock must be behind the last write of the data folder to count as set back.
pub(crate) const CLOCK_BACK_SECONDS: u64 = 60;
