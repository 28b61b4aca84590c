//! Metrics of several series: one name, and a label that tells the series apart.
//!
//! **Invariant:** each label has a fixed set of values, so the number of series does not grow with the
//! network.

use potluck::{Health, NodeStats};
use potluck_base::statistics::{Kind, Number, Statistic};
use potluck_wire::{Purpose, Traffic};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Counters that are exposed as one metric: the prefix of their names, its name, its label and its help.
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

/// Facts about a node beside its statistics.
#[derive(Debug)]
pub(super) struct Families {
    counters: Vec<Series>,
    known: Known,
}

/// Facts about a node that its parts do not count.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) health: Option<Health>,
    /// The facts that do not change while a node runs, as labels.
    pub(super) node: [(&'static str, String); 4],
    /// Gauges, each with its name, its unit and its help; without a number it is left out.
    pub(super) gauges: Vec<(&'static str, Option<Unit>, &'static str, Option<f64>)>,
}

impl Families {
    /// Of these statistics.
    pub(super) fn new(
        stats: &NodeStats,
        all: &[(&'static Statistic, Number)],
        known: Known,
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
        Self { counters, known }
    }
}

/// Buffers through the UDP port. The sum of both directions grows by as much as `tcpdump udp port PORT | wc
/// -l` counts lines, since both count several datagrams that the system hands over for one peer as one
/// buffer.
fn messages(stats: &NodeStats) -> Series {
    let (received, sent) = (stats.socket.received, stats.socket.sent);
    Series {
        name: "messages",
        unit: None,
        help: "Buffers of one or more datagrams that went through the UDP port",
        values: vec![(vec![("direction", "in")], received), (vec![("direction", "out")], sent)],
    }
}

/// Bytes by purpose.
fn bytes(stats: &NodeStats) -> Series {
    let of =
        |direction, purpose: Purpose| vec![("direction", direction), ("purpose", purpose.as_str())];
    let traffic = [stats.node.link.traffic, stats.transport.traffic];
    let sum = |of: &dyn Fn(&Traffic) -> u64| traffic.iter().map(of).sum();
    let each = |purpose| {
        [
            (of("in", purpose), sum(&|it| it.received(purpose))),
            (of("out", purpose), sum(&|it| it.sent(purpose))),
        ]
    };
    Series {
        name: "bytes",
        unit: None,
        help: "Bytes of datagrams, calls and files by what they are for",
        values: Purpose::ALL.into_iter().flat_map(each).collect(),
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
        for (name, unit, help, number) in &self.known.gauges {
            let Some(number) = number else { continue };
            let gauge = ConstGauge::new(*number);
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), kind)?)?;
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
        one.encode(info.encode_family(&self.known.node)?)?;
        if let Some(health) = self.known.health {
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
