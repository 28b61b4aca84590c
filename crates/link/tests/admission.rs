//! Who is heard in an `invite` network, and that nobody else gets a byte.

mod world;

use bytes::Bytes;
use potluck_base::{Admission, Contact, Identity, Instant, NetworkId, Rate, Rng, UnixMillis};
use potluck_link::{Gatekeeper, Link, LinkConfig, Output, RequestOptions};
use potluck_wire::limits::DATAGRAM_BYTES_MAX;
use potluck_wire::{
    Certificate, Enroll, GrantTerms, Request, Response, Revocation, Revoked, Ticket,
    encode_response,
};
use world::{Node, at, config, identity, large_answer, options};

/// When the scripts play.
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const HOUR_MS: u64 = 3_600_000;

fn authority() -> Identity {
    Identity::from_seed([0xaa; 32])
}

fn invite() -> NetworkId {
    NetworkId::new("home", Admission::Invite, Some(&authority().public_key()))
}

/// A certificate of `by` for the node of `seed` that expires `expires_in_ms` from now.
fn certificate(seed: u64, by: &Identity, expires_in_ms: i64) -> Bytes {
    let certificate = Certificate {
        subject: identity(seed).public_key(),
        labels: vec![("role".into(), "test".into())],
        serial: seed,
        issued: UnixMillis(NOW.0 - HOUR_MS),
        expires: UnixMillis(NOW.0.saturating_add_signed(expires_in_ms)),
        ephemeral: false,
        salt: None,
        ticket: None,
    };
    certificate.sign(by, &invite()).expect("small")
}

/// A node of the invite network that shows `shown`.
fn node(seed: u64, shown: Option<Bytes>, config: LinkConfig) -> Node {
    let mut node = Node::in_network(seed, config, invite());
    let gatekeeper = Gatekeeper::new(invite(), authority().public_key(), shown, []);
    node.link = Link::new(identity(seed), invite(), config, Rng::from_number(seed))
        .with_gatekeeper(gatekeeper);
    node.link.set_wall_clock(Instant::ZERO, NOW);
    node
}

/// The same member after a restart, with another boot id.
fn restarted(seed: u64) -> Node {
    let mut node = member(seed);
    let shown = certificate(seed, &authority(), HOUR_MS as i64);
    let gatekeeper = Gatekeeper::new(invite(), authority().public_key(), Some(shown), []);
    node.link = Link::new(identity(seed), invite(), config(), Rng::from_number(seed + 1_000_000))
        .with_gatekeeper(gatekeeper);
    node.link.set_wall_clock(Instant::ZERO, NOW);
    node
}

fn member(seed: u64) -> Node {
    node(seed, Some(certificate(seed, &authority(), HOUR_MS as i64)), config())
}

/// Carries a request of `asker` to `server` and the answers back until nothing is sent any more.
/// Gives all datagrams; in the end the asker was answered.
fn ask(now: u64, asker: &mut Node, server: &mut Node, request: &Request) -> Vec<Bytes> {
    asker.link.request(at(now), server.contact, request, options()).expect("room");
    let mut datagrams = Vec::new();
    for _ in 0..6 {
        let mut sent = asker.sent();
        let Some((_, request)) = sent.pop() else { break };
        let answer = server.serve_members(at(now), asker, &request);
        datagrams.push(request.clone());
        let answer = answer.expect("an answer");
        asker.link.handle_datagram(at(now + 5), server.address(), &answer);
        datagrams.push(answer);
    }
    asker.sent();
    assert!(
        asker.told.iter().any(|told| matches!(told, Output::Answered { .. })),
        "told: {:?}",
        asker.told
    );
    asker.told.retain(|told| matches!(told, Output::Admitted { .. }));
    datagrams
}

