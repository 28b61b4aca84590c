//! What comes in: who sent it, what it may cost us, and what it says.
//!
//! The order is: form, network, own key, replay, mark, rate, key agreement, seal, content,
//! certificate. Nothing is remembered of a sender before its seal held *and* its address is proven
//! *and* it is admitted. An answer is given to who may be heard only: what is not goes without a
//! byte, also where others would get a demand for a cookie.

use std::net::SocketAddr;

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::limits::{DATAGRAM_BYTES_MAX, MESSAGE_BYTES_MAX};
use potluck_wire::version::{after_refusal, of_message};
use potluck_wire::{DecodeError, Purpose, Refusal, Response, decode_request, decode_response};

use crate::admission::{Entry, Shown};
use crate::frame::{
    ANSWER_OVERHEAD, Cookie, Frame, FrameError, Greeter, Inner, Kind, Sealed, Serial,
    certificate_overhead, parse, parse_inner, write_retry, write_welcome,
};
use crate::gatekeeper::Pass;
use crate::keys::Keys;
use crate::link::{Link, ReplyTo, RequestToken, canonical};
use crate::outputs::Output;
use crate::requests::Outstanding;

/// What is known of a sender before its seal is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A peer where it surely is, in the life we know it in.
    Proven,
    /// It showed a cookie for this address and key.
    Caller,
    /// We asked this peer at this address and wait for the answer.
    Expected,
    /// Anything else. The address may be forged.
    Stranger,
}

/// An opened datagram's envelope.
struct Arrival {
    from: Contact,
    serial: Serial,
    standing: Standing,
    keys: Keys,
    /// Of the whole datagram.
    length: usize,
}

