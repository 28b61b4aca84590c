//! The kinds of routers, and the rules that make them.
//!
//! Terms of RFC 4787: a mapping is endpoint-independent if a socket inside has the same port outside for all
//! destinations. The filtering behaviour says from which senders a mapping accepts packets.

use std::fmt;

/// The kinds of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds {
    /// The router of the node `a`.
    pub(super) a: Kind,
    /// The router of the node `b`.
    pub(super) b: Kind,
}

/// The routers between a node and the public network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// None: the node has a public address.
    None,
    /// Full cone: endpoint-independent mapping, and no filtering.
    Open,
    /// A typical home router: endpoint-independent mapping; only replies get in (address and port).
    Home,
    /// Symmetric: another mapping for each destination address; only replies get in.
    Strict,
    /// A home router behind a carrier's router.
    Cgn,
    /// A home router that forwards no UDP except DNS (port 53).
    Blocked,
    /// A home router without filters: a packet that arrives before the own side has sent takes the mapping's
    /// port, and the own side then gets another one.
    Leaky,
}

impl Kind {
    pub(super) const ALL: [Self; 7] =
        [Self::None, Self::Open, Self::Home, Self::Strict, Self::Cgn, Self::Blocked, Self::Leaky];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Open => "open",
            Self::Home => "home",
            Self::Strict => "strict",
            Self::Cgn => "cgn",
            Self::Blocked => "blocked",
            Self::Leaky => "leaky",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The routers from the public network inwards.
    pub(super) const fn routers(self) -> &'static [Router] {
        match self {
            Self::None => &[],
            Self::Open => &[Router::Open],
            Self::Home => &[Router::Home],
            Self::Strict => &[Router::Strict],
            Self::Cgn => &[Router::Home, Router::Home],
            Self::Blocked => &[Router::Blocked],
            Self::Leaky => &[Router::Leaky],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One router. Its outer interface is `wan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Router {
    Open,
    Home,
    Strict,
    Blocked,
    Leaky,
}

/// Both hooks must exist, or replies are not translated back.
const TRANSLATION: &str = "\
table ip translation {
  chain came { type nat hook prerouting priority -100; }
  chain goes { type nat hook postrouting priority 100; oifname \"wan\" HOW; }
}
";

/// A dynamic map from the port outside to the socket inside; all packets to that port go to the socket.
/// Sockets inside have different ports, since only one node is behind a router.
const FULL_CONE: &str = "\
table ip translation {
  map sockets { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 300s; size 65536; }
  chain came { type nat hook prerouting priority -100; iifname \"wan\" meta l4proto udp dnat to udp dport map @sockets; }
  chain goes { type nat hook postrouting priority 100;
    oifname \"wan\" meta l4proto udp update @sockets { udp sport timeout 300s : ip saddr . udp sport }
    oifname \"wan\" masquerade
  }
}
";

/// The router itself accepts no new packets: otherwise an unsolicited packet would make a connection entry.
const TAKES_NOTHING: &str = "  chain own { type filter hook input priority 0; iifname \"wan\" ct state new meta l4proto udp drop; }\n";
/// Only replies get in.
const ONLY_ANSWERS: &str =
    "    iifname \"wan\" ct state established,related accept\n    iifname \"wan\" drop\n";
/// No UDP gets out except DNS queries.
const NO_UDP: &str = "    meta l4proto udp udp dport != 53 drop\n";

impl Router {
    /// The input of `nft -f` in the router's namespace.
    pub(super) fn rules(self) -> String {
        let translation = match self {
            Self::Open => FULL_CONE.to_owned(),
            Self::Home | Self::Blocked | Self::Leaky => TRANSLATION.replace("HOW", "masquerade"),
            Self::Strict => TRANSLATION.replace("HOW", "masquerade random"),
        };
        let passing = match self {
            Self::Leaky => return translation,
            Self::Open => String::new(),
            Self::Home | Self::Strict => ONLY_ANSWERS.to_owned(),
            Self::Blocked => format!("{NO_UDP}{ONLY_ANSWERS}"),
        };
        let chain = "  chain passing { type filter hook forward priority 0;\n";
        format!("{translation}table ip filtering {{\n{TAKES_NOTHING}{chain}{passing}  }}\n}}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name()), Some(kind));
        }
        assert_eq!(Kind::parse("cone"), None);
    }

    #[test]
    fn every_router_translates_and_has_both_hooks() {
        for router in [Router::Open, Router::Home, Router::Strict, Router::Blocked, Router::Leaky] {
            let rules = router.rules();
            assert!(rules.contains("hook prerouting"), "{router:?}");
            assert!(rules.contains("oifname \"wan\" masquerade"), "{router:?}: {rules}");
            let (opened, closed) = (rules.matches('{').count(), rules.matches('}').count());
            assert_eq!(opened, closed, "{rules}");
        }
    }

    #[test]
    fn what_makes_a_kind_is_in_its_rules_and_in_no_others() {
        for (router, random, cone, drops, no_udp) in [
            (Router::Open, false, true, false, false),
            (Router::Home, false, false, true, false),
            (Router::Strict, true, false, true, false),
            (Router::Blocked, false, false, true, true),
            (Router::Leaky, false, false, false, false),
        ] {
            let rules = router.rules();
            assert_eq!(rules.contains("masquerade random"), random, "{router:?}");
            assert_eq!(rules.contains("map @sockets"), cone, "{router:?}");
            assert_eq!(rules.contains("iifname \"wan\" drop"), drops, "{router:?}");
            assert_eq!(rules.contains("udp dport != 53 drop"), no_udp, "{router:?}");
            assert_eq!(rules.contains("ct state new"), router != Router::Leaky, "{router:?}");
        }
        assert_eq!(Kind::Cgn.routers(), [Router::Home, Router::Home]);
        assert_eq!(Kind::None.routers(), []);
    }
}
