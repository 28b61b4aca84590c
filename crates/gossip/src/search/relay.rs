//! Searches of others: answered, relayed, and their hits returned.

use potluck_base::Instant;
use potluck_wire::search::QueryId;
use potluck_wire::{Hit, SearchRequest};

use super::links::LinkId;
use super::machine::Search;
use super::names::is_name;
use super::reach::{ENOUGH, HITS, Ring, Walkers};
use super::routes::{Route, RouteState};
use super::words::QueryWords;

/// With more neighbours than this a search loses two hops instead of one at every other node.
const DEGREE_FEW: usize = 6;
/// The largest size of a file that is accepted: the limit of a link.
const BYTES_MAX: u64 = 1 << 53;

/// Messages that relaying a search may cause elsewhere, in units of eight.
fn cost_of_ring(hops: u8) -> u32 {
    match hops {
        0 => 0,
        1 => 1,
        2 => 8,
        _ => 32,
    }
}

fn cost_of_walk(walkers: u8, steps: u8) -> u32 {
    (u32::from(walkers) * u32::from(steps)).div_ceil(8)
}

impl Search {
    /// A search from a neighbour. False if it is malformed.
    pub(super) fn on_query(
        &mut self,
        now: Instant,
        link: LinkId,
        query: QueryId,
        words: Vec<String>,
        ring: Ring,
    ) -> bool {
        let Ring { number, hops } = ring;
        let Some(known) = self.open_route(now, link, query, words) else { return false };
        if known == RouteState::Expired {
            self.stats.duplicates += 1;
            return true;
        }
        let Some(route) = self.routes.get_mut(query) else { return true };
        if !route.goes_farther(link, number) {
            self.stats.duplicates += 1;
            return true;
        }
        if route.own_hits < ENOUGH && self.charge(now, link, cost_of_ring(hops)) {
            self.forward(now, query, number, hops, true);
        }
        true
    }

    /// Walkers from a neighbour. False if they are malformed.
    pub(super) fn on_walk(
        &mut self,
        now: Instant,
        link: LinkId,
        query: QueryId,
        words: Vec<String>,
        walkers: Walkers,
    ) -> bool {
        let Some(known) = self.open_route(now, link, query, words) else { return false };
        let Some(route) = self.routes.get_mut(query) else {
            self.stats.duplicates += u64::from(known == RouteState::Expired);
            return true;
        };
        let enough = route.own_hits.max(route.hits()) >= ENOUGH;
        if !route.walks_on(link) {
            self.stats.duplicates += 1;
        } else if !enough && self.charge(now, link, cost_of_walk(walkers.count, walkers.steps)) {
            self.walk(now, query, walkers);
        }
        true
    }

    /// Opens a route for a search that is new here and answers it. `None` if it is malformed.
    fn open_route(
        &mut self,
        now: Instant,
        link: LinkId,
        query: QueryId,
        words: Vec<String>,
    ) -> Option<RouteState> {
        let Some(query_words) = QueryWords::received(words) else {
            self.stats.malformed += 1;
            return None;
        };
        self.stats.queries_taken += 1;
        let known = self.routes.known(query);
        if known != RouteState::New {
            return Some(known);
        }
        let looked_for = query_words.clone();
        let files = self.names.find(&query_words, HITS);
        let hits = files.into_iter().map(|file| Hit {
            name: file.name.clone(),
            root: file.root,
            bytes: file.bytes,
            folder: file.folder,
            holder: self.me,
        });
        let mut route = Route::new(Some(link), query_words);
        let hits: Vec<Hit> = hits.filter(|hit| route.accepts(None, hit)).collect();
        route.own_hits = hits.len();
        if self.routes.open(now, query, route) {
            self.stats.hits_dropped += self.routes.wait(query, hits) as u64;
            self.look(query, &looked_for);
        } else {
            self.stats.no_room += 1;
        }
        Some(known)
    }

    /// Takes tokens from a neighbour's relay quotas; false if it has too few.
    fn charge(&mut self, now: Instant, link: LinkId, tokens: u32) -> bool {
        let paid = tokens == 0
            || self.links.quota(link).is_some_and(|quota| {
                quota.passed.has(now, 1)
                    && quota.reach.take(now, tokens)
                    && quota.passed.take(now, 1)
            });
        self.stats.unpaid += u64::from(!paid);
        paid
    }

