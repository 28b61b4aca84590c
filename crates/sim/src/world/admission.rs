//! An `invite` network in the world: certificates, gatekeepers and revocations. The world is the issuer: it
//! signs with the clock of the issuing node.

use std::collections::BTreeSet;

use bytes::Bytes;
use potluck_base::{Identity, PublicKey, UnixMillis};
use potluck_dht::EntryPoint;
use potluck_link::Gatekeeper;
use potluck_node::{Command, CommandId};
use potluck_wire::{Certificate, NetworkSettings, Revocation, Revoked};

use crate::sim_node::NodeIndex;
use crate::world::World;
use crate::world::open::Solves;
use crate::world::shard::Local;
use crate::world::shared::Shared;

/// Life of a certificate: a year.
const LIFE_MS: u64 = 365 * 24 * 60 * 60 * 1000;
/// Certificates of hostile members are numbered from here on, above those of all nodes.
const HOSTILE_SERIALS: u64 = 1 << 40;

/// The admission data of a node.
#[derive(Debug, Default)]
pub(crate) struct Papers {
    pub(crate) certificate: Option<Bytes>,
    pub(crate) revocations: Vec<Bytes>,
    pub(crate) settings: Option<Bytes>,
    /// The puzzles that it solves, in an `open` network.
    pub(crate) solves: Solves,
    /// Revoked members, whose calls are refused.
    pub(crate) expelled: BTreeSet<PublicKey>,
}

impl Papers {
    pub(crate) fn expel(&mut self, member: PublicKey) {
        self.expelled.insert(member);
    }

    pub(crate) fn has_expelled(&self, member: &PublicKey) -> bool {
        self.expelled.contains(member)
    }
}

/// The authority of the world with this seed.
pub(crate) fn authority(seed: u64) -> Identity {
    let mut bytes = [0xa0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Identity::from_seed(bytes)
}

impl Local<'_> {
    /// The gatekeeper of a node, in an `invite` network. A node without a certificate gets one first, signed
    /// with its own clock and without a ticket.
    pub(crate) fn gatekeeper(&mut self, index: NodeIndex) -> Option<Gatekeeper> {
        let key = self.shared.authority.as_ref()?.public_key();
        let now = self.shard.now;
        let node = &mut self.shard.nodes[index];
        if node.papers.certificate.is_none() {
            let issued = node.wall_clock(Shared::wall_clock(now));
            let subject = node.peer.contact.public_key;
            node.papers.certificate =
                certificate(self.shared, issued, index.get() as u64, subject, None);
        }
        let (certificate, revocations) =
            (node.papers.certificate.clone(), node.papers.revocations.clone());
        let door = Gatekeeper::new(self.shared.network_id, key, certificate, revocations);
        Some(door.with_revocations_max(self.shared.config.revocations_max))
    }
}

impl World {
    /// Adds a node that `issuer` admits with `ticket`, with the current clock of `issuer`, and starts it.
    pub fn admit(
        &mut self,
        issuer: NodeIndex,
        ticket: PublicKey,
        entries: Vec<EntryPoint>,
    ) -> NodeIndex {
        let index = self.add(entries);
        let issued = self.node(issuer).wall_clock(self.wall_clock());
        let subject = self.node(index).peer.contact.public_key;
        let certificate =
            certificate(&self.shared, issued, index.get() as u64, subject, Some(ticket));
        self.shard_of(index).nodes[index].papers.certificate = certificate;
        self.start(index);
        index
    }

    /// The node `at`, which holds the authority key, revokes a member or a ticket.
    ///
    /// # Panics
    /// If the world's network is not an `invite` network.
    pub fn revoke(&mut self, at: NodeIndex, subject: Revoked) -> CommandId {
        let now = self.node(at).wall_clock(self.wall_clock());
        let authority = self.shared.authority.as_ref().expect("an invite network has an authority");
        let bytes = Revocation { subject, at: now }.sign(authority, &self.shared.network_id);
        self.note(format!("{at} revokes {subject:?}"));
        self.command(at, Command::Revoke(bytes))
    }
}

impl World {
    /// The node `at`, which holds the authority key, signs settings of the network.
    ///
    /// # Panics
    /// If the world's network is not an `invite` network, or the settings contradict each other.
    pub fn set_settings(&mut self, at: NodeIndex, settings: &NetworkSettings) -> CommandId {
        let authority = self.shared.authority.as_ref().expect("an invite network has an authority");
        let bytes = settings.sign(authority, &self.shared.network_id).expect("settings that agree");
        self.note(format!("{at} sets {settings:?}"));
        self.command(at, Command::TakeSettings(bytes))
    }
}

/// The authority's key and its certificate for a hostile member. `None` outside of `invite` networks.
pub(super) fn paper(
    shared: &Shared,
    issued: UnixMillis,
    member: &Identity,
    ticket: Option<PublicKey>,
) -> Option<(PublicKey, Bytes)> {
    let authority = shared.authority.as_ref()?.public_key();
    let serial = HOSTILE_SERIALS + shared.hostiles.len() as u64;
    let certificate = certificate(shared, issued, serial, member.public_key(), ticket)?;
    Some((authority, certificate))
}

/// The certificate of the world's authority for a node. `None` outside of `invite` networks.
fn certificate(
    shared: &Shared,
    issued: UnixMillis,
    serial: u64,
    subject: PublicKey,
    ticket: Option<PublicKey>,
) -> Option<Bytes> {
    let certificate = Certificate {
        subject,
        labels: Vec::new(),
        serial,
        issued,
        expires: UnixMillis(issued.0 + LIFE_MS),
        ephemeral: false,
        salt: None,
        ticket,
    };
    certificate.sign(shared.authority.as_ref()?, &shared.network_id)
}
