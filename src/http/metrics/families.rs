//! Metrics of several series: one name, and a label that tells the series apart.
//!
//! **Invariant:** each label has a fixed set of values, so the number of series does not grow with the
//! network.

use potluck::{Health, NodeStats};
use potluck_base::statistics::{Kind, Number, Statistic};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Counters that are one metric: the beginning of their names, its name, its label and its help.
pub(super) const MERGED: [(&str, &str, &str, &str); 2] = [
    ("link_dropped_", "link_dropped", "reason", "Datagrams that were dropped"),
    (
        "topics_neighbours_down_",
        "topics_neighbours_down",
        "cause",
        "Neighbours of the overlay that were lost",
    ),
];

/// Whether a statistic is a series of a merged metric.
pub(super) fn is_merged(what: &Statistic) -> bool {
    what.kind == Kind::Counter && MERGED.iter().any(|(begin, ..)| what.name.starts_with(begin))
}

/// One metric of several counters, each with the value of its label.
#[derive(Debug)]
struct Series {
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    values: Vec<(Vec<(&'static str, &'static str)>, u64)>,
}

/// What is told of a node beside its statistics.
#[derive(Debug)]
pub(super) struct Families {
    counters: Vec<Series>,
    health: Option<Health>,
    node: [(&'static str, String); 4],
}

/// What does not change while a node runs, as labels.
pub(super) type Node = [(&'static str, String); 4];

impl Families {
    /// Of these statistics.
    pub(super) fn new(
        stats: &NodeStats,
        all: &[(&'static Statistic, Number)],
        health: Option<Health>,
        node: Node,
    ) -> Self {
        let mut counters: Vec<Series> = MERGED
            .iter()
            .map(|(begin, name, label, help)| Series {
                name,
                unit: None,
                help,
                values: all
                    .iter()
                    .filter(|(what, _)| what.kind == Kind::Counter)
                    .filter_map(|(what, number)| {
                        Some((vec![(*label, what.name.strip_prefix(begin)?)], number.as_u64()))
                    })
                    .collect(),
            })
            .collect();
        counters.push(messages(stats));
        counters.push(bytes(stats));
        Self { counters, health, node }
    }
}

/// Buffers through the UDP port. The sum of both directions grows by as much as
/// `tcpdump udp port PORT | wc -l` counts lines, since the system hands over several datagrams of one peer
/// as one buffer in both.
fn messages(stats: &NodeStats) -> Series {
    let (received, sent) = (stats.socket.received, stats.socket.sent);
    Series {
        name: "messages",
        unit: None,
        help: "Buffers of one or more datagrams that went through the UDP port",
        values: vec![(vec![("direction", "in")], received), (vec![("direction", "out")], sent)],
    }
}

/// Bytes by what they are for.
fn bytes(stats: &NodeStats) -> Series {
    let (link, calls) = (&stats.node.link, &stats.transport);
    let of = |direction, purpose| vec![("direction", direction), ("purpose", purpose)];
    Series {
        name: "bytes",
        unit: None,
        help: "Bytes of datagrams (control), of calls between nodes (records) and of fetched files",
        values: vec![
            (of("in", "control"), link.bytes_in),
            (of("out", "control"), link.bytes_out),
            (of("in", "records"), calls.bytes_received),
            (of("out", "records"), calls.bytes_sent),
            (of("in", "files"), calls.frame_bytes_received),
            (of("out", "files"), calls.frame_bytes_sent),
        ],
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let kind = ConstCounter::new(0_u64).metric_type();
        for Series { name, unit, help, values } in &self.counters {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            for (labels, count) in values {
                ConstCounter::new(*count).encode(family.encode_family(labels)?)?;
            }
        }
        let one = ConstGauge::new(1_i64);
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        let mut info = encoder.encode_descriptor(
            "build_info",
            "The version of the program, always 1",
            None,
            one.metric_type(),
        )?;
        one.encode(info.encode_family(&build)?)?;
        let mut info = encoder.encode_descriptor(
            "node_info",
            "What does not change while the node runs, always 1",
            None,
            one.metric_type(),
        )?;
        one.encode(info.encode_family(&self.node)?)?;
        if let Some(health) = self.health {
            let level = ConstGauge::new(match health {
                Health::Ok => 0_i64,
                Health::Degraded => 1,
                Health::Offline => 2,
            });
            let help = "Whether the node can do its work: 0 ok, 1 degraded, 2 offline";
            level.encode(encoder.encode_descriptor(
                "health",
                help,
                None,
                level.metric_type(),
            )?)?;
        }
        Ok(())
    }
}
