//! Named runs with parameters and a report: the common part.

use std::fmt;
use std::time::Duration;

use potluck_base::signature_memo::SignatureMemo;
use potluck_base::{Defences, Rng};
use potluck_gossip::Mode;
use potluck_gossip::members::ModeChoice;

use crate::check::{Check, bounds, delivery, holdings, mergeable};
use crate::report::{Report, Value};
use crate::sim_node::NodeIndex;
use crate::world::{World, WorldConfig};

/// Interval between two refreshes of a node's neighbourhood. After a few of these, the network must have
/// converged.
pub const STABILISATION: Duration = Duration::from_secs(60);

/// In worlds with more nodes, no node keeps the full member list: the lists of n nodes have n² entries, and
/// one machine holds all of them.
const FLEET_MAX: usize = 2_000;
/// All nodes of a world start within this time, whatever their number is.
const STAGGER_MAX: Duration = Duration::from_secs(80);

/// Most partitions of a run. A partition has a thread; more threads than processors only wait.
const PARTITIONS_MAX: usize = 64;

/// The size and length of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Nodes at the start; `None`: the default of the scenario.
    pub nodes: Option<usize>,
    /// The seed, which makes the run repeatable.
    pub seed: u64,
    /// Virtual minutes of its main part; `None`: the default of the scenario.
    pub minutes: Option<u64>,
    /// Shards of the world, each with a thread; `None`: one. They change the duration of a run, and no
    /// result.
    pub partitions: Option<usize>,
    /// Whether all nodes know each other from the start instead of joining one after the other.
    pub prepared: bool,
    /// The enabled defences against hostile members. All are enabled, except in tests that show the effect of
    /// one.
    pub defences: Defences,
}

impl Params {
    /// The scenario's own size and length.
    #[must_use]
    pub fn seed(seed: u64) -> Self {
        let (nodes, minutes, partitions) = (None, None, None);
        Self { nodes, seed, minutes, partitions, prepared: false, defences: Defences::default() }
    }

    /// Sets the number of nodes.
    #[must_use]
    pub const fn nodes(self, nodes: usize) -> Self {
        Self { nodes: Some(nodes), ..self }
    }

    /// Sets the number of minutes of the main part.
    #[must_use]
    pub const fn minutes(self, minutes: u64) -> Self {
        Self { minutes: Some(minutes), ..self }
    }

    /// Sets the number of partitions.
    #[must_use]
    pub const fn partitions(self, partitions: usize) -> Self {
        Self { partitions: Some(partitions), ..self }
    }

    /// Enables these defences only.
    #[must_use]
    pub const fn defences(self, defences: Defences) -> Self {
        Self { defences, ..self }
    }

    /// Starts with nodes that know each other.
    #[must_use]
    pub const fn prepared(self) -> Self {
        Self { prepared: true, ..self }
    }
}

/// A scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// A description in one line.
    pub about: &'static str,
    /// The default number of nodes.
    pub nodes: usize,
    /// The lowest number of nodes with which it works.
    pub nodes_min: usize,
    /// The default minutes of its main part.
    pub minutes: u64,
    /// Whether it is a canary: something is broken on purpose, and checks must find it.
    pub must_fail: bool,
    pub(crate) play: fn(&mut Run) -> World,
}

impl Scenario {
    /// Whether its nodes send files to each other in streams.
    fn has_streams(&self) -> bool {
        let all = ["files", "files-clean", "slow-sources", "nat", "drip", "wrong-size", "eclipse"];
        all.contains(&self.name)
    }

    /// Whether it is about how nodes join, or how certificates admit them.
    fn is_about_joining(&self) -> bool {
        ["join", "admission", "open-join"].contains(&self.name)
    }
}

/// Why there is no report without failures.
#[derive(Debug, Clone, PartialEq)]
pub enum ScenarioError {
    /// There is no scenario of this name.
    Unknown(String),
    /// The scenario does not work with so few nodes.
    TooFewNodes {
        /// The scenario.
        scenario: &'static str,
        /// The lowest number.
        least: usize,
    },
    /// A world with this number of nodes, or this machine, has no room for the requested partitions.
    Partitions {
        /// The requested number.
        asked: usize,
        /// The highest number.
        most: usize,
    },
    /// The scenario runs with one partition only.
    OnePartition(&'static str),
    /// The scenario is about joining: its nodes cannot know each other from the start.
    AboutJoining(&'static str),
    /// Checks failed. The report names them, and the command that repeats the run.
    Failed(Box<Report>),
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "there is no scenario `{name}`"),
            Self::TooFewNodes { scenario, least } => {
                write!(f, "scenario `{scenario}` needs at least {least} nodes")
            }
            Self::Partitions { asked, most } => {
                write!(f, "this run can have 1 to {most} partitions, not {asked}")
            }
            Self::OnePartition(scenario) => write!(
                f,
                "scenario `{scenario}` runs in one partition only: each part of a file that arrives \
                 changes the state of sender and receiver at once"
            ),
            Self::AboutJoining(scenario) => {
                write!(f, "scenario `{scenario}` is about joining: its network cannot be prepared")
            }
            Self::Failed(report) => {
                for check in report.failures() {
                    writeln!(f, "{}: {}: {}", report.scenario, check.name, check.detail)?;
                }
                write!(f, "replay: {}", report.replay())
            }
        }
    }
}

