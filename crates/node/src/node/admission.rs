//! Admission: enrolments of new members, passed to the shell, which holds the authority key if this
//! node has it; revocations; and introductions, which make a peer admit this node before it is
//! called.
//!
//! **Invariant:** an enrolment that was passed to the shell is answered once; enrolments, introductions
//! and renewals under way are bounded.

use std::net::SocketAddr;

use bytes::Bytes;
use potluck_base::{Contact, Instant, Machine as _, PublicKey, PuzzleEpoch, UnixMillis};
use potluck_gossip::{TopicsInput, members};
use potluck_link::{Gatekeeper, PuzzleGate, RequestOptions, RevocationError};
use potluck_wire::{Enroll, MemberRequest, Refusal, Request, Response, Revocation, Revoked};

use super::pending::{Asker, Delivery};
use super::requests::InboundRequest;
use super::{Node, SHORT_ANSWER};
use crate::command::{CommandError, CommandId, Reply};
use crate::input::EnrolmentId;
use crate::output::Output;

/// Concurrent enrolments at the shell; further ones are refused as busy.
const ENROLMENTS_MAX: usize = 64;
/// Concurrent introductions; further ones fail.
const INTRODUCTIONS_MAX: usize = 1024;
/// Pings of one introduction: one that brings a cookie, one that makes the peer remember, and these
/// again for a peer that restarts in between.
const ROUNDS_MAX: u8 = 4;
/// Tries of each ping: the first shows no certificate to a peer that has forgotten us.
const INTRODUCTION_TRIES: u8 = 3;
/// Longest answer to a renewal request, in bytes.
const RENEWAL_ANSWER: usize = 480;
/// Nodes that are asked for a renewal at a time.
const RENEWALS_MAX: usize = 16;

/// The enrolments and introductions under way.
#[derive(Debug, Default)]
pub(super) struct AdmissionState {
    enrolments: usize,
    introductions: usize,
}

impl Node {
    /// Adds a gatekeeper: from now on only members of the `invite` network are heard. For a new node.
    #[must_use]
    pub fn with_gatekeeper(mut self, gatekeeper: Gatekeeper) -> Self {
        let own = gatekeeper.certificate().cloned();
        let authority = *gatekeeper.authority();
        self.kv.handle(Instant::ZERO, potluck_kv::Input::Authority(authority));
        if let Some(own) = &own {
            self.kv.handle(Instant::ZERO, potluck_kv::Input::Certificate(own.clone()));
        }
        self.gossip.members.require_certificates(authority, own.clone());
        self.gossip.topics.require_certificates(authority, own);
        let known: Vec<Bytes> = gatekeeper.revocations().cloned().collect();
        for bytes in known {
            self.tell_members_of_revocation(Instant::ZERO, &authority, bytes, false);
        }
        self.link.set_gatekeeper(gatekeeper);
        self
    }

    /// Adds the door of an `open` network: from now on only nodes that solve its puzzles are heard. For a
    /// new node.
    #[must_use]
    pub fn with_puzzle_gate(mut self, gate: PuzzleGate) -> Self {
        self.link.set_puzzle_gate(gate);
        self
    }

    /// Whether a datagram claims to be of a peer that this node knows there; see
    /// [`Link::is_from_peer`](potluck_link::Link::is_from_peer).
    #[must_use]
    pub fn is_from_peer(&self, from: SocketAddr, bytes: &[u8]) -> bool {
        self.link.is_from_peer(from, bytes)
    }

    /// In an `open` network: the epoch of the own solution.
    #[must_use]
    pub fn puzzle_epoch(&self) -> Option<PuzzleEpoch> {
        self.link.puzzle_gate()?.epoch()
    }

    fn tell_members_of_revocation(
        &mut self,
        now: Instant,
        authority: &PublicKey,
        bytes: Bytes,
        spread: bool,
    ) {
        if let Ok(revocation) = Revocation::read(&bytes, authority, &self.network) {
            let subject = revocation.subject;
            self.gossip.topics.handle(now, TopicsInput::Revoked(subject));
            self.kv.handle(now, potluck_kv::Input::Revoked(revocation.subject));
            let input = members::Input::Revoked { revocation, bytes, spread };
            self.gossip.members.handle(now, input);
        }
    }

