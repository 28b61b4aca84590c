//! `sim --seeds A..B`: one scenario with many seeds, one at a time on each core.
//!
//! **Invariant:** a run depends on its seed only, so apart from the times no line of the output depends on
//! the other runs or the number of cores.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use potluck_sim::scenarios;
use potluck_sim::{Params, Report, ScenarioError};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::failure::Failure;
use crate::text::count;

/// Most seeds of one command. Each result takes about a hundred bytes until the end.
const SEEDS_MAX: u64 = 1_000_000;

/// `A..B`: the seeds from A to B, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seeds(RangeInclusive<u64>);

impl Seeds {
    /// All of them.
    pub(crate) fn to_vec(&self) -> Vec<u64> {
        self.0.clone().collect()
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = || {
            let (first, last) = text.split_once("..")?;
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last && last - first < SEEDS_MAX).then_some(first..=last)
        };
        range().map(Self).ok_or_else(|| {
            "a range of seeds is two numbers such as 1..20, the smaller one first, and at most a \
             million seeds"
                .to_owned()
        })
    }
}

/// The result of one seed.
struct Played {
    seed: u64,
    took: Duration,
    /// `Err` if the run panicked.
    result: thread::Result<Result<Report, ScenarioError>>,
}

/// Runs all seeds and prints a line for each, in their order.
pub(crate) fn run(
    global: &Global,
    name: &str,
    params: &Params,
    seeds: &Seeds,
) -> Result<(), Failure> {
    let Some(scenario) = scenarios::find(name) else {
        let error = ScenarioError::Unknown(name.to_owned());
        return Err(Failure::usage(error).hint("potluck sim --list names them"));
    };
    let began = Instant::now();
    let (mut failed, mut objects) = (Vec::new(), Vec::new());
    play_all(name, params, seeds, &mut |played| {
        let line = Line::of(&played, scenario.must_fail)?;
        if !line.ok {
            failed.push(played.seed);
        }
        if global.json {
            objects.push(line.object);
            return Ok(());
        }
        global.out().line(line.text)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let all = seeds.0.end() - seeds.0.start() + 1;
    if global.json {
        let object =
            json!({"scenario": name, "seeds": objects, "failed": failed, "seconds": seconds});
        global.out().object(&object)?;
    } else {
        let (all, failed) = (count(all, "seed"), failed.len());
        global.out().line(format_args!("{all}, {failed} failed, {seconds:.1} s"))?;
    }
    let Some(seed) = failed.first() else { return Ok(()) };
    let failed = count(failed.len() as u64, "seed");
    let prepared = if params.prepared { " --prepared" } else { "" };
    let failure = Failure::failed(format_args!("{failed} failed"));
    Err(failure.hint(format_args!("potluck sim {name} --seed {seed}{prepared} shows all of one")))
}

/// Runs all seeds on all cores and returns the results in the order of the seeds.
fn play_all(
    name: &str,
    params: &Params,
    Seeds(seeds): &Seeds,
    each: &mut dyn FnMut(Played) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let next = AtomicU64::new(0);
    let play = |tell: mpsc::SyncSender<Played>| {
        while let Some(seed) = seeds.start().checked_add(next.fetch_add(1, Ordering::Relaxed)) {
            if seed > *seeds.end() {
                return;
            }
            let began = Instant::now();
            // A panic is a failed run: the other seeds go on, and the line names the seed.
            let run = || scenarios::run(name, &Params { seed, ..*params });
            let result = catch_unwind(AssertUnwindSafe(run));
            // Fails once a line could not be printed: then no further seed is run.
            if tell.send(Played { seed, took: began.elapsed(), result }).is_err() {
                return;
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let (tell, told) = mpsc::sync_channel::<Played>(workers);
    thread::scope(|scope| {
        for _ in 0..workers {
            let (tell, play) = (tell.clone(), &play);
            scope.spawn(move || play(tell));
        }
        drop(tell);
        let mut early: BTreeMap<u64, Played> = BTreeMap::new();
        let mut due = *seeds.start();
        for played in told {
            early.insert(played.seed, played);
            while let Some(played) = early.remove(&due) {
                due = due.saturating_add(1);
                each(played)?;
            }
        }
        Ok(())
    })
}

/// The line that is printed for a seed.
struct Line {
    /// Whether the run passed, or failed in a canary.
    ok: bool,
    text: String,
    object: Value,
}

impl Line {
    fn of(played: &Played, must_fail: bool) -> Result<Self, Failure> {
        let (report, passed) = match &played.result {
            Ok(Ok(report)) => (report, true),
            Ok(Err(ScenarioError::Failed(report))) => (&**report, false),
            Ok(Err(error)) => return Err(Failure::usage(error)),
            Err(_) => return Ok(Self::panicked(played)),
        };
        let failures: Vec<&str> = report.failures().map(|check| check.name).collect();
        let word = match (passed, must_fail) {
            (true, false) => "ok".to_owned(),
            (true, true) => "FAIL the checkers missed what is broken on purpose".to_owned(),
            (false, true) => format!("ok, found: {}", failures.join("; ")),
            (false, false) => format!("FAIL {}", failures.join("; ")),
        };
        let (seed, trace, ok) = (played.seed, report.trace, passed != must_fail);
        let seconds = played.took.as_secs_f64();
        let object = json!({
            "seed": seed,
            "trace": trace.to_string(),
            "events": report.stats.events,
            "seconds": seconds,
            "ok": ok,
            "failures": failures,
        });
        let text = format!("seed {seed:<6} trace {trace} {seconds:>6.1} s  {word}");
        Ok(Self { ok, text, object })
    }

    /// The line of a run that panicked; its message is on stderr already. A panic is a failure in a canary
    /// too.
    fn panicked(played: &Played) -> Self {
        let (seed, seconds) = (played.seed, played.took.as_secs_f64());
        let (trace, word) = ("-", "panicked");
        let object = json!({"seed": seed, "seconds": seconds, "ok": false, "failures": [word]});
        let text = format!("seed {seed:<6} trace {trace:<16} {seconds:>6.1} s  FAIL {word}");
        Self { ok: false, text, object }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_panics_is_a_failed_seed() {
        let result = catch_unwind(|| panic!("on purpose"));
        let played = Played { seed: 7, took: Duration::ZERO, result };
        for must_fail in [false, true] {
            let line = Line::of(&played, must_fail).expect("a line");
            assert!(
                !line.ok && line.text.contains("seed 7") && line.text.ends_with("FAIL panicked")
            );
        }
    }

    #[test]
    fn a_range_of_seeds_is_two_numbers_in_order() {
        assert_eq!("1..20".parse(), Ok(Seeds(1..=20)));
        assert_eq!("7..7".parse(), Ok(Seeds(7..=7)));
        for wrong in ["", "7", "..7", "7..", "9..1", "x..2", "1..1000001", "-1..3"] {
            let error = wrong.parse::<Seeds>().expect_err(wrong);
            assert!(error.contains("such as 1..20"), "{error}");
        }
    }
}
