//! A rate limit that assigns turns instead of tokens.
//!
//! A task that wants to move bytes takes a turn, which names the time from which it may move them. Turns are
//! assigned in the order of the requests, so many connections under one limit share it fairly, and a task
//! that wakes up late does not find its tokens taken by others. This is a token bucket, stored as the time at
//! which it will have no debt (GCRA).
//!
//! While no bytes are moved, the bucket accumulates the bytes of [`BURST`] at its rate. The system's timers
//! have a resolution of one millisecond, and tasks of a busy machine wake up later than that; the bytes of
//! the meantime may then be moved at once. In any time span the limit is thus exceeded by at most 1 % of the
//! bytes of one second, and by the last turn.
//!
//! **Invariant:** over any span, turns are assigned for at most `rate * (span + BURST)` bytes plus one turn.
//! Bytes that are only charged (control datagrams) never wait and come on top.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Time for which an idle bucket accumulates. A longer time allows larger bursts.
const BURST: Duration = Duration::from_millis(10);
/// Longest delay of turns that charges alone can cause. Control traffic above the limit slows QUIC to almost
/// nothing, but after a burst of it the delay ends after this time. Raising it makes bursts of control
/// traffic delay QUIC for longer.
const CHARGE_AHEAD: Duration = Duration::from_millis(250);
/// Turns are assigned at most this far ahead, so that no sum overflows.
const AHEAD_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Target length of one turn under a limit. Raising it makes other connections wait longer, which shows as
/// round-trip time.
const TURN: Duration = Duration::from_millis(2);

/// Interval at which a waiting task checks whether the cap has changed.
pub(crate) const RECHECK: Duration = Duration::from_millis(100);

/// The limit as pure arithmetic on a clock of its own.
#[derive(Debug, Default)]
struct Schedule {
    /// Bytes a second; zero: no limit.
    rate: u64,
    /// The time at which all assigned bytes will have been moved at the rate.
    clear_at: Duration,
}

impl Schedule {
    fn cost(&self, bytes: usize) -> Duration {
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Assigns a turn for `bytes`. Returns the time from which they may be moved; a past time means at once.
    fn take(&mut self, now: Duration, bytes: usize) -> Duration {
        if self.rate == 0 {
            return now;
        }
        let turn = self.clear_at.max(now.saturating_sub(BURST));
        self.clear_at = turn.saturating_add(self.cost(bytes)).min(now + AHEAD_MAX);
        turn
    }

    /// Counts bytes that were moved without a turn.
    fn charge(&mut self, now: Duration, bytes: usize) {
        if self.rate == 0 {
            return;
        }
        let from = self.clear_at.max(now.saturating_sub(BURST));
        let to = from.saturating_add(self.cost(bytes)).min(now + CHARGE_AHEAD);
        self.clear_at = from.max(to);
    }
}

/// The right to move some bytes from a time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    at: Instant,
    generation: u64,
}

impl Pass {
    /// The time from which the bytes may be moved.
    pub(crate) const fn at(&self) -> Instant {
        self.at
    }
}

/// A limit of a rate that can be changed at any time. Without a limit it costs one atomic read.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// A copy of the rate that is read without the lock.
    rate: AtomicU64,
    /// Counts changes of the rate: turns of an earlier rate are void.
    generation: AtomicU64,
    schedule: Mutex<Schedule>,
    epoch: Instant,
}

impl Bucket {
    /// A bucket without a limit.
    pub(crate) fn new() -> Self {
        Self {
            rate: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            schedule: Mutex::default(),
            epoch: Instant::now(),
        }
    }

