use std::time::Duration;

use super::TARGETS;
use crate::{Plan, run};

/// Slow targets get fewer inputs.
fn rounds(name: &str) -> u64 {
    match name {
        "recovery" => 20,
        "http" | "commands" => 100,
        "sealed" | "answer" | "spoiled" | "granule" | "config" | "values" => 500,
        _ => 3000,
    }
}

#[test]
fn a_short_run_of_every_target_finds_nothing_and_gets_past_the_first_bytes() {
    for target in TARGETS {
        let plan = Plan { seed: 7, rounds: rounds(target.name), time: Duration::from_secs(20) };
        let mut failed = |input: &[u8]| panic!("{}: {input:?}", target.name);
        let report = run(target, plan, &[], &mut failed);
        assert!(report.accepted > 0, "{}: no input was taken for well-formed", target.name);
        assert!(report.marks > 3, "{}: all inputs lead to the same", target.name);
    }
}

#[test]
fn names_are_folders_and_no_two_are_alike() {
    for (index, target) in TARGETS.iter().enumerate() {
        assert!(target.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
        assert!(TARGETS[..index].iter().all(|other| other.name != target.name), "{}", target.name);
    }
}
