//! The keys that a running node applies without a restart.

use super::Settings;
use super::keys::{KEYS, Key, Shown};
use crate::api::ChangedKey;

/// The keys that take effect at once.
const LIVE: [(&str, &str); 7] = [
    ("node", "on_term"),
    ("network", "entry"),
    ("files", "paths"),
    ("files", "upload_rate"),
    ("files", "download_rate"),
    ("http", "open"),
    ("http", "hosts"),
];

fn is_live(key: &Key) -> bool {
    LIVE.contains(&(key.section, key.name))
}

fn shown(key: &Key, settings: &Settings) -> String {
    match (key.get)(settings) {
        Shown::Set(value) => value.to_string(),
        Shown::Unset(_) => "not set".to_owned(),
    }
}

/// Whether an entry point was removed that a running node continues to try.
fn is_entry_gone(old: &Settings, new: &Settings) -> bool {
    old.network.entry.iter().any(|entry| !new.network.entry.contains(entry))
}

/// The keys whose values differ.
pub(crate) fn changed(old: &Settings, new: &Settings) -> Vec<ChangedKey> {
    let difference = |key: &Key| {
        let (from, to) = (shown(key, old), shown(key, new));
        let is_entry = (key.section, key.name) == ("network", "entry");
        let restart = !is_live(key) || (is_entry && is_entry_gone(old, new));
        let name = format!("{}.{}", key.section, key.name);
        (from != to).then_some(ChangedKey { key: name, from, to, restart })
    };
    KEYS.iter().copied().flatten().filter_map(difference).collect()
}

/// Copies the values that take effect at once.
pub(crate) fn take_live(running: &mut Settings, new: &Settings) {
    running.node.on_term = new.node.on_term;
    // Entry points are added at once; a removed one is tried until a restart.
    for entry in &new.network.entry {
        if !running.network.entry.contains(entry) {
            running.network.entry.push(entry.clone());
        }
    }
    running.files.paths.clone_from(&new.files.paths);
    running.files.upload_rate = new.files.upload_rate;
    running.files.download_rate = new.files.download_rate;
    running.http.open.clone_from(&new.http.open);
    running.http.hosts.clone_from(&new.http.hosts);
}

#[cfg(test)]
mod tests {
    use super::super::Flag;
    use super::super::Input;
    use super::super::load;
    use super::*;

    /// Settings in which every key that takes effect at once has another value than the default.
    fn other() -> Settings {
        let values = ["pause", "192.168.1.7:1", "/srv", "1MiB", "2MiB", "health", "box.example"];
        let texts: Vec<[String; 1]> = values.iter().map(|it| [(*it).to_owned()]).collect();
        let flag = |(key, text)| Flag { flag: "test", key, input: Input::Texts(text) };
        let flags: Vec<Flag<'_>> =
            LIVE.iter().copied().zip(&texts).map(|(key, text)| flag((key, text))).collect();
        load(None, [], &flags).expect("valid")
    }

    #[test]
    fn keys_that_take_effect_at_once_are_taken_and_no_others_differ() {
        let (mut running, new) = (Settings::default(), other());
        let changed_keys = changed(&running, &new);
        assert_eq!(changed_keys.len(), LIVE.len(), "{changed_keys:?}");
        assert!(changed_keys.iter().all(|key| !key.restart), "{changed_keys:?}");
        take_live(&mut running, &new);
        assert_eq!(running, new);
        assert_eq!(changed(&running, &new), []);
    }

    #[test]
    fn an_entry_point_that_is_gone_waits_for_a_restart() {
        let (mut running, mut new) = (Settings::default(), Settings::default());
        running.network.entry = vec!["192.168.1.7:1".into(), "192.168.1.8:1".into()];
        new.network.entry = vec!["192.168.1.8:1".into(), "192.168.1.9:1".into()];
        assert!(changed(&running, &new)[0].restart);
        take_live(&mut running, &new);
        assert_eq!(running.network.entry, ["192.168.1.7:1", "192.168.1.8:1", "192.168.1.9:1"]);
        assert!(changed(&running, &new)[0].restart, "it is told until the restart");
    }

    #[test]
    fn other_keys_wait_for_a_restart_with_both_values() {
        let mut new = Settings::default();
        new.protocol.kv.replication = 5;
        new.node.client = true;
        let changed_keys = changed(&Settings::default(), &new);
        let named: Vec<(&str, &str, &str, bool)> = changed_keys
            .iter()
            .map(|it| (it.key.as_str(), it.from.as_str(), it.to.as_str(), it.restart))
            .collect();
        let wanted = [("node.client", "false", "true", true), ("kv.replication", "16", "5", true)];
        assert_eq!(named, wanted);
        let mut running = Settings::default();
        take_live(&mut running, &new);
        assert_eq!(running, Settings::default());
    }
}
