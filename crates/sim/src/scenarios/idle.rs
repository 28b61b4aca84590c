//! A network without commands: the cost of being a member.

use std::time::Duration;

use potluck_gossip::Mode;

use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::{Traffic, World};

pub(super) const IDLE: Scenario = Scenario {
    name: "idle",
    about: "nodes form a network and want nothing; what each sends and gets",
    nodes: 200,
    nodes_min: 2,
    minutes: 1,
    must_fail: false,
    play: |run| play(run, Mode::Fleet),
};

pub(super) const IDLE_OPEN: Scenario = Scenario {
    name: "idle-open",
    about: "the same where nobody knows all",
    nodes: 200,
    nodes_min: 60,
    minutes: 1,
    must_fail: false,
    play: |run| play(run, Mode::Open),
};

/// Bytes a second that a node may send, and receive, without commands: the average over all nodes in the
/// second half of a main part of at least [`LONG_MINUTES`].
const BYTES_MAX: f64 = 1000.0;
/// Minutes of a main part from which on [`BYTES_MAX`] holds. In the first minutes lookups and overlays
/// settle.
const LONG_MINUTES: u64 = 10;
/// The same limit in a shorter main part.
const BYTES_SETTLING_MAX: f64 = 2500.0;

fn play(run: &mut Run, mode: Mode) -> World {
    let mut world = World::new(run.config_in(mode));
    let nodes = run.form(&mut world);
    world.run_for(STABILISATION);
    let half = run.length().max(Duration::from_secs(60)) / 2;
    let rates = |world: &mut World| Rates::during(world, &nodes, half);
    let first = rates(&mut world);
    run.figure("bytes a second sent by a node in the first half", Value::Number(first.out));
    let Rates { out, came, out_most, came_most, datagrams, calls } = rates(&mut world);
    run.figure("and in the second: mean", Value::Number(out));
    run.figure("bytes a second sent by a node, most", Value::Number(out_most));
    run.figure("bytes a second to a node, mean", Value::Number(came));
    run.figure("bytes a second to a node, most", Value::Number(came_most));
    run.figure("datagrams a second sent by a node", Value::Number(datagrams));
    run.figure("bytes a second in calls by a node", Value::Number(calls));
    let most = if run.minutes >= LONG_MINUTES { BYTES_MAX } else { BYTES_SETTLING_MAX };
    let detail = format!("{out:.0} sent and {came:.0} got a second, {most} at most");
    // A network of dead nodes would be cheap too.
    let cheap = out > 0.0 && came > 0.0 && out <= most && came <= most;
    run.check(Check::new("an idle node costs little", cheap, detail));
    world
}

/// The bytes that nodes sent and received, per second.
struct Rates {
    out: f64,
    out_most: f64,
    came: f64,
    came_most: f64,
    datagrams: f64,
    calls: f64,
}

impl Rates {
    fn during(world: &mut World, nodes: &[NodeIndex], time: Duration) -> Self {
        let before: Vec<Traffic> = nodes.iter().map(|node| world.traffic(*node)).collect();
        world.run_for(time);
        let spent = nodes.iter().zip(&before);
        let spent: Vec<Traffic> =
            spent.map(|(node, before)| world.traffic(*node).since(before)).collect();
        let rate = |of: fn(&Traffic) -> u64| {
            let all = spent.iter().map(|traffic| of(traffic) as f64 / time.as_secs_f64());
            let all: Vec<f64> = all.collect();
            let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
            (mean, all.iter().copied().fold(0.0, f64::max))
        };
        let ((out, out_most), (came, came_most)) = (rate(Traffic::all_out), rate(Traffic::all_in));
        let (datagrams, _) = rate(|traffic| traffic.datagrams_out);
        let (calls, _) = rate(|traffic| traffic.call_bytes_out);
        Self { out, out_most, came, came_most, datagrams, calls }
    }
}
