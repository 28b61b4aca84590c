//! DNS-SD (RFC 6763) over multicast DNS: the service `_potluck._udp.local`, one instance a node and start,
//! under a name that says nothing. Its text is `n` (the network tag in hex), `p` (the port) and `v` (1).
//!
//! The daemon is a thread of the library's own. It ends with this value.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use data_encoding::HEXLOWER;
use mdns_sd::{IfKind, Receiver, ServiceDaemon, ServiceEvent, ServiceInfo};
use potluck_base::Rng;
use potluck_wire::{LanKey, LanTag};
use socket2::{Domain, Protocol, Socket, Type};

use super::links::Link;
use crate::clock::Clock;

const SERVICE: &str = "_potluck._udp.local.";
const VERSION: &str = "1";
/// Most addresses used of one instance.
const ADDRESSES_MAX: usize = 4;
/// Records of others that the daemon may remember. It has no limit of its own, and any machine on
/// the local network can fill it.
const RECORDS_MAX: i64 = 8192;
/// The UDP port of multicast DNS.
const PORT: u16 = 5353;

/// The own entry in the local network's directory, and those of others.
pub(super) struct DnsSd {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    /// The name of this start, of letters and digits.
    instance: String,
    /// Each is announced on its own interface.
    ips: Vec<IpAddr>,
    port: u16,
    announced: Option<LanTag>,
}

impl DnsSd {
    /// Starts the daemon on these interfaces, for a node that listens on `port`. Without it, which is said,
    /// the beacon does the work.
    pub(super) fn start(links: &[Link], port: u16, rng: &mut Rng) -> Option<Self> {
        let started = try_port().map_err(|error| format!("UDP port {PORT}: {error}"));
        let started = started
            .and_then(|()| Self::with_daemon(links, port, rng).map_err(|error| error.to_string()));
        if let Err(why) = &started {
            tracing::warn!(
                code = "lan.dnssd",
                "the local network is searched by the beacon only: multicast DNS does not work here ({why})"
            );
        }
        started.ok()
    }

    fn with_daemon(links: &[Link], port: u16, rng: &mut Rng) -> mdns_sd::Result<Self> {
        let daemon = ServiceDaemon::new()?;
        daemon.disable_interface(IfKind::All)?;
        let ips: Vec<IpAddr> = links.iter().map(|link| link.ip).collect();
        daemon.enable_interface(ips.iter().map(|ip| IfKind::Addr(*ip)).collect::<Vec<_>>())?;
        let events = daemon.browse(SERVICE)?;
        let instance = HEXLOWER.encode(&rng.bytes::<16>());
        Ok(Self { daemon, events, instance, ips, port, announced: None })
    }

    /// Announces the node under `tag`, if that is not done yet. False if the daemon has to be given up.
    pub(super) fn announce(&mut self, tag: LanTag) -> bool {
        if self.remembers_too_much() {
            tracing::warn!(
                code = "lan.dnssdFlooded",
                "the local network is searched by the beacon only from now on: multicast DNS there is flooded"
            );
            return false;
        }
        if self.announced != Some(tag) {
            match self.register(tag) {
                Ok(()) => self.announced = Some(tag),
                Err(error) => tracing::debug!(%error, "cannot announce this node by DNS-SD"),
            }
        }
        true
    }

    fn register(&self, tag: LanTag) -> mdns_sd::Result<()> {
        let (tag, text) = (HEXLOWER.encode(&tag), self.port.to_string());
        let text = [("n", tag.as_str()), ("p", text.as_str()), ("v", VERSION)];
        let host = format!("{}.local.", self.instance);
        let (name, ips) = (&self.instance, &self.ips[..]);
        let mut info = ServiceInfo::new(SERVICE, name, &host, ips, self.port, &text[..])?;
        // The name is random, so it is unique.
        info.set_requires_probe(false);
        self.daemon.register(info)
    }

    fn remembers_too_much(&self) -> bool {
        // Counted by the daemon in its own time; what comes late is for the next look.
        let Ok(metrics) = self.daemon.get_metrics() else { return false };
        let Ok(metrics) = metrics.recv_timeout(std::time::Duration::from_millis(20)) else {
            return false;
        };
        let kept = metrics.iter().filter(|(name, _)| name.starts_with("cached-"));
        kept.map(|(_, count)| count).sum::<i64>() > RECORDS_MAX
    }

    /// The addresses of the next instance that belongs to this network; may be none. Nothing is lost when
    /// the future is dropped.
    pub(super) async fn hear(&self, key: &LanKey, clock: &Clock) -> Vec<SocketAddr> {
        match self.events.recv_async().await {
            Ok(ServiceEvent::ServiceResolved(found)) => {
                let text = |name: &str| found.get_property_val_str(name).unwrap_or_default();
                let tag = HEXLOWER.decode(text("n").as_bytes()).unwrap_or_default();
                let own = found.get_fullname().starts_with(&self.instance);
                if own || text("v") != VERSION || !key.is_own(clock.wall(), &tag) {
                    return Vec::new();
                }
                let port = found.get_port();
                let addresses = found.get_addresses().iter().map(mdns_sd::ScopedIp::to_ip_addr);
                addresses.map(|ip| SocketAddr::new(ip, port)).take(ADDRESSES_MAX).collect()
            }
            Ok(_) => Vec::new(),
            // The daemon is gone: nothing comes any more.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for DnsSd {
    fn drop(&mut self) {
        // It says good-bye for the instance and ends; nothing waits for it.
        let _ = self.daemon.shutdown();
    }
}

/// Whether the port can be shared with the process that has it: the daemon does not report it.
fn try_port() -> std::io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())
}
