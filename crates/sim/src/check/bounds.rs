//! Bounds: no table of any node exceeds its limit.

use std::time::Duration;

use potluck_gossip::search;
use potluck_node::view::Stats;
use potluck_node::{Command, Reply};

use crate::batch::Batch;
use crate::check::Check;
use crate::sim_node::NodeIndex;
use crate::world::World;

/// The counters and gauges of all live nodes.
pub fn stats(world: &mut World) -> Vec<(NodeIndex, Stats)> {
    let live = world.live();
    let batch = Batch { in_flight: live.len().max(1), bound: Duration::from_secs(10) };
    let outcomes = batch.run(world, live.len(), |_, index| (live[index], Command::Stats));
    outcomes
        .into_iter()
        .flatten()
        .filter_map(|outcome| match outcome.reply {
            Some(Reply::Stats(stats)) => Some((outcome.node, *stats)),
            _ => None,
        })
        .collect()
}

/// Whether every gauge of every node is within its limit.
#[must_use]
pub fn check(world: &World, stats: &[(NodeIndex, Stats)]) -> Check {
    let config = &world.config().node;
    let mut broken = Vec::new();
    for (node, stats) in stats {
        let limits = [
            ("contacts", stats.dht.contacts, config.dht.table_capacity),
            ("siblings", stats.dht.siblings, config.dht.close_group_size),
            ("lookups", stats.dht.lookups_active, config.dht.lookups_max),
            ("commands", stats.kv.commands_active, config.kv.commands_max),
            ("requests of others", stats.kv.requests_active, config.kv.requests_max),
            ("sessions", stats.link.sessions, config.link.sessions_max),
            ("requests", stats.link.requests_outstanding, config.link.requests_max),
            ("limits", stats.link.limits, 3 * config.link.limits_max),
            ("outputs", stats.link.outputs_queued, config.link.outputs_max),
            ("links of searches", stats.gossip.search.links, search::LINKS_MAX),
            ("names to be found", stats.gossip.search.names, search::NAMES_MAX),
            ("routes of searches", stats.gossip.search.routes, search::ROUTES_MAX),
            ("searches remembered", stats.gossip.search.seen, search::SEEN_MAX),
            ("hits that wait", stats.gossip.search.waiting, search::WAITING_MAX),
        ];
        for (name, gauge, limit) in limits {
            if gauge > limit {
                broken.push(format!("{node} has {gauge} {name} of at most {limit}"));
            }
        }
    }
    Check::none_of("every table keeps its limit", stats.len(), &broken)
}
