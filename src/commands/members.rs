//! `members`: the members of the network, and which of them are there.

use serde_json::Value;

use super::table::{short, table};
use crate::api::{Member, Members};
use crate::cli::Global;
use crate::client::Client;
use crate::failure::Failure;
use crate::text::printable;

/// Runs the command.
pub(crate) fn run(global: &Global) -> Result<(), Failure> {
    let out = global.out();
    let answer = Client::of(global)?.get("/v1/members")?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let Members { mode, members } = answer.json()?;
    let mut rows = vec![["node", "address", "state", "labels"].map(str::to_owned)];
    rows.extend(members.iter().map(row));
    out.bytes(table(&rows).as_bytes())?;
    if mode == "open" {
        out.note("the network is large: these are the members that this node knows of");
    }
    Ok(())
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
            is_self: true,
        };
        let shown = ["abababababab", "127.0.0.1:7", "alive, this node", "rack=7 site=a?[31m"];
        assert_eq!(row(&member), shown);
    }
}
