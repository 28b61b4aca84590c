//! `join` and `leave`: a running node joins or leaves the network.

use serde_json::Value;

use potluck::{Ticket, TicketError};
use potluck_base::Addresses;

use crate::api::{JoinRequest, Joining, Left, NetworkView};
use crate::cli::{Global, JoinArgs};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::text::count;
use crate::up::{invitation, ticket};

/// Refuses invalid entry points, with a sentence that says what one looks like.
pub(crate) fn check_entries(entries: &[String]) -> Result<(), Failure> {
    entries.iter().try_for_each(|entry| {
        let point = potluck_host::parse_entry_point(entry);
        point.map(drop).map_err(|wrong| Failure::new(Exit::Usage, "badContact", wrong))
    })
}

/// Runs `join`.
pub(crate) fn join(global: &Global, args: &JoinArgs) -> Result<(), Failure> {
    let client = Client::of(global)?;
    let mut entry = Vec::new();
    if let Some(path) = &args.ticket_file {
        entry.extend(contacts_of(&client, &ticket::from_file(path)?)?);
    }
    for word in &args.entry {
        if ticket::is_ticket(word) {
            entry.extend(contacts_of(&client, &ticket::typed_or_stdin(word)?)?);
        } else if invitation::is_invitation(word) {
            entry.extend(contacts_of_invitation(&client, word)?);
        } else {
            entry.push(word.clone());
        }
    }
    check_entries(&entry)?;
    let out = global.out();
    let request = JoinRequest { entry: entry.clone() };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    let answer = client.post("/v1/join", Some(&body))?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let joining: Joining = answer.json()?;
    if joining.silent.is_empty() {
        return out.line(format!("entered by {}; see potluck peers", entry.join(", ")));
    }
    out.line(format!("trying {}; see potluck peers", entry.join(", ")))?;
    for silent in &joining.silent {
        out.note(silent);
    }
    Ok(())
}

/// The nodes that a ticket names, if it is for the network of the node.
fn contacts_of(client: &Client, text: &str) -> Result<Vec<String>, Failure> {
    let wrong = |why: String| Failure::new(Exit::Usage, "badTicket", why);
    let ticket: Ticket = text.parse().map_err(|error: TicketError| wrong(error.to_string()))?;
    let network: NetworkView = client.get_json("/v1/network")?;
    if network.authority != Some(ticket.authority.to_string()) || network.name != ticket.network {
        let why =
            format!("this node is in the network {}, the ticket is for another", network.name);
        return Err(wrong(why).hint("run potluck up TICKET with another data folder"));
    }
    let contacts = ticket.entry_points.iter().flat_map(Addresses::contacts);
    Ok(contacts.map(|contact| contact.to_string()).collect())
}

/// The nodes that an invitation names, if it is to the network that the node is in.
fn contacts_of_invitation(client: &Client, word: &str) -> Result<Vec<String>, Failure> {
    let invitation = invitation::parse(word)?;
    let network: NetworkView = client.get_json("/v1/network")?;
    let same = network.name == invitation.network
        && network.difficulty == Some(invitation.difficulty.to_string());
    if !same {
        let why = format!(
            "this node is in the network {}, the invitation is to {} of difficulty {}",
            network.name, invitation.network, invitation.difficulty
        );
        return Err(Failure::new(Exit::Usage, "badInvitation", why)
            .hint("run potluck up INVITATION with another data folder"));
    }
    Ok(invitation::contacts(&invitation))
}

/// Runs `leave`.
pub(crate) fn leave(global: &Global) -> Result<(), Failure> {
    let out = global.out();
    let answer = Client::of(global)?.post("/v1/leave", None)?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let left: Left = answer.json()?;
    let records = count(left.handed_over, "record");
    out.line(format!("left after {:.1} s, {records} handed over", left.seconds))
}
