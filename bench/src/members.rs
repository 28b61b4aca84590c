//! Many processes that watch each other: what that costs while nothing happens, how long all take to
//! see that one was killed, and whether a living member is taken for dead.
//!
//! The kernel's counters are of the whole network namespace: `bench/alone.sh` gives the run one of its
//! own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::crowd::{Metrics, PATIENCE, Process, crowd, median, program};
use crate::process::{Traffic, cpu_seconds_of, resident_kb_of};
use crate::summary::print_figure;
use crate::{serf, torment};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Bytes of an IPv4 and a UDP header.
const HEADER_BYTES: f64 = 28.0;
/// Between the end of one round and the next, so that all calms down.
const BETWEEN: Duration = Duration::from_secs(5);
/// Between two sweeps over the lists of all: the figures are this exact.
const PAUSE: Duration = Duration::from_millis(20);
/// Seconds behind the median at which a survivor is looked at.
const LATE: f64 = 3.0;

/// Processes that watch each other.
#[derive(Debug, Args)]
pub struct Options {
    /// Processes.
    #[arg(long, default_value_t = 64)]
    nodes: usize,
    /// Processes that are killed, one after the other.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds before anything is measured.
    #[arg(long, default_value_t = 30)]
    settle: u64,
    /// Seconds of doing nothing that are measured.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Print what each node counted a second while it did nothing.
    #[arg(long)]
    counters: bool,
    /// Kill some and stop others for twelve seconds instead.
    #[arg(long)]
    torment: bool,
    /// The same with agents of Serf, behind ours: their program.
    #[arg(long)]
    serf: Option<PathBuf>,
    /// Print figures for a program to read.
    #[arg(long)]
    figures: bool,
    /// The program; without it the release build is made up to date.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Something that a node said about a member, or about itself.
#[derive(Debug)]
pub struct Said {
    pub at: Instant,
    /// Which node.
    pub by: usize,
    /// `member`, `neighbour`, `isolated`, ...
    pub kind: String,
    pub change: String,
    pub about: String,
    pub cause: String,
}

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let program = program(options.program.as_deref())?;
    println!("load {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    if options.torment {
        return torment::run(&program, options.nodes);
    }
    let ours = ours(options, &program)?;
    if let Some(serf) = &options.serf {
        let idle = Duration::from_secs(options.idle);
        let settle = Duration::from_secs(options.settle);
        let theirs = serf::run(serf, options.nodes, options.rounds, settle, idle)?;
        println!(
            "to Serf's: bytes {:.2}, CPU {:.2}, memory {:.2}; a death seen by all, medians: {:.2}",
            ours.bytes / theirs.bytes,
            ours.cpu / theirs.cpu,
            ours.memory_kb / theirs.memory_kb,
            ours.detection / theirs.detection
        );
        if options.figures {
            theirs.print("serf");
        }
    }
    if options.figures {
        ours.print("potluck");
    }
    Ok(())
}

/// Figures of one kind of members: medians over rounds, means over members.
pub struct Figures {
    /// Bytes a second that a member sends, by the kernel's counters.
    pub bytes: f64,
    /// CPU-seconds a second.
    pub cpu: f64,
    pub memory_kb: f64,
    /// Seconds until a killed one is dead everywhere.
    pub detection: f64,
}

impl Figures {
    /// For a program to read, under a name.
    fn print(&self, name: &str) {
        for (figure, number) in [
            ("idle_bytes", self.bytes),
            ("idle_cpu", self.cpu * 1000.0),
            ("memory", self.memory_kb / 1000.0),
            ("noticed", self.detection),
        ] {
            print_figure(&format!("{name}.{figure}"), number);
        }
    }
}

fn ours(options: &Options, program: &Path) -> Result<Figures> {
    let (mut nodes, took) = crowd(program, options.nodes)?;
    println!("{} processes know each other after {:.1} s", nodes.len(), took.as_secs_f64());
    std::thread::sleep(Duration::from_secs(options.settle));
    let mut figures = idle(&nodes, Duration::from_secs(options.idle), options.counters)?;
    let (sender, events) = channel();
    listen(&nodes, &sender)?;
    let (mut firsts, mut medians, mut lasts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut dead, mut wrong) = (Vec::new(), Wrong::default());
    for round in 0..options.rounds.min(nodes.len().saturating_sub(2)) {
        // Not at the same moment of the members' probe intervals each time.
        std::thread::sleep(BETWEEN + Duration::from_millis(370 * round as u64));
        wrong.count(&events, &dead);
        let victim = nodes.len() - 1;
        let before = all_metrics(&nodes)?;
        nodes[victim].kill()?;
        let killed = Instant::now();
        dead.push(nodes[victim].id.clone());
        nodes.pop();
        let seen = until_seen(&nodes, killed, &dead)?;
        let (lag, by) = lag_of_events(&events, killed, &seen, &dead, &mut wrong)?;
        if lag > 0.5 {
            println!("node {by} told of it {lag:.2} s later than its list");
        }
        if options.counters {
            explain_late(&nodes, &seen, &before)?;
        }
        let mut seen: Vec<f64> = seen.into_values().collect();
        seen.sort_by(f64::total_cmp);
        let of = |share: f64| seen[(seen.len() as f64 * share) as usize].min(seen[seen.len() - 1]);
        let (first, middle, last) = (seen[0], of(0.5), seen[seen.len() - 1]);
        println!("killed: dead at the first after {first:.2} s, median {middle:.2}, all {last:.2}");
        firsts.push(first);
        medians.push(middle);
        lasts.push(last);
    }
    std::thread::sleep(BETWEEN);
    wrong.count(&events, &dead);
    figures.detection = median(lasts.iter().copied());
    println!(
        "medians of {} rounds: first {:.2} s, median {:.2} s, all {:.2} s",
        firsts.len(),
        median(firsts),
        median(medians),
        figures.detection
    );
    wrong.print(&nodes)?;
    Ok(figures)
}

