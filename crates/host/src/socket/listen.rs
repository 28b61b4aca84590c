//! The addresses to listen on, as the configuration gives them.

use std::net::SocketAddr;

use potluck_base::ADDRESSES_MAX;

use super::canonical;

/// Most addresses that a node listens on: the number of its own addresses that it can send to others.
pub const LISTEN_MAX: usize = ADDRESSES_MAX;

/// Why a node cannot listen on these addresses. Nothing was bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// There are too many addresses.
    #[error(
        "a node listens on at most {LISTEN_MAX} addresses, not {0}; 0.0.0.0:PORT and [::]:PORT together \
         stand for all addresses of this machine"
    )]
    TooMany(usize),
    /// An address is listed twice, perhaps in two notations.
    #[error("{0} is named twice as an address to listen on; name it once")]
    Twice(SocketAddr),
    /// An unspecified address stands for all addresses of its family, so it includes another listed one.
    #[error("{all} stands for {one} too; name only one of them to listen on")]
    Covered {
        /// The unspecified address.
        all: SocketAddr,
        /// The other address.
        one: SocketAddr,
    },
    /// A multicast address.
    #[error("{0} is the address of a group; listen on an address of this machine")]
    Group(SocketAddr),
    /// An address that names another machine on each link.
    #[error(
        "{0} holds on one link only and could not be given to others; listen on [::]:{port}, or on an \
         address that other networks know too",
        port = .0.port()
    )]
    OneLink(SocketAddr),
}

/// The addresses to bind, or the reason why not all of them can be bound.
pub(crate) fn listen_at(given: &[SocketAddr]) -> Result<Vec<SocketAddr>, ListenError> {
    if given.len() > LISTEN_MAX {
        return Err(ListenError::TooMany(given.len()));
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in given.iter().copied().map(canonical) {
        if address.ip().is_multicast() || is_broadcast(address) {
            return Err(ListenError::Group(address));
        }
        if matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local()) {
            return Err(ListenError::OneLink(address));
        }
        for other in &addresses {
            // Two ports that the system chooses are different.
            if *other == address && address.port() != 0 {
                return Err(ListenError::Twice(address));
            }
            let alike = other.port() == address.port() && other.is_ipv6() == address.is_ipv6();
            if alike && address.port() != 0 {
                match (other.ip().is_unspecified(), address.ip().is_unspecified()) {
                    (true, _) => return Err(ListenError::Covered { all: *other, one: address }),
                    (_, true) => return Err(ListenError::Covered { all: address, one: *other }),
                    (false, false) => {}
                }
            }
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn is_broadcast(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V4(v4) if v4.ip().is_broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(texts: &[&str]) -> Result<Vec<String>, String> {
        let given: Vec<SocketAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let listen = listen_at(&given).map_err(|error| error.to_string())?;
        Ok(listen.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn both_families_with_one_port_and_several_addresses_of_one_are_taken_in_their_order() {
        for good in [
            &["0.0.0.0:12345", "[::]:12345"][..],
            &["[::]:0", "0.0.0.0:0"],
            &["127.0.0.1:1", "127.0.0.1:2", "10.0.0.1:1", "[::1]:1"],
            &["0.0.0.0:1", "127.0.0.1:2"],
            &["127.0.0.1:0", "127.0.0.1:0"],
        ] {
            assert_eq!(checked(good).unwrap(), good);
        }
        assert_eq!(checked(&["[::ffff:127.0.0.1]:7"]).unwrap(), ["127.0.0.1:7"]);
    }

    #[test]
    fn what_cannot_be_bound_beside_each_other_is_said_before_anything_is_bound() {
        for (wrong, word) in [
            (&["127.0.0.1:7", "127.0.0.1:7"][..], "127.0.0.1:7 is named twice"),
            (&["127.0.0.1:7", "[::ffff:127.0.0.1]:7"], "named twice"),
            (&["0.0.0.0:7", "127.0.0.1:7"], "0.0.0.0:7 stands for 127.0.0.1:7 too"),
            (&["[::1]:7", "[::]:7"], "[::]:7 stands for [::1]:7 too"),
            (&["224.0.0.1:7"], "group"),
            (&["255.255.255.255:7"], "group"),
            (&["[ff02::1]:7"], "group"),
            (&["[fe80::1%2]:7"], "one link only"),
            (&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:5"], "4"),
        ] {
            let error = checked(wrong).unwrap_err();
            assert!(error.contains(word), "{wrong:?}: {error}");
        }
    }
}
