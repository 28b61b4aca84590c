//! The public Rust API of Potluck: a network with no server, over machines that come and go.
//!
//! ```no_run
//! use potluck::{Admission, Node, Read};
//!
//! # async fn example() -> potluck::Result<()> {
//! let node = Node::builder()
//!     .data_dir("./data")
//!     .network("home")
//!     .admission(Admission::Lab)
//!     .entry("192.168.1.20:12345")
//!     .start()
//!     .await?;
//! node.kv().put("config/greeting", "hello").await?;
//! match node.kv().get("config/greeting").await? {
//!     Read::Value(value) => println!("{}", value.text()?),
//!     Read::Siblings(all) => {
//!         // Written by several at once: choose, or merge, and say what that supersedes.
//!         node.kv().put("config/greeting", all[0].bytes()).context(all.context()).await?;
//!     }
//!     Read::Absent => {}
//! }
//! let link = node.files().share("./weights").await?;
//! let got = node.files().fetch(&link).to("/models").await?;
//! println!("{} from {} peers", got.path.display(), got.sources.len());
//! node.leave().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Node`] runs in tasks of the tokio runtime it was started in; many nodes may run in one
//! process. Every future here is `Send` and may be dropped at any time: a command that was under
//! way then may or may not have been carried out. Dropping the last clone of a node stops it;
//! [`Node::leave`] first hands its records to others.

mod builder;
mod error;
mod events;
mod file_reader;
mod files;
pub mod health;
mod kinds;
mod kv;
mod names;
mod node;
mod protocol;
mod read;
mod teams;
pub mod testing;
mod topics;
mod wanted;
mod watch;

pub use builder::{Builder, IntoEntryPoint, IntoTicket};
pub use error::{Error, Result};
pub use events::Events;
pub use file_reader::FileReader;
pub use files::{Fetch, Files, Share};
pub use kinds::{Counter, Map, OperationRequest, Set};
pub use kv::{DeleteRequest, GetRequest, Kv, PutRequest};
pub use names::NamesRequest;
pub use node::{Node, NodeStats, Status};
pub use protocol::{DirectMessage, Inbox, MESSAGE_BYTES_MAX};
pub use read::{Read, Siblings, Value};
pub use teams::{TeamError, Teams};
pub use topics::{Publishing, SubscribeRequest, Topics};
pub use wanted::Wanted;
pub use watch::{RecordChange, Watch, WatchRequest};

pub use health::{Health, Reason, Verdict};
pub use potluck_base::statistics;
pub use potluck_base::{
    Admission, BlobId, Contact, Difficulty, DifficultyError, Identity, Key, NetworkId, NodeId,
    Peer, PublicKey, UnixMillis,
};
pub use potluck_dht::{
    EntryPoint, LookupOutcome, LookupTrace, PeerView, QueryOutcome, QueryTrace, TableView,
};
pub use potluck_gossip::search::SearchError;
pub use potluck_gossip::topics::TopicRefusal;
pub use potluck_gossip::{
    Cause, Change, FoundFile, MemberEvent, MemberState, MemberView, MembersView, Message,
    MessageId, Mode, TopicError, TopicName,
};
pub use potluck_host::files::{
    CACHE_BYTES_DEFAULT, FetchJob, FetchOptions, FetchProgress, Fetched, FetchedFrom, FileEntry,
    FilePage, FileState, FileTotals, FilesError, FilesErrorKind, FolderList, Listed, Reader,
    Shared, list_folder,
};
pub use potluck_host::socket::{BindError, LISTEN_MAX, ListenError, SocketBuffers};
pub use potluck_host::transport::{
    CallError, PeerReader, PeerStream, PeerWriter, ProtocolError, TransportStats,
};
pub use potluck_host::{
    DEFAULT_LISTEN, DEFAULT_PORT, Delivery, EntryPointError, EntryReport, FormerIdentity,
    HostStats, InviteTerms, IssuedStats, LeaveReport, Membership, MembershipError, NetworkInfo,
    Puzzle, PuzzleProgress, ServedProtocol, StartError, StoreView, SubscribeError, Subscription,
    TicketView, layout, parse_entry_point,
};
pub use potluck_kv::{Equivocation, Gap, Held, NamesListed, ReadDone, ReplicaState, Written};
pub use potluck_link::{LinkConfig, OwnTrouble};
pub use potluck_node::ask::{self, Ask, Published, SearchResult};
pub use potluck_node::settings::{Effective, SettingChange, SettingRefused, SettingsView};
pub use potluck_node::view::{Stats, StatusView};
pub use potluck_node::{CommandError, Config, ConfigError, Event, Put, WriteContext};
pub use potluck_record::{
    Context, Dot, DraftError, Kind, Name, NameError, NamedState, Reading, Space, StorageFailure,
    TeamId, TeamIdError, TeamList, limits,
};
pub use potluck_store::blobs::{
    BlobError, GcEntry, GcReason, GcReport, Opened, create_folder, mark, write_sparse,
};
pub use potluck_store::{Quotas, StoreStats};
pub use potluck_swarm::path::clean_name;
pub use potluck_swarm::{FileLink, LinkError, LinkKind, Manifest, ManifestFile};
pub use potluck_wire::puzzle::{OpenInvitation, OpenInvitationError};
pub use potluck_wire::{NetworkSettings, SettingsError, Ticket, TicketError};
