use potluck_base::{Admission, Identity};
use potluck_record::{Context, Dot, Draft, Envelope, Kind, Name, Space};
use potluck_wire::limits::CERTIFICATE_LIFE_MAX_MS;

use super::*;

const HOUR: u64 = 3_600_000;
const SLACK: u64 = 5 * 60_000;

fn authority() -> Identity {
    Identity::from_seed([1; 32])
}

fn network() -> NetworkId {
    NetworkId::new("home", Admission::Invite, Some(&authority().public_key()))
}

fn member(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

fn certificate(of: u8, issued: u64, expires: u64) -> Bytes {
    signed_by(&authority(), of, issued, expires)
}

fn signed_by(authority: &Identity, of: u8, issued: u64, expires: u64) -> Bytes {
    let certificate = Certificate {
        subject: member(of).public_key(),
        labels: Vec::new(),
        serial: issued,
        issued: UnixMillis(issued),
        expires: UnixMillis(expires),
        ephemeral: false,
        salt: None,
        ticket: Some(member(77).public_key()),
    };
    certificate.sign(authority, &network()).expect("small")
}

fn head(writer: u8, at: u64, certificate: Option<&Bytes>) -> SignedHead {
    let (dot, expires) = (Dot::next(Dot::ZERO, UnixMillis(at)), UnixMillis(at + HOUR));
    let draft = Draft {
        space: Space::Commons,
        name: Name::new("a").ok(),
        kind: Kind::Siblings,
        values: vec![(dot, expires, Bytes::from_static(b"x"))],
        dot,
        context: Context::new(),
        expires,
        certificate: certificate.map(|bytes| CertificateHash::of(bytes)),
    };
    Envelope::sign(&member(writer), &network(), draft).expect("a good draft").head().clone()
}

fn membership() -> Membership {
    let mut members = Membership::new(network());
    members.require(authority().public_key());
    members
}

#[test]
fn without_an_authority_every_writer_is_a_member() {
    let mut members = Membership::new(network());
    assert_eq!(members.standing(&head(2, HOUR, None)), Standing::Member);
    assert_eq!(membership().standing(&head(2, HOUR, None)), Standing::Stranger);
}

#[test]
fn a_writer_is_a_member_in_the_span_of_its_certificate_and_five_minutes_around() {
    let mut members = membership();
    let bytes = certificate(2, 2 * HOUR, 4 * HOUR);
    let at = |time| head(2, time, Some(&bytes));
    let hash = CertificateHash::of(&bytes);
    assert_eq!(members.standing(&at(3 * HOUR)), Standing::Unknown(hash));
    members.hear(bytes.clone(), false);
    for (time, standing) in [
        (2 * HOUR - SLACK - 1, Standing::Stranger),
        (2 * HOUR - SLACK, Standing::Member),
        (4 * HOUR + SLACK, Standing::Member),
        (4 * HOUR + SLACK + 1, Standing::Stranger),
    ] {
        assert_eq!(members.standing(&at(time)), standing, "{time}");
    }
    let head = at(3 * HOUR);
    assert!(members.is_valid(&head, UnixMillis(4 * HOUR - 1)));
    assert!(!members.is_valid(&head, UnixMillis(4 * HOUR)));
}

#[test]
fn another_ones_certificate_and_one_of_another_authority_show_nothing() {
    let mut members = membership();
    let theirs = certificate(3, 0, 4 * HOUR);
    let forged = signed_by(&member(9), 2, 0, 4 * HOUR);
    members.hear(theirs.clone(), false);
    members.hear(forged.clone(), false);
    assert_eq!(members.standing(&head(2, HOUR, Some(&theirs))), Standing::Stranger);
    assert_eq!(members.standing(&head(2, HOUR, Some(&forged))), Standing::Stranger);
    assert_eq!(members.standing(&head(2, HOUR, Some(&forged))), Standing::Stranger, "again");
    assert_eq!(members.standing(&head(3, HOUR, Some(&theirs))), Standing::Member);
}

#[test]
fn what_another_node_sends_is_taken_if_it_was_wanted_and_signed() {
    let mut members = membership();
    let (one, two) = (certificate(2, 0, HOUR), certificate(3, 0, HOUR));
    let forged = signed_by(&member(9), 4, 0, HOUR);
    let names = |all: &[&Bytes]| all.iter().map(|bytes| CertificateHash::of(bytes)).collect();
    assert!(members.learn(&[one.clone(), two.clone()], &names(&[&two])));
    assert_eq!(members.len(), 1);
    let wanted = names(&[&one, &forged]);
    assert!(!members.learn(&[forged, one], &wanted), "the first bad one ends it");
    assert_eq!(members.len(), 1);
}

#[test]
fn an_excluded_writer_is_told_from_a_stranger_also_by_its_ticket() {
    let bytes = certificate(2, 0, 4 * HOUR);
    let head = head(2, HOUR, Some(&bytes));
    for subject in
        [Revoked::Member(member(2).public_key()), Revoked::Ticket(member(77).public_key())]
    {
        let mut members = membership();
        members.hear(bytes.clone(), false);
        members.revoke(Revoked::Member(member(3).public_key()));
        assert_eq!(members.standing(&head), Standing::Member);
        members.revoke(subject);
        assert_eq!(members.standing(&head), Standing::Excluded);
        let (one, other) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        assert!(!members.vouch(&head, one) && !members.vouch(&head, one));
        assert!(members.vouch(&head, other), "two holders have it");
    }
}

#[test]
fn a_certificate_is_kept_once_and_dropped_when_it_gives_way() {
    let mut members = membership();
    let of = |number: u64| certificate(2, number, CERTIFICATE_LIFE_MAX_MS + number);
    let first = CertificateHash::of(&of(0));
    for number in 0..OF_MEMBER_MAX as u64 {
        members.hear(of(number), false);
        members.terms(&CertificateHash::of(&of(number)));
    }
    members.keep(&first);
    members.keep(&first);
    assert_eq!(members.take_changes(), Some(ToKeep { keep: vec![of(0)], drop: vec![] }));
    assert_eq!(members.take_changes(), None);
    let one_more = of(OF_MEMBER_MAX as u64);
    members.hear(one_more.clone(), false);
    members.terms(&CertificateHash::of(&one_more));
    assert_eq!(members.take_changes(), Some(ToKeep { keep: vec![], drop: vec![first] }));
    assert_eq!(members.len(), OF_MEMBER_MAX);
    assert!(members.knows(&member(2).public_key()) && !members.knows(&member(3).public_key()));
    members.hear_of(member(3).public_key(), certificate(3, 0, HOUR));
    assert!(members.knows(&member(3).public_key()));
}
