//! One iterative lookup (Kademlia section 2.3): ask the closest known nodes and learn closer ones,
//! until the closest have all answered.
//!
//! A lookup has one or more disjoint paths (Baumgart and Mies, S/Kademlia, 2007, section 4.4). The contacts
//! of the own table are dealt out to them, each node is asked on one path only, and what it names is heard of
//! on that path only. So a node that names accomplices leads one path astray and not the others. A path ends
//! when the closest nodes that it heard of have answered, on whichever path they were asked; the lookup ends
//! with its last path, and its result is what answered on any.
//!
//! Use: call [`Lookup::next`] until it returns `None`, report each answer with [`Lookup::on_answer`] or
//! [`Lookup::on_failure`], and check [`Lookup::finished`] after each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use potluck_base::{Distance, Diversity, Instant, Key, NodeId, Peer, SubnetLimit};

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

/// Candidates of one subnet on a path, so at most as many of one subnet in the result of a path. Raising it
/// lets one network of addresses take more of a replica set.
const CANDIDATES: SubnetLimit = SubnetLimit { small: 2, large: 8 };

/// Silent nodes among the closest from which second parts are asked for before the paths have ended. With 2 % of
/// the datagrams lost, one lookup in 500 has as many in calm. Raising it finds what is behind the gone later.
const SILENT_MIN: usize = 3;

/// Candidates kept on a path; beyond, the farthest that were not asked are dropped. Each path has its own, so
/// that a node that names many others fills one path only. Raising it costs memory.
const fn shortlist_max(paths: usize) -> usize {
    let shared = 128 / if paths == 0 { 1 } else { paths };
    if shared < 48 { 48 } else { shared }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Fresh,
    InFlight,
    Answered,
    /// It has answered, and is asked for the second part of its answer.
    AskedAgain,
    Failed,
}

#[derive(Debug, Clone)]
struct Candidate {
    peer: Peer,
    /// The same node at another address that a later answer named. It is tried when the first address
    /// fails, so that one wrong address does not hide a node.
    elsewhere: Option<Peer>,
    progress: Progress,
    /// The paths on which it was heard of, the lowest bit for the first.
    heard_on: u8,
    hop: u8,
    /// Index of its last request in the trace.
    query: usize,
}

impl Candidate {
    /// An answer on `path` names this node, perhaps at another address.
    fn hear_of(&mut self, peer: Peer, path: u8) {
        self.heard_on |= 1 << path;
        if peer == self.peer || self.elsewhere.is_some() || self.has_answered() {
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

    const fn is_on(&self, path: u8) -> bool {
        self.heard_on & (1 << path) != 0
    }

    fn has_answered(&self) -> bool {
        matches!(self.progress, Progress::Answered | Progress::AskedAgain)
    }
}

/// A request that a lookup sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The node.
    pub peer: Peer,
    /// Whether the second part of its answer is wanted, and not the first.
    pub second: bool,
}

/// The state of one lookup.
#[derive(Debug, Clone)]
pub struct Lookup {
    target: Key,
    why: &'static str,
    limits: Limits,
    started: Instant,
    shortlist: BTreeMap<Distance, Candidate>,
    queries: Vec<QueryTrace>,
    /// The path whose turn it is to send a request.
    turn: u8,
    /// The path whose closest node is asked for its second part next; `None` before these are asked for,
    /// which is done once.
    second_turn: Option<u8>,
}

impl Lookup {
    /// A lookup for the closest nodes to `target`, without any to begin with.
    #[must_use]
    pub fn new(now: Instant, target: Key, why: &'static str, limits: Limits) -> Self {
        let paths = limits.paths.clamp(1, PATHS_MAX);
        Self {
            target,
            why,
            limits: Limits { paths, ..limits },
            started: now,
            shortlist: BTreeMap::new(),
            queries: Vec::new(),
            turn: 0,
            second_turn: None,
        }
    }

    fn paths(&self) -> std::ops::Range<u8> {
        0..self.limits.paths as u8
    }

    /// Deals contacts of the own table out to the paths, closest first, so that each path begins with
    /// other nodes. Where subnets count, contacts of one subnet begin one path only.
    pub fn seed(&mut self, peers: impl IntoIterator<Item = Peer>) {
        let mut of_subnet: BTreeMap<u128, u8> = BTreeMap::new();
        let mut next = 0;
        for peer in peers {
            let mut path = next;
            if let Some(subnet) = self.limits.diversity.small_subnet(peer.contact.address.ip()) {
                path = *of_subnet.entry(subnet).or_insert(next);
            }
            if path == next {
                next = (next + 1) % self.limits.paths as u8;
            }
            self.insert(peer, 1, path);
        }
    }

