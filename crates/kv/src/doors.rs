//! The doors through which envelopes of other nodes come in: stores, pulls and answers. At each one the writer
//! must be a member.
//!
//! | door | a writer's certificate must | a writer that was put out |
//! |---|---|---|
//! | store by the writer | have been valid at the envelope's dot; the link has admitted the sender now | refused |
//! | store by another node (read repair) | be valid now, too | refused |
//! | pull, answer to a read | have been valid at the envelope's dot | taken if two holders have the envelope |
//!
//! In networks without certificates a key is free, so the sender counts: what a node stores for another one
//! gets half of the writers' places at most, and records of providers are stored by their writers alone.

use std::collections::BTreeSet;

use bytes::Bytes;
use potluck_base::{Instant, NodeId, PublicKey};
use potluck_record::{CertificateHash, HasHead, SignedHead, Space, StorageOp, StorageReply};
use potluck_wire::limits::CERTIFICATES_MAX;
use potluck_wire::{Load, Refusal, Request};

use crate::answer::Part;
use crate::core::{Core, OpPurpose};
use crate::event::Output;
use crate::membership::{Standing, ToKeep};

/// Certificates that one scan of the disk returns at the start.
const SCANNED: u32 = 1024;

/// Writers in the context of an envelope that a node stores, of whom this node never heard. Members that left
/// long ago may be among them. Raising it lets one member invent more; lowering it refuses honest merges at
/// nodes that know few members. A guess.
const STRANGERS_IN_CONTEXT: usize = 32;

/// A request for certificates.
pub(crate) fn ask_for(hashes: Vec<CertificateHash>) -> Request {
    Request::Load(Load { keys: Vec::new(), after: None, certificates: hashes })
}

impl Core {
    /// What is to be thought of an envelope's writer.
    pub(crate) fn standing(&mut self, head: &SignedHead) -> Standing {
        if self.config.defences.member_writers {
            self.membership.standing(head)
        } else {
            Standing::Member
        }
    }

    /// Most writers of the key of `head` where `sender` stores it, or why it may not.
    pub(crate) fn admit_writer(
        &mut self,
        now: Instant,
        head: &SignedHead,
        sender: &PublicKey,
    ) -> Result<u16, Refusal> {
        let places = self.writers_for(head);
        if !self.config.defences.member_writers {
            return Ok(places);
        }
        match self.membership.standing(head) {
            Standing::Member => {}
            Standing::Unknown(_) => return Err(Refusal::CertificateNeeded),
            Standing::Stranger => {
                self.stats.refused_not_member += 1;
                return Err(Refusal::NotMember);
            }
            Standing::Excluded => {
                self.stats.refused_revoked += 1;
                return Err(Refusal::NotMember);
            }
        }
        if self.names_strangers(head) {
            self.stats.contexts_refused += 1;
            return Err(Refusal::BadEnvelope);
        }
        if head.writer() == *sender {
            return Ok(places);
        }
        let wall = self.wall(now);
        let is_member = self.membership.is_required();
        if head.space() == Space::Provider || is_member && !self.membership.is_valid(head, wall) {
            self.stats.refused_not_sender += 1;
            return Err(Refusal::NotMember);
        }
        Ok(if is_member { places } else { (places / 2).max(1) })
    }

    /// Whether the context of a head names more writers of whom this node never heard than an honest one does. A
    /// merge of many invented writers raises the floor of the context above what others have written.
    fn names_strangers(&self, head: &SignedHead) -> bool {
        let context = head.context();
        let unknown = context.iter().filter(|(writer, _)| !self.membership.knows(writer)).count();
        self.membership.is_required() && unknown > STRANGERS_IN_CONTEXT
    }

    /// Whether an envelope that `holder` has may be copied from it.
    pub(crate) fn takes_copy(&mut self, head: &SignedHead, holder: NodeId) -> bool {
        match self.standing(head) {
            Standing::Member => true,
            Standing::Excluded => {
                let vouched = self.membership.vouch(head, holder);
                self.stats.refused_revoked += u64::from(!vouched);
                vouched
            }
            Standing::Unknown(_) | Standing::Stranger => {
                self.stats.refused_not_member += 1;
                false
            }
        }
    }

    /// The certificates that envelopes or heads name and this node lacks, as many as one request asks for.
    pub(crate) fn lacking<E: Part>(&mut self, parts: &[Bytes]) -> Vec<CertificateHash> {
        if !self.membership.is_required() || !self.config.defences.member_writers {
            return Vec::new();
        }
        let mut lacking = BTreeSet::new();
        for part in parts {
            if let Some(part) = E::decode(part)
                && let Standing::Unknown(hash) = self.membership.standing(part.signed_head())
            {
                lacking.insert(hash);
            }
        }
        lacking.into_iter().take(CERTIFICATES_MAX).collect()
    }

    /// Takes certificates that another node sent because `wanted` was asked for, or named by envelopes beside
    /// them.
    pub(crate) fn learn(
        &mut self,
        sent: &[Bytes],
        wanted: impl IntoIterator<Item = CertificateHash>,
    ) {
        if !sent.is_empty() && !self.membership.learn(sent, &wanted.into_iter().collect()) {
            self.stats.answers_bad += 1;
        }
    }

    /// The certificates of the writers of these heads, as far as they are known here.
    pub(crate) fn certificates_of<'a, E: HasHead + 'a>(
        &self,
        envelopes: impl IntoIterator<Item = &'a E>,
    ) -> Vec<Bytes> {
        let hashes = envelopes.into_iter().filter_map(|one| one.signed_head().certificate());
        self.certificates(hashes.collect::<BTreeSet<_>>())
    }

    /// The certificates with these hashes, as far as they are known here.
    pub(crate) fn certificates(
        &self,
        hashes: impl IntoIterator<Item = CertificateHash>,
    ) -> Vec<Bytes> {
        let found = hashes.into_iter().filter_map(|hash| self.membership.bytes_of(&hash).cloned());
        found.take(CERTIFICATES_MAX).collect()
    }

    /// Reads a page of the certificates on the disk.
    pub(crate) fn scan_certificates(&mut self, after: Option<CertificateHash>) {
        let op = StorageOp::ScanCertificates { after, limit: SCANNED };
        self.storage(op, OpPurpose::CertificateScan);
    }

    /// Takes a page of the certificates on the disk.
    pub(crate) fn on_certificates(&mut self, reply: StorageReply) {
        if let StorageReply::Certificates { certificates, next } = reply {
            for bytes in certificates {
                self.membership.recall(bytes);
            }
            if next.is_some() {
                self.scan_certificates(next);
            }
        }
    }

    /// Brings the certificates on the disk up to date, before the envelope that is stored next.
    pub(crate) fn keep_certificate(&mut self, head: &SignedHead) {
        if let Some(hash) = head.certificate() {
            self.membership.keep(&hash);
        }
        if let Some(ToKeep { keep, drop }) = self.membership.take_changes() {
            let op = StorageOp::KeepCertificates { keep, drop };
            let id = self.note_op(OpPurpose::CertificatesKept);
            self.outbox.push_back(Output::Storage { id, op });
        }
    }
}
