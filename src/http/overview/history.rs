//! The last 24 hours of a node, in a bounded number of bytes: the last quarter of an hour second by
//! second, the day minute by minute.
//!
//! **Invariant:** the two rings hold [`BYTES`] at most, whatever happens.

use std::collections::VecDeque;

use super::rates::Sample;

/// Seconds that are kept one by one. Raising it costs 4 bytes a second and series.
const SECONDS: usize = 900;
/// Minutes that are kept: a day. Raising it costs 4 bytes a minute and series.
const MINUTES: usize = 24 * 60;
/// Seconds of one point of the longer ring.
const MINUTE: usize = 60;

/// The series, with the unit of each.
pub(super) const SERIES: [(&str, &str); 12] = [
    ("alive", "members"),
    ("suspect", "members"),
    ("peers", "nodes"),
    ("bytesIn", "bytes a second"),
    ("bytesOut", "bytes a second"),
    ("messagesIn", "datagrams a second"),
    ("messagesOut", "datagrams a second"),
    ("lookups", "lookups a second"),
    ("lookupP99", "milliseconds"),
    ("cpu", "percent of a core"),
    ("memory", "bytes"),
    ("records", "records"),
];

/// One moment of all series.
pub(super) type Point = [f32; SERIES.len()];

/// Bytes of both rings when they are full: 112,320.
#[cfg(test)]
pub(super) const BYTES: usize = (SECONDS + MINUTES) * size_of::<Point>();

/// The rings.
#[derive(Debug, Default)]
pub(super) struct Rings {
    seconds: VecDeque<Point>,
    minutes: VecDeque<Point>,
    /// The sum of the points of the minute that has begun, and how many there are.
    begun: (Point, usize),
}

impl Rings {
    /// Appends the point of one second.
    pub(super) fn push(&mut self, point: Point) {
        append(&mut self.seconds, SECONDS, point);
        let (sum, count) = &mut self.begun;
        sum.iter_mut().zip(point).for_each(|(sum, value)| *sum += value);
        *count += 1;
        if *count == MINUTE {
            let mean = sum.map(|sum| sum / MINUTE as f32);
            self.begun = Default::default();
            append(&mut self.minutes, MINUTES, mean);
        }
    }

    /// The points one second apart, or one minute apart; oldest first.
    pub(super) fn points(&self, by_minutes: bool) -> &VecDeque<Point> {
        if by_minutes { &self.minutes } else { &self.seconds }
    }

    /// Seconds between two points.
    pub(super) const fn step_seconds(by_minutes: bool) -> u64 {
        if by_minutes { MINUTE as u64 } else { 1 }
    }
}

fn append(ring: &mut VecDeque<Point>, max: usize, point: Point) {
    if ring.len() >= max {
        ring.pop_front();
    }
    // One point at a time: a ring that doubles would take up to twice the bytes.
    ring.reserve_exact(usize::from(ring.capacity() == ring.len()) * 60.min(max - ring.len()));
    ring.push_back(point);
}

/// The point of a sample.
pub(super) fn point(sample: &Sample) -> Point {
    let of = |value: f64| value as f32;
    [
        sample.alive as f32,
        sample.suspect as f32,
        sample.peers as f32,
        of(sample.bytes.r#in),
        of(sample.bytes.out),
        of(sample.messages.r#in),
        of(sample.messages.out),
        of(sample.lookups_per_second),
        of(sample.lookup_p99_ms),
        of(sample.cpu_percent),
        sample.memory_bytes as f32,
        sample.records as f32,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_takes_a_fixed_number_of_bytes() {
        let mut rings = Rings::default();
        for second in 0..2 * 24 * 3600 {
            rings.push([(second / 60) as f32; SERIES.len()]);
        }
        let held = (rings.seconds.capacity() + rings.minutes.capacity()) * size_of::<Point>();
        assert_eq!((rings.seconds.len(), rings.minutes.len()), (SECONDS, MINUTES));
        assert!(held <= BYTES, "{held} of {BYTES}");
        assert_eq!(BYTES, 112_320);
        // The newest minute of the second day, and the one a day before it.
        assert_eq!(rings.points(true).back().expect("full")[0], 2879.0);
        assert_eq!(rings.points(true).front().expect("full")[0], 1440.0);
    }

    #[test]
    fn a_minute_is_the_mean_of_its_seconds() {
        let mut rings = Rings::default();
        for second in 0..60 {
            rings.push([second as f32; SERIES.len()]);
        }
        assert_eq!(rings.points(true).iter().map(|it| it[0]).collect::<Vec<_>>(), [29.5]);
        assert_eq!(rings.points(false).len(), 60);
    }
}
