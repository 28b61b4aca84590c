//! One source of a fetch: the granules that it has, its rate, and its requests.

use std::collections::VecDeque;
use std::time::Duration;

use potluck_base::{Contact, Division, GranuleSet, Instant, RoundTrip};
use potluck_wire::Hint;

use crate::command::{AskId, Gone, Output, TransferId};
use crate::pace::Pace;

/// Weight of a new sample in the smoothed rate. A higher weight follows changes faster and noise more.
const RATE_WEIGHT: f64 = 0.25;
/// Time beyond a round trip for which requests to a source are kept in flight, to hide the gaps
/// between requests.
const SLACK: Duration = Duration::from_millis(150);
/// Bytes in flight from a source before its rate is known. It is small enough for a path with a long round
/// trip while its window opens, and for a slow source to send in a few seconds.
const FIRST_BYTES: u64 = 512 * 1024;
/// The bytes in flight from a source, in multiples of what it sends in a round trip: more is requested when
/// half is left, and that half must last for a round trip.
const ROUND_TRIPS: f64 = 2.0;
/// Most bytes in flight from a source, unless the bandwidth-delay product of its path is larger.
const NEAR_BYTES: u64 = 16 * 1024 * 1024;
/// Shortest silence that counts as a stall; see [`STALL_ROUND_TRIPS`] for slow paths.
const STALL_MIN: Duration = Duration::from_secs(2);
/// Shortest silence that counts as a stall, in round trips.
const STALL_ROUND_TRIPS: u32 = 4;
/// First pause after a failure of a source; doubled with each consecutive failure.
const REST: Duration = Duration::from_millis(500);
/// Consecutive failures after which a source is given up.
const FAILURES_MAX: u32 = 4;
/// Consecutive failures after which a fetch does not wait for a source if all other sources have no
/// more to send.
const WAITED_FAILURES: u32 = 2;
/// Consecutive answers without any granule after which a source counts as not having the blob.
const NOT_HELD_MAX: u32 = 2;

/// Granules requested from a source in one stream.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    pub(crate) id: TransferId,
    /// Granules that have not arrived, in the order in which they will arrive.
    pub(crate) waiting: VecDeque<u32>,
    pub(crate) started: Instant,
}

/// A source.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) contact: Contact,
    /// The granules that it has; `None` until it has answered.
    pub(crate) have: Option<GranuleSet>,
    /// The size that it claims.
    pub(crate) size: Option<u64>,
    pub(crate) ask: Option<AskId>,
    pub(crate) ask_at: Instant,
    pub(crate) transfers: Vec<Transfer>,
    /// Bytes a second, once measured.
    rate: Option<f64>,
    round_trip: RoundTrip,
    /// When the last granule arrived, or one was requested after a pause.
    last: Instant,
    /// When bytes last arrived, of whole granules or parts of them.
    moved: Instant,
    rests_until: Instant,
    failures: u32,
    /// It sent a range that does not verify, or claims a wrong size.
    pub(crate) banned: bool,
    /// It answered that it has no granule.
    pub(crate) denied: bool,
    /// Verified bytes from it.
    pub(crate) bytes: u64,
    /// Why it will not get the granules that it lacks.
    pub(crate) gone: Option<Gone>,
    /// The name and times that it gives the blob.
    pub(crate) hint: Option<Hint>,
    /// Consecutive answers that it has nothing.
    not_held: u32,
    /// Its rate over all its granules.
    pub(crate) pace: Pace,
}

impl Source {
    pub(crate) fn new(now: Instant, contact: Contact) -> Self {
        Self {
            contact,
            have: None,
            size: None,
            ask: None,
            ask_at: now,
            transfers: Vec::new(),
            rate: None,
            round_trip: RoundTrip::default(),
            last: now,
            moved: now,
            rests_until: now,
            failures: 0,
            banned: false,
            denied: false,
            bytes: 0,
            gone: None,
            hint: None,
            not_held: 0,
            pace: Pace::default(),
        }
    }

