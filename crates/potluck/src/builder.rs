//! The settings of a node before its start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use potluck_base::{Admission, Contact, Difficulty, Identity, PublicKey};
use potluck_dht::EntryPoint;
use potluck_host::{
    ByteRates, EntryPointError, Finding, Keep, PuzzleProgress, Settings, StartError, StoreSettings,
    WantedNetwork, fallback_name, parse_entry_point,
};
use potluck_node::Config;
use potluck_store::Quotas;
use potluck_wire::puzzle::OpenInvitation;
use potluck_wire::{Ticket, TicketError};

use crate::{Node, Result};

/// How to start a node; see [`Node::builder`]. A data folder (or [`in_memory`](Self::in_memory))
/// and, the first time, a network are needed; all else has defaults.
#[derive(Debug, Clone)]
#[must_use = "a node runs once it is started"]
pub struct Builder {
    folder: Option<PathBuf>,
    in_memory: bool,
    network: Option<String>,
    admission: Option<Admission>,
    difficulty: Option<Difficulty>,
    puzzle_progress: PuzzleProgress,
    ticket: std::result::Result<Option<Ticket>, TicketError>,
    authority: Option<PublicKey>,
    listen: Vec<SocketAddr>,
    advertise: Option<SocketAddr>,
    entry_points: std::result::Result<Vec<EntryPoint>, EntryPointError>,
    finding: Finding,
    config: Config,
    client: Option<bool>,
    identity: Option<Identity>,
    new_identity: bool,
    store_memory_bytes: Option<u64>,
    store_disk_bytes: Option<u64>,
    store_quotas: Quotas,
    sync: bool,
    upload_rate: Option<u64>,
    download_rate: Option<u64>,
    cache_bytes: u64,
    labels: BTreeMap<String, String>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            folder: None,
            in_memory: false,
            network: None,
            admission: None,
            difficulty: None,
            puzzle_progress: PuzzleProgress::default(),
            ticket: Ok(None),
            authority: None,
            listen: Vec::new(),
            advertise: None,
            entry_points: Ok(Vec::new()),
            finding: Finding::default(),
            config: Config::default(),
            client: None,
            identity: None,
            new_identity: false,
            store_memory_bytes: None,
            store_disk_bytes: None,
            store_quotas: Quotas::default(),
            sync: true,
            upload_rate: None,
            download_rate: None,
            cache_bytes: potluck_host::files::CACHE_BYTES_DEFAULT,
            labels: BTreeMap::new(),
        }
    }

    /// Upper bound of the send rate in bytes a second, for files and large records together; control
    /// datagrams are counted and go first. Default: no limit.
    pub const fn upload_rate(mut self, bytes_per_second: Option<u64>) -> Self {
        self.upload_rate = bytes_per_second;
        self
    }

    /// Upper bound of the rate at which files are fetched, in bytes a second. Default: no limit.
    pub const fn download_rate(mut self, bytes_per_second: Option<u64>) -> Self {
        self.download_rate = bytes_per_second;
        self
    }

    /// Bytes of the cache of files fetched for readers. Default: 10 GiB.
    pub const fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// A label that other members see; a second label of the same name replaces the first. At most eight
    /// labels of 64 bytes each.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// The folder for identity and records, made if there is none. It belongs to one network, and
    /// one node at a time runs on it.
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Keeps everything in memory and uses no folder: for tests and measurements.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// The network's name. Default: that of the network which the data folder belongs to.
    pub fn network(mut self, name: impl Into<String>) -> Self {
        self.network = Some(name.into());
        self
    }

    /// Who may come in; two networks of one name with different admissions are different networks.
    /// Default: as the data folder says, else [`Admission::Invite`]. A new `invite` network has a
    /// fresh authority key, which is kept in this node's data folder; every other node enters with a
    /// [`ticket`](Self::ticket). An [`Admission::Open`] network lets in any node that solves its puzzles, which
    /// [`start`](Self::start) does: for seconds by default, see [`difficulty`](Self::difficulty).
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }

    /// The difficulty of the puzzles of a new `open` network, and of one to be entered: it is part of what the
    /// network is. Default: as the data folder says, else [`Difficulty::DEFAULT`].
    pub const fn difficulty(mut self, difficulty: Difficulty) -> Self {
        self.difficulty = Some(difficulty);
        self
    }

    /// An invitation to an `open` network, as [`Node::open_invitation`](crate::Node::open_invitation) makes it:
    /// its name and difficulty, and ways in.
    pub fn invitation(mut self, invitation: &OpenInvitation) -> Self {
        for node in &invitation.entry_points {
            for contact in node.contacts() {
                self = self.entry(contact);
            }
        }
        self.network(invitation.network.clone())
            .admission(Admission::Open)
            .difficulty(invitation.difficulty)
    }

    /// Shows how far the work on the puzzles of an `open` network is while [`start`](Self::start) runs.
    pub fn puzzle_progress(mut self, progress: PuzzleProgress) -> Self {
        self.puzzle_progress = progress;
        self
    }

    /// A ticket of [`Node::invite`](crate::Node::invite), or its text: the right to join an `invite` network,
    /// with the network's name and entry points. Needed until the data folder has a certificate.
    /// [`start`](Self::start) then does not return before one of the ticket's nodes has answered: put a
    /// timeout around it.
    pub fn ticket(mut self, ticket: impl IntoTicket) -> Self {
        // The first mistake is reported at the start.
        if self.ticket.is_ok() {
            self.ticket = ticket.into_ticket().map(Some);
        }
        self
    }

    /// As [`ticket`](Self::ticket), read from an environment variable. An unset or empty variable gives no
    /// ticket.
    pub fn ticket_env(self, variable: &str) -> Self {
        match std::env::var(variable) {
            Ok(text) if !text.trim().is_empty() => self.ticket(text),
            _ => self,
        }
    }

    /// The public key that the network's authority must have, as `potluck network show` prints it. If the
    /// ticket or the data folder has another authority, the start fails and changes nothing.
    pub fn authority(mut self, authority: PublicKey) -> Self {
        self.authority = Some(authority);
        self
    }

    /// A UDP address to listen on. May be called up to [`LISTEN_MAX`](crate::LISTEN_MAX) times: `0.0.0.0` and
    /// `[::]`, which takes IPv6 only, cover both families. Port 0 lets the system choose: the same port for
    /// all such addresses if possible. Default: [`DEFAULT_LISTEN`](crate::DEFAULT_LISTEN), without IPv6 in a
    /// `lab` network on a machine with a public IPv6 address.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen.push(address);
        self
    }

    /// The address to announce to other nodes, if it differs from the listen address. Port 0 means the listen
    /// port.
    pub fn advertise(mut self, address: SocketAddr) -> Self {
        self.advertise = Some(address);
        self
    }

    /// An entry point into the network; may be called many times. Entry points are retried without end. A
    /// text is a contact, `<ip>:<port>` or `<dns name>:<port>`.
    pub fn entry(mut self, point: impl IntoEntryPoint) -> Self {
        // The first mistake is reported at the start.
        if let Ok(points) = &mut self.entry_points {
            match point.into_entry_point() {
                Ok(point) => points.push(point),
                Err(error) => self.entry_points = Err(error),
            }
        }
        self
    }

    /// A DNS name, with or without a port, that is resolved while all entry points and the nodes of the last
    /// run are silent: it joins the parts of a network again after a partition. May be called up to eight
    /// times. Its SRV records `_potluck._udp.<name>` and its addresses are used.
    pub fn dns_fallback(mut self, name: &str) -> Self {
        match fallback_name(name) {
            Ok(name) => self.finding.dns_fallback.push(name),
            // The first mistake is reported at the start.
            Err(error) if self.entry_points.is_ok() => self.entry_points = Err(error),
            Err(_) => {}
        }
        self
    }

    /// Whether to look for nodes of the same network on the local network. Default: in `invite` and `lab`
    /// networks. A node that listens on loopback only never does.
    pub const fn lan(mut self, lan: bool) -> Self {
        self.finding.lan = Some(lan);
        self
    }

    /// Whether the local network is also searched by DNS-SD, beside Potluck's own beacon. Default: true.
    pub const fn mdns(mut self, mdns: bool) -> Self {
        self.finding.mdns = mdns;
        self
    }

    /// Parameters of the protocols.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Whether the node takes part without serving others. Needed on a node that no other node can reach.
    pub fn client(mut self, client: bool) -> Self {
        self.client = Some(client);
        self
    }

    /// The node's identity. Default: that of the data folder, else a new one.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Whether to replace the identity of the data folder by a new one in the same network. Needed on a copy
    /// of a folder and on a node that was revoked. Files and replicas stay. Records that the old identity
    /// wrote belong to another node from then on: those in its own space cannot be changed any more, and all
    /// live until they expire. In an `invite` network a [`ticket`](Self::ticket) is needed for it, except on
    /// the node with the authority key. The old key pair stays in the folder. Default: false.
    pub fn new_identity(mut self, new_identity: bool) -> Self {
        self.new_identity = new_identity;
        self
    }

    /// Approximate memory of the store in bytes. Default: 256 MiB.
    pub fn store_memory_bytes(mut self, bytes: u64) -> Self {
        self.store_memory_bytes = Some(bytes);
        self
    }

    /// Most bytes of records in the store. Default: as many as the disk has room for.
    pub fn store_disk_bytes(mut self, bytes: u64) -> Self {
        self.store_disk_bytes = Some(bytes);
        self
    }

    /// Further limits on the records in the store, for all members together and for each one. Default: no
    /// limit but the room.
    pub fn store_quotas(mut self, quotas: Quotas) -> Self {
        self.store_quotas = quotas;
        self
    }

    /// Whether a write is flushed to the disk before it is acknowledged. Default: true. If false, a loss of
    /// power can undo acknowledged writes.
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Starts the node. The node runs when this returns, and joins the network in the background; see
    /// [`Node::ready`]. Must be called in a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// [`Error::Start`](crate::Error::Start) with the reason.
    pub async fn start(self) -> Result<Node> {
        let keep = match self.folder {
            _ if self.in_memory => Keep::Memory,
            Some(folder) => Keep::Folder(folder),
            None => return Err(StartError::NoFolder.into()),
        };
        let mut config = self.config;
        config.dht.client = self.client.unwrap_or(config.dht.client);
        let settings = Settings {
            keep,
            network: WantedNetwork {
                name: self.network,
                admission: self.admission,
                difficulty: self.difficulty,
                ticket: self.ticket.map_err(StartError::from)?,
                authority: self.authority,
            },
            listen: self.listen,
            advertise: self.advertise,
            entry_points: self.entry_points.map_err(StartError::from)?,
            finding: self.finding,
            labels: self.labels.into_iter().collect(),
            config,
            identity: self.identity,
            puzzle_progress: self.puzzle_progress,
            new_identity: self.new_identity,
            store: StoreSettings {
                memory_bytes: self.store_memory_bytes,
                disk_bytes: self.store_disk_bytes,
                quotas: self.store_quotas,
                sync: self.sync,
                cache_bytes: self.cache_bytes,
            },
            rates: ByteRates { upload: self.upload_rate, download: self.download_rate },
        };
        Ok(Node::new(potluck_host::start(settings).await?))
    }
}

