//! A bar on stderr, for people who watch.

use std::cell::Cell;
use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::files::printable;
use super::table::{bytes, span};
use crate::out::Out;

/// How often the bar moves by itself.
const TICK: Duration = Duration::from_millis(250);
/// Before, a rate says nothing.
const RATE_AFTER: Duration = Duration::from_secs(1);
/// Longest part of a name that is shown.
const NAME_CHARS_MAX: usize = 24;

const BEFORE: &str = "{spinner} {prefix} {msg}";
const UNDER_WAY: &str = "{prefix} {wide_bar} {bytes} of {total_bytes}{msg}";

/// Shows how far something is; does nothing where nobody watches.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    shown: bool,
    /// When the first bytes were seen, and how many: they may have been there before.
    begin: Cell<Option<(Instant, u64)>>,
}

impl Progress {
    /// A bar for something that is called `what`.
    pub(super) fn new(out: Out, what: &str) -> Self {
        let shown = stderr().is_terminal() && !out.quiet;
        let target =
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style(BEFORE));
        bar.set_prefix(printable(what).chars().take(NAME_CHARS_MAX).collect::<String>());
        if shown {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, shown, begin: Cell::new(None) }
    }

    /// So many bytes of so many are done; `how` says by whom.
    pub(super) fn at(&self, done: u64, total: Option<u64>, how: &str) {
        if !self.shown {
            return;
        }
        let Some(total) = total else {
            self.bar.set_message(how.to_owned());
            return;
        };
        let (since, before) = self.begin.get().unwrap_or_else(|| {
            self.bar.set_style(style(UNDER_WAY));
            self.bar.set_length(total);
            (Instant::now(), done)
        });
        self.begin.set(Some((since, before)));
        let pace = pace(done.saturating_sub(before), total.saturating_sub(done), since.elapsed());
        self.bar.set_message(format!("{pace}, {how}"));
        self.bar.set_position(done);
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// How fast it goes and how long it will take; nothing if that is not known yet.
fn pace(done: u64, left: u64, took: Duration) -> String {
    if done == 0 || took < RATE_AFTER {
        return String::new();
    }
    let rate = done as f64 / took.as_secs_f64();
    let eta = span((left as f64 / rate).ceil() as u64);
    format!(", {}/s, {eta} left", bytes(rate as u64))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_bar_can_be_drawn() {
        for template in [BEFORE, UNDER_WAY] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_rate_is_of_what_came_since_the_bar_is_there() {
        let mib = 1 << 20;
        assert_eq!(pace(20 * mib, 90 * mib, Duration::from_secs(2)), ", 10.0 MiB/s, 9 s left");
        assert_eq!(pace(0, 90 * mib, Duration::from_secs(2)), "");
        assert_eq!(pace(20 * mib, 90 * mib, Duration::from_millis(1)), "");
    }
}
