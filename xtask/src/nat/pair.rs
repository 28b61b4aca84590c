//! One pair of kinds: five nodes, and every cell that is tried among them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::expect::{self, What};
use super::kind::{Kind, Kinds};
use super::wires::{Place, Wires};
use crate::node::{Failed, Node};
use crate::{sandbox, tools};

/// Longest time until all nodes list each other.
const MEMBERS_MAX: Duration = Duration::from_secs(20);
/// How often their lists are read.
const MEMBERS_LOOK: Duration = Duration::from_millis(250);
/// The public node that takes part in cells.
const PUBLIC: Place = Place::Public(1);
/// The directions in which records and files are tried.
const WAYS: [Way; 6] = [
    Way { from: Place::A, to: PUBLIC },
    Way { from: Place::A, to: Place::B },
    Way { from: Place::B, to: PUBLIC },
    Way { from: Place::B, to: Place::A },
    Way { from: PUBLIC, to: Place::A },
    Way { from: PUBLIC, to: Place::B },
];

/// The two ends of a record or a file.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Where it is written or shared.
    from: Place,
    /// Where it is read or fetched.
    to: Place,
}

/// A fetched file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fetched {
    pub(super) bytes: u64,
    /// The duration that the program reports.
    pub(super) seconds: f64,
    /// The number of nodes it came from.
    pub(super) sources: usize,
    /// The hash of the source and of what arrived.
    pub(super) sha256: [String; 2],
}

impl Fetched {
    pub(super) fn is_equal(&self) -> bool {
        let [shared, arrived] = &self.sha256;
        shared == arrived && !shared.is_empty()
    }

    /// Millions of bytes a second.
    pub(super) fn rate(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds.max(1e-3)
    }
}

/// The result of a cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// The number of members listed as alive.
    Members(usize),
    /// The written record was read.
    Record,
    /// The file arrived.
    File(Fetched),
    /// A command failed.
    Failed(Failed),
}

/// One cell: a thing that was tried.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub(super) what: What,
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) outcome: Outcome,
    /// From the first command to the end of the last one.
    pub(super) seconds: f64,
    pub(super) must: bool,
}

impl Cell {
    /// Whether it succeeded.
    pub(super) fn is_good(&self) -> bool {
        match &self.outcome {
            Outcome::Members(alive) => *alive == Place::ALL.len(),
            Outcome::Record => true,
            Outcome::File(fetched) => fetched.is_equal(),
            Outcome::Failed(_) => false,
        }
    }

    /// Why the result is a fault; `None` if it is none.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match &self.outcome {
            _ if self.is_good() => None,
            Outcome::File(_) => Some("other bytes arrived"),
            _ if self.must => Some("it must succeed"),
            Outcome::Failed(failed) if !expect::is_right(&failed.sentence) => {
                Some("it may fail, but not with these words")
            }
            _ => None,
        }
    }
}

/// The result of a pair.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) kinds: Kinds,
    /// How long each node took to join the network.
    pub(super) starts: Vec<(Place, Result<Duration, Failed>)>,
    pub(super) cells: Vec<Cell>,
    /// Why no cell could be tried.
    pub(super) accident: Option<String>,
}

impl Pair {
    /// The faults, in sentences.
    pub(super) fn broken(&self) -> Vec<String> {
        let accident = self.accident.iter().map(|words| format!("{}: {words}", self.name()));
        let starts = self.starts.iter().filter_map(|(place, start)| {
            let failed = start.as_ref().err().filter(|it| !expect::is_right(&it.sentence))?;
            Some(format!("{}: up at {}: {}", self.name(), place.name(), failed.sentence))
        });
        let cells = self.cells.iter().filter_map(|cell| {
            let fault = cell.fault()?;
            Some(format!("{}: {}: {fault}", self.name(), super::report::title(cell)))
        });
        accident.chain(starts).chain(cells).collect()
    }

    pub(super) fn name(&self) -> String {
        format!("{} - {}", self.kinds.a, self.kinds.b)
    }
}

/// Runs one pair, from making the links to the verdict.
pub(super) fn play(kinds: Kinds, program: &Path, mib: usize) -> Pair {
    let mut pair = Pair { kinds, starts: Vec::new(), cells: Vec::new(), accident: None };
    if let Err(accident) = try_all(&mut pair, program, mib) {
        pair.accident = Some(accident);
    }
    pair
}

fn try_all(pair: &mut Pair, program: &Path, mib: usize) -> Result<(), String> {
    let below = PathBuf::from(sandbox::FOLDER).join("nat");
    // Dropped after the nodes.
    let _wires = Wires::make(pair.kinds)?;
    let mut stage = Stage { kinds: pair.kinds, nodes: Vec::new(), absent: Vec::new(), below, mib };
    for place in Place::ALL {
        let mut node = Node::start(place.node(), program, &stage.below)?;
        if place == Place::Public(0) {
            let ready = node.wait_ready();
            ready.map_err(|failed| format!("the first node did not start: {}", failed.sentence))?;
        }
        stage.nodes.push((place, node));
    }
    for (place, node) in &mut stage.nodes {
        let ready = node.wait_ready();
        if ready.is_err() {
            stage.absent.push(*place);
        }
        pair.starts.push((*place, ready));
    }
    stage.members(&mut pair.cells);
    for (what, tried) in [
        (What::Record, Stage::record as fn(&Stage, Way) -> Result<Outcome, Failed>),
        (What::File, Stage::file),
    ] {
        for way in WAYS {
            pair.cells.push(stage.cell(what, way, tried));
        }
    }
    drop(stage.nodes);
    fs::remove_dir_all(&stage.below)
        .map_err(|error| format!("cannot remove {}: {error}", stage.below.display()))
}

