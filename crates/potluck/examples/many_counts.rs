//! Many nodes in one process write one record, one node after the other: a measurement.
//!
//! `cargo run --release -p potluck --example many_counts -- 300` has them count at one counter. There are
//! places for 256 writers, so the last nodes ask a replica to count for them. With `-- 300 put` each puts a
//! value after it has read the record, and the last value must be left.
#![allow(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::time::Instant;

use potluck::{Admission, Builder, Node, Read};

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
    let puts = std::env::args().nth(2).is_some_and(|text| text == "put");
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
        let written = if puts {
            node.kv().put("c", format!("value {}", number + 1)).await.map(drop)
        } else {
            node.kv().counter("c").add(1).await.map(drop)
        };
        if let Err(error) = written {
            failed += 1;
            println!("node {number}: {error}");
        }
    }
    let mut carried_out = 0;
    for node in &nodes {
        carried_out += node.stats().await?.node.kv.operations_carried_out;
    }
    let seconds = began.elapsed().as_secs_f64();
    let reader = nodes[count / 2].kv();
    let (read, right) = if puts {
        let read = match reader.get("c").await? {
            Read::Value(value) => value.text()?.to_owned(),
            other => format!("{other:?}"),
        };
        (read, format!("value {count}"))
    } else {
        (reader.counter("c").value().await?.to_string(), count.to_string())
    };
    println!(
        "{count} nodes wrote in {seconds:.1} s: {read} is read, {failed} failed, {carried_out} by replicas"
    );
    if read == right { Ok(()) } else { Err(format!("{right} should be read").into()) }
}
