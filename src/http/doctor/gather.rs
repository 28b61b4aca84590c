//! Gathers the evidence for `doctor`, from this node, its machine, and the replicas of some records.
//!
//! **Invariant:** it takes at most [`TIME_MAX`], and asks the replicas of at most [`KEYS_MAX`] records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck::{
    Change, EntryPoint, Error, LookupTrace, MemberState, NodeId, NodeStats, QueryOutcome,
    StatusView, ask,
};
use potluck_base::Key;
use potluck_record::NamedState;
use tokio::time::timeout;

use super::super::app::App;
use super::super::extract::Target;
use super::super::overview::survey;
use super::super::overview::{host_names, overview_of};
use super::super::problem::Problem;
use super::super::views;
use super::counters::at;
use crate::api::ReasonView;
use crate::doctor::{
    Certificate, Entry, Evidence, Flap, Load, LookupFacts, Machine, MemberFacts, NodeFacts,
    RecordFacts, Replicas, Settings, Socket, Store, Trouble, thresholds,
};
use crate::machine;

/// Time limit of the requests to other nodes.
const TIME_MAX: Duration = Duration::from_secs(3);
/// Records whose replicas are asked.
const KEYS_MAX: usize = 24;
/// Records that are asked about at the same time.
const AT_ONCE: usize = 12;
/// Time after which a record with too few replicas is asked about again: a record that was being written or
/// copied has its replicas by then.
const AGAIN: Duration = Duration::from_millis(1_200);
/// Time after which the requests to a member that has left are no longer among those of the last minute.
const SETTLED: Duration = Duration::from_secs(75);
/// Pages of names that are looked at.
const PAGES: usize = 4;
/// Shared files that are looked at.
const FILES: usize = 1_000;

/// All evidence that a running node has.
pub(super) async fn evidence(app: &App, named: Option<&str>) -> Result<Evidence, Problem> {
    let node = app.node();
    let stopped = |_: Error| Problem::stopped();
    let named = match named {
        Some(name) => Some(Target::of(node, name, None).await?),
        None => None,
    };
    let status = node.status().await.map_err(stopped)?;
    let stats = node.stats().await.map_err(stopped)?;
    let view = &status.view;
    let asking = async {
        tokio::join!(records(app, &stats, named.as_ref()), entries(app, view), lookup(app))
    };
    let (records, entries, ()) = timeout(TIME_MAX * 2, asking).await.unwrap_or_default();
    let overview = overview_of(app).await?;
    let table = node.ask(ask::Table {}).await.map_err(stopped)?;
    let reason =
        |it: &potluck::Reason| ReasonView { code: it.code.to_owned(), message: it.message.clone() };
    let facts = NodeFacts {
        uptime_seconds: status.uptime.as_secs(),
        reasons: status.health.reasons.iter().map(reason).collect(),
        members: members(app, &stats).await,
        contacts: table.size,
        capacity: table.capacity,
        failing: table.contacts.iter().filter(|contact| contact.failures > 0).count(),
        mapping_varies: view.mapping_varies,
        clock_offset_ms: view.clock_offset_ms,
        entries,
        settings: settings(app).await,
        records,
        lookups: lookups(app, &table, view).await,
        load: load(app, &stats),
        transfers: overview.transfers.clone(),
        changed_shares: changed_shares(app).await,
        store: Store {
            corrupt_rows: stats.store.stats.corrupt_rows,
            quota_refused: stats.store.stats.quota_refused,
            disk_bytes: stats.store.stats.row_bytes,
            disk_limit_bytes: app.live().settings.store.disk_bytes.unwrap_or(0),
        },
        certificate: certificate(app),
    };
    let machine = this_machine(app, &stats);
    Ok(Evidence { node: Some(facts), machine, folder: None })
}

/// The name of a member in findings: its host label and the first digits of its id.
fn called(id: &NodeId, names: &BTreeMap<NodeId, String>) -> String {
    let short: String = id.to_string().chars().take(8).collect();
    match names.get(id) {
        Some(name) => format!("{short} ({name})"),
        None => short,
    }
}

