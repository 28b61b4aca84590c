//! One member offers one key and then sends endless pages of it.

use potluck_record::limits::WRITERS_KEPT_MAX;
use potluck_record::{Place, StateDigest};
use potluck_wire::{OfferEntry, Request};

use super::{by_distance, record_name, write_and_read};
use crate::check::Check;
use crate::hostile::Stuffer;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::workload::{Workload, key};
use crate::world::World;

pub(in crate::scenarios) const INSIDER_OFFER: Scenario = Scenario {
    name: "insider-offer",
    about: "a member offers one key and gives pages without an end; no disk fills",
    nodes: 8,
    nodes_min: 4,
    minutes: 1,
    must_fail: false,
    play,
};

/// Bytes that four offers of one key may add to a disk: less than three times the limit for 32 writers.
const KEY_BYTES_MAX: usize = 12 * 1024 * 1024;

fn play(run: &mut Run) -> World {
    // Without admission, because each page is of another writer and the envelopes of any writer may be
    // pulled.
    let mut world = World::new(run.config().replication(3));
    let nodes = run.form(&mut world);
    let evil = world.hostile();
    let stuffer = Stuffer::new(key(0), &record_name(0), run.rng.next_u64());
    world.hostile_manners(evil, stuffer);
    world.hostile_joins(&[evil]);
    let victim = by_distance(&world, &key(0))[0];
    let end = world.now() + run.length();
    let mut offers = 0_u64;
    while world.now() < end {
        offers += 1;
        let mut digest = [0x0f; 16];
        digest[..8].copy_from_slice(&offers.to_le_bytes());
        let entry = OfferEntry { key: key(0), digest: StateDigest::from_bytes(digest) };
        world.hostile_call(evil, victim, &Request::Offer { entries: vec![entry] });
        world.run_for(run.length() / 4);
    }
    let held = world.disk(victim).envelopes(&key(0), Place::Replica);
    let bytes: usize = held.iter().map(potluck_record::Envelope::encoded_len).sum();
    run.figure("writers of the key at the victim", Value::count(held.len()));
    run.figure("bytes of the key at the victim", Value::count(bytes));
    let detail = format!("{bytes} bytes of {} writers, {KEY_BYTES_MAX} at most", held.len());
    let few = bytes <= KEY_BYTES_MAX && held.len() <= usize::from(WRITERS_KEPT_MAX);
    run.check(Check::new("one offered key fills no disk", few, detail));
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    let wrong = write_and_read(run, &mut world, &mut workload, &nodes, 1..9);
    wrong.check(run, ["puts of other records are acknowledged", "gets show them"]);
    world
}
