//! Settings of the network reach every member, including one that was away, and each member names them in its
//! record.

use super::*;

fn set(cluster: &mut Cluster, at: usize, sequence: u8) {
    let bytes = Bytes::copy_from_slice(&[sequence; 90]);
    let sequence = u64::from(sequence);
    let interval = SECOND;
    cluster.feed(at, Input::Settings { sequence, bytes, interval, spread: true });
}

fn all_see(cluster: &Cluster, sequence: u64, count: usize) -> bool {
    let all = cluster.nodes.iter();
    all.filter(|node| node.members.running_settings(sequence) == (count, count)).count() == count
}

#[test]
fn settings_reach_all_members_in_seconds_and_show_in_their_records() {
    let mut cluster = Cluster::of(8);
    cluster.run(10 * SECOND);
    assert!(all_see(&cluster, 0, 8));
    set(&mut cluster, 3, 1);
    assert!(cluster.run_until(5 * SECOND, |cluster| all_see(cluster, 1, 8)).is_some());
    // Twice the same is not told again.
    let before: u64 = cluster.nodes.iter().map(|node| node.members.stats().announcements).sum();
    cluster.run(60 * SECOND);
    let after: u64 = cluster.nodes.iter().map(|node| node.members.stats().announcements).sum();
    assert_eq!(before, after);
}

#[test]
fn a_member_that_was_away_gets_the_newest_settings_when_it_is_back() {
    let mut cluster = Cluster::of(6);
    cluster.run(10 * SECOND);
    let neighbours = cluster.nodes[1..].iter().map(|node| node.contact).collect();
    cluster.feed(0, Input::Neighbours(neighbours));
    cluster.pause(2);
    cluster.run(30 * SECOND);
    set(&mut cluster, 0, 1);
    cluster.run(5 * SECOND);
    set(&mut cluster, 1, 2);
    cluster.run(5 * SECOND);
    cluster.resume(2);
    let back = cluster.run_until(90 * SECOND, |cluster| all_see(cluster, 2, 6));
    assert!(back.is_some(), "its neighbours see that it lacks them");
}
