//! Prints figures of level 0: `cargo run --release -p potluck-scale --example measure -- 1000000 0.3 16`.
#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use potluck_scale::implicit::{Kademlia, Setting, measure};

fn main() {
    let numbers: Vec<f64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let at = |place: usize, default: f64| numbers.get(place).copied().unwrap_or(default);
    let kademlia = Kademlia {
        answer: at(2, 16.0) as usize,
        k: at(4, 16.0) as usize,
        alpha: at(5, 3.0) as usize,
        ..Kademlia::default()
    };
    let setting = Setting {
        nodes: at(0, 1000.0) as usize,
        dead: at(1, 0.0),
        lookups: at(3, 2000.0) as u64,
        seed: 1,
        kademlia,
        neighbours: 16,
    };
    let began = std::time::Instant::now();
    let found = measure(&setting);
    println!(
        "nodes {} hops {:.2} max {} requests {:.1} p99 {} rounds {} timeouts {:.1} all {:.4} table {:.0} \
         chord {:.2} pastry {:.2} seconds {:.1}",
        setting.nodes,
        found.hops.mean(),
        found.hops.max(),
        found.requests.mean(),
        found.requests.quantile(0.99),
        found.rounds.quantile(0.5),
        found.timeouts.mean(),
        found.all_found as f64 / found.lookups as f64,
        found.table.mean(),
        found.chord.hops.mean(),
        found.pastry.hops.mean(),
        began.elapsed().as_secs_f64()
    );
}
