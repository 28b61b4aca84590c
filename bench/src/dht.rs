//! Puts and gets over many nodes in one process, and gets right after a third of them stopped.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use potluck::{Admission, Node, Read};

use crate::process::resident_kb;
use crate::summary::{Phase, Summary, print_figure};
use crate::work::{Amount, Stored, getter, putter, spread, stops};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Where the nodes keep their records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// In memory, as the peers measured beside do.
    Memory,
    /// On disk, every write synced before it is acknowledged.
    Disk,
}

/// Many nodes in one process on loopback.
#[derive(Debug, Args)]
pub struct Options {
    /// Nodes.
    #[arg(long, default_value_t = 100)]
    nodes: usize,
    /// Operations of each phase.
    #[arg(long, default_value_t = 4000)]
    operations: usize,
    /// Operations in flight.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Replicas of a record.
    #[arg(long, default_value_t = 8)]
    replication: u16,
    /// Where the nodes keep their records.
    #[arg(long, value_enum, default_value_t = Store::Disk)]
    store: Store,
    /// Bytes of a value.
    #[arg(long, default_value_t = 150)]
    value_bytes: usize,
    /// Share of the nodes that stop at once.
    #[arg(long, default_value_t = 0.3)]
    stop: f64,
    /// Seconds after which each phase ends (half of them with one operation in flight), rest for two seconds once
    /// and not again, and print figures for a program to read.
    #[arg(long)]
    seconds: Option<f64>,
}

/// Operations of the phases with one in flight, and of the one right after the stop.
const FEW: usize = 300;
/// Longer than any phase without `--seconds` takes.
const UNBOUNDED: Duration = Duration::from_secs(24 * 3600);

impl Options {
    /// One in flight.
    fn alone(&self) -> Amount {
        let time = self.seconds.map_or(UNBOUNDED, |it| Duration::from_secs_f64(it / 2.0));
        Amount { concurrency: 1, operations: FEW, time }
    }

    /// Many in flight.
    fn together(&self) -> Amount {
        let time = self.seconds.map_or(UNBOUNDED, Duration::from_secs_f64);
        Amount { concurrency: self.concurrency, operations: self.operations, time }
    }

    /// Prints a phase.
    fn print(&self, summary: &Summary, what: &str, name: &str) {
        summary.print(what);
        if self.seconds.is_some() {
            summary.print_figures(name);
        }
    }

    /// Prints one figure, if a program reads them.
    fn figure(&self, name: &str, number: f64) {
        if self.seconds.is_some() {
            print_figure(name, number);
        }
    }
}

/// Runs all phases and prints a line for each.
pub async fn run(options: &Options) -> Result<()> {
    println!(
        "{} nodes, {} operations, {} in flight, r = {}, store {:?}",
        options.nodes, options.operations, options.concurrency, options.replication, options.store
    );
    let folder = tempfile::tempdir()?;
    let phase = Phase::begin();
    let nodes = start(options, folder.path()).await?;
    let summary = phase.end(vec![Duration::ZERO], 0);
    let memory = resident_kb() / options.nodes as u64;
    println!(
        "bootstrap                    {:.1} s, {:.2} CPU s; {memory} kB a node",
        summary.seconds, summary.cpu_seconds
    );
    options.figure("bootstrap.seconds", summary.seconds);
    options.figure("bootstrap.cpu", summary.cpu_seconds);
    let brief = options.seconds.is_some();
    idle(Duration::from_secs(if brief { 2 } else { 5 }), "idle").await;
    let nodes = Arc::new(nodes);
    let stored = puts(options, &nodes, options.alone(), "one").await;
    let got = gets(options, &nodes, options.alone(), stored).await;
    options.print(&got, "get, 1 in flight", "get1");
    let stored = puts(options, &nodes, options.together(), "many").await;
    let got = gets(options, &nodes, options.together(), stored).await;
    options.print(&got, "get, right behind the puts", "get32");
    if !brief {
        idle(Duration::from_secs(15), "afterwards").await;
        gets(options, &nodes, options.together(), stored).await.print("get");
    }
    let memory = resident_kb() / options.nodes as u64;
    println!("memory                       {memory} kB a node");
    options.figure("memory", memory as f64);
    stop_some(options, nodes, stored).await
}

