//! The numbers of members, topics and search.

use potluck::DriveStats;
use potluck_gossip::members::MembersStats;
use potluck_gossip::search::Stats as SearchStats;
use potluck_gossip::topics::TopicsStats;

use super::{Number, Sample};

pub(super) fn members(to: &mut Vec<Sample>, members: &MembersStats) {
    gauges!(to, members, "members",
        alive: "Other members taken to be there",
        suspect: "Members that do not answer",
        dead: "Dead members that are remembered",
        left: "Members that left and are remembered",
        asks: "Questions under way",
        probing: "Members being probed",
        hurried: "Members to be probed soon because of a doubt",
        rumours: "Records and doubts that wait to be announced",
        watchers: "Members that probed this node, in an open network",
        rates: "Peers whose rates are remembered",
        health: "0: this node is well; 8: it hardly judges others",
    );
    counters!(to, members, "members",
        freezes: "Times that verdicts were frozen because the fault seemed to be here",
        lags: "Times that this node was late for a timer of its own",
        probes: "Probes begun",
        probes_spared: "Probes not needed since the member had just been heard",
        probes_answered: "Probes answered directly",
        probes_helped: "Probes answered through others",
        nacks: "Helpers that could not reach the subject either",
        probes_failed: "Probes that failed altogether",
        raised: "Suspicions raised",
        refuted: "Suspicions refuted",
        confirmed: "Suspicions that ended in a death",
        false_deaths: "Deaths of members that were heard again in the same run",
        doubts: "Doubts of others taken in",
        doubts_dropped: "Doubts that were stale or invented",
        self_refuted: "Doubts about this node that it answered",
        records: "Records of members taken in",
        records_stale: "Records that were no news",
        records_bad: "Records that were malformed or not signed by their subject",
        records_refused: "Records for which there was no room",
        announcements: "Announcements published",
        over_rate: "Questions of others over their rate",
        asked: "Questions of others",
        asks_refused: "Questions not begun because too many were under way",
        comparisons: "Comparisons of lists begun",
        healing_probes: "Dead members that were tried again",
        returned: "Members that returned from the dead",
    );
    for (name, help, value) in [
        ("members_isolated", "1 while verdicts are frozen", f64::from(u8::from(members.isolated))),
        (
            "members_last_detection_seconds",
            "From the first failed probe to the verdict, of the last death",
            members.last_detection.as_secs_f64(),
        ),
    ] {
        to.push(Sample { name, help, number: Number::Gauge(value) });
    }
    to.push(Sample {
        name: "members_probe_round_trip_microseconds",
        help: "The sum of the round trips of answered probes",
        number: Number::Counter(members.round_trips.as_micros() as u64),
    });
}

pub(super) fn topics(to: &mut Vec<Sample>, topics: &TopicsStats, drive: &DriveStats) {
    gauges!(to, topics, "topics",
        topics: "Topics this node is in, that of members included",
        system_active: "Links of the overlay of all nodes",
        system_passive: "Contacts for new links of the overlay of all nodes",
        active: "Links of all topics",
        active_outbound: "Links chosen by this node",
        active_eager: "Links on the tree",
        active_doubted: "Links that did not answer last",
        passive: "Contacts for new links of all topics",
        queued_messages: "Messages that wait for neighbours",
        queued_bytes: "Their bytes",
        publishes_waiting: "Publishes of this node that wait",
        history_messages: "Messages kept for repair",
        history_bytes: "Their bytes",
        promises: "Messages that neighbours have and this node lacks",
        publishers: "Publishers remembered",
        branches: "Publishers that links keep apart, over all links",
        growing: "Messages held back while a tree grows",
        asks: "Requests under way",
        scores: "Nodes remembered for something they did wrong",
    );
    counters!(to, topics, "topics",
        neighbours_up: "Links made",
        neighbours_declined: "Requests for a link that were declined",
        shuffles: "Exchanges of contacts answered",
        shuffles_refused: "Exchanges of contacts refused",
        published: "Messages published by this node",
        publishes_refused: "Publishes of this node that were refused",
        delivered: "Messages given to subscribers here",
        payloads_received: "Copies of messages that came",
        duplicates: "Copies of messages that came again",
        payloads_sent: "Copies of messages sent",
        repaired: "Messages that came because they were asked for",
        grafts: "Requests to be pushed messages",
        prunes: "Links taken off the tree because their messages came twice",
        switched: "Links put on the tree because they were faster",
        dropped_full: "Messages left out for a neighbour with a full queue",
        dropped_names: "Announcements left out for a neighbour with a full queue",
        dropped_over_rate: "Messages of publishers over their rate",
        dropped_stale: "Messages older than fifteen minutes or dated over five minutes ahead",
        names_refused: "Announced names beyond the limits",
        rate_limited: "Refused because of a rate limit",
        verified: "Signatures checked",
        verify_failed: "Signatures that were wrong",
        broken_promises: "Announced messages that were not delivered",
        strangers: "Requests of nodes that are no neighbours",
    );
    counters!(to, topics.neighbours_down, "topics_neighbours_down",
        crashed: "Links gone without an answer",
        left: "Links gone with a good-bye",
        evicted: "Links gone because the neighbour made room",
        replaced: "Links gone because this node made room",
        misbehaved: "Links cut because the neighbour broke the rules",
        local_suspend: "Links gone because this node slept or was cut off",
    );
    gauges!(to, drive, "topics",
        subscriptions: "Subscriptions of this node's users",
    );
    counters!(to, drive, "topics",
        messages_delivered: "Messages put into the queues of subscriptions",
        messages_missed: "Messages that had no room in the queue of a subscription",
    );
}

pub(super) fn search(to: &mut Vec<Sample>, search: &SearchStats) {
    gauges!(to, search, "search",
        links: "Neighbours",
        filters: "Neighbours whose words are known",
        names: "Names that others can find here",
        searching: "Own searches under way",
        routes: "Routes of searches",
        seen: "Searches remembered",
        waiting: "Hits that wait for others on their way back",
        asking: "Requests under way",
    );
    counters!(to, search, "search",
        searches: "Own searches begun",
        searches_refused: "Own searches refused",
        searches_found: "Own searches that found something at another node",
        searches_walked: "Own searches that sent out walkers",
        queries_sent: "Searches sent to neighbours",
        walks_sent: "Walkers sent to neighbours",
        filters_sent: "Filters sent",
        hits_sent: "Messages with hits sent",
        queries_taken: "Searches that came",
        duplicates: "Searches that came again",
        spared: "Neighbours spared because they have no such words",
        hits_taken: "Hits of others taken",
        failed: "Requests failed or refused by others",
        over_quota: "Requests of askers over their quota",
        unpaid: "Searches that went no farther because their sender's quota is used up",
        held_back: "Searches not sent because the neighbour's quota is used up",
        strangers: "Requests of nodes that are no neighbours",
        malformed: "Searches and hits that no honest node makes",
        stray_hits: "Hits that nobody asked for, or too late",
        surplus_hits: "Hits that came twice or were beyond their limit",
        hits_dropped: "Hits dropped for lack of room",
        no_room: "Searches not taken for lack of room",
    );
}
