//! All ports of a node, used as one.
//!
//! A datagram leaves through a port of its destination's address family. If the family has several ports, it
//! is the port at which that peer's packets arrive. If a port is bound to all addresses of the machine, the
//! datagram leaves from the address to which the peer has just sent, because a peer accepts an answer only
//! from the address that it asked.
//!
//! The recorded origin of an address is a hint: it is not authenticated, and the next genuine packet of the
//! peer corrects it. Rate limits and counters apply to all ports together.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use noq_udp::Transmit;

use super::origins::{Origin, Origins};
use super::{
    BindError, Bucket, DatagramKind, Families, PortSocket, PortStats, ReceiveBatch, Segment,
    SocketBuffers, canonical,
};

#[cfg(test)]
mod tests;

/// Most bytes of one send, over all its datagrams. With the headers of UDP, IPv6 and Ethernet it is less than
/// 64 KiB. The system splits a larger run before it is sent, and on loopback before it is received, which
/// costs a third of the speed.
const SEND_BYTES_MAX: usize = 65_472;
/// Ports that are tried to find one that is free in each family.
const PORT_TRIES: usize = 16;

/// The UDP ports of a node, shared by control datagrams and QUIC.
#[derive(Debug)]
pub struct Sockets {
    /// Never empty.
    ports: Vec<Port>,
    /// Addresses that could not be bound because the machine lacks their family.
    missing: Vec<BindError>,
    /// The port that is read first. It changes, so that no port starves because of a busy one.
    first: AtomicUsize,
    /// Present only if there is a choice of ports or addresses.
    origins: Option<Origins>,
    upload: Bucket,
    download: Bucket,
}

#[derive(Debug)]
struct Port {
    socket: PortSocket,
    /// Set after an error on receiving, until [`Sockets::listen_again`].
    deaf: AtomicBool,
}

impl Port {
    fn ip(&self) -> IpAddr {
        self.socket.local_addr().ip()
    }

    fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }
}

