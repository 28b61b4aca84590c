//! Starting a node: the folder, the port, the threads and tasks around its core.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use potluck_base::{Addresses, Admission, Contact, Identity, PublicKey, Rng, UnixMillis};
use potluck_dht::EntryPoint;
use potluck_link::Gatekeeper;
use potluck_node::{Config, Node, Start};
use potluck_store::blobs::BlobStore;
use potluck_store::{DiskStore, FolderLock, MemoryStore, StoreConfig, SyncMode};
use potluck_wire::limits::LABELS_MAX;
use potluck_wire::{Certificate, LanKey, Ticket};

use crate::addresses::{Watch, Whereabouts};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::drive::{Drive, Parts};
use crate::error::StartError;
use crate::files::Files;
use crate::finding::Finding;
use crate::folder::{Choice, DataFolder, NetworkInfo, Requested, random, random_bytes};
use crate::handle::{FormerIdentity, Handle, NodeInfo};
use crate::membership::{self, Admitted, Authority, Enrolment, Membership};
use crate::socket::Sockets;
use crate::transport::{AdmissionFilter, Transport, TransportConfig};
use crate::{labels, lan, listening};

/// Where a node keeps its things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// In this folder.
    Folder(PathBuf),
    /// In memory: everything is lost when it stops.
    Memory,
}

/// How to start a node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it keeps its things.
    pub keep: Keep,
    /// The network to be in; `None`: the one that the data folder belongs to, that of the ticket, or a
    /// new one.
    pub network: Option<String>,
    /// The network's way of admission; `None`: that of the data folder's network, else `invite`.
    pub admission: Option<Admission>,
    /// The right to get in, for a node that has no certificate yet. The start then takes until one of
    /// the ticket's nodes has given one.
    pub ticket: Option<Ticket>,
    /// The public key that the network's authority must have; `None`: any. A ticket or data folder of
    /// another one is refused.
    pub authority: Option<PublicKey>,
    /// The UDP addresses to listen on, at most [`LISTEN_MAX`](crate::socket::LISTEN_MAX); none:
    /// [`DEFAULT_LISTEN`](crate::DEFAULT_LISTEN), of which a node of a network without admission control
    /// leaves out IPv6 on a machine with a public address of it. Only IPv6 packets come in at `[::]`.
    pub listen: Vec<SocketAddr>,
    /// The address to give to others, if it is not the one listened on. Port 0 means the port
    /// listened on.
    pub advertise: Option<SocketAddr>,
    /// The entry points.
    pub entry_points: Vec<EntryPoint>,
    /// How to find others otherwise.
    pub finding: Finding,
    /// Its labels, in the order of their names.
    pub labels: Vec<(String, String)>,
    /// Parameters of the core.
    pub config: Config,
    /// The node's identity; `None`: that of the data folder, else a new one.
    pub identity: Option<Identity>,
    /// Whether to give up the identity of the data folder for a new one in the same network. Files and
    /// replicas stay; records that the old identity wrote are another node's from then on.
    pub new_identity: bool,
    /// About how much memory the store may take; `None`: the store's default.
    pub store_memory_bytes: Option<u64>,
    /// How many bytes of records the store may keep; `None`: as many as the disk has room for.
    pub store_disk_bytes: Option<u64>,
    /// Whether to wait for the disk before acknowledging. Without it a loss of power can undo what
    /// was acknowledged: for tests and benchmarks.
    pub sync: bool,
    /// Bytes a second to send at most, of everything over QUIC; `None`: as fast as it goes.
    pub upload_rate: Option<u64>,
    /// Bytes a second of files to take at most.
    pub download_rate: Option<u64>,
    /// Bytes of files fetched for readers to keep.
    pub cache_bytes: u64,
}

/// What was found or made in the data folder, or in memory in its place.
struct Kept {
    identity: Identity,
    former: Option<FormerIdentity>,
    network: NetworkInfo,
    /// In `invite` networks.
    credentials: Option<Credentials>,
    remembered: Vec<Contact>,
    store: Store,
    blobs: Option<BlobStore>,
}

