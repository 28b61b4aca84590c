//! Who is admitted in an `invite` network: certificates of the network's authority, less what it
//! revoked.
//!
//! **Invariants:** no node is admitted before the wall clock is known; what is remembered of a
//! certificate holds for the key it was checked for only; the revocations are bounded.
//!
//! A revocation names a member or a ticket and no time: all certificates of that member are void,
//! and all that the ticket gave, whenever they were signed. It is kept until everything that it
//! makes void has expired by itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use potluck_base::{NetworkId, PublicKey, Salt, UnixMillis};
use potluck_wire::{Certificate, Enroll, Revocation, Revoked};

/// Most revocations that are kept; a guess at more than a network of thousands needs in a year.
pub const REVOCATIONS_MAX: usize = 4096;
/// How far ahead of this node's clock a certificate may have been signed, in milliseconds: five
/// minutes, as for records. One from farther ahead would outlive what its authority meant, and says
/// that one of the two clocks is wrong.
pub const ISSUED_AHEAD_MAX_MS: u64 = 5 * 60 * 1000;

/// Why a revocation was not taken over. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// This network has no authority that could revoke.
    #[error("this network has no authority")]
    NoAuthority,
    /// Not signed by the authority, or damaged.
    #[error("the revocation is not of this network's authority")]
    Bad,
    /// All that it makes void has expired by itself.
    #[error("the revocation is over")]
    Over,
    /// [`REVOCATIONS_MAX`] are kept.
    #[error("too many revocations are kept")]
    Full,
}

/// Why the others do not hear a member any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnTrouble {
    /// It was put out of the network.
    Revoked,
    /// Its certificate has expired.
    Expired,
    /// Its certificate is dated over five minutes ahead of its clock: one of the two clocks is wrong.
    FromAhead,
    /// In an `open` network: it has no solution of the puzzle of an epoch that is accepted now.
    Unsolved,
}

/// What is remembered of a certificate that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Of the signed bytes, so that the same ones are not checked again.
    hash: [u8; 32],
    /// From when on it may be valid.
    pub(crate) issued: UnixMillis,
    /// From when on it is void.
    pub(crate) expires: UnixMillis,
    /// What its member's node id is salted with.
    pub(crate) salt: Option<Salt>,
    pub(crate) ticket: Option<PublicKey>,
}

impl Pass {
    /// That of a proof of the puzzles of an `open` network.
    pub(crate) fn of_proof(proof: &[u8], from: UnixMillis, until: UnixMillis) -> Self {
        let hash = *blake3::hash(proof).as_bytes();
        Self { hash, issued: from, expires: until, salt: None, ticket: None }
    }

    /// Whether these are the bytes it was made from.
    pub(crate) fn is_of(&self, certificate: &[u8]) -> bool {
        *blake3::hash(certificate).as_bytes() == self.hash
    }
}

/// The door of an `invite` network.
#[derive(Debug, Clone)]
pub struct Gatekeeper {
    network: NetworkId,
    authority: PublicKey,
    certificate: Option<Bytes>,
    /// Of the node's own certificate.
    salt: Option<Salt>,
    /// Whose the node's own certificate is, and by which ticket it was had.
    own: Option<(PublicKey, Option<PublicKey>)>,
    revocations: BTreeMap<Revoked, (UnixMillis, Bytes)>,
    /// Hashes of the bytes of all that are kept.
    hashes: BTreeSet<[u8; 32]>,
    revocations_max: usize,
    now: Option<UnixMillis>,
}

impl Gatekeeper {
    /// The door of `network`, whose authority is `authority`. `certificate`, the node's own, is
    /// `None` for a newcomer, which can do nothing but enroll. Of the revocations those that do not
    /// hold are left out.
    #[must_use]
    pub fn new(
        network: NetworkId,
        authority: PublicKey,
        certificate: Option<Bytes>,
        revocations: impl IntoIterator<Item = Bytes>,
    ) -> Self {
        let mut gatekeeper = Self {
            network,
            authority,
            certificate: None,
            salt: None,
            own: None,
            revocations: BTreeMap::new(),
            hashes: BTreeSet::new(),
            revocations_max: REVOCATIONS_MAX,
            now: None,
        };
        if let Some(certificate) = certificate {
            gatekeeper.set_certificate(certificate);
        }
        for revocation in revocations {
            // What is damaged on the disk comes back from the others.
            let _ = gatekeeper.admit_revocation(&revocation);
        }
        gatekeeper
    }

    /// The same with room for `most` revocations, at most [`REVOCATIONS_MAX`]. Simulations draw a
    /// small number, so that it is reached.
    #[must_use]
    pub fn with_revocations_max(mut self, most: usize) -> Self {
        self.revocations_max = most.min(REVOCATIONS_MAX);
        self
    }

