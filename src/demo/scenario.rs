//! The steps of a demo, one after the other.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use potluck_base::Rng;

use super::clients::work;
use super::detection::Watch;
use super::figures::{Figures, Hops};
use super::files;
use super::node::{self, DemoNode, wait_until};
use super::plan::Plan;
use super::printer::Printer;
use super::processes::Processes;
use super::records::DemoRecord;
use crate::api::{BLIND, CONTEXT_HEADER, Lookups};
use crate::client::kv_path;
use crate::failure::{Exit, Failure};
use crate::text::count;

/// Time for all nodes to start and know each other. Raising it lets the demo run on slower machines.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for all survivors to declare all killed nodes dead; pairs still open then count as missed.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(40);
/// Time for one read to find enough replicas before it counts as failed.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Records written on two nodes at once; each adds four writes and reads to the demo.
const CONFLICTS: usize = 3;
/// Peers that each node must know before the demo goes on, or all others if there are fewer.
const PEERS_MIN: usize = 16;

/// A demo in progress.
pub(super) struct Scenario {
    plan: Plan,
    records: Vec<DemoRecord>,
    printer: Printer,
    processes: Arc<Processes>,
    stays: bool,
    rng: Rng,
    figures: Figures,
}

impl Scenario {
    pub(super) fn new(
        plan: Plan,
        records: Vec<DemoRecord>,
        printer: Printer,
        processes: Arc<Processes>,
        stays: bool,
    ) -> Self {
        let rng = Rng::from_number(plan.seed).fork("course");
        let figures = Figures { nodes: plan.nodes, records: records.len(), ..Figures::default() };
        Self { plan, records, printer, processes, stays, rng, figures }
    }

    /// Runs the demo; returns whether it showed everything it should.
    pub(super) fn run(mut self) -> Result<bool, Failure> {
        let mut nodes = self.join()?;
        self.put(&nodes);
        self.figures.read_back = self.read(&nodes, true);
        self.take_stock(&nodes)?;
        self.conflicts(&nodes)?;
        let first = nodes.remove(0);
        self.rng.shuffle(&mut nodes);
        let survivors = nodes.split_off(self.plan.kill - 1);
        nodes.insert(0, first);
        // The last target: this is the first node itself if only one node is killed.
        let sharer = &nodes[nodes.len() - 1];
        let (fetchers, others) = survivors.split_at(self.plan.fetchers());
        let shared_copy =
            files::share_and_fetch(&self.plan, &self.processes, &self.printer, sharer, fetchers)?;
        self.kill(&nodes, &survivors)?;
        self.figures.after_kill = self.read(&survivors, false);
        let Self { processes, printer, .. } = &self;
        let (holders, late) = (fetchers.len(), &others[0]);
        let file_figures =
            files::fetch_from_survivors(processes, printer, &shared_copy, holders, late)?;
        self.figures.file = Some(file_figures);
        Ok(self.finale(&survivors))
    }

    /// Starts all nodes and waits until they know each other.
    fn join(&mut self) -> Result<Vec<DemoNode>, Failure> {
        let Self { plan, processes, printer, .. } = self;
        printer.step(
            format!("start a node, and {} more that enter by it", plan.nodes - 1),
            format!("potluck up --admission lab --network {} [CONTACT]", node::network(plan)),
        );
        let start = Instant::now();
        let deadline = start + JOIN_TIMEOUT;
        let opener = node::start(processes, plan, 0, None)?;
        let mut nodes = vec![opener.located(processes, deadline)?];
        let entry = nodes[0].contact.clone();
        let others: Vec<_> = (1..plan.nodes)
            .map(|number| node::start(processes, plan, number, Some(&entry)))
            .collect::<Result<_, _>>()?;
        for starting in &others {
            nodes.push(starting.located(processes, deadline)?);
        }
        for starting in std::iter::once(&opener).chain(&others) {
            starting.ready(processes, deadline)?;
        }
        let enough = (plan.nodes - 1).min(PEERS_MIN);
        for node in &nodes {
            let knows_them = || Ok(node.peers()?.len() >= enough);
            if !wait_until(deadline, Duration::from_millis(20), knows_them)? {
                let message = format!("a node did not get to know {enough} others in time");
                return Err(Failure::new(Exit::Unavailable, "timeout", message)
                    .hint("the machine may be too busy for this number of nodes"));
            }
        }
        self.figures.join_seconds = start.elapsed().as_secs_f64();
        printer.result(format!(
            "{} nodes know each other after {:.1} s; contact of the first: {}",
            plan.nodes, self.figures.join_seconds, entry
        ));
        Ok(nodes)
    }