/// Types that can be converted into a ticket.
pub trait IntoTicket {
    /// The ticket.
    ///
    /// # Errors
    /// [`TicketError`] if it is not a ticket.
    fn into_ticket(self) -> std::result::Result<Ticket, TicketError>;
}

impl IntoTicket for Ticket {
    fn into_ticket(self) -> std::result::Result<Ticket, TicketError> {
        Ok(self)
    }
}

impl IntoTicket for &str {
    fn into_ticket(self) -> std::result::Result<Ticket, TicketError> {
        self.parse()
    }
}

impl IntoTicket for String {
    fn into_ticket(self) -> std::result::Result<Ticket, TicketError> {
        self.parse()
    }
}

/// Types that can be converted into an entry point.
pub trait IntoEntryPoint {
    /// The entry point.
    ///
    /// # Errors
    /// [`EntryPointError`] if it does not name one.
    fn into_entry_point(self) -> std::result::Result<EntryPoint, EntryPointError>;
}

impl IntoEntryPoint for EntryPoint {
    fn into_entry_point(self) -> std::result::Result<EntryPoint, EntryPointError> {
        Ok(self)
    }
}

impl IntoEntryPoint for Contact {
    fn into_entry_point(self) -> std::result::Result<EntryPoint, EntryPointError> {
        Ok(EntryPoint::Contact(self))
    }
}

impl IntoEntryPoint for SocketAddr {
    fn into_entry_point(self) -> std::result::Result<EntryPoint, EntryPointError> {
        Ok(EntryPoint::Address(self))
    }
}

impl IntoEntryPoint for &str {
    fn into_entry_point(self) -> std::result::Result<EntryPoint, EntryPointError> {
        parse_entry_point(self)
    }
}

impl IntoEntryPoint for &String {
    fn into_entry_point(self) -> std::result::Result<EntryPoint, EntryPointError> {
        parse_entry_point(self)
    }
}

impl IntoEntryPoint for String {
    fn into_entry_point(self) -> std::result::Result<EntryPoint, EntryPointError> {
        parse_entry_point(&self)
    }
}
