//! The BitTorrent DHT: immutable values, whose names are their hashes.

use std::net::Ipv4Addr;

use mainline::Id;
use mainline::async_dht::AsyncDht;

use crate::Result;
use crate::dht::Node;

/// One node, which serves others from the begin.
pub struct Peer(AsyncDht);

impl Node for Peer {
    type Key = Id;

    async fn start(nodes: usize) -> Result<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        let mut entry = None;
        for _ in 0..nodes {
            let mut builder = mainline::Dht::builder();
            builder.server_mode().bind_address(Ipv4Addr::LOCALHOST).port(0);
            match entry {
                Some(address) => builder.bootstrap(&[address]),
                None => builder.no_bootstrap(),
            };
            let node = builder.build()?.as_async();
            if entry.is_none() {
                entry = Some(node.info().await.local_addr());
            }
            all.push(Self(node));
        }
        let waits = all.iter().skip(1).map(|node| node.0.bootstrapped());
        for joined in futures::future::join_all(waits).await {
            if !joined {
                return Err("a node of mainline found no other".into());
            }
        }
        Ok(all)
    }

    async fn put(&self, _: &str, value: Vec<u8>) -> Option<Id> {
        self.0.put_immutable(&value).await.ok()
    }

    async fn get(&self, key: &Id) -> Option<Vec<u8>> {
        self.0.get_immutable(*key).await.map(Vec::from)
    }

    async fn stop(self) {
        // Its thread ends when it sees that no handle is left.
        drop(self);
    }
}
