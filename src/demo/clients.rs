//! A few concurrent clients that measure the latency of each operation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Concurrent clients. More of them raise the throughput and the latency of each operation.
const CLIENTS: usize = 4;

/// The results and latencies of a batch of items.
#[derive(Debug)]
pub(super) struct Outcome<R> {
    /// In the order of the items.
    pub(super) results: Vec<R>,
    /// The latency of each item.
    latencies: Vec<Duration>,
    /// The time from the first start to the last end.
    pub(super) took: Duration,
}

/// Does `work` on all items, a few at a time.
pub(super) fn work<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(usize, &T) -> R + Sync,
) -> Outcome<R> {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let client = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            let begin = Instant::now();
            let result = work(index, item);
            done.push((index, result, begin.elapsed()));
        }
    };
    let mut done: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .flat_map(|client| match client.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    });
    let took = start.elapsed();
    done.sort_by_key(|(index, ..)| *index);
    let latencies = done.iter().map(|(_, _, latency)| *latency).collect();
    Outcome { results: done.into_iter().map(|(_, result, _)| result).collect(), latencies, took }
}

/// A rate and its latencies.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

impl<R> Outcome<R> {
    /// The rate and the latency quantiles of the batch.
    pub(super) fn pace(&self) -> Pace {
        let mut millis: Vec<f64> =
            self.latencies.iter().map(|latency| latency.as_secs_f64() * 1000.0).collect();
        millis.sort_by(f64::total_cmp);
        let seconds = self.took.as_secs_f64().max(1e-9);
        Pace {
            per_second: millis.len() as f64 / seconds,
            p50_ms: quantile(&millis, 0.50),
            p99_ms: quantile(&millis, 0.99),
        }
    }
}

impl Pace {
    /// The figures, rounded as they were measured.
    pub(super) fn to_json(self) -> Value {
        json!({
            "perSecond": round(self.per_second, 1),
            "p50Ms": round(self.p50_ms, 2),
            "p99Ms": round(self.p99_ms, 2),
        })
    }
}

/// The nearest-rank quantile of sorted values; 0 of none.
pub(super) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (sorted.len() as f64 * q).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// `value` rounded to `digits` decimal places.
pub(super) fn round(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_and_answered_in_order() {
        let items: Vec<usize> = (0..100).collect();
        let outcome = work(&items, |index, item| {
            assert_eq!(index, *item);
            item * 2
        });
        assert_eq!(outcome.results, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(outcome.latencies.len(), items.len());
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((quantile(&sorted, 0.5), quantile(&sorted, 0.99)), (100.0, 198.0));
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