impl Node {
    /// As `serve`, but keeps what it tells of who is admitted, and answers a ping with a pong.
    fn serve_members(&mut self, now: Instant, from: &Node, bytes: &[u8]) -> Option<Bytes> {
        self.link.handle_datagram(now, from.address(), bytes);
        let mut sent = self.sent();
        let asked = self.told.iter().position(|told| matches!(told, Output::Incoming { .. }));
        if let Some(Output::Incoming { reply_to, request, budget, .. }) =
            asked.map(|at| self.told.remove(at))
        {
            let large = large_answer();
            let fits = encode_response(&large).len() <= budget && request == Request::Ping;
            let answer = if fits { large } else { Response::Pong };
            self.link.respond(now, &reply_to, &answer).expect("a short answer always fits");
            sent.extend(self.sent());
        }
        assert!(sent.len() <= 1, "more than one datagram for one: {sent:?}");
        sent.pop().map(|(_, bytes)| bytes)
    }
}

/// What `server` does with the first request of `asker`: bytes sent back, requests handed on.
fn first_contact(asker: &mut Node, server: &mut Node) -> (usize, usize) {
    asker.link.request(at(0), server.contact, &Request::Ping, options()).expect("room");
    let request = asker.sent_one();
    server.link.handle_datagram(at(0), asker.address(), &request);
    let bytes = server.sent().iter().map(|(_, bytes)| bytes.len()).sum();
    let incoming = server.told.iter().filter(|told| matches!(told, Output::Incoming { .. }));
    (bytes, incoming.count())
}

#[test]
fn two_members_come_to_terms_and_then_show_no_certificates_any_more() {
    let (mut a, mut b) = (member(1), member(2));
    let shown = certificate(1, &authority(), HOUR_MS as i64).len();
    for round in 0..2 {
        let datagrams = ask(round * 20, &mut a, &mut b, &Request::Ping);
        assert!(datagrams[0].len() > 148 + shown, "round {round}: a certificate is shown");
    }
    let datagrams = ask(40, &mut a, &mut b, &Request::Ping);
    assert_eq!(datagrams.len(), 2);
    assert_eq!(datagrams[0].len(), 148, "both remember the other's");
    let (at_a, at_b) = (a.stats(), b.stats());
    assert_eq!((at_a.certificates_checked, at_b.certificates_checked), (1, 2));
    // Each was told once that the other is admitted, and where.
    let until = UnixMillis(NOW.0 + HOUR_MS);
    assert_eq!(a.told, [Output::Admitted { contact: b.contact, until, ticket: None }]);
    assert_eq!(b.told, [Output::Admitted { contact: a.contact, until, ticket: None }]);
    // The other way round nothing needs to be shown either, but the asker cannot know.
    ask(60, &mut b, &mut a, &Request::Ping);
    assert_eq!(ask(80, &mut b, &mut a, &Request::Ping)[0].len(), 148);
}

#[test]
fn what_goes_to_an_unproven_address_is_never_longer_than_what_came() {
    let (mut a, mut b) = (member(1), member(2));
    a.link.request(at(0), b.contact, &Request::Ping, options()).expect("room");
    let request = a.sent_one();
    let answer = b.serve_members(at(0), &a, &request).expect("an answer");
    assert!(answer.len() <= request.len(), "{} for {}", answer.len(), request.len());
    // Padded for less than the answerer's certificate, there is no answer.
    let mut c = member(3);
    let short = RequestOptions { answer_bytes_max: 0, ..options() };
    c.link.request(at(0), b.contact, &Request::Ping, short).expect("room");
    let request = c.sent_one();
    let answer = b.serve_members(at(0), &c, &request).expect("an answer");
    assert!(answer.len() <= request.len());
}

#[test]
fn without_a_certificate_that_holds_nobody_gets_a_byte() {
    let foreign = Identity::from_seed([0xbb; 32]);
    let cases = [
        ("none", None),
        ("another authority's", Some(certificate(1, &foreign, HOUR_MS as i64))),
        ("another key's", Some(certificate(9, &authority(), HOUR_MS as i64))),
        ("expired", Some(certificate(1, &authority(), 0))),
        ("noise", Some(Bytes::from_static(&[7; 200]))),
    ];
    for (what, shown) in cases {
        let (mut asker, mut server) = (node(1, shown, config()), member(2));
        assert_eq!(first_contact(&mut asker, &mut server), (0, 0), "{what}");
        let stats = server.stats();
        assert_eq!((stats.dropped_not_admitted, stats.sessions), (1, 0), "{what}");
    }
    assert_ne!(first_contact(&mut member(1), &mut member(2)).1, 0, "a member is heard");
}