async fn members(app: &App, stats: &NodeStats) -> MemberFacts {
    let names = host_names(app).await;
    let counts = &stats.node.gossip.members;
    let told = app.watch().chronicle.within(thresholds::SILENT_RECENT);
    let view = app.node().members().await.ok();
    let mut unsettled = BTreeSet::new();
    let (mut since, mut flaps, mut revoked) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for entry in &told {
        let (Some(id), Some(change)) = (entry.node, entry.change) else { continue };
        if entry.at.elapsed() <= SETTLED && change != Change::Joined {
            unsettled.insert(id);
        }
        match change {
            Change::Suspected => {
                since.entry(id).or_insert(entry.at);
            }
            Change::Died => {
                since.entry(id).or_insert(entry.at);
            }
            Change::Refuted | Change::Returned => {
                if since.remove(&id).is_some() {
                    *flaps.entry(id).or_insert(0_usize) += 1;
                }
            }
            Change::Left => {
                since.remove(&id);
            }
            Change::Revoked => {
                since.remove(&id);
                revoked.push(called(&id, &names));
            }
            Change::Joined => {}
        }
    }
    let state_of = |id: &NodeId| {
        view.iter().flat_map(|view| &view.members).find(|member| member.peer.id == *id)
    };
    let silent = since.iter().filter_map(|(id, at)| {
        let member = state_of(id)?;
        let state = match member.state {
            MemberState::Suspect => "suspect",
            MemberState::Dead => "dead",
            _ => return None,
        };
        let address = member.peer.contact.address.to_string();
        let (who, state) = (called(id, &names), state.to_owned());
        Some(Trouble { who, address, state, seconds: at.elapsed().as_secs() })
    });
    let flapping = flaps.into_iter().filter(|(_, times)| *times >= thresholds::FLAPS_MIN);
    let mut versions: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    let living = |member: &&potluck::MemberView| member.state == MemberState::Alive;
    for member in view.iter().flat_map(|view| &view.members).filter(living) {
        if let Some(software) = &member.software {
            let speakers = versions.entry(software.version_max).or_default();
            speakers.push(called(&member.peer.id, &names));
        }
    }
    MemberFacts {
        versions,
        alive: counts.alive + 1,
        suspect: counts.suspect,
        dead: counts.dead,
        silent: silent.collect(),
        flapping: flapping.map(|(id, times)| Flap { who: called(&id, &names), times }).collect(),
        unsettled: unsettled.len(),
        revoked,
        isolated: counts.isolated,
        slowness: counts.health,
    }
}

/// The entry points that a user named, and what comes back from those that have not answered.
async fn entries(app: &App, view: &StatusView) -> Vec<Entry> {
    let awaited: Vec<_> = view.entry_points.iter().filter(|point| point.awaited).collect();
    let silent = awaited.iter().any(|point| !point.answered && point.tries > 0);
    let reports = match silent {
        true => timeout(TIME_MAX, app.node().silent_entry_points()).await,
        false => Ok(Ok(Vec::new())),
    };
    let reports = reports.ok().and_then(Result::ok).unwrap_or_default();
    let entry = |point: &&potluck_dht::EntryView| {
        let name = match &point.point {
            EntryPoint::Contact(contact) => contact.address.to_string(),
            EntryPoint::Address(address) => address.to_string(),
            EntryPoint::Name(name) => name.clone(),
        };
        let report = reports.iter().find(|report| report.point == name);
        Entry {
            answered: point.answered,
            tries: point.tries,
            unresolved: report.is_some_and(|report| report.unresolved.is_some()),
            report: report.map(ToString::to_string),
            point: name,
        }
    };
    awaited.iter().map(entry).collect()
}

async fn settings(app: &App) -> Settings {
    let live = app.live();
    let protocol = &live.settings.protocol;
    let stabilisation_seconds = protocol.dht.refresh_interval.as_secs();
    match app.node().network_settings().await {
        Ok(view) => Settings {
            replication: view.effective.replication,
            republish_seconds: view.effective.republish_interval.map(|it| it.as_secs()),
            default_ttl_seconds: view.effective.life_default.as_secs(),
            gossip_interval_ms: view.effective.gossip_interval.as_millis() as u64,
            stabilisation_seconds,
        },
        Err(_) => Settings::default(),
    }
}

