//! Starts the node, and maps the reasons of a failed start to exit codes.

use std::io;

use potluck::{Admission, BindError, Node, PuzzleProgress, StartError};
use potluck_store::OpenError;

use super::{Entering, host};
use crate::config::{NetworkPart as SettingsNetwork, Settings};
use crate::failure::{Exit, Failure};

/// Default name of a `lab` network: the same everywhere, so that its nodes find each other.
const LAB_NAME: &str = "potluck";

/// Whether the data folder belongs to no network yet.
pub(super) fn is_new(settings: &Settings) -> bool {
    !settings.node.data_dir.join("network").exists()
}

/// Starts a node with these settings.
///
/// # Errors
/// One sentence that says what to do next.
pub(super) async fn start(
    settings: &Settings,
    entering: &Entering,
    progress: PuzzleProgress,
) -> Result<Node, Failure> {
    let mut builder = Node::builder()
        .data_dir(&settings.node.data_dir)
        .config(settings.protocol.clone())
        .cache_bytes(settings.files.cache_bytes)
        .upload_rate(settings.files.upload_rate)
        .download_rate(settings.files.download_rate)
        .store_memory_bytes(settings.store.memory_bytes)
        .sync(settings.store.sync)
        .client(settings.node.client)
        .new_identity(entering.new_identity)
        .puzzle_progress(progress);
    let SettingsNetwork { name, admission, authority, .. } = &settings.network;
    let default = (*admission == Some(Admission::Lab) && is_new(settings)).then_some(LAB_NAME);
    if let Some(name) = name.as_deref().or(default) {
        builder = builder.network(name);
    }
    if let Some(admission) = admission {
        builder = builder.admission(*admission);
    }
    if let Some(difficulty) = settings.network.difficulty {
        builder = builder.difficulty(difficulty);
    }
    if let Some(authority) = authority {
        builder = builder.authority(*authority);
    }
    if let Some(ticket) = &entering.ticket {
        builder = builder.ticket(ticket.clone());
    }
    for address in &settings.node.listen {
        builder = builder.listen(*address);
    }
    for (name, value) in &settings.node.labels {
        builder = builder.label(name, value);
    }
    if let Some((name, value)) = host::label().filter(|_| settings.node.labels.is_empty()) {
        builder = builder.label(name, value);
    }
    if let Some(address) = settings.node.advertise {
        builder = builder.advertise(address);
    }
    builder = builder.store_quotas(settings.store.quotas);
    if let Some(bytes) = settings.store.disk_bytes {
        builder = builder.store_disk_bytes(bytes);
    }
    for entry in &settings.network.entry {
        builder = builder.entry(entry.as_str());
    }
    for name in &settings.network.dns_fallback {
        builder = builder.dns_fallback(name);
    }
    builder = builder.mdns(settings.network.mdns);
    if let Some(lan) = settings.reach.lan {
        builder = builder.lan(lan);
    }
    builder.start().await.map_err(|error| failure_of(&error))
}

fn failure_of(error: &potluck::Error) -> Failure {
    let (exit, code) = match error {
        potluck::Error::Start(error) => kind_of(error),
        _ => (Exit::Failed, "start"),
    };
    Failure::new(exit, code, error)
}

