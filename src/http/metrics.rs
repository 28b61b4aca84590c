//! `/metrics`: all counters and gauges in the text format of Prometheus.
//!
//! Each part counts for itself, and each number is declared beside its field with its name, help, kind and
//! unit (`potluck_base::statistics`). This module has no list of them: it shows every statistic of every
//! group that a node has. A registry is made for each scrape, since the numbers are copies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use potluck::NodeStats;
use potluck_base::statistics::{self, Number, Statistic, Statistics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::app::App;
use super::problem::Problem;
use super::views;

mod classic;
mod families;
mod known;
mod ranges;
#[cfg(test)]
mod tests;
mod timing;

use classic::classic;
use families::{Families, Known};
use ranges::Ranges;
use timing::Timing;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

potluck_base::statistics! {
    /// Answers of the HTTP API, by the hundreds of their status.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(super) struct HttpStats in "http" {
        /// HTTP answers with a status below 400.
        counter answers_good: u64,
        /// HTTP answers with a status of 400 to 499.
        counter answers_refused: u64,
        /// HTTP answers with a status from 500 on.
        counter answers_failed: u64,
    }
}

/// The counting side of [`HttpStats`].
#[derive(Debug, Default)]
pub(super) struct HttpCounters {
    classes: [AtomicU64; 6],
    /// How long requests took.
    pub(super) timing: Timing,
}

impl HttpCounters {
    pub(super) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).min(self.classes.len() - 1);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> HttpStats {
        let of_class = |class: usize| self.classes[class].load(Ordering::Relaxed);
        HttpStats {
            answers_good: (0..4).map(of_class).sum(),
            answers_refused: of_class(4),
            answers_failed: of_class(5),
        }
    }
}

/// Numbers with their declarations.
#[derive(Debug, Default)]
struct Samples(Vec<(&'static Statistic, Number)>);

impl Samples {
    fn take(&mut self, group: &impl Statistics) {
        group.visit(&mut |what, number| self.0.push((what, number)));
    }
}

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (what, number) in self.0.iter().filter(|(what, _)| !families::is_merged(what)) {
            // The format asks for seconds.
            let micros = what.unit == statistics::Unit::Microseconds;
            let scaled = if micros { number.as_f64() / 1e6 } else { number.as_f64() };
            match what.kind {
                statistics::Kind::Counter if !micros => {
                    put(&mut encoder, what, &ConstCounter::new(number.as_u64()))?;
                }
                statistics::Kind::Counter => {
                    put(&mut encoder, what, &ConstCounter::new(scaled))?;
                }
                statistics::Kind::Gauge => put(&mut encoder, what, &ConstGauge::new(scaled))?,
                statistics::Kind::Histogram => put(&mut encoder, what, &Ranges::of(number))?,
            }
        }
        Ok(())
    }
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    what: &Statistic,
    metric: &impl EncodeMetric,
) -> Result<(), std::fmt::Error> {
    let (name, unit) = split(what);
    let help = what.help.trim_end_matches('.');
    metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
}

/// The name without its unit, and the unit, if the name ends in it: the format allows a unit only there.
fn split(what: &Statistic) -> (&'static str, Option<Unit>) {
    let (suffix, unit) = match what.unit {
        statistics::Unit::Count | statistics::Unit::Flag => return (what.name, None),
        statistics::Unit::Bytes => ("_bytes", Unit::Bytes),
        statistics::Unit::Seconds => ("_seconds", Unit::Seconds),
        statistics::Unit::Microseconds => ("_microseconds", Unit::Seconds),
    };
    match what.name.strip_suffix(suffix) {
        Some(name) => (name, Some(unit)),
        None => (what.name, None),
    }
}

/// The registry of one scrape.
fn registry(samples: Samples, families: Option<Families>, timing: &Timing) -> Registry {
    let mut registry = Registry::with_prefix("potluck");
    if let Some(families) = families {
        registry.register_collector(Box::new(families));
    }
    timing.register(&mut registry);
    registry.register_collector(Box::new(samples));
    registry
}

fn text(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(text)
}

fn samples(stats: &NodeStats, http: &HttpStats) -> Samples {
    let mut samples = Samples::default();
    samples.take(stats);
    samples.take(http);
    samples
}

/// All counters, gauges and histograms: as OpenMetrics if that is accepted, else in the text format 0.0.4 of
/// Prometheus.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, content((String = "text/plain"), (String = "application/openmetrics-text")))))]
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let node = app.node();
    let stats = node.stats().await.map_err(|_| Problem::stopped())?;
    let health = node.health().await.ok().map(|verdict| verdict.health);
    let mode = node.members().await.map_or("unknown", |view| view.mode.as_str());
    let reachability = node.view().await.map_or("unknown", |view| views::reachability(&view));
    let labels = [
        ("network", node.network().name.clone()),
        ("admission", node.network().admission.to_string()),
        ("mode", mode.to_owned()),
        ("reachability", reachability.to_owned()),
    ];
    let samples = samples(&stats, &app.counters().read());
    let known = Known { health, node: labels, gauges: known::gauges(&app) };
    let families = Families::new(&stats, &samples.0, known);
    let text = text(&registry(samples, Some(families), &app.counters().timing));
    let text = text.map_err(|_| Problem::unexpected())?;
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok());
    let (kind, text) = if accepted.into_iter().any(|it| it.contains("application/openmetrics-text"))
    {
        (OPEN_METRICS, text)
    } else {
        (CLASSIC, classic(&text))
    };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// For fuzz targets: the classic format says what OpenMetrics says, line by line.
#[cfg(feature = "fuzzing")]
pub(super) fn check_classic(text: &str, say: &mut crate::fuzzing::Say<'_>) {
    let made = classic(text);
    let kept = text.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF").count();
    assert_eq!(made.lines().count(), kept, "{made:?}");
    say("classic", false, &(made.len() > text.len()));
}
