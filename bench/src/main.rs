//! Potluck measured as its peers were: many nodes in one process on loopback.

mod dht;
mod process;
mod summary;

use clap::Parser;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = dht::Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(dht::run(&options))
}
