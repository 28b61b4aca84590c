//! Tests the entry points of a node, to report why it cannot join: a closed port, a name that does not
//! resolve, an unreachable network, or silence.
//!
//! A node answers members of its network only, so its own protocol cannot tell these apart. The
//! system can, a little: it tells a *connected* UDP socket that a port is closed or a network
//! unreachable. The node's own socket is not connected, so one is made for the question; a program
//! that gets its packets drops them.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use potluck_dht::EntryPoint;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::resolve::Names;
use crate::socket::Families;

/// Time to wait for the ICMP error of a closed port: a round trip, even a long one.
const PATIENCE: Duration = Duration::from_millis(700);
/// Time limit of resolving a name.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(6);
/// Most entry points that are tested; the others are only counted.
const POINTS_MAX: usize = 8;
/// Most addresses of one name.
const ADDRESSES_MAX: usize = 4;

/// The result of testing an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Knock {
    /// The machine is there, and nothing listens on that port.
    Closed,
    /// The address is of a family that the node does not speak.
    OtherFamily,
    /// There is no way there, or the system forbids it.
    NoWay(String),
    /// Nothing, on this machine itself: something listens there and does not answer.
    SilentHere,
    /// Nothing.
    Silent,
}

/// The result of testing one entry point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryReport {
    /// As it was named.
    pub point: String,
    /// Why it has no address, if it is a name without one.
    pub unresolved: Option<String>,
    /// The result for each of its addresses.
    pub knocks: Vec<(SocketAddr, Knock)>,
}

impl fmt::Display for EntryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.unresolved {
            return write!(f, "{} does not resolve ({why}): check the name and DNS", self.point);
        }
        for (index, (address, knock)) in self.knocks.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if *address.to_string() != self.point {
                write!(f, "{} at ", self.point)?;
            }
            match knock {
                Knock::Closed => write!(
                    f,
                    "{address} has no node on that port (connection refused): the port is wrong or the \
                     node is down"
                ),
                Knock::OtherFamily => {
                    let (is, all) = match address.is_ipv6() {
                        true => ("IPv6", "[::]:PORT"),
                        false => ("IPv4", "0.0.0.0:PORT"),
                    };
                    write!(
                        f,
                        "{address} is {is}, and this node listens on no {is} address: --listen {all} adds \
                         all of this machine"
                    )
                }
                Knock::NoWay(why) => {
                    write!(f, "{address} cannot be reached from this machine ({why})")
                }
                Knock::SilentHere => write!(
                    f,
                    "{address} listens and does not answer: it is in another network, or no node"
                ),
                Knock::Silent => write!(
                    f,
                    "{address} does not answer: it is down, behind a firewall, or in another network"
                ),
            }?;
        }
        Ok(())
    }
}

/// Knocks at these entry points, all at once, for a node that speaks these address families.
pub async fn knock(points: &[EntryPoint], families: Families) -> Vec<EntryReport> {
    let mut asking = JoinSet::new();
    for (index, point) in points.iter().take(POINTS_MAX).cloned().enumerate() {
        asking.spawn(async move { (index, report(point, families).await) });
    }
    // One that panics is left out.
    let mut reports: Vec<_> = asking.join_all().await;
    reports.sort_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}

async fn report(point: EntryPoint, families: Families) -> EntryReport {
    let (point, addresses) = match point {
        EntryPoint::Contact(contact) => (contact.address.to_string(), Ok(vec![contact.address])),
        EntryPoint::Address(address) => (address.to_string(), Ok(vec![address])),
        EntryPoint::Name(name) => {
            let found = Names::default().groups(&name, Families { v4: true, v6: true });
            let found = match timeout(RESOLVE_PATIENCE, found).await {
                Ok(found) => found.map(|groups| {
                    let mut found: Vec<SocketAddr> = groups.into_iter().flatten().collect();
                    // Those that the node does not try are only told where there is nothing else.
                    found.sort_by_key(|address| !families.speak(address.ip()));
                    let spoken = found.iter().filter(|address| families.speak(address.ip()));
                    found.truncate(spoken.count().clamp(1, ADDRESSES_MAX));
                    found
                }),
                Err(_) => Err(format!("no answer in {} s", RESOLVE_PATIENCE.as_secs())),
            };
            (name, found)
        }
    };
    match addresses {
        Err(why) => EntryReport { point, unresolved: Some(why), knocks: Vec::new() },
        Ok(addresses) => {
            let mut knocks = Vec::new();
            for address in addresses {
                let knock = match families.speak(address.ip()) {
                    true => at(address).await,
                    false => Knock::OtherFamily,
                };
                knocks.push((address, knock));
            }
            EntryReport { point, unresolved: None, knocks }
        }
    }
}

