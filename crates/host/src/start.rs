//! Starting a node: the folder, the port, the threads and tasks around its core.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck_base::{Admission, Contact, Identity};
use potluck_dht::EntryPoint;
use potluck_node::{Config, Node, Start};
use potluck_store::blobs::BlobStore;
use potluck_store::{DiskStore, FolderLock, MemoryStore, StoreConfig, SyncMode};

use crate::addresses;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::drive::{Drive, Parts};
use crate::error::StartError;
use crate::files::Files;
use crate::folder::{DataFolder, NetworkInfo, random, random_bytes};
use crate::handle::{Handle, NodeInfo};
use crate::resolve::DEFAULT_PORT;
use crate::socket::PortSocket;
use crate::transport::{Transport, TransportConfig};

/// Where a node listens if nothing else is said.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), DEFAULT_PORT);

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
    /// The network to be in; `None`: the one that the data folder belongs to.
    pub network: Option<String>,
    /// The network's way of admission; `None`: that of the data folder's network.
    pub admission: Option<Admission>,
    /// The UDP addresses to listen on, one in this version; none: [`DEFAULT_LISTEN`].
    pub listen: Vec<SocketAddr>,
    /// The address to give to others, if it is not the one listened on. Port 0 means the port
    /// listened on.
    pub advertise: Option<SocketAddr>,
    /// Where to enter the network.
    pub entry_points: Vec<EntryPoint>,
    /// Parameters of the core.
    pub config: Config,
    /// Who to be; `None`: as the data folder says, or anybody.
    pub identity: Option<Identity>,
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
    network: NetworkInfo,
    remembered: Vec<Contact>,
    store: Store,
    blobs: Option<BlobStore>,
}

/// Either of the stores.
enum Store {
    Disk(Box<DiskStore>),
    Memory(MemoryStore),
}

/// Starts a node. Must be called in a tokio runtime with I/O and time.
///
/// # Errors
/// [`StartError`], a sentence fit for a person.
pub async fn start(settings: Settings) -> Result<Handle, StartError> {
    settings.config.validate()?;
    let listen = match settings.listen[..] {
        [] => DEFAULT_LISTEN,
        [listen] => listen,
        _ => return Err(StartError::SeveralListen),
    };
    // The lock first: nothing in the folder may change while another node runs on it.
    let held = match &settings.keep {
        Keep::Memory => None,
        Keep::Folder(path) if path.as_os_str().is_empty() => return Err(StartError::NoFolder),
        Keep::Folder(path) => Some(DataFolder::take(path)?),
    };
    let socket = PortSocket::bind(listen)?;
    let address = own_address(socket.local_addr(), settings.advertise)?;
    let folder = held.as_ref().map(|(folder, _)| folder.clone());
    // Opening a large store takes its time.
    let opening = tokio::task::spawn_blocking(move || {
        let kept = match held {
            Some((folder, lock)) => open_folder(&folder, lock, &settings),
            None => open_memory(&settings),
        };
        (settings, kept)
    });
    let (settings, kept) = opening.await.map_err(|_| StartError::BrokenOff)?;
    let kept = kept?;
    let node = Node::new(Start {
        identity: kept.identity.clone(),
        network: kept.network.id,
        address,
        config: settings.config.clone(),
        seed: random_bytes()?,
    })?;
    run(node, kept, socket, address, folder, &settings)
}

