//! A signature for one purpose, key or network is invalid for any other.

use potluck_base::Contact;

use super::*;

fn authority() -> Identity {
    Identity::from_seed([1; 32])
}

fn network() -> NetworkId {
    NetworkId::new("home", Admission::Invite, Some(&authority().public_key()))
}

fn certificate(labels: &[(&str, &str)]) -> Certificate {
    let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Certificate {
        subject: Identity::from_seed([2; 32]).public_key(),
        labels,
        serial: u64::MAX,
        issued: UnixMillis(1_700_000_000_000),
        expires: UnixMillis(1_700_000_000_000 + 1000),
        ephemeral: true,
        salt: Some(Salt::from_bytes([5; SALT_BYTES])),
        ticket: Some(Identity::from_seed([9; 32]).public_key()),
    }
}

fn terms() -> GrantTerms {
    GrantTerms {
        uses: Some(2),
        issued: UnixMillis(10),
        expires: UnixMillis(20),
        labels: vec![("role".into(), "build".into())],
        ephemeral: false,
    }
}

fn contact(number: u8) -> Contact {
    let public_key = Identity::from_seed([number; 32]).public_key();
    Contact::new(public_key, ([10, 0, 0, number], 7).into())
}

fn ticket(contacts: u8) -> Ticket {
    let nodes: Vec<Addresses> = (10..10 + contacts).map(contact).map(Addresses::from).collect();
    Ticket::issue("home", &authority(), [9; 32], terms(), &nodes).expect("good labels")
}

#[test]
fn a_certificate_is_read_as_signed_and_only_under_its_authority_and_network() {
    let certificate = certificate(&[("role", "build"), ("zone", "eu")]);
    let bytes = certificate.sign(&authority(), &network()).expect("small enough");
    let key = authority().public_key();
    assert_eq!(Certificate::read(&bytes, &key, &network()), Ok(certificate));
    let wrong = Err(AdmissionProofError::Signature);
    assert_eq!(
        Certificate::read(&bytes, &Identity::from_seed([3; 32]).public_key(), &network()),
        wrong
    );
    let other = NetworkId::new("work", Admission::Invite, Some(&key));
    assert_eq!(Certificate::read(&bytes, &key, &other), wrong);
    for at in 0..bytes.len() {
        let mut spoilt = bytes.to_vec();
        spoilt[at] ^= 1;
        assert!(Certificate::read(&spoilt, &key, &network()).is_err(), "byte {at}");
    }
    for cut in 0..bytes.len() {
        assert!(Certificate::read(&bytes[..cut], &key, &network()).is_err());
    }
}

#[test]
fn a_certificate_has_its_limits() {
    let long = "x".repeat(60);
    let many: Vec<(String, String)> =
        (0..8).map(|index| (format!("{index}"), long.clone())).collect();
    let fat = Certificate { labels: many, ..certificate(&[]) };
    assert_eq!(fat.sign(&authority(), &network()), None, "over 400 bytes");
    let old = Certificate { expires: UnixMillis(u64::MAX), ..certificate(&[]) };
    assert_eq!(old.sign(&authority(), &network()), None, "for ever");
    let plain = certificate(&[]).sign(&authority(), &network()).expect("small");
    assert!(plain.len() < 210, "{} bytes", plain.len());
}

#[test]
fn a_revocation_is_no_certificate_and_the_other_way_round() {
    let subject = Revoked::Member(Identity::from_seed([2; 32]).public_key());
    let revocation = Revocation { subject, at: UnixMillis(5) };
    let ticket = Revocation { subject: Revoked::Ticket(*subject.key()), ..revocation };
    let bytes = revocation.sign(&authority(), &network());
    let key = authority().public_key();
    assert_eq!(Revocation::read(&bytes, &key, &network()), Ok(revocation));
    assert!(Certificate::read(&bytes, &key, &network()).is_err());
    let certificate = certificate(&[]).sign(&authority(), &network()).expect("small");
    assert!(Revocation::read(&certificate, &key, &network()).is_err());
    let bytes = ticket.sign(&authority(), &network());
    assert_eq!(Revocation::read(&bytes, &key, &network()), Ok(ticket));
    assert!(!revocation.is_over(UnixMillis(5 + 2 * CERTIFICATE_LIFE_MAX_MS)));
    assert!(revocation.is_over(UnixMillis(6 + 2 * CERTIFICATE_LIFE_MAX_MS)));
}

