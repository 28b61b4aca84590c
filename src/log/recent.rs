//! The last lines of the log in memory, for a fault report where no log file is at hand.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Bytes of lines that are kept. Raising it gives a report more of the past.
const BYTES_MAX: usize = 1 << 20;

static RECENT: Mutex<Recent> = Mutex::new(Recent { lines: VecDeque::new(), bytes: 0 });

/// The last lines, oldest first.
#[derive(Debug)]
struct Recent {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Recent {
    fn keep(&mut self, line: &str) {
        // A line without bytes would not count.
        self.bytes += line.len().max(1);
        self.lines.push_back(line.to_owned());
        while self.bytes > BYTES_MAX
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.len().max(1);
        }
    }
}

/// Keeps a line.
pub(super) fn keep(line: &str) {
    RECENT.lock().keep(line);
}

/// The last lines, oldest first, at most 1 MiB.
pub(crate) fn recent() -> Vec<String> {
    RECENT.lock().lines.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_give_way() {
        let mut recent = Recent { lines: VecDeque::new(), bytes: 0 };
        let line = |number: usize| format!("{number:0100}");
        for number in 0..20_000 {
            recent.keep(&line(number));
        }
        assert_eq!(recent.lines.len(), BYTES_MAX / 100);
        assert_eq!(recent.lines.back(), Some(&line(19_999)));
        recent.keep(&"x".repeat(BYTES_MAX + 1));
        assert_eq!(
            (recent.lines.len(), recent.bytes),
            (0, 0),
            "one that is too large goes as well"
        );
    }
}
