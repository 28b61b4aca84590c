//! The issuer: holds the network's authority key, makes tickets, signs certificates and revocations.
//!
//! **Invariants:** whatever the link has checked of an enrolment is checked again here, since a
//! member may send one, too; a use of a ticket is on the disk before its certificate is given away;
//! the same node gets the same certificate by the same ticket, however often it asks.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use potluck_base::{Addresses, Identity, PublicKey, UnixMillis};
use potluck_wire::{Certificate, Enroll, Grant, GrantTerms, Refusal, Revocation, Revoked, Ticket};

use super::book::{Book, CertificateEntry, TicketEntry};
use super::{InviteTerms, IssuedStats, MembershipError, TicketView};
use crate::folder::{NetworkInfo, random_bytes};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Life of a certificate.
const CERTIFICATE_LIFE_MS: u64 = 365 * DAY_MS;
/// Life of an ephemeral one.
const EPHEMERAL_LIFE_MS: u64 = DAY_MS;
/// Longest life of a ticket.
const TICKET_LIFE_MAX_MS: u64 = 365 * DAY_MS;

/// The content of a certificate besides its subject and life.
struct Signed<'a> {
    labels: &'a [(String, String)],
    ephemeral: bool,
    ticket: Option<PublicKey>,
}

/// The authority at work.
#[derive(Debug)]
pub(super) struct Issuer {
    authority: Identity,
    network: NetworkInfo,
    book: Book,
    revoked: BTreeSet<Revoked>,
}

impl Issuer {
    pub(super) const fn new(authority: Identity, network: NetworkInfo, book: Book) -> Self {
        Self { authority, network, book, revoked: BTreeSet::new() }
    }

    pub(super) const fn authority(&self) -> &Identity {
        &self.authority
    }

    /// These hold now.
    pub(super) fn set_revocations(&mut self, revocations: &[Bytes]) {
        let key = self.authority.public_key();
        self.revoked = revocations
            .iter()
            .filter_map(|bytes| Revocation::read(bytes, &key, &self.network.id).ok())
            .map(|revocation| revocation.subject)
            .collect();
    }

    /// How full the book is.
    pub(super) fn stats(&self) -> IssuedStats {
        self.book.stats()
    }

    /// A ticket, entered in the book.
    pub(super) fn invite(
        &mut self,
        now: UnixMillis,
        terms: InviteTerms,
        entry_points: &[Addresses],
    ) -> Result<Ticket, MembershipError> {
        let life = u64::try_from(terms.life.as_millis()).unwrap_or(u64::MAX);
        if life == 0 || life > TICKET_LIFE_MAX_MS || terms.uses == Some(0) {
            return Err(MembershipError::Terms);
        }
        let InviteTerms { uses, mut labels, ephemeral, .. } = terms;
        labels.sort();
        let expires = UnixMillis(now.0 + life);
        let secret =
            random_bytes().map_err(|error| MembershipError::Randomness(error.to_string()))?;
        let key = Identity::from_seed(secret).public_key();
        let entry = TicketEntry { uses, issued: now, expires, ephemeral, labels: labels.clone() };
        let terms = GrantTerms { uses, issued: now, expires, labels, ephemeral };
        let name = &self.network.name;
        let ticket = Ticket::issue(name, &self.authority, secret, terms, entry_points)
            .ok_or(MembershipError::Labels)?;
        match self.book.add_ticket(key, entry, now) {
            Ok(true) => Ok(ticket),
            Ok(false) => Err(MembershipError::TooManyTickets),
            Err(source) => Err(MembershipError::Book(source)),
        }
    }

    /// The tickets that have not expired and were not cancelled.
    pub(super) fn tickets(&self, now: UnixMillis) -> Vec<TicketView> {
        let valid = self.book.tickets().filter(|(_, ticket)| ticket.expires > now);
        valid
            .map(|(key, ticket)| TicketView {
                id: *key,
                uses: ticket.uses,
                used: self.book.used(key),
                issued: ticket.issued,
                expires: ticket.expires,
                labels: ticket.labels.clone(),
                ephemeral: ticket.ephemeral,
            })
            .collect()
    }

    /// Cancels one of the book's tickets: it is on the disk when this returns. Gives a revocation of
    /// the ticket, which puts out all that it let in.
    pub(super) fn cancel(
        &mut self,
        now: UnixMillis,
        ticket: PublicKey,
    ) -> Result<Bytes, MembershipError> {
        self.book.cancel_ticket(ticket).map_err(MembershipError::Book)?;
        Ok(self.revoke(now, Revoked::Ticket(ticket)))
    }

