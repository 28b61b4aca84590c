//! Why a node did not start, in sentences that say what to do next.

use std::net::SocketAddr;
use std::path::PathBuf;

use potluck_base::{Admission, Difficulty, PublicKey};
use potluck_record::StorageFailure;

use crate::resolve::EntryPointError;
use crate::socket::BindError;

/// Why a node did not start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The labels are too many, too long or no names.
    #[error(
        "labels are at most {} pairs of a name and a value, each pair at most {} bytes, every name once",
        potluck_wire::limits::LABELS_MAX,
        potluck_wire::limits::LABEL_BYTES_MAX
    )]
    Labels,
    /// Neither a data folder nor memory was chosen.
    #[error("a node needs a data folder, or to be told to keep everything in memory")]
    NoFolder,
    /// The data folder, or the records in it, cannot be used.
    #[error(transparent)]
    Store(#[from] potluck_store::OpenError),
    /// The files that are shared from it cannot be used.
    #[error(transparent)]
    Files(#[from] crate::files::FilesError),
    /// A file of the data folder cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The data folder is of a layout that this version does not know.
    #[error(
        "data folder {} was made by {made_by} (layout {number}) and this version uses layout {} only; \
         run the version that made it, or choose another folder with --data and join with a new ticket",
        folder.display(),
        crate::folder::layout::LAYOUT
    )]
    Layout {
        /// The data folder.
        folder: PathBuf,
        /// The number of its layout, in words.
        number: String,
        /// Who made it.
        made_by: &'static str,
    },
    /// Others may have read the node's secret key.
    #[error(
        "{} can be read or changed by others (mode {mode:o}); if they did not, run `chmod 600 {}`, \
         else remove it and become a new node",
        path.display(),
        path.display()
    )]
    IdentityExposed {
        /// The identity file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The identity file is not as it was written.
    #[error(
        "{} is damaged; put a copy in its place, or move the whole data folder away to become a \
         new node",
        path.display()
    )]
    IdentityDamaged {
        /// The identity file.
        path: PathBuf,
    },
    /// The data folder is another node's.
    #[error("{} holds another identity than the one given; use another data folder", path.display())]
    OtherIdentity {
        /// The identity file.
        path: PathBuf,
    },
    /// The file that names the network is not as it was written.
    #[error("{} is damaged; remove it and name the network again", path.display())]
    NetworkDamaged {
        /// The network file.
        path: PathBuf,
    },
    /// The authority key cannot be used.
    #[error("cannot use the authority key {}: {why}", path.display())]
    AuthorityFile {
        /// The file.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// An `invite` network is entered by a ticket.
    #[error(
        "an `invite` network is entered with a ticket: run `potluck invite` on one of its nodes and \
         `potluck up TICKET` here; for an open network paste the line that its nodes print, for one \
         without admission control add `--admission lab`"
    )]
    NoTicket,
    /// The ticket is another network's.
    #[error("the ticket is for the `invite` network `{name}`, not for the one that was asked for")]
    OtherTicket {
        /// The name of its network.
        name: String,
    },
    /// The ticket was signed by another authority than the one expected.
    #[error(
        "the ticket is for a network `{name}` whose authority is {authority}, not the one that is \
         expected ([network] authority); if it is the right one after all, change that"
    )]
    TicketAuthority {
        /// The name of its network.
        name: String,
        /// The authority of its network.
        authority: PublicKey,
    },
    /// The data folder belongs to a network of another authority than the one expected.
    #[error(
        "data folder {} belongs to the network `{name}` with {authority}, not the one that is \
         expected ([network] authority); use one folder per network, nothing in this one changed",
        folder.display()
    )]
    OtherAuthority {
        /// The data folder.
        folder: PathBuf,
        /// The name of its network.
        name: String,
        /// The authority of its network, in words.
        authority: String,
    },
    /// An authority is expected of a network that has none.
    #[error(
        "a `lab` or `open` network has no authority; leave [network] authority out, or --admission"
    )]
    LabAuthority,
    /// A ticket is none.
    #[error(transparent)]
    Ticket(#[from] potluck_wire::TicketError),
    /// No node will admit this one with this ticket.
    #[error(
        "the ticket has expired, was used up or cancelled, or this node was put out; ask for a new \
         one: `potluck invite`"
    )]
    TicketVoid,
    /// The data folder belongs to an `invite` network, but has no certificate that holds.
    #[error(
        "this node has no certificate of the network `{network}` that holds; ask for a ticket \
         (`potluck invite`) and run `potluck up TICKET`"
    )]
    NoCertificate {
        /// The network's name.
        network: String,
    },
    /// The records of the old identity could not be forgotten; it is still the node's.
    #[error("the records of the old identity cannot be forgotten: {0}; nothing changed")]
    Forget(#[source] StorageFailure),
    /// A new identity needs a new certificate, and there is no ticket to get one by. Nothing changed.
    #[error(
        "a new identity needs a ticket of the network `{network}`, since its certificate is for the old \
         one; ask for a ticket (`potluck invite`) and run `potluck up TICKET --new-identity`"
    )]
    NewIdentityNeedsTicket {
        /// The network's name.
        network: String,
    },
    /// The own certificate could not be signed, or the book of certificates not be written.
    #[error(transparent)]
    Membership(#[from] crate::membership::MembershipError),
    /// A new data folder must be told its network.
    #[error("this data folder belongs to no network yet; name the one to be in")]
    NoNetwork,
    /// The name of the network is unusable.
    #[error("a network's name has 1 to 64 bytes on one line, with no space at either end")]
    NetworkName,
    /// The data folder belongs to another network.
    #[error(
        "data folder {} belongs to the network `{name}` ({admission}); use one folder per network",
        folder.display()
    )]
    OtherNetwork {
        /// The data folder.
        folder: PathBuf,
        /// The name of its network.
        name: String,
        /// The admission of its network.
        admission: Admission,
    },
    /// The network of the data folder has another difficulty.
    #[error(
        "data folder {} belongs to the open network `{name}` of difficulty {kept}, not {asked}; the difficulty \
         of a network never changes: leave --difficulty out, or use another folder",
        folder.display()
    )]
    OtherDifficulty {
        /// The data folder.
        folder: PathBuf,
        /// The name of its network.
        name: String,
        /// The difficulty of its network.
        kept: Difficulty,
        /// The difficulty that was asked for.
        asked: Difficulty,
    },
    /// A difficulty was given for a network without puzzles.
    #[error(
        "only an open network has a difficulty; add --admission open, or leave --difficulty out"
    )]
    DifficultyOfOpen,
    /// The given key pair does not solve the static puzzle.
    #[error(
        "the given identity does not solve the puzzle of the open network `{network}` (difficulty \
         {difficulty}); leave it out, and the node finds one that does"
    )]
    KeyUnfit {
        /// The network's name.
        network: String,
        /// Its difficulty.
        difficulty: Difficulty,
    },
    /// A network without admission control would be open to the Internet.
    #[error(
        "{0} is a public address, where a `lab` network would be open to all; listen on a \
         loopback or private address"
    )]
    PublicLab(SocketAddr),
    /// The address to give to others cannot be dialed.
    #[error("{0} is no address that others could dial; advertise one with an IP and a port")]
    Advertise(SocketAddr),
    /// An entry point is none.
    #[error(transparent)]
    EntryPoint(#[from] EntryPointError),
    /// The addresses to listen on cannot be bound beside each other, or at all.
    #[error(transparent)]
    Listen(#[from] crate::socket::ListenError),
    /// The UDP port cannot be had.
    #[error("{0}; {advice}", advice = advice(.0))]
    Bind(#[from] BindError),
    /// Parameters contradict each other.
    #[error(transparent)]
    Config(#[from] potluck_node::ConfigError),
    /// The system gave no random bytes.
    #[error("the system has no random numbers for keys: {0}")]
    Randomness(String),
    /// The system gave no thread.
    #[error("cannot start a thread for the store: {0}")]
    Thread(std::io::Error),
    /// The program is ending, or opening the folder ended in a bug.
    #[error("opening the data folder was broken off")]
    BrokenOff,
}

fn advice(error: &BindError) -> &'static str {
    match error {
        BindError::InUse { address } if address.is_ipv6() => {
            "choose another port, or stop the program that has it; `--listen 0.0.0.0:PORT` alone does \
             without IPv6"
        }
        BindError::InUse { .. } => "choose another port, or stop the program that has it",
        BindError::Denied { .. } => "choose a port above 1023",
        BindError::NoSuchAddress { address } if address.is_ipv6() => {
            "choose an address that it has, or [::]; a machine without IPv6 has none"
        }
        BindError::NoSuchAddress { .. } => "choose an address that it has, or 0.0.0.0",
        BindError::Io { .. } => "choose another address",
    }
}
