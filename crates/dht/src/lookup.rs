//! One iterative lookup (Kademlia section 2.3): ask the closest known nodes and learn closer ones,
//! until the closest have all answered.
//!
//! Use: call [`Lookup::next`] until it returns `None`, report each answer with [`Lookup::on_answer`] or
//! [`Lookup::on_failure`], and check [`Lookup::finished`] after each.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Distance, Instant, Key, NodeId, Peer};

use crate::trace::{LookupOutcome, LookupTrace, QueryOutcome, QueryTrace};

/// The part of a node that requested a lookup, and to which the result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LookupOwner {
    /// Record keeping.
    Records,
    /// A command that shows a lookup hop by hop.
    Trace,
    /// The DHT itself: joining, refreshing buckets, repairing its close group.
    Table,
}

/// Identifies a lookup to its requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId {
    /// The requester.
    pub owner: LookupOwner,
    /// Chosen by the requester; no two of its lookups at a time have the same number.
    pub number: u64,
}

impl LookupId {
    /// Lookup `number` of record keeping.
    #[must_use]
    pub const fn records(number: u64) -> Self {
        Self { owner: LookupOwner::Records, number }
    }

    /// Lookup `number` of a trace command.
    #[must_use]
    pub const fn trace(number: u64) -> Self {
        Self { owner: LookupOwner::Trace, number }
    }

    /// Lookup `number` of the DHT.
    pub(crate) const fn table(number: u64) -> Self {
        Self { owner: LookupOwner::Table, number }
    }

    /// Whether another part of the node waits for the result.
    pub(crate) fn is_requested(self) -> bool {
        self.owner != LookupOwner::Table
    }
}

/// Candidates kept in a shortlist; beyond, the farthest that were not asked are dropped. Raising it
/// costs memory.
const SHORTLIST_MAX: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Fresh,
    InFlight,
    Answered,
    Failed,
}

#[derive(Debug, Clone)]
struct Candidate {
    peer: Peer,
    /// The same node at another address that a later answer named. It is tried when the first address
    /// fails, so that one wrong address does not hide a node.
    elsewhere: Option<Peer>,
    progress: Progress,
    hop: u8,
    /// Index of its request in the trace.
    query: usize,
}

impl Candidate {
    /// An answer names this node, perhaps at another address.
    fn hear_of(&mut self, peer: Peer) {
        if peer == self.peer || self.elsewhere.is_some() || self.progress == Progress::Answered {
            return;
        }
        self.elsewhere = Some(peer);
        if self.progress == Progress::Failed {
            self.fail();
        }
    }

    /// The node does not answer at its current address.
    fn fail(&mut self) {
        match self.elsewhere.take() {
            Some(peer) => {
                self.peer = peer;
                self.progress = Progress::Fresh;
            }
            None => self.progress = Progress::Failed,
        }
    }
}

/// The state of one lookup.
#[derive(Debug, Clone)]
pub struct Lookup {
    target: Key,
    why: &'static str,
    /// The number of closest nodes that must answer.
    goal: usize,
    alpha: usize,
    requests_max: usize,
    abandon_after: Option<u32>,
    started: Instant,
    deadline: Instant,
    shortlist: BTreeMap<Distance, Candidate>,
    queries: Vec<QueryTrace>,
}

impl Lookup {
    /// A lookup for the `goal` nodes closest to `target`, beginning with `seeds`.
    #[must_use]
    pub fn new(now: Instant, target: Key, why: &'static str, limits: Limits) -> Self {
        Self {
            target,
            why,
            goal: limits.goal,
            alpha: limits.alpha,
            requests_max: limits.requests_max,
            abandon_after: limits.abandon_after,
            started: now,
            deadline: now + limits.deadline,
            shortlist: BTreeMap::new(),
            queries: Vec::new(),
        }
    }

    /// Adds contacts of the own table to begin with.
    pub fn seed(&mut self, peers: impl IntoIterator<Item = Peer>) {
        peers.into_iter().for_each(|peer| {
            self.insert(peer, 1);
        });
    }

