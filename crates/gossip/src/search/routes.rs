//! The routes of searches: where each came from, where it was sent, and the hits that return.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use potluck_base::Instant;
use potluck_wire::Hit;
use potluck_wire::search::{HITS_MAX, QueryId};

use super::links::LinkId;
use super::words::QueryWords;

/// How long hits of a search are returned.
const ROUTE_LIFE: Duration = Duration::from_secs(30);
/// How long a repeated search is recognised.
const SEEN_LIFE: Duration = Duration::from_secs(60);
/// Routes kept. [`super::links::LINKS_MAX`] neighbours can send 5,440 searches in the life of a
/// route.
pub const ROUTES_MAX: usize = 8192;
/// Search ids remembered. With a lower value a search may be answered twice.
pub const SEEN_MAX: usize = 65_536;
/// Hits waiting in all routes together; further ones are dropped.
pub const WAITING_MAX: usize = 1024;
/// Bytes of hits in one message. With the longest names two hits fit in a datagram; more are split
/// over several messages.
const MESSAGE_BYTES: usize = 960;
/// Bytes of a hit besides its name.
const HIT_BYTES: usize = 86;
/// How long hits wait for further ones, except for the first. A higher value sends fewer messages
/// and delays hits.
const HIT_DELAY: Duration = Duration::from_millis(200);
/// Hits of one search accepted from one neighbour, so that invented hits leave room for others.
const LINK_HITS_MAX: u8 = 16;
/// Walker messages of one search accepted at one node.
const WALKS_MAX: u8 = 16;

/// A search of a neighbour, or this node's own.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// The neighbour that sent it first; `None`: it is our own.
    pub(super) from: Option<LinkId>,
    pub(super) words: QueryWords,
    /// The farthest ring received.
    ring: u8,
    walks: u8,
    /// The number of own files that match.
    pub(super) own_hits: usize,
    /// The neighbours that sent it to us.
    received_from: Vec<LinkId>,
    /// The neighbours that we sent it to, with the number of hits from each.
    sent_to: Vec<(LinkId, u8)>,
    /// Digests of the hits returned so far.
    known: Vec<u64>,
    waiting: Vec<Hit>,
    quiet_until: Instant,
}

impl Route {
    pub(super) fn new(from: Option<LinkId>, words: QueryWords) -> Self {
        Self {
            from,
            words,
            ring: 0,
            walks: 0,
            own_hits: 0,
            received_from: from.into_iter().collect(),
            sent_to: Vec::new(),
            known: Vec::new(),
            waiting: Vec::new(),
            quiet_until: Instant::ZERO,
        }
    }

    /// Records that `link` sent it in `ring`; returns whether that is farther than before.
    pub(super) fn goes_farther(&mut self, link: LinkId, ring: u8) -> bool {
        self.note_received_from(link);
        let farther = ring > self.ring;
        self.ring = self.ring.max(ring);
        farther
    }

    /// Records walkers from `link`; returns whether they may go on.
    pub(super) fn walks_on(&mut self, link: LinkId) -> bool {
        self.note_received_from(link);
        self.walks = self.walks.saturating_add(1);
        self.walks <= WALKS_MAX
    }

    fn note_received_from(&mut self, link: LinkId) {
        if !self.has_received_from(link) && self.received_from.len() < 2 * super::links::LINKS_MAX {
            self.received_from.push(link);
        }
    }

    /// Whether this neighbour sent it to us, and so need not get it from us.
    pub(super) fn has_received_from(&self, link: LinkId) -> bool {
        self.received_from.contains(&link)
    }

    pub(super) fn was_sent_to(&self, link: LinkId) -> bool {
        self.sent_to.iter().any(|(sent_to, _)| *sent_to == link)
    }

    pub(super) fn note_sent_to(&mut self, link: LinkId) {
        if !self.was_sent_to(link) && self.sent_to.len() < 2 * super::links::LINKS_MAX {
            self.sent_to.push((link, 0));
        }
    }

    /// The number of hits returned so far, or for an own search received.
    pub(super) fn hits(&self) -> usize {
        self.known.len()
    }

    /// Whether a hit is new and within the limits. `link`: its sender; `None`: it is our own.
    pub(super) fn accepts(&mut self, link: Option<LinkId>, hit: &Hit) -> bool {
        let digest = hit_digest(hit);
        if self.known.len() >= HITS_MAX || self.known.contains(&digest) {
            return false;
        }
        if let Some(link) = link {
            let Some((_, count)) = self.sent_to.iter_mut().find(|(sent_to, _)| *sent_to == link)
            else {
                return false;
            };
            if *count >= LINK_HITS_MAX {
                return false;
            }
            *count += 1;
        }
        self.known.push(digest);
        true
    }

