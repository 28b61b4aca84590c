//! The link itself: wiring and the public verbs.

use std::net::{SocketAddr, SocketAddrV6};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{
    Contact, Deadline, Identity, Instant, KeyError, Machine, NetworkId, PublicKey, Rng, RoundTrip,
};
use potluck_wire::limits::{DATAGRAM_BYTES_MAX, MESSAGE_BYTES_MAX};
use potluck_wire::version::in_version;
use potluck_wire::{Purpose, Request, Response, encode_request, encode_response};

use crate::admission::Door;
use crate::buckets::Gate;
use crate::clocks::PeerClocks;
use crate::config::LinkConfig;
use crate::cookie::CookieJar;
use crate::frame::{
    ANSWER_OVERHEAD, ASKING_BYTES_MIN, BOOT_BYTES, Cookie, Draft, Echo, HELLO_PADDING, Inner, Kind,
    Serial, write_hello,
};
use crate::gatekeeper::Gatekeeper;
use crate::hellos::{Due, HELLOS_MAX, Hellos, TRIES};
use crate::keys::{KeyMaker, Keys, SealKey};
use crate::marks::Marks;
use crate::observed::Observed;
use crate::outputs::{Output, Outputs};
use crate::paths::{Paths, RACE_PAUSE};
use crate::requests::{Left, Requests, Try};
use crate::sessions::Sessions;
use crate::stats::LinkStats;
use crate::timeout::timeout;

/// Names a request of this link; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken(pub u64);

/// How to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestOptions {
    /// Datagrams to send before giving up: 1 to 8.
    pub tries: u8,
    /// Longest encoded answer to be expected. A peer that may not know our address as proven gets a
    /// request padded so that this fits within its bytes.
    pub answer_bytes_max: usize,
    /// How long the peer may take for the answer, on top of the way: for requests that make it ask
    /// others first.
    pub patience: Duration,
    /// Whether only other nodes named the address. Then the first datagram to it is short: the answer
    /// brings a cookie, with which the request follows, a round trip later. Without this rule a node
    /// that names the address of a bystander could make this node send it padded requests.
    pub named: bool,
}

impl Default for RequestOptions {
    fn default() -> Self {
        let (answer_bytes_max, patience) = (MESSAGE_BYTES_MAX, Duration::ZERO);
        Self { tries: 2, answer_bytes_max, patience, named: false }
    }
}

/// Why a request was not begun. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Too many requests or outputs wait; fetch outputs and try again later.
    #[error("too many requests under way")]
    Busy,
    /// The message does not fit in a datagram; use a call.
    #[error("the request does not fit in a datagram")]
    TooLarge,
    /// The contact's key is no safe curve point, or our own.
    #[error("the peer's public key cannot be used")]
    BadKey,
}

/// Why a response was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RespondError {
    /// Longer than the `budget` that came with the request.
    #[error("the response is longer than the sender may get")]
    TooLarge,
}

/// Where an answer goes. Good for one response.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyTo {
    pub(crate) to: Contact,
    pub(crate) request_id: u64,
    pub(crate) budget: usize,
    pub(crate) proven: bool,
    /// Whether the asker gets our certificate along.
    pub(crate) shows: bool,
    /// The version of the question, which the answer has too.
    pub(crate) version: u8,
    /// Kept here, since strangers have no session.
    pub(crate) key: SealKey,
}

/// What can happen to a link.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A datagram came in.
    Datagram {
        /// Where it says to come from.
        from: SocketAddr,
        /// All of it.
        bytes: Bytes,
    },
    /// The announced deadline has come.
    Timeout,
}

/// The way in and out of a node. See the crate for what it promises.
#[derive(Debug)]
pub struct Link {
    pub(crate) tag: [u8; 8],
    boot: [u8; BOOT_BYTES],
    counter: u64,
    pub(crate) config: LinkConfig,
    rng: Rng,
    pub(crate) keys: KeyMaker,
    pub(crate) cookies: CookieJar,
    pub(crate) sessions: Sessions,
    pub(crate) requests: Requests,
    pub(crate) hellos: Hellos,
    pub(crate) marks: Marks,
    pub(crate) door: Option<Door>,
    /// One up with every own certificate.
    pub(crate) certificate_number: u64,
    /// Limits for senders that proved nothing.
    pub(crate) strangers: Gate,
    /// Limits for senders with a cookie but no session.
    pub(crate) callers: Gate,
    outputs: Outputs,
    /// Round trips to all peers, for those nothing is known of.
    pub(crate) others: RoundTrip,
    /// What this clock and those of the peers show.
    pub(crate) clock: PeerClocks,
    /// Where peers may be.
    pub(crate) paths: Paths,
    /// From where peers see this node send.
    pub(crate) observed: Observed,
    /// Where seals are opened.
    pub(crate) scratch: Vec<u8>,
    pub(crate) stats: LinkStats,
}

