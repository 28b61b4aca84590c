//! The delivery order of each publisher: a message that arrives before its turn waits for the
//! missing ones.
//!
//! A message that a broken link or a lost datagram delayed arrives by repair, behind later ones. A
//! subscriber gets the messages of one publisher in the order in which they were published, so the
//! later ones wait, for [`GAP_WAIT`] at most. Messages still missing then count as lost, and the
//! subscriber is told how many, at their place in the order. Missing messages that no neighbour
//! announced are asked for.
//!
//! **Invariants:** waiting messages are bounded in number, bytes and time; a message that was
//! counted as missing is not delivered any more; publishers do not wait for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_base::{Instant, PublicKey};
use potluck_wire::IdRange;

use crate::message::{Message, MessageId};

/// How long messages wait for missing earlier ones: a few rounds of repair. A higher value loses
/// fewer messages and delays later ones more.
const GAP_WAIT: Duration = Duration::from_secs(5);
/// The same time for a node without any link in the topic, which cannot learn what it lacks.
const GAP_WAIT_ALONE: Duration = Duration::from_secs(60);
/// Interval between two requests to neighbours for missing messages.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// Id ranges in one such request: as many as fit in a datagram.
const ASKED_MAX: usize = 16;
/// Messages that wait in one topic. Beyond either limit the oldest gap is given up.
const HELD_MAX: usize = 4_096;
/// Payload bytes of the messages that wait in one topic.
const HELD_BYTES_MAX: usize = 2 << 20;
/// Publishers whose order is kept; messages of further ones are delivered as they arrive.
const PUBLISHERS_MAX: usize = 4_096;
/// A publisher silent for this long makes room for another.
const IDLE: Duration = Duration::from_secs(600);

/// The next item for a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Delivery {
    /// A message.
    Message(Message),
    /// The number of messages missing at this place.
    Missed(u64),
}

/// A message before its turn; `None` if it is known to be lost.
#[derive(Debug, Clone)]
struct Held {
    at: Instant,
    message: Option<Message>,
}

/// The messages of one incarnation of a publisher.
#[derive(Debug, Clone)]
struct Stream {
    incarnation: u64,
    /// The first sequence number with a place in the order; earlier messages have none.
    base: u64,
    /// The next sequence number to deliver.
    next: u64,
    held: BTreeMap<u64, Held>,
    /// Since when messages wait for the next one.
    since: Instant,
}

/// One publisher.
#[derive(Debug, Clone)]
struct Publisher {
    /// In the order in which they began. Only the first one is delivered from.
    streams: Vec<Stream>,
    /// The incarnation that ended last.
    ended: Option<u64>,
    heard: Instant,
    /// When the gap timer of this publisher is due.
    due: Option<Instant>,
    /// When neighbours are asked for missing messages.
    ask_at: Instant,
}

/// The delivery order of all publishers of one topic.
#[derive(Debug, Clone, Default)]
pub(super) struct DeliveryOrder {
    publishers: BTreeMap<PublicKey, Publisher>,
    due: BTreeSet<(Instant, PublicKey)>,
    held: usize,
    held_bytes: usize,
}

impl DeliveryOrder {
    /// Messages that wait for earlier ones.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next message of this publisher is the one after `after`, which its reader has.
    pub(super) fn start_after(&mut self, now: Instant, after: &MessageId) {
        let MessageId { publisher, incarnation, sequence } = *after;
        if self.publishers.contains_key(&publisher) || !self.has_room(now) {
            return;
        }
        let next = sequence.saturating_add(1);
        let stream = Stream::new(now, incarnation, next);
        self.publishers.insert(publisher, Publisher::new(now, stream));
    }

    /// A new message arrived: returns the deliveries that follow. `announced` gives the first
    /// message of an incarnation of its publisher that neighbours have and this node lacks.
    pub(super) fn on_message(
        &mut self,
        now: Instant,
        message: Message,
        announced: impl Fn(u64) -> Option<u64>,
    ) -> Vec<Delivery> {
        let id = message.id;
        self.insert(now, id, Some(message), announced)
    }

    /// A message will not be delivered.
    pub(super) fn on_lost(
        &mut self,
        now: Instant,
        id: MessageId,
        announced: impl Fn(u64) -> Option<u64>,
    ) -> Vec<Delivery> {
        self.insert(now, id, None, announced)
    }

