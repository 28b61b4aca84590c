//! Teams through whole nodes.

use std::time::Duration;

use bytes::Bytes;
use potluck_kv::{Put, WriteContext};
use potluck_record::{Kind, Space, TeamId, TeamList};

use super::table::Table;
use super::{name, put, values};
use crate::command::{Command, CommandError, Reply};

const OWNER: usize = 0;
/// As long as a list lets a writer in without being read again.
const FRESH: Duration = Duration::from_secs(20);

fn list(table: &Table, epoch: u64, writers: &[usize]) -> TeamList {
    let key = |index: usize| table.contact(index).public_key;
    let writers = writers.iter().map(|index| key(*index)).collect();
    TeamList { owner: key(OWNER), name: name("crew"), epoch, writers }
}

fn sign_list(table: &mut Table, epoch: u64, writers: &[usize]) -> TeamId {
    let list = list(table, epoch, writers);
    let put = Put {
        space: Space::Writers(list.owner),
        name: Some(list.name.clone()),
        kind: Some(Kind::Lww),
        value: Some(Bytes::from(list.encode())),
        ttl: None,
        quorum: None,
        context: WriteContext::Read,
    };
    let reply = table.command(OWNER, Command::Put(put));
    assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
    list.id()
}

fn put_in(team: TeamId, value: &str) -> Command {
    Command::Put(Put { space: Space::Team(team), context: WriteContext::Blind, ..put("a", value) })
}

fn get_in(team: TeamId) -> Command {
    Command::Get { key: Space::Team(team).key(&name("a")).expect("a key"), quorum: None }
}

fn read(table: &mut Table, index: usize, team: TeamId) -> Vec<String> {
    let mut values = values(&table.command(index, get_in(team)));
    values.sort();
    values
}

#[test]
fn writers_on_the_list_write_and_others_are_refused() {
    let mut table = Table::joined(12);
    let team = sign_list(&mut table, 1, &[3]);
    for (writer, value) in [(OWNER, "owner"), (3, "member")] {
        let reply = table.command(writer, put_in(team, value));
        assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
    }
    let owner = table.contact(OWNER).public_key;
    let refused = Reply::Failed(CommandError::NotWriter { team, owner });
    assert_eq!(table.command(5, put_in(team, "stranger")), refused);
    assert_eq!(read(&mut table, 7, team), ["member", "owner"]);
    let unknown = TeamId::from_bytes([9; 32]);
    let none = Reply::Failed(CommandError::NoTeam(unknown));
    assert_eq!(table.command(3, put_in(unknown, "x")), none);
}

#[test]
fn a_removed_writer_is_refused_and_its_values_are_hidden_until_it_is_added_again() {
    let mut table = Table::joined(12);
    let team = sign_list(&mut table, 1, &[3]);
    table.command(OWNER, put_in(team, "owner"));
    table.command(3, put_in(team, "member"));
    assert_eq!(read(&mut table, 7, team), ["member", "owner"]);
    sign_list(&mut table, 2, &[]);
    table.run(FRESH);
    assert_eq!(read(&mut table, 7, team), ["owner"]);
    let reply = table.command(3, put_in(team, "again"));
    assert!(matches!(reply, Reply::Failed(CommandError::NotWriter { .. })), "{reply:?}");
    sign_list(&mut table, 3, &[3]);
    table.run(FRESH);
    assert_eq!(read(&mut table, 7, team), ["member", "owner"]);
}
