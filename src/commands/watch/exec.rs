//! `--exec`: a command that runs after each change, one at a time; the last change wins.
//!
//! The command line is the user's own and goes to the shell unchanged. Data of the record reaches it through
//! environment variables and stdin only, so no value is ever read as a command.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::{Shown, siblings_json};
use crate::failure::Failure;
use crate::out::Out;

/// A change for the command.
#[derive(Debug)]
struct Job {
    shown: Shown,
    file: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest change that the command has not got.
    next: Option<Job>,
    running: bool,
}

/// Runs the command in a thread of its own.
pub(super) struct Runner(Arc<(Mutex<State>, Condvar)>);

impl Runner {
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(out: Out, command: String) -> Result<Self, Failure> {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let work = move || {
            loop {
                let job = next(&theirs);
                if let Err(trouble) = run(&command, &job) {
                    out.trouble(trouble);
                }
                let (state, changed) = &*theirs;
                state.lock().unwrap_or_else(PoisonError::into_inner).running = false;
                changed.notify_all();
            }
        };
        let cannot = |error| Failure::failed(format!("cannot start a thread: {error}"));
        thread::Builder::new().name("exec".into()).spawn(work).map_err(cannot)?;
        Ok(Self(shared))
    }

    /// Runs the command for this change, once it is not running any more; the change replaces another one
    /// that is waiting.
    pub(super) fn run(&self, shown: Shown, file: Option<PathBuf>) {
        let (state, changed) = &*self.0;
        state.lock().unwrap_or_else(PoisonError::into_inner).next = Some(Job { shown, file });
        changed.notify_all();
    }

    /// Waits until the command has run for the last change.
    pub(super) fn finish(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.running || state.next.is_some() {
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn next(shared: &(Mutex<State>, Condvar)) -> Job {
    let (state, changed) = shared;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(job) = state.next.take() {
            state.running = true;
            return job;
        }
        state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Runs the command once.
///
/// # Errors
/// The command cannot be started, or it failed.
fn run(command: &str, job: &Job) -> Result<(), String> {
    let shell = if cfg!(windows) { ["cmd", "/C"] } else { ["/bin/sh", "-c"] };
    let change = &job.shown.change;
    let input = match &job.shown.value {
        Some(value) => value.clone(),
        None if change.siblings.is_empty() => Vec::new(),
        None => siblings_json(change).map_err(|failure| failure.message)?,
    };
    let mut running = Command::new(shell[0]);
    running.args([shell[1], command]).stdin(Stdio::piped());
    running.env("POTLUCK_NAME", &change.name).env("POTLUCK_STATE", &change.state);
    running.env("POTLUCK_VERSION", change.version.as_deref().unwrap_or_default());
    running.env("POTLUCK_GAP", if change.gap { "1" } else { "0" });
    if let Some(file) = &job.file {
        running.env("POTLUCK_FILE", file);
    }
    let mut child = running.spawn().map_err(|error| format!("cannot run the command: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command need not read all of its input.
        let _ = stdin.write_all(&input);
    }
    let status = child.wait().map_err(|error| format!("cannot wait for the command: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("the command failed: {status}")) }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::super::tests::change;
    use super::*;

    fn job(value: &str) -> Job {
        Job { shown: Shown::of(change(Some(value))).expect("a value"), file: None }
    }

    #[test]
    fn the_value_comes_by_stdin_and_is_never_a_command() {
        let folder = tempfile::tempdir().expect("folder");
        let seen = folder.path().join("seen");
        let command = format!(
            "cat > '{0}'; echo \"$POTLUCK_NAME $POTLUCK_STATE $POTLUCK_VERSION\" >> '{0}'",
            seen.display()
        );
        let hostile = "'; touch /tmp/x; $(false) `false`\n";
        run(&command, &job(hostile)).expect("it ran");
        let text = fs::read_to_string(&seen).expect("the file");
        assert_eq!(text, format!("{hostile}a value 7\n"));
    }

    #[test]
    fn a_command_that_fails_or_does_not_read_is_said_and_not_fatal() {
        assert!(run("exit 3", &job("a")).expect_err("failed").contains("exit status: 3"));
        let large = "x".repeat(1 << 17);
        run("exec true", &job(&large)).expect("it need not read");
    }

    #[test]
    fn the_last_change_wins_while_the_command_runs() {
        let folder = tempfile::tempdir().expect("folder");
        let (seen, go) = (folder.path().join("seen"), folder.path().join("go"));
        let (seen_text, go_text) = (seen.display(), go.display());
        let command =
            format!("cat >> '{seen_text}'; while [ ! -e '{go_text}' ]; do sleep 0.01; done");
        let out = Out { json: false, quiet: false, verbose: false };
        let runner = Runner::start(out, command).expect("a runner");
        runner.run(job("first ").shown, None);
        while fs::read(&seen).unwrap_or_default().is_empty() {
            thread::yield_now();
        }
        for value in ["second ", "third ", "last"] {
            runner.run(job(value).shown, None);
        }
        fs::write(&go, "").expect("written");
        runner.finish();
        assert_eq!(fs::read_to_string(&seen).expect("the file"), "first last");
    }
}
