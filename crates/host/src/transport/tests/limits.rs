//! What is bounded stays bounded.

use super::config::SMALL_REQUEST_BYTES;
use super::*;

#[tokio::test]
async fn messages_over_the_limit_are_refused_on_both_sides() {
    let (a, b) = (Node::new(1), Node::new(2));
    let long = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
    assert_eq!(a.call(&b, long.clone()).await, Err(CallError::TooLarge));
    assert_eq!(a.stats().dialed, 0);
    let (answer, ()) = tokio::join!(a.call(&b, "long answer"), async {
        let answer = b.incoming().await.responder.answer(long.clone());
        assert_eq!(answer, Err(CallError::TooLarge));
    });
    assert_eq!(answer, Err(CallError::TooLarge));
    // A peer that does not keep to the limit is stopped.
    let unchecked = a.inner().attempts(&b.contact, Bytes::from(vec![0; 2 * MESSAGE_BYTES_MAX]));
    assert_eq!(bounded(unchecked).await, Err(CallError::TooLarge));
    assert_eq!((b.stats().incoming, b.stats().incoming_refused), (1, 1));
}

#[tokio::test]
async fn the_pool_closes_the_idle_connection_that_was_unused_for_longest() {
    let config = TransportConfig { connections: 2, ..TransportConfig::default() };
    let a = Node::with(1, config);
    let peers = [2, 3, 4].map(|seed| Node::new(seed).echo());
    for peer in [0, 1, 0, 2, 0] {
        a.call(&peers[peer], "hello").await.unwrap();
        assert!(a.stats().connections <= 2);
    }
    // The second peer had to go, the first one was used in between.
    assert_eq!((a.stats().dialed, a.stats().evicted), (3, 1));
    until(|| peers[1].stats().connections == 0).await;
    a.call(&peers[1], "hello again").await.unwrap();
    assert_eq!((a.stats().dialed, a.stats().evicted, a.stats().connections), (4, 2, 2));
}

#[tokio::test]
async fn one_key_cannot_take_many_places() {
    let server = Node::new(1).echo();
    let many: Vec<_> = (0..5).map(|_| Node::new(2)).collect();
    for node in &many {
        node.call(&server, "me again").await.unwrap();
        assert!(server.stats().connections <= 2);
    }
    assert_eq!(server.stats().accepted, 5);
    until(|| many[..3].iter().all(|node| node.stats().connections == 0)).await;
}

#[tokio::test]
async fn a_pool_that_is_all_in_use_refuses_strangers_and_lets_own_calls_wait() {
    let config = TransportConfig {
        connections: 1,
        dial_timeout: Duration::from_millis(500),
        ..TransportConfig::default()
    };
    let (server, a, b) = (Node::with(1, config), Node::new(2), Node::new(3).echo());
    let (first, ()) = tokio::join!(a.call(&server, "first"), async {
        let held = server.incoming().await;
        assert_eq!(b.call(&server, "second").await, Err(CallError::Refused));
        assert_eq!(server.call(&b, "third").await, Err(CallError::Busy));
        held.responder.answer("done".into()).unwrap();
    });
    assert_eq!(first.unwrap(), "done");
    assert_eq!(server.call(&b, "fourth").await.unwrap(), "fourth");
    assert_eq!(server.stats().connections, 1);
}

#[tokio::test]
async fn calls_that_wait_for_a_place_get_it_when_one_becomes_free() {
    let config = TransportConfig { connections: 1, ..TransportConfig::default() };
    let (a, b, c) = (Node::with(1, config), Node::new(2), Node::new(3).echo());
    let (first, second, ()) = tokio::join!(a.call(&b, "first"), a.call(&c, "second"), async {
        b.incoming().await.responder.answer("done".into()).unwrap();
    });
    assert_eq!((first.unwrap(), second.unwrap()), ("done".into(), "second".into()));
    assert_eq!(a.stats().connections, 1);
}

