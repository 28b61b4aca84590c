//! Many nodes in one process count at one counter, one node after the other: a measurement.
//!
//! `cargo run --release -p potluck --example many_counts -- 300`. There are places for 256 writers, so the
//! last nodes ask a replica to count for them.
#![allow(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::time::Instant;

use potluck::{Admission, Builder, Node};

fn node() -> Builder {
    Node::builder()
        .in_memory()
        .network("counts")
        .admission(Admission::Lab)
        .listen(([127, 0, 0, 1], 0).into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(300), |text| text.parse())?;
    let mut nodes = vec![node().start().await?];
    while nodes.len() < count {
        // Each node has joined before the next one comes.
        let next = node().entry(nodes[nodes.len() / 2].contact()).start().await?;
        next.ready().await?;
        nodes.push(next);
    }
    let began = Instant::now();
    let mut failed = 0;
    for (number, node) in nodes.iter().enumerate() {
        if let Err(error) = node.kv().counter("c").add(1).await {
            failed += 1;
            println!("node {number}: {error}");
        }
    }
    let mut carried_out = 0;
    for node in &nodes {
        carried_out += node.stats().await?.node.kv.operations_carried_out;
    }
    let sum = nodes[count / 2].kv().counter("c").value().await?;
    println!(
        "{count} nodes counted in {:.1} s: the counter shows {sum}, {failed} failed, {carried_out} by replicas",
        began.elapsed().as_secs_f64()
    );
    if sum == count as i128 { Ok(()) } else { Err("the counter is wrong".into()) }
}
