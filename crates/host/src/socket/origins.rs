//! How the packets of each sender come in: at which port, and to which address of this machine.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use potluck_base::{AddressScope, LruMap};

use super::{DatagramKind, Segment};

/// Most senders remembered for each kind of datagram: twice the sessions of a link.
const SENDERS_MAX: usize = 8192;
/// How long after a packet the answers leave from the address that it was sent to. Longer than a peer
/// waits for an answer, and short enough that after a change of networks the system chooses anew.
const ADDRESS_FRESH: Duration = Duration::from_secs(10);

/// How a sender's last packet came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// The index of the port.
    pub(super) port: usize,
    local: Option<(IpAddr, Instant)>,
}

impl Origin {
    /// At this port, to no address in particular.
    pub(super) const fn without_address(port: usize) -> Self {
        Self { port, local: None }
    }

    /// Where the packet was sent to, if that was a moment ago.
    pub(super) fn fresh_local(&self) -> Option<IpAddr> {
        self.local.filter(|(_, at)| at.elapsed() < ADDRESS_FRESH).map(|(ip, _)| ip)
    }
}

/// Bounded; the peer that was silent for longest is forgotten first. The two kinds of datagrams are kept
/// apart, since a peer may use two addresses of this node for them.
#[derive(Debug)]
pub(super) struct Origins([Mutex<LruMap<SocketAddr, Origin>>; 2]);

impl Origins {
    pub(super) fn new() -> Self {
        Self([(); 2].map(|()| Mutex::new(LruMap::new(SENDERS_MAX))))
    }

    /// A datagram came.
    pub(super) fn note(&self, segment: &Segment<'_>) {
        let unicast = |ip: &IpAddr| AddressScope::of(*ip) != AddressScope::NotUnicast;
        let local = segment.local.filter(unicast).map(|ip| (ip, Instant::now()));
        self.put(segment.from, segment.kind, Origin { port: segment.port, local });
    }

    pub(super) fn put(&self, from: SocketAddr, kind: DatagramKind, origin: Origin) {
        self.of_kind(kind).insert(from, origin);
    }

    /// How the last datagram of this kind from there came. Packets of the other kind tell as well
    /// where there were none of this.
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
