//! `incr`, `set-add`, `set-remove`, `map-set`, `map-unset`: operations on counters, sets and maps.

use data_encoding::BASE64;
use potluck_record::limits::OPERATION_ELEMENTS_MAX;
use serde_json::{Value, json};

use super::{put, value};
use crate::api::Written;
use crate::cli::{ElementsArgs, Global, IncrArgs, MapSetArgs, MapUnsetArgs, NameArgs};
use crate::client::{Client, kv_path};
use crate::failure::Failure;

/// Runs `incr`.
pub(crate) fn incr(global: &Global, args: &IncrArgs) -> Result<(), Failure> {
    let body = json!({"op": "incr", "by": args.by.to_string()});
    operate(global, &args.record, args.operation.w, &body)
}

/// Runs `set-add`.
pub(crate) fn set_add(global: &Global, args: &ElementsArgs) -> Result<(), Failure> {
    change_set(global, args, "add")
}

/// Runs `set-remove`.
pub(crate) fn set_remove(global: &Global, args: &ElementsArgs) -> Result<(), Failure> {
    change_set(global, args, "remove")
}

fn change_set(global: &Global, args: &ElementsArgs, op: &str) -> Result<(), Failure> {
    if args.elements.len() > OPERATION_ELEMENTS_MAX {
        let message = format!("one command names at most {OPERATION_ELEMENTS_MAX} elements");
        return Err(Failure::usage(message).hint("name them in several commands"));
    }
    let body = json!({"op": op, "elements": args.elements});
    operate(global, &args.record, args.operation.w, &body)
}

/// Runs `map-set`.
pub(crate) fn map_set(global: &Global, args: &MapSetArgs) -> Result<(), Failure> {
    let value = value::read(&args.record.name, &args.value)?;
    let value = BASE64.encode(&value);
    let body = json!({"op": "set", "field": args.field, "valueBase64": value});
    operate(global, &args.record, args.operation.w, &body)
}

/// Runs `map-unset`.
pub(crate) fn map_unset(global: &Global, args: &MapUnsetArgs) -> Result<(), Failure> {
    let body = json!({"op": "unset", "field": args.field});
    operate(global, &args.record, args.operation.w, &body)
}

fn operate(
    global: &Global,
    record: &NameArgs,
    w: Option<u16>,
    body: &Value,
) -> Result<(), Failure> {
    let query = [("space", record.space.clone()), ("w", w.map(|w| w.to_string()))];
    let path = kv_path("/v1/kv", &record.name, &query)?;
    let bytes = body.to_string().into_bytes();
    let client = Client::of(global)?;
    let headers = [("content-type", "application/json")];
    let answer = client.request("POST", &path, &headers, Some(&bytes))?;
    let written: Written = put::written(global.out(), &record.name, &answer, put::merge_hint)?;
    put::say(global.out(), &written, false)
}
