//! Counters and gauges of members.

use std::time::Duration;

potluck_base::statistics! {
    /// Counters since the start, and gauges.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct MembersStats in "members" {
        /// Members that are alive.
        gauge alive: usize,
        /// Members that do not answer.
        gauge suspect: usize,
        /// Dead members that are remembered.
        gauge dead: usize,
        /// Members that left and are remembered.
        gauge left: usize,
        /// Requests under way.
        gauge asks: usize,
        /// Members being probed.
        gauge probing: usize,
        /// Members scheduled for a priority probe.
        gauge hurried: usize,
        /// Records, suspect messages and revocations in the broadcast queue.
        gauge rumours: usize,
        /// Members that probed this node, in an open network.
        gauge watchers: usize,
        /// Revocations remembered.
        gauge revoked: usize,
        /// Token buckets of peers remembered.
        gauge rates: usize,
        /// The local health multiplier: at 0 this node is healthy, at 8 it hardly judges others.
        gauge health: u8,
        /// 1 while verdicts are frozen.
        gauge(Flag) isolated: bool,
        /// Times that verdicts were frozen.
        counter freezes: u64,
        /// Times that this node was over 100 ms late for a timer of its own.
        counter lags: u64,
        /// Probes begun.
        counter probes: u64,
        /// Probes skipped because the member had just been heard from.
        counter probes_spared: u64,
        /// Probes answered directly.
        counter probes_answered: u64,
        /// Probes answered through helpers.
        counter probes_helped: u64,
        /// Helpers that could not reach the subject either.
        counter nacks: u64,
        /// Probes that failed, with their helpers.
        counter probes_failed: u64,
        /// Suspicions raised.
        counter raised: u64,
        /// Suspicions refuted.
        counter refuted: u64,
        /// Suspicions that ended in a death.
        counter confirmed: u64,
        /// Deaths of members that were heard from again in the same incarnation.
        counter false_deaths: u64,
        /// Suspect messages about other members that were accepted.
        counter doubts: u64,
        /// Suspect messages about another version than the subject's last: stale or invented.
        counter doubts_dropped: u64,
        /// Suspicions of this node itself that it refuted with a new record version.
        counter self_refuted: u64,
        /// Records accepted.
        counter records: u64,
        /// Records that were not newer than the known one.
        counter records_stale: u64,
        /// Records that were malformed, of another network or not signed by their subject.
        counter records_bad: u64,
        /// Records for which there was no room.
        counter records_refused: u64,
        /// Revocations dropped for others before they were over.
        counter revocations_dropped: u64,
        /// Lists of others that were not read to their end: too long, or in a loop.
        counter pages_refused: u64,
        /// Links requested to other partitions of the overlay.
        counter bridges: u64,
        /// Announcements published.
        counter announcements: u64,
        /// Requests of others over their rate.
        counter over_rate: u64,
        /// Requests of others.
        counter asked: u64,
        /// Requests not sent because too many were under way.
        counter asks_refused: u64,
        /// Comparisons of lists begun.
        counter comparisons: u64,
        /// Probes of dead members.
        counter healing_probes: u64,
        /// Members that returned from the dead.
        counter returned: u64,
        /// The sum of the round trips of answered probes, for their mean.
        counter(Microseconds) round_trips: Duration as "members_probe_round_trip_microseconds",
        /// Time from the first failed probe to the verdict, of the last death.
        gauge(Seconds) last_detection: Duration as "members_last_detection_seconds",
    }
}
