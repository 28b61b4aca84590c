//! `validate`: published figures, each simulated in the setting of its paper.

use super::{Claim, Workers, begun, near, paths, seeds_option, told};
use crate::compact::{Churn, Overlay, Setting, run as play};
use crate::draw::mix2;
use crate::gossip::{first_detection, heal, push, push_pull};
use crate::implicit::{self, Kademlia, Ring};
use crate::model;
use crate::report::{Report, Table};
use crate::sample::{interval_99, spread};
use crate::swarm::{Closed, Open, Policy, finish, peers_present};

/// The options.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Whether settings are reduced to a tenth: for tests of the program, not as evidence.
    pub quick: bool,
}

/// One group of published figures, with its simulation.
type Figure = (&'static str, fn(&Options) -> Vec<Claim>);

const FIGURES: [Figure; 12] = [
    ("1 hops and tables of Kademlia", kademlia),
    ("2 hops of Chord and Pastry", chord_and_pastry),
    ("3 S/Kademlia, disjoint paths", disjoint),
    ("4 Bamboo, churn of minutes", bamboo),
    ("5 IPFS, hops", ipfs),
    ("6 SWIM, first detection", swim),
    ("7 push and push-pull", spreading),
    ("8 HyParView and Plumtree", hyparview),
    ("9 the missing piece", missing_piece),
    ("10 swarms near the optimum", swarms),
    ("11 loss by share^r", loss),
    ("12 upkeep by 2 r D / L", upkeep),
];

/// Runs all figures.
pub fn run(options: &Options, workers: &impl Workers) -> Report {
    let question = "Does the simulator reproduce what was published?";
    let command = format!("potluck sim validate{}", seeds_option(&options.seeds));
    let mut report = begun("validate", question, command, &options.seeds);
    let claims = workers.map(&FIGURES, |(_, figure)| figure(options));
    let mut rows = Vec::new();
    for ((name, _), claims) in FIGURES.iter().zip(claims) {
        let holding = claims.iter().filter(|claim| claim.holds()).count();
        let word = if holding == claims.len() { "ok" } else { "outside" };
        rows.push(vec![
            (*name).to_owned(),
            format!("{holding} of {}", claims.len()),
            word.to_owned(),
        ]);
        report.claims.extend(claims);
    }
    let good = rows.iter().filter(|row| row[2] == "ok").count();
    report.verdict = format!("{good} of {} published figures are reproduced.", FIGURES.len());
    report.tables.push(Table {
        title: "Published figures".into(),
        columns: vec!["figure", "within", "verdict"],
        rows,
    });
    report.notes.push(
        "Levels 0 and 1, written from the papers. Not simulated: nodes that come back with their records, so \
         the holders of IPFS after 36 hours (RFM 17) are not compared."
            .into(),
    );
    report
}

/// A count that is reduced for a quick run.
const fn cut(options: &Options, count: u64) -> u64 {
    if options.quick { count / 10 } else { count }
}

fn over(options: &Options, measure: impl Fn(u64) -> f64) -> [f64; 3] {
    spread(options.seeds.iter().map(|seed| measure(*seed)).collect())
}

fn still(options: &Options, nodes: usize, seed: u64) -> implicit::Found {
    implicit::measure(&implicit::Setting {
        nodes,
        dead: 0.0,
        lookups: cut(options, 4000).max(1500),
        seed,
        kademlia: Kademlia::default(),
        neighbours: 16,
    })
}

const SIZES: [usize; 3] = [1000, 10_000, 100_000];

fn kademlia(options: &Options) -> Vec<Claim> {
    let mut claims = Vec::new();
    for nodes in SIZES {
        let found: Vec<implicit::Found> =
            options.seeds.iter().map(|seed| still(options, nodes, *seed)).collect();
        let of =
            |value: &dyn Fn(&implicit::Found) -> f64| spread(found.iter().map(value).collect());
        let setting = format!("{nodes} nodes, k 16, alpha 3, close group 48, no churn");
        let hops = near("hops", of(&|it| it.hops.mean()), model::hops(nodes as f64, 16, 3), 0.03);
        claims.push(told(hops, &setting, "hops", "c log N: Cai and Devroye, ISAAC 2013"));
        let table = near(
            "contacts",
            of(&|it| it.table.mean()),
            model::table_contacts(nodes as f64, 16),
            0.03,
        );
        claims.push(told(table, &setting, "contacts", "sum of E[min(k, Bin(N - 1, 2^-i))]"));
    }
    claims
}

fn chord_and_pastry(options: &Options) -> Vec<Claim> {
    let mut claims = Vec::new();
    for nodes in SIZES {
        let found: Vec<implicit::Found> =
            options.seeds.iter().map(|seed| still(options, nodes, *seed)).collect();
        let of =
            |value: &dyn Fn(&implicit::Found) -> f64| spread(found.iter().map(value).collect());
        let setting = format!("{nodes} nodes, 16 successors or leaves, no churn");
        let chord = near(
            "hops of Chord",
            of(&|it| it.chord.hops.mean()),
            model::chord_hops(nodes as f64, 16),
            0.03,
        );
        claims.push(told(chord, &setting, "hops", "1/2 log2 N: Stoica et al., SIGCOMM 2001"));
        let formula = model::pastry_hops(nodes as f64, 4, 16);
        let pastry = near("hops of Pastry", of(&|it| it.pastry.hops.mean()), formula, 0.03);
        claims.push(told(
            pastry,
            &setting,
            "hops",
            "log16 N: Rowstron and Druschel, Middleware 2001",
        ));
    }
    claims
}

fn disjoint(options: &Options) -> Vec<Claim> {
    let lookups = cut(options, 3000).max(500);
    paths::claims(&paths::Options { lookups, seeds: options.seeds.clone(), ..Default::default() })
}

/// Bamboo keeps a leaf set and checks often; the same is required of Kademlia with small buckets.
fn bamboo(options: &Options) -> Vec<Claim> {
    let setting = |seed| Setting {
        minutes: if options.quick { 10 } else { 30 },
        churn: Churn::bamboo(),
        overlay: Overlay::Kademlia { k: 8, alpha: 3, close_group: 24, answer: 8 },
        far_seconds: 80,
        near_seconds: 5,
        records: 0.01,
        replicas: 4,
        lookup_seconds: 60.0,
        ..Setting::new(1000, seed)
    };
    let outcomes: Vec<_> = options.seeds.iter().map(|seed| play(&setting(*seed))).collect();
    let found = outcomes.iter().map(|it| 100.0 * it.found as f64 / it.lookups.max(1) as f64);
    let bytes = outcomes.iter().map(|it| it.traffic.checks + it.traffic.joins);
    let what = "1,000 nodes, median session 1.4 min, k 8, contacts checked each 80 s";
    let source = "Rhea et al., UCB/CSD-03-1299: median session 1.4 min, under 900 B/s a node";
    let success = Claim {
        name: "lookups that find the closest node".into(),
        measured: spread(found.collect()),
        low: 99.0,
        high: 100.0,
        ..Claim::default()
    };
    let traffic = Claim {
        name: "bytes of upkeep".into(),
        measured: spread(bytes.collect()),
        low: 0.0,
        high: 900.0,
        reason: Some(
            "Datagrams here carry a seal of 95 bytes each; those of Bamboo had none.".into(),
        ),
        ..Claim::default()
    };
    vec![told(success, what, "%", source), told(traffic, what, "bytes a node and second", source)]
}

fn ipfs(options: &Options) -> Vec<Claim> {
    let setting = |seed| Setting {
        minutes: 20,
        overlay: Overlay::Kademlia { k: 20, alpha: 3, close_group: 60, answer: 20 },
        records: 0.05,
        lookup_seconds: 1200.0,
        ..Setting::new(cut(options, 20_000) as usize, seed)
    };
    // One world per seed takes some seconds.
    let outcomes: Vec<_> = options.seeds.iter().take(3).map(|seed| play(&setting(*seed))).collect();
    let part =
        |limit: u64| spread(outcomes.iter().map(|it| 100.0 * it.hops.share_up_to(limit)).collect());
    [(4, 50.0), (6, 90.0)]
        .map(|(limit, percent)| {
            let name = format!("lookups of at most {limit} hops");
            let claim = Claim {
                name,
                measured: part(limit),
                low: percent,
                high: 100.0,
                ..Claim::default()
            };
            told(
                claim,
                "20,000 nodes, k 20, sessions of IPFS",
                "%",
                "Protocol Labs, RFM 17, figures 7 and 8",
            )
        })
        .into()
}

fn swim(options: &Options) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (nodes, trials) in [(100, 3000), (1000, 1000), (10_000, 300)] {
        let trials = cut(options, trials).max(100) as u32;
        let measured: Vec<(f64, f64)> =
            options.seeds.iter().map(|seed| first_detection(nodes, trials, *seed)).collect();
        let periods = spread(measured.iter().map(|it| it.0).collect());
        let claim = near(
            "periods until the first detection",
            periods,
            model::first_detection_periods(),
            0.06,
        );
        let setting = format!("{nodes} members, {trials} failures");
        let source = "e / (e - 1): Das, Gupta, Motivala, SWIM, DSN 2002";
        claims.push(told(claim, &setting, "periods", source));
        let load = spread(measured.iter().map(|it| it.1).collect());
        let claim = near("probes that a member receives in a period", load, 1.0, 0.1);
        claims.push(told(claim, &setting, "probes", "constant in N: SWIM"));
    }
    claims
}

