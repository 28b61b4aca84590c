//! The text format 0.0.4 of Prometheus, made from OpenMetrics.
//!
//! The two formats differ in the lines about a metric only: the classic format has no UNIT and EOF lines, and
//! its HELP and TYPE lines name the exposed series, which for a counter ends in `_total`.

/// Converts OpenMetrics into the classic format.
pub(super) fn classic(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let counters: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut counters = counters.into_iter().peekable();
    for line in text.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let about = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        let named = about.and_then(|rest| rest.split_once(' '));
        match (named, counters.peek()) {
            (Some((name, rest)), Some(counter)) if name == *counter => {
                let word = &line[..7];
                classic.push_str(&format!("{word}{name}_total {rest}\n"));
                if word == "# TYPE " {
                    counters.next();
                }
            }
            _ => {
                classic.push_str(line);
                classic.push('\n');
            }
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_as_exposed_and_units_and_end_go() {
        let open = "# HELP a_puts Writes of a name\n# TYPE a_puts counter\na_puts_total 3\n\
                    # HELP a_lag_seconds Late\n# TYPE a_lag_seconds gauge\n# UNIT a_lag_seconds seconds\n\
                    a_lag_seconds 1.5\n# HELP a_drops Lost\n# TYPE a_drops counter\n\
                    a_drops_total{reason=\"x\"} 1\n# EOF\n";
        let wanted = "# HELP a_puts_total Writes of a name\n# TYPE a_puts_total counter\na_puts_total 3\n\
                      # HELP a_lag_seconds Late\n# TYPE a_lag_seconds gauge\na_lag_seconds 1.5\n\
                      # HELP a_drops_total Lost\n# TYPE a_drops_total counter\n\
                      a_drops_total{reason=\"x\"} 1\n";
        assert_eq!(classic(open), wanted);
    }
}