    /// The holders of certificates signed here that may still be valid.
    pub(super) fn subjects(&self) -> Vec<PublicKey> {
        let mut subjects: Vec<PublicKey> = self.book.subjects().collect();
        subjects.sort_unstable();
        subjects.dedup();
        subjects
    }

    /// A revocation of `subject`.
    pub(super) fn revoke(&self, now: UnixMillis, subject: Revoked) -> Bytes {
        Revocation { subject, at: now }.sign(&self.authority, &self.network.id)
    }

    /// A certificate for the own node.
    pub(super) fn certify_own(
        &mut self,
        now: UnixMillis,
        own: PublicKey,
    ) -> Result<Bytes, MembershipError> {
        let entry = self.fresh(now, false).map_err(|_| MembershipError::Terms)?;
        match self.book.add_certificate(None, own, entry, now) {
            Ok(true) => {}
            Ok(false) => return Err(MembershipError::TooManyTickets),
            Err(source) => return Err(MembershipError::Book(source)),
        }
        let terms = Signed { labels: &[], ephemeral: false, ticket: None };
        self.sign(own, entry, &terms).ok_or(MembershipError::Labels)
    }

    /// The certificate that `from` has a right to.
    pub(super) fn enroll(
        &mut self,
        now: UnixMillis,
        from: PublicKey,
        enroll: &Enroll,
    ) -> Result<Bytes, Refusal> {
        match enroll {
            Enroll::Ticket { .. } => {
                let key = self.authority.public_key();
                let grant = enroll
                    .grant_for(&from, &key, &self.network.id)
                    .map_err(|_| Refusal::TicketVoid)?;
                self.enroll_by_ticket(now, from, &grant)
            }
            Enroll::Renewal { certificate } => self.renew(now, from, certificate),
        }
    }

    fn enroll_by_ticket(
        &mut self,
        now: UnixMillis,
        from: PublicKey,
        grant: &Grant,
    ) -> Result<Bytes, Refusal> {
        // Cancelled here, or where else the authority key is.
        let cancelled = self.book.is_cancelled(&grant.ticket);
        if grant.expires <= now || cancelled || self.is_revoked(&from, Some(&grant.ticket)) {
            return Err(Refusal::TicketVoid);
        }
        let known = self.book.certificate(Some(grant.ticket), from);
        let entry = match known.filter(|entry| entry.expires > now) {
            Some(entry) => entry,
            None => {
                let used = self.book.used(&grant.ticket);
                // A node that was admitted before and whose certificate has expired has used its ticket.
                if known.is_none() && grant.uses.is_some_and(|uses| used >= uses) {
                    return Err(Refusal::TicketVoid);
                }
                self.enter(now, Some(grant.ticket), from, grant.ephemeral)?
            }
        };
        let Grant { ticket, labels, ephemeral, .. } = grant;
        let terms = Signed { labels, ephemeral: *ephemeral, ticket: Some(*ticket) };
        self.sign(from, entry, &terms).ok_or(Refusal::TicketVoid)
    }

    fn renew(&mut self, now: UnixMillis, from: PublicKey, old: &[u8]) -> Result<Bytes, Refusal> {
        let key = self.authority.public_key();
        let old =
            Certificate::read(old, &key, &self.network.id).map_err(|_| Refusal::TicketVoid)?;
        let out = self.is_revoked(&from, old.ticket.as_ref())
            || old.ticket.is_some_and(|ticket| self.book.is_cancelled(&ticket));
        let holds = old.subject == from && old.expires > now && !out;
        // Not before its time, or the book could be filled with them.
        let quarter = (old.expires.0 - old.issued.0) / 4;
        if !holds || now.0 < old.issued.0.saturating_add(quarter) {
            return Err(Refusal::TicketVoid);
        }
        let newer = self.book.certificate(None, from).filter(|entry| entry.issued > old.issued);
        let entry = match newer {
            Some(entry) => entry,
            None => self.enter(now, None, from, old.ephemeral)?,
        };
        let Certificate { labels, ephemeral, ticket, .. } = &old;
        let terms = Signed { labels, ephemeral: *ephemeral, ticket: *ticket };
        self.sign(from, entry, &terms).ok_or(Refusal::TicketVoid)
    }

