//! `/metrics`: all counters and gauges in the text format of Prometheus.
//!
//! The parts count by themselves; here their numbers get names. A registry is made for each
//! scrape, since the numbers are copies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::app::App;
use super::problem::Problem;
use samples::samples;

mod samples;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers of the HTTP API, by the hundreds of their status.
#[derive(Debug, Default)]
pub(super) struct HttpCounters {
    classes: [AtomicU64; 6],
}

impl HttpCounters {
    pub(super) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).min(self.classes.len() - 1);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
    }

    fn good(&self) -> u64 {
        (0..4).map(|class| self.classes[class].load(Ordering::Relaxed)).sum()
    }

    fn of_class(&self, class: usize) -> u64 {
        self.classes[class].load(Ordering::Relaxed)
    }
}

/// One number with its name.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: &'static str,
    help: &'static str,
    number: Number,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    /// It only grows.
    Counter(u64),
    /// It goes up and down.
    Gauge(f64),
}

#[derive(Debug)]
struct Samples(Vec<Sample>);

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for Sample { name, help, number } in &self.0 {
            match number {
                Number::Counter(value) => {
                    let metric = ConstCounter::new(*value);
                    let encoder =
                        encoder.encode_descriptor(name, help, None, metric.metric_type())?;
                    metric.encode(encoder)?;
                }
                Number::Gauge(value) => {
                    let metric = ConstGauge::new(*value);
                    let encoder =
                        encoder.encode_descriptor(name, help, None, metric.metric_type())?;
                    metric.encode(encoder)?;
                }
            }
        }
        Ok(())
    }
}

fn text(samples: Vec<Sample>) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("potluck");
    registry.register_collector(Box::new(Samples(samples)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// All counters and gauges.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let stats = app.node().stats().await.map_err(|_| Problem::stopped())?;
    let text = text(samples(&stats, app.counters())).map_err(|_| Problem::unexpected())?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_out_as_the_format_wants_them() {
        let samples = vec![
            Sample { name: "puts", help: "Writes", number: Number::Counter(3) },
            Sample { name: "peers", help: "Contacts", number: Number::Gauge(1.5) },
        ];
        let text = text(samples).expect("encodes");
        assert!(text.contains("# TYPE potluck_puts counter\npotluck_puts_total 3\n"), "{text}");
        assert!(text.contains("# TYPE potluck_peers gauge\npotluck_peers 1.5\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
