//! Requests under way, found by what an answer, a demand for a cookie or a timer knows of them.
//!
//! Every try has an id and a serial of its own, and an answer to any try of a request counts.
//!
//! **Invariant:** all indexes hold exactly the tries of the requests in `entries`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Instant, PublicKey};

use crate::link::{RequestOptions, RequestToken};

/// Most tries of one request, whatever was asked for.
pub(crate) const TRIES_MAX: u8 = 8;

/// Answers to introductions after which a request is sent again at once: one that brings a cookie,
/// one that brings none, and these once more for a peer that forgot us in between.
const INTRODUCTIONS_MAX: u8 = 4;

/// One datagram of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Try {
    pub(crate) id: u64,
    pub(crate) counter: u64,
    pub(crate) sent_at: Instant,
    pub(crate) deadline: Instant,
    /// Whether it carried our certificate and a ping in place of the request.
    pub(crate) introduces: bool,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Outstanding {
    pub(crate) to: Contact,
    /// Where it may be sent, in this order. The first tries go there one after the other, each as soon
    /// as the one before had its moment; further tries go to all at once.
    ways: Vec<SocketAddr>,
    /// How many of them were tried.
    tried: usize,
    /// Where an answer may come from.
    expected: Vec<SocketAddr>,
    pub(crate) message: Bytes,
    pub(crate) answer_bytes_max: usize,
    /// Added to each timeout.
    pub(crate) patience: Duration,
    /// Whether only other nodes named its address.
    pub(crate) named: bool,
    /// Timeouts waited for so far.
    pub(crate) try_index: u8,
    tries: u8,
    /// Whether it was resent because of a cookie, which happens once.
    pub(crate) redirected: bool,
    /// Whether it was resent in an older version, which happens once.
    pub(crate) lowered: bool,
    /// Answers to introductions so far.
    introductions: u8,
    sent: Vec<Try>,
}

impl Outstanding {
    /// Whether an answer may come from this address.
    pub(crate) fn expects(&self, address: &SocketAddr) -> bool {
        self.expected.contains(address)
    }

    /// The try with this id.
    pub(crate) fn sent(&self, id: u64) -> Option<&Try> {
        self.sent.iter().find(|sent| sent.id == id)
    }
}

/// What is left of a request whose deadline has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Another address of the first try.
    Way,
    /// Another try.
    Try,
    /// Nothing.
    Nothing,
}

/// All requests under way.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    entries: BTreeMap<RequestToken, Outstanding>,
    by_id: BTreeMap<u64, RequestToken>,
    by_counter: BTreeMap<u64, RequestToken>,
    by_peer: BTreeMap<(PublicKey, SocketAddr), usize>,
    deadlines: BTreeSet<(Instant, RequestToken)>,
    started: u64,
}

impl Requests {
    /// Enters a request; nothing of it is sent yet.
    pub(crate) fn start(
        &mut self,
        to: Contact,
        ways: Vec<SocketAddr>,
        message: Bytes,
        options: RequestOptions,
    ) -> RequestToken {
        let token = RequestToken(self.started);
        self.started += 1;
        for way in &ways {
            *self.by_peer.entry((to.public_key, *way)).or_default() += 1;
        }
        let outstanding = Outstanding {
            to,
            expected: ways.clone(),
            ways,
            tried: 0,
            message,
            answer_bytes_max: options.answer_bytes_max,
            patience: options.patience,
            named: options.named,
            try_index: 0,
            tries: options.tries.clamp(1, TRIES_MAX),
            redirected: false,
            lowered: false,
            introductions: 0,
            sent: Vec::with_capacity(1),
        };
        self.entries.insert(token, outstanding);
        token
    }

    /// Notes that a datagram of `token` was sent; its deadline replaces the last one's.
    pub(crate) fn sent(&mut self, token: RequestToken, sent: Try) {
        let Some(entry) = self.entries.get_mut(&token) else { return };
        if let Some(last) = entry.sent.last() {
            self.deadlines.remove(&(last.deadline, token));
        }
        entry.sent.push(sent);
        self.by_id.insert(sent.id, token);
        self.by_counter.insert(sent.counter, token);
        self.deadlines.insert((sent.deadline, token));
    }

    /// Takes all tries that are left from the requests to `peer`: their deadline is now.
    pub(crate) fn give_up(&mut self, now: Instant, peer: &PublicKey) {
        for (token, entry) in &mut self.entries {
            if entry.to.public_key != *peer {
                continue;
            }
            entry.tries = 0;
            if let Some(last) = entry.sent.last_mut()
                && self.deadlines.remove(&(last.deadline, *token))
            {
                last.deadline = last.deadline.min(now);
                self.deadlines.insert((last.deadline, *token));
            }
        }
    }

    /// Where the next datagrams of a request go, and whether other addresses are left behind them.
    #[expect(clippy::indexing_slicing, reason = "compared with their number before")]
    pub(crate) fn next_ways(&mut self, token: RequestToken) -> (Vec<SocketAddr>, bool) {
        let Some(entry) = self.entries.get_mut(&token) else { return (Vec::new(), false) };
        let rest = if entry.tried < entry.ways.len() { &entry.ways[entry.tried..] } else { &[] };
        match rest {
            [next, behind @ ..] => {
                entry.tried += 1;
                (vec![*next], !behind.is_empty())
            }
            [] => (entry.ways.clone(), false),
        }
    }

