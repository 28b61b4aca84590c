//! Combines the settings: defaults, then the file, then the environment, then flags.

use std::path::Path;

use toml::{Table, Value};

use super::Settings;
use super::input::{Input, shown};
use super::keys::{KEYS, Key};
use crate::failure::{Exit, Failure};
use crate::log::LEVELS_VARIABLE;

/// Variables that are no configuration keys.
const OTHER_VARIABLES: [&str; 6] = [
    "POTLUCK_NODE",
    "POTLUCK_TOKEN_FILE",
    "POTLUCK_LINK",
    "POTLUCK_TICKET",
    "POTLUCK_TICKET_FILE",
    LEVELS_VARIABLE,
];
/// The largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most wrong letters of a variable for which it is taken as a misspelt key.
const TYPOS_MAX: usize = 3;

/// A flag that sets a key.
#[derive(Debug)]
pub(crate) struct Flag<'a> {
    /// As it was typed.
    pub(crate) flag: &'static str,
    /// The key's section and name.
    pub(crate) key: (&'static str, &'static str),
    /// What it was set to.
    pub(crate) input: Input<'a>,
}

/// The settings of a node.
///
/// # Errors
/// Wrong usage: a key that does not exist, an invalid value, or settings that contradict each other.
pub(crate) fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
    flags: &[Flag<'_>],
) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    if let Some(path) = file {
        apply_file(&mut settings, path)?;
    }
    for (variable, value) in variables {
        apply_variable(&mut settings, &variable, &value)?;
    }
    for flag in flags {
        let (section, name) = flag.key;
        let key = find(section, name).expect("flags name keys of the table");
        (key.set)(&mut settings, &flag.input).map_err(|wrong| wrong_value(flag.flag, &wrong))?;
    }
    settings.validate()?;
    Ok(settings)
}

fn keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().copied().flatten()
}

fn find(section: &str, name: &str) -> Option<&'static Key> {
    keys().find(|key| key.section == section && key.name == name)
}

fn wrong_value(origin: &str, wrong: &str) -> Failure {
    Failure::new(Exit::Usage, "config", format!("{origin} {wrong}"))
}

fn apply_file(settings: &mut Settings, path: &Path) -> Result<(), Failure> {
    let at = path.display();
    let unreadable = |why: String| {
        Failure::new(Exit::Usage, "config", format!("cannot read configuration file {at}: {why}"))
    };
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable("it is larger than 1 MiB".into()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    apply_text(settings, path, &text)
}

/// Takes over what the text of the file at `path` says.
pub(crate) fn apply_text(settings: &mut Settings, path: &Path, text: &str) -> Result<(), Failure> {
    let at = path.display();
    let unreadable = |why: String| {
        Failure::new(Exit::Usage, "config", format!("cannot read configuration file {at}: {why}"))
    };
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        unreadable(format!("line {line}: {}", error.message().lines().next().unwrap_or("not TOML")))
    })?;
    for (section, values) in &table {
        if !keys().any(|key| key.section == section) {
            return Err(unknown_section(path, section));
        }
        let Value::Table(values) = values else {
            return Err(wrong_value(&format!("[{section}] in {at}"), "must be a section"));
        };
        for (name, value) in values {
            let key = find(section, name).ok_or_else(|| unknown_key(path, section, name))?;
            let origin = format!("[{section}] {name} in {at}");
            (key.set)(settings, &Input::Toml(value))
                .map_err(|wrong| wrong_value(&origin, &wrong))?;
        }
    }
    Ok(())
}

fn unknown_section(path: &Path, section: &str) -> Failure {
    let nearest = nearest(section, keys().map(|key| key.section.to_owned())).unwrap_or_default();
    Failure::new(
        Exit::Usage,
        "unknownKey",
        format!(
            "there is no section [{}] in a configuration file ({})",
            shown(section),
            path.display()
        ),
    )
    .hint(format!("the nearest is [{nearest}]"))
}

fn unknown_key(path: &Path, section: &str, name: &str) -> Failure {
    // A key of this name in another section is a better guess than a similar name in this section.
    let elsewhere = keys().find(|key| key.name == name);
    let here =
        nearest(name, keys().filter(|key| key.section == section).map(|key| key.name.to_owned()));
    let hint = match (elsewhere, here) {
        (Some(key), _) => format!("[{}] {}", key.section, key.name),
        (None, here) => format!("[{section}] {}", here.unwrap_or_default()),
    };
    Failure::new(
        Exit::Usage,
        "unknownKey",
        format!("there is no key [{section}] {} ({})", shown(name), path.display()),
    )
    .hint(format!("the nearest is {hint}"))
}