impl std::error::Error for ScenarioError {}

/// One run of a scenario in progress: its parameters, and its results so far.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) minutes: u64,
    shards: usize,
    prepared: bool,
    defences: Defences,
    pub(crate) rng: Rng,
    figures: Vec<(String, Value)>,
    checks: Vec<Check>,
}

impl Run {
    /// The default world for this run's seed. In large worlds the signatures of messages and of member
    /// records are not checked, because one processor does all of it; in the largest, views are bounded.
    pub(crate) fn config(&self) -> WorldConfig {
        let config = WorldConfig::new(self.seed).sharded(self.shards);
        let mut config = config.defended(self.defences);
        let fleet = self.nodes <= FLEET_MAX;
        config.node.members.mode = if fleet { ModeChoice::Fleet } else { ModeChoice::Open };
        config
    }

    /// The same, for a network in which no node keeps the full list if `mode` says so.
    pub(crate) fn config_in(&self, mode: Mode) -> WorldConfig {
        let mut config = self.config();
        if mode == Mode::Open {
            config.node.members.mode = ModeChoice::Open;
        }
        config
    }

    /// The main part's length.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(60 * self.minutes)
    }

    pub(crate) fn figure(&mut self, name: impl Into<String>, value: Value) {
        self.figures.push((name.into(), value));
    }

    pub(crate) fn check(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Forms the network: all nodes join within some seconds and settle. In a prepared network they know each
    /// other and only make their sessions and links.
    pub(crate) fn form(&mut self, world: &mut World) -> Vec<NodeIndex> {
        let begin = world.now();
        let nodes = if self.prepared {
            world.prepare(self.nodes)
        } else {
            let stagger = STAGGER_MAX.min(Duration::from_millis(20) * self.nodes as u32);
            let nodes = world.grow(self.nodes, stagger);
            world.run_for(stagger);
            nodes
        };
        let stagger = world.now().since(begin);
        let joined = world.run_until(STABILISATION, |world| world.have_joined(&nodes));
        let late: Vec<String> = nodes
            .iter()
            .filter(|node| !world.have_joined(&[**node]))
            .map(ToString::to_string)
            .collect();
        self.check(Check::none_of("all nodes join within a minute", nodes.len(), &late));
        if joined {
            let after = world.now().since(potluck_base::Instant::ZERO).saturating_sub(stagger);
            self.figure("all joined after the last start", Value::Time(after));
        }
        world.run_for(Duration::from_secs(10));
        nodes
    }
}

/// The shards of a run of `nodes` nodes.
fn shards(scenario: &Scenario, params: &Params, nodes: usize) -> Result<usize, ScenarioError> {
    let (asked, most) = (params.partitions.unwrap_or(1), nodes.clamp(1, PARTITIONS_MAX));
    match asked {
        1 => Ok(1),
        _ if scenario.has_streams() => Err(ScenarioError::OnePartition(scenario.name)),
        asked if (1..=most).contains(&asked) => Ok(asked),
        asked => Err(ScenarioError::Partitions { asked, most }),
    }
}

/// Runs a scenario.
///
/// # Errors
/// [`ScenarioError`]: checks failed, or the scenario cannot run with these parameters.
pub(crate) fn play(scenario: &Scenario, params: &Params) -> Result<Report, ScenarioError> {
    let nodes = params.nodes.unwrap_or(scenario.nodes);
    if nodes < scenario.nodes_min {
        let (scenario, least) = (scenario.name, scenario.nodes_min);
        return Err(ScenarioError::TooFewNodes { scenario, least });
    }
    if params.prepared && scenario.is_about_joining() {
        return Err(ScenarioError::AboutJoining(scenario.name));
    }
    let shards = shards(scenario, params, nodes)?;
    // Each signature is checked once instead of once per node; the results are the same.
    let _memo = SignatureMemo::on_this_thread();
    let mut run = Run {
        nodes,
        seed: params.seed,
        minutes: params.minutes.unwrap_or(scenario.minutes),
        shards,
        prepared: params.prepared,
        defences: params.defences,
        rng: Rng::from_number(params.seed).fork(scenario.name),
        figures: Vec::new(),
        checks: Vec::new(),
    };
    let mut world = (scenario.play)(&mut run);
    let stats = bounds::stats(&mut world);
    run.check(bounds::check(&world, &stats));
    run.check(mergeable::check_any(&mut world));
    run.check(holdings::check(&mut world, holdings::Limits::default()));
    run.check(delivery::check(&world));
    run.check(Check::none_of("machines keep their contract", 1, world.violations()));
    let unanswered = world.commands_pending();
    let detail = format!("{unanswered} without an answer");
    run.check(Check::new("every command is answered", unanswered == 0, detail));
    let report = Report {
        scenario: scenario.name,
        nodes,
        seed: run.seed,
        minutes: run.minutes,
        prepared: run.prepared,
        figures: run.figures,
        checks: run.checks,
        virtual_time: world.now().since(potluck_base::Instant::ZERO),
        stats: world.stats(),
        trace: world.trace().hash(),
        log: world.trace().log().collect(),
    };
    if report.passed() { Ok(report) } else { Err(ScenarioError::Failed(Box::new(report))) }
}
