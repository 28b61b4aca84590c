//! The beacon: a datagram to a multicast group on each interface now and then. It works where multicast
//! DNS is blocked or another program has its port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use potluck_base::UnixMillis;
use potluck_wire::{Beacon, LanKey};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::links::Link;

/// The UDP port of beacons.
const PORT: u16 = 12346;
/// The groups, of the local network only (RFC 2365, RFC 4291).
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 80, 76);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x504c);
/// More than a beacon, so that a longer datagram is known as none.
const READ_BYTES: usize = 128;

/// The sockets for beacons.
pub(super) struct Beacons {
    start: u64,
    ports: Vec<SocketAddr>,
    hears_v4: Option<UdpSocket>,
    hears_v6: Option<UdpSocket>,
    /// One socket for each address, since each is told on its own interface only.
    says: Vec<(SocketAddr, UdpSocket)>,
    /// Whether a failure has been told.
    told: bool,
}

impl Beacons {
    /// Beacons of the node that listens on `bound`, under the number `start`.
    pub(super) fn new(start: u64, bound: &[SocketAddr]) -> Self {
        let ports = bound.to_vec();
        Self { start, ports, hears_v4: None, hears_v6: None, says: Vec::new(), told: false }
    }

    /// Uses these addresses from now on.
    pub(super) fn use_links(&mut self, links: &[Link]) {
        self.says.clear();
        for link in links {
            let opened = match link.ip {
                IpAddr::V4(ip) => self.hear_v4(ip).and_then(|()| say_v4(ip)),
                IpAddr::V6(ip) => self.hear_v6(link.index).and_then(|()| say_v6(ip, link.index)),
            };
            match opened {
                Ok(said) => self.says.push(said),
                Err(error) => self.tell(link, &error),
            }
        }
    }

    fn tell(&mut self, link: &Link, error: &io::Error) {
        let Link { name, ip, .. } = link;
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                code = "lan.beacon",
                "the local network at {name} ({ip}) cannot be searched by the beacon on UDP port {PORT} ({error})"
            );
        }
    }

    fn hear_v4(&mut self, ip: Ipv4Addr) -> io::Result<()> {
        let socket = match &self.hears_v4 {
            Some(socket) => socket,
            None => {
                let socket = shared(Domain::IPV4)?;
                // Bound to the group, it gets nothing that was sent to this machine alone.
                let group = if cfg!(unix) { GROUP_V4 } else { Ipv4Addr::UNSPECIFIED };
                socket.bind(&SocketAddr::from((group, PORT)).into())?;
                self.hears_v4.insert(UdpSocket::from_std(socket.into())?)
            }
        };
        joined(socket.join_multicast_v4(GROUP_V4, ip))
    }

    fn hear_v6(&mut self, index: u32) -> io::Result<()> {
        let socket = match &self.hears_v6 {
            Some(socket) => socket,
            None => {
                let socket = shared(Domain::IPV6)?;
                socket.set_only_v6(true)?;
                socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
                self.hears_v6.insert(UdpSocket::from_std(socket.into())?)
            }
        };
        joined(socket.join_multicast_v6(&GROUP_V6, index))
    }

    /// Says on each interface that the node is there. What cannot be sent is said again soon.
    pub(super) fn say(&self, key: &LanKey, now: UnixMillis) {
        for (group, socket) in &self.says {
            let Some(port) = self.port_in(group) else { continue };
            let bytes = Beacon { port, start: self.start }.write(key, now);
            if let Err(error) = socket.try_send_to(&bytes, *group) {
                tracing::debug!(%group, %error, "cannot send a beacon");
            }
        }
    }

    /// Where the node listens in the family of `group`.
    fn port_in(&self, group: &SocketAddr) -> Option<u16> {
        let in_family = |bound: &&SocketAddr| bound.is_ipv6() == group.is_ipv6();
        self.ports.iter().find(in_family).map(SocketAddr::port)
    }

    /// The next datagram to the groups. Nothing is lost when the future is dropped.
    pub(super) async fn hear(&self) -> (SocketAddr, Vec<u8>) {
        tokio::select! {
            heard = receive(self.hears_v4.as_ref()) => heard,
            heard = receive(self.hears_v6.as_ref()) => heard,
        }
    }

    /// Where the node is that sent these bytes from `from`, if it is another one of this network.
    pub(super) fn read(
        &self,
        from: SocketAddr,
        bytes: &[u8],
        key: &LanKey,
        now: UnixMillis,
    ) -> Option<SocketAddr> {
        let beacon = Beacon::read(bytes, key, now)?;
        (beacon.start != self.start).then(|| SocketAddr::new(from.ip(), beacon.port))
    }
}

