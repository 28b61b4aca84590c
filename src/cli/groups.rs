//! The command line as a whole: the commands in groups, by purpose.

use std::fmt::Write as _;

use clap::{CommandFactory as _, FromArgMatches as _};
use terminal_size::{Width, terminal_size};
use unicode_width::UnicodeWidthStr as _;

use super::Cli;

/// The groups, in the order in which a newcomer needs them.
const GROUPS: [(&str, &[&str]); 7] = [
    ("See it first", &["demo", "sim", "advise", "plan"]),
    ("Run a node and join others", &["up", "invite", "join", "leave", "revoke", "network"]),
    ("Keep records", &["put", "get", "watch", "del", "merge", "ls", "export", "import", "team"]),
    (
        "Count and collect at many nodes at once",
        &["incr", "set-add", "set-remove", "map-set", "map-unset"],
    ),
    ("Pass messages", &["pub", "sub"]),
    ("Hand files around", &["share", "fetch", "search", "files", "unshare", "pin", "unpin", "gc"]),
    ("See what happens", &["status", "top", "doctor", "members", "peers", "trace", "verify"]),
];
/// Commands that are in none of the groups.
const OTHERS: &str = "More";
/// The column at which the description of a command begins.
const INDENT: usize = 15;
const COLUMNS_MAX: usize = 100;

/// What can be typed.
pub(crate) fn command() -> clap::Command {
    let command = Cli::command();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}Options of every command:\n\
         {{options}}{{after-help}}",
        grouped(&command, columns())
    );
    command.help_template(template)
}

/// Columns of the terminal; as clap does it, at most 100.
fn columns() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let seen = || terminal_size().map(|(Width(columns), _)| usize::from(columns));
    said.or_else(seen).unwrap_or(COLUMNS_MAX).min(COLUMNS_MAX)
}

/// What was typed.
///
/// # Errors
/// Help was asked for, or it is none of what can be typed.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches()?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
}

/// The commands with what they do, group by group.
fn grouped(command: &clap::Command, columns: usize) -> String {
    let about =
        |command: &clap::Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut others: Vec<&clap::Command> = command.get_subcommands().collect();
    let mut text = String::new();
    for (head, names) in GROUPS {
        let _ = writeln!(text, "{head}:");
        for name in names {
            let Some(at) = others.iter().position(|it| it.get_name() == *name) else { continue };
            append(&mut text, name, &about(others.remove(at)), columns);
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{OTHERS}:");
    others.into_iter().for_each(|it| append(&mut text, it.get_name(), &about(it), columns));
    append(&mut text, "help", "What a command does and takes", columns);
    text.push('\n');
    text
}

/// A command with what it does, on as many lines as the terminal needs.
fn append(text: &mut String, name: &str, about: &str, columns: usize) {
    let mut line = format!("  {name:<12}");
    for word in about.split_whitespace() {
        if line.width() + 1 + word.width() > columns && line.width() > INDENT {
            let _ = writeln!(text, "{line}");
            line = " ".repeat(INDENT - 1);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help_of(words: &[&str]) -> String {
        let error = command().try_get_matches_from(words).expect_err("help is no command");
        assert!(!error.use_stderr(), "{error}");
        error.render().to_string()
    }

    #[test]
    fn every_command_stands_in_the_help_once_and_in_a_group() {
        let help = help_of(&["potluck", "--help"]);
        for command in Cli::command().get_subcommands() {
            let begin = format!("\n  {} ", command.get_name());
            assert_eq!(help.matches(&begin).count(), 1, "{begin}: {help}");
        }
        let more = help.split(&format!("{OTHERS}:\n")).nth(1).expect("the last group");
        let more: Vec<&str> = more.lines().take_while(|line| !line.is_empty()).collect();
        assert_eq!(more.len(), 4, "service, man, completions and help, and nothing else: {more:?}");
        assert!(help.find("  demo ") < help.find("  up "), "the demo comes first");
    }

    #[test]
    fn the_groups_fit_into_narrow_terminals() {
        for columns in [40, 80] {
            let text = grouped(&Cli::command(), columns);
            assert!(text.lines().all(|line| line.width() <= columns), "{text}");
            assert!(text.contains("\n  put          Store a value under"), "{text}");
        }
    }

    #[test]
    fn help_is_a_command_too() {
        assert_eq!(help_of(&["potluck", "help"]), help_of(&["potluck", "--help"]));
        assert_eq!(help_of(&["potluck", "help", "put"]), help_of(&["potluck", "put", "--help"]));
        let key = help_of(&["potluck", "help", "network", "key", "export"]);
        assert!(key.contains("never written over"), "{key}");
    }

    #[test]
    fn the_options_of_a_command_stand_before_those_of_every_command() {
        for command in Cli::command().get_subcommands() {
            let help = help_of(&["potluck", command.get_name(), "--help"]);
            let own = help.find("\nOptions:\n").expect("a command has --help");
            let every = help.find("\nOptions of every command:\n").expect("there are some");
            assert!(own < every, "{help}");
            assert!(
                help[every..].contains("--node <URL>") && !help[..every].contains("--node <URL>")
            );
        }
    }

    #[test]
    fn quorums_have_names() {
        for words in [
            &["potluck", "put", "a", "b", "--write-quorum", "2"][..],
            &["potluck", "put", "a", "b", "-w", "2"],
            &["potluck", "del", "a", "--write-quorum", "2"],
            &["potluck", "get", "a", "--read-quorum", "2"],
            &["potluck", "get", "a", "-r", "2"],
        ] {
            assert!(command().try_get_matches_from(words).is_ok(), "{words:?}");
        }
    }
}
