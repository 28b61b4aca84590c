//! `distribute`: a file from a server alone, and from a server and its readers together.

use super::{Claim, Workers, Wrong, begun, seeds_option, within};
use crate::model;
use crate::report::{Axis, Fact, Line, Plot, Report, Style, Table, number, span};
use crate::swarm::{Closed, Policy, finish};

/// The options.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Readers of the largest crowd.
    pub readers: u64,
    /// Bytes of the file.
    pub file_bytes: f64,
    /// Bits a second of the server, and of a reader up and down.
    pub server_bits: f64,
    /// The upload rate of a reader.
    pub up_bits: f64,
    /// The download rate of a reader.
    pub down_bits: f64,
    /// Seeds.
    pub seeds: Vec<u64>,
}

const PIECES: usize = 128;
const NEIGHBOURS: usize = 16;
/// The largest crowd that is simulated.
const SIMULATED_MAX: u64 = 3000;

impl Options {
    fn check(&self) -> Result<(), Wrong> {
        within("readers", &self.readers, 1, 1_000_000_000)?;
        within("file", &self.file_bytes, 1000.0, 1e15)?;
        within("server", &self.server_bits, 1e3, 1e13)?;
        within("uplink", &self.up_bits, 1e3, 1e13)?;
        within("downlink", &self.down_bits, self.up_bits, 1e13)?;
        within("seeds", &self.seeds.len(), 1, 100)
    }

    fn command(&self) -> String {
        format!(
            "potluck sim distribute --readers {} --file {} --server {} --uplink {} --downlink {}{}",
            self.readers,
            amount(self.file_bytes, "B"),
            amount(self.server_bits, "bit"),
            amount(self.up_bits, "bit"),
            amount(self.down_bits, "bit"),
            seeds_option(&self.seeds)
        )
    }

    /// Seconds of a simulated swarm.
    fn swarm_seconds(&self, readers: u64, seed: u64) -> f64 {
        let setting = Closed {
            readers: readers as usize,
            pieces: PIECES,
            neighbours: NEIGHBOURS,
            down: (self.down_bits / self.up_bits).clamp(1.0, 255.0) as u8,
            seed_sends: (self.server_bits / self.up_bits).round().clamp(1.0, 100_000.0) as usize,
            policy: Policy::Rarest,
            seed,
        };
        let piece_seconds = self.file_bytes * 8.0 / PIECES as f64 / self.up_bits;
        finish(&setting).last as f64 * piece_seconds
    }
}

/// An amount in the form of the command line.
fn amount(value: f64, unit: &str) -> String {
    let prefixes = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];
    let (factor, prefix) = prefixes.into_iter().find(|it| value >= it.0).unwrap_or((1.0, ""));
    format!("{}{prefix}{unit}", value / factor)
}

/// Runs the study.
///
/// # Errors
/// [`Wrong`]: an option is outside its range.
pub fn run(options: &Options, workers: &impl Workers) -> Result<Report, Wrong> {
    options.check()?;
    let question = "How long until all readers have the file: from a server, or from each other?";
    let mut report = begun("distribute", question, options.command(), &options.seeds);
    let mut crowds: Vec<u64> =
        (0..).map(|power| 10u64.pow(power)).take_while(|it| *it < options.readers).collect();
    crowds.push(options.readers);
    let simulated: Vec<u64> = crowds.iter().copied().filter(|it| *it <= SIMULATED_MAX).collect();
    let jobs: Vec<(u64, u64)> = simulated
        .iter()
        .flat_map(|readers| options.seeds.iter().map(|seed| (*readers, *seed)))
        .collect();
    let times = workers.map(&jobs, |(readers, seed)| options.swarm_seconds(*readers, *seed));
    for ((readers, seed), seconds) in jobs.iter().zip(times) {
        report.facts.push(Fact {
            level: "compact",
            nodes: *readers,
            seed: *seed,
            parameter: String::new(),
            metric: "swarm",
            value: seconds,
            unit: "s",
        });
    }
    table(&mut report, options, &crowds);
    told(&mut report, options);
    Ok(report)
}

