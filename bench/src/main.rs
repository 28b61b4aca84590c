//! Potluck measured: throughput and latency as its peers were measured, and behaviour under a
//! flood.

mod bare;
mod crowd;
mod dht;
mod files;
mod flood;
mod kills;
mod members;
mod pair;
mod process;
mod serf;
mod serve;
mod summary;
mod topics;
mod torment;
mod tree;
mod work;

use clap::Parser;

/// The allocator of the `potluck` program, so that what is measured is what people run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measurements of Potluck on this machine, over loopback only.
#[derive(Debug, Parser)]
enum Measurement {
    /// Puts and gets over many nodes in one process.
    Dht(dht::Options),
    /// A file from node to node, beside a bare QUIC stream.
    Files(files::Options),
    /// A file from process to process, for `cargo xtask bench peers`.
    Pair(pair::Options),
    /// A folder of very many small files.
    Tree(tree::Options),
    /// A fetching node killed again and again.
    Kills(kills::Options),
    /// Memory of a node that gives much to many.
    Serve(serve::Options),
    /// Hostile datagrams against one node that goes on serving.
    Flood(flood::Options),
    /// Processes that watch each other: what that costs, and how soon a death is seen.
    Members(members::Options),
    /// Messages from one process to many.
    Topics(topics::Options),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let measurement = Measurement::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match measurement {
            Measurement::Dht(options) => dht::run(&options).await,
            Measurement::Files(options) => files::run(&options).await,
            Measurement::Pair(options) => pair::run(&options).await,
            Measurement::Tree(options) => tree::run(&options).await,
            Measurement::Kills(options) => kills::run(&options).await,
            Measurement::Serve(options) => serve::run(&options).await,
            Measurement::Flood(options) => flood::run(&options).await,
            // Nothing else runs in this process meanwhile.
            Measurement::Members(options) => members::run(&options),
            Measurement::Topics(options) => topics::run(&options),
        }
    })
}
