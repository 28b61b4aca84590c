//! The output for an empty command line or an unknown command.

use clap::error::ErrorKind;

use crate::failure::Failure;

/// Bare `potluck`.
pub(crate) const OVERVIEW: &str = "\
Potluck, a network with no server. See it first:
  potluck demo          a real network on this machine, in front of your eyes
Run a node and join others:
  potluck up [TICKET], invite, revoke ID, network show, join CONTACT, leave
Keep and change records, pass messages:
  potluck put NAME VALUE, get, watch, del, merge, ls, export, import, team
  potluck incr NAME, set-add, set-remove, map-set, map-unset, pub, sub TOPIC
Hand files around, and see what happens (every command has --help):
  potluck share PATH, fetch LINK, search WORDS, files, unshare, pin, unpin, gc
  potluck status, top, doctor, members, peers, trace, verify, sim, advise, plan
";

/// One sentence for an error of the command line parser.
///
/// `typed` are the words that it is about: not every error names the command.
pub(crate) fn failure_of(error: &clap::Error, typed: &[String]) -> Failure {
    let text = error.render().to_string();
    // The parser says: "error: ..", perhaps indented names, perhaps "tip: ..", then the usage.
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect();
    let mut message = String::new();
    for line in said {
        let (line, glue) = match line.strip_prefix("tip: ") {
            Some(tip) => (tip, "; "),
            None => (line.strip_prefix("error: ").unwrap_or(line), " "),
        };
        if !message.is_empty() {
            message.push_str(glue);
        }
        message.push_str(line);
    }
    let command = command_of(&text).map(str::to_owned).or_else(|| command_in(typed));
    let hint = match (error.kind(), command) {
        (ErrorKind::InvalidSubcommand, _) | (_, None) => "see potluck --help".to_owned(),
        (_, Some(command)) => format!("see potluck {command} --help"),
    };
    Failure::usage(message).hint(hint)
}

/// The command whose usage the error shows.
fn command_of(text: &str) -> Option<&str> {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "))?;
    let word = usage.split_whitespace().nth(1)?;
    word.chars().all(|letter| letter.is_ascii_lowercase()).then_some(word)
}

/// The first word that is a command.
fn command_in(typed: &[String]) -> Option<String> {
    let commands = super::command();
    typed.iter().skip(1).find(|word| commands.find_subcommand(word).is_some()).cloned()
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;
    use crate::failure::Exit;

    fn said_to(line: &str) -> String {
        let typed: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let error = command().try_get_matches_from(&typed).expect_err("it is wrong");
        let failure = failure_of(&error, &typed);
        assert_eq!(failure.exit, Exit::Usage);
        failure.to_string()
    }

    #[test]
    fn wrong_usage_is_one_line_that_says_where_to_look() {
        assert_eq!(
            said_to("potluck demo --keyz 3"),
            "unexpected argument '--keyz' found; a similar argument exists: '--keys'; \
             see potluck demo --help"
        );
        assert_eq!(
            said_to("potluck got x"),
            "unrecognized subcommand 'got'; a similar subcommand exists: 'get'; see potluck --help"
        );
        let wrong = said_to("potluck --json demo --nodes 3");
        assert!(wrong.ends_with("; see potluck demo --help"), "{wrong}");
        let missing = said_to("potluck put x");
        assert_eq!(missing.lines().count(), 1);
        assert!(missing.contains("<VALUE>") && missing.ends_with("see potluck put --help"));
    }
}
