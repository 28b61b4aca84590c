//! Starting a node: opening its folder and ports, becoming a member, and creating the threads and tasks
//! around its core.

mod admit;
mod open;

use std::net::SocketAddr;
use std::sync::Arc;

use potluck_base::{Contact, Rng, UnixMillis};
use potluck_dht::EntryPoint;
use potluck_link::{Gatekeeper, PuzzleGate};
use potluck_node::{Node, Start};
use potluck_wire::LanKey;
use potluck_wire::puzzle::PuzzleProof;
use tokio::sync::mpsc;

use crate::addresses::{Watch, Whereabouts};
use crate::clock::Clock;
use crate::drive::{Drive, Parts};
use crate::error::StartError;
use crate::files::Files;
use crate::folder::{DataFolder, NetworkInfo, random_bytes};
use crate::handle::{Handle, NodeInfo};
use crate::membership::{self, Admitted, Membership};
use crate::puzzles::{Puzzles, Searches, Solver};
use crate::request::Request;
use crate::settings::{Keep, Settings};
use crate::socket::Sockets;
use crate::transport::{AdmissionFilter, Transport, TransportConfig};
use crate::{lan, listening};
use admit::{admit, certified, file_error};
use open::{Kept, open_folder, open_memory};

/// Starts a node. Must be called in a tokio runtime with I/O and time.
///
/// # Errors
/// [`StartError`], a sentence fit for a person.
pub async fn start(settings: Settings) -> Result<Handle, StartError> {
    settings.config.validate()?;
    let labels = settings.labels_in_order()?;
    let listen = listening::addresses(&settings.listen)?;
    // The lock comes first: nothing in the folder may change while another node runs on it.
    let held = match &settings.keep {
        Keep::Memory => None,
        Keep::Folder(path) if path.as_os_str().is_empty() => return Err(StartError::NoFolder),
        Keep::Folder(path) => Some(DataFolder::take(path)?),
    };
    let mut socket = Sockets::bind(&listen)?;
    let clock = Clock::start();
    let folder = held.as_ref().map(|(folder, _)| folder.clone());
    // Opening a large store blocks for long.
    // Searches end when this start is given up.
    let searches = Searches::new(settings.puzzle_progress.clone());
    let search = searches.handle();
    let opening = tokio::task::spawn_blocking(move || {
        let kept = match held {
            Some((folder, lock)) => open_folder(&folder, lock, &settings, &clock, &search),
            None => open_memory(&settings, &clock, &search),
        };
        (settings, kept)
    });
    let (mut settings, kept) = opening.await.map_err(|_| StartError::BrokenOff)?;
    let mut kept = kept?;
    if kept.network.difficulty.is_some() {
        settings.config = settings.config.for_open();
        settings.config.validate()?;
    }
    listening::settle(&mut socket, &kept.network, settings.listen.is_empty())?;
    let address = listening::own_address(&socket.local_addrs(), settings.advertise)?;
    listening::refuse_public_lab(&kept.network, address, &socket.local_addrs())?;
    let admitted = match kept.credentials.take() {
        None => None,
        Some(credentials) => {
            Some(admit(&kept, credentials, &socket, folder.as_ref(), &settings).await?)
        }
    };
    let solved = solve(&kept, folder.as_ref(), clock, &searches).await?;
    let node = Node::new(Start {
        identity: kept.identity.clone(),
        network: kept.network.id,
        address,
        incarnation: incarnation(folder.as_ref(), clock.wall())?,
        labels: certified(labels, &kept.network, admitted.as_ref()),
        config: settings.config.clone(),
        seed: random_bytes()?,
    })?;
    let entering = Entering { admitted, solved };
    run(node, kept, entering, Places { socket, address, folder, clock }, &settings)
}

/// What lets the node in.
struct Entering {
    /// In an `invite` network.
    admitted: Option<Admitted>,
    /// In an `open` network.
    solved: Option<Solved>,
}

/// A node of an `open` network that solved its puzzles.
struct Solved {
    solver: Solver,
    proof: PuzzleProof,
}

impl Solved {
    /// The puzzles of the running node, with the filter of its connections.
    fn begin(self, transport: &Transport, requests: &mpsc::Sender<Request>) -> Puzzles {
        let filter = AdmissionFilter::new(requests.clone());
        transport.set_door(&filter);
        Puzzles::new(self.solver, self.proof.epoch, filter, requests)
    }
}

/// The solution of the puzzle of an `open` network: the one that is kept, or a new one.
async fn solve(
    kept: &Kept,
    folder: Option<&DataFolder>,
    clock: Clock,
    searches: &Searches,
) -> Result<Option<Solved>, StartError> {
    let key = kept.identity.public_key();
    let Some(solver) = Solver::new(&kept.network, key, folder.cloned(), clock)? else {
        return Ok(None);
    };
    let search = searches.handle();
    let solving = tokio::task::spawn_blocking(move || {
        let proof = solver.proof(&search)?;
        Ok(Solved { solver, proof })
    });
    solving.await.map_err(|_| StartError::BrokenOff)?.map(Some)
}

