//! The siblings of a record, shown for merging.

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::table::{bytes, short, table};
use crate::api::{Sibling, Siblings};
use crate::failure::Failure;
use crate::out::Out;

/// Longest preview of a value.
const PREVIEW_CHARS: usize = 40;

/// The bytes of a sibling.
///
/// # Errors
/// The node sent invalid base64.
pub(super) fn value_of(sibling: &Sibling) -> Result<Vec<u8>, Failure> {
    BASE64
        .decode(sibling.value_base64.as_bytes())
        .map_err(|_| Failure::failed("the node sent a value that cannot be read"))
}

/// Lists the siblings for people.
pub(super) fn list(out: Out, siblings: &[Sibling]) -> Result<(), Failure> {
    let head = ["index", "size", "value", "node", "written"].map(str::to_owned);
    let mut rows = vec![head];
    for (index, sibling) in siblings.iter().enumerate() {
        let value = value_of(sibling)?;
        rows.push([
            index.to_string(),
            bytes(value.len() as u64),
            preview(&value),
            short(&sibling.node).to_owned(),
            sibling.at.clone(),
        ]);
    }
    out.note(table(&rows).trim_end());
    Ok(())
}

/// All siblings as an object for programs.
pub(super) fn to_json(name: &str, all: &Siblings) -> Result<Value, Failure> {
    let siblings: Result<Vec<Value>, Failure> = all
        .siblings
        .iter()
        .map(|sibling| {
            let mut object = json!({
                "version": sibling.version,
                "writer": sibling.writer,
                "node": sibling.node,
                "at": sibling.at,
                "kind": sibling.kind,
            });
            let (key, value) = value_field(&value_of(sibling)?);
            object[key] = value;
            Ok(object)
        })
        .collect();
    Ok(json!({"name": name, "context": all.context, "siblings": siblings?}))
}

/// A value as text if it is text, else as base64.
pub(super) fn value_field(value: &[u8]) -> (&'static str, Value) {
    match std::str::from_utf8(value) {
        Ok(text) => ("value", text.into()),
        Err(_) => ("valueBase64", BASE64.encode(value).into()),
    }
}

/// The beginning of a value, safe for a terminal.
fn preview(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(PREVIEW_CHARS * 4)]);
    let mut short: String = text
        .chars()
        .take(PREVIEW_CHARS)
        .map(|c| if c.is_control() || c == '\u{fffd}' { '.' } else { c })
        .collect();
    if short.len() < value.len() {
        short.push_str("..");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_never_moves_the_cursor() {
        assert_eq!(preview(b"a\x1b[2J\n\xff"), "a.[2J..");
        assert_eq!(preview(&[b'x'; 100]).len(), PREVIEW_CHARS + 2);
    }

    #[test]
    fn text_is_shown_as_text_and_bytes_as_base64() {
        assert_eq!(value_field(b"hi"), ("value", "hi".into()));
        assert_eq!(value_field(&[0xff]), ("valueBase64", "/w==".into()));
    }
}
