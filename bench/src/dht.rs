//! Puts and gets over many nodes in one process, and gets right after a third of them stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use potluck::{Admission, Node, Read};

use crate::process::resident_kb;
use crate::summary::{Phase, Summary};

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
    println!(
        "bootstrap                    {:.1} s, {:.2} CPU s; {} kB a node",
        summary.seconds,
        summary.cpu_seconds,
        resident_kb() / options.nodes as u64
    );
    idle(Duration::from_secs(5), "idle").await;
    let nodes = Arc::new(nodes);
    puts(options, &nodes, 1, 300, "one").await.print("put, 1 in flight");
    gets(&nodes, 1, 300, "one").await.print("get, 1 in flight");
    let many = (options.concurrency, options.operations);
    puts(options, &nodes, many.0, many.1, "many").await.print("put");
    gets(&nodes, many.0, many.1, "many").await.print("get, right behind the puts");
    idle(Duration::from_secs(15), "afterwards").await;
    gets(&nodes, many.0, many.1, "many").await.print("get");
    println!("memory                       {} kB a node", resident_kb() / options.nodes as u64);
    stop_some(options, nodes).await
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

/// Runs `operations` with `concurrency` in flight; each worker takes the next number.
async fn spread<F, Fut>(concurrency: usize, operations: usize, operation: F) -> Summary
where
    F: Fn(usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = bool> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let phase = Phase::begin();
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (next, operation) = (next.clone(), operation.clone());
            tokio::spawn(async move {
                let (mut latencies, mut failed) = (Vec::new(), 0);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= operations {
                        return (latencies, failed);
                    }
                    let began = Instant::now();
                    if operation(number).await {
                        latencies.push(began.elapsed());
                    } else {
                        failed += 1;
                    }
                }
            })
        })
        .collect();
    let (mut latencies, mut failed) = (Vec::new(), 0);
    for worker in workers {
        if let Ok((more, lost)) = worker.await {
            latencies.extend(more);
            failed += lost;
        }
    }
    phase.end(latencies, failed)
}

fn value(number: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (number * 31 + index * 7) as u8).collect()
}

async fn puts(
    options: &Options,
    nodes: &Arc<Vec<Node>>,
    concurrency: usize,
    operations: usize,
    prefix: &'static str,
) -> Summary {
    let (nodes, bytes) = (nodes.clone(), options.value_bytes);
    spread(concurrency, operations, move |number| {
        let node = nodes[number * 7919 % nodes.len()].clone();
        async move {
            node.kv().put(format!("{prefix}/{number}"), value(number, bytes)).await.is_ok()
        }
    })
    .await
}

async fn gets(
    nodes: &Arc<Vec<Node>>,
    concurrency: usize,
    operations: usize,
    prefix: &'static str,
) -> Summary {
    let nodes = nodes.clone();
    spread(concurrency, operations, move |number| {
        let node = nodes[(number * 104_729 + 13) % nodes.len()].clone();
        async move {
            let read = node.kv().get(format!("{prefix}/{number}")).await;
            matches!(read, Ok(Read::Value(found)) if found.bytes()[..] == value(number, found.bytes().len())[..])
        }
    })
    .await
}

async fn stop_some(options: &Options, nodes: Arc<Vec<Node>>) -> Result<()> {
    let all = Arc::into_inner(nodes).ok_or("a worker still holds the nodes")?;
    let stopping = (options.nodes as f64 * options.stop) as usize;
    // Every third from the front: neighbours by start, not by place.
    let (mut stopped, mut alive) = (Vec::new(), Vec::new());
    for (index, node) in all.into_iter().enumerate() {
        let third = index % 3 == 0 && stopped.len() < stopping;
        if third { stopped.push(node) } else { alive.push(node) }
    }
    let count = stopped.len();
    let stops: Vec<_> =
        stopped.into_iter().map(|node| tokio::spawn(async move { node.stop().await })).collect();
    for stop in stops {
        stop.await??;
    }
    let alive = Arc::new(alive);
    println!("stopped {count} nodes");
    let operations = 300.min(options.operations);
    gets(&alive, options.concurrency, operations, "many").await.print("get, at once");
    tokio::time::sleep(Duration::from_secs(60)).await;
    gets(&alive, options.concurrency, operations, "many").await.print("get, after 60 s");
    Ok(())
}