    /// Takes a revocation over, wherever it came from: its subject is out at once, and all that are
    /// known are to be saved. With `spread` all members are told. Gives what is out, or `None` if
    /// that was known.
    ///
    /// # Errors
    /// [`RevocationError`]
    pub fn take_revocation(
        &mut self,
        now: Instant,
        bytes: &[u8],
        spread: bool,
    ) -> Result<Option<Revoked>, RevocationError> {
        if spread {
            self.tell_who_is_out(now, bytes);
        }
        let out = self.link.admit_revocation(bytes)?;
        if let Some(subject) = out {
            let members = self.put_out_by(&subject);
            if let Some(authority) = self.link.gatekeeper().map(|gate| *gate.authority()) {
                let bytes = Bytes::copy_from_slice(bytes);
                self.tell_members_of_revocation(now, &authority, bytes, spread);
            }
            for public_key in members {
                self.gossip.topics.handle(now, TopicsInput::Left(public_key));
                self.drop_peer(now, public_key);
                self.outbox.push_back(Output::Expelled { public_key });
            }
            let revocations = self.link.revocations().cloned().collect();
            self.outbox.push_back(Output::SaveRevocations { revocations });
        }
        Ok(out)
    }

    /// Takes over revocations that a member sent or announced, up to the first that is bad: the member
    /// should have checked it. Those that are known cost no check.
    pub(super) fn take_revocations(&mut self, now: Instant, from: PublicKey, all: &[Bytes]) {
        for bytes in all {
            if self.link.gatekeeper().is_some_and(|gate| gate.knows_revocation(bytes)) {
                continue;
            }
            let taken = self.take_revocation(now, bytes, false);
            let bad = matches!(taken, Err(RevocationError::Bad | RevocationError::NoAuthority));
            self.on_checked(now, from, 1, bad);
            if bad {
                break;
            }
        }
    }

    /// The members that a revocation puts out, as far as this node knows them.
    fn put_out_by(&self, subject: &Revoked) -> Vec<PublicKey> {
        match subject {
            Revoked::Member(key) => vec![*key],
            Revoked::Ticket(ticket) => self.gossip.members.admitted_by(ticket),
        }
    }

    /// Sends a revocation that is made here to the members that are out, if this node talks to them:
    /// else they would only see that no node answers any more, and go on trying. The last word to them,
    /// so before the revocation is taken over: afterwards nothing is left of the session.
    fn tell_who_is_out(&mut self, now: Instant, bytes: &[u8]) {
        let authority = self.link.gatekeeper().map(|gate| *gate.authority());
        let Some(authority) = authority else { return };
        let Ok(revocation) = Revocation::read(bytes, &authority, &self.network) else { return };
        for member in self.put_out_by(&revocation.subject) {
            if let Some(contact) = self.dht.contact(&member.node_id(&self.network)) {
                self.tell_out(now, contact, bytes);
            }
        }
    }

    fn tell_out(&mut self, now: Instant, contact: Contact, bytes: &[u8]) {
        let revocations = vec![Bytes::copy_from_slice(bytes)];
        let request = Request::Member(MemberRequest::Revoke { revocations });
        let options = RequestOptions {
            tries: 1,
            answer_bytes_max: SHORT_ANSWER,
            ..RequestOptions::default()
        };
        // No answer is awaited: messages of an expelled node are dropped.
        let _ = self.ask(now, Asker::Notice, contact, &request, Delivery::Datagram(options));
    }

    /// Tells topics and the record store of the certificate in a member's record, so that they know it before
    /// the member publishes or writes.
    pub(super) fn tell_of_writer(&mut self, now: Instant, member: &PublicKey) {
        if self.link.gatekeeper().is_none() {
            return;
        }
        if let Some(certificate) = self.gossip.members.certificate_of(member) {
            let member = *member;
            let listed = TopicsInput::Member { member, certificate: certificate.clone() };
            self.gossip.topics.handle(now, listed);
            self.kv.handle(now, potluck_kv::Input::MemberCertificate { member, certificate });
        }
    }

    pub(super) fn on_revoke(&mut self, now: Instant, id: CommandId, bytes: &[u8]) {
        let revoked = self.take_revocation(now, bytes, true);
        self.reply(id, Reply::Revoked(revoked));
    }

