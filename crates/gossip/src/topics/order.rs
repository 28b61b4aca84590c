//! The order of each publisher: what came before its turn waits for what is missing.
//!
//! A message that a broken link or a lost datagram held up comes by repair, behind those that were
//! published after it. A subscriber gets the messages of one publisher in the order in which they were
//! published, so those wait, for [`GAP_WAIT`] at most; what is still missing then was lost, and the
//! subscriber is told how many that are, in the place where they are missing. Of those that are missed
//! and that nobody has named, neighbours are asked.
//!
//! **Invariants:** what waits is bounded in messages, bytes and time; what was counted as missing is
//! not delivered any more; publishers do not wait for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_base::{Instant, PublicKey};
use potluck_wire::IdRun;

use crate::message::{Message, MessageId};

/// How long messages wait for those before them: some rounds of repair.
const GAP_WAIT: Duration = Duration::from_secs(5);
/// The same of a node that has no link at all in the topic: it cannot be told what it lacks.
const GAP_WAIT_ALONE: Duration = Duration::from_secs(60);
/// How often neighbours are asked for what is missing.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// Runs of names in one such question: what fits in a datagram.
const ASKED_MAX: usize = 16;
/// Messages that wait in one topic, and their bytes; with more nothing is waited for any longer.
const HELD_MAX: usize = 4_096;
const HELD_BYTES_MAX: usize = 2 << 20;
/// Publishers whose order is kept; messages of others are delivered as they come.
const PUBLISHERS_MAX: usize = 4_096;
/// A publisher that was not heard for so long makes room for another.
const IDLE: Duration = Duration::from_secs(600);

/// What a subscriber is to be given next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// A message.
    Message(Message),
    /// So many are missing here.
    Missed(u64),
}

/// A message before its turn; none if it is known to be lost.
#[derive(Debug, Clone)]
struct Held {
    at: Instant,
    message: Option<Message>,
}

/// The messages of one run of a publisher.
#[derive(Debug, Clone)]
struct Run {
    incarnation: u64,
    /// The first one that has a place in the order; what was published before it has none.
    base: u64,
    /// The one whose turn it is.
    next: u64,
    held: BTreeMap<u64, Held>,
    /// Since when something waits for the one whose turn it is.
    since: Instant,
}

/// One publisher.
#[derive(Debug, Clone)]
struct Line {
    /// In the order in which they began. Only the first is delivered from.
    runs: Vec<Run>,
    /// The run that ended last.
    ended: Option<u64>,
    heard: Instant,
    /// When it is to be looked at.
    due: Option<Instant>,
    /// When neighbours are to be asked for what is missing.
    ask_at: Instant,
}

/// The order of all publishers of one topic.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    lines: BTreeMap<PublicKey, Line>,
    due: BTreeSet<(Instant, PublicKey)>,
    held: usize,
    held_bytes: usize,
}

impl Orders {
    /// Messages that wait for those before them.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// When there is something to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next message of this publisher is the one behind `after`, which its reader has.
    pub(super) fn expect(&mut self, now: Instant, after: &MessageId) {
        let MessageId { publisher, incarnation, sequence } = *after;
        if self.lines.contains_key(&publisher) || !self.has_room(now) {
            return;
        }
        let next = sequence.saturating_add(1);
        let run = Run::new(now, incarnation, next);
        self.lines.insert(publisher, Line::new(now, run));
    }

    /// A new message has come: what is to be given now. `promised` says which is the first message of a
    /// run of its publisher that neighbours have and this node has not.
    pub(super) fn take(
        &mut self,
        now: Instant,
        message: Message,
        promised: impl Fn(u64) -> Option<u64>,
    ) -> Vec<Given> {
        let id = message.id;
        self.put(now, id, Some(message), promised)
    }

    /// A message will not be delivered.
    pub(super) fn lost(
        &mut self,
        now: Instant,
        id: MessageId,
        promised: impl Fn(u64) -> Option<u64>,
    ) -> Vec<Given> {
        self.put(now, id, None, promised)
    }

