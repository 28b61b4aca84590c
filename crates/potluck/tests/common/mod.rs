//! Nodes on loopback for the tests of this crate.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::time::Duration;

use potluck::{Admission, Builder, Node};

/// Far longer than anything here takes; a test that waits for it has failed.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// The result of `future`, which must come in time.
pub(crate) async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("in time")
}

/// Asks again and again until `condition` gives something.
pub(crate) async fn until<T>(mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    bounded(async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// A node to be in memory, on a port of the system's choice.
pub(crate) fn node() -> Builder {
    Node::builder()
        .in_memory()
        .network("tests")
        .admission(Admission::Lab)
        .listen(([127, 0, 0, 1], 0).into())
}

/// The same in a folder.
pub(crate) fn node_in(folder: &std::path::Path) -> Builder {
    Node::builder()
        .data_dir(folder)
        .network("tests")
        .admission(Admission::Lab)
        .listen(([127, 0, 0, 1], 0).into())
        .store_memory_bytes(4 << 20)
}

/// Nodes in memory that have all found each other.
pub(crate) async fn network(count: usize) -> Vec<Node> {
    let first = node().start().await.expect("starts");
    let mut nodes = vec![first];
    while nodes.len() < count {
        let next = node().entry(nodes[0].contact()).start().await.expect("starts");
        nodes.push(next);
    }
    for node in &nodes {
        bounded(node.ready()).await.expect("runs");
        until(async || {
            let peers = node.status().await.expect("runs").view.peers;
            (peers == count - 1).then_some(())
        })
        .await;
    }
    nodes
}