    /// A message arrived that was published before the subscription: neither it nor earlier
    /// messages of its publisher are waited for.
    pub(super) fn skip_before(
        &mut self,
        now: Instant,
        id: &MessageId,
        announced: impl Fn(u64) -> Option<u64>,
    ) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        let Some(known) = self.publishers.get_mut(&id.publisher) else { return deliveries };
        let known = known.streams.iter_mut().find(|stream| stream.incarnation == id.incarnation);
        let Some(stream) = known.filter(|stream| stream.next <= id.sequence) else {
            return deliveries;
        };
        stream.base = id.sequence.saturating_add(1);
        stream.next = stream.base;
        let behind = stream.held.split_off(&stream.next);
        for passed in std::mem::replace(&mut stream.held, behind).into_values() {
            self.held -= 1;
            self.held_bytes -= bytes_of(passed.message.as_ref());
        }
        self.release(now, &id.publisher, &announced, &mut deliveries);
        deliveries
    }

    fn insert(
        &mut self,
        now: Instant,
        id: MessageId,
        message: Option<Message>,
        announced: impl Fn(u64) -> Option<u64>,
    ) -> Vec<Delivery> {
        let at_once =
            |message: Option<Message>| vec![message.map_or(Delivery::Missed(1), Delivery::Message)];
        let MessageId { publisher, incarnation, sequence } = id;
        let first = || announced(incarnation).filter(|first| *first < sequence).unwrap_or(sequence);
        if !self.publishers.contains_key(&publisher) {
            if !self.has_room(now) {
                return at_once(message);
            }
            let stream = Stream::new(now, incarnation, first());
            self.publishers.insert(publisher, Publisher::new(now, stream));
        }
        let Some(known) = self.publishers.get_mut(&publisher) else { return at_once(message) };
        known.heard = now;
        let Some(stream) = known.stream(now, incarnation, first) else { return at_once(message) };
        if sequence < stream.base {
            return at_once(message);
        }
        // Counted as missing, or here already.
        if sequence < stream.next || stream.held.contains_key(&sequence) {
            return Vec::new();
        }
        if stream.held.is_empty() {
            stream.since = now;
        }
        self.held += 1;
        self.held_bytes += bytes_of(message.as_ref());
        stream.held.insert(sequence, Held { at: now, message });
        let mut deliveries = Vec::new();
        self.release(now, &publisher, &announced, &mut deliveries);
        while self.held > HELD_MAX || self.held_bytes > HELD_BYTES_MAX {
            let longest = self.publishers.iter().max_by_key(|(_, known)| known.held());
            let Some(longest) = longest.map(|(key, _)| *key) else { break };
            self.give_up(now, &longest, &mut deliveries);
        }
        deliveries
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.publishers.len() >= PUBLISHERS_MAX {
            let lives = |known: &Publisher| known.held() > 0 || now.since(known.heard) < IDLE;
            self.publishers.retain(|_, known| lives(known));
        }
        self.publishers.len() < PUBLISHERS_MAX
    }

    /// Delivers the messages whose turn it is, and arms the timer for the others.
    fn release(
        &mut self,
        now: Instant,
        publisher: &PublicKey,
        announced: &impl Fn(u64) -> Option<u64>,
        deliveries: &mut Vec<Delivery>,
    ) {
        let Some(known) = self.publishers.get_mut(publisher) else { return };
        loop {
            for held in known.take_next() {
                self.held -= 1;
                self.held_bytes -= bytes_of(held.as_ref());
                match (held, deliveries.last_mut()) {
                    (Some(message), _) => deliveries.push(Delivery::Message(message)),
                    (None, Some(Delivery::Missed(missed))) => *missed += 1,
                    (None, _) => deliveries.push(Delivery::Missed(1)),
                }
            }
            // The next incarnation begins when no message of this one is known to be on its way.
            let over =
                |stream: &Stream| stream.held.is_empty() && announced(stream.incarnation).is_none();
            if known.streams.len() < 2 || !known.streams.first().is_some_and(over) {
                break;
            }
            known.ended = Some(known.streams.remove(0).incarnation);
        }
        self.arm(now, publisher);
    }

    fn arm(&mut self, now: Instant, publisher: &PublicKey) {
        let Some(known) = self.publishers.get_mut(publisher) else { return };
        if let Some(due) = known.due.take() {
            self.due.remove(&(due, *publisher));
        }
        let Some(since) = known.waits_since() else { return };
        // A new gap is given the time that the tree and the announcements need.
        known.ask_at = known.ask_at.max(since + ASK_INTERVAL);
        let end = Some(since + GAP_WAIT).filter(|end| *end > now).unwrap_or(known.ask_at);
        let due = end.min(known.ask_at).max(now + Duration::from_millis(1));
        known.due = Some(due);
        self.due.insert((due, *publisher));
    }

    /// Gives up what was missing for too long, for every publisher that is due. `alone`: this node
    /// has no link; `announced`: as for [`DeliveryOrder::on_message`], by publisher. Returns the
    /// deliveries, and the ranges to ask neighbours for.
    pub(super) fn on_timeout(
        &mut self,
        now: Instant,
        alone: bool,
        announced: impl Fn(&PublicKey, u64) -> Option<u64>,
    ) -> (Vec<Delivery>, Vec<IdRange>) {
        let (mut deliveries, mut wanted) = (Vec::new(), Vec::new());
        let patience = if alone { GAP_WAIT_ALONE } else { GAP_WAIT };
        while let Some((at, publisher)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, publisher));
            let Some(known) = self.publishers.get_mut(&publisher) else { continue };
            known.due = None;
            let Some(since) = known.waits_since() else { continue };
            if now.since(since) >= patience {
                self.give_up(now, &publisher, &mut deliveries);
                continue;
            }
            known.ask_at = now + ASK_INTERVAL;
            wanted.extend(known.gaps(&publisher, ASKED_MAX.saturating_sub(wanted.len())));
            self.release(
                now,
                &publisher,
                &|incarnation| announced(&publisher, incarnation),
                &mut deliveries,
            );
        }
        (deliveries, wanted)
    }

    /// Stops waiting for the gap before a publisher's first waiting message.
    fn give_up(&mut self, now: Instant, publisher: &PublicKey, deliveries: &mut Vec<Delivery>) {
        let Some(known) = self.publishers.get_mut(publisher) else { return };
        let Some(stream) = known.streams.first_mut() else { return };
        match stream.held.first_key_value().map(|(sequence, _)| *sequence) {
            Some(first) => {
                let missed = first.saturating_sub(stream.next);
                stream.next = first;
                match deliveries.last_mut() {
                    _ if missed == 0 => {}
                    Some(Delivery::Missed(before)) => *before += missed,
                    _ => deliveries.push(Delivery::Missed(missed)),
                }
            }
            None if known.streams.len() > 1 => {
                known.ended = Some(known.streams.remove(0).incarnation);
            }
            None => {}
        }
        known.ask_at = now + ASK_INTERVAL;
        self.release(now, publisher, &|_| None, deliveries);
    }

    /// This node stood still: messages that it did not receive meanwhile are not late.
    pub(super) fn on_standstill(&mut self, now: Instant) {
        let waiting: Vec<PublicKey> = self.due.iter().map(|(_, publisher)| *publisher).collect();
        for publisher in waiting {
            let Some(known) = self.publishers.get_mut(&publisher) else { continue };
            for stream in &mut known.streams {
                stream.since = now;
                stream.held.values_mut().for_each(|held| held.at = now);
            }
            self.arm(now, &publisher);
        }
    }
}

