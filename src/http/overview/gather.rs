//! Computes the overview from the state of a node.

use std::collections::BTreeMap;

use potluck::{Error, NodeId, NodeStats, Status, ask};

use super::super::app::App;
use super::super::problem::Problem;
use super::super::views;
use super::chronicle::Entry;
use super::rates::PerSecond;
use super::{lookups, survey, transfers};
use crate::api::{
    Happening, HealthView, Machine, NetworkCounts, Overview, Purpose, ReasonView, RecordFigures,
    Traffic, rfc3339,
};
use crate::machine;

/// Events on the first screen.
const EVENTS: usize = 10;

/// Computes the overview.
pub(super) async fn overview(app: &App) -> Result<Overview, Problem> {
    let node = app.node();
    let stopped = |_: Error| Problem::stopped();
    let status = node.status().await.map_err(stopped)?;
    let stats = node.stats().await.map_err(stopped)?;
    let traces = node.ask(ask::Lookups {}).await.map_err(stopped)?;
    let names = host_names(app).await;
    let rates = app.watch().rates();
    let around = transfers::Conditions {
        cap: app.live().settings.files.download_rate,
        cpu_percent: rates.cpu_percent,
        disk_percent: machine::disk_pressure(),
    };
    let jobs = app.jobs().views();
    let transfers = app.watch().progress.lock().shown(&jobs, &around);
    let mut records = RecordFigures {
        held: stats.store.stats.records,
        bytes: stats.store.stats.record_bytes,
        wanted: u16::try_from(survey::wanted(app).await).unwrap_or(u16::MAX),
        expiring_7d: stats.node.kv.expiring_7d,
        renewals_late: stats.node.kv.renewals_late,
        ..RecordFigures::default()
    };
    app.watch().survey.lock().fill(&mut records);
    let events = app.watch().chronicle.last(EVENTS);
    Ok(Overview {
        at: rfc3339(views::now().0),
        health: health(&status),
        machine: this_machine(app, &status, &stats, &names).await,
        network: network(app, &stats, &status),
        traffic: traffic(&rates),
        lookups: lookups::figures(&traces, rates.lookups),
        commands: app.watch().commands(),
        records,
        transfers,
        events: events.iter().map(|entry| happening(entry, &names)).collect(),
    })
}

/// The host labels of the members.
pub(in crate::http) async fn host_names(app: &App) -> BTreeMap<NodeId, String> {
    let Ok(view) = app.node().members().await else { return BTreeMap::new() };
    let named = view.members.into_iter().filter_map(|member| {
        let host = member.labels.into_iter().find(|(name, _)| name == "host")?;
        Some((member.peer.id, host.1))
    });
    named.collect()
}

pub(super) fn health(status: &Status) -> HealthView {
    let reason =
        |it: &potluck::Reason| ReasonView { code: it.code.to_owned(), message: it.message.clone() };
    HealthView {
        health: status.health.health.as_str().to_owned(),
        sentence: status.health.sentence(),
        reasons: status.health.reasons.iter().map(reason).collect(),
    }
}

async fn this_machine(
    app: &App,
    status: &Status,
    stats: &NodeStats,
    names: &BTreeMap<NodeId, String>,
) -> Machine {
    let id = app.node().node_id();
    // A node whose files cannot be counted is shown with none.
    let files = app.node().files().totals().await.unwrap_or_default();
    let disk = machine::disk_space(app.node().data_dir());
    Machine {
        node_id: id.to_string(),
        name: names.get(&id).cloned().unwrap_or_default(),
        contact: status.view.contact.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: status.uptime.as_secs(),
        reachability: views::reachability(&status.view).to_owned(),
        clock_offset_ms: status.view.clock_offset_ms,
        cpu_percent: app.watch().rates().cpu_percent,
        memory_bytes: stats.memory_bytes.unwrap_or(0),
        memory_limit_bytes: machine::memory_limit().unwrap_or(0),
        disk_bytes: stats.store.stats.disk_bytes,
        disk_limit_bytes: app.live().settings.store.disk_bytes.unwrap_or(0),
        disk_free_bytes: disk.map_or(0, |(free, _)| free),
        files: files.files,
        file_bytes: files.bytes,
        loop_lag_ms: views::millis(stats.drive.lag_max),
    }
}

fn network(app: &App, stats: &NodeStats, status: &Status) -> NetworkCounts {
    let members = &stats.node.gossip.members;
    NetworkCounts {
        name: app.node().network().name.clone(),
        alive: members.alive + 1,
        suspect: members.suspect,
        dead: members.dead,
        left: members.left,
        peers: status.view.peers,
        size_estimate: status.view.network_size_estimate,
        neighbours: stats.node.gossip.topics.system_active,
    }
}

fn traffic(rates: &PerSecond) -> Traffic {
    let of = |purpose: &str, bytes: crate::api::InOut| Purpose {
        purpose: purpose.to_owned(),
        r#in: bytes.r#in,
        out: bytes.out,
    };
    Traffic {
        bytes_per_second: rates.socket_bytes,
        messages_per_second: rates.datagrams,
        purposes: potluck_wire::Purpose::ALL
            .into_iter()
            .zip(rates.purposes)
            .map(|(purpose, bytes)| of(purpose.as_str(), bytes))
            .collect(),
    }
}

fn happening(entry: &Entry, names: &BTreeMap<NodeId, String>) -> Happening {
    let called = entry.node.map(|id| {
        let short: String = id.to_string().chars().take(8).collect();
        match names.get(&id) {
            Some(name) => format!("{name} ({short}) "),
            None => format!("{short} "),
        }
    });
    Happening {
        at: rfc3339(entry.unix_ms),
        seconds_ago: entry.at.elapsed().as_secs(),
        tone: entry.tone.as_str().to_owned(),
        what: format!("{}{}", called.unwrap_or_default(), entry.what),
        node: entry.node.map(|id| id.to_string()),
    }
}
