//! `[gossip]`, and the labels of a node.

use std::time::Duration;

use potluck_gossip::members::ModeChoice;
use potluck_wire::limits::{LABEL_BYTES_MAX, LABELS_MAX};

use super::{Key, duration, text};
use crate::config::input::Wrong;

/// Factor by which the shortest suspicion is longer for peers with long round trips: the ratio of the two
/// defaults.
const FAR_FACTOR: u32 = 5;

pub(super) const GOSSIP: &[Key] = &[
    key!(
        "gossip",
        "mode",
        "Which members are known: fleet (all), open (a bounded part) or auto (by their number).",
        |s, i| {
            s.protocol.members.mode = match i.text()?.as_str() {
                "auto" => ModeChoice::Auto,
                "fleet" => ModeChoice::Fleet,
                "open" => ModeChoice::Open,
                _ => return Err("must be auto, fleet or open".into()),
            };
            Ok(())
        },
        |s| text(match s.protocol.members.mode {
            ModeChoice::Auto => "auto",
            ModeChoice::Fleet => "fleet",
            ModeChoice::Open => "open",
        }),
    ),
    key!(
        "gossip",
        "interval",
        "How often a member is asked whether it is there. Longer means less traffic and later notice.",
        |s, i| within(i.duration()?, Duration::from_millis(100), Duration::from_secs(60))
            .map(|it| s.protocol.members.interval = it),
        |s| duration(s.protocol.members.interval),
    ),
    key!(
        "gossip",
        "suspicion",
        "Shortest time for a member that does not answer to be heard; five times as long far away.",
        |s, i| {
            let near = within(i.duration()?, Duration::from_millis(500), Duration::from_secs(60))?;
            s.protocol.members.suspicion_near = near;
            s.protocol.members.suspicion_far = near * FAR_FACTOR;
            Ok(())
        },
        |s| duration(s.protocol.members.suspicion_near),
    ),
];

fn within(span: Duration, min: Duration, max: Duration) -> Result<Duration, Wrong> {
    if (min..=max).contains(&span) {
        return Ok(span);
    }
    Err(format!(
        "must be {} to {}",
        humantime::format_duration(min),
        humantime::format_duration(max)
    ))
}

/// The labels `key=value`.
pub(super) fn labels(items: &[String]) -> Result<Vec<(String, String)>, Wrong> {
    let mut labels: Vec<(String, String)> = Vec::new();
    for item in items {
        let (key, value) = item.split_once('=').ok_or("must be of the form key=value")?;
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() || item.chars().any(char::is_control) {
            return Err("must be of the form key=value, without control characters".into());
        }
        if key.len() + value.len() > LABEL_BYTES_MAX {
            return Err(format!("must have at most {LABEL_BYTES_MAX} bytes each"));
        }
        if labels.iter().any(|(known, _)| known == key) {
            return Err(format!("names {key} twice"));
        }
        labels.push((key.to_owned(), value.to_owned()));
    }
    if labels.len() > LABELS_MAX {
        return Err(format!("must be at most {LABELS_MAX}"));
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Input, Settings};

    fn set(name: &str, text: &str) -> Result<Settings, Wrong> {
        let mut settings = Settings::default();
        let key = GOSSIP.iter().find(|key| key.name == name).expect("a key");
        (key.set)(&mut settings, &Input::Text(text)).map(|()| settings)
    }

    #[test]
    fn suspicion_far_away_grows_with_the_one_nearby_and_both_are_valid() {
        for (text, near) in [("500ms", 500), ("1s", 1000), ("60s", 60_000)] {
            let gossip = set("suspicion", text).expect("within the limits").protocol.members;
            assert_eq!(gossip.suspicion_near, Duration::from_millis(near));
            assert_eq!(gossip.suspicion_far, Duration::from_millis(near * 5));
            gossip.validate().expect("valid");
        }
        assert_eq!(set("suspicion", "1ms").expect_err("too short"), "must be 500ms to 1m");
        assert!(set("interval", "61s").is_err());
        assert!(set("mode", "closed").is_err());
        assert_eq!(set("mode", "open").expect("good").protocol.members.mode, ModeChoice::Open);
    }

    #[test]
    fn labels_are_pairs_and_few() {
        let of = |items: &[&str]| {
            labels(&items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>())
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(of(&["rack=7", "site=a=b"]), Ok(vec![pair("rack", "7"), pair("site", "a=b")]));
        assert_eq!(of(&["empty="]), Ok(vec![pair("empty", "")]));
        for wrong in ["rack", "=7", "a=\u{1b}", &format!("a={}", "x".repeat(64))] {
            assert!(of(&[wrong]).is_err(), "{wrong}");
        }
        assert!(of(&["a=1", "a=2"]).is_err());
        let many: Vec<String> = (0..9).map(|number| format!("{number}=x")).collect();
        assert!(labels(&many).is_err() && labels(&many[..8]).is_ok());
    }
}
