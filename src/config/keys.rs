//! The table of all keys: the meaning of each, how it is read, how it is shown.

use std::time::Duration;

use toml::Value;

use super::input::{Input, Wrong};
use super::{OnTerm, Settings};
use crate::text::whole_span;

/// A value for output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shown {
    /// It is set, or has a fixed default.
    Set(Value),
    /// It is not set; an example of a value.
    Unset(Value),
}

/// One key.
pub(crate) struct Key {
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    /// Its meaning, for the printed file.
    pub(crate) about: &'static str,
    pub(crate) set: fn(&mut Settings, &Input<'_>) -> Result<(), Wrong>,
    pub(crate) get: fn(&Settings) -> Shown,
}

impl Key {
    /// The name of its environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("POTLUCK_{}_{}", self.section, self.name).to_ascii_uppercase()
    }
}

fn number(value: u64) -> Shown {
    Shown::Set(Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn count(value: usize) -> Shown {
    number(value as u64)
}

fn text(value: impl ToString) -> Shown {
    Shown::Set(Value::String(value.to_string()))
}

fn unset(example: &str) -> Shown {
    Shown::Unset(Value::String(example.to_owned()))
}

fn duration(value: Duration) -> Shown {
    text(whole_span(value))
}

fn list(items: impl IntoIterator<Item = String>) -> Shown {
    Shown::Set(Value::Array(items.into_iter().map(Value::String).collect()))
}

fn size(input: &Input<'_>, min: u64, max: u64) -> Result<usize, Wrong> {
    input.whole(min, max).map(|number| number as usize)
}

fn small(input: &Input<'_>) -> Result<u16, Wrong> {
    input.whole(1, 32).map(|number| number as u16)
}

/// A list that is not set, with the items used in that case.
fn unset_list(items: impl IntoIterator<Item = String>) -> Shown {
    Shown::Unset(Value::Array(items.into_iter().map(Value::String).collect()))
}

macro_rules! key {
    ($section:literal, $name:literal, $about:literal, $set:expr, $get:expr $(,)?) => {
        Key { section: $section, name: $name, about: $about, set: $set, get: $get }
    };
}

mod files;
mod gossip;
mod http;
mod limits;
mod store;

use files::FILES;
use gossip::{GOSSIP, labels};
use http::HTTP;
use limits::LIMITS;
use store::STORE;

/// All keys, by section.
pub(crate) const KEYS: &[&[Key]] =
    &[NODE, NETWORK, REACH, DHT, KV, GOSSIP, FILES, STORE, HTTP, LIMITS];

const ADDRESSES: &str = "addresses of the form ip:port";

const NODE: &[Key] = &[
    key!(
        "node",
        "data_dir",
        "Folder for the node's identity, records and known contacts. One network each.",
        |s, i| {
            let path = i.text()?;
            if path.is_empty() {
                return Err("must not be empty".into());
            }
            s.node.data_dir = path.into();
            Ok(())
        },
        |s| text(s.node.data_dir.display()),
    ),
    key!(
        "node",
        "listen",
        "UDP addresses to listen on, at most 4, those of both families together; port 0 lets the system \
         choose. An IPv6 address takes IPv6 only. A lab network leaves IPv6 out by default where it is public.",
        |s, i| {
            s.node.listen = i.parsed_list(ADDRESSES)?;
            if s.node.listen.is_empty() { Err("must name an address".into()) } else { Ok(()) }
        },
        |s| match s.node.listen[..] {
            [] => unset_list(potluck::DEFAULT_LISTEN.iter().map(ToString::to_string)),
            ref listen => list(listen.iter().map(ToString::to_string)),
        },
    ),
    key!(
        "node",
        "advertise",
        "Address under which others reach this node, if it is not the one it listens on.",
        |s, i| i.parsed("an address of the form ip:port").map(|it| s.node.advertise = Some(it)),
        |s| s.node.advertise.map_or_else(|| unset("203.0.113.7:12345"), text),
    ),
    key!(
        "node",
        "labels",
        "What the owner calls this node, as key=value; every member sees it.",
        |s, i| {
            s.node.labels = labels(&i.list()?)?;
            Ok(())
        },
        |s| list(s.node.labels.iter().map(|(key, value)| format!("{key}={value}"))),
    ),
    key!(
        "node",
        "client",
        "Use the network without storing or serving anything for others; for machines that no other machine can reach.",
        |s, i| i.boolean().map(|it| s.node.client = it),
        |s| Shown::Set(Value::Boolean(s.node.client)),
    ),
    key!(
        "node",
        "on_term",
        "When asked to stop: leave (hand records over first) or pause (back soon, no hand-over).",
        |s, i| {
            s.node.on_term = match i.text()?.as_str() {
                "leave" => OnTerm::Leave,
                "pause" => OnTerm::Pause,
                _ => return Err("must be leave or pause".into()),
            };
            Ok(())
        },
        |s| text(match s.node.on_term {
            OnTerm::Leave => "leave",
            OnTerm::Pause => "pause",
        }),
    ),
];

const NETWORK: &[Key] = &[
    key!(
        "network",
        "name",
        "Name of the network; networks with different names never mix.",
        |s, i| {
            let name = i.text()?;
            if name.is_empty() || name.len() > potluck_base::network::NETWORK_NAME_BYTES_MAX {
                return Err("must have 1 to 64 bytes".into());
            }
            s.network.name = Some(name);
            Ok(())
        },
        |s| s.network.name.as_ref().map_or_else(|| unset("home"), text),
    ),
    key!(
        "network",
        "admission",
        "Admission: invite (machines with a ticket), open (machines that solve its puzzles) or lab (any machine, private addresses only).",
        |s, i| i.parsed("invite, open or lab").map(|it| s.network.admission = Some(it)),
        |s| s.network.admission.map_or_else(|| unset("invite"), text),
    ),
    key!(
        "network",
        "difficulty",
        "Bits of the two puzzles of an open network. Part of what the network is: it never changes.",
        |s, i| {
            let form = "two numbers of bits such as 16,23: 1 to 28 for the key pair, 1 to 32 for each week";
            i.parsed(form).map(|it| s.network.difficulty = Some(it))
        },
        |s| {
            let usual = potluck::Difficulty::DEFAULT.to_string();
            s.network.difficulty.map_or_else(|| unset(&usual), text)
        },
    ),
    key!(
        "network",
        "entry",
        "Nodes to enter by: contacts, ip:port or DNS names. Tried for ever.",
        |s, i| {
            let entries = i.list()?;
            for entry in &entries {
                potluck_host::parse_entry_point(entry)
                    .map_err(|wrong| format!("is wrong: {wrong}"))?;
            }
            s.network.entry = entries;
            Ok(())
        },
        |s| list(s.network.entry.iter().cloned()),
    ),
    key!(
        "network",
        "dns_fallback",
        "DNS names to ask while all entry points and the nodes of the last run are silent: SRV records of _potluck._udp.<name>, and addresses.",
        |s, i| {
            let names = i.list()?;
            for name in &names {
                potluck_host::fallback_name(name)
                    .map_err(|wrong| format!("must be DNS names: `{}` is none", wrong.text))?;
            }
            s.network.dns_fallback = names;
            Ok(())
        },
        |s| list(s.network.dns_fallback.iter().cloned()),
    ),
    key!(
        "network",
        "mdns",
        "Look around by DNS-SD (multicast DNS) too, where [reach] lan is on.",
        |s, i| i.boolean().map(|it| s.network.mdns = it),
        |s| Shown::Set(Value::Boolean(s.network.mdns)),
    ),
    key!(
        "network",
        "authority",
        "Public key that the network's authority must have (potluck network show); other tickets and data folders are refused.",
        |s, i| {
            let wanted = "the 64 hex digits of a public key";
            i.parsed(wanted).map(|it| s.network.authority = Some(it))
        },
        |s| s.network.authority.map_or_else(|| unset(&"5f".repeat(32)), text),
    ),
];

const REACH: &[Key] = &[key!(
    "reach",
    "lan",
    "Look for nodes of this network on the local network; by default in invite and lab networks, never on loopback only.",
    |s, i| i.boolean().map(|it| s.reach.lan = Some(it)),
    |s| s.reach.lan.map_or(Shown::Unset(Value::Boolean(true)), |it| Shown::Set(Value::Boolean(it))),
)];

const DHT: &[Key] = &[
    key!(
        "dht",
        "k",
        "Contacts in a bucket, and how many closest nodes a lookup finds.",
        |s, i| size(i, 2, 32).map(|it| s.protocol.dht.k = it),
        |s| count(s.protocol.dht.k),
    ),
    key!(
        "dht",
        "alpha",
        "Requests in flight in one lookup.",
        |s, i| size(i, 1, 32).map(|it| s.protocol.dht.alpha = it),
        |s| count(s.protocol.dht.alpha),
    ),
    key!(
        "dht",
        "siblings",
        "Closest nodes that are watched; at least three times [kv] replication.",
        |s, i| size(i, 1, 512).map(|it| s.protocol.dht.close_group_size = it),
        |s| count(s.protocol.dht.close_group_size),
    ),
    key!(
        "dht",
        "table_capacity",
        "Most contacts in the routing table, whatever happens.",
        |s, i| size(i, 1, 100_000).map(|it| s.protocol.dht.table_capacity = it),
        |s| count(s.protocol.dht.table_capacity),
    ),
    key!(
        "dht",
        "refresh_interval",
        "How often the own neighbourhood and one quiet bucket are looked up.",
        |s, i| i.duration().map(|it| s.protocol.dht.refresh_interval = it),
        |s| duration(s.protocol.dht.refresh_interval),
    ),
    key!(
        "dht",
        "heartbeat_interval",
        "Silence after which a node of the close group is asked whether it is there.",
        |s, i| i.duration().map(|it| s.protocol.dht.heartbeat_interval = it),
        |s| duration(s.protocol.dht.heartbeat_interval),
    ),
];

const KV: &[Key] = &[
    key!(
        "kv",
        "replication",
        "Replicas of a record; the same on all nodes of a network.",
        |s, i| small(i).map(|it| s.protocol.kv.replication = it),
        |s| number(s.protocol.kv.replication.into()),
    ),
    key!(
        "kv",
        "write_quorum",
        "Replicas that must acknowledge a write: a number, or majority.",
        |s, i| {
            let is_majority = i.text().is_ok_and(|word| word == "majority");
            s.protocol.kv.write_quorum = if is_majority { None } else { Some(small(i)?) };
            Ok(())
        },
        |s| s.protocol.kv.write_quorum.map_or_else(|| text("majority"), |w| number(w.into())),
    ),
    key!(
        "kv",
        "read_quorum",
        "Replicas that must agree on a read; fewer if the network has fewer.",
        |s, i| small(i).map(|it| s.protocol.kv.read_quorum = it),
        |s| number(s.protocol.kv.read_quorum.into()),
    ),
    key!(
        "kv",
        "anti_entropy_interval",
        "Time between two rounds in which some of the records held here are compared with others.",
        |s, i| i.duration().map(|it| s.protocol.kv.anti_entropy_interval = it),
        |s| duration(s.protocol.kv.anti_entropy_interval),
    ),
    key!(
        "kv",
        "default_ttl",
        "How long a record lives if the writer does not say; its node renews it at half of that.",
        |s, i| i.duration().map(|it| s.protocol.kv.life_default = it),
        |s| duration(s.protocol.kv.life_default),
    ),
    key!(
        "kv",
        "republish_interval",
        "How often this node stores all its own records again; at most a third of default_ttl. Not set: only to renew them at half of their life.",
        |s, i| i.duration().map(|it| s.protocol.kv.republish_interval = Some(it)),
        |s| s.protocol.kv.republish_interval.map_or_else(|| unset("1h"), duration),
    ),
    key!(
        "kv",
        "max_value_bytes",
        "Largest value, at most 64KiB.",
        |s, i| i
            .bytes()
            .map(|it| s.protocol.kv.value_bytes_max = usize::try_from(it).unwrap_or(usize::MAX)),
        |s| count(s.protocol.kv.value_bytes_max),
    ),
];