impl Link {
    /// Takes a datagram in. Whatever is wrong with it is counted and has no other effect.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let from = canonical(from);
        self.stats.datagrams_in += 1;
        self.stats.bytes_in += bytes.len() as u64;
        self.stats.traffic.note_received(Purpose::Link, bytes.len() as u64);
        match parse(bytes, &self.tag) {
            Ok(Frame::Sealed(sealed)) => self.on_sealed(now, from, &sealed),
            Ok(Frame::Hello { nonce, mark, padding }) => {
                if self.marks.is_hello(&nonce, &mark, padding) {
                    self.on_hello(now, from, &nonce);
                } else {
                    self.stats.dropped_unmarked += 1;
                }
            }
            Ok(Frame::Welcome { nonce, greeter }) => self.on_welcome(from, &nonce, &greeter),
            Ok(Frame::Retry { serial, cookie }) => self.on_retry(now, from, serial, cookie),
            Err(FrameError::Malformed) => self.stats.dropped_malformed += 1,
            Err(FrameError::Version) => self.stats.dropped_version += 1,
            Err(FrameError::OtherNetwork) => self.stats.dropped_other_network += 1,
        }
    }

    /// Whether a datagram claims to be of a peer whose address is proven, in the life that we know it in, or
    /// that was asked there. Costs no cryptography, and proves nothing: the shell handles such datagrams
    /// before others.
    #[must_use]
    pub fn is_from_peer(&self, from: SocketAddr, bytes: &[u8]) -> bool {
        let from = canonical(from);
        let Ok(Frame::Sealed(sealed)) = parse(bytes, &self.tag) else { return false };
        let session = self.sessions.peek(&sealed.sender);
        session.is_some_and(|session| session.is_proven(from, sealed.serial))
            || self.requests.expects(&sealed.sender, from)
    }

    fn on_hello(&mut self, now: Instant, from: SocketAddr, nonce: &[u8; 16]) {
        if !self.strangers.admit(now, from) {
            self.stats.dropped_stranger_rate += 1;
            return;
        }
        self.stats.hellos_answered += 1;
        let greeter = Greeter {
            public_key: self.keys.public_key(),
            salt: self.salt(),
            addresses: Vec::new(),
        };
        self.transmit(from, write_welcome(&self.tag, nonce, &greeter), Purpose::Link);
    }

    fn on_welcome(&mut self, from: SocketAddr, nonce: &[u8; 16], greeter: &Greeter) {
        let public_key = greeter.public_key;
        if public_key == self.keys.public_key() {
            self.stats.dropped_own_key += 1;
        } else if self.hellos.finish(from, nonce) {
            self.stats.hellos_greeted += 1;
            let contact = Contact { public_key, salt: greeter.salt, address: from };
            self.keep_promise(Output::Greeted { address: from, contact });
        } else {
            self.stats.dropped_unsolicited += 1;
        }
    }

    /// A demand for a cookie is not authenticated, but only who saw the request knows its serial.
    fn on_retry(&mut self, now: Instant, from: SocketAddr, serial: Serial, cookie: Cookie) {
        let found = self.requests.find_by_counter(serial.counter);
        let asked = found.filter(|(_, request)| request.expects(&from));
        let Some((token, public_key)) =
            asked.map(|(token, request)| (token, request.to.public_key))
        else {
            self.stats.dropped_unsolicited += 1;
            return;
        };
        if !self.is_own_boot(serial) || !self.requests.redirect(token) {
            self.stats.dropped_unsolicited += 1;
            return;
        }
        if let Some(session) = self.sessions.get_mut(&public_key) {
            session.set_credit(now, from, Some(cookie));
        }
        self.requests.narrow(token, from);
        self.stats.requests_redirected += 1;
        self.transmit_try(now, token);
    }

    fn on_sealed(&mut self, now: Instant, from: SocketAddr, sealed: &Sealed<'_>) {
        if sealed.sender == self.keys.public_key() {
            self.stats.dropped_own_key += 1;
            return;
        }
        let session = self.sessions.peek(&sealed.sender);
        if session.is_some_and(|session| session.replay.is_spent(sealed.serial)) {
            self.stats.dropped_replayed += 1;
            return;
        }
        // Before the rate limits: who does not know the network must not use up what newcomers need.
        if session.is_none() && !self.is_marked(&sealed.sender, &sealed.serial.boot) {
            self.stats.dropped_unmarked += 1;
            return;
        }
        let standing = self.standing(now, from, sealed);
        if !self.admit(now, from, standing, &sealed.sender) {
            return;
        }
        let Some(keys) = self.keys_for(now, from, standing, sealed) else { return };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(sealed.body);
        let length = sealed.header.len() + sealed.body.len();
        let from = Contact::new(sealed.sender, from);
        let arrival = Arrival { from, serial: sealed.serial, standing, keys, length };
        match keys.open.open(sealed.serial, sealed.header, &mut scratch) {
            None => self.stats.dropped_unauthentic += 1,
            Some(plain) => match parse_inner(plain) {
                None => self.stats.dropped_undecodable += 1,
                Some(inner) if inner.kind == Kind::Request => {
                    self.note_purpose(Purpose::of_request(inner.message), length);
                    self.on_request(now, &arrival, &inner);
                }
                Some(inner) => {
                    self.note_purpose(Purpose::of_response(inner.message), length);
                    self.on_response(now, &arrival, &inner);
                }
            },
        }
        self.scratch = scratch;
    }

    /// A datagram counts as the link's own until its seal held.
    fn note_purpose(&mut self, purpose: Purpose, length: usize) {
        self.stats.traffic.move_received(Purpose::Link, purpose, length as u64);
    }

    fn standing(&mut self, now: Instant, from: SocketAddr, sealed: &Sealed<'_>) -> Standing {
        let session = self.sessions.peek(&sealed.sender);
        if session.is_some_and(|session| session.is_proven(from, sealed.serial)) {
            return Standing::Proven;
        }
        if let Some(cookie) = &sealed.cookie {
            if self.cookies.verify(now, from, &sealed.sender, cookie) {
                return Standing::Caller;
            }
            self.stats.cookies_refused += 1;
        }
        if self.requests.expects(&sealed.sender, from) {
            return Standing::Expected;
        }
        Standing::Stranger
    }

    /// Whether a datagram is within the rate limits for its sender's standing.
    fn admit(
        &mut self,
        now: Instant,
        from: SocketAddr,
        standing: Standing,
        sender: &PublicKey,
    ) -> bool {
        match standing {
            Standing::Expected => true,
            Standing::Proven => {
                // Charged once the seal held, or a forger could spend what is the peer's.
                let session = self.sessions.peek(sender);
                let admitted = session.is_some_and(|session| session.would_admit(now))
                    || self.requests.expects(sender, from);
                self.stats.dropped_peer_rate += u64::from(!admitted);
                admitted
            }
            Standing::Caller => {
                let admitted = self.callers.admit(now, from);
                self.stats.dropped_caller_rate += u64::from(!admitted);
                admitted
            }
            Standing::Stranger => {
                let admitted = self.strangers.admit(now, from);
                self.stats.dropped_stranger_rate += u64::from(!admitted);
                admitted
            }
        }
    }

    /// The keys shared with the sender: from its session, or agreed on now if the budget allows.
    fn keys_for(
        &mut self,
        now: Instant,
        from: SocketAddr,
        standing: Standing,
        sealed: &Sealed<'_>,
    ) -> Option<Keys> {
        if let Some(session) = self.sessions.peek(&sealed.sender) {
            return Some(session.keys);
        }
        let stranger = standing == Standing::Stranger;
        let gate = if stranger { &mut self.strangers } else { &mut self.callers };
        if !gate.admit_agreement(now) {
            if stranger {
                self.stats.retries_out += 1;
                let cookie = self.cookies.make(now, from, &sealed.sender);
                self.transmit(from, write_retry(&self.tag, sealed.serial, &cookie), Purpose::Link);
            } else {
                self.stats.dropped_caller_rate += 1;
            }
            return None;
        }
        self.stats.key_agreements += 1;
        let keys = self.keys.agree(&sealed.sender).ok();
        self.stats.dropped_bad_key += u64::from(keys.is_none());
        keys
    }

    fn on_request(&mut self, now: Instant, arrival: &Arrival, inner: &Inner<'_>) {
        let Arrival { from, standing, keys, length, .. } = *arrival;
        let request = match decode_request(inner.message) {
            Ok(request) => Some(request),
            // Answered, so that an older and a newer node can tell each other so.
            Err(DecodeError::Version(_) | DecodeError::Unknown) => None,
            Err(DecodeError::Malformed | DecodeError::Limit(_)) => {
                self.stats.dropped_undecodable += 1;
                return;
            }
        };
        let proven = matches!(standing, Standing::Proven | Standing::Caller);
        // To be expected here was an answer; a question is a stranger's.
        if standing == Standing::Expected && !self.strangers.admit(now, from.address) {
            self.stats.dropped_stranger_rate += 1;
            return;
        }
        let shown = Shown { credential: inner.certificate, proven };
        let entry = self.entry(now, &from.public_key, shown, request.as_ref());
        let pass = match entry {
            Entry::Open => None,
            Entry::Admitted(pass) => Some(pass),
            Entry::Enrolling => None,
            Entry::Refused | Entry::Unknown => {
                self.stats.dropped_not_admitted += 1;
                return;
            }
        };
        let enrolling = entry == Entry::Enrolling;
        self.stats.enrolments_in += u64::from(enrolling);
        // Who has only a ticket leaves nothing behind either.
        if !enrolling && !self.remember_asker(now, arrival, proven, pass) {
            return;
        }
        let shows = inner.certificate.is_some() || enrolling;
        let budget = self.budget(proven, length, shows);
        let request_id = inner.request_id;
        let from = Contact { salt: pass.and_then(|pass| pass.salt), ..from };
        let version = of_message(inner.message);
        // What it asks in is what it speaks, also after it was replaced by a newer build.
        if request.is_some()
            && let Some(session) = self.sessions.get_mut(&from.public_key)
        {
            session.version = version;
        }
        let key = keys.seal;
        let reply_to = ReplyTo { to: from, request_id, budget, proven, shows, version, key };
        let Some(request) = request else {
            self.stats.requests_unsupported += 1;
            // An answer that does not fit leaves the asker to its timeout.
            let _ = self.respond(now, &reply_to, &Response::unsupported());
            return;
        };
        if self.push(Output::Incoming { from, reply_to, request, proven, budget }) {
            self.stats.requests_in += 1;
            self.stats.requests_in_unproven += u64::from(!proven);
        }
    }

    /// The longest message that may answer a request of this length.
    fn budget(&self, proven: bool, length: usize, shows: bool) -> usize {
        let shown = self.shown_in_answer(shows);
        let overhead = ANSWER_OVERHEAD + shown.map_or(0, |shown| certificate_overhead(shown.len()));
        let most = if proven { DATAGRAM_BYTES_MAX } else { length };
        most.saturating_sub(overhead).min(MESSAGE_BYTES_MAX)
    }

    /// Enters an authentic request in its sender's session, if it has or deserves one. False if it
    /// is to be dropped, as a replay or over its rate.
    fn remember_asker(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        proven: bool,
        pass: Option<Pass>,
    ) -> bool {
        let Arrival { from, serial, standing, keys, .. } = *arrival;
        let accepted = if standing == Standing::Caller {
            let session = self.sessions.get_or_insert(&from.public_key, keys);
            session.prove(now, from.address);
            session.replay.accept_fresh(serial).then(|| session.admit(now))
        } else if let Some(session) = self.sessions.get_mut(&from.public_key) {
            let accepted = session.replay.accept(serial);
            if accepted && proven {
                session.prove(now, from.address);
            }
            accepted.then(|| !proven || session.admit(now))
        } else {
            Some(true)
        };
        self.stats.dropped_replayed += u64::from(accepted.is_none());
        self.stats.dropped_peer_rate += u64::from(accepted == Some(false));
        if let Some(pass) = pass.filter(|_| accepted == Some(true) && proven) {
            self.note_admitted(from, pass);
        }
        accepted == Some(true)
    }

    fn on_response(&mut self, now: Instant, arrival: &Arrival, inner: &Inner<'_>) {
        let Arrival { from, serial, keys, .. } = *arrival;
        let found = self.requests.find_by_id(inner.request_id);
        let asked = |request: &Outstanding| {
            request.to.public_key == from.public_key && request.expects(&from.address)
        };
        let Some((token, request)) = found.filter(|(_, request)| asked(request)) else {
            self.stats.dropped_unsolicited += 1;
            return;
        };
        let sent = request.sent(inner.request_id);
        let sent_at = sent.map_or(now, |sent| sent.sent_at);
        let introduces = sent.is_some_and(|sent| sent.introduces);
        let Ok(response) = decode_response(inner.message) else {
            self.stats.dropped_undecodable += 1;
            return;
        };
        let shown = Shown { credential: inner.certificate, proven: true };
        let pass = match self.entry(now, &from.public_key, shown, None) {
            Entry::Open => None,
            Entry::Admitted(pass) => Some(pass),
            entry @ (Entry::Enrolling | Entry::Refused | Entry::Unknown) => {
                return self.on_unadmitted_answer(token, entry);
            }
        };
        let number = self.certificate_number;
        let session = self.sessions.get_or_insert(&from.public_key, keys);
        if !session.replay.accept_fresh(serial) {
            self.stats.dropped_replayed += 1;
            return;
        }
        let rtt = now.since(sent_at);
        session.rtt.sample(rtt);
        self.others.sample(rtt);
        session.prove(now, from.address);
        session.set_credit(now, from.address, inner.cookie);
        // Only who wants no cookie of us has a session for us, and in it our certificate.
        session.introduced = inner.cookie.is_none().then_some(number);
        let from = Contact { salt: pass.and_then(|pass| pass.salt), ..from };
        if let Some(pass) = pass {
            self.note_admitted(from, pass);
        }
        if let Some(echo) = inner.echo {
            self.learn_clock(now, &from.public_key, echo.clock, rtt);
            let seen_at = canonical(echo.asker);
            self.observed.learn(now, &from.public_key, from.address, seen_at);
        }
        self.requests.narrow(token, from.address);
        if introduces {
            return self.go_on_after_introduction(now, token);
        }
        let unproven = matches!(response, Response::Refused { reason: Refusal::Unproven, .. });
        if unproven && inner.cookie.is_some() && self.requests.redirect(token) {
            self.stats.requests_redirected += 1;
            self.transmit_try(now, token);
            return;
        }
        if self.ask_in_older_version(now, token, &from.public_key, &response) {
            return;
        }
        self.requests.finish(token);
        self.stats.requests_answered += 1;
        let seen_at = inner.echo.map(|echo| canonical(echo.asker));
        self.keep_promise(Output::Answered { token, from, response, rtt, seen_at });
    }

    /// Asks again in the newest version that the peer knows, if it did not know that of the question.
    fn ask_in_older_version(
        &mut self,
        now: Instant,
        token: RequestToken,
        peer: &PublicKey,
        response: &Response,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(peer) else { return false };
        let Some(version) = after_refusal(session.version, response) else { return false };
        session.version = version;
        if !self.requests.lower(token) {
            return false;
        }
        self.stats.requests_lowered += 1;
        self.transmit_try(now, token);
        true
    }

    /// The asked node answered, but it is no member. With a certificate that does not hold
    /// the request is over, so that it costs no more than one check.
    fn on_unadmitted_answer(&mut self, token: RequestToken, entry: Entry) {
        self.stats.dropped_not_admitted += 1;
        if entry == Entry::Refused
            && let Some(request) = self.requests.finish(token)
        {
            self.stats.requests_failed += 1;
            self.keep_promise(Output::Failed { token, to: request.to });
        }
    }
}