fn kind_of(error: &StartError) -> (Exit, &'static str) {
    match error {
        StartError::Store(error) => kind_of_open(error),
        StartError::File { source, .. } => kind_of_io(source),
        StartError::IdentityDamaged { .. } | StartError::NetworkDamaged { .. } => {
            (Exit::Verification, "damaged")
        }
        StartError::Layout { .. } => (Exit::Usage, "layout"),
        StartError::IdentityExposed { .. } => (Exit::Refused, "identityExposed"),
        StartError::TicketVoid => (Exit::Refused, "ticketVoid"),
        StartError::NoCertificate { .. } => (Exit::Refused, "notAdmitted"),
        StartError::NoTicket | StartError::NewIdentityNeedsTicket { .. } => {
            (Exit::Usage, "ticketNeeded")
        }
        StartError::Ticket(_)
        | StartError::OtherTicket { .. }
        | StartError::TicketAuthority { .. } => (Exit::Usage, "badTicket"),
        StartError::AuthorityFile { .. } => (Exit::Refused, "authorityKey"),
        StartError::OtherNetwork { .. }
        | StartError::OtherDifficulty { .. }
        | StartError::OtherAuthority { .. }
        | StartError::OtherIdentity { .. } => (Exit::Usage, "otherNode"),
        StartError::Bind(BindError::InUse { .. }) => (Exit::Failed, "portInUse"),
        StartError::NoFolder
        | StartError::NoNetwork
        | StartError::NetworkName
        | StartError::LabAuthority
        | StartError::DifficultyOfOpen
        | StartError::KeyUnfit { .. }
        | StartError::PublicLab(_)
        | StartError::Advertise(_)
        | StartError::Labels
        | StartError::EntryPoint(_)
        | StartError::Listen(_)
        | StartError::Config(_) => (Exit::Usage, "config"),
        _ => (Exit::Failed, "start"),
    }
}

fn kind_of_open(error: &OpenError) -> (Exit, &'static str) {
    match error {
        OpenError::Locked { .. } => (Exit::Failed, "folderInUse"),
        OpenError::OtherNetwork { .. } => (Exit::Usage, "otherNode"),
        OpenError::Damaged { .. } | OpenError::IndexDamaged { .. } => {
            (Exit::Verification, "damaged")
        }
        OpenError::Io { source, .. } => kind_of_io(source),
        _ => (Exit::Failed, "start"),
    }
}

fn kind_of_io(error: &io::Error) -> (Exit, &'static str) {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (Exit::NoSpace, "noSpace"),
        _ => (Exit::Failed, "start"),
    }
}

#[cfg(test)]
mod tests {
    use potluck::ListenError;

    use super::*;

    #[test]
    fn damage_lack_of_room_and_wrong_usage_have_their_exit_codes() {
        let file = |source| StartError::File { path: "x".into(), source };
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(kind_of(&file(full)).0, Exit::NoSpace);
        assert_eq!(kind_of(&file(io::ErrorKind::NotFound.into())).0, Exit::Failed);
        let damaged = OpenError::Damaged { folder: "x".into(), detail: String::new() };
        assert_eq!(kind_of(&StartError::Store(damaged)).0, Exit::Verification);
        let locked = OpenError::Locked { folder: "x".into() };
        assert_eq!(kind_of(&StartError::Store(locked)).0, Exit::Failed);
        assert_eq!(kind_of(&StartError::Listen(ListenError::TooMany(5))).0, Exit::Usage);
    }

    #[test]
    fn what_keeps_a_node_from_starting_has_a_code_of_its_own() {
        let code = |error: &StartError| kind_of(error).1;
        let made_by = "a newer version";
        let layout = StartError::Layout { folder: "x".into(), number: "9".into(), made_by };
        assert_eq!(code(&layout), "layout");
        let exposed = StartError::IdentityExposed { path: "x".into(), mode: 0o644 };
        assert_eq!(code(&exposed), "identityExposed");
        assert_eq!(code(&StartError::TicketVoid), "ticketVoid");
        assert_eq!(code(&StartError::NoTicket), "ticketNeeded");
        assert_eq!(code(&StartError::OtherTicket { name: "x".into() }), "badTicket");
        let key = StartError::AuthorityFile { path: "x".into(), why: "it is empty" };
        assert_eq!(code(&key), "authorityKey");
        let locked = OpenError::Locked { folder: "x".into() };
        assert_eq!(code(&StartError::Store(locked)), "folderInUse");
        let gone = StartError::File { path: "x".into(), source: io::ErrorKind::NotFound.into() };
        assert_eq!(code(&gone), "start");
    }
}
