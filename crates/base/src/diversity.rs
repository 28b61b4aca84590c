//! Nodes in different places: those of one subnet are often gone at the same time, and often one machine's.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// The large and the small subnet of an address: /16 and /24 of IPv4, /32 and /48 of IPv6.
fn subnets(ip: IpAddr) -> (u128, u128) {
    match ip.to_canonical() {
        // An address of IPv6 never begins with these bits, so the families do not mix.
        IpAddr::V4(ip) => {
            let bits = u128::from(ip.to_bits()) | 1 << 127 | 1 << 126;
            (bits >> 16, bits >> 8)
        }
        IpAddr::V6(ip) => (ip.to_bits() >> 96, ip.to_bits() >> 80),
    }
}

/// Whether places of nodes are limited a subnet.
///
/// In an `open` network keys cost little and addresses in many subnets much, so the places that one subnet
/// can take in a table or a candidate list are few, and loopback and private addresses count like others. In
/// `invite` and `lab` networks all nodes may stand in one subnet, and admission or trust limits them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Diversity {
    /// Subnets do not count.
    #[default]
    Free,
    /// Few places a subnet.
    Subnets,
}

/// The most places that nodes of one small subnet (/24, /48) and of one large subnet (/16, /32) take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetLimit {
    /// In one small subnet.
    pub small: usize,
    /// In one large subnet.
    pub large: usize,
}

impl Diversity {
    /// The small subnet of an address, if subnets count.
    #[must_use]
    pub fn small_subnet(self, ip: IpAddr) -> Option<u128> {
        match self {
            Self::Free => None,
            Self::Subnets => Some(subnets(ip).1),
        }
    }

    /// Whether a node at `ip` may have a place beside those at `others`.
    pub fn has_room(
        self,
        ip: IpAddr,
        others: impl IntoIterator<Item = IpAddr>,
        limit: SubnetLimit,
    ) -> bool {
        if self == Self::Free {
            return true;
        }
        let (large, small) = subnets(ip);
        let (mut in_large, mut in_small) = (0, 0);
        for other in others {
            let (other_large, other_small) = subnets(other);
            in_large += usize::from(other_large == large);
            in_small += usize::from(other_small == small);
        }
        in_small < limit.small && in_large < limit.large
    }
}

/// The first `max` of `items` in an order in which neighbours share little: the first one of each large
/// subnet, families taking turns, then the second ones, and so on; within a large subnet the small ones take
/// turns. Among equals the order is the given one.
#[must_use]
pub fn spread_out<T>(items: Vec<T>, max: usize, address: impl Fn(&T) -> SocketAddr) -> Vec<T> {
    let ips: Vec<IpAddr> = items.iter().map(|item| address(item).ip().to_canonical()).collect();
    let mut order: Vec<usize> = (0..items.len()).collect();
    let in_small = turns(&order, |index| subnets(ips[index]).1);
    order.sort_by_key(|index| in_small[*index]);
    let in_large = turns(&order, |index| subnets(ips[index]).0);
    order.sort_by_key(|index| (in_large[*index], *index));
    let in_family = turns(&order, |index| u128::from(ips[index].is_ipv6()));
    order.sort_by_key(|index| (in_large[*index], in_family[*index], *index));
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().take(max).filter_map(|index| items[index].take()).collect()
}

/// For each item how many of its group come before it in `order`.
fn turns(order: &[usize], group: impl Fn(usize) -> u128) -> Vec<usize> {
    let mut counts: BTreeMap<u128, usize> = BTreeMap::new();
    let mut turns = vec![0; order.len()];
    for index in order {
        let count = counts.entry(group(*index)).or_default();
        turns[*index] = *count;
        *count += 1;
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(texts: &[&str], max: usize) -> Vec<String> {
        let items: Vec<SocketAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        spread_out(items, max, |address| *address).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn four_are_of_four_subnets_and_both_families_if_there_are_such() {
        let all = [
            "10.1.0.1:7",
            "10.1.0.2:7",
            "10.1.0.3:7",
            "10.1.9.4:7",
            "10.2.0.1:7",
            "192.168.0.1:7",
            "[2001:db8::1]:7",
            "[2001:db8::2]:7",
        ];
        let four = ["10.1.0.1:7", "[2001:db8::1]:7", "10.2.0.1:7", "192.168.0.1:7"];
        assert_eq!(chosen(&all, 4), four);
        assert_eq!(chosen(&all, 100).len(), all.len());
    }

    #[test]
    fn in_one_large_subnet_the_small_ones_differ_and_equals_keep_their_order() {
        let all = ["10.1.0.1:7", "10.1.0.2:7", "10.1.1.1:7", "10.1.2.1:7"];
        assert_eq!(chosen(&all, 3), ["10.1.0.1:7", "10.1.1.1:7", "10.1.2.1:7"]);
        assert_eq!(chosen(&["10.0.0.3:1", "10.0.0.1:1"], 2), ["10.0.0.3:1", "10.0.0.1:1"]);
        assert!(chosen(&[], 4).is_empty() && chosen(&all, 0).is_empty());
    }

    #[test]
    fn a_subnet_has_as_many_places_as_the_limit_says_also_on_loopback() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let limit = SubnetLimit { small: 2, large: 3 };
        for [first, second, third, next, elsewhere] in [
            ["127.1.0.1", "127.1.0.2", "127.1.0.3", "127.1.9.1", "127.2.0.1"],
            ["9.9.9.1", "9.9.9.2", "::ffff:9.9.9.3", "9.9.8.1", "9.8.9.1"],
            ["2a00:1:1::1", "2a00:1:1:9::2", "2a00:1:1::3", "2a00:1:2::1", "2a00:2:1::1"],
        ] {
            let two = [ip(first), ip(second)];
            let has_room = |at, others: &[IpAddr]| {
                Diversity::Subnets.has_room(ip(at), others.iter().copied(), limit)
            };
            assert!(has_room(second, &two[..1]) && !has_room(third, &two));
            assert!(has_room(next, &two) && has_room(elsewhere, &two));
            let three = [two[0], two[1], ip(next)];
            assert!(!has_room(next, &three) && has_room(elsewhere, &three), "a large subnet");
            assert!(Diversity::Free.has_room(ip(third), two, limit));
        }
    }

    #[test]
    fn the_same_address_in_two_forms_is_in_one_subnet() {
        let all = ["10.1.0.1:7", "[::ffff:10.1.0.2]:7", "10.3.0.1:7"];
        assert_eq!(chosen(&all, 2), ["10.1.0.1:7", "10.3.0.1:7"]);
    }
}