    /// Stores all records, through all nodes.
    fn put(&mut self, nodes: &[DemoNode]) {
        let what = if self.plan.load.is_some() { "files" } else { "records" };
        let name = &self.records[0].name;
        self.printer.step(
            format!("store {} {what} through all nodes, a few at a time", self.records.len()),
            format!("potluck put {name} @VALUE --node {}", nodes[0].client.base()),
        );
        let outcome = work(&self.records, |index, record| {
            put(&nodes[index % nodes.len()], &record.name, &record.bytes, None)
        });
        let failed = outcome.results.iter().filter_map(|result| result.as_ref().err());
        for failure in failed.take(3) {
            self.printer.note(format!("a put failed: {failure}"));
        }
        self.figures.written = outcome.results.iter().filter(|result| result.is_ok()).count();
        self.figures.put = outcome.pace();
        self.printer.result(format!(
            "{} acknowledged by a majority of their {} replicas, on disk",
            self.figures.written, self.plan.replication
        ));
    }

    /// Reads all records back and compares the bytes.
    fn read(&mut self, nodes: &[DemoNode], all_alive: bool) -> usize {
        let shift = 1 + self.rng.below(nodes.len() as u64 - 1) as usize;
        let name = &self.records[self.records.len() / 2].name;
        let whom = if all_alive { "other nodes" } else { "the survivors" };
        self.printer.step(
            format!("read everything back through {whom} and compare the bytes"),
            format!("potluck get {name} --node {}", nodes[shift].client.base()),
        );
        let outcome = work(&self.records, |index, record| {
            let deadline = Instant::now() + READ_TIMEOUT;
            let mut turn = index + shift;
            loop {
                let result = get(&nodes[turn % nodes.len()], &record.name);
                match result {
                    // Too few replicas answered; another node may reach more of them.
                    Err(failure)
                        if failure.exit == Exit::Unavailable && Instant::now() < deadline =>
                    {
                        thread::sleep(Duration::from_millis(100));
                        turn += 1;
                    }
                    Ok(bytes) if bytes == record.bytes => return Ok(()),
                    Ok(_) => {
                        return Err(Failure::failed(format!("{} came back changed", record.name)));
                    }
                    Err(failure) => return Err(failure),
                }
            }
        });
        for failure in outcome.results.iter().filter_map(|result| result.as_ref().err()).take(3) {
            self.printer.note(format!("a get failed: {failure}"));
        }
        let good = outcome.results.iter().filter(|result| result.is_ok()).count();
        if all_alive {
            self.figures.get = outcome.pace();
        }
        let all = self.records.len();
        self.printer.result(format!("{good} of {all} came back byte for byte"));
        good
    }

    /// Measures the records and the memory of each node, and the hops of lookups.
    fn take_stock(&mut self, nodes: &[DemoNode]) -> Result<(), Failure> {
        self.printer.step(
            "see who holds what, and how records were found",
            format!("potluck status --node {0}; curl {0}/debug/lookups", nodes[1].client.base()),
        );
        let mut memory = 0.0;
        let mut most = 0;
        let mut hops = Vec::new();
        for node in nodes {
            let status = node.status()?;
            memory += status.memory_bytes as f64 / f64::from(1 << 20);
            most = most.max(status.records);
            let Lookups { lookups } = node.client.get_json("/debug/lookups")?;
            let of_users = lookups.iter().filter(|lookup| ["get", "put"].contains(&&*lookup.why));
            hops.extend(of_users.map(|lookup| lookup.hops));
        }
        let sum: f64 = hops.iter().map(|hops| f64::from(*hops)).sum();
        let figures = &mut self.figures;
        figures.memory_mib = memory / nodes.len() as f64;
        figures.largest_share = most as f64 / figures.written.max(1) as f64;
        figures.hops = Hops {
            mean: sum / hops.len().max(1) as f64,
            max: hops.iter().copied().max().unwrap_or(0),
            lookups: hops.len(),
        };
        self.printer.result(format!(
            "no node holds more than {:.0} % of the records; lookups took {:.2} hops on average",
            figures.largest_share * 100.0,
            figures.hops.mean
        ));
        Ok(())
    }

