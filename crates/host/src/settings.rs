//! How to start a node.

use std::net::SocketAddr;
use std::path::PathBuf;

use potluck_base::{Admission, Difficulty, Identity, PublicKey};
use potluck_dht::EntryPoint;
use potluck_node::Config;
use potluck_store::Quotas;
use potluck_wire::Ticket;
use potluck_wire::limits::{LABEL_BYTES_MAX, LABELS_MAX};

use crate::error::StartError;
use crate::finding::Finding;
use crate::puzzles::PuzzleProgress;

/// Where a node stores its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// In this data folder.
    Folder(PathBuf),
    /// In memory: everything is lost when the node stops.
    Memory,
}

/// The network that a node should belong to.
#[derive(Debug, Clone, Default)]
pub struct WantedNetwork {
    /// Its name; `None`: that of the data folder's network, that of the ticket, or a new one.
    pub name: Option<String>,
    /// Its way of admission; `None`: that of the data folder's network, else `invite`.
    pub admission: Option<Admission>,
    /// The difficulty of the puzzles of an `open` network; `None`: that of the data folder's network, else
    /// [`Difficulty::DEFAULT`].
    pub difficulty: Option<Difficulty>,
    /// The right to enter, for a node without a certificate. The start then takes until one of the
    /// ticket's nodes has issued one.
    pub ticket: Option<Ticket>,
    /// The public key of its authority; `None`: any. A ticket or data folder of another authority is
    /// refused.
    pub authority: Option<PublicKey>,
}

/// The limits of the record store and of the file cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSettings {
    /// Memory of the record store in bytes, approximately; `None`: the default of the store.
    pub memory_bytes: Option<u64>,
    /// Bytes of records that are stored at most; `None`: as many as the disk has room for.
    pub disk_bytes: Option<u64>,
    /// What else of records is stored at most, of all members and of one.
    pub quotas: Quotas,
    /// Whether a write is acknowledged only after it was synced to the disk. Without it a loss of
    /// power can undo acknowledged writes: for tests and benchmarks.
    pub sync: bool,
    /// Bytes of files fetched for readers that are kept.
    pub cache_bytes: u64,
}

/// Limits in bytes a second; `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteRates {
    /// Everything that is sent over QUIC.
    pub upload: Option<u64>,
    /// Files that are fetched.
    pub download: Option<u64>,
}

/// How to start a node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it stores its state.
    pub keep: Keep,
    /// The network to be in.
    pub network: WantedNetwork,
    /// The UDP addresses to listen on, at most [`LISTEN_MAX`](crate::socket::LISTEN_MAX); none:
    /// [`DEFAULT_LISTEN`](crate::DEFAULT_LISTEN), of which a node of a network without admission control
    /// leaves out IPv6 on a machine with a public IPv6 address. The address `[::]` receives IPv6 only.
    pub listen: Vec<SocketAddr>,
    /// The address to announce to other nodes, if it is not the one listened on. Port 0 means the port
    /// listened on.
    pub advertise: Option<SocketAddr>,
    /// The entry points.
    pub entry_points: Vec<EntryPoint>,
    /// Other ways to find nodes.
    pub finding: Finding,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Parameters of the core.
    pub config: Config,
    /// The node's identity; `None`: that of the data folder, else a new one.
    pub identity: Option<Identity>,
    /// Shows how far the work on the puzzles of an `open` network is.
    pub puzzle_progress: PuzzleProgress,
    /// Whether to give up the identity of the data folder for a new one in the same network. Files and
    /// replicas stay; records that the old identity wrote belong to another node from then on.
    pub new_identity: bool,
    /// Limits of what is stored.
    pub store: StoreSettings,
    /// Limits of the traffic.
    pub rates: ByteRates,
}

impl Settings {
    /// The labels in the order of their names.
    ///
    /// # Errors
    /// [`StartError::Labels`] if there are too many, one is too long, or a name is invalid or twice there.
    pub(crate) fn labels_in_order(&self) -> Result<Vec<(String, String)>, StartError> {
        in_order(&self.labels)
    }
}

fn in_order(labels: &[(String, String)]) -> Result<Vec<(String, String)>, StartError> {
    let mut labels = labels.to_vec();
    labels.sort();
    let is_good = |(name, value): &(String, String)| {
        let plain = !name.contains('=') && !name.chars().chain(value.chars()).any(char::is_control);
        plain && !name.is_empty() && name.len() + value.len() <= LABEL_BYTES_MAX
    };
    let twice = labels.windows(2).any(|pair| pair[0].0 == pair[1].0);
    if labels.len() > LABELS_MAX || twice || !labels.iter().all(is_good) {
        return Err(StartError::Labels);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_few_short_and_in_order() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let good = [pair("site", "a=b"), pair("rack", "")];
        assert_eq!(in_order(&good).unwrap(), [pair("rack", ""), pair("site", "a=b")]);
        let bad = [
            vec![pair("", "x")],
            vec![pair("a=b", "x")],
            vec![pair("a", "x\n")],
            vec![pair("a", &"x".repeat(LABEL_BYTES_MAX))],
            vec![pair("a", "1"), pair("a", "2")],
            (0..=LABELS_MAX).map(|number| pair(&number.to_string(), "")).collect(),
        ];
        for labels in bad {
            assert!(matches!(in_order(&labels), Err(StartError::Labels)), "{labels:?}");
        }
    }
}
