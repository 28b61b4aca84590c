//! What is kept of a peer between datagrams: keys, cookies, proven addresses, replay windows,
//! round-trip times.
//!
//! **Invariant:** a session comes into being only by our own request to the peer, its authentic
//! answer, or an authentic request under a cookie. A forged source never makes one.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Instant, LruMap, PublicKey, Rate, RoundTrip, TokenBucket, UnixMillis};

use potluck_wire::limits::VERSION;

use crate::cookie::EPOCH_SECONDS;
use crate::frame::{Cookie, Serial};
use crate::gatekeeper::Pass;
use crate::keys::Keys;
use crate::replay::ReplayGuard;

/// Addresses of one peer that can be proven at a time: one of each family.
const ADDRESSES: usize = 2;
/// How long a cookie of a peer is surely accepted: its epoch, less a margin for the way there.
const COOKIE_FRESH: Duration = Duration::from_secs(EPOCH_SECONDS - 10);
/// How long a cookie of a peer may be accepted.
const COOKIE_LIFE: Duration = Duration::from_secs(2 * EPOCH_SECONDS);

/// How we stand with a peer at one of its addresses.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Credit {
    /// It wants this cookie from us, which we got then.
    Cookie(Cookie, Instant),
    /// It takes our address as proven.
    Welcome,
}

/// What is kept of one peer.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) keys: Keys,
    pub(crate) replay: ReplayGuard,
    pub(crate) rtt: RoundTrip,
    bucket: TokenBucket,
    /// Until then its requests are dropped before their seal is opened.
    ignored_until: Instant,
    /// Where the peer surely is, last proven first.
    proven: [Option<SocketAddr>; ADDRESSES],
    /// When the first of these was proven last.
    proven_at: Instant,
    credit: Option<(SocketAddr, Credit)>,
    /// The version of messages that is spoken with it.
    pub(crate) version: u8,
    /// The certificate it showed, where one is needed. Boxed: networks without certificates have none.
    pub(crate) pass: Option<Box<Pass>>,
    /// Which of our certificates it surely remembers.
    pub(crate) introduced: Option<u64>,
    /// Where and until when it was last told to be admitted. Boxed for the same reason.
    pub(crate) announced: Option<Box<(SocketAddr, UnixMillis)>>,
}

impl Session {
    fn new(keys: Keys, rate: Rate) -> Self {
        Self {
            keys,
            replay: ReplayGuard::default(),
            rtt: RoundTrip::default(),
            bucket: rate.bucket(),
            ignored_until: Instant::ZERO,
            proven: [None; ADDRESSES],
            proven_at: Instant::ZERO,
            credit: None,
            version: VERSION,
            pass: None,
            introduced: None,
            announced: None,
        }
    }

    /// Whether this datagram comes from where the peer surely is, in the life we know it in. Says
    /// nothing of whether its seal holds.
    pub(crate) fn is_proven(&self, address: SocketAddr, serial: Serial) -> bool {
        self.proven.contains(&Some(address)) && self.replay.knows(serial)
    }

    /// Whether the peer proved that it receives at `address`.
    pub(crate) fn is_at(&self, address: SocketAddr) -> bool {
        self.proven.contains(&Some(address))
    }

    /// Where the peer was proven last, and when.
    pub(crate) fn seen(&self) -> Option<(SocketAddr, Instant)> {
        self.proven[0].map(|address| (address, self.proven_at))
    }

    /// The peer proved that it receives at `address`.
    pub(crate) fn prove(&mut self, now: Instant, address: SocketAddr) {
        self.proven_at = now;
        if self.proven[0] != Some(address) {
            self.proven = [Some(address), self.proven[0]];
        }
    }

    /// Whether the peer may send one more request; then it is charged.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        self.bucket.take(now, 1)
    }

    /// Whether one more request would be admitted.
    pub(crate) fn would_admit(&self, now: Instant) -> bool {
        now >= self.ignored_until && self.bucket.has(now, 1)
    }

    /// Requests of the peer are dropped until then.
    pub(crate) fn ignore(&mut self, until: Instant) {
        self.ignored_until = until;
    }

    /// The peer, at `address`, wants `cookie` from us, or takes our address as proven if `None`.
    pub(crate) fn set_credit(&mut self, now: Instant, address: SocketAddr, cookie: Option<Cookie>) {
        let credit = cookie.map_or(Credit::Welcome, |cookie| Credit::Cookie(cookie, now));
        self.credit = Some((address, credit));
    }

    /// The cookie to send to `address`, if it wanted one and may still take it.
    pub(crate) fn cookie(&self, now: Instant, address: SocketAddr) -> Option<Cookie> {
        match self.credit {
            Some((at, Credit::Cookie(cookie, got))) if at == address => {
                (now.since(got) < COOKIE_LIFE).then_some(cookie)
            }
            _ => None,
        }
    }

    /// Whether the peer at `address` will take our next request as proven, as far as we know.
    pub(crate) fn is_welcome(&self, now: Instant, address: SocketAddr) -> bool {
        match self.credit {
            Some((at, Credit::Welcome)) => at == address,
            Some((at, Credit::Cookie(_, got))) => at == address && now.since(got) < COOKIE_FRESH,
            None => false,
        }
    }
}

/// The sessions, least recently used ones forgotten first. Boxed, since the map moves its entries.
#[derive(Debug)]
pub(crate) struct Sessions {
    sessions: LruMap<PublicKey, Box<Session>>,
    rate: Rate,
}

impl Sessions {
    pub(crate) fn new(sessions_max: usize, rate: Rate) -> Self {
        Self { sessions: LruMap::new(sessions_max.max(1)), rate }
    }

    /// The session of `peer`, which does not count as a use.
    pub(crate) fn peek(&self, peer: &PublicKey) -> Option<&Session> {
        self.sessions.peek(peer).map(|session| &**session)
    }

    /// The session of `peer`, which counts as a use.
    pub(crate) fn get_mut(&mut self, peer: &PublicKey) -> Option<&mut Session> {
        self.sessions.get_mut(peer).map(|session| &mut **session)
    }

    /// The session of `peer`, made with `keys` if there is none.
    pub(crate) fn get_or_insert(&mut self, peer: &PublicKey, keys: Keys) -> &mut Session {
        if self.sessions.peek(peer).is_none() {
            self.sessions.insert(*peer, Box::new(Session::new(keys, self.rate)));
        }
        self.get_mut(peer).expect("it was there or just put there")
    }

    /// Forgets `peer`.
    pub(crate) fn remove(&mut self, peer: &PublicKey) {
        self.sessions.remove(peer);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many were forgotten for lack of room.
    pub(crate) fn evicted(&self) -> u64 {
        self.sessions.evicted()
    }
}