    fn insert(&mut self, peer: Peer, hop: u8, path: u8) -> bool {
        let distance = peer.distance(&self.target);
        if let Some(known) = self.shortlist.get_mut(&distance) {
            known.hear_of(peer, path);
            return false;
        }
        let (progress, heard_on) = (Progress::Fresh, 1 << path);
        let candidate = Candidate { peer, elsewhere: None, progress, heard_on, hop, query: 0 };
        self.shortlist.insert(distance, candidate);
        if self.limits.diversity == Diversity::Subnets {
            self.keep_diverse(path, peer.contact.address.ip());
        }
        if self.on(path).count() > shortlist_max(self.limits.paths) {
            self.drop_farthest(path, |_| true);
        }
        true
    }

    /// Keeps the closest few nodes of each subnet on a path, since each of them would be asked.
    fn keep_diverse(&mut self, path: u8, ip: IpAddr) {
        let others: Vec<IpAddr> = self
            .on(path)
            .filter(|it| it.progress != Progress::Failed)
            .map(|it| it.peer.contact.address.ip())
            .collect();
        // One more than the limit, since the new one is among them.
        let SubnetLimit { small, large } = CANDIDATES;
        for limit in [
            SubnetLimit { small: small + 1, large: usize::MAX },
            SubnetLimit { small: usize::MAX, large: large + 1 },
        ] {
            if !Diversity::Subnets.has_room(ip, others.iter().copied(), limit) {
                let one = SubnetLimit { small: limit.small.min(1), large: limit.large.min(1) };
                self.drop_farthest(path, |other| !Diversity::Subnets.has_room(ip, [other], one));
            }
        }
    }

    /// Drops the farthest candidate of a path that was not asked and whose address is one of these.
    fn drop_farthest(&mut self, path: u8, of: impl Fn(IpAddr) -> bool) {
        let unasked = |it: &&Candidate| {
            let ip = it.peer.contact.address.ip();
            it.is_on(path) && it.progress == Progress::Fresh && of(ip)
        };
        let farthest = self.shortlist.iter().rev().find(|(_, it)| unasked(it));
        let Some(distance) = farthest.map(|(distance, _)| *distance) else { return };
        let Some(candidate) = self.shortlist.get_mut(&distance) else { return };
        candidate.heard_on &= !(1 << path);
        if candidate.heard_on == 0 {
            self.shortlist.remove(&distance);
        }
    }

    /// The target of the lookup.
    #[must_use]
    pub const fn target(&self) -> Key {
        self.target
    }

    /// When the lookup ends at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.started + self.limits.deadline
    }

    /// The candidates of a path, closest first.
    fn on(&self, path: u8) -> impl Iterator<Item = &Candidate> {
        self.shortlist.values().filter(move |candidate| candidate.is_on(path))
    }

    /// The next request, if one may be sent now. The paths take turns. A path asks the closest node it heard
    /// of that was not asked on any path, if fewer than its share of alpha requests younger than
    /// `soft_timeout` are in flight.
    pub fn next(&mut self, now: Instant, soft_timeout: Duration) -> Option<Ask> {
        if self.queries.len() >= self.limits.requests_max {
            return None;
        }
        if self.is_second_part_due()
            && (self.all_ended(now, soft_timeout) || self.silent(now, soft_timeout) >= SILENT_MIN)
        {
            self.second_turn = Some(0);
        }
        if let Some(peer) = self.next_second_part(now) {
            return Some(Ask { peer, second: true });
        }
        for _ in self.paths() {
            let path = self.turn;
            self.turn = (self.turn + 1) % self.limits.paths as u8;
            if let Some(peer) = self.next_on(path, now, soft_timeout) {
                return Some(Ask { peer, second: false });
            }
        }
        None
    }

    fn next_on(&mut self, path: u8, now: Instant, soft_timeout: Duration) -> Option<Peer> {
        let young = self.fresh_in_flight(path, now, soft_timeout);
        let share = self.limits.requests_max / self.limits.paths + self.limits.goal;
        if young >= self.parallelism(path) || self.asked_on(path) >= share {
            return None;
        }
        // Only the closest nodes that may still answer are asked, and one more for each overdue
        // request.
        let overdue = self.in_flight().filter(|query| query.path == path).count() - young;
        let goal = self.limits.goal;
        let candidate = self
            .shortlist
            .values_mut()
            .filter(|candidate| candidate.is_on(path) && candidate.progress != Progress::Failed)
            .take(goal + overdue)
            .find(|candidate| candidate.progress == Progress::Fresh)?;
        candidate.progress = Progress::InFlight;
        candidate.query = self.queries.len();
        let (peer, hop) = (candidate.peer, candidate.hop);
        self.note_query(now, peer, path, hop);
        Some(peer)
    }

