//! From a DNS name to addresses: those of the name itself, and those that its SRV records name.
//!
//! The system's resolver is asked for the name itself, so that `/etc/hosts` and whatever else the system
//! has for names count. It knows no SRV records, so that these are asked for by a resolver of our own,
//! which reads `/etc/resolv.conf` and `/etc/hosts` anew each time. Nothing is kept between two lookups.
//!
//! **Invariant:** a lookup ends within the time that the system's resolver takes, or [`SRV_TIMEOUT`] if
//! that is longer, and gives at most [`TARGETS_MAX`] × [`ADDRESSES_MAX`] and further `ADDRESSES_MAX`
//! addresses.

use std::io;
use std::net::SocketAddr;

use crate::socket::Families;

use super::DEFAULT_PORT;

/// Most addresses taken of one host.
const ADDRESSES_MAX: usize = 16;

/// Looks names up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Names {
    /// The DNS server to ask for everything, in place of the system's.
    server: Option<SocketAddr>,
}

impl Names {
    /// Asks one server only.
    #[cfg(all(test, feature = "dns"))]
    pub(crate) const fn at(server: SocketAddr) -> Self {
        Self { server: Some(server) }
    }

    /// The addresses of `name` (`name:port`) in these families, in groups by preference: the targets of
    /// its SRV records by priority, then its own.
    ///
    /// # Errors
    /// Why there is none, in words for people.
    pub(crate) async fn groups(
        self,
        name: &str,
        families: Families,
    ) -> Result<Vec<Vec<SocketAddr>>, String> {
        let (host, port) = match name.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| "no port".to_owned())?),
            None => (name, DEFAULT_PORT),
        };
        let (own, service) = self.both(host, port).await;
        if service == Service::Nobody {
            return Err(format!("an SRV record of _potluck._udp.{host} says that nobody is there"));
        }
        let targets = match service {
            Service::At(groups) => groups,
            Service::Nobody | Service::Unknown => Vec::new(),
        };
        let (own, failed) = match own {
            Ok(own) => (own, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let found = targets.len() + own.len();
        let mut groups: Vec<Vec<SocketAddr>> = Vec::new();
        for group in targets.into_iter().chain([own]) {
            let mut new: Vec<SocketAddr> = Vec::new();
            for address in group.into_iter().filter(|address| families.speak(address.ip())) {
                if !new.contains(&address) && !groups.iter().flatten().any(|it| *it == address) {
                    new.push(address);
                }
            }
            if !new.is_empty() {
                groups.push(new);
            }
        }
        match (groups.is_empty(), failed) {
            (false, _) => Ok(groups),
            (true, Some(error)) => Err(error),
            (true, None) if found > 0 => {
                Err("it has addresses, none in a family that this node listens in".into())
            }
            (true, None) => Err("it has no addresses".into()),
        }
    }

    /// The addresses of the name itself, and its SRV records. The slower of the two is not waited for
    /// long once the other has found something: some servers never answer a question for SRV records.
    async fn both(self, host: &str, port: u16) -> (io::Result<Vec<SocketAddr>>, Service) {
        #[cfg(feature = "dns")]
        if service::may_have(host) {
            return service::both(self.server, host, port).await;
        }
        let _ = self.server;
        (own(host, port).await, Service::Unknown)
    }
}

/// The SRV records of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "dns"), allow(dead_code, reason = "there are no SRV records then"))]
enum Service {
    /// There are none.
    Unknown,
    /// No such service: the target of the only record is the root.
    Nobody,
    /// These addresses by priority.
    At(Vec<Vec<SocketAddr>>),
}

/// The addresses that the system has for a name.
async fn own(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect())
}

#[cfg(feature = "dns")]
mod service {
    //! SRV records, by a resolver of our own.

    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use hickory_resolver::TokioResolver;
    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use hickory_resolver::net::NetError;
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::rr::RData;
    use potluck_base::Rng;
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::super::srv::{Target, in_order};
    use super::{ADDRESSES_MAX, Service};
    use crate::folder::random_bytes;

    /// Most targets that are looked up.
    const TARGETS_MAX: usize = 8;
    /// Most addresses of a target.
    const TARGET_ADDRESSES_MAX: usize = 4;
    /// Most SRV records of a name that are read.
    const RECORDS_MAX: usize = 256;
    /// How long a server may take for one answer.
    const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
    /// How long SRV records and their targets may take together.
    const SRV_TIMEOUT: Duration = Duration::from_secs(5);
    /// How long one kind of records is waited for when the other has been found.
    const GRACE: Duration = Duration::from_secs(1);
    /// Longest DNS name (RFC 1035).
    const NAME_BYTES_MAX: usize = 253;
    /// The prefix of a name for the query of its SRV records.
    const PREFIX: &str = "_potluck._udp.";

