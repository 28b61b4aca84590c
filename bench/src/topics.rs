//! Messages from one `potluck pub` to many `potluck sub`, each on a node of its own: none lost, none
//! twice, and what a subscriber that reads slowly does to the others.

use std::io::{BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;

use crate::crowd::{PATIENCE, Process, crowd, program, wait_until};
use crate::process::{cpu_seconds_of, cpu_seconds_of_children, resident_kb_of};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// After this time without a new message, no more will come.
const SILENCE: Duration = Duration::from_secs(30);
/// Of all nodes together, what these counters grew by is printed.
const COUNTERS: [&str; 17] = [
    "topics_published",
    "topics_publishes_refused",
    "topics_delivered",
    "topics_payloads_received",
    "topics_duplicates",
    "topics_repaired",
    "topics_grafts",
    "topics_prunes",
    "topics_dropped_full",
    "topics_dropped_names",
    "topics_dropped_over_rate",
    "topics_rate_limited",
    "topics_broken_promises",
    "topics_messages_missed",
    "link_datagrams_out",
    "link_bytes_out",
    "link_retransmissions",
];

/// Messages to many subscribers.
#[derive(Debug, Args)]
pub struct Options {
    /// Nodes, each with one subscriber.
    #[arg(long, default_value_t = 16)]
    nodes: usize,
    /// Messages.
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// Bytes of each, at least 7.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// One more subscriber that reads this number of messages a second until the others have all.
    #[arg(long)]
    slow: Option<u64>,
    /// The program; without it the release build is made up to date.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// A `sub` and what it has printed.
struct Subscriber {
    child: Child,
    seen: Arc<AtomicU64>,
    reading: Option<JoinHandle<Heard>>,
    notes: Option<ChildStderr>,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a subscriber has read.
struct Heard {
    different: u64,
    twice: u64,
    strange: u64,
    in_order: bool,
    last: Instant,
}

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let program = program(options.program.as_deref())?;
    println!("load {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    let (nodes, _) = crowd(&program, options.nodes)?;
    let full_speed = Arc::new(AtomicBool::new(true));
    let slowed = Arc::new(AtomicBool::new(false));
    let mut subscribers = Vec::new();
    for node in &nodes {
        subscribers.push(subscribe(&program, node, options, None, &full_speed)?);
    }
    let last = nodes.last().ok_or("no nodes")?;
    let mut slow = match options.slow {
        Some(rate) => Some(subscribe(&program, last, options, Some(rate), &slowed)?),
        None => None,
    };
    until_subscribed(&nodes, slow.is_some())?;
    let cpu = || nodes.iter().map(|node| cpu_seconds_of(node.pid)).sum::<f64>();
    let (before, spent, commands) = (totals(&nodes)?, cpu(), cpu_seconds_of_children());
    let began = Instant::now();
    let published = publish(&program, &nodes[0], options)?;
    let quiet = until_quiet(&subscribers, options.messages);
    slowed.store(true, Ordering::Relaxed);
    let spent = cpu() - spent;
    let after = totals(&nodes)?;
    let mut complete = true;
    let mut took = Duration::ZERO;
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        let heard = finish(subscriber)?;
        took = took.max(heard.last.duration_since(began));
        let right = heard.different == options.messages && heard.twice + heard.strange == 0;
        if !right || number == 0 {
            print_heard(&format!("subscriber {number}"), &heard, options.messages, began);
        }
        complete &= right;
    }
    println!(
        "{} messages of {} bytes to {} subscribers: published in {:.2} s, all have all after {:.2} s ({:.0} a second, {:.0} deliveries a second)",
        options.messages,
        options.bytes,
        subscribers.len(),
        published.as_secs_f64(),
        took.as_secs_f64(),
        options.messages as f64 / took.as_secs_f64(),
        options.messages as f64 * subscribers.len() as f64 / took.as_secs_f64(),
    );
    if let Some(slow) = &mut slow {
        until_quiet(std::slice::from_ref(slow), options.messages);
        let heard = finish(slow)?;
        print_heard("the slow one", &heard, options.messages, began);
        let mut notes = String::new();
        if let Some(mut from) = slow.notes.take() {
            from.read_to_string(&mut notes)?;
        }
        println!("it said: {:?}", notes.trim());
    }
    print_costs(&nodes, options, spent, cpu_seconds_of_children() - commands);
    for ((name, before), after) in COUNTERS.iter().zip(before).zip(after) {
        println!("  {name:<28} {:>12.0}", after - before);
    }
    match (complete, quiet) {
        (true, false) => Ok(()),
        (true, true) => Err("a subscriber did not end".into()),
        (false, _) => Err("messages were lost or came twice".into()),
    }
}

/// Waits until every node has its subscription, and links for the topic.
fn until_subscribed(nodes: &[Process], one_more: bool) -> Result<()> {
    wait_until("all are subscribed", PATIENCE, || {
        for (number, node) in nodes.iter().enumerate() {
            let metrics = node.metrics()?;
            let of = |name: &str| metrics.get(name).copied().unwrap_or(0.0);
            let wanted = 1.0 + f64::from(u8::from(one_more && number == nodes.len() - 1));
            let linked = nodes.len() == 1 || of("topics_active") > of("topics_system_active");
            if of("topics_subscriptions") < wanted || !linked {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

fn print_costs(nodes: &[Process], options: &Options, spent: f64, commands: f64) {
    println!(
        "CPU: nodes {spent:.2} s ({:.1} us a delivery), pub and subs {commands:.2} s; a node has {:.1} MB at most",
        spent * 1e6 / (options.messages as f64 * nodes.len() as f64),
        nodes.iter().map(|node| resident_kb_of(node.pid).0).max().unwrap_or(0) as f64 / 1000.0,
    );
}

fn print_heard(who: &str, heard: &Heard, messages: u64, began: Instant) {
    println!(
        "{who}: {} of {messages}, {} twice, {} strange, {}, the last after {:.2} s",
        heard.different,
        heard.twice,
        heard.strange,
        if heard.in_order { "in order" } else { "not in order" },
        heard.last.duration_since(began).as_secs_f64()
    );
}

fn totals(nodes: &[Process]) -> Result<[f64; COUNTERS.len()]> {
    let mut totals = [0.0; COUNTERS.len()];
    for node in nodes {
        let metrics = node.metrics()?;
        for (total, name) in totals.iter_mut().zip(COUNTERS) {
            *total += metrics.get(name).copied().unwrap_or(0.0);
        }
    }
    Ok(totals)
}

/// Starts a `sub`. With a `rate` it reads that number of messages a second until `go` is set.
fn subscribe(
    program: &Path,
    node: &Process,
    options: &Options,
    rate: Option<u64>,
    go: &Arc<AtomicBool>,
) -> Result<Subscriber> {
    let mut child = Command::new(program)
        .args(["--node", &node.url, "sub", "bench", "--count", &options.messages.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = BufReader::new(child.stdout.take().ok_or("no output")?);
    let notes = child.stderr.take();
    let seen = Arc::new(AtomicU64::new(0));
    let (count, go, messages) = (Arc::clone(&seen), Arc::clone(go), options.messages);
    let reading = std::thread::spawn(move || read(stdout, messages, rate, &count, &go));
    Ok(Subscriber { child, seen, reading: Some(reading), notes })
}

fn read(
    from: impl std::io::BufRead,
    messages: u64,
    rate: Option<u64>,
    count: &AtomicU64,
    go: &AtomicBool,
) -> Heard {
    let mut had = vec![false; messages as usize];
    let mut heard =
        Heard { different: 0, twice: 0, strange: 0, in_order: true, last: Instant::now() };
    let mut last = None;
    for line in from.lines().map_while(std::io::Result::ok) {
        heard.last = Instant::now();
        count.fetch_add(1, Ordering::Relaxed);
        let number = line.split(' ').next().and_then(|word| word.parse::<usize>().ok());
        match number.and_then(|number| had.get_mut(number)) {
            Some(had) if *had => heard.twice += 1,
            Some(had) => {
                *had = true;
                heard.different += 1;
                heard.in_order &= last < number;
                last = number;
            }
            None => heard.strange += 1,
        }
        if let Some(rate) = rate.filter(|_| !go.load(Ordering::Relaxed)) {
            std::thread::sleep(Duration::from_secs(1) / rate.max(1) as u32);
        }
    }
    heard
}

/// Publishes all through one `pub`; how long that ran.
fn publish(program: &Path, node: &Process, options: &Options) -> Result<Duration> {
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(["--node", &node.url, "pub", "bench", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut to = std::io::BufWriter::new(child.stdin.take().ok_or("no input")?);
    let padding = "x".repeat(options.bytes.saturating_sub(7));
    for number in 0..options.messages {
        writeln!(to, "{number:06} {padding}")?;
    }
    drop(to);
    if !child.wait()?.success() {
        return Err("pub failed".into());
    }
    Ok(began.elapsed())
}

/// Waits until each has read `count` messages, or none reads any more; true in the first case.
fn until_quiet(subscribers: &[Subscriber], messages: u64) -> bool {
    let mut last = (0, Instant::now());
    loop {
        let counts = subscribers.iter().map(|it| it.seen.load(Ordering::Relaxed));
        let (sum, least) = counts.fold((0, u64::MAX), |it, n| (it.0 + n, it.1.min(n)));
        if least >= messages {
            return false;
        }
        if sum != last.0 {
            last = (sum, Instant::now());
        } else if last.1.elapsed() > SILENCE {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a subscriber has read in the end.
fn finish(subscriber: &mut Subscriber) -> Result<Heard> {
    // By itself it ends behind its last message; a subscriber that waits for more is ended here.
    let deadline = Instant::now() + Duration::from_secs(5);
    while subscriber.child.try_wait()?.is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = subscriber.child.kill();
    subscriber.child.wait()?;
    let reading = subscriber.reading.take().ok_or("read already")?;
    reading.join().map_err(|_| "the reader failed".into())
}