    fn insert(&mut self, peer: Peer, hop: u8) -> bool {
        let distance = peer.distance(&self.target);
        if let Some(known) = self.shortlist.get_mut(&distance) {
            known.hear_of(peer);
            return false;
        }
        let progress = Progress::Fresh;
        let candidate = Candidate { peer, elsewhere: None, progress, hop, query: 0 };
        self.shortlist.insert(distance, candidate);
        if self.shortlist.len() > SHORTLIST_MAX
            && let Some(farthest) = self
                .shortlist
                .iter()
                .rev()
                .find(|(_, candidate)| candidate.progress == Progress::Fresh)
                .map(|(distance, _)| *distance)
        {
            self.shortlist.remove(&farthest);
        }
        true
    }

    /// The target of the lookup.
    #[must_use]
    pub const fn target(&self) -> Key {
        self.target
    }

    /// When the lookup ends at the latest.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The next node to ask: the closest candidate that was not asked yet, if fewer than alpha requests
    /// younger than `soft_timeout` are in flight.
    pub fn next(&mut self, now: Instant, soft_timeout: Duration) -> Option<Peer> {
        if self.queries.len() >= self.requests_max
            || self.fresh_in_flight(now, soft_timeout) >= self.parallelism()
        {
            return None;
        }
        // Only the closest nodes that may still answer are asked, and one more for each overdue
        // request.
        let overdue = self.in_flight().count() - self.fresh_in_flight(now, soft_timeout);
        let candidate = self
            .shortlist
            .values_mut()
            .filter(|candidate| candidate.progress != Progress::Failed)
            .take(self.goal + overdue)
            .find(|candidate| candidate.progress == Progress::Fresh)?;
        candidate.progress = Progress::InFlight;
        candidate.query = self.queries.len();
        let peer = candidate.peer;
        self.queries.push(QueryTrace {
            peer,
            path: 0,
            hop: candidate.hop,
            after: now.since(self.started),
            took: None,
            outcome: QueryOutcome::Pending,
        });
        Some(peer)
    }

    /// Requests that may be in flight: alpha while answers bring closer nodes; all the rest at once
    /// when the closest have answered (Kademlia section 2.3).
    fn parallelism(&self) -> usize {
        let closest_answered = self
            .shortlist
            .values()
            .filter(|candidate| candidate.progress != Progress::Failed)
            .take(self.alpha)
            .all(|candidate| candidate.progress == Progress::Answered);
        if closest_answered { self.goal.max(self.alpha) } else { self.alpha }
    }

    fn fresh_in_flight(&self, now: Instant, soft_timeout: Duration) -> usize {
        self.in_flight()
            .filter(|query| now.since(self.started + query.after) < soft_timeout)
            .count()
    }

    fn in_flight(&self) -> impl Iterator<Item = &QueryTrace> {
        self.shortlist
            .values()
            .filter(|candidate| candidate.progress == Progress::InFlight)
            .filter_map(|candidate| self.queries.get(candidate.query))
    }

    /// When the next request in flight stops counting against alpha, or stops delaying the end.
    #[must_use]
    pub fn next_soft_timeout(&self, now: Instant, soft_timeout: Duration) -> Option<Instant> {
        let given_up =
            self.abandon_after.map(|abandon_after| soft_timeout.saturating_mul(abandon_after));
        self.in_flight()
            .flat_map(|query| {
                let sent = self.started + query.after;
                [Some(soft_timeout), given_up].into_iter().flatten().map(move |after| sent + after)
            })
            .filter(|ends| *ends > now)
            .min()
    }

    /// Whether the lookup may end without this candidate's answer.
    fn is_given_up(&self, candidate: &Candidate, now: Instant, soft_timeout: Duration) -> bool {
        let overdue = |abandon_after| {
            let sent = self.queries.get(candidate.query).map(|query| self.started + query.after);
            sent.is_some_and(|sent| now.since(sent) >= soft_timeout.saturating_mul(abandon_after))
        };
        match candidate.progress {
            Progress::Failed => true,
            Progress::InFlight => self.abandon_after.is_some_and(overdue),
            Progress::Fresh | Progress::Answered => false,
        }
    }

