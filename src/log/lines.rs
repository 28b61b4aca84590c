//! An event as one line.

use std::fmt::{self, Write as _};
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::limiter::Limiter;
use super::{NODE, recent};
use crate::text;

/// Longest line; what is behind it is cut off.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// An object for programs.
    Json,
}

/// Writes each event to stderr.
#[derive(Debug)]
pub(super) struct Lines {
    form: Form,
    limiter: Mutex<Limiter>,
}

impl Lines {
    pub(super) fn new(form: Form) -> Self {
        Self { form, limiter: Mutex::default() }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut left_out = 0;
        if *metadata.level() == Level::WARN {
            match self.limiter.lock().pass(metadata.callsite(), Instant::now()) {
                Some(before) => left_out = before,
                None => return,
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        if left_out > 0 {
            fields.others.insert("leftOut".into(), left_out.into());
        }
        let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        let head = Head { time, level: *metadata.level(), target: metadata.target() };
        let line = match self.form {
            Form::Text => fields.text(&head),
            Form::Json => fields.json(&head, NODE.get().map(String::as_str)),
        };
        recent::keep(&line);
        // There is no other place to say that it cannot be said.
        let _ = crate::out::page::above(&line);
    }
}

/// What every line begins with.
#[derive(Debug)]
struct Head<'a> {
    time: String,
    level: Level,
    target: &'a str,
}

/// What an event says.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    code: Option<String>,
    others: Map<String, Value>,
}

impl Fields {
    fn text(&self, head: &Head<'_>) -> String {
        let code = self.code.as_deref().unwrap_or(head.target);
        let mut line = format!("{} {} {code}: {}", head.time, head.level, self.message);
        for (name, value) in &self.others {
            let _ = match value {
                Value::String(text) => write!(line, " {name}={text}"),
                value => write!(line, " {name}={value}"),
            };
        }
        cut(&text::printable(&line)).to_owned()
    }

    fn json(&self, head: &Head<'_>, node: Option<&str>) -> String {
        let mut object = Map::new();
        object.insert("time".into(), head.time.as_str().into());
        object.insert("level".into(), head.level.as_str().to_ascii_lowercase().into());
        object.insert("code".into(), self.code.as_deref().unwrap_or(head.target).into());
        object.insert("message".into(), cut(&self.message).into());
        object.insert("target".into(), head.target.into());
        object.extend(node.map(|node| ("node".into(), node.into())));
        let mut room = LINE_BYTES_MAX;
        for (name, value) in &self.others {
            let size = name.len() + value.to_string().len();
            if size <= room {
                room -= size;
                object.insert(name.clone(), value.clone());
            }
        }
        text::json(&Value::Object(object).to_string())
    }

    fn take(&mut self, field: &Field, value: Value) {
        let text = || match &value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        match field.name() {
            "message" => self.message = text(),
            "code" => self.code = Some(text()),
            name => drop(self.others.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }
}

/// The beginning of a text, at most [`LINE_BYTES_MAX`].
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LINE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        let mut others = Map::new();
        others.insert("peer".into(), "a\nb\u{1b}[2J".into());
        others.insert("records".into(), 7.into());
        Fields { message: "cannot\nsave".into(), code: Some("peers.save".into()), others }
    }

    fn head() -> Head<'static> {
        let time = "2026-01-02T03:04:05.000006Z".into();
        Head { time, level: Level::WARN, target: "potluck_host::drive" }
    }

    #[test]
    fn an_event_is_one_line_whatever_its_fields_hold() {
        let text = fields().text(&head());
        assert!(text.starts_with("2026-01-02T03:04:05.000006Z WARN peers.save: cannot"), "{text}");
        assert!(text.ends_with("records=7"), "{text}");
        let json = fields().json(&head(), Some("5f"));
        for line in [&text, &json] {
            assert!(!line.contains(|letter: char| letter.is_control()), "{line}");
        }
        let object: Value = serde_json::from_str(&json).expect("an object");
        assert_eq!(object["level"], "warn");
        assert_eq!(object["code"], "peers.save");
        assert_eq!(object["message"], "cannot\nsave");
        assert_eq!((&object["records"], &object["node"]), (&7.into(), &"5f".into()));
    }

    #[test]
    fn an_event_without_a_code_is_named_by_its_target() {
        let fields = Fields { message: "x".into(), ..Fields::default() };
        assert!(fields.text(&head()).contains("WARN potluck_host::drive: x"));
        let object: Value = serde_json::from_str(&fields.json(&head(), None)).expect("an object");
        assert_eq!(object["code"], "potluck_host::drive");
        assert_eq!(object.get("node"), None);
    }

    #[test]
    fn a_line_is_cut_off_at_its_limit() {
        let mut fields = fields();
        fields.message = "ä".repeat(LINE_BYTES_MAX);
        fields.others.insert("long".into(), "x".repeat(LINE_BYTES_MAX).into());
        assert!(fields.text(&head()).len() <= LINE_BYTES_MAX);
        let json = fields.json(&head(), None);
        assert!(json.len() < 3 * LINE_BYTES_MAX, "{}", json.len());
        serde_json::from_str::<Value>(&json).expect("whole all the same");
    }
}
