//! Envelopes and operations for the tests of this crate.
#![allow(dead_code, reason = "each test binary uses its own part")]

use bytes::Bytes;
use potluck_base::{Admission, Identity, Key, NetworkId, PublicKey, UnixMillis};
use potluck_record::{
    Context, Dot, Draft, Envelope, Kind, MergeAs, Name, Place, Space, StorageOp, StorageReply,
};
use potluck_store::{StoreConfig, SyncMode};

pub(crate) fn network() -> NetworkId {
    NetworkId::new("store tests", Admission::Lab, None)
}

/// A configuration for small stores that need not outlive a loss of power.
pub(crate) fn small() -> StoreConfig {
    StoreConfig {
        sync: SyncMode::Buffered,
        memory_bytes: 1024 * 1024,
        reserve_bytes: 0,
        ..StoreConfig::new(network())
    }
}

/// Which envelope to sign.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) name: u32,
    pub(crate) internal: bool,
    pub(crate) writer: u8,
    pub(crate) dot: u64,
    pub(crate) expires: u64,
    pub(crate) bytes: usize,
}

impl Spec {
    pub(crate) fn new(name: u32, writer: u8, dot: u64) -> Self {
        Self { name, internal: false, writer, dot, expires: 1_000_000, bytes: 40 }
    }

    pub(crate) fn space(&self) -> Space {
        if self.internal { Space::Provider } else { Space::Commons }
    }

    pub(crate) fn key(&self) -> Key {
        let name = Name::new(format!("name {}", self.name)).expect("good name");
        self.space().key(&name).expect("a named space")
    }

    /// The envelope: the same one for the same specification.
    pub(crate) fn sign(&self) -> Envelope {
        let mut value = format!("{self:?}").into_bytes();
        value.resize(self.bytes, b'.');
        let draft = Draft {
            space: self.space(),
            name: Some(Name::new(format!("name {}", self.name)).expect("good name")),
            kind: if self.internal { Kind::PerWriter } else { Kind::Siblings },
            values: if self.bytes == 0 {
                Vec::new()
            } else {
                vec![(Dot::from_raw(self.dot), UnixMillis(self.expires), Bytes::from(value))]
            },
            dot: Dot::from_raw(self.dot),
            context: Context::new(),
            expires: UnixMillis(self.expires),
            certificate: None,
        };
        Envelope::sign(&identity(self.writer), &network(), draft).expect("a good draft")
    }
}

pub(crate) fn identity(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

pub(crate) fn writer(number: u8) -> PublicKey {
    identity(number).public_key()
}

pub(crate) fn merge(envelope: Envelope) -> StorageOp {
    StorageOp::Merge { envelope, place: Place::Replica, how: MergeAs::Repair }
}

pub(crate) fn load(key: Key) -> StorageOp {
    StorageOp::Load { key, place: Place::Replica }
}

pub(crate) fn scan_all(limit: u32) -> StorageOp {
    StorageOp::Scan { from: Key::from_bytes([0; 32]), to: Key::from_bytes([0xff; 32]), limit }
}

/// The envelopes that a reply carries.
pub(crate) fn loaded(reply: &StorageReply) -> &[Envelope] {
    match reply {
        StorageReply::Loaded { envelopes } => envelopes,
        other => panic!("expected envelopes, got {other:?}"),
    }
}
