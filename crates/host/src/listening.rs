//! The addresses that a node listens on, and the address that it announces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use potluck_base::{Admission, is_global};

use crate::addresses;
use crate::error::StartError;
use crate::folder::NetworkInfo;
use crate::resolve::DEFAULT_PORT;
use crate::socket::{ListenError, Sockets, canonical, listen_at};

/// The default of the addresses to listen on: all addresses of both families.
pub const DEFAULT_LISTEN: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), DEFAULT_PORT),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), DEFAULT_PORT),
];

/// The addresses to bind for the requested ones.
pub(crate) fn addresses(asked: &[SocketAddr]) -> Result<Vec<SocketAddr>, ListenError> {
    match asked {
        [] => Ok(DEFAULT_LISTEN.to_vec()),
        asked => listen_at(asked),
    }
}

/// Warns about a missing address family. Closes IPv6 where it was not requested and would open a network
/// without admission control to the Internet.
pub(crate) fn settle(
    sockets: &mut Sockets,
    network: &NetworkInfo,
    by_default: bool,
) -> Result<(), StartError> {
    for error in sockets.missing() {
        tracing::warn!(code = "listen.family", %error, "this machine lacks an address family; going on with the other");
    }
    for family in families_without_address(&sockets.local_addrs()) {
        tracing::warn!(
            code = "listen.noAddress",
            "this machine has no {family} address; it cannot be reached by {family} until it has"
        );
    }
    if by_default && network.admission == Admission::Lab {
        let all = sockets.local_addrs();
        if let Some(public) = public_behind(all.iter().copied().find(SocketAddr::is_ipv6)) {
            tracing::warn!(
                code = "listen.publicLab",
                %public,
                "not listening on IPv6: this machine has a public IPv6 address, at which a lab network \
                 would be open to all; --listen takes a private one"
            );
            sockets.retain(|address| address.is_ipv4());
        }
    }
    Ok(())
}

/// The families whose unspecified address is listened on and of which the machine has no address.
fn families_without_address(bound: &[SocketAddr]) -> Vec<&'static str> {
    let all = |ipv6| bound.iter().any(|it| it.ip().is_unspecified() && it.is_ipv6() == ipv6);
    let has = [false, true].map(addresses::has_family);
    // If the machine seems to have none at all, listing the interfaces failed.
    let named = [(false, "IPv4"), (true, "IPv6")].into_iter().filter(|_| has.contains(&true));
    named.filter(|(ipv6, _)| all(*ipv6) && !has[usize::from(*ipv6)]).map(|(_, name)| name).collect()
}

/// The address to announce.
pub(crate) fn own_address(
    bound: &[SocketAddr],
    advertise: Option<SocketAddr>,
) -> Result<SocketAddr, StartError> {
    let address = match advertise.map(canonical) {
        Some(address) if address.port() == 0 => {
            let alike = bound.iter().find(|bound| bound.is_ipv6() == address.is_ipv6());
            let port = alike.or(bound.first()).map_or(0, SocketAddr::port);
            SocketAddr::new(address.ip(), port)
        }
        Some(address) => address,
        None => addresses::reachable(bound).ok_or(StartError::Advertise(DEFAULT_LISTEN[0]))?,
    };
    let ip = address.ip();
    if ip.is_unspecified() || ip.is_multicast() || address.port() == 0 {
        return Err(StartError::Advertise(address));
    }
    Ok(address)
}

/// Refuses a network without admission control on public addresses.
pub(crate) fn refuse_public_lab(
    network: &NetworkInfo,
    address: SocketAddr,
    bound: &[SocketAddr],
) -> Result<(), StartError> {
    if network.admission != Admission::Lab {
        return Ok(());
    }
    if is_global(address.ip()) {
        return Err(StartError::PublicLab(address));
    }
    match bound.iter().find_map(|bound| public_behind(Some(*bound))) {
        Some(public) => Err(StartError::PublicLab(public)),
        None => Ok(()),
    }
}

/// A public address at which this socket receives.
fn public_behind(bound: Option<SocketAddr>) -> Option<SocketAddr> {
    let bound = bound?;
    let ips = match bound.ip().is_unspecified() {
        true => addresses::of_family(bound.is_ipv6()),
        false => vec![bound.ip()],
    };
    let public = ips.into_iter().find(|ip| is_global(*ip))?;
    Some(SocketAddr::new(public, bound.port()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use potluck_base::Identity;

    use super::*;
    use crate::folder::{Choice, Requested};

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_advertised_address_wins_over_the_bound_one() {
        let bound = [address("127.0.0.1:7"), address("[::1]:8")];
        assert_eq!(own_address(&bound, None).unwrap(), bound[0]);
        let other = address("10.0.0.1:9");
        assert_eq!(own_address(&bound, Some(other)).unwrap(), other);
        let port_of = |text| own_address(&bound, Some(address(text))).unwrap();
        assert_eq!(port_of("10.0.0.1:0"), address("10.0.0.1:7"));
        assert_eq!(port_of("[fd00::1]:0"), address("[fd00::1]:8"), "the port of its family");
        assert_eq!(port_of("[::ffff:10.0.0.1]:0"), address("10.0.0.1:7"));
    }

    #[test]
    fn an_address_that_was_named_is_the_contact_and_of_all_addresses_one_that_can_be_dialed() {
        let named = [address("[::1]:8"), address("127.0.0.1:7")];
        assert_eq!(own_address(&named, None).unwrap(), named[0]);
        let all = own_address(&[address("0.0.0.0:7"), address("[::]:7")], None).unwrap();
        assert!(!all.ip().is_unspecified() && all.port() == 7);
    }

    #[test]
    fn a_lab_network_keeps_off_the_internet_and_an_invite_network_need_not() {
        let bound = address("127.0.0.1:7");
        let network = |admission| {
            let requested =
                Requested { name: Some("a"), admission: Some(admission), ..Requested::default() };
            match NetworkInfo::choose(Path::new(""), None, requested).unwrap() {
                Choice::In(network) => network,
                _ => NetworkInfo::invite("a".into(), Identity::from_seed([1; 32]).public_key()),
            }
        };
        let lab = network(Admission::Lab);
        let outside = own_address(&[bound], Some(address("8.8.8.8:7"))).unwrap();
        let public = refuse_public_lab(&lab, outside, &[bound]).unwrap_err();
        assert!(public.to_string().contains("open to all"), "{public}");
        refuse_public_lab(&lab, bound, &[outside]).unwrap_err();
        refuse_public_lab(&lab, bound, &[bound, address("[2a00::1]:7")]).unwrap_err();
        refuse_public_lab(&lab, bound, &[bound, address("[fd00::1]:7")]).unwrap();
        for admission in [Admission::Invite, Admission::Open] {
            refuse_public_lab(&network(admission), outside, &[bound]).unwrap();
        }
        for useless in ["0.0.0.0:7", "[::]:7", "224.0.0.1:7"] {
            let error = own_address(&[bound], Some(address(useless))).unwrap_err();
            assert!(matches!(error, StartError::Advertise(_)), "{error}");
        }
    }
}
