//! The messages of the last ten minutes: what is pushed to those that lack it, compared with
//! neighbours, and given to a reader that comes back.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, PublicKey};
use potluck_wire::IdRun;

use crate::message::MessageId;

/// How long a message is kept.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(600);
/// What an entry costs beside its bytes, roughly.
const ENTRY_BYTES: usize = 256;
/// Places beyond twice those of the messages that are kept.
const TOLD_SPARE: usize = 64;
/// Neighbours remembered of whom a copy came.
const SENDERS_MAX: usize = 4;

/// A message that is kept.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// When it came.
    pub(super) at: Instant,
    /// As it is passed on.
    pub(super) bytes: Bytes,
    /// Of whom it came, in this order; none if it is this node's own.
    senders: Vec<PublicKey>,
    /// Who said that it has it.
    holders: Vec<PublicKey>,
    own: bool,
    /// Whether this node had to ask for it.
    pub(super) repaired: bool,
}

impl Kept {
    /// Notes a copy and says as its how manieth by another way it came; what is this node's own has
    /// come one way already.
    pub(super) fn came_from(&mut self, sender: PublicKey) -> usize {
        let own = usize::from(self.own);
        if let Some(at) = self.senders.iter().position(|known| *known == sender) {
            return at + 1 + own;
        }
        if self.senders.len() < SENDERS_MAX {
            self.senders.reserve_exact(1);
            self.senders.push(sender);
            return self.senders.len() + own;
        }
        SENDERS_MAX + 1
    }

    /// `peer` says that it has it.
    pub(super) fn has(&mut self, peer: PublicKey) {
        if !self.holders.contains(&peer) && self.holders.len() < SENDERS_MAX {
            self.holders.reserve_exact(1);
            self.holders.push(peer);
        }
    }

    /// Of whom it came first; none if it is this node's own.
    pub(super) fn source(&self) -> Option<PublicKey> {
        self.senders.first().copied().filter(|_| !self.own)
    }

    /// Whether `peer` brought it or a copy.
    pub(super) fn is_brought_by(&self, peer: &PublicKey) -> bool {
        self.senders.contains(peer)
    }

    /// Whether `peer` is known to have it.
    pub(super) fn is_from(&self, peer: &PublicKey) -> bool {
        self.senders.contains(peer) || self.holders.contains(peer)
    }
}

/// The messages of one topic.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    kept: BTreeMap<MessageId, Kept>,
    order: VecDeque<MessageId>,
    /// Those that a reader was given, or could have been, in the order of that; some are not kept any more.
    told: VecDeque<MessageId>,
    bytes: usize,
}

impl History {
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// What all of it costs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, id: &MessageId) -> Option<&Kept> {
        self.kept.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &MessageId) -> Option<&mut Kept> {
        self.kept.get_mut(id)
    }

    /// Keeps a new message, and drops those of more than ten minutes ago.
    pub(super) fn keep(
        &mut self,
        now: Instant,
        id: MessageId,
        bytes: Bytes,
        from: Option<PublicKey>,
    ) {
        self.expire(now);
        let cost = bytes.len() + ENTRY_BYTES;
        let mut senders = Vec::with_capacity(usize::from(from.is_some()));
        senders.extend(from);
        let own = from.is_none();
        let kept = Kept { at: now, bytes, senders, holders: Vec::new(), own, repaired: false };
        if self.kept.insert(id, kept).is_none() {
            self.order.push_back(id);
            self.bytes += cost;
        }
    }

    /// Drops what came more than ten minutes ago.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.oldest().is_some_and(|at| now.since(at) > KEPT_FOR) {
            self.drop_oldest();
        }
    }

    /// When the oldest one came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.order.front().and_then(|id| self.kept.get(id)).map(|kept| kept.at)
    }

    /// A message has its place among those that a reader is given.
    pub(super) fn tell(&mut self, id: MessageId) {
        self.told.push_back(id);
    }

    pub(super) fn drop_oldest(&mut self) {
        let Self { kept, told, .. } = self;
        while told.front().is_some_and(|id| !kept.contains_key(id)) {
            told.pop_front();
        }
        if told.len() > 2 * kept.len() + TOLD_SPARE {
            told.retain(|id| kept.contains_key(id));
        }
        if let Some(kept) = self.order.pop_front().and_then(|id| self.kept.remove(&id)) {
            self.bytes -= kept.bytes.len() + ENTRY_BYTES;
        }
    }

    /// The names of what came since `since`, consecutive ones together, at most `runs_max` runs.
    pub(super) fn runs_since(&self, since: Instant, runs_max: usize) -> Vec<IdRun> {
        let young = self.kept.iter().filter(|(_, kept)| kept.at >= since).map(|(id, _)| *id);
        runs(young, runs_max)
    }

    /// What was given behind `after`, in that order; `None` if that is not kept.
    pub(super) fn behind(
        &self,
        after: &MessageId,
    ) -> Option<impl Iterator<Item = (&MessageId, &Kept)>> {
        let place = self.told.iter().position(|id| id == after)?;
        let behind = self.told.range(place + 1..);
        self.kept
            .contains_key(after)
            .then(|| behind.filter_map(|id| Some((id, self.kept.get(id)?))))
    }

    /// All that was given, in that order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&MessageId, &Kept)> {
        self.told.iter().filter_map(|id| Some((id, self.kept.get(id)?)))
    }
}