fn bounds(options: &Options, readers: u64) -> (f64, f64) {
    let (readers, bits) = (readers as f64, options.file_bytes * 8.0);
    let server =
        model::client_server_seconds(readers, bits, options.server_bits, options.down_bits);
    let (up, down) = (options.up_bits, options.down_bits);
    (server, model::peer_to_peer_seconds(readers, bits, options.server_bits, up, down))
}

fn table(report: &mut Report, options: &Options, crowds: &[u64]) {
    let (mut rows, mut server, mut bound) = (Vec::new(), Vec::new(), Vec::new());
    let (mut swarm, mut ranges) = (Vec::new(), Vec::new());
    for readers in crowds {
        let (alone, together) = bounds(options, *readers);
        let simulated = *readers <= SIMULATED_MAX;
        let measured = report.spread(*readers, "", "swarm");
        rows.push(vec![
            number(*readers as f64),
            span(alone),
            span(together),
            if simulated { span(measured[1]) } else { "-".to_owned() },
            format!("{} times", number(alone / if simulated { measured[1] } else { together })),
        ]);
        server.push((*readers as f64, alone));
        bound.push((*readers as f64, together));
        if simulated {
            swarm.push((*readers as f64, measured[1]));
            ranges.push((measured[0], measured[2]));
            report.claims.push(Claim {
                name: format!(
                    "time of a swarm of {} over the least possible",
                    number(*readers as f64)
                ),
                setting: format!("{PIECES} pieces, {NEIGHBOURS} neighbours, rarest first"),
                measured: measured.map(|seconds| seconds / together),
                unit: "times",
                low: 0.99,
                high: 1.3,
                source: "Kumar and Ross, HotWeb 2006",
                reason: None,
            });
        }
    }
    report.tables.push(Table {
        title: "Until the last reader has all of it".into(),
        columns: vec!["readers", "server alone", "least with peers", "swarm", "server / swarm"],
        rows,
    });
    let line =
        |name: &str, style, points| Line { name: name.into(), style, points, ranges: Vec::new() };
    let mut lines = vec![
        Line { ranges, ..line("simulated swarm", Style::Measured, swarm) },
        line("server alone", Style::Formula, server),
        line("least with peers", Style::Formula, bound),
    ];
    lines.retain(|line| !line.points.is_empty());
    report.plots.push(Plot {
        title: "Time against readers".into(),
        x: Axis { name: "readers".into(), log: true },
        y: Axis { name: "seconds".into(), log: true },
        lines,
    });
}

fn told(report: &mut Report, options: &Options) {
    let (alone, together) = bounds(options, options.readers);
    let for_ever = options.file_bytes * 8.0 / options.up_bits;
    report.verdict = format!(
        "{} readers: {} from the server alone, {} at least with peers. However many there are, peers need \
         about {} (file / uplink): it is the readers' uplink that counts.",
        number(options.readers as f64),
        span(alone),
        span(together),
        span(for_ever)
    );
    report.notes.push(format!(
        "Formulas: server max(N F / us, F / d); peers max(F / us, F / d, N F / (us + N u)). The swarm is played \
         up to {} readers in rounds of one piece on a reader's uplink; {PIECES} pieces cost it up to two rounds \
         more than a fluid would.",
        number(SIMULATED_MAX as f64)
    ));
}

#[cfg(test)]
mod tests {
    use super::super::OneByOne;
    use super::*;

    #[test]
    fn a_swarm_is_near_the_least_possible_time() {
        let options = Options {
            readers: 300,
            file_bytes: 1e9,
            server_bits: 1e9,
            up_bits: 2e7,
            down_bits: 1e8,
            seeds: vec![1, 2],
        };
        let report = run(&options, &OneByOne).expect("a report");
        let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
        assert_eq!(failures, Vec::<String>::new());
        super::super::assert_narrow(&report.to_string());
    }
}