/// What a data folder holds of the admission to an `invite` network.
struct Credentials {
    certificate: Option<Bytes>,
    revocations: Vec<Bytes>,
    issuers: Vec<Contact>,
    authority: Option<Authority>,
}

/// Either of the stores.
enum Store {
    Disk(Box<DiskStore>),
    Memory(MemoryStore),
}

impl Store {
    fn start(self) -> std::io::Result<Disk> {
        match self {
            Self::Disk(store) => Disk::start(*store),
            Self::Memory(store) => Disk::start_in_memory(store),
        }
    }
}

/// Starts a node. Must be called in a tokio runtime with I/O and time.
///
/// # Errors
/// [`StartError`], a sentence fit for a person.
pub async fn start(settings: Settings) -> Result<Handle, StartError> {
    settings.config.validate()?;
    let labels = labels::in_order(&settings.labels)?;
    let listen = listening::addresses(&settings.listen)?;
    // The lock first: nothing in the folder may change while another node runs on it.
    let held = match &settings.keep {
        Keep::Memory => None,
        Keep::Folder(path) if path.as_os_str().is_empty() => return Err(StartError::NoFolder),
        Keep::Folder(path) => Some(DataFolder::take(path)?),
    };
    let mut socket = Sockets::bind(&listen)?;
    let clock = Clock::start();
    let folder = held.as_ref().map(|(folder, _)| folder.clone());
    // Opening a large store takes its time.
    let opening = tokio::task::spawn_blocking(move || {
        let kept = match held {
            Some((folder, lock)) => open_folder(&folder, lock, &settings, &clock),
            None => open_memory(&settings, &clock),
        };
        (settings, kept)
    });
    let (settings, kept) = opening.await.map_err(|_| StartError::BrokenOff)?;
    let mut kept = kept?;
    listening::settle(&mut socket, &kept.network, settings.listen.is_empty())?;
    let address = listening::own_address(&socket.local_addrs(), settings.advertise)?;
    listening::refuse_public_lab(&kept.network, address, &socket.local_addrs())?;
    let admitted = match kept.credentials.take() {
        None => None,
        Some(credentials) => {
            Some(admit(&kept, credentials, &socket, folder.as_ref(), &settings).await?)
        }
    };
    let node = Node::new(Start {
        identity: kept.identity.clone(),
        network: kept.network.id,
        address,
        incarnation: incarnation(folder.as_ref(), clock.wall())?,
        labels: certified(labels, &kept.network, admitted.as_ref()),
        config: settings.config.clone(),
        seed: random_bytes()?,
    })?;
    run(node, kept, admitted, Places { socket, address, folder, clock }, &settings)
}

/// The incarnation of this run: higher than that of any earlier run on this folder, also if the clock
/// went back. Seconds since 1970 stand above, so that a lost file still makes every word of the node
/// younger than those before; what stands below is random, so that of two machines that start on copies
/// of one folder in the same second, each meets a word of the other that is not its own. So it is
/// also where the clock does not suffice, as at a restart within the second.
fn incarnation(folder: Option<&DataFolder>, wall: UnixMillis) -> Result<u64, StartError> {
    let [low, high, ..] = random_bytes()?;
    let random = u16::from_be_bytes([high, low]);
    let Some(folder) = folder else { return Ok(incarnation_above(0, wall, random)) };
    let incarnation = incarnation_above(folder.last_incarnation(), wall, random);
    folder.save_incarnation(incarnation).map_err(|source| file_error(folder, source))?;
    Ok(incarnation)
}

/// The incarnation behind `last` with these random bits.
fn incarnation_above(last: u64, wall: UnixMillis, random: u16) -> u64 {
    let by_clock = (wall.0 / 1000) << 16;
    by_clock.max(last.saturating_add(1)).saturating_add(random.into())
}