    /// Notes an answer and the contacts in it.
    pub fn on_answer(
        &mut self,
        now: Instant,
        from: &NodeId,
        contacts: impl IntoIterator<Item = Peer>,
    ) {
        let Some(candidate) = self.shortlist.get_mut(&from.distance(&self.target)) else { return };
        candidate.progress = Progress::Answered;
        let (hop, query) = (candidate.hop.saturating_add(1), candidate.query);
        let news = contacts.into_iter().filter(|peer| self.insert(*peer, hop)).count();
        if let Some(query) = self.queries.get_mut(query) {
            query.took = Some(now.since(self.started + query.after));
            query.outcome = QueryOutcome::Answered { news };
        }
    }

    /// Notes that a node did not answer.
    pub fn on_failure(&mut self, now: Instant, from: &NodeId) {
        let Some(candidate) = self.shortlist.get_mut(&from.distance(&self.target)) else { return };
        if candidate.progress == Progress::Answered {
            return;
        }
        let query = candidate.query;
        candidate.fail();
        if let Some(query) = self.queries.get_mut(query)
            && query.peer.id == *from
        {
            query.took = Some(now.since(self.started + query.after));
            query.outcome = QueryOutcome::TimedOut;
        }
    }

    /// Whether and how the lookup is over.
    #[must_use]
    pub fn finished(&self, now: Instant, soft_timeout: Duration) -> Option<LookupOutcome> {
        let mut asked = self
            .shortlist
            .values()
            .filter(|candidate| !self.is_given_up(candidate, now, soft_timeout));
        if asked.by_ref().take(self.goal).all(|each| each.progress == Progress::Answered) {
            // Fewer nodes than the goal are all there are, unless none answered.
            let any = self.answered().next().is_some();
            return Some(if any { LookupOutcome::Converged } else { LookupOutcome::Exhausted });
        }
        let spent = self.queries.len() >= self.requests_max && self.in_flight().next().is_none();
        (spent || now >= self.deadline).then_some(LookupOutcome::OutOfBudget)
    }

    /// The nodes that answered, closest first.
    pub fn answered(&self) -> impl Iterator<Item = Peer> {
        self.shortlist
            .values()
            .filter(|candidate| candidate.progress == Progress::Answered)
            .map(|candidate| candidate.peer)
    }

    /// The nodes among the `goal` closest known ones that were asked and have neither answered nor
    /// failed: slow, or dead without being noticed yet.
    pub fn late(&self) -> impl Iterator<Item = Peer> {
        self.shortlist
            .values()
            .filter(|candidate| candidate.progress != Progress::Failed)
            .take(self.goal)
            .filter(|candidate| candidate.progress == Progress::InFlight)
            .map(|candidate| candidate.peer)
    }

    /// The trace of the lookup, ended at `now` with `outcome`.
    #[must_use]
    pub fn into_trace(self, now: Instant, outcome: LookupOutcome) -> LookupTrace {
        let closest: Vec<&Candidate> = self
            .shortlist
            .values()
            .filter(|candidate| candidate.progress == Progress::Answered)
            .take(self.goal)
            .collect();
        LookupTrace {
            target: self.target,
            why: self.why,
            started: self.started,
            took: now.since(self.started),
            outcome,
            hops: closest.iter().map(|candidate| candidate.hop).max().unwrap_or(0),
            closest: closest.iter().map(|candidate| candidate.peer.id).collect(),
            queries: self.queries,
        }
    }
}

/// The limits of a lookup.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The number of closest nodes that must answer.
    pub goal: usize,
    /// Requests in flight.
    pub alpha: usize,
    /// Requests in total.
    pub requests_max: usize,
    /// Age, in soft timeouts, from which a request stays in flight but no longer delays the end of the
    /// lookup. `None` waits for every answer or failure.
    pub abandon_after: Option<u32>,
    /// Time limit.
    pub deadline: Duration,
}

#[cfg(test)]
mod tests;