/// The records of this node, and the answers of the replicas of some of them. Records with too few replicas
/// are asked about twice.
async fn records(app: &App, stats: &NodeStats, named: Option<&Target>) -> RecordFacts {
    let names = survey::names_here(app.node(), PAGES).await;
    let wanted = survey::wanted(app).await;
    let (now, age) = (views::now().0, thresholds::CONFLICT_AGE.as_millis() as u64);
    let old = |it: &&NamedState| it.values > 1 && it.newest.millis().0 + age < now;
    let conflicted = names.iter().filter(old).map(|it| it.name.to_string()).collect();
    let mut asked = Vec::new();
    if let Some(key) =
        named.and_then(|target| target.name.as_ref().and_then(|it| target.space.key(it)))
    {
        let name = named.and_then(|target| target.name.as_ref()).map(ToString::to_string);
        asked.extend(one(app, &name.unwrap_or_default(), key, wanted).await);
    }
    // Spread over all names, so that each look sees others of them.
    let step = (names.len() / KEYS_MAX).max(1);
    let first = if names.is_empty() { 0 } else { now as usize % step };
    let picked: Vec<&NamedState> =
        names.iter().skip(first).step_by(step).filter(|it| it.values > 0).take(KEYS_MAX).collect();
    for some in picked.chunks(AT_ONCE) {
        let questions = some.iter().map(|state| survey::ask_replicas(app.node(), state, wanted));
        asked.extend(all(questions).await.into_iter().flatten().map(shown));
    }
    again(app, &names, wanted, &mut asked).await;
    let kv = &stats.node.kv;
    RecordFacts {
        held: stats.store.stats.records,
        names: names.len(),
        conflicted,
        asked,
        renewals_late: kv.renewals_late,
        republish_lag_seconds: kv.republish_lag_seconds,
        expiring_7d: kv.expiring_7d,
    }
}

/// Asks again about the records that had too few replicas.
async fn again(app: &App, names: &[NamedState], wanted: usize, asked: &mut [Replicas]) {
    let is_fine = |it: &Replicas| it.equal >= it.wanted && it.behind + it.concurrent == 0;
    if asked.iter().all(is_fine) {
        return;
    }
    tokio::time::sleep(AGAIN).await;
    let wrong: Vec<(usize, &NamedState)> = asked
        .iter()
        .enumerate()
        .filter(|(_, it)| !is_fine(it) && !it.named)
        .filter_map(|(at, it)| {
            Some((at, names.iter().find(|state| state.name.as_str() == it.name)?))
        })
        .take(AT_ONCE)
        .collect();
    let questions = wrong.iter().map(|(_, state)| survey::ask_replicas(app.node(), state, wanted));
    let answers = all(questions).await;
    for ((at, _), answer) in wrong.iter().zip(answers) {
        if let Some(answer) = answer {
            asked[*at] = shown(answer);
        }
    }
}