/// The labels with those that the authority gave, which win.
fn certified(
    own: Vec<(String, String)>,
    network: &NetworkInfo,
    admitted: Option<&Admitted>,
) -> Vec<(String, String)> {
    let given = admitted.zip(network.authority.as_ref()).and_then(|(admitted, authority)| {
        Certificate::read(&admitted.certificate, authority, &network.id).ok()
    });
    let given = given.map(|certificate| certificate.labels).unwrap_or_default();
    let mut labels: BTreeMap<String, String> = own.into_iter().collect();
    labels.extend(given);
    labels.into_iter().take(LABELS_MAX).collect()
}

/// Where a node is.
struct Places {
    socket: Sockets,
    address: SocketAddr,
    folder: Option<DataFolder>,
    clock: Clock,
}

/// Gets what makes a node a member: the certificate that is there, or one that this node signs
/// itself, or one by the ticket.
async fn admit(
    kept: &Kept,
    credentials: Credentials,
    socket: &Sockets,
    folder: Option<&DataFolder>,
    settings: &Settings,
) -> Result<Admitted, StartError> {
    let Credentials { certificate, revocations, mut issuers, mut authority } = credentials;
    let own = kept.identity.public_key();
    let now = Clock::start().wall();
    let good = |certificate: &Bytes| membership::holds(certificate, &own, &kept.network, now);
    let certificate = match (certificate.filter(good), &mut authority, &settings.ticket) {
        (Some(certificate), _, _) => certificate,
        (None, Some(authority), _) => keep(folder, authority.certify_own(now, own)?)?,
        (None, None, Some(ticket)) => {
            let (identity, network) = (&kept.identity, &kept.network);
            let points: Vec<Contact> =
                ticket.entry_points.iter().flat_map(Addresses::contacts).collect();
            let certificate = Enrolment { socket, identity, network, ticket }.run().await?;
            if let Some(folder) = folder {
                let saved = folder.save_issuers(&points);
                saved.map_err(|source| file_error(folder, source))?;
            }
            issuers = points;
            keep(folder, certificate)?
        }
        (None, None, None) => {
            return Err(StartError::NoCertificate { network: kept.network.name.clone() });
        }
    };
    Ok(Admitted { certificate, revocations, issuers, authority })
}

fn keep(folder: Option<&DataFolder>, certificate: Bytes) -> Result<Bytes, StartError> {
    if let Some(folder) = folder {
        folder.save_certificate(&certificate).map_err(|source| file_error(folder, source))?;
    }
    Ok(certificate)
}

fn file_error(folder: &DataFolder, source: std::io::Error) -> StartError {
    StartError::File { path: folder.path().to_owned(), source }
}