    /// The time by which certificates expire.
    pub fn set_wall_clock(&mut self, now: UnixMillis) {
        self.now = Some(now);
        let before = self.revocations.len();
        self.revocations
            .retain(|subject, (at, _)| !Revocation { subject: *subject, at: *at }.is_over(now));
        if self.revocations.len() < before {
            let kept = self.revocations.values();
            self.hashes = kept.map(|(_, bytes)| *blake3::hash(bytes).as_bytes()).collect();
        }
    }

    /// The node's own certificate from now on.
    pub fn set_certificate(&mut self, certificate: Bytes) {
        let own = Certificate::read(&certificate, &self.authority, &self.network).ok();
        self.salt = own.as_ref().and_then(|own| own.salt);
        self.own = own.map(|own| (own.subject, own.ticket));
        self.certificate = Some(certificate);
    }

    /// What the node's own id is salted with, as its certificate says.
    #[must_use]
    pub const fn salt(&self) -> Option<Salt> {
        self.salt
    }

    /// The node's own certificate.
    #[must_use]
    pub fn certificate(&self) -> Option<&Bytes> {
        self.certificate.as_ref()
    }

    /// Whether this node, or the ticket that let it in, was put out, as far as it knows.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.own.as_ref().is_some_and(|(own, ticket)| self.is_revoked(own, ticket.as_ref()))
    }

    /// Why the others do not hear this node any more, as far as it knows. Costs a check of a
    /// signature.
    #[must_use]
    pub fn own_trouble(&self) -> Option<OwnTrouble> {
        let own = self.certificate.as_ref()?;
        let own = Certificate::read(own, &self.authority, &self.network).ok()?;
        if self.is_out() {
            Some(OwnTrouble::Revoked)
        } else if self.now.is_some_and(|now| own.expires <= now) {
            Some(OwnTrouble::Expired)
        } else if self.now.is_some_and(|now| is_from_ahead(own.issued, now)) {
            Some(OwnTrouble::FromAhead)
        } else {
            None
        }
    }

    /// The network's authority.
    #[must_use]
    pub const fn authority(&self) -> &PublicKey {
        &self.authority
    }

    /// The revocations that are kept, in the order of subjects.
    pub fn revocations(&self) -> impl Iterator<Item = &Bytes> {
        self.revocations.values().map(|(_, bytes)| bytes)
    }

    /// How many revocations are kept.
    #[must_use]
    pub fn revocations_len(&self) -> usize {
        self.revocations.len()
    }

    /// Takes a revocation over. Gives what is out by it, or `None` if that was known.
    ///
    /// # Errors
    /// [`RevocationError`]
    pub fn admit_revocation(&mut self, bytes: &[u8]) -> Result<Option<Revoked>, RevocationError> {
        let revocation = Revocation::read(bytes, &self.authority, &self.network)
            .map_err(|_| RevocationError::Bad)?;
        if self.now.is_some_and(|now| revocation.is_over(now)) {
            return Err(RevocationError::Over);
        }
        if self.revocations.contains_key(&revocation.subject) {
            return Ok(None);
        }
        if self.revocations.len() >= self.revocations_max {
            return Err(RevocationError::Full);
        }
        let kept = (revocation.at, Bytes::copy_from_slice(bytes));
        self.revocations.insert(revocation.subject, kept);
        self.hashes.insert(*blake3::hash(bytes).as_bytes());
        Ok(Some(revocation.subject))
    }

    /// Whether exactly these bytes are a revocation that is kept, so that they need no check.
    #[must_use]
    pub fn knows_revocation(&self, bytes: &[u8]) -> bool {
        self.hashes.contains(blake3::hash(bytes).as_bytes())
    }

    /// Whether a member, or the ticket that let it in, is out.
    #[must_use]
    pub fn is_revoked(&self, member: &PublicKey, ticket: Option<&PublicKey>) -> bool {
        self.revocations.contains_key(&Revoked::Member(*member))
            || ticket.is_some_and(|ticket| self.is_cancelled(ticket))
    }

    /// Whether a ticket is out.
    #[must_use]
    pub fn is_cancelled(&self, ticket: &PublicKey) -> bool {
        self.revocations.contains_key(&Revoked::Ticket(*ticket))
    }

    /// Whether these are the signed bytes of a certificate of `member` that holds now.
    #[must_use]
    pub fn admits(&self, member: &PublicKey, certificate: &[u8]) -> bool {
        self.check(member, certificate).is_some()
    }

    /// Checks a certificate that `sender` shows. Costs a check of a signature.
    pub(crate) fn check(&self, sender: &PublicKey, bytes: &[u8]) -> Option<Pass> {
        let certificate = Certificate::read(bytes, &self.authority, &self.network).ok()?;
        let Certificate { subject, issued, expires, salt, ticket, .. } = certificate;
        let pass = Pass { hash: *blake3::hash(bytes).as_bytes(), issued, expires, salt, ticket };
        (subject == *sender && self.holds(sender, &pass)).then_some(pass)
    }

    /// Whether a certificate of `sender` that was checked holds still.
    pub(crate) fn holds(&self, sender: &PublicKey, pass: &Pass) -> bool {
        self.now.is_some_and(|now| now < pass.expires && !is_from_ahead(pass.issued, now))
            && !self.is_revoked(sender, pass.ticket.as_ref())
    }

    /// Whether `sender` has a ticket that may still let it in. Costs two checks of signatures. That the
    /// ticket was cancelled is for the issuer to say, or its holder would take the silence for an
    /// issuer that is away.
    pub(crate) fn may_enroll(&self, sender: &PublicKey, enroll: &Enroll) -> bool {
        let grant = enroll.grant_for(sender, &self.authority, &self.network);
        grant.is_ok_and(|grant| {
            self.now.is_some_and(|now| now < grant.expires) && !self.is_revoked(sender, None)
        })
    }
}