    fn note_query(&mut self, now: Instant, peer: Peer, path: u8, hop: u8) {
        let after = now.since(self.started);
        let outcome = QueryOutcome::Pending;
        self.queries.push(QueryTrace { peer, path, hop, after, took: None, outcome });
    }

    /// Whether second parts of answers are wanted and were not asked for: some of the closest nodes failed or
    /// are silent. Answers name nodes that are gone as well, so the first part may name too few that live.
    fn is_second_part_due(&self) -> bool {
        let silent = |it: &Candidate| matches!(it.progress, Progress::Failed | Progress::InFlight);
        self.limits.second_parts
            && self.second_turn.is_none()
            && self.shortlist.values().take(self.limits.goal).any(silent)
    }

    /// How many of the closest nodes failed or let a soft timeout pass.
    fn silent(&self, now: Instant, soft_timeout: Duration) -> usize {
        let overdue = |it: &Candidate| {
            let query = self.queries.get(it.query);
            query.is_some_and(|query| now.since(self.started + query.after) >= soft_timeout)
        };
        let closest = self.shortlist.values().take(self.limits.goal);
        closest
            .filter(|it| match it.progress {
                Progress::Failed => true,
                Progress::InFlight => overdue(it),
                Progress::Fresh | Progress::Answered | Progress::AskedAgain => false,
            })
            .count()
    }

    /// The next node to ask for the second part of its answer: of each path the closest that answered on it. A
    /// path on which none has answered yet has none.
    fn next_second_part(&mut self, now: Instant) -> Option<Peer> {
        while let Some(path) = self.second_turn.filter(|path| self.paths().contains(path)) {
            self.second_turn = Some(path + 1);
            let queries = &self.queries;
            let candidate = self.shortlist.values_mut().find(|it| {
                let asked_on = queries.get(it.query).map(|query| query.path);
                it.progress == Progress::Answered && asked_on == Some(path)
            });
            let Some(candidate) = candidate else { continue };
            candidate.progress = Progress::AskedAgain;
            candidate.query = self.queries.len();
            let (peer, hop) = (candidate.peer, candidate.hop);
            self.note_query(now, peer, path, hop);
            return Some(peer);
        }
        None
    }

    /// Requests that may be in flight on a path: its share of alpha while answers bring closer nodes; all the
    /// rest at once when the closest have answered (Kademlia section 2.3).
    fn parallelism(&self, path: u8) -> usize {
        let Limits { alpha, paths, goal, .. } = self.limits;
        let closest_answered = self
            .on(path)
            .filter(|candidate| candidate.progress != Progress::Failed)
            .take(alpha)
            .all(Candidate::has_answered);
        let one_more = usize::from(usize::from(path) < alpha % paths);
        let share = (alpha / paths + one_more).max(1);
        if closest_answered { goal.max(share) } else { share }
    }

    fn asked_on(&self, path: u8) -> usize {
        self.queries.iter().filter(|query| query.path == path).count()
    }

    fn fresh_in_flight(&self, path: u8, now: Instant, soft_timeout: Duration) -> usize {
        self.in_flight()
            .filter(|query| query.path == path)
            .filter(|query| now.since(self.started + query.after) < soft_timeout)
            .count()
    }

    fn in_flight(&self) -> impl Iterator<Item = &QueryTrace> {
        self.shortlist
            .values()
            .filter(|it| matches!(it.progress, Progress::InFlight | Progress::AskedAgain))
            .filter_map(|candidate| self.queries.get(candidate.query))
    }