/// The known word with the fewest differing letters.
pub(crate) fn nearest(word: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let word = word.to_lowercase();
    known.min_by_key(|known| strsim::damerau_levenshtein(&word, known))
}

fn apply_variable(settings: &mut Settings, variable: &str, value: &str) -> Result<(), Failure> {
    let Some(rest) = variable.strip_prefix("POTLUCK_") else { return Ok(()) };
    if OTHER_VARIABLES.contains(&variable) {
        return Ok(());
    }
    if let Some(key) = keys().find(|key| key.variable() == variable) {
        return (key.set)(settings, &Input::Text(value))
            .map_err(|wrong| wrong_value(variable, &wrong));
    }
    let in_section = keys().any(|key| {
        rest.strip_prefix(&key.section.to_uppercase()).is_some_and(|rest| rest.starts_with('_'))
    });
    let known = keys().map(Key::variable);
    let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(variable, known));
    let nearest = nearest.unwrap_or_default();
    if !in_section && strsim::damerau_levenshtein(variable, &nearest) > TYPOS_MAX {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        "unknownKey",
        format!("the environment variable {} sets no key that exists", shown(variable)),
    )
    .hint(format!("the nearest is {nearest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("potluck.toml");
        std::fs::write(&path, text).expect("write");
        (folder, path)
    }

    fn variable(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    fn said(text: &str) -> String {
        let (_folder, path) = file(text);
        let failure = load(Some(&path), [], &[]).expect_err("it is wrong");
        assert_eq!(failure.exit, Exit::Usage);
        let said = failure.to_string();
        assert_eq!(said.lines().count(), 1, "{said}");
        said.replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let (_folder, path) = file("[kv]\nreplication = 3\nread_quorum = 2\n[dht]\nk = 8\n");
        let flag = Flag { flag: "--k", key: ("dht", "k"), input: Input::Text("10") };
        let environment = [
            ("POTLUCK_KV_REPLICATION", "5"),
            ("POTLUCK_DHT_K", "9"),
            ("HOME", "/"),
            ("POTLUCK_NODE", "x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = load(Some(&path), environment, &[flag]).expect("valid");
        assert_eq!(settings.protocol.dht.k, 10);
        assert_eq!(settings.protocol.kv.replication, 5);
        assert_eq!(settings.protocol.kv.read_quorum, 2);
        assert_eq!(settings.protocol.dht.alpha, Settings::default().protocol.dht.alpha);
    }

    #[test]
    fn unknown_keys_and_sections_name_the_nearest() {
        assert_eq!(
            said("[kv]\nreplicaton = 3"),
            "there is no key [kv] replicaton (FILE); the nearest is [kv] replication"
        );
        assert_eq!(
            said("[http]\nreplication = 3"),
            "there is no key [http] replication (FILE); the nearest is [kv] replication"
        );
        assert_eq!(
            said("[htp]\nlisten = 3"),
            "there is no section [htp] in a configuration file (FILE); the nearest is [http]"
        );
        let failure = load(None, variable("POTLUCK_KV_REPLICAS", "3"), &[]).expect_err("unknown");
        assert_eq!(failure.hint.as_deref(), Some("the nearest is POTLUCK_KV_REPLICATION"));
        let failure = load(None, variable("POTLUCK_KW_REPLICATION", "3"), &[]).expect_err("a typo");
        assert_eq!(failure.code, "unknownKey");
        load(None, variable("POTLUCK_SERVICE_PORT_IN_A_CLUSTER", "3"), &[]).expect("not ours");
    }

    #[test]
    fn wrong_values_are_named_with_their_origin() {
        assert_eq!(
            said("[kv]\nreplication = \"many\""),
            "[kv] replication in FILE must be a whole number from 1 to 32"
        );
        assert_eq!(said("kv = 3"), "[kv] in FILE must be a section");
        assert!(said("[kv\n").starts_with("cannot read configuration file FILE: line 1: "));
        let failure = load(None, variable("POTLUCK_DHT_K", "x"), &[]).expect_err("wrong");
        assert_eq!(failure.message, "POTLUCK_DHT_K must be a whole number from 2 to 32");
    }

    #[test]
    fn lists_in_the_environment_are_comma_separated() {
        let settings =
            load(None, variable("POTLUCK_NETWORK_ENTRY", "127.0.0.1:1, host.example:2"), &[])
                .expect("valid");
        assert_eq!(settings.network.entry, ["127.0.0.1:1", "host.example:2"]);
    }
}