#[test]
fn a_certificate_that_expires_is_not_heard_from_then_on_although_its_session_stands() {
    let (mut a, mut b) = (member(1), member(2));
    for round in 0..3 {
        ask(round * 20, &mut a, &mut b, &Request::Ping);
    }
    b.link.set_wall_clock(Instant::ZERO, UnixMillis(NOW.0 + HOUR_MS));
    b.told.clear();
    assert_eq!(first_contact(&mut a, &mut b), (0, 0));
    assert_eq!(b.stats().dropped_not_admitted, 1);
}

#[test]
fn who_is_revoked_is_out_at_once_and_its_old_certificate_does_not_help() {
    let (mut a, mut b) = (member(1), member(2));
    for round in 0..3 {
        ask(round * 20, &mut a, &mut b, &Request::Ping);
    }
    let revocation =
        Revocation { subject: Revoked::Member(a.key()), at: NOW }.sign(&authority(), &invite());
    assert_eq!(b.link.admit_revocation(&revocation), Ok(Some(Revoked::Member(a.key()))));
    assert_eq!(b.link.admit_revocation(&revocation), Ok(None));
    assert_eq!(b.link.revocations().collect::<Vec<_>>(), [&revocation]);
    assert!(!b.link.is_admitted(&a.key()));
    b.told.clear();
    assert_eq!(first_contact(&mut a, &mut b), (0, 0), "unshown");
    // After the silence it shows its certificate again.
    a.link.handle_timeout(at(60_000));
    let again = a.sent_one();
    assert_eq!(b.serve_members(at(60_000), &a, &again), None, "shown");
    assert_eq!(b.stats().revocations, 1);
    // Nor is it asked for anything successfully: its answers do not count.
    b.link.request(at(70_000), a.contact, &Request::Ping, options()).expect("room");
    let question = b.sent_one();
    a.told.clear();
    let answer = a.serve_members(at(70_000), &b, &question).expect("it would");
    b.link.handle_datagram(at(70_010), a.address(), &answer);
    b.sent();
    assert!(matches!(b.told.last(), Some(Output::Failed { .. })), "{:?}", b.told);
}

#[test]
fn an_answer_of_somebody_without_a_certificate_does_not_count() {
    // The door of the answerer stands open: it answers everybody, but has nothing to show.
    let mut member = member(1);
    let mut stranger = Node::in_network(2, config(), invite());
    member.link.request(at(0), stranger.contact, &Request::Ping, options()).expect("room");
    let question = member.sent_one();
    let answer = stranger.serve(at(0), member.address(), &question).expect("it answers");
    member.take(at(5), stranger.address(), &answer);
    assert!(member.told.is_empty(), "{:?}", member.told);
    assert_eq!(member.stats().dropped_not_admitted, 1);
}

#[test]
fn a_request_too_long_for_a_certificate_beside_it_is_introduced_first() {
    let (mut a, mut b) = (member(1), member(2));
    let request =
        Request::Store { envelopes: vec![Bytes::from(vec![7; 1000])], certificates: vec![] };
    let datagrams = ask(0, &mut a, &mut b, &request);
    // Ping and pong with a cookie, ping and pong without, request and answer.
    assert_eq!(datagrams.len(), 6);
    assert!(datagrams.iter().all(|bytes| bytes.len() <= DATAGRAM_BYTES_MAX));
    assert_eq!(a.stats().introductions, 2);
    assert_eq!(ask(20, &mut a, &mut b, &request).len(), 2);
}

