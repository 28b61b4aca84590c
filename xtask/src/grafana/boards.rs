//! The description of both dashboards.

use super::{Board, Panel, Row, Shape};

/// All dashboards.
pub(super) const ALL: &[&Board] = &[&FLEET, &NODE];

const FLEET: Board = Board {
    file: "potluck-fleet.json",
    uid: "potluck-fleet",
    title: "Potluck: fleet",
    about: "All nodes of a network at a glance: who is there, whether records are safe, what is slow.",
    variables: &[("network", "Network", "label_values(potluck_node_info, network)")],
    rows: &[
        Row {
            title: "Is it well?",
            panels: &[
                number(
                    "Nodes up",
                    "Nodes that answered the last scrape.",
                    "none",
                    &[("count(potluck_node_info{network=\"$network\"})", "")],
                ),
                number(
                    "Not ok",
                    "Nodes that are degraded or offline; potluck doctor there names the reason.",
                    "none",
                    &[("count(potluck_health > 0) or vector(0)", "")],
                ),
                number(
                    "Too few replicas",
                    "Surveyed records with fewer replicas than wanted, summed over the nodes that hold them.",
                    "none",
                    &[("sum(potluck_records_under_replicated)", "")],
                ),
                number(
                    "In conflict",
                    "Records with more than one value, at the node that has most of them.",
                    "none",
                    &[("max(potluck_records_conflicted)", "")],
                ),
                number(
                    "Stores stopped",
                    "Nodes whose store stopped after a disk error.",
                    "none",
                    &[("sum(potluck_store_stopped)", "")],
                ),
                number(
                    "Versions",
                    "Versions of the program that run.",
                    "none",
                    &[("count(count by (version) (potluck_build_info))", "")],
                ),
            ],
        },
        Row {
            title: "Members",
            panels: &[
                graph(
                    "Members alive, as each node sees it",
                    "Lines that part for long mean a split.",
                    "none",
                    &[("potluck_members_alive", "{{instance}}")],
                ),
                graph(
                    "Suspicions",
                    "Suspicions raised, refuted and confirmed a minute, all nodes.",
                    "none",
                    &[
                        ("sum(rate(potluck_members_raised_total[5m])) * 60", "raised"),
                        ("sum(rate(potluck_members_refuted_total[5m])) * 60", "refuted"),
                        ("sum(rate(potluck_members_confirmed_total[5m])) * 60", "confirmed"),
                    ],
                ),
            ],
        },
        Row {
            title: "Records",
            panels: &[
                graph(
                    "Reads",
                    "How long reads take over all nodes: upper bounds, each at most twice the time.",
                    "s",
                    &[
                        (
                            "histogram_quantile(0.50, sum by (le) (rate(potluck_kv_get_seconds_bucket[5m])))",
                            "half",
                        ),
                        (
                            "histogram_quantile(0.99, sum by (le) (rate(potluck_kv_get_seconds_bucket[5m])))",
                            "99 %",
                        ),
                    ],
                ),
                graph(
                    "Writes",
                    "How long writes take until enough replicas acknowledged, over all nodes.",
                    "s",
                    &[
                        (
                            "histogram_quantile(0.50, sum by (le) (rate(potluck_kv_put_seconds_bucket[5m])))",
                            "half",
                        ),
                        (
                            "histogram_quantile(0.99, sum by (le) (rate(potluck_kv_put_seconds_bucket[5m])))",
                            "99 %",
                        ),
                    ],
                ),
                graph(
                    "Operations a second",
                    "Reads, writes and failed commands, all nodes.",
                    "ops",
                    &[
                        ("sum(rate(potluck_kv_gets_total[5m]))", "reads"),
                        (
                            "sum(rate(potluck_kv_puts_total[5m])) + sum(rate(potluck_kv_operations_total[5m]))",
                            "writes",
                        ),
                        ("sum(rate(potluck_kv_commands_failed_total[5m]))", "failed"),
                    ],
                ),
            ],
        },
        Row {
            title: "What uses the line",
            panels: &[
                stack(
                    "Sent by purpose",
                    "Bytes a second that all nodes send, by what they are for.",
                    "Bps",
                    &[(
                        "sum by (purpose) (rate(potluck_bytes_total{direction=\"out\"}[5m]))",
                        "{{purpose}}",
                    )],
                ),
                graph(
                    "Nodes that send most",
                    "The five nodes that send most.",
                    "Bps",
                    &[(
                        "topk(5, sum by (instance) (rate(potluck_bytes_total{direction=\"out\"}[5m])))",
                        "{{instance}}",
                    )],
                ),
            ],
        },
        Row {
            title: "Which machine is the sick one?",
            panels: &[
                graph(
                    "Timers late",
                    "Delay of the latest timer. A node that is late suspects others and is suspected.",
                    "s",
                    &[("topk(5, potluck_loop_lag_max_seconds)", "{{instance}}")],
                ),
                graph(
                    "Requests without an answer",
                    "Requests that ran out of tries, the five nodes with most.",
                    "ops",
                    &[("topk(5, rate(potluck_link_requests_failed_total[5m]))", "{{instance}}")],
                ),
                table(
                    "Nodes",
                    "Health (0 ok, 1 degraded, 2 offline) of each node.",
                    &[(
                        "potluck_health * on (instance) group_left (admission, mode, reachability) potluck_node_info{network=\"$network\"}",
                        "",
                    )],
                ),
            ],
        },
    ],
};

