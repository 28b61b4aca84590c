//! The search machine: inputs and deadlines.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use potluck_base::{
    Contact, Deadline, Instant, Machine, PublicKey, Rate, Rng, RoundTrip, TokenBucket,
};
use potluck_wire::SearchRequest;
use potluck_wire::search::QueryId;

use super::event::{AskId, Input, Output, ServeId};
use super::filter::Filter;
use super::links::{LinkId, Links};
use super::names::Names;
use super::own_search::OwnSearch;
use super::reach::{Ring, Walkers};
use super::routes::Routes;
use super::stats::Stats;
use crate::view::FoundFile;

/// Time of an answer that is assumed before the first one. A guess.
const ANSWER_TIME: Duration = Duration::from_millis(100);
/// Requests remembered until their answer.
const ASKS_MAX: usize = 4096;
/// The longest wait for a ring. A higher value finds files on slower paths and takes longer.
const RING_TIMEOUT_MAX: Duration = Duration::from_millis(1500);
/// The shortest wait for a ring: what a busy node may take.
const RING_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Time that all nodes on the path may take together. A guess.
const RING_TIMEOUT_EXTRA: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
struct PendingRequest {
    at: Instant,
    to: PublicKey,
    /// Whether it carries our filter, and so is to be sent again if it fails.
    filter: bool,
}

/// The search of one node. See [`super`].
#[derive(Debug, Clone)]
pub struct Search {
    pub(super) me: PublicKey,
    pub(super) names: Names,
    /// The number of names that are not held here; see [`super::look`].
    pub(super) elsewhere: usize,
    /// Look-ups of these names under way.
    pub(super) looking: usize,
    filter: Filter,
    pub(super) links: Links,
    pub(super) routes: Routes,
    pub(super) own_searches: BTreeMap<QueryId, OwnSearch>,
    /// A search takes five tokens.
    pub(super) own_quota: TokenBucket,
    pending: BTreeMap<AskId, PendingRequest>,
    next_ask: u64,
    /// Smoothed response time of neighbours, and its deviation.
    answer_time: RoundTrip,
    pub(super) rng: Rng,
    pub(super) stats: Stats,
    pub(super) outbox: VecDeque<Output>,
}

impl Search {
    /// A node that shares nothing and has no neighbours. `me` is the holder named in its hits.
    #[must_use]
    pub fn new(me: PublicKey, rng: Rng) -> Self {
        let names = Names::new(Vec::new());
        Self {
            me,
            filter: names.filter(),
            names,
            elsewhere: 0,
            looking: 0,
            links: Links::new(),
            routes: Routes::default(),
            own_searches: BTreeMap::new(),
            own_quota: Rate::new(1, 25).bucket(),
            pending: BTreeMap::new(),
            next_ask: 0,
            answer_time: RoundTrip::assumed(ANSWER_TIME, ANSWER_TIME / 2),
            rng,
            stats: Stats::default(),
            outbox: VecDeque::new(),
        }
    }

