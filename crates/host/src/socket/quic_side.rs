//! The queue of received QUIC packets from the drive task to the QUIC endpoint.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Ecn, Segment};

/// Default limit of a [`QuicSide`]: two full socket buffers, or two full windows of a fetch. A lost packet
/// slows its sender down, so the limit is more than a healthy node ever has in the queue.
pub const QUIC_QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes that each queued run counts besides its own, so that many small runs are bounded too.
const ENTRY_BYTES: usize = 128;

/// QUIC datagrams of one sender that were received together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuicDatagrams {
    /// The sender. Unproven.
    pub from: SocketAddr,
    /// The local address that they were sent to.
    pub local: Option<IpAddr>,
    /// Congestion marks.
    pub ecn: Option<Ecn>,
    /// Datagrams start every `stride` bytes; the last one may be shorter.
    pub stride: usize,
    /// The bytes; never empty.
    pub bytes: Bytes,
}

/// A bounded queue of received QUIC datagrams with one reader. When it is full, new datagrams are dropped and
/// counted; QUIC treats that as loss and slows down.
#[derive(Debug)]
pub struct QuicSide {
    state: Mutex<State>,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<QuicDatagrams>,
    bytes: usize,
    dropped: u64,
    reader: Option<Waker>,
}

impl QuicSide {
    /// An empty queue for at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), limit }
    }

    /// Copies a QUIC segment into the queue and wakes the reader. False if it was dropped.
    pub fn push(&self, segment: &Segment<'_>) -> bool {
        let mut state = self.state.lock();
        if state.bytes + segment.bytes.len() + ENTRY_BYTES > self.limit {
            state.dropped += segment.datagrams() as u64;
            return false;
        }
        state.bytes += segment.bytes.len() + ENTRY_BYTES;
        state.queue.push_back(QuicDatagrams {
            from: segment.from,
            local: segment.local,
            ecn: segment.ecn,
            stride: segment.stride,
            bytes: Bytes::copy_from_slice(segment.bytes),
        });
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// Takes the next datagrams of one sender, as many as fit into `room`. A datagram longer than `room` is
    /// dropped and counted.
    pub fn pop(&self, room: usize) -> Option<QuicDatagrams> {
        self.state.lock().pop(room)
    }

    /// Like [`QuicSide::pop`], but registers the caller to be woken if the queue is empty. There is one
    /// reader: a later caller replaces an earlier one.
    pub fn poll_pop(&self, cx: &mut Context<'_>, room: usize) -> Poll<QuicDatagrams> {
        let mut state = self.state.lock();
        match state.pop(room) {
            Some(datagrams) => Poll::Ready(datagrams),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Datagrams dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    /// Bytes that wait.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.state.lock().bytes
    }
}

impl State {
    fn pop(&mut self, room: usize) -> Option<QuicDatagrams> {
        loop {
            let head = self.queue.front_mut()?;
            if head.bytes.len() > room {
                let fitting = room / head.stride * head.stride;
                if fitting > 0 {
                    self.bytes -= fitting;
                    return Some(QuicDatagrams { bytes: head.bytes.split_to(fitting), ..*head });
                }
            }
            let whole = self.queue.pop_front()?;
            self.bytes -= whole.bytes.len() + ENTRY_BYTES;
            if whole.bytes.len() <= room {
                return Some(whole);
            }
            self.dropped += whole.bytes.len().div_ceil(whole.stride) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::DatagramKind;
    use super::*;

    fn segment(bytes: &[u8], stride: usize) -> Segment<'_> {
        Segment {
            port: 0,
            from: "192.0.2.1:9".parse().unwrap(),
            local: None,
            kind: DatagramKind::Quic,
            ecn: None,
            stride,
            bytes,
        }
    }

    #[test]
    fn runs_come_out_whole_and_in_order_until_they_are_too_long_for_the_reader() {
        let side = QuicSide::new(10_000);
        assert!(side.push(&segment(b"aabbc", 2)));
        assert!(side.push(&segment(b"dd", 2)));
        assert_eq!(side.pop(3).unwrap().bytes, "aa");
        assert_eq!(side.pop(100).unwrap().bytes, "bbc");
        assert_eq!(side.pop(100).unwrap().bytes, "dd");
        assert_eq!((side.pop(100), side.waiting_bytes()), (None, 0));
    }

    #[test]
    fn what_is_over_the_limit_is_dropped_and_counted_by_datagram() {
        let side = QuicSide::new(2 * ENTRY_BYTES + 10);
        assert!(side.push(&segment(b"aaaa", 2)));
        assert!(!side.push(&segment(&[0x40; 200], 100)));
        assert!(side.push(&segment(b"bbbb", 2)));
        assert!(!side.push(&segment(b"c", 1)));
        assert_eq!(side.dropped(), 3);
        assert!(side.pop(100).is_some());
        assert!(side.push(&segment(b"d", 1)));
    }

    #[test]
    fn a_datagram_that_fits_no_buffer_does_not_block_the_ones_behind_it() {
        let side = QuicSide::new(10_000);
        assert!(side.push(&segment(&[0x40; 50], 50)));
        assert!(side.push(&segment(b"ok", 2)));
        assert_eq!(side.pop(10).unwrap().bytes, "ok");
        assert_eq!((side.dropped(), side.waiting_bytes()), (1, 0));
    }

    #[test]
    fn the_reader_is_woken_by_the_next_packet() {
        let side = QuicSide::new(10_000);
        let (waker, count) = counting_waker();
        let mut cx = Context::from_waker(&waker);
        assert_eq!(side.poll_pop(&mut cx, 100), Poll::Pending);
        side.push(&segment(b"aa", 2));
        side.push(&segment(b"bb", 2));
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert!(side.poll_pop(&mut cx, 100).is_ready());
    }

    fn counting_waker() -> (Waker, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
        struct Count(std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl std::task::Wake for Count {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let count = std::sync::Arc::default();
        (Waker::from(std::sync::Arc::new(Count(std::sync::Arc::clone(&count)))), count)
    }
}