async fn start(options: &Options, folder: &std::path::Path) -> Result<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::new();
    for number in 0..options.nodes {
        let mut config = potluck::Config::default();
        config.kv.replication = options.replication;
        let mut builder = Node::builder()
            .network("bench")
            .admission(Admission::Lab)
            .listen(([127, 0, 0, 1], 0).into())
            .config(config);
        builder = match options.store {
            Store::Memory => builder.in_memory(),
            Store::Disk => builder
                .data_dir(folder.join(number.to_string()))
                .store_memory_bytes(2 * 1024 * 1024),
        };
        if let Some(first) = nodes.first() {
            builder = builder.entry(first.contact());
        }
        nodes.push(builder.start().await?);
    }
    for node in &nodes {
        node.ready().await?;
    }
    Ok(nodes)
}

/// Lets the tables settle, or the replica sets: changes are passed on for some seconds.
async fn idle(time: Duration, what: &str) {
    let phase = Phase::begin();
    tokio::time::sleep(time).await;
    let summary = phase.end(vec![Duration::ZERO], 0);
    println!("{what:<28} {:.3} CPU s a second", summary.cpu_seconds / summary.seconds);
}

/// Puts values, prints what that cost, and says which they were.
async fn puts(
    options: &Options,
    nodes: &Arc<Vec<Node>>,
    amount: Amount,
    prefix: &'static str,
) -> Stored {
    let (nodes, bytes, stored) = (nodes.clone(), options.value_bytes, Stored::none(prefix));
    let worked = spread(amount, move |number| {
        let node = nodes[putter(number, nodes.len())].clone();
        async move { node.kv().put(stored.name(number), stored.value(number, bytes)).await.is_ok() }
    })
    .await;
    let alone = amount.concurrency == 1;
    let (what, name) = if alone { ("put, 1 in flight", "put1") } else { ("put", "put32") };
    options.print(&worked.summary, what, name);
    Stored { count: worked.begun, ..stored }
}

/// Gets values that were put, again and again.
async fn gets(
    options: &Options,
    nodes: &Arc<Vec<Node>>,
    amount: Amount,
    stored: Stored,
) -> Summary {
    let (nodes, bytes) = (nodes.clone(), options.value_bytes);
    spread(amount, move |number| {
        let node = nodes[getter(number, nodes.len())].clone();
        let number = stored.pick(number);
        async move {
            let read = node.kv().get(stored.name(number)).await;
            matches!(read, Ok(Read::Value(found)) if found.bytes()[..] == stored.value(number, bytes)[..])
        }
    })
    .await
    .summary
}

async fn stop_some(options: &Options, nodes: Arc<Vec<Node>>, stored: Stored) -> Result<()> {
    let all = Arc::into_inner(nodes).ok_or("a worker still holds the nodes")?;
    let stopping = (options.nodes as f64 * options.stop) as usize;
    let (mut stopped, mut alive) = (Vec::new(), Vec::new());
    for (index, node) in all.into_iter().enumerate() {
        if stops(index, stopping) { stopped.push(node) } else { alive.push(node) }
    }
    let count = stopped.len();
    let stops: Vec<_> =
        stopped.into_iter().map(|node| tokio::spawn(async move { node.stop().await })).collect();
    for stop in stops {
        stop.await??;
    }
    let alive = Arc::new(alive);
    println!("stopped {count} nodes");
    let amount = Amount { operations: FEW.min(options.operations), ..options.together() };
    let got = gets(options, &alive, amount, stored).await;
    options.print(&got, "get, at once", "stop");
    if options.seconds.is_none() {
        tokio::time::sleep(Duration::from_secs(60)).await;
        gets(options, &alive, amount, stored).await.print("get, after 60 s");
    }
    Ok(())
}
