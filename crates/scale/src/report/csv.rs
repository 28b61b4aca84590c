//! A report's measurements as rows of CSV (RFC 4180), one a measurement.

use std::fmt::Write as _;

use super::Report;

/// The rows, with a head.
#[must_use]
pub fn csv(report: &Report) -> String {
    let mut text = String::from("study,level,nodes,seed,parameter,metric,value,unit\r\n");
    for fact in &report.facts {
        let cells = [report.study, fact.level, &fact.parameter, fact.metric, fact.unit].map(quoted);
        let [study, level, parameter, metric, unit] = cells;
        let _ = write!(
            text,
            "{study},{level},{},{},{parameter},{metric},{},{unit}\r\n",
            fact.nodes, fact.seed, fact.value
        );
    }
    text
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\r', '\n']) {
        return format!("\"{}\"", cell.replace('"', "\"\""));
    }
    cell.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn each_measurement_is_a_row() {
        assert_eq!(
            csv(&example()),
            "study,level,nodes,seed,parameter,metric,value,unit\r\n\
             scale,implicit,1000,1,\"k=16, alpha=3\",hops,1.92,hops\r\n"
        );
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
