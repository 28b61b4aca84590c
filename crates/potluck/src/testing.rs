//! Networks for the tests of an application: real nodes in this process, on loopback.
//!
//! ```no_run
//! # async fn example() -> potluck::Result<()> {
//! let mut network = potluck::testing::Network::local(5).await?;
//! network.node(0).kv().put("greeting", "hello").await?;
//! network.kill(0).await?;
//! let read = network.node(1).kv().get("greeting").await?;
//! # let _ = read;
//! # Ok(())
//! # }
//! ```
//!
//! The simulator (`potluck sim`) runs the same protocol code in virtual time, with faults drawn from a seed.

use std::path::PathBuf;
use std::time::Duration;

use potluck_base::{Admission, NodeId};
use potluck_gossip::MemberState;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{Builder, Error, Node, Result};

/// How long the nodes may take to find each other.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is checked whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Bytes of memory of the store of each node.
const STORE_BYTES: u64 = 4 << 20;

/// The nodes of a network for tests, each with a folder that is removed with the network.
///
/// Dropping it stops all of them at once.
#[derive(Debug)]
pub struct Network {
    nodes: Vec<Option<Node>>,
    folder: TempDir,
}

impl Network {
    /// A network of `count` nodes on 127.0.0.1, all of which know each other.
    ///
    /// # Errors
    /// [`Error::Start`], or [`Error::Network`] if there is no temporary folder or they do not find each other
    /// within a minute.
    pub async fn local(count: usize) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| Error::Network(error.to_string()))?;
        let mut network = Self { nodes: Vec::new(), folder };
        for number in 0..count {
            let node = network.builder(number).start().await?;
            network.nodes.push(Some(node));
        }
        network.settle().await?;
        Ok(network)
    }

    fn builder(&self, number: usize) -> Builder {
        let entry = self.nodes.iter().flatten().next().map(Node::contact);
        let builder = Node::builder()
            .data_dir(self.path(number))
            .network("testing")
            .admission(Admission::Lab)
            .listen(([127, 0, 0, 1], 0).into())
            .lan(false)
            .sync(false)
            .store_memory_bytes(STORE_BYTES);
        match entry {
            Some(contact) => builder.entry(contact),
            None => builder,
        }
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    /// A node.
    ///
    /// # Panics
    /// It was killed, or there is none of this number.
    #[must_use]
    pub fn node(&self, number: usize) -> &Node {
        self.nodes[number].as_ref().expect("the node runs")
    }

    /// The nodes that run, in the order of their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// Stops a node as if its machine had been switched off: the others have to detect it.
    ///
    /// # Errors
    /// [`Error::Stopped`], if it had stopped already.
    pub async fn kill(&mut self, number: usize) -> Result<()> {
        match self.nodes.get_mut(number).and_then(Option::take) {
            Some(node) => node.stop().await,
            None => Err(Error::Stopped),
        }
    }

    /// Starts a node that was killed again, with its identity, records and files, and waits until it knows the
    /// others.
    ///
    /// # Errors
    /// As [`local`](Self::local).
    ///
    /// # Panics
    /// There never was a node of this number.
    pub async fn restart(&mut self, number: usize) -> Result<&Node> {
        if self.nodes[number].is_none() {
            let node = self.builder(number).start().await?;
            self.nodes[number] = Some(node);
            self.settle().await?;
        }
        Ok(self.node(number))
    }

    /// Waits until each node knows all others that run.
    async fn settle(&self) -> Result<()> {
        let ids: Vec<NodeId> = self.nodes().map(Node::node_id).collect();
        let found = async {
            for node in self.nodes() {
                node.ready().await?;
                loop {
                    let members = node.members().await?.members;
                    let knows = |id: &NodeId| {
                        members.iter().any(|it| it.state == MemberState::Alive && it.peer.id == *id)
                    };
                    if ids.iter().all(knows) {
                        break;
                    }
                    sleep(LOOK_AGAIN).await;
                }
            }
            Ok(())
        };
        match timeout(PATIENCE, found).await {
            Ok(result) => result,
            Err(_) => Err(Error::Network("the nodes did not find each other in time".into())),
        }
    }
}