/// Sets the node going.
fn run(
    mut node: Node,
    kept: Kept,
    admitted: Option<Admitted>,
    places: Places,
    settings: &Settings,
) -> Result<Handle, StartError> {
    let Places { socket, address, folder, clock } = places;
    let Kept { identity, former, network, mut remembered, store, blobs, .. } = kept;
    let mut entry_points = settings.entry_points.clone();
    if let (Some(admitted), Some(authority)) = (&admitted, network.authority) {
        let shown = Some(admitted.certificate.clone());
        let revocations = admitted.revocations.clone();
        node = node.with_gatekeeper(Gatekeeper::new(network.id, authority, shown, revocations));
        entry_points.extend(admitted.issuers.iter().copied().map(EntryPoint::Contact));
        if settings.ticket.is_none() {
            // Where this node came in once; that may be gone for good.
            remembered.splice(..0, admitted.issuers.iter().copied());
        }
    }
    let socket = Arc::new(socket);
    let transport =
        Transport::new(&identity, &network.id, Arc::clone(&socket), TransportConfig::default());
    transport.set_rates(settings.upload_rate, settings.download_rate);
    let network_id = network.id;
    let disk = store.start().map_err(StartError::Thread)?;
    let contact = Contact::new(identity.public_key(), address);
    let whereabouts = Whereabouts::new(contact);
    let watch = Watch::new(socket.local_addrs(), settings.advertise.map(|_| address));
    let at = folder.as_ref().map(|folder| folder.path().to_owned());
    let info = NodeInfo::new(contact, &network, socket.local_addrs(), at, former);
    let told = whereabouts.clone();
    let looking = looking_around(&network, socket.local_addrs(), clock, settings)?;
    let (handle, ends) = Handle::new(info, clock, whereabouts.clone(), |requests| {
        lan::begin(looking, &requests);
        let membership = admitted.map(|admitted| {
            let filter = AdmissionFilter::new(requests.clone());
            transport.set_door(&filter);
            let folder = folder.clone();
            Membership::new(told, network, folder, clock, admitted, filter, requests.clone())
        });
        let files = blobs.map(|blobs| Files::new(network_id, blobs, transport.clone(), requests));
        (files, membership)
    });
    let membership = handle.membership().ok().cloned();
    let files = handle.files().ok().cloned();
    files.iter().for_each(Files::watch);
    files.iter().for_each(Files::tell_names);
    let drive = Drive::new(Parts {
        node,
        clock,
        socket,
        transport,
        disk,
        folder,
        requests: ends.requests,
        looks: ends.looks,
        events: ends.events,
        remembered,
        watch,
        whereabouts,
        entry_points,
        dns_fallback: settings.finding.names(),
        files,
        membership,
    });
    tokio::spawn(async move {
        drive.run(ends.stop).await;
        ends.done.send_replace(true);
    });
    Ok(handle)
}

/// What it takes to look around on the local network, if that is wanted and there is one.
fn looking_around(
    network: &NetworkInfo,
    bound: Vec<SocketAddr>,
    clock: Clock,
    settings: &Settings,
) -> Result<Option<lan::Parts>, StartError> {
    let wanted = settings.finding.looks_around(network.admission);
    if !wanted || !lan::is_on_a_network(&bound) {
        return Ok(None);
    }
    let key = LanKey::new(&network.id, network.admission);
    let rng = Rng::from_seed(random_bytes()?);
    Ok(Some(lan::Parts { key, bound, mdns: settings.finding.mdns, clock, rng }))
}

fn open_memory(settings: &Settings, clock: &Clock) -> Result<Kept, StartError> {
    if settings.network.is_none() && settings.ticket.is_none() {
        return Err(StartError::NoNetwork);
    }
    let (network, key) = match choose_network(Path::new(""), None, settings)? {
        Choice::In(network) => (network, None),
        Choice::Join(ticket) => (NetworkInfo::invite(ticket.network, ticket.authority), None),
        Choice::Create(name) => {
            let key: Identity = random()?;
            (NetworkInfo::invite(name, key.public_key()), Some(key))
        }
    };
    let open = |key| Authority::open(key, &network, None, clock.wall());
    let authority = key.map(open).transpose()?;
    let credentials = network.authority.map(|_| Credentials {
        certificate: None,
        revocations: Vec::new(),
        issuers: Vec::new(),
        authority,
    });
    let identity = match &settings.identity {
        Some(identity) => identity.clone(),
        None => random()?,
    };
    let mut store = MemoryStore::in_memory();
    store.set_disk_bytes(settings.store_disk_bytes);
    let store = Store::Memory(store);
    let remembered = Vec::new();
    Ok(Kept { identity, former: None, network, credentials, remembered, store, blobs: None })
}