/// Sets the node going.
fn run(
    node: Node,
    kept: Kept,
    socket: PortSocket,
    address: SocketAddr,
    folder: Option<DataFolder>,
    settings: &Settings,
) -> Result<Handle, StartError> {
    let Kept { identity, network, remembered, store, blobs } = kept;
    let socket = Arc::new(socket);
    let transport =
        Transport::new(&identity, &network.id, Arc::clone(&socket), TransportConfig::default());
    transport.set_rates(settings.upload_rate, settings.download_rate);
    let network_id = network.id;
    let disk = match store {
        Store::Disk(store) => Disk::start(*store),
        Store::Memory(store) => Disk::start_in_memory(store),
    };
    let disk = disk.map_err(StartError::Thread)?;
    let contact = Contact { public_key: identity.public_key(), address };
    let info = NodeInfo {
        contact,
        id: contact.in_network(&network.id).id,
        network,
        local_addresses: vec![socket.local_addr()],
        folder: folder.as_ref().map(|folder| folder.path().to_owned()),
    };
    let clock = Clock::start();
    let (handle, wires) = Handle::new(info, clock, |requests| {
        blobs.map(|blobs| Files::new(network_id, blobs, transport.clone(), requests))
    });
    let files = handle.files().ok().cloned();
    files.iter().for_each(Files::watch);
    let drive = Drive::new(Parts {
        node,
        clock,
        socket,
        transport,
        disk,
        folder,
        requests: wires.requests,
        events: wires.events,
        remembered,
        entry_points: settings.entry_points.clone(),
        files,
    });
    tokio::spawn(async move {
        drive.run(wires.stop).await;
        wires.done.send_replace(true);
    });
    Ok(handle)
}

fn open_memory(settings: &Settings) -> Result<Kept, StartError> {
    let network = choose_network(Path::new(""), None, settings)?;
    let identity = match &settings.identity {
        Some(identity) => identity.clone(),
        None => random()?,
    };
    let mut store = MemoryStore::in_memory();
    store.set_disk_bytes(settings.store_disk_bytes);
    Ok(Kept { identity, network, remembered: Vec::new(), store: Store::Memory(store), blobs: None })
}

fn open_folder(
    folder: &DataFolder,
    lock: FolderLock,
    settings: &Settings,
) -> Result<Kept, StartError> {
    let remembered = folder.network()?;
    let known = remembered.is_some();
    let network = choose_network(folder.path(), remembered, settings)?;
    let identity = folder.identity(settings.identity.as_ref())?;
    if !known {
        folder.set_network(&network)?;
    }
    let mut config = StoreConfig::new(network.id);
    config.sync = if settings.sync { SyncMode::Data } else { SyncMode::Buffered };
    config.memory_bytes = settings.store_memory_bytes.unwrap_or(config.memory_bytes);
    config.disk_bytes = settings.store_disk_bytes;
    let store = DiskStore::open_locked(lock, &config)?;
    let remembered = folder.contacts();
    let blobs = Some(Files::open(folder.path(), settings.cache_bytes)?);
    Ok(Kept { identity, network, remembered, store: Store::Disk(Box::new(store)), blobs })
}

fn choose_network(
    folder: &Path,
    remembered: Option<NetworkInfo>,
    settings: &Settings,
) -> Result<NetworkInfo, StartError> {
    NetworkInfo::choose(folder, remembered, settings.network.as_deref(), settings.admission)
}

/// The address to give to others.
fn own_address(bound: SocketAddr, advertise: Option<SocketAddr>) -> Result<SocketAddr, StartError> {
    let address = match advertise {
        Some(address) if address.port() == 0 => SocketAddr::new(address.ip(), bound.port()),
        Some(address) => address,
        None => addresses::reachable(bound),
    };
    let ip = address.ip();
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(StartError::Advertise(address));
    }
    // `lab` is the only way of admission so far.
    if addresses::is_public(ip) || addresses::is_public(bound.ip()) {
        return Err(StartError::PublicLab(address));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_advertised_address_wins_over_the_bound_one() {
        let bound = address("127.0.0.1:7");
        assert_eq!(own_address(bound, None).unwrap(), bound);
        let other = address("10.0.0.1:9");
        assert_eq!(own_address(bound, Some(other)).unwrap(), other);
        let without_port = own_address(bound, Some(address("10.0.0.1:0"))).unwrap();
        assert_eq!(without_port, address("10.0.0.1:7"));
    }

    #[test]
    fn a_lab_network_keeps_off_the_internet() {
        let bound = address("127.0.0.1:7");
        let public = own_address(bound, Some(address("8.8.8.8:7"))).unwrap_err();
        assert!(public.to_string().contains("open to everybody"), "{public}");
        for useless in ["0.0.0.0:7", "[::]:7", "224.0.0.1:7"] {
            let error = own_address(bound, Some(address(useless))).unwrap_err();
            assert!(matches!(error, StartError::Advertise(_)), "{error}");
        }
    }
}