    /// Granules that were requested and have not arrived.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = u32> {
        self.transfers.iter().flat_map(|transfer| transfer.waiting.iter().copied())
    }

    pub(crate) fn outstanding(&self, division: &Division) -> u64 {
        self.waiting().map(|granule| length(division, granule)).sum()
    }

    /// Whether data can be requested from it now.
    pub(crate) fn is_useful(&self, now: Instant) -> bool {
        !self.banned && self.have.is_some() && now >= self.rests_until
    }

    /// Whether it may become useful later.
    pub(crate) fn is_hopeful(&self) -> bool {
        !self.banned && self.failures < FAILURES_MAX && !self.has_nothing()
    }

    /// Whether it gave a reason why it will have nothing.
    fn has_nothing(&self) -> bool {
        self.have.is_none() && self.said_why()
    }

    /// Whether it gave a reason why it no longer has the blob.
    pub(crate) const fn said_why(&self) -> bool {
        self.gone.is_some() && self.not_held == 0
    }

    /// Whether it may still send something: `useful` decides about the granules that it has.
    pub(crate) fn may_give(&self, useful: impl FnOnce(&GranuleSet) -> bool) -> bool {
        if self.banned {
            return false;
        }
        let answers = self.failures < WAITED_FAILURES && self.gone.is_none();
        !self.transfers.is_empty() || self.have.as_ref().map_or(answers, useful)
    }

    /// It answered that it has nothing.
    pub(crate) fn on_nothing(&mut self, now: Instant, why: Option<Gone>) {
        self.have = None;
        // A node that has just begun to fetch has nothing yet either, so it is asked again for some time.
        self.not_held = if why.is_some() { 0 } else { self.not_held + 1 };
        self.gone = why.or((self.not_held >= NOT_HELD_MAX).then_some(Gone::Unshared));
        self.on_failure(now);
    }

    /// It answered which granules it has.
    pub(crate) fn on_something(&mut self, gone: Option<Gone>, hint: Option<Hint>) {
        self.not_held = 0;
        self.gone = gone;
        self.hint = hint.or(self.hint.take());
    }

    /// It could not send granules that it claimed to have. The first times, it is asked again at once.
    pub(crate) fn on_lost(&mut self, now: Instant, why: Gone) {
        self.have = None;
        self.on_failure(now);
        // A source does not remember that it cannot read a blob, because the disk may recover.
        self.gone = (why == Gone::Unreadable && self.failures > 1).then_some(why);
        if self.failures <= WAITED_FAILURES {
            self.rests_until = now;
            self.ask_at = now;
        }
    }

    /// Whether it was asked in vain, has nothing or was too slow, and has sent nothing so far.
    pub(crate) fn is_spent(&self) -> bool {
        let idle = self.ask.is_none() && self.transfers.is_empty();
        let useless = match &self.have {
            None => self.failures > 0,
            Some(have) => have.is_empty() || self.pace.slow() > 0,
        };
        idle && useless && self.bytes == 0 && !self.banned
    }

    /// Whether it can be asked, has no request in flight, and has sent nothing so far.
    pub(crate) fn is_untried(&self, now: Instant) -> bool {
        let idle = self.transfers.is_empty() && self.failures == 0;
        idle && self.pace.rate().is_none() && self.is_useful(now)
    }

    /// The time that it has for a granule at least, even if others are faster.
    pub(crate) fn granule_time(&self) -> Duration {
        STALL_MIN.max(self.round_trip.smoothed().unwrap_or_default() * STALL_ROUND_TRIPS)
    }

    /// When its last granule arrived, or it was asked after a pause.
    pub(crate) const fn last(&self) -> Instant {
        self.last
    }

    /// It is replaced by faster sources: its requests are cancelled, and it rests, longer each time.
    pub(crate) fn on_slow(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.cancel(out);
        self.pace.on_slow();
        self.rests_until = now + REST * self.pace.patience();
        self.rate = self.rate.map(|rate| rate / 2.0);
    }

    /// Consecutive failures.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// The size it claims, if it has the last granule of a blob of that size.
    pub(crate) fn provable_size(&self) -> Option<u64> {
        let have = self.have.as_ref().filter(|_| self.is_hopeful())?;
        self.size.filter(|_| have.length() > 0 && have.contains(have.length() - 1))
    }

    /// Whether it has something, or was not yet asked in vain.
    pub(crate) fn is_promising(&self) -> bool {
        !self.banned && (self.have.is_some() || (self.failures == 0 && self.gone.is_none()))
    }

    /// When its rest ends, if that is after `driven`.
    pub(crate) fn rested(&self, driven: Instant) -> Option<Instant> {
        let rests = !self.banned && self.have.is_some() && self.rests_until > driven;
        rests.then_some(self.rests_until)
    }

    /// The source was named again. A source that was given up gets one more try, perhaps at another address.
    pub(crate) fn hear_of(&mut self, now: Instant, contact: Contact) {
        if !self.banned && !self.is_hopeful() && self.gone.is_none() {
            self.contact = contact;
            self.failures = FAILURES_MAX - 1;
            self.ask_at = now;
        }
    }

    /// Whether to ask it for its granules: it has not answered yet, or had only a part.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.wants_asking() && now >= self.ask_at
    }

    fn wants_asking(&self) -> bool {
        let ends = |have: &GranuleSet| have.is_full() || (self.gone.is_some() && !have.is_empty());
        let settled = self.have.as_ref().is_some_and(ends);
        self.ask.is_none() && !settled && self.is_hopeful()
    }

    /// When it next needs attention.
    pub(crate) fn wake(&self) -> Option<Instant> {
        let ask = self.wants_asking().then_some(self.ask_at);
        let stall = (!self.transfers.is_empty()).then(|| self.stalls_at());
        ask.into_iter().chain(stall).min()
    }

    /// Cancels its requests.
    pub(crate) fn cancel(&mut self, out: &mut Vec<Output>) {
        let open = self.transfers.drain(..);
        out.extend(open.map(|open| Output::CancelTransfer { transfer: open.id }));
    }

    /// Bytes from it arrived.
    pub(crate) fn on_moved(&mut self, now: Instant) {
        self.moved = now;
    }

    /// Bytes a second, as far as known.
    pub(crate) fn rate(&self) -> f64 {
        self.rate.unwrap_or(0.0)
    }

    /// The bytes that should be in flight from it: what it sends in a round trip and a little more, so that
    /// it never waits for a request. Not more, so that replacing it costs little.
    pub(crate) fn depth(&self, division: &Division, most: u64) -> u64 {
        let round_trip = self.round_trip.smoothed().unwrap_or_default() + SLACK;
        let flow = |rate: f64| (rate * round_trip.as_secs_f64() * ROUND_TRIPS) as u64;
        let least = 2 * division.granule_bytes();
        let most = most.min(NEAR_BYTES.max(self.on_the_way() * 5 / 2));
        self.rate.map_or(FIRST_BYTES, flow).clamp(least, most.max(least))
    }

    /// The bytes on the path when it sends at its full rate: its rate times its round trip.
    pub(crate) fn on_the_way(&self) -> u64 {
        (self.rate() * self.round_trip.smoothed().unwrap_or_default().as_secs_f64()) as u64
    }

    /// Whether it has been silent for too long with requests in flight.
    pub(crate) fn is_stalled(&self, now: Instant) -> bool {
        !self.transfers.is_empty() && now >= self.stalls_at()
    }

    /// When it will have been silent for too long.
    pub(crate) fn stalls_at(&self) -> Instant {
        self.last.max(self.moved) + self.granule_time()
    }

    /// When `granule` will arrive, at the measured rate.
    pub(crate) fn expected(
        &self,
        now: Instant,
        division: &Division,
        granule: u32,
    ) -> Option<Instant> {
        let before: u64 = self
            .transfers
            .iter()
            .find(|transfer| transfer.waiting.contains(&granule))?
            .waiting
            .iter()
            .take_while(|other| **other != granule)
            .map(|other| length(division, *other))
            .sum();
        let bytes = before + length(division, granule);
        let rate = self.rate.filter(|rate| *rate > 1.0)?;
        // The next granule has not arrived yet. That bounds the present rate, whatever it was before.
        let pause = self.round_trip.smoothed().unwrap_or_default() + SLACK;
        let waited = now.since(self.last).saturating_sub(pause).as_secs_f64();
        let rate = rate.min(division.granule_bytes() as f64 / waited.max(1e-6));
        Some(now + Duration::from_secs_f64((bytes as f64 / rate).min(1e6)))
    }

    pub(crate) fn asked(&mut self, now: Instant, transfer: Transfer) {
        if self.transfers.is_empty() {
            self.last = now;
        }
        self.transfers.push(transfer);
    }

    /// A granule of a transfer was verified. Returns whether it was requested.
    pub(crate) fn on_granule(
        &mut self,
        now: Instant,
        division: &Division,
        transfer: TransferId,
        granule: u32,
    ) -> bool {
        let Some(open) = self.transfers.iter_mut().find(|open| open.id == transfer) else {
            return false;
        };
        let Some(place) = open.waiting.iter().position(|waiting| *waiting == granule) else {
            return false;
        };
        open.waiting.remove(place);
        let bytes = length(division, granule);
        // The first bytes after a pause include a round trip, which says nothing about the rate.
        let took = now.since(self.last.max(open.started));
        let pause = if self.last == open.started {
            self.round_trip.smoothed().unwrap_or_default()
        } else {
            Duration::ZERO
        };
        let seconds = took.saturating_sub(pause.min(took / 2)).as_secs_f64().max(1e-6);
        let sample = bytes as f64 / seconds;
        self.pace.note(bytes, Duration::from_secs_f64(seconds));
        self.rate = Some(self.rate.map_or(sample, |rate| rate + RATE_WEIGHT * (sample - rate)));
        self.last = now;
        self.failures = 0;
        self.bytes += bytes;
        true
    }

    /// Its usual response time. An unknown one counts as the longest.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip.smoothed().unwrap_or(Duration::MAX)
    }

    pub(crate) fn note_round_trip(&mut self, round_trip: Duration) {
        self.round_trip.sample(round_trip);
    }

    /// A transfer or question failed. It rests, longer each time.
    pub(crate) fn on_failure(&mut self, now: Instant) {
        self.failures += 1;
        self.rests_until = now + REST * (1 << self.failures.min(6));
        self.ask_at = self.ask_at.max(self.rests_until);
        self.rate = self.rate.map(|rate| rate / 2.0);
    }

    /// It is busy. It rests for a moment, and the failure is not counted.
    pub(crate) fn on_busy(&mut self, now: Instant) {
        self.rests_until = now + REST;
    }
}

