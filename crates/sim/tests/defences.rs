//! Each defence against a member that turned, with the scenario of the attack that it is for: the scenario
//! passes with all defences and fails without this one. A scenario that passes either way would show nothing.

use potluck_base::Defences;
use potluck_sim::{Params, Report, ScenarioError, run};

/// One attack and what holds it off.
struct Case {
    scenario: &'static str,
    /// All defences but the one that it is about, or that hold it off together.
    without: Defences,
    /// Checks of which at least one fails then.
    fails: &'static [&'static str],
}

const ALL: Defences = Defences::ALL;

const CASES: &[Case] = &[
    Case {
        scenario: "insider-writers",
        without: Defences { member_writers: false, ..ALL },
        fails: &["puts of the others are acknowledged"],
    },
    Case {
        scenario: "insider-misplaced",
        without: Defences { store_only_near: false, ..ALL },
        fails: &["no node holds records that it is not near to"],
    },
    Case {
        scenario: "insider-offer",
        without: Defences { pull_budget: false, ..ALL },
        fails: &["one offered key fills no disk"],
    },
    Case {
        scenario: "insider-cpu",
        without: Defences { priced_peers: false, ..ALL },
        fails: &["a node checks few of a member's false signatures"],
    },
    Case {
        scenario: "insider-full-rate",
        without: Defences { priced_peers: false, ..ALL },
        fails: &["a member costs few checks"],
    },
    Case {
        scenario: "insider-news",
        // Its publisher shows no certificate in the topic, which holds its messages off as well.
        without: Defences { checked_announcements: false, member_publishers: false, ..ALL },
        fails: &["no false announcement is passed on"],
    },
    Case {
        scenario: "replayed-topic",
        without: Defences { member_publishers: false, ..ALL },
        fails: &["no message of a throw-away key is delivered"],
    },
    Case {
        scenario: "contacts",
        without: Defences { capped_contacts: false, ..ALL },
        fails: &["nothing is amplified"],
    },
    Case {
        scenario: "eclipse",
        without: Defences { member_writers: false, ..ALL },
        fails: &["the file is found and arrives"],
    },
    Case {
        scenario: "sybil-near",
        without: Defences { spread_tickets: false, ..ALL },
        fails: &["all others read it without its writer"],
    },
    Case {
        scenario: "crowded-key",
        without: Defences { density_alarm: false, ..ALL },
        fails: &["99 % of the reads show the last write"],
    },
    Case {
        scenario: "rollback",
        without: Defences { versions_seen: false, ..ALL },
        fails: &["none is shown an older version silently"],
    },
    Case {
        scenario: "open-join",
        without: Defences { puzzles: false, ..ALL },
        fails: &["a node that solves one puzzle only is in no table"],
    },
    Case {
        scenario: "drip",
        without: Defences { paced_sources: false, ..ALL },
        fails: &["the whole file arrives", "it arrives within 15 s"],
    },
    Case {
        scenario: "routes-hidden",
        without: Defences { disjoint_paths: false, ..ALL },
        fails: &["lookups find all honest nodes next to the keys"],
    },
    Case {
        scenario: "routes-joiner",
        without: Defences { subnet_limits: false, ..ALL },
        fails: &["one subnet has few places in the victim's table"],
    },
    Case {
        scenario: "routes-ground",
        without: Defences { deep_buckets: false, ..ALL },
        fails: &["few ground ids are in the victim's table"],
    },
];

/// The names of the checks that failed.
fn failures(scenario: &str, seed: u64, defences: Defences) -> Vec<&'static str> {
    let names = |report: &Report| report.failures().map(|check| check.name).collect();
    match run(scenario, &Params::seed(seed).defences(defences)) {
        Ok(_) => Vec::new(),
        Err(ScenarioError::Failed(report)) => names(&report),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn each_attack_is_held_off_and_succeeds_without_its_defence() {
    assert_eq!(ALL, Defences::default(), "nodes run with all defences");
    let mut wrong = Vec::new();
    for Case { scenario, without, fails } in CASES {
        for seed in [1, 2] {
            let with = failures(scenario, seed, ALL);
            if !with.is_empty() {
                wrong.push(format!("{scenario}, seed {seed}, with all defences: {with:?}"));
            }
        }
        let failed = failures(scenario, 1, *without);
        if !failed.iter().any(|name| fails.contains(name)) {
            wrong.push(format!("{scenario} without its defence fails in {failed:?} only"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
