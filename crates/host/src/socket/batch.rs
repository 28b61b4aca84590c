//! The buffers of one wake-up of the socket, and their division into datagrams.

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};

use noq_udp::{EcnCodepoint, RecvMeta};

/// Buffers that one wake-up can fill. Raising it saves few system calls and costs every idle node memory.
const SLOTS: usize = 8;
/// Bytes in a buffer: the most that the kernel coalesces (GRO).
const SLOT_BYTES: usize = 64 * 1024;
/// The bit that every QUIC packet carries and no control datagram does (RFC 9443).
const QUIC_FIXED_BIT: u8 = 0x40;

/// The two explicit congestion notification bits of an IP header (RFC 3168).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ecn(u8);

impl Ecn {
    /// The two bits, 1 to 3. The value 0, "not capable", is no [`Ecn`].
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// The codepoint in the type of the socket library.
pub(crate) fn ecn_of_bits(ecn: Ecn) -> Option<EcnCodepoint> {
    EcnCodepoint::from_bits(ecn.0)
}

/// The receiver of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatagramKind {
    /// A datagram of the node's own link: the fixed bit is clear.
    Control,
    /// A QUIC packet: the fixed bit is set.
    Quic,
}

impl DatagramKind {
    /// The kind that a first byte announces.
    #[must_use]
    pub const fn of_first_byte(byte: u8) -> Self {
        if byte & QUIC_FIXED_BIT == 0 { Self::Control } else { Self::Quic }
    }
}

/// Received bytes of one kind from one sender: exactly one control datagram, or one or more QUIC packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The port of the node at which it arrived: an index into
    /// [`Sockets::local_addrs`](super::Sockets::local_addrs).
    pub port: usize,
    /// The sender. Unproven: an address can be forged.
    pub from: SocketAddr,
    /// The local address that it was sent to, where the system reports it.
    pub local: Option<IpAddr>,
    /// Its kind.
    pub kind: DatagramKind,
    /// Congestion marks, where the system reports them. Only QUIC uses them.
    pub ecn: Option<Ecn>,
    /// Datagrams start every `stride` bytes; the last one may be shorter.
    pub stride: usize,
    /// The bytes; never empty.
    pub bytes: &'a [u8],
}

impl Segment<'_> {
    /// The number of datagrams in it.
    #[must_use]
    pub const fn datagrams(&self) -> usize {
        self.bytes.len().div_ceil(self.stride)
    }
}

/// The segments of one received buffer, see [`ReceiveBatch::segments`].
#[derive(Debug, Clone)]
pub struct Segments<'a> {
    port: usize,
    from: SocketAddr,
    local: Option<IpAddr>,
    ecn: Option<Ecn>,
    stride: usize,
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    fn new(port: usize, meta: &RecvMeta, bytes: &'a [u8]) -> Self {
        Self {
            port,
            from: meta.addr,
            local: meta.dst_ip,
            ecn: meta.ecn.map(|codepoint| Ecn(codepoint as u8)),
            // A system that does not coalesce reports no stride for an empty datagram.
            stride: if meta.stride == 0 { bytes.len().max(1) } else { meta.stride },
            rest: bytes,
        }
    }

    fn datagram(&self, start: usize) -> Option<&'a [u8]> {
        let end = (start + self.stride).min(self.rest.len());
        self.rest.get(start..end).filter(|datagram| !datagram.is_empty())
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let first = self.datagram(0)?;
        let kind = DatagramKind::of_first_byte(first[0]);
        let mut end = first.len();
        while kind == DatagramKind::Quic
            && let Some(next) = self.datagram(end)
            && DatagramKind::of_first_byte(next[0]) == kind
        {
            end += next.len();
        }
        let (bytes, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Segment {
            port: self.port,
            from: self.from,
            local: self.local,
            kind,
            ecn: self.ecn,
            stride: self.stride.min(bytes.len()),
            bytes,
        })
    }
}

/// Buffers for one wake-up, reused for the next.
///
/// They are half a megabyte of address space. Only pages that datagrams were written to become memory: a node
/// that receives single small datagrams uses one page.
pub struct ReceiveBatch {
    buffer: Vec<u8>,
    metas: [RecvMeta; SLOTS],
    filled: usize,
    port: usize,
}

