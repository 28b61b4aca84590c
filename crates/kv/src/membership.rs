//! Whether the writers of envelopes are members: the certificates that envelopes name, and what was revoked.
//!
//! An envelope carries the hash of the certificate that its writer had. The certificate must be signed by the
//! network's authority, belong to the writer, and have been valid at the time of the envelope's dot. No clock
//! is read for that, so all replicas decide alike, also long after the certificate has expired.
//!
//! A certificate is kept as long as it may be needed, durably if an envelope that is stored here names it, and
//! it is given to nodes that ask for it by its hash. Most certificates come with the records of members, before
//! any envelope names them; their signatures are checked when one does.
//!
//! **Invariants:** certificates are bounded in all and for each member; without an authority every writer is a
//! member.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use potluck_base::{LruMap, NetworkId, NodeId, PublicKey, UnixMillis};
use potluck_record::limits::CLOCK_AHEAD_MAX;
use potluck_record::{CertificateHash, SignedHead};
use potluck_wire::{Certificate, Revoked};

use crate::spread::Origin;

/// Most certificates that are known. Raising it costs about 700 bytes of memory each. A guess at more than the
/// writers and members that one node meets in a year.
pub(crate) const KNOWN_MAX: usize = 32_768;
/// Most certificates of one member. Beyond, the one that expires first gives way, and envelopes that name it
/// spread no further. A member renews its certificate at half its life, so this is far more than a year needs,
/// except for members whose certificates last hours. Raising it lets one member take more of [`KNOWN_MAX`].
const OF_MEMBER_MAX: usize = 128;
/// Most revocations that are known; more than the link keeps at a time.
const REVOKED_MAX: usize = 8192;
/// Members that showed their certificates, of which the tickets are remembered. Raising it costs 100 bytes of
/// memory each.
const SHOWN_MAX: usize = 8192;
/// Envelopes of excluded writers of which one holder told, while another one is awaited.
const VOUCHED_MAX: usize = 1024;

/// What is to be thought of an envelope's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was a member when it wrote.
    Member,
    /// The certificate that it names is not known here.
    Unknown(CertificateHash),
    /// It names no certificate, or one that does not show it was a member then.
    Stranger,
    /// It was put out of the network.
    Excluded,
}

/// What a certificate says, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terms {
    subject: PublicKey,
    issued: UnixMillis,
    expires: UnixMillis,
    ticket: Option<PublicKey>,
}

/// How far a certificate has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Its signature has not been checked.
    Unread,
    /// It is not signed by the authority.
    Bad,
    Good(Terms),
}

#[derive(Debug, Clone)]
struct Known {
    bytes: Bytes,
    reading: Reading,
    /// Whether it is on the disk.
    kept: bool,
}

/// Changes to the certificates on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ToKeep {
    pub(crate) keep: Vec<Bytes>,
    pub(crate) drop: Vec<CertificateHash>,
}

/// What is known of members; see the module.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    network: NetworkId,
    authority: Option<PublicKey>,
    known: LruMap<CertificateHash, Known>,
    /// Certificates that were read, by their subjects.
    of_member: BTreeMap<PublicKey, BTreeSet<(UnixMillis, CertificateHash)>>,
    /// Members whose records came, with the names of their certificates.
    heard_of: LruMap<PublicKey, CertificateHash>,
    /// How members came that showed their certificates to this node.
    shown: LruMap<PublicKey, Origin>,
    revoked: BTreeSet<Revoked>,
    vouched: LruMap<[u8; 32], NodeId>,
    /// Names this node's own certificate.
    own: Option<CertificateHash>,
    changes: ToKeep,
}

impl Membership {
    pub(crate) fn new(network: NetworkId) -> Self {
        Self {
            network,
            authority: None,
            known: LruMap::new(KNOWN_MAX),
            of_member: BTreeMap::new(),
            heard_of: LruMap::new(KNOWN_MAX),
            shown: LruMap::new(SHOWN_MAX),
            revoked: BTreeSet::new(),
            vouched: LruMap::new(VOUCHED_MAX),
            own: None,
            changes: ToKeep::default(),
        }
    }

