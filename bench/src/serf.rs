//! The same with agents of Serf, with its settings for local networks.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::crowd::{PATIENCE, median};
use crate::members::Figures;
use crate::process::{Traffic, cpu_seconds_of, resident_kb_of};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Between the end of one round and the next.
const BETWEEN: Duration = Duration::from_secs(5);

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A word of an agent: which one, and its line.
type Line = (Instant, usize, String);

/// Starts `nodes` agents, measures them while they do nothing, and kills some.
pub fn run(
    program: &Path,
    agents: usize,
    rounds: usize,
    settle: Duration,
    idle: Duration,
) -> Result<Figures> {
    let (sender, lines) = channel();
    let began = Instant::now();
    let first = free_port()?;
    let mut all = vec![start(program, 0, first, None, &sender)?];
    while all.len() < agents {
        all.push(start(program, all.len(), free_port()?, Some(first), &sender)?);
    }
    until(&lines, agents, "EventMemberJoin", None, agents)?;
    println!(
        "{agents} agents of Serf know each other after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    std::thread::sleep(settle);
    let mut figures = measure(&all, idle);
    let (mut lasts, mut wrong) = (Vec::new(), 0);
    for round in 0..rounds {
        std::thread::sleep(BETWEEN + Duration::from_millis(370 * round as u64));
        wrong += lines.try_iter().filter(|(_, _, line)| line.contains("EventMemberFailed")).count();
        let number = all.len() - 1;
        if let Some(victim) = all.pop() {
            drop(victim);
        }
        let killed = Instant::now();
        let name = format!("EventMemberFailed: agent{number} ");
        let seen = until(&lines, all.len(), &name, Some(number), 1)?;
        let seconds: Vec<f64> =
            seen.values().map(|at| at.duration_since(killed).as_secs_f64()).collect();
        let (first, last) =
            seconds.iter().fold((f64::MAX, 0.0f64), |it, s| (it.0.min(*s), it.1.max(*s)));
        println!(
            "killed: failed at the first after {first:.2} s, median {:.2}, all {last:.2}",
            median(seconds)
        );
        lasts.push(last);
    }
    std::thread::sleep(BETWEEN);
    wrong += lines.try_iter().filter(|(_, _, line)| line.contains("EventMemberFailed")).count();
    figures.detection = median(lasts);
    println!("medians of {rounds} rounds: all {:.2} s; {wrong} wrong words", figures.detection);
    Ok(figures)
}

/// A port that is free for both protocols.
fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let port = socket.local_addr()?.port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port".into())
}

fn start(
    program: &Path,
    number: usize,
    port: u16,
    join: Option<u16>,
    to: &Sender<Line>,
) -> Result<Agent> {
    let mut command = Command::new(program);
    command.args(["agent", "-profile=lan", "-log-level=info"]);
    command.arg(format!("-node=agent{number}")).arg(format!("-bind=127.0.0.1:{port}"));
    command.arg(format!("-rpc-addr=127.0.0.1:{}", free_port()?));
    if let Some(port) = join {
        command.arg(format!("-retry-join=127.0.0.1:{port}"));
    }
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let stdout = BufReader::new(child.stdout.take().ok_or("no output")?);
    let to = to.clone();
    std::thread::spawn(move || {
        stdout
            .lines()
            .map_while(std::io::Result::ok)
            .try_for_each(|line| to.send((Instant::now(), number, line)))
    });
    Ok(Agent(child))
}

/// Waits until each agent has printed a line the given number of times; when the last one did.
fn until(
    lines: &Receiver<Line>,
    agents: usize,
    words: &str,
    but: Option<usize>,
    times: usize,
) -> Result<BTreeMap<usize, Instant>> {
    let began = Instant::now();
    let (mut counts, mut done) = (BTreeMap::new(), BTreeMap::new());
    while done.len() < agents {
        let left = PATIENCE.saturating_sub(began.elapsed());
        let (at, who, line) = lines
            .recv_timeout(left)
            .map_err(|_| format!("{words}: said by {} of {agents}", done.len()))?;
        if Some(who) == but || !format!("{line} ").contains(words) {
            continue;
        }
        let count: &mut usize = counts.entry(who).or_default();
        *count += 1;
        if *count == times {
            done.insert(who, at);
        }
    }
    Ok(done)
}

fn measure(all: &[Agent], idle: Duration) -> Figures {
    let cpu = || all.iter().map(|agent| cpu_seconds_of(agent.0.id())).sum::<f64>();
    let (began, traffic, spent) = (Instant::now(), Traffic::so_far(), cpu());
    std::thread::sleep(idle);
    let (traffic, spent) = (Traffic::so_far().since(traffic), cpu() - spent);
    let per_agent_second = began.elapsed().as_secs_f64() * all.len() as f64;
    let memory = all.iter().map(|agent| resident_kb_of(agent.0.id()).0).sum::<u64>();
    let figures = Figures {
        bytes: traffic.bytes / per_agent_second,
        cpu: spent / per_agent_second,
        memory_kb: memory as f64 / all.len() as f64,
        detection: 0.0,
    };
    println!(
        "the kernel counts {:.0} B/s and {:.2} datagrams/s an agent; {:.2} ms CPU a second; {:.1} MB resident",
        figures.bytes,
        traffic.datagrams / per_agent_second,
        figures.cpu * 1000.0,
        figures.memory_kb / 1000.0,
    );
    figures
}