    /// Writes records on two nodes at once and merges the siblings on a third.
    fn conflicts(&mut self, nodes: &[DemoNode]) -> Result<(), Failure> {
        self.printer.step(
            format!("write {CONFLICTS} records on two nodes at once, and merge them on a third"),
            "potluck put demo/conflict-0 soup --context none   (and salad elsewhere)",
        );
        self.printer.line("          $ potluck merge demo/conflict-0 'soup and salad'");
        for number in 0..CONFLICTS {
            let name = format!("demo/conflict-{number}");
            let first = self.rng.below(nodes.len() as u64) as usize;
            let other = |steps: usize| &nodes[(first + steps) % nodes.len()];
            put(other(0), &name, b"soup", Some(BLIND))?;
            put(other(1), &name, b"salad", Some(BLIND))?;
            let path = kv_path("/v1/kv", &name, &[])?;
            let answer = other(2).client.request("GET", &path, &[], None)?;
            let problem = answer.problem().filter(|_| answer.status == 409);
            let Some((context, siblings)) = problem.and_then(|it| it.context.zip(it.siblings))
            else {
                self.printer.note(format!("{name} is no conflict: HTTP {}", answer.status));
                continue;
            };
            self.figures.conflicts_made += usize::from(siblings.len() == 2);
            put(other(2), &name, b"soup and salad", Some(&context))?;
            let merged = get(other(3), &name)? == b"soup and salad";
            self.figures.conflicts_merged += usize::from(merged);
        }
        self.printer.result(format!(
            "{} conflicts were seen by a reader, {} were merged",
            self.figures.conflicts_made, self.figures.conflicts_merged
        ));
        Ok(())
    }

    /// Kills nodes, the entry point among them, and waits until the others declare them dead.
    fn kill(&mut self, targets: &[DemoNode], survivors: &[DemoNode]) -> Result<(), Failure> {
        let pids: Vec<String> = targets
            .iter()
            .map(|node| self.processes.process_id(node.process).to_string())
            .collect();
        self.printer.step(
            format!(
                "kill {} at once, among them the one that all entered by and the one that shared",
                count(targets.len() as u64, "node")
            ),
            format!("kill -9 {}", pids.join(" ")),
        );
        let watch = Watch::begin(survivors, targets)?;
        let killed_at = Instant::now();
        for node in targets {
            self.processes.kill(node.process);
        }
        self.figures.killed = targets.len();
        self.printer.step(
            "wait until each survivor holds each of them for dead",
            format!("potluck members --node {}", survivors[0].client.base()),
        );
        let detection = watch.run(survivors, killed_at, DETECTION_TIMEOUT)?;
        self.figures.detection = detection;
        self.printer.result(format!(
            "{} survivors noticed after {:.1} s (median), the last after {:.1} s",
            survivors.len(),
            detection.median_seconds,
            detection.max_seconds
        ));
        Ok(())
    }

    /// Prints the figures and the next commands to try; returns whether nothing fell short.
    fn finale(&self, survivors: &[DemoNode]) -> bool {
        let out = self.printer.out();
        if out.json {
            self.printer.object(&self.figures.to_json());
        } else {
            self.printer.line(format!("\n{}", self.figures.to_table()));
        }
        let shortcomings = self.figures.shortcomings();
        for shortcoming in &shortcomings {
            out.note(format!("not as it should be: {shortcoming}"));
        }
        if !out.json {
            self.figures.sentences().iter().for_each(|sentence| self.printer.sentence(sentence));
            self.printer.line("");
        }
        let program = program();
        if self.stays {
            let url = survivors[0].client.base();
            let name = &self.records[0].name;
            self.printer.line("Try it, the network is up until you press Ctrl-C:");
            self.printer.line(format!("  {program} status --node {url}"));
            self.printer.line(format!("  {program} put my/first hello --node {url}"));
            self.printer.line(format!("  {program} trace {name} --node {url}"));
            self.printer.line("");
        }
        self.printer.line("Your own network begins with this, which prints a ticket:");
        self.printer.line(format!("  {program} up"));
        self.printer.line(format!("  {program} put my/first hello"));
        self.printer.line(format!("  {program} get my/first"));
        self.printer.line("On a second machine, with the same program:");
        self.printer.line("  potluck up TICKET");
        shortcomings.is_empty()
    }
}

fn put(node: &DemoNode, name: &str, bytes: &[u8], context: Option<&str>) -> Result<(), Failure> {
    let path = kv_path("/v1/kv", name, &[])?;
    let mut headers = vec![("content-type", "application/octet-stream")];
    headers.extend(context.map(|context| (CONTEXT_HEADER, context)));
    node.client.request("PUT", &path, &headers, Some(bytes))?.good().map(drop)
}

fn get(node: &DemoNode, name: &str) -> Result<Vec<u8>, Failure> {
    Ok(node.client.get(&kv_path("/v1/kv", name, &[])?)?.body)
}

/// The shell words that call this program from the working directory.
fn program() -> String {
    let Ok(path) = env::current_exe() else { return "potluck".to_owned() };
    let here = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let shown = path.strip_prefix(&here).unwrap_or(&path).display().to_string();
    if shown.contains(char::is_whitespace) { format!("'{shown}'") } else { shown }
}
