//! What the transport counts.

use std::sync::atomic::{AtomicU64, Ordering};

use potluck_wire::{Purpose, Traffic};

potluck_base::statistics! {
    /// What happened since the transport was made, and what is open now.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct TransportStats in "calls" {
        /// Open connections now.
        gauge connections: usize,
        /// What peers may send in fetches of ours before it is read: the windows of all connections.
        gauge(Bytes) fetch_window_bytes: usize,
        /// Connections that we dialed.
        counter dialed: u64,
        /// Dials that failed.
        counter dials_failed: u64,
        /// Connections that peers dialed.
        counter accepted: u64,
        /// Connections of peers that were turned away or whose handshake failed.
        counter refused: u64,
        /// First packets that were asked to prove their address.
        counter retried: u64,
        /// Idle connections closed to make room.
        counter evicted: u64,
        /// Calls that we made.
        counter calls: u64,
        /// Calls of ours without an answer, for whatever reason.
        counter failures: u64,
        /// Calls of ours that found their connection dead and dialed again.
        counter failovers: u64,
        /// Requests of peers that were handed over.
        counter incoming: u64,
        /// Requests of peers that were refused: too long, too slow, or no room.
        counter incoming_refused: u64,
        /// Answers to peers that could not be delivered.
        counter answers_lost: u64,
        /// Fetches of ours that were opened.
        counter fetches: u64,
        /// Fetches of ours that could not be opened.
        counter fetches_failed: u64,
        /// Fetches of peers that were handed over.
        counter fetches_served: u64,
        /// Fetches of peers that were refused here for want of room, or whose request was none.
        counter fetches_refused: u64,
        /// Bytes of frames sent.
        counter(Bytes) frame_bytes_sent: u64,
        /// Bytes of frames received.
        counter(Bytes) frame_bytes_received: u64,
        /// Bytes of requests and answers sent.
        counter(Bytes) bytes_sent: u64,
        /// Bytes of requests and answers received.
        counter(Bytes) bytes_received: u64,
        /// The same bytes, and those of frames, by what they are for.
        parts traffic: Traffic,
        /// Received QUIC datagrams dropped because the queue to the endpoint was full.
        counter queue_dropped: u64,
        /// Received datagrams that looked like QUIC by their first byte only.
        counter malformed: u64,
        /// QUIC datagrams from addresses of no admitted peer.
        counter strangers: u64,
        /// QUIC datagrams that belong to nothing, received while there was no connection at all.
        counter stray: u64,
    }
}

/// The counting side of [`TransportStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) dialed: Counter,
    pub(super) dials_failed: Counter,
    pub(super) accepted: Counter,
    pub(super) refused: Counter,
    pub(super) retried: Counter,
    pub(super) calls: Counter,
    pub(super) failures: Counter,
    pub(super) failovers: Counter,
    pub(super) incoming: Counter,
    pub(super) incoming_refused: Counter,
    pub(super) answers_lost: Counter,
    pub(super) fetches: Counter,
    pub(super) fetches_failed: Counter,
    pub(super) fetches_served: Counter,
    pub(super) fetches_refused: Counter,
    pub(super) frame_bytes_sent: Counter,
    pub(super) frame_bytes_received: Counter,
    pub(super) bytes_sent: Counter,
    pub(super) bytes_received: Counter,
    /// Bytes of requests and answers by [`Purpose`]: received, sent.
    by_purpose: [[Counter; 2]; Purpose::ALL.len()],
    pub(super) malformed: Counter,
    pub(super) strangers: Counter,
    pub(super) stray: Counter,
}

impl Counters {
    /// A request or an answer came.
    pub(super) fn received(&self, purpose: Purpose, bytes: usize) {
        self.bytes_received.add(bytes);
        self.by_purpose[purpose as usize][0].add(bytes);
    }

    /// A request or an answer went.
    pub(super) fn sent(&self, purpose: Purpose, bytes: usize) {
        self.bytes_sent.add(bytes);
        self.by_purpose[purpose as usize][1].add(bytes);
    }

    /// Bytes came that are no request or answer.
    pub(super) fn note_received(&self, purpose: Purpose, bytes: usize) {
        self.by_purpose[purpose as usize][0].add(bytes);
    }

    /// Bytes went that are no request or answer.
    pub(super) fn note_sent(&self, purpose: Purpose, bytes: usize) {
        self.by_purpose[purpose as usize][1].add(bytes);
    }

    fn traffic(&self) -> Traffic {
        let mut traffic = Traffic::default();
        for (purpose, [received, sent]) in Purpose::ALL.into_iter().zip(&self.by_purpose) {
            traffic.note_received(purpose, received.get());
            traffic.note_sent(purpose, sent.get());
        }
        traffic.note_received(Purpose::File, self.frame_bytes_received.get());
        traffic.note_sent(Purpose::File, self.frame_bytes_sent.get());
        traffic
    }

    /// The counts so far; the fields that others know stay zero.
    pub(super) fn read(&self) -> TransportStats {
        TransportStats {
            dialed: self.dialed.get(),
            dials_failed: self.dials_failed.get(),
            accepted: self.accepted.get(),
            refused: self.refused.get(),
            retried: self.retried.get(),
            calls: self.calls.get(),
            failures: self.failures.get(),
            failovers: self.failovers.get(),
            incoming: self.incoming.get(),
            incoming_refused: self.incoming_refused.get(),
            answers_lost: self.answers_lost.get(),
            fetches: self.fetches.get(),
            fetches_failed: self.fetches_failed.get(),
            fetches_served: self.fetches_served.get(),
            fetches_refused: self.fetches_refused.get(),
            frame_bytes_sent: self.frame_bytes_sent.get(),
            frame_bytes_received: self.frame_bytes_received.get(),
            bytes_sent: self.bytes_sent.get(),
            bytes_received: self.bytes_received.get(),
            traffic: self.traffic(),
            malformed: self.malformed.get(),
            strangers: self.strangers.get(),
            stray: self.stray.get(),
            ..TransportStats::default()
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn count(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, amount: usize) {
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
