//! `/debug/gossip/stats`: how much this node and its members talk, and what comes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use parking_lot::Mutex;
use potluck::NodeStats;
use potluck_node::view::GossipStats;

use super::app::App;
use super::problem::Problem;
use super::reply::json;
use super::views::millis;
use crate::api::{self, InOut, MemberCounts, Suspicions, ViewSizes};

/// Shortest period over which rates are computed. A longer period smooths them more.
const SPAN_MIN: Duration = Duration::from_secs(1);
/// Length at which a new period begins.
const SPAN_MAX: Duration = Duration::from_secs(10);

/// State and counters of members and topics. Rates are over the last seconds, at the first request since the
/// start; they count control datagrams of all kinds, most of which are gossip on a node that reads and writes
/// no records.
#[utoipa::path(get, path = "/debug/gossip/stats", responses((status = 200, body = api::GossipStats)))]
pub(super) async fn stats(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let stats = app.node().stats().await.map_err(|_| Problem::stopped())?;
    let link = &stats.node.link;
    let counters = [link.datagrams_in, link.datagrams_out, link.bytes_in, link.bytes_out];
    let rates = app.rates().since_before(Instant::now(), stats.uptime, counters);
    let interval = app.live().settings.protocol.members.interval;
    Ok(json(&shown(&stats, interval, rates)))
}

fn shown(stats: &NodeStats, interval: Duration, rates: [f64; 4]) -> api::GossipStats {
    let GossipStats { members, topics, search, .. } = &stats.node.gossip;
    let [messages_in, messages_out, bytes_in, bytes_out] = rates;
    let answered = members.probes_answered.max(1);
    api::GossipStats {
        interval_ms: interval.as_millis() as u64,
        messages_per_second: InOut { r#in: messages_in, out: messages_out },
        bytes_per_second: InOut { r#in: bytes_in, out: bytes_out },
        duplicates: topics.duplicates,
        dedupe_hits: topics.duplicates + search.duplicates + members.records_stale,
        members: MemberCounts {
            // This node is one of them.
            alive: members.alive + 1,
            suspect: members.suspect,
            dead: members.dead,
            left: members.left,
        },
        views: ViewSizes { active: topics.system_active, passive: topics.system_passive },
        suspicions: Suspicions {
            raised: members.raised,
            refuted: members.refuted,
            confirmed: members.confirmed,
            r#false: members.false_deaths,
        },
        probe_round_trip_ms: millis(
            members.round_trips / u32::try_from(answered).unwrap_or(u32::MAX),
        ),
        last_detection_ms: millis(members.last_detection),
        health_multiplier: members.health,
        isolated: members.isolated,
        topics: topics.topics,
        published: topics.published,
        delivered: topics.delivered,
        repaired: topics.repaired,
        queued_messages: topics.queued_messages,
        subscriptions: stats.drive.subscriptions,
        missed: stats.drive.messages_missed,
        loop_lag_max_ms: millis(stats.drive.lag_max),
    }
}

/// Computes rates from counters.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<Spans>);

#[derive(Debug, Default)]
struct Spans {
    /// The start of the period that rates are over, and the start of the one after it.
    from: Option<(Instant, [u64; 4])>,
    next: Option<(Instant, [u64; 4])>,
}

impl Rates {
    /// The increase per second since an earlier look, or since the start.
    fn since_before(&self, now: Instant, uptime: Duration, counters: [u64; 4]) -> [f64; 4] {
        let mut spans = self.0.lock();
        let age = |at: &Option<(Instant, [u64; 4])>| at.map(|(at, _)| now.duration_since(at));
        if age(&spans.next).is_some_and(|age| age >= SPAN_MAX) {
            spans.from = spans.next.take();
        }
        spans.next.get_or_insert((now, counters));
        let usable = [spans.from, spans.next].into_iter().flatten();
        let begin = usable.into_iter().find(|(at, _)| now.duration_since(*at) >= SPAN_MIN);
        let (span, before) = match begin {
            Some((at, before)) => (now.duration_since(at), before),
            None => (uptime.max(SPAN_MIN), [0; 4]),
        };
        let rate = |(now, before): (u64, u64)| {
            let rate = now.saturating_sub(before) as f64 / span.as_secs_f64();
            (rate * 10.0).round() / 10.0
        };
        let [a, b, c, d] = counters;
        let [e, f, g, h] = before;
        [(a, e), (b, f), (c, g), (d, h)].map(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_last_seconds() {
        let rates = Rates::default();
        let start = Instant::now();
        let at = |seconds: u64, count: u64| {
            let now = start + Duration::from_secs(seconds);
            rates.since_before(now, Duration::from_secs(100 + seconds), [count; 4])[0]
        };
        assert_eq!(at(0, 1000), 10.0, "since the start");
        assert_eq!(at(2, 1004), 2.0, "since the first look");
        assert_eq!(at(10, 1010), 1.0);
        // A new period has begun at the tenth second; rates are over the older one for now.
        assert_eq!(at(11, 1110), 10.0);
    }
}
