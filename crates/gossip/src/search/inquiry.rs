//! This node's own searches, ring by ring.

use std::time::Duration;

use potluck_base::Instant;
use potluck_wire::Hit;
use potluck_wire::search::{QueryId, RINGS_MAX};

use super::look::LOOK_MAX;
use super::machine::Search;
use super::relay::Walkers;
use super::routes::Route;
use super::words::Sought;
use super::{Output, SearchError};
use crate::view::FoundFile;

/// Own searches at the same time.
const INQUIRIES_MAX: usize = 16;
/// Hits after which nothing farther is asked.
pub(super) const ENOUGH: usize = 8;
/// How long a search that has enough waits for what is on its way.
const SETTLE: Duration = Duration::from_millis(250);
/// Tokens a search takes from a bucket that gets one a second.
const TOKENS: u32 = 5;
/// Walkers that leave, and the steps of each: with 8 neighbours about 1,700 messages that look at
/// 12,000 filters. Lv et al. (2002) take 16 to 64 walkers with more steps, for which three seconds do
/// not suffice. Chosen so that 19 of 20 files with one holder in 3,000 nodes are found.
const WALKERS: u8 = 192;
const STEPS: u8 = 10;
/// How long a search takes at most, rings and walkers together, unless its rings alone took so long
/// that the walkers would have no time...
const SEARCH_MAX: Duration = Duration::from_millis(2_900);
/// ...which is at least this.
const WALK_MIN: Duration = Duration::from_millis(500);
/// What [`Output::Found`] names as rings when walkers were sent.
const WALKED: u8 = RINGS_MAX + 1;

/// A search under way.
#[derive(Debug, Clone)]
pub(super) struct Inquiry {
    id: u64,
    began: Instant,
    ring: u8,
    pub(super) deadline: Instant,
    /// This node's own.
    pub(super) own: Vec<FoundFile>,
    /// More of this node's own are looked for.
    pub(super) looking: bool,
    /// It would end but for them.
    pub(super) waits: bool,
    found: Vec<FoundFile>,
}

impl Search {
    pub(super) fn begin(&mut self, now: Instant, id: u64, words: &[String]) {
        let refused = match Sought::parse(words) {
            None => Some(SearchError::Words),
            Some(_) if self.inquiries.len() >= INQUIRIES_MAX => Some(SearchError::Busy),
            Some(_) if !self.own_quota.take(now, TOKENS) => Some(SearchError::Busy),
            Some(sought) => {
                let query = QueryId(self.rng.bytes());
                let own = self.names.find(&sought, super::relay::HITS).into_iter().cloned();
                let own = own.collect();
                if self.routes.open(now, query, Route::new(None, sought.clone())) {
                    let (began, deadline, found) = (now, now, Vec::new());
                    let (looking, waits) = (self.look(query, &sought), false);
                    let inquiry =
                        Inquiry { id, began, ring: 0, deadline, own, looking, waits, found };
                    self.inquiries.insert(query, inquiry);
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

    /// Takes each search whose wait is over a ring farther, or ends it.
    pub(super) fn advance_due(&mut self, now: Instant) {
        let due = self.inquiries.iter().filter(|(_, inquiry)| inquiry.deadline <= now);
        let due: Vec<QueryId> = due.map(|(query, _)| *query).collect();
        for query in due {
            // A ring that has nobody to ask is over at once.
            while self.inquiries.get(&query).is_some_and(|inquiry| inquiry.deadline <= now) {
                self.advance(now, query);
            }
        }
    }

    fn advance(&mut self, now: Instant, query: QueryId) {
        let Some(inquiry) = self.inquiries.get_mut(&query) else { return };
        let (found, last) = (inquiry.found.len(), inquiry.ring);
        let nowhere = self.links.len() == 0;
        if nowhere || found >= ENOUGH || last == WALKED || last == RINGS_MAX && found > 0 {
            if inquiry.looking && !inquiry.waits {
                inquiry.waits = true;
                inquiry.deadline = now + LOOK_MAX;
            } else {
                self.finish(query);
            }
            return;
        }
        inquiry.ring += 1;
        let ring = inquiry.ring;
        let sent = if ring == WALKED {
            self.stats.searches_walked += 1;
            self.walk(now, query, Walkers { count: WALKERS, steps: STEPS, from: None })
        } else {
            self.forward(now, query, ring, ring, false)
        };
        let wait = self.patience(if ring == WALKED { STEPS + 1 } else { ring });
        if let Some(inquiry) = self.inquiries.get_mut(&query).filter(|_| sent > 0) {
            inquiry.deadline = now + wait;
            if ring == WALKED {
                let end = (inquiry.began + SEARCH_MAX).max(now + WALK_MIN);
                inquiry.deadline = inquiry.deadline.min(end);
            }
        }
    }

    fn finish(&mut self, query: QueryId) {
        let Some(mut inquiry) = self.inquiries.remove(&query) else { return };
        self.stats.searches_found += u64::from(!inquiry.found.is_empty());
        inquiry.own.append(&mut inquiry.found);
        let Inquiry { id, ring: rings, own: files, .. } = inquiry;
        self.outbox.push_back(Output::Found { id, files, rings });
    }

    /// Hits for an own search; those of a search that is over are late.
    pub(super) fn found(&mut self, now: Instant, query: QueryId, hits: Vec<Hit>) {
        let Some(inquiry) = self.inquiries.get_mut(&query) else {
            self.stats.stray_hits += hits.len() as u64;
            return;
        };
        let me = self.me;
        inquiry.found.extend(hits.into_iter().filter(|hit| hit.holder != me).map(|hit| {
            FoundFile {
                name: hit.name,
                root: hit.root,
                bytes: hit.bytes,
                folder: hit.folder,
                holder: Some(hit.holder),
            }
        }));
        // Walkers look for anything at all.
        let enough = if inquiry.ring == WALKED { 1 } else { ENOUGH };
        if inquiry.found.len() >= enough {
            inquiry.deadline = inquiry.deadline.min(now + SETTLE);
        }
    }
}
