//! Gauges of what the parts of a node do not count: limits, the certificate, the survey of records.

use prometheus_client::registry::Unit;

use super::super::app::App;
use super::super::views;
use crate::api::RecordFigures;
use crate::machine;

/// A gauge: its name, its unit, its help and its number, if it has one.
type Gauge = (&'static str, Option<Unit>, &'static str, Option<f64>);

/// The gauges of now. To be scraped counts as a look at the records, so the survey of them goes on.
pub(super) fn gauges(app: &App) -> Vec<Gauge> {
    let mut records = RecordFigures::default();
    app.watch().look(&mut records);
    let surveyed = records.surveyed_seconds_ago.is_some();
    let of_survey = |count: usize| surveyed.then_some(count as f64);
    let membership = app.node().membership().ok();
    let certificate =
        membership.map(|own| (own.expires().0 as f64 - views::now().0 as f64) / 1000.0);
    let free = machine::disk_space(app.node().data_dir()).map(|(free, _)| free as f64);
    let limit = app.live().settings.store.disk_bytes.map(|bytes| bytes as f64);
    vec![
        (
            "certificate_left",
            Some(Unit::Seconds),
            "Until the certificate of this node ends; only in invite networks",
            certificate,
        ),
        ("disk_free", Some(Unit::Bytes), "Free on the disk that holds the data folder", free),
        (
            "store_disk_limit",
            Some(Unit::Bytes),
            "What the rows of the store may take; only where a limit is set",
            limit,
        ),
        (
            "records_surveyed",
            None,
            "Records held here whose replicas were asked lately",
            of_survey(records.surveyed),
        ),
        (
            "records_under_replicated",
            None,
            "Of the surveyed records those with fewer replicas than wanted",
            of_survey(records.under_replicated),
        ),
        (
            "records_conflicted",
            None,
            "Records held here with more than one value",
            of_survey(records.conflicted),
        ),
    ]
}
