//! This node's own searches, ring by ring.

use std::time::Duration;

use potluck_base::Instant;
use potluck_wire::Hit;
use potluck_wire::search::{QueryId, RINGS_MAX};

use super::event::{Output, SearchError};
use super::machine::Search;
use super::own_search::OwnSearch;
use super::reach::{ENOUGH, HITS, Walkers};
use super::routes::Route;
use super::words::QueryWords;
use crate::view::FoundFile;

/// Own searches at once.
const OWN_SEARCHES_MAX: usize = 16;
/// How long a search with enough hits waits for further ones on their way.
const SETTLE: Duration = Duration::from_millis(250);
/// Tokens that a search takes from a bucket that refills by one a second.
const TOKENS: u32 = 5;
/// Walkers of a search. With 8 neighbours, 192 walkers of 10 steps send about 1,700 messages and
/// check 12,000 filters. Lv et al. (2002) take 16 to 64 walkers with more steps, for which three
/// seconds do not suffice. Chosen so that 19 of 20 files with one holder in 3,000 nodes are found.
const WALKERS: u8 = 192;
/// Steps of each walker.
const STEPS: u8 = 10;
/// Longest time of a search, rings and walkers together, unless its rings leave the walkers less
/// than [`WALK_MIN`].
const SEARCH_MAX: Duration = Duration::from_millis(2_900);
/// Time that walkers get at least.
const WALK_MIN: Duration = Duration::from_millis(500);
/// The number of rings in [`Output::Found`] when walkers were sent.
const WALKED: u8 = RINGS_MAX + 1;
/// How long an own search that would end waits for a look-up.
pub(super) const LOOK_MAX: Duration = Duration::from_secs(2);

impl Search {
    pub(super) fn begin(&mut self, now: Instant, id: u64, words: &[String]) {
        let refused = match QueryWords::parse(words) {
            None => Some(SearchError::Words),
            Some(_) if self.own_searches.len() >= OWN_SEARCHES_MAX => Some(SearchError::Busy),
            Some(_) if !self.own_quota.take(now, TOKENS) => Some(SearchError::Busy),
            Some(query_words) => {
                let query = QueryId(self.rng.bytes());
                let own = self.names.find(&query_words, HITS).into_iter().cloned();
                let own = own.collect();
                if self.routes.open(now, query, Route::new(None, query_words.clone())) {
                    let (began, deadline, found) = (now, now, Vec::new());
                    let (looking, waits) = (self.look(query, &query_words), false);
                    let own_search =
                        OwnSearch { id, began, ring: 0, deadline, own, looking, waits, found };
                    self.own_searches.insert(query, own_search);
                    None
                } else {
                    Some(SearchError::Busy)
                }
            }
        };
        match refused {
            Some(error) => {
                self.stats.searches_refused += 1;
                self.outbox.push_back(Output::Refused { id, error });
            }
            None => self.stats.searches += 1,
        }
    }

    /// Takes each search whose wait is over to the next ring, or ends it.
    pub(super) fn advance_due(&mut self, now: Instant) {
        let due = self.own_searches.iter().filter(|(_, own_search)| own_search.deadline <= now);
        let due: Vec<QueryId> = due.map(|(query, _)| *query).collect();
        for query in due {
            // A ring without a neighbour to ask is over at once.
            while self.own_searches.get(&query).is_some_and(|own_search| own_search.deadline <= now)
            {
                self.advance(now, query);
            }
        }
    }

    fn advance(&mut self, now: Instant, query: QueryId) {
        let Some(own_search) = self.own_searches.get_mut(&query) else { return };
        let (found, last) = (own_search.found.len(), own_search.ring);
        let nowhere = self.links.len() == 0;
        if nowhere || found >= ENOUGH || last == WALKED || last == RINGS_MAX && found > 0 {
            if own_search.looking && !own_search.waits {
                own_search.waits = true;
                own_search.deadline = now + LOOK_MAX;
            } else {
                self.finish(query);
            }
            return;
        }
        own_search.ring += 1;
        let ring = own_search.ring;
        let sent = if ring == WALKED {
            self.stats.searches_walked += 1;
            self.walk(now, query, Walkers { count: WALKERS, steps: STEPS, from: None })
        } else {
            self.forward(now, query, ring, ring, false)
        };
        let wait = self.ring_timeout(if ring == WALKED { STEPS + 1 } else { ring });
        if let Some(own_search) = self.own_searches.get_mut(&query).filter(|_| sent > 0) {
            own_search.deadline = now + wait;
            if ring == WALKED {
                let end = (own_search.began + SEARCH_MAX).max(now + WALK_MIN);
                own_search.deadline = own_search.deadline.min(end);
            }
        }
    }

    fn finish(&mut self, query: QueryId) {
        let Some(mut own_search) = self.own_searches.remove(&query) else { return };
        self.stats.searches_found += u64::from(!own_search.found.is_empty());
        own_search.own.append(&mut own_search.found);
        let OwnSearch { id, ring: rings, own: files, .. } = own_search;
        self.outbox.push_back(Output::Found { id, files, rings });
    }

    /// Hits for an own search; those of an ended one are late.
    pub(super) fn found(&mut self, now: Instant, query: QueryId, hits: Vec<Hit>) {
        let Some(own_search) = self.own_searches.get_mut(&query) else {
            self.stats.stray_hits += hits.len() as u64;
            return;
        };
        let me = self.me;
        own_search.found.extend(hits.into_iter().filter(|hit| hit.holder != me).map(|hit| {
            FoundFile {
                name: hit.name,
                root: hit.root,
                bytes: hit.bytes,
                folder: hit.folder,
                holder: Some(hit.holder),
            }
        }));
        // For walkers a single hit is enough.
        let enough = if own_search.ring == WALKED { 1 } else { ENOUGH };
        if own_search.found.len() >= enough {
            own_search.deadline = own_search.deadline.min(now + SETTLE);
        }
    }
}