    /// When the next request in flight stops counting against alpha, or stops delaying the end.
    #[must_use]
    pub fn next_soft_timeout(&self, now: Instant, soft_timeout: Duration) -> Option<Instant> {
        let given_up = self
            .limits
            .abandon_after
            .map(|abandon_after| soft_timeout.saturating_mul(abandon_after));
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
            Progress::InFlight | Progress::AskedAgain => {
                self.limits.abandon_after.is_some_and(overdue)
            }
            Progress::Fresh | Progress::Answered => false,
        }
    }

    /// Notes an answer and the contacts in it, which are heard of on the path of the request only.
    pub fn on_answer(
        &mut self,
        now: Instant,
        from: &NodeId,
        contacts: impl IntoIterator<Item = Peer>,
    ) {
        let Some(candidate) = self.shortlist.get_mut(&from.distance(&self.target)) else { return };
        candidate.progress = Progress::Answered;
        let (hop, query) = (candidate.hop.saturating_add(1), candidate.query);
        let Some(path) = self.queries.get(query).map(|query| query.path) else { return };
        let news = contacts.into_iter().filter(|peer| self.insert(*peer, hop, path)).count();
        if let Some(query) = self.queries.get_mut(query) {
            query.took = Some(now.since(self.started + query.after));
            query.outcome = QueryOutcome::Answered { news };
        }
    }

    /// Notes that a node did not answer.
    pub fn on_failure(&mut self, now: Instant, from: &NodeId) {
        let Some(candidate) = self.shortlist.get_mut(&from.distance(&self.target)) else { return };
        let query = candidate.query;
        match candidate.progress {
            Progress::Answered => return,
            // Its first part was read.
            Progress::AskedAgain => candidate.progress = Progress::Answered,
            Progress::Fresh | Progress::InFlight | Progress::Failed => candidate.fail(),
        }
        if let Some(query) = self.queries.get_mut(query)
            && query.peer.id == *from
        {
            query.took = Some(now.since(self.started + query.after));
            query.outcome = QueryOutcome::TimedOut;
        }
    }

    /// Whether the closest nodes on a path have all answered, on whichever path they were asked.
    fn has_ended(&self, path: u8, given_up: impl Fn(&Candidate) -> bool) -> bool {
        self.on(path)
            .filter(|it| it.progress != Progress::Failed && !given_up(it))
            .take(self.limits.goal)
            .all(|it| it.progress == Progress::Answered)
    }

    fn all_ended(&self, now: Instant, soft_timeout: Duration) -> bool {
        let given_up = |it: &Candidate| self.is_given_up(it, now, soft_timeout);
        self.paths().all(|path| self.has_ended(path, given_up))
    }

    /// Whether and how the lookup is over.
    #[must_use]
    pub fn finished(&self, now: Instant, soft_timeout: Duration) -> Option<LookupOutcome> {
        let spent = self.queries.len() >= self.limits.requests_max;
        let failed = |it: &Candidate| it.progress == Progress::Failed;
        let waits_for_more = !spent
            && self.is_second_part_due()
            && self.shortlist.values().take(self.limits.goal).any(failed)
            && self.answered().next().is_some();
        if !waits_for_more && self.all_ended(now, soft_timeout) {
            // Fewer nodes than the goal are all there are, unless none answered.
            let any = self.answered().next().is_some();
            return Some(if any { LookupOutcome::Converged } else { LookupOutcome::Exhausted });
        }
        let idle =
            !waits_for_more && (spent || self.all_spent()) && self.in_flight().next().is_none();
        (idle || now >= self.deadline()).then_some(LookupOutcome::OutOfBudget)
    }

    /// Whether each path has ended or sent as many requests as it may.
    fn all_spent(&self) -> bool {
        let share = self.limits.requests_max / self.limits.paths + self.limits.goal;
        self.paths().all(|path| self.asked_on(path) >= share || self.has_ended(path, |_| false))
    }

    /// The nodes that answered on any path, closest first.
    pub fn answered(&self) -> impl Iterator<Item = Peer> {
        self.shortlist
            .values()
            .filter(|candidate| candidate.has_answered())
            .map(|candidate| candidate.peer)
    }

    /// The nodes among the `goal` closest known ones that were asked and have neither answered nor
    /// failed: slow, or dead without being noticed yet.
    pub fn late(&self) -> impl Iterator<Item = Peer> {
        self.shortlist
            .values()
            .filter(|candidate| candidate.progress != Progress::Failed)
            .take(self.limits.goal)
            .filter(|candidate| candidate.progress == Progress::InFlight)
            .map(|candidate| candidate.peer)
    }

    /// The trace of the lookup, ended at `now` with `outcome`.
    #[must_use]
    pub fn into_trace(self, now: Instant, outcome: LookupOutcome) -> LookupTrace {
        let closest: Vec<&Candidate> = self
            .shortlist
            .values()
            .filter(|candidate| candidate.has_answered())
            .take(self.limits.goal)
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

/// Most disjoint paths of a lookup. S/Kademlia recommends 4 to 8.
pub const PATHS_MAX: usize = 8;

/// The limits of a lookup.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The number of closest nodes that must answer.
    pub goal: usize,
    /// Requests in flight, over all paths; each path has at least one.
    pub alpha: usize,
    /// Disjoint paths, at most [`PATHS_MAX`].
    pub paths: usize,
    /// Whether second parts of answers are asked for when nodes failed.
    pub second_parts: bool,
    /// Whether candidates are limited a subnet.
    pub diversity: Diversity,
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
