//! The durations of writes and reads in the last minutes, from the histograms of the core.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use potluck_base::histogram::Histogram;
use potluck_kv::Stats;

use crate::api::{CommandFigures, CommandTimes};

/// The period of the figures. A longer one covers more commands and older ones.
const SPAN: Duration = Duration::from_secs(300);
/// Time between two kept readings. A shorter one costs memory: 320 bytes for each reading.
const STEP: Duration = Duration::from_secs(15);

/// Readings of the histograms of writes and reads.
#[derive(Debug, Default)]
pub(super) struct Spans {
    looks: VecDeque<(Instant, Histogram, Histogram)>,
    now: Option<(Instant, Histogram, Histogram)>,
}

impl Spans {
    /// Adds a reading.
    pub(super) fn note(&mut self, now: Instant, stats: &Stats) {
        let look = (now, stats.put_times, stats.get_times);
        self.now = Some(look);
        // The newest reading of at least this age stays: the figures are over the time since then.
        while self.looks.get(1).is_some_and(|(at, ..)| now.duration_since(*at) >= SPAN) {
            self.looks.pop_front();
        }
        let due = |last: &(Instant, Histogram, Histogram)| now.duration_since(last.0) >= STEP;
        if self.looks.back().is_none_or(due) {
            self.looks.push_back(look);
        }
    }

    /// The figures since the oldest reading.
    pub(super) fn figures(&self) -> CommandFigures {
        let Some((now, puts, gets)) = self.now else { return CommandFigures::default() };
        let before = self.looks.front().filter(|(at, ..)| *at < now);
        let (since, puts_before, gets_before) =
            before.copied().unwrap_or((now, Histogram::default(), Histogram::default()));
        CommandFigures {
            span_seconds: now.duration_since(since).as_secs(),
            puts: times(&puts.since(&puts_before)),
            gets: times(&gets.since(&gets_before)),
        }
    }
}

fn times(of: &Histogram) -> CommandTimes {
    let ms = |share| of.quantile(share).map_or(0.0, |seconds| seconds * 1000.0);
    CommandTimes { count: of.count(), p50_ms: ms(0.5), p99_ms: ms(0.99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_last_five_minutes_in_few_looks() {
        let (mut spans, mut stats, start) = (Spans::default(), Stats::default(), Instant::now());
        stats.get_times.note(Duration::from_secs(3));
        spans.note(start, &stats);
        for second in 1..=900 {
            stats.get_times.note(Duration::from_micros(700));
            spans.note(start + Duration::from_secs(second), &stats);
        }
        let figures = spans.figures();
        assert!((300..316).contains(&figures.span_seconds), "{}", figures.span_seconds);
        assert_eq!(figures.gets.count, figures.span_seconds, "the first one is forgotten");
        assert_eq!((figures.gets.p50_ms, figures.gets.p99_ms), (1.0, 1.0));
        assert_eq!(figures.puts, CommandTimes::default());
        assert!(spans.looks.len() <= 23, "{}", spans.looks.len());
    }
}
