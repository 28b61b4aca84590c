//! An `invite` network: members are revoked one by one and by their ticket; some of them were admitted while
//! the issuer's clock was ahead. A revoked node is excluded everywhere at once, also after restarts. The
//! other nodes keep working.

use std::time::Duration;

use potluck_base::{Identity, PublicKey};
use potluck_dht::EntryPoint;
use potluck_link::RevocationError;
use potluck_node::{CommandId, Reply, WriteContext};
use potluck_wire::Revoked;

use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, reading};
use crate::world::World;

pub(super) const ADMISSION: Scenario = Scenario {
    name: "admission",
    about: "members and tickets are revoked under wrong clocks; out means out, the others go on",
    nodes: 10,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

/// Revocations that a node keeps: few, so that the scenario can exceed the limit.
const REVOCATIONS: usize = 3;
/// Time within which all members know of a revocation.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

fn play(run: &mut Run) -> World {
    let replicas = 2 + run.rng.below(4) as u16;
    let config = run.config().replication(replicas).invite().revocations(REVOCATIONS);
    let mut world = World::new(config);
    let founders = run.form(&mut world);
    let issuer = founders[0];
    let tickets: Vec<PublicKey> =
        (0..3).map(|_| Identity::from_seed(run.rng.bytes()).public_key()).collect();
    // Within the allowed difference of clocks, a certificate from a clock that is ahead admits its member.
    let ahead = Duration::from_secs(run.rng.below(280));
    world.clock_forward(issuer, ahead);
    let let_in: Vec<NodeIndex> = (0..3 + run.rng.below(3) as usize)
        .map(|number| {
            let entry = world.node(founders[number % founders.len()]).peer().contact;
            world.admit(issuer, tickets[number % 2], vec![EntryPoint::Contact(entry)])
        })
        .collect();
    let joined = world.run_until(STABILISATION, |world| world.have_joined(&let_in));
    run.check(Check::new("who has a ticket joins", joined, format!("{ahead:?} ahead")));
    world.run_for(Duration::from_secs(5));
    world.clock_back(issuer, ahead);

    // One member by its key, and all members that the second ticket admitted.
    let one = let_in[0];
    let by_ticket: Vec<NodeIndex> =
        let_in.iter().copied().enumerate().filter(|(i, _)| i % 2 == 1).map(|(_, n)| n).collect();
    let out: Vec<NodeIndex> = [one].into_iter().chain(by_ticket).collect();
    let stay: Vec<NodeIndex> =
        founders.iter().chain(&let_in).copied().filter(|node| !out.contains(node)).collect();
    let members = Members { stay, out };
    let key = world.node(one).peer().contact.public_key;
    let began = world.now();
    world.revoke(issuer, Revoked::Member(key));
    world.revoke(issuer, Revoked::Ticket(tickets[1]));
    let known = world.run_until(KNOWN_WITHIN, |world| members.all_know(world));
    run.check(Check::new("all members know within seconds", known, ""));
    run.figure("all know after", Value::Time(world.now().since(began)));

    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    out_means_out(run, &mut world, &mut workload, &members);
    let restarted = members.stay[run.rng.below(members.stay.len() as u64) as usize];
    world.crash(restarted);
    world.restart(restarted);
    members.out.iter().for_each(|node| {
        world.crash(*node);
        world.restart(*node);
    });
    world.run_for(Duration::from_secs(15));
    run.check(Check::new(
        "a restart brings no excluded member back in",
        members.all_know(&world),
        "",
    ));
    out_means_out(run, &mut world, &mut workload, &members);
    one_too_many(run, &mut world, issuer);
    world
}

/// Nodes keep three revocations: the third is accepted, and for the fourth the issuer answers that it has no
/// room.
fn one_too_many(run: &mut Run, world: &mut World, issuer: NodeIndex) {
    let subjects = (0..2).map(|_| Identity::from_seed(run.rng.bytes()).public_key());
    let commands: Vec<CommandId> =
        subjects.map(|subject| world.revoke(issuer, Revoked::Ticket(subject))).collect();
    let answers: Vec<_> =
        commands.iter().map(|command| world.outcome(*command).and_then(|it| it.reply)).collect();
    let right = matches!(
        &answers[..],
        [Some(Reply::Revoked(Ok(Some(_)))), Some(Reply::Revoked(Err(RevocationError::Full)))]
    );
    run.check(Check::new("a revocation too many is refused", right, format!("{answers:?}")));
}

/// The nodes of the network after the revocations.
struct Members {
    /// Nodes whose certificates are valid.
    stay: Vec<NodeIndex>,
    /// Nodes whose certificates are revoked.
    out: Vec<NodeIndex>,
}

impl Members {
    /// Whether no node of `stay` lists a node of `out` as alive, or has it in its routing table.
    fn all_know(&self, world: &World) -> bool {
        self.stay.iter().all(|node| {
            let Some(machine) = world.node(*node).machine() else { return false };
            let view = machine.members().view();
            self.out.iter().all(|gone| {
                let key = world.node(*gone).peer().contact.public_key;
                let listed = view
                    .members
                    .iter()
                    .any(|member| member.peer.contact.public_key == key && member.state.is_here());
                let place = world.node(*gone).peer().id;
                let nearest = machine.dht().closest(&place.into(), 1);
                !listed && nearest.first().is_none_or(|peer| peer.id != place)
            })
        })
    }
}

/// Records that revoked nodes write are not read by the others, and the others read and write as before.
fn out_means_out(run: &mut Run, world: &mut World, workload: &mut Workload, members: &Members) {
    let Members { stay, out } = members;
    let first = workload.history.writes().len();
    for node in out {
        let number = workload.history.writes().len();
        workload.put(world, *node, number, WriteContext::Blind);
    }
    workload.finish(world, STABILISATION);
    let theirs: Vec<_> = workload.history.writes()[first..].iter().map(|write| write.key).collect();
    let outcomes = workload.read_through(world, &theirs, stay, 8);
    let seen: Vec<String> = theirs
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| reading(outcome.as_ref()).is_none_or(|read| !read.values.is_empty()))
        .map(|(key, outcome)| format!("{key:?}: {:?}", outcome.as_ref().map(|o| &o.reply)))
        .collect();
    run.check(Check::none_of("what they write is not read", theirs.len(), &seen));

    let first = workload.history.writes().len();
    for node in stay {
        let number = workload.history.writes().len();
        workload.put(world, *node, number, WriteContext::Read);
    }
    workload.finish(world, STABILISATION);
    let failed: Vec<String> = workload.history.writes()[first..]
        .iter()
        .filter(|write| write.version().is_none())
        .map(|write| format!("{}: {:?}", write.node, write.end))
        .collect();
    run.check(Check::none_of("the others write as before", stay.len(), &failed));
}
