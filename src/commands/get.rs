//! `get`: prints a value.

use std::io::{IsTerminal as _, stdout};

use serde_json::json;

use super::siblings;
use crate::api::{CONTEXT_HEADER, KIND_HEADER, OLDER_HEADER, Siblings, VERSION_HEADER};
use crate::cli::{GetArgs, Global};
use crate::client::{Answer, Client, kv_path};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::text::{clean, quoted};

/// Runs the command.
pub(crate) fn run(global: &Global, args: &GetArgs) -> Result<(), Failure> {
    let out = global.out();
    let name = &args.record.name;
    let query = [
        ("space", args.record.space.clone()),
        ("r", args.r.map(|r| r.to_string())),
        ("siblings", args.all.then(|| "all".to_owned())),
    ];
    let client = Client::of(global)?;
    let answer = client.request("GET", &kv_path("/v1/kv", name, &query)?, &[], None)?;
    if answer.header(OLDER_HEADER) == "true" {
        out.note(
            "this is older than what this node read before: the nodes that answered hide the newer version \
             or have lost it, or they are on the other side of a partition",
        );
    }
    if args.all && answer.status == 200 {
        return print_all(out, name, &answer.json()?);
    }
    match answer.status {
        200 if out.json => {
            let mut object = json!({
                "name": name,
                "version": answer.header(VERSION_HEADER),
                "context": answer.header(CONTEXT_HEADER),
                "siblings": [],
            });
            if answer.header(OLDER_HEADER) == "true" {
                object["older"] = true.into();
            }
            if let Some(kind) = folded_kind(&answer) {
                object["kind"] = kind.into();
                object["value"] = folded_value(kind, &answer.body)?;
            } else {
                let (key, value) = siblings::value_field(&answer.body);
                object[key] = value;
            }
            out.object(&object)
        }
        200 if folded_kind(&answer) == Some(SET) => {
            let elements: Vec<String> = answer.json()?;
            elements.into_iter().try_for_each(|element| out.data(element))
        }
        200 if folded_kind(&answer).is_some() => out.data(String::from_utf8_lossy(&answer.body)),
        200 => {
            out.bytes(&answer.body)?;
            on_terminal(out, &answer.body);
            Ok(())
        }
        409 => {
            let problem = answer.problem().unwrap_or_default();
            let all = Siblings {
                context: problem.context.unwrap_or_default(),
                siblings: problem.siblings.unwrap_or_default(),
            };
            if out.json {
                out.object(&siblings::to_json(name, &all)?)?;
            } else {
                siblings::list(out, &all.siblings)?;
            }
            let name = quoted(name);
            let hint =
                format!("choose with potluck merge {name} --pick INDEX, or see them with --all");
            Err(answer.failure().hint(hint))
        }
        _ => Err(answer.failure()),
    }
}

/// The kinds whose value is JSON.
const COUNTER: &str = "counter";
const SET: &str = "set";
const MAP: &str = "map";

fn folded_kind(answer: &Answer) -> Option<&'static str> {
    let kind = answer.header(KIND_HEADER);
    [COUNTER, SET, MAP].into_iter().find(|it| *it == kind)
}

/// The value of a counter, set or map for programs: a counter as a decimal text, since JSON numbers of
/// that size are not exact everywhere.
fn folded_value(kind: &str, body: &[u8]) -> Result<serde_json::Value, Failure> {
    if kind == COUNTER {
        return Ok(String::from_utf8_lossy(body).into());
    }
    serde_json::from_slice(body)
        .map_err(|_| Failure::failed("the node sent a value that cannot be read"))
}

/// Notes about a value for a person at a terminal; a program gets exactly the bytes.
fn on_terminal(out: Out, value: &[u8]) {
    if !stdout().is_terminal() {
        return;
    }
    // The next prompt should begin on a new line.
    if !value.is_empty() && !value.ends_with(b"\n") {
        out.note("");
    }
    if clean(value).as_bytes() != value {
        out.note(
            "what a terminal cannot show is left out: write the value to a file to have all of it",
        );
    }
}

fn print_all(out: Out, name: &str, all: &Siblings) -> Result<(), Failure> {
    if all.siblings.is_empty() {
        return Err(absent(name));
    }
    let mut object = siblings::to_json(name, all)?;
    if let [only] = &all.siblings[..] {
        let (key, value) = siblings::value_field(&siblings::value_of(only)?);
        object[key] = value;
        object["version"] = only.version.as_str().into();
    }
    out.object(&object)
}

/// The failure for a record that does not exist.
pub(super) fn absent(name: &str) -> Failure {
    Failure::new(Exit::Absent, "absent", format!("there is no record {name}"))
        .hint(format!("store one with potluck put {} VALUE", quoted(name)))
}
