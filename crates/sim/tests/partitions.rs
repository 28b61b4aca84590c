//! A run in several partitions is the same run.

use potluck_sim::{Params, Report, ScenarioError, run};

fn report(name: &str, params: &Params) -> Report {
    match run(name, params) {
        Ok(report) => report,
        Err(ScenarioError::Failed(report)) => *report,
        Err(error) => panic!("{error}"),
    }
}

/// The trace, the figures, the checks, the counts and the log of a run do not depend on partitions.
fn is_the_same(name: &str, nodes: usize, seeds: &[u64], partitions: &[usize]) {
    for seed in seeds {
        let params = Params::seed(*seed).nodes(nodes).minutes(1);
        let one = report(name, &params);
        for count in partitions {
            let several = report(name, &params.partitions(*count));
            assert_eq!(one.trace, several.trace, "{name}, seed {seed}, {count} partitions");
            assert_eq!(one, several, "{name}, seed {seed}, {count} partitions");
        }
    }
}

#[test]
fn idle_nodes() {
    is_the_same("idle", 40, &[1, 2], &[2, 3]);
    is_the_same("idle-open", 60, &[1], &[2]);
}

#[test]
fn joins_and_lookups() {
    is_the_same("join", 30, &[1, 2, 3], &[2]);
}

#[test]
fn records_with_calls_and_disks() {
    is_the_same("kinds-of-records", 12, &[1], &[2]);
    is_the_same("power-cut", 8, &[1, 2], &[2]);
    is_the_same("crash-restart", 12, &[1], &[2, 5]);
}

#[test]
fn faults_of_the_network() {
    is_the_same("partition", 10, &[1, 2], &[2]);
    is_the_same("lossy", 12, &[1], &[2]);
}

#[test]
fn messages_and_searches() {
    is_the_same("broadcast", 12, &[1, 2], &[2]);
    is_the_same("search", 40, &[1], &[2]);
}

#[test]
fn sleep_leave_certificates_and_hostile_members() {
    is_the_same("sleep", 12, &[1], &[2]);
    is_the_same("leave", 12, &[1], &[2]);
    is_the_same("admission", 12, &[1], &[2]);
    is_the_same("members-forged", 12, &[1], &[2]);
    is_the_same("flood", 12, &[1], &[2]);
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |name, params: Params| run(name, &params).expect_err("refused").to_string();
    let params = Params::seed(1).nodes(40);
    for (asked, said) in [(0, "1 to 40 partitions"), (41, "not 41"), (usize::MAX, "1 to 40")] {
        let error = refused("idle", params.partitions(asked));
        assert!(error.contains(said), "{error}");
    }
    assert!(refused("files", params.partitions(2)).contains("one partition only"));
    assert!(refused("idle", Params::seed(1).nodes(5000).partitions(65)).contains("1 to 64"));
}
