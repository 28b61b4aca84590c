//! This node's own record and its signature.

use std::net::SocketAddr;

use bytes::Bytes;
use potluck_base::{
    Address, Identity, Instant, LocalAddress, NetworkId, PublicKey, Rate, TokenBucket, is_dialable,
    nearest_first,
};
use potluck_wire::{MemberRecord, MemberResponse, Proof, Reach, RecordVersion, Response, Software};

use super::config::MembersStart;
use crate::view::{MemberState, MemberView};

/// The build that this node names in its record: at most 32 bytes.
const BUILD: &str = concat!("potluck ", env!("CARGO_PKG_VERSION"));
/// Refutations of this node: repeated suspicion must not make it announce without end.
const REFUTATIONS: Rate = Rate::new(1, 5);

/// This node's own record.
#[derive(Debug)]
pub(super) struct OwnRecord {
    pub(super) identity: Identity,
    pub(super) network: NetworkId,
    pub(super) record: MemberRecord,
    /// The record with its signature.
    pub(super) signed: Bytes,
    /// The addresses of this node's interfaces, which tell which peers are near.
    local: Vec<LocalAddress>,
    leaving: bool,
    /// Whether all members have its first version already.
    pub(super) known: bool,
    refutations: TokenBucket,
}

impl OwnRecord {
    pub(super) fn new(start: MembersStart) -> Self {
        let MembersStart { identity, network, contact, incarnation, labels, client } = start;
        let record = MemberRecord {
            contact,
            version: RecordVersion { incarnation, revision: 0 },
            left: false,
            client,
            labels,
            certificate: None,
            more: Vec::new(),
            software: Software { build: BUILD.to_owned(), ..Software::default() },
            reach: Reach::Unknown,
            settings: 0,
        };
        Self {
            signed: record.sign(&identity, &network),
            identity,
            network,
            record,
            local: vec![contact.address.into()],
            leaving: false,
            known: false,
            refutations: REFUTATIONS.bucket(),
        }
    }

    pub(super) const fn key(&self) -> PublicKey {
        self.record.contact.public_key
    }

    pub(super) const fn version(&self) -> RecordVersion {
        self.record.version
    }

    /// Whether this node is a client only: then it is not listed.
    pub(super) const fn is_client(&self) -> bool {
        self.record.client
    }

    /// The signed record, unless this node is not listed.
    pub(super) fn listed(&self) -> Option<&Bytes> {
        (!self.record.client).then_some(&self.signed)
    }

    /// This node as the application sees it, unless it is not listed.
    pub(super) fn view(&self) -> Option<MemberView> {
        (!self.record.client).then(|| MemberView {
            peer: self.record.contact.in_network(&self.network),
            state: MemberState::Alive,
            incarnation: self.record.version.incarnation,
            labels: self.record.labels.clone(),
            software: Some(self.record.software.clone()),
        })
    }

    fn sign(&mut self) {
        self.signed = self.record.sign(&self.identity, &self.network);
    }

    /// Takes the next version.
    pub(super) fn renew(&mut self) {
        self.record.version = next_version(self.record.version);
        self.sign();
    }

    /// Another machine signed this version with this node's key. The next version of this node is newer.
    pub(super) fn outbid(&mut self, version: RecordVersion) {
        self.record.version = next_incarnation(version);
    }

    /// Whether this node may refute now: it did not do so too often lately.
    pub(super) fn may_refute(&mut self, now: Instant) -> bool {
        self.refutations.take(now, 1)
    }

    /// Carries this certificate before the first announcement.
    pub(super) fn start_with(&mut self, certificate: Option<Bytes>) {
        self.record.certificate = certificate;
        self.sign();
    }

    /// Names these settings of the network from the next version on; in the first version, if it has
    /// not been announced.
    pub(super) fn set_settings(&mut self, sequence: u64, unannounced: bool) {
        self.record.settings = sequence;
        if unannounced {
            self.sign();
        }
    }

    /// Carries this certificate from the next version on.
    pub(super) fn set_certificate(&mut self, certificate: Bytes) {
        self.record.certificate = Some(certificate);
    }

    /// The addresses of this node's interfaces.
    pub(super) fn set_local(&mut self, local: Vec<LocalAddress>) {
        self.local = local;
    }

    /// The addresses at which others reach this node, the preferred one first. False if they are
    /// the same as before.
    pub(super) fn set_addresses(&mut self, ways: &[SocketAddr]) -> bool {
        let [first, more @ ..] = ways else { return false };
        let more: Vec<Address> = more.iter().copied().map(Address::from).collect();
        let record = &mut self.record;
        let changed = (record.contact.address, &record.more) != (*first, &more);
        if changed {
            (record.contact.address, record.more) = (*first, more);
        }
        changed
    }

    /// The address in another record that seems nearest.
    pub(super) fn nearest(&self, record: &MemberRecord) -> SocketAddr {
        let ways = nearest_first(&self.local, ways_of(record));
        ways.first().copied().unwrap_or(record.contact.address)
    }

    /// The next version is the last of this incarnation.
    pub(super) const fn leave(&mut self) {
        self.leaving = true;
        self.record.left = true;
    }

    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// The proof for `asker` that this node is alive.
    pub(super) fn prove(&self, asker: &PublicKey, nonce: u64) -> Response {
        let proof = Proof::sign(&self.identity, &self.network, asker, nonce, self.record.version);
        let Proof { version, signature } = proof;
        Response::Member(MemberResponse::Proof { version, signature })
    }
}

/// The version after this one in the same incarnation; at the last revision, the first of the next
/// incarnation. The very last version stays the last: its subject is then known to be alive from
/// its traffic, not from its record.
pub(super) fn next_version(version: RecordVersion) -> RecordVersion {
    match version.revision.checked_add(1) {
        Some(revision) => RecordVersion { revision, ..version },
        None => next_incarnation(version),
    }
}

/// The first version of the next incarnation; in the last incarnation, the next revision.
pub(super) fn next_incarnation(version: RecordVersion) -> RecordVersion {
    match version.incarnation.checked_add(1) {
        Some(incarnation) => RecordVersion { incarnation, revision: 0 },
        None => RecordVersion { revision: version.revision.saturating_add(1), ..version },
    }
}

/// The direct addresses in a record, the preferred one first.
pub(super) fn ways_of(record: &MemberRecord) -> Vec<SocketAddr> {
    let more = record.more.iter().filter(|way| way.via.is_none()).map(|way| way.socket);
    [record.contact.address].into_iter().chain(more).filter(is_dialable).collect()
}
