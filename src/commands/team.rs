//! `team`: the members that may write in a team.

use serde_json::Value;

use crate::api::{Team, TeamRequest};
use crate::cli::{Global, TeamArgs, TeamCommand, TeamMemberArgs};
use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::out::Out;

/// Runs `team`.
pub(crate) fn run(global: &Global, args: &TeamArgs) -> Result<(), Failure> {
    let out = global.out();
    match &args.command {
        TeamCommand::Create { name } => {
            let body = serde_json::to_vec(&TeamRequest { name: name.clone() });
            let body = body.map_err(Failure::failed)?;
            let answer = Client::of(global)?.post("/v1/teams", Some(&body))?;
            let Some(team) = told(&out, &answer)? else { return Ok(()) };
            out.line(&team.space)?;
            out.note("let members write there with potluck team add, and write with --space");
            Ok(())
        }
        TeamCommand::Show { team } => {
            let path = format!("/v1/teams/{}", id(team)?);
            let answer = Client::of(global)?.get(&path)?;
            let Some(team) = told(&out, &answer)? else { return Ok(()) };
            print(&out, &team)
        }
        TeamCommand::Add(args) => change(global, "PUT", args, "may write in"),
        TeamCommand::Remove(args) => change(global, "DELETE", args, "may not write any more in"),
    }
}

/// Adds or removes a member.
fn change(global: &Global, method: &str, args: &TeamMemberArgs, verb: &str) -> Result<(), Failure> {
    let member = args.member.trim();
    if !(8..=64).contains(&member.len()) || !is_hex(member) {
        return Err(Failure::usage(format!(
            "'{member}' is no member's id or public key, nor its first 8 digits or more"
        ))
        .hint("see potluck members"));
    }
    let path = format!("/v1/teams/{}/members/{member}", id(&args.team)?);
    let answer = Client::of(global)?.request(method, &path, &[], None)?.good()?;
    let out = global.out();
    let Some(team) = told(&out, &answer)? else { return Ok(()) };
    let writers = team.writers.len();
    let others = if writers == 1 { "1 writer".to_owned() } else { format!("{writers} writers") };
    out.line(format!(
        "{member} {verb} {}: epoch {}, {others} beside the owner",
        team.name, team.epoch
    ))
}

/// The answer; `None` if it was printed as JSON.
fn told(out: &Out, answer: &Answer) -> Result<Option<Team>, Failure> {
    if out.json {
        out.object(&answer.json::<Value>()?)?;
        return Ok(None);
    }
    answer.json().map(Some)
}

fn print(out: &Out, team: &Team) -> Result<(), Failure> {
    out.line(format!("team    {}", team.name))?;
    out.line(format!("space   {}", team.space))?;
    out.line(format!("epoch   {}", team.epoch))?;
    out.line(format!("owner   {}", team.owner.node_id))?;
    for writer in &team.writers {
        out.line(format!("writer  {}", writer.node_id))?;
    }
    out.line(format!("this node {} write here", if team.may_write { "may" } else { "may not" }))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The id in a typed team name.
fn id(text: &str) -> Result<&str, Failure> {
    let digits = text.trim();
    let digits = digits.strip_prefix("team/").unwrap_or(digits);
    if digits.len() == 64 && is_hex(digits) {
        return Ok(digits);
    }
    Err(Failure::usage(format!("'{text}' is no team: one is written team/<64 hexadecimal digits>"))
        .hint("potluck team create prints it"))
}
