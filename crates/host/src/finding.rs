//! How a node finds others where no entry point leads to them.

use potluck_base::Admission;
use potluck_dht::EntryPoint;

use crate::resolve::{EntryPointError, parse_entry_point};

/// Most names of the last resort.
const FALLBACK_MAX: usize = 8;

/// How a node finds others where no entry point leads to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// DNS names, `name:port`, to be asked while all entry points and the nodes of the last run are
    /// silent. See [`fallback_name`].
    pub dns_fallback: Vec<String>,
    /// Whether to look for nodes of the same network on the local network. `None`: in `invite` and `lab`
    /// networks. A node that listens on loopback only never does.
    pub lan: Option<bool>,
    /// Whether to do that by DNS-SD too, beside a beacon of our own.
    pub mdns: bool,
}

impl Default for Finding {
    fn default() -> Self {
        Self { dns_fallback: Vec::new(), lan: None, mdns: true }
    }
}

impl Finding {
    /// Whether a node of a network with this admission looks around on the local network.
    pub(crate) fn looks_around(&self, admission: Admission) -> bool {
        self.lan.unwrap_or(admission != Admission::Open)
    }

    /// The names to be asked; those beyond the limit are left out, and said.
    pub(crate) fn names(&self) -> Vec<String> {
        if self.dns_fallback.len() > FALLBACK_MAX {
            tracing::warn!(
                code = "entry.tooManyNames",
                "of [network] dns_fallback only the first {FALLBACK_MAX} names are used"
            );
        }
        self.dns_fallback.iter().take(FALLBACK_MAX).cloned().collect()
    }
}

/// Reads a name of the last resort: a DNS name with or without a port, and no address, which would be an
/// entry point.
///
/// # Errors
/// [`EntryPointError`] if it is none.
pub fn fallback_name(text: &str) -> Result<String, EntryPointError> {
    match parse_entry_point(text)? {
        EntryPoint::Name(name) => Ok(name),
        EntryPoint::Contact(_) | EntryPoint::Address(_) => {
            Err(EntryPointError { text: text.trim().chars().take(100).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_resort_is_a_name() {
        assert_eq!(fallback_name("seed.example.org"), Ok("seed.example.org:12345".into()));
        assert_eq!(fallback_name("seed.example.org:7"), Ok("seed.example.org:7".into()));
        for wrong in ["10.0.0.1:7", "::1", "", "a b"] {
            assert_eq!(fallback_name(wrong).unwrap_err().text, wrong);
        }
    }

    #[test]
    fn strangers_are_not_looked_for_in_open_networks_unless_that_is_wanted() {
        let finding = Finding::default();
        let looks = [Admission::Invite, Admission::Lab, Admission::Open];
        assert_eq!(looks.map(|admission| finding.looks_around(admission)), [true, true, false]);
        let wanted = Finding { lan: Some(true), ..Finding::default() };
        assert!(wanted.looks_around(Admission::Open));
        let off = Finding { lan: Some(false), ..Finding::default() };
        assert!(!off.looks_around(Admission::Lab));
    }
}
