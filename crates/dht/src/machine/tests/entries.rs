//! Names with several groups of addresses, and the last resort.

use super::*;

const NAME: &str = "seed.example:7";

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn address(n: u8) -> SocketAddr {
    ([10, 9, 0, n], 7).into()
}

fn greeted(outputs: &[Output]) -> Vec<SocketAddr> {
    let hello = |output: &Output| match output {
        Output::Hello(address) => Some(*address),
        _ => None,
    };
    outputs.iter().filter_map(hello).collect()
}

fn resolved_names(outputs: &[Output]) -> Vec<&str> {
    let name = |output: &'_ Output| matches!(output, Output::Resolve(_));
    let names = outputs.iter().filter(|output| name(output));
    names
        .filter_map(|output| match output {
            Output::Resolve(name) => Some(name.as_str()),
            _ => None,
        })
        .collect()
}

/// Lets the time go on to `until`, deadline by deadline; all outputs with their times.
fn run(node: &mut Dht, until: Instant) -> Vec<(Instant, Output)> {
    let mut all = Vec::new();
    for _ in 0..10_000 {
        let due = node.poll_timeout().expect("a deadline").at;
        if due > until {
            return all;
        }
        node.handle(due, Input::Timeout);
        all.extend(drain(node).into_iter().map(|output| (due, output)));
    }
    panic!("the deadlines do not end");
}

#[test]
fn a_later_group_of_addresses_is_asked_only_while_the_earlier_ones_are_silent() {
    let all = peers(11, 3);
    let groups = vec![vec![address(1), address(2)], vec![address(3)], vec![address(4)]];
    let resolved = || Input::Resolved { name: NAME.into(), addresses: groups.clone() };
    let node = || {
        let mut node = dht(all[0], 1);
        node.handle(Instant::ZERO, Input::Join(EntryPoint::Name(NAME.into())));
        node.handle(Instant::ZERO, Input::Timeout);
        assert_eq!(resolved_names(&drain(&mut node)), [NAME]);
        node.handle(at(10), resolved());
        assert_eq!(greeted(&drain(&mut node)), [address(1), address(2)]);
        node
    };
    let mut silent = node();
    let outputs: Vec<Output> = run(&mut silent, at(1600)).into_iter().map(|(_, it)| it).collect();
    assert_eq!(greeted(&outputs), [address(3)]);
    let mut answered = node();
    answered.handle(at(500), Input::Greeted { address: address(2), contact: all[2].contact });
    let outputs: Vec<Output> = run(&mut answered, at(9000)).into_iter().map(|(_, it)| it).collect();
    assert!(greeted(&outputs).is_empty(), "somebody of the first group has answered");
}

#[test]
fn a_name_with_hundreds_of_addresses_has_sixteen_asked() {
    let mut node = dht(peers(12, 1)[0], 1);
    node.handle(Instant::ZERO, Input::Join(EntryPoint::Name(NAME.into())));
    node.handle(Instant::ZERO, Input::Timeout);
    let groups = (0..10).map(|group| (0..10).map(|n| address(group * 10 + n)).collect()).collect();
    node.handle(at(1), Input::Resolved { name: NAME.into(), addresses: groups });
    assert_eq!(greeted(&drain(&mut node)).len(), 10);
    assert_eq!(node.entry_points()[0].addresses.len(), 16);
}

#[test]
fn the_last_resort_is_used_when_the_entry_points_are_silent_and_ever_more_seldom() {
    let all = peers(13, 4);
    let mut node = dht(all[0], 1);
    node.handle(Instant::ZERO, Input::Join(EntryPoint::Contact(all[1].contact)));
    node.handle(Instant::ZERO, Input::LastResort(NAME.into()));
    // Another one answers, of the own part of a network that was split: no reason to leave it at that.
    node.admit(Instant::ZERO, all[2], None);
    assert!(node.has_entry_points());
    let outputs = run(&mut node, at(600_000));
    let begins = outputs.iter().filter(|(_, output)| *output == Output::LastResort).count();
    assert_eq!(begins, 1);
    let tries: Vec<Duration> = outputs
        .iter()
        .filter(|(_, output)| matches!(output, Output::Resolve(_)))
        .map(|(at, _)| at.since(Instant::ZERO))
        .collect();
    assert!((4..=9).contains(&tries[0].as_secs()), "{tries:?}");
    assert!((6..=12).contains(&tries.len()), "{tries:?}");
    assert!(node.last_resort().in_use && !node.last_resort().points[0].answered);
}

#[test]
fn the_last_resort_is_left_alone_while_an_entry_point_answers() {
    let all = peers(14, 2);
    let mut node = dht(all[0], 1);
    node.handle(Instant::ZERO, Input::Join(EntryPoint::Contact(all[1].contact)));
    node.handle(Instant::ZERO, Input::LastResort(NAME.into()));
    node.admit(Instant::ZERO, all[1], None);
    let resolves = |outputs: &[(Instant, Output)]| {
        outputs.iter().filter(|(_, output)| matches!(output, Output::Resolve(_))).count()
    };
    assert_eq!(resolves(&run(&mut node, at(200_000))), 0);
    node.handle(at(200_000), Input::Left(all[1].contact.public_key));
    assert!(resolves(&run(&mut node, at(250_000))) > 0, "it is gone: now the last resort is used");
}

#[test]
fn without_entry_points_the_last_resort_is_used_at_once_and_only_for_who_knows_nobody() {
    let all = peers(15, 3);
    let mut lone = dht(all[0], 1);
    lone.handle(Instant::ZERO, Input::LastResort(NAME.into()));
    assert!(!lone.has_entry_points() && !lone.expects_others(Instant::ZERO));
    lone.handle(Instant::ZERO, Input::Timeout);
    assert_eq!(resolved_names(&drain(&mut lone)), [NAME]);
    // With contacts of the last run, these come first.
    let mut back = dht(all[0], 1);
    back.handle(Instant::ZERO, Input::Remembered(vec![all[1].contact]));
    back.handle(Instant::ZERO, Input::LastResort(NAME.into()));
    back.handle(Instant::ZERO, Input::Timeout);
    assert!(resolved_names(&drain(&mut back)).is_empty());
    let outputs = run(&mut back, at(9000));
    assert!(outputs.iter().any(|(_, output)| matches!(output, Output::Resolve(_))));
}
