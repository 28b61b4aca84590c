//! Tests of the journal.

use potluck_base::{BlobId, GranuleSet};

use super::super::journal::{Journal, Recovered};

fn set(granules: &[u32]) -> GranuleSet {
    let mut set = GranuleSet::empty(10);
    granules.iter().for_each(|granule| {
        set.insert(*granule);
    });
    set
}

#[test]
fn a_mark_covers_only_what_came_before_its_commit_began() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("have");
    let id = BlobId::of(b"dish");
    let mut journal = Journal::create(&path, &id).unwrap();
    journal.have(1).unwrap();
    journal.have(2).unwrap();
    let before = journal.records();
    journal.have(3).unwrap();
    journal.synced(before).unwrap();
    journal.lost([2]).unwrap();
    let said = Journal::peek(&path, &id, 10).unwrap();
    assert_eq!(said, Recovered { synced: set(&[1]), unsynced: set(&[3]) });
    journal.have(2).unwrap();
    let (reopened, said) = Journal::open(&path, &id, 10).unwrap();
    assert_eq!(said, Recovered { synced: set(&[1]), unsynced: set(&[2, 3]) });
    assert_eq!(reopened.records(), 6);
    let other = Journal::peek(&path, &BlobId::of(b"another"), 10).unwrap();
    assert_eq!(other, Recovered { synced: set(&[]), unsynced: set(&[]) });
}

#[test]
fn a_journal_that_grew_long_is_written_anew_when_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("have");
    let id = BlobId::of(b"dish");
    let mut journal = Journal::create(&path, &id).unwrap();
    for _ in 0..2200 {
        journal.have(4).unwrap();
        journal.lost([4]).unwrap();
    }
    journal.have(5).unwrap();
    journal.synced(journal.records()).unwrap();
    journal.have(6).unwrap();
    drop(journal);
    let said = Recovered { synced: set(&[5]), unsynced: set(&[6]) };
    let (mut journal, first) = Journal::open(&path, &id, 10).unwrap();
    assert_eq!((journal.records(), &first), (3, &said));
    assert_eq!(path.metadata().unwrap().len(), 48);
    journal.have(7).unwrap();
    let (_, again) = Journal::open(&path, &id, 10).unwrap();
    assert_eq!(again, Recovered { synced: set(&[5]), unsynced: set(&[6, 7]) });
}
