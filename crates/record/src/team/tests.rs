use bytes::Bytes;
use potluck_base::{Admission, Identity, NetworkId, UnixMillis};

use super::*;
use crate::{Context, Dot, Draft, Kind, SignedHead};

fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

fn key(seed: u8) -> PublicKey {
    Identity::from_seed([seed; 32]).public_key()
}

fn list(epoch: u64, writers: &[u8]) -> TeamList {
    let name = Name::new("crew").expect("a name");
    let writers = writers.iter().map(|seed| key(*seed)).collect();
    TeamList { owner: key(1), name, epoch, writers }
}

fn signed(seed: u8, space: Space, name: &str, dot: u64, value: Vec<u8>) -> Envelope {
    let expires = UnixMillis(1_000);
    let draft = Draft {
        space,
        name: Some(Name::new(name).expect("a name")),
        kind: Kind::Lww,
        values: vec![(Dot::from_raw(dot), expires, Bytes::from(value))],
        dot: Dot::from_raw(dot),
        context: Context::new(),
        expires,
        certificate: None,
    };
    Envelope::sign(&Identity::from_seed([seed; 32]), &network(), draft).expect("a good draft")
}

#[test]
fn an_id_depends_on_owner_and_name_and_round_trips() {
    let id = TeamId::of(&key(1), "crew");
    assert_ne!(id, TeamId::of(&key(2), "crew"));
    assert_ne!(id, TeamId::of(&key(1), "crew2"));
    assert_eq!(format!("team/{id}").parse(), Ok(id));
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!("team/xyz".parse::<TeamId>(), Err(TeamIdError));
    assert_eq!(list(1, &[]).id(), id);
}

/// Frozen: people keep printed ids, and keys determine where the records are stored.
#[test]
fn ids_and_keys_are_frozen() {
    let id = TeamId::of(&PublicKey::from_bytes([7; 32]), "crew");
    assert_eq!(id.to_string(), FROZEN[0]);
    assert_eq!(id.list_key().to_string(), FROZEN[1]);
    let name = Name::new("a").expect("a name");
    assert_eq!(Space::Team(id).key(&name).expect("a key").to_string(), FROZEN[2]);
}

const FROZEN: [&str; 3] = [
    "134436b2b671c3c1136b13bd9ac0f378e0ab857fe063e41ad485e0921ecf033f",
    "dfd9a150b2d93c82f142f12c4067741106d129c39fd23336626012189d98f69c",
    "8ce8a6a5310edfdcd9f4e08553ebe14ad464f3bab4c93496f91ea1db76099f5e",
];

/// Frozen: a change here is a new version of lists (docs/protocol.md).
#[test]
fn the_bytes_of_a_list_are_frozen() {
    let owner = PublicKey::from_bytes([7; 32]);
    let writers = [PublicKey::from_bytes([9; 32])].into();
    let list = TeamList { owner, name: Name::new("crew").expect("a name"), epoch: 2, writers };
    let head: &[u8] = &[0x83, 0x02, 0x64, b'c', b'r', b'e', b'w', 0x81, 0x58, 0x20];
    assert_eq!(list.encode(), [head, &[9; 32]].concat());
}

#[test]
fn a_list_round_trips_and_keeps_its_limits() {
    let full = list(9, &(2..=255).collect::<Vec<_>>());
    assert!(full.encode().len() <= TEAM_LIST_BYTES_MAX);
    assert_eq!(TeamList::decode(key(1), &full.encode()), Some(full.clone()));
    for cut in 0..full.encode().len() {
        assert_eq!(TeamList::decode(key(1), &full.encode()[..cut]), None);
    }
    // Array headers that claim 257 and 2^32 - 1 writers.
    for claimed in [&[0x99, 0x01, 0x01][..], &[0x9a, 0xff, 0xff, 0xff, 0xff]] {
        let bytes = [&[0x83, 0x01, 0x61, b'a'][..], claimed].concat();
        assert_eq!(TeamList::decode(key(1), &bytes), None);
    }
}

#[test]
fn the_key_of_a_list_belongs_to_the_owner_alone() {
    let mine = signed(1, Space::Writers(key(1)), "crew", 5, list(1, &[2]).encode());
    assert_eq!(mine.head().key(), list(1, &[]).id().list_key());
    assert_eq!(TeamList::of(&mine), Some(list(1, &[2])));
    let other = signed(2, Space::Writers(key(2)), "crew", 5, list(1, &[2]).encode());
    assert_ne!(other.head().key(), mine.head().key());
    let renamed = signed(1, Space::Writers(key(1)), "other", 5, list(1, &[2]).encode());
    assert_eq!(TeamList::of(&renamed), None, "the value is for another team");
}

#[test]
fn lists_signed_on_two_sides_of_a_split_end_as_one() {
    let left = signed(1, Space::Writers(key(1)), "crew", 5, list(2, &[2]).encode());
    for right_dot in [5, 6] {
        let right = signed(1, Space::Writers(key(1)), "crew", right_dot, list(2, &[3]).encode());
        let orders = [[&left, &right], [&right, &left]];
        let ends = orders.map(|order| order.into_iter().cloned().collect::<State>());
        assert_eq!(ends[0], ends[1]);
        assert_eq!(ends[0].len(), 1);
    }
}

#[test]
fn a_record_of_a_team_round_trips_and_names_its_team() {
    let id = list(1, &[]).id();
    let envelope = signed(2, Space::Team(id), "a", 5, b"x".to_vec());
    let decoded = Envelope::decode(&envelope.encode()).expect("own bytes");
    assert_eq!(decoded.head().space(), Space::Team(id));
    assert_eq!(Some(decoded.head().key()), Space::Team(id).key(&Name::new("a").expect("a name")));
    // The same head without field 11.
    let mut bytes = decoded.head().bytes().to_vec();
    let field = bytes.iter().rposition(|byte| *byte == 11).expect("the key of the field");
    bytes[field] = 12;
    let parsed = SignedHead::parse(Bytes::from(bytes), *decoded.head().signature());
    assert!(matches!(parsed, Err(crate::EnvelopeError::Rule(_))));
}

#[test]
fn only_writers_on_the_list_are_read() {
    let space = Space::Team(list(1, &[]).id());
    let all: State =
        [1, 2, 3].map(|seed| signed(seed, space, "a", 5, vec![seed])).into_iter().collect();
    assert_eq!(all.team(), Some(list(1, &[]).id()));
    assert_eq!(all.admitted(Some(&list(1, &[2]))).len(), 2, "the owner and one writer");
    assert!(all.admitted(None).is_empty());
}