#[test]
fn members_that_forgot_each_other_come_to_terms_again() {
    let (mut a, mut b) = (member(1), member(2));
    for round in 0..3 {
        ask(round * 20, &mut a, &mut b, &Request::Ping);
    }
    b = restarted(2);
    // The first try shows nothing, and the answerer that forgot us is silent.
    assert_eq!(first_contact(&mut a, &mut b), (0, 0));
    a.link.handle_timeout(at(10_000));
    let again = a.sent_one();
    let answer = b.serve_members(at(10_000), &a, &again).expect("the second try shows it");
    a.told.clear();
    a.link.handle_datagram(at(10_005), b.address(), &answer);
    a.sent();
    assert!(a.told.iter().any(|told| matches!(told, Output::Answered { .. })), "{:?}", a.told);
    // The other way round: who forgot asks, and shows its certificate at once.
    a = restarted(1);
    ask(20_000, &mut a, &mut b, &Request::Ping);
}

#[test]
fn who_does_not_know_the_network_costs_no_key_agreement_and_gets_no_byte() {
    let tight = LinkConfig { agreements: Rate::new(1, 4), ..LinkConfig::default() };
    let mut server = node(2, Some(certificate(2, &authority(), HOUR_MS as i64)), tight);
    let outside = NetworkId::new("home", Admission::Lab, None);
    for seed in 100..400 {
        let mut stranger = Node::in_network(seed, config(), outside);
        stranger.link.hello(at(0), server.address());
        stranger.link.request(at(0), server.contact, &Request::Ping, options()).expect("room");
        for (_, bytes) in stranger.sent() {
            // The tag can be seen in any datagram of the network.
            let mut bytes = bytes.to_vec();
            bytes[2..10].copy_from_slice(&invite().tag());
            server.link.handle_datagram(at(0), stranger.address(), &bytes);
        }
    }
    assert_eq!(server.sent(), []);
    let stats = server.stats();
    assert_eq!((stats.dropped_unmarked, stats.key_agreements, stats.limits), (600, 0, 0));
    // So a member still gets in, at whatever rate the strangers come.
    let mut a = member(1);
    ask(0, &mut a, &mut server, &Request::Ping);
}

