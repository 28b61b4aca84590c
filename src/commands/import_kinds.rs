//! The operations that make a counter, set or map of a backup again.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use potluck_record::limits::{OPERATION_ELEMENTS_MAX, SHARE_BYTES_MAX, SHARE_ENTRIES_MAX};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};

/// The kinds that are made by operations.
const KINDS: [&str; 3] = ["counter", "set", "map"];

/// Whether records of this kind are made by operations.
pub(super) fn is_operated(kind: &str) -> bool {
    KINDS.contains(&kind)
}

/// The bodies of the operations that make a record of this kind with this value, as `get` prints it.
///
/// # Errors
/// The value is not of this kind, or too large for one node to write.
pub(super) fn operations(kind: &str, value: &[u8]) -> Result<Vec<Value>, Failure> {
    let wrong = || Failure::new(Exit::Verification, "badValue", format!("it is not a {kind}"));
    match kind {
        "counter" => {
            let text = std::str::from_utf8(value).map_err(|_| wrong())?;
            let mut left: i128 = text.parse().map_err(|_| wrong())?;
            if left.unsigned_abs() > u128::from(u64::MAX) {
                return Err(too_large("2^64 - 1"));
            }
            let mut operations = Vec::new();
            while left != 0 || operations.is_empty() {
                let by = left.clamp(i64::MIN.into(), i64::MAX.into());
                operations.push(json!({"op": "incr", "by": by.to_string()}));
                left -= by;
            }
            Ok(operations)
        }
        "set" => {
            let elements: Vec<String> = serde_json::from_slice(value).map_err(|_| wrong())?;
            fits(elements.len(), elements.iter().map(String::len).sum())?;
            let parts = elements.chunks(OPERATION_ELEMENTS_MAX);
            Ok(parts.map(|part| json!({"op": "add", "elements": part})).collect())
        }
        _ => {
            let fields: BTreeMap<String, Value> =
                serde_json::from_slice(value).map_err(|_| wrong())?;
            fits(fields.len(), value.len())?;
            let field = |(field, value): (String, Value)| {
                let encoded = match &value {
                    Value::String(text) => BASE64.encode(text.as_bytes()),
                    other => other.get("valueBase64")?.as_str()?.to_owned(),
                };
                Some(json!({"op": "set", "field": field, "valueBase64": encoded}))
            };
            fields.into_iter().map(field).collect::<Option<_>>().ok_or_else(wrong)
        }
    }
}

fn fits(entries: usize, bytes: usize) -> Result<(), Failure> {
    if entries <= SHARE_ENTRIES_MAX && bytes <= SHARE_BYTES_MAX {
        return Ok(());
    }
    Err(too_large(&format!("{SHARE_ENTRIES_MAX} entries and {SHARE_BYTES_MAX} bytes")))
}

fn too_large(limit: &str) -> Failure {
    let message = format!("several nodes made it, and one node writes at most {limit}");
    Failure::new(Exit::Usage, "tooManyValues", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(kind: &str, value: &str) -> Vec<Value> {
        operations(kind, value.as_bytes()).expect("a value of that kind")
    }

    #[test]
    fn a_value_of_a_backup_becomes_the_operations_that_make_it() {
        let incr = |by: &str| json!({"op": "incr", "by": by});
        assert_eq!(made("counter", "-7"), [incr("-7")]);
        assert_eq!(made("counter", "0"), [incr("0")]);
        let twice = made("counter", "18446744073709551615");
        assert_eq!(twice, [incr("9223372036854775807"), incr("9223372036854775807"), incr("1")]);
        assert_eq!(made("set", r#"["a"]"#), [json!({"op": "add", "elements": ["a"]})]);
        assert_eq!(made("set", "[]"), [Value::Null; 0]);
        let set =
            |field: &str, value: &str| json!({"op": "set", "field": field, "valueBase64": value});
        let fields = made("map", r#"{"f":"v","g":{"valueBase64":"/w=="}}"#);
        assert_eq!(fields, [set("f", "dg=="), set("g", "/w==")]);
    }

    #[test]
    fn a_value_that_one_node_cannot_write_is_refused_before_the_first_operation() {
        let many: Vec<String> = (0..1025).map(|it| it.to_string()).collect();
        let many = serde_json::to_vec(&many).expect("encodes");
        assert!(operations("set", &many).is_err_and(|it| it.code == "tooManyValues"));
        assert!(operations("counter", b"36893488147419103232").is_err());
        for (kind, value) in [("counter", "x"), ("set", "{}"), ("map", "[]"), ("map", r#"{"f":1}"#)]
        {
            let failure = operations(kind, value.as_bytes()).expect_err("not of that kind");
            assert_eq!(failure.exit, Exit::Verification);
        }
    }
}
