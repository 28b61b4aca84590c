//! `watch`: shows a record, and again after each change, also when the connection breaks.

mod exec;
mod file;
mod listen;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;

use super::siblings;
use crate::api::{Siblings, WatchChange};
use crate::cli::{Global, WatchArgs};
use crate::client::kv_path;
use crate::failure::Failure;
use crate::out::{Out, for_stdout, written};
use crate::text::{json as json_text, quoted};
use crate::up::on_first_signal;
use exec::Runner;
use file::Target;
use listen::listen;

/// Changes queued between the connection and the output.
const AHEAD: usize = 16;
/// How long writing may go on after Ctrl-C.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// An event of the connection or the user.
#[derive(Debug)]
enum Word {
    Change(Box<WatchChange>),
    /// A note for the user.
    Note(String),
    Failed(Failure),
    Interrupted,
}

/// A change with the bytes of its value.
#[derive(Debug, Clone)]
struct Shown {
    change: WatchChange,
    /// `None` if there is not exactly one value.
    value: Option<Vec<u8>>,
}

impl Shown {
    fn of(change: WatchChange) -> Result<Self, Failure> {
        let unreadable = |_| Failure::failed("the node sent a value that cannot be read");
        let decoded = |text: &String| BASE64.decode(text.as_bytes()).map_err(unreadable);
        let base64 = change.value_base64.as_ref().map(decoded).transpose()?;
        let value = change.value.clone().map(String::into_bytes).or(base64);
        Ok(Self { change, value })
    }
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &WatchArgs) -> Result<(), Failure> {
    let query = [("space", args.record.space.clone())];
    let path = kv_path("/v1/watch", &args.record.name, &query)?;
    let target = args.out.as_ref().map(|path| Target::of(path)).transpose()?;
    let (sender, words) = sync_channel(AHEAD);
    let interrupt = sender.clone();
    on_first_signal(move || {
        // An output that nothing reads must not keep the program alive.
        thread::spawn(|| {
            thread::sleep(LAST_WORDS);
            std::process::exit(0);
        });
        // If there is no receiver any more, the program is about to end.
        let _ = interrupt.send(Word::Interrupted);
    })?;
    start_listening(global.clone(), path, sender)?;
    let out = global.out();
    let runner = args.exec.clone().map(|command| Runner::start(out, command)).transpose()?;
    let mut shower = Shower { out, args, target, runner, shown: 0 };
    let ended = shower.show_all(&words);
    if let Some(runner) = shower.runner
        && ended == Ok(End::Enough)
    {
        runner.finish();
    }
    ended.map(|_| ())
}

fn start_listening(global: Global, path: String, sender: SyncSender<Word>) -> Result<(), Failure> {
    let work = move || {
        if let Err(failure) = listen(&global, &path, &sender) {
            // The receiver is gone if showing has ended.
            let _ = sender.send(Word::Failed(failure));
        }
    };
    let started = thread::Builder::new().name("listen".into()).spawn(work);
    started.map(drop).map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))
}

/// Why no more is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Enough,
    Interrupted,
}

/// Shows each change as the user asked.
struct Shower<'a> {
    out: Out,
    args: &'a WatchArgs,
    target: Option<Target>,
    runner: Option<Runner>,
    shown: u64,
}

impl Shower<'_> {
    fn show_all(&mut self, words: &Receiver<Word>) -> Result<End, Failure> {
        let most = self.args.count.unwrap_or(u64::MAX);
        while self.shown < most {
            match words.recv() {
                Ok(Word::Change(change)) => {
                    let shown = Shown::of(*change)?;
                    if !self.show(&shown)? {
                        return Ok(End::Interrupted);
                    }
                    self.shown += 1;
                }
                Ok(Word::Note(note)) => self.out.note(note),
                Ok(Word::Failed(failure)) => return Err(failure),
                Ok(Word::Interrupted) | Err(RecvError) => return Ok(End::Interrupted),
            }
        }
        Ok(End::Enough)
    }

    /// Shows a change; returns whether the output is still read.
    fn show(&self, shown: &Shown) -> Result<bool, Failure> {
        self.comment(shown)?;
        if let (Some(target), Some(value)) = (&self.target, &shown.value) {
            target.write(value)?;
        }
        let text = match &shown.value {
            _ if self.out.json => {
                let json = serde_json::to_string(&shown.change).unwrap_or_default();
                Some((json_text(&json) + "\n").into_bytes())
            }
            // With a file or a command, the value goes there.
            Some(value) if self.target.is_none() && self.runner.is_none() => {
                Some([&for_stdout(value)[..], b"\n"].concat())
            }
            Some(_) | None => None,
        };
        if let Some(text) = text {
            let mut stdout = io::stdout().lock();
            if let Err(error) = stdout.write_all(&text).and_then(|()| stdout.flush()) {
                return written(Err(error)).map(|()| false);
            }
        }
        if let Some(runner) = &self.runner {
            runner.run(shown.clone(), self.args.out.clone());
        }
        Ok(true)
    }

    /// Prints what the value alone does not show.
    fn comment(&self, shown: &Shown) -> Result<(), Failure> {
        let WatchChange { name, state, siblings, gap, missed, .. } = &shown.change;
        match missed {
            _ if !gap => {}
            Some(missed) => self.out.note(format!("at least {missed} changes were not shown")),
            None => self.out.note("changes may have been missed"),
        }
        let kept = self
            .args
            .out
            .as_ref()
            .map(|path: &PathBuf| format!("; {} stays as it is", path.display()));
        let kept = kept.unwrap_or_default();
        match state.as_str() {
            "absent" if self.shown == 0 => {
                self.out.note(format!("there is no record {name} yet: waiting for it{kept}"));
            }
            "absent" => self.out.note(format!("{name} was deleted, or its life is over{kept}")),
            "siblings" => {
                let count = siblings.len();
                let hint = format!("choose with potluck merge {} --pick INDEX", quoted(name));
                self.out.note(format!("{name} has {count} siblings{kept}; {hint}"));
                if !self.out.json {
                    siblings::list(self.out, siblings)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// All siblings of a change as the object that `get --all` prints.
fn siblings_json(change: &WatchChange) -> Result<Vec<u8>, Failure> {
    let all = Siblings { context: change.context.clone(), siblings: change.siblings.clone() };
    Ok(siblings::to_json(&change.name, &all)?.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn change(value: Option<&str>) -> WatchChange {
        WatchChange {
            name: "a".to_owned(),
            state: if value.is_some() { "value" } else { "absent" }.to_owned(),
            value: value.map(str::to_owned),
            value_base64: None,
            version: value.map(|_| "7".to_owned()),
            kind: None,
            context: String::new(),
            siblings: Vec::new(),
            gap: false,
            missed: Some(0),
        }
    }

    #[test]
    fn a_value_is_its_bytes_whether_text_or_not() {
        assert_eq!(
            Shown::of(change(Some("é"))).expect("text").value,
            Some("é".as_bytes().to_vec())
        );
        assert_eq!(Shown::of(change(None)).expect("nothing").value, None);
        let binary = WatchChange { value_base64: Some("/wA=".to_owned()), ..change(None) };
        assert_eq!(Shown::of(binary).expect("bytes").value, Some(vec![0xff, 0]));
        let broken = WatchChange { value_base64: Some("?".to_owned()), ..change(None) };
        assert!(Shown::of(broken).is_err());
    }
}
