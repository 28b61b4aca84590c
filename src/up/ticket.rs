//! The ticket of `up`: typed, from stdin, a file or the environment.

use std::io::Read as _;

use potluck::Ticket;
use potluck_wire::admission::{TICKET_CHARS_MAX, TICKET_SCHEME};

use crate::cli::UpArgs;
use crate::failure::{Exit, Failure};

/// The environment variable that may hold one.
const VARIABLE: &str = "POTLUCK_TICKET";

/// Whether a typed word is meant to be a ticket, or the place of one.
pub(super) fn is_ticket(word: &str) -> bool {
    word == "-" || word.starts_with(TICKET_SCHEME)
}

/// The ticket that was given, if one was.
///
/// # Errors
/// Wrong usage: more than one, or one that is none.
pub(super) fn of(args: &UpArgs) -> Result<Option<Ticket>, Failure> {
    let typed: Vec<&String> = args.entry.iter().filter(|word| is_ticket(word)).collect();
    let text = match (&typed[..], &args.ticket_file) {
        ([], None) => std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty()),
        ([], Some(path)) => {
            let text = std::fs::read_to_string(path);
            Some(text.map_err(|error| wrong(format!("{}: {error}", path.display())))?)
        }
        ([word], None) if word.as_str() == "-" => Some(from_stdin()?),
        ([word], None) => Some((*word).clone()),
        _ => return Err(wrong("a node is in one network: give one ticket")),
    };
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let limit = TICKET_CHARS_MAX as u64 + 1;
    std::io::stdin().lock().take(limit).read_to_string(&mut text).map_err(wrong)?;
    Ok(text)
}

fn wrong(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, "badTicket", why)
}