/// What was said of members that were there.
#[derive(Debug, Default)]
struct Wrong {
    deaths: u64,
    suspicions: u64,
    isolated: u64,
}

impl Wrong {
    fn note(&mut self, said: &Said, dead: &[String]) {
        let false_word = said.kind == "member" && !dead.contains(&said.about);
        self.deaths += u64::from(false_word && said.change == "died");
        self.suspicions += u64::from(false_word && said.change == "suspected");
        self.isolated += u64::from(said.kind == "isolated");
    }

    fn count(&mut self, events: &Receiver<Said>, dead: &[String]) {
        events.try_iter().for_each(|said| self.note(&said, dead));
    }

    fn print(&self, nodes: &[Process]) -> Result<()> {
        let (mut raised, mut refuted, mut returned, mut lags) = (0.0, 0.0, 0.0, 0.0);
        for node in nodes {
            let metrics = node.metrics()?;
            let of = |name: &str| metrics.get(name).copied().unwrap_or(0.0);
            raised += of("members_raised");
            refuted += of("members_refuted");
            returned += of("members_returned");
            lags += of("members_lags");
        }
        println!(
            "wrong while listened to: {} deaths, {} suspicions, {} times isolated; since the start, all \
             survivors: {raised} suspicions, {refuted} refuted, {returned} returned, {lags} late timers",
            self.deaths, self.suspicions, self.isolated
        );
        Ok(())
    }
}

/// Asks until each node holds the last of the dead for dead: seconds of each.
fn until_seen(nodes: &[Process], killed: Instant, dead: &[String]) -> Result<BTreeMap<usize, f64>> {
    let mut seen = BTreeMap::new();
    let last = dead.last().ok_or("no process was killed")?;
    while seen.len() < nodes.len() {
        if killed.elapsed() > PATIENCE {
            return Err(format!("only {} of {} saw the death", seen.len(), nodes.len()).into());
        }
        for (by, node) in
            nodes.iter().enumerate().filter(|(by, _)| !seen.contains_key(by)).collect::<Vec<_>>()
        {
            if node.members()?.get(last).is_some_and(|state| state == "dead") {
                seen.insert(by, killed.elapsed().as_secs_f64());
            }
        }
        std::thread::sleep(PAUSE);
    }
    Ok(seen)
}

/// How much later than that they told of it, at most, and which one did.
fn lag_of_events(
    events: &Receiver<Said>,
    killed: Instant,
    seen: &BTreeMap<usize, f64>,
    dead: &[String],
    wrong: &mut Wrong,
) -> Result<(f64, usize)> {
    let (mut told, mut worst) = (0, (0.0, 0));
    while told < seen.len() {
        let left = PATIENCE.saturating_sub(killed.elapsed());
        let said = events
            .recv_timeout(left)
            .map_err(|_| format!("only {told} of {} told of the death", seen.len()))?;
        wrong.note(&said, dead);
        let it = said.kind == "member" && dead.last() == Some(&said.about);
        if let Some(seconds) = seen.get(&said.by).filter(|_| it && said.change == "died") {
            told += 1;
            let lag = said.at.duration_since(killed).as_secs_f64() - seconds;
            worst = if lag > worst.0 { (lag, said.by) } else { worst };
        }
    }
    Ok(worst)
}

/// What those have counted since the kill that were much later than most.
fn explain_late(nodes: &[Process], seen: &BTreeMap<usize, f64>, before: &[Metrics]) -> Result<()> {
    let late = median(seen.values().copied()) + LATE;
    for (index, seconds) in seen.iter().filter(|(_, seconds)| **seconds > late) {
        println!("  node {index} was late, {seconds:.2} s");
    }
    if let Some((index, _)) = seen.iter().find(|(_, seconds)| **seconds > late) {
        println!("  since the kill the first of these counted");
        let after = nodes[*index].metrics()?;
        for (name, value) in &after {
            let grown = value - before[*index].get(name).copied().unwrap_or(0.0);
            let interesting = name.starts_with("members_") || name.starts_with("topics_");
            if interesting && grown != 0.0 {
                println!("    {name:<32} {grown:>8.0} to {value:.0}");
            }
        }
    }
    Ok(())
}

