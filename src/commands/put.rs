//! `put`: stores a value.

use serde_json::json;

use super::{siblings, value};
use crate::api::{CONTEXT_HEADER, Written};
use crate::cli::{Global, PutArgs};
use crate::client::{Answer, Client, kv_path};
use crate::failure::Failure;
use crate::out::Out;
use crate::text::{count, quoted};

/// Runs the command.
pub(crate) fn run(global: &Global, args: &PutArgs) -> Result<(), Failure> {
    let query = [
        ("space", args.space.clone()),
        ("kind", args.kind.clone()),
        ("ttl", args.ttl.clone()),
        ("w", args.write.w.map(|w| w.to_string())),
    ];
    let path = kv_path("/v1/kv", &args.name, &query)?;
    let value = value::read(&args.name, &args.value)?;
    let client = Client::of(global)?;
    let answer = write(&client, "PUT", &path, args.write.context.as_deref(), Some(&value))?;
    let written = written(global.out(), &args.name, &answer, merge_hint)?;
    say(global.out(), &written, args.space.as_deref() == Some("content"))
}

/// One write.
pub(super) fn write(
    client: &Client,
    method: &str,
    path: &str,
    context: Option<&str>,
    value: Option<&[u8]>,
) -> Result<Answer, Failure> {
    let mut headers = Vec::new();
    if value.is_some() {
        headers.push(("content-type", "application/octet-stream"));
    }
    if let Some(context) = context {
        if context.is_empty() || !context.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::usage("this is not a context that a read returned")
                .hint("take it from potluck get NAME --json"));
        }
        headers.push((CONTEXT_HEADER, context));
    }
    client.request(method, path, &headers, value)
}

/// Advice about siblings that prevent a write.
pub(super) fn merge_hint(name: &str) -> String {
    format!("merge them with potluck merge {} ..", quoted(name))
}

/// The result of a write; if siblings prevent it, they are listed, and `hint` says what to do.
pub(super) fn written(
    out: Out,
    name: &str,
    answer: &Answer,
    hint: impl FnOnce(&str) -> String,
) -> Result<Written, Failure> {
    if answer.status == 409
        && let Some(problem) = answer.problem()
        && let Some(in_the_way) = problem.siblings
    {
        if !out.json {
            siblings::list(out, &in_the_way)?;
        }
        return Err(answer.failure().hint(hint(name)));
    }
    if (200..300).contains(&answer.status) { answer.json() } else { Err(answer.failure()) }
}

/// Prints which nodes have it.
pub(super) fn say(out: Out, written: &Written, is_content: bool) -> Result<(), Failure> {
    let Written { name, key, version, acks, wanted, members, expires_at, .. } = written;
    if out.json {
        return out.object(&json!({
            "name": name, "key": key, "version": version, "acks": acks, "wanted": wanted,
            "members": members, "expiresAt": expires_at,
        }));
    }
    let members = count(*members as u64, "member");
    let acknowledged = format!("{acks} of {wanted} acknowledged, {members} known");
    if is_content {
        out.data(key)?;
        out.note(acknowledged);
        Ok(())
    } else {
        out.line(acknowledged)
    }
}
