//! Members killed, and others stopped for twelve seconds: who is taken for what by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::crowd::{PATIENCE, Process, crowd, wait_until};
use crate::members::{Said, listen};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Before it begins, and after all is well again: late words are heard, too.
const CALM: Duration = Duration::from_secs(15);
/// How long processes are stopped.
const STOP: Duration = Duration::from_secs(12);

/// Kills an eighth of the nodes and stops another eighth.
pub fn run(program: &Path, nodes: usize) -> Result<()> {
    let (mut nodes, _) = crowd(program, nodes)?;
    std::thread::sleep(CALM);
    let (sender, events) = channel();
    listen(&nodes, &sender)?;
    let some = (nodes.len() / 8).max(1);
    let (calm, stopped) = (nodes.len() - 2 * some, nodes.len() - some);
    let names = |nodes: &[Process]| nodes.iter().map(|it| it.id.clone()).collect::<BTreeSet<_>>();
    let (dead, asleep) = (names(&nodes[stopped..]), names(&nodes[calm..stopped]));
    let began = Instant::now();
    for victim in &mut nodes[stopped..] {
        victim.kill()?;
    }
    nodes.truncate(stopped);
    for sleeper in &nodes[calm..] {
        sleeper.signal("STOP")?;
    }
    println!("{some} killed and {some} stopped of {}", stopped + some);
    std::thread::sleep(STOP);
    let going_on = Instant::now();
    for sleeper in &nodes[calm..] {
        sleeper.signal("CONT")?;
    }
    wait_until("all are right about all", PATIENCE, || {
        for node in &nodes {
            let members = node.members()?;
            let state = |id: &String| members.get(id).map_or("", String::as_str);
            let right = dead.iter().all(|id| state(id) == "dead")
                && nodes.iter().all(|it| state(&it.id) == "alive");
            if !right {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    println!("all are right about all {:.1} s after the stop", going_on.elapsed().as_secs_f64());
    std::thread::sleep(CALM);
    let said: Vec<Said> = events.try_iter().collect();
    report(&said, &dead, &asleep, calm, began, going_on)
}

fn report(
    said: &[Said],
    dead: &BTreeSet<String>,
    asleep: &BTreeSet<String>,
    calm: usize,
    began: Instant,
    going_on: Instant,
) -> Result<()> {
    let mut counts: BTreeMap<(&str, &str, &str), (usize, f64)> = BTreeMap::new();
    let mut causes: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut wrong = 0;
    for it in said {
        let by = if it.by < calm { "others" } else { "stopped ones" };
        let about = match &it.about {
            id if dead.contains(id) => "killed ones",
            id if asleep.contains(id) => "stopped ones",
            id if id.is_empty() => "themselves",
            _ => "others",
        };
        let was_there = about == "others" || by == "stopped ones" && about == "stopped ones";
        wrong += usize::from(it.kind == "member" && it.change == "died" && was_there);
        match it.kind.as_str() {
            "neighbour" if it.change == "down" => {
                *causes.entry((by, about, &it.cause)).or_default() += 1
            }
            "member" => {
                let since = if it.at < going_on { began } else { going_on };
                let entry = counts.entry((by, about, &it.change)).or_default();
                entry.0 += 1;
                entry.1 = entry.1.max(it.at.duration_since(since.min(it.at)).as_secs_f64());
            }
            "isolated" | "reunited" => counts.entry((by, about, &it.kind)).or_default().0 += 1,
            _ => {}
        }
    }
    for ((by, about, change), (count, last)) in counts {
        println!(
            "said by {by} about {about}: {count} times {change}, the last {last:.1} s after the stop began or ended"
        );
    }
    for ((by, about, cause), count) in causes {
        println!("neighbours of {by} gone, {about}: {count} times {cause}");
    }
    if wrong == 0 {
        Ok(())
    } else {
        Err(format!("{wrong} deaths of members that were there").into())
    }
}