/// Whether what was signed at `issued` is dated farther ahead than clocks may differ.
fn is_from_ahead(issued: UnixMillis, now: UnixMillis) -> bool {
    issued.0 > now.0.saturating_add(ISSUED_AHEAD_MAX_MS)
}

#[cfg(test)]
mod tests {
    use potluck_base::{Admission, Identity};
    use potluck_wire::limits::CERTIFICATE_LIFE_MAX_MS;
    use potluck_wire::{GrantTerms, Ticket};

    use super::*;

    fn authority() -> Identity {
        Identity::from_seed([1; 32])
    }

    fn network() -> NetworkId {
        NetworkId::new("home", Admission::Invite, Some(&authority().public_key()))
    }

    fn gatekeeper() -> Gatekeeper {
        Gatekeeper::new(network(), authority().public_key(), None, [])
    }

    fn key(number: u32) -> PublicKey {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        PublicKey::from_bytes(bytes)
    }

    fn revocation(number: u32, at: u64) -> Bytes {
        let subject = Revoked::Member(key(number));
        Revocation { subject, at: UnixMillis(at) }.sign(&authority(), &network())
    }

    fn certificate(number: u32, issued: u64, expires: u64) -> Bytes {
        let certificate = Certificate {
            subject: key(number),
            labels: Vec::new(),
            serial: 1,
            issued: UnixMillis(issued),
            expires: UnixMillis(expires),
            ephemeral: false,
            salt: None,
            ticket: Some(key(77)),
        };
        certificate.sign(&authority(), &network()).expect("small")
    }

    #[test]
    fn nobody_is_admitted_before_the_time_is_known_and_nobody_after_expiry() {
        let mut door = gatekeeper();
        let bytes = certificate(1, 10, 20);
        assert_eq!(door.check(&key(1), &bytes), None);
        door.set_wall_clock(UnixMillis(19));
        let pass = door.check(&key(1), &bytes).expect("it holds");
        assert_eq!(door.check(&key(2), &bytes), None, "another's");
        door.set_wall_clock(UnixMillis(20));
        assert!(!door.holds(&key(1), &pass));
        assert_eq!(door.check(&key(1), &bytes), None);
    }

    #[test]
    fn a_revocation_voids_all_certificates_of_a_member_whenever_they_were_signed() {
        let mut door = gatekeeper();
        door.set_wall_clock(UnixMillis(5));
        let old = door.check(&key(1), &certificate(1, 1, 100)).expect("it holds");
        assert_eq!(door.admit_revocation(&revocation(1, 5)), Ok(Some(Revoked::Member(key(1)))));
        assert_eq!(door.admit_revocation(&revocation(1, 5)), Ok(None), "known");
        assert_eq!(door.admit_revocation(&revocation(1, 9)), Ok(None), "known, too");
        assert!(!door.holds(&key(1), &old));
        // Also one that the authority signed under a clock that ran ahead.
        for issued in [5, 6, ISSUED_AHEAD_MAX_MS] {
            assert_eq!(door.check(&key(1), &certificate(1, issued, 400_000)), None);
        }
        assert!(door.check(&key(2), &certificate(2, 1, 100)).is_some());
        assert_eq!(door.admit_revocation(b"nonsense"), Err(RevocationError::Bad));
    }

