//! `find`: search by name in a structured and in an unstructured network.

use super::{Workers, Wrong, begun, seeds_option, within};
use crate::find::{Setting, Way, broadcast, search};
use crate::implicit::{self, Kademlia};
use crate::report::{Axis, Fact, Line, Plot, Report, Style, Table, number, share};

/// The options.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Sizes of the networks.
    pub sizes: Vec<usize>,
    /// The share of nodes that are dead without being detected.
    pub dead: f64,
    /// Searches for each row, over all seeds.
    pub searches: u32,
    /// Seeds.
    pub seeds: Vec<u64>,
}

/// Holders of the names.
const HOLDERS: [usize; 3] = [1, 10, 1000];
const LINKS: usize = 8;
const ONE_WAY: f64 = 50.0;
/// Nodes that hold the entry of a name in the index.
const REPLICAS: i32 = 16;

fn ways() -> [(&'static str, Way); 4] {
    [
        ("flood, 4 hops", Way::Flood(4)),
        ("flood, 7 hops", Way::Flood(7)),
        ("ring, up to 7", Way::Ring(7)),
        ("16 walks of 256", Way::Walk(16, 256)),
    ]
}

/// Runs the study.
///
/// # Errors
/// [`Wrong`]: an option is outside its range.
pub fn run(options: &Options, workers: &impl Workers) -> Result<Report, Wrong> {
    for nodes in &options.sizes {
        within("nodes", nodes, 1000, 1_000_000)?;
    }
    within("dead", &options.dead, 0.0, 0.9)?;
    within("searches", &options.searches, 1, 100_000)?;
    within("seeds", &options.seeds.len(), 1, 100)?;
    let sizes: Vec<String> = options.sizes.iter().map(ToString::to_string).collect();
    let command = format!(
        "potluck sim find --nodes {} --dead {} --searches {}{}",
        sizes.join(","),
        options.dead,
        options.searches,
        seeds_option(&options.seeds)
    );
    let question = "Is a name found faster by asking around or by an index in the DHT?";
    let mut report = begun("find", question, command, &options.seeds);
    for nodes in &options.sizes {
        let mut jobs = Vec::new();
        for seed in &options.seeds {
            jobs.extend(
                HOLDERS.iter().flat_map(|holders| ways().map(|way| (*seed, *holders, way))),
            );
        }
        let each = options.searches.div_ceil(options.seeds.len() as u32);
        let found = workers.map(&jobs, |(seed, holders, (_, way))| {
            let (nodes, holders, dead, seed) = (*nodes, *holders, options.dead, *seed);
            search(
                &Setting {
                    nodes,
                    links: LINKS,
                    dead,
                    holders,
                    searches: each,
                    one_way: ONE_WAY,
                    seed,
                },
                *way,
            )
        });
        for ((seed, holders, (name, _)), found) in jobs.iter().zip(&found) {
            let figures = [
                found.hits as f64 / f64::from(each),
                found.messages.mean(),
                found.millis.quantile(0.5) as f64,
            ];
            facts(&mut report, *nodes, *seed, &parameter(name, *holders), figures);
        }
        structured(&mut report, options, *nodes, workers);
        table(&mut report, *nodes);
    }
    told(&mut report, options);
    Ok(report)
}

fn parameter(way: &str, holders: usize) -> String {
    format!("{way}, {holders} holders")
}

fn facts(report: &mut Report, nodes: usize, seed: u64, parameter: &str, figures: [f64; 3]) {
    let names = [("hit rate", "share"), ("messages", "messages"), ("latency p50", "ms")];
    for ((metric, unit), value) in names.into_iter().zip(figures) {
        let parameter = parameter.to_owned();
        report.facts.push(Fact {
            level: "implicit",
            nodes: nodes as u64,
            seed,
            parameter,
            metric,
            value,
            unit,
        });
    }
}

const INDEX: &str = "index in the DHT";
const BROADCAST: &str = "flood of the DHT";

/// The index: a lookup of the key of the word. And a broadcast over all buckets.
fn structured(report: &mut Report, options: &Options, nodes: usize, workers: &impl Workers) {
    let found = workers.map(&options.seeds, |seed| {
        let lookups = u64::from(options.searches.div_ceil(options.seeds.len() as u32));
        let (dead, kademlia) = (options.dead, Kademlia::default());
        let setting =
            implicit::Setting { nodes, dead, lookups, seed: *seed, kademlia, neighbours: 16 };
        (implicit::measure(&setting), broadcast(nodes, dead, *seed))
    });
    for (seed, (lookups, (sent, reached, depth))) in options.seeds.iter().zip(found) {
        for holders in HOLDERS {
            // The index names all holders; one live holder is enough.
            let living = 1.0 - options.dead.powi(holders as i32);
            let entry = 1.0 - options.dead.powi(REPLICAS);
            let closest = lookups.closest_found as f64 / lookups.lookups.max(1) as f64;
            let messages = lookups.requests.mean() * 2.0 - lookups.timeouts.mean() + 2.0;
            let millis = (lookups.hops.quantile(0.5) as f64 + 1.0) * 2.0 * ONE_WAY;
            let figures = [closest * entry * living, messages, millis];
            facts(report, nodes, *seed, &parameter(INDEX, holders), figures);
            let figures = [reached * living, sent as f64, (f64::from(depth) / 2.0 + 1.0) * ONE_WAY];
            facts(report, nodes, *seed, &parameter(BROADCAST, holders), figures);
        }
    }
}

fn all_ways() -> Vec<&'static str> {
    ways().iter().map(|(name, _)| *name).chain([BROADCAST, INDEX]).collect()
}

