//! The members that the network's authority admitted and those that it expelled.

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{NetworkId, PublicKey, UnixMillis};
use potluck_wire::{Certificate, MemberRecord, Revocation, Revoked};

/// Revocations remembered: as many as the link's gatekeeper keeps.
pub(super) const REVOKED_MAX: usize = 4096;

/// The authority of the network, if it admits its members, and its revocations.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    authority: Option<PublicKey>,
    known: BTreeMap<Revoked, (UnixMillis, Bytes)>,
}

impl Revocations {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Records must carry a certificate of this authority.
    pub(super) const fn require(&mut self, authority: PublicKey) {
        self.authority = Some(authority);
    }

    pub(super) fn contains(&self, subject: &Revoked) -> bool {
        self.known.contains_key(subject)
    }

    /// Up to `max` of the revocations with their signatures.
    pub(super) fn signed(&self, max: usize) -> Vec<Bytes> {
        self.known.values().map(|(_, bytes)| bytes.clone()).take(max).collect()
    }

    /// Remembers a revocation. To make room, drops revocations that are no longer needed, because every
    /// certificate that they void has expired, and then the oldest one, which will be unneeded first. Returns
    /// true if it dropped that one.
    pub(super) fn add(
        &mut self,
        wall: Option<UnixMillis>,
        Revocation { subject, at }: Revocation,
        bytes: Bytes,
    ) -> bool {
        self.prune(wall);
        if self.known.contains_key(&subject) {
            return false;
        }
        let full = self.known.len() >= REVOKED_MAX;
        if full {
            let oldest =
                self.known.iter().min_by_key(|(_, (at, _))| *at).map(|(subject, _)| *subject);
            oldest.map(|oldest| self.known.remove(&oldest));
        }
        self.known.insert(subject, (at, bytes));
        full
    }

    /// Drops revocations that are no longer needed.
    pub(super) fn prune(&mut self, wall: Option<UnixMillis>) {
        let Some(now) = wall else { return };
        self.known
            .retain(|subject, (at, _)| !Revocation { subject: *subject, at: *at }.is_over(now));
    }

    /// Whether a record's subject was admitted. Outside `invite` networks every node is.
    pub(super) fn admits(
        &self,
        record: &MemberRecord,
        network: &NetworkId,
        wall: Option<UnixMillis>,
    ) -> bool {
        let Some(authority) = &self.authority else { return true };
        let Some(bytes) = &record.certificate else { return false };
        let Ok(certificate) = Certificate::read(bytes, authority, network) else { return false };
        let subject = record.contact.public_key;
        let expired = wall.is_some_and(|now| certificate.expires <= now);
        let ticket = certificate.ticket.map(Revoked::Ticket);
        let revoked = self.contains(&Revoked::Member(subject))
            || ticket.is_some_and(|ticket| self.contains(&ticket));
        let salted = certificate.salt == record.contact.salt;
        certificate.subject == subject && salted && !expired && !revoked
    }

    /// Whether a ticket admitted the subject of a record, by the certificate in it.
    pub(super) fn admitted_by(
        &self,
        record: &MemberRecord,
        ticket: &PublicKey,
        network: &NetworkId,
    ) -> bool {
        let Some((authority, bytes)) = self.authority.as_ref().zip(record.certificate.as_ref())
        else {
            return false;
        };
        let certificate = Certificate::read(bytes, authority, network);
        certificate.is_ok_and(|certificate| certificate.ticket == Some(*ticket))
    }

    /// When this subject was revoked.
    #[cfg(test)]
    pub(super) fn at(&self, subject: &Revoked) -> Option<UnixMillis> {
        self.known.get(subject).map(|(at, _)| *at)
    }
}