fn spreading(options: &Options) -> Vec<Claim> {
    let nodes = 10_000;
    let pushed = over(options, |seed| f64::from(push(nodes, seed)));
    let both = over(options, |seed| f64::from(push_pull(nodes, seed)));
    let formula = model::push_rounds(nodes as f64);
    let push = Claim {
        name: "rounds of push".into(),
        measured: pushed,
        low: formula - 1.5,
        high: formula + 1.5,
        ..Claim::default()
    };
    // log3 N, and the term of log log N that the paper leaves open.
    let least = (nodes as f64).ln() / 3f64.ln();
    let pull = Claim {
        name: "rounds of push-pull".into(),
        measured: both,
        low: least - 1.0,
        high: least + (nodes as f64).ln().ln() + 1.0,
        ..Claim::default()
    };
    vec![
        told(push, "10,000 nodes, uniform", "rounds", "log2 N + ln N: Pittel 1987"),
        told(
            pull,
            "10,000 nodes, uniform",
            "rounds",
            "log3 N + O(log log N): Karp et al., FOCS 2000",
        ),
    ]
}

fn hyparview(options: &Options) -> Vec<Claim> {
    let nodes = cut(options, 10_000).max(2000) as usize;
    let healings: Vec<_> = options.seeds.iter().map(|seed| heal(nodes, 0.9, 4, *seed)).collect();
    let after =
        |cycle: usize| spread(healings.iter().map(|it| 100.0 * it.reached[cycle]).collect());
    let redundancy = spread(healings.iter().map(|it| it.redundancy).collect());
    let reached = Claim {
        name: "survivors reached four cycles after 90 % failed".into(),
        measured: after(4),
        low: 99.0,
        high: 100.0,
        reason: Some(
            "At 90 % a few survivors are left whose 35 known nodes all died: (0.9)^35 is 2.5 %, less those \
             that others find."
                .into(),
        ),
        ..Claim::default()
    };
    let tree = Claim {
        name: "payloads beyond one a node over the tree".into(),
        measured: redundancy,
        low: 0.0,
        high: 0.001,
        ..Claim::default()
    };
    let setting = format!("{nodes} nodes, active view 5, passive view 30");
    vec![
        told(reached, &setting, "%", "Leitao et al., HyParView, DSN 2007"),
        told(tree, &setting, "a node", "Leitao et al., Plumtree, SRDS 2007: RMR 0"),
    ]
}

