//! `/v1/overview`: one model of a node and its network, for `top`, the dashboard and programs.
//!
//! **Invariants:** it is computed at most once a second, however many viewers there are; all of it is bounded
//! (a ring of 112,320 bytes, 512 events, 64 surveyed records). A node without viewers only takes one sample a
//! second for its history.

pub(super) mod chronicle;
mod gather;
mod history;
mod lookups;
mod rates;
mod spans;
pub(super) mod survey;
mod transfers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use parking_lot::{Mutex, MutexGuard};
use potluck::ask;
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};

use super::app::App;
use super::doctor::{Minute, row};
use super::extract::Asked;
use super::problem::Problem;
use super::reply::json;
use super::views;
use crate::api::{History, Overview, ProblemBody, Series, rfc3339};
use crate::machine;

pub(super) use gather::host_names;

/// How often the history takes a sample, and how old an overview may be.
const TICK: Duration = Duration::from_secs(1);
/// How long after the last view the survey of records goes on.
const WATCHED: Duration = Duration::from_secs(60);

/// The state that all viewers share.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The last overview. The lock is held while a new one is computed, so that others wait for it.
    last: tokio::sync::Mutex<Option<(Instant, Arc<Overview>)>>,
    rings: Mutex<history::Rings>,
    looks: Mutex<rates::Looks>,
    spans: Mutex<spans::Spans>,
    progress: Mutex<transfers::Progress>,
    survey: Mutex<survey::Survey>,
    pub(super) chronicle: chronicle::Chronicle,
    /// When a viewer last asked.
    looked: Mutex<Option<Instant>>,
    /// The rates of the last second.
    rates: Mutex<rates::PerSecond>,
    minute: Mutex<Minute>,
    /// Held while `doctor` gathers its evidence.
    pub(super) examined: tokio::sync::Mutex<()>,
}

impl Watch {
    /// The rates of the last seconds, as of the last sample.
    pub(super) fn rates(&self) -> rates::PerSecond {
        *self.rates.lock()
    }

    /// How long writes and reads of the last minutes took.
    pub(super) fn commands(&self) -> crate::api::CommandFigures {
        self.spans.lock().figures()
    }

    /// The counters of the last minute.
    pub(super) fn minute(&self) -> MutexGuard<'_, Minute> {
        self.minute.lock()
    }

    /// Someone looks: the survey goes on. Gives what it found so far.
    pub(super) fn look(&self, figures: &mut crate::api::RecordFigures) {
        *self.looked.lock() = Some(Instant::now());
        self.survey.lock().fill(figures);
    }

    fn is_watched(&self) -> bool {
        self.looked.lock().is_some_and(|at| at.elapsed() < WATCHED)
    }
}

/// Takes a sample a second, listens to events and surveys records, until the node stops.
pub(crate) async fn go_on(app: Arc<App>) {
    let watch = app.watch();
    tokio::select! {
        () = watch.chronicle.listen(app.node()) => {}
        () = sample(&app) => {}
        () = keep_surveying(&app) => {}
    }
}

async fn sample(app: &App) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let Ok(stats) = app.node().stats().await else { return };
        let Ok(traces) = app.node().ask(ask::Lookups {}).await else { return };
        let watch = app.watch();
        let counters = rates::Counters::of(&stats, machine::cpu_ms());
        let rates = watch.looks.lock().note(Instant::now(), counters);
        *watch.rates.lock() = rates;
        watch.spans.lock().note(Instant::now(), &stats.node.kv);
        watch.minute.lock().note(Instant::now(), row(&stats));
        let figures = lookups::figures(&traces, rates.lookups);
        let sample = rates::Sample::of(&stats, &rates, &figures);
        watch.rings.lock().push(history::point(&sample));
    }
}

async fn keep_surveying(app: &App) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let watch = app.watch();
        if !watch.is_watched() || !watch.survey.lock().is_due() {
            continue;
        }
        let wanted = survey::wanted(app).await;
        let before = watch.survey.lock().clone();
        let after = survey::step(app.node(), before, wanted, views::now().0).await;
        *watch.survey.lock() = after;
    }
}

/// The figures of these lookups, without a rate.
pub(super) fn lookup_figures(traces: &[potluck::LookupTrace]) -> lookups::Figures {
    lookups::figures(traces, 0.0)
}

/// The overview, of a second ago at most.
pub(super) async fn overview_of(app: &App) -> Result<Arc<Overview>, Problem> {
    let watch = app.watch();
    *watch.looked.lock() = Some(Instant::now());
    let mut last = watch.last.lock().await;
    if let Some((at, overview)) = &*last
        && at.elapsed() < TICK
    {
        return Ok(Arc::clone(overview));
    }
    let overview = Arc::new(gather::overview(app).await?);
    *last = Some((Instant::now(), Arc::clone(&overview)));
    Ok(overview)
}

/// The same for the page that `up` draws; `None` once the node has stopped.
pub(crate) async fn glance(app: &App) -> Option<Arc<Overview>> {
    overview_of(app).await.ok()
}

/// A node and its network on one screen: health, members, transfers, records, lookups, traffic, and the
/// last events. It is computed at most once a second and the same for all viewers.
#[utoipa::path(get, path = "/v1/overview",
    responses(
        (status = 200, body = Overview),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn overview(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    Ok(json(&*overview_of(&app).await?))
}

/// The query of a history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    span: Option<String>,
}

/// The last quarter of an hour second by second, or the last day minute by minute. It is kept in memory
/// and begins anew when the node does.
#[utoipa::path(get, path = "/v1/overview/history",
    params(("span" = Option<String>, Query, description = "`15m` (default) or `24h`")),
    responses(
        (status = 200, body = History),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn history(
    State(app): State<Arc<App>>,
    Asked(query): Asked<HistoryQuery>,
) -> Result<Response, Problem> {
    let by_minutes = match query.span.as_deref() {
        None | Some("15m") => false,
        Some("24h") => true,
        Some(_) => {
            let detail = "span is 15m or 24h";
            return Err(
                Problem::bad("badQuery", detail).hint("leave it out for the last 15 minutes")
            );
        }
    };
    let rings = app.watch().rings.lock();
    let points = rings.points(by_minutes);
    let series = history::SERIES.iter().enumerate().map(|(at, (name, unit))| Series {
        name: (*name).to_owned(),
        unit: (*unit).to_owned(),
        points: points.iter().map(|point| point[at]).collect(),
    });
    Ok(json(&History {
        step_seconds: history::Rings::step_seconds(by_minutes),
        at: rfc3339(views::now().0),
        series: series.collect(),
    }))
}
