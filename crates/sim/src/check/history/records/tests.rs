//! For each rule a history that follows it and one that breaks it.

use super::super::faults::{Effect, Fault};
use super::super::operation::{Action, Basis, Value, Version, Write};
use super::*;

/// Versions in these histories: the number of the write, by the writer `node`.
fn version(node: usize, dot: u64) -> Version {
    Version { writer: node as u32, dot }
}

/// A history of one key, written step by step: each step takes one second and begins when the one before has
/// ended.
#[derive(Default)]
struct Script {
    operations: Vec<Operation>,
    last: Vec<LastRead>,
    faults: Faults,
}

impl Script {
    fn now(&self) -> Duration {
        Duration::from_secs(2 * self.operations.len() as u64)
    }

    fn step(&mut self, node: usize, action: Action, answer: Answer) -> usize {
        let asked = self.now();
        let answered = Some(asked + Duration::from_secs(1));
        self.operations.push(Operation {
            client: 0,
            node,
            key: "k".into(),
            action,
            asked,
            answered,
            answer,
        });
        self.operations.len() - 1
    }

    fn write(&mut self, node: usize, value: Option<&str>, basis: Basis, answer: Answer) -> usize {
        let value = value.map(str::to_owned);
        self.step(node, Action::Write(Write { value, lww: false, basis }), answer)
    }

    fn lww(&mut self, node: usize, value: &str, dot: u64) -> usize {
        let write = Write { value: Some(value.into()), lww: true, basis: Basis::Nothing };
        self.step(node, Action::Write(write), Answer::Acknowledged(Some(version(node, dot))))
    }

    fn get(&mut self, node: usize, values: &[&str]) -> usize {
        self.step(node, Action::Get, Answer::Read(reading(values)))
    }

    fn last(&mut self, node: usize, values: &[&str]) {
        let at = self.now() + Duration::from_secs(60);
        self.last.push(LastRead { node, at, reading: Some(reading(values)) });
    }

    fn fault(&mut self, nodes: &[usize], from: u64, until: u64) {
        self.faults.push(Fault {
            name: "fault".into(),
            nodes: nodes.iter().copied().collect(),
            effect: Effect::Late,
            from: Duration::from_secs(from),
            until: Some(Duration::from_secs(until)),
        });
    }

    fn verdict(&self) -> Verdict {
        let last = BTreeMap::from([("k".to_owned(), self.last.clone())]);
        let rules = RecordRules { settle: Duration::from_secs(1), tolerated: 1 };
        judge(&self.operations, &last, &self.faults, &rules)
    }

    fn broken(&self) -> Vec<&'static str> {
        self.verdict().rules_broken()
    }
}

fn reading(values: &[&str]) -> Reading {
    let values = values.iter().map(|text| Value { text: (*text).into(), version: None }).collect();
    Reading { values, covers: None }
}

/// A reading with the versions that it has seen.
fn seen(values: &[&str], covers: &[(u32, u64)]) -> Reading {
    Reading { covers: Some(covers.iter().copied().collect()), ..reading(values) }
}

fn ok() -> Answer {
    Answer::Acknowledged(None)
}

fn ok_as(node: usize, dot: u64) -> Answer {
    Answer::Acknowledged(Some(version(node, dot)))
}

#[test]
fn an_acknowledged_write_is_current_a_sibling_or_superseded_through_any_number_of_steps() {
    let mut script = Script::default();
    script.write(1, Some("a"), Basis::Nothing, ok());
    script.write(2, Some("b"), Basis::Nothing, ok());
    let read = script.get(1, &["a", "b"]);
    // Whether this write took effect is unknown; the next read shows that it did.
    script.write(3, Some("c"), Basis::Read(read), Answer::Unknown);
    let read = script.get(1, &["c"]);
    script.write(1, Some("d"), Basis::Read(read), ok());
    script.write(2, Some("e"), Basis::Nothing, ok());
    script.last(1, &["d", "e"]);
    script.last(2, &["e", "d"]);
    assert_eq!(script.verdict().violations, []);
}

