//! Own addresses in records, and what is done with those of others.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::BlobId;
use potluck_record::{Name, Space};
use potluck_wire::Provider;

use super::files::{begin, held, serve_all};
use super::table::Table;
use crate::{Command, Reply};

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Where the provider record of a blob says that it is, as a node reads it.
fn provided_at(table: &mut Table, reader: usize, blob: &BlobId) -> Vec<SocketAddr> {
    let name = Name::new(blob.to_string()).unwrap();
    let key = Space::Provider.key(&name).unwrap();
    let Reply::Read(read) = table.command(reader, Command::Get { key, quorum: None }) else {
        panic!("not read")
    };
    let values = read.reading.values;
    assert_eq!(values.len(), 1);
    let provider = Provider::from_bytes(&values[0].bytes).unwrap();
    provider.node.ways.iter().map(|way| way.socket).collect()
}

#[test]
fn a_provider_whose_first_address_is_dead_is_fetched_from_at_the_next() {
    let mut table = Table::joined(6);
    let (blob, dead) = (BlobId::of(b"dish"), socket("10.9.9.9:4000"));
    table.advertise(3, dead);
    table.tell(3, held(blob));
    table.run(Duration::from_secs(2));
    let own = table.contact(3).address;
    assert_eq!(provided_at(&mut table, 5, &blob), [dead, own]);
    let key = table.contact(3).public_key;
    let ways = table.node(5).members().ways(&key);
    assert!(ways.contains(&dead) && ways.contains(&own), "{ways:?}");
    let newcomer = table.join();
    table.tell(newcomer, begin(1, blob));
    let before = table.now();
    let (from, ended) = serve_all(&mut table, newcomer);
    assert_eq!(ended, [Ok(())], "{:?}", table.now().since(before));
    assert!(!from.is_empty() && from.iter().all(|seat| *seat == 3), "{from:?}");
}

#[test]
fn a_node_that_moves_is_announced_at_its_new_address_within_seconds() {
    let mut table = Table::joined(6);
    let blobs: Vec<BlobId> = (0_u8..4).map(|number| BlobId::of(&[number])).collect();
    blobs.iter().for_each(|blob| table.tell(3, held(*blob)));
    table.run(Duration::from_secs(5));
    let moved = socket("10.0.7.7:4000");
    table.move_to(3, moved);
    table.run(Duration::from_secs(4));
    for blob in &blobs {
        assert_eq!(provided_at(&mut table, 5, blob), [moved]);
    }
    let key = table.contact(3).public_key;
    for reader in [0, 1, 2, 4, 5] {
        assert_eq!(table.node(reader).members().ways(&key), [moved]);
    }
    table.tell(1, begin(1, blobs[0]));
    let (from, ended) = serve_all(&mut table, 1);
    assert_eq!((ended.as_slice(), from[0]), ([Ok(())].as_slice(), 3));
}

#[test]
fn one_address_of_several_that_goes_is_no_move() {
    let mut table = Table::joined(4);
    table.advertise(2, socket("10.9.9.9:4000"));
    table.run(Duration::from_secs(1));
    let own = table.contact(2).address;
    table.move_to(2, own);
    table.run(Duration::from_secs(3));
    let key = table.contact(2).public_key;
    assert_eq!(table.node(1).members().ways(&key), [own]);
}
