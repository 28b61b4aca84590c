//! The whole effective configuration: as a file with a comment for each key, and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};
use toml::Value;

use super::Settings;
use super::keys::{KEYS, Shown};

/// The settings as a configuration file.
pub(crate) fn to_toml(settings: &Settings) -> String {
    let mut text = String::from(
        "# The whole effective configuration of a Potluck node.\n\
         # Flags win over POTLUCK_<SECTION>_<KEY>, which wins over this file.\n",
    );
    for section in KEYS {
        for (index, key) in section.iter().enumerate() {
            if index == 0 {
                let _ = writeln!(text, "\n[{}]", key.section);
            }
            let _ = writeln!(text, "# {}", key.about);
            let _ = match (key.get)(settings) {
                Shown::Set(value) => writeln!(text, "{} = {value}", key.name),
                Shown::Unset(example) => writeln!(text, "# {} = {example}", key.name),
            };
        }
    }
    text
}

/// The settings as one object for applications; keys that are not set are null.
pub(crate) fn to_json(settings: &Settings) -> Json {
    let mut sections = Map::new();
    for key in KEYS.iter().copied().flatten() {
        let value = match (key.get)(settings) {
            Shown::Set(value) => json_of(&value),
            Shown::Unset(_) => Json::Null,
        };
        let section = sections.entry(key.section).or_insert_with(|| Json::Object(Map::new()));
        if let Json::Object(section) = section {
            section.insert(key.name.to_owned(), value);
        }
    }
    Json::Object(sections)
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Integer(number) => Json::from(*number),
        Value::Boolean(flag) => Json::from(*flag),
        Value::Array(items) => items.iter().map(json_of).collect(),
        Value::String(text) => Json::from(text.as_str()),
        other => Json::from(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    #[test]
    fn what_is_printed_loads_as_the_same_settings() {
        let mut settings = Settings::default();
        settings.protocol.kv.write_quorum = Some(2);
        settings.http.listen = Some("127.0.0.1:8090".parse().expect("address"));
        let authority = potluck::Identity::from_seed([1; 32]).public_key();
        settings.network.authority = Some(authority);
        settings.network.name = Some("a \"quoted\" name".into());
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("potluck.toml");
        for settings in [Settings::default(), settings] {
            std::fs::write(&path, to_toml(&settings)).expect("write");
            assert_eq!(load(Some(&path), [], &[]).expect("loads"), settings);
        }
    }

    #[test]
    fn every_key_has_a_comment_above_it() {
        let text = to_toml(&Settings::default());
        let keys: usize = KEYS.iter().map(|section| section.len()).sum();
        let lines: Vec<&str> = text.lines().collect();
        let commented = lines
            .windows(2)
            .filter(|pair| pair[0].starts_with("# ") && pair[1].contains(" = "))
            .count();
        assert_eq!(commented, keys);
    }
}
