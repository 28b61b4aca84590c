//! Records how the packets of each sender arrive: at which port, and at which address of this machine.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use potluck_base::{AddressScope, LruMap};

use super::{DatagramKind, Segment};

/// Most senders remembered for each kind of datagram: twice the sessions of a link. Raising it takes memory.
const SENDERS_MAX: usize = 8192;
/// How long answers leave from the address to which a packet was sent. It is longer than a peer waits for an
/// answer, and short enough that the system chooses again soon after a change of networks.
const ADDRESS_FRESH: Duration = Duration::from_secs(10);

/// How the last packet of a sender arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// The index of the port.
    pub(super) port: usize,
    local: Option<(IpAddr, Instant)>,
}

impl Origin {
    /// An origin at this port, without a known address.
    pub(super) const fn without_address(port: usize) -> Self {
        Self { port, local: None }
    }

    /// The address to which the packet was sent, if it is recent.
    pub(super) fn fresh_local(&self) -> Option<IpAddr> {
        self.local.filter(|(_, at)| at.elapsed() < ADDRESS_FRESH).map(|(ip, _)| ip)
    }
}

/// The origins of senders. The number is bounded; the sender that was silent for longest is forgotten first.
/// The two kinds of datagrams are separate, because a peer may use two addresses of this node for them.
#[derive(Debug)]
pub(super) struct Origins([Mutex<LruMap<SocketAddr, Origin>>; 2]);

impl Origins {
    pub(super) fn new() -> Self {
        Self([(); 2].map(|()| Mutex::new(LruMap::new(SENDERS_MAX))))
    }

    /// Records a datagram.
    pub(super) fn note(&self, segment: &Segment<'_>) {
        let unicast = |ip: &IpAddr| AddressScope::of(*ip) != AddressScope::NotUnicast;
        let local = segment.local.filter(unicast).map(|ip| (ip, Instant::now()));
        self.put(segment.from, segment.kind, Origin { port: segment.port, local });
    }

    pub(super) fn put(&self, from: SocketAddr, kind: DatagramKind, origin: Origin) {
        self.of_kind(kind).insert(from, origin);
    }

    /// How the last datagram of this kind from this address arrived. If there was none, the last one of the
    /// other kind.
    pub(super) fn of(&self, from: SocketAddr, kind: DatagramKind) -> Option<Origin> {
        let of = |kind| self.of_kind(kind).get_mut(&from).copied();
        of(kind).or_else(|| match kind {
            DatagramKind::Control => of(DatagramKind::Quic),
            DatagramKind::Quic => of(DatagramKind::Control),
        })
    }

    fn of_kind(&self, kind: DatagramKind) -> MutexGuard<'_, LruMap<SocketAddr, Origin>> {
        let index = match kind {
            DatagramKind::Control => 0,
            DatagramKind::Quic => 1,
        };
        self.0[index].lock()
    }
}
