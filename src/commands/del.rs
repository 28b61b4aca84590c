//! `del`: deletes a record.

use super::put;
use crate::api::BLIND;
use crate::cli::{DelArgs, Global};
use crate::client::{Client, kv_path};
use crate::failure::Failure;
use crate::text::quoted;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &DelArgs) -> Result<(), Failure> {
    let name = &args.record.name;
    let query = [("space", args.record.space.clone()), ("w", args.write.w.map(|w| w.to_string()))];
    let path = kv_path("/v1/kv", name, &query)?;
    if args.write.context.as_deref() == Some(BLIND) {
        let message = "a deletion with --context none supersedes nothing, so it deletes nothing";
        return Err(Failure::usage(message)
            .hint("leave --context out, or take the one of potluck get NAME --json"));
    }
    let client = Client::of(global)?;
    let answer = put::write(&client, "DELETE", &path, args.write.context.as_deref(), None)?;
    let written = put::written(global.out(), name, &answer, |name| {
        let name = quoted(name);
        format!(
            "merge them with potluck merge {name} .., or delete all with potluck del {name} --context CONTEXT, \
             as potluck get {name} --all shows it"
        )
    })?;
    put::say(global.out(), &written, false)
}
