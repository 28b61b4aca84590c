//! `members`: the members of the network and their states.

use std::collections::BTreeMap;

use serde_json::Value;

use super::table::{short, table};
use crate::api::{Member, Members};
use crate::cli::{Global, MembersArgs};
use crate::client::Client;
use crate::failure::Failure;
use crate::text::printable;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &MembersArgs) -> Result<(), Failure> {
    let out = global.out();
    let answer = Client::of(global)?.get("/v1/members")?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let Members { mode, members } = answer.json()?;
    let text = if args.long {
        let head = ["node", "address", "state", "version", "protocol", "labels"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(members.iter().map(long_row)).collect();
        table(&rows)
    } else {
        let head = ["node", "address", "state", "labels"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(members.iter().map(row)).collect();
        table(&rows)
    };
    out.bytes(text.as_bytes())?;
    if let Some(note) = versions(&members) {
        out.note(&note);
    }
    if mode == "open" {
        out.note("the network is large: these are the members that this node knows of");
    }
    Ok(())
}

/// What the members that are there run, where that is not the same.
fn versions(members: &[Member]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for member in members.iter().filter(|it| it.state == "alive") {
        if let Some(version) = &member.version {
            *counts.entry(version).or_default() += 1;
        }
    }
    if counts.len() < 2 {
        return None;
    }
    let told: Vec<String> = counts
        .iter()
        .map(|(version, count)| format!("{count} run {}", printable(version)))
        .collect();
    Some(format!("{}; members --long shows which", told.join(", ")))
}

/// The node that was asked is marked.
fn row(member: &Member) -> [String; 4] {
    let labels: Vec<String> =
        member.labels.iter().map(|(key, value)| printable(&format!("{key}={value}"))).collect();
    [
        short(&member.id).to_owned(),
        member.address.clone(),
        if member.is_self { format!("{}, this node", member.state) } else { member.state.clone() },
        if labels.is_empty() { "-".to_owned() } else { labels.join(" ") },
    ]
}

/// The same with what it runs and the versions of messages that it speaks.
fn long_row(member: &Member) -> [String; 6] {
    let [id, address, state, labels] = row(member);
    let version = member.version.as_deref().filter(|it| !it.is_empty());
    let version = version.map_or_else(|| "-".to_owned(), printable);
    let protocol = match (member.protocol_min, member.protocol) {
        (Some(min), Some(max)) if min < max => format!("{min} to {max}"),
        (_, Some(max)) => max.to_string(),
        (_, None) => "-".to_owned(),
    };
    [id, address, state, version, protocol, labels]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_a_row_and_its_labels_cannot_harm_a_terminal() {
        let labels = [("rack", "7"), ("site", "a\u{1b}[31m")];
        let member = Member {
            id: "ab".repeat(32),
            address: "127.0.0.1:7".into(),
            state: "alive".into(),
            incarnation: 1,
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            version: Some("potluck 0.2.0".into()),
            protocol: Some(3),
            protocol_min: Some(2),
            is_self: true,
        };
        let shown = ["abababababab", "127.0.0.1:7", "alive, this node", "rack=7 site=a?[31m"];
        assert_eq!(row(&member), shown);
        assert_eq!(long_row(&member)[3..5], ["potluck 0.2.0", "2 to 3"]);
        assert_eq!(versions(std::slice::from_ref(&member)), None, "all run the same");
        let older = Member { version: Some("potluck 0.1.0".into()), ..member.clone() };
        assert_eq!(
            versions(&[older, member]).as_deref(),
            Some("1 run potluck 0.1.0, 1 run potluck 0.2.0; members --long shows which")
        );
    }
}
