//! The log of a running node: one line for each event, on stderr, as text or as JSON.
//!
//! Levels: ERROR means that a person must act, WARN that something is wrong and the node goes on, INFO that
//! something rare happened; DEBUG and TRACE are for debugging. Each line of this program has a `code`, a word
//! for programs whose meaning never changes.
//!
//! **Invariant:** an event is one line whatever its fields contain, and a place in the source that repeats a
//! warning writes at most one line a minute.

mod limiter;
mod lines;
mod recent;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

pub(crate) use lines::Form;
pub(crate) use recent::recent;

use crate::failure::{Exit, Failure};

/// The environment variable that holds levels.
pub(crate) const LEVELS_VARIABLE: &str = "POTLUCK_LOG";
/// Longest text of levels that is read.
const LEVELS_BYTES_MAX: usize = 1024;

/// Changes the levels of the running program.
static LEVELS: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();
/// The node id that the lines name, once the node has an identity.
static NODE: OnceLock<String> = OnceLock::new();

/// Whether lines are objects for programs.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Whether lines are objects for programs.
pub(crate) fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Begins to log.
///
/// # Errors
/// Wrong usage: `levels` are not valid.
pub(crate) fn start(form: Form, verbose: u8, levels: Option<&str>) -> Result<(), Failure> {
    let targets = match levels {
        Some(text) => read(text).map_err(|wrong| {
            Failure::new(Exit::Usage, "config", format!("{LEVELS_VARIABLE} {wrong}"))
        })?,
        None => Targets::new().with_default(match verbose {
            0 => Level::WARN,
            1 => Level::INFO,
            2 => Level::DEBUG,
            _ => Level::TRACE,
        }),
    };
    IS_JSON.store(form == Form::Json, Ordering::Relaxed);
    let (filter, handle) = reload::Layer::new(targets);
    let subscriber = Registry::default().with(lines::Lines::new(form).with_filter(filter));
    // Only a second call could fail, and there is none.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = LEVELS.set(handle);
        if form == Form::Json {
            std::panic::set_hook(Box::new(|panic| {
                tracing::error!(
                    code = "panic",
                    "the program stopped at a fault of its own: {panic}"
                );
            }));
        }
    }
    Ok(())
}

/// Names the node in all lines from now on.
pub(crate) fn name_node(id: &str) {
    let _ = NODE.set(id.to_owned());
}

/// The levels in force, in the form that [`set_levels`] reads. Empty if nothing is logged.
pub(crate) fn levels() -> String {
    LEVELS
        .get()
        .and_then(|handle| handle.with_current(ToString::to_string).ok())
        .unwrap_or_default()
}

/// Changes the levels from now on: a level for all, or `target=level` pairs, separated by commas.
///
/// # Errors
/// The reason why `text` is not valid; then nothing has changed.
pub(crate) fn set_levels(text: &str) -> Result<(), String> {
    let targets = read(text)?;
    let Some(handle) = LEVELS.get() else { return Err("this program logs nothing".into()) };
    handle.reload(targets).map_err(|error| error.to_string())
}

fn read(text: &str) -> Result<Targets, String> {
    const WANTED: &str = "must be a level (error, warn, info, debug, trace, off) or a list such as \
                          warn,potluck_kv=debug";
    if text.len() > LEVELS_BYTES_MAX || text.trim().is_empty() {
        return Err(WANTED.into());
    }
    // A misspelt level would be read as a target with all its lines.
    let is_level = |word: &str| word.parse::<tracing::metadata::LevelFilter>().is_ok();
    for part in text.split(',').map(str::trim) {
        let fits = match part.split_once('=') {
            Some((target, level)) => !target.is_empty() && is_level(level),
            None => !part.is_empty() && is_level(part),
        };
        if !fits {
            return Err(format!("{WANTED}; `{part}` is none"));
        }
    }
    let plain: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    plain.parse().map_err(|_| WANTED.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_a_level_or_pairs_and_nothing_else() {
        for good in ["warn", "off", "info,potluck_kv=debug", " debug , potluck_host=trace "] {
            read(good).unwrap_or_else(|wrong| panic!("{good}: {wrong}"));
        }
        let long = "warn,".repeat(1000);
        for wrong in ["", "loud", "potluck_kv", "potluck_kv=loud", "=debug", "warn,,info", &long] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn levels_are_shown_as_they_are_read() {
        let shown = read("warn,potluck_kv=debug").expect("levels").to_string();
        assert_eq!(read(&shown).expect("again").to_string(), shown);
    }
}
