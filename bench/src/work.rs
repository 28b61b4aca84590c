//! The work of one phase, the same for Potluck and for each system beside it: workers take the next
//! number and do one operation with it.
//!
//! `bench/peers` compiles this file too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::summary::{Phase, Summary};

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// In flight.
    pub concurrency: usize,
    /// At most.
    pub operations: usize,
    /// After this time no further one begins.
    pub time: Duration,
}

/// What it measured, and how many operations began: their numbers are those below.
#[derive(Debug)]
pub struct Worked {
    pub summary: Summary,
    pub begun: usize,
}

/// Runs operations, which say whether they did what was asked.
pub async fn spread<F, Fut>(amount: Amount, operation: F) -> Worked
where
    F: Fn(usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = bool> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let phase = Phase::begin();
    let began = Instant::now();
    let workers: Vec<_> = (0..amount.concurrency)
        .map(|_| {
            let (next, operation) = (next.clone(), operation.clone());
            tokio::spawn(async move {
                let (mut latencies, mut failed) = (Vec::new(), 0);
                while began.elapsed() < amount.time {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= amount.operations {
                        break;
                    }
                    let began = Instant::now();
                    if operation(number).await {
                        latencies.push(began.elapsed());
                    } else {
                        failed += 1;
                    }
                }
                (latencies, failed)
            })
        })
        .collect();
    let (mut latencies, mut failed) = (Vec::new(), 0);
    for worker in workers {
        if let Ok((more, lost)) = worker.await {
            latencies.extend(more);
            failed += lost;
        }
    }
    let begun = next.load(Ordering::Relaxed).min(amount.operations);
    Worked { summary: phase.end(latencies, failed), begun }
}

/// Values of one phase of puts: their names are the prefix and a number.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    pub prefix: &'static str,
    /// Numbers below it were put, or tried.
    pub count: usize,
}

impl Stored {
    /// Before the first put.
    pub fn none(prefix: &'static str) -> Self {
        Self { prefix, count: 0 }
    }

    /// The name of the value with this number.
    pub fn name(&self, number: usize) -> String {
        format!("{}/{number}", self.prefix)
    }

    /// Its bytes. They begin with the name: some systems keep equal values only once.
    pub fn value(&self, number: usize, bytes: usize) -> Vec<u8> {
        let noise = (0usize..).map(|index| (number * 31 + index * 7) as u8);
        self.name(number).into_bytes().into_iter().chain(noise).take(bytes).collect()
    }

    /// The number that the get with this number asks for.
    pub fn pick(&self, number: usize) -> usize {
        number % self.count.max(1)
    }
}

/// The node that puts a number, and the one that gets it.
pub fn putter(number: usize, nodes: usize) -> usize {
    number * 7919 % nodes
}

/// See [`putter`].
pub fn getter(number: usize, nodes: usize) -> usize {
    (number * 104_729 + 13) % nodes
}

/// Nodes that stop: every third from the front until there are enough, so neighbours by start and
/// not by place.
pub fn stops(index: usize, stopping: usize) -> bool {
    index.is_multiple_of(3) && index / 3 < stopping
}