fn open_folder(
    folder: &DataFolder,
    lock: FolderLock,
    settings: &Settings,
    clock: &Clock,
) -> Result<Kept, StartError> {
    let remembered = folder.network()?;
    let known = remembered.is_some();
    let choice = choose_network(folder.path(), remembered, settings)?;
    // A new one is made when nothing can fail any more but the disk.
    let kept = match settings.new_identity {
        true => None,
        false => Some(folder.identity(settings.identity.as_ref())?),
    };
    let network = match choice {
        Choice::In(network) => network,
        Choice::Join(ticket) => NetworkInfo::invite(ticket.network, ticket.authority),
        Choice::Create(name) => create_network(folder, name)?,
    };
    if !known {
        folder.set_network(&network)?;
    }
    let credentials = match network.authority {
        Some(_) => Some(read_credentials(folder, &network, clock)?),
        None => None,
    };
    let may_sign = credentials.as_ref().is_none_or(|credentials| credentials.authority.is_some());
    if kept.is_none() && !may_sign && settings.ticket.is_none() {
        return Err(StartError::NewIdentityNeedsTicket { network: network.name });
    }
    let mut config = StoreConfig::new(network.id);
    config.sync = if settings.sync { SyncMode::Data } else { SyncMode::Buffered };
    config.memory_bytes = settings.store_memory_bytes.unwrap_or(config.memory_bytes);
    config.disk_bytes = settings.store_disk_bytes;
    let mut store = DiskStore::open_locked(lock, &config)?;
    let (identity, former) = match kept {
        Some(identity) => (identity, None),
        None => renew_identity(folder, &mut store, settings.identity.as_ref())?,
    };
    let remembered = folder.contacts();
    let blobs = Some(Files::open(folder.path(), settings.cache_bytes)?);
    let store = Store::Disk(Box::new(store));
    Ok(Kept { identity, former, network, credentials, remembered, store, blobs })
}

/// Gives up the identity of the folder for another. Own records go first: if it is broken off, the old
/// identity is left without them, and learns from others that it has lost them.
fn renew_identity(
    folder: &DataFolder,
    store: &mut DiskStore,
    given: Option<&Identity>,
) -> Result<(Identity, Option<FormerIdentity>), StartError> {
    let records = store.forget_own().map_err(StartError::Forget)?;
    let kept_in = folder.set_identity_aside()?;
    let identity = folder.identity(given)?;
    Ok((identity, kept_in.map(|kept_in| FormerIdentity { records, kept_in })))
}

/// Makes the authority key of a new network. One that a start which was broken off left behind is
/// used: it is known to this folder only.
fn create_network(folder: &DataFolder, name: String) -> Result<NetworkInfo, StartError> {
    if let Some((name, key)) = folder.orphaned_authority()? {
        return Ok(NetworkInfo::invite(name, key.public_key()));
    }
    let key = random()?;
    let network = NetworkInfo::invite(name, key.public_key());
    folder.save_authority(&network, &key)?;
    Ok(network)
}

fn read_credentials(
    folder: &DataFolder,
    network: &NetworkInfo,
    clock: &Clock,
) -> Result<Credentials, StartError> {
    let open = |key| Authority::open(key, network, Some(folder), clock.wall());
    Ok(Credentials {
        certificate: folder.certificate(),
        revocations: folder.revocations(),
        issuers: folder.issuers(),
        authority: folder.authority(network)?.map(open).transpose()?,
    })
}

fn choose_network(
    folder: &Path,
    remembered: Option<NetworkInfo>,
    settings: &Settings,
) -> Result<Choice, StartError> {
    let requested = Requested {
        name: settings.network.as_deref(),
        admission: settings.admission,
        ticket: settings.ticket.as_ref(),
        authority: settings.authority,
        has_entry_points: !settings.entry_points.is_empty(),
    };
    NetworkInfo::choose(folder, remembered, requested)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_starts_on_copies_of_one_folder_have_their_own_incarnations_whatever_the_clock_says() {
        let wall = |seconds: u64| UnixMillis(seconds * 1_000);
        let last = incarnation_above(0, wall(100), 0xfff0);
        // Within the second, and after a clock that went back.
        for seconds in [100, 7] {
            let two = [3, 900].map(|random| incarnation_above(last, wall(seconds), random));
            assert!(two[0] > last && two[1] > last && two[0] != two[1], "{two:?}");
        }
        assert_eq!(incarnation_above(last, wall(200), 5), 200 << 16 | 5, "the clock leads");
        assert_eq!(incarnation_above(u64::MAX, wall(1), 5), u64::MAX);
    }
}
