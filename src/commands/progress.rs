//! A bar on stderr, for people who watch.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::out::Out;

/// How often the bar moves by itself.
const TICK: Duration = Duration::from_millis(250);

/// Shows how far something is; does nothing where nobody watches.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    quiet: bool,
}

impl Progress {
    /// A bar for something that is called `what`.
    pub(super) fn new(out: Out, what: &str) -> Self {
        let shown = stderr().is_terminal() && !out.quiet;
        let target =
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style("{spinner} {prefix} {bytes} {msg}"));
        bar.set_prefix(what.chars().filter(|c| !c.is_control()).take(40).collect::<String>());
        if shown {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, quiet: !shown }
    }

    /// So many bytes of so many are done, of which some were before it began.
    pub(super) fn at(&self, bytes: u64, total: Option<u64>, message: String) {
        if self.quiet {
            return;
        }
        if let Some(total) = total
            && self.bar.length() != Some(total)
        {
            self.bar.set_length(total);
            self.bar.set_style(style(
                "{prefix} [{bar:30}] {bytes} of {total_bytes} {bytes_per_sec} {msg} eta {eta}",
            ));
            // What was there before is no sign of how fast it goes.
            self.bar.set_position(bytes);
            self.bar.reset_eta();
        }
        self.bar.set_message(message);
        self.bar.set_position(bytes);
    }

    /// So many bytes more are done.
    pub(super) fn more(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_bar_can_be_drawn() {
        for template in ["{spinner} {prefix} {bytes} {msg}", "{bar:30} {bytes_per_sec} eta {eta}"] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