    /// Whether a member, or the ticket that it came by, is out.
    fn is_revoked(&self, member: &PublicKey, ticket: Option<&PublicKey>) -> bool {
        self.revoked.contains(&Revoked::Member(*member))
            || ticket.is_some_and(|ticket| self.revoked.contains(&Revoked::Ticket(*ticket)))
    }

    /// A new entry of the book.
    fn enter(
        &mut self,
        now: UnixMillis,
        ticket: Option<PublicKey>,
        subject: PublicKey,
        ephemeral: bool,
    ) -> Result<CertificateEntry, Refusal> {
        let entry = self.fresh(now, ephemeral).map_err(|_| Refusal::Busy)?;
        match self.book.add_certificate(ticket, subject, entry, now) {
            Ok(true) => Ok(entry),
            Ok(false) => Err(Refusal::Full),
            Err(error) => {
                tracing::warn!(code = "issuer.book", %error, "cannot write down who was admitted");
                Err(Refusal::Stopped)
            }
        }
    }

    fn fresh(&self, now: UnixMillis, ephemeral: bool) -> io::Result<CertificateEntry> {
        let life = if ephemeral { EPHEMERAL_LIFE_MS } else { CERTIFICATE_LIFE_MS };
        let random = random_bytes().map_err(io::Error::other)?;
        let serial = random.iter().take(8).fold(0, |serial, byte| (serial << 8) | u64::from(*byte));
        Ok(CertificateEntry {
            serial,
            issued: now,
            expires: UnixMillis(now.0.saturating_add(life)),
        })
    }

