//! The configuration of a running node, and reading it again.
//!
//! **Invariant:** a configuration is applied as a whole or not at all: if the new one has an error, the
//! answer names it and the node keeps the old one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use potluck::{Node, ask};

use super::files::Places;
use super::guard::Rules;
use crate::api::{ChangedKey, Reloaded};
use crate::config::{self, Settings};
use crate::failure::Failure;

/// Settings read from flags, environment and file just now, and the token that goes with them.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) settings: Settings,
    pub(crate) token: Option<String>,
}

/// Reads the settings again, given those in force.
pub(crate) type Read = Box<dyn Fn(&Settings) -> Result<Fresh, Failure> + Send + Sync>;

/// The settings and the token in force.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) settings: Settings,
    pub(super) rules: Rules,
    pub(super) places: Places,
}

impl Live {
    pub(super) fn new(fresh: Fresh, data_dir: &Path) -> Self {
        let rules = Rules::new(&fresh.settings, fresh.token.as_deref());
        let places = Places::new(&fresh.settings, data_dir);
        Self { settings: fresh.settings, rules, places }
    }
}

/// The live configuration, and how to read it again.
pub(super) struct Configuration {
    live: RwLock<Arc<Live>>,
    read: Read,
    /// One at a time.
    reloading: Mutex<()>,
    /// The keys of the file that wait for a restart.
    waiting: Mutex<Vec<String>>,
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration").field("live", &self.live).finish_non_exhaustive()
    }
}

impl Configuration {
    pub(super) fn new(live: Live, read: Read) -> Self {
        let live = RwLock::new(Arc::new(live));
        Self { live, read, reloading: Mutex::default(), waiting: Mutex::default() }
    }

    pub(super) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read())
    }

    /// The keys that were changed in the configuration and wait for a restart.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.waiting.lock().clone()
    }

    /// Reads the configuration again and applies it as far as that is possible without a restart. Returns the
    /// changes, and the entry points to join through.
    ///
    /// # Errors
    /// The error in the new configuration. Nothing has changed then.
    pub(super) fn reload(&self, node: &Node) -> Result<(Reloaded, Vec<String>), Failure> {
        let _one = self.reloading.lock();
        let live = self.live();
        let fresh = (self.read)(&live.settings)?;
        let mut changed = config::changed(&live.settings, &fresh.settings);
        let token = live.rules != Rules::new(&live.settings, fresh.token.as_deref());
        if token {
            let (from, to) = ("a secret".to_owned(), "another secret".to_owned());
            changed.push(ChangedKey { key: TOKEN_KEY.into(), from, to, restart: false });
        }
        let mut settings = live.settings.clone();
        let entry = new_entries(&settings, &fresh.settings);
        config::take_live(&mut settings, &fresh.settings);
        let rates = (settings.files.upload_rate, settings.files.download_rate);
        // A node that keeps everything in memory moves no files.
        let _ = node.files().set_rates(rates.0, rates.1);
        let taken = Fresh { settings, token: fresh.token };
        *self.live.write() = Arc::new(Live::new(taken, node.data_dir()));
        let waits = changed.iter().filter(|it| it.restart).map(|it| it.key.clone());
        *self.waiting.lock() = waits.collect();
        Ok((Reloaded { changed }, entry))
    }
}

/// The name under which a change of the token file is reported.
const TOKEN_KEY: &str = "the token";

fn new_entries(old: &Settings, new: &Settings) -> Vec<String> {
    let is_new = |entry: &&String| !old.network.entry.contains(entry);
    new.network.entry.iter().filter(is_new).cloned().collect()
}

/// Joins the network through further entry points.
pub(super) async fn enter(node: &Node, entries: &[String]) {
    for entry in entries {
        // Each was checked when the configuration was read; a node that has stopped needs none.
        if let Ok(point) = potluck_host::parse_entry_point(entry) {
            let _ = node.ask(ask::Join { point }).await;
        }
    }
}
