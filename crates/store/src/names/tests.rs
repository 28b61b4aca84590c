use bytes::Bytes;
use potluck_base::{Admission, Identity, NetworkId};
use potluck_record::{Context, Dot, Draft, Kind, MergeAs, StorageOp};

use super::*;
use crate::MemoryStore;

const NOW: UnixMillis = UnixMillis(50);

/// An envelope of `name`. Without a text it is a deletion.
fn envelope(space: Space, name: &str, dot: u64, text: Option<&str>) -> Envelope {
    let value = text.map(|text| Bytes::copy_from_slice(text.as_bytes()));
    let draft = Draft {
        space,
        name: Some(Name::new(name).expect("a good name")),
        kind: if space == Space::Provider { Kind::PerWriter } else { Kind::Siblings },
        values: value
            .map(|value| (Dot::from_raw(dot), UnixMillis(100), value))
            .into_iter()
            .collect(),
        dot: Dot::from_raw(dot),
        context: Context::new(),
        expires: UnixMillis(100),
        certificate: None,
    };
    let network = NetworkId::new("test", Admission::Lab, None);
    Envelope::sign(&Identity::from_seed([1; 32]), &network, draft).expect("a good draft")
}

fn merge(envelope: Envelope) -> StorageOp {
    StorageOp::Merge { envelope, place: Place::Replica, how: MergeAs::Repair }
}

fn with(names: &[&str]) -> MemoryStore {
    let mut store = MemoryStore::in_memory();
    for name in names {
        store.apply(&[merge(envelope(Space::Commons, name, 1, Some("x")))]);
    }
    store
}

fn all() -> NamesQuery {
    NamesQuery {
        space: Space::Commons,
        prefix: String::new(),
        after: None,
        until: None,
        limit: 100,
    }
}