    /// Sends a search with `reach` hops left; returns how many neighbours got it.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        query: QueryId,
        ring: u8,
        reach: u8,
        relayed: bool,
    ) -> usize {
        let Some(hops) = reach.checked_sub(1) else { return 0 };
        let shorter = relayed && hops > 0 && self.links.len() > DEGREE_FEW && self.rng.chance(0.5);
        let hops = hops - u8::from(shorter);
        if hops == 0 {
            return self.last_link(now, query, ring);
        }
        let Some(route) = self.routes.get_mut(query) else { return 0 };
        let words = route.words.to_vec();
        let mut targets = self.links.ids();
        targets.retain(|link| !route.has_received_from(*link));
        let mut sent = 0;
        for link in targets {
            let words = words.clone();
            sent += usize::from(self.send(
                now,
                link,
                SearchRequest::Query { query, words, ring, hops },
            ));
        }
        sent
    }

    /// Sends a search to those neighbours whose filter matches, for their last hop.
    fn last_link(&mut self, now: Instant, query: QueryId, ring: u8) -> usize {
        let Some(route) = self.routes.get_mut(query) else { return 0 };
        let (mut targets, words) = (self.links.ids(), route.words.to_vec());
        targets.retain(|link| !route.has_received_from(*link) && !route.was_sent_to(*link));
        let near = targets.len();
        targets.retain(|link| {
            let filter = self.links.get(*link).and_then(|link| link.filter.as_ref());
            filter.is_none_or(|filter| filter.may_have(&route.words))
        });
        self.stats.spared += (near - targets.len()) as u64;
        let mut sent = 0;
        for link in targets {
            let words = words.clone();
            let request = SearchRequest::Query { query, words, ring, hops: 0 };
            sent += usize::from(self.send(now, link, request));
        }
        sent
    }

    /// Moves walkers on, preferably to neighbours that the search has not reached, and asks the
    /// neighbours whose filter matches. Returns how many neighbours got the search.
    pub(super) fn walk(&mut self, now: Instant, query: QueryId, walkers: Walkers) -> usize {
        let Some(route) = self.routes.get_mut(query) else { return 0 };
        let mut sent = 0;
        if let Some(steps) = walkers.steps.checked_sub(1) {
            let mut targets = self.links.ids();
            targets.retain(|link| Some(*link) != walkers.from);
            self.rng.shuffle(&mut targets);
            targets.sort_by_key(|link| route.has_received_from(*link) || route.was_sent_to(*link));
            let ways = targets.len().min(usize::from(walkers.count));
            let words = route.words.to_vec();
            for (place, link) in targets.into_iter().take(ways).enumerate() {
                let (count, words) = (share(walkers.count, ways, place), words.clone());
                let request = SearchRequest::Walk { query, words, walkers: count, steps };
                sent += usize::from(self.send(now, link, request));
            }
        }
        sent + self.last_link(now, query, 1)
    }

    /// Sends a search to a neighbour, unless the neighbour would have to refuse it.
    fn send(&mut self, now: Instant, link: LinkId, request: SearchRequest) -> bool {
        let (query, count) = match &request {
            SearchRequest::Query { query, .. } => (*query, &mut self.stats.queries_sent),
            SearchRequest::Walk { query, .. } => (*query, &mut self.stats.walks_sent),
            SearchRequest::Keywords { .. } | SearchRequest::Hits { .. } => return false,
        };
        if !self.links.may_send(now, link) {
            self.stats.held_back += 1;
            return false;
        }
        *count += 1;
        if let Some(route) = self.routes.get_mut(query) {
            route.note_sent_to(link);
        }
        let Some(to) = self.links.get(link).map(|link| link.contact) else { return false };
        self.ask(now, to, request);
        true
    }

    /// Hits from a neighbour. False if the neighbour was not asked.
    pub(super) fn on_hits(
        &mut self,
        now: Instant,
        link: LinkId,
        query: QueryId,
        hits: Vec<Hit>,
    ) -> bool {
        let route = self.routes.get_mut(query).filter(|route| route.was_sent_to(link));
        let Some(route) = route else {
            self.stats.stray_hits += hits.len() as u64;
            return false;
        };
        let mut good = Vec::new();
        for hit in hits {
            let plausible = is_name(&hit.name) && hit.bytes <= BYTES_MAX;
            if !plausible || !route.words.fit_name(&hit.name) {
                self.stats.malformed += 1;
            } else if route.accepts(Some(link), &hit) {
                good.push(hit);
            } else {
                self.stats.surplus_hits += 1;
            }
        }
        self.stats.hits_taken += good.len() as u64;
        if route.from.is_some() {
            self.stats.hits_dropped += self.routes.wait(query, good) as u64;
        } else {
            self.found(now, query, good);
        }
        true
    }

    /// Returns the hits that are due.
    pub(super) fn flush(&mut self, now: Instant) {
        for (link, query, messages) in self.routes.flush(now) {
            let Some(to) = self.links.get(link).map(|link| link.contact) else {
                self.stats.hits_dropped += messages.iter().map(Vec::len).sum::<usize>() as u64;
                continue;
            };
            for hits in messages {
                self.stats.hits_sent += 1;
                self.ask(now, to, SearchRequest::Hits { query, hits });
            }
        }
    }
}

/// The share of the walkers for the neighbour at `place`; the first ones get the remainder.
fn share(walkers: u8, ways: usize, place: usize) -> u8 {
    let (walkers, ways) = (usize::from(walkers), ways.max(1));
    (walkers / ways + usize::from(place < walkers % ways)) as u8
}
