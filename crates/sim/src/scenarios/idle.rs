//! A network in which nobody wants anything: what being a member costs.

use std::time::Duration;

use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::world::{Traffic, World};

pub(super) const IDLE: Scenario = Scenario {
    name: "idle",
    about: "nodes form a network and want nothing; what each sends and gets",
    nodes: 200,
    nodes_min: 2,
    minutes: 1,
    must_fail: false,
    play,
};

/// Bytes a second that a node may send, or get, when nobody wants anything, on average over all
/// nodes...
const BYTES_MAX: f64 = 1000.0;
/// ...in so many minutes or more. In the first minutes lookups and overlays settle: then so much.
const LONG_MINUTES: u64 = 10;
const BYTES_SETTLING_MAX: f64 = 2500.0;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config());
    let nodes = run.form(&mut world);
    world.run_for(STABILISATION);
    let before: Vec<Traffic> = nodes.iter().map(|node| world.traffic(*node)).collect();
    let time = run.length().max(Duration::from_secs(60));
    world.run_for(time);
    let seconds = time.as_secs_f64();
    let spent = nodes.iter().zip(&before).map(|(node, before)| world.traffic(*node).since(before));
    let spent: Vec<Traffic> = spent.collect();
    let rate = |of: fn(&Traffic) -> u64| {
        let all: Vec<f64> = spent.iter().map(|traffic| of(traffic) as f64 / seconds).collect();
        let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
        (mean, all.iter().copied().fold(0.0, f64::max))
    };
    let (out, out_most) = rate(Traffic::all_out);
    let (came, came_most) = rate(Traffic::all_in);
    let (datagrams, _) = rate(|traffic| traffic.datagrams_out);
    let (calls, _) = rate(|traffic| traffic.call_bytes_out);
    run.figure("bytes a second sent by a node, mean", Value::Number(out));
    run.figure("bytes a second sent by a node, most", Value::Number(out_most));
    run.figure("bytes a second to a node, mean", Value::Number(came));
    run.figure("bytes a second to a node, most", Value::Number(came_most));
    run.figure("datagrams a second sent by a node", Value::Number(datagrams));
    run.figure("bytes a second in calls by a node", Value::Number(calls));
    let most = if run.minutes >= LONG_MINUTES { BYTES_MAX } else { BYTES_SETTLING_MAX };
    let detail = format!("{out:.0} sent and {came:.0} got a second, {most} at most");
    let cheap = out <= most && came <= most;
    run.check(Check::new("an idle node costs little", cheap, detail));
    world
}
