//! The courses of a demo, one after the other.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use potluck_base::Rng;

use super::crowd::work;
use super::detection::Watch;
use super::figures::{Figures, Hops};
use super::files;
use super::guest::{self, Guest, wait_until};
use super::kitchen::Kitchen;
use super::menu::Dish;
use super::plan::Plan;
use super::stage::Stage;
use crate::api::{BLIND, CONTEXT_HEADER, Lookups};
use crate::client::kv_path;
use crate::failure::{Exit, Failure};
use crate::text::count;

const JOIN_PATIENCE: Duration = Duration::from_secs(30);
const DETECTION_PATIENCE: Duration = Duration::from_secs(40);
/// How long a read may find too few replicas before it counts as failed.
const READ_PATIENCE: Duration = Duration::from_secs(20);
const CONFLICTS: usize = 3;
/// Nodes of which each newcomer has to know, if there are so many.
const NEIGHBOURS: usize = 16;

/// A demo under way.
pub(super) struct Course {
    plan: Plan,
    menu: Vec<Dish>,
    stage: Stage,
    kitchen: Arc<Kitchen>,
    stays: bool,
    rng: Rng,
    figures: Figures,
}

impl Course {
    pub(super) fn new(
        plan: Plan,
        menu: Vec<Dish>,
        stage: Stage,
        kitchen: Arc<Kitchen>,
        stays: bool,
    ) -> Self {
        let rng = Rng::from_number(plan.seed).fork("course");
        let figures = Figures { nodes: plan.nodes, records: menu.len(), ..Figures::default() };
        Self { plan, menu, stage, kitchen, stays, rng, figures }
    }

    /// Runs the demo. Whether it showed all it should.
    pub(super) fn run(mut self) -> Result<bool, Failure> {
        let mut guests = self.join()?;
        self.put(&guests);
        self.figures.read_back = self.read(&guests, true);
        self.take_stock(&guests)?;
        self.conflicts(&guests)?;
        let first = guests.remove(0);
        self.rng.shuffle(&mut guests);
        let survivors = guests.split_off(self.plan.kill - 1);
        guests.insert(0, first);
        // The last of the doomed: the first node itself, if it is the only one.
        let sharer = &guests[guests.len() - 1];
        let (fetchers, others) = survivors.split_at(self.plan.fetchers());
        let parcel =
            files::share_and_fetch(&self.plan, &self.kitchen, &self.stage, sharer, fetchers)?;
        self.kill(&guests, &survivors)?;
        self.figures.after_kill = self.read(&survivors, false);
        let Self { kitchen, stage, .. } = &self;
        let (holders, late) = (fetchers.len(), &others[0]);
        let delivery = files::fetch_from_survivors(kitchen, stage, &parcel, holders, late)?;
        self.figures.file = Some(delivery);
        Ok(self.finale(&survivors))
    }

    /// Starts all nodes and waits until they know each other.
    fn join(&mut self) -> Result<Vec<Guest>, Failure> {
        let Self { plan, kitchen, stage, .. } = self;
        stage.step(
            format!("start a node, and {} more that enter by it", plan.nodes - 1),
            format!("potluck up --admission lab --network {} [CONTACT]", guest::network(plan)),
        );
        let start = Instant::now();
        let deadline = start + JOIN_PATIENCE;
        let opener = guest::start(kitchen, plan, 0, None)?;
        let mut guests = vec![opener.located(kitchen, deadline)?];
        let entry = guests[0].contact.clone();
        let others: Vec<_> = (1..plan.nodes)
            .map(|number| guest::start(kitchen, plan, number, Some(&entry)))
            .collect::<Result<_, _>>()?;
        for starting in &others {
            guests.push(starting.located(kitchen, deadline)?);
        }
        for starting in std::iter::once(&opener).chain(&others) {
            starting.ready(kitchen, deadline)?;
        }
        let enough = (plan.nodes - 1).min(NEIGHBOURS);
        for guest in &guests {
            let knows_them = || Ok(guest.peers()?.len() >= enough);
            if !wait_until(deadline, Duration::from_millis(20), knows_them)? {
                let message = format!("a node did not get to know {enough} others in time");
                return Err(Failure::new(Exit::Unavailable, "timeout", message)
                    .hint("the machine may be too busy for so many nodes"));
            }
        }
        self.figures.join_seconds = start.elapsed().as_secs_f64();
        stage.result(format!(
            "{} nodes know each other after {:.1} s; contact of the first: {}",
            plan.nodes, self.figures.join_seconds, entry
        ));
        Ok(guests)
    }