fn missing_piece(options: &Options) -> Vec<Claim> {
    let seconds = cut(options, 20_000) as f64;
    let present = |arrivals: f64| {
        over(options, |seed| {
            let open = Open { arrivals, seed_rate: 1.0, pieces: 10, stay: 0.0, seconds, seed };
            let present = peers_present(&open);
            present[7] as f64
        })
    };
    let source = "Hajek and Zhu, IEEE IT 2012, arXiv 1002.3493";
    let setting = format!("10 pieces, peers leave when complete, {seconds} s");
    // Above the threshold a swarm grows by the excess of arrivals; below it the size stays bounded.
    let stable = Claim {
        name: "peers at the end, arrivals of 0.9 times the seed's rate".into(),
        measured: present(0.9),
        low: 0.0,
        high: 0.02 * seconds,
        ..Claim::default()
    };
    let grows = Claim {
        name: "peers at the end, arrivals of 1.1 times the seed's rate".into(),
        measured: present(1.1),
        low: 0.05 * seconds,
        high: 0.2 * seconds,
        ..Claim::default()
    };
    vec![told(stable, &setting, "peers", source), told(grows, &setting, "peers", source)]
}

fn swarms(options: &Options) -> Vec<Claim> {
    let mut claims = Vec::new();
    let sizes: &[usize] = if options.quick { &[128] } else { &[128, 1000, 4000] };
    for readers in sizes {
        for (policy, name) in [(Policy::Rarest, "rarest first"), (Policy::Random, "random")] {
            let optimum = f64::from(model::swarm_rounds(256, *readers as u32));
            let seeds = Options {
                seeds: options.seeds.iter().copied().take(3).collect(),
                ..options.clone()
            };
            let measured = over(&seeds, |seed| {
                let readers = *readers;
                let crowd = Closed {
                    readers,
                    pieces: 256,
                    neighbours: 16,
                    down: 4,
                    seed_sends: 1,
                    policy,
                    seed,
                };
                finish(&crowd).last as f64 / optimum
            });
            let (low, high) = match policy {
                Policy::Rarest => (1.0, 1.05),
                // Massoulie and Vojnovic (SIGMETRICS 2005): random pieces lose little throughput.
                Policy::Random => (1.0, 1.25),
            };
            let claim = Claim {
                name: format!("rounds over the optimum, {name}"),
                measured,
                low,
                high,
                ..Claim::default()
            };
            let setting = format!("{readers} readers, 256 pieces, 16 neighbours, 4 downlinks");
            claims.push(told(
                claim,
                setting,
                "times",
                "M + floor(log2 N): Mundinger, Weber, Weiss 2008",
            ));
        }
    }
    claims
}

