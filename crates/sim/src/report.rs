//! The result of a scenario: plain data, and a table of it for people.

use std::fmt;
use std::time::Duration;

use crate::check::Check;
use crate::trace::TraceHash;
use crate::world::WorldStats;

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number of things.
    Count(u64),
    /// A part of a number of things.
    Share {
        /// Things in the part.
        part: u64,
        /// All things.
        whole: u64,
    },
    /// A number.
    Number(f64),
    /// A duration.
    Time(Duration),
    /// Durations: half are below the first value, nineteen of twenty below the second.
    Times {
        /// The median.
        p50: Duration,
        /// The 95th percentile.
        p95: Duration,
        /// The longest.
        max: Duration,
    },
}

impl Value {
    /// A count.
    #[must_use]
    pub const fn count(count: usize) -> Self {
        Self::Count(count as u64)
    }

    /// A part of a whole.
    #[must_use]
    pub const fn share(part: usize, whole: usize) -> Self {
        Self::Share { part: part as u64, whole: whole as u64 }
    }

    /// The spread of some durations.
    #[must_use]
    pub fn times(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let index = (times.len() as f64 * share) as usize;
            times.get(index.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        Self::Times { p50: at(0.5), p95: at(0.95), max: at(1.0) }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: &Duration| time.as_secs_f64() * 1000.0;
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Share { part, whole: 0 } => write!(f, "{part} of 0"),
            Self::Share { part, whole } => {
                let percent = *part as f64 * 100.0 / *whole as f64;
                write!(f, "{part} of {whole} ({percent:.2} %)")
            }
            Self::Number(number) => write!(f, "{number:.2}"),
            Self::Time(time) => write!(f, "{:.1} ms", millis(time)),
            Self::Times { p50, p95, max } => write!(
                f,
                "p50 {:.0} ms, p95 {:.0} ms, max {:.0} ms",
                millis(p50),
                millis(p95),
                millis(max)
            ),
        }
    }
}

/// The result of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The scenario.
    pub scenario: &'static str,
    /// The number of nodes at the start.
    pub nodes: usize,
    /// The seed that repeats it.
    pub seed: u64,
    /// Minutes of its main part.
    pub minutes: u64,
    /// Whether all nodes knew each other from the start.
    pub prepared: bool,
    /// The measured values, in order.
    pub figures: Vec<(String, Value)>,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// Virtual time that passed.
    pub virtual_time: Duration,
    /// Counters of the world.
    pub stats: WorldStats,
    /// The hash of all events.
    pub trace: TraceHash,
    /// The last notable events, oldest first.
    pub log: Vec<String>,
}

impl Report {
    /// Whether every check passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// The checks that did not pass.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }

    /// The command that repeats this run exactly.
    #[must_use]
    pub fn replay(&self) -> String {
        let prepared = if self.prepared { " --prepared" } else { "" };
        format!(
            "cargo xtask sim {} --nodes {} --seed {} --minutes {}{prepared}",
            self.scenario, self.nodes, self.seed, self.minutes
        )
    }

    /// A figure by its name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<&Value> {
        self.figures.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} nodes, seed {}", self.scenario, self.nodes, self.seed)?;
        if self.prepared {
            writeln!(f, "  prepared: all nodes knew each other from the start")?;
        }
        for (name, value) in &self.figures {
            writeln!(f, "  {name:<44} {value}")?;
        }
        let per_node = |count: u64| {
            count as f64 / self.nodes.max(1) as f64 / self.virtual_time.as_secs_f64().max(1e-6)
        };
        let (network, calls) = (&self.stats.network, &self.stats.calls);
        let mut row = |name: &str, value: Value| writeln!(f, "  {name:<44} {value}");
        row("virtual time", Value::Time(self.virtual_time))?;
        row("events", Value::Count(self.stats.events))?;
        row("datagrams per node and second", Value::Number(per_node(network.sent)))?;
        row("bytes per node and second", Value::Number(per_node(network.sent_bytes)))?;
        row("calls", Value::Count(calls.made))?;
        row("storage operations", Value::Count(self.stats.storage_ops))?;
        writeln!(f, "  {:<44} {}", "trace", self.trace)?;
        for check in &self.checks {
            let mark = if check.passed { "ok  " } else { "FAIL" };
            writeln!(f, "  {mark} {}: {}", check.name, check.detail)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_people_read_them() {
        let times = (1..=100).map(Duration::from_millis).collect();
        for (value, text) in [
            (Value::count(3), "3"),
            (Value::share(1, 8), "1 of 8 (12.50 %)"),
            (Value::share(0, 0), "0 of 0"),
            (Value::Time(Duration::from_micros(1500)), "1.5 ms"),
            (Value::times(times), "p50 51 ms, p95 96 ms, max 100 ms"),
            (Value::times(Vec::new()), "p50 0 ms, p95 0 ms, max 0 ms"),
        ] {
            assert_eq!(value.to_string(), text);
        }
    }
}
