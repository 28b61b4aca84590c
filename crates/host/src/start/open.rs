//! Opening or creating the state of a node: its identity, its network, its records and its files.

use std::path::Path;

use bytes::Bytes;
use potluck_base::{Contact, Identity, NodeId};
use potluck_store::blobs::BlobStore;
use potluck_store::{DiskStore, FolderLock, MemoryStore, StoreConfig, SyncMode};

use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::StartError;
use crate::files::Files;
use crate::folder::{Choice, DataFolder, NetworkInfo, Requested, random};
use crate::handle::FormerIdentity;
use crate::membership::Authority;
use crate::puzzles::SearchHandle;
use crate::settings::Settings;

/// The state of a node, from its data folder or new.
pub(super) struct Kept {
    pub(super) identity: Identity,
    pub(super) former: Option<FormerIdentity>,
    pub(super) network: NetworkInfo,
    /// Of a member of an `invite` network.
    pub(super) credentials: Option<Credentials>,
    pub(super) remembered: Vec<Contact>,
    pub(super) store: Store,
    pub(super) blobs: Option<BlobStore>,
}

/// The proofs of membership in an `invite` network that a data folder has.
pub(super) struct Credentials {
    pub(super) certificate: Option<Bytes>,
    pub(super) revocations: Vec<Bytes>,
    pub(super) issuers: Vec<Contact>,
    pub(super) authority: Option<Authority>,
}

/// The record store, on disk or in memory.
pub(super) enum Store {
    Disk(Box<DiskStore>),
    Memory(Box<MemoryStore>),
}

impl Store {
    /// Starts its thread, for the node at this place in the network.
    pub(super) fn start(self, me: NodeId) -> std::io::Result<Disk> {
        match self {
            Self::Disk(mut store) => {
                store.set_center(me);
                Disk::start(*store)
            }
            Self::Memory(mut store) => {
                store.set_center(me);
                Disk::start_in_memory(*store)
            }
        }
    }
}

/// Creates the state of a node that stores nothing on disk.
pub(super) fn open_memory(
    settings: &Settings,
    clock: &Clock,
    search: &SearchHandle,
) -> Result<Kept, StartError> {
    if settings.network.name.is_none() && settings.network.ticket.is_none() {
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
        None => match network.difficulty {
            Some(difficulty) => search.identity(&network.id, difficulty)?,
            None => random()?,
        },
    };
    let mut store = MemoryStore::in_memory();
    store.set_disk_bytes(settings.store.disk_bytes);
    store.set_quotas(&settings.store.quotas);
    let store = Store::Memory(Box::new(store));
    let remembered = Vec::new();
    Ok(Kept { identity, former: None, network, credentials, remembered, store, blobs: None })
}

/// Opens the state in a data folder, or creates what is missing.
pub(super) fn open_folder(
    folder: &DataFolder,
    lock: FolderLock,
    settings: &Settings,
    clock: &Clock,
    search: &SearchHandle,
) -> Result<Kept, StartError> {
    let remembered = folder.network()?;
    let known = remembered.is_some();
    let choice = choose_network(folder.path(), remembered, settings)?;
    let given = fitting_identity(folder, &choice, settings, search)?;
    // A new identity is created last, when only the disk can still fail.
    let kept = match settings.new_identity {
        true => None,
        false => Some(folder.identity(given.as_ref())?),
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
    if kept.is_none() && !may_sign && settings.network.ticket.is_none() {
        return Err(StartError::NewIdentityNeedsTicket { network: network.name });
    }
    let mut config = StoreConfig::new(network.id);
    config.sync = if settings.store.sync { SyncMode::Data } else { SyncMode::Buffered };
    config.memory_bytes = settings.store.memory_bytes.unwrap_or(config.memory_bytes);
    config.disk_bytes = settings.store.disk_bytes;
    config.quotas = settings.store.quotas;
    let mut store = DiskStore::open_locked(lock, &config)?;
    let (identity, former) = match kept {
        Some(identity) => (identity, None),
        None => renew_identity(folder, &mut store, given.as_ref())?,
    };
    let remembered = folder.contacts();
    let blobs = Some(Files::open(folder.path(), settings.store.cache_bytes)?);
    let store = Store::Disk(Box::new(store));
    Ok(Kept { identity, former, network, credentials, remembered, store, blobs })
}

/// The identity for a folder that needs one: the given one, or, in an `open` network, one that solves its
/// static puzzle.
fn fitting_identity(
    folder: &DataFolder,
    choice: &Choice,
    settings: &Settings,
    search: &SearchHandle,
) -> Result<Option<Identity>, StartError> {
    let needs_one = settings.new_identity || !folder.has_identity();
    match (&settings.identity, choice) {
        (None, Choice::In(NetworkInfo { difficulty: Some(difficulty), id, .. })) if needs_one => {
            search.identity(id, *difficulty).map(Some)
        }
        (given, _) => Ok(given.clone()),
    }
}

/// Replaces the identity of the folder. Own records are removed first: if this is interrupted, the old
/// identity is left without them, and learns from other nodes that it has lost them.
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

/// Creates the authority key of a new network, or takes the one that an interrupted start left: no other
/// folder has it.
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
    let wanted = &settings.network;
    let requested = Requested {
        name: wanted.name.as_deref(),
        admission: wanted.admission,
        difficulty: wanted.difficulty,
        ticket: wanted.ticket.as_ref(),
        authority: wanted.authority,
        has_entry_points: !settings.entry_points.is_empty(),
    };
    NetworkInfo::choose(folder, remembered, requested)
}
