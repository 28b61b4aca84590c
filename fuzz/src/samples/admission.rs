//! What the authority of a network signs.

use bytes::Bytes;
use potluck_base::{Admission, Identity, NetworkId, PublicKey, Salt, UnixMillis};
use potluck_wire::{
    Announcement, Certificate, Enroll, GrantTerms, MemberRecord, NetworkSettings, RecordVersion,
    Revocation, Revoked, Software, SuspectMessage, Ticket,
};

use super::{contact, identity};

/// The key that lets nodes in.
pub(crate) fn authority() -> Identity {
    identity(9)
}

/// The network of the authority.
pub(crate) fn network() -> NetworkId {
    NetworkId::new("fuzz", Admission::Invite, Some(&authority().public_key()))
}

pub(crate) fn ticket() -> Ticket {
    let terms = GrantTerms {
        uses: Some(3),
        issued: UnixMillis(1_800_000_000_000),
        expires: UnixMillis(1_800_086_400_000),
        labels: vec![("rack".to_owned(), "b2".to_owned())],
        ephemeral: false,
    };
    let entry_points = [contact(1).into(), contact(2).into()];
    Ticket::issue("fuzz", &authority(), [7; 32], terms, &entry_points).expect("short labels")
}

pub(crate) fn certificate_of(subject: PublicKey) -> Bytes {
    let certificate = Certificate {
        subject,
        labels: vec![("rack".to_owned(), "b2".to_owned()), ("zone".to_owned(), "eu".to_owned())],
        serial: 12,
        issued: UnixMillis(1_800_000_000_000),
        expires: UnixMillis(1_800_086_400_000),
        ephemeral: true,
        salt: Some(Salt::from_bytes([4; 8])),
        ticket: Some(identity(8).public_key()),
    };
    certificate.sign(&authority(), &network()).expect("short labels")
}

pub(crate) fn certificate() -> Bytes {
    certificate_of(identity(2).public_key())
}

pub(crate) fn revocation() -> Bytes {
    let at = UnixMillis(1_800_000_000_000);
    Revocation { subject: Revoked::Ticket(identity(8).public_key()), at }
        .sign(&authority(), &network())
}

pub(crate) fn settings() -> Bytes {
    let settings = NetworkSettings {
        sequence: 4,
        replication: Some(5),
        lease_ms: Some(86_400_000),
        republish_ms: Some(3_600_000),
        gossip_interval_ms: Some(500),
        difficulty: None,
    };
    settings.sign(&authority(), &network()).expect("settings that fit together")
}

pub(crate) fn member_record() -> Bytes {
    let record = MemberRecord {
        contact: contact(2),
        more: vec![contact(3).address.into()],
        version: RecordVersion { incarnation: 1 << 40, revision: 3 },
        left: false,
        client: true,
        labels: vec![("rack".to_owned(), "b2".to_owned())],
        certificate: Some(certificate()),
        software: Software { build: "0.1.0".to_owned(), ..Software::default() },
        reach: potluck_wire::Reach::Mapped,
        settings: 4,
    };
    record.sign(&identity(2), &network())
}

pub(crate) fn announcement() -> Bytes {
    let version = RecordVersion { incarnation: 1 << 40, revision: 3 };
    Announcement {
        records: vec![member_record(); 2],
        suspects: vec![SuspectMessage { subject: identity(4).public_key(), version }; 2],
        revocations: vec![revocation()],
        settings: Some(settings()),
    }
    .to_bytes()
}

fn grant() -> Bytes {
    match ticket().enroll(&identity(2).public_key()) {
        Enroll::Ticket { grant, .. } => grant,
        Enroll::Renewal { certificate } => certificate,
    }
}

/// All of it, as it travels.
pub(crate) fn all() -> Vec<Vec<u8>> {
    [certificate(), revocation(), settings(), grant(), member_record(), announcement()]
        .iter()
        .map(|bytes| bytes.to_vec())
        .collect()
}

/// Tickets as they are typed.
pub(crate) fn ticket_texts() -> Vec<Vec<u8>> {
    let text = ticket().to_string();
    vec![
        text.clone().into_bytes(),
        text.to_uppercase().replace("POTLUCK-TICKET", "potluck-ticket").into(),
    ]
}