#[test]
fn a_write_that_nobody_had_read_is_lost() {
    let mut script = Script::default();
    script.write(1, Some("a"), Basis::Nothing, ok());
    let read = script.get(1, &["a"]);
    script.write(2, Some("b"), Basis::Nothing, ok());
    script.write(3, Some("c"), Basis::Read(read), ok());
    script.last(1, &["c"]);
    assert_eq!(script.broken(), [KEPT]);
    assert!(script.verdict().violations[0].detail.contains("`b`"));
}

#[test]
fn a_write_is_lost_although_its_successor_may_have_taken_place_if_that_is_not_there_either() {
    let mut script = Script::default();
    script.write(1, Some("a"), Basis::Nothing, ok());
    script.write(2, Some("b"), Basis::NodeRead, Answer::Unknown);
    script.last(1, &[]);
    assert_eq!(script.broken(), [KEPT]);
}

#[test]
fn a_write_is_lost_if_the_reader_has_not_seen_it_whatever_may_have_superseded_it() {
    let play = |covers: &[(u32, u64)]| {
        let mut script = Script::default();
        script.write(1, Some("a"), Basis::Nothing, ok_as(1, 5));
        script.write(2, Some("b"), Basis::NodeRead, ok_as(2, 6));
        let at = script.now();
        script.last.push(LastRead { node: 1, at, reading: Some(seen(&["b"], covers)) });
        script.broken()
    };
    assert_eq!(play(&[(1, 5), (2, 6)]), <[&str; 0]>::default());
    assert_eq!(play(&[(1, 4), (2, 6)]), [KEPT]);
}

#[test]
fn where_the_last_one_wins_it_is_the_one_with_the_highest_version() {
    let play = |shown: &str| {
        let mut script = Script::default();
        script.lww(1, "a", 7);
        script.lww(2, "b", 5);
        script.last(1, &[shown]);
        script.broken()
    };
    assert_eq!(play("a"), <[&str; 0]>::default());
    assert_eq!(play("b"), [KEPT]);
}

#[test]
fn what_is_read_was_written_before() {
    let mut script = Script::default();
    script.get(1, &["a"]);
    script.write(1, Some("a"), Basis::Nothing, ok());
    script.get(1, &["a"]);
    assert_eq!(script.broken(), [WRITTEN]);
    let mut script = Script::default();
    script.last(1, &["never"]);
    script.get(1, &[]);
    assert_eq!(script.broken(), [WRITTEN]);
}

#[test]
fn what_was_refused_is_not_there_and_what_is_unknown_may_be() {
    let play = |answer| {
        let mut script = Script::default();
        script.write(1, Some("a"), Basis::Nothing, answer);
        script.get(2, &["a"]);
        script.broken()
    };
    assert_eq!(play(Answer::Unknown), <[&str; 0]>::default());
    assert_eq!(play(Answer::Refused), [REFUSED]);
    assert_eq!(play(Answer::Conflict(Reading::default())), [REFUSED]);
}

#[test]
fn a_value_and_its_successor_do_not_stand_beside_each_other() {
    let play = |shown: &[&str]| {
        let mut script = Script::default();
        script.write(1, Some("a"), Basis::Nothing, ok());
        script.write(2, Some("b"), Basis::Nothing, ok());
        let read = script.get(1, &["a", "b"]);
        script.write(1, Some("c"), Basis::Read(read), ok());
        let read = script.get(1, &["c"]);
        script.write(1, Some("d"), Basis::Read(read), ok());
        script.get(2, shown);
        script.broken()
    };
    assert_eq!(play(&["d"]), <[&str; 0]>::default());
    assert_eq!(play(&["d", "a"]), [APART]);
}

#[test]
fn what_was_deleted_stays_away() {
    let play = |shown: &[&str]| {
        let mut script = Script::default();
        script.write(1, Some("a"), Basis::Nothing, ok());
        let read = script.get(1, &["a"]);
        script.write(1, None, Basis::Read(read), ok());
        script.write(2, Some("b"), Basis::Nothing, ok());
        script.last(1, shown);
        script.broken()
    };
    assert_eq!(play(&["b"]), <[&str; 0]>::default());
    assert_eq!(play(&["a", "b"]), [DELETED]);
    assert_eq!(play(&[]), [KEPT]);
}

