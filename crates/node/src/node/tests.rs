//! Whole nodes with sealed links in a small made-up world without faults but death.

mod addresses;
mod files;
mod kinds;
mod prices;
mod second_part;
mod table;
mod teams;

use std::time::Duration;

use bytes::Bytes;
use potluck_base::UnixMillis;
use potluck_base::machine::check_timer_contract;
use potluck_kv::{Put, ReplicaState, WriteContext};
use potluck_record::{Context, Kind, Name, Space};
use table::Table;

use super::*;
use crate::command::Command;
use crate::command::{CommandError, Reply};

const REPLICATION: u16 = 5;

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

fn put(text: &str, value: &str) -> Put {
    Put {
        space: Space::Commons,
        name: Some(name(text)),
        kind: None,
        value: Some(Bytes::from(value.to_owned())),
        ttl: None,
        quorum: None,
        context: WriteContext::Read,
    }
}

fn key(text: &str) -> potluck_base::Key {
    Space::Commons.key(&name(text)).expect("a named space")
}

fn get(text: &str) -> Command {
    Command::Get { key: key(text), quorum: None }
}

fn values(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Read(read) | Reply::Conflict(read) => read
            .reading
            .values
            .iter()
            .map(|value| String::from_utf8_lossy(&value.bytes).into_owned())
            .collect(),
        other => panic!("not a read: {other:?}"),
    }
}

fn context(reply: &Reply) -> Context {
    match reply {
        Reply::Read(read) | Reply::Conflict(read) => read.reading.context.clone(),
        other => panic!("not a read: {other:?}"),
    }
}

#[test]
fn what_one_node_puts_another_gets() {
    let mut table = Table::joined(2);
    let written = table.command(0, Command::Put(put("a", "hello")));
    let Reply::Written(written) = written else { panic!("{written:?}") };
    assert_eq!((written.acks, written.wanted, written.members), (2, 2, 2));
    let read = table.command(1, get("a"));
    assert_eq!(values(&read), ["hello"]);
}

#[test]
fn a_lone_node_keeps_records_too() {
    let mut table = Table::joined(1);
    assert!(matches!(table.command(0, Command::Put(put("a", "x"))), Reply::Written(_)));
    assert_eq!(values(&table.command(0, get("a"))), ["x"]);
    assert!(values(&table.command(0, get("b"))).is_empty());
}

#[test]
fn an_overwrite_supersedes_what_it_read() {
    let mut table = Table::joined(12);
    table.command(3, Command::Put(put("a", "one")));
    table.command(7, Command::Put(put("a", "two")));
    assert_eq!(values(&table.command(9, get("a"))), ["two"]);
    let holders = table.holders(&key("a"));
    assert_eq!(holders.len(), usize::from(REPLICATION));
}

#[test]
fn blind_writes_become_siblings_and_a_merge_settles_them() {
    let mut table = Table::joined(12);
    table.command(1, Command::Put(put("a", "base")));
    let blind = Put { context: WriteContext::Blind, ..put("a", "other") };
    table.command(2, Command::Put(blind));
    let conflict = table.command(3, Command::Put(put("a", "third")));
    assert!(matches!(conflict, Reply::Conflict(_)), "{conflict:?}");
    let mut siblings = values(&conflict);
    siblings.sort();
    assert_eq!(siblings, ["base", "other"]);
    let merge = Put { context: WriteContext::Given(context(&conflict)), ..put("a", "merged") };
    assert!(matches!(table.command(4, Command::Put(merge)), Reply::Written(_)));
    assert_eq!(values(&table.command(5, get("a"))), ["merged"]);
}

#[test]
fn two_clients_of_one_node_lose_nothing() {
    let mut table = Table::joined(12);
    table.command(0, Command::Put(put("a", "base")));
    let read = context(&table.command(0, get("a")));
    let with = |value: &str| {
        Command::Put(Put { context: WriteContext::Given(read.clone()), ..put("a", value) })
    };
    let ids = [table.give(0, with("left")), table.give(0, with("right"))];
    for id in ids {
        let reply = table.await_reply(0, id);
        assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
    }
    let mut siblings = values(&table.command(6, get("a")));
    siblings.sort();
    assert_eq!(siblings, ["left", "right"]);
}

#[test]
fn an_inflated_context_cannot_hide_the_writers_next_value() {
    let mut table = Table::joined(5);
    table.command(0, Command::Put(put("a", "base")));
    let mut inflated = context(&table.command(0, get("a")));
    let me = table.contact(0).public_key;
    let soon =
        potluck_record::Dot::next(potluck_record::Dot::ZERO, UnixMillis(table.wall().0 + 60_000));
    inflated.cover(me, soon);
    let given = Put { context: WriteContext::Given(inflated.clone()), ..put("a", "next") };
    assert!(matches!(table.command(0, Command::Put(given)), Reply::Written(_)));
    assert_eq!(values(&table.command(1, get("a"))), ["next"]);
    // Of the writer's own: cut to what it wrote.
    inflated.cover(me, potluck_record::Dot::from_raw(u64::MAX));
    let given = Put { context: WriteContext::Given(inflated.clone()), ..put("a", "last") };
    assert!(matches!(table.command(0, Command::Put(given)), Reply::Written(_)));
    assert_eq!(values(&table.command(1, get("a"))), ["last"]);
    // Of another's: no clock has reached it.
    inflated.cover(table.contact(1).public_key, potluck_record::Dot::from_raw(u64::MAX));
    let given = Put { context: WriteContext::Given(inflated), ..put("a", "never") };
    let reply = table.command(0, Command::Put(given));
    assert_eq!(reply, Reply::Failed(CommandError::BadContext));
}

