//! One line on stderr that shows the progress of a transfer.
//!
//! **Invariant:** it is never wider than the terminal, so that it can be redrawn in place.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthStr as _;

use super::table::{fitted, mib, span};
use crate::out::Out;
use crate::text::printable;

/// How often the line is redrawn by itself.
const TICK: Duration = Duration::from_millis(250);
/// Time over which the current rate is averaged. A longer time smooths it more.
const RATE_OVER: Duration = Duration::from_secs(4);
/// Time before the first rate is shown: an earlier one says nothing.
const RATE_AFTER: Duration = Duration::from_secs(1);
/// Readings closer together than this count as one.
const LOOK: Duration = Duration::from_millis(200);
/// Most columns of a name; in a narrow terminal a fifth of it.
const NAME_COLUMNS: usize = 24;
/// Columns of the bar.
const BAR_COLUMNS: (usize, usize) = (8, 40);
/// Columns of a terminal of unknown width.
const COLUMNS: usize = 80;

const BEFORE: &str = "{spinner} {msg}";
const UNDER_WAY: &str = "{msg}";

/// Shows progress on a terminal; does nothing elsewhere.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    shown: bool,
    name: String,
    pace: RefCell<Option<Pace>>,
}

impl Progress {
    /// A line for a transfer with the name `what`.
    pub(super) fn new(out: Out, what: &str) -> Self {
        let shown = stderr().is_terminal() && !out.quiet;
        let target =
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style(BEFORE));
        let name = printable(what);
        if shown {
            bar.set_message(begun(columns(), &name, ""));
            bar.enable_steady_tick(TICK);
        }
        Self { bar, shown, name, pace: RefCell::new(None) }
    }

    /// `done` of `total` bytes are done; `how` names the sources.
    pub(super) fn at(&self, done: u64, total: Option<u64>, how: &str) {
        if !self.shown {
            return;
        }
        let how = printable(how);
        let Some(total) = total else {
            self.bar.set_message(begun(columns(), &self.name, &how));
            return;
        };
        let now = Instant::now();
        let mut pace = self.pace.borrow_mut();
        let pace = pace.get_or_insert_with(|| {
            self.bar.set_style(style(UNDER_WAY));
            Pace::new(now, done)
        });
        pace.note(now, done);
        let amount = Amount { done, total };
        self.bar.set_message(line(columns(), &self.name, amount, pace.rate(), &how));
    }

    /// Removes the line.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// The current rate.
#[derive(Debug)]
struct Pace {
    /// Bytes done at times during the last seconds.
    looks: VecDeque<(Instant, u64)>,
}

impl Pace {
    fn new(now: Instant, done: u64) -> Self {
        Self { looks: [(now, done)].into() }
    }

    fn note(&mut self, now: Instant, done: u64) {
        let is_new = |(at, _): &(Instant, u64)| now.duration_since(*at) < LOOK;
        if self.looks.len() > 1 && self.looks.back().is_some_and(is_new) {
            return;
        }
        self.looks.push_back((now, done));
        // One reading before the period stays: rates are over the whole period.
        while self.looks.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_OVER) {
            self.looks.pop_front();
        }
    }

    /// Bytes a second; `None` if that is not known yet.
    fn rate(&self) -> Option<f64> {
        let ((from, before), (to, after)) = (self.looks.front()?, self.looks.back()?);
        let span = to.duration_since(*from);
        (span >= RATE_AFTER).then(|| after.saturating_sub(*before) as f64 / span.as_secs_f64())
    }
}

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Amount {
    /// Bytes that are done.
    done: u64,
    /// Bytes of the whole.
    total: u64,
}

fn columns() -> usize {
    terminal_size_of(stderr()).map_or(COLUMNS, |(Width(columns), _)| usize::from(columns))
}

/// The line before the size is known, without the spinner.
fn begun(columns: usize, name: &str, how: &str) -> String {
    fitted(&format!("{name} {how}"), columns.saturating_sub(3)).trim_end().to_owned()
}

