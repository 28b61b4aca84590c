//! The shared UDP ports as the QUIC endpoint sees them: packets come out of the queue that the drive
//! task fills, and go out through the sockets, under their rate cap.
//!
//! One endpoint serves both address families. As soon as one of the ports is IPv6, the endpoint is told
//! to be an IPv6 one, which writes IPv4 addresses as mapped IPv6; here they are written back.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use noq::{AsyncUdpSocket, UdpSender};
use noq_udp::{RecvMeta, Transmit};
use tokio::time::{Sleep, sleep};

use super::config::DATAGRAM_BYTES_MAX;
use crate::socket::{Pass, QuicSide, RECHECK, Sockets, ecn_of_bits, mapped};

/// Buffers handed to the endpoint at once. It offers more, but each of them is 80 KB of memory once
/// it was touched.
const BUFFERS_AT_ONCE: usize = 8;
/// The most bytes that one received buffer may carry.
const BUFFER_BYTES: usize = 64 * 1024;
/// Datagrams up to this length go out at once under a cap, though they are counted: nothing but
/// acknowledgements and the like is so short, and others would take their lateness for a long way.
const SHORT_BYTES: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct SharedPort {
    socket: Arc<Sockets>,
    received: Arc<QuicSide>,
}

impl SharedPort {
    pub(super) const fn new(socket: Arc<Sockets>, received: Arc<QuicSide>) -> Self {
        Self { socket, received }
    }
}

impl AsyncUdpSocket for SharedPort {
    fn create_sender(&self) -> Pin<Box<dyn UdpSender>> {
        Box::pin(Sender {
            socket: Arc::clone(&self.socket),
            writable: None,
            sent: 0,
            pass: None,
            timer: None,
            datagram_bytes: 1200,
        })
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let both = self.socket.families().v6;
        let mut filled = 0;
        for (buffer, meta) in bufs.iter_mut().zip(meta).take(BUFFERS_AT_ONCE) {
            let datagrams = if filled == 0 {
                ready!(self.received.poll_pop(cx, buffer.len()))
            } else if let Some(datagrams) = self.received.pop(buffer.len()) {
                datagrams
            } else {
                break;
            };
            buffer[..datagrams.bytes.len()].copy_from_slice(&datagrams.bytes);
            *meta = RecvMeta::default();
            meta.addr = if both { mapped(datagrams.from) } else { datagrams.from };
            meta.len = datagrams.bytes.len();
            meta.stride = datagrams.stride;
            meta.ecn = datagrams.ecn.and_then(ecn_of_bits);
            meta.dst_ip = datagrams.local;
            filled += 1;
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let all = self.socket.local_addrs();
        let ipv6 = all.iter().find(|address| address.is_ipv6());
        Ok(*ipv6.unwrap_or(&all[0]))
    }

    /// The endpoint makes its buffers as large as this number of the longest datagrams, so this is not
    /// how many short ones there may be but how many long ones fit into the largest buffer.
    fn max_receive_segments(&self) -> NonZeroUsize {
        let longest = BUFFER_BYTES.div_ceil(usize::from(DATAGRAM_BYTES_MAX));
        NonZeroUsize::new(longest).unwrap_or(NonZeroUsize::MIN)
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Sends for one connection, and waits for its turn and for room on its own account.
struct Sender {
    socket: Arc<Sockets>,
    writable: Option<Writable>,
    /// Bytes of the current transmit that were sent: one system call may not carry all of it.
    sent: usize,
    /// The turn of the transmit at hand.
    pass: Option<Pass>,
    timer: Option<Pin<Box<Sleep>>>,
    /// How long this connection's datagrams are now.
    datagram_bytes: usize,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("waiting", &self.writable.is_some()).finish_non_exhaustive()
    }
}

impl Sender {
    /// Waits until the cap allows `bytes`. The turn is kept until the transmit is done, so that
    /// waiting for room does not cost another one.
    fn poll_turn(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let bucket = self.socket.upload();
            if self.pass.is_some_and(|pass| !bucket.honours(&pass)) {
                self.pass = None;
            }
            if self.pass.is_none() {
                self.pass = bucket.take(bytes);
            }
            let left = self.pass.map_or_else(Default::default, |pass| {
                pass.at().saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Poll::Ready(());
            }
            // The timer of a former turn may end early, which only means to look again.
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left.min(RECHECK))));
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
    }

    /// Sends the rest of a transmit.
    fn poll_rest(&mut self, transmit: &Transmit<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < transmit.contents.len() {
            if let Some(writable) = &mut self.writable {
                let result = ready!(writable.as_mut().poll(cx));
                self.writable = None;
                result?;
            }
            match self.socket.try_transmit_from(transmit, self.sent) {
                Ok(end) => self.sent = end,
                Err(_) => {
                    let (socket, to) = (Arc::clone(&self.socket), transmit.destination);
                    let from = transmit.src_ip;
                    self.writable = Some(Box::pin(async move { socket.writable(to, from).await }));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl UdpSender for Sender {
    fn poll_send(
        mut self: Pin<&mut Self>,
        transmit: &Transmit<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = transmit.contents.len();
        let short = bytes <= SHORT_BYTES;
        if self.sent == 0 && !short {
            ready!(self.poll_turn(bytes, cx));
        }
        let result = ready!(self.poll_rest(transmit, cx));
        if short {
            self.socket.upload().charge(bytes);
        } else {
            self.pass = None;
            self.timer = None;
            // A single one is short for want of more to send, or a probe.
            self.datagram_bytes = transmit.segment_size.unwrap_or(self.datagram_bytes);
        }
        self.sent = 0;
        Poll::Ready(result)
    }

    /// Under a cap no more than a turn should have, or one connection would keep all others off the
    /// wire and its own packets would wait after they were stamped as sent.
    fn max_transmit_segments(&self) -> NonZeroUsize {
        let segments = self.socket.max_send_segments();
        match self.socket.upload().turn_bytes() {
            None => segments,
            Some(bytes) => NonZeroUsize::new(bytes / self.datagram_bytes.max(1))
                .unwrap_or(NonZeroUsize::MIN)
                .min(segments),
        }
    }
}
