//! One member sends calls of a thousand envelopes with invalid signatures.

use std::time::Duration;

use super::write_and_read;
use crate::check::Check;
use crate::hostile::Replica;
use crate::hostile::forge::Forger;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::workload::Workload;
use crate::world::World;

pub(in crate::scenarios) const INSIDER_CPU: Scenario = Scenario {
    name: "insider-cpu",
    about: "a member sends 4,000 false signatures a second; a node checks few of them",
    nodes: 10,
    nodes_min: 6,
    minutes: 1,
    must_fail: false,
    play,
};

/// Envelopes of one call, and calls a second.
const ENVELOPES: usize = 1_000;
const CALLS: u32 = 4;
/// The duration of the attack.
const SECONDS: u32 = 15;
/// Most signature checks a second that one member may cause at a node: one percent of a processor if a check
/// takes 25 microseconds. Raising it lets an attacker use more of each node.
const CHECKS_PER_SECOND: u64 = 400;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(4));
    let nodes = run.form(&mut world);
    let evil = world.hostile();
    world.hostile_manners(evil, Replica::new());
    world.hostile_joins(&[evil]);
    let mut forger = Forger::new(run.rng.next_u64());
    let envelopes: Vec<_> = world.hostile_me(evil, |me| {
        (0..ENVELOPES).map(|number| forger.unsigned(me, &format!("junk {number}"))).collect()
    });
    let victim = nodes[1];
    let before = world.node(victim).signature_checks();
    for _ in 0..SECONDS * CALLS {
        world.hostile_store(evil, victim, envelopes.clone());
        world.run_for(Duration::from_secs(1) / CALLS);
    }
    let checks = world.node(victim).signature_checks() - before;
    let a_second = checks / u64::from(SECONDS);
    run.figure("signature checks a second at the victim", Value::Count(a_second));
    let sent = ENVELOPES as u64 * u64::from(CALLS);
    let detail = format!("{a_second} of {sent} a second, {CHECKS_PER_SECOND} at most");
    let few = a_second <= CHECKS_PER_SECOND;
    run.check(Check::new("a node checks few of a member's false signatures", few, detail));
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    let wrong = write_and_read(run, &mut world, &mut workload, &nodes, 0..10);
    wrong.check(run, ["puts of the others are acknowledged", "gets show them"]);
    world
}
