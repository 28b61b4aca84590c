//! One bound UDP port: binding, receiving, sending.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use noq_udp::{Transmit, UdpSocketState};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::io::Interest;

use super::ReceiveBatch;

/// The requested size of the kernel's send and receive buffers. The defaults (about 200 KiB) lose datagrams
/// as soon as a node is busy for a millisecond.
pub const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// Why a port could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program or node holds the port. Choose another one, or stop that program.
    #[error("UDP {address} is already in use")]
    InUse {
        /// The requested address.
        address: SocketAddr,
    },
    /// The system does not allow it, as with ports below 1024. Choose a higher one.
    #[error("the system does not allow this program to bind UDP {address}")]
    Denied {
        /// The requested address.
        address: SocketAddr,
    },
    /// No interface of this machine has that address (or no IPv6 at all). Choose an address that
    /// it has, or the unspecified one.
    #[error("this machine has no address {}", address.ip())]
    NoSuchAddress {
        /// The requested address.
        address: SocketAddr,
    },
    /// Another error of the system.
    #[error("cannot bind UDP {address}: {source}")]
    Io {
        /// The requested address.
        address: SocketAddr,
        /// The error.
        source: io::Error,
    },
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            io::ErrorKind::PermissionDenied => Self::Denied { address },
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => {
                Self::NoSuchAddress { address }
            }
            _ => Self::Io { address, source },
        }
    }
}

potluck_base::statistics! {
    /// The buffer sizes that the system granted. If they are smaller than [`SOCKET_BUFFER_BYTES`], bursts are
    /// lost; an operator can raise `net.core.rmem_max` and `wmem_max`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct SocketBuffers in "socket_buffer" {
        /// Bytes that may wait to be received.
        gauge(Bytes) receive_bytes: usize,
        /// Bytes that may wait to be sent.
        gauge(Bytes) send_bytes: usize,
    }
}

potluck_base::statistics! {
    /// Counters of a port since it was bound.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct PortStats in "socket" {
        /// Buffers received, each of one or more datagrams.
        counter received: u64,
        /// Bytes received.
        counter(Bytes) received_bytes: u64,
        /// Sends that the system accepted, each of one or more datagrams.
        counter sent: u64,
        /// Bytes sent.
        counter(Bytes) sent_bytes: u64,
        /// Control datagrams not sent because the system's buffer was full.
        counter send_full: u64,
        /// Sends that failed for another reason, for example to an unreachable network.
        counter send_failed: u64,
    }
}

impl PortStats {
    /// The sums of two ports.
    pub(super) const fn and(self, other: &Self) -> Self {
        Self {
            received: self.received + other.received,
            received_bytes: self.received_bytes + other.received_bytes,
            sent: self.sent + other.sent,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            send_full: self.send_full + other.send_full,
            send_failed: self.send_failed + other.send_failed,
        }
    }
}

#[derive(Debug, Default)]
struct Counters {
    received: AtomicU64,
    received_bytes: AtomicU64,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    send_full: AtomicU64,
    send_failed: AtomicU64,
}

/// A bound UDP port, shared by control datagrams and QUIC.
#[derive(Debug)]
pub struct PortSocket {
    io: tokio::net::UdpSocket,
    /// The state of the socket library for this socket, created again by [`PortSocket::renew`].
    state: RwLock<UdpSocketState>,
    address: SocketAddr,
    buffers: SocketBuffers,
    counters: Counters,
}