    /// A message came that was published before the subscription: neither it nor what its publisher
    /// published before it is waited for.
    pub(super) fn pass(
        &mut self,
        now: Instant,
        id: &MessageId,
        promised: impl Fn(u64) -> Option<u64>,
    ) -> Vec<Given> {
        let mut given = Vec::new();
        let Some(line) = self.lines.get_mut(&id.publisher) else { return given };
        let known = line.runs.iter_mut().find(|run| run.incarnation == id.incarnation);
        let Some(run) = known.filter(|run| run.next <= id.sequence) else { return given };
        run.base = id.sequence.saturating_add(1);
        run.next = run.base;
        let behind = run.held.split_off(&run.next);
        for passed in std::mem::replace(&mut run.held, behind).into_values() {
            self.held -= 1;
            self.held_bytes -= bytes_of(passed.message.as_ref());
        }
        self.go_on(now, &id.publisher, &promised, &mut given);
        given
    }

    fn put(
        &mut self,
        now: Instant,
        id: MessageId,
        message: Option<Message>,
        promised: impl Fn(u64) -> Option<u64>,
    ) -> Vec<Given> {
        let at_once =
            |message: Option<Message>| vec![message.map_or(Given::Missed(1), Given::Message)];
        let MessageId { publisher, incarnation, sequence } = id;
        let first = || promised(incarnation).filter(|first| *first < sequence).unwrap_or(sequence);
        if !self.lines.contains_key(&publisher) {
            if !self.has_room(now) {
                return at_once(message);
            }
            let run = Run::new(now, incarnation, first());
            self.lines.insert(publisher, Line::new(now, run));
        }
        let Some(line) = self.lines.get_mut(&publisher) else { return at_once(message) };
        line.heard = now;
        let Some(run) = line.run(now, incarnation, first) else { return at_once(message) };
        if sequence < run.base {
            return at_once(message);
        }
        // Counted as missing, or there already.
        if sequence < run.next || run.held.contains_key(&sequence) {
            return Vec::new();
        }
        if run.held.is_empty() {
            run.since = now;
        }
        self.held += 1;
        self.held_bytes += bytes_of(message.as_ref());
        run.held.insert(sequence, Held { at: now, message });
        let mut given = Vec::new();
        self.go_on(now, &publisher, &promised, &mut given);
        while self.held > HELD_MAX || self.held_bytes > HELD_BYTES_MAX {
            let longest = self.lines.iter().max_by_key(|(_, line)| line.held());
            let Some(longest) = longest.map(|(key, _)| *key) else { break };
            self.give_up(now, &longest, &mut given);
        }
        given
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.lines.len() >= PUBLISHERS_MAX {
            let lives = |line: &Line| line.held() > 0 || now.since(line.heard) < IDLE;
            self.lines.retain(|_, line| lives(line));
        }
        self.lines.len() < PUBLISHERS_MAX
    }

    /// Gives what has its turn now, and arms the timer for the rest.
    fn go_on(
        &mut self,
        now: Instant,
        publisher: &PublicKey,
        promised: &impl Fn(u64) -> Option<u64>,
        given: &mut Vec<Given>,
    ) {
        let Some(line) = self.lines.get_mut(publisher) else { return };
        loop {
            for held in line.take_next() {
                self.held -= 1;
                self.held_bytes -= bytes_of(held.as_ref());
                match (held, given.last_mut()) {
                    (Some(message), _) => given.push(Given::Message(message)),
                    (None, Some(Given::Missed(missed))) => *missed += 1,
                    (None, _) => given.push(Given::Missed(1)),
                }
            }
            // The next run begins when nothing of this one is known to come.
            let over = |run: &Run| run.held.is_empty() && promised(run.incarnation).is_none();
            if line.runs.len() < 2 || !line.runs.first().is_some_and(over) {
                break;
            }
            line.ended = Some(line.runs.remove(0).incarnation);
        }
        self.arm(now, publisher);
    }

    fn arm(&mut self, now: Instant, publisher: &PublicKey) {
        let Some(line) = self.lines.get_mut(publisher) else { return };
        if let Some(due) = line.due.take() {
            self.due.remove(&(due, *publisher));
        }
        let Some(since) = line.waits_since() else { return };
        // A new gap is given the time that the tree and the names of what is missing take.
        line.ask_at = line.ask_at.max(since + ASK_INTERVAL);
        let end = Some(since + GAP_WAIT).filter(|end| *end > now).unwrap_or(line.ask_at);
        let due = end.min(line.ask_at).max(now + Duration::from_millis(1));
        line.due = Some(due);
        self.due.insert((due, *publisher));
    }

