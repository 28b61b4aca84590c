//! Counters, sets and maps through whole nodes.

use std::collections::BTreeSet;

use bytes::Bytes;
use potluck_kv::Apply;
use potluck_record::{Folded, Kind, Operation, ShareError, Space};

use super::table::Table;
use super::{get, name, put, values};
use crate::command::{Command, CommandError, Reply};

fn apply(text: &str, operation: Operation) -> Command {
    Command::Apply(Apply { space: Space::Commons, name: name(text), operation, quorum: None })
}

fn count(by: i64) -> Command {
    apply("c", Operation::Count(by))
}

fn add(element: &str) -> Command {
    apply("s", Operation::AddElements(vec![element.to_owned()]))
}

fn remove(element: &str) -> Command {
    apply("s", Operation::RemoveElements(vec![element.to_owned()]))
}

fn done(reply: &Reply) {
    assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
}

fn folded(reply: &Reply) -> Folded {
    let Reply::Read(read) = reply else { panic!("not a read: {reply:?}") };
    let [value] = &read.reading.values[..] else { panic!("not one value: {reply:?}") };
    value.folded.clone().expect("a counter, set or map")
}

#[test]
fn each_node_counts_and_all_read_the_sum() {
    let mut table = Table::joined(12);
    for node in 0..12 {
        done(&table.command(node, count(1)));
        done(&table.command(node, count(-3)));
    }
    for node in [0, 5, 11] {
        assert_eq!(folded(&table.command(node, get("c"))), Folded::Counter(-24));
    }
}

#[test]
fn operations_of_one_node_at_once_all_count() {
    let mut table = Table::joined(8);
    let ids: Vec<_> = (0..20).map(|_| table.give(1, count(1))).collect();
    for id in ids {
        done(&table.await_reply(1, id));
    }
    assert_eq!(folded(&table.command(2, get("c"))), Folded::Counter(20));
}

#[test]
fn an_element_is_removed_by_a_node_that_has_not_added_it() {
    let mut table = Table::joined(12);
    for node in 0..12 {
        done(&table.command(node, add(&format!("e{node}"))));
    }
    done(&table.command(11, remove("e0")));
    done(&table.command(3, add("e0")));
    done(&table.command(7, remove("e1")));
    let Folded::Set(elements) = folded(&table.command(5, get("s"))) else { panic!("a set") };
    let right: BTreeSet<String> =
        (0..12).filter(|it| *it != 1).map(|it| format!("e{it}")).collect();
    assert_eq!(elements, right);
    assert_eq!(
        table.command(2, apply("t", Operation::RemoveElements(vec!["x".into()]))),
        Reply::Failed(CommandError::Absent)
    );
}

#[test]
fn a_later_value_of_a_field_takes_the_place_of_all_that_were_read() {
    let mut table = Table::joined(8);
    let set = |field: &str, value: &str| {
        let (field, value) = (field.to_owned(), Bytes::from(value.to_owned()));
        apply("m", Operation::SetField { field, value })
    };
    done(&table.command(1, set("f", "one")));
    done(&table.command(2, set("f", "two")));
    done(&table.command(1, set("g", "three")));
    done(&table.command(3, apply("m", Operation::UnsetField { field: "g".into() })));
    let right = [("f".to_owned(), Bytes::from_static(b"two"))];
    assert_eq!(folded(&table.command(4, get("m"))), Folded::Map(right.into()));
}

#[test]
fn a_record_of_another_kind_is_left_alone_and_named() {
    let mut table = Table::joined(6);
    done(&table.command(0, count(1)));
    let other = |asked| Reply::Failed(CommandError::OtherKind { there: Kind::Counter, asked });
    let refused = table.command(1, Command::Put(put("c", "x")));
    assert_eq!(refused, other(Kind::Siblings));
    let refused = table.command(1, apply("c", Operation::AddElements(vec!["x".into()])));
    assert_eq!(refused, other(Kind::Set));
    assert_eq!(folded(&table.command(2, get("c"))), Folded::Counter(1));
    // With its kind given, a put takes the place of the counter; then a count is refused.
    let named = potluck_kv::Put { kind: Some(Kind::Siblings), ..put("c", "x") };
    done(&table.command(1, Command::Put(named)));
    assert_eq!(values(&table.command(2, get("c"))), ["x"]);
    let there = Kind::Siblings;
    let refused = Reply::Failed(CommandError::OtherKind { there, asked: Kind::Counter });
    assert_eq!(table.command(0, count(1)), refused);
    // Deleted, the name is free for a counter again.
    let delete = potluck_kv::Put { value: None, ..put("c", "") };
    done(&table.command(3, Command::Put(delete.clone())));
    done(&table.command(0, count(5)));
    done(&table.command(4, count(2)));
    assert_eq!(folded(&table.command(2, get("c"))), Folded::Counter(7));
    done(&table.command(5, Command::Put(delete)));
    assert_eq!(values(&table.command(2, get("c"))), [""; 0]);
    done(&table.command(0, count(1)));
    assert_eq!(folded(&table.command(2, get("c"))), Folded::Counter(1));
}

#[test]
fn replicas_carry_out_what_has_no_place_and_each_operation_once() {
    let mut table = Table::joined_with(20, 2);
    for node in 0..20 {
        done(&table.command(node, count(1)));
        done(&table.command(node, add(&node.to_string())));
    }
    let carried: u64 = (0..20).map(|node| table.node(node).stats().kv.operations_carried_out).sum();
    assert!(carried > 0, "none was carried out for another node");
    assert_eq!(folded(&table.command(9, get("c"))), Folded::Counter(20));
    let Folded::Set(elements) = folded(&table.command(9, get("s"))) else { panic!("a set") };
    assert_eq!(elements.len(), 20);
}

#[test]
fn a_client_counts_too_and_a_full_share_says_what_it_holds() {
    let mut table = Table::joined(5);
    let client = table.join_as_client();
    done(&table.command(client, count(4)));
    assert_eq!(folded(&table.command(0, get("c"))), Folded::Counter(4));
    for part in 0..4 {
        let elements = (0..256).map(|it| format!("{part}-{it}")).collect();
        done(&table.command(1, apply("s", Operation::AddElements(elements))));
    }
    let refused = Reply::Failed(CommandError::Share(ShareError::ManyEntries(1025)));
    assert_eq!(table.command(1, add("one more")), refused);
    done(&table.command(2, add("one more")));
    let Folded::Set(elements) = folded(&table.command(3, get("s"))) else { panic!("a set") };
    assert_eq!(elements.len(), 1025);
}