    /// Stores all records, through all nodes.
    fn put(&mut self, guests: &[Guest]) {
        let what = if self.plan.load.is_some() { "files" } else { "records" };
        let name = &self.menu[0].name;
        self.stage.step(
            format!("store {} {what} through all nodes, a few at a time", self.menu.len()),
            format!("potluck put {name} @VALUE --node {}", guests[0].client.base()),
        );
        let outcome = work(&self.menu, |index, dish| {
            put(&guests[index % guests.len()], &dish.name, &dish.bytes, None)
        });
        let failed = outcome.results.iter().filter_map(|result| result.as_ref().err());
        for failure in failed.take(3) {
            self.stage.note(format!("a put failed: {failure}"));
        }
        self.figures.written = outcome.results.iter().filter(|result| result.is_ok()).count();
        self.figures.put = outcome.pace();
        self.stage.result(format!(
            "{} acknowledged by a majority of their {} replicas, on disk",
            self.figures.written, self.plan.replication
        ));
    }

    /// Reads all records back and compares the bytes.
    fn read(&mut self, guests: &[Guest], all_alive: bool) -> usize {
        let shift = 1 + self.rng.below(guests.len() as u64 - 1) as usize;
        let name = &self.menu[self.menu.len() / 2].name;
        let whom = if all_alive { "other nodes" } else { "the survivors" };
        self.stage.step(
            format!("read everything back through {whom} and compare the bytes"),
            format!("potluck get {name} --node {}", guests[shift].client.base()),
        );
        let outcome = work(&self.menu, |index, dish| {
            let deadline = Instant::now() + READ_PATIENCE;
            let mut turn = index + shift;
            loop {
                let result = get(&guests[turn % guests.len()], &dish.name);
                match result {
                    // Not enough answers is no answer; another node may get more of them.
                    Err(failure)
                        if failure.exit == Exit::Unavailable && Instant::now() < deadline =>
                    {
                        thread::sleep(Duration::from_millis(100));
                        turn += 1;
                    }
                    Ok(bytes) if bytes == dish.bytes => return Ok(()),
                    Ok(_) => {
                        return Err(Failure::failed(format!("{} came back changed", dish.name)));
                    }
                    Err(failure) => return Err(failure),
                }
            }
        });
        for failure in outcome.results.iter().filter_map(|result| result.as_ref().err()).take(3) {
            self.stage.note(format!("a get failed: {failure}"));
        }
        let good = outcome.results.iter().filter(|result| result.is_ok()).count();
        if all_alive {
            self.figures.get = outcome.pace();
        }
        let all = self.menu.len();
        self.stage.result(format!("{good} of {all} came back byte for byte"));
        good
    }

    /// Who holds how much, how far lookups went, and what it costs.
    fn take_stock(&mut self, guests: &[Guest]) -> Result<(), Failure> {
        self.stage.step(
            "see who holds what, and how records were found",
            format!("potluck status --node {0}; curl {0}/debug/lookups", guests[1].client.base()),
        );
        let mut memory = 0.0;
        let mut most = 0;
        let mut hops = Vec::new();
        for guest in guests {
            let status = guest.status()?;
            memory += status.memory_bytes as f64 / f64::from(1 << 20);
            most = most.max(status.records);
            let Lookups { lookups } = guest.client.get_json("/debug/lookups")?;
            let of_users = lookups.iter().filter(|lookup| ["get", "put"].contains(&&*lookup.why));
            hops.extend(of_users.map(|lookup| lookup.hops));
        }
        let sum: f64 = hops.iter().map(|hops| f64::from(*hops)).sum();
        let figures = &mut self.figures;
        figures.memory_mib = memory / guests.len() as f64;
        figures.largest_share = most as f64 / figures.written.max(1) as f64;
        figures.hops = Hops {
            mean: sum / hops.len().max(1) as f64,
            max: hops.iter().copied().max().unwrap_or(0),
            lookups: hops.len(),
        };
        self.stage.result(format!(
            "no node holds more than {:.0} % of the records; lookups took {:.2} hops on average",
            figures.largest_share * 100.0,
            figures.hops.mean
        ));
        Ok(())
    }

