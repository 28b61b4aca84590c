//! Plays a network of level 1: `cargo run --release -p potluck-scale --example live -- 1000000 ipfs 60`.
#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use potluck_scale::compact::{Churn, Overlay, Setting, run};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |place: usize, default: &str| words.get(place).map_or(default, |it| it).to_owned();
    let overlay = match word(3, "kademlia").as_str() {
        "chord" => Overlay::chord(),
        "pastry" => Overlay::pastry(),
        _ => Overlay::product(),
    };
    let setting = Setting {
        churn: Churn::named(&word(1, "ipfs")).unwrap_or(Churn::None),
        minutes: word(2, "60").parse().unwrap_or(60),
        overlay,
        ..Setting::new(word(0, "1000").parse().unwrap_or(1000), 1)
    };
    let began = std::time::Instant::now();
    let outcome = run(&setting);
    println!(
        "{} nodes: {} lookups, found {:.4}, all {:.4}, hops {:.2}, requests {:.1}, timeouts {:.2}, p50 {} p99 {} \
         ms, missed {}, lost {}, joined {}, {:?}, {:.1} s",
        setting.nodes,
        outcome.lookups,
        outcome.found as f64 / outcome.lookups as f64,
        outcome.all_found as f64 / outcome.lookups as f64,
        outcome.hops.mean(),
        outcome.requests.mean(),
        outcome.timeouts.mean(),
        outcome.latency.quantile(0.5),
        outcome.latency.quantile(0.99),
        outcome.reads_missed,
        outcome.lost,
        outcome.joined,
        outcome.traffic,
        began.elapsed().as_secs_f64()
    );
}