    #[test]
    fn the_revocation_of_a_ticket_voids_all_that_it_gave() {
        let mut door = gatekeeper();
        door.set_wall_clock(UnixMillis(5));
        let members: Vec<_> = (1..4)
            .map(|number| door.check(&key(number), &certificate(number, 1, 100)).expect("holds"))
            .collect();
        let ticket = Revocation { subject: Revoked::Ticket(key(77)), at: UnixMillis(0) };
        let bytes = ticket.sign(&authority(), &network());
        assert_eq!(door.admit_revocation(&bytes), Ok(Some(Revoked::Ticket(key(77)))));
        assert!((1..4).zip(&members).all(|(number, pass)| !door.holds(&key(number), pass)));
        assert!(door.is_cancelled(&key(77)) && !door.is_cancelled(&key(1)));
        // A ticket's key is no member's key.
        assert!(door.is_revoked(&key(1), Some(&key(77))) && !door.is_revoked(&key(77), None));
    }

    #[test]
    fn a_certificate_from_the_future_is_refused_on_each_side_of_five_minutes() {
        let mut door = gatekeeper();
        door.set_wall_clock(UnixMillis(10));
        let issued = |ahead: u64| certificate(1, 10 + ahead, ISSUED_AHEAD_MAX_MS * 3);
        assert!(door.check(&key(1), &issued(ISSUED_AHEAD_MAX_MS)).is_some());
        assert_eq!(door.check(&key(1), &issued(ISSUED_AHEAD_MAX_MS + 1)), None);
        door.set_wall_clock(UnixMillis(11));
        assert!(door.check(&key(1), &issued(ISSUED_AHEAD_MAX_MS + 1)).is_some());
    }

    #[test]
    fn a_ticket_knocks_until_it_expires_or_its_holder_is_out_also_when_it_was_cancelled() {
        let (mut door, asker) = (gatekeeper(), Identity::from_seed([2; 32]).public_key());
        let terms = GrantTerms {
            uses: None,
            issued: UnixMillis(10),
            expires: UnixMillis(20),
            labels: Vec::new(),
            ephemeral: false,
        };
        let ticket = Ticket::issue("home", &authority(), [3; 32], terms, &[]).expect("small");
        let enroll = ticket.enroll(&asker);
        assert!(!door.may_enroll(&asker, &enroll), "the time is not known");
        door.set_wall_clock(UnixMillis(19));
        assert!(door.may_enroll(&asker, &enroll));
        assert!(!door.may_enroll(&key(1), &enroll), "another's");
        let out =
            |subject| Revocation { subject, at: UnixMillis(15) }.sign(&authority(), &network());
        let cancelled = Revoked::Ticket(ticket.grant().expect("it holds").ticket);
        assert_eq!(door.admit_revocation(&out(cancelled)), Ok(Some(cancelled)));
        assert!(door.may_enroll(&asker, &enroll), "the issuer tells it");
        let asker_out = Revoked::Member(asker);
        assert_eq!(door.admit_revocation(&out(asker_out)), Ok(Some(asker_out)));
        assert!(!door.may_enroll(&asker, &enroll));
        let other = Identity::from_seed([4; 32]).public_key();
        assert!(door.may_enroll(&other, &ticket.enroll(&other)));
        door.set_wall_clock(UnixMillis(20));
        assert!(!door.may_enroll(&other, &ticket.enroll(&other)), "expired");
    }

    #[test]
    fn a_node_knows_when_it_is_not_heard_any_more() {
        let own = Some(certificate(1, 10, 20));
        let mut door = Gatekeeper::new(network(), authority().public_key(), own, []);
        door.set_wall_clock(UnixMillis(19));
        assert_eq!(door.own_trouble(), None);
        door.set_wall_clock(UnixMillis(20));
        assert_eq!(door.own_trouble(), Some(OwnTrouble::Expired));
        let out = Ok(Some(Revoked::Member(key(1))));
        assert_eq!(door.admit_revocation(&revocation(1, 15)), out);
        assert_eq!(door.own_trouble(), Some(OwnTrouble::Revoked));
    }

    #[test]
    fn revocations_are_bounded_and_forgotten_when_they_are_over() {
        let mut door = gatekeeper();
        door.set_wall_clock(UnixMillis(5));
        for number in 0..REVOCATIONS_MAX as u32 {
            // Made here without signatures, for speed; the limit is the same.
            door.revocations.insert(Revoked::Member(key(number)), (UnixMillis(5), Bytes::new()));
        }
        assert_eq!(door.admit_revocation(&revocation(99_999, 5)), Err(RevocationError::Full));
        door.set_wall_clock(UnixMillis(6 + 2 * CERTIFICATE_LIFE_MAX_MS));
        assert_eq!(door.revocations_len(), 0);
        assert_eq!(door.admit_revocation(&revocation(1, 5)), Err(RevocationError::Over));
    }
}
