//! Figures of the last lookups.

use potluck::{LookupOutcome, LookupTrace, QueryOutcome};

use crate::api::LookupFigures;

pub(super) type Figures = LookupFigures;

/// The figures of these lookups.
pub(super) fn figures(traces: &[LookupTrace], per_second: f64) -> Figures {
    // A lookup that asked no other node says nothing about the network.
    let asked: Vec<&LookupTrace> = traces.iter().filter(|it| !it.queries.is_empty()).collect();
    let mut took: Vec<f64> = asked.iter().map(|it| it.took.as_secs_f64() * 1000.0).collect();
    took.sort_by(f64::total_cmp);
    let failed = |it: &&&LookupTrace| match it.outcome {
        LookupOutcome::Converged | LookupOutcome::Satisfied => false,
        LookupOutcome::Exhausted | LookupOutcome::OutOfBudget => true,
    };
    let queries = || asked.iter().flat_map(|it| &it.queries);
    let hops: usize = asked.iter().map(|it| usize::from(it.hops)).sum();
    LookupFigures {
        count: asked.len(),
        p50_ms: quantile(&took, 0.5),
        p99_ms: quantile(&took, 0.99),
        failed: asked.iter().filter(failed).count(),
        hops_mean: tenths(hops as f64 / asked.len().max(1) as f64),
        hops_max: asked.iter().map(|it| it.hops).max().unwrap_or(0),
        requests: queries().count(),
        timeouts: queries().filter(|it| it.outcome == QueryOutcome::TimedOut).count(),
        per_second,
    }
}

/// The smallest of the sorted values that at least this share of them does not exceed; 0 if there are none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    tenths(sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0))
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_met() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99)), (50.0, 99.0));
        assert_eq!((quantile(&[], 0.99), quantile(&[7.0], 0.5)), (0.0, 7.0));
    }

    #[test]
    fn no_lookups_are_no_figures() {
        let none = figures(&[], 0.0);
        assert_eq!((none.count, none.hops_max, none.requests), (0, 0, 0));
        assert_eq!(none.hops_mean, 0.0);
    }
}