    /// The peer was heard at `address`: what is sent from now on goes there.
    pub(crate) fn narrow(&mut self, token: RequestToken, address: SocketAddr) {
        if let Some(entry) = self.entries.get_mut(&token) {
            (entry.ways, entry.tried) = (vec![address], 1);
        }
    }

    /// A request whose deadline has come, with what is left of it, which is then used.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(RequestToken, Left)> {
        let (deadline, token) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        let entry = self.entries.get_mut(&token)?;
        if entry.tries > 0 && entry.tried < entry.ways.len() {
            return Some((token, Left::Way));
        }
        entry.try_index += 1;
        Some((token, if entry.try_index < entry.tries { Left::Try } else { Left::Nothing }))
    }

    /// The request that the datagram with this id belongs to.
    pub(crate) fn find_by_id(&self, id: u64) -> Option<(RequestToken, &Outstanding)> {
        self.find(*self.by_id.get(&id)?)
    }

    /// The request that the datagram with this counter belongs to.
    pub(crate) fn find_by_counter(&self, counter: u64) -> Option<(RequestToken, &Outstanding)> {
        self.find(*self.by_counter.get(&counter)?)
    }

    fn find(&self, token: RequestToken) -> Option<(RequestToken, &Outstanding)> {
        self.entries.get(&token).map(|entry| (token, entry))
    }

    /// The request itself.
    pub(crate) fn get(&self, token: RequestToken) -> Option<&Outstanding> {
        self.entries.get(&token)
    }

    /// Uses up the one resend a request has; false if it was used before.
    pub(crate) fn redirect(&mut self, token: RequestToken) -> bool {
        self.entries
            .get_mut(&token)
            .is_some_and(|entry| !std::mem::replace(&mut entry.redirected, true))
    }

    /// Uses up the one resend in an older version; false if it was used before.
    pub(crate) fn lower(&mut self, token: RequestToken) -> bool {
        self.entries
            .get_mut(&token)
            .is_some_and(|entry| !std::mem::replace(&mut entry.lowered, true))
    }

    /// Notes that an introduction was answered; false if that happened more often than it takes.
    pub(crate) fn introduced(&mut self, token: RequestToken) -> bool {
        let Some(entry) = self.entries.get_mut(&token) else { return false };
        entry.introductions = entry.introductions.saturating_add(1);
        entry.introductions <= INTRODUCTIONS_MAX
    }

    /// Whether anything was asked of this peer at this address.
    pub(crate) fn expects(&self, peer: &PublicKey, address: SocketAddr) -> bool {
        self.by_peer.contains_key(&(*peer, address))
    }

    /// Takes a request out with all that points at it.
    pub(crate) fn finish(&mut self, token: RequestToken) -> Option<Outstanding> {
        let entry = self.entries.remove(&token)?;
        for sent in &entry.sent {
            self.by_id.remove(&sent.id);
            self.by_counter.remove(&sent.counter);
        }
        if let Some(last) = entry.sent.last() {
            self.deadlines.remove(&(last.deadline, token));
        }
        for way in &entry.expected {
            let peer = (entry.to.public_key, *way);
            if let Some(count) = self.by_peer.get_mut(&peer) {
                *count -= 1;
                if *count == 0 {
                    self.by_peer.remove(&peer);
                }
            }
        }
        Some(entry)
    }

    /// When the next request runs out of patience.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(number: u8) -> Contact {
        let address = SocketAddr::from(([10, 0, 0, number], 1));
        Contact::new(PublicKey::from_bytes([number; 32]), address)
    }

    fn sent(id: u64, deadline: u64) -> Try {
        let deadline = Instant::from_micros(deadline);
        Try { id, counter: id + 100, sent_at: Instant::ZERO, deadline, introduces: false }
    }

    #[test]
    fn a_finished_request_leaves_nothing_behind_whatever_it_went_through() {
        let mut requests = Requests::default();
        let ways = vec![contact(1).address];
        let options = RequestOptions { tries: 3, answer_bytes_max: 0, ..RequestOptions::default() };
        let first = requests.start(contact(1), ways.clone(), Bytes::new(), options);
        let second = requests.start(contact(1), ways, Bytes::new(), options);
        assert_eq!(requests.next_ways(first), (vec![contact(1).address], false));
        requests.sent(first, sent(1, 10));
        requests.sent(second, sent(2, 20));
        assert_eq!(requests.pop_due(Instant::from_micros(9)), None);
        assert_eq!(requests.pop_due(Instant::from_micros(10)), Some((first, Left::Try)));
        requests.sent(first, sent(3, 30));
        requests.sent(first, sent(4, 40));
        assert!([1, 3, 4].iter().all(|id| requests.find_by_id(*id).is_some()));
        assert_eq!(requests.find_by_counter(103).map(|(token, _)| token), Some(first));
        assert_eq!(requests.next_deadline(), Some(Instant::from_micros(20)));

        assert!(requests.finish(first).is_some() && requests.finish(first).is_none());
        assert!(requests.expects(&contact(1).public_key, contact(1).address));
        assert!(requests.finish(second).is_some());
        let Requests { entries, by_id, by_counter, by_peer, deadlines, .. } = requests;
        assert!(entries.is_empty() && by_id.is_empty() && by_counter.is_empty());
        assert!(by_peer.is_empty() && deadlines.is_empty());
    }
}