/// Takes down what all nodes say from now on.
pub fn listen(nodes: &[Process], to: &Sender<Said>) -> Result<()> {
    for (by, node) in nodes.iter().enumerate() {
        let (events, to) = (node.events()?, to.clone());
        std::thread::spawn(move || {
            for event in events {
                let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
                let said = Said {
                    at: Instant::now(),
                    by,
                    kind: text("type"),
                    change: text("change"),
                    about: text("id"),
                    cause: text("cause"),
                };
                if event["type"] != Value::Null && to.send(said).is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

fn all_metrics(nodes: &[Process]) -> Result<Vec<Metrics>> {
    nodes.iter().map(Process::metrics).collect()
}

/// Measures doing nothing.
fn idle(nodes: &[Process], how_long: Duration, counters: bool) -> Result<Figures> {
    let cpu = || nodes.iter().map(|node| cpu_seconds_of(node.pid)).sum::<f64>();
    let before = all_metrics(nodes)?;
    // What the questions cost is over.
    std::thread::sleep(Duration::from_millis(500));
    let (began, traffic, spent) = (Instant::now(), Traffic::so_far(), cpu());
    std::thread::sleep(how_long);
    let (traffic, spent) = (Traffic::so_far().since(traffic), cpu() - spent);
    let per_node_second = began.elapsed().as_secs_f64() * nodes.len() as f64;
    let after = all_metrics(nodes)?;
    let rates: Vec<Metrics> = before.iter().zip(&after).map(|(one, two)| rates(one, two)).collect();
    let column = |name: &str| {
        rates.iter().map(|rates| rates.get(name).copied().unwrap_or(0.0)).collect::<Vec<_>>()
    };
    for (way, datagrams, bytes) in [
        ("out", "link_datagrams_out", "socket_sent_bytes"),
        ("in", "link_datagrams_in", "socket_received_bytes"),
    ] {
        let link = column(&format!("link_bytes_{way}"));
        let (datagrams, bytes) = (column(datagrams), column(bytes));
        let with_headers: Vec<f64> = datagrams
            .iter()
            .zip(&bytes)
            .map(|(datagrams, bytes)| bytes + datagrams * HEADER_BYTES)
            .collect();
        println!(
            "idle {way}: mean {:.0} B/s a process, median {:.0}, most {:.0}; {:.2} datagrams/s; beside them QUIC {:.1} B/s",
            mean(&with_headers),
            median(with_headers.iter().copied()),
            with_headers.iter().copied().fold(0.0, f64::max),
            mean(&datagrams),
            mean(&bytes) - mean(&link),
        );
    }
    let memory: Vec<(u64, u64)> = nodes.iter().map(|node| resident_kb_of(node.pid)).collect();
    let of = |part: fn(&(u64, u64)) -> u64| {
        memory.iter().map(part).sum::<u64>() as f64 / nodes.len() as f64
    };
    println!(
        "the kernel counts {:.0} B/s and {:.2} datagrams/s a process; {:.2} ms CPU a second; {:.1} MB resident, {:.1} of it its own",
        traffic.bytes / per_node_second,
        traffic.datagrams / per_node_second,
        spent / per_node_second * 1000.0,
        of(|it| it.0) / 1000.0,
        of(|it| it.1) / 1000.0,
    );
    if counters {
        print_counters(&rates);
    }
    Ok(Figures {
        bytes: traffic.bytes / per_node_second,
        cpu: spent / per_node_second,
        memory_kb: of(|it| it.0),
        detection: 0.0,
    })
}

/// What grew a second, by the node's own clock.
fn rates(before: &Metrics, after: &Metrics) -> Metrics {
    let of = |metrics: &Metrics, name: &str| metrics.get(name).copied().unwrap_or(0.0);
    let seconds = (of(after, "uptime_seconds") - of(before, "uptime_seconds")).max(1e-9);
    after.iter().map(|(name, value)| (name.clone(), (value - of(before, name)) / seconds)).collect()
}

fn print_counters(rates: &[Metrics]) {
    let names = rates.first().map(|first| first.keys().cloned().collect::<Vec<_>>());
    for name in names.unwrap_or_default() {
        let all: Vec<f64> =
            rates.iter().map(|rates| rates.get(&name).copied().unwrap_or(0.0)).collect();
        if mean(&all).abs() >= 0.0005 {
            println!("  {name:<32} {:>10.4} a second", mean(&all));
        }
    }
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}