async fn receive(socket: Option<&UdpSocket>) -> (SocketAddr, Vec<u8>) {
    let Some(socket) = socket else { return std::future::pending().await };
    let mut bytes = [0; READ_BYTES];
    match socket.recv_from(&mut bytes).await {
        Ok((length, from)) => (from, bytes[..length].to_vec()),
        // The reader counts an error as a datagram, so a lasting error does not loop.
        Err(_) => (SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), Vec::new()),
    }
}

/// A socket that shares its port with other nodes of this machine.
fn shared(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    // Elsewhere than on Linux the option above does not suffice.
    #[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// An interface with two addresses is joined once.
fn joined(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        result => result,
    }
}

fn say_v4(ip: Ipv4Addr) -> io::Result<(SocketAddr, UdpSocket)> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((ip, 0)).into())?;
    socket.set_multicast_if_v4(&ip)?;
    socket.set_multicast_ttl_v4(1)?;
    // Other nodes of this machine hear it too.
    socket.set_multicast_loop_v4(true)?;
    Ok(((GROUP_V4, PORT).into(), UdpSocket::from_std(socket.into())?))
}

fn say_v6(ip: Ipv6Addr, index: u32) -> io::Result<(SocketAddr, UdpSocket)> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_only_v6(true)?;
    socket.bind(&SocketAddr::from((ip, 0)).into())?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_hops_v6(1)?;
    socket.set_multicast_loop_v6(true)?;
    let group = SocketAddrV6::new(GROUP_V6, PORT, 0, index);
    Ok((group.into(), UdpSocket::from_std(socket.into())?))
}

#[cfg(test)]
mod tests {
    use potluck_base::{Admission, NetworkId};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

    fn key(name: &str) -> LanKey {
        LanKey::new(&NetworkId::new(name, Admission::Lab, None), Admission::Lab)
    }

    #[test]
    fn a_beacon_leads_to_its_sender_and_names_nobody_else() {
        let bound = ["0.0.0.0:7".parse().unwrap()];
        let (here, there) = (Beacons::new(1, &bound), Beacons::new(2, &bound));
        let bytes = Beacon { port: 7, start: 2 }.write(&key("a"), NOW);
        let from = "10.0.0.9:40000".parse().unwrap();
        let read = |beacons: &Beacons, name| beacons.read(from, &bytes, &key(name), NOW);
        assert_eq!(read(&here, "a"), Some("10.0.0.9:7".parse().unwrap()));
        assert_eq!(read(&here, "b"), None, "another network");
        assert_eq!(read(&there, "a"), None, "its own");
    }

    #[test]
    fn the_port_of_the_same_family_is_said() {
        let bound = ["0.0.0.0:7".parse().unwrap(), "[::]:8".parse().unwrap()];
        let beacons = Beacons::new(1, &bound);
        assert_eq!(beacons.port_in(&(GROUP_V4, PORT).into()), Some(7));
        assert_eq!(beacons.port_in(&(GROUP_V6, PORT).into()), Some(8));
        assert_eq!(Beacons::new(1, &bound[..1]).port_in(&(GROUP_V6, PORT).into()), None);
    }
}
