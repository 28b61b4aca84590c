//! `join` and `leave`: a running node enters or leaves the network.

use serde_json::Value;

use crate::api::{JoinRequest, Left};
use crate::cli::{Global, JoinArgs};
use crate::client::Client;
use crate::failure::{Exit, Failure};

/// Refuses what is no entry point, with a sentence that says what one is.
pub(crate) fn check_entries(entries: &[String]) -> Result<(), Failure> {
    entries.iter().try_for_each(|entry| {
        let point = potluck_host::parse_entry_point(entry);
        point.map(drop).map_err(|wrong| Failure::new(Exit::Usage, "badContact", wrong))
    })
}

/// Runs `join`.
pub(crate) fn join(global: &Global, args: &JoinArgs) -> Result<(), Failure> {
    check_entries(&args.entry)?;
    let out = global.out();
    let request = JoinRequest { entry: args.entry.clone() };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    let answer = Client::of(global)?.post("/v1/join", Some(&body))?;
    if out.json {
        out.line(answer.json::<Value>()?);
    } else {
        out.line(format!("trying {}; see potluck peers", args.entry.join(", ")));
    }
    Ok(())
}

/// Runs `leave`.
pub(crate) fn leave(global: &Global) -> Result<(), Failure> {
    let out = global.out();
    let answer = Client::of(global)?.post("/v1/leave", None)?;
    if out.json {
        out.line(answer.json::<Value>()?);
    } else {
        let left: Left = answer.json()?;
        out.line(format!(
            "left after {:.1} s, {} records handed over",
            left.seconds, left.handed_over
        ));
    }
    Ok(())
}