    /// Takes the waiting hits, in messages that fit in datagrams.
    fn take_messages(&mut self) -> Vec<Vec<Hit>> {
        let (mut messages, mut bytes): (Vec<Vec<Hit>>, usize) = (Vec::new(), MESSAGE_BYTES);
        for hit in self.waiting.drain(..) {
            bytes += hit.name.len() + HIT_BYTES;
            match messages.last_mut() {
                Some(message) if bytes <= MESSAGE_BYTES => message.push(hit),
                _ => {
                    bytes = hit.name.len() + HIT_BYTES;
                    messages.push(vec![hit]);
                }
            }
        }
        messages
    }
}

fn hit_digest(hit: &Hit) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(hit.root.as_bytes()).update(hit.holder.as_bytes()).update(hit.name.as_bytes());
    let mut digest = [0; 8];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(digest)
}

/// What is known of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RouteState {
    /// Nothing: it is new.
    New,
    /// It has a route.
    Open,
    /// It was seen, and its route has expired.
    Expired,
}

/// All routes.
#[derive(Debug, Clone, Default)]
pub(super) struct Routes {
    routes: BTreeMap<QueryId, Route>,
    by_age: VecDeque<(Instant, QueryId)>,
    seen: BTreeSet<QueryId>,
    seen_by_age: VecDeque<(Instant, QueryId)>,
    waiting: usize,
    flushes: BTreeSet<(Instant, QueryId)>,
}

impl Routes {
    pub(super) fn len(&self) -> usize {
        self.routes.len()
    }

    pub(super) fn seen(&self) -> usize {
        self.seen.len()
    }

    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Drops expired routes and ids.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((opened, query)) = self.by_age.front().copied() {
            if opened + ROUTE_LIFE > now {
                break;
            }
            self.by_age.pop_front();
            if let Some(route) = self.routes.remove(&query) {
                self.waiting -= route.waiting.len();
                self.flushes.remove(&(route.quiet_until, query));
            }
        }
        while self.seen_by_age.front().is_some_and(|(at, _)| *at + SEEN_LIFE <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, query)) = self.seen_by_age.pop_front() {
            self.seen.remove(&query);
        }
    }

    pub(super) fn known(&self, query: QueryId) -> RouteState {
        if self.routes.contains_key(&query) {
            RouteState::Open
        } else if self.seen.contains(&query) {
            RouteState::Expired
        } else {
            RouteState::New
        }
    }

    /// Opens a route for a new search; false if there is no room.
    pub(super) fn open(&mut self, now: Instant, query: QueryId, route: Route) -> bool {
        if self.routes.len() >= ROUTES_MAX {
            return false;
        }
        if self.seen.len() >= SEEN_MAX {
            self.forget_oldest();
        }
        if self.seen.insert(query) {
            self.seen_by_age.push_back((now, query));
        }
        self.by_age.push_back((now, query));
        self.routes.insert(query, route);
        true
    }

    pub(super) fn get_mut(&mut self, query: QueryId) -> Option<&mut Route> {
        self.routes.get_mut(&query)
    }

    /// Queues hits to be returned; returns how many had no room.
    pub(super) fn wait(&mut self, query: QueryId, hits: Vec<Hit>) -> usize {
        let room = WAITING_MAX - self.waiting;
        let Some(route) = self.routes.get_mut(&query) else { return hits.len() };
        let (count, fit) = (hits.len(), hits.len().min(room));
        route.waiting.extend(hits.into_iter().take(fit));
        self.waiting += fit;
        if fit > 0 {
            self.flushes.insert((route.quiet_until, query));
        }
        count - fit
    }

    pub(super) fn flush_at(&self) -> Option<Instant> {
        self.flushes.first().map(|(at, _)| *at)
    }

    /// Takes the hits that are due, with the neighbour to which each message goes.
    pub(super) fn flush(&mut self, now: Instant) -> Vec<(LinkId, QueryId, Vec<Vec<Hit>>)> {
        let mut due = Vec::new();
        while let Some((at, query)) = self.flushes.first().copied() {
            if at > now {
                break;
            }
            self.flushes.pop_first();
            let Some(route) = self.routes.get_mut(&query) else { continue };
            self.waiting -= route.waiting.len();
            route.quiet_until = now + HIT_DELAY;
            let messages = route.take_messages();
            if let Some(from) = route.from {
                due.push((from, query, messages));
            }
        }
        due
    }
}