    /// Whether a name may have SRV records. This machine's own names are no business of DNS servers
    /// (RFC 6761), and neither are those of multicast DNS (RFC 6762).
    pub(super) fn may_have(host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let last = host.rsplit('.').next().unwrap_or_default();
        let fits = PREFIX.len() + host.len() <= NAME_BYTES_MAX;
        fits && !matches!(last, "localhost" | "local")
    }

    /// See [`Names::both`](super::Names::both).
    pub(super) async fn both(
        server: Option<SocketAddr>,
        host: &str,
        port: u16,
    ) -> (io::Result<Vec<SocketAddr>>, Service) {
        let resolver = match resolver(server) {
            Ok(resolver) => resolver,
            Err(error) => {
                tracing::debug!(host, %error, "cannot ask for SRV records");
                return (super::own(host, port).await, Service::Unknown);
            }
        };
        let own = async {
            match server {
                None => super::own(host, port).await,
                Some(_) => addresses(&resolver, host, port, ADDRESSES_MAX).await,
            }
        };
        let service =
            async { timeout(SRV_TIMEOUT, ask(&resolver, host)).await.unwrap_or(Service::Unknown) };
        tokio::pin!(own, service);
        tokio::select! {
            own = &mut own => {
                let found = own.as_ref().is_ok_and(|own| !own.is_empty());
                let patience = if found { GRACE } else { SRV_TIMEOUT };
                (own, timeout(patience, service).await.unwrap_or(Service::Unknown))
            }
            service = &mut service => {
                let own = match &service {
                    Service::Unknown => own.await,
                    _ => timeout(GRACE, own).await.unwrap_or(Ok(Vec::new())),
                };
                (own, service)
            }
        }
    }

    fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
        let mut builder = match server {
            None => TokioResolver::builder_tokio()?,
            Some(server) => {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                config.connections.iter_mut().for_each(|it| it.port = server.port());
                let config = ResolverConfig::from_name_servers(vec![config]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        // Each lookup asks anew.
        options.cache_size = 0;
        options.timeout = options.timeout.min(ANSWER_TIMEOUT);
        options.attempts = options.attempts.min(2);
        builder.build()
    }

    async fn ask(resolver: &TokioResolver, host: &str) -> Service {
        let records = match resolver.srv_lookup(format!("{PREFIX}{host}")).await {
            Ok(records) => records,
            Err(error) => {
                tracing::debug!(host, %error, "no SRV records");
                return Service::Unknown;
            }
        };
        let srv = |data: &RData| match data {
            RData::SRV(srv) => Some(Target {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                host: srv.target.to_ascii(),
            }),
            _ => None,
        };
        let answers = records.answers().iter().filter_map(|record| srv(&record.data));
        let targets: Vec<Target> = answers.take(RECORDS_MAX).collect();
        if !targets.is_empty() && targets.iter().all(|target| target.host == ".") {
            return Service::Nobody;
        }
        // Without randomness the order is the same each time: still an order.
        let mut rng = Rng::from_seed(random_bytes().unwrap_or_default());
        let groups = in_order(targets, TARGETS_MAX, &mut rng);
        if groups.is_empty() {
            return Service::Unknown;
        }
        Service::At(look_up(resolver, groups).await)
    }

    /// The addresses of all targets, each asked for at once.
    async fn look_up(resolver: &TokioResolver, groups: Vec<Vec<Target>>) -> Vec<Vec<SocketAddr>> {
        let mut found: Vec<Vec<SocketAddr>> = vec![Vec::new(); groups.len()];
        let mut asking = JoinSet::new();
        for (group, targets) in groups.into_iter().enumerate() {
            for (place, target) in targets.into_iter().enumerate() {
                let resolver = resolver.clone();
                asking.spawn(async move {
                    let Target { host, port, .. } = target;
                    let addresses = addresses(&resolver, &host, port, TARGET_ADDRESSES_MAX);
                    let addresses = timeout(2 * ANSWER_TIMEOUT, addresses).await;
                    let addresses = addresses.unwrap_or_else(|_| Ok(Vec::new()));
                    (group, place, addresses.unwrap_or_default())
                });
            }
        }
        let mut answers = asking.join_all().await;
        answers.sort_by_key(|(group, place, _)| (*group, *place));
        answers.into_iter().for_each(|(group, _, addresses)| found[group].extend(addresses));
        found
    }

    /// The addresses of one host in both families.
    async fn addresses(
        resolver: &TokioResolver,
        host: &str,
        port: u16,
        max: usize,
    ) -> io::Result<Vec<SocketAddr>> {
        let found = resolver.lookup_ip(host).await.map_err(io::Error::other)?;
        Ok(found.iter().take(max).map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

#[cfg(test)]
#[cfg(feature = "dns")]
mod tests;
