//! Two million hostile datagrams against one node: random bytes, valid headers with fresh keys,
//! and HELLOs. Memory must not grow, bytes out must not exceed bytes in, and the node must serve.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use clap::Args;
use potluck::{Admission, Identity, Node, Read};

use crate::process::{cpu_seconds, resident_kb};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Keys that take turns in headers: more than sessions and rate limits remember.
const KEYS: usize = 20_000;

/// Hostile datagrams against one node that goes on serving.
#[derive(Debug, Args)]
pub struct Options {
    /// Datagrams of each kind.
    #[arg(long, default_value_t = 700_000)]
    datagrams: usize,
}

/// Floods and prints what it did to the node.
pub async fn run(options: &Options) -> Result<()> {
    let builder = || {
        Node::builder()
            .network("flood")
            .admission(Admission::Lab)
            .listen(([127, 0, 0, 1], 0).into())
            .in_memory()
    };
    let target = builder().start().await?;
    let friend = builder().entry(target.contact()).start().await?;
    friend.ready().await?;
    friend.kv().put("before", "the flood").await?;
    let tag: [u8; 8] = target.network().id.tag();
    let keys: Vec<[u8; 32]> = (0..KEYS as u64)
        .map(|number| {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            *Identity::from_seed(seed).public_key().as_bytes()
        })
        .collect();
    report(&target, "before").await?;
    for (what, make) in [
        ("random bytes", random as Make),
        ("valid headers, fresh keys", sealed as Make),
        ("HELLOs", hello as Make),
    ] {
        let (address, keys, count) = (target.contact().address, keys.clone(), options.datagrams);
        let began = Instant::now();
        let sent = tokio::task::spawn_blocking(move || flood(address, tag, &keys, count, make));
        let mut served = Vec::new();
        while !sent.is_finished() {
            let asked = Instant::now();
            let read = friend.kv().get("before").await;
            served.push((matches!(read, Ok(Read::Value(_))), asked.elapsed()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (count, bytes) = sent.await??;
        let good = served.iter().filter(|(ok, _)| *ok).count();
        let slowest = served.iter().map(|(_, took)| *took).max().unwrap_or_default();
        println!(
            "{what}: {count} sent, {bytes} bytes, {:.1} s; {good} of {} reads served meanwhile, slowest {:.0} ms",
            began.elapsed().as_secs_f64(),
            served.len(),
            slowest.as_secs_f64() * 1000.0,
        );
        report(&target, what).await?;
    }
    friend.kv().put("after", "the flood").await?;
    println!(
        "after the flood a put and a get work: {}",
        matches!(target.kv().get("after").await?, Read::Value(_))
    );
    Ok(())
}

async fn report(node: &Node, when: &str) -> Result<()> {
    let stats = node.stats().await?;
    println!(
        "  {when}: {} kB resident, {:.1} CPU s so far; {:?}",
        resident_kb(),
        cpu_seconds(),
        stats.node.link
    );
    Ok(())
}

type Make = fn(&mut Random, &[u8; 8], &[[u8; 32]], &mut Vec<u8>);

/// A small generator for noise; quality does not matter here.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, out: &mut Vec<u8>, count: usize) {
        for _ in 0..count {
            out.push(self.next() as u8);
        }
    }
}

fn random(rng: &mut Random, _: &[u8; 8], _: &[[u8; 32]], out: &mut Vec<u8>) {
    let length = 1 + rng.next() as usize % 400;
    rng.fill(out, length);
}

fn sealed(rng: &mut Random, tag: &[u8; 8], keys: &[[u8; 32]], out: &mut Vec<u8>) {
    out.extend_from_slice(&[1, 1]);
    out.extend_from_slice(tag);
    out.extend_from_slice(&keys[rng.next() as usize % keys.len()]);
    rng.fill(out, 24);
    out.push(0);
    rng.fill(out, 120);
}

fn hello(rng: &mut Random, tag: &[u8; 8], _: &[[u8; 32]], out: &mut Vec<u8>) {
    out.extend_from_slice(&[2, 1]);
    out.extend_from_slice(tag);
    rng.fill(out, 16);
    out.resize(128, 0);
}

/// Sends from sockets of its own; gives how many and how many bytes.
fn flood(
    to: std::net::SocketAddr,
    tag: [u8; 8],
    keys: &[[u8; 32]],
    count: usize,
    make: Make,
) -> std::io::Result<(usize, usize)> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut rng = Random(0x9e37_79b9_7f4a_7c15);
    let (mut sent, mut bytes) = (0, 0);
    let mut datagram = Vec::new();
    for _ in 0..count {
        datagram.clear();
        make(&mut rng, &tag, keys, &mut datagram);
        // A full buffer is not worth a stop: the flood goes on.
        if let Ok(length) = socket.send_to(&datagram, to) {
            sent += 1;
            bytes += length;
        }
    }
    Ok((sent, bytes))
}
