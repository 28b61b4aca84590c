//! For each rule of messages, streams that follow it and streams that break it.

use super::super::faults::Fault;
use super::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const RULES: MessageRules =
    MessageRules { hand_over: s(2), patience: s(10), settle: s(1), in_time: s(5), clocks: s(3) };

/// Messages `1`, `2` .. of node 1, one a second, each accepted at once.
fn publications(count: u64) -> Vec<Publication> {
    let publication = |number: u64| Publication {
        node: 1,
        life: 0,
        number,
        text: number.to_string(),
        asked: s(number),
        accepted: Some(s(number)),
    };
    (1..=count).map(publication).collect()
}

/// Deliveries, all at second 4.
fn said(texts: &[&str]) -> Vec<(Duration, Heard)> {
    let heard = |text: &&str| match text.strip_prefix("missed ") {
        Some(count) => Heard::Missed(count.parse().ok()),
        None => Heard::Message((*text).to_owned()),
    };
    texts.iter().map(|text| (s(4), heard(text))).collect()
}

fn broken(texts: &[&str], faults: &Faults) -> Vec<&'static str> {
    let stream = Stream { node: 2, opened: s(0), closed: s(60), heard: said(texts) };
    judge(&publications(3), &[stream], faults, &RULES).rules_broken()
}

fn fault(node: usize, effect: Effect, from: u64, until: u64) -> Faults {
    let mut faults = Faults::none();
    faults.push(Fault {
        name: "fault".into(),
        nodes: [node].into(),
        effect,
        from: s(from),
        until: Some(s(until)),
    });
    faults
}

const NONE: [&str; 0] = [];

#[test]
fn each_message_comes_once() {
    assert_eq!(broken(&["1", "2", "3"], &Faults::none()), NONE);
    assert_eq!(broken(&["1", "2", "2", "3"], &Faults::none()), [ONCE]);
}

#[test]
fn a_message_that_was_not_published_does_not_come() {
    assert_eq!(broken(&["1", "2", "3", "4"], &Faults::none()), [PUBLISHED]);
}

#[test]
fn a_message_that_does_not_come_is_counted_as_missed() {
    assert_eq!(broken(&["1", "3"], &Faults::none()), [COMPLETE]);
    assert_eq!(broken(&["1", "missed 1", "3"], &Faults::none()), NONE);
    assert_eq!(broken(&["missed 1", "3"], &Faults::none()), [COMPLETE]);
    assert_eq!(broken(&["missed unknown"], &Faults::none()), NONE);
}

#[test]
fn a_publisher_that_dies_before_it_could_hand_a_message_on_owes_it_to_no_subscriber() {
    assert_eq!(broken(&["1", "2"], &fault(1, Effect::Down, 4, 50)), NONE);
    assert_eq!(broken(&["1", "2"], &fault(1, Effect::Down, 6, 20)), [COMPLETE]);
}

#[test]
fn a_subscriber_that_is_cut_off_is_owed_what_it_missed_when_it_is_back() {
    assert_eq!(broken(&["1", "2"], &fault(2, Effect::Cut, 3, 55)), NONE);
    assert_eq!(broken(&["1", "2"], &fault(2, Effect::Cut, 3, 20)), [COMPLETE]);
}

#[test]
fn a_subscription_is_owed_only_what_was_published_while_it_was_open() {
    let judge = |opened, closed| {
        let stream = Stream { node: 2, opened: s(opened), closed: s(closed), heard: vec![] };
        judge(&publications(3), &[stream], &Faults::none(), &RULES).rules_broken()
    };
    assert_eq!(judge(4, 60), NONE);
    assert_eq!(judge(0, 9), NONE);
    assert_eq!(judge(3, 60), [COMPLETE]);
}

#[test]
fn a_message_comes_soon_unless_a_fault_holds_it_up() {
    let broken = |faults: &Faults| {
        let mut heard = said(&["1", "2", "3"]);
        heard[2].0 = s(20);
        let stream = Stream { node: 2, opened: s(0), closed: s(60), heard };
        judge(&publications(3), &[stream], faults, &RULES).rules_broken()
    };
    assert_eq!(broken(&Faults::none()), [SOON]);
    assert_eq!(broken(&fault(2, Effect::Cut, 3, 15)), NONE);
    assert_eq!(broken(&fault(1, Effect::Late, 3, 15)), NONE);
    assert_eq!(broken(&fault(5, Effect::Late, 3, 15)), [SOON]);
}

#[test]
fn a_subscription_gets_no_messages_from_long_before() {
    let broken = |opened| {
        let mut heard = said(&["3"]);
        heard[0].0 = s(40);
        let stream = Stream { node: 2, opened: s(opened), closed: s(60), heard };
        judge(&publications(3), &[stream], &Faults::none(), &RULES).rules_broken()
    };
    assert_eq!(broken(13), NONE);
    assert_eq!(broken(17), [NEW]);
}

#[test]
fn messages_of_one_publisher_come_in_their_order() {
    assert_eq!(broken(&["1", "3", "2"], &Faults::none()), [ORDERED]);
    assert_eq!(broken(&["1", "3", "2"], &fault(5, Effect::Late, 3, 4)), NONE);
    // A repaired message.
    let mut heard = said(&["1", "3", "2"]);
    heard[2].0 = s(8);
    let stream = Stream { node: 2, opened: s(0), closed: s(60), heard };
    let verdict = judge(&publications(3), &[stream], &Faults::none(), &RULES);
    assert_eq!((verdict.violations.len(), verdict.excused.len()), (0, 1));
}

#[test]
fn a_message_that_no_node_accepted_is_owed_to_no_subscriber() {
    let mut published = publications(3);
    published[2].accepted = None;
    let heard = said(&["1", "2"]);
    let stream = Stream { node: 2, opened: s(0), closed: s(60), heard };
    assert!(judge(&published, &[stream], &Faults::none(), &RULES).holds());
}