impl Link {
    /// A link of `identity` in `network`. Boot id, cookie secret and request ids come from `rng`,
    /// which a real node must seed from the OS at every start: the same boot id twice would repeat
    /// nonces.
    #[must_use]
    pub fn new(identity: Identity, network: NetworkId, config: LinkConfig, mut rng: Rng) -> Self {
        let marks = Marks::new(&network);
        Self {
            tag: network.tag(),
            boot: marks.boot(&identity.public_key(), rng.bytes()),
            marks,
            door: None,
            certificate_number: 0,
            counter: 0,
            cookies: CookieJar::new(&mut rng.fork("cookies")),
            rng,
            keys: KeyMaker::new(identity, network, config.seal),
            sessions: Sessions::new(config.sessions_max, config.peer),
            requests: Requests::default(),
            hellos: Hellos::default(),
            strangers: Gate::new(&config),
            callers: Gate::new(&config),
            outputs: Outputs::new(config.outputs_max, config.requests_max),
            others: RoundTrip::default(),
            clock: PeerClocks::new(),
            paths: Paths::new(),
            observed: Observed::new(),
            scratch: Vec::new(),
            stats: LinkStats::default(),
            config,
        }
    }

    /// The announced deadline has come: further tries, and failures where none is left.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((token, left)) = self.requests.pop_due(now) {
            if left == Left::Way {
                self.stats.ways_raced += 1;
                self.transmit_try(now, token);
                continue;
            }
            if let Some(peer) = self.requests.get(token).map(|request| request.to.public_key) {
                self.note_silence(&peer);
            }
            if left == Left::Try {
                self.stats.retransmissions += 1;
                self.transmit_try(now, token);
            } else if let Some(request) = self.requests.finish(token) {
                self.stats.requests_failed += 1;
                self.keep_promise(Output::Failed { token, to: request.to });
            }
        }
        while let Some(due) = self.hellos.pop_due(now) {
            match due {
                Due::Again(address, nonce) => self.transmit_hello(address, &nonce),
                Due::Failed(address) => {
                    self.stats.hellos_failed += 1;
                    self.keep_promise(Output::NoWelcome { address });
                }
            }
        }
    }

    /// Asks `to`. Exactly one [`Output::Answered`] or [`Output::Failed`] with the token follows.
    ///
    /// If the peer refuses because our address is not proven and sends a cookie along, the request
    /// is sent again with it at once, and only the second answer is handed on.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn request(
        &mut self,
        now: Instant,
        to: Contact,
        request: &Request,
        options: RequestOptions,
    ) -> Result<RequestToken, RequestError> {
        let waiting = self.requests.len() + self.outputs.promised();
        if waiting >= self.config.requests_max || self.outputs.is_full() {
            return Err(RequestError::Busy);
        }
        let message = encode_request(request);
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(RequestError::TooLarge);
        }
        let to = Contact { address: canonical(to.address), ..to };
        if to.public_key == self.keys.public_key() || self.keys_of(&to.public_key).is_err() {
            return Err(RequestError::BadKey);
        }
        let ways = self.ways_to(now, &to);
        let token = self.requests.start(to, ways, message, options);
        self.stats.requests_started += 1;
        self.transmit_try(now, token);
        Ok(token)
    }

    /// Answers a request. To be called at most once for each: the budget is for one response.
    ///
    /// # Errors
    /// [`RespondError::TooLarge`] if the response is longer than the request's budget; then nothing
    /// is sent, and a shorter one (a refusal, so that the asker gets its cookie) still may be.
    pub fn respond(
        &mut self,
        now: Instant,
        reply_to: &ReplyTo,
        response: &Response,
    ) -> Result<(), RespondError> {
        let message = in_version(encode_response(response), reply_to.version);
        if message.len() > reply_to.budget {
            self.stats.dropped_over_budget += 1;
            return Err(RespondError::TooLarge);
        }
        let Contact { public_key, address, .. } = reply_to.to;
        let cookie = (!reply_to.proven).then(|| self.cookies.make(now, address, &public_key));
        let shown = self.shown_in_answer(reply_to.shows);
        let inner = Inner {
            kind: Kind::Response,
            request_id: reply_to.request_id,
            cookie,
            certificate: shown.as_deref(),
            echo: Some(Echo { asker: address, clock: self.clock.wall(now).unwrap_or_default() }),
            message: &message,
        };
        let (bytes, _) = self.seal(reply_to.key, None, inner, 0);
        self.stats.responses_out += 1;
        self.transmit(address, bytes, Purpose::of_response(&message));
        Ok(())
    }

    /// Asks who is at `address`: three tries. One [`Output::Greeted`] or [`Output::NoWelcome`] for
    /// the address follows, however often it was asked meanwhile; the latter at once if 64 greetings
    /// are under way. The address is given back in its one form, IPv4 never as mapped IPv6.
    pub fn hello(&mut self, now: Instant, address: SocketAddr) {
        self.greet(now, address, TRIES);
    }

    /// As [`hello`](Self::hello), with one try: for an address that no peer has proven.
    pub fn hello_once(&mut self, now: Instant, address: SocketAddr) {
        self.greet(now, address, 1);
    }

    fn greet(&mut self, now: Instant, address: SocketAddr, tries: u32) {
        let address = canonical(address);
        if self.hellos.contains(address) {
            return;
        }
        let open = self.requests.len() + self.hellos.len();
        if self.hellos.len() >= HELLOS_MAX || !self.outputs.may_promise(open) {
            self.stats.hellos_failed += 1;
            self.push(Output::NoWelcome { address });
            return;
        }
        let nonce = self.rng.bytes();
        self.hellos.start(now, address, nonce, tries);
        self.transmit_hello(address, &nonce);
    }

    /// Begins a new life of this link with randomness from the OS: a new boot id, new cookies, new
    /// request ids. To be called whenever the machine may go on from a copy of its memory, or no
    /// nonce would be used once only: after a snapshot was resumed, each copy would seal with the
    /// boot id and counter that the other one uses too.
    pub fn renew_boot(&mut self, entropy: [u8; 32]) {
        let mut rng = Rng::from_seed(entropy);
        self.boot = self.marks.boot(&self.keys.public_key(), rng.bytes());
        self.cookies = CookieJar::new(&mut rng.fork("cookies"));
        self.rng = rng;
    }

    /// The peer is dead: what it was asked fails at the next timeout, which is due at once.
    pub fn give_up(&mut self, now: Instant, peer: &PublicKey) {
        self.requests.give_up(now, peer);
    }

    /// Requests of `peer` are dropped until then, those from its proven address before their seal is
    /// opened. Its answers are taken. To be called for a peer that proved its key only.
    pub fn ignore(&mut self, peer: &PublicKey, until: Instant) {
        if let Some(session) = self.sessions.get_mut(peer) {
            session.ignore(until);
        }
    }

    /// The smoothed round-trip time of `peer`, if it answered since it is remembered.
    #[must_use]
    pub fn rtt(&self, peer: &PublicKey) -> Option<Duration> {
        self.sessions.peek(peer)?.rtt.smoothed()
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        LinkStats {
            sessions: self.sessions.len(),
            sessions_evicted: self.sessions.evicted(),
            requests_outstanding: self.requests.len(),
            hellos_outstanding: self.hellos.len(),
            limits: self.strangers.len() + self.callers.len(),
            revocations: self.gatekeeper().map_or(0, Gatekeeper::revocations_len),
            outputs_queued: self.outputs.len(),
            paths: self.paths.len(),
            ..self.stats.clone()
        }
    }

    /// The keys shared with `peer`, from its session, which is made if there is none.
    fn keys_of(&mut self, peer: &PublicKey) -> Result<Keys, KeyError> {
        if let Some(session) = self.sessions.get_mut(peer) {
            return Ok(session.keys);
        }
        self.stats.key_agreements += 1;
        let keys = self.keys.agree(peer)?;
        self.sessions.get_or_insert(peer, keys);
        Ok(keys)
    }

    /// Sends the next datagrams of a request: to the next of the peer's addresses, or to all of them.
    pub(crate) fn transmit_try(&mut self, now: Instant, token: RequestToken) {
        let (ways, more) = self.requests.next_ways(token);
        for way in ways {
            self.transmit_way(now, token, way, more);
        }
    }

    /// Sends one datagram of a request: the request itself, or, where our certificate has to be
    /// shown and does not fit beside it, the certificate with a ping.
    fn transmit_way(&mut self, now: Instant, token: RequestToken, way: SocketAddr, more: bool) {
        let Some(request) = self.requests.get(token) else { return };
        let (to, try_index) = (request.to, u32::from(request.try_index));
        let (message, answer) = (request.message.clone(), request.answer_bytes_max);
        let (patience, named, others) = (request.patience, request.named, self.others);
        let keys = self.keys_of(&to.public_key).expect("the key was good when the request began");
        let session = self.sessions.get_or_insert(&to.public_key, keys);
        let cookie = session.cookie(now, way);
        let version = session.version;
        let message = in_version(message, version);
        let probes = named && cookie.is_none() && !session.is_at(way);
        let timeout = match timeout(&session.rtt, try_index, &others) {
            timeout if more => timeout.min(RACE_PAUSE),
            timeout => timeout + patience,
        };
        let welcome = try_index == 0 && session.is_welcome(now, way);
        let (shown, room) = self.to_show(&to.public_key);
        // A silent peer may have forgotten us, so further tries are padded in any case.
        let bytes_min = if welcome && room == 0 {
            ASKING_BYTES_MIN
        } else if probes {
            ASKING_BYTES_MIN + room
        } else {
            let wanted = ANSWER_OVERHEAD + room + answer.min(MESSAGE_BYTES_MAX);
            wanted.clamp(ASKING_BYTES_MIN, DATAGRAM_BYTES_MAX)
        };
        let id = self.rng.next_u64();
        let certificate = shown.as_deref();
        let mut inner = Inner {
            kind: Kind::Request,
            request_id: id,
            cookie: None,
            certificate,
            echo: None,
            message: &message,
        };
        let ping;
        let too_long = self.draft(cookie, inner, bytes_min).bytes() > DATAGRAM_BYTES_MAX;
        let introduces = probes || too_long;
        if introduces {
            ping = in_version(encode_request(&Request::Ping), version);
            inner.message = &ping;
            self.stats.addresses_probed += u64::from(probes);
            self.stats.introductions += u64::from(!probes);
        }
        let sent = inner.message;
        let (bytes, serial) = self.seal(keys.seal, cookie, inner, bytes_min);
        let (counter, deadline) = (serial.counter, now + timeout);
        self.requests.sent(token, Try { id, counter, sent_at: now, deadline, introduces });
        self.transmit(way, bytes, Purpose::of_request(sent));
    }

    fn transmit_hello(&mut self, address: SocketAddr, nonce: &[u8; 16]) {
        let mark = self.marks.hello(nonce, HELLO_PADDING);
        self.transmit(address, write_hello(&self.tag, nonce, &mark), Purpose::Link);
    }

    /// A datagram to be sealed, under the next serial.
    fn draft<'a>(
        &self,
        header_cookie: Option<Cookie>,
        inner: Inner<'a>,
        bytes_min: usize,
    ) -> Draft<'a> {
        let serial = Serial { boot: self.boot, counter: self.counter };
        let sender = self.keys.public_key();
        Draft { tag: self.tag, sender, serial, header_cookie, inner, bytes_min }
    }

    /// A sealed datagram, which uses the serial up.
    fn seal(
        &mut self,
        key: SealKey,
        header_cookie: Option<Cookie>,
        inner: Inner<'_>,
        bytes_min: usize,
    ) -> (Vec<u8>, Serial) {
        let draft = self.draft(header_cookie, inner, bytes_min);
        let serial = draft.serial;
        let (mut bytes, body) = draft.write();
        self.counter += 1;
        key.seal(serial, &mut bytes, body);
        (bytes, serial)
    }

    /// Hands a datagram out for sending.
    pub(crate) fn transmit(&mut self, to: SocketAddr, bytes: Vec<u8>, purpose: Purpose) {
        debug_assert!(bytes.len() <= DATAGRAM_BYTES_MAX, "a datagram of {} bytes", bytes.len());
        let length = bytes.len() as u64;
        if self.push(Output::Transmit { to, bytes: bytes.into() }) {
            self.stats.datagrams_out += 1;
            self.stats.bytes_out += length;
            self.stats.traffic.note_sent(purpose, length);
        }
    }

    /// Hands an output out; counted and false if there is no room.
    pub(crate) fn push(&mut self, output: Output) -> bool {
        let pushed = self.outputs.push(output);
        self.stats.dropped_queue_full += u64::from(!pushed);
        pushed
    }

    /// Hands out how a request or greeting ended.
    pub(crate) fn keep_promise(&mut self, output: Output) {
        let kept = self.outputs.keep_promise(output);
        debug_assert!(kept, "a promise was given without room to keep it");
        self.stats.dropped_queue_full += u64::from(!kept);
    }

    /// Whether this boot id is that of this link.
    pub(crate) fn is_own_boot(&self, serial: Serial) -> bool {
        serial.boot == self.boot
    }
}

impl Machine for Link {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Datagram { from, bytes } => self.handle_datagram(now, from, &bytes),
            Input::Timeout => self.handle_timeout(now),
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        Deadline::earliest([
            self.requests.next_deadline().map(|at| Deadline::new(at, "request timeout")),
            self.hellos.next_deadline().map(|at| Deadline::new(at, "hello timeout")),
        ])
    }
}

/// One form for each address: IPv4 also where the OS writes it as mapped IPv6, and no flow label.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match SocketAddr::new(address.ip().to_canonical(), address.port()) {
        SocketAddr::V6(v6) => {
            let scope = if let SocketAddr::V6(given) = address { given.scope_id() } else { 0 };
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into()
        }
        v4 @ SocketAddr::V4(_) => v4,
    }
}
