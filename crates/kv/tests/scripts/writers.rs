//! Writers are members at each door of a node in a network with certificates.

use bytes::Bytes;
use potluck_base::{Defences, Identity, Machine as _, UnixMillis};
use potluck_kv::{Config, Input};
use potluck_record::{CertificateHash, Envelope, Kind, Place, Space};
use potluck_wire::{Certificate, Load, Loaded, Refusal, Request, Revoked};

use crate::doors::without;
use crate::holder::offer;
use crate::samples::{
    WALL, blind, config, digest, envelope, identity, key, network, page, peer, store, value,
};
use crate::script::{
    Given::{
        Asked, Ends, Finds, Get, Loads, Merges, Other, Page, Put, Refuses, Scans, Silent, Stores,
    },
    Script, step,
};

const NONE: &[&str] = &[];
const DAY: u64 = 24 * 3_600_000;

fn authority() -> Identity {
    Identity::from_seed([0xaa; 32])
}

/// The certificate of the node at this place, valid for a day before and this long after the beginning.
fn lasting(place: u8, after: u64) -> Bytes {
    let certificate = Certificate {
        subject: identity(place).public_key(),
        labels: Vec::new(),
        serial: 1,
        issued: UnixMillis(WALL.0 - DAY),
        expires: UnixMillis(WALL.0 + after),
        ephemeral: false,
        salt: None,
        ticket: None,
    };
    certificate.sign(&authority(), &network()).expect("small")
}

fn certificate(place: u8) -> Bytes {
    lasting(place, DAY)
}

/// An envelope of the node at this place, with its certificate's hash.
fn by(place: u8, text: &'static str) -> Envelope {
    envelope(place, text, |draft| {
        draft.certificate = Some(CertificateHash::of(&certificate(place)));
    })
}

/// The same in the space of providers.
fn provider(place: u8) -> Envelope {
    envelope(place, "here", |draft| {
        (draft.space, draft.kind) = (Space::Provider, Kind::PerWriter);
        draft.name = Some(potluck_record::Name::new("a").expect("a name"));
        draft.certificate = Some(CertificateHash::of(&certificate(place)));
    })
}

fn guarded_with(serves: bool, config: Config) -> Script {
    let mut script = Script::with(serves, config);
    script.give(Other(Input::Authority(authority().public_key())));
    script
}

fn guarded() -> Script {
    guarded_with(true, config())
}

fn open() -> Script {
    guarded_with(true, without(|on| on.member_writers = false))
}

/// A request to store with certificates beside it.
fn certified(envelopes: &[Envelope], certificates: &[Bytes]) -> Request {
    let envelopes = envelopes.iter().map(Envelope::encode).collect();
    Request::Store { envelopes, certificates: certificates.to_vec() }
}

fn knowing(script: &mut Script, place: u8) {
    let (member, certificate) = (identity(place).public_key(), certificate(place));
    script.give(Other(Input::MemberCertificate { member, certificate }));
}

#[test]
fn throw_away_keys_of_one_member_take_no_place_at_a_store() {
    let throw_away: Vec<Envelope> = (2..8).map(|place| value(place, "blocked")).collect();
    let told = ["the writer is not a member"; 6].join(", ");
    let mut script = guarded();
    script.play([step("six", Asked(1, store(&throw_away)), &[&format!("respond {told}")])]);
    assert_eq!(script.kv.stats().refused_not_member, 6);
    assert_eq!(open().give(Asked(1, store(&throw_away))).len(), 6, "without it all are merged");
}

#[test]
fn a_writer_is_asked_for_its_certificate_once_and_the_holder_keeps_it() {
    let (mine, cert) = (by(1, "mine"), certificate(1));
    let mut script = guarded();
    script.play([
        step(
            "not known",
            Asked(1, store(std::slice::from_ref(&mine))),
            &["respond the writer's certificate is not known"],
        ),
        step(
            "with it",
            Asked(1, certified(std::slice::from_ref(&mine), std::slice::from_ref(&cert))),
            &["keep 1 certificates, drop 0", "merge replica: mine"],
        ),
        step("durable", Merges(Place::Replica), &["respond stored"]),
        step("known", Asked(1, store(&[by(1, "again")])), &["merge replica: again"]),
    ]);
    let wanted = vec![CertificateHash::of(&cert), CertificateHash::of(b"another")];
    let load = Request::Load(Load { keys: vec![], after: None, certificates: wanted });
    script.play([step("another node asks for it", Asked(2, load), &["respond 1 certificates"])]);
    assert_eq!(script.kv.stats().certificates, 1);
}

#[test]
fn a_certificate_of_another_authority_lets_none_in() {
    let forged = {
        let certificate = Certificate::read(&certificate(1), &authority().public_key(), &network());
        certificate.expect("it is good").sign(&identity(5), &network()).expect("small")
    };
    let mine = envelope(1, "mine", |draft| {
        draft.certificate = Some(CertificateHash::of(&forged));
    });
    let refused = "respond the writer's certificate is not known";
    guarded().play([step("forged", Asked(1, certified(&[mine], &[forged])), &[refused])]);
}

