//! Reads tickets for a command: typed, from stdin, a file or the environment.
//!
//! A ticket is a secret, and every user of a machine can read the arguments of all processes. A ticket that
//! was typed after `up` is therefore removed from them: where the system allows it, the program executes
//! itself again in the same process without it and reads it from its environment, which only its own user can
//! read.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use potluck::Ticket;
use potluck_wire::admission::{TICKET_CHARS_MAX, TICKET_SCHEME};

use crate::cli::UpArgs;
use crate::failure::{Exit, Failure};

/// The environment variable that may contain a ticket.
const VARIABLE: &str = "POTLUCK_TICKET";
/// The argument for a ticket on stdin.
const STDIN: &str = "-";

/// Whether a typed word is a ticket, or stands for one.
pub(crate) fn is_ticket(word: &str) -> bool {
    word == STDIN || word.starts_with(TICKET_SCHEME)
}

/// The given ticket, if there is one.
///
/// # Errors
/// Wrong usage: more than one, an invalid one, or an empty file at the first start (`is_new`): later starts
/// need no ticket, so a service may empty the file.
pub(super) fn of(args: &UpArgs, is_new: bool) -> Result<Option<Ticket>, Failure> {
    let typed: Vec<&String> = args.entry.iter().filter(|word| is_ticket(word)).collect();
    let text = match (&typed[..], &args.ticket_file) {
        ([], None) => std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty()),
        ([], Some(path)) => {
            let text = from_file(path)?;
            if text.is_empty() && is_new {
                let message = format!("{} is empty", path.display());
                return Err(wrong(message).hint("put what potluck invite prints into it"));
            }
            Some(text).filter(|text| !text.is_empty())
        }
        ([word], None) => Some(typed_or_stdin(word)?),
        _ => return Err(wrong("a node is in one network: give one ticket")),
    };
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

/// The text of a typed ticket, or of the one on stdin.
///
/// # Errors
/// Stdin cannot be read.
pub(crate) fn typed_or_stdin(word: &str) -> Result<String, Failure> {
    if word != STDIN {
        return Ok(word.to_owned());
    }
    let mut text = String::new();
    let limit = TICKET_CHARS_MAX as u64 + 1;
    std::io::stdin().lock().take(limit).read_to_string(&mut text).map_err(wrong)?;
    Ok(text.trim().to_owned())
}

/// The text of the ticket in a file.
///
/// # Errors
/// It cannot be read.
pub(crate) fn from_file(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    Ok(text.trim().to_owned())
}

fn wrong(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, "badTicket", why)
}

/// Removes a typed ticket from the arguments that every user can see. Where the system does not allow it, it
/// stays there. Must be called before the program starts threads or opens files.
pub(super) fn scrub(args: &UpArgs) {
    let typed = args.entry.iter().find(|word| word.starts_with(TICKET_SCHEME));
    if let Some(ticket) = typed {
        anew(ticket);
    }
}

/// Executes this program again in this process, with the ticket in the environment. Returns if that fails.
#[cfg(unix)]
fn anew(ticket: &str) {
    use std::os::unix::process::CommandExt as _;
    let Ok(program) = std::env::current_exe().map(|path| {
        // The program was replaced on the disk since it was started.
        if path.exists() { path } else { "/proc/self/exe".into() }
    }) else {
        return;
    };
    let mut words = std::env::args_os();
    let name = words.next();
    let mut command = std::process::Command::new(program);
    if let Some(name) = name {
        command.arg0(name);
    }
    let error = command.args(without(words, ticket)).env(VARIABLE, ticket).exec();
    tracing::debug!(%error, "the ticket stays among the arguments");
}

#[cfg(not(unix))]
fn anew(_ticket: &str) {}

/// The arguments without the ticket.
fn without(words: impl Iterator<Item = OsString>, ticket: &str) -> Vec<OsString> {
    words.filter(|word| word.to_str() != Some(ticket)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ticket_is_taken_out_of_the_arguments() {
        let words = ["up", "potluck-ticket:abc", "--data", "./two", "10.0.0.1:7"];
        let left = without(words.iter().map(OsString::from), "potluck-ticket:abc");
        assert_eq!(left, ["up", "--data", "./two", "10.0.0.1:7"]);
    }
}