fn loss(options: &Options) -> Vec<Claim> {
    // Fewer records than sets of holders; otherwise records with the same holders are lost together.
    let records = cut(options, 12_500).max(2500);
    let mut lost = [0u64; 5];
    for seed in &options.seeds {
        let ring = Ring::new(200_000, 0.3, *seed);
        for record in 0..records {
            let closest = ring.closest(mix2(mix2(*seed, 103), record), 5);
            let dead = closest.iter().take_while(|node| ring.is_dead(**node as usize)).count();
            lost[..dead].iter_mut().for_each(|count| *count += 1);
        }
    }
    let all = records * options.seeds.len() as u64;
    let claims = lost.iter().enumerate().map(|(at, lost)| {
        let replicas = at as u32 + 1;
        let (low, high) = interval_99(*lost, all);
        let formula = model::lost_at_once(1.0, replicas, 0.3);
        let name = format!("0.3^{replicas} within what was measured");
        let claim = Claim { name, measured: [formula; 3], low, high, ..Claim::default() };
        told(
            claim,
            format!("{all} records, 200,000 nodes"),
            "of all",
            "independent failures; 99 % interval",
        )
    });
    claims.collect()
}

fn upkeep(options: &Options) -> Vec<Claim> {
    let mut claims = Vec::new();
    for session in [1800.0, 3600.0, 7200.0] {
        let nodes = cut(options, 3000).max(1000) as usize;
        let setting = |seed| Setting {
            minutes: 60,
            churn: Churn::Exponential(session),
            records: 2.0,
            replicas: 8,
            lookup_seconds: 3600.0,
            ..Setting::new(nodes, seed)
        };
        let measured = over(options, |seed| {
            let traffic = play(&setting(seed)).traffic;
            traffic.repair + traffic.hand_over
        });
        let unique = 2.0 * (setting(1).record_bytes + 450.0);
        let claim = near(
            "bytes of repair and hand-over",
            measured,
            model::repair_bytes_a_second(unique, 8, session),
            0.15,
        );
        let setting = format!("{nodes} nodes, mean session {} min, r 8", session / 60.0);
        claims.push(told(
            claim,
            setting,
            "bytes a node and second",
            "Blake and Rodrigues, HotOS 2003",
        ));
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::super::OneByOne;
    use super::*;

    #[test]
    fn a_quick_run_judges_all_twelve_figures() {
        let report = run(&Options { seeds: vec![1, 2], quick: true }, &OneByOne);
        assert_eq!(report.tables[0].rows.len(), 12);
        assert!(report.claims.len() > 30);
        let text = report.to_string();
        super::super::assert_narrow(&text);
        let holding = report.claims.iter().filter(|claim| claim.holds()).count();
        assert!(holding * 10 >= report.claims.len() * 7, "{text}");
    }
}
