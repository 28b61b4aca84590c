//! UDP ports for control datagrams and QUIC (RFC 9443).
//!
//! A node has one port an address it listens on, in [`Sockets`], which sends and receives by all of
//! them as one. Its drive task is the only receiver: it fills a [`ReceiveBatch`] and walks the
//! [`Segment`]s. What is QUIC goes into a [`QuicSide`], where the one QUIC endpoint picks it up;
//! everything else is a control datagram for the node's core. Both sides send through the same
//! sockets.
//!
//! The first byte tells the two apart: QUIC sets the fixed bit 0x40 in every packet unless an endpoint
//! greases it, which ours never do; control datagrams leave it clear. The kernel may deliver several
//! datagrams of one sender as one buffer (GRO), with both kinds in it if they have the same length, so the
//! choice is made for each datagram, never for a buffer.
//!
//! A node may cap its rates ([`Sockets::set_rates`]): QUIC waits for its turn before it sends,
//! control datagrams never do, and both are counted.
//!
//! **Invariant:** nothing here grows with traffic: the batch has a fixed size that is only touched
//! as far as it is filled, the queue has a byte limit, and what does not fit is dropped and counted,
//! as a router would.

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
