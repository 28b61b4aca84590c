//! The format of a backup, which `export` writes and `import` reads.
//!
//! A backup is text with one JSON object on each line: a head, a line for each record, and an end with the
//! number of records, which shows whether the file is complete. Readers skip unknown fields.

use std::io::{BufRead, Read as _};

use data_encoding::BASE64;
use potluck_record::Name;
use potluck_record::limits::VALUE_BYTES_MAX;
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};

/// The version of the format that this program writes and reads.
pub(super) const VERSION: u32 = 1;
/// Longest line in bytes: more than a record with all values of 32 writers takes in base64.
pub(super) const LINE_BYTES_MAX: u64 = 8 << 20;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    /// The version of the format.
    pub(super) potluck_export: u32,
    /// The network of the records.
    pub(super) network: String,
    /// The node that read them.
    pub(super) node: String,
    /// The start of the export.
    pub(super) at: String,
    /// The space of the records, and the prefix of their names.
    pub(super) space: String,
    #[serde(default)]
    pub(super) prefix: String,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) space: String,
    /// All values that a reader sees, newest first.
    pub(super) values: Vec<Value>,
}

/// One value of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Value {
    /// How concurrent values are read.
    pub(super) kind: String,
    /// The bytes.
    pub(super) value_base64: String,
    /// The value's former version and writer, for people: an import makes new ones.
    #[serde(default)]
    pub(super) version: String,
    #[serde(default)]
    pub(super) node: String,
    /// When it expires.
    pub(super) expires_at: String,
}

/// The last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) end: Count,
}

/// The contents of the last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    /// The number of records in the file.
    pub(super) records: u64,
    /// Whether all members answered and all records could be read.
    pub(super) complete: bool,
}

impl Value {
    /// The bytes.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        BASE64.decode(self.value_base64.as_bytes()).ok()
    }
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Head(Head),
    Record(Record),
    End(Count),
}

/// Reads the lines of a backup and checks their format.
pub(super) struct Lines<R> {
    from: R,
    number: u64,
    records: u64,
    ended: bool,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(from: R) -> Self {
        Self { from, number: 0, records: 0, ended: false, bytes: 0 }
    }

    /// The number of the line that was read last, from 1.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The bytes of all lines that were read.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next record; `None` after the end line.
    ///
    /// # Errors
    /// A line that is not in the format, by its number; or the end line is missing or has another count of
    /// records.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Failure> {
        loop {
            match self.line()? {
                Some(Line::Head(_)) if self.number == 1 => {}
                Some(Line::Head(_)) => {
                    return Err(self.wrong("a second head; import one file after the other"));
                }
                Some(Line::Record(_) | Line::End(_)) if self.number == 1 => {
                    return Err(
                        self.wrong("a backup begins with the head that potluck export writes")
                    );
                }
                Some(Line::Record(_) | Line::End(_)) if self.ended => {
                    return Err(self.wrong("more lines behind the end"));
                }
                Some(Line::Record(record)) => {
                    self.records += 1;
                    return Ok(Some(record));
                }
                Some(Line::End(Count { records, .. })) if records == self.records => {
                    self.ended = true;
                }
                Some(Line::End(Count { records, .. })) => {
                    let held = self.records;
                    return Err(broken(format!(
                        "the end line counts {records} records, and there are {held}"
                    )));
                }
                None if self.ended => return Ok(None),
                None => {
                    let number = self.number;
                    return Err(broken(format!(
                        "the backup was cut off: there is no end line behind line {number}"
                    )));
                }
            }
        }
    }

    fn line(&mut self) -> Result<Option<Line>, Failure> {
        let mut text = Vec::new();
        let mut limited = (&mut self.from).take(LINE_BYTES_MAX + 1);
        let read = limited.read_until(b'\n', &mut text);
        let read = read.map_err(|error| Failure::failed(format!("cannot read it: {error}")))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += read as u64;
        if text.len() as u64 > LINE_BYTES_MAX {
            return Err(self.wrong(&format!("it has over {LINE_BYTES_MAX} bytes")));
        }
        parse(&text).map(Some).map_err(|why| self.wrong(&why))
    }

    fn wrong(&self, why: &str) -> Failure {
        broken(format!("line {}: {why}", self.number))
    }
}

/// The backup is damaged.
fn broken(message: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Verification, "badBackup", message)
}

/// One line.
///
/// # Errors
/// Why the line is invalid.
fn parse(text: &[u8]) -> Result<Line, String> {
    let object: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| format!("no JSON object: {error}"))?;
    let other = |error: serde_json::Error| error.to_string();
    if let Some(version) = object.get("potluckExport") {
        if version.as_u64() != Some(u64::from(VERSION)) {
            return Err(format!(
                "a backup of format {version}, and this program reads format {VERSION}; use a newer one"
            ));
        }
        return serde_json::from_value(object).map(Line::Head).map_err(other);
    }
    if object.get("end").is_some() {
        let end: End = serde_json::from_value(object).map_err(other)?;
        return Ok(Line::End(end.end));
    }
    let record: Record = serde_json::from_value(object).map_err(other)?;
    check(&record)?;
    Ok(Line::Record(record))
}

/// Refuses records that no node would accept.
fn check(record: &Record) -> Result<(), String> {
    Name::new(record.name.as_str()).map_err(|error| error.to_string())?;
    if !matches!(record.space.as_str(), "commons" | "own") {
        return Err(format!("{} is no space that can be imported", record.space));
    }
    if record.values.is_empty() {
        return Err("a record has a value".to_owned());
    }
    for value in &record.values {
        match value.bytes() {
            None => return Err("valueBase64 is no Base64".to_owned()),
            Some(bytes) if bytes.len() > VALUE_BYTES_MAX => {
                return Err(format!("a value has at most {VALUE_BYTES_MAX} bytes"));
            }
            Some(_) => {}
        }
        if humantime::parse_rfc3339(&value.expires_at).is_err() {
            return Err("expiresAt is no time".to_owned());
        }
    }
    Ok(())
}

/// For fuzz targets: reads lines to their end or to the first that is wrong.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzzing(bytes: &[u8], say: &mut crate::fuzzing::Say<'_>) {
    let mut lines = Lines::new(bytes);
    loop {
        match lines.next() {
            Ok(Some(record)) => {
                let text = serde_json::to_vec(&record).expect("texts and numbers");
                assert_eq!(parse(&text), Ok(Line::Record(record)));
                say("record", true, &lines.number().min(3));
            }
            Ok(None) => return say("end", true, &lines.number().min(3)),
            Err(failure) => {
                // Printed without quotation marks, so that two messages differ.
                return say("wrong", false, &format_args!("{}", failure.message));
            }
        }
    }
}

#[cfg(test)]
mod tests;