const NODE: Board = Board {
    file: "potluck-node.json",
    uid: "potluck-node",
    title: "Potluck: one node",
    about: "One node: what it does, what it holds, how long it takes, what bounds it.",
    variables: &[("instance", "Node", "label_values(potluck_node_info, instance)")],
    rows: &[
        Row {
            title: "Now",
            panels: &[
                number(
                    "Health",
                    "0 ok, 1 degraded, 2 offline.",
                    "none",
                    &[("potluck_health{instance=\"$instance\"}", "")],
                ),
                number(
                    "Up for",
                    "Since the start of the process.",
                    "s",
                    &[("potluck_uptime_seconds{instance=\"$instance\"}", "")],
                ),
                number(
                    "Members alive",
                    "Other members that answer.",
                    "none",
                    &[("potluck_members_alive{instance=\"$instance\"}", "")],
                ),
                number(
                    "Records",
                    "Keys that it holds as a replica.",
                    "none",
                    &[("potluck_store_records{instance=\"$instance\"}", "")],
                ),
                number(
                    "Disk free",
                    "On the disk of the data folder.",
                    "bytes",
                    &[("potluck_disk_free_bytes{instance=\"$instance\"}", "")],
                ),
                number(
                    "Memory",
                    "Of the process.",
                    "bytes",
                    &[("potluck_memory_bytes{instance=\"$instance\"}", "")],
                ),
            ],
        },
        Row {
            title: "Commands",
            panels: &[
                graph(
                    "Reads",
                    "How long reads that began here take.",
                    "s",
                    &[
                        (
                            "histogram_quantile(0.50, rate(potluck_kv_get_seconds_bucket{instance=\"$instance\"}[5m]))",
                            "half",
                        ),
                        (
                            "histogram_quantile(0.99, rate(potluck_kv_get_seconds_bucket{instance=\"$instance\"}[5m]))",
                            "99 %",
                        ),
                    ],
                ),
                graph(
                    "Writes",
                    "How long writes that began here take.",
                    "s",
                    &[
                        (
                            "histogram_quantile(0.50, rate(potluck_kv_put_seconds_bucket{instance=\"$instance\"}[5m]))",
                            "half",
                        ),
                        (
                            "histogram_quantile(0.99, rate(potluck_kv_put_seconds_bucket{instance=\"$instance\"}[5m]))",
                            "99 %",
                        ),
                    ],
                ),
                graph(
                    "Lookups",
                    "How long lookups of commands take.",
                    "s",
                    &[
                        (
                            "histogram_quantile(0.50, rate(potluck_lookup_seconds_bucket{instance=\"$instance\"}[5m]))",
                            "half",
                        ),
                        (
                            "histogram_quantile(0.99, rate(potluck_lookup_seconds_bucket{instance=\"$instance\"}[5m]))",
                            "99 %",
                        ),
                    ],
                ),
            ],
        },
        Row {
            title: "HTTP",
            panels: &[
                graph(
                    "Requests a second",
                    "Requests of the API by what they are about.",
                    "reqps",
                    &[(
                        "sum by (request) (rate(potluck_http_request_seconds_count{instance=\"$instance\"}[5m]))",
                        "{{request}}",
                    )],
                ),
                graph(
                    "99 % of requests",
                    "How long the API takes, by what requests are about.",
                    "s",
                    &[(
                        "histogram_quantile(0.99, sum by (request, le) (rate(potluck_http_request_seconds_bucket{instance=\"$instance\"}[5m])))",
                        "{{request}}",
                    )],
                ),
            ],
        },
        Row {
            title: "Line",
            panels: &[
                stack(
                    "Received by purpose",
                    "Bytes a second, by what they are for.",
                    "Bps",
                    &[(
                        "sum by (purpose) (rate(potluck_bytes_total{instance=\"$instance\", direction=\"in\"}[5m]))",
                        "{{purpose}}",
                    )],
                ),
                stack(
                    "Sent by purpose",
                    "Bytes a second, by what they are for.",
                    "Bps",
                    &[(
                        "sum by (purpose) (rate(potluck_bytes_total{instance=\"$instance\", direction=\"out\"}[5m]))",
                        "{{purpose}}",
                    )],
                ),
                graph(
                    "Dropped datagrams",
                    "Datagrams a second that were dropped, by why.",
                    "pps",
                    &[(
                        "sum by (reason) (rate(potluck_link_dropped_total{instance=\"$instance\"}[5m])) > 0",
                        "{{reason}}",
                    )],
                ),
            ],
        },
        Row {
            title: "Store and repair",
            panels: &[
                graph(
                    "Rows",
                    "Bytes of all rows, which the limit counts, and that limit if there is one.",
                    "bytes",
                    &[
                        ("potluck_store_row_bytes{instance=\"$instance\"}", "rows"),
                        ("potluck_store_disk_limit_bytes{instance=\"$instance\"}", "limit"),
                    ],
                ),
                graph(
                    "Repair",
                    "Differences found with other replicas, and records pulled, a second.",
                    "ops",
                    &[
                        (
                            "rate(potluck_kv_differences_found_total{instance=\"$instance\"}[5m])",
                            "differences",
                        ),
                        (
                            "rate(potluck_kv_keys_pulled_total{instance=\"$instance\"}[5m])",
                            "pulled",
                        ),
                    ],
                ),
                graph(
                    "Survey of records",
                    "Of the records asked about: how many, with too few replicas, in conflict.",
                    "none",
                    &[
                        ("potluck_records_surveyed{instance=\"$instance\"}", "asked about"),
                        (
                            "potluck_records_under_replicated{instance=\"$instance\"}",
                            "too few replicas",
                        ),
                        ("potluck_records_conflicted{instance=\"$instance\"}", "in conflict"),
                    ],
                ),
            ],
        },
        Row {
            title: "Machine",
            panels: &[
                graph(
                    "Timers late",
                    "Delay of the node's own timers.",
                    "s",
                    &[
                        ("potluck_loop_lag_seconds{instance=\"$instance\"}", "typical"),
                        ("potluck_loop_lag_max_seconds{instance=\"$instance\"}", "latest"),
                    ],
                ),
                graph(
                    "Messages of topics",
                    "Delivered, and copies that had come before, a second.",
                    "mps",
                    &[
                        (
                            "rate(potluck_topics_messages_delivered_total{instance=\"$instance\"}[5m])",
                            "delivered",
                        ),
                        (
                            "rate(potluck_topics_duplicates_total{instance=\"$instance\"}[5m])",
                            "copies",
                        ),
                    ],
                ),
                graph(
                    "Files",
                    "Bytes of files a second.",
                    "Bps",
                    &[
                        (
                            "rate(potluck_calls_frame_bytes_received_total{instance=\"$instance\"}[5m])",
                            "received",
                        ),
                        (
                            "rate(potluck_calls_frame_bytes_sent_total{instance=\"$instance\"}[5m])",
                            "sent",
                        ),
                    ],
                ),
            ],
        },
    ],
};

type Queries = &'static [(&'static str, &'static str)];

const fn number(
    title: &'static str,
    about: &'static str,
    unit: &'static str,
    queries: Queries,
) -> Panel {
    Panel { title, about, shape: Shape::Number, unit, queries }
}

const fn graph(
    title: &'static str,
    about: &'static str,
    unit: &'static str,
    queries: Queries,
) -> Panel {
    Panel { title, about, shape: Shape::Graph, unit, queries }
}

const fn stack(
    title: &'static str,
    about: &'static str,
    unit: &'static str,
    queries: Queries,
) -> Panel {
    Panel { title, about, shape: Shape::Stack, unit, queries }
}

const fn table(title: &'static str, about: &'static str, queries: Queries) -> Panel {
    Panel { title, about, shape: Shape::Table, unit: "none", queries }
}
