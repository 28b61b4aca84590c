//! A protocol of one's own: two nodes talk over a stream, and one sends the other a single message.
#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use potluck::PeerStream;
use potluck::testing::Network;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

/// Greets each line that the other side says.
async fn greet(stream: PeerStream) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(name) = lines.next_line().await? {
        writer.write_all(format!("hello {name}\n").as_bytes()).await?;
    }
    writer.shutdown().await
}

#[tokio::main]
async fn main() -> potluck::Result<()> {
    let network = Network::local(2).await?;
    let mut nodes = network.nodes();
    let (host, caller) = (nodes.next().expect("one"), nodes.next().expect("another"));

    let _served = host.protocol("greet/1", |peer, stream| async move {
        println!("{} opened a stream", peer.id);
        if let Err(error) = greet(stream).await {
            println!("it broke off: {error}");
        }
    })?;
    let mut inbox = host.inbox()?;

    let stream = caller.open(host.node_id(), "greet/1").await?;
    let (reader, mut writer) = stream.into_split();
    for name in ["Ada", "Grace"] {
        writer.write_all(format!("{name}\n").as_bytes()).await.expect("the host reads");
    }
    writer.shutdown().await.expect("the host reads");
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        println!("{line}");
    }

    caller.send(host.node_id(), "bye").await?;
    if let Some(message) = inbox.next().await {
        println!("{} says {}", message.from.id, String::from_utf8_lossy(&message.bytes));
    }
    Ok(())
}
