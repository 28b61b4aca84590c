//! How long requests of the HTTP API take.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

type Labels = Vec<(&'static str, &'static str)>;

/// The times of all requests since the start, by subject and outcome.
#[derive(Debug, Clone)]
pub(in crate::http) struct Timing {
    seconds: Family<Labels, Histogram, fn() -> Histogram>,
}

/// From half a millisecond to 16 seconds, each bound twice the one before.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

impl Default for Timing {
    fn default() -> Self {
        Self { seconds: Family::new_with_constructor(histogram) }
    }
}

impl Timing {
    /// Records an answered request. `route` is the pattern that its path matches, if any.
    pub(in crate::http) fn observe(
        &self,
        method: &Method,
        route: Option<&str>,
        status: StatusCode,
        took: Duration,
    ) {
        let labels = vec![("request", about(method, route)), ("outcome", outcome(status))];
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "How long requests of the HTTP API took";
        registry.register_with_unit("http_request", help, Unit::Seconds, self.seconds.clone());
    }
}

/// The subject of a request, in one of seven words.
fn about(method: &Method, route: Option<&str>) -> &'static str {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match route {
        Some("/v1/kv/{*name}") if reads => "record_read",
        Some("/v1/kv/{*name}") => "record_write",
        Some(route) if route.starts_with("/v1/files") => "file",
        Some(route) if route.starts_with("/v1/topics/") => "message",
        Some("/v1/search") => "search",
        Some(_) if reads => "look",
        _ => "other",
    }
}

fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        0..400 => "good",
        400..500 => "refused",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_grouped_so_that_series_stay_few() {
        let of = |method, route| about(&method, Some(route));
        assert_eq!(of(Method::GET, "/v1/kv/{*name}"), "record_read");
        assert_eq!(of(Method::DELETE, "/v1/kv/{*name}"), "record_write");
        assert_eq!(of(Method::GET, "/v1/status"), "look");
        assert_eq!(of(Method::POST, "/v1/join"), "other");
        assert_eq!(about(&Method::GET, None), "other");
        assert_eq!(outcome(StatusCode::NOT_MODIFIED), "good");
        assert_eq!(outcome(StatusCode::CONFLICT), "refused");
        assert_eq!(outcome(StatusCode::SERVICE_UNAVAILABLE), "failed");
    }
}