    /// What was missing for too long is given up, for all publishers for which it is time. `alone` if this
    /// node has no link; `promised` as for [`Orders::take`], by publisher. What is to be given, and what
    /// neighbours are to be asked for.
    pub(super) fn look(
        &mut self,
        now: Instant,
        alone: bool,
        promised: impl Fn(&PublicKey, u64) -> Option<u64>,
    ) -> (Vec<Given>, Vec<IdRun>) {
        let (mut given, mut wanted) = (Vec::new(), Vec::new());
        let patience = if alone { GAP_WAIT_ALONE } else { GAP_WAIT };
        while let Some((at, publisher)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, publisher));
            let Some(line) = self.lines.get_mut(&publisher) else { continue };
            line.due = None;
            let Some(since) = line.waits_since() else { continue };
            if now.since(since) >= patience {
                self.give_up(now, &publisher, &mut given);
                continue;
            }
            line.ask_at = now + ASK_INTERVAL;
            wanted.extend(line.gaps(&publisher, ASKED_MAX.saturating_sub(wanted.len())));
            self.go_on(
                now,
                &publisher,
                &|incarnation| promised(&publisher, incarnation),
                &mut given,
            );
        }
        (given, wanted)
    }

    /// Waits no longer for what a publisher's first message that waits is behind.
    fn give_up(&mut self, now: Instant, publisher: &PublicKey, given: &mut Vec<Given>) {
        let Some(line) = self.lines.get_mut(publisher) else { return };
        let Some(run) = line.runs.first_mut() else { return };
        match run.held.first_key_value().map(|(sequence, _)| *sequence) {
            Some(first) => {
                let missed = first.saturating_sub(run.next);
                run.next = first;
                match given.last_mut() {
                    _ if missed == 0 => {}
                    Some(Given::Missed(before)) => *before += missed,
                    _ => given.push(Given::Missed(missed)),
                }
            }
            None if line.runs.len() > 1 => line.ended = Some(line.runs.remove(0).incarnation),
            None => {}
        }
        line.ask_at = now + ASK_INTERVAL;
        self.go_on(now, publisher, &|_| None, given);
    }

    /// This node stood still: what it did not get meanwhile is not late.
    pub(super) fn stood_still(&mut self, now: Instant) {
        let waiting: Vec<PublicKey> = self.due.iter().map(|(_, publisher)| *publisher).collect();
        for publisher in waiting {
            let Some(line) = self.lines.get_mut(&publisher) else { continue };
            for run in &mut line.runs {
                run.since = now;
                run.held.values_mut().for_each(|held| held.at = now);
            }
            self.arm(now, &publisher);
        }
    }
}

impl Run {
    const fn new(now: Instant, incarnation: u64, base: u64) -> Self {
        Self { incarnation, base, next: base, held: BTreeMap::new(), since: now }
    }
}

impl Line {
    fn new(now: Instant, run: Run) -> Self {
        Self { runs: vec![run], ended: None, heard: now, due: None, ask_at: now }
    }

    fn held(&self) -> usize {
        self.runs.iter().map(|run| run.held.len()).sum()
    }

    /// The run of this number; `None` for one that has ended. Of one that begins, all counts: whoever
    /// was heard in the run before would have been heard from its first message on.
    fn run(
        &mut self,
        now: Instant,
        incarnation: u64,
        first: impl FnOnce() -> u64,
    ) -> Option<&mut Run> {
        let place = self.runs.iter().position(|run| run.incarnation == incarnation);
        if place.is_none() && self.ended == Some(incarnation) {
            return None;
        }
        let place = place.unwrap_or_else(|| {
            let youngest = self.runs.iter().all(|run| run.incarnation < incarnation);
            let base = if youngest { 1 } else { first() };
            self.runs.push(Run::new(now, incarnation, base));
            self.runs.len() - 1
        });
        self.runs.get_mut(place)
    }

    /// What waits in the first run and has its turn, in order.
    fn take_next(&mut self) -> Vec<Option<Message>> {
        let mut taken = Vec::new();
        let Some(run) = self.runs.first_mut() else { return taken };
        while let Some(held) = run.held.remove(&run.next) {
            run.next = run.next.saturating_add(1);
            taken.push(held.message);
        }
        // Behind the next gap, the time of what waits there counts.
        if let Some((_, first)) = run.held.first_key_value().filter(|_| !taken.is_empty()) {
            run.since = first.at;
        }
        taken
    }

    /// Since when the first message that has to wait does so.
    fn waits_since(&self) -> Option<Instant> {
        self.runs.iter().find(|run| !run.held.is_empty()).map(|run| run.since)
    }

