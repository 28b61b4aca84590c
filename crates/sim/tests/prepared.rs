//! Runs from a prepared network: the same scenarios pass, without the cost of joining.

use potluck_sim::{Params, Report, run};

fn passed(name: &str, params: &Params) -> Report {
    run(name, params).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn prepared(nodes: usize) -> Params {
    Params::seed(1).nodes(nodes).minutes(1).prepared()
}

#[test]
fn scenarios_of_every_kind_pass() {
    let runs = [
        ("idle-open", 60),
        ("detect", 60),
        ("broadcast", 60),
        ("mass-failure", 60),
        ("crash-restart", 20),
        ("partition", 10),
        ("search", 40),
    ];
    for (name, nodes) in runs {
        let report = passed(name, &prepared(nodes));
        assert!(report.to_string().contains("prepared: all nodes knew each other"));
        assert!(report.replay().ends_with(" --prepared"));
    }
}

#[test]
fn it_saves_most_of_the_events_of_joining() {
    let grown = passed("idle", &Params::seed(1).nodes(100).minutes(1));
    let prepared = passed("idle", &prepared(100));
    let (before, after) = (grown.stats.events, prepared.stats.events);
    assert!(after * 3 < before * 2, "{after} events instead of {before}");
    assert!(!grown.to_string().contains("prepared"));
}

#[test]
fn it_is_the_same_in_two_partitions() {
    for seed in [1, 2] {
        let params = Params { seed, ..prepared(40) };
        assert_eq!(passed("idle", &params), passed("idle", &params.partitions(2)));
    }
}

#[test]
fn what_is_about_joining_is_refused() {
    for name in ["join", "admission"] {
        let error = run(name, &prepared(40)).expect_err("refused").to_string();
        assert!(error.contains("its network cannot be prepared"), "{error}");
    }
}
