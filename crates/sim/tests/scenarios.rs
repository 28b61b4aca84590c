//! Every scenario, small, with fixed seeds. A failure prints the line that repeats it.

use potluck_sim::{Params, Report, ScenarioError, run, scenarios};

fn passes(name: &str, nodes: usize, seeds: &[u64]) {
    for seed in seeds {
        if let Err(error) = run(name, &Params::seed(*seed).nodes(nodes).minutes(1)) {
            panic!("{error}");
        }
    }
}

/// The report of a run, whether its checks passed or not.
fn report_of(result: Result<Report, ScenarioError>) -> Report {
    match result {
        Ok(report) => report,
        Err(ScenarioError::Failed(report)) => *report,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn nodes_that_join_find_the_true_closest_over_sealed_links() {
    passes("join", 40, &[1, 2]);
}

#[test]
fn lookups_take_few_hops_in_a_larger_network() {
    passes("join", 150, &[1]);
}

#[test]
fn records_survive_when_a_third_of_the_nodes_vanishes() {
    passes("mass-failure", 60, &[1, 2]);
}

#[test]
fn a_popular_record_is_read_without_a_storm_when_its_closest_holder_dies() {
    passes("read-storm", 60, &[1, 2]);
}

#[test]
fn with_three_replicas_what_has_a_surviving_holder_stays_readable() {
    passes("mass-failure-r3", 60, &[1, 2]);
}

#[test]
fn repair_moves_little_more_than_has_to_move() {
    passes("repair", 60, &[1, 2]);
}

#[test]
fn records_outlive_the_nodes_that_came_and_went() {
    passes("churn", 40, &[1, 2]);
}

#[test]
fn nodes_that_drip_do_not_hold_up_fetches() {
    passes("slow-sources", 24, &[1, 2]);
}

#[test]
fn a_node_that_pauses_is_waited_for() {
    passes("pauses", 30, &[1, 2, 3]);
}

#[test]
fn nodes_that_leave_in_order_lose_nothing() {
    passes("leave", 40, &[1, 2, 3]);
}

#[test]
fn after_a_partition_all_agree_and_both_sides_are_kept() {
    passes("partition", 40, &[1, 2]);
}

#[test]
fn acknowledged_writes_survive_random_crashes() {
    passes("crash-restart", 24, &[1, 2]);
}

#[test]
fn acknowledged_writes_survive_a_power_cut() {
    passes("power-cut", 30, &[1, 2]);
}

#[test]
fn sick_disks_acknowledge_nothing_and_others_take_over() {
    passes("sick-disks", 30, &[1, 2]);
}

#[test]
fn the_deleted_and_the_expired_stay_gone_and_own_and_content_are_kept() {
    passes("kinds-of-records", 14, &[1, 2]);
}

#[test]
fn rows_that_went_bad_cost_no_reader_a_byte() {
    passes("corrupt-rows", 16, &[1, 2, 3, 4]);
}

#[test]
fn a_bad_network_is_slow_but_loses_nothing() {
    passes("lossy", 40, &[1]);
}

/// Twenty seeds, each with other limits; `cargo xtask sim` plays more.
fn passes_small(name: &str) {
    let seeds: Vec<u64> = (1..=20).collect();
    let nodes = [8, 10, 12, 16];
    for (index, seed) in seeds.iter().enumerate() {
        passes(name, nodes[index % nodes.len()], &[*seed]);
    }
}

#[test]
fn a_copied_data_folder_loses_nothing_and_both_machines_say_so() {
    passes_small("clone");
}

#[test]
fn who_is_revoked_is_out_whatever_the_clocks_say() {
    passes_small("admission");
}

#[test]
fn puzzles_let_nodes_into_an_open_network_and_keep_others_out() {
    let nodes = [8, 10, 12, 16];
    for seed in 1..=4 {
        passes("open-join", nodes[seed as usize - 1], &[seed]);
    }
}

#[test]
fn wrong_clocks_are_known_and_lock_nobody_out() {
    passes_small("clocks");
}

#[test]
fn more_writers_than_a_record_has_room_for_are_refused_or_take_turns() {
    passes_small("turns");
}

#[test]
fn counters_sets_and_maps_are_exact_after_a_split() {
    passes("kinds", 24, &[1, 2, 3, 43]);
}

#[test]
fn a_clock_that_goes_back_makes_no_write_older() {
    passes("clock-back", 24, &[1, 2]);
}

#[test]
fn a_flood_of_garbage_and_forgeries_stops_nothing() {
    passes("flood", 16, &[1]);
}

#[test]
fn clients_that_write_at_once_lose_nothing() {
    passes("concurrent-writers", 30, &[1, 2]);
}

#[test]
fn the_canary_is_found_dead_by_the_durability_check_and_by_no_other() {
    let error = run("canary", &Params::seed(1).nodes(20)).expect_err("the disks lie");
    let text = error.to_string();
    let replay = "replay: cargo xtask sim canary --nodes 20 --seed 1 --minutes 1";
    assert!(text.lines().last() == Some(replay), "{text}");
    let ScenarioError::Failed(report) = error else { panic!("{text}") };
    let failed: Vec<&str> = report.failures().map(|check| check.name).collect();
    assert_eq!(failed, ["acknowledged writes survive a power cut"]);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let play = |seed| report_of(run("crash-restart", &Params::seed(seed).nodes(12).minutes(1)));
    let (first, again, other) = (play(7), play(7), play(8));
    assert_eq!(first, again);
    assert_ne!(first.trace, other.trace);
}

#[test]
fn sealed_runs_repeat_too() {
    let play = || report_of(run("join", &Params::seed(3).nodes(12).minutes(1)));
    assert_eq!(play().trace, play().trace);
}

#[test]
fn what_cannot_be_played_says_why() {
    let unknown = run("nonsense", &Params::seed(1));
    assert_eq!(unknown, Err(ScenarioError::Unknown("nonsense".into())));
    let few = run("partition", &Params::seed(1).nodes(3)).expect_err("three nodes");
    assert_eq!(few.to_string(), "scenario `partition` needs at least 10 nodes");
}

#[test]
fn names_are_unique_and_only_canaries_must_fail() {
    for (index, scenario) in scenarios::ALL.iter().enumerate() {
        assert!(scenarios::ALL[index + 1..].iter().all(|other| other.name != scenario.name));
        assert!(scenario.nodes >= scenario.nodes_min && !scenario.about.is_empty());
        assert_eq!(scenario.must_fail, scenario.name == "canary");
    }
}

#[test]
fn many_that_fetch_one_file_share_their_uplinks() {
    passes("files-clean", 24, &[1]);
}

#[test]
fn a_file_arrives_in_bad_company() {
    passes("files", 24, &[1, 2]);
}

#[test]
fn files_behind_routers_arrive() {
    passes("nat", 8, &[1, 2, 3]);
}

#[test]
fn an_idle_node_costs_little() {
    passes("idle", 60, &[1]);
    passes("idle-open", 60, &[1]);
}

#[test]
fn messages_of_a_few_publishers_reach_all_nodes() {
    passes("broadcast", 60, &[1]);
    passes("broadcast-open", 60, &[1]);
}

#[test]
fn when_nine_of_ten_vanish_the_others_go_on_hearing_each_other() {
    passes("silence", 100, &[1]);
    passes("silence-open", 100, &[1]);
}

#[test]
fn a_name_that_one_node_shares_is_found() {
    passes("search", 120, &[1]);
}

#[test]
fn a_flood_of_searches_is_cut_off_and_harms_no_node() {
    passes("search-flood", 80, &[1]);
}

#[test]
fn halves_that_were_apart_become_one() {
    passes("long-split", 24, &[1, 2]);
}

#[test]
fn halves_of_an_open_network_become_one() {
    passes("open-split", 60, &[2]);
}

#[test]
fn a_node_that_slept_declares_no_member_dead_and_is_back_at_once() {
    passes("sleep", 40, &[1]);
    run("sleep", &Params::seed(2).nodes(40)).expect("ten minutes are no worse than one");
}

#[test]
fn a_crash_is_known_to_all_observers() {
    passes("detect", 40, &[1, 2]);
}

#[test]
fn a_crash_in_an_open_network_is_known_to_all_observers() {
    passes("detect-open", 80, &[1, 2]);
}

#[test]
fn whoever_comes_back_is_alive_to_all_however_often_it_was_gone() {
    passes("comeback", 64, &[1, 2]);
}

#[test]
fn records_live_as_long_as_their_writers_run_and_deletes_last() {
    passes("lives", 24, &[1, 2]);
    passes("lives", 12, &[3]);
}

#[test]
fn settings_of_the_network_reach_all_nodes_and_fill_the_replica_sets() {
    passes("settings", 24, &[1, 2]);
    passes("settings", 12, &[3]);
}

#[test]
fn what_was_accepted_arrives_in_order_whatever_goes_wrong() {
    for seed in [1, 2, 3] {
        if let Err(error) = run("accepted", &Params::seed(seed)) {
            panic!("{error}");
        }
    }
}

#[test]
fn lossy_lines_declare_no_node_dead() {
    passes("members-lossy", 24, &[1]);
}

#[test]
fn a_starved_node_does_no_harm_to_others() {
    passes("members-starved", 24, &[1, 2]);
}

#[test]
fn broken_lines_leave_the_others_calm() {
    // Over five minutes: a first return is believed at once, later ones ever more slowly.
    run("members-bad-lines", &Params::seed(1).nodes(24).minutes(5)).expect("the others are calm");
}

#[test]
fn false_claims_declare_no_node_dead_and_no_table_grows() {
    passes("members-forged", 12, &[1]);
}

#[test]
fn contexts_with_invented_writers_do_not_prevent_merging() {
    passes("insider-context", 10, &[1, 2]);
}

#[test]
fn three_of_sixteen_replicas_that_lie_change_no_answer() {
    passes("near-liars", 24, &[1]);
}

#[test]
fn a_member_that_fills_the_disks_leaves_room_for_the_others() {
    passes("hog", 12, &[1, 2]);
}

#[test]
fn a_file_arrives_whatever_its_sources_say_of_its_size() {
    run("wrong-size", &Params::seed(1)).expect("it arrives");
}

#[test]
fn one_in_five_members_that_deviate_stop_nothing() {
    passes("bad-company", 30, &[1, 2]);
}

#[test]
fn watchers_show_each_change_while_holders_die_and_the_network_splits() {
    passes("watch", 20, &[1, 2, 3]);
}
