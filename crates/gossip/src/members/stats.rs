//! What the members machine has counted.

use std::time::Duration;

potluck_base::statistics! {
    /// Counters since the start, and gauges.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct MembersStats in "members" {
        /// Members taken to be there.
        gauge alive: usize,
        /// Members that do not answer.
        gauge suspect: usize,
        /// Dead members that are remembered.
        gauge dead: usize,
        /// Members that left and are remembered.
        gauge left: usize,
        /// Questions under way.
        gauge asks: usize,
        /// Members being probed.
        gauge probing: usize,
        /// Members to be probed soon because of a doubt.
        gauge hurried: usize,
        /// Records and doubts that wait to be announced.
        gauge rumours: usize,
        /// Members that probed this node, in an open network.
        gauge watchers: usize,
        /// Revocations remembered.
        gauge revoked: usize,
        /// Peers whose rates are remembered.
        gauge rates: usize,
        /// The local health multiplier: at 0 this node is well, at 8 it hardly judges others.
        gauge health: u8,
        /// 1 while verdicts are frozen.
        gauge(Flag) isolated: bool,
        /// Times that verdicts were frozen.
        counter freezes: u64,
        /// Times that this node was late by more than 100 ms for a timer of its own.
        counter lags: u64,
        /// Probes begun.
        counter probes: u64,
        /// Probes that were not needed, since the member had just been heard.
        counter probes_spared: u64,
        /// Probes answered directly.
        counter probes_answered: u64,
        /// Probes answered through others.
        counter probes_helped: u64,
        /// Others that said they could not reach the subject either.
        counter nacks: u64,
        /// Probes that failed altogether.
        counter probes_failed: u64,
        /// Suspicions raised.
        counter raised: u64,
        /// Suspicions refuted.
        counter refuted: u64,
        /// Suspicions that ended in a death.
        counter confirmed: u64,
        /// Deaths of members that were heard again in the same incarnation.
        counter false_deaths: u64,
        /// Doubts of others about members, taken in.
        counter doubts: u64,
        /// Doubts about a word older or younger than the subject's last: stale or invented.
        counter doubts_dropped: u64,
        /// Doubts about this node itself that it answered with a new word.
        counter self_refuted: u64,
        /// Records taken in.
        counter records: u64,
        /// Records that were no news.
        counter records_stale: u64,
        /// Records that were malformed, of somebody else's network or not signed by their subject.
        counter records_bad: u64,
        /// Records for which there was no room.
        counter records_refused: u64,
        /// Revocations that were forgotten for others before they were over.
        counter revocations_dropped: u64,
        /// Lists of others that were not read to their end: too long, or going round.
        counter pages_refused: u64,
        /// Links asked for to other parts of the overlay.
        counter bridges: u64,
        /// Announcements published.
        counter announcements: u64,
        /// Questions of others over their rate.
        counter over_rate: u64,
        /// Questions of others.
        counter asked: u64,
        /// Questions not begun because too many were under way.
        counter asks_refused: u64,
        /// Comparisons of lists begun.
        counter comparisons: u64,
        /// The dead that were tried again.
        counter healing_probes: u64,
        /// Members that returned from the dead.
        counter returned: u64,
        /// The sum of the round trips of answered probes, for their mean.
        counter(Microseconds) round_trips: Duration as "members_probe_round_trip_microseconds",
        /// From the first failed probe to the verdict, of the last death.
        gauge(Seconds) last_detection: Duration as "members_last_detection_seconds",
    }
}
