//! `[limits]`.

use super::{Key, count, size};

pub(super) const LIMITS: &[Key] = &[
    key!(
        "limits",
        "http_connections",
        "HTTP connections at once; more wait.",
        |s, i| size(i, 1, 65_536).map(|it| s.limits.http_connections = it),
        |s| count(s.limits.http_connections),
    ),
    key!(
        "limits",
        "http_requests",
        "HTTP requests under way at once; more are answered 503.",
        |s, i| size(i, 1, 65_536).map(|it| s.limits.http_requests = it),
        |s| count(s.limits.http_requests),
    ),
    key!(
        "limits",
        "commands",
        "Reads and writes of this node's users under way at once; more are answered busy.",
        |s, i| size(i, 1, 1_000_000).map(|it| s.protocol.kv.commands_max = it),
        |s| count(s.protocol.kv.commands_max),
    ),
    key!(
        "limits",
        "requests",
        "Requests of other nodes under way at once; more are refused as busy.",
        |s, i| size(i, 1, 1_000_000).map(|it| s.protocol.kv.requests_max = it),
        |s| count(s.protocol.kv.requests_max),
    ),
    key!(
        "limits",
        "lookups",
        "Lookups at once; more are refused as busy.",
        |s, i| size(i, 1, 1_000_000).map(|it| s.protocol.dht.lookups_max = it),
        |s| count(s.protocol.dht.lookups_max),
    ),
];