fn table(report: &mut Report, nodes: usize) {
    let mut rows = Vec::new();
    for way in all_ways() {
        let mut row = vec![way.to_owned()];
        for holders in HOLDERS {
            let at = |metric| report.spread(nodes as u64, &parameter(way, holders), metric)[1];
            let (hits, messages, millis) = (at("hit rate"), at("messages"), at("latency p50"));
            let millis = if hits > 0.0 { number(millis) } else { "-".to_owned() };
            row.push(format!("{:.0} % {} {millis}", hits * 100.0, number(messages)));
        }
        rows.push(row);
    }
    report.tables.push(Table {
        title: format!(
            "{} nodes: found, messages a search, ms at the median",
            number(nodes as f64)
        ),
        columns: vec!["way", "1 holder", "10 holders", "1,000 holders"],
        rows,
    });
}

fn told(report: &mut Report, options: &Options) {
    let (Some(least), Some(most)) = (options.sizes.iter().min(), options.sizes.iter().max()) else {
        return;
    };
    let at = |nodes: usize, way, holders, metric| {
        report.spread(nodes as u64, &parameter(way, holders), metric)[1]
    };
    let verdict = format!(
        "For a name that one node of {} has, a flood of 7 hops sends {} messages and finds it in {} of \
         searches; the index sends {} and finds it in {} (in the others its \
         one holder has died). For a name that 1,000 have, walks need {} messages. \
         So: rare names belong into the DHT; asking around is for what many have, or for networks of {} nodes.",
        number(*most as f64),
        number(at(*most, "flood, 7 hops", 1, "messages")),
        share(at(*most, "flood, 7 hops", 1, "hit rate")),
        number(at(*most, INDEX, 1, "messages")),
        share(at(*most, INDEX, 1, "hit rate")),
        number(at(*most, "16 walks of 256", 1000, "messages")),
        number(*least as f64)
    );
    let mut lines = Vec::new();
    for way in all_ways() {
        let points =
            options.sizes.iter().map(|nodes| (*nodes as f64, at(*nodes, way, 1, "messages")));
        lines.push(Line {
            name: way.into(),
            style: Style::Measured,
            points: points.collect(),
            ranges: Vec::new(),
        });
    }
    report.verdict = verdict;
    report.plots.push(Plot {
        title: "Messages of a search for a name with one holder".into(),
        x: Axis { name: "nodes".into(), log: true },
        y: Axis { name: "messages".into(), log: true },
        lines,
    });
    report.notes.push(format!(
        "Random links, {LINKS} a node; {} of the nodes died a moment ago and are still in all tables, holders \
         too; one way takes {ONE_WAY} ms. The index keeps an entry of the name on {REPLICAS} nodes; its \
         upkeep is that of records (`potluck sim live`). The flood of the DHT hands each bucket on to one \
         contact in it (El-Ansary et al. 2003). As in Castro, Costa and Rowstron (NSDI 2005), all ways meet \
         the same dead nodes.",
        share(options.dead)
    ));
}

#[cfg(test)]
mod tests {
    use super::super::OneByOne;
    use super::*;

    #[test]
    fn a_rare_name_is_found_by_the_index_and_missed_by_walks() {
        let options =
            Options { sizes: vec![1000, 5000], dead: 0.05, searches: 60, seeds: vec![1, 2] };
        let report = run(&options, &OneByOne).expect("a report");
        let at = |way, metric| report.spread(5000, &parameter(way, 1), metric)[1];
        assert!(at(INDEX, "hit rate") > 0.9 && at("16 walks of 256", "hit rate") < 0.8);
        assert!(at(INDEX, "messages") < 60.0 && at("flood, 7 hops", "messages") > 5000.0);
        super::super::assert_narrow(&report.to_string());
    }
}