#[test]
fn another_node_stores_for_a_writer_only_while_the_certificate_is_valid() {
    let old = lasting(4, 0);
    let theirs = envelope(4, "theirs", |draft| {
        draft.certificate = Some(CertificateHash::of(&old));
    });
    let ask = || certified(std::slice::from_ref(&theirs), std::slice::from_ref(&old));
    let merged = &["keep 1 certificates, drop 0", "merge replica: theirs"];
    guarded().play([
        step("read repair", Asked(1, ask()), &["respond the writer is not a member"]),
        step("the writer itself, which the link has admitted", Asked(4, ask()), merged),
    ]);
    let valid = certified(&[by(4, "theirs")], &[certificate(4)]);
    guarded().play([step("valid", Asked(1, valid), merged)]);
}

#[test]
fn a_provider_is_named_by_itself_alone() {
    let mut script = guarded();
    knowing(&mut script, 4);
    script.play([
        step(
            "another one",
            Asked(1, store(&[provider(4)])),
            &["respond the writer is not a member"],
        ),
        step(
            "itself",
            Asked(4, store(&[provider(4)])),
            &["keep 1 certificates, drop 0", "merge replica: here"],
        ),
    ]);
    assert_eq!(script.kv.stats().refused_not_sender, 1);
    // In a network without certificates, too.
    let refused = &["respond the writer is not a member"];
    Script::replica().play([step("in lab", Asked(1, store(&[provider(4)])), refused)]);
}

#[test]
fn in_lab_what_one_node_stores_for_others_gets_half_of_the_places() {
    let limit = |script: &mut Script, from: u8| {
        let request = Input::PeerRequest {
            serve: potluck_kv::ServeId(9),
            request: potluck_kv::PeerRequest {
                from: peer(from),
                request: store(&[value(4, "x")]),
                contacts: Vec::new(),
                proven: true,
                budget: 1200,
            },
        };
        script.kv.handle(potluck_base::Instant::ZERO, request);
        let mut found = None;
        while let Some(output) = script.kv.poll_output() {
            if let potluck_kv::Output::Storage {
                op: potluck_record::StorageOp::Merge { how, .. },
                ..
            } = output
            {
                let potluck_record::MergeAs::Ingress { writers_max, .. } = how else {
                    panic!("{how:?}")
                };
                found = Some(writers_max);
            }
        }
        found.expect("a merge")
    };
    assert_eq!(limit(&mut Script::replica(), 1), 16);
    assert_eq!(limit(&mut Script::replica(), 4), 32);
    let mut open = Script::with(true, without(|on| *on = Defences::NONE));
    assert_eq!(limit(&mut open, 1), 32, "without it all of them");
}

#[test]
fn an_excluded_member_writes_no_more_and_two_holders_show_what_it_wrote_before() {
    let theirs = by(4, "theirs");
    let mut script = guarded();
    script.give(Other(Input::CloseGroup((1..=4).map(peer).collect())));
    knowing(&mut script, 4);
    script.give(Other(Input::Revoked(Revoked::Member(identity(4).public_key()))));
    script.play([step(
        "it stores",
        Asked(4, store(std::slice::from_ref(&theirs))),
        &["respond the writer is not a member"],
    )]);
    let offered = |script: &mut Script, from: u8| {
        script.give(Asked(from, offer(&[(key(), digest(std::slice::from_ref(&theirs)))])));
        script.give(Scans(vec![]));
        script.give(Page(from, page(std::slice::from_ref(&theirs), 1)))
    };
    assert_eq!(offered(&mut script, 1), NONE);
    assert_eq!(offered(&mut script, 1), NONE, "the same one again");
    let merged = ["keep 1 certificates, drop 0", "merge replica: theirs"];
    assert_eq!(offered(&mut script, 2), merged, "a second holder has it");
    assert_eq!(script.kv.stats().refused_revoked, 3);
}

#[test]
fn a_pull_asks_its_source_for_certificates_and_leaves_strangers_out() {
    let mut all = vec![by(4, "theirs"), value(5, "stranger")];
    all.sort_by_key(|envelope| *envelope.head().writer().as_bytes());
    let pulled = |script: &mut Script| {
        script.give(Other(Input::CloseGroup((1..=4).map(peer).collect())));
        script.give(Asked(1, offer(&[(key(), digest(&all))])));
        script.give(Scans(vec![]));
        script.give(Page(1, page(&all, 1)))
    };
    let mut script = guarded();
    assert_eq!(pulled(&mut script), ["call 1 for 1 certificates"]);
    let certificates = vec![certificate(4)];
    let answer = Page(1, Loaded { certificates, ..Loaded::default() });
    let merged = &["keep 1 certificates, drop 0", "merge replica: theirs"];
    script.play([step("it has it", answer, merged)]);
    assert_eq!((script.kv.stats().refused_not_member, script.kv.stats().pulls_waiting), (1, 0));
    let mut script = guarded();
    pulled(&mut script);
    script.play([step("it has it not", Silent(1), NONE)]);
    assert_eq!(script.kv.stats().refused_not_member, 2);
    assert_eq!(pulled(&mut open()).len(), 2, "without it both are merged");
}

