//! Examines a node that does not answer: its data folder, its ports, its process, the clock and the disk.

use std::fs;
use std::net::{ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use potluck::layout;

use crate::cli::{DoctorArgs, Global};
use crate::client::{Client, listed_at};
use crate::doctor::{Evidence, Folder, Machine};
use crate::failure::{Exit, Failure};
use crate::{machine, place};

/// Longest time for a name to resolve.
const RESOLVE: Duration = Duration::from_secs(2);

/// The client of the node that the user means: the one of `--data`, if given.
pub(super) fn client(global: &Global, args: &DoctorArgs) -> Result<Client, Failure> {
    match &args.data {
        Some(folder) if global.node.is_none() => {
            let url = fs::read_to_string(place::url_file(folder)).unwrap_or_default();
            let node = url.trim();
            let node = (!node.is_empty()).then(|| node.to_owned());
            Client::of(&Global { node: node.or(global.node.clone()), ..global.clone() })
        }
        _ => Client::of(global),
    }
}

/// The data folder of the node that the user means, as far as it is known.
fn folder_of(client: &Client, args: &DoctorArgs) -> Option<PathBuf> {
    let listed = || listed_at(client.base()).map(|entry| entry.data_dir);
    args.data.clone().or_else(listed).or_else(place::client_data_dir)
}

/// Gathers the evidence.
pub(super) fn evidence(client: &Client, args: &DoctorArgs, trouble: &Failure) -> Evidence {
    let path = folder_of(client, args).unwrap_or_default();
    let locked = is_locked(&path);
    let process = locked.then(|| holder(&path.join(layout::LOCK))).flatten();
    let process = process.and_then(|id| Some((id, machine::process_state(id)?)));
    let exists = path.is_dir();
    let disk = machine::disk_space(&path);
    let folder = Folder {
        url: client.base().to_owned(),
        path: path.display().to_string(),
        exists,
        unusable: unusable(&path),
        locked,
        process,
        foreign: foreign(trouble),
        port_taken: port_taken(locked),
        clock_behind_seconds: clock_behind(&path),
        network: network(&path),
        unresolved: args.entry.iter().filter(|name| !resolves(name)).cloned().collect(),
    };
    let machine = Machine {
        disk_free_bytes: disk.map(|(free, _)| free),
        disk_total_bytes: disk.map(|(_, total)| total),
        ..Machine::default()
    };
    Evidence { node: None, machine, folder: Some(folder) }
}

/// The program that answered in place of a node.
fn foreign(trouble: &Failure) -> Option<String> {
    let other = !matches!(trouble.exit, Exit::NoNode | Exit::Unavailable);
    other.then(|| trouble.message.clone())
}

fn is_locked(folder: &Path) -> bool {
    matches!(
        potluck_store::FolderLock::acquire_to_read(folder),
        Err(potluck_store::OpenError::Locked { .. })
    )
}

/// The process that holds the lock of a file, as listed by the kernel.
fn holder(file: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(file).ok()?).to_string();
        let locks = fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, held) = fields.get(5)?.rsplit_once(':')?;
            (held == inode).then(|| fields.get(4)?.parse().ok()).flatten()
        })
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        None
    }
}

/// Why an existing data folder cannot be used.
fn unusable(folder: &Path) -> Option<String> {
    if !folder.exists() {
        return None;
    }
    if let Err(error) = fs::read_dir(folder) {
        return Some(error.to_string());
    }
    let identity = folder.join(layout::IDENTITY);
    // Opened for writing, so that a file system that is read-only says so. Nothing is written.
    match fs::OpenOptions::new().read(true).write(true).open(&identity) {
        Err(error) if identity.exists() => Some(format!("{}: {error}", identity.display())),
        _ if fs::metadata(folder).is_ok_and(|about| about.permissions().readonly()) => {
            Some("it is read-only".into())
        }
        _ => None,
    }
}

/// The default port of a node, if another program has it and no node of this folder runs.
fn port_taken(locked: bool) -> Option<u16> {
    let taken = |port: u16| {
        matches!(UdpSocket::bind(("0.0.0.0", port)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse)
    };
    (!locked && taken(potluck::DEFAULT_PORT)).then_some(potluck::DEFAULT_PORT)
}

/// Seconds by which the last write in the folder is in the future.
fn clock_behind(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let times = entries.flatten().filter_map(|entry| entry.metadata().ok()?.modified().ok());
    let last = times.max().unwrap_or(SystemTime::UNIX_EPOCH);
    last.duration_since(SystemTime::now()).map_or(0, |ahead| ahead.as_secs())
}

/// The name of the network that a folder belongs to.
fn network(folder: &Path) -> Option<String> {
    let text = fs::read(folder.join(layout::NETWORK)).ok()?;
    let text = String::from_utf8_lossy(&text[..text.len().min(4096)]).into_owned();
    let name = text.lines().find_map(|line| line.strip_prefix("name ")).unwrap_or_default().trim();
    (!name.is_empty()).then(|| crate::text::printable(name))
}

/// Whether a name resolves in time; an address does.
fn resolves(name: &str) -> bool {
    let (sender, receiver) = mpsc::channel();
    let name = name.rsplit_once('@').map_or(name, |(_, address)| address).to_owned();
    std::thread::spawn(move || {
        let found = name.to_socket_addrs().is_ok_and(|mut all| all.next().is_some());
        let _ = sender.send(found);
    });
    receiver.recv_timeout(RESOLVE).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_held_names_its_holder() {
        let folder = tempfile::tempdir().expect("folder");
        assert!(!is_locked(folder.path()));
        let lock = potluck_store::FolderLock::acquire(folder.path()).expect("free");
        assert!(is_locked(folder.path()));
        if cfg!(target_os = "linux") {
            assert_eq!(holder(&folder.path().join(layout::LOCK)), Some(std::process::id()));
        }
        drop(lock);
        assert!(!is_locked(folder.path()));
    }

    #[test]
    fn a_clock_that_was_set_back_shows_in_the_folder() {
        let folder = tempfile::tempdir().expect("folder");
        let file = fs::File::create(folder.path().join("x")).expect("made");
        file.set_modified(SystemTime::now() + Duration::from_secs(900)).expect("set");
        let behind = clock_behind(folder.path());
        assert!((890..=900).contains(&behind), "{behind}");
    }

    #[test]
    fn names_are_resolved_and_addresses_are_there() {
        assert!(resolves("127.0.0.1:1") && resolves("00ff@127.0.0.1:1"));
        assert!(!resolves("name.invalid:1"));
    }
}