    /// This node's own certificate from now on.
    pub(crate) fn set_own(&mut self, bytes: Bytes) {
        self.own = Some(CertificateHash::of(&bytes));
        self.hear(bytes, false);
    }

    /// Names this node's own certificate, if it has one.
    pub(crate) const fn own(&self) -> Option<CertificateHash> {
        self.own
    }

    /// From now on writers must have certificates of this authority.
    pub(crate) fn require(&mut self, authority: PublicKey) {
        self.authority = Some(authority);
    }

    pub(crate) const fn is_required(&self) -> bool {
        self.authority.is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// A member, or all that a ticket let in, is out.
    pub(crate) fn revoke(&mut self, subject: Revoked) {
        if self.revoked.len() < REVOKED_MAX {
            self.revoked.insert(subject);
        }
    }

    /// Takes a certificate. With `kept` it is on the disk.
    fn hear(&mut self, bytes: Bytes, kept: bool) {
        let hash = CertificateHash::of(&bytes);
        if let Some(known) = self.known.get_mut(&hash) {
            known.kept |= kept;
            return;
        }
        let gone = self.known.insert(hash, Known { bytes, reading: Reading::Unread, kept });
        if let Some((hash, known)) = gone {
            self.forget(hash, &known);
        }
    }

    /// Takes certificates that another node sent, if `wanted` names them. The first one that the authority did
    /// not sign ends it. Returns whether there was none such.
    pub(crate) fn learn(&mut self, sent: &[Bytes], wanted: &BTreeSet<CertificateHash>) -> bool {
        for bytes in sent {
            let hash = CertificateHash::of(bytes);
            if !wanted.contains(&hash) || self.known.peek(&hash).is_some() {
                continue;
            }
            let read = self.authority.map(|key| Certificate::read(bytes, &key, &self.network));
            let Some(Ok(_)) = read else { return false };
            self.hear(bytes.clone(), false);
        }
        true
    }

    /// The signed bytes of a certificate.
    pub(crate) fn bytes_of(&self, hash: &CertificateHash) -> Option<&Bytes> {
        self.known.peek(hash).map(|known| &known.bytes)
    }

    /// What is to be thought of the writer of `head`. Costs a check of a signature the first time that an
    /// envelope names a certificate.
    pub(crate) fn standing(&mut self, head: &SignedHead) -> Standing {
        if self.authority.is_none() {
            return Standing::Member;
        }
        let Some(hash) = head.certificate() else { return Standing::Stranger };
        if self.known.get_mut(&hash).is_none() {
            return Standing::Unknown(hash);
        }
        let Some(terms) = self.terms(&hash) else { return Standing::Stranger };
        let at = head.dot().millis();
        let slack = CLOCK_AHEAD_MAX.as_millis() as u64;
        let spans = terms.issued.0 <= at.0.saturating_add(slack)
            && at.0 <= terms.expires.0.saturating_add(slack);
        if terms.subject != head.writer() || !spans {
            return Standing::Stranger;
        }
        if self.is_out(&terms) { Standing::Excluded } else { Standing::Member }
    }

    /// Whether the certificate that `head` names is valid at `now`.
    pub(crate) fn is_valid(&mut self, head: &SignedHead, now: UnixMillis) -> bool {
        let terms = head.certificate().and_then(|hash| self.terms(&hash));
        terms.is_some_and(|terms| now < terms.expires)
    }

    /// Whether a certificate of this key was ever met.
    pub(crate) fn knows(&self, member: &PublicKey) -> bool {
        self.of_member.contains_key(member) || self.heard_of.peek(member).is_some()
    }

    /// Takes the certificate in a member's record, which was checked.
    pub(crate) fn hear_of(&mut self, member: PublicKey, bytes: Bytes) {
        self.heard_of.insert(member, CertificateHash::of(&bytes));
        self.hear(bytes, false);
    }

    /// A member showed its certificate to this node, which named this ticket.
    pub(crate) fn show(&mut self, member: PublicKey, ticket: Option<PublicKey>) {
        self.shown.insert(member, ticket.map_or(Origin::Direct, Origin::Ticket));
    }

    /// How a member came into the network. Costs a check of a signature the first time, if the member did not
    /// show its certificate here.
    pub(crate) fn origin_of(&mut self, member: &PublicKey) -> Origin {
        if let Some(origin) = self.shown.peek(member) {
            return *origin;
        }
        let terms = self.heard_of.peek(member).copied().and_then(|hash| self.terms(&hash));
        match terms.filter(|terms| terms.subject == *member) {
            Some(terms) => terms.ticket.map_or(Origin::Direct, Origin::Ticket),
            None => Origin::Unknown,
        }
    }

    /// Takes a certificate from this node's disk.
    pub(crate) fn recall(&mut self, bytes: Bytes) {
        let hash = CertificateHash::of(&bytes);
        self.hear(bytes, true);
        self.terms(&hash);
    }

    fn is_out(&self, terms: &Terms) -> bool {
        self.revoked.contains(&Revoked::Member(terms.subject))
            || terms.ticket.is_some_and(|ticket| self.revoked.contains(&Revoked::Ticket(ticket)))
    }

    /// What a certificate says, if the authority signed it.
    fn terms(&mut self, hash: &CertificateHash) -> Option<Terms> {
        let authority = self.authority?;
        let known = self.known.get_mut(hash)?;
        match known.reading {
            Reading::Good(terms) => Some(terms),
            Reading::Bad => None,
            Reading::Unread => {
                let read = Certificate::read(&known.bytes, &authority, &self.network);
                let Ok(Certificate { subject, issued, expires, ticket, .. }) = read else {
                    known.reading = Reading::Bad;
                    return None;
                };
                let terms = Terms { subject, issued, expires, ticket };
                known.reading = Reading::Good(terms);
                self.index(*hash, &terms);
                Some(terms)
            }
        }
    }

    fn index(&mut self, hash: CertificateHash, terms: &Terms) {
        let all = self.of_member.entry(terms.subject).or_default();
        all.insert((terms.expires, hash));
        if all.len() > OF_MEMBER_MAX
            && let Some((_, first)) = all.pop_first()
            && let Some(known) = self.known.remove(&first)
        {
            self.forget(first, &known);
        }
    }

    fn forget(&mut self, hash: CertificateHash, known: &Known) {
        if let Reading::Good(terms) = known.reading
            && let Some(all) = self.of_member.get_mut(&terms.subject)
        {
            all.remove(&(terms.expires, hash));
            if all.is_empty() {
                self.of_member.remove(&terms.subject);
            }
        }
        if known.kept {
            self.changes.drop.push(hash);
        }
    }

    /// An envelope with this certificate is stored here: it is to be on the disk.
    pub(crate) fn keep(&mut self, hash: &CertificateHash) {
        if let Some(known) = self.known.get_mut(hash)
            && !std::mem::replace(&mut known.kept, true)
        {
            self.changes.keep.push(known.bytes.clone());
        }
    }

    /// What has to be changed on the disk; `None` if nothing has.
    pub(crate) fn take_changes(&mut self) -> Option<ToKeep> {
        let changes = std::mem::take(&mut self.changes);
        (changes != ToKeep::default()).then_some(changes)
    }

    /// A holder told of an envelope of an excluded writer. Returns whether another holder did before: such an
    /// envelope is taken only then, or a member could go on writing for one that was put out.
    pub(crate) fn vouch(&mut self, head: &SignedHead, holder: NodeId) -> bool {
        let digest = *head.digest();
        match self.vouched.get_mut(&digest) {
            Some(first) => *first != holder,
            None => {
                self.vouched.insert(digest, holder);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