#[test]
fn a_deleted_record_is_gone_and_deleting_nothing_says_so() {
    let mut table = Table::joined(8);
    table.command(0, Command::Put(put("a", "x")));
    let delete = |text| Command::Put(Put { value: None, ..put(text, "") });
    assert!(matches!(table.command(1, delete("a")), Reply::Written(_)));
    assert!(values(&table.command(2, get("a"))).is_empty());
    assert_eq!(table.command(1, delete("b")), Reply::Failed(CommandError::Absent));
    assert!(matches!(table.command(3, Command::Put(put("a", "y"))), Reply::Written(_)));
    assert_eq!(values(&table.command(2, get("a"))), ["y"]);
}

#[test]
fn large_values_travel_by_call() {
    let mut table = Table::joined(8);
    let large = "x".repeat(60_000);
    assert!(matches!(table.command(0, Command::Put(put("a", &large))), Reply::Written(_)));
    assert!(table.calls > 0);
    assert_eq!(values(&table.command(5, get("a"))), [large]);
}

#[test]
fn last_write_wins_folds_to_one() {
    let mut table = Table::joined(8);
    let lww = |value| {
        let context = WriteContext::Blind;
        Command::Put(Put { kind: Some(Kind::Lww), context, ..put("a", value) })
    };
    table.command(0, lww("one"));
    table.run(Duration::from_secs(1));
    table.command(1, lww("two"));
    assert_eq!(values(&table.command(2, get("a"))), ["two"]);
}

#[test]
fn the_dead_cost_neither_writes_nor_reads() {
    let mut table = Table::joined(12);
    table.command(0, Command::Put(put("a", "x")));
    let holders = table.holders(&key("a"));
    let victims: Vec<usize> = holders.into_iter().filter(|node| *node != 0).take(2).collect();
    victims.iter().for_each(|node| table.kill(*node));
    assert_eq!(values(&table.command(0, get("a"))), ["x"]);
    let reply = table.command(0, Command::Put(put("a", "y")));
    let Reply::Written(written) = reply else { panic!("{reply:?}") };
    assert!(written.acks >= 3);
    table.run(Duration::from_secs(3));
    assert_eq!(table.holders(&key("a")).len(), usize::from(REPLICATION));
}

#[test]
fn replica_sets_fill_up_again_after_deaths() {
    let mut table = Table::joined(16);
    for number in 0..30 {
        table.command(number % 16, Command::Put(put(&format!("k{number}"), "x")));
    }
    [3, 8, 11].iter().for_each(|node| table.kill(*node));
    table.run(Duration::from_secs(60));
    for number in 0..30 {
        let holders = table.holders(&key(&format!("k{number}")));
        assert!(holders.len() >= usize::from(REPLICATION), "k{number} has {holders:?}");
    }
}

#[test]
fn a_newcomer_is_offered_what_it_is_responsible_for() {
    let mut table = Table::joined(7);
    for number in 0..30 {
        table.command(0, Command::Put(put(&format!("k{number}"), "x")));
    }
    let newcomer = table.join();
    table.run(Duration::from_secs(20));
    let expected = (0..30)
        .filter(|number| table.replica_set(&key(&format!("k{number}"))).contains(&newcomer))
        .count();
    let held = (0..30)
        .filter(|number| table.holders(&key(&format!("k{number}"))).contains(&newcomer))
        .count();
    assert!(expected > 5, "the test needs keys for the newcomer, there are {expected}");
    assert_eq!(held, expected);
}

#[test]
fn who_leaves_hands_its_records_over() {
    let mut table = Table::joined(8);
    for number in 0..30 {
        table.command(0, Command::Put(put(&format!("k{number}"), "x")));
    }
    let reply = table.command(4, Command::Leave);
    assert!(matches!(reply, Reply::Left { .. }), "{reply:?}");
    table.kill(4);
    table.run(Duration::from_millis(5));
    // No node has had time to notice a death: what is there now was handed over.
    for number in 0..30 {
        let holders = table.holders(&key(&format!("k{number}")));
        assert_eq!(holders.len(), usize::from(REPLICATION), "k{number} has {holders:?}");
    }
    let reply = table.command(4, get("k1"));
    assert_eq!(reply, Reply::Failed(CommandError::Leaving));
}