/// The names of a page, with `-` before deleted ones, and the cursor for the next page.
fn listed(store: &mut MemoryStore, query: NamesQuery) -> (Vec<String>, Option<String>) {
    match store.apply(&[StorageOp::Names { query, now: NOW }]).as_slice() {
        [StorageReply::Names { entries, next }] => {
            let shown = |entry: &NamedState| {
                format!("{}{}", if entry.is_live() { "" } else { "-" }, entry.name)
            };
            (entries.iter().map(shown).collect(), next.as_ref().map(ToString::to_string))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_are_listed_in_order_by_prefix_and_in_pages() {
    let mut store = with(&["b/2", "a", "b/1", "b", "c", "b/ü", "b0"]);
    assert_eq!(listed(&mut store, all()).0, ["a", "b", "b/1", "b/2", "b/ü", "b0", "c"]);
    let prefix = || NamesQuery { prefix: "b/".to_owned(), ..all() };
    assert_eq!(
        listed(&mut store, prefix()),
        (vec!["b/1".into(), "b/2".into(), "b/ü".into()], None)
    );
    let first = NamesQuery { limit: 2, ..prefix() };
    assert_eq!(
        listed(&mut store, first.clone()),
        (vec!["b/1".into(), "b/2".into()], Some("b/2".into()))
    );
    let second = NamesQuery { after: Some("b/2".to_owned()), ..first };
    assert_eq!(listed(&mut store, second), (vec!["b/ü".into()], None));
    // A cursor need not be an existing name, nor begin with the prefix.
    let between = NamesQuery { after: Some("b/1x".to_owned()), ..prefix() };
    assert_eq!(listed(&mut store, between).0, ["b/2", "b/ü"]);
    let before = NamesQuery { after: Some("a".to_owned()), ..prefix() };
    assert_eq!(listed(&mut store, before).0, ["b/1", "b/2", "b/ü"]);
    let behind = NamesQuery { after: Some("c".to_owned()), ..prefix() };
    assert_eq!(listed(&mut store, behind), (Vec::new(), None));
    let until = NamesQuery { until: Some("b/1".to_owned()), ..all() };
    assert_eq!(listed(&mut store, until), (vec!["a".into(), "b".into(), "b/1".into()], None));
    let none = NamesQuery { limit: 0, ..all() };
    assert_eq!(listed(&mut store, none).0, ["a"], "a limit of none would go on for ever");
}

#[test]
fn each_space_has_its_own_names_and_internal_records_have_none() {
    let me = Identity::from_seed([1; 32]).public_key();
    let other = Identity::from_seed([2; 32]).public_key();
    let mut store = with(&["shared"]);
    store.apply(&[
        merge(envelope(Space::Own(me), "mine", 1, Some("x"))),
        merge(envelope(Space::Provider, "internal", 1, Some("x"))),
    ]);
    let of = |space| NamesQuery { space, ..all() };
    assert_eq!(listed(&mut store, of(Space::Commons)).0, ["shared"]);
    assert_eq!(listed(&mut store, of(Space::Own(me))).0, ["mine"]);
    for space in [Space::Own(other), Space::Provider, Space::Content] {
        assert_eq!(listed(&mut store, of(space)), (Vec::new(), None));
    }
}

#[test]
fn deletions_are_reported_and_expired_or_removed_records_are_not() {
    let mut store = with(&["gone", "stays", "removed"]);
    store.apply(&[merge(envelope(Space::Commons, "gone", 2, None))]);
    let key = Space::Commons.key(&Name::new("removed").expect("name")).expect("a key");
    store.apply(&[StorageOp::Remove { key, place: Place::Replica }]);
    assert_eq!(listed(&mut store, all()).0, ["-gone", "stays"]);
    let late = StorageOp::Names { query: all(), now: UnixMillis(100) };
    let nothing = StorageReply::Names { entries: Vec::new(), next: None };
    assert_eq!(store.apply(std::slice::from_ref(&late)), std::slice::from_ref(&nothing));
    store.apply(&[StorageOp::Expire { now: UnixMillis(100), limit: 10 }]);
    assert_eq!(store.apply(&[StorageOp::Names { query: all(), now: NOW }]), [nothing]);
    assert_eq!(store.name_rows(), 0, "the index goes with the records");
}

#[test]
fn a_write_that_is_taken_back_leaves_no_name() {
    let mut store = with(&[]);
    let one = envelope(Space::Commons, "n", 1, Some("x"));
    store.apply(&[merge(one.clone())]);
    let head = one.head();
    store.apply(&[StorageOp::TakeBack {
        key: head.key(),
        writer: head.writer(),
        envelope: head.id(),
        previous: None,
        place: Place::Replica,
    }]);
    assert_eq!((listed(&mut store, all()).0.len(), store.name_rows()), (0, 0));
}

#[test]
fn a_damaged_record_is_not_listed_until_it_is_repaired() {
    let mut store = with(&["a", "b"]);
    let one = envelope(Space::Commons, "a", 1, Some("x"));
    assert_eq!(store.damage(&one.head().key(), Place::Replica), 1);
    assert_eq!(listed(&mut store, all()).0, ["b"]);
    assert_eq!(store.name_rows(), 1, "its row goes as nothing is under it");
    store.apply(&[merge(one)]);
    assert_eq!(listed(&mut store, all()).0, ["a", "b"]);
}

#[test]
fn a_page_of_large_records_ends_early_and_goes_on() {
    let mut store = with(&[]);
    let large = "x".repeat(60_000);
    for number in 0..50 {
        let name = format!("large {number:02}");
        store.apply(&[merge(envelope(Space::Commons, &name, 1, Some(&large)))]);
    }
    let (first, next) = listed(&mut store, all());
    assert!(first.len() < 50 && next.as_ref() == first.last(), "{} {next:?}", first.len());
    let (second, end) = listed(&mut store, NamesQuery { after: next, ..all() });
    assert_eq!((first.len() + second.len(), end), (50, None));
}

#[test]
fn the_index_of_a_folder_without_one_is_built_when_it_is_opened() {
    let count = BUILT_AT_ONCE + 10;
    let mut store = MemoryStore::in_memory();
    for number in 0..count {
        let name = format!("n {number:05}");
        store.apply(&[merge(envelope(Space::Commons, &name, 1, Some("x")))]);
    }
    assert_eq!(store.name_rows(), count);
    store.drop_names();
    assert_eq!(store.name_rows(), 0);
    let mut opened = store.copied();
    assert_eq!(opened.name_rows(), count);
    let query = NamesQuery { prefix: "n 0410".to_owned(), ..all() };
    assert_eq!(listed(&mut opened, query).0.len(), 6);
}
