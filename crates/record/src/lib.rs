//! The data of records, without a protocol.
//!
//! A record is stored under a [`Key`](potluck_base::Key), the hash of its [`Space`] and [`Name`]. Each writer
//! has one signed [`Envelope`] per key with its whole live state for that key: its values, each with its
//! [`Dot`], and a [`Context`] of everything that the writer had seen. Replicas keep the newest envelope of
//! each writer ([`State`]); readers fold these into a [`Reading`].
//!
//! **Invariants:** merging is commutative, associative and idempotent, reads no clock and truncates nothing;
//! a signature covers the exact bytes that are stored; every size has a limit in [`limits`].

// What others send reaches this code: it must not stop the node (docs/security.md, "Panics").
#![cfg_attr(
    not(test),
    deny(
        clippy::panic,
        clippy::unreachable,
        clippy::get_unwrap,
        clippy::string_slice,
        clippy::indexing_slicing,
    )
)]

pub mod context;
pub mod dot;
pub mod envelope;
pub mod fingerprint;
pub mod head;
pub mod kind;
pub mod limits;
pub mod listing;
pub mod operation;
pub mod reading;
pub mod share;
pub mod space;
pub mod state;
pub mod storage;
pub mod team;

pub use context::{Context, ContextError};
pub use dot::Dot;
pub use envelope::{Draft, DraftError, Envelope, EnvelopeError};
pub use fingerprint::{Fingerprint, Prefix, SessionKey};
pub use head::{CertificateHash, EnvelopeId, SignedHead, ValueEntry};
pub use kind::{Kind, KindError};
pub use listing::{NAMES_PAGE_MAX, NamedState, NamesQuery};
pub use operation::{Operation, OperationError};
pub use reading::{Folded, Reading, Value};
pub use share::{Share, ShareError, Shares};
pub use space::{Name, NameError, Space, SpaceError};
pub use state::{HasHead, Merged, State, StateDigest};
pub use storage::{MergeAs, OpId, Place, StorageFailure, StorageOp, StorageReply};
pub use team::{TeamId, TeamIdError, TeamList};