    /// Limits the rate to `bytes` a second from now on; zero counts as one byte a second.
    pub(crate) fn set_rate(&self, bytes: Option<u64>) {
        let rate = bytes.map_or(0, |bytes| bytes.max(1));
        let mut schedule = self.schedule.lock();
        if schedule.rate == rate {
            return;
        }
        // Turns of the former rate are void, and so is its debt.
        *schedule = Schedule { rate, clear_at: self.epoch.elapsed() };
        self.rate.store(rate, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// A turn for `bytes`. `None` if there is no limit.
    pub(crate) fn take(&self, bytes: usize) -> Option<Pass> {
        if self.rate.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut schedule = self.schedule.lock();
        let turn = schedule.take(self.epoch.elapsed(), bytes);
        let generation = self.generation.load(Ordering::Relaxed);
        Some(Pass { at: self.epoch + turn, generation })
    }

    /// Whether the rate has not changed since the pass was issued.
    pub(crate) fn honours(&self, pass: &Pass) -> bool {
        pass.generation == self.generation.load(Ordering::Relaxed)
    }

    /// Counts bytes that were moved without a turn.
    pub(crate) fn charge(&self, bytes: usize) {
        if self.rate.load(Ordering::Relaxed) != 0 {
            self.schedule.lock().charge(self.epoch.elapsed(), bytes);
        }
    }

    /// The number of bytes that one turn should have at most. `None` if there is no limit.
    pub(crate) fn turn_bytes(&self) -> Option<usize> {
        let rate = self.rate.load(Ordering::Relaxed);
        let bytes = u128::from(rate) * TURN.as_millis() / 1000;
        (rate != 0).then(|| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Waits for a turn for `bytes`.
    pub(crate) async fn wait(&self, bytes: usize) {
        while let Some(pass) = self.take(bytes) {
            loop {
                let left = pass.at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(RECHECK)).await;
                if !self.honours(&pass) {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn schedule(rate: u64) -> Schedule {
        Schedule { rate, clear_at: Duration::ZERO }
    }

    /// Bytes that one greedy task moves in `span` if it wakes up `late` after each turn.
    fn moved(rate: u64, turn_bytes: usize, span: Duration, late: Duration) -> u64 {
        let mut schedule = schedule(rate);
        let mut now = Duration::ZERO;
        let mut bytes = 0;
        loop {
            let turn = schedule.take(now, turn_bytes);
            if turn > now {
                now = turn + late;
            }
            if now > span {
                return bytes;
            }
            bytes += turn_bytes as u64;
        }
    }

    #[test]
    fn a_greedy_taker_gets_the_rate_within_three_percent_in_a_second() {
        for rate in [1_000_000, 12_500_000, 25_000_000, 1_000_000_000] {
            for late in [Duration::ZERO, MILLISECOND, 9 * MILLISECOND] {
                let bytes = moved(rate, 14_520, Duration::from_secs(1), late);
                let error = (bytes as f64 - rate as f64) / rate as f64;
                assert!(error.abs() < 0.03, "{rate} B/s, {late:?} late: {error:.3} off");
            }
        }
    }

    #[test]
    fn idle_time_is_kept_for_ten_milliseconds_only() {
        let mut schedule = schedule(1_000_000);
        let now = Duration::from_secs(60);
        let mut at_once = 0;
        while schedule.take(now, 1000) <= now {
            at_once += 1;
        }
        // The bytes of ten milliseconds, and the one that is allowed when the bucket is empty.
        assert_eq!(at_once, 11);
    }

    #[test]
    fn turns_come_in_the_order_in_which_they_were_taken() {
        let mut schedule = schedule(1_000_000);
        let now = Duration::from_secs(1);
        let turns: Vec<_> = (0..50).map(|_| schedule.take(now, 1000)).collect();
        assert!(turns.windows(2).all(|pair| pair[1] == pair[0] + MILLISECOND));
    }

    #[test]
    fn charges_put_turns_off_but_not_for_long() {
        let mut schedule = schedule(1_000_000);
        let now = Duration::from_secs(1);
        schedule.charge(now, 30_000);
        assert_eq!(schedule.take(now, 1000), now + 20 * MILLISECOND);
        schedule.charge(now, 100_000_000);
        assert_eq!(schedule.take(now, 1000), now + CHARGE_AHEAD);
        // A turn that was assigned already keeps its time.
        let far = (0..1000).map(|_| schedule.take(now, 1000)).next_back().unwrap();
        schedule.charge(now, 1000);
        assert_eq!(schedule.take(now, 1000), far + MILLISECOND);
    }

    #[test]
    fn without_a_cap_everything_goes_at_once() {
        let mut schedule = schedule(0);
        assert_eq!(schedule.take(MILLISECOND, usize::MAX), MILLISECOND);
        schedule.charge(MILLISECOND, usize::MAX);
        assert_eq!(schedule.take(MILLISECOND, 1), MILLISECOND);
        let bucket = Bucket::new();
        assert_eq!((bucket.take(1), bucket.turn_bytes()), (None, None));
    }

    #[test]
    fn a_changed_rate_voids_the_passes_of_the_former_one() {
        let bucket = Bucket::new();
        bucket.set_rate(Some(1));
        assert!(bucket.take(1_000_000).is_some());
        let pass = bucket.take(1).unwrap();
        assert!(pass.at() > Instant::now() + Duration::from_secs(100_000));
        assert!(bucket.honours(&pass));
        bucket.set_rate(Some(1));
        assert!(bucket.honours(&pass), "nothing changed");
        bucket.set_rate(Some(1_000_000));
        assert!(!bucket.honours(&pass));
        // The debt is void too.
        let pass = bucket.take(1).unwrap();
        assert!(pass.at() <= Instant::now());
        assert_eq!(bucket.turn_bytes(), Some(2000));
        bucket.set_rate(None);
        assert!(!bucket.honours(&pass) && bucket.take(1).is_none());
    }

    #[tokio::test]
    async fn whoever_waits_for_an_endless_turn_is_freed_by_a_change() {
        let bucket = Bucket::new();
        bucket.set_rate(Some(1));
        bucket.wait(1_000_000).await;
        let waiting = bucket.wait(1);
        tokio::pin!(waiting);
        assert!(futures_pending(waiting.as_mut()));
        bucket.set_rate(None);
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("freed");
    }

    fn futures_pending(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
    }
}