/// Bytes in a granule.
pub(crate) fn length(division: &Division, granule: u32) -> u64 {
    let bytes = division.bytes(granule);
    bytes.end - bytes.start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::testing::contact;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn transfer(granules: &[u32], started: Instant) -> Transfer {
        Transfer { id: TransferId(1), waiting: granules.iter().copied().collect(), started }
    }

    #[test]
    fn depth_follows_the_rate_and_the_round_trip() {
        let division = Division::of(1 << 30).unwrap();
        let mut source = Source::new(Instant::ZERO, contact(1));
        assert_eq!(source.depth(&division, 16 << 20), 2 << 20);
        source.note_round_trip(ms(100));
        source.asked(Instant::ZERO, transfer(&[0, 1, 2, 3], Instant::ZERO));
        let mut now = Instant::ZERO;
        for granule in 0..4 {
            now += ms(100);
            assert!(source.on_granule(now, &division, TransferId(1), granule));
        }
        // At ten MiB a second the depth is twice what arrives in a quarter of a second.
        let rate = source.rate() / (1 << 20) as f64;
        assert!((9.0..16.0).contains(&rate), "{rate}");
        let depth = source.depth(&division, 16 << 20) >> 20;
        assert!((4..=8).contains(&depth), "{depth}");
        assert!(!source.on_granule(now, &division, TransferId(1), 3));
        assert_eq!(source.bytes, 4 << 20);
    }

    #[test]
    fn half_of_what_is_under_way_lasts_for_a_round_trip() {
        let division = Division::of(1 << 30).unwrap();
        for (rate, round_trip) in [(12.5e6, 0.1), (12.5e6, 0.6), (125e6, 0.02), (125e6, 0.1)] {
            let mut source = Source::new(Instant::ZERO, contact(1));
            source.note_round_trip(Duration::from_secs_f64(round_trip));
            source.rate = Some(rate);
            let depth = source.depth(&division, Config::default().outstanding_bytes_max) as f64;
            assert!(depth / 2.0 > rate * round_trip, "{rate} {round_trip}: {depth}");
        }
        let mut near = Source::new(Instant::ZERO, contact(1));
        near.note_round_trip(Duration::from_micros(100));
        near.rate = Some(500e6);
        let depth = near.depth(&division, Config::default().outstanding_bytes_max);
        assert_eq!(depth, NEAR_BYTES, "on loopback");
    }

    #[test]
    fn silence_is_a_stall_only_while_something_is_under_way() {
        let mut source = Source::new(Instant::ZERO, contact(1));
        let late = Instant::ZERO + ms(10_000);
        assert!(!source.is_stalled(late));
        source.asked(late, transfer(&[0], late));
        assert!(!source.is_stalled(late + ms(1999)));
        assert!(source.is_stalled(late + ms(2000)));
        source.note_round_trip(ms(1000));
        assert!(!source.is_stalled(late + ms(3999)));
    }

    #[test]
    fn failures_rest_longer_each_time_and_end_in_being_left_alone() {
        let mut source = Source::new(Instant::ZERO, contact(1));
        source.have = Some(GranuleSet::full(1));
        source.on_failure(Instant::ZERO);
        assert!(
            !source.is_useful(Instant::ZERO + ms(999))
                && source.is_useful(Instant::ZERO + ms(1000))
        );
        source.on_failure(Instant::ZERO);
        assert!(!source.is_useful(Instant::ZERO + ms(1999)));
        for _ in 0..2 {
            assert!(source.is_hopeful());
            source.on_failure(Instant::ZERO);
        }
        assert!(!source.is_hopeful());
        source.hear_of(Instant::ZERO, contact(1));
        assert!(source.is_hopeful());
    }
}
