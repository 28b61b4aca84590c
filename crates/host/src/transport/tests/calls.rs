//! Calls that succeed.

use super::*;

#[tokio::test]
async fn requests_of_every_length_are_answered_byte_for_byte() {
    let (a, b) = (Node::new(1), Node::new(2).echo());
    for length in [0, 1, 1200, MESSAGE_BYTES_MAX] {
        let request: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        assert_eq!(a.call(&b, request.clone()).await.unwrap(), request, "{length} bytes");
    }
    let stats = a.stats();
    assert_eq!((stats.calls, stats.failures, stats.dialed, stats.connections), (4, 0, 1, 1));
    assert_eq!(stats.bytes_sent, 1201 + MESSAGE_BYTES_MAX as u64);
    assert_eq!(stats.bytes_received, stats.bytes_sent);
    assert_eq!((b.stats().accepted, b.stats().incoming), (1, 4));
}

#[tokio::test]
async fn the_callee_learns_who_calls_and_from_where() {
    let (a, b) = (Node::new(1), Node::new(2));
    let (answer, ()) = tokio::join!(a.call(&b, "hello"), async {
        let call = b.incoming().await;
        assert_eq!((call.from, call.address), (a.contact.public_key, a.contact.address));
        assert_eq!(call.request, "hello");
        call.responder.answer("welcome".into()).unwrap();
    });
    assert_eq!(answer.unwrap(), "welcome");
}

#[tokio::test]
async fn a_connection_carries_calls_in_both_directions() {
    let (a, b) = (Node::new(1).echo(), Node::new(2).echo());
    a.call(&b, "there").await.unwrap();
    b.call(&a, "and back").await.unwrap();
    assert_eq!((a.stats().dialed, b.stats().dialed), (1, 0));
    assert_eq!((a.stats().connections, b.stats().connections), (1, 1));
}

#[tokio::test]
async fn two_hundred_calls_at_once_share_one_connection() {
    let (a, b) = (Node::new(1), Node::new(2).echo());
    let mut calls = JoinSet::new();
    // None of them begins like a fetch.
    for number in 71..271u32 {
        let (transport, peer) = (a.transport.clone(), b.contact);
        calls.spawn(async move {
            let request = Bytes::from(vec![number as u8; 1 + number as usize * 100]);
            assert_eq!(transport.call(&peer, request.clone()).await.unwrap(), request);
        });
    }
    while let Some(done) = bounded(calls.join_next()).await {
        done.unwrap();
    }
    assert_eq!((a.stats().dialed, a.stats().failures, b.stats().accepted), (1, 0, 1));
}

#[tokio::test]
async fn many_of_the_longest_messages_at_once_pass_the_budgets() {
    let (a, b) = (Node::new(1), Node::new(2).echo());
    let request = Bytes::from(vec![7; MESSAGE_BYTES_MAX]);
    let mut calls = JoinSet::new();
    // More than a connection's budget of half-read requests.
    for _ in 0..48 {
        let (transport, peer, request) = (a.transport.clone(), b.contact, request.clone());
        calls.spawn(async move {
            assert_eq!(transport.call(&peer, request.clone()).await.unwrap(), request);
        });
    }
    while let Some(done) = bounded(calls.join_next()).await {
        done.unwrap();
    }
    // Everything was given back.
    until(|| a.inner().pool.has_room() && b.inner().pool.has_room()).await;
    assert_eq!(b.inner().requests.available_permits(), permits(config::REQUESTS_BYTES) as usize);
    until(|| b.inner().desk.answers.available_permits() == permits(config::ANSWERS_BYTES) as usize)
        .await;
}

#[tokio::test]
async fn nodes_that_dial_each_other_at_once_agree_on_one_connection() {
    let (a, b) = (Node::new(1).echo(), Node::new(2).echo());
    let (there, back) = tokio::join!(a.call(&b, "there"), b.call(&a, "back"));
    assert_eq!((there.unwrap(), back.unwrap()), ("there".into(), "back".into()));
    let dialed = a.stats().dialed + b.stats().dialed;
    assert!((1..=2).contains(&dialed));
    until(|| a.stats().connections == dialed as usize && b.stats().connections == dialed as usize)
        .await;
    for _ in 0..3 {
        a.call(&b, "again").await.unwrap();
        b.call(&a, "again").await.unwrap();
    }
    assert_eq!(a.stats().dialed + b.stats().dialed, dialed);
    let peer =
        |node: &Node, other: &Node| match node.inner().pool.find_or_dial(&other.contact, None) {
            pool::Found::Open(lease) => lease,
            _ => panic!("a connection is open"),
        };
    // Both ends choose the connection that the same side began.
    let sides = [peer(&a, &b), peer(&b, &a)].map(|lease| lease.connection().side());
    assert_ne!(sides[0], sides[1]);
}

#[tokio::test]
async fn control_datagrams_and_calls_share_the_port() {
    let (a, mut b) = (Node::new(1), Node::new(2).echo());
    let request = Bytes::from(vec![3; 100_000]);
    for round in 0..20u8 {
        let control = vec![0x01, round, 0xff];
        let peer = b.contact;
        let (answer, arrived) = tokio::join!(a.transport.call(&peer, request.clone()), async {
            a.socket.send(peer.address, &control).await.unwrap();
            bounded(b.controls.recv()).await.expect("driven")
        });
        assert_eq!(answer.unwrap(), request);
        assert_eq!(arrived, (a.contact.address, control));
    }
    assert_eq!((b.stats().malformed, b.stats().stray), (0, 0));
}

#[tokio::test]
async fn an_endpoint_exists_only_once_it_is_needed() {
    let (a, b, idle) = (Node::new(1), Node::new(2).echo(), Node::new(3));
    let exists = |node: &Node| matches!(*node.inner().lock_endpoint(), EndpointState::Open(_));
    assert!(!exists(&a) && !exists(&b));
    a.call(&b, "wake up").await.unwrap();
    assert!(exists(&a) && exists(&b) && !exists(&idle));
}

#[tokio::test]
async fn calls_work_over_ipv6() {
    // A machine without IPv6 cannot show anything about it.
    let Ok(socket) = PortSocket::bind("[::1]:0".parse().unwrap()) else { return };
    let a = Node::on(socket, 1, &network(), TransportConfig::default());
    let socket = PortSocket::bind("[::1]:0".parse().unwrap()).unwrap();
    let b = Node::on(socket, 2, &network(), TransportConfig::default()).echo();
    assert_eq!(a.call(&b, "six").await.unwrap(), "six");
    let c = Node::new(3);
    assert_eq!(a.call(&c, "four").await, Err(CallError::Address(c.contact.address)));
}