#[tokio::test]
async fn a_full_queue_of_requests_refuses_the_next() {
    let config = TransportConfig { incoming_queue: 1, ..TransportConfig::default() };
    let (a, b) = (Node::new(1), Node::with(2, config));
    let first = a.call(&b, "first");
    tokio::pin!(first);
    tokio::select! {
        _ = &mut first => panic!("nobody answered"),
        () = until(|| b.stats().incoming == 1) => {}
    }
    assert_eq!(a.call(&b, "second").await, Err(CallError::Refused));
    b.incoming().await.responder.answer("done".into()).unwrap();
    assert_eq!(first.await.unwrap(), "done");
    assert_eq!(b.stats().incoming_refused, 1);
}

#[tokio::test]
async fn a_request_takes_of_the_budget_what_it_is_long_until_it_is_answered() {
    let (a, b) = (Node::new(1), Node::new(2));
    let free = || b.inner().requests.available_permits();
    let all = free();
    let length = SMALL_REQUEST_BYTES + 4096;
    let (answer, ()) = tokio::join!(a.call(&b, vec![0; length]), async {
        let call = b.incoming().await;
        assert_eq!(all - free(), permits(length) as usize);
        call.responder.answer("done".into()).unwrap();
        assert_eq!(free(), all);
    });
    assert_eq!(answer.unwrap(), "done");
}

#[tokio::test]
async fn calls_over_the_stream_limit_wait_their_turn() {
    let config = TransportConfig { streams_per_connection: 2, ..TransportConfig::default() };
    let (a, b) = (Node::new(1), Node::with(2, config));
    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let (transport, peer) = (a.transport.clone(), b.contact);
        calls.spawn(async move { transport.call(&peer, "x".into()).await });
    }
    for _ in 0..3 {
        let held = [b.incoming().await, b.incoming().await];
        // Both streams are taken, so no third request can come.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(timeout(Duration::ZERO, b.transport.next_incoming()).await.is_err());
        for call in held {
            call.responder.answer(call.request).unwrap();
        }
    }
    while let Some(done) = bounded(calls.join_next()).await {
        assert_eq!(done.unwrap().unwrap(), "x");
    }
}

#[tokio::test]
async fn under_load_a_stranger_proves_its_address_first() {
    let (a, b) = (Node::new(1), Node::new(2).echo());
    let address = a.contact.address.ip();
    let mut tickets = Vec::new();
    while let handshake_limiter::HandshakeVerdict::Begin(ticket) =
        b.inner().limiter.admit(address, false)
    {
        tickets.push(ticket);
    }
    assert_eq!(tickets.len(), TransportConfig::default().handshakes_per_source);
    assert_eq!(a.call(&b, "really me").await.unwrap(), "really me");
    assert_eq!((b.stats().retried, b.stats().accepted, b.stats().refused), (1, 1, 0));
}

#[tokio::test]
async fn strangers_over_the_handshake_limit_are_turned_away() {
    let (a, b) = (Node::new(1), Node::new(2).echo());
    let mut tickets = Vec::new();
    while let handshake_limiter::HandshakeVerdict::Begin(ticket) =
        b.inner().limiter.admit(a.contact.address.ip(), true)
    {
        tickets.push(ticket);
    }
    while let handshake_limiter::HandshakeVerdict::Begin(ticket) =
        b.inner().limiter.admit(a.contact.address.ip(), false)
    {
        tickets.push(ticket);
    }
    assert_eq!(a.call(&b, "let me in").await, Err(CallError::Refused));
    drop(tickets);
    assert_eq!(a.call(&b, "let me in").await.unwrap(), "let me in");
}

#[tokio::test]
async fn packets_over_the_queue_limit_are_dropped_and_counted() {
    let a = Node::with(1, TransportConfig { queue_bytes: 4000, ..TransportConfig::default() });
    let mut initial = vec![0; 1200];
    initial[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8]);
    let bytes = initial.repeat(10);
    let segment = Segment {
        port: 0,
        from: "127.0.0.1:9".parse().unwrap(),
        local: None,
        kind: DatagramKind::Quic,
        ecn: None,
        stride: 1200,
        bytes: &bytes,
    };
    a.transport.on_quic(&segment);
    a.transport.on_quic(&Segment { bytes: &bytes[..2400], ..segment });
    assert_eq!(a.stats().queue_dropped, 10);
}