/// Names in ascending order as runs, at most `runs_max`.
pub(super) fn runs(ids: impl IntoIterator<Item = MessageId>, runs_max: usize) -> Vec<IdRun> {
    let mut runs: Vec<IdRun> = Vec::new();
    for MessageId { publisher, incarnation, sequence } in ids {
        if let Some(run) = runs.last_mut()
            && (run.publisher, run.incarnation) == (publisher, incarnation)
            && run.first.checked_add(u64::from(run.count)) == Some(sequence)
            && run.count < u32::MAX
        {
            run.count += 1;
            continue;
        }
        if runs.len() >= runs_max {
            break;
        }
        runs.push(IdRun { publisher, incarnation, first: sequence, count: 1 });
    }
    runs
}

/// The names in a run, from `floor` on, at most `max`.
pub(super) fn names(run: &IdRun, floor: u64, max: usize) -> impl Iterator<Item = MessageId> {
    let IdRun { publisher, incarnation, first, count } = *run;
    let end = first.saturating_add(u64::from(count));
    (first.max(floor)..end).take(max).map(move |sequence| MessageId {
        publisher,
        incarnation,
        sequence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::Identity;

    fn id(sequence: u64) -> MessageId {
        let publisher = Identity::from_seed([1; 32]).public_key();
        MessageId { publisher, incarnation: 1, sequence }
    }

    fn second(number: u64) -> Instant {
        Instant::from_micros(number * 1_000_000)
    }

    #[test]
    fn consecutive_names_make_one_run_and_come_back() {
        let ids: Vec<MessageId> = [1, 2, 3, 7, 9, 10].map(id).to_vec();
        let runs = runs(ids.iter().copied(), 9);
        assert_eq!(
            runs.iter().map(|run| (run.first, run.count)).collect::<Vec<_>>(),
            [(1, 3), (7, 1), (9, 2)]
        );
        let back: Vec<MessageId> = runs.iter().flat_map(|run| names(run, 0, 99)).collect();
        assert_eq!(back, ids);
    }

    #[test]
    fn a_run_to_the_end_of_numbers_does_not_overflow() {
        let run = IdRun { first: u64::MAX - 1, count: u32::MAX, ..runs([id(1)], 1)[0] };
        assert_eq!(names(&run, 0, 99).count(), 1);
        assert_eq!(names(&run, u64::MAX, 99).count(), 0);
    }

    #[test]
    fn ten_minutes_are_kept() {
        let mut history = History::default();
        history.keep(second(0), id(1), Bytes::from_static(b"a"), None);
        history.keep(second(600), id(2), Bytes::from_static(b"b"), None);
        assert_eq!(history.len(), 2);
        history.keep(second(601), id(3), Bytes::from_static(b"c"), None);
        assert_eq!((history.len(), history.get(&id(1)).is_none()), (2, true));
        assert_eq!(history.bytes(), 2 * (ENTRY_BYTES + 1));
        assert_eq!(history.runs_since(second(601), 9)[0].first, 3);
    }

    #[test]
    fn a_reader_that_comes_back_gets_what_it_missed() {
        let mut history = History::default();
        for number in [3, 1, 2] {
            history.keep(second(number), id(number), Bytes::new(), None);
            history.tell(id(number));
        }
        let after = id(3);
        let behind = history.behind(&after).expect("kept");
        assert_eq!(behind.map(|(id, _)| id.sequence).collect::<Vec<_>>(), [1, 2]);
        assert!(history.behind(&id(9)).is_none());
    }

    #[test]
    fn a_second_copy_of_the_same_neighbour_is_not_another_way() {
        let mut history = History::default();
        let [a, b] = [1, 2].map(|seed| Identity::from_seed([seed; 32]).public_key());
        history.keep(second(0), id(1), Bytes::new(), Some(a));
        let kept = history.get_mut(&id(1)).expect("kept");
        assert_eq!([kept.came_from(a), kept.came_from(b), kept.came_from(b)], [1, 2, 2]);
    }
}