/// The incarnation of this start: above that of every earlier start on this folder, also if the clock
/// went back.
///
/// The upper bits are the seconds since 1970. If the file with the last incarnation is lost, the
/// announcements of this start still supersede earlier ones. The lower 16 bits are random: if two
/// machines start on copies of one folder in the same second, each sees that the announcements of the
/// other are not its own. Random bits are added as well where the clock is not above the last
/// incarnation, as at a restart within one second.
fn incarnation(folder: Option<&DataFolder>, wall: UnixMillis) -> Result<u64, StartError> {
    let [low, high, ..] = random_bytes()?;
    let random = u16::from_be_bytes([high, low]);
    let Some(folder) = folder else { return Ok(incarnation_above(0, wall, random)) };
    let incarnation = incarnation_above(folder.last_incarnation(), wall, random);
    folder.save_incarnation(incarnation).map_err(|source| file_error(folder, source))?;
    Ok(incarnation)
}

/// An incarnation above `last`.
fn incarnation_above(last: u64, wall: UnixMillis, random: u16) -> u64 {
    let by_clock = (wall.0 / 1000) << 16;
    by_clock.max(last.saturating_add(1)).saturating_add(random.into())
}

/// The ports and the folder of a node that starts.
struct Places {
    socket: Sockets,
    address: SocketAddr,
    folder: Option<DataFolder>,
    clock: Clock,
}

/// Creates the threads and tasks of the node.
fn run(
    mut node: Node,
    kept: Kept,
    entering: Entering,
    places: Places,
    settings: &Settings,
) -> Result<Handle, StartError> {
    let Places { socket, address, folder, clock } = places;
    let Entering { admitted, solved } = entering;
    let Kept { identity, former, network, mut remembered, store, blobs, .. } = kept;
    let mut entry_points = settings.entry_points.clone();
    node = with_door(node, &network, folder.as_ref(), admitted.as_ref(), solved.as_ref());
    if let Some(admitted) = &admitted {
        entry_points.extend(admitted.issuers.iter().copied().map(EntryPoint::Contact));
        if settings.network.ticket.is_none() {
            // The issuers may be gone for good, so they are tried beside the contacts of the last run.
            remembered.splice(..0, admitted.issuers.iter().copied());
        }
    }
    let socket = Arc::new(socket);
    let transport =
        Transport::new(&identity, &network.id, Arc::clone(&socket), TransportConfig::default());
    transport.set_rates(settings.rates.upload, settings.rates.download);
    let network_id = network.id;
    let contact = Contact::new(identity.public_key(), address);
    let disk = store.start(contact.public_key.node_id(&network_id)).map_err(StartError::Thread)?;
    let whereabouts = Whereabouts::new(contact);
    let watch = Watch::new(socket.local_addrs(), settings.advertise.map(|_| address));
    let at = folder.as_ref().map(|folder| folder.path().to_owned());
    let info = NodeInfo::new(contact, &network, socket.local_addrs(), at, former);
    let looking = looking_around(&network, socket.local_addrs(), clock, settings)?;
    let mut puzzles = None;
    let (handle, ends) =
        Handle::new(info, clock, whereabouts.clone(), transport.downgrade(), |requests| {
            lan::begin(looking, &requests);
            let membership = admitted.map(|admitted| {
                let filter = AdmissionFilter::new(requests.clone());
                transport.set_door(&filter);
                Membership::new(membership::Parts {
                    whereabouts: whereabouts.clone(),
                    network,
                    folder: folder.clone(),
                    clock,
                    admitted,
                    filter,
                    requests: requests.clone(),
                })
            });
            puzzles = solved.map(|solved| solved.begin(&transport, &requests));
            let defences = settings.config.swarm.defences;
            let files = blobs
                .map(|blobs| Files::new(network_id, blobs, transport.clone(), requests, defences));
            (files, membership)
        });
    let files = handle.files().ok().cloned();
    files.iter().for_each(Files::begin_tasks);
    let drive = Drive::new(Parts {
        node,
        clock,
        socket,
        transport,
        disk,
        folder,
        ends,
        remembered,
        watch,
        whereabouts,
        entry_points,
        dns_fallback: settings.finding.names(),
        files,
        membership: handle.membership().ok().cloned(),
        puzzles,
    });
    tokio::spawn(drive.run());
    Ok(handle)
}

/// The node with the door of its network: certificates, puzzles, or none.
fn with_door(
    node: Node,
    network: &NetworkInfo,
    folder: Option<&DataFolder>,
    admitted: Option<&Admitted>,
    solved: Option<&Solved>,
) -> Node {
    match (admitted.zip(network.authority), solved) {
        (Some((admitted, authority)), _) => {
            let shown = Some(admitted.certificate.clone());
            let revocations = admitted.revocations.clone();
            let door = Gatekeeper::new(network.id, authority, shown, revocations);
            with_kept_settings(node.with_gatekeeper(door), folder)
        }
        (None, Some(Solved { solver, proof })) => {
            let gate = PuzzleGate::new(network.id, solver.difficulty(), Some(*proof));
            node.with_puzzle_gate(gate)
        }
        (None, None) => node,
    }
}

/// The node with the settings of the network that were in force in its last run.
fn with_kept_settings(node: Node, folder: Option<&DataFolder>) -> Node {
    match folder.and_then(DataFolder::settings) {
        Some(kept) => node.with_settings(&kept),
        None => node,
    }
}

/// The parts of the search on the local network; `None` if it is off or the machine is on no network.
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
