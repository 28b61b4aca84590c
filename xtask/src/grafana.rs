//! The dashboards for Grafana in `contrib/grafana/`, made from one description.
//!
//! A panel is a line of a table in [`boards`]: its title, its unit and its queries. Names of
//! metrics cannot rot: the end-to-end tests compare each one with the scrape of a real node.

mod boards;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

/// Columns of a row of Grafana.
const COLUMNS: usize = 24;
/// Height of a graph, and of a row of single numbers, in units of Grafana (30 pixels).
const GRAPH_HEIGHT: usize = 8;
const NUMBER_HEIGHT: usize = 4;

/// How a panel shows its queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The last value, large.
    Number,
    /// Lines over time.
    Graph,
    /// Areas over time, one on top of the other.
    Stack,
    /// Rows of the last values.
    Table,
}

/// One panel. Each query is an expression and its legend.
struct Panel {
    title: &'static str,
    about: &'static str,
    shape: Shape,
    unit: &'static str,
    queries: &'static [(&'static str, &'static str)],
}

/// Panels under one title, side by side.
struct Row {
    title: &'static str,
    panels: &'static [Panel],
}

/// A dashboard.
struct Board {
    file: &'static str,
    uid: &'static str,
    title: &'static str,
    about: &'static str,
    /// Variables: name, label and the query of their values.
    variables: &'static [(&'static str, &'static str, &'static str)],
    rows: &'static [Row],
}

/// Writes both dashboards.
pub(crate) fn run(root: &Path) -> Result<ExitCode, String> {
    let folder = root.join("contrib/grafana");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for board in boards::ALL {
        let path = folder.join(board.file);
        fs::write(&path, text(board)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(board: &Board) -> String {
    format!("{:#}\n", board_json(board))
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn board_json(board: &Board) -> Value {
    let mut variables = vec![json!({
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
        "current": {}, "hide": 0,
    })];
    variables.extend(board.variables.iter().map(|(name, label, query)| {
        json!({
            "name": name, "label": label, "type": "query", "datasource": source(),
            "query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "sort": 1,
            "current": {}, "hide": 0,
        })
    }));
    let (mut panels, mut top, mut id) = (Vec::new(), 0, 0);
    for row in board.rows {
        id += 1;
        panels.push(json!({
            "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }));
        top += 1;
        let width = COLUMNS / row.panels.len().clamp(1, 6);
        let height = match row.panels.iter().all(|panel| panel.shape == Shape::Number) {
            true => NUMBER_HEIGHT,
            false => GRAPH_HEIGHT,
        };
        for (at, panel) in row.panels.iter().enumerate() {
            id += 1;
            let place = json!({"x": at * width, "y": top, "w": width, "h": height});
            panels.push(panel_json(panel, id, &place));
        }
        top += height;
    }
    json!({
        "uid": board.uid, "title": board.title, "description": board.about, "tags": ["potluck"],
        "schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1, "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"}, "timezone": "browser",
        "templating": {"list": variables}, "annotations": {"list": []}, "links": [], "panels": panels,
    })
}

fn panel_json(panel: &Panel, id: usize, place: &Value) -> Value {
    let instant = matches!(panel.shape, Shape::Number | Shape::Table);
    let targets = panel.queries.iter().zip('A'..).map(|((expression, legend), letter)| {
        json!({
            "refId": letter.to_string(), "expr": expression, "legendFormat": legend,
            "datasource": source(), "instant": instant, "range": !instant,
            "format": if panel.shape == Shape::Table { "table" } else { "time_series" },
        })
    });
    let kind = match panel.shape {
        Shape::Number => "stat",
        Shape::Graph | Shape::Stack => "timeseries",
        Shape::Table => "table",
    };
    let custom = match panel.shape {
        Shape::Stack => json!({"fillOpacity": 30, "stacking": {"mode": "normal", "group": "A"}}),
        Shape::Graph => json!({"fillOpacity": 5}),
        Shape::Number | Shape::Table => json!({}),
    };
    json!({
        "id": id, "type": kind, "title": panel.title, "description": panel.about,
        "datasource": source(), "gridPos": place, "targets": targets.collect::<Vec<_>>(),
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": custom}, "overrides": []},
        "options": {},
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
    }

    #[test]
    fn the_committed_dashboards_are_those_of_the_description() {
        for board in boards::ALL {
            let path = root().join("contrib/grafana").join(board.file);
            let there = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(there, text(board), "run cargo xtask grafana, and commit {}", board.file);
        }
    }

    #[test]
    fn every_panel_has_a_title_an_explanation_and_an_id_of_its_own() {
        for board in boards::ALL {
            let made = board_json(board);
            let panels = made["panels"].as_array().expect("a list");
            let ids: BTreeSet<u64> = panels.iter().filter_map(|it| it["id"].as_u64()).collect();
            assert_eq!(ids.len(), panels.len());
            for panel in board.rows.iter().flat_map(|row| row.panels) {
                assert!(!panel.title.is_empty() && panel.about.ends_with('.'), "{}", panel.title);
                assert!(!panel.queries.is_empty(), "{}", panel.title);
            }
            for place in panels.iter().map(|it| &it["gridPos"]) {
                let right = place["x"].as_u64().zip(place["w"].as_u64()).map(|(x, w)| x + w);
                assert!(right <= Some(COLUMNS as u64), "{place}");
            }
        }
    }
}
