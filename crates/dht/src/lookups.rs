//! The lookups under way: starting, feeding and ending them, and the traces of the last ones.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use potluck_base::{Deadline, Instant, Peer};
use potluck_wire::Want;

use crate::event::QueryId;
use crate::lookup::{Lookup, LookupId};
use crate::trace::{LookupOutcome, LookupTrace};

/// Traces of finished lookups that are kept for diagnosis. Raising it costs memory.
pub(crate) const TRACES_MAX: usize = 100;

/// A lookup and the content of its requests.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) lookup: Lookup,
    pub(crate) want: Want,
    pub(crate) count: u8,
    /// When it must be driven again if no answer comes; set whenever it is driven.
    pub(crate) wake: Instant,
    /// Whether a command waits for it; else it is the DHT's own maintenance.
    pub(crate) asked_for: bool,
}

/// All lookups under way and the last ones that ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lookups {
    running: BTreeMap<LookupId, Running>,
    queries: BTreeMap<QueryId, (LookupId, Peer)>,
    traces: VecDeque<LookupTrace>,
}

impl Lookups {
    pub(crate) fn insert(&mut self, id: LookupId, running: Running) {
        self.running.insert(id, running);
    }

    pub(crate) fn get_mut(&mut self, id: LookupId) -> Option<&mut Running> {
        self.running.get_mut(&id)
    }

    pub(crate) fn contains(&self, id: LookupId) -> bool {
        self.running.contains_key(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn ids(&self) -> Vec<LookupId> {
        self.running.keys().copied().collect()
    }

    pub(crate) fn traces(&self) -> impl Iterator<Item = &LookupTrace> {
        self.traces.iter()
    }

    /// Notes that request `query` of lookup `id` is on its way to `peer`.
    pub(crate) fn sent(&mut self, query: QueryId, id: LookupId, peer: Peer) {
        self.queries.insert(query, (id, peer));
    }

    /// The lookup and the node of request `query`, which stays.
    pub(crate) fn query(&self, query: QueryId) -> Option<(LookupId, Peer)> {
        self.queries.get(&query).copied()
    }

    /// The lookup and the node of request `query`. The answer can come after the lookup ended.
    pub(crate) fn take_query(&mut self, query: QueryId) -> Option<(LookupId, Peer)> {
        self.queries.remove(&query)
    }

    /// Ends a lookup and stores its trace.
    pub(crate) fn finish(
        &mut self,
        now: Instant,
        id: LookupId,
        outcome: LookupOutcome,
    ) -> Option<(Running, LookupTrace)> {
        let running = self.running.remove(&id)?;
        let trace = running.lookup.clone().into_trace(now, outcome);
        if running.asked_for {
            if self.traces.len() >= TRACES_MAX {
                self.traces.pop_front();
            }
            self.traces.push_back(trace.clone());
        }
        Some((running, trace))
    }

    /// The lookups that must be driven at `now`.
    pub(crate) fn due(&self, now: Instant) -> Vec<LookupId> {
        self.running.iter().filter(|(_, running)| running.wake <= now).map(|(id, _)| *id).collect()
    }

    /// When the next lookup must be driven.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let at = self.running.values().map(|running| running.wake).min()?;
        Some(Deadline::new(at, "lookup"))
    }
}