    /// Gauges and counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            links: self.links.len(),
            filters: self.links.filters(),
            quotas: self.links.quotas(),
            names: self.names.len() + self.elsewhere,
            looking: self.looking,
            searching: self.own_searches.len(),
            routes: self.routes.len(),
            seen: self.routes.seen(),
            waiting: self.routes.waiting(),
            asking: self.pending.len(),
            ..self.stats
        }
    }

    /// How long hits may take from this many hops away.
    pub(super) fn ring_timeout(&self, links: u8) -> Duration {
        let answer_time = self.answer_time.with_deviations(1).unwrap_or(ANSWER_TIME);
        (answer_time * u32::from(links) + RING_TIMEOUT_EXTRA)
            .clamp(RING_TIMEOUT_MIN, RING_TIMEOUT_MAX)
    }

    pub(super) fn ask(&mut self, now: Instant, to: Contact, request: SearchRequest) {
        self.next_ask += 1;
        let ask = AskId(self.next_ask);
        let filter = matches!(request, SearchRequest::Keywords { .. });
        if self.pending.len() >= ASKS_MAX {
            self.pending.pop_first();
        }
        self.pending.insert(ask, PendingRequest { at: now, to: to.public_key, filter });
        self.outbox.push_back(Output::Ask { ask, to, request });
    }

    fn on_answered(&mut self, now: Instant, ask: AskId) {
        let Some(request) = self.pending.remove(&ask) else { return };
        self.answer_time.sample(now.since(request.at));
    }

    fn on_failed(&mut self, now: Instant, ask: AskId) {
        let Some(request) = self.pending.remove(&ask) else { return };
        self.stats.failed += 1;
        if request.filter {
            self.links.resend(now, &request.to);
        }
    }

    fn on_names(&mut self, now: Instant, files: Vec<FoundFile>) {
        self.elsewhere = 0;
        self.names = Names::new(files);
        self.set_filter(now, self.names.filter());
    }

    pub(super) fn set_filter(&mut self, now: Instant, filter: Filter) {
        if filter != self.filter {
            self.filter = filter;
            self.links.names_changed(now);
        }
    }

    fn on_asked(&mut self, now: Instant, serve: ServeId, from: Contact, request: SearchRequest) {
        let taken = match self.links.find(&from.public_key) {
            Some(link) => self.take(now, link, request),
            None => {
                self.stats.strangers += 1;
                false
            }
        };
        self.outbox.push_back(Output::Answer { serve, taken });
    }

    fn take(&mut self, now: Instant, link: LinkId, request: SearchRequest) -> bool {
        let Some(quota) = self.links.quota(link) else { return false };
        let (bucket, tokens) = match &request {
            SearchRequest::Keywords { .. } => (&mut quota.filters, 10),
            SearchRequest::Query { .. } | SearchRequest::Walk { .. } => (&mut quota.searches, 1),
            SearchRequest::Hits { .. } => (&mut quota.hits, 1),
        };
        if !bucket.take(now, tokens) {
            self.stats.over_quota += 1;
            return false;
        }
        match request {
            SearchRequest::Keywords { filter } => {
                self.links.set_filter(link, Filter::received(filter));
                true
            }
            SearchRequest::Query { query, words, ring, hops } => {
                self.on_query(now, link, query, words, Ring { number: ring, hops })
            }
            SearchRequest::Walk { query, words, walkers, steps } => {
                let walkers = Walkers { count: walkers, steps, from: Some(link) };
                self.on_walk(now, link, query, words, walkers)
            }
            SearchRequest::Hits { query, hits } => self.on_hits(now, link, query, hits),
        }
    }

    /// Sends our filter to the neighbours to which it is due.
    fn send_filters(&mut self, now: Instant) {
        for to in self.links.due(now, &mut self.rng) {
            self.stats.filters_sent += 1;
            self.ask(now, to, SearchRequest::Keywords { filter: self.filter.to_bytes() });
        }
    }
}

impl Machine for Search {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input) {
        self.routes.expire(now);
        match input {
            Input::Names(files) => self.on_names(now, files),
            Input::NamesElsewhere(count) => self.on_names_elsewhere(now, count),
            Input::Looked { query, files } => self.on_looked(now, query, files),
            Input::Neighbours(contacts) => self.links.set(now, contacts),
            Input::Search { id, words } => self.begin(now, id, &words),
            Input::Asked { serve, from, request } => self.on_asked(now, serve, from, request),
            Input::Answered { ask } => self.on_answered(now, ask),
            Input::Failed { ask } => self.on_failed(now, ask),
            Input::Timeout => {}
        }
        self.flush(now);
        self.advance_due(now);
        self.send_filters(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let ring = self.own_searches.values().map(|own_search| own_search.deadline).min();
        Deadline::earliest([
            self.routes.flush_at().map(|at| Deadline::new(at, "hits go back")),
            ring.map(|at| Deadline::new(at, "next ring of a search")),
            self.links.send_at().map(|at| Deadline::new(at, "tell neighbours our words")),
        ])
    }
}