/// The line of a transfer with a known size. If it is too long, parts are left out: first the senders, then
/// the amounts, then the remaining time.
fn line(columns: usize, name: &str, amount: Amount, rate: Option<f64>, how: &str) -> String {
    let Amount { done, total } = amount;
    // A line that fills the last column makes some terminals begin another line.
    let room = columns.saturating_sub(1);
    let share = if total == 0 { 1.0 } else { (done as f64 / total as f64).min(1.0) };
    let percent = format!("{:.0} %", (share * 100.0).floor());
    let amounts = format!("{} of {} MiB", mib(done as f64), mib(total as f64));
    let speed = rate.map(|rate| format!("{} MiB/s", mib(rate)));
    let left = rate.filter(|rate| *rate >= 1.0).map(|rate| {
        let seconds = (total.saturating_sub(done) as f64 / rate).ceil();
        format!("{} left", span(seconds as u64))
    });
    let name = fitted(name, NAME_COLUMNS.min(columns / 5));
    let mut parts = [Some(percent), Some(amounts), speed, left, Some(how.to_owned())];
    let text = |parts: &[Option<String>; 5]| {
        let said = parts.iter().flatten().filter(|part| !part.is_empty());
        said.map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    for gives_way in [4, 1, 3, 2] {
        if name.width() + 1 + text(&parts).width() <= room {
            break;
        }
        parts[gives_way] = None;
    }
    let text = text(&parts);
    let rest = room.saturating_sub(name.width() + 1 + text.width() + 1);
    if rest < BAR_COLUMNS.0 {
        return fitted(&format!("{name} {text}"), room).trim_end().to_owned();
    }
    let width = rest.min(BAR_COLUMNS.1);
    let full = (width as f64 * share) as usize;
    format!("{name} {}{} {text}", "█".repeat(full), "░".repeat(width - full))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn both_forms_of_the_line_can_be_drawn() {
        for template in [BEFORE, UNDER_WAY] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn the_line_fits_every_terminal() {
        let names =
            ["a", "weights.bin", &"long-name".repeat(9), "重みのファイル名はとても長い重み"];
        let rates = [None, Some(0.0), Some(10.4 * MIB as f64), Some(1e12)];
        for columns in [1, 10, 20, 40, 60, 80, 120, 300] {
            for name in names {
                for rate in rates {
                    for (done, total) in [(0, 0), (1, 3), (90 * MIB, 100 * MIB), (5, u64::MAX)] {
                        let amount = Amount { done, total };
                        let line = line(columns, name, amount, rate, "from 3 of 12 nodes");
                        assert!(line.width() < columns.max(1), "{columns}: {line}");
                        assert!(
                            begun(columns, name, "from 0 of 0 nodes").width() + 2 < columns.max(3)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_matters_most_is_said_where_there_is_little_room() {
        let at = |columns| {
            let amount = Amount { done: 40 * MIB, total: 100 * MIB };
            line(columns, "weights.bin", amount, Some(20.0 * MIB as f64), "from 3 of 5 nodes")
        };
        assert_eq!(at(40), "weights. 40 %, 20.0 MiB/s, 3 s left");
        let wide = "weights.bin 40 %, 40.0 of 100.0 MiB, 20.0 MiB/s, 3 s left, from 3 of 5 nodes";
        assert_eq!(at(80), wide);
        assert!(at(120).contains('█') && at(120).contains('░'), "{}", at(120));
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(tenths * 100);
        // Bytes that were there before do not count.
        let mut pace = Pace::new(start, 500 * MIB);
        assert_eq!(pace.rate(), None);
        let mut done = 500 * MIB;
        for tenths in 1..=100 {
            done += 10 * MIB;
            pace.note(at(tenths), done);
        }
        let fast = pace.rate().expect("known") / MIB as f64;
        assert!((95.0..105.0).contains(&fast), "{fast}");
        for tenths in 101..=160 {
            done += MIB;
            pace.note(at(tenths), done);
        }
        let slow = pace.rate().expect("known") / MIB as f64;
        assert!((9.5..10.5).contains(&slow), "{slow}, and not the mean since the start");
        for tenths in 161..=220 {
            pace.note(at(tenths), done);
        }
        assert_eq!(pace.rate(), Some(0.0), "it has stopped");
        assert!(pace.looks.len() < 40);
    }
}