#[test]
fn a_read_believes_no_stranger_and_asks_for_certificates_once() {
    let asked = |script: &mut Script, found: Vec<Envelope>| {
        script.give(Get(1));
        script.give(Loads(Place::Replica, vec![]));
        script.give(Loads(Place::Own, vec![]));
        script.give(Finds(1, found))
    };
    let mut script = guarded_with(false, config());
    assert_eq!(asked(&mut script, vec![by(4, "theirs")]), ["ask 1 for 1 certificates"]);
    let certificates = vec![certificate(4)];
    script.play([
        step("it has it", Page(1, Loaded { certificates, ..Loaded::default() }), NONE),
        step(
            "a second one",
            Finds(2, vec![by(4, "theirs")]),
            &["stop looking", "reply 1: read theirs of 2"],
        ),
    ]);
    let mut script = guarded_with(false, config());
    assert_eq!(asked(&mut script, vec![value(4, "stranger")]), NONE);
    script.give(Finds(2, vec![value(4, "stranger")]));
    script.play([step("the end", Ends(vec![1, 2]), &["reply 1: read nothing of 2"])]);
    let mut script = guarded_with(false, without(|on| on.member_writers = false));
    asked(&mut script, vec![value(4, "stranger")]);
    let found = script.give(Finds(2, vec![value(4, "stranger")]));
    assert_eq!(found, ["stop looking", "reply 1: read stranger of 2"], "without it");
}

#[test]
fn a_read_goes_on_without_a_certificate_that_is_not_given() {
    let mut script = guarded_with(false, config());
    script.give(Get(1));
    script.give(Loads(Place::Replica, vec![]));
    script.give(Loads(Place::Own, vec![]));
    script.give(Finds(1, vec![by(4, "theirs")]));
    script.give(Finds(2, vec![]));
    script.give(Finds(3, vec![]));
    script.play([
        step("the lookup ends", Ends(vec![1, 2, 3]), NONE),
        step("the certificate does not come", Silent(1), &["reply 1: read nothing of 3"]),
    ]);
}

#[test]
fn a_write_sends_its_certificate_to_a_replica_that_lacks_it() {
    let mut script = guarded_with(false, config());
    script.give(Other(Input::Certificate(certificate(0))));
    script.give(Put(1, blind("mine")));
    script.give(Loads(Place::Replica, vec![]));
    script.give(Loads(Place::Own, vec![]));
    script.play([
        step("read", Ends(vec![1, 2, 3]), &["keep 1 certificates, drop 0", "merge own: mine"]),
        step(
            "durable",
            Merges(Place::Own),
            &["ask 1 to store mine", "ask 2 to store mine", "ask 3 to store mine"],
        ),
        step(
            "one lacks it",
            Refuses(1, Refusal::CertificateNeeded),
            &["ask 1 to store mine with certificates"],
        ),
        step("and has it then", Stores(1), NONE),
        step("another one", Stores(2), &["reply 1: written, 2 of 3 acknowledged"]),
        step(
            "the third lacks it",
            Refuses(3, Refusal::CertificateNeeded),
            &["ask 3 to store mine with certificates"],
        ),
        step("for ever", Refuses(3, Refusal::CertificateNeeded), NONE),
    ]);
    let named = script.signed()[0].head().certificate();
    assert_eq!(named, Some(CertificateHash::of(&certificate(0))));
}

#[test]
fn a_context_that_names_many_invented_writers_is_refused() {
    let naming = |count: u8| {
        let invented = (0..count).map(|number| {
            let writer = potluck_base::PublicKey::from_bytes([number; 32]);
            (writer, crate::samples::dot(WALL))
        });
        envelope(4, "merge", |draft| {
            draft.certificate = Some(CertificateHash::of(&certificate(4)));
            draft.context = invented.collect();
        })
    };
    let asked = |script: &mut Script, count| {
        knowing(script, 4);
        script.give(Asked(4, store(&[naming(count)]))).pop()
    };
    assert_eq!(asked(&mut guarded(), 32), Some("merge replica: merge".to_owned()));
    let mut script = guarded();
    assert_eq!(asked(&mut script, 33), Some("respond bad envelope".to_owned()));
    assert_eq!(script.kv.stats().contexts_refused, 1);
    assert_eq!(asked(&mut open(), 127), Some("merge replica: merge".to_owned()), "without it");
}
