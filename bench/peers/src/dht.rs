//! The phases of a network of nodes that keep values, for any system: as `potluck-bench dht --seconds`
//! runs them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Args;

use crate::Result;
use crate::process::resident_kb;
use crate::summary::{Phase, Summary, print_figure};
use crate::work::{Amount, Stored, getter, putter, spread, stops};

/// Many nodes in one process on loopback.
#[derive(Debug, Args)]
pub struct Options {
    /// Nodes.
    #[arg(long, default_value_t = 100)]
    nodes: usize,
    /// Operations of each phase, at most.
    #[arg(long, default_value_t = 2000)]
    operations: usize,
    /// Operations in flight.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = 200)]
    value_bytes: usize,
    /// Share of the nodes that stop at once.
    #[arg(long, default_value_t = 0.3)]
    stop: f64,
    /// Seconds after which each phase ends; half of them with one operation in flight.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

/// A node of some system.
pub trait Node: Send + Sync + Sized + 'static {
    /// What a value is got by.
    type Key: Clone + Send + Sync + 'static;

    /// Starts all nodes and returns them when each has joined.
    fn start(nodes: usize) -> impl Future<Output = Result<Vec<Self>>> + Send;

    /// Puts a value under a name, where the system lets names be chosen; `None` if it failed.
    fn put(&self, name: &str, value: Vec<u8>) -> impl Future<Output = Option<Self::Key>> + Send;

    /// Gets the first value that is found.
    fn get(&self, key: &Self::Key) -> impl Future<Output = Option<Vec<u8>>> + Send;

    /// Stops without a word to the others.
    fn stop(self) -> impl Future<Output = ()> + Send;
}

/// Operations of the phases with one in flight, and of the one right after the stop.
const FEW: usize = 300;
/// Between the last node's bootstrap and the first put, so that tables settle.
const REST: Duration = Duration::from_secs(2);

/// What was put: its values, and what each is got by. One that could not be put has no key.
struct Keys<N: Node> {
    stored: Stored,
    keys: Arc<Vec<OnceLock<N::Key>>>,
}

/// Runs all phases and prints their figures.
pub async fn run<N: Node>(options: &Options) -> Result<()> {
    let phase = Phase::begin();
    let nodes = Arc::new(N::start(options.nodes).await?);
    let summary = phase.end(Vec::new(), 0);
    print_figure("bootstrap.seconds", summary.seconds);
    print_figure("bootstrap.cpu", summary.cpu_seconds);
    tokio::time::sleep(REST).await;
    let time = Duration::from_secs_f64(options.seconds);
    let alone = Amount { concurrency: 1, operations: FEW, time: time / 2 };
    let stored = puts(options, &nodes, alone, "one").await;
    gets(options, &nodes, alone, &stored).await.print_figures("get1");
    let together =
        Amount { concurrency: options.concurrency, operations: options.operations, time };
    let stored = puts(options, &nodes, together, "many").await;
    gets(options, &nodes, together, &stored).await.print_figures("get32");
    print_figure("memory", resident_kb() as f64 / options.nodes as f64);
    let all = Arc::into_inner(nodes).ok_or("a worker still holds the nodes")?;
    let stopping = (options.nodes as f64 * options.stop) as usize;
    let mut alive = Vec::new();
    for (index, node) in all.into_iter().enumerate() {
        if stops(index, stopping) { node.stop().await } else { alive.push(node) }
    }
    let few = Amount { operations: FEW.min(options.operations), ..together };
    gets(options, &Arc::new(alive), few, &stored).await.print_figures("stop");
    Ok(())
}

/// Puts values, prints what that cost, and says which they were.
async fn puts<N: Node>(
    options: &Options,
    nodes: &Arc<Vec<N>>,
    amount: Amount,
    prefix: &'static str,
) -> Keys<N> {
    let (nodes, bytes, stored) = (nodes.clone(), options.value_bytes, Stored::none(prefix));
    let mut all: Vec<OnceLock<N::Key>> = Vec::new();
    all.resize_with(amount.operations, OnceLock::new);
    let all = Arc::new(all);
    let keys = all.clone();
    let worked = spread(amount, move |number| {
        let (nodes, keys) = (nodes.clone(), keys.clone());
        async move {
            let node = &nodes[putter(number, nodes.len())];
            let key = node.put(&stored.name(number), stored.value(number, bytes)).await;
            key.is_some_and(|key| keys[number].set(key).is_ok())
        }
    })
    .await;
    worked.summary.print_figures(if amount.concurrency == 1 { "put1" } else { "put32" });
    Keys { stored: Stored { count: worked.begun, ..stored }, keys: all }
}

/// Gets values that were put, again and again.
async fn gets<N: Node>(
    options: &Options,
    nodes: &Arc<Vec<N>>,
    amount: Amount,
    stored: &Keys<N>,
) -> Summary {
    let (nodes, bytes) = (nodes.clone(), options.value_bytes);
    let (keys, stored) = (stored.keys.clone(), stored.stored);
    spread(amount, move |number| {
        let (nodes, keys) = (nodes.clone(), keys.clone());
        async move {
            let node = &nodes[getter(number, nodes.len())];
            let number = stored.pick(number);
            match keys[number].get() {
                Some(key) => {
                    node.get(key).await.is_some_and(|it| it == stored.value(number, bytes))
                }
                None => false,
            }
        }
    })
    .await
    .summary
}
