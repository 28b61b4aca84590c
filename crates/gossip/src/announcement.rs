//! Checks announcements before they are passed on.
//!
//! An announcement goes to every node of the network, so every node pays for a bad one. A node therefore
//! passes an announcement on only after it has checked all of it: few items, each with a valid signature.
//! Doubts that depend on its own state (whether a certificate has expired, or which record is newer) do not
//! stop an announcement, because its clock or its list may be wrong.

use potluck_base::{NetworkId, PublicKey};
use potluck_wire::{Announcement, Certificate, MemberRecord, NetworkSettings, Revocation};

/// Most records, revocations and settings in one announcement. Nodes put as many into one as fit in a
/// datagram, at most six. Raising it lets one message cost every node more.
const SIGNED_ITEMS_MAX: usize = 8;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Whether it may be passed on.
    pub good: bool,
    /// Signatures that were checked.
    pub signatures: u32,
}

/// Checks announcements of a network.
#[derive(Debug, Clone, Copy)]
pub struct AnnouncementCheck {
    network: NetworkId,
    /// The authority of an `invite` network.
    authority: Option<PublicKey>,
    /// Whether records are signed; false only in large simulations.
    verify: bool,
}

impl AnnouncementCheck {
    /// A check for `network`, which has no authority unless [`require`](Self::require) names one.
    #[must_use]
    pub const fn new(network: NetworkId, verify: bool) -> Self {
        Self { network, authority: None, verify }
    }

    /// Records must carry certificates of this authority.
    pub const fn require(&mut self, authority: PublicKey) {
        self.authority = Some(authority);
    }

    /// Checks a payload of the system topic, up to the first item that is bad.
    #[must_use]
    pub fn check(&self, payload: &[u8]) -> Checked {
        let mut signatures = 0;
        let good = self.is_good(payload, &mut signatures);
        Checked { good, signatures }
    }

    fn is_good(&self, payload: &[u8], signatures: &mut u32) -> bool {
        let Ok(Announcement { records, revocations, settings, .. }) =
            Announcement::from_bytes(payload)
        else {
            return false;
        };
        let items = records.len() + revocations.len() + usize::from(settings.is_some());
        let mut count = || *signatures += 1;
        let Some(authority) = &self.authority else {
            // No authority can have signed these items.
            return items <= SIGNED_ITEMS_MAX
                && revocations.is_empty()
                && settings.is_none()
                && records.iter().all(|record| self.is_signed(record, &mut count).is_some());
        };
        items <= SIGNED_ITEMS_MAX
            && revocations.iter().all(|bytes| {
                count();
                Revocation::read(bytes, authority, &self.network).is_ok()
            })
            && settings.iter().all(|bytes| {
                count();
                NetworkSettings::read(bytes, authority, &self.network).is_ok()
            })
            && records.iter().all(|bytes| {
                let Some(record) = self.is_signed(bytes, &mut count) else { return false };
                let Some(certificate) = &record.certificate else { return false };
                count();
                let certificate = Certificate::read(certificate, authority, &self.network);
                certificate.is_ok_and(|it| it.subject == record.contact.public_key)
            })
    }

    /// The record in these bytes, if its subject signed it.
    fn is_signed(&self, bytes: &[u8], count: &mut impl FnMut()) -> Option<MemberRecord> {
        let record = MemberRecord::read(bytes).ok()?;
        if self.verify {
            count();
            record.verify(bytes, &self.network).ok()?;
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use potluck_base::{Admission, Contact, Identity, UnixMillis};
    use potluck_wire::{Reach, RecordVersion, Revoked, Software};

    use super::*;

    fn authority() -> Identity {
        Identity::from_seed([99; 32])
    }

    fn network() -> NetworkId {
        NetworkId::new("test", Admission::Invite, Some(&authority().public_key()))
    }

    fn check() -> AnnouncementCheck {
        let mut check = AnnouncementCheck::new(network(), true);
        check.require(authority().public_key());
        check
    }

    fn record(seed: u8, certificate: Option<Bytes>) -> Bytes {
        let identity = Identity::from_seed([seed; 32]);
        let record = MemberRecord {
            contact: Contact::new(identity.public_key(), ([10, 0, 0, seed], 1).into()),
            version: RecordVersion { incarnation: 1, revision: 1 },
            left: false,
            client: false,
            labels: Vec::new(),
            certificate,
            more: Vec::new(),
            software: Software::default(),
            reach: Reach::Unknown,
            settings: 0,
        };
        record.sign(&identity, &network())
    }

    fn certificate(subject: u8, by: &Identity) -> Bytes {
        let certificate = Certificate {
            subject: Identity::from_seed([subject; 32]).public_key(),
            labels: Vec::new(),
            serial: 1,
            issued: UnixMillis(1_000),
            expires: UnixMillis(2_000),
            ephemeral: false,
            salt: None,
            ticket: None,
        };
        certificate.sign(by, &network()).expect("small")
    }

    fn revocation(by: &Identity) -> Bytes {
        let subject = Revoked::Member(Identity::from_seed([7; 32]).public_key());
        Revocation { subject, at: UnixMillis(1_000) }.sign(by, &network())
    }

    fn of(announcement: Announcement) -> Checked {
        check().check(&announcement.to_bytes())
    }

    #[test]
    fn what_members_and_the_authority_signed_is_good() {
        let records = vec![record(1, Some(certificate(1, &authority())))];
        let revocations = vec![revocation(&authority())];
        let announcement = Announcement { records, revocations, ..Announcement::default() };
        assert_eq!(of(announcement), Checked { good: true, signatures: 3 });
        assert_eq!(of(Announcement::default()), Checked { good: true, signatures: 0 });
    }

    #[test]
    fn an_announcement_with_520_forged_revocations_costs_no_check() {
        let forger = Identity::from_seed([8; 32]);
        let revocations = vec![revocation(&forger); 520];
        let announcement = Announcement { revocations, ..Announcement::default() };
        assert_eq!(of(announcement), Checked { good: false, signatures: 0 });
        let revocations = vec![revocation(&forger); SIGNED_ITEMS_MAX];
        let announcement = Announcement { revocations, ..Announcement::default() };
        assert_eq!(
            of(announcement),
            Checked { good: false, signatures: 1 },
            "the first is the last"
        );
    }

    #[test]
    fn records_need_their_subjects_signature_and_its_certificate() {
        let mut forged = record(1, Some(certificate(1, &authority()))).to_vec();
        *forged.last_mut().expect("bytes") ^= 1;
        for (case, bytes) in [
            ("no certificate", record(1, None)),
            ("another's certificate", record(1, Some(certificate(2, &authority())))),
            ("a certificate of no authority", {
                record(1, Some(certificate(1, &Identity::from_seed([8; 32]))))
            }),
            ("forged", forged.into()),
            ("no record", Bytes::from_static(b"record")),
        ] {
            let records = vec![bytes];
            let checked = of(Announcement { records, ..Announcement::default() });
            assert!(!checked.good, "{case}");
        }
        assert!(!check().check(b"no announcement").good);
    }

    #[test]
    fn without_an_authority_there_are_no_revocations() {
        let check = AnnouncementCheck::new(network(), true);
        let records = vec![record(1, None)];
        let good = Announcement { records, ..Announcement::default() };
        assert_eq!(check.check(&good.to_bytes()), Checked { good: true, signatures: 1 });
        let revocations = vec![revocation(&authority())];
        let bad = Announcement { revocations, ..Announcement::default() };
        assert!(!check.check(&bad.to_bytes()).good);
    }
}