impl Stream {
    const fn new(now: Instant, incarnation: u64, base: u64) -> Self {
        Self { incarnation, base, next: base, held: BTreeMap::new(), since: now }
    }
}

impl Publisher {
    fn new(now: Instant, stream: Stream) -> Self {
        Self { streams: vec![stream], ended: None, heard: now, due: None, ask_at: now }
    }

    fn held(&self) -> usize {
        self.streams.iter().map(|stream| stream.held.len()).sum()
    }

    /// The stream of this incarnation; `None` for one that has ended. A new incarnation is expected
    /// from its first message on, since a publisher that was heard before would have been heard
    /// from that message on.
    fn stream(
        &mut self,
        now: Instant,
        incarnation: u64,
        first: impl FnOnce() -> u64,
    ) -> Option<&mut Stream> {
        let place = self.streams.iter().position(|stream| stream.incarnation == incarnation);
        if place.is_none() && self.ended == Some(incarnation) {
            return None;
        }
        let place = place.unwrap_or_else(|| {
            let youngest = self.streams.iter().all(|stream| stream.incarnation < incarnation);
            let base = if youngest { 1 } else { first() };
            self.streams.push(Stream::new(now, incarnation, base));
            self.streams.len() - 1
        });
        self.streams.get_mut(place)
    }

    /// The messages in the first stream whose turn it is, in order.
    fn take_next(&mut self) -> Vec<Option<Message>> {
        let mut taken = Vec::new();
        let Some(stream) = self.streams.first_mut() else { return taken };
        while let Some(held) = stream.held.remove(&stream.next) {
            stream.next = stream.next.saturating_add(1);
            taken.push(held.message);
        }
        // Behind the next gap, the waiting time starts with the first message there.
        if let Some((_, first)) = stream.held.first_key_value().filter(|_| !taken.is_empty()) {
            stream.since = first.at;
        }
        taken
    }

    /// Since when the first waiting message waits.
    fn waits_since(&self) -> Option<Instant> {
        self.streams.iter().find(|stream| !stream.held.is_empty()).map(|stream| stream.since)
    }

    /// The gaps before and between the waiting messages, as at most `max` ranges.
    fn gaps(&self, publisher: &PublicKey, max: usize) -> Vec<IdRange> {
        let mut gaps = Vec::new();
        let Some(stream) = self.streams.first() else { return gaps };
        let mut next = stream.next;
        for sequence in stream.held.keys() {
            if gaps.len() >= max {
                break;
            }
            let count = u32::try_from(sequence.saturating_sub(next)).unwrap_or(u32::MAX);
            if count > 0 {
                let (publisher, incarnation) = (*publisher, stream.incarnation);
                gaps.push(IdRange { publisher, incarnation, first: next, count });
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
mod tests;