    fn sign(
        &self,
        subject: PublicKey,
        entry: CertificateEntry,
        terms: &Signed<'_>,
    ) -> Option<Bytes> {
        let CertificateEntry { serial, issued, expires } = entry;
        let Signed { labels, ephemeral, ticket } = *terms;
        let labels = labels.to_vec();
        let certificate =
            Certificate { subject, labels, serial, issued, expires, ephemeral, salt: None, ticket };
        certificate.sign(&self.authority, &self.network.id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn authority() -> Identity {
        Identity::from_seed([1; 32])
    }

    fn network() -> NetworkInfo {
        NetworkInfo::invite("home".to_owned(), authority().public_key())
    }

    fn issuer(book: Book) -> Issuer {
        Issuer::new(authority(), network(), book)
    }

    fn node(number: u8) -> PublicKey {
        Identity::from_seed([number; 32]).public_key()
    }

    fn terms(uses: Option<u32>) -> InviteTerms {
        let labels = vec![("zone".to_owned(), "eu".to_owned()), ("role".into(), "build".into())];
        InviteTerms { uses, life: Duration::from_secs(3600), labels, ephemeral: false }
    }

    fn read(bytes: &[u8]) -> Certificate {
        Certificate::read(bytes, &authority().public_key(), &network().id).unwrap()
    }

    #[test]
    fn uses_are_counted_through_a_restart_and_asking_again_costs_none() {
        let folder = tempfile::tempdir().unwrap();
        let open = || issuer(Book::open(&folder.path().join("issued"), NOW).unwrap());
        let mut office = open();
        let ticket = office.invite(NOW, terms(Some(2)), &[]).unwrap();
        let first = office.enroll(NOW, node(2), &ticket.enroll(&node(2))).unwrap();
        let certificate = read(&first);
        assert_eq!((certificate.subject, certificate.labels[0].0.as_str()), (node(2), "role"));
        drop(office);
        let mut office = open();
        let later = UnixMillis(NOW.0 + 1000);
        assert_eq!(office.enroll(later, node(2), &ticket.enroll(&node(2))), Ok(first));
        assert!(office.enroll(later, node(3), &ticket.enroll(&node(3))).is_ok());
        let third = office.enroll(later, node(4), &ticket.enroll(&node(4)));
        assert_eq!(third, Err(Refusal::TicketVoid));
        assert_eq!(office.tickets(later)[0].used, 2);
        assert_eq!(
            open().enroll(later, node(4), &ticket.enroll(&node(4))),
            Err(Refusal::TicketVoid)
        );
    }

    #[test]
    fn a_recorded_enrolment_an_expired_ticket_and_a_revoked_node_get_nothing() {
        let mut office = issuer(Book::in_memory());
        let ticket = office.invite(NOW, terms(None), &[]).unwrap();
        let void = Err(Refusal::TicketVoid);
        assert_eq!(office.enroll(NOW, node(3), &ticket.enroll(&node(2))), void, "for another key");
        let late = UnixMillis(NOW.0 + 3_600_000);
        assert_eq!(office.enroll(late, node(2), &ticket.enroll(&node(2))), void, "expired");
        assert!(office.enroll(NOW, node(2), &ticket.enroll(&node(2))).is_ok());
        let revocation = office.revoke(NOW, Revoked::Member(node(2)));
        office.set_revocations(&[revocation]);
        assert_eq!(office.enroll(NOW, node(2), &ticket.enroll(&node(2))), void, "revoked");
        let later = UnixMillis(NOW.0 + 1);
        let ticket = office.invite(later, terms(None), &[]).unwrap();
        let again = office.enroll(later, node(2), &ticket.enroll(&node(2)));
        assert_eq!(again, void, "a revoked key stays out: the machine returns with another");
        assert!(office.enroll(later, node(4), &ticket.enroll(&node(4))).is_ok());
    }

    #[test]
    fn a_cancelled_ticket_lets_nobody_in_here_or_at_another_issuer() {
        let (mut office, mut branch) = (issuer(Book::in_memory()), issuer(Book::in_memory()));
        let ticket = office.invite(NOW, terms(None), &[]).unwrap();
        let other = office.invite(NOW, terms(None), &[]).unwrap();
        let certificate = office.enroll(NOW, node(2), &ticket.enroll(&node(2))).unwrap();
        let later = UnixMillis(NOW.0 + 5);
        let revocation = office.cancel(later, ticket.grant().unwrap().ticket).unwrap();
        let void = Err(Refusal::TicketVoid);
        assert_eq!(office.enroll(later, node(3), &ticket.enroll(&node(3))), void);
        assert_eq!(office.enroll(later, node(2), &ticket.enroll(&node(2))), void, "not again");
        assert!(office.enroll(later, node(3), &other.enroll(&node(3))).is_ok(), "another ticket");
        assert_eq!(office.tickets(later).len(), 1);

        assert!(branch.enroll(later, node(3), &ticket.enroll(&node(3))).is_ok(), "not told yet");
        branch.set_revocations(&[revocation]);
        assert_eq!(branch.enroll(later, node(4), &ticket.enroll(&node(4))), void);
        // What had come in by it is out, too, at both.
        let half = UnixMillis(NOW.0 + CERTIFICATE_LIFE_MS / 2);
        for issuer in [&mut office, &mut branch] {
            let certificate = certificate.clone();
            assert_eq!(issuer.enroll(half, node(2), &Enroll::Renewal { certificate }), void);
        }
    }

    #[test]
    fn a_certificate_is_renewed_in_its_time_once_and_for_its_owner() {
        let mut office = issuer(Book::in_memory());
        let ticket = office.invite(NOW, terms(None), &[]).unwrap();
        let old = office.enroll(NOW, node(2), &ticket.enroll(&node(2))).unwrap();
        let renewal = Enroll::Renewal { certificate: old.clone() };
        let void = Err(Refusal::TicketVoid);
        assert_eq!(office.enroll(NOW, node(2), &renewal), void, "too early");
        let half = UnixMillis(NOW.0 + CERTIFICATE_LIFE_MS / 2);
        assert_eq!(office.enroll(half, node(3), &renewal), void, "another's");
        let new = office.enroll(half, node(2), &renewal).unwrap();
        assert_eq!(office.enroll(UnixMillis(half.0 + 5), node(2), &renewal), Ok(new.clone()));
        let (old, new) = (read(&old), read(&new));
        assert_eq!((new.labels, new.issued), (old.labels, half));
        let over = UnixMillis(NOW.0 + CERTIFICATE_LIFE_MS);
        assert_eq!(office.enroll(over, node(2), &renewal), void, "expired");
    }

    #[test]
    fn terms_out_of_bounds_are_refused() {
        let mut office = issuer(Book::in_memory());
        for wrong in [
            InviteTerms { uses: Some(0), ..terms(None) },
            InviteTerms { life: Duration::ZERO, ..terms(None) },
            InviteTerms { life: Duration::from_secs(400 * 86_400), ..terms(None) },
        ] {
            assert!(matches!(office.invite(NOW, wrong, &[]), Err(MembershipError::Terms)));
        }
        let labels = vec![("a".to_owned(), "b".repeat(64))];
        let wrong = InviteTerms { labels, ..terms(None) };
        assert!(matches!(office.invite(NOW, wrong, &[]), Err(MembershipError::Labels)));
    }
}