/// Runs all requests at the same time.
async fn all<T>(questions: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = questions.map(|it| (Box::pin(it), None)).collect();
    std::future::poll_fn(|context| {
        let mut open = false;
        for (question, answer) in waiting.iter_mut().filter(|(_, answer)| answer.is_none()) {
            match question.as_mut().poll(context) {
                std::task::Poll::Ready(it) => *answer = Some(it),
                std::task::Poll::Pending => open = true,
            }
        }
        if open { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, answer)| answer).collect()
}

/// The answers of the replicas of the record that a user named.
async fn one(app: &App, name: &str, key: Key, wanted: usize) -> Option<Replicas> {
    // Asked first: the read brings replicas up to date.
    let subject = survey::Subject { name, key, values: 0 };
    let asked = survey::ask_key(app.node(), subject, wanted).await?;
    let read = app.node().ask(ask::Get { key, quorum: None }).await.ok();
    let values = read.map(|done| done.reading.values.len() as u32);
    let absent = values == Some(0);
    Some(Replicas { named: true, absent, values: values.unwrap_or(0), ..shown(asked) })
}

fn shown(asked: survey::Asked) -> Replicas {
    let others =
        asked.others.iter().map(|(id, state)| format!("{} is {state}", id.get(..8).unwrap_or(id)));
    Replicas {
        wanted: asked.wanted,
        equal: asked.equal,
        behind: asked.behind,
        concurrent: asked.concurrent,
        missing: asked.missing,
        silent: asked.silent,
        values: asked.values,
        others: others.collect(),
        named: false,
        absent: false,
        name: asked.name,
    }
}

/// One lookup of a random key, so that the report has a current figure.
async fn lookup(app: &App) {
    let key = Key::from_bytes(*app.node().node_id().as_bytes());
    let far = Key::from_bytes(key.as_bytes().map(|byte| !byte));
    // What became of it is among the last lookups.
    let _ = timeout(TIME_MAX, app.node().ask(ask::Trace { key: far })).await;
}

/// Requests of lookups and those without an answer, step by step.
fn steps(traces: &[LookupTrace]) -> Vec<(usize, usize)> {
    let mut steps = Vec::new();
    for query in traces.iter().flat_map(|trace| &trace.queries) {
        let at = usize::from(query.hop);
        if steps.len() <= at {
            steps.resize(at + 1, (0, 0));
        }
        steps[at].0 += 1;
        steps[at].1 += usize::from(query.outcome == QueryOutcome::TimedOut);
    }
    steps
}

async fn lookups(app: &App, table: &potluck::TableView, view: &StatusView) -> LookupFacts {
    let mut traces = app.node().ask(ask::Lookups {}).await.unwrap_or_default();
    let uptime = app.node().status().await.map_or(Duration::MAX, |status| status.uptime);
    let age = |trace: &LookupTrace| {
        uptime.saturating_sub(Duration::from_micros(trace.started.as_micros()))
    };
    traces.retain(|trace| age(trace) <= thresholds::LOOKUP_AGE);
    let figures = super::super::overview::lookup_figures(&traces);
    let mut trips: Vec<f64> =
        table.contacts.iter().filter_map(|it| it.rtt).map(views::millis).collect();
    trips.sort_by(f64::total_cmp);
    LookupFacts {
        count: figures.count,
        p50_ms: figures.p50_ms,
        p99_ms: figures.p99_ms,
        failed: figures.failed,
        hops_mean: figures.hops_mean,
        hops_max: figures.hops_max,
        requests: figures.requests,
        timeouts: figures.timeouts,
        commands: app.watch().commands(),
        steps: steps(&traces),
        round_trip_ms: trips.get(trips.len() / 2).copied().unwrap_or(0.0),
        network_size: view.network_size_estimate,
    }
}

fn load(app: &App, stats: &NodeStats) -> Load {
    let minute = app.watch().minute();
    let (sums, now) = (minute.sums(), minute.per_second());
    Load {
        cpu_percent: app.watch().rates().cpu_percent,
        messages_in: now[at::MESSAGES_IN],
        messages_out: now[at::MESSAGES_OUT],
        lookups: now[at::LOOKUPS],
        refused: now[at::LOOKUPS_REFUSED] + now[at::BUSY],
        coalesced: now[at::READS_SHARED],
        reads: now[at::READS],
        gossip: now[at::GOSSIP],
        duplicates: now[at::DUPLICATES],
        over_rate: now[at::OVER_RATE],
        requests_minute: sums[at::REQUESTS],
        retries_minute: sums[at::RETRIES],
        loop_lag_ms: views::millis(stats.drive.lag_max),
        waiting_for_disk: stats.drive.storage_kept_back,
    }
}

async fn changed_shares(app: &App) -> usize {
    let Ok(page) = app.node().files().page(None, FILES).await else { return 0 };
    let changed = |file: &&potluck::FileEntry| file.state == potluck::FileState::Changed;
    page.files.iter().filter(changed).count()
}

fn certificate(app: &App) -> Option<Certificate> {
    let membership = app.node().membership().ok()?;
    let left = membership.expires().0 as i64 - views::now().0 as i64;
    Some(Certificate {
        seconds_left: left / 1000,
        is_issuer: membership.is_issuer(),
        trouble: membership.trouble(),
    })
}

fn this_machine(app: &App, stats: &NodeStats) -> Machine {
    let disk = machine::disk_space(app.node().data_dir());
    let descriptors = machine::descriptors();
    let ports = app.node().local_addresses().iter().map(std::net::SocketAddr::port);
    let drops = ports.filter_map(machine::udp_drops).max();
    let now = app.watch().minute().per_second();
    Machine {
        disk_free_bytes: disk.map(|(free, _)| free),
        disk_total_bytes: disk.map(|(_, total)| total),
        disk_pressure_percent: machine::disk_pressure(),
        memory_bytes: stats.memory_bytes,
        memory_limit_bytes: machine::memory_limit(),
        memory_wanted_bytes: Some(app.live().settings.store.memory_bytes),
        descriptors_max: descriptors.map(|(max, _)| max),
        descriptors_open: descriptors.map(|(_, open)| open),
        socket: Some(Socket {
            receive_buffer_bytes: stats.socket_buffers.receive_bytes as u64,
            receive_buffer_limit: machine::receive_buffer_limit(),
            drops,
            send_failed: now[at::SEND_FAILED],
            send_full: now[at::SEND_FULL],
        }),
    }
}
