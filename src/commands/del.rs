//! `del`: deletes a record.

use super::put;
use crate::cli::{DelArgs, Global};
use crate::client::{Client, kv_path};
use crate::failure::Failure;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &DelArgs) -> Result<(), Failure> {
    let name = &args.record.name;
    let query = [("space", args.record.space.clone()), ("w", args.write.w.map(|w| w.to_string()))];
    let path = kv_path("/v1/kv", name, &query)?;
    let client = Client::of(global)?;
    let answer = put::write(&client, "DELETE", &path, args.write.context.as_deref(), None)?;
    let written = put::written(global.out(), name, &answer)?;
    put::say(global.out(), &written, false);
    Ok(())
}