#[test]
fn a_healthy_node_shows_what_was_acknowledged_and_a_disturbed_one_is_excused() {
    let play = |faults: &[(&[usize], u64, u64)]| {
        let mut script = Script::default();
        script.write(1, Some("a"), Basis::Nothing, ok());
        script.get(2, &[]);
        for (nodes, from, until) in faults {
            script.fault(nodes, *from, *until);
        }
        let verdict = script.verdict();
        (verdict.rules_broken(), verdict.excused.len())
    };
    assert_eq!(play(&[]), (vec![FRESH], 0));
    assert_eq!(play(&[(&[1], 0, 9)]), (vec![FRESH], 0));
    assert_eq!(play(&[(&[2], 0, 9)]), (vec![], 1));
    // More nodes at once than are tolerated.
    assert_eq!(play(&[(&[1, 3], 0, 9)]), (vec![], 1));
}

#[test]
fn a_node_with_a_full_disk_can_ask_others_and_is_not_excused() {
    let mut script = Script::default();
    script.write(1, Some("a"), Basis::Nothing, ok());
    script.get(2, &[]);
    script.faults.push(Fault {
        name: "full".into(),
        nodes: [1, 2, 3].into(),
        effect: Effect::Hindered,
        from: Duration::ZERO,
        until: None,
    });
    assert_eq!(script.broken(), [FRESH]);
}

#[test]
fn what_a_node_that_was_cut_off_acknowledged_is_not_known_to_others_before_it_is_back() {
    let play = |until: u64| {
        let mut script = Script::default();
        script.write(1, Some("a"), Basis::Nothing, ok());
        script.get(2, &[]);
        script.get(2, &[]);
        script.get(2, &[]);
        script.fault(&[1], 0, until);
        let mut faults = Faults::none();
        for fault in script.faults.list() {
            faults.push(Fault { effect: Effect::Cut, ..fault.clone() });
        }
        script.faults = faults;
        let verdict = script.verdict();
        (verdict.violations.len(), verdict.excused.len())
    };
    assert_eq!(play(9), (0, 3));
    // One second after its return, the writes that it acknowledged must be read.
    assert_eq!(play(3), (2, 1));
}

#[test]
fn a_write_that_had_not_ended_when_the_read_began_may_be_missed() {
    let mut script = Script::default();
    let write = script.write(1, Some("a"), Basis::Nothing, ok());
    script.get(2, &[]);
    script.operations[write].answered = Some(Duration::from_millis(2_500));
    assert_eq!(script.broken(), <[&str; 0]>::default());
}

#[test]
fn reads_at_one_node_do_not_go_back() {
    let play = |second: (usize, &[&str])| {
        let mut script = Script::default();
        script.write(1, Some("a"), Basis::Nothing, Answer::Unknown);
        let read = script.get(2, &["a"]);
        script.write(1, Some("b"), Basis::Read(read), Answer::Unknown);
        script.get(2, &["b"]);
        script.get(second.0, second.1);
        script.broken()
    };
    assert_eq!(play((2, &["b"])), <[&str; 0]>::default());
    assert_eq!(play((2, &["a"])), [FORWARD]);
    assert_eq!(play((2, &[])), [FORWARD]);
    // The other node has not read it, and the write was not acknowledged.
    assert_eq!(play((3, &["a"])), <[&str; 0]>::default());
}

#[test]
fn a_node_that_has_seen_a_version_go_does_not_show_it_again() {
    let play = |covers: &[(u32, u64)]| {
        let mut script = Script::default();
        script.write(1, Some("a"), Basis::Nothing, ok_as(1, 5));
        script.write(1, None, Basis::NodeRead, Answer::Unknown);
        script.step(2, Action::Get, Answer::Read(seen(&[], covers)));
        script.get(2, &["a"]);
        script.broken()
    };
    assert_eq!(play(&[(1, 5)]), [FORWARD]);
    assert_eq!(play(&[]), [FRESH]);
}

#[test]
fn at_the_end_all_nodes_say_the_same() {
    let play = |reading: Option<Reading>| {
        let mut script = Script::default();
        script.write(1, Some("a"), Basis::Nothing, Answer::Unknown);
        script.last(1, &["a"]);
        let at = script.now();
        script.last.push(LastRead { node: 2, at, reading });
        script.broken()
    };
    assert_eq!(play(Some(reading(&["a"]))), <[&str; 0]>::default());
    assert_eq!(play(Some(reading(&[]))), [AGREE]);
    assert_eq!(play(None), [AGREE]);
}
