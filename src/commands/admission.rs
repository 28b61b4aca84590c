//! `invite`, `revoke` and `network`: admission to the network.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::table::table;
use crate::api::{
    Cancelled, IS_TICKET, Invite, InviteRequest, Invites, KeyRequest, NetworkView, RevokeRequest,
    Revoked,
};
use crate::cli::{Global, InviteArgs, KeyCommand, NetworkArgs, NetworkCommand, RevokeArgs};
use crate::client::Client;
use crate::failure::{Exit, Failure};

/// The command to type on the machine that joins.
pub(crate) fn next_machine(ticket: &str) -> String {
    format!("on the next machine: potluck up {ticket}")
}

/// Runs `invite`.
pub(crate) fn invite(global: &Global, args: &InviteArgs) -> Result<(), Failure> {
    let out = global.out();
    let client = Client::of(global)?;
    if args.list {
        return list(global, &client);
    }
    let life = humantime::parse_duration(args.expires.trim())
        .map_err(|_| Failure::usage("--expires must be a span of time such as 24h or 30d"))?;
    let mut labels = std::collections::BTreeMap::new();
    for label in &args.label {
        let (name, value) =
            label.split_once('=').ok_or_else(|| Failure::usage("--label must be K=V"))?;
        labels.insert(name.to_owned(), value.to_owned());
    }
    let request = InviteRequest {
        uses: if args.reusable { None } else { Some(args.uses.unwrap_or(1)) },
        reusable: args.reusable,
        expires_seconds: Some(life.as_secs()),
        labels,
        ephemeral: args.ephemeral,
    };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    let answer = client.post("/v1/invites", Some(&body))?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let invite: Invite = answer.json()?;
    out.data(&invite.ticket)?;
    out.note(about(&invite));
    Ok(())
}

/// The description of a ticket, without its secret.
fn about(invite: &Invite) -> String {
    let id: String = invite.id.chars().take(12).collect();
    let machines = match invite.uses {
        Some(1) => "one machine".to_owned(),
        Some(uses) => format!("{uses} machines"),
        None => "any number of machines".to_owned(),
    };
    format!(
        "ticket {id} lets {machines} in until {}; on the next machine: potluck up TICKET",
        invite.expires_at
    )
}

fn list(global: &Global, client: &Client) -> Result<(), Failure> {
    let out = global.out();
    let answer = client.get("/v1/invites")?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let Invites { tickets } = answer.json()?;
    let mut rows = vec![["ticket", "left", "used", "expires", "labels"].map(str::to_owned)];
    rows.extend(tickets.iter().map(|ticket| {
        let labels: Vec<String> =
            ticket.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        [
            ticket.id.chars().take(12).collect(),
            ticket.uses_left.map_or_else(|| "any".to_owned(), |left| left.to_string()),
            ticket.used.to_string(),
            ticket.expires_at.clone(),
            if labels.is_empty() { "-".to_owned() } else { labels.join(" ") },
        ]
    }));
    out.bytes(table(&rows).as_bytes())
}

/// Runs `revoke`.
pub(crate) fn revoke(global: &Global, args: &RevokeArgs) -> Result<(), Failure> {
    let out = global.out();
    let request = RevokeRequest { member: args.member.clone() };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    let client = Client::of(global)?;
    let answer = match client.post("/v1/revocations", Some(&body)) {
        Err(failure) if failure.code == IS_TICKET => return cancel(global, &client, &args.member),
        answer => answer?,
    };
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let revoked: Revoked = answer.json()?;
    out.line(format!("{} is out", revoked.node_id))
}

/// Cancels a ticket. The node has accepted `id` as a prefix of a ticket's id, so it is safe in a path.
fn cancel(global: &Global, client: &Client, id: &str) -> Result<(), Failure> {
    let out = global.out();
    let path = format!("/v1/invites/{}", id.trim());
    let answer = client.request("DELETE", &path, &[], None)?.good()?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let cancelled: Cancelled = answer.json()?;
    out.line(format!("ticket {} is out, and with it the members that it let in", cancelled.ticket))
}

/// Runs `network`.
pub(crate) fn network(global: &Global, args: &NetworkArgs) -> Result<(), Failure> {
    match &args.command {
        NetworkCommand::Show => show(global),
        NetworkCommand::Set { key, value } => super::settings::set(global, key, value),
        NetworkCommand::Key { command: KeyCommand::Export { file } } => {
            let path = key(global, "/v1/network/key/export", file)?;
            global.out().note(format!(
                "{} lets its holder admit and put out any machine: keep it off this machine, and safe",
                path.display()
            ));
            Ok(())
        }
        NetworkCommand::Key { command: KeyCommand::Import { file } } => {
            key(global, "/v1/network/key/import", file)?;
            global.out().note("this node can invite and revoke from now on");
            Ok(())
        }
    }
}

fn show(global: &Global) -> Result<(), Failure> {
    let out = global.out();
    let answer = Client::of(global)?.get("/v1/network")?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let view: NetworkView = answer.json()?;
    out.line(format!("network    {}", view.name))?;
    out.line(format!("admission  {}", view.admission))?;
    if let Some(difficulty) = &view.difficulty {
        let bits = difficulty.split_once(',').unwrap_or((difficulty, ""));
        let explained = format!("{} bits for the key pair, {} bits each week", bits.0, bits.1);
        out.line(format!("difficulty {difficulty}: {explained}"))?;
    }
    out.line(format!("id         {}", view.id))?;
    if let Some(authority) = &view.authority {
        let how = if view.authority_configured { ", as configured" } else { "" };
        out.line(format!("authority  {authority}{how}"))?;
        out.line(format!(
            "this node  {}",
            if view.issuer { "holds the authority key" } else { "is a member" }
        ))?;
    }
    if let Some(expires) = &view.certificate_expires_at {
        out.line(format!("admitted   until {expires}, renewed before"))?;
    }
    super::settings::print(&out, &view.settings)?;
    match &view.invitation {
        Some(invitation) => out.line(next_machine(invitation)),
        None => Ok(()),
    }
}

/// Lets the node write or read the key file; the key never goes over HTTP.
fn key(global: &Global, path: &str, file: &Path) -> Result<PathBuf, Failure> {
    let absolute = super::share::absolute(file)?;
    let text = absolute
        .to_str()
        .ok_or_else(|| Failure::new(Exit::Usage, "badPath", "the path must be UTF-8 text"))?;
    let request = KeyRequest { path: text.to_owned() };
    let body = serde_json::to_vec(&request).map_err(Failure::failed)?;
    let answer = Client::of(global)?.post(path, Some(&body))?;
    if global.out().json {
        global.out().object(&answer.json::<Value>()?)?;
    }
    Ok(absolute)
}
