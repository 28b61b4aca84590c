//! Computes when a packet that enters the line now leaves it: after the packets before it, at the line's
//! rate, and after the delay; or never, if the queue before the line is full.

use std::time::{Duration, Instant};

/// Bytes of IPv4 and UDP around what a datagram carries; the rate counts them.
const HEADER_BYTES: usize = 28;

/// The properties of a line, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) bits_per_second: u64,
    /// Round-trip time.
    pub(super) rtt: Duration,
    /// Longest time that a packet may wait before the line; packets that would wait longer are dropped.
    pub(super) buffer: Duration,
    /// Longest packet.
    pub(super) mtu: u16,
}

impl Shape {
    /// The words that [`Shape::of_words`] reads.
    pub(super) fn words(&self) -> [String; 4] {
        [
            self.bits_per_second.to_string(),
            self.rtt.as_micros().to_string(),
            self.buffer.as_micros().to_string(),
            self.mtu.to_string(),
        ]
    }

    pub(super) fn of_words(words: &[String]) -> Option<Self> {
        let [rate, rtt, buffer, mtu] = words else { return None };
        Some(Self {
            bits_per_second: rate.parse().ok().filter(|rate| *rate > 0)?,
            rtt: Duration::from_micros(rtt.parse().ok()?),
            buffer: Duration::from_micros(buffer.parse().ok()?),
            mtu: mtu.parse().ok()?,
        })
    }
}

/// One direction of the line.
#[derive(Debug)]
pub(super) struct Queue {
    shape: Shape,
    /// When the line is free.
    free: Instant,
    pub(super) dropped: u64,
}

impl Queue {
    pub(super) fn new(shape: Shape, now: Instant) -> Self {
        Self { shape, free: now, dropped: 0 }
    }

    /// The arrival time of a datagram with this number of bytes; `None` if the buffer is full.
    pub(super) fn arrival(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let begins = self.free.max(now);
        if begins.duration_since(now) > self.shape.buffer {
            self.dropped += 1;
            return None;
        }
        let bits = (bytes + HEADER_BYTES) as f64 * 8.0;
        self.free = begins + Duration::from_secs_f64(bits / self.shape.bits_per_second as f64);
        Some(self.free + self.shape.rtt / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            bits_per_second: 8_000_000,
            rtt: Duration::from_millis(100),
            buffer: Duration::from_millis(2),
            mtu: 1500,
        }
    }

    #[test]
    fn packets_leave_at_the_rate_and_after_half_the_round_trip() {
        let now = Instant::now();
        let mut queue = Queue::new(shape(), now);
        let after = |arrival: Option<Instant>| arrival.map(|it| it.duration_since(now).as_micros());
        // A thousand bytes take a millisecond.
        assert_eq!(after(queue.arrival(now, 972)), Some(51_000));
        assert_eq!(after(queue.arrival(now, 972)), Some(52_000));
        assert_eq!(after(queue.arrival(now, 972)), Some(53_000));
        assert_eq!((after(queue.arrival(now, 972)), queue.dropped), (None, 1), "3 ms wait");
        let later = now + Duration::from_millis(10);
        assert_eq!(after(queue.arrival(later, 972)), Some(61_000), "the line stood idle");
    }

    #[test]
    fn a_shape_is_read_back() {
        assert_eq!(Shape::of_words(&shape().words()), Some(shape()));
        assert_eq!(Shape::of_words(&["0", "1", "1", "1"].map(str::to_owned)), None);
    }
}
