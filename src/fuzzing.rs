//! For fuzz targets: what reads configurations, backups, URLs and HTTP requests, fed with anything.

use std::fmt::Debug;
use std::path::Path;

use crate::client::{base_url, is_loopback, kv_path};
use crate::config::{self, Input, Settings};
use crate::text;

pub use crate::http::fuzzing::{Api, parts as http_parts};

/// Told what was read: by which reader, whether it was taken, and what came out.
pub type Say<'a> = dyn FnMut(&'static str, bool, &dyn Debug) + 'a;

/// A configuration file.
///
/// # Panics
/// If what the node prints of its configuration is read as another one.
pub fn configuration(text: &str, say: &mut Say<'_>) {
    let path = Path::new("potluck.toml");
    let mut settings = Settings::default();
    let read = config::apply_text(&mut settings, path, text);
    say("file", false, &read.as_ref().map_err(|failure| failure.code.clone()));
    let valid = read.and_then(|()| settings.validate());
    let wrong = valid.as_ref().err().map_or("", |failure| &failure.message);
    // Printed without quotation marks, so that two messages differ.
    say("settings", valid.is_ok(), &format_args!("{wrong}"));
    if valid.is_err() {
        return;
    }
    let printed = config::to_toml(&settings);
    let mut again = Settings::default();
    let read = config::apply_text(&mut again, path, &printed);
    assert!(read.is_ok(), "{read:?} in\n{printed}");
    assert_eq!(config::to_toml(&again), printed);
    assert_eq!(config::to_json(&again), config::to_json(&settings));
}

/// A configuration file that says everything.
#[must_use]
pub fn configuration_sample() -> String {
    let printed = config::to_toml(&Settings::default());
    // What is not set is a comment with an example.
    let said = |line: &str| match line.strip_prefix("# ") {
        Some(example) if example.contains(" = ") => example.to_owned(),
        _ => line.to_owned(),
    };
    printed.lines().map(|line| said(line) + "\n").collect()
}

/// A value of the command line or the environment, as each kind of key reads it.
pub fn value(text: &str, say: &mut Say<'_>) {
    for key in config::KEYS.iter().copied().flatten() {
        let mut settings = Settings::default();
        let set = (key.set)(&mut settings, &Input::Text(text));
        say(key.name, set.is_ok(), &set.is_ok());
    }
}

/// Lines of a backup.
pub fn backup(bytes: &[u8], say: &mut Say<'_>) {
    crate::commands::backup::fuzzing(bytes, say);
}

/// What is typed as the address or the name of something on a node, and what a terminal or a shell is shown.
///
/// # Panics
/// If a text that is made harmless is not.
pub fn typed(text: &str, say: &mut Say<'_>) {
    let base = base_url(text);
    say("url", base.is_ok(), &base.as_ref().ok().map(|base| is_loopback(base)));
    let path = kv_path("/v1/kv", text, &[("space", Some(text.to_owned()))]);
    say("path", path.is_ok(), &path.is_ok());
    if let Ok(path) = path {
        assert!(path.is_ascii() && !path.contains(char::is_whitespace), "{path:?}");
    }
    let harmless = |shown: &str| !shown.chars().any(char::is_control);
    let shown = text::printable(text);
    assert!(harmless(&shown), "{shown:?}");
    let shown = text::escaped(text.as_bytes());
    assert!(harmless(&shown.replace('\t', "")), "{shown:?}");
    let clean = text::clean(text.as_bytes());
    assert!(harmless(&clean.replace(['\n', '\t'], "")), "{clean:?}");
}
