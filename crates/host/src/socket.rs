//! UDP ports for control datagrams and QUIC (RFC 9443).
//!
//! A node has one port for each address that it listens on. [`Sockets`] sends and receives through all of
//! them as if they were one. The drive task is the only receiver: it fills a [`ReceiveBatch`] and reads its
//! [`Segment`]s. QUIC packets go into a [`QuicSide`], from which the one QUIC endpoint reads; all other
//! datagrams are control datagrams for the node's core. Both sides send through the same sockets.
//!
//! The first byte distinguishes the two kinds: QUIC sets the fixed bit 0x40 in every packet unless an
//! endpoint greases it, which ours never does; control datagrams leave it clear. The kernel may deliver
//! several datagrams of one sender as one buffer (GRO), and datagrams of both kinds share a buffer if they
//! have the same length. So the kind is determined for each datagram, never for a buffer.
//!
//! The rates of a node can be limited ([`Sockets::set_rates`]): QUIC waits for its turn before it sends,
//! control datagrams never wait, and both are counted.
//!
//! **Invariant:** memory does not grow with traffic. The batch has a fixed size, of which only the filled
//! part becomes memory; the queue has a byte limit; datagrams that do not fit are dropped and counted, as a
//! router would do.

mod batch;
mod bucket;
mod family;
mod listen;
mod origins;
mod port;
mod quic_side;
mod set;

pub use batch::{DatagramKind, Ecn, ReceiveBatch, Segment, Segments};
pub use family::Families;
pub use listen::{LISTEN_MAX, ListenError};
pub use port::{BindError, PortSocket, PortStats, SOCKET_BUFFER_BYTES, SocketBuffers};
pub use quic_side::{QUIC_QUEUE_BYTES, QuicDatagrams, QuicSide};
pub use set::Sockets;

pub(crate) use batch::ecn_of_bits;
pub(crate) use bucket::{Bucket, Pass, RECHECK};
pub(crate) use family::{canonical, mapped};
pub(crate) use listen::listen_at;