#[test]
fn a_ticket_survives_being_pasted_with_line_breaks_and_capitals() {
    for contacts in [0, 1, 4, 9] {
        let ticket = ticket(contacts);
        assert!(ticket.entry_points.len() <= TICKET_CONTACTS_MAX);
        let text = ticket.to_string();
        assert!(text.len() * 2 < TICKET_CHARS_MAX, "{} characters", text.len());
        assert_eq!(text.parse(), Ok(ticket.clone()));
        let (head, tail) = text.split_at(40);
        assert_eq!(format!(" {head}\r\n  {tail}\n").parse(), Ok(ticket.clone()));
        let (scheme, symbols) = text.split_at(TICKET_SCHEME.len());
        assert_eq!(format!("{scheme}{}", symbols.to_uppercase()).parse(), Ok(ticket));
    }
}

#[test]
fn a_wrong_or_missing_character_in_a_ticket_is_reported() {
    let text = ticket(1).to_string();
    for at in TICKET_SCHEME.len()..text.len() {
        let mut spoilt = text.clone().into_bytes();
        spoilt[at] = if spoilt[at] == b'a' { b'b' } else { b'a' };
        let spoilt = String::from_utf8(spoilt).expect("ASCII");
        assert!(spoilt.parse::<Ticket>().is_err(), "character {at}");
        assert!(text[..at].parse::<Ticket>().is_err(), "cut at {at}");
    }
    assert_eq!("potluck:abc".parse::<Ticket>(), Err(TicketError::Scheme));
    assert_eq!("x".repeat(4000).parse::<Ticket>(), Err(TicketError::Damaged));
}

#[test]
fn only_the_tickets_holder_enrolls_and_only_for_its_own_key() {
    let ticket = ticket(1);
    let (node, other) = (contact(20).public_key, contact(21).public_key);
    let (key, id) = (authority().public_key(), network());
    assert_eq!(ticket.network_id(), id);
    let enroll = ticket.enroll(&node);
    let grant = enroll.grant_for(&node, &key, &id).expect("it holds");
    assert_eq!((grant.uses, grant.expires), (Some(2), UnixMillis(20)));
    // A node that sees the request cannot send it for its own key.
    let wrong = Err(AdmissionProofError::Signature);
    assert_eq!(enroll.grant_for(&other, &key, &id), wrong);
    // A grant of another authority.
    let foreign = Identity::from_seed([5; 32]);
    let made_up = Ticket::issue("home", &foreign, [9; 32], terms(), &[]).expect("good labels");
    assert_eq!(made_up.enroll(&node).grant_for(&node, &key, &id), wrong);
    // Another secret under the true grant.
    let Enroll::Ticket { grant, .. } = ticket.enroll(&node) else { panic!("by ticket") };
    let proof = Identity::from_seed([6; 32]).sign(&enroll_text(&node, &id));
    assert_eq!(Enroll::Ticket { grant, proof }.grant_for(&node, &key, &id), wrong);
}

#[test]
fn a_ticket_with_one_entry_point_is_short() {
    let text = ticket(1).to_string();
    // Without this omission of the grant's key and framing a ticket had 417 characters.
    assert!(text.len() < 370, "{} characters", text.len());
}

#[test]
fn a_ticket_does_not_show_its_secret() {
    let shown = format!("{:?}", ticket(1));
    assert!(!shown.contains("secret") && shown.len() < 300, "{shown}");
}

#[test]
fn the_messages_of_an_enrolment_are_frozen_and_bounded() {
    use crate::{
        DecodeError, Request, Response, decode_request, decode_response, encode_request,
        encode_response,
    };
    let renewal =
        |length| Request::Enroll(Enroll::Renewal { certificate: Bytes::from(vec![7; length]) });
    let bytes = encode_request(&renewal(2));
    assert_eq!(bytes[..], [2, 0x82, 10, 0x81, 0x82, 1, 0x81, 0x42, 7, 7]);
    assert_eq!(decode_request(&bytes), Ok(renewal(2)));
    let by_ticket = Request::Enroll(ticket(1).enroll(&contact(20).public_key));
    assert_eq!(decode_request(&encode_request(&by_ticket)), Ok(by_ticket));
    let long = encode_request(&renewal(CERTIFICATE_BYTES_MAX + 1));
    assert_eq!(decode_request(&long), Err(DecodeError::Malformed));
    let enrolled = Response::Enrolled { certificate: Bytes::from_static(&[7, 7]) };
    let bytes = encode_response(&enrolled);
    assert_eq!(bytes[..], [2, 0x82, 11, 0x81, 0x42, 7, 7]);
    assert_eq!(decode_response(&bytes), Ok(enrolled));
}
