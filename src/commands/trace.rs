//! `trace`: one lookup, step by step.

use serde_json::Value;

use super::table::{millis, short, table};
use crate::api::Lookup;
use crate::cli::{Global, NameArgs};
use crate::client::{Client, kv_path};
use crate::failure::Failure;
use crate::text::count;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &NameArgs) -> Result<(), Failure> {
    let out = global.out();
    let path = kv_path("/v1/lookup", &args.name, &[("space", args.space.clone())])?;
    let answer = Client::of(global)?.get(&path)?;
    if out.json {
        return out.object(&answer.json::<Value>()?);
    }
    let lookup: Lookup = answer.json()?;
    out.line(format!("{} is key {}", args.name, lookup.key))?;
    let mut rows = vec![
        ["hop", "path", "asked at", "node", "address", "took", "came back"].map(str::to_owned),
    ];
    let mut queries: Vec<_> = lookup.queries.iter().collect();
    queries.sort_by(|a, b| a.hop.cmp(&b.hop).then(a.after_ms.total_cmp(&b.after_ms)));
    rows.extend(queries.into_iter().map(|query| {
        [
            query.hop.to_string(),
            query.path.to_string(),
            format!("{:.1} ms", query.after_ms),
            short(&query.id).to_owned(),
            query.address.clone(),
            millis(query.took_ms),
            match query.outcome.as_str() {
                "answered" => count(query.news as u64, "new contact"),
                other => other.to_owned(),
            },
        ]
    }));
    if rows.len() == 1 {
        out.line("this node knows no other node to ask")?;
    } else {
        out.bytes(table(&rows).as_bytes())?;
    }
    out.line(format!(
        "{} after {:.1} ms and {}: {} answered",
        lookup.outcome,
        lookup.took_ms,
        count(lookup.hops, "hop"),
        count(lookup.closest.len() as u64, "closest node"),
    ))?;
    for (rank, id) in lookup.closest.iter().enumerate().take(16) {
        out.line(format!("{:>3}. {}", rank + 1, short(id)))?;
    }
    Ok(())
}