impl Sockets {
    /// Binds each of `addresses`. For a port 0 the system chooses the port, the same one for all such
    /// addresses if possible. If an unspecified address cannot be bound because the machine lacks its family,
    /// and another address can, the node continues without it, see [`Sockets::missing`].
    ///
    /// # Errors
    /// [`BindError`], which names the address.
    ///
    /// # Panics
    /// If called outside of a tokio runtime that drives I/O, or without an address.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::bind_once(addresses, tries < PORT_TRIES) {
                Err(BindError::InUse { address }) if tries < PORT_TRIES => {
                    // The port is taken in this family only. This is an error if that port was requested.
                    if addresses.contains(&address) {
                        return Err(BindError::InUse { address });
                    }
                }
                bound => return bound,
            }
        }
    }

    /// With `alike`, addresses with port 0 get the port of the first of them.
    fn bind_once(addresses: &[SocketAddr], alike: bool) -> Result<Self, BindError> {
        let (mut ports, mut missing, mut chosen) = (Vec::new(), Vec::new(), 0);
        for &address in addresses {
            let wanted = match address.port() {
                0 => SocketAddr::new(address.ip(), chosen),
                _ => address,
            };
            match PortSocket::bind(wanted) {
                Ok(socket) => {
                    if alike && address.port() == 0 {
                        chosen = socket.local_addr().port();
                    }
                    ports.push(Port { socket, deaf: AtomicBool::new(false) });
                }
                Err(error @ BindError::NoSuchAddress { .. }) if address.ip().is_unspecified() => {
                    missing.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        if ports.is_empty() {
            return Err(missing.pop().expect("each address was bound or is missing"));
        }
        let (upload, download) = (Bucket::new(), Bucket::new());
        let first = AtomicUsize::new(0);
        let mut sockets = Self { ports, missing, first, origins: None, upload, download };
        sockets.retain(|_| true);
        Ok(sockets)
    }

    /// Closes the ports whose addresses are not wanted. The first port stays if none is.
    pub(crate) fn retain(&mut self, wanted: impl Fn(SocketAddr) -> bool) {
        if self.ports.iter().any(|port| wanted(port.socket.local_addr())) {
            self.ports.retain(|port| wanted(port.socket.local_addr()));
        } else {
            self.ports.truncate(1);
        }
        let of = |ipv6| self.ports.iter().filter(|port| port.ip().is_ipv6() == ipv6).count();
        let for_all = self.ports.iter().any(|port| port.ip().is_unspecified());
        let choice = for_all || of(false) > 1 || of(true) > 1;
        self.origins = choice.then(Origins::new);
    }

    /// The addresses that were bound, with the ports the system chose, in the order in which they
    /// were given.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|port| port.socket.local_addr()).collect()
    }

    /// The first of these addresses.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.ports[0].socket.local_addr()
    }

    /// The unspecified addresses that could not be bound because the machine lacks their family.
    #[must_use]
    pub fn missing(&self) -> &[BindError] {
        &self.missing
    }

    /// The address families that datagrams can be sent in.
    #[must_use]
    pub fn families(&self) -> Families {
        let has = |ipv6| self.ports.iter().any(|port| port.ip().is_ipv6() == ipv6);
        Families { v4: has(false), v6: has(true) }
    }

    /// Limits the rate at which the node sends, and the rate at which it reads fetched data, in bytes of UDP
    /// payload a second over all ports; `None`: no limit. It applies from now on, also to running transfers.
    ///
    /// Control datagrams never wait, but the bytes that they use are not available to QUIC.
    pub fn set_rates(&self, upload: Option<u64>, download: Option<u64>) {
        self.upload.set_rate(upload);
        self.download.set_rate(download);
    }

    /// The rate limit of outgoing QUIC.
    pub(crate) const fn upload(&self) -> &Bucket {
        &self.upload
    }

    /// The rate limit of reading fetched frames.
    pub(crate) const fn download(&self) -> &Bucket {
        &self.download
    }

    /// The smallest buffers that the system granted to a port.
    #[must_use]
    pub fn buffers(&self) -> SocketBuffers {
        let all = || self.ports.iter().map(|port| port.socket.buffers());
        SocketBuffers {
            receive_bytes: all().map(|it| it.receive_bytes).min().unwrap_or_default(),
            send_bytes: all().map(|it| it.send_bytes).min().unwrap_or_default(),
        }
    }

    /// The statistics of all ports together.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        let all = self.ports.iter().map(|port| port.socket.stats());
        all.reduce(|one, other| one.and(&other)).unwrap_or_default()
    }

    /// Waits until a datagram arrives at any port, and receives up to eight buffers of it at once.
    /// Cancel-safe: dropping the future loses nothing. Only one task may call it.
    ///
    /// # Errors
    /// An error of one port. The port is then not read until [`Sockets::listen_again`], so that a persistent
    /// error does not make the caller spin. The batch is empty.
    pub async fn recv(&self, batch: &mut ReceiveBatch) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_recv(cx, batch)).await
    }

    fn poll_recv(&self, cx: &mut Context<'_>, batch: &mut ReceiveBatch) -> Poll<io::Result<()>> {
        let first = self.first.load(Ordering::Relaxed);
        for turn in 0..self.ports.len() {
            let index = (first + turn) % self.ports.len();
            let port = &self.ports[index];
            if port.is_deaf() {
                continue;
            }
            if let Poll::Ready(received) = port.socket.poll_recv(cx, batch) {
                batch.set_port(index);
                self.first.store((index + 1) % self.ports.len(), Ordering::Relaxed);
                port.deaf.store(received.is_err(), Ordering::Relaxed);
                return Poll::Ready(received);
            }
        }
        Poll::Pending
    }

    /// Reads again from ports that had an error. A running [`Sockets::recv`] must be called again.
    pub fn listen_again(&self) {
        self.ports.iter().for_each(|port| port.deaf.store(false, Ordering::Relaxed));
    }

    /// Records how this datagram arrived, so that answers to its sender leave the same way.
    pub fn note(&self, segment: &Segment<'_>) {
        if let Some(origins) = &self.origins {
            origins.note(segment);
        }
    }

    /// Sends one control datagram if the system has room for it now.
    ///
    /// # Errors
    /// `WouldBlock` if the system's buffer is full: count the datagram as lost, as the network may lose one,
    /// or use [`Sockets::send`]. Otherwise the error of the system. Nothing was sent.
    pub fn try_send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let (port, src_ip) = self.port_to(to, None, DatagramKind::Control)?;
        let sent = port.socket.try_transmit(&Transmit {
            destination: canonical(to),
            ecn: None,
            contents: bytes,
            segment_size: None,
            src_ip,
        });
        match &sent {
            Ok(()) => self.upload.charge(bytes.len()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => port.socket.count_full(),
            Err(_) => {}
        }
        sent
    }

    /// Sends one control datagram, waiting for room.
    ///
    /// # Errors
    /// The error of the system. Nothing was sent.
    pub async fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.try_send(to, bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable(to, None).await?;
                }
                sent => return sent,
            }
        }
    }

    /// Sends QUIC datagrams from byte `begin` of `transmit` on, in as few system calls as possible, and
    /// advances `begin`. A datagram that the system refuses for another reason than a full buffer counts as
    /// lost.
    ///
    /// # Errors
    /// `WouldBlock` if nothing more could be sent; `begin` is then still right.
    pub(crate) fn try_transmit_from(
        &self,
        transmit: &Transmit<'_>,
        begin: usize,
    ) -> io::Result<usize> {
        let all = transmit.contents.len();
        let Ok((port, src_ip)) =
            self.port_to(transmit.destination, transmit.src_ip, DatagramKind::Quic)
        else {
            return Ok(all);
        };
        let stride = transmit.segment_size.unwrap_or(all).max(1);
        let segments = port.socket.max_send_segments().get();
        let run = (SEND_BYTES_MAX / stride).clamp(1, segments) * stride;
        let end = (begin + run).min(all);
        let contents = &transmit.contents[begin..end];
        let part = Transmit {
            destination: canonical(transmit.destination),
            ecn: transmit.ecn,
            contents,
            segment_size: transmit.segment_size.filter(|size| *size < contents.len()),
            src_ip,
        };
        match port.socket.try_transmit(&part) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(end),
        }
    }

    /// Waits until a send to this address may succeed. Any number of tasks may wait.
    ///
    /// # Errors
    /// If no port has the address family, or on an error of the system.
    pub(crate) async fn writable(&self, to: SocketAddr, src_ip: Option<IpAddr>) -> io::Result<()> {
        self.port_to(to, src_ip, DatagramKind::Quic)?.0.socket.writable().await
    }

    /// The most datagrams that one send may carry at every port.
    pub(crate) fn max_send_segments(&self) -> NonZeroUsize {
        let all = self.ports.iter().map(|port| port.socket.max_send_segments());
        all.min().unwrap_or(NonZeroUsize::MIN)
    }

    /// Whether the system may fragment datagrams at any port, which rules out probing for larger packets.
    pub(crate) fn may_fragment(&self) -> bool {
        self.ports.iter().any(|port| port.socket.may_fragment())
    }

    /// The port through which to send, and the source address if the port has several.
    fn port_to(
        &self,
        to: SocketAddr,
        src_ip: Option<IpAddr>,
        kind: DatagramKind,
    ) -> io::Result<(&Port, Option<IpAddr>)> {
        let to = canonical(to);
        let of_family = || self.ports.iter().filter(|port| port.ip().is_ipv6() == to.is_ipv6());
        let none = || io::Error::from(io::ErrorKind::NetworkUnreachable);
        let Some(origins) = &self.origins else {
            return Ok((of_family().next().ok_or_else(none)?, None));
        };
        let origin = origins.of(to, kind);
        let mut bound_there = of_family().filter(|port| Some(port.ip()) == src_ip);
        let port = match (bound_there.next(), bound_there.next()) {
            // No other address of this machine has a port in this family.
            (Some(port), None) => Some(port),
            _ => origin.and_then(|origin| self.ports.get(origin.port)),
        };
        let port = match port {
            Some(port) => port,
            None if of_family().nth(1).is_none() => of_family().next().ok_or_else(none)?,
            None => self.routed(to, kind, origins).ok_or_else(none)?,
        };
        let from = src_ip.or_else(|| origin.and_then(|origin| origin.fresh_local()));
        Ok((port, from.filter(|_| port.ip().is_unspecified())))
    }

    /// Of several ports of a family, the one that the routing table would use for `to`. It is remembered.
    fn routed(&self, to: SocketAddr, kind: DatagramKind, origins: &Origins) -> Option<&Port> {
        let source = route_source(to);
        let rank = |port: &Port| match port.ip() {
            ip if Some(ip) == source => 0,
            ip if ip.is_unspecified() => 1,
            ip if ip.is_loopback() == to.ip().is_loopback() => 2,
            _ => 3,
        };
        let of_family =
            self.ports.iter().enumerate().filter(|(_, port)| port.ip().is_ipv6() == to.is_ipv6());
        let (index, port) = of_family.min_by_key(|(_, port)| rank(port))?;
        origins.put(to, kind, Origin::without_address(index));
        Some(port)
    }
}

/// The source address that the system would use for `to`. Connecting a UDP socket only consults the routing
/// table.
fn route_source(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
