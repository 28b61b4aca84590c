//! Running a program and reading the figures that it prints.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Figures of one run, by name.
pub(super) type Figures = BTreeMap<String, f64>;

/// Bytes of what a program says on stderr that are kept: its end tells why it failed.
const WORDS_MAX: usize = 64 * 1024;

/// A running program. It is killed when this is dropped.
pub(super) struct Running {
    name: String,
    child: Child,
    lines: Receiver<String>,
    words: Option<JoinHandle<String>>,
    figures: Figures,
    end: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts a program that ends within `limit`.
    pub(super) fn start(mut command: Command, limit: Duration) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                BufReader::new(stdout)
                    .lines()
                    .map_while(Result::ok)
                    .try_for_each(|line| sender.send(line))
            });
        }
        let words = child.stderr.take().map(|stderr| std::thread::spawn(move || end_of(stderr)));
        let end = Instant::now() + limit;
        Ok(Self { name, child, lines, words, figures: Figures::new(), end })
    }

    /// Waits for a line that begins with `word` and a space: the rest of it.
    pub(super) fn word(&mut self, word: &str) -> Result<String, String> {
        while let Some(line) = self.line()? {
            if let Some(rest) = line.strip_prefix(word).and_then(|rest| rest.strip_prefix(' ')) {
                return Ok(rest.to_owned());
            }
        }
        self.ended()?;
        Err(format!("{} ended without a line `{word} ..`", self.name))
    }

    /// Closes its input and waits until it ends: its figures.
    pub(super) fn finish(mut self) -> Result<Figures, String> {
        drop(self.child.stdin.take());
        while self.line()?.is_some() {}
        self.ended()?;
        Ok(std::mem::take(&mut self.figures))
    }

    /// The next line; none at the end. Figures are noted on the way.
    fn line(&mut self) -> Result<Option<String>, String> {
        match self.lines.recv_timeout(self.end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some((name, number)) = figure(&line) {
                    self.figures.insert(name, number);
                }
                Ok(Some(line))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("{} did not end in time and was stopped", self.name))
            }
        }
    }

    /// That it ended well.
    fn ended(&mut self) -> Result<(), String> {
        let status = self.child.wait().map_err(|error| format!("{}: {error}", self.name))?;
        let words = self.words.take().and_then(|words| words.join().ok()).unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word");
        Err(format!("{} failed ({status}): {}", self.name, last.trim()))
    }
}

/// Runs a program to its end.
pub(super) fn play(command: Command, limit: Duration) -> Result<Figures, String> {
    Running::start(command, limit)?.finish()
}

/// Runs a program to its end: what it printed, trimmed.
pub(super) fn capture(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word");
    Err(format!("{name} failed ({}): {}", output.status, last.trim()))
}

/// `figure NAME NUMBER`.
fn figure(line: &str) -> Option<(String, f64)> {
    let (name, number) = line.strip_prefix("figure ")?.split_once(' ')?;
    let number: f64 = number.trim().parse().ok()?;
    number.is_finite().then(|| (name.to_owned(), number))
}

/// Reads all of it and keeps the end.
fn end_of(mut stream: impl Read) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(WORDS_MAX);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Whether two files hold the same bytes.
pub(super) fn same(one: &Path, two: &Path) -> Result<(), String> {
    capture(Command::new("cmp").arg(one).arg(two)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn figures_are_read_among_other_lines() {
        let figures = play(shell("echo figure a.b 1.5; echo word; echo figure c x"), LIMIT);
        assert_eq!(figures, Ok(Figures::from([("a.b".to_owned(), 1.5)])));
    }

    #[test]
    fn a_giver_says_its_ticket_and_ends_with_its_input() {
        let mut giver = Running::start(shell("echo ticket a b; cat; echo figure cpu 2"), LIMIT);
        let giver = giver.as_mut().map(|giver| giver.word("ticket"));
        assert_eq!(giver, Ok(Ok("a b".to_owned())));
        let giver = Running::start(shell("echo ticket a b; cat; echo figure cpu 2"), LIMIT);
        let figures = giver.and_then(Running::finish);
        assert_eq!(figures, Ok(Figures::from([("cpu".to_owned(), 2.0)])));
    }

    #[test]
    fn a_failure_is_told_in_the_programs_last_words() {
        let error = play(shell("echo first >&2; echo why >&2; exit 3"), LIMIT);
        assert!(error.as_ref().is_err_and(|error| error.ends_with(": why")), "{error:?}");
    }

    #[test]
    fn a_program_that_does_not_end_is_stopped() {
        let error = play(shell("exec sleep 600"), Duration::from_millis(10));
        assert!(error.is_err_and(|error| error.contains("was stopped")));
    }
}
