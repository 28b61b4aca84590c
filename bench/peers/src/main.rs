//! Other systems doing the work that `potluck-bench` gives Potluck: the same values, phases, nodes
//! that ask and nodes that stop. `cargo xtask bench peers` runs both and compares.

mod blobs;
mod dht;
mod kad;
mod mainline;
// The same files that measure Potluck, so that the work is the same by construction.
#[path = "../../src/process.rs"]
#[expect(dead_code, reason = "what is measured of other processes is measured by potluck-bench")]
mod process;
#[path = "../../src/summary.rs"]
#[expect(dead_code, reason = "potluck-bench prints phases for people too")]
mod summary;
#[path = "../../src/work.rs"]
mod work;

use clap::Parser;

/// The allocator that Potluck is measured with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why a run ended early.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Measurements of other systems on this machine, over loopback only.
#[derive(Debug, Parser)]
enum Measurement {
    /// Values in a network of nodes of the BitTorrent DHT (crate mainline).
    Mainline(dht::Options),
    /// Values in a network of nodes of libp2p's Kademlia over TCP, Noise and Yamux.
    Kad(dht::Options),
    /// A file from process to process by iroh-blobs.
    IrohBlobs(blobs::Options),
}

fn main() -> Result<()> {
    let measurement = Measurement::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match measurement {
            Measurement::Mainline(options) => dht::run::<mainline::Peer>(&options).await,
            Measurement::Kad(options) => dht::run::<kad::Peer>(&options).await,
            Measurement::IrohBlobs(options) => blobs::run(&options).await,
        }
    })
}