    /// Lets two nodes write at once, and a third merge what they wrote.
    fn conflicts(&mut self, guests: &[Guest]) -> Result<(), Failure> {
        self.stage.step(
            format!("write {CONFLICTS} records on two nodes at once, and merge them on a third"),
            "potluck put demo/conflict-0 soup --context none   (and salad elsewhere)",
        );
        self.stage.line("          $ potluck merge demo/conflict-0 'soup and salad'");
        for number in 0..CONFLICTS {
            let name = format!("demo/conflict-{number}");
            let first = self.rng.below(guests.len() as u64) as usize;
            let other = |steps: usize| &guests[(first + steps) % guests.len()];
            put(other(0), &name, b"soup", Some(BLIND))?;
            put(other(1), &name, b"salad", Some(BLIND))?;
            let path = kv_path("/v1/kv", &name, &[])?;
            let answer = other(2).client.request("GET", &path, &[], None)?;
            let problem = answer.problem().filter(|_| answer.status == 409);
            let Some((context, siblings)) = problem.and_then(|it| it.context.zip(it.siblings))
            else {
                self.stage.note(format!("{name} is no conflict: HTTP {}", answer.status));
                continue;
            };
            self.figures.conflicts_made += usize::from(siblings.len() == 2);
            put(other(2), &name, b"soup and salad", Some(&context))?;
            let merged = get(other(3), &name)? == b"soup and salad";
            self.figures.conflicts_merged += usize::from(merged);
        }
        self.stage.result(format!(
            "{} conflicts were seen by a reader, {} were merged",
            self.figures.conflicts_made, self.figures.conflicts_merged
        ));
        Ok(())
    }

    /// Kills nodes, the entry point among them, and waits until the others have noticed.
    fn kill(&mut self, doomed: &[Guest], survivors: &[Guest]) -> Result<(), Failure> {
        let pids: Vec<String> =
            doomed.iter().map(|guest| self.kitchen.process_id(guest.process).to_string()).collect();
        self.stage.step(
            format!(
                "kill {} at once, among them the one that all entered by and the one that shared",
                count(doomed.len() as u64, "node")
            ),
            format!("kill -9 {}", pids.join(" ")),
        );
        let watch = Watch::begin(survivors, doomed)?;
        let killed_at = Instant::now();
        for guest in doomed {
            self.kitchen.kill(guest.process);
        }
        self.figures.killed = doomed.len();
        self.stage.step(
            "wait until each survivor holds each of them for dead",
            format!("potluck members --node {}", survivors[0].client.base()),
        );
        let detection = watch.run(survivors, killed_at, DETECTION_PATIENCE)?;
        self.figures.detection = detection;
        self.stage.result(format!(
            "{} survivors noticed after {:.1} s (median), the last after {:.1} s",
            survivors.len(),
            detection.median_seconds,
            detection.max_seconds
        ));
        Ok(())
    }

    /// The figures, and what to do next.
    fn finale(&self, survivors: &[Guest]) -> bool {
        let out = self.stage.out();
        if out.json {
            self.stage.object(&self.figures.to_json());
        } else {
            self.stage.line(format!("\n{}", self.figures.to_table()));
        }
        let shortcomings = self.figures.shortcomings();
        for shortcoming in &shortcomings {
            out.note(format!("not as it should be: {shortcoming}"));
        }
        let program = program();
        if self.stays {
            let url = survivors[0].client.base();
            let name = &self.menu[0].name;
            self.stage.line("Try it, the network is up until you press Ctrl-C:");
            self.stage.line(format!("  {program} status --node {url}"));
            self.stage.line(format!("  {program} put my/first hello --node {url}"));
            self.stage.line(format!("  {program} trace {name} --node {url}"));
        } else {
            self.stage.line("Your own network begins with:");
            self.stage.line(format!("  {program} up"));
            self.stage.line(format!("  {program} put my/first hello"));
            self.stage.line(format!("  {program} get my/first"));
        }
        shortcomings.is_empty()
    }
}

fn put(guest: &Guest, name: &str, bytes: &[u8], context: Option<&str>) -> Result<(), Failure> {
    let path = kv_path("/v1/kv", name, &[])?;
    let mut headers = vec![("content-type", "application/octet-stream")];
    headers.extend(context.map(|context| (CONTEXT_HEADER, context)));
    guest.client.request("PUT", &path, &headers, Some(bytes))?.good().map(drop)
}

fn get(guest: &Guest, name: &str) -> Result<Vec<u8>, Failure> {
    Ok(guest.client.get(&kv_path("/v1/kv", name, &[])?)?.body)
}

/// How to call this program from here.
fn program() -> String {
    let Ok(path) = env::current_exe() else { return "potluck".to_owned() };
    let here = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let shown = path.strip_prefix(&here).unwrap_or(&path).display().to_string();
    if shown.contains(char::is_whitespace) { format!("'{shown}'") } else { shown }
}