    pub(super) fn on_admitted(&mut self, contact: Contact, until: UnixMillis) {
        let Contact { public_key, address, .. } = contact;
        self.outbox.push_back(Output::Admitted { public_key, address, until });
    }

    /// A node requests a certificate.
    pub(super) fn on_enroll(&mut self, now: Instant, inbound: InboundRequest, enroll: Enroll) {
        let refusal = if self.link.gatekeeper().is_none() {
            Some(Refusal::Unsupported)
        } else if self.admission.enrolments >= ENROLMENTS_MAX {
            Some(Refusal::Busy)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.answer(now, inbound.reply_path, &Response::refused(reason));
        }
        let id = EnrolmentId(self.pending.serve(inbound.reply_path));
        self.admission.enrolments += 1;
        self.outbox.push_back(Output::Enroll { id, from: inbound.from.public_key, enroll });
    }

    /// The shell has decided: the certificate is durable in its book, or why there is none.
    pub(super) fn on_enrolled(
        &mut self,
        now: Instant,
        id: EnrolmentId,
        result: Result<Bytes, Refusal>,
    ) {
        let Some(reply_path) = self.pending.take_serve(id.0) else { return };
        self.admission.enrolments -= 1;
        let response = match result {
            Ok(certificate) => Response::Enrolled { certificate },
            Err(reason) => Response::refused(reason),
        };
        self.answer(now, reply_path, &response);
    }

    /// Asks these, and some of the own neighbourhood, for a new certificate in place of the own one.
    pub(super) fn on_renew(&mut self, now: Instant, contacts: &[Contact]) {
        let own = self.link.gatekeeper().and_then(Gatekeeper::certificate).cloned();
        let Some(certificate) = own else { return };
        let siblings: Vec<Contact> = self.dht.close_group().map(|peer| peer.contact).collect();
        let request = Request::Enroll(Enroll::Renewal { certificate });
        let options = RequestOptions {
            tries: 3,
            answer_bytes_max: RENEWAL_ANSWER,
            ..RequestOptions::default()
        };
        for contact in contacts.iter().chain(&siblings).take(RENEWALS_MAX) {
            let _ = self.ask(now, Asker::Renewal, *contact, &request, Delivery::Datagram(options));
        }
    }

    /// Introduces this node to `to`, so that it accepts a connection.
    pub(super) fn on_introduce(&mut self, now: Instant, id: CommandId, to: Contact) {
        if self.admission.introductions >= INTRODUCTIONS_MAX {
            return self.reply(id, Reply::Failed(CommandError::Busy));
        }
        self.admission.introductions += 1;
        self.introduce(now, id, to, 0);
    }

    fn introduce(&mut self, now: Instant, id: CommandId, to: Contact, rounds: u8) {
        let options = RequestOptions {
            tries: INTRODUCTION_TRIES,
            answer_bytes_max: SHORT_ANSWER,
            ..RequestOptions::default()
        };
        let asker = Asker::Introduction { id, rounds };
        if self.ask(now, asker, to, &Request::Ping, Delivery::Datagram(options)).is_err() {
            self.end_introduction(id, false);
        }
    }

    pub(super) fn end_introduction(&mut self, id: CommandId, done: bool) {
        self.admission.introductions -= 1;
        self.reply(id, Reply::Introduced(done));
    }

    /// A node answered the request for a new certificate.
    pub(super) fn on_renewal_answered(&mut self, response: Response) {
        if let Response::Enrolled { certificate } = response {
            self.outbox.push_back(Output::Renewed { certificate });
        }
    }

    /// The peer answered a ping of an introduction.
    pub(super) fn on_introduction_answered(
        &mut self,
        now: Instant,
        id: CommandId,
        from: Contact,
        rounds: u8,
    ) {
        match self.link.introduced_until(&from) {
            Some(until) => {
                // The shell is told each time, since it may have forgotten.
                self.on_admitted(from, until);
                self.end_introduction(id, true);
            }
            None if rounds < ROUNDS_MAX => self.introduce(now, id, from, rounds + 1),
            None => self.end_introduction(id, false),
        }
    }
}