#[test]
fn who_leaves_right_after_another_came_hands_over_all_the_same() {
    let mut table = Table::joined(1);
    table.command(0, Command::Put(put("a", "x")));
    // Within the delay that a change of neighbours settles for.
    let newcomer = table.join();
    assert!(matches!(table.command(0, Command::Leave), Reply::Left { .. }));
    table.kill(0);
    table.run(Duration::from_millis(5));
    assert_eq!(table.holders(&key("a")), [newcomer]);
}

#[test]
fn replicas_tell_who_is_behind() {
    let mut table = Table::joined(12);
    table.command(0, Command::Put(put("a", "x")));
    table.run(Duration::from_secs(1));
    let reply = table.command(1, Command::Replicas { key: key("a") });
    let Reply::Replicas(replicas) = reply else { panic!("{reply:?}") };
    assert_eq!(replicas.len(), usize::from(REPLICATION));
    assert!(replicas.iter().all(|(_, state)| *state == ReplicaState::Equal), "{replicas:?}");
}

#[test]
fn content_lives_under_its_hash() {
    let mut table = Table::joined(8);
    let content = Put { space: Space::Content, name: None, ..put("-", "dish") };
    let reply = table.command(0, Command::Put(content));
    let Reply::Written(written) = reply else { panic!("{reply:?}") };
    assert_eq!(written.key, Space::content_key(b"dish"));
    let read = table.command(3, Command::Get { key: written.key, quorum: None });
    assert_eq!(values(&read), ["dish"]);
}

#[test]
fn provider_records_are_one_per_writer() {
    let mut table = Table::joined(8);
    let announce = |value: &str| {
        let context = WriteContext::Read;
        Command::Put(Put { space: Space::Provider, context, ..put("blob", value) })
    };
    table.command(0, announce("node 0, partial"));
    table.command(0, announce("node 0, complete"));
    table.command(1, announce("node 1"));
    let key = Space::Provider.key(&name("blob")).expect("a named space");
    let mut found = values(&table.command(5, Command::Get { key, quorum: None }));
    found.sort();
    assert_eq!(found, ["node 0, complete", "node 1"]);
}

#[test]
fn a_strict_quorum_that_cannot_be_met_is_an_error_that_says_so() {
    let mut table = Table::joined(4);
    let strict = Put { quorum: Some(5), ..put("a", "x") };
    let reply = table.command(0, Command::Put(strict));
    let expected = CommandError::TooFewAcks { acks: 4, needed: 5, wanted: 4, members: 4 };
    assert_eq!(reply, Reply::Failed(expected));
}

#[test]
fn a_record_larger_than_a_call_is_read_whole() {
    let mut table = Table::joined(9);
    for writer in 0..7 {
        let large = format!("{writer}").repeat(60_000);
        let reply = table.command(writer, Command::Put(put("a", &large)));
        assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
    }
    for reader in 0..9 {
        assert_eq!(values(&table.command(reader, get("a"))), ["6".repeat(60_000)]);
    }
}

#[test]
fn a_client_uses_the_network_and_keeps_nothing() {
    let mut table = Table::joined(4);
    let client = table.join_as_client();
    table.run(Duration::from_secs(10));
    let Reply::Written(written) = table.command(client, Command::Put(put("a", "x"))) else {
        panic!("a client can write");
    };
    assert_eq!((written.wanted, written.members), (4, 4));
    assert_eq!(values(&table.command(2, get("a"))), ["x"]);
    assert_eq!(values(&table.command(client, get("a"))), ["x"]);
    assert!(!table.holders(&key("a")).contains(&client));
}

#[test]
fn what_a_liar_dated_ahead_neither_locks_a_key_nor_hides_a_value() {
    let mut table = Table::joined(6);
    let victim = table.contact(0).public_key;
    let liar = Identity::from_seed([99; 32]);
    let cover: Context = [(victim, potluck_record::Dot::from_raw(u64::MAX))].into_iter().collect();
    let draft = potluck_record::Draft {
        space: Space::Commons,
        name: Some(name("a")),
        kind: Kind::Siblings,
        values: Vec::new(),
        dot: potluck_record::Dot::from_raw(u64::MAX),
        context: cover,
        expires: UnixMillis(u64::MAX),
        certificate: None,
    };
    let lie = potluck_record::Envelope::sign(&liar, &table::network(), draft).expect("it signs");
    table.plant(2, lie);
    assert!(matches!(table.command(0, Command::Put(put("a", "x"))), Reply::Written(_)));
    assert_eq!(values(&table.command(3, get("a"))), ["x"]);
    assert!(matches!(table.command(0, Command::Put(put("a", "y"))), Reply::Written(_)));
    assert_eq!(values(&table.command(4, get("a"))), ["y"]);
}

#[test]
fn deadlines_keep_the_timer_contract() {
    let mut table = Table::joined(3);
    table.command(0, Command::Put(put("a", "x")));
    let mut now = table.now();
    for _ in 0..300 {
        let node = table.node(0);
        let (woken, _) =
            check_timer_contract(node, now, || Input::Timeout).expect("always a deadline");
        now = woken;
    }
}
