//! What the members machine has counted.

use std::time::Duration;

/// Counters since the start, and gauges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MembersStats {
    /// Members taken to be there.
    pub alive: usize,
    /// Members that do not answer.
    pub suspect: usize,
    /// Dead ones that are remembered.
    pub dead: usize,
    /// Ones that left and are remembered.
    pub left: usize,
    /// Questions under way.
    pub asks: usize,
    /// Members being probed.
    pub probing: usize,
    /// Members to be probed soon because of a doubt.
    pub hurried: usize,
    /// Records and doubts that wait to be announced.
    pub rumours: usize,
    /// Members that probed this node, in an open network.
    pub watchers: usize,
    /// Peers whose rates are remembered.
    pub rates: usize,
    /// The local health multiplier: 0 is well, 8 the worst.
    pub health: u8,
    /// Whether verdicts are frozen.
    pub isolated: bool,
    /// Times that verdicts were frozen.
    pub freezes: u64,
    /// Times that this node was late by more than 100 ms for a timer of its own.
    pub lags: u64,
    /// Probes begun.
    pub probes: u64,
    /// Probes that were not needed, since the member had just been heard.
    pub probes_spared: u64,
    /// Probes answered directly.
    pub probes_answered: u64,
    /// Probes answered through others.
    pub probes_helped: u64,
    /// Others that said they could not reach the subject either.
    pub nacks: u64,
    /// Probes that failed altogether.
    pub probes_failed: u64,
    /// Suspicions raised.
    pub raised: u64,
    /// Suspicions refuted.
    pub refuted: u64,
    /// Suspicions that ended in a death.
    pub confirmed: u64,
    /// Deaths of members that were heard again in the same incarnation.
    pub false_deaths: u64,
    /// Doubts of others about members, taken in.
    pub doubts: u64,
    /// Doubts about a word older or younger than the subject's last: stale or invented.
    pub doubts_dropped: u64,
    /// Doubts about this node itself that it answered with a new word.
    pub self_refuted: u64,
    /// Records taken in.
    pub records: u64,
    /// Records that were no news.
    pub records_stale: u64,
    /// Records that were malformed, of somebody else's network or not signed by their subject.
    pub records_bad: u64,
    /// Records for which there was no room.
    pub records_refused: u64,
    /// Links asked for to other parts of the overlay.
    pub bridges: u64,
    /// Announcements published.
    pub announcements: u64,
    /// Questions of others over their rate.
    pub over_rate: u64,
    /// Questions of others.
    pub asked: u64,
    /// Questions not begun because too many were under way.
    pub asks_refused: u64,
    /// Comparisons of lists begun.
    pub comparisons: u64,
    /// The dead that were tried again.
    pub healing_probes: u64,
    /// Members that returned from the dead.
    pub returned: u64,
    /// The sum of the round trips of answered probes, for their mean.
    pub round_trips: Duration,
    /// From the first failed probe to the verdict, of the last death.
    pub last_detection: Duration,
}
