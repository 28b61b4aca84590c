//! temporary experiments
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "temporary")]
use std::collections::BTreeMap;
use std::time::Duration;
use potluck_base::Rng;
use potluck_node::WriteContext;
use potluck_sim::check::routing::Routing;
use potluck_sim::workload::{Workload, WriteEnd};
use potluck_sim::*;

fn routing(n: usize, loss: f64, tries: u8, alpha: usize) {
    let mut c = WorldConfig::new(1);
    c.network.loss = loss;
    c.node.dht.lookup_tries = tries;
    c.node.dht.alpha = alpha;
    let mut w = World::new(c);
    w.form(n, Duration::from_millis(20) * n as u32, Duration::from_secs(60));
    w.run_for(Duration::from_secs(100));
    let r = Routing::sample(&mut w, &mut Rng::from_number(1), 500);
    println!("n {n} loss {loss} tries {tries} alpha {alpha}: exact {}/{} found {}/{} hops {} req {:.1} time {}",
        r.exact, r.asked, r.found, r.there, r.median_hops(), r.queries as f64 / r.answered as f64, Value::times(r.took.clone()));
    for m in r.misses.iter().take(2) { println!("   {m}"); }
}

fn ends(w: &Workload) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for write in w.history.writes() {
        let s = match &write.end { WriteEnd::Acknowledged { .. } => "ack".to_owned(), other => format!("{other:?}") };
        *counts.entry(s).or_default() += 1;
    }
    for (k, v) in counts { println!("   {v} {k}"); }
}

fn sick() {
    let mut w = World::new(WorldConfig::new(1).replication(5));
    let nodes = w.form(30, Duration::from_secs(1), Duration::from_secs(60)).unwrap();
    for (i, n) in nodes[..10].iter().enumerate() {
        w.disk_fault(*n, Some(if i < 5 { DiskFault::Full } else { DiskFault::Stopped }));
    }
    let mut wl = Workload::new(Rng::from_number(2), 64);
    for i in 0..600 {
        wl.put(&mut w, nodes[10 + i % 20], i, WriteContext::Read);
        w.run_for(Duration::from_millis(100));
        wl.collect(&mut w);
    }
    wl.finish(&mut w, Duration::from_secs(30));
    println!("sick"); ends(&wl);
}

fn crash() {
    let mut w = World::new(WorldConfig::new(1).replication(5));
    let nodes = w.form(40, Duration::from_secs(1), Duration::from_secs(60)).unwrap();
    let mut t = Tormentor::new(Torment::crashes(1.0 / 60.0, Duration::from_secs(40), 13), Rng::from_number(3));
    let mut wl = Workload::new(Rng::from_number(2), 64);
    let mut rng = Rng::from_number(5);
    for _ in 0..2000 {
        let n = batch::pick(&mut rng, &w.live());
        wl.put(&mut w, n, rng.below(800) as usize, WriteContext::Read);
        t.strike(&mut w, &nodes, Duration::from_millis(50));
        w.run_for(Duration::from_millis(50));
        wl.collect(&mut w);
    }
    wl.finish(&mut w, Duration::from_secs(30));
    println!("crash {}", t.crashes); ends(&wl);
}

fn ahead() {
    let mut w = World::new(WorldConfig::new(1).replication(5));
    let nodes = w.form(20, Duration::from_secs(1), Duration::from_secs(60)).unwrap();
    let mut wl = Workload::new(Rng::from_number(2), 64);
    let one = nodes[5];
    let mut step = |w: &mut World, wl: &mut Workload, what: &str| {
        let i = wl.put(w, one, 0, WriteContext::Read);
        wl.finish(w, Duration::from_secs(20));
        println!("{what}: {:?}", wl.history.writes()[i].end);
    };
    step(&mut w, &mut wl, "right clock");
    w.clock_forward(one, Duration::from_secs(3600));
    step(&mut w, &mut wl, "an hour ahead");
    w.clock_back(one, Duration::from_secs(3600));
    step(&mut w, &mut wl, "right again");
    w.run_for(Duration::from_secs(60));
    step(&mut w, &mut wl, "a minute later");
}

fn main() {
    for a in std::env::args().skip(1) {
        match a.as_str() {
            "r" => for (loss, tries, alpha) in [(0.02, 2, 3), (0.02, 3, 3), (0.02, 4, 3), (0.02, 3, 8), (0.1, 3, 3), (0.1, 4, 3)] { routing(200, loss, tries, alpha) },
            "sick" => sick(), "crash" => crash(), "ahead" => ahead(),
            _ => {}
        }
    }
}