impl ReceiveBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        let buffer = vec![0; SLOTS * SLOT_BYTES];
        Self { buffer, metas: [RecvMeta::default(); SLOTS], filled: 0, port: 0 }
    }

    /// The received segments, in the order of their arrival.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.buffer.chunks(SLOT_BYTES).zip(&self.metas).take(self.filled).flat_map(
            |(slot, meta)| Segments::new(self.port, meta, &slot[..meta.len.min(slot.len())]),
        )
    }

    /// Whether the last wake-up received no data.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Sets the port at which all of it arrived.
    pub(super) const fn set_port(&mut self, port: usize) {
        self.port = port;
    }

    /// Lets `receive` fill the slots, and remembers how many it filled. After an error the batch is empty.
    pub(super) fn fill<E>(
        &mut self,
        receive: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> Result<usize, E>,
    ) -> Result<(), E> {
        self.filled = 0;
        let mut chunks = self.buffer.chunks_mut(SLOT_BYTES);
        let mut slots: [IoSliceMut<'_>; SLOTS] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        self.filled = receive(&mut slots, &mut self.metas)?.min(SLOTS);
        Ok(())
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for ReceiveBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveBatch").field("filled", &self.filled).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(len: usize, stride: usize) -> RecvMeta {
        let mut meta = RecvMeta::default();
        meta.addr = "192.0.2.1:9".parse().unwrap();
        meta.len = len;
        meta.stride = stride;
        meta
    }

    fn batch(buffers: &[(&[u8], usize)]) -> ReceiveBatch {
        let mut batch = ReceiveBatch::new();
        batch
            .fill(|slots, metas| {
                for (index, (bytes, stride)) in buffers.iter().enumerate() {
                    slots[index][..bytes.len()].copy_from_slice(bytes);
                    metas[index] = meta(bytes.len(), *stride);
                }
                Ok::<_, ()>(buffers.len())
            })
            .unwrap();
        batch
    }

    #[test]
    fn a_coalesced_mix_is_told_apart_datagram_by_datagram() {
        let mixed = [
            0x40, 1, 2, // QUIC
            0xc0, 3, 4, // QUIC, long header
            0x01, 5, 6, // control
            0x80, 7, 8, // control: the fixed bit is clear
            0x7f, 9, // QUIC, the short last one
        ];
        let batch = batch(&[(&mixed, 3)]);
        let found: Vec<_> =
            batch.segments().map(|s| (s.kind, s.bytes.to_vec(), s.datagrams())).collect();
        assert_eq!(
            found,
            [
                (DatagramKind::Quic, vec![0x40, 1, 2, 0xc0, 3, 4], 2),
                (DatagramKind::Control, vec![0x01, 5, 6], 1),
                (DatagramKind::Control, vec![0x80, 7, 8], 1),
                (DatagramKind::Quic, vec![0x7f, 9], 1),
            ]
        );
    }

    #[test]
    fn buffers_keep_their_order_and_bytes() {
        let batch = batch(&[(&[1, 1], 2), (&[0x41; 5], 2), (&[2], 1)]);
        let lengths: Vec<_> = batch.segments().map(|s| (s.bytes.len(), s.stride)).collect();
        assert_eq!(lengths, [(2, 2), (5, 2), (1, 1)]);
        let total: usize = batch.segments().map(|s| s.bytes.len()).sum();
        assert_eq!(total, 8);
    }

    #[test]
    fn empty_datagrams_and_missing_strides_end_the_walk() {
        assert_eq!(batch(&[(&[], 0), (&[], 5)]).segments().count(), 0);
        assert_eq!(batch(&[(&[1, 2, 3], 0)]).segments().count(), 1);
    }

    #[test]
    fn a_failed_receive_leaves_nothing_of_the_batch_before() {
        let mut batch = batch(&[(&[1], 1)]);
        assert_eq!(batch.fill(|_, _| Err::<usize, _>("gone")), Err("gone"));
        assert!(batch.is_empty());
        assert_eq!(batch.segments().count(), 0);
    }
}