impl PortSocket {
    /// Binds `address`; port 0 lets the system choose. An IPv6 socket is for IPv6 only, so that a
    /// node can listen on both families with one port number.
    ///
    /// # Errors
    /// [`BindError`], which names the address.
    ///
    /// # Panics
    /// If called outside of a tokio runtime that drives I/O.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError::new(address, source);
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None).map_err(failed)?;
        if address.is_ipv6() {
            socket.set_only_v6(true).map_err(failed)?;
        }
        // A refused size is no error: the granted size is read back and reported.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        socket.bind(&address.into()).map_err(failed)?;
        let buffers = SocketBuffers {
            receive_bytes: granted(socket.recv_buffer_size()),
            send_bytes: granted(socket.send_buffer_size()),
        };
        let state = UdpSocketState::new((&socket).into()).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let io = tokio::net::UdpSocket::from_std(socket.into()).map_err(failed)?;
        let address = io.local_addr().map_err(failed)?;
        let state = RwLock::new(state);
        Ok(Self { io, state, address, buffers, counters: Counters::default() })
    }

    /// The address that was bound, with the port the system chose.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The buffer sizes that the system granted.
    #[must_use]
    pub const fn buffers(&self) -> SocketBuffers {
        self.buffers
    }

    /// The counters since the port was bound.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PortStats {
            received: read(&self.counters.received),
            received_bytes: read(&self.counters.received_bytes),
            sent: read(&self.counters.sent),
            sent_bytes: read(&self.counters.sent_bytes),
            send_full: read(&self.counters.send_full),
            send_failed: read(&self.counters.send_failed),
        }
    }

    /// Receives up to eight buffers of arrived datagrams, or registers the caller to be woken. There is one
    /// receiver: a later caller replaces an earlier one.
    ///
    /// # Errors
    /// An error of the system, except for notices about earlier sends, which are ignored. The batch is then
    /// empty, and the socket usable unless the error persists.
    pub(super) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        batch: &mut ReceiveBatch,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let received = batch.fill(|slots, metas| {
                self.io.try_io(Interest::READABLE, || {
                    self.state().recv((&self.io).into(), slots, metas)
                })
            });
            match received {
                Ok(()) => {
                    for segment in batch.segments() {
                        add(&self.counters.received, 1);
                        add(&self.counters.received_bytes, segment.bytes.len());
                    }
                    return Poll::Ready(Ok(()));
                }
                // WouldBlock: nothing arrived after all. The others: an ICMP answer to a send.
                Err(error) if is_notice(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sends one datagram, or several of one size in one system call (GSO), without waiting. If this machine
    /// no longer has the source address, the system chooses another one.
    pub(super) fn try_transmit(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut sent = self.try_transmit_once(transmit);
        if transmit.src_ip.is_some() && sent.as_ref().is_err_and(is_about_source) {
            self.renew();
            sent = self.try_transmit_once(&Transmit {
                destination: transmit.destination,
                ecn: transmit.ecn,
                contents: transmit.contents,
                segment_size: transmit.segment_size,
                src_ip: None,
            });
        }
        match &sent {
            Ok(()) => {
                add(&self.counters.sent, 1);
                add(&self.counters.sent_bytes, transmit.contents.len());
            }
            // A probe for a larger packet size is expected to fail sometimes.
            Err(error) if noq_udp::is_msg_size_err(error) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => add(&self.counters.send_failed, 1),
        }
        sent
    }

    fn try_transmit_once(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let send = || self.state().try_send((&self.io).into(), transmit);
        let sent = send();
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            // Only this call tells `writable` that it has to wait. It is not made first, because the runtime
            // takes a socket for full until it has polled it once.
            return self.io.try_io(Interest::WRITABLE, send);
        }
        sent
    }

    /// Resets the state of the socket library. The library takes the error of a lost source address for a
    /// system that cannot send several datagrams at once, and would never try that again.
    fn renew(&self) {
        if let Ok(fresh) = UdpSocketState::new((&self.io).into()) {
            *self.state.write() = fresh;
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, UdpSocketState> {
        self.state.read()
    }

    /// Counts a control datagram for which the system's buffer had no room.
    pub(super) fn count_full(&self) {
        add(&self.counters.send_full, 1);
    }

    /// Waits until a send may succeed. Any number of tasks may wait.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }

    /// The most datagrams that one send may carry.
    pub(super) fn max_send_segments(&self) -> std::num::NonZeroUsize {
        self.state().max_gso_segments()
    }

    /// Whether the system may fragment datagrams, which rules out probing for larger packets.
    pub(super) fn may_fragment(&self) -> bool {
        self.state().may_fragment()
    }
}

fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}

/// Linux reports twice the granted size, because it includes its own bookkeeping.
fn granted(reported: io::Result<usize>) -> usize {
    let bytes = reported.unwrap_or(0);
    if cfg!(any(target_os = "linux", target_os = "android")) { bytes / 2 } else { bytes }
}

/// Whether the system refused the source address because this machine no longer has it.
fn is_about_source(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

fn is_notice(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    ) || noq_udp::is_msg_size_err(error)
}