#[test]
fn a_flood_that_knows_the_network_is_bounded_by_the_budget_for_key_agreements() {
    let tight = LinkConfig { agreements: Rate::new(1, 10), ..LinkConfig::default() };
    let mut server = node(2, Some(certificate(2, &authority(), HOUR_MS as i64)), tight);
    let foreign = Identity::from_seed([0xbb; 32]);
    let mut bytes_in = 0;
    let mut bytes_out = 0;
    for seed in 100..300 {
        let shown = certificate(seed, &foreign, HOUR_MS as i64);
        let mut stranger = node(seed, Some(shown), config());
        stranger.link.request(at(0), server.contact, &Request::Ping, options()).expect("room");
        let bytes = stranger.sent_one();
        bytes_in += bytes.len();
        server.link.handle_datagram(at(0), stranger.address(), &bytes);
        bytes_out += server.sent().iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    let stats = server.stats();
    assert_eq!((stats.certificates_checked, stats.key_agreements), (10, 10));
    assert_eq!((stats.retries_out, stats.sessions), (190, 0), "members come back with a cookie");
    assert!(bytes_out * 10 < bytes_in, "{bytes_out} for {bytes_in}");
}

fn ticket(expires_in_ms: i64) -> Ticket {
    let terms = GrantTerms {
        uses: Some(1),
        issued: UnixMillis(NOW.0 - HOUR_MS),
        expires: UnixMillis(NOW.0.saturating_add_signed(expires_in_ms)),
        labels: Vec::new(),
        ephemeral: false,
    };
    Ticket::issue("home", &authority(), [0x77; 32], terms, &[]).expect("no labels")
}

/// What a newcomer's request to enroll does at a member.
fn enroll(seed: u64, enroll: Enroll) -> (Node, Node) {
    let (mut newcomer, mut server) = (node(seed, None, config()), member(2));
    let request = Request::Enroll(enroll);
    newcomer.link.request(at(0), server.contact, &request, options()).expect("room");
    let bytes = newcomer.sent_one();
    server.link.handle_datagram(at(0), newcomer.address(), &bytes);
    assert_eq!(server.sent(), []);
    (newcomer, server)
}

#[test]
fn a_newcomer_with_a_ticket_is_heard_for_its_enrolment_and_nothing_else() {
    let (mut newcomer, mut server) =
        enroll(5, ticket(HOUR_MS as i64).enroll(&identity(5).public_key()));
    let Output::Incoming { reply_to, request, .. } = server.told_one() else {
        panic!("a request was expected");
    };
    assert!(matches!(request, Request::Enroll(_)));
    assert_eq!((server.stats().sessions, server.stats().enrolments_in), (0, 1));
    let certificate = certificate(5, &authority(), HOUR_MS as i64);
    let answer = Response::Enrolled { certificate: certificate.clone() };
    server.link.respond(at(0), &reply_to, &answer).expect("the newcomer left room for it");
    let bytes = server.sent_one();
    newcomer.link.handle_datagram(at(5), server.address(), &bytes);
    newcomer.sent();
    let answered =
        |told: &Output| matches!(told, Output::Answered { response, .. } if *response == answer);
    assert!(newcomer.told.iter().any(answered), "{:?}", newcomer.told);
    // Without the certificate it is nobody still; with it a member.
    server.told.clear();
    assert_eq!(first_contact(&mut newcomer, &mut server), (0, 0));
    newcomer.link.handle_timeout(at(60_000));
    newcomer.sent();
    newcomer.told.clear();
    newcomer.link.set_certificate(certificate);
    ask(60_000, &mut newcomer, &mut server, &Request::Ping);
}

#[test]
fn a_ticket_that_is_expired_made_up_or_anothers_lets_nobody_in() {
    let foreign = Identity::from_seed([0xbb; 32]);
    let terms = GrantTerms {
        uses: None,
        issued: NOW,
        expires: UnixMillis(NOW.0 + HOUR_MS),
        labels: Vec::new(),
        ephemeral: false,
    };
    let made_up = Ticket::issue("home", &foreign, [1; 32], terms, &[]).expect("no labels");
    let own = identity(5).public_key();
    let cases = [
        ("expired", ticket(0).enroll(&own)),
        ("recorded from another's enrolment", ticket(1000).enroll(&identity(6).public_key())),
        ("of another authority", made_up.enroll(&own)),
        ("a renewal without a certificate", Enroll::Renewal { certificate: Bytes::new() }),
    ];
    for (what, request) in cases {
        let (_, server) = enroll(5, request);
        assert!(server.told.is_empty(), "{what}: {:?}", server.told);
        assert_eq!(server.stats().dropped_not_admitted, 1, "{what}");
    }
}

#[test]
fn a_revoked_node_cannot_enroll_again_by_a_ticket_from_before() {
    let (mut newcomer, mut server) = (node(5, None, config()), member(2));
    let revocation = Revocation { subject: Revoked::Member(newcomer.key()), at: NOW }
        .sign(&authority(), &invite());
    assert_eq!(
        server.link.admit_revocation(&revocation),
        Ok(Some(Revoked::Member(newcomer.key())))
    );
    let request = Request::Enroll(ticket(HOUR_MS as i64).enroll(&newcomer.key()));
    newcomer.link.request(at(0), server.contact, &request, options()).expect("room");
    let bytes = newcomer.sent_one();
    server.link.handle_datagram(at(0), newcomer.address(), &bytes);
    assert_eq!((server.sent().len(), server.told.len()), (0, 0));
}

#[test]
fn networks_without_a_door_have_nothing_to_revoke() {
    let mut open = Node::new(1, config());
    assert!(open.link.admit_revocation(b"anything").is_err());
    assert_eq!(open.link.revocations().count(), 0);
    assert!(open.link.is_admitted(&Contact { ..Node::new(2, config()).contact }.public_key));
}