    /// What is missing between the messages that wait, and before them, as at most `max` runs.
    fn gaps(&self, publisher: &PublicKey, max: usize) -> Vec<IdRun> {
        let mut gaps = Vec::new();
        let Some(run) = self.runs.first() else { return gaps };
        let mut next = run.next;
        for sequence in run.held.keys() {
            if gaps.len() >= max {
                break;
            }
            let count = u32::try_from(sequence.saturating_sub(next)).unwrap_or(u32::MAX);
            if count > 0 {
                let (publisher, incarnation) = (*publisher, run.incarnation);
                gaps.push(IdRun { publisher, incarnation, first: next, count });
            }
            next = sequence.saturating_add(1);
        }
        gaps
    }
}

fn bytes_of(message: Option<&Message>) -> usize {
    message.map_or(0, |message| message.payload.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use potluck_base::Identity;

    fn id(publisher: u8, incarnation: u64, sequence: u64) -> MessageId {
        let publisher = Identity::from_seed([publisher; 32]).public_key();
        MessageId { publisher, incarnation, sequence }
    }

    fn message(id: MessageId) -> Message {
        Message { topic: "t".parse().expect("a topic"), id, payload: Bytes::from_static(b"x") }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    /// Numbers of messages, and what is missed as a negative number.
    fn numbers(given: Vec<Given>) -> Vec<i64> {
        let number = |given| match given {
            Given::Message(message) => message.id.sequence as i64,
            Given::Missed(missed) => -(missed as i64),
        };
        given.into_iter().map(number).collect()
    }

    fn take(orders: &mut Orders, millis: u64, id: MessageId) -> Vec<i64> {
        numbers(orders.take(at(millis), message(id), |_| None))
    }

    fn look(orders: &mut Orders, millis: u64, alone: bool) -> (Vec<i64>, usize) {
        let (given, wanted) = orders.look(at(millis), alone, |_, _| None);
        (numbers(given), wanted.len())
    }

    #[test]
    fn what_comes_too_soon_waits_for_what_is_missing_and_others_do_not() {
        let mut orders = Orders::default();
        assert_eq!(take(&mut orders, 0, id(1, 1, 5)), [5], "the first that is heard of it");
        assert_eq!(take(&mut orders, 1, id(1, 1, 8)), []);
        assert_eq!(take(&mut orders, 2, id(2, 1, 1)), [1]);
        assert_eq!(take(&mut orders, 3, id(1, 1, 7)), []);
        assert_eq!((orders.held(), orders.next()), (2, Some(at(1_001))));
        assert_eq!(take(&mut orders, 4, id(1, 1, 6)), [6, 7, 8]);
        assert_eq!((orders.held(), orders.next(), orders.held_bytes), (0, None, 0));
        assert_eq!(take(&mut orders, 5, id(1, 1, 4)), [4], "it was published before all that");
    }

    #[test]
    fn what_is_missing_is_asked_for_each_second_and_counted_after_five() {
        let mut orders = Orders::default();
        take(&mut orders, 0, id(1, 1, 1));
        take(&mut orders, 0, id(1, 1, 4));
        take(&mut orders, 100, id(1, 1, 6));
        let mut asked = Vec::new();
        while let Some(next) = orders.next() {
            let millis = next.since(Instant::ZERO).as_millis() as u64;
            asked.push((millis, look(&mut orders, millis, false)));
        }
        let nothing = |millis| (millis, (vec![], 2));
        let first = (5_000, (vec![-2, 4], 0));
        let second = (5_100, (vec![-1, 6], 0));
        assert_eq!(asked[..4], [nothing(1_000), nothing(2_000), nothing(3_000), nothing(4_000)]);
        assert_eq!(asked[4..], [first, second]);
        assert_eq!(take(&mut orders, 6_000, id(1, 1, 2)), [], "it was counted");
        assert_eq!(take(&mut orders, 6_000, id(1, 1, 7)), [7]);
    }

    #[test]
    fn whoever_is_alone_or_stood_still_waits_longer() {
        let mut orders = Orders::default();
        take(&mut orders, 0, id(1, 1, 1));
        take(&mut orders, 0, id(1, 1, 3));
        assert_eq!(look(&mut orders, 30_000, true).0, []);
        orders.stood_still(at(40_000));
        assert_eq!(look(&mut orders, 44_000, false).0, []);
        assert_eq!(look(&mut orders, 45_000, false).0, [-1, 3]);
    }

    #[test]
    fn of_a_publisher_that_is_new_what_is_promised_comes_first() {
        let mut orders = Orders::default();
        let promised = |run| (run == 1).then_some(2);
        assert_eq!(numbers(orders.take(at(0), message(id(1, 1, 4)), promised)), []);
        assert_eq!(numbers(orders.take(at(1), message(id(1, 1, 2)), |_| None)), [2]);
        assert_eq!(numbers(orders.take(at(2), message(id(1, 1, 3)), |_| None)), [3, 4]);
    }

    #[test]
    fn what_was_published_before_the_subscription_is_not_waited_for() {
        let mut orders = Orders::default();
        let promised = |run| (run == 1).then_some(2);
        assert_eq!(numbers(orders.take(at(0), message(id(1, 1, 9)), promised)), []);
        let passed = |orders: &mut Orders, sequence| {
            numbers(orders.pass(at(1), &id(1, 1, sequence), |_| None))
        };
        assert_eq!(passed(&mut orders, 2), []);
        assert_eq!(passed(&mut orders, 7), [], "the eighth is missing still");
        assert_eq!(passed(&mut orders, 3), []);
        assert_eq!(passed(&mut orders, 8), [9]);
        assert_eq!((orders.held(), orders.held_bytes, orders.next()), (0, 0, None));
        assert_eq!(numbers(orders.pass(at(2), &id(2, 1, 5), |_| None)), [], "nothing waits");
        assert_eq!(take(&mut orders, 3, id(2, 1, 9)), [9]);
        // A wrong date in the middle of a run: what waited behind it is given, what was held before
        // it is not counted.
        assert_eq!(take(&mut orders, 4, id(1, 1, 12)), []);
        assert_eq!(passed(&mut orders, 13), []);
        assert_eq!((orders.held(), orders.held_bytes), (0, 0));
        assert_eq!(take(&mut orders, 5, id(1, 1, 14)), [14]);
    }

    #[test]
    fn a_new_run_begins_with_its_first_message_and_after_the_one_before() {
        let mut orders = Orders::default();
        take(&mut orders, 0, id(1, 1, 1));
        take(&mut orders, 0, id(1, 1, 3));
        assert_eq!(take(&mut orders, 10, id(1, 2, 2)), []);
        assert_eq!(take(&mut orders, 20, id(1, 2, 1)), []);
        assert_eq!(take(&mut orders, 30, id(1, 1, 2)), [2, 3, 1, 2]);
        assert_eq!(take(&mut orders, 40, id(1, 1, 4)), [4], "too late, but it was not counted");
        // What neighbours have of the run before is waited for.
        let promised = |run| (run == 2).then_some(3);
        assert_eq!(numbers(orders.take(at(50), message(id(1, 3, 1)), promised)), []);
        assert_eq!(take(&mut orders, 60, id(1, 2, 3)), [3, 1]);
        let promised = |run| (run == 3).then_some(2);
        assert_eq!(numbers(orders.take(at(70), message(id(1, 4, 1)), promised)), []);
        assert_eq!(look(&mut orders, 5_070, false).0, [1], "not for ever");
    }

    #[test]
    fn a_message_that_is_known_to_be_lost_is_not_waited_for() {
        let mut orders = Orders::default();
        take(&mut orders, 0, id(1, 1, 1));
        take(&mut orders, 0, id(1, 1, 4));
        assert_eq!(numbers(orders.lost(at(1), id(1, 1, 2), |_| None)), [-1]);
        assert_eq!(numbers(orders.lost(at(1), id(1, 1, 3), |_| None)), [-1, 4]);
    }

    #[test]
    fn a_reader_that_names_its_last_message_is_told_of_what_is_missing_behind_it() {
        let mut orders = Orders::default();
        orders.expect(at(0), &id(1, 1, 7));
        assert_eq!(take(&mut orders, 0, id(1, 1, 10)), []);
        assert_eq!(look(&mut orders, 5_000, false).0, [-2, 10]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut orders = Orders::default();
        take(&mut orders, 0, id(1, 1, 1));
        let mut given = Vec::new();
        for number in 0..2 * HELD_MAX as u64 {
            given.extend(take(&mut orders, 1, id(1, 1, 3 + 2 * number)));
        }
        assert_eq!(orders.held(), HELD_MAX);
        assert_eq!(given[..4], [-1, 3, -1, 5]);
        assert!(orders.due.len() <= 1 && orders.lines.len() == 1);
    }
}