async fn at(address: SocketAddr) -> Knock {
    match timeout(PATIENCE, refusal(address)).await {
        Ok(error) if error.kind() == io::ErrorKind::ConnectionRefused => Knock::Closed,
        Ok(error) => Knock::NoWay(error.to_string()),
        // Nothing is lost on the way within a machine.
        Err(_) if address.ip().is_loopback() => Knock::SilentHere,
        Err(_) => Knock::Silent,
    }
}

/// The error of the system for an address. Never returns if there is none.
async fn refusal(address: SocketAddr) -> io::Error {
    let asked = async {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        socket.send(&[0]).await?;
        let mut ignored = [0];
        loop {
            // A datagram of the peer is ignored; an error comes from the system.
            socket.recv(&mut ignored).await?;
        }
    };
    let result: io::Result<std::convert::Infallible> = asked.await;
    match result {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Families = Families { v4: true, v6: true };

    fn names(text: &str) -> EntryPoint {
        crate::parse_entry_point(text).unwrap()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_closed_port_a_silent_one_and_a_name_without_address_are_told_apart() {
        let holder = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let silent = holder.local_addr().unwrap();
        let closed = {
            let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        let points = [
            names(&closed.to_string()),
            names("no-such-name.invalid:7"),
            names(&silent.to_string()),
        ];
        let reports = knock(&points, BOTH).await;
        assert_eq!(reports.len(), 3);
        assert_eq!(reports[0].knocks, [(closed, Knock::Closed)]);
        assert!(reports[1].unresolved.is_some(), "{:?}", reports[1]);
        assert_eq!(reports[2].knocks, [(silent, Knock::SilentHere)]);
        let said: Vec<String> = reports.iter().map(ToString::to_string).collect();
        assert!(said[0].starts_with(&format!("{closed} has no node on that port")), "{}", said[0]);
        assert!(said[1].starts_with("no-such-name.invalid:7 does not resolve ("), "{}", said[1]);
        assert!(said[2].contains("another network"), "{}", said[2]);
    }

    #[tokio::test]
    async fn a_name_is_told_with_its_addresses_and_of_many_points_only_some_are_asked() {
        let reports = knock(&[names("localhost:1")], BOTH).await;
        assert!(reports[0].to_string().starts_with("localhost:1 at "), "{}", reports[0]);
        let many: Vec<EntryPoint> =
            (1..=POINTS_MAX + 3).map(|port| names(&format!("127.0.0.1:{port}"))).collect();
        assert_eq!(knock(&many, BOTH).await.len(), POINTS_MAX);
    }

    #[tokio::test]
    async fn an_address_of_a_family_that_the_node_does_not_speak_is_told_as_such() {
        let points = [names("[::1]:7"), names("127.0.0.1:7"), names("localhost:7")];
        let told = |reports: Vec<EntryReport>| -> Vec<String> {
            reports.iter().map(ToString::to_string).collect()
        };
        let said = told(knock(&points, Families { v4: true, v6: false }).await);
        assert!(said[0].contains("listens on no IPv6 address: --listen [::]:PORT"), "{}", said[0]);
        assert!(!said[1].contains("listens on no") && !said[2].contains("IPv6"), "{said:?}");
        let said = told(knock(&points[1..2], Families { v4: false, v6: true }).await);
        assert!(said[0].contains("listens on no IPv4 address: --listen 0.0.0.0:PORT"), "{said:?}");
    }
}
