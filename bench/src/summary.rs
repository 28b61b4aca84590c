//! One phase of a run: latencies, rate, cost.

use std::time::{Duration, Instant};

use crate::process::cpu_seconds;

/// Measures a phase from its making to [`Phase::end`].
pub struct Phase {
    started: Instant,
    cpu: f64,
}

/// What a phase cost.
#[derive(Debug, Clone)]
pub struct Summary {
    pub done: usize,
    pub failed: usize,
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub p50: Duration,
    pub p99: Duration,
}

impl Phase {
    pub fn begin() -> Self {
        Self { started: Instant::now(), cpu: cpu_seconds() }
    }

    pub fn end(self, mut latencies: Vec<Duration>, failed: usize) -> Summary {
        let seconds = self.started.elapsed().as_secs_f64();
        latencies.sort();
        let at = |share: f64| {
            let index =
                ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
            latencies.get(index).copied().unwrap_or_default()
        };
        Summary {
            done: latencies.len(),
            failed,
            seconds,
            cpu_seconds: cpu_seconds() - self.cpu,
            p50: at(0.50),
            p99: at(0.99),
        }
    }
}

impl Summary {
    pub fn print(&self, what: &str) {
        println!(
            "{what:<28} {:>8.0}/s  {:>6.3} CPU s per 1000  p50 {:>8.2} ms  p99 {:>8.2} ms  {} ok, {} failed",
            self.done as f64 / self.seconds,
            self.cpu_seconds / (self.done.max(1) as f64) * 1000.0,
            self.p50.as_secs_f64() * 1000.0,
            self.p99.as_secs_f64() * 1000.0,
            self.done,
            self.failed,
        );
    }

    /// The same for a program that reads it, a figure a line: `figure NAME.rate 1843.2`. Rates are
    /// operations a second, times milliseconds, `cpu` seconds per 1,000, `right` percent.
    pub fn print_figures(&self, name: &str) {
        let done = self.done.max(1) as f64;
        let all = (self.done + self.failed).max(1) as f64;
        for (figure, number) in [
            ("rate", self.done as f64 / self.seconds),
            ("cpu", self.cpu_seconds / done * 1000.0),
            ("p50", self.p50.as_secs_f64() * 1000.0),
            ("p99", self.p99.as_secs_f64() * 1000.0),
            ("right", self.done as f64 / all * 100.0),
        ] {
            print_figure(&format!("{name}.{figure}"), number);
        }
    }
}

/// One figure for a program that reads it.
pub fn print_figure(name: &str, number: f64) {
    println!("figure {name} {number:.4}");
}