/// The nodes of a pair.
struct Stage {
    kinds: Kinds,
    nodes: Vec<(Place, Node)>,
    /// Nodes that have not joined the network.
    absent: Vec<Place>,
    /// The folder of the pair's files.
    below: PathBuf,
    mib: usize,
}

impl Stage {
    const fn kind(&self, place: Place) -> Kind {
        match place {
            Place::Public(_) => Kind::None,
            Place::A => self.kinds.a,
            Place::B => self.kinds.b,
        }
    }

    fn node(&self, place: Place) -> Result<&Node, Failed> {
        if self.absent.contains(&place) {
            return Err(Failed::new(format!("{} is not in the network", place.name())));
        }
        let node = self.nodes.iter().find(|(at, _)| *at == place);
        node.map(|(_, node)| node).ok_or_else(|| Failed::new("there is no such node"))
    }

    /// The number of members that the first public node, `a` and `b` list as alive.
    fn members(&self, cells: &mut Vec<Cell>) {
        let began = Instant::now();
        let observers = [Place::Public(0), Place::A, Place::B];
        // Whether all five can be listed depends on both kinds, on whichever node the list is read.
        let must = expect::must(What::Members, self.kinds.a, self.kinds.b);
        loop {
            let all = observers.map(|place| {
                let outcome = self.alive(place).map_or_else(Outcome::Failed, Outcome::Members);
                let seconds = began.elapsed().as_secs_f64();
                Cell { what: What::Members, from: place, to: place, outcome, seconds, must }
            });
            if all.iter().all(Cell::is_good) || began.elapsed() > MEMBERS_MAX {
                cells.extend(all);
                return;
            }
            sleep(MEMBERS_LOOK);
        }
    }

    fn alive(&self, place: Place) -> Result<usize, Failed> {
        let answer = self.node(place)?.ask(&["members"])?;
        let members = answer["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(members.iter().filter(|member| member["state"] == "alive").count())
    }

    fn cell(&self, what: What, way: Way, tried: fn(&Self, Way) -> Result<Outcome, Failed>) -> Cell {
        let Way { from, to } = way;
        let began = Instant::now();
        let outcome = tried(self, way).unwrap_or_else(Outcome::Failed);
        let must = expect::must(what, self.kind(from), self.kind(to));
        Cell { what, from, to, outcome, seconds: began.elapsed().as_secs_f64(), must }
    }

    /// A record written at `from` and read at `to`.
    fn record(&self, Way { from, to }: Way) -> Result<Outcome, Failed> {
        let (writer, reader) = (self.node(from)?, self.node(to)?);
        let name = format!("from-{}-to-{}", from.name(), to.name());
        writer.ask(&["put", &name, &name])?;
        let answer = reader.ask(&["get", &name])?;
        match answer["value"].as_str() {
            Some(value) if value == name => Ok(Outcome::Record),
            _ => Err(Failed::new(format!("another value was read: {answer}"))),
        }
    }

    /// A file shared at `from` and fetched at `to`; a new file for every cell, so that no third node has it.
    fn file(&self, Way { from, to }: Way) -> Result<Outcome, Failed> {
        let (sharer, fetcher) = (self.node(from)?, self.node(to)?);
        let name = format!("to-{}", to.name());
        let target = fetcher.folder().join(format!("from-{}", from.name()));
        let source = sharer.write_random(&name, self.mib)?;
        let shared = sharer.ask(&["share", &source.to_string_lossy()])?;
        let link = shared["link"].as_str().ok_or_else(|| Failed::new("share printed no link"))?;
        let fetched = fetcher.ask(&["fetch", link, "-o", &target.to_string_lossy()])?;
        let sha256 = [&source, &target.join(&name)].map(|path| sha256(path).unwrap_or_default());
        Ok(Outcome::File(Fetched {
            bytes: fetched["bytes"].as_u64().unwrap_or_default(),
            seconds: fetched["seconds"].as_f64().unwrap_or_default(),
            sources: fetched["sources"].as_array().map_or(0, Vec::len),
            sha256,
        }))
    }
}

fn sha256(path: &Path) -> Result<String, String> {
    let printed = tools::output(&format!("sha256sum {}", path.display()))?;
    Ok(printed.split_whitespace().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(outcome: Outcome, must: bool) -> Cell {
        let what = What::File;
        Cell { what, from: Place::A, to: Place::B, outcome, seconds: 1.0, must }
    }

    fn fetched(shared: &str, arrived: &str) -> Outcome {
        let sha256 = [shared, arrived].map(str::to_owned);
        Outcome::File(Fetched { bytes: 2_000_000, seconds: 0.5, sources: 1, sha256 })
    }

    #[test]
    fn other_bytes_are_a_fault_wherever_they_arrive() {
        for must in [true, false] {
            assert_eq!(cell(fetched("ab", "ab"), must).fault(), None);
            assert_eq!(cell(fetched("ab", "cd"), must).fault(), Some("other bytes arrived"));
            assert_eq!(cell(fetched("", ""), must).fault(), Some("other bytes arrived"));
        }
    }

    #[test]
    fn what_may_fail_must_say_so() {
        let failed =
            |words: &str| Outcome::Failed(Failed { exit: Some(5), sentence: words.into() });
        let right = "no node that has it could be reached";
        assert_eq!(cell(failed(right), true).fault(), Some("it must succeed"));
        assert_eq!(cell(failed(right), false).fault(), None);
        let wrong = "it did not end within 60s";
        assert!(cell(failed(wrong), false).fault().is_some_and(|fault| fault.contains("words")));
    }

    #[test]
    fn a_rate_is_in_millions_of_bytes() {
        let Outcome::File(fetched) = fetched("ab", "ab") else { panic!("a file") };
        assert!((fetched.rate() - 4.0).abs() < 1e-9);
    }
}
