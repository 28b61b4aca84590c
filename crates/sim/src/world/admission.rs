//! An `invite` network in the world: certificates, doors and revocations. The world is the issuer:
//! it signs under the clock of the node that issues.

use std::collections::BTreeSet;

use bytes::Bytes;
use potluck_base::{Identity, PublicKey};
use potluck_dht::EntryPoint;
use potluck_link::Gatekeeper;
use potluck_node::{Command, CommandId};
use potluck_wire::{Certificate, Revocation, Revoked};

use crate::sim_node::NodeIndex;
use crate::world::World;

/// Life of a certificate: a year.
const LIFE_MS: u64 = 365 * 24 * 60 * 60 * 1000;

/// What a node keeps of its admission.
#[derive(Debug, Default)]
pub(crate) struct Papers {
    pub(crate) certificate: Option<Bytes>,
    pub(crate) revocations: Vec<Bytes>,
    /// Members that were put out: no call of theirs is taken.
    expelled: BTreeSet<PublicKey>,
}

impl Papers {
    pub(crate) fn expel(&mut self, member: PublicKey) {
        self.expelled.insert(member);
    }

    pub(crate) fn has_expelled(&self, member: &PublicKey) -> bool {
        self.expelled.contains(member)
    }
}

/// The authority of the world of this seed.
pub(crate) fn authority(seed: u64) -> Identity {
    let mut bytes = [0xa0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Identity::from_seed(bytes)
}

impl World {
    /// The door of a node, in an `invite` network. A node without a certificate gets one first, of
    /// its own clock and by no ticket.
    pub(crate) fn gatekeeper(&mut self, index: NodeIndex) -> Option<Gatekeeper> {
        let key = self.authority.as_ref()?.public_key();
        if self.nodes[index.get()].papers.certificate.is_none() {
            self.certify(index, index, None);
        }
        let papers = &self.nodes[index.get()].papers;
        let (certificate, revocations) = (papers.certificate.clone(), papers.revocations.clone());
        let door = Gatekeeper::new(self.network_id, key, certificate, revocations);
        Some(door.with_revocations_max(self.config.revocations_max))
    }

    /// Adds a node that `issuer` lets in by `ticket`, under the clock that `issuer` shows now, and
    /// starts it.
    pub fn admit(
        &mut self,
        issuer: NodeIndex,
        ticket: PublicKey,
        entries: Vec<EntryPoint>,
    ) -> NodeIndex {
        let index = self.add(entries);
        self.certify(issuer, index, Some(ticket));
        self.start(index);
        index
    }

    fn certify(&mut self, issuer: NodeIndex, subject: NodeIndex, ticket: Option<PublicKey>) {
        let Some(authority) = &self.authority else { return };
        let issued = self.nodes[issuer.get()].wall_clock(self.wall_clock());
        let certificate = Certificate {
            subject: self.nodes[subject.get()].peer.contact.public_key,
            labels: Vec::new(),
            serial: subject.get() as u64,
            issued,
            expires: potluck_base::UnixMillis(issued.0 + LIFE_MS),
            ephemeral: false,
            salt: None,
            ticket,
        };
        let bytes = certificate.sign(authority, &self.network_id);
        self.nodes[subject.get()].papers.certificate = bytes;
    }

    /// The node `at`, which holds the authority key, puts a member or a ticket out.
    ///
    /// # Panics
    /// If the world's network is not an `invite` network.
    pub fn revoke(&mut self, at: NodeIndex, subject: Revoked) -> CommandId {
        let authority = self.authority.as_ref().expect("an invite network has an authority");
        let now = self.nodes[at.get()].wall_clock(self.wall_clock());
        let bytes = Revocation { subject, at: now }.sign(authority, &self.network_id);
        self.note(format!("{at} revokes {subject:?}"));
        self.command(at, Command::Revoke(bytes))
    }
}
