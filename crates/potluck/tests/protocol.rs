//! Protocols of applications and single messages, between real nodes on loopback.

mod common;

use common::{bounded, network};
use potluck::{Error, Node, NodeId, PeerStream, ProtocolError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Answers each byte with the same one in upper case.
async fn shout(mut stream: PeerStream) {
    let mut bytes = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        bytes[..count].make_ascii_uppercase();
        if stream.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

/// Opens a stream once the peer is a member here.
async fn opened(node: &Node, peer: NodeId, name: &str) -> Result<PeerStream, Error> {
    loop {
        match node.open(peer, name).await {
            Err(Error::Protocol(ProtocolError::NoPeer)) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_carries_bytes_both_ways_and_names_the_peer() {
    let nodes = network(2).await;
    let (sender, mut callers) = tokio::sync::mpsc::channel(4);
    let _served = nodes[0]
        .protocol("shout/1", move |peer, stream| {
            let sender = sender.clone();
            async move {
                let _ = sender.send(peer.id).await;
                shout(stream).await;
            }
        })
        .expect("served");
    bounded(async {
        let stream = opened(&nodes[1], nodes[0].node_id(), "shout/1").await.expect("opened");
        let (mut reader, mut writer) = stream.into_split();
        let sent = vec![b'x'; 3 << 20];
        let write = tokio::spawn(async move {
            writer.write_all(&sent).await.expect("written");
            writer.shutdown().await.expect("ended");
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.expect("read");
        write.await.expect("it ends");
        assert!(got.len() == 3 << 20 && got.iter().all(|byte| *byte == b'X'));
        assert_eq!(callers.recv().await, Some(nodes[1].node_id()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_that_is_not_served_is_refused_by_name() {
    let nodes = network(2).await;
    let refused = |error: Error| match error {
        Error::Protocol(error) => error,
        other => panic!("{other}"),
    };
    bounded(async {
        let peer = nodes[0].node_id();
        let error = opened(&nodes[1], peer, "chat/2").await.expect_err("not served");
        assert_eq!(refused(error), ProtocolError::Unknown("chat/2".into()));
        let served = nodes[0].protocol("chat/2", |_, stream| shout(stream)).expect("served");
        opened(&nodes[1], peer, "chat/2").await.expect("served now");
        drop(served);
        let error = opened(&nodes[1], peer, "chat/2").await.expect_err("not any more");
        assert_eq!(refused(error), ProtocolError::Unknown("chat/2".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_gets_sixteen_streams_and_calls_go_on_beside_them() {
    let nodes = network(2).await;
    let _served = nodes[0]
        .protocol("hold/1", |_, stream| async move {
            // Nothing is read: what is sent has to wait.
            std::future::pending::<()>().await;
            drop(stream);
        })
        .expect("served");
    bounded(async {
        let peer = nodes[0].node_id();
        let mut held = Vec::new();
        while held.len() < 16 {
            let mut stream = opened(&nodes[1], peer, "hold/1").await.expect("room");
            stream.write_all(&[0; 1000]).await.expect("a window");
            held.push(stream);
        }
        let error = opened(&nodes[1], peer, "hold/1").await.expect_err("no room");
        assert!(matches!(error, Error::Protocol(ProtocolError::Busy)), "{error}");
        nodes[1].kv().put("beside", "works").await.expect("calls have room");
        held.clear();
        let again = async { while opened(&nodes[1], peer, "hold/1").await.is_err() {} };
        // The handlers hold their side until the node stops, so room comes back with that only.
        assert!(tokio::time::timeout(std::time::Duration::from_millis(200), again).await.is_err());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_with_its_sender_and_a_full_inbox_says_so() {
    let nodes = network(2).await;
    let mut inbox = nodes[0].inbox().expect("an inbox");
    assert!(nodes[0].inbox().is_err(), "one at a time");
    bounded(async {
        let peer = nodes[0].node_id();
        drop(opened(&nodes[1], peer, "potluck/message/1").await);
        nodes[1].send(peer, "hello").await.expect("sent");
        let message = inbox.next().await.expect("a message");
        assert_eq!((message.from.id, &message.bytes[..]), (nodes[1].node_id(), &b"hello"[..]));
        assert!(nodes[1].send(peer, vec![0; 65_537]).await.is_err(), "too long");
        let mut sent = 0;
        while nodes[1].send(peer, [sent]).await.is_ok() {
            sent += 1;
        }
        assert_eq!(sent, 64, "then there is no room");
        for number in 0..sent {
            assert_eq!(inbox.next().await.expect("a message").bytes[0], number, "in order");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_frees_its_port_while_its_protocols_are_held() {
    let nodes = network(1).await;
    bounded(async {
        let served = nodes[0].protocol("shout/1", |_, stream| shout(stream)).expect("served");
        let address = nodes[0].contact().address;
        nodes[0].stop().await.expect("stopped");
        drop(std::net::UdpSocket::bind(address).expect("the port is free"));
        let error =
            nodes[0].protocol("other/1", |_, stream| shout(stream)).expect_err("it has stopped");
        assert!(matches!(error, Error::Protocol(ProtocolError::Stopped)), "{error}");
        drop(served);
    })
    .await;
}
